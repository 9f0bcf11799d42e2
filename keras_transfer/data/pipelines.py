"""Look into a tf.data pipeline: what is cached, shuffled, and drawn at random."""

import os
import typing
from collections.abc import Collection

import numpy as np
import tensorflow as tf

from keras_transfer.runtime import keras_internals
from keras_transfer.runtime.keras_internals import Step, step_function

CACHES = {Step.CACHE}
SHUFFLES = {Step.SHUFFLE}
MAPS = {Step.MAP, Step.PARALLEL_MAP}
BATCHES = {Step.BATCH, Step.PARALLEL_BATCH}
UNBATCHES = {Step.UNBATCH}
# They change when an element comes, not what it is.
TRANSPARENT = {Step.OPTIONS, Step.PREFETCH, Step.REPEAT, Step.ASSERT_CARDINALITY}
# They let some of the elements pass, as they are. Which ones may depend on the order
# before, so nothing is taken out or put in before them.
PASSING = {Step.TAKE, Step.SKIP, Step.SHARD, Step.FILTER, Step.IGNORE_ERRORS}
KNOWN = CACHES | SHUFFLES | MAPS | BATCHES | UNBATCHES | TRANSPARENT | PASSING
# Sources that give the same elements in the same order in each pass.
FIXED = {Step.TENSOR_SLICE, Step.TENSOR, Step.RANGE}
# So do these if all that they are made of does.
SOURCES = FIXED | {Step.ZIP, Step.CONCATENATE}
# A step that is to change a picture at random leaves its range about as it is. One that
# also divides by 255 may not be left out with it.
RANGE_RATIO = 4.0
# So that a random mirroring shows, which is the same in half of all draws.
DRAWS = 8


class RandomMap(typing.NamedTuple):
    """Hold a step of a pipeline that makes other pixels of the same image.

    Attributes:
        index: Its position in `steps`.
        change: How far two draws differ on average, as a share of the pixels' range.
        rescales: Whether it also brings the pixels into quite another range.
    """

    index: int
    change: float
    rescales: bool = False


def kind(dataset: tf.data.Dataset) -> str:
    """Return TensorFlow's name of the step that a data set is."""
    return type(dataset).__name__


def steps(dataset: tf.data.Dataset) -> list[tf.data.Dataset]:
    """Return the data sets that a pipeline is made of, from its source to its end.

    The first one is of a kind that is not looked into here, such as one that reads
    files or makes elements in Python.
    """
    found = [dataset]
    while kind(found[0]) in KNOWN:
        found.insert(0, keras_internals.made_of(found[0])[0])
    return found


def variables(dataset: tf.data.Dataset) -> list[tf.Variable]:
    """Return what the functions of a pipeline change, such as states of seeds."""
    parts = keras_internals.made_of(dataset)
    found = [v for part in parts for v in variables(part)]
    for function_of in (keras_internals.map_function, keras_internals.predicate):
        found += getattr(function_of(dataset), "variables", ())
    return found


def in_order(
    dataset: tf.data.Dataset, without: Collection[int] = (), every: int = 1
) -> tf.data.Dataset:
    """Return the same pipeline without its shuffling and caches.

    Elements come in stored order, also those of a last batch that is not full, and no
    cache is filled or thrown away.

    Args:
        dataset: `tf.data.Dataset`.
        without: Positions in `steps` of maps to leave out. Defaults to none.
        every: Distance between the images that are kept. Defaults to `1`.
    """
    found, base = steps(dataset), _base(dataset)
    left_out = CACHES | SHUFFLES | {Step.REPEAT}
    changed = [
        index
        for index, step in enumerate(found)
        if index > base
        and (kind(step) in left_out or index in without or _drops_remainder(step))
    ]
    if every > 1:
        # Taken before the others are even decoded.
        changed = [base + 1]
    if not changed:
        return dataset
    replayed = found[changed[0] - 1]
    replayed = replayed.shard(every, 0) if every > 1 else replayed
    for index, step in enumerate(found[changed[0] :], changed[0]):
        if kind(step) in MAPS and index not in without:
            replayed = replayed.map(
                step_function(step), num_parallel_calls=os.cpu_count()
            )
        elif kind(step) in BATCHES:
            replayed = replayed.batch(keras_internals.batch_size(step))
        elif kind(step) in UNBATCHES:
            replayed = replayed.unbatch()
    return without_autotune(replayed.prefetch(2))


