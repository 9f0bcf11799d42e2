"""The copy of a model that learns in its place, because it takes less time."""

import contextlib
import typing
from collections.abc import Iterator

import keras

from keras_transfer.models.folding import fold_while_training
from keras_transfer.models.graph import batch_normalizations, own_parts
from keras_transfer.models.precision import fast_copy, own_dtype, same_copy
from keras_transfer.models.training_state import random_states
from keras_transfer.runtime import workers


def learner_of(model: keras.Model, dtype: typing.Any = None) -> keras.Model:
    """Return a copy of `model` that learns the same in less time, or `model` itself.

    The copy computes in the precision of `fast_copy`, and each BatchNormalization that
    stays still is folded into its convolution within the training step. Weights and
    layers are those of `model`, in the same order: `give_back` moves what was learnt. A
    model of a precision of its own, or one that holds code of one's own, learns itself:
    a copy need not be the same.

    Args:
        model: The model, which is left as it is.
        dtype: As in `fast_copy`.
    """
    learner = fast_copy(model, dtype)
    if learner is model:
        if own_dtype(model) or own_parts(model) or not batch_normalizations(model):
            return model
        try:
            learner = same_copy(model)
        except Exception:  # A layer that cannot be copied: then only speed is lost.
            return model
    _assign_states(learner, model)
    fold_while_training(learner)
    return learner


def give_back(learner: keras.Model, model: keras.Model) -> None:
    """Give `model` the weights that its learner has, and what it draws next."""
    if learner is not model:
        model.set_weights(learner.get_weights())
        _assign_states(model, learner)


@contextlib.contextmanager
def learning_alone(model: keras.Model) -> Iterator[keras.Model]:
    """Yield what learns in place of `model` in this process alone: mostly itself.

    In a worker it is a copy. Each worker trains one, on all data, which is the same in
    all of them: for a small model that takes less time than to agree on each step.
    """
    if workers.this_worker() is None:
        yield model
        return
    with workers.alone():
        copy = same_copy(model)
        _assign_states(copy, model)
    try:
        with workers.alone():
            yield copy
    finally:
        give_back(copy, model)


def _assign_states(to: keras.Model, of: keras.Model) -> None:
    # A layer of one's own may make a generator only when it first draws.
    for new, old in zip(random_states(to), random_states(of), strict=False):
        new.assign(old)
