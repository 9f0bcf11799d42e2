"""Run a frozen backbone over a data set once, and keep the features on disk."""

import dataclasses
import os
import pathlib
import typing
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from keras_transfer import feature_parts, feature_store, storage
from keras_transfer.openvino_engine import check_openvino, openvino_network
from keras_transfer.precision import fast_copy, fast_dtype
from keras_transfer.splits import Splits
from keras_transfer.status_lines import say

ENGINES = ("tensorflow", "openvino")


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


def extract_features(
    backbone: keras.Model,
    splits: Splits,
    cache_dir: str | os.PathLike | None = None,
    verbose: bool = True,
    *,
    dtype: str | None = None,
    shard: tuple[int, int] | None = None,
    engine: str = "tensorflow",
) -> Features:
    """Run the frozen backbone once and return globally averaged features.

    The features are kept on disk and read back the next time. The key holds all that
    they depend on: images and splits, the values of the weights, the layers up to the
    output, image size, precision and resize rule. A backbone that was fine-tuned never
    gets the features of the one before.

    Args:
        backbone: `keras.Model` from RGB images 0-255 to a feature map
            `(batch, height, width, channels)`.
        splits: `Splits` with images of the backbone's input size, or the `FeatureMaps`
            that the layers before it made.
        cache_dir: Folder that keeps the features. Defaults to `data/features`.
        verbose: Whether to print one line. Defaults to `True`.
        dtype: Precision of the computation, `"float32"` or `"bfloat16"`. Defaults to
            bfloat16 where the processor computes with it and the backbone gains by it,
            else float32; the printed line says which.
        shard: `(index, count)` to compute only the part `index`, from 0, of `count`
            equal ones. Each machine makes another part; where all parts lie in one
            `cache_dir`, the call without `shard` puts them together. Defaults to all
            images.
        engine: `"tensorflow"`, or `"openvino"` where it is installed: on some
            processors it is faster. Defaults to `"tensorflow"`.

    Returns:
        `Features`: float32 arrays of shape `(count, channels)` and integer labels of
        each split, in the order in which the images are stored; with `shard`, of the
        images of that part.

    Raises:
        ValueError: If the backbone's output is no feature map, or its input size is
            not that of the splits, or if a part is missing or there twice.

    Example:

    >>> import keras_transfer as kt
    >>> splits = kt.load_dataset("sample_cats_vs_dogs", image_size=96, max_images=60)
    >>> backbone = kt.build_backbone("efficientnet_lite0", image_size=96)
    >>> features = kt.extract_features(backbone, splits)
    >>> features.test.features.shape
    (9, 1280)
    """
    feature_store.check_network(backbone, splits)
    if engine not in ENGINES:
        raise ValueError(
            f"engine must be one of {', '.join(ENGINES)}. Received: engine={engine}"
        )
    dtype = fast_dtype(backbone, dtype, frozen=True)
    described = [dtype]
    if engine == "openvino":
        check_openvino()
        described.append(engine)
    cache_dir = pathlib.Path(cache_dir or storage.data_dir() / "features")
    folder = cache_dir / feature_store.key(backbone, splits, *described)
    files = [
        f"{split}_{part}" for split in splits.counts for part in LabeledFeatures._fields
    ]
    how = f"computed in {' by '.join(described)}"
    if shard is not None:
        feature_parts.check_shard(shard, splits)
        folder = feature_parts.part_folder(folder, *shard)
        how += f", part {shard[0]} of {shard[1]}"

    def write(path):
        nonlocal how
        parts = [] if shard else feature_parts.find_parts(folder, files)
        if not parts:
            run = _compiled(backbone, dtype, engine)
            _extract(run, splits, path, shard or (0, 1), backbone.output_shape[-1])
            return
        how = f"put together from {len(parts)} parts"
        for name in files:
            np.save(
                path / f"{name}.npy", np.concatenate([part[name] for part in parts])
            )

    arrays, found = feature_store.keep(folder, files, write)
    if verbose and found:
        say(f"Features: read back from {folder}")
    elif verbose:
        for split in splits.counts:
            say(
                f"Features: {len(arrays[f'{split}_labels']):,} {split} images x "
                f"{backbone.output_shape[-1]} from {backbone.name}, {how}"
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
        made_by=feature_store.made_by(backbone, splits),
    )


def _compiled(backbone: keras.Model, dtype: str, engine: str) -> Callable:
    frozen = backbone
    if engine != "openvino":  # OpenVINO changes the precision itself.
        frozen = fast_copy(backbone, dtype, frozen=True)
    pooled = keras.layers.GlobalAveragePooling2D(dtype="float32")(frozen.output)
    network = keras.Model(frozen.input, pooled)
    if engine == "openvino":
        return openvino_network(network, dtype)
    return feature_store.compiled(network, tf.float32)


def _extract(
    run: Callable,
    splits: Splits,
    folder: pathlib.Path,
    shard: tuple[int, int],
    channels: int,
) -> None:
    bounds = {
        split: feature_parts.bounds(count, *shard)
        for split, count in splits.counts.items()
    }
    count = sum(stop - start for start, stop in bounds.values())
    storage.check_room(folder, 4 * count * (channels + 1))
    for split, (start, stop) in bounds.items():
        feature_store.write_outputs(
            run,
            splits.ordered(split, start, stop),
            folder / f"{split}_features.npy",
            folder / f"{split}_labels.npy",
            (stop - start, channels),
            np.float32,
        )
