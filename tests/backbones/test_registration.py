"""A backbone from outside is one like those of the package, or refused in one error."""

import subprocess
import sys

import keras
import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer.backbones import registry
from keras_transfer.backbones.fingerprint import colour_sums
from keras_transfer.diagnosis.checks.inputs import check_preprocessing
from tests.helpers.small_patients import data, found

BLOCKS = {"block1": "first_relu", "block2": "second_relu"}


def small(images):
    x = keras.layers.Conv2D(8, 3, strides=2, padding="same", name="first")(images)
    x = keras.layers.ReLU(name="first_relu")(x)
    x = keras.layers.Conv2D(8, 3, strides=2, padding="same", name="second")(x)
    return keras.layers.ReLU(name="second_relu")(x)


def other_small(images):
    return small(images)


def centred(images):
    return keras.layers.Rescaling(1 / 127.5, -1.0)(images)


def register(name="small", network=small, **changes):
    arguments = {"blocks": BLOCKS, "preprocess": centred, "smallest_size": 16}
    kt.register_backbone(name, network, **(arguments | changes))


def test_all_functions_know_it():
    register(image_size=32)
    backbone = kt.build_backbone("small", weights=None)
    assert backbone.input_shape == (None, 32, 32, 3)
    assert backbone.name == "small"
    assert kt.block_names(backbone) == ["block1", "block2"]
    assert kt.build_backbone("small", None, 16, output_block="block1").output_shape == (
        (None, 8, 8, 8)
    )
    (row,) = [row for row in kt.backbones().rows if row["backbone"] == "small"]
    assert row["parameters"] == backbone.count_params() == 3 * 72 + 8 + 8 * 72 + 8
    assert "small" in str(kt.backbones())
    assert kt.Recipe("fine_tuned", "small").backbone == "small"
    splits = kt.load_dataset("sample_cats_vs_dogs", image_size=16, max_images=40)
    with pytest.raises(ValueError, match=r"'module:function'.*Received: exper"):
        kt.compare({"own": kt.Recipe("fine_tuned", "small")}, splits)
    with pytest.raises(ValueError, match=r"at least 16. Received: image_size=8"):
        kt.build_backbone("small", None, 8)
    with pytest.raises(kt.WeightsUnavailableError, match=r"small.weights.h5 does not"):
        kt.build_backbone("small")


def test_it_is_trained_like_any_other():
    register()
    splits = kt.load_dataset("sample_cats_vs_dogs", image_size=16, max_images=40)
    backbone = kt.build_backbone("small", None, 16)
    features = kt.extract_features(backbone, splits, verbose=False)
    model = kt.build_classifier(backbone, num_classes=2)
    kt.fit_head(model, features, epochs=1, verbose=0)
    history = kt.fine_tune(model, splits, epochs=1, from_block="block2", verbose=0)
    assert np.isfinite(history.history["loss"]).all()


def test_its_weights_are_loaded_and_known_to_the_doctor(tmp_path):
    inputs = keras.Input((16, 16, 3))
    network = keras.Model(inputs, small(inputs))
    path = tmp_path / "own.weights.h5"
    network.save_weights(path)
    register(weights=path)
    for backbone in (
        kt.build_backbone("small", image_size=16),
        kt.build_backbone("small", weights=path, image_size=16),
    ):
        for one, other in zip(
            backbone.get_weights(), network.get_weights(), strict=True
        ):
            np.testing.assert_array_equal(one, other)
    known = registry.ARCHITECTURES["small"].colour_sums
    np.testing.assert_allclose(known, colour_sums(network.get_weights()[0]))

    splits = data()
    healthy = kt.build_classifier(backbone, 2)
    assert found(check_preprocessing, healthy, splits) == []
    inputs = keras.Input((16, 16, 3))
    twice = keras.Model(inputs, healthy(keras.layers.Rescaling(1 / 127.5, -1)(inputs)))
    (finding,) = found(check_preprocessing, twice, splits)
    assert "weights of small" in finding.evidence
    assert 'kt.build_backbone("small"' in finding.repair
    assert "None" not in finding.repair
    low, high = kt.verify.assert_pixel_range(splits["test"], healthy)
    assert -1 <= low < high <= 1


def test_a_function_of_keras_applications():
    kt.register_backbone(
        "vgg19",
        keras.applications.VGG19,
        blocks={f"block{n}": f"block{n}_pool" for n in range(1, 6)},
        preprocess=lambda images: keras.applications.vgg19.preprocess_input(images),
    )
    backbone = kt.build_backbone("vgg19", None, 32)
    assert backbone.count_params() == 20_024_384
    assert kt.block_names(backbone)[-1] == "block5"
    with pytest.raises(kt.WeightsUnavailableError, match=r"Keras: .*DOWNLOAD is none"):
        kt.build_backbone("vgg19", image_size=32)


def test_blocks_are_found_where_none_are_named():
    register(blocks=None)
    backbone = kt.build_backbone("small", None, 32)
    assert kt.block_names(backbone) == ["block1", "block2"]
    assert kt.build_backbone("small", None, 32, "block1").output_shape[-1] == 8


