"""What an examination refuses before it begins."""

import os
from collections.abc import Iterable, Mapping

import keras
import numpy as np
import tensorflow as tf

from keras_transfer.classifier.saved import Classifier
from keras_transfer.data import pipelines
from keras_transfer.evaluation.report import ClassificationReport
from keras_transfer.models.outputs import only_output
from keras_transfer.runtime.arguments import reason, shown, texts, whole_number

SPLITS = ("train", "validation", "test")
PARTS = (*SPLITS, "class_names", "counts")
# What people call the validation split otherwise.
OTHER_NAMES = {"val": "validation", "valid": "validation"}
CLASSIFIER = (
    "Expected a built classifier of images, from (batch, height, width, channels) to "
    "(batch, classes), with one input and one output. "
)


def checked_model(model) -> tuple[keras.Model, tuple[str, ...] | None]:
    """Return a built model, and the class names that were saved with it, if any."""
    names = None
    if isinstance(model, Classifier):
        model, names = model.model, model.class_names
    if isinstance(model, str | os.PathLike):
        raise ValueError(
            f"{CLASSIFIER}Of a file, load it first: kt.load_classifier(path). "
            f"Received: model={shown(model)}"
        )
    if not isinstance(model, keras.Model) or not model.built:
        raise ValueError(f"{CLASSIFIER}Received: model={shown(model)}")
    return model, names


def checked_parts(splits) -> dict:
    """Return what was given of `PARTS`: data sets, class names and counts."""
    if isinstance(splits, Mapping):
        parts = _of_mapping(splits)
    elif any(hasattr(splits, name) for name in SPLITS):
        parts = {name: getattr(splits, name, None) for name in PARTS}
    else:
        hint = ""
        if isinstance(splits, tf.data.Dataset):
            hint = ' Of one data set, pass {"test": dataset}.'
        elif isinstance(splits, str | os.PathLike):
            hint = " Of a folder, pass kt.load_directory(path)."
        raise ValueError(
            "splits must be Splits, or a dictionary with at least one of train, "
            f"validation and test, and class_names if there are any.{hint} "
            f"Received: splits={shown(splits)}"
        )
    parts = {name: part for name, part in parts.items() if part is not None}
    _check_data({name: parts[name] for name in SPLITS if name in parts})
    if "class_names" in parts:
        parts["class_names"] = texts("class_names", parts["class_names"], 1)
    if "counts" in parts:
        counts = parts["counts"]
        if not isinstance(counts, Mapping):
            raise ValueError(
                "counts must be a dictionary from a split to its number of images. "
                f"Received: counts={shown(counts)}"
            )
        parts["counts"] = {
            name: whole_number(f"counts[{name!r}]", count, 0)
            for name, count in counts.items()
        }
    return parts


def _of_mapping(splits: Mapping) -> dict:
    parts = {}
    for key, part in splits.items():
        name = OTHER_NAMES.get(key, key) if isinstance(key, str) else key
        if name not in PARTS or parts.get(name) is not None:
            raise ValueError(
                "splits must be Splits, or a dictionary with at least one of train, "
                "validation and test, each once, and class_names if there are any. "
                f"Received: splits with the keys {', '.join(map(str, splits))}"
            )
        parts[name] = part
    return parts


def checked_history(history) -> dict[str, list[float]] | None:
    """Return one number an epoch for each metric; or raise an error."""
    if history is None:
        return None
    values = getattr(history, "history", history)
    try:
        numbers = {
            str(name): [float(each) for each in epochs]
            for name, epochs in values.items()
            # `fine_tune` names the stage of each epoch beside its numbers, and metrics
            # such as F1Score give one number a class.
            if not all(isinstance(each, str) or np.ndim(each) for each in epochs)
        }
        if values and not numbers:
            raise ValueError("no metric has one number an epoch")
        return numbers
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            "history must be what fit or fine_tune returned, or its dictionary of one "
            f"number an epoch for each metric. Received: history={shown(history)}"
        ) from error