def unshuffled(dataset: tf.data.Dataset, most: int = 1024) -> tf.data.Dataset:
    """Return the same pipeline with each image in the same place of every pass.

    All steps stay but for shuffling and repeating, so of a part that is taken others
    may come; caches begin empty. A source that may change its order is read once, and
    of that one at most `most` elements are kept.
    """
    found = steps(dataset)
    replayed = found[0]
    if not fixed_order(replayed):
        replayed = replayed.take(most).cache()
        for _ in replayed:  # To its end, or a part that is taken would be read anew.
            pass
    filling = False
    for step in found[1:]:
        name = kind(step)
        if name in CACHES | SHUFFLES:
            # A full buffer of images has filled the cache before it.
            filling = name in SHUFFLES
        if name == Step.TAKE:
            replayed = _first(replayed, keras_internals.count(step), filling)
        else:
            replayed = _with_step(replayed, step)
    return without_autotune(replayed)


def _with_step(dataset: tf.data.Dataset, step: tf.data.Dataset) -> tf.data.Dataset:
    """Repeat a step on another data set; those that only change the order fall out."""
    name = kind(step)
    if name in MAPS:
        # Side by side, draws by one seed would come in another order each time.
        calls = None if name == Step.MAP else os.cpu_count()
        return dataset.map(step_function(step), num_parallel_calls=calls)
    if name in BATCHES:
        return dataset.batch(
            keras_internals.batch_size(step), keras_internals.drop_remainder(step)
        )
    if name in UNBATCHES:
        return dataset.unbatch()
    if name in CACHES:
        return dataset.cache()
    if name == Step.SKIP:
        return dataset.skip(keras_internals.count(step))
    if name == Step.SHARD:
        return dataset.shard(*keras_internals.shard(step))
    if name == Step.FILTER:
        return dataset.filter(_predicate(step))
    if name == Step.IGNORE_ERRORS:
        return dataset.ignore_errors()
    return dataset


def _first(dataset: tf.data.Dataset, count: tf.Tensor, to_the_end: bool):
    """Take so many elements, and read the others too, so that a cache is filled."""
    if not to_the_end or int(count) < 0:
        return dataset.take(count)
    numbered = dataset.enumerate().filter(lambda index, _: index < count)
    return numbered.map(lambda _, element: element)


def fixed_order(dataset: tf.data.Dataset) -> bool:
    """Tell whether a pipeline is known to give its elements in one order."""
    known = SOURCES | MAPS | BATCHES | UNBATCHES | TRANSPARENT | PASSING
    parts = keras_internals.made_of
    return kind(dataset) in known and all(map(fixed_order, parts(dataset)))


def count(dataset: tf.data.Dataset) -> int | None:
    """Return the number of images in one pass, or `None` where reading must tell."""
    found, base = steps(dataset), _base(dataset)
    kinds = [kind(step) for step in found[base + 1 :]]
    if sum(each in BATCHES for each in kinds) != 1 or UNBATCHES & {*kinds}:
        return None
    # None of the other steps after it changes how many there are, but for repeating.
    images = int(found[base].cardinality())
    return images if images > 0 else None


def batch_size(dataset: tf.data.Dataset) -> int | None:
    """Return the batch size of a data set where a step of it tells."""
    for step in reversed(steps(dataset)):
        if kind(step) in BATCHES:
            return int(keras_internals.batch_size(step))
    return None


