"""Backbones are flat, hold their preprocessing, and agree with keras.applications."""

import random

import keras
import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer.backbones.blocks import block_output
from keras_transfer.backbones.efficientnet_lite0 import build_efficientnet_lite0
from keras_transfer.backbones.registry import ARCHITECTURES
from tests.helpers import fresh_process

APPLICATIONS = {
    "resnet50": ("ResNet50", keras.applications.resnet),
    "vgg16": ("VGG16", keras.applications.vgg16),
    "efficientnet_b0": ("EfficientNetB0", keras.applications.efficientnet),
    "inception_v3": ("InceptionV3", keras.applications.inception_v3),
    "mobilenet_v2": ("MobileNetV2", keras.applications.mobilenet_v2),
    "xception": ("Xception", keras.applications.xception),
    "densenet121": ("DenseNet121", keras.applications.densenet),
    "resnet50_v2": ("ResNet50V2", keras.applications.resnet_v2),
    "mobilenet_v3_small": ("MobileNetV3Small", keras.applications.mobilenet_v3),
    "mobilenet_v3_large": ("MobileNetV3Large", keras.applications.mobilenet_v3),
    "efficientnet_v2_b0": ("EfficientNetV2B0", keras.applications.efficientnet_v2),
    "efficientnet_v2_s": ("EfficientNetV2S", keras.applications.efficientnet_v2),
    "convnext_tiny": ("ConvNeXtTiny", keras.applications.convnext),
}
# In the order of APPLICATIONS, so that the tests of a name come together.
BLOCKS = {
    "resnet50": ("conv1", "conv5", 5),
    "vgg16": ("block1", "block5", 5),
    "efficientnet_b0": ("stem", "top", 9),
    "inception_v3": ("stem", "mixed10", 12),
    "mobilenet_v2": ("conv1", "conv_last", 19),
    "xception": ("block1", "block14", 14),
    "densenet121": ("conv1", "conv5", 5),
    "resnet50_v2": ("conv1", "conv5", 5),
    "mobilenet_v3_small": ("conv", "conv_1", 13),
    "mobilenet_v3_large": ("conv", "conv_1", 17),
    "efficientnet_v2_b0": ("stem", "top", 8),
    "efficientnet_v2_s": ("stem", "top", 8),
    "convnext_tiny": ("stem", "stage_3", 5),
    "efficientnet_lite0": ("stem", "top", 9),
}
SIZE = 96


def photos(size=SIZE, count=2):
    return np.random.default_rng(0).uniform(0, 255, (count, size, size, 3))


def randomize(model):
    """Give normalization and scales values that a wrong graph cannot hide."""
    rng = np.random.default_rng(1)
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.LayerNormalization):
            layer.gamma.assign(rng.uniform(0.5, 1.5, layer.gamma.shape))
            layer.beta.assign(rng.normal(0, 0.1, layer.beta.shape))
        if layer.name.endswith("layer_scale"):
            layer.weights[0].assign(rng.uniform(0.1, 0.3, layer.weights[0].shape))
        if isinstance(layer, keras.layers.BatchNormalization):
            shape = layer.moving_mean.shape
            layer.moving_mean.assign(rng.normal(0, 0.1, shape))
            layer.moving_variance.assign(rng.uniform(0.5, 1.5, shape))
            if layer.scale:
                layer.gamma.assign(rng.uniform(0.5, 1.5, shape))
            layer.beta.assign(rng.normal(0, 0.1, shape))


def outputs(model, images):
    images = keras.ops.convert_to_tensor(images, "float32")
    return keras.ops.convert_to_numpy(model(images, training=False))


@pytest.fixture(scope="module")
def backbone(request):
    """Build one that the tests of a name share; pytest runs these one after the other.

    Whoever reads its weights sets them before.
    """
    return kt.build_backbone(request.param, weights=None, image_size=SIZE)


@pytest.mark.parametrize("backbone", APPLICATIONS, indirect=True)
def test_agrees_with_the_application(backbone):
    name = backbone.name
    application, module = APPLICATIONS[name]
    reference = getattr(keras.applications, application)(
        include_top=False, weights=None, input_shape=(SIZE, SIZE, 3)
    )
    randomize(reference)
    backbone.set_weights(reference.get_weights())
    documented = module.preprocess_input(photos().astype("float32").copy())
    expected = outputs(reference, documented)
    assert np.std(expected) > 0
    np.testing.assert_allclose(
        outputs(backbone, photos()), expected, atol=1e-4 * np.abs(expected).max()
    )


def test_pretrained_efficientnet_b0_divides_by_the_deviation_once(tmp_path):
    # What keras.applications builds around its downloaded weights, and only there.
    images = keras.Input((SIZE, SIZE, 3))
    scale, mean = np.array([0.229, 0.224, 0.225]), np.array([0.485, 0.456, 0.406])
    plain = keras.applications.EfficientNetB0(
        include_top=False, weights=None, input_shape=(SIZE, SIZE, 3)
    )
    randomize(plain)
    (normalization,) = (
        layer for layer in plain.layers if isinstance(layer, keras.layers.Normalization)
    )
    rest = keras.Model(normalization.output, plain.output)
    x = keras.layers.Rescaling(1 / 255)(images)
    x = keras.layers.Rescaling(1 / scale, -mean / scale)(x)
    reference = keras.Model(images, rest(x))

    # As in the downloaded file: the mean, and the deviation where the variance goes.
    normalization.adapt_mean.assign(mean)
    normalization.adapt_variance.assign(scale)
    path = tmp_path / "efficientnet_b0.weights.h5"
    plain.save_weights(path)
    backbone = kt.build_backbone("efficientnet_b0", weights=path, image_size=SIZE)
    expected = outputs(reference, photos())
    np.testing.assert_allclose(
        outputs(backbone, photos()), expected, atol=1e-3 * np.abs(expected).max()
    )


