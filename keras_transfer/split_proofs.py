"""Proof that the splits of a data set share no image."""

import collections
import contextlib
import itertools
import typing
from collections.abc import Iterator, Mapping

import numpy as np
import tensorflow as tf

from keras_transfer.data.near_duplicates import Duplicate, fingerprints, match
from keras_transfer.data.splits import Splits
from keras_transfer.runtime.arguments import real_number, shown

SHOWN_PAIRS = 6


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
    taken = {name: fingerprints(_batches(splits, name)) for name in names}
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


def _batches(splits, name: str) -> Iterator[np.ndarray]:
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

    show_pairs(
        [image(x.first, x.duplicate.first_index) for x in shared],
        [image(x.second, x.duplicate.second_index) for x in shared],
        [str(x) for x in shared],
        title="Images in two splits",
    )
