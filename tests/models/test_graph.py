"""Frozen networks of every kind are run, or refused in one sentence."""

import warnings

import keras
import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer.features import cache
from tests.models.test_precision import small_splits


@pytest.fixture(scope="module")
def splits():
    return small_splits()


@keras.saving.register_keras_serializable("test_graph")
class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.convolution = keras.layers.Conv2D(4, 3)

    def call(self, images):
        return self.convolution(images / 255)


class Scaled(keras.layers.Layer):
    """A layer whose configuration says nothing of its number."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def call(self, images):
        return images * self.factor


def layers():
    keras.utils.set_random_seed(0)
    return [
        keras.layers.Rescaling(1 / 255),
        keras.layers.Conv2D(4, 3, name="block1_conv1"),
        keras.layers.MaxPooling2D(name="block1_pool"),
        keras.layers.Conv2D(4, 1, name="block2_conv1"),
        keras.layers.MaxPooling2D(name="block2_pool"),
    ]


def functional(shape=(8, 8, 3), structure=lambda x: x):
    x = images = keras.Input(shape, name="image")
    for layer in layers():
        x = layer(x)
    return keras.Model(structure(images), structure(x))


def sequential(*first):
    return called(keras.Sequential([*first, *layers()]))


def called(model):
    model(np.zeros((1, 8, 8, 3), "float32"))
    return model


def held(model):
    images = keras.Input((8, 8, 3))
    return keras.Model(images, model(images) * 2)


NETWORKS = {
    "functional": functional,
    "any size": lambda: functional((None, None, 3)),
    "in a list": lambda: functional(structure=lambda x: [x]),
    "in a dictionary": lambda: functional(structure=lambda x: {"image": x}),
    "sequential": sequential,
    "sequential of any size": lambda: sequential(keras.Input((None, None, 3))),
    "sequential without a size": lambda: called(keras.Sequential(layers())),
    "sequential in a sequence": lambda: called(keras.Sequential([sequential()])),
    "held as a layer": lambda: held(functional()),
    "subclassed": lambda: called(Subclassed()),
    "held and subclassed": lambda: held(called(Subclassed())),
    "a layer of one's own": lambda: sequential(Scaled(2)),
    "a function": lambda: sequential(keras.layers.Lambda(lambda x: 2 * x)),
}


@pytest.mark.filterwarnings("error:The structure of")
@pytest.mark.parametrize("name", NETWORKS)
def test_features_and_maps_of_any_network(name, splits, tmp_path):
    network = NETWORKS[name]()
    nodes = len(network._inbound_nodes)
    features = kt.extract_features(network, splits, tmp_path, dtype="float32")
    maps = kt.extract_feature_maps(network, splits, cache_dir=tmp_path, dtype="float32")
    images = splits.arrays("test")[0].astype("float32")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Of a plain array for [input].
        (expected,) = keras.tree.flatten(network(images, training=False))
    expected = np.asarray(expected)
    found = maps.arrays("test")[0]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(
        features.test.features, expected.mean((1, 2)), rtol=1e-5, atol=1e-5
    )
    assert features.made_by == maps.made_by == cache.weight_digests(network)
    assert len(features.made_by) == len(network.weights) - (
        sum(not np.any(weight) for weight in network.get_weights()) > 1
    )
    # Read back, by the same key.
    again = kt.extract_features(network, splits, tmp_path, dtype="float32")
    assert again.path == features.path
    assert len(network._inbound_nodes) == nodes


@pytest.mark.parametrize("name", ["functional", "sequential", "in a list"])
def test_blocks_of_a_sequence(name, splits, tmp_path):
    network = NETWORKS[name]()
    assert kt.block_names(network) == ["block1", "block2"]
    first, last = kt.split_at_block(network, "block1")
    maps = kt.extract_feature_maps(first, splits, cache_dir=tmp_path, dtype="float32")
    parted = kt.extract_features(last, maps, tmp_path, dtype="float32")
    whole = kt.extract_features(network, splits, tmp_path, dtype="float32")
    np.testing.assert_allclose(
        parted.test.features, whole.test.features, rtol=1e-2, atol=1e-3
    )
    assert parted.made_by == whole.made_by


def two(inputs=1, outputs=1):
    images = [keras.Input((8, 8, 3)) for _ in range(inputs)]
    x = keras.layers.Conv2D(2, 3)(sum(images[1:], images[0]))
    return keras.Model(images, [x] * outputs)


def pooled():
    images = keras.Input((8, 8, 3))
    return keras.Model(images, keras.layers.GlobalAveragePooling2D()(images))


REFUSED = {
    "two inputs": (lambda: two(inputs=2), "one input, the images.*with 2 inputs"),
    "two outputs": (lambda: two(outputs=2), "one output; cut one.*with 2 outputs"),
    "pooled": (pooled, "feature map.*pooling=None.*Received: output_shape"),
    "not built": (Subclassed, "must be built.*Received: backbone="),
    "no model": (lambda: "vgg16", "must be a keras.Model.*Received: backbone=vgg16"),
    "another size": (
        lambda: functional((16, 16, 3)),
        "image_size=8 to build_backbone.*Received: input_shape=",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("function", [kt.extract_features, kt.extract_feature_maps])
def test_what_cannot_be_run_is_said_in_one_sentence(name, function, splits, tmp_path):
    build, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        function(build(), splits, cache_dir=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("model", ["vgg16", None, Subclassed()])
def test_what_has_no_blocks_is_said_in_one_sentence(model):
    for run in (kt.block_names, lambda x: kt.split_at_block(x, "block1")):
        with pytest.raises(ValueError, match="Received: model"):
            run(model)
    with pytest.raises(ValueError, match=r"block1, block2\. Received: block="):
        kt.split_at_block(functional(), ["block1"])


def test_a_network_inside_of_another_has_the_same_blocks():
    names = kt.block_names(functional())
    assert kt.block_names(held(functional())) == names


def keyed(build, splits):
    keras.utils.set_random_seed(0)
    images = keras.Input((8, 8, 3))
    return cache.key(keras.Model(images, build(images), name="x"), splits)


def test_the_key_holds_how_layers_are_connected(splits):
    def joined(images, order):
        layer = keras.layers.Conv2D(2, 3)
        parts = [layer(images), layer(images * 2)]
        return keras.ops.concatenate([parts[i] for i in order], axis=-1)

    def scaled(number):
        return lambda x: keras.layers.Conv2D(2, 3)(x * number)

    builds = [
        lambda x: joined(x, (0, 1)),
        lambda x: joined(x, (1, 0)),
        scaled(2),
        scaled(3),
        scaled(np.array([2.0, 2.0, 2.0])),
        lambda x: keras.layers.Conv2D(2, 3)(Scaled(2)(x)),
        lambda x: keras.layers.Conv2D(2, 3)(Scaled(3)(x)),
    ]
    found = [keyed(build, splits) for build in builds]
    assert len({*found}) == len(builds)
    # Whatever else has been built since.
    assert found == [keyed(build, splits) for build in builds]


def test_a_function_that_was_written_again_is_another_one(splits):
    def lambda_layer(factor):
        return keras.layers.Lambda(lambda x: x * factor)

    found = {
        keyed(lambda x, n=number: keras.layers.Conv2D(2, 3)(lambda_layer(n)(x)), splits)
        for number in (2, 2, 3)
    }
    assert len(found) == 2


def test_checksums_of_weights(splits, tmp_path):
    network = functional()
    whole = kt.extract_features(network, splits, tmp_path)
    part = kt.extract_features(network, splits, tmp_path, shard=[np.int64(0), 2.0])
    assert whole.made_by == part.made_by == cache.weight_digests(network)
    assert kt.extract_features(network, splits, tmp_path).made_by == whole.made_by
    kernel = network.get_layer("block2_conv1").kernel
    kernel.assign(kernel + 1)
    changed = kt.extract_features(network, splits, tmp_path)
    assert changed.path != whole.path
    assert len(whole.made_by - changed.made_by) == 1


ARGUMENTS = [
    ({"cache_dir": 5}, "cache_dir must be the path"),
    ({"verbose": "loud"}, "verbose must be"),
    ({"verbose": None}, "verbose must be"),
    ({"dtype": "half"}, "dtype must be one of"),
]
OF_FEATURES = [
    ({"shard": 3}, "shard must be"),
    ({"shard": "01"}, "shard must be"),
    ({"shard": (0, 2, 3)}, "shard must be"),
    ({"shard": (None, 2)}, "shard must be"),
    ({"engine": None}, "engine must be one of"),
    ({"engine": ["tensorflow"]}, "engine must be one of"),
]
OF_MAPS = [
    ({"augmentation": "light"}, "augmentation must be a Keras layer"),
    ({"augmentation": [1]}, "augmentation must be a Keras layer"),
    ({"augmented_copies": 1.5}, "augmented_copies must be"),
    ({"batch_size": 0}, "batch_size must be"),
    ({"seed": -1}, "seed must be"),
    ({"seed": "0"}, "seed must be"),
]


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        *((kt.extract_features, *each) for each in ARGUMENTS + OF_FEATURES),
        *((kt.extract_feature_maps, *each) for each in ARGUMENTS + OF_MAPS),
    ],
)
def test_arguments_that_mean_nothing(function, arguments, message, splits):
    with pytest.raises(ValueError, match=f"{message}.*Received: "):
        function(functional(), splits, **arguments)


@pytest.mark.parametrize("splits", [None, {}, "photos", small_splits().train])
def test_data_that_are_no_splits(splits):
    for function in (kt.extract_features, kt.extract_feature_maps):
        with pytest.raises(
            ValueError, match=r"splits must be Splits.*Received: splits="
        ):
            function(functional(), splits)


def test_arguments_that_have_one_meaning(splits, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    network = functional()
    path = kt.extract_features(network, splits, "~/kept", verbose=0).path
    assert path.parent == tmp_path / "kept"
    maps = kt.extract_feature_maps(
        network,
        splits,
        augmentation=(keras.layers.RandomFlip(), keras.layers.RandomContrast(0.2)),
        augmented_copies=np.int64(1),
        batch_size=np.int32(5),
        seed=np.uint8(3),
        cache_dir="~/kept",
        verbose=np.False_,
    )
    assert len(next(iter(maps.train))[0]) == 5
    assert not capsys.readouterr().out


class Brighter(keras.layers.Layer):
    def call(self, images):
        return images + 1


class Unclear(keras.layers.Layer):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def call(self, images):
        return self.function(images)


def test_augmentation_of_ones_own(splits, tmp_path):
    for layer in (Brighter(), keras.layers.Lambda(lambda x: x + 1)):
        maps = kt.extract_feature_maps(
            functional(), splits, augmentation=layer, cache_dir=tmp_path / layer.name
        )
        assert int(maps.train.cardinality()) == 1
    with pytest.raises(ValueError, match=r"get_config.*Received: augmentation="):
        kt.extract_feature_maps(
            functional(), splits, augmentation=Unclear(len), cache_dir=tmp_path
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": ["vgg16"]}, "Unknown backbone"),
        ({"image_size": "64"}, "whole number of pixels"),
        ({"image_size": (64, 32)}, "whole number of pixels"),
        ({"image_size": True}, "whole number of pixels"),
        ({"image_size": -5}, "whole number of pixels"),
        ({"weights": 5}, "weights must be 'imagenet'"),
        ({"weights": ""}, "weights must be 'imagenet'"),
        ({"weights": "~/none.weights.h5"}, "no weights file"),
        ({"output_block": 3}, "This model has the blocks"),
        ({"output_block": ["block1"]}, "This model has the blocks"),
        ({"profile": "quick"}, "profile must be the Profile"),
    ],
)
def test_a_backbone_that_cannot_be_built(arguments, message):
    given = {"name": "vgg16", "weights": None, "image_size": 32} | arguments
    with pytest.raises(ValueError, match=f"{message}.*Received: "):
        kt.build_backbone(**given)


def test_sizes_of_a_backbone():
    for size in (np.int64(32), (32, 32), [32.0, 32.0], 32.0):
        backbone = kt.build_backbone("vgg16", weights=None, image_size=size)
        assert backbone.input_shape == (None, 32, 32, 3)


def test_openvino_takes_no_mixed_precision(splits):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        mixed = functional()
    finally:
        keras.config.set_dtype_policy(before)
    with pytest.raises(ValueError, match=r"of float32.*Received: engine=openvino"):
        kt.extract_features(mixed, splits, engine="openvino")
