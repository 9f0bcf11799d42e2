"""Pairs of near copies within one set of photos."""

import typing
from collections.abc import Sequence

import numpy as np
import scipy.sparse

from keras_transfer.data import near_duplicates
from keras_transfer.data.photo_files import PhotoFile, photo_dataset

SIDE = 96
ROWS = 512


class NearCopy(typing.NamedTuple):
    """Name two photos that show the same, the first one with the lower number."""

    first: int
    second: int
    difference: float


def near_copies(photos: Sequence[PhotoFile]) -> list[NearCopy]:
    """Return the pairs of photos that show the same, as `near_duplicates.match`."""
    batches = (images for images, _ in photo_dataset(photos, SIDE))
    thumbnails = near_duplicates.fingerprints(batches).thumbnails
    plain, found = near_duplicates._hashes(thumbnails), {}
    least = plain.shape[1] - 2 * near_duplicates.MAX_DISTANCE
    for turned in (thumbnails, thumbnails[:, :, ::-1]):
        hashes = near_duplicates._hashes(turned)
        for start in range(0, len(photos), ROWS):
            pairs = np.argwhere(plain[start : start + ROWS] @ hashes.T >= least)
            i, j = pairs[pairs[:, 0] + start < pairs[:, 1]].T
            if len(i):
                differences = near_duplicates._differences(
                    thumbnails[i + start], turned[j]
                )
                for a, b, difference in zip(i + start, j, differences, strict=True):
                    if difference <= near_duplicates.MAX_DIFFERENCE:
                        pair = int(a), int(b)
                        found[pair] = min(float(difference), found.get(pair, 1))
    return [NearCopy(*pair, found[pair]) for pair in sorted(found)]


def joined(pairs: Sequence[NearCopy], count: int) -> np.ndarray:
    """Return for each of `count` photos the number of the photos that it belongs to."""
    first = [pair.first for pair in pairs]
    second = [pair.second for pair in pairs]
    links = scipy.sparse.coo_array((np.ones(len(pairs)), (first, second)), (count,) * 2)
    return scipy.sparse.csgraph.connected_components(links, directed=False)[1]
