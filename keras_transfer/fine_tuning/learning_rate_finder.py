"""Find a learning rate by trying them all in one short sweep."""

import keras
import numpy as np
import tensorflow as tf

from keras_transfer.data.splits import Splits
from keras_transfer.models.compiling import ModelState, check_loss, compile_for_sweep
from keras_transfer.runtime import keras_internals
from keras_transfer.runtime.arguments import (
    batched_dataset,
    keras_model,
    real_number,
    shown,
    whole_number,
)


class LearningRateFinder(keras.callbacks.Callback):
    """Raise the learning rate step by step, note the loss, and undo all of it.

    At the end of the sweep training stops, and the model is what it was before, bit for
    bit: its weights, the state of the random generators of its layers, its metrics and
    its optimizer, of which the sweep uses a copy.

    Args:
        min_learning_rate: First rate, above 0. Defaults to `1e-6`.
        max_learning_rate: Last rate, above the first. Defaults to `1.0`.
        num_steps: Steps of the sweep, each one batch, at least 10; it ends earlier
            where the loss runs away. Defaults to `60`.

    Attributes:
        learning_rates: Rates that were tried.
        losses: Loss of the batch that each was tried on, smoothed.
        suggestion: A tenth of the highest rate at which the loss was still nearer to
            its lowest value than to where it began; where it never fell clearly, of
            the highest rate at which it had not risen yet.

    Raises:
        ValueError: If the range or the number of steps makes no sweep.

    Example:

    >>> import keras_transfer as kt
    >>> kt.callbacks.LearningRateFinder(1e-5, 1e-1, num_steps=30).learning_rates
    []

    Reference:

    - [Smith, 2017](https://arxiv.org/abs/1506.01186)
    """

    def __init__(
        self,
        min_learning_rate: float = 1e-6,
        max_learning_rate: float = 1.0,
        num_steps: int = 60,
    ):
        super().__init__()
        lowest = real_number("min_learning_rate", min_learning_rate, above=0)
        highest = real_number("max_learning_rate", max_learning_rate, above=0)
        if lowest >= highest:
            raise ValueError(
                "Expected 0 < min_learning_rate < max_learning_rate. Received: "
                f"min_learning_rate={min_learning_rate}, "
                f"max_learning_rate={max_learning_rate}"
            )
        num_steps = whole_number("num_steps", num_steps, 10)
        self._rates = np.geomspace(lowest, highest, num_steps)
        self.learning_rates: list[float] = []
        self.losses: list[float] = []
        self._average = 0.0
        self._values, self._state = [], None

    @property
    def suggestion(self) -> float:
        """A tenth of the highest rate that did no harm yet."""
        if not self.losses:
            raise ValueError("There is no suggestion before the sweep has run.")
        losses = np.array(self.losses)
        if not np.isfinite(losses).any():
            raise ValueError(
                "No rate of the sweep gave a finite loss. Sweep lower rates, or check "
                f"the model. Received: learning rates from {self.learning_rates[0]}"
            )
        losses[~np.isfinite(losses)] = np.inf
        # At the first rates nothing is learnt yet: they tell where the loss began, and
        # how far it differs from batch to batch.
        early = losses[: max(1, len(losses) // 4)]
        fall = np.median(early) - losses.min()
        bound = losses.min() + fall / 2 if fall > np.ptp(early) else early.max()
        low = losses <= bound
        return self.learning_rates[int(np.flatnonzero(low)[-1])] / 10

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Keep a copy of all that the sweep will change."""
        model = self.model
        check_loss(model, "LearningRateFinder")
        optimizer = _inner(model.optimizer)
        schedules = keras.optimizers.schedules.LearningRateSchedule
        given = keras_internals.learning_rate_given(optimizer)
        if isinstance(given, schedules):
            raise ValueError(
                "A learning rate that follows a schedule cannot be swept. Compile with "
                "a number, find the rate, then build the schedule. "
                f"Received: learning_rate={given}"
            )
        if model.steps_per_execution != 1:
            raise ValueError(
                "The sweep needs the loss of each step. Compile with "
                "steps_per_execution=1. "
                f"Received: steps_per_execution={model.steps_per_execution}"
            )
        self._state = ModelState(model)
        self._values = [
            (variable, keras.ops.convert_to_numpy(variable).copy())
            for variable in model.variables
        ]
        compile_for_sweep(model)
        model.make_train_function()
        self.learning_rates, self.losses, self._average = [], [], 0.0

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        """Set the next rate; the loss in `logs` is to be this batch's alone."""
        _inner(self.model.optimizer).learning_rate = self._rates[len(self.losses)]
        self.model.reset_metrics()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Note the loss, and stop at the last rate or where the loss runs away."""
        loss, step = logs["loss"], len(self.losses) + 1
        # An exponential average, corrected for its start at zero.
        self._average = 0.9 * self._average + 0.1 * loss
        smoothed = self._average / (1 - 0.9**step)
        self.learning_rates.append(float(self._rates[step - 1]))
        self.losses.append(float(smoothed))
        # A loss near zero doubles by chance, so the first losses count as well.
        bound = max(4 * min(self.losses), 2 * max(self.losses[:5]))
        ran_away = not np.isfinite(loss) or smoothed > bound
        if step == len(self._rates) or (ran_away and step > 10):
            self.model.stop_training = True

    def on_train_end(self, logs: dict | None = None) -> None:
        """Put back all that the sweep has changed."""
        self.restore()

    def restore(self) -> None:
        """Put back all that the sweep has changed, as `on_train_end` does."""
        for variable, value in self._values:
            variable.assign(value)
        if self._state is not None:
            self._state.put_back()
        self._values, self._state = [], None


def find_learning_rate(
    model: keras.Model, dataset: tf.data.Dataset | Splits, **sweep
) -> LearningRateFinder:
    """Sweep the learning rate over a data set, and leave the model as it was.

    Args:
        model: Compiled `keras.Model`; what is trainable in it is what is swept.
        dataset: Batched training data, for example `splits.train`; repeated if the
            sweep takes more steps than it has batches. `Splits` stand for their
            training photos.
        **sweep: `min_learning_rate`, `max_learning_rate` and `num_steps` of
            `callbacks.LearningRateFinder`.

    Returns:
        The `LearningRateFinder` with its `learning_rates`, `losses` and `suggestion`;
        `plots.show_learning_rate_finder` draws it.

    Raises:
        ValueError: If the model has no loss, the data give no batches of images and
            labels, or the sweep is not one.

    Example:

    >>> import tensorflow as tf, keras_transfer as kt
    >>> backbone = kt.build_backbone("vgg16", weights=None, image_size=32)
    >>> model = kt.build_classifier(backbone, num_classes=2)
    >>> kt.compile_classifier(model, "adam")
    >>> data = tf.data.Dataset.from_tensors((tf.ones((2, 32, 32, 3)), [0, 1]))
    >>> finder = kt.find_learning_rate(model, data, num_steps=10)
    >>> finder.suggestion < 1
    True
    """
    finder = LearningRateFinder(**sweep)
    check_loss(keras_model("model", model), "find_learning_rate")
    dataset = _checked_data(model, dataset)
    before = ModelState(model)
    try:
        # Already here, because `fit` builds the optimizer and metrics that it finds.
        compile_for_sweep(model)
        model.fit(
            dataset.repeat(),
            steps_per_epoch=len(finder._rates),
            epochs=1,
            callbacks=[finder],
            verbose=0,
            shuffle=False,  # The data set shuffles itself.
        )
    finally:
        finder.restore()
        before.put_back()
    if not finder.losses:
        raise ValueError(
            f"dataset must hold at least one batch. Received: dataset={shown(dataset)}"
        )
    return finder


def _checked_data(model: keras.Model, dataset) -> tf.data.Dataset:
    if isinstance(dataset, Splits):
        dataset = dataset.train
    spec = getattr(dataset, "element_spec", None)
    if not isinstance(dataset, tf.data.Dataset) or not isinstance(spec, tuple):
        return batched_dataset("dataset", dataset)
    outputs = len(getattr(model, "outputs", None) or [None])
    if outputs > 1 and isinstance(spec[1], tf.TensorSpec):
        raise ValueError(
            f"The model has {outputs} outputs, so the data set must give as many "
            f"labels of each image. Received: dataset with elements {spec}"
        )
    images, shape = spec[0], getattr(model, "input_shape", None)
    if None in [getattr(x.shape, "rank", None) for x in tf.nest.flatten(spec)]:
        raise ValueError(
            "Keras needs to know the shapes of what it trains on. Say them by "
            "tf.ensure_shape(images, (None, height, width, 3)) and "
            "tf.ensure_shape(labels, (None,)) in dataset.map. "
            f"Received: dataset with elements {spec}"
        )
    if isinstance(images, tf.TensorSpec) and isinstance(shape, tuple):
        if images.shape.rank == len(shape) - 1:
            raise ValueError(
                "dataset must be batched: add .batch(32). "
                f"Received: dataset with elements {spec}"
            )
        # Keras's own error tells of layers, not of what to do.
        if not images.shape.is_compatible_with(shape):
            raise ValueError(
                f"The model takes batches of shape {shape}. Load the data at that "
                f"size. Received: dataset with elements {spec}"
            )
    return dataset


def _inner(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    return getattr(optimizer, "inner_optimizer", optimizer)