def spacing(dataset: tf.data.Dataset, limit: int) -> int:
    """Return the distance at which about `limit` images reach over a whole data set.

    Photos are often stored class by class, so the first ones are of one class only.
    """
    return -(-(count(dataset) or 1) // limit)


def random_maps(dataset: tf.data.Dataset) -> list[RandomMap]:
    """Return the steps that give other pixels when they see the same image again.

    Each step is called several times with one and the same element, so a random step
    is told from shuffling, and found also where a cache hides it.
    """
    found, maps = steps(dataset), []
    elements = [_packed(element) for element in found[0].take(2)]
    for index, step in enumerate(found[1:], 1):
        if kind(step) in MAPS:
            draws = [_draws(step, element) for element in elements]
            change = max((_change(each) for each in draws), default=0.0)
            if change > 0:
                rescales = any(map(_rescales, elements, draws))
                maps.append(RandomMap(index, change, rescales))
            elements = [_packed(each[0]) for each in draws]
        elif kind(step) in BATCHES and elements:
            # Of images that are all of one size, as they are where a batch is made.
            parts = zip(*map(tf.nest.flatten, elements), strict=True)
            stacked = [tf.stack(each) for each in parts]
            elements = [tf.nest.pack_sequence_as(elements[0], stacked)]
        elif kind(step) in UNBATCHES:
            elements = [
                tf.nest.map_structure(lambda part: part[0], each) for each in elements
            ]
    return maps


def repeats(dataset: tf.data.Dataset, without: Collection[int] = ()) -> bool:
    """Tell whether `in_order` is known to give the same elements in every pass.

    Args:
        dataset: `tf.data.Dataset`.
        without: Positions in `steps` of maps that `in_order` leaves out; no other one
            that is random may be there. Defaults to none.
    """
    found, base = steps(dataset), _base(dataset)
    if any(kind(step) in SHUFFLES for step in found[: base + 1]):
        return False
    if any(kind(step) == Step.FILTER for step in found):  # It may draw as well.
        return False
    if any(index <= base for index in without):
        return False
    unsure = any(map(keras_internals.is_nondeterministic, found))
    return not unsure and _repeats(found[0])


def _repeats(source: tf.data.Dataset) -> bool:
    """Tell whether a source and what it is made of give the same in every pass."""
    if kind(source) in MAPS:
        # One that makes no image, such as one-hot labels beside paths.
        parts = tf.nest.flatten(source.element_spec)
        if not all(
            part.shape.rank is not None and part.shape.rank < 3 for part in parts
        ):
            return False
    elif kind(source) not in SOURCES | BATCHES | TRANSPARENT:
        return False
    return all(map(_repeats, keras_internals.made_of(source)))


def draws_a_part(dataset: tf.data.Dataset) -> bool:
    """Tell whether each pass gives another part of the elements.

    So does `shuffle` with `take` or `skip` after it: what one part leaves out in the
    first pass is in it in the second.
    """
    shuffled = False
    for step in steps(dataset):
        if kind(step) in SHUFFLES:
            shuffled |= keras_internals.reshuffles(step)
        elif kind(step) in {Step.TAKE, Step.SKIP, Step.SHARD}:
            (source,) = keras_internals.made_of(step)
            before, after = source.cardinality(), step.cardinality()
            if shuffled and (before < 0 or before != after):
                return True
    return False


def keeps_shape(dataset: tf.data.Dataset, index: int) -> bool:
    """Tell whether a step gives what it gets: pixels in the same places."""
    found = steps(dataset)
    before, after = (tf.nest.flatten(x.element_spec) for x in found[index - 1 :][:2])
    return len(before) == len(after) and all(
        a.shape.rank == b.shape.rank and a.shape.is_compatible_with(b.shape)
        for a, b in zip(before, after, strict=True)
    )


def encoded(dataset: tf.data.Dataset, count: int, every: int = 1) -> list[bytes]:
    """Return what the first images of a pipeline were before they were decoded.

    Args:
        dataset: Batched `tf.data.Dataset`.
        count: How many, at most.
        every: As in `in_order`. Defaults to `1`.

    Returns:
        Paths or encoded images, in the order of `in_order`; empty if no step of the
        pipeline holds one text for each image.
    """
    for step in reversed(steps(dataset)[_base(dataset) :]):
        specs = tf.nest.flatten(step.element_spec)
        texts = [
            i
            for i, spec in enumerate(specs)
            if isinstance(spec, tf.TensorSpec)
            and spec.dtype == tf.string
            and spec.shape.rank == 0
        ]
        if len(texts) == 1:
            elements = in_order(step, every=every).take(count)
            return [tf.nest.flatten(x)[texts[0]].numpy() for x in elements]
    return []


def attribute(dataset: tf.data.Dataset, name: str):
    """Return an attribute that Keras left on a step, such as `class_names`."""
    for step in reversed(steps(dataset)):
        if hasattr(step, name):
            return getattr(step, name)
    return None


def read(dataset: tf.data.Dataset, limit: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the first images of a batched data set, and their labels."""
    images, labels, count = [], [], 0
    for element in dataset:
        images.append(np.asarray(element[0]))
        labels.append(np.asarray(element[1]))
        count += len(images[-1])
        if count >= limit:
            break
    if not images:
        spec = dataset.element_spec[0]
        return (
            np.zeros([0, *(side or 0 for side in spec.shape[1:])], "float32"),
            np.zeros(0),
        )
    return np.concatenate(images)[:limit], np.concatenate(labels)[:limit]


def made_in_python(dataset: tf.data.Dataset) -> bool:
    """Tell whether a Python generator makes the elements, as in `from_generator`."""
    function = keras_internals.map_function(steps(dataset)[0])
    if function is None:
        return False
    operations = function.graph.get_operations()
    return any(operation.type == "GeneratorDataset" for operation in operations)


def _base(dataset: tf.data.Dataset) -> int:
    """Return the position in `steps` from which on a pipeline can be replayed."""
    passing = [i for i, step in enumerate(steps(dataset)) if kind(step) in PASSING]
    return max(passing, default=0)


def _drops_remainder(step: tf.data.Dataset) -> bool:
    return kind(step) in BATCHES and bool(keras_internals.drop_remainder(step))


def _predicate(step: tf.data.Dataset):
    function = keras_internals.predicate(step)
    return lambda *element: function(*tf.nest.flatten(element))[0]


def _draws(step: tf.data.Dataset, element: tuple) -> list:
    return [step_function(step)(*element) for _ in range(DRAWS)]


def _rescales(element, draws: list) -> bool:
    """Tell whether pixels come out of a step in quite another range."""
    for before, *after in zip(
        tf.nest.flatten(element), *map(tf.nest.flatten, draws), strict=False
    ):
        if (
            before.dtype == tf.string
            or before.shape.rank is None
            or before.shape.rank < 3
        ):
            continue
        before = np.asarray(before, "float32")
        after = np.stack([np.asarray(part, "float32") for part in after])
        if before.shape[-1] != after.shape[-1]:
            continue
        top, new = max(np.abs(before).max(), 1e-6), max(np.abs(after).max(), 1e-6)
        if not 1 / RANGE_RATIO < new / top < RANGE_RATIO:
            return True
        if before.min() >= 0 and after.min() < -top / RANGE_RATIO:
            return True
    return False


def _packed(element) -> tuple:
    return element if type(element) is tuple else (element,)


def _change(draws: list) -> float:
    """Return how far draws differ, as a share of the range of their numbers."""
    changes = [0.0]
    for parts in zip(*map(tf.nest.flatten, draws), strict=True):
        if parts[0].dtype == tf.string or parts[0].shape.rank is None:
            continue
        values = np.stack([np.asarray(part, "float32") for part in parts])
        if values.ndim >= 4:
            width = max(np.ptp(values), 1e-12)
            changes.append(float(np.abs(values[1:] - values[0]).mean() / width))
    return max(changes)


def without_autotune(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Return a data set whose number of threads is as it was written.

    On a CPU, tf.data's tuning leaves a network that reads from it with a single thread
    in about every second pass (TensorFlow 2.21): ResNet50 took 25 in place of 44 images
    a second. Without it that does not happen.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)
