"""Image augmentation, as one layer made of Keras's own."""

import random

import keras
import numpy as np
import tensorflow as tf

from keras_transfer.data.splits import Splits
from keras_transfer.runtime.arguments import (
    check_keeps_shape,
    image_layer,
    one_of,
    whole_number,
)

STRENGTHS = ("light", "standard", "strong")


def build_augmentation(strength: str = "standard", seed: int | None = None):
    """Build a layer that changes training images at random, and no others.

    Apply it to images after everything that is cached: `fine_tune` does, and so does
    `dataset.map(lambda images, labels: (layer(images, training=True), labels))`. In a
    model it is active in `fit` only.

    Args:
        strength: `"light"` (mirrored, moved by up to 5 %), `"standard"` (also turned by
            up to 20 degrees, zoomed, more or less contrast) or `"strong"` (mirrored,
            then two random changes of shape or colour by RandAugment, then moved).
            Defaults to `"standard"`.
        seed: Integer from 0, so that two layers draw the same changes. Defaults to
            one that `keras.utils.set_random_seed` determines.

    Returns:
        A serialisable `keras.Sequential` of Keras layers, for float images
        `(batch, height, width, 3)`, RGB, 0 to 255.

    Raises:
        ValueError: If there is no such strength, or the seed is no whole number.

    Example:

    >>> import numpy as np, keras_transfer as kt
    >>> augmentation = kt.build_augmentation("light")
    >>> images = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3))
    >>> bool(np.all(augmentation(images, training=False) == images.astype("float32")))
    True

    Reference:

    - [Cubuk et al., 2019](https://arxiv.org/abs/1909.13719) (RandAugment)
    """
    strength = one_of("strength", strength, STRENGTHS)
    if seed is None:
        seed = random.randrange(2**31)
    seed = whole_number("seed", seed, 0)
    layers = keras.layers
    # A seed of its own for each layer: from the same one, all would draw the same
    # numbers, and each mirrored photo would also be turned to the left.
    seeds = iter(np.random.SeedSequence(seed).generate_state(5))

    def common():
        return {"seed": int(next(seeds)), "dtype": "float32"}

    # "nearest" repeats the edge: "reflect" would show a second ear or petal.
    nearest = {"fill_mode": "nearest"}
    chosen = [layers.RandomFlip("horizontal", **common())]
    if strength == "strong":
        chosen.append(
            layers.RandAugment((0, 255), num_ops=2, factor=0.4, **common()),
        )
    if strength == "standard":
        chosen += [
            layers.RandomRotation(20 / 360, **nearest, **common()),
            layers.RandomZoom((-0.2, 0.1), **nearest, **common()),
            layers.RandomContrast(0.2, value_range=(0, 255), **common()),
        ]
    chosen.append(layers.RandomTranslation(0.05, 0.05, **nearest, **common()))
    return keras.Sequential(chosen, name=f"{strength}_augmentation")


def checked_augmentation(augmentation, splits: Splits) -> keras.layers.Layer | None:
    """Return what changes training images as one layer, if it keeps their shape."""
    augmentation = image_layer("augmentation", augmentation)
    if augmentation is not None:
        shape = tuple(splits.train.element_spec[0].shape[1:])
        check_keeps_shape("augmentation", augmentation, shape)
    return augmentation


def augmented(dataset: tf.data.Dataset, layer) -> tf.data.Dataset:
    """Change the images of batches by a layer, which may be `None`."""
    if layer is None:
        return dataset
    return dataset.map(lambda images, labels: (layer(images, training=True), labels))
