"""Keep photos that belong together in one split: of one patient, or near copies."""

import fractions
import os
import pathlib
import re
import typing
import unicodedata
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from keras_transfer.data import split_names
from keras_transfer.data.photo_folders import printable
from keras_transfer.runtime.arguments import file_path, shown
from keras_transfer.runtime.csv_tables import read_table

COLUMNS = ("path", "group")
SHOWN = 5
# A share is taken in as many folds, at most, unless it is smaller than one of them.
MOST_FOLDS = 10


class Groups(typing.NamedTuple):
    """Say how the group of a photo is found.

    Attributes:
        given: The argument in plain values, so that another process can be told.
        find: Returns the group of a path in the folder of photos, or `None`.
    """

    given: str | dict[str, str]
    find: Callable[[str], str | None]


def read_groups(groups: typing.Any, folder: pathlib.Path) -> Groups | None:
    """Return how groups are found, whichever way they were given.

    Args:
        groups: `None`; a regular expression; the path of a CSV file that ends in
            `.csv`; or a mapping of paths to groups.
        folder: The folder of photos, absolute, in which paths lie.
    """
    if groups is None:
        return None
    if isinstance(groups, Mapping):
        rows = [(os.fspath(k), v) for k, v in groups.items() if _is_path(k)]
        if len(rows) < len(groups) or not all(map(_is_name, groups.values())):
            raise ValueError(
                "groups must map paths in the folder to names of groups, such as "
                '{"cat/1.jpg": "Tom"}. '
                f"Received: groups={shown(groups)}"
            )
        table = _table(rows, folder, f"groups={shown(groups)}")
        return Groups(table, lambda path: table.get(_key(path, folder)))
    if _is_path(groups) and os.fspath(groups).lower().endswith(".csv"):
        path = file_path("groups", groups).absolute()
        table = _table(_rows(path), folder, f"groups={path}")
        return Groups(str(path), lambda path: table.get(_key(path, folder)))
    if isinstance(groups, str) and groups:
        return _by_expression(groups)
    raise ValueError(
        "groups must be a regular expression for paths in the folder, the path of a "
        "CSV file that ends in .csv, or a mapping of paths to groups. "
        f"Received: groups={shown(groups)}"
    )


def _is_path(value: typing.Any) -> bool:
    return isinstance(value, str | os.PathLike)


def _is_name(value: typing.Any) -> bool:
    return isinstance(value, str | int | np.integer) and not isinstance(value, bool)


def _by_expression(text: str) -> Groups:
    try:
        expression = re.compile(text)
    except re.error as error:
        raise ValueError(
            f"groups is no regular expression: {error}. To name a file, let it end in "
            f".csv. Received: groups={text!r}"
        ) from error

    def find(path):
        match = expression.search(path)
        return match and match[1 if expression.groups else 0]

    return Groups(text, find)


def _rows(path: pathlib.Path) -> list[tuple[str, str]]:
    """Return paths and groups of a CSV file."""
    rows = read_table(path, COLUMNS, "The CSV file of groups", f"groups={path}")
    return [(row["path"], row["group"]) for _, row in rows if row["path"]]


def _table(rows: Sequence[tuple], folder: pathlib.Path, received: str) -> dict:
    table = {}
    for path, name in rows:
        key, name = _key(path, folder), str(name).strip()
        if table.setdefault(key, name) != name:
            raise ValueError(
                f"A photo can be in one group only, but {printable(key)} is in "
                f"{table[key]} and in {name}. Received: {received}"
            )
    return table


def _key(path: str, folder: pathlib.Path) -> str:
    """Return a path in the folder as it is compared: absolute or not, in any system."""
    path = pathlib.PurePath(path.replace("\\", "/"))
    if path.is_relative_to(folder):
        path = path.relative_to(folder)
    return unicodedata.normalize("NFC", path.as_posix())


def group_names(groups: Groups, paths: Sequence[str]) -> list[str]:
    """Return the group of each photo, by its path in the folder.

    Raises:
        ValueError: If a photo has none.
    """
    found = [groups.find(path) for path in paths]
    without = [path for path, name in zip(paths, found, strict=True) if not name]
    if not without:
        return found
    count, more = len(without), ", ..." if len(without) > SHOWN else ""
    named = ", ".join(map(printable, without[:SHOWN])) + more
    if len(without) == len(paths):
        text = "groups gives none of the photos a group"
    else:
        text = f"{count:,} of {len(paths):,} photos have no group"
    raise ValueError(
        f"{text}: {named}. Each needs one, if only of its own. A regular expression is "
        "searched in paths such as these; a CSV file and a mapping name them. "
        f"Received: groups={shown(groups.given)}"
    )


def together(*ways: Sequence | np.ndarray) -> np.ndarray:
    """Return the number of what each photo belongs to, by any of several groupings.

    Args:
        *ways: For each grouping, the group of each photo.
    """
    links = []
    for names in ways:
        first = {}
        links += [(first.setdefault(name, i), i) for i, name in enumerate(names)]
    return linked(links, len(ways[0]))


def linked(
    links: Iterable[tuple[int, int]],
    count: int,
    sizes: Sequence[int] | None = None,
    most: Sequence[float] | None = None,
) -> np.ndarray:
    """Return a number for each of `count` photos, one for all that links join.

    Args:
        links: Pairs of positions, from 0.
        count: Number of photos.
        sizes: How many each of them counts for. Defaults to one.
        most: For each, how many may be joined with it; a link that joins more is
            passed over. Defaults to any number.
    """
    head, sizes = [*range(count)], [*([1] * count if sizes is None else sizes)]

    def top(index):
        while head[index] != index:
            head[index] = head[head[index]]
            index = head[index]
        return index

    for first, second in links:
        low, high = sorted((top(first), top(second)))
        together = sizes[low] + sizes[high]
        if low == high or (most is not None and together > min(most[low], most[high])):
            continue
        head[high], sizes[low] = low, together
    return np.unique([top(index) for index in range(count)], return_inverse=True)[1]


