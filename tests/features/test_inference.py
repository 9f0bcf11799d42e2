"""Frozen networks by OpenVINO and by TensorFlow: the same, kept, and chosen well."""

import itertools
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_transfer as kt
from keras_transfer.data.photo_files import read_folder
from keras_transfer.features import inference
from keras_transfer.features.inference import BATCH, engines, frozen_network
from keras_transfer.features.photos import photo_features
from keras_transfer.runtime import openvino as runtime_openvino

pytest.importorskip("openvino")
SHAPE = (16, 16, 3)


@pytest.fixture
def data_dir(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_TRANSFER_DATA_DIR", str(tmp_path))
    return tmp_path


def small(seed=0, **convolution):
    """Return a network of a few layers that an engine may fold."""
    keras.utils.set_random_seed(seed)
    inputs = keras.Input(SHAPE)
    x = keras.layers.Rescaling(1 / 127.5, -1)(inputs)
    x = keras.layers.Conv2D(8, 3, strides=2, padding="same", **convolution)(x)
    x = keras.layers.BatchNormalization(momentum=0.5)(x)
    x = keras.layers.ReLU(6.0)(x)
    x = keras.layers.DepthwiseConv2D(3, padding="same")(x)
    model = keras.Model(inputs, x, name="small")
    model(images(8), training=True)  # Statistics that are not those of the start.
    return model


def images(count, seed=0):
    drawn = np.random.default_rng(seed).uniform(0, 255, (count, *SHAPE))
    return drawn.round().astype("float32")


def blobs(folder):
    return sorted((folder / "networks").glob("*.blob"))


def largest_difference(found, expected):
    return np.abs(found - expected).max() / np.abs(expected).max()


@pytest.mark.parametrize("pooled", [True, False])
def test_it_computes_what_the_model_does(data_dir, pooled):
    model, given = small(), images(5)
    expected = model(given, training=False).numpy()
    if pooled:
        expected = expected.mean(axis=(1, 2))
    for engine in ("tensorflow", "openvino"):
        network = frozen_network(model, SHAPE, "float32", engine, pooled=pooled)
        assert network.engine == engine
        assert largest_difference(network(given), expected) < 1e-4


def test_bfloat16_is_near(data_dir):
    model, given = small(), images(40)
    expected = model(given, training=False).numpy()
    found = frozen_network(model, SHAPE, "bfloat16", "openvino")(given)
    assert largest_difference(found, expected) < 0.05


@pytest.mark.parametrize("engine", ["tensorflow", "openvino"])
def test_batches_of_any_size_come_in_order(data_dir, engine):
    given = images(3 * BATCH + 7)
    network = frozen_network(small(), SHAPE, "float32", engine)
    cuts = [0, 3, 3, 3 + BATCH, 2 * BATCH + 9, len(given), len(given)]
    parts = [given[a:b] for a, b in itertools.pairwise(cuts)]
    found = [*network.stream((part, number) for number, part in enumerate(parts))]
    assert [number for _, number in found] == [*range(len(parts))]
    assert [len(values) for values, _ in found] == [len(part) for part in parts]
    together = np.concatenate([values for values, _ in found if len(values)])
    np.testing.assert_allclose(together, network(given), rtol=1e-5, atol=1e-5)


def test_a_pass_that_is_ended_leaves_a_network_that_works(data_dir):
    given = images(4 * BATCH)
    network = frozen_network(small(), SHAPE, "float32", "openvino")
    parts = np.split(given, 4)
    passing = network.stream(zip(parts, range(4), strict=True))
    first, _ = next(passing)
    passing.close()

    def failing():
        yield parts[0], 0
        yield parts[1], 1
        raise OSError("a file has gone")

    with pytest.raises(OSError, match="has gone"):
        [*network.stream(failing())]
    np.testing.assert_array_equal(network(parts[0]), first)


def test_it_is_kept_for_the_next_time(data_dir, monkeypatch):
    model, given = small(), images(5)
    first = frozen_network(model, SHAPE, "float32")
    (kept,) = blobs(data_dir)

    class ConvertedError(BaseException):
        """No exception that the fallback catches."""

    def convert(*_):
        raise ConvertedError

    with monkeypatch.context() as patch:
        patch.setattr(inference, "_converted", convert)
        again = frozen_network(model, SHAPE, "float32")
        np.testing.assert_array_equal(again(given), first(given))
        # Of other weights, another precision or another size it is another one.
        for other in (
            lambda: frozen_network(small(seed=1), SHAPE, "float32"),
            lambda: frozen_network(model, SHAPE, "bfloat16"),
            lambda: frozen_network(model, SHAPE, "float32", pooled=True),
        ):
            with pytest.raises(ConvertedError):
                other()
    whole = bytearray(kept.read_bytes())
    flipped = whole.copy()
    flipped[-20] ^= 255
    for damaged in (whole[:1000], flipped):
        kept.write_bytes(damaged)
        repaired = frozen_network(model, SHAPE, "float32")
        np.testing.assert_array_equal(repaired(given), first(given))
        assert kept.read_bytes() != damaged


def test_few_are_kept(data_dir, monkeypatch):
    monkeypatch.setattr(inference, "KEPT", 2)
    for seed in range(3):
        frozen_network(small(seed), SHAPE, "float32")
    assert len(blobs(data_dir)) == 2
    left = blobs(data_dir)
    frozen_network(small(2), SHAPE, "float32")
    assert blobs(data_dir) == left  # The last one was among them.


def test_a_disk_without_room_costs_only_the_keeping(data_dir, monkeypatch):
    usage = type("Usage", (), {"free": 10})
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    assert frozen_network(small(), SHAPE, "float32").engine == "openvino"
    assert not blobs(data_dir)


def wrongly_converted(core, model, run, signature, convert=inference._converted):
    other = small(seed=9)
    return convert(core, other, lambda x: other(x, training=False), signature)


def test_a_network_that_computes_something_else_is_not_used(data_dir, monkeypatch):
    monkeypatch.setattr(inference, "_converted", wrongly_converted)
    model, given = small(), images(3)
    with pytest.raises(ValueError, match=r"of the largest away.*Received: engine="):
        frozen_network(model, SHAPE, "float32", "openvino")
    network = frozen_network(model, SHAPE, "float32")
    assert network.engine == "tensorflow"
    expected = model(given, training=False)
    np.testing.assert_allclose(network(given), expected, rtol=1e-4, atol=1e-4)
    assert not blobs(data_dir)


@pytest.mark.parametrize("part", ["openvino", "_both", "_converted"])
def test_whatever_fails_in_it_by_default_tensorflow_computes(
    data_dir, monkeypatch, part
):
    def fail(*_):
        raise RuntimeError("Check failed at src/inference.cpp:215")

    monkeypatch.setattr(inference, part, fail)
    assert frozen_network(small(), SHAPE, "float32").engine == "tensorflow"
    with pytest.raises(ValueError, match=r"Check failed.*Received: engine=openvino"):
        frozen_network(small(), SHAPE, "float32", "openvino")


def test_each_part_of_the_outputs_is_compared_by_itself():
    expected = np.array([[0.2, 0.8, 900.0]], "float32")
    wrong = np.array([[0.25, 0.75, 900.0]], "float32")
    properties = {"INFERENCE_PRECISION_HINT": "f32"}
    inference._check(small(), expected, wrong, properties, ())
    with pytest.raises(ValueError, match=r"0\.063 of the largest away"):
        inference._check(small(), expected, wrong, properties, (-1,))
    nothing = np.zeros((2, 3), "float32")
    inference._check(small(), nothing, nothing, properties, ())


def test_another_process_writing_is_left_alone(data_dir, monkeypatch):
    monkeypatch.setattr(inference, "KEPT", 1)
    folder = data_dir / "networks"
    folder.mkdir()
    unfinished = folder / ".kt-0-1-1-0-x.blob"
    unfinished.touch()
    os.utime(unfinished, (1, 1))
    frozen_network(small(), SHAPE, "float32")
    assert unfinished.exists()


def test_photos_of_a_folder_are_kept_by_engine(backbone, data_dir, tmp_path, capsys):
    for number, name in enumerate(["cat", "dog"]):
        folder = tmp_path / "photos" / name
        folder.mkdir(parents=True)
        drawn = np.random.default_rng(number).integers(0, 255, (40, 40, 3))
        keras.utils.save_img(folder / "0.png", drawn, scale=False)
    photos = read_folder(tmp_path / "photos").files
    by_default = photo_features(backbone, photos, 32)
    assert "by openvino" in capsys.readouterr().out
    other = photo_features(backbone, photos, 32, "tensorflow")
    assert "by tensorflow" in capsys.readouterr().out
    assert largest_difference(by_default, other) < 0.2


def test_what_openvino_is_not_asked_to_run():
    class Own(keras.layers.Layer):
        def call(self, inputs):
            return inputs * 2.0

    inputs = keras.Input(SHAPE)
    own = keras.Model(inputs, Own()(inputs))
    assert engines(small()) == ("openvino", "tensorflow")
    assert engines(own) == ("tensorflow",)
    assert engines(small(dtype="float16")) == ("tensorflow",)
    two = keras.Model(inputs, [inputs * 2.0, inputs + 1.0])
    assert engines(two) == ("tensorflow",)
    with pytest.raises(ValueError, match=r"one input and one output.*Received"):
        engines(two, "openvino")


def test_without_it_tensorflow_is_the_engine(monkeypatch):
    monkeypatch.setattr(inference, "is_installed", lambda: False)
    assert engines(small()) == ("tensorflow",)
    with pytest.raises(ValueError, match=r"pip install openvino.*Received"):
        engines(small(), "openvino")


def test_it_sends_no_statistics():
    code = (
        "import sys\n"
        "from keras_transfer.runtime.openvino import openvino\n"
        "library = openvino()\n"
        "assert library.Core().available_devices\n"
        "sent = [name for name in sys.modules if 'telemetry' in name]\n"
        "print(sent, library is openvino())\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stderr
    sent, same = run.stdout.strip().rsplit(" ", 1)
    assert same == "True"
    assert "'openvino_telemetry'" not in sent
    assert runtime_openvino.is_installed()


@pytest.fixture(scope="module")
def splits():
    return kt.load_dataset("sample_cats_vs_dogs", image_size=32, max_images=40)


@pytest.fixture(scope="module")
def backbone():
    return kt.build_backbone("efficientnet_lite0", image_size=32)


def test_the_default_says_which_and_reads_back_either(
    splits, backbone, data_dir, capsys
):
    by_default = kt.extract_features(backbone, splits, dtype="float32")
    assert "computed in float32 by openvino" in capsys.readouterr().out
    named = kt.extract_features(backbone, splits, dtype="float32", engine="openvino")
    assert named.path == by_default.path
    other = kt.extract_features(backbone, splits, dtype="float32", engine="tensorflow")
    assert "computed in float32 by tensorflow" in capsys.readouterr().out
    assert other.path != by_default.path
    kt.extract_features(backbone, splits, data_dir / "new", False, engine="tensorflow")
    kt.extract_features(backbone, splits, data_dir / "new")
    assert "read back" in capsys.readouterr().out


def test_the_default_goes_on_where_openvino_does_not(
    splits, data_dir, capsys, monkeypatch
):
    monkeypatch.setattr(inference, "_converted", wrongly_converted)
    vgg = kt.build_backbone("vgg16", weights=None, image_size=32)
    features = kt.extract_features(vgg, splits, dtype="float32")
    assert "computed in float32 by tensorflow" in capsys.readouterr().out
    assert features.test.features.shape[1] == 512
    first, _ = kt.split_at_block(vgg, "block4")
    kt.extract_feature_maps(first, splits, dtype="float32")
    assert "computed in float32 by tensorflow" in capsys.readouterr().out
    with pytest.raises(ValueError, match="does not take this network"):
        kt.extract_features(vgg, splits, data_dir / "x", engine="openvino")
    with pytest.raises(ValueError, match="does not take this network"):
        kt.extract_feature_maps(first, splits, cache_dir="x", engine="openvino")


def test_maps_of_both_engines(splits, backbone, data_dir, capsys):
    first, _ = kt.split_at_block(backbone, "block3")
    found = {
        engine: kt.extract_feature_maps(first, splits, dtype="float32", engine=engine)
        for engine in ("tensorflow", "openvino")
    }
    said = capsys.readouterr().out
    assert "computed in float32 by openvino" in said
    assert found["openvino"].fingerprint != found["tensorflow"].fingerprint
    one, other = (maps.arrays("test")[0] for maps in found.values())
    assert largest_difference(one, other) < 2e-3  # Kept as float16.
    kt.extract_feature_maps(first, splits, dtype="float32")
    assert "read back" in capsys.readouterr().out


def test_a_classifier_answers_the_same_by_each_engine(backbone, splits, data_dir):
    model = kt.build_classifier(backbone, num_classes=2)
    images, labels = splits.arrays("train")
    dataset = tf.data.Dataset.from_tensor_slices((images, labels)).batch(3)
    reports = {
        engine: kt.evaluate_classifier(
            model, dataset, splits.class_names, engine=engine
        )
        for engine in inference.ENGINES
    }
    for report in reports.values():
        np.testing.assert_allclose(
            report.probabilities, reports["tensorflow"].probabilities, atol=1e-5
        )
    # More than a few batches: by default OpenVINO.
    np.testing.assert_array_equal(
        reports["auto"].probabilities, reports["openvino"].probabilities
    )
    few = dataset.take(2)
    one, other = (
        kt.evaluate_classifier(model, few, splits.class_names, engine=engine)
        for engine in ("auto", "tensorflow")
    )
    np.testing.assert_array_equal(one.probabilities, other.probabilities)


def test_a_batch_without_images_changes_nothing(backbone, splits, data_dir):
    model = kt.build_classifier(backbone, num_classes=2)
    images, labels = splits.arrays("train")
    dataset = tf.data.Dataset.from_tensor_slices((images, labels)).batch(3)
    masked = dataset.map(lambda x, y: (x[y > 0], y[y > 0]))
    empty = dataset.take(1).map(lambda x, y: (x[:0], y[:0])).concatenate(masked)
    reports = [
        kt.evaluate_classifier(model, data, splits.class_names, engine="openvino")
        for data in (masked, empty)
    ]
    one, other = (report.probabilities for report in reports)
    np.testing.assert_allclose(one, other, atol=1e-5)
    one, other = (kt.pooled_features_of(model, data) for data in (masked, empty))
    np.testing.assert_array_equal(one.labels, other.labels)
    np.testing.assert_allclose(one.features, other.features, atol=1e-3)


def test_photos_are_predicted_the_same_by_each_engine(backbone, data_dir, tmp_path):
    model = kt.build_classifier(backbone, num_classes=2)
    classifier = kt.load_classifier(
        kt.save_classifier(model, tmp_path / "model.keras", ["cat", "dog"])
    )
    paths = []
    for number in range(5):
        paths.append(tmp_path / f"{number}.png")
        drawn = np.random.default_rng(number).integers(0, 255, (40, 40, 3))
        keras.utils.save_img(paths[-1], drawn, scale=False)
    (tmp_path / "bad.jpg").write_bytes(b"none")
    paths.insert(0, tmp_path / "bad.jpg")
    paths.insert(3, tmp_path / "bad.jpg")
    expected = classifier.predict(paths, "return")
    for engine in ("tensorflow", "openvino"):
        for found in (
            classifier.predict(paths, "return", engine),
            [
                *classifier.predict_stream(
                    paths, batch_size=1, dtype="float32", engine=engine
                )
            ],
        ):
            assert [one.path for one in found] == paths
            assert [bool(one.error) for one in found] == [
                bool(one.error) for one in expected
            ]
            for one, other in zip(found, expected, strict=True):
                if not one.error:
                    assert abs(one.probability - other.probability) < 1e-4


def test_larger_images_are_computed_fewer_at_once():
    # So that what one layer writes is still near when the next one reads it.
    sizes = (32, 96, 160, 224, 512)
    found = {
        kind: [inference._batch((size, size, 3), kind) for size in sizes]
        for kind in ("f32", "bf16")
    }
    assert found == {"f32": [32, 8, 4, 2, 1], "bf16": [32, 16, 8, 4, 1]}
    assert inference._batch((10,), "f32") == inference.BATCH, "no images at all"
