"""Find the photos of one folder that show the same, and join them in groups."""

import concurrent.futures
import contextlib
import hashlib
import json
import os
import typing
from collections.abc import Sequence

import numpy as np

from keras_transfer.data import thumbnails
from keras_transfer.data.grouping import linked
from keras_transfer.data.near_duplicates import (
    CELLS,
    LEAST_CELLS,
    MAX_DIFFERENCE,
    MAX_DISTANCE,
    details,
    hashes,
)
from keras_transfer.data.photo_files import Folder, PhotoFile
from keras_transfer.runtime import atomic_files, paths
from keras_transfer.runtime.progress import progress_bar

NAME = "near_copies.json"
VERSION = 1
# Sets of photos whose copies are kept, and from how many photos on.
MOST_SETS = 20
LEAST_KEPT = 2000
# Thumbnails are in whole numbers: what differs less from its cell is rounding.
FLAT = 4e-3
# What is compared at once: hashes, so that they stay in the cache, and details.
ROWS, COLUMNS = 64, 8192
PAIRS = 4096
# Photos of one kind, such as digits or X-rays, resemble each other in long chains.
# Where more hang together than are taken in a row, they have to be more alike.
MOST_TOGETHER = 30
STRICTER = (0.2, 0.1, 0.05, 0.02)


class NearCopy(typing.NamedTuple):
    """Name two photos that show the same.

    Attributes:
        first: Position of the first one, from 0.
        second: Position of the second one, which is higher.
        difference: 0 for copies, up to `MAX_DIFFERENCE`: see `Duplicate`.
    """

    first: int
    second: int
    difference: float


def near_copies(files: Sequence[PhotoFile], folder: Folder) -> list[NearCopy]:
    """Return the pairs of photos that show the same, as `near_duplicates.match` does.

    Of the last large sets of photos they are kept in the folder of data.

    Args:
        files: Photos of the folder.
        folder: What `read_folder` returned.

    Returns:
        The pairs in order. A photo without a thumbnail is in none.
    """
    if len(files) < 2:
        return []
    checksums = [file.sha256 for file in files]
    key = hashlib.sha256("".join(checksums).encode()).hexdigest()
    kept = _read()
    if _whole(kept.get(key), len(files)):
        return [NearCopy(*pair) for pair in kept[key]]
    small = folder.thumbnails
    found = compared(
        thumbnails.pixels([small.get(each, thumbnails.BLANK) for each in checksums])
    )
    beside = not paths.data_dir().is_relative_to(folder.path)
    if len(files) >= LEAST_KEPT and beside:
        _keep({name: kept[name] for name in kept if name != key} | {key: found})
    return found


def _whole(pairs: typing.Any, count: int) -> bool:
    return isinstance(pairs, list) and all(
        isinstance(pair, list)
        and len(pair) == 3
        and 0 <= pair[0] < pair[1] < count
        and isinstance(pair[2], float)
        for pair in pairs
    )


def compared(pictures: np.ndarray) -> list[NearCopy]:
    """Compare every pair of thumbnails, also with one of the two mirrored.

    First by a hash of 112 bits, then by the details inside the cells of a grid.

    Args:
        pictures: uint8 array of shape `(count, 32, 32, 1)`.
    """
    if not len(pictures):
        return []
    drawn = _Details(pictures)
    # What has details in fewer cells resembles nothing for sure: a plain colour.
    speak = np.flatnonzero(drawn.counts >= LEAST_CELLS * (1 - MAX_DIFFERENCE))
    plain = _bits(pictures[speak])
    ways = [(plain, False), (_bits(pictures[speak][:, :, ::-1]), True)]

    def compare(start):
        found = []
        for turned, mirrored in ways:
            near = _alike(plain[start : start + ROWS], turned[start:])
            pairs = speak[near + start]
            pairs = pairs[drawn.may_be_alike(*pairs.T, mirrored)]
            for begin in range(0, len(pairs), PAIRS):
                part = pairs[begin : begin + PAIRS]
                differences = drawn.differences(*part.T, mirrored)
                hits = differences <= MAX_DIFFERENCE
                found += zip(
                    part[hits].tolist(), differences[hits].tolist(), strict=True
                )
        return found

    nearest = {}
    starts = range(0, len(speak), ROWS)
    with (
        concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as threads,
        progress_bar(len(speak), "near copies", delay=2) as bar,
    ):
        for found in threads.map(compare, starts):
            for (first, second), difference in found:
                pair = (first, second)
                nearest[pair] = min(difference, nearest.get(pair, 1))
            bar.update(min(ROWS, len(speak) - bar.n))
    return [NearCopy(*pair, nearest[pair]) for pair in sorted(nearest)]


