"""Predict by an exported classifier, without Keras and, but for one, TensorFlow.

An export folder holds the network in the format of its runtime, `classifier.json`,
which says what it is, `unknown.npy`, where it tells what is of none of its classes, and
`client.py`, which predicts without this package.
"""

import importlib
import json
import os
import pathlib
import threading
import types
import typing
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from keras_transfer.classifier.prediction import (
    AHEAD,
    BATCH_SIZE,
    Meaning,
    Prediction,
    answered,
    path_iterator,
    predictions,
    read_photos,
)
from keras_transfer.classifier.unknown import UnknownDetector
from keras_transfer.data import decoding
from keras_transfer.deployment.client import resize
from keras_transfer.models.tempering import tempered
from keras_transfer.runtime.arguments import (
    file_path,
    number_array,
    one_of,
    reason,
    shown,
    whole_number,
)
from keras_transfer.runtime.openvino import openvino

DESCRIPTION = "classifier.json"
FEATURES = "unknown.npy"
CLIENT = "client.py"
# For each format the name of the network's file, and what installs its runtime.
MODELS = {
    "onnx": "model.onnx",
    "litert": "model.tflite",
    "openvino": "model.xml",
    "savedmodel": "saved_model",
}
PACKAGES = {
    "onnx": "onnxruntime",
    "litert": "ai-edge-litert",
    "openvino": "openvino",
    "savedmodel": "tensorflow",
}
ERRORS = ("raise", "return")