def spread(
    labels: np.ndarray, units: np.ndarray, shares: Mapping[str, float], seed: int
) -> dict[str, list[np.ndarray]]:
    """Return which photos go into which split, so that no unit is in two of them.

    Units of several photos are put into splits by `StratifiedGroupKFold`. The photos
    that are alone then fill each class up to its share, chosen by the seed.

    Args:
        labels: Label of each photo, from 0.
        units: Number of the unit that each photo belongs to.
        shares: Shares of the splits that are cut, in their order; train gets the rest.
        seed: Seed of the choice.

    Returns:
        For each split the positions of the photos of each class. There are none of a
        class in a split where its units are too few for all of them.
    """
    split = np.full(len(labels), "", dtype="<U10")
    several = np.bincount(units)[units] > 1
    # What would be most of a class in a small split is trained on, if it can be.
    largest = max(shares.values(), default=1)
    split[several & _fills(labels, units, 2 * largest)] = "train"
    left = 1.0
    for name, share in shares.items():
        rest = np.flatnonzero(several & (split == ""))
        chosen = rest[_folds(labels[rest], units[rest], share / left, seed)]
        # Of large units not even one, where photos that are alone may do.
        if len(chosen) <= 2 * share * len(labels):
            split[chosen] = name
        left -= share
    split[several & (split == "")] = "train"
    names = ["train", *shares]
    pools = {name: [] for name in names}
    for label in range(labels.max() + 1):
        members = np.flatnonzero(labels == label)
        _give_each_split(members, units, split, names)
    for label in range(labels.max() + 1):
        members = np.flatnonzero(labels == label)
        for name, part in _filled(members, split, shares, [seed, label]).items():
            pools[name].append(part)
    return pools


def _fills(labels: np.ndarray, units: np.ndarray, share: float) -> np.ndarray:
    """Tell of each photo whether its unit holds more than this share of a class."""
    num_classes = labels.max() + 1
    found, counts = np.unique(units * num_classes + labels, return_counts=True)
    unit, label = np.divmod(found, num_classes)
    large = np.zeros(units.max() + 1, bool)
    large[unit[counts > share * np.bincount(labels)[label]]] = True
    return large[units]


def _folds(labels, units, share: float, seed: int) -> np.ndarray:
    """Return the positions of photos in units that are about this share of each class.

    None where there are too few units, or photos, for two folds.
    """
    part = fractions.Fraction(share).limit_denominator(max(MOST_FOLDS, int(1 / share)))
    most = np.bincount(labels, minlength=1).max()
    count = int(min(part.denominator, most, len(np.unique(units))))
    if count < 2:
        return np.zeros(0, "int64")
    from sklearn.model_selection import StratifiedGroupKFold  # Few folders need it.

    present, labels = np.unique(labels, return_inverse=True)
    folds = StratifiedGroupKFold(count, shuffle=True, random_state=seed % 2**32)
    with warnings.catch_warnings():
        # Of a class with fewer photos than folds, which is seen to afterwards.
        warnings.simplefilter("ignore", UserWarning)
        found = [chosen for _, chosen in folds.split(labels, labels, units)]
    wanted = np.bincount(labels) / count

    def off(chosen):
        return np.abs(
            np.bincount(labels[chosen], minlength=len(present)) - wanted
        ).sum()

    taken = min(max(1, round(share * count)), count - 1)
    return np.concatenate(sorted(found, key=off)[:taken])


def _give_each_split(members, units, split: np.ndarray, names: Sequence[str]) -> None:
    """Move units of a class, in place, until each split has one or gets a lone photo.

    Args:
        members: Positions of the photos of the class.
        units: Unit of each photo.
        split: Split of each photo, `""` for one that is alone.
        names: Names of all splits.
    """
    while True:
        alone = int((split[members] == "").sum())
        held = {
            name: np.unique(units[members[split[members] == name]]) for name in names
        }
        lacking = [name for name in names if not len(held[name])]
        most = max(held.values(), key=len)
        if len(lacking) <= alone or len(most) < 2:
            return
        # The one that takes the fewest photos, of this class and of others, with it.
        sizes = [int((units == unit).sum()) for unit in most]
        split[units == most[int(np.argmin(sizes))]] = lacking[0]


def _filled(members, split, shares: Mapping[str, float], seed) -> dict[str, np.ndarray]:
    """Return the photos of a class in each split, those that are alone shared out."""
    alone = members[split[members] == ""]
    parts = {name: members[split[members] == name] for name in ["train", *shares]}
    wanted = split_names.sizes(len(members), shares, shares)
    least = {name: int(not len(parts[name])) for name in shares}
    missing = {
        name: max(wanted[name] - len(parts[name]), least[name]) for name in shares
    }
    spare = len(alone) - (not len(parts["train"]))
    while sum(missing.values()) > max(spare, sum(least.values())):
        name = max(missing, key=lambda name: missing[name] - least[name])
        missing[name] -= 1
    order, start = np.random.default_rng(seed).permutation(len(alone)), 0
    grouped = len(alone) < len(members)
    for name, count in missing.items():
        parts[name] = np.append(parts[name], alone[order[start : start + count]])
        start += count
    parts["train"] = np.append(parts["train"], alone[order[start:]])
    if grouped:
        # Not the units first, of which max_images would then keep the most.
        rng = np.random.default_rng(seed)
        parts = {name: rng.permutation(part) for name, part in parts.items()}
    return parts
