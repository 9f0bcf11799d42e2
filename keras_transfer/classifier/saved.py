"""Save a finished classifier with its class names, load it, predict from files.

The `.keras` file stays Keras's own: it loads with `import keras` alone. What Keras has
no place for (class names, image size, resize rule) is one more file in the same zip
archive, which Keras passes over.
"""

import dataclasses
import json
import os
import pathlib
import zipfile
import zlib
from collections.abc import Iterable, Sequence

import keras
import numpy as np

from keras_transfer.classifier.model_files import model_path, read_model, write_model
from keras_transfer.data.decoding import RESIZE_RULE, load_image
from keras_transfer.models.graph import image_shape
from keras_transfer.models.outputs import (
    as_array,
    asked_outputs,
    checked_class_names,
    class_probabilities,
    only_output,
)
from keras_transfer.runtime import atomic_files, paths
from keras_transfer.runtime.arguments import (
    elements,
    file_path,
    keras_model,
    shown,
    square_size,
)
from keras_transfer.runtime.keras_internals import KERAS_MEMBERS

MEMBER = "keras_transfer.json"
# What reading a broken archive, or a broken description in it, may raise.
DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    KeyError,
    TypeError,
    UnicodeDecodeError,
    json.JSONDecodeError,
)


@dataclasses.dataclass(frozen=True)
class Prediction:
    """Name the predicted class of one image.

    Attributes:
        class_name: The class with the highest probability.
        probability: Its probability, 0 to 1.
        probabilities: float array of shape `(num_classes,)`.
    """

    class_name: str
    probability: float
    probabilities: np.ndarray


@dataclasses.dataclass(frozen=True)
class Classifier:
    """Hold a loaded model with what it needs to predict from image files.

    Attributes:
        model: The plain `keras.Model`, from RGB images 0-255.
        class_names: Tuple of names in the order of the model's outputs.
        image_size: Side of the square images, in pixels.
    """

    model: keras.Model
    class_names: tuple[str, ...]
    image_size: int

    def __post_init__(self):
        size = _checked_size(keras_model("model", self.model), self.image_size)
        photo = np.zeros((1, size, size, 3), "float32")
        outputs = asked_outputs(
            self.model,
            lambda: self.model(photo, training=False),
            f"image_size={size}",
        )
        names = checked_class_names(self.class_names, outputs.num_classes)
        object.__setattr__(self, "image_size", size)
        object.__setattr__(self, "class_names", names)

    def predict(
        self, paths: str | os.PathLike | Iterable[str | os.PathLike]
    ) -> list[Prediction]:
        """Predict the class of image files, decoded and resized as in training.

        Args:
            paths: Paths of JPEG, PNG, BMP, GIF or WebP files, or a single one.

        Returns:
            One `Prediction` a path, in the same order.

        Raises:
            UnreadableImageError: If a file is no such image.
            OSError: If a file cannot be opened.
            ValueError: If these are no paths of files.
        """
        files, outputs = _photo_paths(paths), []
        for start in range(0, len(files), 32):
            chunk = files[start : start + 32]
            images = np.stack([load_image(path, self.image_size) for path in chunk])
            # Called, not `predict`: for a few photos, tracing a graph takes longest.
            outputs.append(as_array(only_output(self.model(images, training=False))))
        if not outputs:
            return []
        rows = class_probabilities(self.model, np.concatenate(outputs))
        return [*map(self._named, rows)]

    def _named(self, probabilities: np.ndarray) -> Prediction:
        best = int(probabilities.argmax())
        return Prediction(
            self.class_names[best], float(probabilities[best]), probabilities
        )


