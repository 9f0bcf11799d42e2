"""Features that several machines compute, each a part, and one puts together."""

import pathlib
import re
import typing

import numpy as np

from keras_transfer import feature_store
from keras_transfer.data.splits import Splits
from keras_transfer.runtime.arguments import elements, shown, whole_number


def checked_shard(shard: typing.Any, splits: Splits) -> tuple[int, int]:
    """Return the index of a part and their number, or refuse what is no such pair."""
    fewest = min(splits.counts.values())
    try:
        index, count = elements(shard)
        count = whole_number("count", count, 1, fewest)
        return whole_number("index", index, 0, count - 1), count
    except (TypeError, ValueError) as error:
        raise ValueError(
            "shard must be (index, count) with index from 0 to count - 1 and count at "
            f"most the number of images in the smallest split, {fewest}. "
            f"Received: shard={shown(shard)}"
        ) from error


def part_folder(folder: pathlib.Path, index: int, count: int) -> pathlib.Path:
    """Return where a part of the features of `folder` is kept."""
    return folder.with_name(f"{folder.name}-part-{index}-of-{count}")


def bounds(images: int, index: int, count: int) -> tuple[int, int]:
    """Return the first image of a part, and the one after its last."""
    return images * index // count, images * (index + 1) // count


def find_parts(folder: pathlib.Path, files: list[str]) -> list[dict[str, np.ndarray]]:
    """Return the parts of the features of `folder` in order, or an empty list.

    Raises:
        ValueError: If a part is missing, damaged, or there twice.
    """
    there = {}
    for path in sorted(folder.parent.glob(f"{folder.name}-part-*")):
        numbers = re.search(r"-part-(\d+)-of-(\d+)", path.name)
        if not numbers:
            continue  # Somebody else's.
        index, count = numbers.groups()
        there.setdefault(int(count), {}).setdefault(int(index), []).append(path)
    if not there:
        return []
    names = [
        p.name for same in there.values() for paths in same.values() for p in paths
    ]
    advice = (
        "Remove what does not belong there, or all parts, to compute everything here. "
        f"Received: parts in {folder.parent}:\n  " + "\n  ".join(names)
    )
    if len(there) > 1:
        raise ValueError(
            "Images are in two parts, because the parts of different divisions lie "
            f"together: of {' and of '.join(map(str, sorted(there)))}. {advice}"
        )
    ((count, indices),) = there.items()
    for index, paths in indices.items():
        if len(paths) > 1:
            raise ValueError(f"Part {index} of {count} is there twice. {advice}")
    found = []
    for index in range(count):
        part = feature_store.read(part_folder(folder, index, count), files)
        if part is None:
            raise ValueError(
                f"Part {index} of {count} is missing or damaged. Make it with "
                f"extract_features(..., shard=({index}, {count})). {advice}"
            )
        found.append(part)
    return found
