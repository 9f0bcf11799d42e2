"""Run a frozen backbone over a data set once, and keep the features on disk."""

import dataclasses
import os
import pathlib
import re
import typing

import keras
import numpy as np

from keras_transfer.data.splits import Splits, checked_splits
from keras_transfer.features import cache
from keras_transfer.features.array_files import Compute, Outputs, write_outputs
from keras_transfer.features.computing import computing, engine_for
from keras_transfer.features.inference import UnsupportedError, engines
from keras_transfer.features.ranges import Range, Settings
from keras_transfer.models.precision import described, fast_dtype
from keras_transfer.runtime import paths
from keras_transfer.runtime.arguments import elements, shown, whole_number
from keras_transfer.runtime.clusters import asked_workers
from keras_transfer.runtime.status_lines import say

# What the names of the parts of a folder have behind its own.
PARTS = "-part-"


class LabeledFeatures(typing.NamedTuple):
    """Pair features `(count, channels)` with integer labels `(count,)`."""

    features: np.ndarray
    labels: np.ndarray


@dataclasses.dataclass(frozen=True)
class Features:
    """Hold the pooled features and labels of each split, in stored order.

    Attributes:
        train: `LabeledFeatures`, which unpacks into features and labels.
        validation: The same for the validation split.
        test: The same for the test split.
        class_names: Tuple of names; label `i` means `class_names[i]`.
        path: Folder in which they are kept.
        made_by: Checksums of the weights that they were computed with, or `None` where
            these are not known.
    """

    train: LabeledFeatures
    validation: LabeledFeatures
    test: LabeledFeatures
    class_names: tuple[str, ...]
    path: pathlib.Path
    made_by: frozenset[str] | None = None


def extract_features(  # noqa: PLR0913
    backbone: keras.Model,
    splits: Splits,
    cache_dir: str | os.PathLike | None = None,
    verbose: bool | int | str = True,
    *,
    dtype: typing.Any = None,
    shard: tuple[int, int] | None = None,
    engine: str = "auto",
    cluster: str | None = None,
    workers: int | None = None,
    gpus_per_worker: int = 0,
) -> Features:
    """Run the frozen backbone once and return globally averaged features.

    The features are kept on disk and read back the next time. The key holds all that
    they depend on: images and splits, the values of the weights, the layers up to the
    output, image size, precision and resize rule. A backbone that was fine-tuned never
    gets the features of the one before. A run that was interrupted or killed goes on
    where it stopped, and ends with the same features.

    Args:
        backbone: `keras.Model` from RGB images 0-255 to a feature map
            `(batch, height, width, channels)`, with one input and one output:
            functional, `Sequential` or, where it was called once, subclassed.
        splits: `Splits` with images of the backbone's input size, or the `FeatureMaps`
            that the layers before it made.
        cache_dir: Folder that keeps the features. Defaults to `data/features`.
        verbose: Whether to print what was done. Defaults to `True`.
        dtype: Precision of the computation, `"float32"` or `"bfloat16"`, also as a type
            or a policy. Defaults to bfloat16 where the processor computes with it and
            the backbone gains by it, else float32; the printed line says which. A
            backbone that was built in another precision computes in its own.
        shard: `(index, count)` to compute only the part `index`, from 0, of `count`
            equal ones. Each machine makes another part; where all parts lie in one
            `cache_dir`, the call without `shard` puts them together. Defaults to all
            images.
        engine: `"openvino"`, `"tensorflow"`, or `"auto"` for the faster one: on a
            processor OpenVINO where it is installed and takes the network, else
            TensorFlow; features of either that are there already are read back. The
            printed line says which. Defaults to `"auto"`.
        cluster: Address of a Ray cluster whose workers compute them, `"auto"` for the
            one that this machine is in, or `"local"`. Its machines must see the photos
            under the same paths, and have the same software. Features are the same, and
            a worker or machine that dies costs only what it was computing. Defaults to
            `None`: this process computes.
        workers: Number of workers of the cluster. Defaults to one a machine, or to as
            many as there are GPUs for.
        gpus_per_worker: GPUs that each worker gets; with any, TensorFlow computes.
            Defaults to `0`.

    Returns:
        `Features`: float32 arrays of shape `(count, channels)` and integer labels of
        each split, in the order in which the images are stored; with `shard`, of the
        images of that part.

    Raises:
        ValueError: If the backbone's output is no feature map, or its input size is
            not that of the splits, or if a part is missing or there twice; or if a
            cluster cannot be given these splits or has too few workers.
        OSError: If nothing can be written into the folder, or there is no such cluster.
        RuntimeError: If the workers of a cluster fail, or have other software.
        ModuleNotFoundError: If `cluster` is given and Ray is not installed.

    Example:

    >>> import keras_transfer as kt
    >>> splits = kt.load_dataset("sample_cats_vs_dogs", image_size=96, max_images=60)
    >>> backbone = kt.build_backbone("efficientnet_lite0", image_size=96)
    >>> features = kt.extract_features(backbone, splits)
    >>> features.test.features.shape
    (9, 1280)
    """
    checked_splits(splits)
    channels = cache.check_network(backbone, splits)[-1]
    verbose = cache.is_verbose(verbose)
    asked = asked_workers(cluster, workers, gpus_per_worker)
    candidates = engines(backbone, engine_for(asked, engine))
    dtype = fast_dtype(backbone, dtype, frozen=True)
    cache_dir = cache.folder_of("cache_dir", cache_dir, "features")
    shard = None if shard is None else checked_shard(shard, splits)
    weights = cache.checksums(backbone)

    def folder_of(engine):
        settings = cache.computed_by(dtype, engine)
        folder = cache_dir / cache.key(backbone, splits, *settings, weights=weights)
        return part_folder(folder, *shard) if shard else folder

    folders = {each: folder_of(each) for each in candidates}
    chosen = cache.with_kept(folders, parts="" if shard else PARTS)
    folder, how = (
        folders[chosen],
        f"computed in {described(backbone, dtype)} by {chosen}",
    )
    if shard:
        how += f", part {shard[0]} of {shard[1]}"
    files = [
        f"{split}_{part}" for split in splits.counts for part in LabeledFeatures._fields
    ]

    def write(path):
        nonlocal how
        parts = [] if shard else find_parts(folder, files)
        if parts:
            how = f"put together from {len(parts)} parts"
            return _put_together(parts, path)
        ranges = _ranges(splits, shard or (0, 1))
        settings = Settings(dtype, chosen, pooled=True, kept="float32")
        with computing(asked, backbone, splits, settings, verbose) as compute_of:
            return _extract(compute_of(ranges), ranges, path, channels)

    try:
        arrays, found = cache.keep(folder, files, write)
    except UnsupportedError:
        if chosen == candidates[-1]:
            raise
        settings = {"dtype": dtype, "shard": shard, "engine": candidates[-1]}
        settings |= {"cluster": cluster, "workers": workers}
        settings["gpus_per_worker"] = gpus_per_worker
        return extract_features(backbone, splits, cache_dir, verbose, **settings)
    if verbose and found:
        say(f"Features: read back from {folder}")
    elif verbose:
        for split in splits.counts:
            say(
                f"Features: {len(arrays[f'{split}_labels']):,} {split} images x "
                f"{channels} from {backbone.name}, {how}"
            )
    return Features(
        # Labels are few; features stay on disk until they are used.
        **{
            split: LabeledFeatures(
                arrays[f"{split}_features"], np.array(arrays[f"{split}_labels"])
            )
            for split in splits.counts
        },
        class_names=splits.class_names,
        path=folder,
        made_by=cache.made_by(backbone, splits, weights),
    )


