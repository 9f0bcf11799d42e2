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
# The share of all pairs that is looked at after their hashes, as these photos show, and
# how many always are. Of real photos it is 0.1 %.
MOST_SHARE, SAMPLE, LEAST_LOOKED_AT = 0.005, 200, 20_000
# Later copies of one photo that are named.
MOST_COPIES = 10
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
    search = _Search(pictures)
    found, count = [np.zeros((0, 3))], len(search.known)
    with (
        concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as threads,
        progress_bar(count, "near copies", delay=2) as bar,
    ):
        for part in threads.map(search.after, range(0, count, ROWS)):
            found.append(part)
            bar.update(min(ROWS, count - bar.n))
    nearest = {}
    for first, second, difference in np.concatenate(found).tolist():
        pair = int(first), int(second)
        nearest[pair] = min(difference, nearest.get(pair, 1))
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


def _distances(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return in how many bits each row differs from each of the others."""
    found = np.bitwise_count(rows[:, None, 0] ^ others[:, 0])
    found += np.bitwise_count(rows[:, None, 1] ^ others[:, 1])
    return found


class _Search:
    """Compare photos with all that come after them.

    Attributes:
        known: Positions of the photos that can resemble another one.
    """

    def __init__(self, pictures: np.ndarray):
        self._drawn = _Details(pictures)
        # What has details in fewer cells resembles nothing for sure: a plain colour.
        least = LEAST_CELLS * (1 - MAX_DIFFERENCE)
        self.known = np.flatnonzero(self._drawn.counts >= least)
        plain = pictures[self.known]
        self._bits = [_bits(plain), _bits(plain[:, :, ::-1])]
        self._limit = self._enough()

    def _enough(self) -> int:
        """Return the distance of hashes up to which pairs are looked at.

        The usual one, unless that is too many: of digits or X-rays all hashes are
        alike, and copies are among those that are the most alike.
        """
        count = len(self.known)
        rows = np.linspace(0, count - 1, min(count, SAMPLE)).astype("int64")
        seen = np.zeros(MAX_DISTANCE + 1)
        for mirrored, bits in enumerate(self._bits):
            for row in rows:
                distances = _distances(self._bits[0][row : row + 1], bits)[0]
                others = np.flatnonzero(distances <= MAX_DISTANCE)
                first = np.broadcast_to(self.known[row], len(others))
                may = self._drawn.may_be_alike(first, self.known[others], mirrored)
                may &= others != row
                seen += np.bincount(distances[others[may]], minlength=len(seen))
        most = max(MOST_SHARE * 2 * len(rows) * count, LEAST_LOOKED_AT)
        return int(np.count_nonzero(np.cumsum(seen) <= most)) - 1

    def after(self, start: int) -> np.ndarray:
        """Return pairs and differences of `ROWS` photos with all that come later."""
        rows, found = self._bits[0][start : start + ROWS], []
        for mirrored, bits in enumerate(self._bits):
            pairs = self.known[self._alike(rows, bits[start:]) + start]
            pairs = pairs[self._drawn.may_be_alike(*pairs.T, mirrored)]
            for begin in range(0, len(pairs), PAIRS):
                part = pairs[begin : begin + PAIRS]
                differences = self._drawn.differences(*part.T, mirrored)
                hits = differences <= MAX_DIFFERENCE
                found.append(np.column_stack([part[hits], differences[hits]]))
        if not found:
            return np.zeros((0, 3))
        # Of each photo the nearest ones, for there may be thousands.
        found = np.concatenate(found)
        found = found[np.lexsort((found[:, 2], found[:, 0]))]
        rank = np.arange(len(found)) - np.searchsorted(found[:, 0], found[:, 0])
        return found[rank < MOST_COPIES]

    def _alike(self, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Return the pairs of hashes that are near, of a row and what comes after."""
        found = [np.zeros((0, 2), "int64")]
        for start in range(0, len(others), COLUMNS):
            distances = _distances(rows, others[start : start + COLUMNS])
            near = np.flatnonzero(distances <= self._limit)
            row, column = np.divmod(near, distances.shape[1])
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
