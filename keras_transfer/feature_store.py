"""Folders of arrays that a network has computed, kept on disk whole or not at all."""

import contextlib
import hashlib
import json
import pathlib
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf

from keras_transfer.devices import on_all_devices
from keras_transfer.folding import fold_batch_normalization
from keras_transfer.images import RESIZE_RULE
from keras_transfer.splits import Splits

# Hashing a larger file on each reading would take longer than it protects.
HASHED_BYTES = 64 * 1024**2

_counters: list[dict[pathlib.Path, float]] = []


@contextlib.contextmanager
def spared_seconds() -> Iterator[dict[pathlib.Path, float]]:
    """Yield what gets, for each folder read back, the seconds that it once cost.

    A folder that is computed meanwhile counts as 0: its seconds have just passed.
    """
    _counters.append({})
    try:
        yield _counters[-1]
    finally:
        _counters.pop()


def keep(
    folder: pathlib.Path, files: Sequence[str], write: Callable[[pathlib.Path], None]
) -> tuple[dict[str, np.ndarray], bool]:
    """Return the arrays kept in `folder`, written by `write` if they are not there.

    Returns:
        Memory-mapped arrays by name, and whether they were there.
    """
    found = read(folder, files)
    if found is not None:
        manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
        _count(folder, manifest.get("seconds", 0.0))
        return found, True
    start = time.perf_counter()
    # A folder of its own name for each process; the last step renames it.
    temporary = folder.with_name(f".{folder.name}-{uuid.uuid4().hex[:8]}")
    temporary.mkdir(parents=True)
    try:
        write(temporary)
        manifest = {name: _state(temporary / f"{name}.npy") for name in files}
        manifest["seconds"] = time.perf_counter() - start
        (temporary / "manifest.json").write_text(json.dumps(manifest), "utf-8")
        _count(folder, 0.0)
        return _publish(temporary, folder, files), False
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _count(folder: pathlib.Path, seconds: float) -> None:
    for counter in _counters:
        counter.setdefault(folder, seconds)


def write_outputs(
    run: Callable,
    dataset: Iterable,
    outputs: pathlib.Path,
    labels: pathlib.Path,
    shape: tuple[int, ...],
    dtype: type,
) -> None:
    """Write what `run` makes of each batch into a file, and the labels into another.

    Written as they come, so memory does not grow with the number of images.
    """
    count, done = shape[0], 0
    output_map = np.lib.format.open_memmap(outputs, "w+", dtype, shape)
    label_map = np.lib.format.open_memmap(labels, "w+", np.int32, (count,))
    for images, batch_labels in dataset:
        end = done + len(images)
        outputs = np.asarray(run(images))
        if not np.isfinite(outputs).all():
            raise ValueError(
                f"The network made numbers that {np.dtype(dtype).name} cannot hold. "
                "Check its weights, and that its images are RGB from 0 to 255. "
                f"Received: images from {np.min(images)} to {np.max(images)}"
            )
        output_map[done:end] = outputs
        label_map[done:end] = batch_labels
        done = end
    if done != count:
        raise ValueError(
            f"Expected {count} images, as counted before. Received: {done}"
        )
    output_map.flush()
    label_map.flush()


def compiled(model: keras.Model, dtype: tf.DType) -> Callable:
    """Return a frozen `model` as one graph for every batch size.

    Each BatchNormalization that can be folded into a convolution is, so TensorFlow
    fuses the convolution with its bias and its activation. The weights stay variables:
    as constants of the graph they gained nothing beyond noise, and cost ResNet50 1 GB
    of memory and 4 s of tracing.
    """
    folded = fold_batch_normalization(model)
    run = on_all_devices(lambda images: tf.cast(folded(images, training=False), dtype))
    images = tf.TensorSpec(model.input_shape, tf.float32)
    return tf.function(run, input_signature=[images])


