"""Checks of what a model answers: training mode, and outputs that are dead."""

import inspect

import keras
import numpy as np

from keras_transfer.diagnosis.case import Case
from keras_transfer.diagnosis.findings import Check, Finding, NotExaminedError
from keras_transfer.diagnosis.labels import restored
from keras_transfer.models import graph
from keras_transfer.models.outputs import as_array, only_output

PHOTOS = 8
# Rounding, against the largest output: also in bfloat16, and of another batch.
ROUNDING = {"float32": 1e-3, "float16": 1e-2, "bfloat16": 5e-2}


def check_training_mode(case: Case) -> list[Finding]:
    """Find dropout or BatchNormalization in training mode at prediction."""
    model, images = case.model, case.some(case.scored, PHOTOS)
    with restored(model):
        first, again = (_answers(model(images, training=False)) for _ in range(2))
        alone = _answers(model(images[:1], training=False))
        plain = [_answers(model(images)) for _ in range(2)]
    if not np.isfinite(first).all():
        raise NotExaminedError("the model's outputs are not finite")
    scale = max(1.0, np.abs(first).max())
    noise = ROUNDING.get(_dtype(model), 1e-3) * scale

    def apart(a, b):
        return float(np.abs(a - b).max())

    if apart(first, again) > noise / 10:
        return [
            _active(
                "Predictions depend on chance",
                f"Two predictions of the same {len(images)} photos, both with "
                f"training=False, differ by up to {apart(first, again):.3g}. Some "
                "layer stays in training mode.",
                apart(first, again),
            )
        ]
    if apart(first[:1], alone) > noise:
        return [
            _active(
                "A prediction depends on the other photos in the batch",
                f"One photo alone is answered otherwise than among {len(images)}, by "
                f"up to {apart(first[:1], alone):.3g}, both with training=False. A "
                "layer uses the statistics of the batch.",
                apart(first[:1], alone),
            )
        ]
    difference = max(apart(first, each) for each in plain)
    return _when_called(case, difference) if difference > noise else []


def _answers(outputs) -> np.ndarray:
    return as_array(only_output(outputs))


def _when_called(case: Case, difference: float) -> list[Finding]:
    by_default = {id(layer) for layer in _active_by_default(case)}
    fixed = sorted(
        {
            call.layer.name
            for call in graph.calls(case.model)
            if call.training() is True and id(call.layer) not in by_default
        }
    )
    if not fixed:
        names = ", ".join(layer.name for layer in _active_by_default(case)[:3])
        shown = f"{names} is" if names else "some layer is"
        return [
            Finding(
                "note",
                "model(images) runs in training mode",
                f"model(images) differs from model.predict(images) by up to "
                f"{difference:.3g}: {shown} active there.",
                "fit, evaluate and predict are right. Where the model is called "
                "itself, its answers depend on chance.",
                "outputs = model(images, training=False)",
                {"difference": difference},
            )
        ]
    return [
        _active(
            "Layers are called with training=True for good",
            f"{', '.join(fixed[:4])} {'was' if len(fixed) == 1 else 'were'} called "
            "with training=True when the model was built. model(images) differs from "
            f"model.predict(images) by up to {difference:.3g}.",
            difference,
        )
    ]


def _active_by_default(case: Case) -> list[keras.layers.Layer]:
    """Return the layers whose `training` is True where nobody says it."""
    found = []
    for layer in graph.layers_of(case.model):
        parameter = inspect.signature(layer.call).parameters.get("training")
        if parameter is not None and parameter.default is True:
            found.append(layer)
    return found


def _active(title: str, evidence: str, difference: float) -> Finding:
    return Finding(
        "serious",
        title,
        evidence,
        "Dropout then throws away features in use, and BatchNormalization takes a few "
        "photos for all. The same photo gets other answers.",
        """
# A head without it. fit switches dropout on by itself:
model = kt.build_classifier(backbone, len(splits.class_names), dropout=0.3)
model = kt.fit_head(model, kt.extract_features(backbone, splits))
# In Keras: x = keras.layers.Dropout(0.3)(x), never with training=True
""",
        {"difference": difference},
    )


def _dtype(model: keras.Model) -> str:
    kinds = {layer.compute_dtype for layer in graph.layers_of(model)}
    return next((kind for kind in ("bfloat16", "float16") if kind in kinds), "float32")


def check_outputs(case: Case) -> list[Finding]:
    """Find NaN, dead outputs and predictions that are always the same."""
    broken = [w.path for w in case.model.weights if not _finite(w)]
    outputs = case.outputs(case.scored)
    lost = float(np.mean(~np.isfinite(outputs).all(axis=1)))
    if broken or lost:
        where = f"{len(broken)} arrays of weights (such as {broken[0]}) hold NaN or "
        where = where + "infinity; " if broken else ""
        return [
            Finding(
                "serious",
                "Answers that are no numbers",
                f"{where}{lost:.0%} of the answers do.",
                "Training diverged, or an image held NaN. Such a model cannot recover.",
                """
# Begin from the weights before, with a lower learning rate or with clipped gradients:
model = kt.build_classifier(backbone, num_classes=len(splits.class_names))
kt.compile_classifier(model, keras.optimizers.Adam(1e-4, clipnorm=1.0))
model.fit(splits.train, epochs=5, callbacks=[keras.callbacks.TerminateOnNaN()])
""",
                {"share": lost, "arrays": len(broken)},
            )
        ]
    labels, predicted = case.labels(case.scored), case.predicted(case.scored)
    if len(np.unique(labels)) < 2:
        raise NotExaminedError(f"all {case.scored} photos are of one class")
    spread = float(np.ptp(outputs, axis=0).max())
    dead = spread <= 1e-4 * max(1e-6, np.abs(outputs).max())
    # That a common class is the answer is looked at with the imbalance of classes.
    balanced = np.bincount(labels).max() <= 0.8 * len(labels)
    if not dead and (len(np.unique(predicted)) > 1 or len(labels) < 20 or not balanced):
        return []
    return [
        Finding(
            "serious",
            "The same answer to every photo",
            f"All of {len(labels):,} {case.scored} photos of "
            f"{len(np.unique(labels))} classes are answered with "
            f"{case.name(int(predicted[0]))}. Between photos no output differs by more "
            f"than {spread:.3g}.",
            "The answer does not depend on the photo: units are dead (ReLU after too "
            "large a step), or features vanish, or the last layer cannot say more."
            if dead
            else "The model tells no photo from another. Other findings may say why.",
            """
features = kt.extract_features(backbone, splits)
model = kt.build_classifier(backbone, num_classes=len(splits.class_names))
model = kt.fit_head(model, features, learning_rate=1e-3)
""",
            {"spread": spread},
        )
    ]


def _finite(weight) -> bool:
    value = keras.ops.convert_to_numpy(weight)
    return value.dtype.kind not in "fV" or bool(np.isfinite(as_array(weight)).all())


CHECKS = (
    Check(
        "training mode",
        check_training_mode,
        "the same photos, predicted again, alone, and by calling the model",
        "How predictions were made elsewhere, unless they are given.",
    ),
    Check(
        "outputs",
        check_outputs,
        "whether weights and outputs are finite, and differ between photos",
        "Why they are not.",
    ),
)