def _put_together(parts: list[dict[str, np.ndarray]], folder: pathlib.Path) -> float:
    for name in parts[0]:
        np.save(folder / f"{name}.npy", np.concatenate([part[name] for part in parts]))
    return 0.0


def _ranges(splits: Splits, shard: tuple[int, int]) -> list[Range]:
    """Return which images of each split are computed, those of a part or all."""
    return [
        Range(split, *bounds(count, *shard)) for split, count in splits.counts.items()
    ]


def _extract(
    compute: Compute, ranges: list[Range], folder: pathlib.Path, channels: int
) -> float:
    count = sum(stop - start for _, start, stop in ranges)
    there = sum(path.stat().st_size for path in folder.iterdir())
    paths.check_room(folder, 4 * count * (channels + 1) - there)
    outputs = []
    for split, start, stop in ranges:
        files = (folder / f"{split}_{name}.npy" for name in LabeledFeatures._fields)
        outputs.append(Outputs(*files, (stop - start, channels), np.float32))
    return write_outputs(compute, outputs)


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
    return folder.with_name(f"{folder.name}{PARTS}{index}-of-{count}")


def bounds(images: int, index: int, count: int) -> tuple[int, int]:
    """Return the first image of a part, and the one after its last."""
    return images * index // count, images * (index + 1) // count


def find_parts(folder: pathlib.Path, files: list[str]) -> list[dict[str, np.ndarray]]:
    """Return the parts of the features of `folder` in order, or an empty list.

    Raises:
        ValueError: If a part is missing, damaged, or there twice.
    """
    there = {}
    for path in sorted(folder.parent.glob(f"{folder.name}{PARTS}*")):
        numbers = re.search(r"-part-(\d+)-of-(\d+)", path.name)
        if not numbers:
            continue  # Somebody else's.
        index, count = numbers.groups()
        there.setdefault(int(count), {}).setdefault(int(index), []).append(path)
    if not there:
        return []
    names = [
        p.name for same in there.values() for parts in same.values() for p in parts
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
    for index, parts in indices.items():
        if len(parts) > 1:
            raise ValueError(f"Part {index} of {count} is there twice. {advice}")
    found = []
    for index in range(count):
        part = cache.read(part_folder(folder, index, count), files)
        if part is None:
            raise ValueError(
                f"Part {index} of {count} is missing or damaged. Make it with "
                f"extract_features(..., shard=({index}, {count})). {advice}"
            )
        found.append(part)
    return found
