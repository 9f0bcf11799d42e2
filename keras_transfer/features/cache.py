"""Folders of arrays that a network has computed, kept on disk whole or not at all."""

import concurrent.futures
import contextlib
import hashlib
import json
import pathlib
import re
import time
import typing
from collections.abc import Callable, Iterator, Sequence

import keras
import numpy as np

from keras_transfer.data.decoding import RESIZE_RULE
from keras_transfer.data.splits import Splits
from keras_transfer.models.graph import (
    as_graph,
    input_shape,
    output_shape,
    own_parts,
    single_output,
)
from keras_transfer.runtime import atomic_files, paths
from keras_transfer.runtime.arguments import file_path, flag, keras_model, whole_number
from keras_transfer.runtime.keras_internals import nodes

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
    folder: pathlib.Path,
    files: Sequence[str],
    write: Callable[[pathlib.Path], float | None],
) -> tuple[dict[str, np.ndarray], bool]:
    """Return the arrays kept in `folder`, written by `write` if they are not there.

    Args:
        folder: Where they are kept.
        files: Their names.
        write: Function of a folder that writes them there, and returns the seconds that
            it was spared because an interrupted run had left a part.

    Returns:
        Memory-mapped arrays by name, and whether they were there.
    """
    found = read(folder, files)
    if found is not None:
        manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
        _count(folder, manifest.get("seconds", 0.0))
        return found, True
    start = time.perf_counter()
    with atomic_files.unfinished_folder(folder) as temporary:
        spared = write(temporary) or 0.0
        for progress in temporary.glob(f"*{atomic_files.PROGRESS}"):
            progress.unlink()
        manifest = {name: _state(temporary / f"{name}.npy") for name in files}
        manifest["seconds"] = time.perf_counter() - start + spared
        (temporary / "manifest.json").write_text(json.dumps(manifest), "utf-8")
        _count(folder, spared)
        return _publish(temporary, folder, files), False


def _count(folder: pathlib.Path, seconds: float) -> None:
    for counter in _counters:
        counter.setdefault(folder, seconds)


def image_shape(splits: Splits) -> tuple:
    """Return the shape of one image, or feature map, of `splits`."""
    return tuple(splits.train.element_spec[0].shape[1:])


def check_network(model: keras.Model, splits: Splits) -> tuple:
    """Return the shape of the feature map that `model` makes of the images in `splits`.

    Raises:
        ValueError: If it makes none.
    """
    keras_model("backbone", model)
    shape, taken = image_shape(splits), input_shape(model)
    if taken is not None and (
        len(taken) != 1 + len(shape)
        or any(a not in (None, b) for a, b in zip(taken[1:], shape, strict=True))
    ):
        raise ValueError(
            f"The images are of shape {shape}, the backbone takes another one. Pass "
            f"image_size={shape[0]} to build_backbone. "
            f"Received: input_shape={taken}"
        )
    made = output_shape(model, shape)
    if len(made) != 4 or None in made[1:]:
        raise ValueError(
            "Expected a backbone whose output is a feature map (batch, height, width, "
            "channels), as build_backbone makes it; build one of keras.applications "
            f"with include_top=False and pooling=None. Received: output_shape={made}"
        )
    return made[1:]


def folder_of(name: str, folder: typing.Any, default: str) -> pathlib.Path:
    """Return the folder that an argument names, or the one of that name in `data/`."""
    return paths.data_dir() / default if folder is None else file_path(name, folder)


def is_verbose(verbose: typing.Any) -> bool:
    """Return whether to print, as a truth value or as Keras's 0, 1, 2 and "auto"."""
    if isinstance(verbose, str) and verbose == "auto":
        return True
    try:
        return bool(whole_number("verbose", verbose, 0, 2))
    except ValueError:
        return flag("verbose", verbose)


def computed_by(dtype: str, engine: str) -> list[str]:
    """Return what the key holds of how values were computed."""
    # Keys of before there were engines name none.
    return [dtype] if engine == "tensorflow" else [dtype, engine]


def with_kept(folders: dict[str, pathlib.Path], parts: str = "") -> str:
    """Return the first engine whose folder is there, or else the first one.

    Args:
        folders: The folder of each engine.
        parts: What the names of its parts have behind its own, where these count too.
    """
    for engine, folder in folders.items():
        if (folder / "manifest.json").exists():
            return engine
        if parts and any(folder.parent.glob(f"{folder.name}{parts}*")):
            return engine
    return next(iter(folders))


def key(
    model: keras.Model,
    splits: Splits,
    *more,
    weights: Sequence[str] | None = None,
) -> str:
    """Return the name of the folder for what `model` makes of `splits`.

    It holds all that the values depend on: images and splits, the values of the
    weights, the layers and how they are connected, image size and resize rule, and
    whatever else is given.

    Args:
        model: The network.
        splits: What it is run on.
        *more: Whatever else the values depend on.
        weights: `checksums(model)`, where they are known already.
    """
    shape = image_shape(splits)
    return key_of(model, splits.name, splits.fingerprint, shape, *more, weights=weights)


