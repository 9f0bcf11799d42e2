"""Run a frozen backbone over a data set once, and keep the features on disk."""

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import re
import shutil
import time
import typing
import uuid

import keras
import numpy as np
import tensorflow as tf

from keras_transfer import storage
from keras_transfer.images import RESIZE_RULE
from keras_transfer.splits import Splits


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
    """

    train: LabeledFeatures
    validation: LabeledFeatures
    test: LabeledFeatures
    class_names: tuple[str, ...]
    path: pathlib.Path


def extract_features(
    backbone: keras.Model,
    splits: Splits,
    cache_dir: str | os.PathLike | None = None,
    verbose: bool = True,
) -> Features:
    """Run the frozen backbone once and return globally averaged features.

    The features are kept on disk and read back the next time. The key holds all that
    they depend on: images and splits, the values of the weights, the layers up to the
    output, image size, precision and resize rule. A backbone that was fine-tuned never
    gets the features of the one before.

    Args:
        backbone: `keras.Model` from RGB images 0-255 to a feature map
            `(batch, height, width, channels)`.
        splits: `Splits` with images of the backbone's input size.
        cache_dir: Folder that keeps the features. Defaults to `data/features`.
        verbose: Whether to print one line. Defaults to `True`.

    Returns:
        `Features`: float32 arrays of shape `(count, channels)` and integer labels of
        each split, in the order in which the images are stored.

    Raises:
        ValueError: If the backbone's output is no feature map, or its input size is
            not that of the splits.

    Example:

    >>> import keras_transfer as kt
    >>> splits = kt.load_dataset("sample_cats_vs_dogs", image_size=96, max_images=60)
    >>> backbone = kt.build_backbone("efficientnet_lite0", image_size=96)
    >>> features = kt.extract_features(backbone, splits)
    >>> features.test.features.shape
    (9, 1280)
    """
    _check_shapes(backbone, splits)
    cache_dir = pathlib.Path(cache_dir or storage.data_dir() / "features")
    folder = cache_dir / _key(backbone, splits)
    found = _read(folder, splits)
    if found is not None:
        if verbose:
            print(f"Features: read back from {folder}")
        return found
    # A folder of its own name for each process; the last step renames it.
    temporary = cache_dir / f".{folder.name}-{uuid.uuid4().hex[:8]}"
    temporary.mkdir(parents=True)
    try:
        _extract(backbone, splits, temporary, verbose)
        return _publish(temporary, folder, splits)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _check_shapes(backbone: keras.Model, splits: Splits) -> None:
    if len(backbone.output_shape) != 4:
        raise ValueError(
            "Expected a backbone whose output is a feature map (batch, height, width, "
            "channels), as build_backbone makes it. "
            f"Received: output_shape={backbone.output_shape}"
        )
    size = splits.image_size
    if backbone.input_shape[1:3] != (size, size):
        raise ValueError(
            f"The images are {size} x {size}, the backbone takes another size. Pass "
            f"image_size={size} to build_backbone. "
            f"Received: input_shape={backbone.input_shape}"
        )


def _extract(backbone, splits, folder, verbose) -> None:
    pooled = keras.layers.GlobalAveragePooling2D(dtype="float32")(backbone.output)
    model = keras.Model(backbone.input, pooled)
    # One graph for every batch size: the last batch of a split is a smaller one.
    images_spec = tf.TensorSpec(backbone.input_shape, tf.float32)
    run = tf.function(
        lambda images: model(images, training=False), input_signature=[images_spec]
    )
    storage.check_room(folder, 4 * sum(splits.counts.values()) * (pooled.shape[-1] + 1))
    hashes = {}
    for split, count in splits.counts.items():
        files = [folder / f"{split}_{part}.npy" for part in LabeledFeatures._fields]
        shape = (count, pooled.shape[-1])
        # Written as they come, so memory does not grow with the number of images.
        features = np.lib.format.open_memmap(files[0], "w+", np.float32, shape)
        labels = np.lib.format.open_memmap(files[1], "w+", np.int32, (count,))
        done = 0
        for images, batch_labels in splits.ordered(split):
            end = done + len(images)
            features[done:end] = run(images).numpy()
            labels[done:end] = batch_labels
            done = end
        if done != count:
            raise ValueError(
                f"Expected {count} images in the {split} split. Received: {done}"
            )
        del features, labels  # Closes the maps, so the files are whole.
        hashes |= {file.name: _file_hash(file) for file in files}
        if verbose:
            print(
                f"Features: {count:,} {split} images x {shape[1]} from {backbone.name}"
            )
    (folder / "manifest.json").write_text(json.dumps(hashes))


def _publish(temporary: pathlib.Path, folder: pathlib.Path, splits: Splits) -> Features:
    """Rename the finished folder; another process may have been quicker."""
    for _ in range(10):
        with contextlib.suppress(OSError):
            temporary.rename(folder)
        found = _read(folder, splits)
        if found is not None:
            return found
        # A damaged one is in the way: it leaves under another name, then goes.
        aside = folder.with_name(f".{folder.name}-{uuid.uuid4().hex[:8]}")
        with contextlib.suppress(OSError):
            folder.rename(aside)
            shutil.rmtree(aside, ignore_errors=True)
        time.sleep(0.05)
    raise OSError(f"Could not put the features in place. Received: cache_dir={folder}")


def _read(folder: pathlib.Path, splits: Splits) -> Features | None:
    """Return the features kept in `folder`, or `None` if any file is not whole."""
    try:
        hashes = json.loads((folder / "manifest.json").read_text())
        parts = {}
        for split in splits.counts:
            arrays = []
            for part in LabeledFeatures._fields:
                file = folder / f"{split}_{part}.npy"
                if _file_hash(file) != hashes[file.name]:
                    return None
                arrays.append(np.load(file, mmap_mode="r"))
            # Labels are few; features stay on disk until they are used.
            parts[split] = LabeledFeatures(arrays[0], np.array(arrays[1]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Features(**parts, class_names=splits.class_names, path=folder)


def _key(backbone: keras.Model, splits: Splits) -> str:
    digest = hashlib.sha256()
    described = [splits.fingerprint, RESIZE_RULE, backbone.input_shape]
    for operation in backbone.operations:
        config = operation.get_config() if hasattr(operation, "get_config") else {}
        # Numbers in automatic names depend on what else the process has built.
        config.pop("name", None)
        described.append((type(operation).__name__, repr(config)))
    digest.update(repr(described).encode())
    for variable in backbone.variables:
        value = np.ascontiguousarray(keras.ops.convert_to_numpy(variable))
        digest.update(repr((value.shape, str(value.dtype))).encode())
        digest.update(value.view(np.uint8) if value.ndim else value.tobytes())
    # A name with a configuration or a version holds characters that no file name may.
    name = re.sub(r"[^\w.-]+", "_", splits.name)
    return f"{backbone.name}-{name}-{digest.hexdigest()[:24]}"


def _file_hash(path: pathlib.Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
