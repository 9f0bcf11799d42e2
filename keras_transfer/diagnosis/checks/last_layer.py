"""Check whether the last layer fits the classes, and the loss the last layer."""

import typing
import warnings

import keras
import numpy as np

from keras_transfer.diagnosis.case import Case
from keras_transfer.diagnosis.findings import Check, Finding, NotExaminedError
from keras_transfer.models.compiling import compile_settings
from keras_transfer.models.outputs import as_array
from keras_transfer.runtime.arguments import reason

# Losses by what they compare, each with the names that Keras has for it.
KINDS = {
    "categorical": (
        *("categoricalcrossentropy", "categoricalfocalcrossentropy", "kldivergence"),
    ),
    "sparse": ("sparsecategoricalcrossentropy", "categoricalgeneralizedcrossentropy"),
    "binary": ("binarycrossentropy", "binaryfocalcrossentropy"),
    "hinge": ("hinge", "squaredhinge", "categoricalhinge"),
    "distance": (
        *("meansquarederror", "meanabsoluteerror", "meanabsolutepercentageerror"),
        *("meansquaredlogarithmicerror", "logcosh", "huber", "cosinesimilarity"),
        "poisson",
    ),
}
# A sure answer in logits.
SURE = 20.0
# An activation that makes less than this of it, either way, bounds logits.
REACH = 2.0
# What a sure answer leaves to all others, in probabilities.
DOUBT = 1e-3
# A loss that differs by less, as a share of its size, is the same.
SAME = 1e-4


class Loss(typing.NamedTuple):
    """Hold the loss of `compile`.

    Attributes:
        name: Its name in lower case, without underscores.
        kind: Key of `KINDS`.
        from_logits: Whether it expects logits.
        measure: Takes labels and outputs, and returns the loss that `fit` would.
    """

    name: str
    kind: str
    from_logits: bool
    measure: typing.Callable[[np.ndarray, np.ndarray], float]


def check_last_layer(case: Case) -> list[Finding]:
    """Find a last layer that does not fit the classes, or the loss."""
    units, activation = case.units, case.activation
    outputs = case.outputs(case.scored)
    if units == 1 and activation == "softmax":
        return [
            _misfit(
                case,
                "Softmax over a single unit",
                f"The last layer is one unit with softmax: all of {len(outputs):,} "
                f"answers are {outputs.min():.3g}.",
                "Softmax makes its units sum to 1, so a single one is always 1, "
                "whatever the photo. Nothing can be learnt.",
                other=True,
            )
        ]
    exclusive = _exclusive(case)
    if units > 1 and activation == "sigmoid" and exclusive:
        classes = len(np.unique(case.sample(case.scored).labels))
        sums = outputs.sum(axis=1)
        return [
            _misfit(
                case,
                "Sigmoid for classes that exclude each other",
                f"{units} sigmoid units, and each photo has one label of {classes}. "
                f"The answers of a photo sum to {sums.min():.2f} to {sums.max():.2f}.",
                "Each unit is a yes or no of its own, so the answers are no "
                "probabilities of one class against the others.",
                severity="warning",
                other=True,
            )
        ]
    settings = _settings(case.model)
    loss = _loss(case, settings)
    found = _impossible(case, loss, outputs) or _other_form(case, loss, outputs)
    if found or not exclusive or case.signed:
        return found
    if case.activation not in ("softmax", "sigmoid", "linear"):
        return []
    found = _blind(case, loss, outputs) or _yes_or_no(case, loss, outputs)
    return found + _metrics(case, settings, outputs)


def _exclusive(case: Case) -> bool:
    targets = case.sample(case.scored).targets
    return (
        targets.ndim == 1
        or targets.shape[1] == 1
        or bool(np.all(targets.sum(axis=1) == 1))
    )


def _settings(model: keras.Model) -> dict:
    if not model.compiled:
        raise NotExaminedError("the model is not compiled, so it has no loss")
    try:
        return compile_settings(model)
    except ValueError as error:
        raise NotExaminedError("the loss is none that Keras can describe") from error


