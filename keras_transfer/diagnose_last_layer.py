"""Check whether the last layer fits the classes, and the loss the last layer."""

import keras
import numpy as np

from keras_transfer.compiling import compile_settings
from keras_transfer.examination import Case
from keras_transfer.findings import Check, Finding, NotExaminedError
from keras_transfer.outputs import as_array

REPAIR = """
model = kt.build_classifier(backbone, num_classes=len(splits.class_names))
kt.compile_classifier(model, "adam")  # the loss and the metric that fit the last layer
# In Keras: Dense(num_classes, activation="softmax") with
# SparseCategoricalCrossentropy(), or Dense(num_classes) with from_logits=True.
"""


def check_last_layer(case: Case) -> list[Finding]:
    """Find a last layer that does not fit the classes, or the loss."""
    units, activation = case.units, case.activation
    outputs = case.outputs(case.scored)
    if units == 1 and activation == "softmax":
        return [
            _misfit(
                "Softmax over a single unit",
                f"The last layer is one unit with softmax: all of {len(outputs):,} "
                f"answers are {outputs.min():.3g}.",
                "Softmax makes its units sum to 1, so a single one is always 1, "
                "whatever the photo. Nothing can be learnt.",
            )
        ]
    classes = len(np.unique(case.sample(case.scored).labels))
    if units > 2 and activation == "sigmoid" and _exclusive(case):
        sums = outputs.sum(axis=1)
        return [
            _misfit(
                "Sigmoid for classes that exclude each other",
                f"{units} sigmoid units, and each photo has one label of {classes}. "
                f"The answers of a photo sum to {sums.min():.2f} to {sums.max():.2f}.",
                "Each unit is a yes or no of its own, so the answers are no "
                "probabilities of one class against the others.",
                severity="warning",
            )
        ]
    return _loss_findings(case, activation, outputs)


def _exclusive(case: Case) -> bool:
    targets = case.sample(case.scored).targets
    return (
        targets.ndim == 1
        or targets.shape[1] == 1
        or bool(np.all(targets.sum(axis=1) == 1))
    )


def _loss_findings(case: Case, activation, outputs) -> list[Finding]:
    kind, from_logits = _loss(case.model)
    if activation not in ("softmax", "sigmoid", "linear"):
        raise NotExaminedError(f"the last activation is {activation or 'not known'}")
    if from_logits and activation != "linear":
        lowest = _lowest_loss(kind, case.num_classes)
        return [
            _misfit(
                f"{activation.capitalize()} and from_logits=True",
                f"The last activation is {activation}, and the loss is told that it "
                "gets logits: it applies its own again, and gives a perfectly sure, "
                f"right answer a loss of {lowest:.2f} in place of 0.",
                "Gradients shrink, and training crawls. On TensorFlow Keras notices it "
                "in some graphs and uses the true logits; elsewhere it does not.",
                {"lowest_loss": lowest},
            )
        ]
    if not from_logits and activation == "linear":
        outside = float(np.mean((outputs < 0) | (outputs > 1)))
        return [
            _misfit(
                "Logits without from_logits=True",
                f"The last layer has no activation, so it gives logits, here "
                f"{outputs.min():.3g} to {outputs.max():.3g}; the loss takes them for "
                f"probabilities. {outside:.0%} of them are none.",
                "Numbers below 0 and above 1 are cut off before the logarithm, and no "
                "gradient comes back from there.",
                {"outside": outside},
            )
        ]
    return []


def _loss(model: keras.Model) -> tuple[str, bool]:
    """Return the kind of the loss, and whether it expects logits."""
    if not model.compiled:
        raise NotExaminedError("the model is not compiled, so it has no loss")
    try:
        loss = compile_settings(model)["loss"]
        loss = keras.losses.get(loss)
    except (ValueError, TypeError) as error:
        raise NotExaminedError("the loss is none that Keras can describe") from error
    if loss is None:
        raise NotExaminedError("the model is compiled without a loss")
    name = getattr(loss, "__name__", type(loss).__name__).lower().replace("_", "")
    for kind in ("categorical", "binary"):
        if kind in name and "entropy" in name:
            described = loss.get_config() if hasattr(loss, "get_config") else {}
            return kind, bool(described.get("from_logits", False))
    raise NotExaminedError(f"the loss is {name}, no crossentropy")


def _misfit(title, evidence, why, numbers=None, severity="serious") -> Finding:
    return Finding(severity, title, evidence, why, REPAIR, numbers or {})


def _lowest_loss(kind: str, classes: int) -> float:
    """Return the loss of a right and perfectly sure answer, taken for logits."""
    if kind == "binary":
        one = np.float32([[1.0]])
        return float(as_array(keras.losses.binary_crossentropy(one, one, True))[0])
    one = np.eye(1, classes, dtype="float32")
    return float(as_array(keras.losses.categorical_crossentropy(one, one, True))[0])


CHECKS = (
    Check(
        "last layer and loss",
        check_last_layer,
        "the last activation, the number of units, and the loss of compile",
        "What a loss of your own expects.",
    ),
)
