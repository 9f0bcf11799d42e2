"""Proofs about what a data set gives in each pass: augmentation and order."""

import collections
import contextlib
import itertools
import math
import typing
from collections.abc import Iterator, Mapping

import keras
import numpy as np
import tensorflow as tf

from keras_transfer.data import pipelines
from keras_transfer.data.near_duplicates import Duplicate, digest, fingerprints, match
from keras_transfer.data.splits import Splits
from keras_transfer.runtime.arguments import (
    batched_dataset,
    check_keeps_shape,
    real_number,
    shown,
)

# The share of images that must come anew.
LEAST = 0.1
# Chance gives few images the same pixels, or the same order, in two passes; it hardly
# does in so many.
PASSES, FEW, UNLIKELY = 6, 32, 1e-4
SHOWN_PAIRS = 6


def assert_augmentation_varies(
    augmented: tf.data.Dataset | keras.layers.Layer, images: np.ndarray | None = None
) -> float:
    """Assert that augmentation makes other pixels of the same images in each pass.

    Args:
        augmented: Batched, finite `tf.data.Dataset` of augmented training images, of
            which two whole passes are read, or a few more of a small one; or an
            augmentation layer. Its shuffling is left out, so that each image is
            compared with itself.
        images: With a layer, images of shape `(count, height, width, 3)` to augment
            twice; about ten, because a layer that only mirrors leaves half of them
            as they are. Defaults to none, for a data set.

    Returns:
        Share of the images that another pass gave anew, 0 to 1.

    Raises:
        AssertionError: If no more than a tenth did.
        ValueError: If the data set is not batched or endless, a layer comes without
            images, or it cannot be told which images of two passes are the same.

    Example:

    >>> import numpy as np, keras_transfer as kt
    >>> images = np.random.default_rng(0).uniform(0, 255, (4, 32, 32, 3))
    >>> kt.verify.assert_augmentation_varies(kt.build_augmentation("light"), images)
    1.0
    """
    if isinstance(augmented, tf.data.Dataset):
        changed = _changed_images(
            batched_dataset("augmented", augmented, labeled=False)
        )
        reason = (
            "Either nothing augments them; or the augmentation comes before `cache()`, "
            "which keeps its first result; or it draws by a seed that begins anew in "
            "each pass, as tf.image.random_* may after set_random_seed. Cache first, "
            "then augment by Keras layers, such as kt.build_augmentation"
        )
    else:
        if not isinstance(augmented, keras.layers.Layer) or images is None:
            raise ValueError(
                "Expected a batched tf.data.Dataset, or an augmentation layer and "
                f"images. Received: augmented={shown(augmented)}, "
                f"images={shown(images)}"
            )
        images = _images(images)
        check_keeps_shape("augmented", augmented, images.shape[1:])
        changed = _changed(
            map(digest, _array(augmented(images, training=True))) for _ in range(PASSES)
        )
        reason = "The layer changes nothing at random: check its factors"
    if np.mean(changed) <= LEAST:
        raise AssertionError(
            f"Two passes gave the same pixels for {len(changed) - sum(changed):,} of "
            f"{len(changed):,} images, so every epoch sees the same pictures. {reason}."
        )
    return float(np.mean(changed))


def _changed(passes: Iterator) -> list[bool]:
    """Return for each image of a first pass whether another pass gave it anew."""
    first, changed = [*next(passes)], [False]
    for others in passes:
        changed = [a != b for a, b in zip(first, others, strict=False)]
        if not first or np.mean(changed) > LEAST or len(changed) >= FEW:
            break
    return changed


def _changed_images(dataset: tf.data.Dataset) -> list[bool]:
    """Return which images of a pass another one gave anew, whatever their order."""
    fixed = pipelines.unshuffled(dataset)
    changed = _changed(_digests(fixed) for _ in range(PASSES))
    source = pipelines.steps(dataset)[0]
    if np.mean(changed) > LEAST or pipelines.fixed_order(source):
        return changed
    # What happens in a source of another kind is seen in whole passes alone. There an
    # image is known again by its pixels, and one of augmentation by its likeness, or
    # because whole passes hold the same photos.
    images = source.element_spec
    images = images[0] if isinstance(images, tuple) else images
    rank = getattr(getattr(images, "shape", None), "rank", None)
    whole = rank in (3, 4) and source.cardinality() != tf.data.INFINITE_CARDINALITY
    if whole:
        dataset = source if rank == 4 else source.batch(32)
    first, changed, unknown = _prints(dataset), [], 0
    for _ in range(PASSES - 1):
        known = {*first.digests}
        second = _prints(dataset)
        changed += [False for value in second.digests if value in known]
        anew = sum(value not in known for value in second.digests)
        alike = sum(not each.exact for each in match(first, second))
        count = len(second.digests)
        if whole and count == len(first.digests) and alike + count > anew:
            alike = anew
        changed += [True] * alike
        unknown += anew - alike
        if len(changed) >= FEW:
            break
    if not changed or (unknown and np.mean(changed) <= LEAST):
        raise ValueError(
            "Expected passes that share images, so that these can be compared: leave "
            "out what takes a part of them anew in each pass. "
            f"Received: augmented={shown(dataset)}"
        )
    return changed