def check_network(model: keras.Model, splits: Splits) -> None:
    """Raise an error if `model` makes no feature map of the images in `splits`."""
    if len(model.output_shape) != 4:
        raise ValueError(
            "Expected a backbone whose output is a feature map (batch, height, width, "
            "channels), as build_backbone makes it. "
            f"Received: output_shape={model.output_shape}"
        )
    shape = tuple(splits.train.element_spec[0].shape[1:])
    if model.input_shape[1:] != shape:
        raise ValueError(
            f"The images are of shape {shape}, the backbone takes another one. Pass "
            f"image_size={shape[0]} to build_backbone. "
            f"Received: input_shape={model.input_shape}"
        )


def key(model: keras.Model, splits: Splits, *more) -> str:
    """Return the name of the folder for what `model` makes of `splits`.

    It holds all that the values depend on: images and splits, the values of the
    weights, the layers, image size and resize rule, and whatever else is given.
    """
    digest = hashlib.sha256()
    described = [splits.fingerprint, RESIZE_RULE, model.input_shape, more]
    for operation in model.operations:
        config = operation.get_config() if hasattr(operation, "get_config") else {}
        described.append((type(operation).__name__, nameless(config)))
    digest.update(repr(described).encode())
    for variable in model.variables:
        value = np.ascontiguousarray(keras.ops.convert_to_numpy(variable))
        digest.update(repr((value.shape, str(value.dtype))).encode())
        digest.update(value.view(np.uint8) if value.ndim else value.tobytes())
    # A name with a configuration or a version holds characters that no file name may.
    name = re.sub(r"[^\w.-]+", "_", splits.name)
    return f"{model.name}-{name}-{digest.hexdigest()[:24]}"


def weight_digests(model: keras.Model) -> frozenset[str]:
    """Return a checksum of each array of weights in a model.

    A network that was cut into two has, in both parts together, those of the whole one.
    """
    values = (
        np.ascontiguousarray(keras.ops.convert_to_numpy(v)) for v in model.weights
    )
    return frozenset(
        hashlib.sha256(
            repr((value.shape, str(value.dtype))).encode() + value.tobytes()
        ).hexdigest()
        for value in values
    )


def made_by(model: keras.Model, splits: Splits) -> frozenset[str]:
    """Return the checksums of all weights between photos and what `model` makes.

    Feature maps bring those of the layers before.
    """
    return weight_digests(model) | getattr(splits, "made_by", frozenset())


def nameless(config):
    """Return a configuration without what changes no output, at any depth.

    Numbers in automatic names depend on what else the process has built, and whether
    a layer is trainable on what is to be done with it next.
    """
    if isinstance(config, dict):
        left_out = ("name", "trainable", "build_config", "build_input_shape")
        if len(config) == 1:  # The name of a precision, which is all that it has.
            left_out = ()
        return {k: nameless(v) for k, v in config.items() if k not in left_out}
    if isinstance(config, list | tuple):
        return [nameless(item) for item in config]
    return config


def _publish(temporary: pathlib.Path, folder: pathlib.Path, files: Sequence[str]):
    """Rename the finished folder; another process may have been quicker."""
    for _ in range(10):
        with contextlib.suppress(OSError):
            temporary.rename(folder)
        found = read(folder, files)
        if found is not None:
            return found
        # A damaged one is in the way: it leaves under another name, then goes.
        aside = folder.with_name(f".{folder.name}-{uuid.uuid4().hex[:8]}")
        with contextlib.suppress(OSError):
            folder.rename(aside)
            shutil.rmtree(aside, ignore_errors=True)
        time.sleep(0.05)
    raise OSError(f"Could not put the features in place. Received: cache_dir={folder}")


def read(folder: pathlib.Path, files: Sequence[str]) -> dict[str, np.ndarray] | None:
    """Return the arrays kept in `folder`, or `None` if any file is not whole."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
        for name in files:
            if _state(folder / f"{name}.npy") != manifest[name]:
                return None
        return {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in files}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _state(path: pathlib.Path) -> list:
    size = path.stat().st_size
    if size > HASHED_BYTES:
        return [size]
    with path.open("rb") as file:
        return [size, hashlib.file_digest(file, "sha256").hexdigest()]
