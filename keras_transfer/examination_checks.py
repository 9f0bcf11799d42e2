"""What an examination refuses before it begins."""

import keras
import numpy as np
import tensorflow as tf

from keras_transfer import pipelines
from keras_transfer.classification_report import ClassificationReport


def checked_predictions(predictions) -> tuple[np.ndarray | None, np.ndarray] | None:
    """Return labels, where they are known, and predictions; or raise an error."""
    if predictions is None:
        return None
    if isinstance(predictions, ClassificationReport):
        return predictions.labels, predictions.probabilities
    predictions = np.asarray(predictions)
    if predictions.ndim not in (1, 2) or predictions.dtype.kind not in "iuf":
        raise ValueError(
            "predictions must be a report of evaluate_classifier, or an array of one "
            "row an image, or of one class number an image. "
            f"Received: predictions of shape {predictions.shape}"
        )
    return None, predictions


def check_data(datasets: dict[str, tf.data.Dataset]) -> None:
    """Raise an error if there are no batched images with labels."""
    if not datasets:
        raise ValueError(
            "Expected Splits, or a dictionary with at least one of train, validation "
            "and test, and class_names if there are any. Received: no split"
        )
    for name, dataset in datasets.items():
        spec = getattr(dataset, "element_spec", None)
        images = spec[0] if isinstance(spec, tuple) and len(spec) > 1 else None
        if not isinstance(images, tf.TensorSpec) or images.shape.rank != 4:
            raise ValueError(
                "Each split must be a batched tf.data.Dataset of images and labels; "
                f"one of single images needs .batch(32). Received: {name}={dataset}"
            )


def checked_units(model: keras.Model, datasets: dict[str, tf.data.Dataset]) -> int:
    """Return the number of output units of a classifier, or raise an error.

    Keras does not know the shapes of a subclassed model, so that one is called.
    """
    inputs, outputs = (
        getattr(model, name, None) for name in ("input_shape", "output_shape")
    )
    if inputs is None and isinstance(model, keras.Model) and model.built:
        images, _ = pipelines.read(pipelines.in_order(*[*datasets.values()][:1]), 1)
        outputs = getattr(model(images, training=False), "shape", None)
        inputs, outputs = (None, *images.shape[1:]), outputs and tuple(outputs)
    if [len(x) if isinstance(x, tuple) else 0 for x in (inputs, outputs)] != [4, 2]:
        raise ValueError(
            "Expected a built classifier of images, from (batch, height, width, "
            "channels) to (batch, classes). Received: "
            f"model={model}, input_shape={inputs}, output_shape={outputs}"
        )
    for name, dataset in datasets.items():
        shape = dataset.element_spec[0].shape
        if not shape.is_compatible_with(inputs):
            raise ValueError(
                f"The model takes images of shape {inputs}. "
                f"Received: {name} with images of shape {shape}"
            )
    return outputs[-1]
