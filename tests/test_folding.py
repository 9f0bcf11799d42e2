"""A folded network computes the same numbers without BatchNormalization."""

import keras
import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer import backbones, feature_store
from keras_transfer.folding import fold_batch_normalization
from keras_transfer.precision import fast_copy


def randomize(model):
    # A fresh BatchNormalization has 1, 0, 0, 1, which would hide a wrong fold.
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            for weight in layer.weights:
                positive = weight.path.endswith(("gamma", "variance"))
                values = rng.uniform(0.5, 1.5, weight.shape)
                weight.assign(values if positive else values - 1)


def batch_normalizations(model):
    return [x for x in model.layers if isinstance(x, keras.layers.BatchNormalization)]


def images(size):
    rng = np.random.default_rng(1)
    return rng.uniform(0, 255, (2, size, size, 3)).astype("float32")


@pytest.mark.parametrize("name", backbones.ARCHITECTURES)
def test_every_backbone_agrees(name):
    size = 75 if name == "inception_v3" else 64
    backbone = kt.build_backbone(name, weights=None, image_size=size)
    randomize(backbone)
    before = backbone.get_weights()
    folded = fold_batch_normalization(backbone)
    assert not batch_normalizations(folded)
    expected = backbone(images(size), training=False).numpy()
    found = folded(images(size), training=False).numpy()
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()
    # The model that is fine-tuned and saved keeps its layers.
    assert all(map(np.array_equal, before, backbone.get_weights()))
    assert bool(batch_normalizations(backbone)) == (name != "vgg16")


def build(*, activation=None, twice=False, axis=-1, first=False):
    layers = keras.layers
    inputs = keras.Input((8, 8, 3))
    x = layers.BatchNormalization()(inputs) if first else inputs
    convolution = layers.Conv2D(8, 3, activation=activation)
    x = convolution(x)
    y = layers.BatchNormalization(axis=axis, scale=False)(x)
    outputs = [x, y] if twice else y
    model = keras.Model(inputs, outputs)
    randomize(model)
    return model


@pytest.mark.parametrize(
    ("arguments", "left"),
    [
        ({}, 0),
        ({"first": True}, 1),  # Nothing comes before the first one.
        ({"activation": "relu"}, 1),  # It comes between the two.
        ({"twice": True}, 1),  # What the convolution gives is asked for too.
        ({"axis": 1}, 1),  # Not along the channels.
    ],
)
def test_only_what_is_exact_is_folded(arguments, left):
    model = build(**arguments)
    folded = fold_batch_normalization(model)
    assert len(batch_normalizations(folded)) == left
    expected = keras.tree.flatten(model(images(8), training=False))
    found = keras.tree.flatten(folded(images(8), training=False))
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("held", [build(), build(activation="relu")], ids=str)
def test_a_network_that_is_held_as_one_layer(held):
    """As `base(inputs)` makes it; the copy must not share the layers."""
    inputs = keras.Input((8, 8, 3))
    outputs = held(keras.layers.Rescaling(1 / 127.5, -1)(inputs), training=False)
    model = keras.Model(inputs, outputs)
    before = len(held._inbound_nodes)
    folded = fold_batch_normalization(fast_copy(model, "bfloat16"))
    (inner,) = [x for x in folded.layers if isinstance(x, keras.Model)]
    foldable = held.layers[1].activation is keras.activations.linear
    assert bool(batch_normalizations(inner)) != foldable
    assert all(x.compute_dtype == "bfloat16" for x in inner.layers if x.weights)
    expected = model(images(8), training=False).numpy()
    found = keras.ops.cast(folded(images(8), training=False), "float32").numpy()
    assert np.abs(found - expected).max() < 0.05 * np.abs(expected).max()
    assert len(held._inbound_nodes) == before
    assert all(x.compute_dtype == "float32" for x in held.layers)


def test_a_compiled_network_is_folded():
    model = build()
    run = feature_store.compiled(model, "float32")
    expected = model(images(8), training=False)
    np.testing.assert_allclose(run(images(8)), expected, rtol=1e-4, atol=1e-3)
    operations = {op.type for op in run.get_concrete_function().graph.get_operations()}
    assert "BiasAdd" in operations
    assert not operations & {"Mul", "Rsqrt"}  # What BatchNormalization consists of.