def joined(pairs: Sequence[NearCopy], count: int) -> np.ndarray:
    """Return for each of `count` photos the number of the photos that it belongs to.

    A copy of a copy belongs to both. Where that makes a chain of more than
    `MOST_TOGETHER` photos, only those that are more alike stay together.
    """
    groups = linked([pair[:2] for pair in pairs], count)
    for limit in STRICTER:
        large = np.bincount(groups, minlength=count)[groups] > MOST_TOGETHER
        if not large.any():
            break
        pairs = [
            pair for pair in pairs if not large[pair.first] or pair.difference <= limit
        ]
        groups = linked([pair[:2] for pair in pairs], count)
    return groups


def _read() -> dict[str, list]:
    try:
        kept = json.loads((paths.data_dir() / NAME).read_bytes())
        return dict(kept["sets"]) if kept["version"] == VERSION else {}
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return {}


def _keep(sets: dict[str, list]) -> None:
    last = dict([*sets.items()][-MOST_SETS:])
    text = json.dumps({"version": VERSION, "sets": last})
    # What cannot be written, checked_files has said.
    with contextlib.suppress(OSError):
        atomic_files.write_whole_text(paths.data_dir() / NAME, text)


def _bits(pictures: np.ndarray) -> np.ndarray:
    """Return the 112 bits of each hash in two numbers of 64 bits."""
    packed = np.zeros((len(pictures), 16), "uint8")
    for start in range(0, len(pictures), PAIRS):
        part = slice(start, start + PAIRS)
        packed[part, :14] = np.packbits(hashes(pictures[part]) > 0, axis=1)
    return packed.view("uint64")


def _alike(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the pairs of hashes that are near, of a row and what comes after it."""
    found = [np.zeros((0, 2), "int64")]
    for start in range(0, len(others), COLUMNS):
        part = others[start : start + COLUMNS]
        distances = np.bitwise_count(rows[:, :1] ^ part[:, 0])
        distances += np.bitwise_count(rows[:, 1:] ^ part[:, 1])
        row, column = np.divmod(
            np.flatnonzero(distances <= MAX_DISTANCE), part.shape[0]
        )
        later = column + start > row
        found.append(np.stack([row[later], column[later] + start], axis=1))
    return np.concatenate(found)


def _packed(cells: np.ndarray) -> np.ndarray:
    return np.packbits(cells.reshape(len(cells), -1), axis=1).view("uint64")[:, 0]


class _Details:
    """Hold what is inside the cells of pictures, a byte a pixel."""

    def __init__(self, pictures: np.ndarray):
        self._parts = np.zeros((len(pictures), CELLS, CELLS, 4, 4), "int8")
        for start in range(0, len(pictures), PAIRS):
            part = slice(start, start + PAIRS)
            unit = details(pictures[part], FLAT)
            self._parts[part] = np.round(127 * unit).reshape(self._parts[part].shape)
        there = self._parts.any(axis=(3, 4))
        self.counts = there.sum(axis=(1, 2))
        # Which cells have details, a bit each; then the same of the mirrored photos.
        self._there = [_packed(there), _packed(there[:, :, ::-1])]

    def may_be_alike(
        self, first: np.ndarray, second: np.ndarray, mirrored: bool
    ) -> np.ndarray:
        """Tell of which pairs enough cells with details lie in the same places.

        In a cell that is plain in one of both, nothing can agree.
        """
        both = self._there[0][first] & self._there[mirrored][second]
        both = np.bitwise_count(both).astype("int64")
        least = np.maximum(self.counts[first] + self.counts[second] - both, LEAST_CELLS)
        return both >= (1 - MAX_DIFFERENCE) * least

    def differences(
        self, first: np.ndarray, second: np.ndarray, mirrored: bool
    ) -> np.ndarray:
        """Return the difference of each pair, the second one mirrored or not."""
        others = self._parts[second]
        if mirrored:
            others = others[:, :, ::-1, :, ::-1]
        shape = (len(first), -1)
        a = self._parts[first].reshape(shape).astype("float32")
        b = others.reshape(shape).astype("float32")
        there = self._there[0][first] | self._there[mirrored][second]
        compared = np.bitwise_count(there)
        alike = np.einsum("ij,ij->i", a, b) / 127**2
        # Rounded, a photo can be a little more like itself than it is.
        return np.maximum(1 - alike / np.maximum(compared, LEAST_CELLS), 0)