def test_every_backbone_is_tried_here():
    assert {*BLOCKS} == {*ARCHITECTURES} == {*APPLICATIONS, "efficientnet_lite0"}


@pytest.mark.parametrize("backbone", BLOCKS, indirect=True)
def test_flat_and_cut_at_every_block(backbone, request):
    name = request.node.callspec.params["backbone"]
    assert backbone.name == name
    first, last, count = BLOCKS[name]
    # The second model of a process, whose automatic names have other numbers.
    backbone = kt.build_backbone(name, weights=None, image_size=SIZE)
    assert backbone.name == name
    assert not [layer for layer in backbone.layers if isinstance(layer, keras.Model)]
    # What the registry says of it is so.
    entry = ARCHITECTURES[name]
    assert backbone.count_params() == entry.parameters
    layers = {layer.name for layer in backbone.layers}
    assert layers >= {*entry.signature, *entry.blocks.values()}
    assert layers.isdisjoint(entry.absent)
    names = kt.block_names(backbone)
    assert names == [*entry.blocks]
    assert (names[0], names[-1], len(names)) == (first, last, count)
    # Relatives share the names of their first blocks.
    for block in names:
        cut = keras.Model(backbone.input, block_output(backbone, block))
        assert kt.block_names(cut) == names[: names.index(block) + 1]
        assert cut.output is block_output(backbone, block)
    cut = kt.build_backbone(name, weights=None, image_size=SIZE, output_block=first)
    assert kt.block_names(cut) == [first]
    assert cut.output_shape[1] >= backbone.output_shape[1]
    assert kt.block_names(kt.build_classifier(backbone, 2)) == names


@pytest.mark.slow
@pytest.mark.parametrize("backbone", BLOCKS, indirect=True)
def test_loads_in_a_fresh_process_with_keras_alone(backbone, tmp_path):
    np.save(tmp_path / "photos.npy", photos())
    randomize(backbone)
    backbone.save(tmp_path / "backbone.keras")
    before = outputs(backbone, photos())
    script = (
        "import sys, keras, numpy as np\n"
        "photos = np.load('photos.npy').astype('float32')\n"
        "model = keras.saving.load_model('backbone.keras')\n"
        "np.save('outputs.npy', model(photos, training=False).numpy())\n"
        "assert not [m for m in sys.modules if m.startswith('keras_transfer')]\n"
    )
    fresh_process.run(script, cwd=tmp_path).check_returncode()
    after = np.load(tmp_path / "outputs.npy")
    np.testing.assert_allclose(after, before, atol=1e-5 * np.abs(before).max())


def test_preprocessing_survives_mixed_precision():
    kt.profile("quick")
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        backbone = kt.build_backbone("resnet50", weights=None, image_size=64)
    finally:
        keras.config.set_dtype_policy("float32")
    layer = backbone.get_layer("backbone_preprocessing")
    assert layer.compute_dtype == "float32"
    assert backbone.get_layer("conv1_conv").compute_dtype == "bfloat16"


def test_quick_profile_falls_back_and_says_so(capsys):
    profile = kt.profile("quick")
    backbone = kt.build_backbone("resnet50", profile=profile)
    assert backbone.name == "efficientnet_lite0"
    assert backbone.input_shape == (None, 128, 128, 3)
    printed = capsys.readouterr().out
    assert "resnet50 cannot be had here, so efficientnet_lite0 stands in" in printed


def test_other_profiles_stop_with_the_ways_out():
    for profile in (kt.profile("lesson"), None):
        with pytest.raises(kt.WeightsUnavailableError) as caught:
            kt.build_backbone("vgg16", profile=profile)
        for part in ("KERAS_TRANSFER_WEIGHTS_DIR", "keras_transfer weights vgg16"):
            assert part in str(caught.value)
    kt.profile("quick")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "resnet51"}, "resnet50, vgg16.*Received: name=resnet51"),
        ({"name": "vgg16", "image_size": 16}, "at least 32.*Received: image_size=16"),
        ({"name": "inception_v3", "image_size": 64}, "at least 75"),
        ({"name": "vgg16", "output_block": "conv5"}, "block1.*output_block=conv5"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        kt.build_backbone(weights=None, **arguments)


def test_block_names_of_another_model():
    with pytest.raises(ValueError, match="No block of a known backbone"):
        kt.block_names(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]))


def test_seed_gives_the_same_random_network_as_the_layers_alone():
    keras.utils.set_random_seed(0)
    model = kt.build_backbone("efficientnet_lite0", weights=None, image_size=32)
    keras.utils.set_random_seed(0)
    alone = build_efficientnet_lite0(keras.Input((32, 32, 3)))
    for ours, theirs in zip(model.get_weights(), alone.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_pretrained_networks_share_nothing_and_leave_the_seed_as_random_ones_do():
    keras.utils.set_random_seed(0)
    kt.build_backbone("efficientnet_lite0", weights=None, image_size=32)
    expected = random.getstate()
    keras.utils.set_random_seed(0)
    first = kt.build_backbone("efficientnet_lite0", image_size=32)
    assert random.getstate() == expected
    second = kt.build_backbone("efficientnet_lite0", image_size=32)
    before = [array.copy() for array in second.get_weights()]
    first.set_weights([np.zeros_like(array) for array in before])
    for array, now in zip(before, second.get_weights(), strict=True):
        assert array.any()
        np.testing.assert_array_equal(array, now)