def save_classifier(
    model: keras.Model,
    path: str | os.PathLike,
    class_names: Sequence[str],
    image_size: int | None = None,
) -> pathlib.Path:
    """Save a classifier as one `.keras` file, with its class names and image size.

    `import keras` alone loads the file again, in any process. How the model is compiled
    is kept, with a stock optimizer in place of that of `discriminative_learning_rates`;
    where the optimizer, the loss or a metric is not Keras's own, the saved model is
    uncompiled. The model in memory stays as it is.

    Args:
        model: Classifier from square RGB images 0-255, compiled or not.
        path: Where to write; must end in `.keras`. An older file is replaced only
            when the new one is whole, and a folder that is not there is made.
        class_names: Names in the order of the model's outputs, for example
            `splits.class_names`.
        image_size: Side of the images that the model was trained with, in pixels;
            needed only where it takes any size. Defaults to that of the model.

    Returns:
        The path.

    Raises:
        ValueError: If the path has another suffix, there are more or fewer names than
            classes, or the model is no classifier of square RGB images.

    Example:

    >>> import keras_transfer as kt
    >>> backbone = kt.build_backbone("vgg16", weights=None, image_size=64)
    >>> model = kt.build_classifier(backbone, num_classes=2)
    >>> path = kt.save_classifier(model, "model.keras", ["cat", "dog"])
    >>> kt.load_classifier(path).class_names
    ('cat', 'dog')
    """
    path = file_path("path", path)
    if path.suffix != ".keras":
        raise ValueError(
            "The path must end in .keras, in small letters, such as model.keras. "
            f"Received: path={path}"
        )
    if path.is_dir() or not paths.existing_parent(path.parent).is_dir():
        raise ValueError(
            "The path must be that of a file, in a folder; one of the two is not. "
            f"Received: path={path}"
        )
    classifier = Classifier(model, class_names, image_size)
    described = {
        "class_names": list(classifier.class_names),
        "image_size": classifier.image_size,
        "resize_rule": RESIZE_RULE,
    }
    with atomic_files.written_whole(path) as temporary:
        write_model(model, temporary)
        with zipfile.ZipFile(temporary, "a") as archive:
            archive.writestr(MEMBER, json.dumps(described, indent=2))
    return path


def load_classifier(path: str | os.PathLike) -> Classifier:
    """Load a classifier that `save_classifier` wrote, ready to predict from files.

    Args:
        path: Path of the `.keras` file.

    Returns:
        A `Classifier`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no Keras model, holds no class names, or they, the image
            size or the resize rule do not fit the model and this version.
    """
    path = model_path("path", path)
    described = _description(path)
    if described["resize_rule"] != RESIZE_RULE:
        raise ValueError(
            f"This version resizes images by the rule {RESIZE_RULE}, the model was "
            "trained with another one. Use the version it was saved with, or train "
            f"it again. Received: resize_rule={described['resize_rule']}, path={path}"
        )
    model = read_model(path)
    try:
        return Classifier(model, described["class_names"], described["image_size"])
    except ValueError as error:
        raise ValueError(
            f"Model and description in this file do not fit together. {error}, "
            f"path={path}"
        ) from error


def _description(path: pathlib.Path) -> dict:
    """Return what `save_classifier` wrote beside the model."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = set(archive.namelist())
            if MEMBER not in members and members >= KERAS_MEMBERS:
                raise ValueError(
                    "This model was saved without its class names. Give it some, in "
                    "the order of its outputs: keras_transfer.save_classifier("
                    f"keras.saving.load_model({str(path)!r}, compile=False), "
                    f"{str(path)!r}, class_names). Received: path={path}"
                )
            described = json.loads(archive.read(MEMBER))
            return {
                key: described[key]
                for key in ("class_names", "image_size", "resize_rule")
            }
    except DAMAGED as error:
        raise ValueError(
            "Expected a whole .keras file from save_classifier; this one is damaged "
            f"or of another kind. Received: path={path}"
        ) from error


def _photo_paths(paths) -> list[pathlib.Path]:
    if isinstance(paths, str | os.PathLike):
        paths = [paths]
    found = elements(paths)
    if found is None or not all(isinstance(each, str | os.PathLike) for each in found):
        raise ValueError(
            "paths must be the path of a photo, or a list of paths; of images in "
            "memory, class_probabilities(model, model.predict(images)) makes answers. "
            f"Received: paths={shown(paths if found is None else found)}"
        )
    files = [file_path("paths", each) for each in found]
    for path in files:
        if path.is_dir():
            raise ValueError(
                "paths must name photos, not their folder; list what is in it: "
                f"sorted(pathlib.Path({str(path)!r}).iterdir()). Received: paths={path}"
            )
    return files


def _checked_size(model: keras.Model, size: int | None) -> int:
    """Return the side of the images, as it was given or as the model has it."""
    shape = image_shape(model) or (None, None, None)
    height, width, channels = shape
    if channels not in (None, 3) or height != width:
        raise ValueError(
            "Expected a model of square RGB images, as photos are loaded. "
            f"Received: model={shown(model)}, with images of shape {shape}"
        )
    if size is None and height is None:
        raise ValueError(
            "This model takes images of any size, so the one that it was trained with "
            "is needed: pass image_size=224, or whichever it was. "
            f"Received: image_size={size}, images of shape {shape}"
        )
    size = height if size is None else square_size("image_size", size)
    if height not in (None, size):
        raise ValueError(
            f"The model takes images of {height} px. Received: image_size={size}"
        )
    return size
