"""A small classifier in good health and its data, to plant faults in."""

import functools

import keras
import numpy as np
import tensorflow as tf

import keras_transfer as kt
from keras_transfer.diagnosis.case import Case
from keras_transfer.diagnosis.findings import NotExaminedError

SIZE = 16
CLASS_NAMES = ("red", "blue")


def photos(count, seed):
    """Return noise that is more red or more blue, 0 to 255, and labels."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    images = rng.integers(0, 176, (count, SIZE, SIZE, 3)).astype("float32")
    images[labels == 0, ..., 0] += 80
    images[labels == 1, ..., 2] += 80
    return images, labels


def dataset(count, seed):
    return tf.data.Dataset.from_tensor_slices(photos(count, seed)).batch(16)


def data(**changed):
    """Return healthy splits, some of them changed."""
    train = tf.data.Dataset.from_tensor_slices(photos(96, seed=1))
    return {
        "train": train.cache().shuffle(96, seed=0).batch(16),
        "validation": dataset(40, seed=2),
        "test": dataset(60, seed=3),
        "class_names": CLASS_NAMES,
        **changed,
    }


def build(normalized=False, **head):
    """Build a classifier of three channels, with names of blocks."""
    layers = keras.layers
    inputs = keras.Input((SIZE, SIZE, 3))
    x = layers.Rescaling(1 / 127.5, -1.0)(inputs)
    for block in (1, 2):
        x = layers.Conv2D(8, 3, padding="same", name=f"block{block}_conv1")(x)
        if normalized:
            x = layers.BatchNormalization(momentum=0.5, name=f"block{block}_bn")(x)
        x = layers.ReLU()(x)
        x = layers.MaxPooling2D(name=f"block{block}_pool")(x)
    return kt.build_classifier(keras.Model(inputs, x, name="small"), 2, **head)


@functools.cache
def _trained(normalized):
    keras.utils.set_random_seed(0)
    model = build(normalized)
    unfrozen(model)
    kt.compile_classifier(model, keras.optimizers.Adam(1e-2))
    model.fit(data()["train"], epochs=8, verbose=0)
    # Less sure of itself, so that there is a loss and there are gradients.
    head = model.get_layer("head_predictions")
    head.set_weights([0.1 * value for value in head.get_weights()])
    return model.get_weights()


def healthy(normalized=False, compiled=True, **head):
    """Return a trained classifier with a frozen backbone."""
    model = build(normalized, **head)
    weights = _trained(normalized)
    if model.output_shape[-1] == 2:
        model.set_weights(weights)
    else:
        # One unit in place of two: the difference of both logits.
        *backbone, kernel, bias = weights
        model.set_weights(
            [*backbone, kernel[:, 1:] - kernel[:, :1], bias[1:] - bias[:1]]
        )
    if compiled:
        kt.compile_classifier(model, keras.optimizers.Adam(1e-3))
    return model


def unfrozen(model):
    for layer in model.layers:
        layer.trainable = True
    return model


def found(check, model=None, splits=None, **given):
    """Return what one check finds."""
    model = healthy() if model is None else model
    return check(Case(model, data() if splits is None else splits, **given))


def one(check, model=None, splits=None, **given):
    """Return the only finding of a check."""
    (finding,) = found(check, model, splits, **given)
    assert finding.evidence and finding.why and finding.repair.strip()
    return finding


def not_examined(check, model=None, splits=None, **given):
    """Return why a check was not made."""
    try:
        findings = found(check, model, splits, **given)
    except NotExaminedError as error:
        return str(error)
    raise AssertionError(f"It was examined: {findings}")
