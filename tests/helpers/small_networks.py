"""A small network that learns in milliseconds, with VGG16's names of blocks."""

import keras
import numpy as np

import keras_transfer as kt


def small_backbone(blocks=2, normalized=False, filters=2, size=8):
    layers = keras.layers
    x = inputs = keras.Input((size, size, 3))
    for block in range(1, blocks + 1):
        x = layers.Conv2D(filters, 3, padding="same", name=f"block{block}_conv1")(x)
        if normalized:
            x = layers.BatchNormalization(name=f"block{block}_bn")(x)
        x = layers.MaxPooling2D(name=f"block{block}_pool")(x)
    return keras.Model(inputs, x, name="small")


def small_classifier(blocks=2, normalized=False, size=8, dropout=0.0, **head):
    backbone = small_backbone(blocks, normalized, size=size)
    return kt.build_classifier(backbone, num_classes=2, dropout=dropout, **head)


def images_and_labels(count=8, size=8):
    rng = np.random.default_rng(0)
    images = rng.uniform(0, 1, (count, size, size, 3)).astype("float32")
    return images, np.arange(count) % 2


def values(model):
    return {v.path: np.array(v.value) for v in model.weights}


def changed_blocks(before, model):
    """Return the names of the blocks (or `head`) in which any weight differs."""
    after = values(model)
    return {
        path.split("_")[0]
        for path in before
        if not np.array_equal(before[path], after[path])
    }
