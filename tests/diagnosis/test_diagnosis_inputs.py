"""The doctor finds pixels in a form that the weights were not trained with."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import keras_transfer as kt
from keras_transfer.backbones.registry import ARCHITECTURES
from keras_transfer.diagnosis.checks.inputs import (
    check_folder_names,
    check_pixel_range,
    check_preprocessing,
    check_resizing,
)
from keras_transfer.diagnosis.evidence import pixel_forms
from keras_transfer.diagnosis.evidence.weights import colour_sums
from tests.helpers.small_patients import data, found, healthy, not_examined, one

SIZE = 32


@pytest.fixture(scope="module")
def backbone():
    return kt.build_backbone("efficientnet_lite0", image_size=SIZE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Photos in two classes, finer than what is left of them, wider than high."""
    path, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for index in range(48):
        name, sides = ("cat", "dog")[index % 2], (72, 112)
        small = Image.fromarray(rng.integers(0, 256, (6, 9, 3)).astype("uint8"))
        pixels = np.asarray(small.resize(sides[::-1], Image.BICUBIC), "float32")
        pixels = pixels * 0.6 + rng.integers(0, 100, (*sides, 3))
        (path / name).mkdir(exist_ok=True)
        image, exif = Image.fromarray(np.uint8(np.clip(pixels, 0, 255))), Image.Exif()
        if index % 3 == 0:
            image, exif[0x0112] = image.transpose(Image.Transpose.ROTATE_90), 6
        image.save(path / name / f"{index:02}.jpg", quality=95, exif=exif)
    return path


@pytest.fixture(scope="module")
def splits(folder):
    return kt.load_directory(folder, image_size=SIZE)


def changed(splits, change):
    return {
        name: getattr(splits, name).map(lambda x, y: (change(x), y))
        for name in ("train", "validation", "test")
    }


def network(backbone, *before):
    """Build a classifier with other preprocessing, the backbone as a single layer."""
    expected = backbone.get_layer("backbone_preprocessing").output
    return keras.Sequential(
        [
            keras.Input((SIZE, SIZE, 3)),
            *before,
            keras.Model(expected, backbone.output),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(2, activation="softmax"),
        ]
    )


def test_own_preprocessing_is_right(backbone, splits):
    model = kt.build_classifier(backbone, num_classes=2)
    assert found(check_preprocessing, model, splits) == []
    assert found(check_pixel_range, model, splits) == []
    centred = keras.layers.Rescaling(1 / 127.5, -1)
    assert found(check_preprocessing, network(backbone, centred), splits) == []
    inside = changed(splits, lambda x: x / 127.5 - 1)
    assert found(check_preprocessing, network(backbone), inside) == []


def test_preprocessing_that_is_missing_wrong_or_there_twice(backbone, splits):
    finding = one(check_preprocessing, network(backbone), splits)
    assert finding.severity == "serious"
    assert "raw pixels" in finding.evidence
    assert finding.numbers["expected_low"] == pytest.approx(-127 / 128)
    over_255 = network(backbone, keras.layers.Rescaling(1 / 255))
    finding = one(check_preprocessing, over_255, splits)
    assert finding.severity == "serious"
    assert "pixels / 255" in finding.evidence
    assert (finding.numbers["low"], finding.numbers["high"]) == pytest.approx(
        (0, 1), abs=0.01
    )
    own = kt.build_classifier(backbone, num_classes=2)
    twice = changed(splits, lambda x: x / 127.5 - 1)
    finding = one(check_preprocessing, own, twice)
    assert finding.severity == "serious"
    assert "It gets -1 to -0.98" in finding.evidence
    assert "compared with the files" in finding.evidence
    unit = changed(splits, lambda x: x / 255)
    assert one(check_preprocessing, own, unit).numbers["high"] < -0.98
    assert one(check_pixel_range, own, unit).severity == "serious"


def test_channels_in_reverse_order(backbone, splits):
    own = kt.build_classifier(backbone, num_classes=2)
    finding = one(check_preprocessing, own, changed(splits, lambda x: x[..., ::-1]))
    assert finding.severity == "serious"
    assert "in BGR order" in finding.evidence


