"""Arrays of a model's labels and outputs, and a model that is put back as it was."""

import contextlib
from collections.abc import Iterator

import keras
import numpy as np


def as_array(tensor) -> np.ndarray:
    """Return a float32 array."""
    return keras.ops.convert_to_numpy(keras.ops.cast(tensor, "float32"))


def class_scores(outputs: np.ndarray, activation: str | None) -> np.ndarray:
    """Return outputs with one column a class; probabilities, where they can be."""
    logits = activation == "linear"
    if activation is None:
        # Then the numbers must tell whether they are probabilities.
        logits = not np.all((outputs >= 0) & (outputs <= 1))
    if outputs.shape[1] == 1:
        second = outputs
        if logits:
            second = as_array(keras.ops.sigmoid(outputs))
        return np.concatenate([1 - second, second], axis=1)
    if logits:
        return as_array(keras.ops.softmax(outputs))
    return outputs


def integer_labels(labels: np.ndarray) -> np.ndarray:
    """Return labels `(count,)` of one-hot ones, of a column, or of numbers."""
    if labels.ndim == 2 and labels.shape[1] > 1:
        return labels.argmax(axis=1)
    return labels.reshape(-1).astype("int64")


@contextlib.contextmanager
def restored(model: keras.Model) -> Iterator[None]:
    """Put back all weights, statistics and random states of a model at the end."""
    variables = [*model.variables, *model.metrics_variables]
    before = [(v, keras.ops.convert_to_numpy(v).copy()) for v in variables]
    try:
        yield
    finally:
        for variable, value in before:
            variable.assign(value)
