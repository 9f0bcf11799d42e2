"""Proof that the splits of a data set share no image."""

import itertools
from collections.abc import Iterator, Mapping

import numpy as np

from keras_transfer.duplicates import Duplicate, fingerprints, match
from keras_transfer.splits import Splits

SHOWN_PAIRS = 6


def assert_disjoint_splits(splits: Splits | Mapping[str, np.ndarray]) -> dict[str, int]:
    """Assert that no image is in two splits, neither the same nor nearly the same.

    Each image is read once. Copies that were resized, saved again, mirrored, made
    brighter or cropped a little are found, too; the pairs are drawn side by side.

    Args:
        splits: `Splits`, or a mapping from the name of each split to its images of
            shape `(count, height, width, 3)`, RGB, 0 to 255.

    Returns:
        How many images of each split were compared.

    Raises:
        AssertionError: If an image is in two splits. The numbers in its text are
            positions in stored order, as in `splits.arrays`.
        ValueError: If there are no two splits of RGB images.

    Example:

    >>> import keras_transfer as kt
    >>> splits = kt.load_dataset("sample_cats_vs_dogs", image_size=64, max_images=60)
    >>> kt.verify.assert_disjoint_splits(splits)
    {'train': 42, 'validation': 9, 'test': 9}
    """
    names = list(splits.counts if isinstance(splits, Splits) else splits)
    taken = {name: fingerprints(_batches(splits, name)) for name in names}
    if len(names) < 2 or not all(prints.digests for prints in taken.values()):
        raise ValueError(
            "Expected at least two splits, each with images. Received: "
            f"{ {name: len(prints.digests) for name, prints in taken.items()} }"
        )
    found = [
        (first, second, duplicate)
        for first, second in itertools.combinations(names, 2)
        for duplicate in match(taken[first], taken[second])
    ]
    if found:
        _show(splits, found[:SHOWN_PAIRS])
        exact = sum(duplicate.exact for *_, duplicate in found)
        raise AssertionError(
            f"Found in two splits: {exact} images pixel for pixel and "
            f"{len(found) - exact} nearly, for example "
            f"{'; '.join(_named(*hit) for hit in found[:3])}. A score on images that "
            "were trained on says nothing about new ones: take one of each pair out, "
            "or split first and shuffle the training part only afterwards."
        )
    return {name: len(prints.digests) for name, prints in taken.items()}


def _batches(splits, name: str) -> Iterator[np.ndarray]:
    if not isinstance(splits, Splits):
        if np.ndim(splits[name]) != 4 or np.shape(splits[name])[-1] != 3:
            raise ValueError(
                "Expected images of shape (count, height, width, 3). Received: "
                f"splits[{name!r}] of shape {np.shape(splits[name])}"
            )
        return iter([splits[name]])
    return (images for images, _ in splits.ordered(name).as_numpy_iterator())


def _named(first: str, second: str, duplicate: Duplicate) -> str:
    return f"{first} {duplicate.first_index} and {second} {duplicate.second_index}"


def _show(splits, found: list[tuple[str, str, Duplicate]]) -> None:
    from keras_transfer.image_plots import show_pairs

    def image(name, index):
        if isinstance(splits, Splits):
            return next(iter(splits.ordered(name, index, index + 1)))[0][0].numpy()
        return splits[name][index]

    show_pairs(
        [image(first, duplicate.first_index) for first, _, duplicate in found],
        [image(second, duplicate.second_index) for _, second, duplicate in found],
        [_named(*hit) for hit in found],
        title="Images in two splits",
    )