def checked_predictions(predictions) -> tuple[np.ndarray | None, np.ndarray] | None:
    """Return labels, where they are known, and predictions; or raise an error."""
    if predictions is None:
        return None
    if isinstance(predictions, ClassificationReport):
        return predictions.labels, predictions.probabilities
    try:
        # A model whose output has a name predicts a dictionary.
        named = isinstance(predictions, Mapping)
        found = np.asarray(only_output(predictions) if named else predictions)
    except (TypeError, ValueError):  # Rows of different lengths.
        found = np.asarray(None)
    if str(found.dtype) == "bfloat16":
        found = found.astype("float32")
    if found.ndim not in (1, 2) or found.dtype.kind not in "iuf" or not found.size:
        received = (
            f"predictions of shape {found.shape}"
            if found.dtype.kind in "iuf"
            else f"predictions={shown(predictions)}"
        )
        raise ValueError(
            "predictions must be a report of evaluate_classifier, or an array of one "
            f"row an image, or of one class number an image. Received: {received}"
        )
    return None, found


def _check_data(datasets: dict[str, tf.data.Dataset]) -> None:
    """Raise an error if there are no batched images with labels."""
    if not datasets:
        raise ValueError(
            "Expected Splits, or a dictionary with at least one of train, validation "
            "and test, and class_names if there are any. Received: no split"
        )
    for name, dataset in datasets.items():
        spec = getattr(dataset, "element_spec", None)
        pair = spec[:2] if isinstance(spec, tuple) and len(spec) > 1 else ()
        if (
            not isinstance(dataset, tf.data.Dataset)
            or not pair
            or not all(isinstance(x, tf.TensorSpec) and _is_number(x) for x in pair)
            or pair[0].shape.rank != 4
        ):
            raise ValueError(
                "Each split must be a batched tf.data.Dataset of images and labels; "
                "one of single images needs .batch(32). "
                f"Received: {name}={shown(dataset)}"
            )


def _is_number(spec: tf.TensorSpec) -> bool:
    return spec.dtype.is_floating or spec.dtype.is_integer or spec.dtype.is_bool


def checked_units(model: keras.Model, datasets: dict[str, tf.data.Dataset]) -> int:
    """Return the number of output units of a classifier, or raise an error.

    Keras does not know the shapes of a subclassed model, so that one is called.
    """
    inputs, outputs = (
        getattr(model, name, None) for name in ("input_shape", "output_shape")
    )
    if inputs is None and isinstance(model, keras.Model) and model.built:
        outputs, inputs = _called(model, datasets.values())
    if [len(x) if isinstance(x, tuple) else 0 for x in (inputs, outputs)] != [4, 2]:
        raise ValueError(
            f"{CLASSIFIER}Received: model={shown(model)}, input_shape={inputs}, "
            f"output_shape={outputs}"
        )
    for name, dataset in datasets.items():
        shape = dataset.element_spec[0].shape
        if not shape.is_compatible_with(inputs):
            raise ValueError(
                f"The model takes images of shape {inputs}. "
                f"Received: {name} with images of shape {shape}"
            )
    return outputs[-1]


def _called(model, datasets: Iterable[tf.data.Dataset]) -> tuple:
    """Return the shape of what a model answers, and of what it was asked."""
    for dataset in datasets:
        images, _ = pipelines.read(pipelines.in_order(dataset), 1)
        if len(images):
            break
    try:
        answers = keras.tree.flatten(model(images, training=False))
        outputs = getattr(answers[0], "shape", None) if len(answers) == 1 else None
    except Exception as error:  # It is somebody else's code.
        raise ValueError(
            f"{CLASSIFIER}It cannot be called with images of shape {images.shape} "
            f"({type(error).__name__}: {reason(error)}). Received: model={shown(model)}"
        ) from error
    return outputs and tuple(outputs), (None, *images.shape[1:])