def key_of(
    model: keras.Model,
    name: str,
    fingerprint: str,
    shape: tuple,
    *more,
    weights: Sequence[str] | None = None,
) -> str:
    """Return what `key` returns, for data that are no `Splits`.

    Args:
        model: The network.
        name: Name of the data.
        fingerprint: Changes when any of the data changes.
        shape: Shape of one image.
        *more: Whatever else the values depend on.
        weights: `checksums(model)`, where they are known already.
    """
    weights = checksums(model) if weights is None else weights
    described = [fingerprint, RESIZE_RULE, shape, more, _graph(model)]
    if own_parts(model):
        described.append(_answer(model, shape))
    text = repr((described, weights))
    digest = hashlib.sha256(text.encode(errors="backslashreplace")).hexdigest()
    # A name with a configuration or a version holds characters that no file name may.
    network, data = (
        re.sub(r"[^\w.-]+", "_", each, flags=re.ASCII)[:64]
        for each in (model.name, name)
    )
    return f"{network}-{data}-{digest[:24]}"


def checksums(model: keras.Model) -> tuple[str, ...]:
    """Return a checksum of each array of weights in a model, in order."""
    arrays = map(keras.ops.convert_to_numpy, model.weights)
    # Of large arrays, several at once.
    with concurrent.futures.ThreadPoolExecutor() as pool:
        return tuple(pool.map(_checksum, arrays))


def weight_digests(model: keras.Model) -> frozenset[str]:
    """Return a checksum of each array of weights in a model.

    A network that was cut into two has, in both parts together, those of the whole one.
    """
    return frozenset(checksums(model))


def made_by(
    model: keras.Model, splits: Splits, weights: Sequence[str] | None = None
) -> frozenset[str]:
    """Return the checksums of all weights between photos and what `model` makes.

    Feature maps bring those of the layers before.
    """
    weights = checksums(model) if weights is None else weights
    return frozenset(weights) | getattr(splits, "made_by", frozenset())


def _checksum(array: np.ndarray) -> str:
    array = np.ascontiguousarray(array)
    digest = hashlib.sha256(repr((array.shape, str(array.dtype))).encode())
    digest.update(array.reshape(-1).view(np.uint8))
    return digest.hexdigest()


def _graph(model: keras.Model) -> list:
    """Describe the calls of a model: of what, with which settings, and on what."""
    graph = as_graph(model)
    if graph is None:
        return [type(model).__name__]
    tensors = {id(tensor): number for number, tensor in enumerate(graph.inputs)}
    layers, found = {}, []

    def argument(value):
        if isinstance(value, keras.KerasTensor):
            return f"tensor {tensors.get(id(value))}"
        return nameless(value)

    for node in nodes(graph):
        if node.is_input:
            continue
        called = node.operation
        arguments = (node.arguments.args, node.arguments.kwargs)
        found.append(
            (
                layers.setdefault(id(called), len(layers)),
                type(called).__name__,
                _graph(called) if isinstance(called, keras.Model) else _of(called),
                keras.tree.map_structure(argument, arguments),
            )
        )
        for tensor in node.output_tensors:
            tensors[id(tensor)] = len(tensors)
    return [*found, [argument(tensor) for tensor in graph.outputs]]


def _of(operation) -> dict:
    try:
        config = operation.get_config()
        return nameless({k: v for k, v in config.items() if k != "name"})
    except Exception:  # What it does not tell, its answer does.
        return {}


def _answer(model: keras.Model, shape: tuple) -> str:
    """Return a checksum of what a model makes of one image of noise.

    Code of one's own is in no configuration: a cell that defines a function again under
    the same name must not get what the former one has made.
    """
    noise = np.random.default_rng(0).uniform(0, 255, (1, *shape)).astype("float32")
    return _checksum(keras.ops.convert_to_numpy(single_output(model, noise)))


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
    if config is None or isinstance(config, str | int | float):
        return config
    if hasattr(config, "dtype") and hasattr(config, "shape"):
        return _checksum(keras.ops.convert_to_numpy(config))
    # Without the place in memory, which is another one in each process.
    return re.sub(r" at 0x[0-9a-f]+", "", repr(config))


def _publish(temporary: pathlib.Path, folder: pathlib.Path, files: Sequence[str]):
    """Rename the finished folder; another process may have been quicker."""
    for _ in range(10):
        with contextlib.suppress(OSError):
            temporary.rename(folder)
        found = read(folder, files)
        if found is not None:
            return found
        # A damaged one is in the way.
        atomic_files.discard(folder)
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