def _loss(case: Case, settings: dict) -> Loss:
    """Return the loss of `compile`, in whichever form it was given."""
    given = settings["loss"]
    while isinstance(given, list | tuple | dict) and len(given) == 1:
        (given,) = given.values() if isinstance(given, dict) else given
    if isinstance(given, str) and given.lower() in ("crossentropy", "ce"):
        # Keras chooses by the shapes.
        sparse = _numbered(case)
        kind = "sparse_categorical" if sparse else "categorical"
        given = f"{'binary' if case.units == 1 else kind}_crossentropy"
    try:
        loss = keras.losses.get(given)
    except (ValueError, TypeError) as error:
        raise NotExaminedError("the loss is none that Keras can describe") from error
    if loss is None:
        raise NotExaminedError("the model is compiled without a loss")
    name = getattr(loss, "__name__", type(loss).__name__).lower().replace("_", "")
    kind = next((kind for kind, names in KINDS.items() if name in names), None)
    if kind is None:
        raise NotExaminedError(f"the loss is {name}, no crossentropy")
    described = loss.get_config() if hasattr(loss, "get_config") else {}
    # The same way as `fit` takes, with a model of no layers.
    plain = _plain_model(case.units)
    plain.compile(loss=given)

    def measure(targets, outputs):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # A finding says it better.
            return float(plain.compute_loss(None, targets, outputs, training=False))

    return Loss(name, kind, bool(described.get("from_logits", False)), measure)


def _plain_model(units: int) -> keras.Model:
    inputs = keras.Input((units,), name="answers")
    outputs = keras.layers.Identity(name="same_answers")(inputs)
    return keras.Model(inputs, outputs, name="answers_alone")


def _numbered(case: Case) -> bool:
    """Tell whether labels are numbers of classes, not one-hot."""
    targets = case.sample(case.scored).targets
    return targets.ndim == 1 or targets.shape[1] == 1


def _labels_in_words(case: Case) -> str:
    targets = case.sample(case.scored).targets
    form = "numbers of classes" if _numbered(case) else "one-hot"
    return f"labels of shape {targets.shape[1:]} ({form})"


def _impossible(case: Case, loss: Loss, outputs: np.ndarray) -> list[Finding]:
    """Find a loss that cannot be computed from these labels and outputs."""
    targets = case.sample(case.scored).targets
    try:
        loss.measure(targets, outputs)
    except Exception as error:  # As `fit` would raise it.
        return [
            _misfit(
                case,
                "A loss that cannot take these labels",
                f"The loss is {loss.name}, the last layer has {case.units} "
                f"{'unit' if case.units == 1 else 'units'}, and the data give "
                f"{_labels_in_words(case)}. Computing it fails: {reason(error)}",
                "Sparse losses take numbers of classes, categorical ones one-hot "
                "labels, and both one unit a class; binary ones take one unit for two "
                "classes.",
            )
        ]
    return []