class ExportedClassifier:
    """Predict by an exported network; from `load_exported`.

    Attributes:
        class_names: Tuple of names in the order of the outputs.
        image_size: Side of the square images, in pixels.
        temperature: What probabilities are calibrated by, or `None`.
        unknown: `UnknownDetector` for photos of none of the classes, or `None`.
        about: Dict of what else is known: `backbone`, `format`, `precision`, `test`,
            `agreement`, `temperature`, `versions` and `exported`.
        explains: `False`: a heat map needs the Keras model.
    """

    explains = False

    def __init__(self, described: Mapping, network, unknown: UnknownDetector | None):
        self.class_names = tuple(described["class_names"])
        self.image_size = int(described["image_size"])
        self.temperature = described["temperature"]
        self.unknown = unknown
        names = ("backbone", "format", "precision", "test", "agreement")
        self.about = {
            name: described.get(name)
            for name in (*names, "temperature", "versions", "exported")
        }
        self._network = network
        self._meaning = Meaning(self.class_names, self._probabilities, unknown)
        # Not every runtime may be called by several threads at once.
        self._one = threading.Lock()

    def decode(self, data: bytes) -> np.ndarray:
        """Return the bytes of an image file as the network sees them.

        Args:
            data: Bytes of an image file, as `load_image` reads it.

        Returns:
            uint8 array of shape `(image_size, image_size, 3)`.

        Raises:
            UnreadableImageError: If the bytes are no such image.
        """
        if not isinstance(data, bytes):
            raise ValueError(
                "data must be the bytes of an image file, such as "
                f'pathlib.Path("photo.jpg").read_bytes(). Received: data={shown(data)}'
            )
        return resize(decoding.decode(data), self.image_size).astype("uint8")

    def answer(self, images: np.ndarray) -> list[Prediction]:
        """Predict the classes of images that were decoded.

        Args:
            images: Array of shape `(batch, image_size, image_size, 3)`, RGB 0-255.

        Returns:
            One `Prediction` an image.

        Raises:
            ValueError: If these are no such images.
        """
        return answered(*self._outputs_of(self._checked(images)), self._meaning)

    @staticmethod
    def heat_map(image: np.ndarray, class_index: int) -> np.ndarray:
        """Raise a `ValueError`: an exported network has no gradients."""
        raise ValueError(
            "An exported network has no gradients, so it draws no heat map. Take the "
            f".keras file. Received: image={shown(image)}, class_index={class_index}"
        )

    def predict(
        self,
        paths: str | os.PathLike | Iterable[str | os.PathLike],
        errors: str = "raise",
    ) -> list[Prediction]:
        """Predict the class of image files, as `Classifier.predict` does.

        Args:
            paths: Paths of image files, as `load_image` reads them, or a single one.
            errors: `"raise"`, or `"return"` for a `Prediction` with an `error` in place
                of a file that cannot be read. Defaults to `"raise"`.

        Returns:
            One `Prediction` a path, in the same order.
        """
        return [*self.predict_stream(paths, errors)]

    def predict_stream(
        self,
        paths: str | os.PathLike | Iterable[str | os.PathLike],
        errors: str = "return",
        batch_size: int = BATCH_SIZE,
    ) -> Iterator[Prediction]:
        """Predict the class of any number of image files, in memory that stays flat.

        Args:
            paths: Paths of image files, also an iterator that makes them one by one.
            errors: `"return"`, or `"raise"` to end at a file that cannot be read.
                Defaults to `"return"`.
            batch_size: Photos that go through the network at once. Defaults to `32`.

        Returns:
            An iterator over one `Prediction` a path, in the same order.
        """
        raises = one_of("errors", errors, ERRORS) == "raise"
        batch_size = whole_number("batch_size", batch_size, least=1)
        photos = read_photos(
            path_iterator(paths), self._photo_at, AHEAD * batch_size, raises
        )
        run = types.SimpleNamespace(stream=self._stream)
        return predictions(photos, run, self._meaning, batch_size)

    def _stream(self, items: Iterable) -> Iterator[tuple]:
        for images, along in items:
            yield *(self._outputs_of(images) if len(images) else (images, None)), along

    def _checked(self, images: typing.Any) -> np.ndarray:
        shape = (self.image_size, self.image_size, 3)
        found = number_array("images", images)
        if found.shape[1:] != shape or not len(found):
            raise ValueError(
                f"images must have the shape (batch, {', '.join(map(str, shape))}), "
                f"with at least one image. Received: images of shape {found.shape}"
            )
        return found

    def _photo_at(self, path: pathlib.Path) -> np.ndarray:
        with decoding.named_in_errors(path):
            return self.decode(decoding.read_file(path))

    def _outputs_of(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        with self._one:
            made = self._network(np.asarray(images, "float32"))
        return made["probabilities"], made.get("features")

    def _probabilities(self, rows: np.ndarray) -> np.ndarray:
        if self.temperature is None or not np.isfinite(rows).all():
            return rows
        return tempered(rows, self.temperature)

    def __repr__(self) -> str:
        return (
            f"ExportedClassifier({self.about['format']}, {self.about['precision']}, "
            f"{len(self.class_names)} classes, images of {self.image_size} px)"
        )


def load_exported(folder: str | os.PathLike) -> ExportedClassifier:
    """Load a classifier that `export_classifier` wrote, ready to predict from files.

    Only the runtime of its format is imported: neither Keras nor, unless the format is
    `"savedmodel"`, TensorFlow.

    Args:
        folder: Path of the export folder.

    Returns:
        An `ExportedClassifier` with `predict(paths)`, `predict_stream(paths)`,
        `class_names` and `about`.

    Raises:
        FileNotFoundError: If there is no such folder, or no export in it.
        ValueError: If it is damaged or was made by another version, or the runtime of
            its format is not installed.

    Example:

    >>> import keras, keras_transfer as kt
    >>> model = keras.Sequential(
    ...     [
    ...         keras.Input((32, 32, 3)),
    ...         keras.layers.GlobalAveragePooling2D(),
    ...         keras.layers.Dense(2, "softmax"),
    ...     ]
    ... )
    >>> path = kt.save_classifier(model, "model.keras", ["cat", "dog"])
    >>> found = kt.export_classifier(path, "exported")
    >>> kt.load_exported("exported").class_names
    ('cat', 'dog')
    """
    path = file_path("folder", folder)
    if not (path / DESCRIPTION).is_file():
        found = "a file" if path.is_file() else "no folder with classifier.json"
        raise FileNotFoundError(
            f"There is no exported classifier at this path ({found}). Make one: "
            "python -m keras_transfer export MODEL.keras --output FOLDER. "
            f"Received: folder={path}"
        )
    try:
        described = json.loads((path / DESCRIPTION).read_text("utf-8"))
        kind, rule = described["format"], described["resize_rule"]
        file, unknown = path / MODELS[kind], _unknown(path, described["unknown"])
        if not file.exists():
            raise FileNotFoundError(f"{file.name} is missing")
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(path, error) from error
    if rule != decoding.RESIZE_RULE:
        raise ValueError(
            f"This version resizes images by the rule {decoding.RESIZE_RULE}, this "
            "export by another one. Use its own client.py, or export the model again. "
            f"Received: resize_rule={rule}, folder={path}"
        )
    network = load_network(kind, file)
    try:
        return ExportedClassifier(described, network, unknown)
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, error) from error


def load_network(kind: str, path: pathlib.Path):
    """Load an exported network by the runtime of its format.

    Raises:
        ValueError: If that is not installed, or the file is damaged.
    """
    try:
        if kind == "openvino":
            openvino()
        name = f"keras_transfer.deployment.runtimes.{kind}"
        runtime = importlib.import_module(name)
        options = [runtime.shared_cores()] if kind == "onnx" else []
        return runtime.network(str(path), *options)
    except ImportError as error:
        raise ValueError(
            f"The runtime of the format {kind} is not installed: pip install "
            f"{PACKAGES[kind]}. Received: {path}"
        ) from error
    except Exception as error:  # Each runtime raises errors of its own.
        raise _damaged(path.parent, error) from error


def _unknown(folder: pathlib.Path, kept: Mapping | None) -> UnknownDetector | None:
    if kept is None:
        return None
    return UnknownDetector(np.load(folder / FEATURES), **kept)


def _damaged(folder: pathlib.Path, error: Exception) -> ValueError:
    return ValueError(
        "Expected a whole folder of export_classifier; this one is damaged or of "
        f"another kind ({reason(error)}). Export the model again. "
        f"Received: folder={folder}"
    )
