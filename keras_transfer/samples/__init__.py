"""Drawn sample pictures: cats and dogs, and five flowers, without any download."""

from keras_transfer.samples.animals import CATS_VS_DOGS_LABELS, draw_cats_vs_dogs
from keras_transfer.samples.flowers import FLOWERS_LABELS, draw_flowers

__all__ = [
    "CATS_VS_DOGS_LABELS",
    "FLOWERS_LABELS",
    "draw_cats_vs_dogs",
    "draw_flowers",
    "prepare",
]


def __getattr__(name: str):
    # Drawing needs neither TensorFlow nor TFDS, so that only `prepare` waits for them.
    if name == "prepare":
        from keras_transfer.samples.builders import prepare

        return prepare
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
