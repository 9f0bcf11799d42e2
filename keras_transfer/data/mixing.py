"""Labels that are more than one class: mixed photos and label smoothing.

Keras's sparse loss knows no smoothing, and its MixUp and CutMix refuse integers. So the
training pipeline, and nothing before it, turns labels into one number for each output.
"""

import keras
import tensorflow as tf


def soften(dataset: tf.data.Dataset, units: int) -> tf.data.Dataset:
    """Turn integer labels into float32 ones of shape `(batch, units)`."""

    def one_hot(images, labels):
        if units == 1:
            return images, tf.cast(labels, tf.float32)[:, None]
        return images, tf.one_hot(labels, units)

    return dataset.map(one_hot)


def mix(dataset: tf.data.Dataset, mixup: float, cutmix: float) -> tf.data.Dataset:
    """Mix the images of each batch in pairs, and their labels with them."""
    layers = []
    if mixup:
        layers.append(keras.layers.MixUp(alpha=mixup, dtype="float32"))
    if cutmix:
        layers.append(keras.layers.CutMix(factor=cutmix, dtype="float32"))
    for layer in layers:

        def mixed(images, labels, layer=layer):
            both = layer({"images": images, "labels": labels}, training=True)
            return both["images"], both["labels"]

        dataset = dataset.map(mixed)
    return dataset
