"""Labels as integers, and a model that is put back as it was."""

import contextlib
import random
from collections.abc import Iterable, Iterator

import keras
import numpy as np
import tensorflow as tf

from keras_transfer.data import pipelines
from keras_transfer.runtime import keras_internals


def integer_labels(labels: np.ndarray) -> np.ndarray:
    """Return labels `(count,)` of one-hot ones, of a column, or of numbers."""
    if labels.ndim == 2 and labels.shape[1] > 1:
        return labels.argmax(axis=1)
    return labels.reshape(-1).astype("int64")


def whole_labels(labels: np.ndarray) -> bool:
    """Tell whether labels are one-hot, or numbers without a fraction."""
    one_hot = labels.ndim == 2 and labels.shape[1] > 1
    return one_hot or bool(np.all(labels == np.round(labels)))


@contextlib.contextmanager
def restored(model: keras.Model) -> Iterator[None]:
    """Put back all weights, statistics and random states of a model at the end."""
    variables = [*model.variables, *model.metrics_variables]
    before = [(v, keras.ops.convert_to_numpy(v).copy()) for v in variables]
    # It notes the shape of the first labels that it sees, which must not be these.
    state = keras_internals.loss_state(model)
    known = None if state is None else dict(state)
    try:
        yield
    finally:
        for variable, value in before:
            variable.assign(value)
        if state is not None:
            state.clear()
            state.update(known)


@contextlib.contextmanager
def restored_generators(datasets: Iterable[tf.data.Dataset]) -> Iterator[None]:
    """Put back what random numbers come next: for Python, NumPy, Keras, augmentation.

    Keras's numbering of names is put back as well, so that the next layer is called as
    it would have been.
    """
    own = [v for dataset in datasets for v in pipelines.variables(dataset)]
    shared = keras_internals.global_seed_generator()
    own += [shared.state] if shared is not None else []
    before = [(v, keras.ops.convert_to_numpy(v).copy()) for v in own]
    names = keras_internals.name_numbers()
    numbering = dict(names or {})
    python, numpy = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        for variable, value in before:
            variable.assign(value)
        if shared is None:
            keras_internals.forget_global_seed_generator()
        if names is not None:
            names.clear()
            names.update(numbering)
