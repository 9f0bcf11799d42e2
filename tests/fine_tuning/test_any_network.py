"""Functional networks that are none of the known ones go through the same functions.

The nested Xception of Keras's guide of transfer learning, a small network written by
hand, and a backbone of KerasHub. All weights are random.
"""

import functools
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_transfer as kt
from keras_transfer.backbones.blocks import block_layers
from keras_transfer.data.splits import Splits
from keras_transfer.runtime import keras_internals
from tests.helpers import fresh_process
from tests.helpers.small_networks import small_backbone

layers = keras.layers
NAMES = ("cat", "dog")


def nested(backbone, size):
    """Return a classifier as Keras's guide builds it, with a backbone as a layer."""
    inputs = keras.Input((size, size, 3))
    x = layers.RandomFlip("horizontal")(inputs)
    x = backbone(layers.Rescaling(1 / 127.5, -1)(x), training=False)
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, layers.Dense(2, activation="softmax")(x))


def guide():
    shape = (71, 71, 3)
    backbone = keras.applications.Xception(False, weights=None, input_shape=shape)
    return nested(backbone, 71)


def by_hand(size=32):
    return keras.Sequential(
        [
            keras.Input((size, size, 3)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(4, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(4, 3),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.MaxPooling2D(),
            layers.Conv2D(4, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(8, activation="relu"),
            layers.Dense(2),
        ]
    )


def hub_models():
    """Return KerasHub's models, or skip the test in the venv of `make oldest`."""
    return pytest.importorskip("keras_hub").models


def hub_resnet(size=32):
    return hub_models().ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 8, 8],
        stackwise_num_blocks=[1, 1, 1],
        stackwise_num_strides=[1, 2, 2],
        block_type="basic_block",
        image_shape=(size, size, 3),
    )


def hub_mobilenet():
    return hub_models().MobileNetBackbone(
        stackwise_expansion=[[8, 16], [16, 16]],
        stackwise_num_blocks=[2, 2],
        stackwise_num_filters=[[16, 16], [24, 24]],
        stackwise_kernel_size=[[3, 3], [5, 5]],
        stackwise_num_strides=[[2, 1], [2, 1]],
        stackwise_se_ratio=[[None, None], [0.25, 0.25]],
        stackwise_activation=[["relu", "relu"], ["hard_swish", "hard_swish"]],
        stackwise_padding=[[1, 1], [2, 2]],
        output_num_filters=24,
        depthwise_filters=8,
        depthwise_stride=2,
        depthwise_residual=False,
        last_layer_filter=24,
        squeeze_and_excite=0.5,
        image_shape=(64, 64, 3),
    )


# Each network with the layers that end its blocks, by name where that is not automatic.
NETWORKS = {
    "guide": (guide, ["block1_conv2_act", None, None, None, "block14_sepconv2_act"]),
    "by hand": (by_hand, [None, None, None]),
    "KerasHub": (
        lambda: nested(hub_resnet(), 32),
        ["pool1_pool", "stack0_block0_out", "stack1_block0_out", "stack2_block0_out"],
    ),
}
every_network = pytest.mark.parametrize("network", NETWORKS)


def built(network):
    keras.utils.set_random_seed(0)
    return NETWORKS[network][0]()


def batches(size, seed, start=0, stop=12):
    rng = np.random.default_rng(seed)
    labels = (np.arange(stop) % 2).astype("int32")
    images = rng.integers(0, 176, (stop, size, size, 3)).astype("float32")
    images[labels == 0, ..., 0] += 80
    pairs = images[start:], labels[start:]
    return tf.data.Dataset.from_tensor_slices(pairs).batch(6)


def splits_for(model):
    size = model.input_shape[1]
    seeds = {"train": 1, "validation": 2, "test": 3}
    made = {
        name: functools.partial(batches, size, seed) for name, seed in seeds.items()
    }
    return Splits(
        **{name: make() for name, make in made.items()},
        class_names=NAMES,
        counts=dict.fromkeys(seeds, 12),
        name="any",
        source="12 images",
        fingerprint=f"any {size}",
        image_size=size,
        _ordered=made,
    )


def photos(model):
    return next(batches(model.input_shape[1], 3).as_numpy_iterator())[0]


def changed(before, model):
    after = kt.verify.snapshot(model)
    return {path for path in before if not np.array_equal(before[path], after[path])}


@pytest.fixture(autouse=True)
def own_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_TRANSFER_DATA_DIR", str(tmp_path / "data"))


@every_network
def test_the_blocks_are_one_for_each_size_of_the_maps(network):
    model, ends = built(network), NETWORKS[network][1]
    names = kt.block_names(model)
    assert names == [f"block{n}" for n in range(1, len(ends) + 1)]
    rows = {row["block"]: row for row in kt.trainable_summary(model).rows}
    assert list(rows) == [*names, "head"]
    assert sum(row["parameters"] for row in rows.values()) == model.count_params()
    dense = [x for x in model.layers if isinstance(x, layers.Dense)]
    assert rows["head"]["parameters"] == sum(x.count_params() for x in dense)
    for block, end in zip(names, ends, strict=True):
        output = kt.split_at_block(model, block)[0].outputs[0]
        assert output.shape[1] < model.input_shape[1]
        assert end is None or block_layers(model)[block][-1].name == end


@every_network
def test_only_what_is_to_train_trains(network):
    model = built(network)
    splits, *frozen, last = splits_for(model), *kt.block_names(model)
    kt.freeze(model)
    kt.compile_classifier(model, "adam")
    before = kt.verify.snapshot(model)
    model.fit(splits.train, shuffle=False, verbose=0)
    kt.verify.assert_frozen(before, model, [*frozen, last])
    kt.verify.assert_updated(before, model, ["head"])
    assert kt.verify.assert_batch_normalization_still(before, model) > 0
    kt.unfreeze(model, from_block=last)
    rows = {row["block"]: row for row in kt.trainable_summary(model).rows}
    assert {rows[block]["state"] for block in frozen} == {"frozen"}
    rates = kt.discriminative_learning_rates(model, 1e-2, 0.1)
    kt.compile_classifier(model, rates)
    rows = {row["block"]: row for row in kt.trainable_summary(model).rows}
    assert rows[last]["learning_rate"] == pytest.approx(1e-3)
    before = kt.verify.snapshot(model)
    model.fit(splits.train, shuffle=False, verbose=0)
    kt.verify.assert_frozen(before, model, frozen)
    kt.verify.assert_updated(before, model, [last, "head"])
    kt.verify.assert_batch_normalization_still(before, model)


@every_network
def test_gradual_unfreezing(network):
    model = built(network)
    *_, frozen, last = kt.block_names(model)
    kt.freeze(model)
    kt.compile_classifier(model, "adam")
    before = kt.verify.snapshot(model)
    schedule = kt.callbacks.GradualUnfreezing([last])
    train = splits_for(model).train
    model.fit(train, epochs=1, callbacks=[schedule], shuffle=False, verbose=0)
    kt.verify.assert_frozen(before, model, [last])
    settings = {"initial_epoch": 1, "epochs": 2, "callbacks": [schedule]}
    model.fit(train, **settings, shuffle=False, verbose=0)
    kt.verify.assert_frozen(before, model, [frozen])
    kt.verify.assert_updated(before, model, [last])
    kt.verify.assert_batch_normalization_still(before, model)


@every_network
def test_parts_and_what_is_kept_of_them(network, tmp_path):
    model = built(network)
    splits, names, images = splits_for(model), kt.block_names(model), photos(model)
    first, rest = kt.split_at_block(model, names[1])
    assert kt.block_names(first) == names[:2]
    assert kt.block_names(rest) == names[2:]
    maps = first.predict(images, verbose=0)
    expected = model.predict(images, verbose=0)
    np.testing.assert_allclose(rest.predict(maps, verbose=0), expected, atol=1e-5)
    # The parts have no weights of their own.
    parts = {id(weight) for weight in (*first.weights, *rest.weights)}
    assert parts == {id(weight) for weight in model.weights}
    run = {"cache_dir": tmp_path, "verbose": False, "dtype": "float32"}
    kept = kt.extract_feature_maps(first, splits, **run).arrays("test")[0]
    np.testing.assert_allclose(kept[:6], maps, rtol=2e-3, atol=2e-3)
    backbone = kt.split_at_block(model, names[-1])[0]
    features = kt.extract_features(backbone, splits, **run).test.features
    pooled = backbone.predict(images, verbose=0).mean(axis=(1, 2))
    np.testing.assert_allclose(features[:6], pooled, rtol=1e-3, atol=1e-4)
    # From the kept maps, as from the photos.
    _, behind = kt.split_at_block(backbone, names[1])
    from_maps = kt.extract_feature_maps(first, splits, **run)
    again = kt.extract_features(behind, from_maps, **run).test.features
    np.testing.assert_allclose(again, features, rtol=5e-3, atol=5e-3)


@every_network
def test_grad_cam_of_the_last_map_and_of_a_block(network):
    model = built(network)
    images = photos(model)[:2]
    for layer in (None, kt.block_names(model)[1]):
        # What speaks for neither class has no map.
        maps = [kt.grad_cam(model, images, each, layer) for each in (0, 1)]
        assert {each.shape for each in maps} == {images.shape[:3]}
        assert max(np.ptp(each) for each in maps) == pytest.approx(1)


@every_network
def test_fine_tune_with_what_comes_before_kept(network):
    model = built(network)
    *frozen, last = kt.block_names(model)
    before = kt.verify.snapshot(model)
    settings = {"from_block": last, "cache_prefix": True, "verbose": 0}
    # With a high rate, for an epoch to be better than none.
    settings |= {"learning_rate": 1e-2, "head_learning_rate": 1e-2}
    history = kt.fine_tune(model, splits_for(model), 2, **settings).history
    assert history["stage"] == ["head", "fine-tuning", "fine-tuning"]
    kt.verify.assert_frozen(before, model, frozen)
    kt.verify.assert_updated(before, model, ["head"])
    kt.verify.assert_batch_normalization_still(before, model)


def test_fine_tune_from_photos():
    model = built("KerasHub")
    model.layers[3].trainable = False
    before = kt.verify.snapshot(model)
    settings = {"optimizer": "sgd", "learning_rate": 1e-3, "verbose": 0}
    kt.fine_tune(model, splits_for(model), 1, **settings)
    assert model.layers[3].trainable
    assert changed(before, model)
    kt.verify.assert_batch_normalization_still(before, model)


@pytest.mark.slow
def test_the_same_blocks_in_a_fresh_process(tmp_path):
    expected = {}
    for number, network in enumerate(NETWORKS):
        model = built(network)
        kt.unfreeze(model, from_block=kt.block_names(model)[-1])
        path = tmp_path / f"{number}.keras"
        model.save(path)
        expected[str(path)] = [kt.block_names(model), len(model.trainable_weights)]
    program = (
        "import json, sys, keras, keras_hub\n"
        "models = [keras.saving.load_model(path) for path in sys.argv[1:]]\n"
        "import keras_transfer as kt\n"
        "print(json.dumps([[kt.block_names(m), len(m.trainable_weights)]"
        " for m in models]))"
    )
    done = fresh_process.run(program, *expected)
    done.check_returncode()
    *kept, hub = json.loads(done.stdout.splitlines()[-1])
    *trained, hub_trained = expected.values()
    assert kept == trained
    # KerasHub makes its layers anew, trainable: a file does not say what was frozen.
    assert hub[0] == hub_trained[0]
    assert hub[1] > hub_trained[1]


def test_a_hub_model_is_frozen_anew_after_loading(tmp_path):
    model = built("KerasHub")
    kt.freeze(model)
    model.save(tmp_path / "model.keras")
    model = keras.saving.load_model(tmp_path / "model.keras")
    assert len(model.trainable_weights) > 2
    kt.freeze(model)
    assert len(model.trainable_weights) == 2


def test_a_backbone_that_was_frozen_as_a_whole_is_unfrozen_in_part():
    backbone = small_backbone(3, normalized=True, size=16)
    model = nested(backbone, 16)
    backbone.trainable = False
    kt.unfreeze(model, from_block="block3")
    trained = [variable.path for variable in model.trainable_variables]
    assert [path.split("/")[0] for path in trained[:2]] == ["block3_conv1"] * 2
    assert len(trained) == 4
    assert backbone.trainable
    assert len(backbone.trainable_variables) == 2


def test_normalization_inside_of_other_layers_stands_still():
    model = nested(hub_mobilenet(), 64)
    assert kt.block_names(model) == ["block1", "block2", "block3", "block4"]
    kt.unfreeze(model, from_block="block2")
    held = keras_internals.flat_layers(model)
    normalizations = [x for x in held if isinstance(x, layers.BatchNormalization)]
    assert len(normalizations) > 10
    assert not any(layer.trainable for layer in normalizations)
    depthwise = [x for x in held if isinstance(x, layers.DepthwiseConv2D)]
    assert all(layer.trainable for layer in depthwise)
    kt.unfreeze(model, from_block="block2", train_batch_normalization=True)
    assert sum(layer.trainable for layer in normalizations) > 10


def test_known_blocks_inside_of_another_model():
    shape = (32, 32, 3)
    backbone = keras.applications.MobileNetV2(shape, 0.35, False, weights=None)
    model = nested(backbone, 32)
    assert kt.block_names(model) == kt.block_names(backbone)
    assert kt.block_names(model)[-1] == "conv_last"
    assert kt.grad_cam(model, np.zeros((1, *shape)), 0, "conv1").shape == (1, 32, 32)


def test_coincidences_of_names_are_no_architecture():
    # Xception has poolings of VGG16's names, KerasHub's ResNet one of ResNet50's, and
    # MobileNetV3 as Keras makes it automatic names where ours has its first and last.
    for network in ("guide", "KerasHub"):
        assert kt.block_names(built(network))[0] == "block1"
    mobilenet = keras.applications.MobileNetV3Small((32, 32, 3), weights=None)
    assert kt.block_names(mobilenet)[0] == "block1"
    # One that was cut is a part of it.
    part = kt.build_backbone("resnet50", None, 32, output_block="conv1")
    assert kt.block_names(kt.build_classifier(part, 2)) == ["conv1"]


def test_the_blocks_do_not_depend_on_the_size_of_images():
    for size in (32, 57, None):
        assert len(kt.block_names(hub_resnet(size))) == 4
    assert [len(kt.block_names(by_hand(size))) for size in (32, 96)] == [3, 3]


def patches():
    x = inputs = keras.Input((32, 32, 3))
    x = layers.Reshape((64, 16))(layers.Conv2D(16, 4, 4)(x))
    x = layers.Add()([x, layers.MultiHeadAttention(2, 8)(x, x)])
    x = layers.Dense(2)(layers.GlobalAveragePooling1D()(x))
    return keras.Model(inputs, x)


def without_convolutions():
    x = inputs = keras.Input((32, 32, 3))
    x = layers.Normalization(mean=0.0, variance=1.0)(x)
    return keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x)))


class OfOneself(keras.Model):
    def __init__(self):
        super().__init__()
        self.network = by_hand()

    def call(self, images):
        return self.network(images)


def subclass():
    model = OfOneself()
    model(np.zeros((1, 32, 32, 3)))
    return model


@pytest.mark.parametrize("make", [patches, without_convolutions, subclass])
def test_what_has_no_blocks_is_refused(make):
    model = make()
    for function in (kt.block_names, kt.freeze, kt.trainable_summary):
        with pytest.raises(ValueError, match=r"no feature map.*subclass.*Received: "):
            function(model)


def test_what_cannot_be_cut_is_refused():
    backbone = small_backbone(size=16)
    # What goes around the blocks needs the photos again.
    around = layers.MaxPooling2D(4)(backbone.inputs[0])
    x = layers.Concatenate()([backbone.outputs[0], around])
    model = keras.Model(backbone.inputs, x)
    with pytest.raises(ValueError, match=r"block1.*Received: "):
        kt.split_at_block(model, "block1")
