"""A folder of drawn photos and a tiny backbone, to train on within seconds.

As a program it trains in a process of its own, which a test can kill:
`python -m tests.helpers.tiny_training FOLDER WEIGHTS OUTPUT`.
"""

import pathlib
import sys

import keras
import numpy as np
from PIL import Image

import keras_transfer as kt

SIZE = 32
NAMES = ("blue", "red")


def draw_photos(folder: pathlib.Path, count: int = 36) -> pathlib.Path:
    """Draw photos of noise with a tint that is hard to see."""
    rng = np.random.default_rng(0)
    for channel, name in zip((2, 0), NAMES, strict=True):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = rng.integers(0, 200, (SIZE, SIZE, 3))
            pixels[..., channel] += rng.integers(0, 12)
            image = Image.fromarray(pixels.astype("uint8"))
            image.save(folder / name / f"{number:02}.png")
    return folder


def network(images):
    layers = keras.layers
    x = layers.Conv2D(4, 3, activation="relu", name="first_conv")(images)
    x = layers.MaxPooling2D(name="first_pool")(x)
    x = layers.Conv2D(8, 3, activation="relu", name="second_conv")(x)
    x = layers.SpatialDropout2D(0.1, name="second_dropout")(x)
    return layers.MaxPooling2D(name="second_pool")(x)


def register(weights: pathlib.Path) -> str:
    """Make the backbone known by its name, with weights of its own."""
    blocks = {"first": "first_pool", "second": "second_pool"}
    settings = {"blocks": blocks, "preprocess": lambda images: images / 255}
    if not weights.is_file():
        keras.utils.set_random_seed(0)
        kt.register_backbone("tiny", network, **settings, image_size=SIZE)
        made = kt.build_backbone("tiny", weights=None, image_size=SIZE)
        made.save_weights(weights)
    kt.register_backbone("tiny", network, **settings, image_size=SIZE, weights=weights)
    return "tiny"


def train(folder, output, **settings):
    """Train the last block of the backbone, which must be registered."""
    settings = {"fine_tune": True, "epochs": 4, "image_size": SIZE} | settings
    return kt.train_classifier(folder, output, backbone="tiny", **settings)


if __name__ == "__main__":
    photos, kept, target = map(pathlib.Path, sys.argv[1:])
    register(kept)
    train(photos, target)
