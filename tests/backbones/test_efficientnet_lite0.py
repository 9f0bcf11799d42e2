"""EfficientNet-Lite0 against the features of another implementation.

`efficientnet_lite0_reference.npz` was computed with PyTorch 2.13 and the package
efficientnet_lite_pytorch 0.1.0, from the same checkpoint and the same images.
"""

import pathlib

import keras
import numpy as np
import pytest

from keras_transfer.backbones.efficientnet_lite0 import build_efficientnet_lite0
from keras_transfer.backbones.registry import ARCHITECTURES
from keras_transfer.backbones.weights import packages

REFERENCE = pathlib.Path(__file__).parent / "efficientnet_lite0_reference.npz"


@pytest.fixture(scope="module")
def weights():
    carrier = ARCHITECTURES["efficientnet_lite0"].carrier
    return packages.read(carrier, packages.checkpoint(carrier))


def build(size):
    images = keras.Input((size, size, 3))
    scaled = keras.layers.Rescaling(1 / 128, offset=-127 / 128)(images)
    return build_efficientnet_lite0(scaled)


def synthetic_images(size):
    y, x = np.mgrid[0:size, 0:size] / size
    gradients = np.stack([x, y, (x + y) / 2], -1)
    waves = 0.5 + 0.5 * np.sin(2 * np.pi * np.stack([3 * x + y, 5 * y, 7 * x * y], -1))
    return (255 * np.stack([gradients, waves])).astype("float32")


# 75 is odd, so that "same" padding differs from side to side; 96 is even.
@pytest.mark.parametrize("size", [75, 96, 160])
def test_features_equal_those_of_another_implementation(weights, size):
    model = build(size)
    for name, arrays in weights.items():
        model.get_layer(name).set_weights(arrays)
    features = model.predict(synthetic_images(size), verbose=0).mean(axis=(1, 2))
    expected = np.load(REFERENCE)[f"pooled_{size}"]
    assert features.shape == expected.shape == (2, 1280)
    assert np.abs(features - expected).max() < 1e-4 * np.abs(expected).max()


def test_carrier_holds_exactly_the_layers_with_weights(weights):
    shapes = {
        layer.name: [w.shape for w in layer.weights]
        for layer in build(64).layers
        if layer.weights
    }
    assert {n: [a.shape for a in arrays] for n, arrays in weights.items()} == shapes


def test_layers_are_named_like_those_of_keras_applications():
    reference = keras.applications.EfficientNetB0(include_top=False, weights=None)
    ours = [layer.name for layer in build(64).layers if layer.weights]
    theirs = [
        layer.name
        for layer in reference.layers
        if layer.weights
        and "_se_" not in layer.name
        and not isinstance(layer, keras.layers.Normalization)
    ]
    assert ours == theirs
    names = {layer.name for layer in build(64).layers}
    added = {x.name for x in reference.layers if x.name.endswith("_add")}
    assert added == {name for name in names if name.endswith("_add")}
    assert {"stem_activation", "block1a_activation", "top_activation"} <= names


@pytest.mark.parametrize("size", [32, 33, 50, 224])
def test_works_at_any_size_as_one_flat_graph(size):
    model = build(size)
    edge = -(-size // 32)
    assert model.output_shape == (None, edge, edge, 1280)
    assert not any(isinstance(layer, keras.Model) for layer in model.layers)
    # The published network has 4,652,008 parameters, 1,281,000 in its classifier.
    trainable = sum(int(np.prod(w.shape)) for w in model.trainable_weights)
    assert trainable == 4_652_008 - 1_281_000
