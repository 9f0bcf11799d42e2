"""Which photos of each batch a worker takes, where several machines learn together.

All workers go through the photos in the same order, and each decodes its own alone.
"""

import typing
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

from keras_transfer.data.passes import Passes
from keras_transfer.runtime import workers
from keras_transfer.runtime.workers import Worker

# Iterators that `fit` makes in each epoch: one to read, and one after it.
ITERATORS = 2


class Whole(typing.NamedTuple):
    """Take all photos, as a process does that learns alone.

    Attributes:
        size: Photos in a batch.
    """

    size: int

    def own(self, photos: tf.data.Dataset) -> tf.data.Dataset:
        """Return the photos that are taken."""
        return photos

    def batch(self, photos: tf.data.Dataset) -> tf.data.Dataset:
        """Return what was taken in batches."""
        return photos.batch(self.size)

    def number(self, count: int) -> int:
        """Return how many batches there are of so many photos."""
        return -(-count // self.size)

    def batches(self, photos: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the same of an array."""
        for start in range(0, len(photos), self.size):
            yield photos[start : start + self.size]


class Part(typing.NamedTuple):
    """Take the photos of one worker.

    Attributes:
        worker: Which one it is.
        taken: How many photos all workers take together, from the first one on.
        sizes: Photos in each batch; each device gets one in each step.
    """

    worker: Worker
    taken: int
    sizes: tuple[int, ...]

    @property
    def steps(self) -> int:
        """Steps in a pass."""
        return len(self.sizes) // self.worker.devices

    def own(self, photos: tf.data.Dataset) -> tf.data.Dataset:
        """Return the photos that are taken."""
        return photos.take(self.taken).shard(self.worker.count, self.worker.index)

    def batch(self, photos: tf.data.Dataset) -> tf.data.Dataset:
        """Return what was taken in batches."""
        size = self.sizes[0]
        photos = photos.batch(size)
        if {*self.sizes[:-1]} <= {size} and self.sizes[-1] <= size:
            return photos
        return photos.rebatch(np.array(self.sizes, "int64"))

    def number(self, _: int) -> int:
        """Return how many batches there are of all photos."""
        return len(self.sizes)

    def batches(self, photos: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the same of an array, of which it takes what is to be taken."""
        own = photos[: self.taken][self.worker.index :: self.worker.count]
        yield from np.split(own, np.cumsum(self.sizes)[:-1])


def shared(
    make: Callable[[Whole | Part], tf.data.Dataset],
    count: int,
    batch_size: int,
    *,
    training: bool = False,
    passes: Passes | None = None,
) -> tf.data.Dataset:
    """Return a data set of photos that several workers can share out.

    Of training photos, those of a step are the ones that a process alone would take, so
    all of a worker's steps weigh the same; the last photos of a pass, fewer than there
    are devices, stay out of it. Of all others none stays out, and steps are of about
    the same size.

    Args:
        make: Makes the data set of a `Whole` or a `Part`.
        count: Number of the photos.
        batch_size: Photos in a batch, of all workers together.
        training: Whether they are trained on. Defaults to `False`.
        passes: What orders them in each pass. Defaults to none: a step of their own.
    """
    whole, worker = make(Whole(batch_size)), workers.this_worker()
    if worker is not None:
        try:
            own = part(worker, count, batch_size, training)
            made = make(own)
            begin_at = _begin_at(made, passes) if training else None
            workers.share_out(whole, made, own.steps, begin_at)
        except ValueError as error:
            workers.share_out(whole, error)
    return whole


def _begin_at(made: tf.data.Dataset, passes: Passes | None) -> Callable[[int], None]:
    def begin_at(number):
        if passes is not None:
            passes.next = number
            return
        # Each iterator draws an order, be it read or not.
        for _ in range(number * ITERATORS):
            iter(made)

    return begin_at


def part(worker: Worker, count: int, batch_size: int, training: bool) -> Part:
    """Return what a worker takes; arguments as in `shared`."""
    devices = worker.count * worker.devices
    if count < devices:
        raise ValueError(
            f"Each of the {devices} devices needs a photo in each step. Use fewer "
            f"workers, or more photos. Received: a split of {count} photos"
        )
    if training:
        if batch_size % devices:
            raise ValueError(
                "The photos of each batch are shared out evenly, so batch_size must be "
                f"a multiple of the {devices} devices of all workers. "
                f"Received: batch_size={batch_size}"
            )
        full, rest = divmod(count // devices, batch_size // devices)
        sizes = [batch_size // devices] * full + [rest] * bool(rest)
        each = tuple(size for size in sizes for _ in range(worker.devices))
        return Part(worker, count // devices * devices, each)
    steps = min(-(-count // batch_size), count // devices)
    own = len(range(worker.index, count, worker.count))
    size, more = divmod(own, steps * worker.devices)
    larger = [size + 1] * more
    return Part(worker, count, (*larger, *[size] * (steps * worker.devices - more)))