def _prints(dataset: tf.data.Dataset):
    return fingerprints(
        np.repeat(images, 3, axis=-1) if images.shape[-1] == 1 else images[..., :3]
        for images in _batches(dataset)
    )


def assert_augmentation_rests(
    augmentation: keras.layers.Layer, images: np.ndarray
) -> int:
    """Assert that an augmentation layer changes nothing in prediction.

    Args:
        augmentation: Layer such as that of `build_augmentation`.
        images: Images of shape `(count, height, width, 3)`.

    Returns:
        How many images were compared.

    Raises:
        AssertionError: If any image comes out changed with `training=False`.

    Example:

    >>> import numpy as np, keras_transfer as kt
    >>> images = np.random.default_rng(0).uniform(0, 255, (4, 32, 32, 3))
    >>> kt.verify.assert_augmentation_rests(kt.build_augmentation("light"), images)
    4
    """
    if not isinstance(augmentation, keras.layers.Layer):
        raise ValueError(
            "augmentation must be a Keras layer such as build_augmentation makes it. "
            f"Received: augmentation={shown(augmentation)}"
        )
    images, changed = _images(images), 0
    check_keeps_shape("augmentation", augmentation, images.shape[1:])
    # What changes some by chance may leave a few as they are.
    for _ in range(1 if len(images) >= FEW else PASSES):
        after = _array(augmentation(images, training=False))
        # In half precision no pixel can be what it was in full.
        same = images.astype(after.dtype)
        changed = max(
            changed, sum(digest(a) != digest(b) for a, b in _pairs(same, after))
        )
    if changed:
        raise AssertionError(
            f"{changed} of {len(images)} images come out changed with "
            "`training=False`, so predictions depend on chance. Use Keras's own "
            "augmentation layers, and leave `training` to Keras where they are called."
        )
    return len(images)


def assert_order_kept(dataset: tf.data.Dataset) -> int:
    """Assert that two passes over a data set give the same images in the same order.

    Only then may predictions of one pass be compared with labels or file names of
    another one.

    Args:
        dataset: Batched, finite `tf.data.Dataset`, for example `splits.test`.

    Returns:
        How many images were compared.

    Raises:
        AssertionError: If the second pass gives another image at any position.
        ValueError: If the data set is not batched or endless.

    Example:

    >>> import keras_transfer as kt
    >>> splits = kt.load_dataset("sample_cats_vs_dogs", image_size=64, max_images=60)
    >>> kt.verify.assert_order_kept(splits.test)
    9
    """
    batched_dataset("dataset", dataset, labeled=False)
    first, moved, chance = _digests(dataset), [], 1.0
    while chance > UNLIKELY and not any(moved):
        moved = [a != b for a, b in itertools.zip_longest(first, _digests(dataset))]
        # That of a few images shuffled into the same order.
        chance /= math.factorial(min(len({*first}), 20))
        if len({*first}) < 2:
            break
    if any(moved):
        raise AssertionError(
            f"The second pass gave another image at {sum(moved):,} of {len(moved):,} "
            f"positions, the first is {moved.index(True)}: the data set shuffles, or "
            "augments. Take labels and predictions from the same batches, as "
            "kt.evaluate_classifier does, or use a data set without shuffle, such as "
            "splits.test."
        )
    return len(first)


def _digests(dataset: tf.data.Dataset) -> list[bytes]:
    digests = [digest(image) for images in _batches(dataset) for image in images]
    if not digests:
        raise ValueError(
            "Expected a data set with at least one image. Received: an empty dataset"
        )
    return digests


def _batches(dataset: tf.data.Dataset) -> Iterator[np.ndarray]:
    spec = dataset.element_spec
    spec = spec[0] if isinstance(spec, tuple) else spec
    if spec.shape.rank not in (4, None):
        raise ValueError(
            "Expected a batched tf.data.Dataset of (images, labels), such as "
            f"splits.train. Received: dataset={shown(dataset)}"
        )
    for element in dataset.as_numpy_iterator():
        yield element[0] if isinstance(element, tuple) else element


def _images(images) -> np.ndarray:
    try:
        found = np.asarray(images, "float32")
    except (TypeError, ValueError, OverflowError):
        found = np.zeros(0)
    if found.ndim != 4 or not len(found):
        raise ValueError(
            "images must be an array of shape (count, height, width, channels), with "
            f"at least one image. Received: images={shown(images)}"
        )
    return found


def _pairs(first: np.ndarray, second: np.ndarray) -> Iterator:
    return itertools.zip_longest(first, second, fillvalue=np.zeros(0))


def _array(tensor) -> np.ndarray:
    return keras.ops.convert_to_numpy(tensor)


