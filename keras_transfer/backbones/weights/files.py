"""Put weights into a backbone, from a file or by layer name, with plain errors."""

import functools
import hashlib
import os
import pathlib
import textwrap
import warnings

import keras

from keras_transfer.backbones.weights.packages import LayerWeights
from keras_transfer.runtime import atomic_files, paths


def load_weights_file(model: keras.Model, name: str, path: str | os.PathLike) -> None:
    """Load a weights file into a backbone.

    Args:
        model: Flat backbone.
        name: Its name, for the error.
        path: File that `save_weights()` of the same network wrote.

    Raises:
        ValueError: If there is no such file, it is damaged, or it is of another
            network.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise ValueError(
            f"There is no weights file of {name} here. Received: weights={path}"
        )
    try:
        with warnings.catch_warnings():
            # Keras would warn of each part that does not fit, before it fails.
            warnings.filterwarnings("ignore", "Skipping nested container")
            model.load_weights(path)
    except Exception as error:
        raise ValueError(
            f"The file does not hold the weights of {name} without its classifier: "
            f"it is damaged or of another network ({first_line(error)}). Name another "
            "file; one in the weights folder is fetched anew once you have removed it. "
            f"Received: weights={path}"
        ) from error


def save_weights_file(model: keras.Model, path: pathlib.Path) -> pathlib.Path:
    """Save a network's weights, whole or not at all, and return the path."""
    needed = sum(array.nbytes for array in model.get_weights())
    with atomic_files.written_whole(path) as temporary:
        # HDF5 can crash the process when a disk fills up under it.
        paths.check_room(temporary.parent, int(1.1 * needed))
        model.save_weights(temporary)
    return path


def set_layer_weights(model: keras.Model, weights: LayerWeights) -> None:
    """Set the weights of every layer that has any, by name."""
    layers = {layer.name: layer for layer in model.layers if layer.weights}
    if layers.keys() != weights.keys():
        raise ValueError(
            "The package has the weights of other layers than the backbone. "
            f"Received: {sorted(layers.keys() ^ weights.keys())}"
        )
    for name, arrays in weights.items():
        layers[name].set_weights(arrays)


def content_digest(path: pathlib.Path) -> str:
    """Return a checksum of a file, computed anew only once the file has changed."""
    state = path.stat()
    return _content_digest(path, state.st_size, state.st_mtime_ns)


@functools.cache
def _content_digest(path: pathlib.Path, *_state: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def first_line(error: Exception) -> str:
    """Return an error's first line, without the address that Keras puts before it."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return textwrap.shorten(lines[0].rpartition(" -- ")[2], 400).rstrip(".")
