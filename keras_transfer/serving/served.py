"""What a service needs of a classifier, and how one is loaded for it."""

import pathlib
import typing
from collections.abc import Mapping

import numpy as np

from keras_transfer.classifier.unknown import UnknownDetector


class Answer(typing.Protocol):
    """Name the class of one photo, as `Prediction` does."""

    class_name: str
    probability: float
    probabilities: np.ndarray
    unknown: bool | None
    distance: float | None


class Served(typing.Protocol):
    """Answer for photos, by whatever library runs the network.

    Attributes:
        class_names: Names in the order of the probabilities.
        image_size: Side of the square images, in pixels.
        about: What else is known of the classifier, of values that JSON can hold:
            `backbone`, `test`, `temperature`, `format`, `precision`, `versions`.
        unknown: What tells that a photo is of none of the classes, or `None`.
        explains: Whether `heat_map` works.
    """

    class_names: tuple[str, ...]
    image_size: int
    about: Mapping
    unknown: UnknownDetector | None
    explains: bool

    def decode(self, data: bytes) -> np.ndarray:
        """Return the bytes of an image file as the network sees it, in uint8.

        Called by several threads at once.

        Raises:
            UnreadableImageError: If they are no such image.
        """

    def answer(self, images: np.ndarray) -> list[Answer]:
        """Return one answer an image, for one batch."""

    def heat_map(self, image: np.ndarray, class_index: int) -> np.ndarray:
        """Return how much each place speaks for a class, 0 to 1."""


def load_served(path: pathlib.Path) -> Served:
    """Load a `.keras` file, or a folder that `export` wrote, which needs no Keras."""
    if path.is_dir():
        from keras_transfer.deployment.exported import load_exported

        return load_exported(path)
    from keras_transfer.classifier.saved import load_classifier
    from keras_transfer.serving.keras_model import KerasServed

    return KerasServed(load_classifier(path))