def test_without_files_the_range_must_do(backbone, splits):
    images, labels = splits.arrays("train")
    slices = tf.data.Dataset.from_tensor_slices
    own = kt.build_classifier(backbone, num_classes=2)
    given = {"test": slices((images.astype("float32"), labels)).batch(8)}
    assert found(check_preprocessing, own, given) == []
    given = {"test": slices((images / np.float32(255), labels)).batch(8)}
    finding = one(check_preprocessing, own, given)
    assert "by their range" in finding.evidence
    odd = {"test": slices((images * np.float32(3) - 100, labels)).batch(8)}
    assert "no usual form" in not_examined(check_preprocessing, own, odd)


@pytest.mark.parametrize("name", ["resnet50", "vgg16"])
def test_backbones_of_the_caffe_mode(name, splits, monkeypatch):
    # Real weights are not at hand in a test, so these are made known.
    backbone = kt.build_backbone(name, weights=None, image_size=SIZE)
    first = next(x for x in backbone.layers if isinstance(x, keras.layers.Conv2D))
    sums = colour_sums(keras.ops.convert_to_numpy(first.kernel))
    entry = dataclasses.replace(
        ARCHITECTURES[name], colour_sums=tuple(map(tuple, sums))
    )
    monkeypatch.setitem(ARCHITECTURES, name, entry)
    own = kt.build_classifier(backbone, num_classes=2)
    assert found(check_preprocessing, own, splits) == []
    over_255 = network(backbone, keras.layers.Rescaling(1 / 255))
    finding = one(check_preprocessing, over_255, splits)
    assert finding.severity == "serious"
    assert "-123.7 to 151.1 in BGR order" in finding.evidence
    assert f"{name}.preprocess_input" in finding.repair
    # RGB for BGR, on pixels of the right size.
    swapped = changed(splits, lambda x: x[..., ::-1])
    assert "in RGB order" in one(check_preprocessing, own, swapped).evidence
    caffe = changed(splits, lambda x: x[..., ::-1] - [103.939, 116.779, 123.68])
    assert found(check_preprocessing, network(backbone), caffe) == []
    assert "the caffe mode twice" in one(check_preprocessing, own, caffe).evidence


def test_a_network_that_is_not_known_is_judged_by_its_batch_normalization():
    assert found(check_preprocessing, healthy(normalized=True)) == []
    small = {
        name: data()[name].map(lambda x, y: (x / 255, y)) for name in ("train", "test")
    }
    model = healthy(normalized=True)
    # The model's own rescaling is left away, too, so that the range tells nothing.
    finding = one(check_preprocessing, bare(model), small)
    assert finding.severity == "serious"
    assert finding.numbers["variance_ratio"] < 1 / 20
    reason = not_examined(check_preprocessing, healthy())
    assert "no BatchNormalization" in reason


def bare(model):
    """Return the model with 1 in place of its rescaling by 1 / 127.5."""
    x = inputs = keras.Input(model.input_shape[1:])
    for layer in model.layers[1:]:
        if isinstance(layer, keras.layers.Rescaling):
            layer = keras.layers.Rescaling(1 / 10)
        x = layer(x)
    return keras.Model(inputs, x)


def test_the_same_rescaling_in_data_and_model():
    assert found(check_pixel_range) == []
    unit = {
        name: data()[name].map(lambda x, y: (x / 255, y)) for name in ("train", "test")
    }
    finding = one(check_pixel_range, splits=unit)
    assert finding.severity == "serious"
    assert finding.title == "The model expects 0 to 255 and gets 0 to 1"


def test_splits_in_different_forms():
    splits = data()
    splits["test"] = splits["test"].map(lambda x, y: (x / 255, y))
    finding = one(check_pixel_range, splits=splits)
    assert finding.title == "The splits give pixels in different forms"
    broken = data()
    broken["train"] = broken["train"].map(lambda x, y: (tf.math.log(x - 100), y))
    assert one(check_pixel_range, splits=broken).title.startswith("Images that hold")


def test_an_affine_map_is_found_from_plain_colours():
    def odd(images):
        return images[..., ::-1] * 2 - [1, 2, 3]

    form = pixel_forms.probe(odd, (4, 4, 3))
    assert form.describe() == "-3 to 509 in BGR order"
    assert pixel_forms.name_of(form) is None
    assert pixel_forms.probe(lambda x: x**2, (4, 4, 3)) is None
    for name, usual in pixel_forms.forms().items():
        assert pixel_forms.name_of(usual) == name
        assert pixel_forms.of_range(usual.low, usual.high).distance(usual) < 0.02


