"""Labels as integers, and a model that is put back as it was."""

import contextlib
from collections.abc import Iterator

import keras
import numpy as np


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
