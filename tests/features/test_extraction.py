"""Features are computed once, never for other weights, and a damaged file is redone."""

import dataclasses
import threading

import keras
import numpy as np
import pytest

import keras_transfer as kt


@pytest.fixture(scope="module")
def splits():
    return kt.load_dataset("sample_cats_vs_dogs", image_size=64, max_images=36)


@pytest.fixture(scope="module")
def backbone():
    return kt.build_backbone("efficientnet_lite0", image_size=64)


def test_pooled_in_stored_order(splits, backbone, tmp_path):
    features = kt.extract_features(backbone, splits, tmp_path, dtype="float32")
    assert features.class_names == splits.class_names
    for name, count in splits.counts.items():
        pooled, labels = getattr(features, name)
        assert pooled.shape == (count, 1280)
        images, expected_labels = splits.arrays(name)
        assert np.array_equal(labels, expected_labels)
        expected = backbone(images.astype("float32"), training=False).numpy()
        np.testing.assert_allclose(pooled, expected.mean((1, 2)), atol=1e-4)


def test_second_call_reads_back(splits, backbone, tmp_path, capsys):
    first = kt.extract_features(backbone, splits, tmp_path)
    capsys.readouterr()
    second = kt.extract_features(backbone, splits, tmp_path)
    assert "read back" in capsys.readouterr().out
    assert second.path == first.path
    assert np.array_equal(first.train.features, second.train.features)


def test_key_holds_all_that_features_depend_on(splits, backbone, tmp_path):
    paths = {kt.extract_features(backbone, splits, tmp_path).path}
    smaller = kt.load_dataset("sample_cats_vs_dogs", image_size=64, max_images=20)
    paths.add(kt.extract_features(backbone, smaller, tmp_path).path)
    earlier = kt.build_backbone(
        "efficientnet_lite0", image_size=64, output_block="block6"
    )
    paths.add(kt.extract_features(earlier, splits, tmp_path).path)
    tuned = kt.build_backbone("efficientnet_lite0", image_size=64)
    kernel = tuned.get_layer("top_conv").kernel
    kernel.assign(kernel + 1e-6 * np.eye(*kernel.shape[-2:]))
    paths.add(kt.extract_features(tuned, splits, tmp_path).path)
    network = keras.Model(
        backbone.get_layer("backbone_preprocessing").output, backbone.output
    )
    pixels = keras.Input((64, 64, 3))
    other = keras.Model(pixels, network(keras.layers.Rescaling(1 / 255)(pixels)))
    paths.add(kt.extract_features(other, splits, tmp_path).path)
    assert len(paths) == 5


def test_a_name_with_a_configuration_makes_one_folder(splits, backbone, tmp_path):
    named = dataclasses.replace(splits, name="data/config:1.0.0")
    folder = kt.extract_features(backbone, named, tmp_path).path
    assert folder.parent == tmp_path
    assert ":" not in folder.name


def test_same_weights_in_a_new_model_are_found(splits, backbone, tmp_path):
    path = kt.extract_features(backbone, splits, tmp_path).path
    again = kt.build_backbone("efficientnet_lite0", image_size=64)
    assert kt.extract_features(again, splits, tmp_path).path == path


@pytest.mark.parametrize("damage", ["cut", "flip", "remove"])
def test_damaged_files_are_rebuilt(splits, backbone, tmp_path, damage):
    first = kt.extract_features(backbone, splits, tmp_path)
    expected = np.array(first.test.features)
    file = first.path / "test_features.npy"
    data = file.read_bytes()
    file.unlink()
    if damage == "cut":
        file.write_bytes(data[:-10])
    elif damage == "flip":
        file.write_bytes(data[:-10] + bytes(10))
    again = kt.extract_features(backbone, splits, tmp_path)
    assert np.array_equal(again.test.features, expected)
    assert [path.name for path in tmp_path.iterdir()] == [again.path.name]


def test_two_at_once(splits, backbone, tmp_path):
    results = []

    def extract():
        results.append(kt.extract_features(backbone, splits, tmp_path))

    threads = [threading.Thread(target=extract) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert np.array_equal(results[0].train.features, results[1].train.features)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_stopped_extraction_leaves_nothing(splits, backbone, tmp_path, monkeypatch):
    def stop(self, split, *bounds):
        raise KeyboardInterrupt

    monkeypatch.setattr(type(splits), "ordered", stop)
    with pytest.raises(KeyboardInterrupt):
        kt.extract_features(backbone, splits, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_said_before_the_work(splits, backbone, tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 10})
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    with pytest.raises(OSError, match="not enough room"):
        kt.extract_features(backbone, splits, tmp_path)
    assert not list(tmp_path.iterdir())


def test_wrong_shapes(splits, backbone):
    with pytest.raises(ValueError, match="image_size=64 to build_backbone"):
        kt.extract_features(
            kt.build_backbone("vgg16", weights=None, image_size=96), splits
        )
    with pytest.raises(ValueError, match=r"feature map.*Received: output_shape"):
        kt.extract_features(kt.build_classifier(backbone, 2), splits)


def test_another_engine_gives_the_same_features(splits, backbone, tmp_path, capsys):
    pytest.importorskip("openvino")
    found = [
        kt.extract_features(backbone, splits, tmp_path, dtype="float32", engine=engine)
        for engine in ("tensorflow", "openvino")
    ]
    assert "computed in float32 by openvino" in capsys.readouterr().out
    one, other = (part.train.features for part in found)
    assert found[0].path != found[1].path
    assert 0 < np.abs(one - other).max() < 1e-3 * np.abs(one).max()


def test_an_engine_that_is_not_there(splits, backbone, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"openvino\. Received: engine=torch"):
        kt.extract_features(backbone, splits, tmp_path, engine="torch")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install openvino.*Received"):
        kt.extract_features(backbone, splits, tmp_path, engine="openvino")
    assert not list(tmp_path.iterdir())