def loaded(folder, read, **files):
    """Return splits made by a pipeline of its own from the files of a folder."""
    paths = sorted(str(path) for path in folder.rglob("*.jpg"))
    labels = [int("dog" in path) for path in paths]
    dataset = tf.data.Dataset.from_tensor_slices((paths, labels))
    test = dataset.map(lambda path, label: (read(path), label)).batch(8)
    return {"test": test, "class_names": ("cat", "dog"), **files}


def decoded(path):
    return tf.io.decode_jpeg(tf.io.read_file(path), channels=3)


def plain(path):
    return tf.image.resize(decoded(path), (SIZE, SIZE))


def antialiased(path):
    return tf.image.resize(decoded(path), (SIZE, SIZE), antialias=True)


def cubic(path):
    size = (SIZE, SIZE)
    return tf.image.resize(decoded(path), size, method="bicubic", antialias=True)


def cropped(path):
    image = decoded(path)
    sides = tf.shape(image)[:2]
    inner = tf.reduce_min(sides)
    top, left = (sides[0] - inner) // 2, (sides[1] - inner) // 2
    square = tf.slice(image, [top, left, 0], [inner, inner, 3])
    return tf.image.resize(square, (SIZE, SIZE), antialias=True)


def titles(findings):
    return [finding.title for finding in findings]


def classifier():
    inputs = keras.Input((SIZE, SIZE, 3))
    outputs = keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(inputs))
    return keras.Model(inputs, outputs)


ALIASED = "Photos are made smaller without antialiasing"
LYING = "Photos lie on their side: EXIF rotation is ignored"


def test_photos_that_are_resized_well(splits):
    assert found(check_resizing, classifier(), splits) == []
    rescaled = changed(splits, lambda x: x / 127.5 - 1)
    assert found(check_resizing, classifier(), rescaled) == []


def test_photos_without_antialiasing_and_on_their_side(folder):
    findings = found(check_resizing, classifier(), loaded(folder, plain))
    assert titles(findings) == [ALIASED, LYING]
    assert findings[0].numbers["shrunk"] == pytest.approx(72 / SIZE)
    assert findings[1].numbers["turned"] == findings[1].numbers["not_turned"] > 4
    for smooth in (antialiased, cubic):
        findings = found(check_resizing, classifier(), loaded(folder, smooth))
        assert titles(findings) == [LYING]


def test_photos_that_are_cropped_in_training_and_stretched_in_the_test(folder):
    train = loaded(folder, cropped)["test"]
    findings = found(
        check_resizing, classifier(), loaded(folder, antialiased, train=train)
    )
    assert titles(findings) == [LYING, "Photos are resized in two ways"]
    assert "train: cropped" in findings[1].evidence
    assert titles(found(check_resizing, classifier(), {"train": train})) == [LYING]


def test_keras_own_loader_is_looked_into(folder):
    train = keras.utils.image_dataset_from_directory(
        folder, image_size=(SIZE, SIZE), batch_size=8, verbose=False
    )
    given = {"train": train.map(lambda x, y: (x / 255, y))}
    findings = found(check_resizing, classifier(), given)
    assert titles(findings) == [ALIASED, LYING]
    assert found(check_folder_names, classifier(), given) == []
    given["class_names"] = ["dog", "cat"]
    finding = one(check_folder_names, classifier(), given)
    assert finding.severity == "serious"
    assert "cat, dog" in finding.evidence


def test_class_names_in_another_order(folder, splits):
    assert found(check_folder_names, classifier(), splits) == []
    given = loaded(folder, antialiased, class_names=("dog", "cat"))
    finding = one(check_folder_names, classifier(), given)
    assert finding.severity == "serious"
    assert finding.numbers["wrong"] == 48
    finding = one(
        check_folder_names, classifier(), splits, model_class_names=("dog", "cat")
    )
    assert "By the model's file the classes are dog, cat" in finding.evidence
    known = found(
        check_folder_names, classifier(), splits, model_class_names=("cat", "dog")
    )
    assert known == []
    assert "are known" in not_examined(check_folder_names)


def test_images_without_files_are_not_judged():
    assert "begins with images" in not_examined(check_resizing)
