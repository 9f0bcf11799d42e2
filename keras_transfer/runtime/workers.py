"""Several machines learn together: each worker takes a part of each batch."""

import contextlib
import json
import os
import typing
import weakref
from collections.abc import Callable, Iterator

import keras
import tensorflow as tf

from keras_transfer.runtime import keras_internals
from keras_transfer.runtime.arguments import shown
from keras_transfer.runtime.keras_internals import Step

# These give as many batches as they get, so a part goes through them as the whole does.
FOLLOWED = {Step.MAP, Step.PARALLEL_MAP, Step.PREFETCH, Step.OPTIONS, Step.REPEAT}

# Of each data set that can be shared out: this worker's part of it, the number of
# steps, and what begins it with a later pass; or the error to raise where it cannot be.
_PARTS = weakref.WeakKeyDictionary()


class Worker(typing.NamedTuple):
    """Say which of the workers this process is.

    Attributes:
        index: Its number, from 0, which is the one that writes files.
        count: How many there are.
        devices: On how many devices each of them learns.
    """

    index: int
    count: int
    devices: int


class SharingStrategy(tf.distribute.MultiWorkerMirroredStrategy):
    """Learn with other processes, each on its part of the photos of each batch.

    TensorFlow's own way lets each worker decode all photos, and gives one that finds no
    photo in a last batch none. Here the data sets of `Splits` are shared out before
    they are decoded, and evenly; all others are as TensorFlow shares them out.
    """

    def __init__(self):
        super().__init__()
        index, count = _place()
        devices = self.num_replicas_in_sync // count
        self.worker = Worker(index, count, devices)
        self.begin_at = None

    def experimental_distribute_dataset(self, dataset, options=None):
        """Return what an iterator of it gives this worker, as Keras asks for it."""
        found = _part_of(dataset)
        if found is None:
            return super().experimental_distribute_dataset(dataset, options)
        part, steps, begin_at = found
        self.begin_at = begin_at or self.begin_at
        shared = self.distribute_datasets_from_function(lambda _: part, options)
        if steps is not None:
            keras_internals.set_steps(shared, steps)
        return shared


def worker_count() -> int:
    """Return how many workers `TF_CONFIG` names, 1 if there is none."""
    return _place()[1]


def begin() -> SharingStrategy:
    """Return the strategy of a worker, which waits until all of them are there.

    Raises:
        RuntimeError: If TensorFlow has computed something before.
    """
    try:
        return SharingStrategy()
    except RuntimeError as error:
        if "startup" not in str(error):
            raise
        raise RuntimeError(
            "TF_CONFIG names several workers, and these must find each other before "
            "TensorFlow computes anything: call kt.profile(...) in the first line "
            "after the imports, before data and models are loaded. "
            f"Received: TF_CONFIG={shown(os.environ['TF_CONFIG'])}"
        ) from error


def this_worker() -> Worker | None:
    """Return which worker this process is, or `None` where it learns alone."""
    strategy = tf.distribute.get_strategy()
    return strategy.worker if isinstance(strategy, SharingStrategy) else None


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Let a worker do what the others do not do at the same time.

    What is built meanwhile learns in this process alone; a model that was built before
    cannot learn in it.
    """
    if this_worker() is None:
        yield
        return
    strategy = tf.distribute.get_strategy()
    tf.distribute.experimental_set_strategy(None)
    try:
        yield
    finally:
        tf.distribute.experimental_set_strategy(strategy)


def go_on(number: int) -> None:
    """Begin what a worker trains on now with a later pass, as if others had been."""
    strategy = tf.distribute.get_strategy()
    if isinstance(strategy, SharingStrategy) and strategy.begin_at is not None:
        strategy.begin_at(number)


def share_out(
    whole: tf.data.Dataset,
    part: tf.data.Dataset | ValueError,
    steps: int = 0,
    begin_at: Callable[[int], None] | None = None,
) -> None:
    """Let a worker learn from its part where it is told to learn from the whole.

    Args:
        whole: Data set of batches.
        part: This worker's part of each of them, a batch a device; or the error to
            raise where none can be made.
        steps: The number of steps, in each of which each device gets a batch.
        begin_at: Function of a number that makes the pass of that number the next one.
            Defaults to none, for what has one order.
    """
    _PARTS[whole] = part, steps, begin_at


def _part_of(dataset: tf.data.Dataset) -> tuple | None:
    """Return the part of what was made of a shared data set batch by batch."""
    after = []
    while dataset not in _PARTS:
        if type(dataset).__name__ not in FOLLOWED:
            return None
        after.append(dataset)
        (dataset,) = keras_internals.made_of(dataset)
    part, steps, begin_at = _PARTS[dataset]
    if isinstance(part, ValueError):
        raise part
    for step in reversed(after):
        kind = type(step).__name__
        if kind == Step.MAP:
            part = part.map(keras_internals.step_function(step))
        elif kind == Step.PARALLEL_MAP:
            function = keras_internals.step_function(step)
            part = part.map(function, num_parallel_calls=os.cpu_count())
        elif kind == Step.REPEAT:
            if step.cardinality() != tf.data.INFINITE_CARDINALITY:
                return None
            part, steps = part.repeat(), None
        elif kind == Step.PREFETCH:
            part = part.prefetch(2)
    return part, steps, begin_at


def reduce_logs(values, strategy, reduction: str, own):
    """Stand in for the Keras function that puts together what the devices return.

    Keras averages numbers along an axis that they do not have.

    Args:
        values: What a step returned, on each device.
        strategy: The strategy.
        reduction: How to put it together; `"concat"` is for predictions.
        own: Keras's function.
    """
    if reduction == "concat" or not isinstance(strategy, SharingStrategy):
        return own(values, strategy, reduction)
    return keras.tree.map_structure(
        lambda value: strategy.reduce("MEAN", value, axis=None), values
    )


def _place() -> tuple[int, int]:
    """Return the number of this worker, and of all, as `TF_CONFIG` has them."""
    text = os.environ.get("TF_CONFIG")
    if not text:
        return 0, 1
    try:
        config = json.loads(text)
        cluster, task = config.get("cluster", {}), config.get("task", {})
        chiefs, others = (len(cluster.get(kind, ())) for kind in ("chief", "worker"))
        kind, index = task.get("type", "worker"), int(task.get("index", 0))
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            'TF_CONFIG must be JSON such as {"cluster": {"worker": ["host1:2222", '
            '"host2:2222"]}, "task": {"type": "worker", "index": 0}}. '
            f"Received: TF_CONFIG={shown(text)}"
        ) from error
    if kind not in ("chief", "worker"):
        return 0, 1
    return (index if kind == "chief" else chiefs + index), max(1, chiefs + others)