def _other_form(case: Case, loss: Loss, outputs: np.ndarray) -> list[Finding]:
    """Find probabilities taken for logits, and logits for probabilities."""
    activation = case.activation
    if activation not in ("softmax", "sigmoid", "linear"):
        return _other_activation(case, loss, outputs)
    if loss.kind not in ("categorical", "sparse", "binary"):
        return []
    if loss.from_logits and activation != "linear":
        lowest = _lowest_loss(loss.kind, case.num_classes)
        return [
            _misfit(
                case,
                f"{activation.capitalize()} and from_logits=True",
                f"The last activation is {activation}, and the loss is told that it "
                "gets logits: it applies its own again, and gives a perfectly sure, "
                f"right answer a loss of {lowest:.2f} in place of 0.",
                "Gradients shrink, and training crawls. On TensorFlow Keras notices it "
                "in some graphs and uses the true logits; elsewhere it does not.",
                {"lowest_loss": lowest},
            )
        ]
    if not loss.from_logits and activation == "linear":
        outside = float(np.mean((outputs < 0) | (outputs > 1)))
        return [
            _misfit(
                case,
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


def _other_activation(case: Case, loss: Loss, outputs: np.ndarray) -> list[Finding]:
    """Find an activation that keeps outputs from what a crossentropy takes."""
    activation = case.activation
    taken = loss.kind in ("categorical", "sparse", "binary")
    if activation == "log_softmax" and loss.from_logits and taken:
        return []  # Softmax of it is softmax of the logits.
    try:
        reach = getattr(keras.activations, activation)(np.float32([[-SURE, SURE]]))
        low, high = as_array(reach)[0]
    except (AttributeError, TypeError, ValueError):  # It has arguments of its own.
        taken = False
    outside = float(np.mean((outputs < 0) | (outputs > 1)))
    measured = (
        f"on {len(outputs):,} {case.scored} photos the outputs are "
        f"{outputs.min():.3g} to {outputs.max():.3g}, and {outside:.0%} of them lie "
        "outside of 0 to 1"
    )
    if taken and loss.from_logits and (low > -REACH or high < REACH):
        return [
            _misfit(
                case,
                f"{activation.capitalize()} and from_logits=True",
                f"The last activation is {activation}, and the loss takes logits, "
                f"which have no bounds; of {-SURE:g} and {SURE:g} {activation} makes "
                f"{low:.3g} and {high:.3g}, and {measured}.",
                "The model cannot be as sure as its features let it, or units that "
                "answer 0 get no gradient.",
                {"outside": outside},
                severity="warning",
                other=True,
            )
        ]
    if taken and not loss.from_logits and (low < 0 or high > 1):
        return [
            _misfit(
                case,
                f"{activation.capitalize()} before a crossentropy",
                f"The last activation is {activation}, and {loss.name} takes "
                f"probabilities, 0 to 1: {measured}.",
                "Numbers below 0 and above 1 are cut off before the logarithm, and no "
                "gradient comes back from there.",
                {
                    "outside": outside,
                    "lowest": float(outputs.min()),
                    "highest": float(outputs.max()),
                },
                other=True,
            )
        ]
    if activation == "tanh" and case.units == 1 and loss.name.endswith("hinge"):
        return []
    raise NotExaminedError(f"the last activation is {activation or 'not known'}")


def _blind(case: Case, loss: Loss, outputs: np.ndarray) -> list[Finding]:
    """Find a loss that does not prefer the right answers to all photos."""
    sample = case.sample(case.scored)
    targets, labels = sample.targets, case.labels(case.scored)
    classes, known = case.num_classes, np.unique(labels)
    if len(known) < 2 or known[-1] >= classes:
        return []  # The order of labels is looked at elsewhere.
    answers = {
        "always class " + str(label): np.full_like(labels, label) for label in known
    }
    answers["the next class"] = (labels + 1) % classes
    right = loss.measure(targets, _answered(case, loss, labels))
    others = {
        words: loss.measure(targets, _answered(case, loss, answer))
        for words, answer in answers.items()
    }
    words = min(others, key=lambda each: np.nan_to_num(others[each], nan=-np.inf))
    if others[words] > right + SAME * max(1.0, abs(right)):
        return []
    here = loss.measure(targets, outputs)
    return [
        _misfit(
            case,
            "A loss that does not tell right from wrong answers",
            f"The loss is {loss.name}, the last layer has {case.units} "
            f"{'unit' if case.units == 1 else 'units'}, and the data give "
            f"{_labels_in_words(case)}. On {len(labels):,} {case.scored} photos the "
            f"loss of right, sure answers is {right:.3g}, of {words} "
            f"{others[words]:.3g}, and of this model's answers {here:.3g}.",
            "Training lowers the loss, and a loss that wrong answers do not raise "
            "teaches nothing. Nothing fails.",
            {"right": right, "wrong": others[words], "loss": here},
        )
    ]


def _answered(case: Case, loss: Loss, labels: np.ndarray) -> np.ndarray:
    """Return outputs that answer with these classes, and are sure of it."""
    if case.units == 1:
        outputs = labels[:, None].astype("float32")
    else:
        outputs = np.eye(case.units, dtype="float32")[labels]
    if loss.kind == "distance":
        return outputs
    if case.activation == "linear":
        return SURE * (2 * outputs - 1)
    # A softmax never gives all units 0, which some losses divide by the sum of.
    return outputs * (1 - DOUBT) + DOUBT / max(2, case.units)


def _yes_or_no(case: Case, loss: Loss, outputs: np.ndarray) -> list[Finding]:
    """Find losses that take answers for something else than classes that exclude."""
    sample = case.sample(case.scored)
    if case.units > 1 and loss.kind == "binary":
        own = loss.measure(sample.targets, outputs)
        chosen = np.take_along_axis(
            case.probabilities(case.scored), sample.labels[:, None], 1
        )
        proper = float(-np.log(np.maximum(chosen, 1e-7)).mean())
        return [
            _misfit(
                case,
                "Binary crossentropy for classes that exclude each other",
                f"{case.units} units with {case.activation}, and each photo has one "
                f"label; {loss.name} takes each unit for a yes or no of its own. On "
                f"{len(outputs):,} {case.scored} photos it is {own:.3g}, and the "
                f"crossentropy of the right class is {proper:.3g}.",
                "The loss is an average over units, of which most are easy: it looks "
                "small, and learning slows down with each class more.",
                {"loss": own, "crossentropy": proper},
                severity="warning",
            )
        ]
    if case.units == 1 and case.activation == "linear" and loss.kind == "distance":
        apart = float(np.mean((outputs > 0) != (outputs > 0.5)))
        return [
            _misfit(
                case,
                "A number that is trained towards the label, and read as a logit",
                f"{loss.name} pulls the single output to 0 or 1, so the classes part "
                "at 0.5; a last layer without activation is read as a logit, whose "
                f"classes part at 0. {apart:.0%} of {len(outputs):,} {case.scored} "
                "photos lie between.",
                "Whoever applies a sigmoid, as `predict` does, answers most photos "
                "with the second class.",
                {"between": apart},
                severity="warning",
            )
        ]
    return []


def _metrics(case: Case, settings: dict, outputs: np.ndarray) -> list[Finding]:
    """Find an accuracy in `fit` that is another one than that of the answers."""
    targets, findings = case.sample(case.scored).targets, []
    accuracy = float(case.correct(case.scored).mean())
    for metric in keras.tree.flatten(settings.get("metrics")):
        name = getattr(metric, "__name__", type(metric).__name__)
        name = (metric if isinstance(metric, str) else name).lower().replace("_", "")
        if name != "acc" and (not name.endswith("accuracy") or name.startswith("top")):
            continue
        plain = _plain_model(case.units)
        plain.compile(metrics=[metric])
        try:
            values = plain.compute_metrics(None, targets, outputs)
            value = float(next(v for k, v in values.items() if k != "loss"))
            shown = f"is {value:.1%}"
        except Exception as error:  # As `fit` would raise it.
            value, shown = np.nan, f"cannot be computed ({reason(error)})"
        if abs(value - accuracy) <= 0.5 / len(outputs):
            continue
        far = not abs(value - accuracy) < 0.1
        findings.append(
            _misfit(
                case,
                "A metric that is not the accuracy of these answers",
                f"On {len(outputs):,} {case.scored} photos the metric {name} {shown}; "
                f"{accuracy:.1%} of them are right. The last layer has {case.units} "
                f"{'unit' if case.units == 1 else 'units'} with {case.activation}, and "
                f"the data give {_labels_in_words(case)}.",
                "Callbacks that stop or save by it choose the wrong epoch, and what "
                "`fit` prints is no result. Logits of one unit need "
                "BinaryAccuracy(threshold=0).",
                {"metric": value, "accuracy": accuracy},
                severity="warning" if far else "note",
            )
        )
    return findings


def _misfit(
    case: Case, title, evidence, why, numbers=None, severity="serious", other=False
) -> Finding:
    """Return a finding; `other` says that it takes another last layer."""
    repair = _repair(case, other)
    return Finding(severity, title, evidence, why, repair, numbers or {})


def _repair(case: Case, other: bool) -> str:
    # One unit has no room for one-hot labels.
    other |= case.units == 1 and not _numbered(case)
    build = """
model = kt.build_classifier(backbone, num_classes=len(splits.class_names))
# In Keras: Dense(num_classes, activation="softmax")"""
    if _numbered(case):
        loss = """
kt.compile_classifier(model, "adam")  # the loss and the metric that fit the last layer
# In Keras: SparseCategoricalCrossentropy() for softmax, or with from_logits=True for
# Dense(num_classes); BinaryCrossentropy() for one sigmoid unit.
"""
    else:
        logits = case.activation == "linear" and not other
        loss = f"""
# For one-hot labels:
loss = keras.losses.CategoricalCrossentropy(from_logits={logits})
model.compile("adam", loss, metrics=["accuracy"])
"""
    return (build if other else "") + loss


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
        "the last activation, the number of units, and the loss of compile with these "
        "labels",
        "What a loss of your own expects.",
    ),
)
