"""A folded network computes the same numbers without BatchNormalization."""

import keras
import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer.backbones.registry import ARCHITECTURES
from keras_transfer.features.inference import frozen_network
from keras_transfer.models.folding import fold_batch_normalization
from keras_transfer.models.precision import fast_copy


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


# Where something lies between the convolution and the normalization after it, or the
# convolution is a separable one.
WITHOUT = {"vgg16", "convnext_tiny"}
LEFT = {"xception": 34, "densenet121": 62, "resnet50_v2": 17}


def calm(model):
    """Let each block of many change little: a rounding error would grow from block to
    block, to the size of the output."""
    for layer in batch_normalizations(model):
        if len(model.layers) > 400 and layer.name.endswith("project_bn"):
            layer.gamma.assign(0.1 * layer.gamma)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_backbone_agrees(name):
    size = max(64, ARCHITECTURES[name].smallest_size)
    backbone = kt.build_backbone(name, weights=None, image_size=size)
    randomize(backbone)
    calm(backbone)
    before = backbone.get_weights()
    folded = fold_batch_normalization(backbone)
    assert len(batch_normalizations(folded)) == LEFT.get(name, 0)
    expected = backbone(images(size), training=False).numpy()
    found = folded(images(size), training=False).numpy()
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()
    # The model that is fine-tuned and saved keeps its layers.
    assert all(map(np.array_equal, before, backbone.get_weights()))
    assert bool(batch_normalizations(backbone)) == (name not in WITHOUT)


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
    run = frozen_network(model, (8, 8, 3), "float32", "tensorflow")
    expected = model(images(8), training=False)
    np.testing.assert_allclose(run(images(8)), expected, rtol=1e-4, atol=1e-3)
    operations = {
        op.type for op in run.graph.get_concrete_function().graph.get_operations()
    }
    assert "BiasAdd" in operations
    assert not operations & {"Mul", "Rsqrt"}  # What BatchNormalization consists of.


def shared_convolution(x):
    convolution = keras.layers.Conv2D(3, 3, padding="same")
    normalization = keras.layers.BatchNormalization()
    return convolution(normalization(convolution(x)))


def shared_normalization(x):
    normalization = keras.layers.BatchNormalization()
    one = keras.layers.Conv2D(4, 3)(x)
    other = keras.layers.Conv2D(4, 3)(x)
    return normalization(one) + normalization(other)


def convnext(x):
    x = keras.layers.Conv2D(4, 3, padding="same")(x)
    y = keras.layers.DepthwiseConv2D(3, padding="same")(x)
    y = keras.layers.LayerNormalization()(y)
    y = keras.layers.Dense(8, activation="gelu")(y)
    return x + keras.layers.Dense(4)(y)


def nested(x):
    inputs = keras.Input((8, 8, 3))
    y = keras.layers.Conv2D(4, 3)(inputs) * 2
    inner = keras.Model(inputs, keras.layers.BatchNormalization()(y))
    return inner(x) + inner(keras.ops.flip(x, axis=1))


def separable(x):
    x = keras.layers.SeparableConv2D(4, 3)(x)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.DepthwiseConv2D(3, depth_multiplier=2)(x)
    return keras.layers.BatchNormalization()(x)


def in_training(x):
    x = keras.layers.Conv2D(4, 3)(x)
    return keras.layers.BatchNormalization()(x, training=False)


def by_keyword(x):
    return keras.layers.BatchNormalization()(inputs=keras.layers.Conv2D(4, 3)(x))


def held_in_a_sequence(x):
    layers = [keras.layers.Conv2D(4, 3), keras.layers.BatchNormalization()]
    return keras.Sequential(layers)(x)


def operations(x):
    x = keras.layers.Conv2D(4, 3)(x) * 2
    y = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 1)(x))
    return keras.ops.relu(y) + keras.ops.concatenate([x[..., :2], x[..., 2:]], -1)


GRAPHS = {
    "a convolution called twice": (shared_convolution, 1),
    "a normalization called twice": (shared_normalization, 1),
    "as in ConvNeXt": (convnext, 0),
    "a nested model, called twice": (nested, 1),
    "a separable convolution": (separable, 1),
    "training=False in the graph": (in_training, 0),
    "inputs by keyword": (by_keyword, 0),
    "a sequence in the model": (held_in_a_sequence, 0),
    "operations": (operations, 0),
}


def all_batch_normalizations(model):
    layers = model._flatten_layers()
    return [x for x in layers if isinstance(x, keras.layers.BatchNormalization)]


def agrees(model, size=8):
    randomize(model)
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            randomize(layer)
    folded = fold_batch_normalization(model)
    x = images(size) / 255
    expected, found = (each(x, training=False).numpy() for each in (model, folded))
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()
    return folded


@pytest.mark.parametrize(("build", "left"), GRAPHS.values(), ids=GRAPHS)
def test_any_graph_agrees(build, left):
    inputs = keras.Input((8, 8, 3))
    folded = agrees(keras.Model(inputs, build(inputs)))
    assert len(all_batch_normalizations(folded)) == left


def test_a_sequence_of_any_size_agrees():
    layers = [keras.layers.Conv2D(4, 3), keras.layers.BatchNormalization()]
    model = keras.Sequential([keras.Input((None, None, 3)), *layers])
    assert not all_batch_normalizations(agrees(model))


def test_hard_swish_in_operations_agrees():
    """MobileNetV3 adds and multiplies without layers."""
    model = keras.applications.MobileNetV3Small(
        weights=None, include_top=False, input_shape=(64, 64, 3)
    )
    folded = agrees(model, 64)
    assert len(batch_normalizations(folded)) < len(batch_normalizations(model)) / 2


class Doubled(keras.layers.Conv2D):
    def call(self, inputs):
        return 2 * super().call(inputs)


class Clipped(keras.Model):
    def call(self, inputs, **arguments):
        return keras.ops.minimum(super().call(inputs, **arguments), 0.1)


def test_code_of_ones_own_is_left_alone():
    inputs = keras.Input((8, 8, 3))
    for layer in (Doubled(4, 3), keras.layers.Lambda(lambda x: x * 2)):
        x = keras.layers.BatchNormalization()(layer(inputs))
        y = keras.layers.Conv2D(4, 1)(x)
        model = keras.Model(inputs, keras.layers.BatchNormalization()(y))
        assert agrees(model) is model
    model = Clipped(inputs, keras.layers.BatchNormalization()(inputs))
    assert agrees(model) is model


@pytest.mark.parametrize("policy", ["float16", "float64", "mixed_float16"])
def test_other_precisions_agree(policy):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = build()
        folded = fold_batch_normalization(model)
    finally:
        keras.config.set_dtype_policy(before)
    assert not batch_normalizations(folded)
    assert [w.dtype for w in folded.weights] == [w.dtype for w in model.weights[:2]]
    expected, found = (
        each(images(8) / 255, training=False) for each in (model, folded)
    )
    np.testing.assert_allclose(found, expected, atol=1e-2 if "16" in policy else 1e-9)