class SharedImage(typing.NamedTuple):
    """Name an image that is in two splits.

    Attributes:
        first: Name of the one split.
        second: Name of the other one.
        duplicate: Where it is in both (`first_index` and `second_index`, positions in
            stored order), whether pixel for pixel (`exact`), else how far from it
            (`difference`).
    """

    first: str
    second: str
    duplicate: Duplicate

    def __str__(self) -> str:
        """Return both places."""
        first, second = self.duplicate.first_index, self.duplicate.second_index
        return f"{self.first} {first} and {self.second} {second}"


def assert_disjoint_splits(
    splits: Splits | Mapping[str, np.ndarray], *, max_share: float = 0.0
) -> list[SharedImage]:
    """Assert that no image is in two splits, neither the same nor nearly the same.

    Each image is read once. Copies that were resized, saved again, mirrored, recoloured
    or cropped a little are found, too, and photos of one series in which nothing moved
    much. The pairs are drawn side by side.

    Args:
        splits: `Splits`, or a mapping from the name of each split to its images of
            shape `(count, height, width, 3)`, RGB, 0 to 255.
        max_share: Share of a split's images that may also be in another one, 0 to 1;
            for data whose pairs you have looked at. An accuracy can be too high by as
            much. Defaults to `0.0`.

    Returns:
        List of the images in two splits, at most those that `max_share` lets pass.

    Raises:
        AssertionError: If more images are in two splits.
        ValueError: If there are no two splits of RGB images.

    Example:

    >>> import keras_transfer as kt
    >>> splits = kt.load_dataset("sample_cats_vs_dogs", image_size=64, max_images=60)
    >>> kt.verify.assert_disjoint_splits(splits)
    []
    """
    max_share = real_number("max_share", max_share, least=0, most=1)
    if not isinstance(splits, Splits | Mapping):
        raise ValueError(
            "splits must be Splits, or a dictionary from the name of each split to its "
            f"images. Received: splits={shown(splits)}"
        )
    names = list(splits.counts if isinstance(splits, Splits) else splits)
    taken = {name: fingerprints(_batches_of(splits, name)) for name in names}
    counts = {name: len(prints.digests) for name, prints in taken.items()}
    if len(names) < 2 or not all(counts.values()):
        raise ValueError(
            "Expected at least two splits, each with images. "
            f"Received: splits of {counts}"
        )
    shared, places = [], collections.defaultdict(set)
    for first, second in itertools.combinations(names, 2):
        # A score is that of the split that is not trained on, mostly the smaller one.
        if second == "train" or (first != "train" and counts[first] < counts[second]):
            first, second = second, first
        found = match(taken[first], taken[second])
        shared += [SharedImage(first, second, duplicate) for duplicate in found]
        places[second] |= {duplicate.second_index for duplicate in found}
    too_many = any(len(x) > max_share * counts[name] for name, x in places.items())
    if shared:
        _show(splits, shared[:SHOWN_PAIRS])
    if too_many:
        exact = sum(image.duplicate.exact for image in shared)
        raise AssertionError(
            f"Found in two splits: {exact} images pixel for pixel and "
            f"{len(shared) - exact} nearly, for example "
            f"{'; '.join(map(str, shared[:3]))}. A score on images that were trained "
            "on says nothing about new ones: take one of each pair out, or split "
            "first and shuffle the training part only afterwards."
        )
    return shared


def _batches_of(splits, name: str) -> Iterator[np.ndarray]:
    if isinstance(splits, Splits):
        return (images for images, _ in splits.ordered(name).as_numpy_iterator())
    images, kind, shape = splits[name], "?", None
    if not isinstance(images, tf.data.Dataset):  # Which NumPy would read as a list.
        with contextlib.suppress(TypeError, ValueError):
            images = np.asarray(images)
            kind, shape = images.dtype.kind, images.shape
    if kind not in "biuf" or len(shape) != 4 or shape[-1] != 3:
        received = f"={shown(splits[name])}" if shape is None else f" of shape {shape}"
        raise ValueError(
            "Expected images of shape (count, height, width, 3). "
            f"Received: splits[{name!r}]{received}"
        )
    return iter([images])


def _show(splits, shared: list[SharedImage]) -> None:
    from keras_transfer.plots.images import show_pairs

    def image(name, index):
        if isinstance(splits, Splits):
            return next(iter(splits.ordered(name, index, index + 1)))[0][0].numpy()
        return splits[name][index]

    pairs = []
    for x in shared:
        first = np.asarray(image(x.first, x.duplicate.first_index))
        second = np.asarray(image(x.second, x.duplicate.second_index))
        if second.shape != first.shape:  # A copy that was resized.
            second = tf.image.resize(second, first.shape[:2], antialias=True).numpy()
        pairs.append((first, second))
    show_pairs(
        [first for first, _ in pairs],
        [second for _, second in pairs],
        [str(x) for x in shared],
        title="Images in two splits",
    )