def test_a_cell_may_be_run_again():
    def network(images):
        return small(images)

    def again(images):
        return small(images)

    again.__qualname__ = network.__qualname__
    register(network=network)
    register(network=again)
    with pytest.raises(ValueError, match=r"name already.*Received: name=small"):
        register()


def pooled(images):
    return keras.layers.GlobalAveragePooling2D()(small(images))


def automatic(images):
    return keras.layers.ReLU()(keras.layers.Conv2D(8, 3, name="first_relu")(images))


def around(images):
    x = keras.layers.Conv2D(8, 3, padding="same", name="first")(images)
    inner = keras.layers.Conv2D(8, 3, padding="same", name="inner")(x)
    return keras.layers.Add(name="sum")([inner, x])


def other_inputs(images):
    inputs = keras.Input((16, 16, 3))
    return keras.Model(inputs, small(inputs))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "vgg16"}, "of this name already.*Received: name=vgg16"),
        ({"name": "my net"}, "letters, digits and _.*Received: name='my net'"),
        ({"name": "a@32"}, "Received: name='a@32'"),
        ({"network": None}, "Received: network=None"),
        ({"network": lambda: 3}, "cannot be built on images of 16 px"),
        ({"network": lambda images: None}, "cannot be built"),
        ({"network": pooled}, r"of shape \(None, 8\)"),
        ({"network": other_inputs}, "computed from it"),
        ({"blocks": {}}, "blocks must be a dictionary"),
        ({"blocks": ["first"]}, "blocks must be a dictionary"),
        ({"blocks": {"a": "first", "b": "first"}}, "blocks must be a dictionary"),
        (
            {"blocks": {"head": "first_relu", "b": "second_relu"}},
            "head is what a class",
        ),
        ({"network": around, "blocks": {"a": "inner", "b": "sum"}}, "go around inner"),
        ({"network": lambda images: images, "blocks": None}, "no block that its graph"),
        ({"blocks": {"block1": "firts"}}, "firts is not in each.*Received: blocks="),
        ({"blocks": dict(reversed(BLOCKS.items()))}, "in this order: first_relu, sec"),
        ({"blocks": {"block1": "first_relu"}}, "output, which is second_relu"),
        (
            {"network": automatic, "blocks": {"a": "first_relu", "b": "re_lu"}},
            "names of their own",
        ),
        ({"preprocess": 3}, "Received: preprocess=3"),
        ({"preprocess": lambda images: images.nothing}, "preprocess fails"),
        ({"preprocess": lambda images: images[:, :8]}, "must keep the shape"),
        ({"image_size": 8}, "at least 16. Received: image_size=8"),
        ({"weights": "nowhere.weights.h5"}, "no weights file of small"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_error(changes, message):
    before = dict(registry.ARCHITECTURES)
    with pytest.raises(ValueError, match=message) as caught:
        register(**changes)
    assert "Received: " in str(caught.value)
    assert before == registry.ARCHITECTURES


def test_two_ways_to_divide_one_network():
    kt.register_backbone(
        "coarse",
        keras.applications.VGG16,
        blocks={"low": "block2_pool", "high": "block5_pool"},
    )
    register()
    register("finer", other_small, blocks={"a": "first", "b": "second_relu"})
    whole = kt.build_backbone("coarse", weights=None, image_size=32)
    assert kt.block_names(whole) == ["low", "high"]
    model = kt.build_classifier(whole, num_classes=2)
    assert kt.block_names(model) == ["low", "high"]
    first, rest = kt.split_at_block(whole, "low")
    assert kt.block_names(first) == ["low"]
    assert kt.block_names(rest) == ["high"]
    plain = kt.build_backbone("vgg16", weights=None, image_size=32)
    assert kt.block_names(plain) == [f"block{n}" for n in range(1, 6)]
    finer = kt.build_backbone("finer", weights=None, image_size=16)
    assert kt.block_names(finer) == ["a", "b"]


def test_a_registered_backbone_without_weights_says_how_to_name_some():
    register()
    with pytest.raises(kt.WeightsUnavailableError, match="register it with weights="):
        kt.build_backbone("small", image_size=16)


@pytest.mark.slow
def test_the_folder_is_a_function_in_any_order():
    script = (
        "import sys, keras_transfer as kt\n"
        "assert 'keras' not in sys.modules\n"
        "import keras_transfer.backbones\n"
        "assert callable(kt.backbones) and 'keras' not in sys.modules\n"
        "registry = kt.backbones.registry\n"
        "rows = kt.backbones().rows\n"
        "import keras_transfer.backbones.build as b\n"
        "assert b.build_backbone is kt.build_backbone\n"
        "assert kt.backbones().rows == rows\n"
        "from keras_transfer import backbones\n"
        "from keras_transfer.backbones import registry as again\n"
        "assert backbones().rows == rows and again is registry\n"
        "assert not hasattr(backbones, 'no_such_name')\n"
        "for name in [x for x in sys.modules if x.startswith('keras_transfer')]:\n"
        "    del sys.modules[name]\n"
        "import keras_transfer.backbones.build\n"
        "import keras_transfer as kt\n"
        "assert kt.backbones().rows[0]['backbone'] == 'resnet50'\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
