"""Say in one sentence where Keras is set in a way that this package cannot work with.

Before Keras is imported: with another backend, that import alone may fail.
"""

import json
import os
import pathlib
import sys


def check_keras() -> None:
    """Raise a `ValueError` unless Keras runs on TensorFlow, with channels last."""
    backend, layout, path = _settings()
    if backend != "tensorflow":
        named = os.environ.get("KERAS_BACKEND")
        received = f"KERAS_BACKEND={named}" if named else f"backend={backend} in {path}"
        raise ValueError(
            "keras_transfer computes with TensorFlow, and Keras is set to another "
            "backend. Set KERAS_BACKEND=tensorflow before Python starts; in a notebook "
            'that runs already, restart its kernel with os.environ["KERAS_BACKEND"] = '
            f'"tensorflow" in its first cell. Received: {received}'
        )
    if layout != "channels_last":
        raise ValueError(
            "keras_transfer takes images of shape (height, width, channels), and Keras "
            'is set to channels_first. Call keras.config.set_image_data_format("'
            f'channels_last") first, or set it in {path}. '
            f"Received: image_data_format={layout}"
        )


def _settings() -> tuple[str, str, pathlib.Path]:
    """Return backend, layout of images, and the file that may have set them."""
    # Keras's own rule, which it follows while it is imported.
    home = pathlib.Path("~").expanduser()
    home = home if os.access(home, os.W_OK) else pathlib.Path("/tmp")
    folder = os.environ.get("KERAS_HOME", str(home / ".keras"))
    path = pathlib.Path(folder).expanduser() / "keras.json"
    config = getattr(sys.modules.get("keras"), "config", None)
    if config is not None:
        return config.backend(), config.image_data_format(), path
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        read = None
    read = read if isinstance(read, dict) else {}
    backend = os.environ.get("KERAS_BACKEND") or read.get("backend", "tensorflow")
    return backend, read.get("image_data_format", "channels_last"), path
