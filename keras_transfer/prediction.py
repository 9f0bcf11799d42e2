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
from collections.abc import Sequence

import keras
import numpy as np

from keras_transfer import storage
from keras_transfer.images import RESIZE_RULE, load_image
from keras_transfer.outputs import class_probabilities

MEMBER = "keras_transfer.json"


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

    def predict(self, paths: Sequence[str | os.PathLike]) -> list[Prediction]:
        """Predict the class of image files, decoded and resized as in training.

        Args:
            paths: Paths of JPEG, PNG, BMP, GIF or WebP files.

        Returns:
            One `Prediction` a path, in the same order.
        """
        if isinstance(paths, str | os.PathLike):
            raise TypeError(
                f"Expected a list of paths. Pass [path]. Received: paths={paths}"
            )
        predictions = []
        for start in range(0, len(paths), 32):
            chunk = paths[start : start + 32]
            images = np.stack([load_image(path, self.image_size) for path in chunk])
            # Called, not `predict`: for a few photos, tracing a graph takes longest.
            outputs = keras.ops.convert_to_numpy(self.model(images, training=False))
            predictions += map(self._named, class_probabilities(self.model, outputs))
        return predictions

    def _named(self, probabilities: np.ndarray) -> Prediction:
        best = int(probabilities.argmax())
        return Prediction(
            self.class_names[best], float(probabilities[best]), probabilities
        )


def save_classifier(
    model: keras.Model, path: str | os.PathLike, class_names: Sequence[str]
) -> pathlib.Path:
    """Save a classifier as one `.keras` file, with its class names and image size.

    Args:
        model: Classifier from RGB images 0-255, with a fixed input size.
        path: Where to write; must end in `.keras`. An older file is replaced only
            when the new one is whole.
        class_names: Names in the order of the model's outputs, for example
            `splits.class_names`.

    Returns:
        The path.

    Raises:
        ValueError: If the path has another suffix, or there are more or fewer names
            than classes.

    Example:

    >>> import keras_transfer as kt
    >>> backbone = kt.build_backbone("vgg16", weights=None, image_size=64)
    >>> model = kt.build_classifier(backbone, num_classes=2)
    >>> path = kt.save_classifier(model, "model.keras", ["cat", "dog"])
    >>> kt.load_classifier(path).class_names
    ('cat', 'dog')
    """
    path = pathlib.Path(path)
    if path.suffix != ".keras":
        raise ValueError(f"The path must end in .keras. Received: path={path}")
    described = {
        "class_names": list(class_names),
        "image_size": model.input_shape[1],
        "resize_rule": RESIZE_RULE,
    }
    _check(model, described, path)
    with storage.written_whole(path) as temporary:
        model.save(temporary)
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
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no model at this path. Received: path={path}"
        )
    try:
        with zipfile.ZipFile(path) as archive:
            described = json.loads(archive.read(MEMBER))
    except KeyError as error:
        raise ValueError(
            "This model was saved without its class names. Load it with "
            "keras.saving.load_model and save it with save_classifier. "
            f"Received: path={path}"
        ) from error
    except (zipfile.BadZipFile, ValueError) as error:
        raise ValueError(
            "Expected a whole .keras file from save_classifier; this one is damaged "
            f"or of another kind. Received: path={path}"
        ) from error
    model = keras.saving.load_model(path)
    _check(model, described, path)
    return Classifier(model, tuple(described["class_names"]), described["image_size"])


def _check(model: keras.Model, described: dict, path: pathlib.Path) -> None:
    names, size = described["class_names"], described["image_size"]
    num_classes = max(2, model.output_shape[-1])
    if len(names) != num_classes:
        raise ValueError(
            f"The model has {num_classes} classes, so as many class names are needed. "
            f"Received: class_names={names}, path={path}"
        )
    if size is None or model.input_shape[1:] != (size, size, 3):
        raise ValueError(
            "Expected a model with square RGB input of the size in its description "
            f"({size}). Received: input_shape={model.input_shape}, path={path}"
        )
    if described["resize_rule"] != RESIZE_RULE:
        raise ValueError(
            f"This version resizes images by the rule {RESIZE_RULE}, the model was "
            "trained with another one. Use the version it was saved with, or train "
            f"it again. Received: resize_rule={described['resize_rule']}, path={path}"
        )
