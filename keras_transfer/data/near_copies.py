"""Find the photos of one folder that show the same, and join them in groups."""

import concurrent.futures
import contextlib
import hashlib
import itertools
import json
import os
import re
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
VERSION = 2
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
# Frames of a slow pan hang together in a long chain, and so do photos of one kind, such
# as digits or X-rays. A chain of more is cut if it leaves less of its class for other
# splits: then photos have to be more alike, or a series by the order of their names.
MOST_TOGETHER = 30
LEAST_BESIDE = 0.3
STRICTER = (0.2, 0.1, 0.05, 0.02)
# Of a class, that is: so there are three pieces at least.
MOST_OF_CLASS = 1 / 3


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


class NearCopies(typing.NamedTuple):
    """Hold the photos of a folder that show the same.

    Attributes:
        pairs: The pairs, in order.
        all_compared: Whether all pairs with hashes as near as usual were compared. Of
            many photos of one kind only those with the nearest hashes are.
    """

    pairs: list[NearCopy]
    all_compared: bool


def near_copies(files: Sequence[PhotoFile], folder: Folder) -> NearCopies:
    """Return the pairs of photos that show the same, as `near_duplicates.match` does.

    Of the last large sets of photos they are kept in the folder of data.

    Args:
        files: Photos of the folder.
        folder: What `read_folder` returned.

    Returns:
        The pairs in order. A photo without a thumbnail is in none.
    """
    if len(files) < 2:
        return NearCopies([], True)
    checksums = [file.sha256 for file in files]
    key = hashlib.sha256("".join(checksums).encode()).hexdigest()
    kept = _read()
    if _whole(kept.get(key), len(files)):
        pairs, all_compared = kept[key]
        return NearCopies([NearCopy(*pair) for pair in pairs], all_compared)
    small = folder.thumbnails
    found = compared(
        thumbnails.pixels([small.get(each, thumbnails.BLANK) for each in checksums])
    )
    beside = not paths.data_dir().is_relative_to(folder.path)
    if len(files) >= LEAST_KEPT and beside:
        _keep({name: kept[name] for name in kept if name != key} | {key: found})
    return found


def _whole(found: typing.Any, count: int) -> bool:
    if not isinstance(found, list) or [*map(type, found)] != [list, bool]:
        return False
    return all(
        isinstance(pair, list)
        and len(pair) == 3
        and 0 <= pair[0] < pair[1] < count
        and isinstance(pair[2], float)
        for pair in found[0]
    )


def compared(pictures: np.ndarray) -> NearCopies:
    """Compare every pair of thumbnails, also with one of the two mirrored.

    First by a hash of 112 bits, then by the details inside the cells of a grid.

    Args:
        pictures: uint8 array of shape `(count, 32, 32, 1)`.
    """
    if not len(pictures):
        return NearCopies([], True)
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
    pairs = [NearCopy(*pair, nearest[pair]) for pair in sorted(nearest)]
    return NearCopies(pairs, search.limit == MAX_DISTANCE)


def joined(
    pairs: Sequence[NearCopy], labels: np.ndarray, names: Sequence[str]
) -> np.ndarray:
    """Return for each photo the number of the photos that it belongs to.

    A copy of a copy belongs to both. Where that makes a chain that leaves too little of
    a class beside it, only photos that are more alike stay together, and near copies
    that follow each other, of these as many as are a third of the class.

    Args:
        pairs: What `near_copies` found.
        labels: Integer label of each photo.
        names: Name of each photo: those of a series follow each other by the numbers
            in them.
    """
    groups = linked([pair[:2] for pair in pairs], len(labels))
    cut = _too_large(groups, labels)
    if not cut.any():
        return groups
    kept = pairs
    for limit in STRICTER:
        large = cut & (np.bincount(groups)[groups] > MOST_TOGETHER)
        if not large.any():
            break
        kept = [p for p in kept if not large[p.first] or p.difference <= limit]
        groups = linked([pair[:2] for pair in kept], len(labels))
    in_order = sorted(np.flatnonzero(cut).tolist(), key=lambda i: by_numbers(names[i]))
    links = groups[_series(pairs, in_order)]
    sizes, most = np.bincount(groups), np.zeros(groups.max() + 1)
    most[groups] = np.bincount(labels)[labels] * MOST_OF_CLASS
    return linked(links.tolist(), len(sizes), sizes, most)[groups]


def _series(pairs: Sequence[NearCopy], in_order: Sequence[int]) -> np.ndarray:
    """Return the neighbours that are near copies, where three or more in a row are."""
    near = {pair[:2] for pair in pairs}
    neighbours = np.array([*itertools.pairwise(in_order)])
    alike = np.array([(min(pair), max(pair)) in near for pair in neighbours.tolist()])
    beside = np.convolve(alike, [1, 0, 1], "same") > 0
    return neighbours[alike & beside]


def parted(pairs: Sequence[NearCopy], places: Sequence) -> int:
    """Return how many photos have a near copy in another place, where both have one."""
    cut = [
        pair[:2]
        for pair in pairs
        if None not in (a := places[pair.first], b := places[pair.second]) and a != b
    ]
    return len({index for pair in cut for index in pair})


def by_numbers(name: str) -> list:
    """Return a key that puts `frame 10` behind `frame 9`."""
    parts = re.split("([0-9]+)", name)
    return [int(part) if index % 2 else part for index, part in enumerate(parts)]


def _too_large(groups: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Tell of each photo whether its group leaves too little of a class beside it."""
    num_classes = labels.max() + 1
    found, counts = np.unique(groups * num_classes + labels, return_counts=True)
    group, label = np.divmod(found, num_classes)
    in_class, num_groups = np.bincount(labels)[label], np.bincount(label)[label]
    little = in_class - counts < LEAST_BESIDE * in_class
    # Each of three splits needs one.
    little |= num_groups < 3
    large = np.zeros(groups.max() + 1, bool)
    large[group[little]] = True
    return (large & (np.bincount(groups) > MOST_TOGETHER))[groups]


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
        limit: Distance of hashes up to which pairs are looked at.
    """

    def __init__(self, pictures: np.ndarray):
        self._drawn = _Details(pictures)
        # What has details in fewer cells resembles nothing for sure: a plain colour.
        least = LEAST_CELLS * (1 - MAX_DIFFERENCE)
        self.known = np.flatnonzero(self._drawn.counts >= least)
        plain = pictures[self.known]
        self._bits = [_bits(plain), _bits(plain[:, :, ::-1])]
        self.limit = self._enough()

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
            near = np.flatnonzero(distances <= self.limit)
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
