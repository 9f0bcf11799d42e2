"""Feature maps stand in for images: same labels, same results, several copies."""

import keras
import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer.models import precision
from keras_transfer.models.precision import compute_dtype, fast_copy


@pytest.fixture(scope="module")
def splits():
    return kt.load_dataset("sample_cats_vs_dogs", image_size=64, max_images=60)


@pytest.fixture(scope="module")
def backbone():
    return kt.build_backbone("efficientnet_lite0", image_size=64)


@pytest.fixture
def parts(backbone):
    return kt.split_at_block(backbone, "block6")


def test_maps_then_the_rest_equal_the_whole(splits, backbone, parts, tmp_path):
    first, last = parts
    maps = kt.extract_feature_maps(first, splits, dtype="float32", cache_dir=tmp_path)
    assert maps.counts == splits.counts
    images, labels = splits.arrays("test")
    found, found_labels = maps.arrays("test")
    assert np.array_equal(labels, found_labels)
    expected = backbone(images.astype("float32"), training=False).numpy()
    # Kept as float16.
    np.testing.assert_allclose(last(found), expected, atol=0.02 * expected.max())
    whole = kt.extract_features(backbone, splits, tmp_path, dtype="float32")
    parted = kt.extract_features(last, maps, tmp_path, dtype="float32")
    assert np.array_equal(whole.train.labels, parted.train.labels)
    np.testing.assert_allclose(
        whole.train.features, parted.train.features, atol=0.01 * expected.max()
    )


def test_training_maps_are_shuffled_anew_and_repeat(splits, parts, tmp_path):
    def passes():
        train = kt.extract_feature_maps(parts[0], splits, cache_dir=tmp_path).train
        assert int(train.cardinality()) == -(-splits.counts["train"] // 32)
        return [np.concatenate([maps for maps, _ in train]) for _ in range(2)]

    one, two = passes()
    assert not np.array_equal(one, two)
    assert np.array_equal(np.sort(one, axis=0), np.sort(two, axis=0))
    assert all(map(np.array_equal, (one, two), passes()))


def test_augmented_copies_take_turns(splits, parts, tmp_path, capsys):
    def labelled(**arguments):
        maps = kt.extract_feature_maps(
            parts[0],
            splits,
            augmentation=kt.build_augmentation("light", seed=1),
            cache_dir=tmp_path,
            **arguments,
        )
        epochs = [
            np.sort(np.concatenate([x for x, _ in maps.train]), axis=0)
            for _ in range(4)
        ]
        return maps, epochs

    maps, (plain, one, two, again) = labelled()
    assert np.array_equal(plain, again)
    assert not np.array_equal(plain, one)
    assert not np.array_equal(one, two)
    ordered = np.concatenate([x for x, _ in maps.ordered("train")])
    assert np.array_equal(plain, np.sort(ordered, axis=0))
    # A third copy is made without touching the two, which are read back.
    capsys.readouterr()
    _, (_, one_again, _, three) = labelled(augmented_copies=3)
    lines = capsys.readouterr().out.splitlines()
    assert [line.count("read back") for line in lines] == [0, 1, 1, 1, 1, 1, 0]
    # Only the new copy needs room: 42 maps of 192 channels, 4 x 4, in float16.
    assert f"Feature maps: {42 * 192 * 16 * 2 / 1e6:,.0f} MB to keep in" in lines[0]
    assert np.array_equal(one, one_again)
    assert not any(np.array_equal(three, other) for other in (plain, one, two))


def test_no_room_is_said_before_the_work(splits, parts, tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 10})
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    with pytest.raises(OSError, match="not enough room"):
        kt.extract_feature_maps(parts[0], splits, cache_dir=tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_interrupted_run_goes_on_where_it_was(
    splits, parts, tmp_path, monkeypatch, capsys
):
    ordered = type(splits).ordered

    def stop_at_test(self, split, *bounds):
        if split == "test":
            raise KeyboardInterrupt
        return ordered(self, split, *bounds)

    with monkeypatch.context() as patch:
        patch.setattr(type(splits), "ordered", stop_at_test)
        with pytest.raises(KeyboardInterrupt):
            kt.extract_feature_maps(parts[0], splits, cache_dir=tmp_path)
    capsys.readouterr()
    kt.extract_feature_maps(parts[0], splits, cache_dir=tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert [line.count("read back") for line in lines] == [0, 1, 1, 0]


def test_wrong_arguments(splits, backbone, parts):
    with pytest.raises(ValueError, match=r"block7, top\. Received: block=block9"):
        kt.split_at_block(backbone, "block9")
    with pytest.raises(ValueError, match=r"Cut the whole model\. Received: .*_after_"):
        kt.split_at_block(parts[1], "block7")
    augmentation = kt.build_augmentation()
    with pytest.raises(ValueError, match="augmented_copies=0"):
        kt.extract_feature_maps(
            parts[0], splits, augmentation=augmentation, augmented_copies=0
        )
    with pytest.raises(ValueError, match="Received: input_shape"):
        kt.extract_feature_maps(parts[1], splits)
    with pytest.raises(ValueError, match=r"float32, bfloat16.*dtype=float64"):
        kt.extract_features(backbone, splits, dtype="float64")


def test_a_fast_copy_in_bfloat16_agrees():
    backbone = kt.build_backbone("vgg16", weights=None, image_size=32)
    copy = fast_copy(backbone, "bfloat16")
    assert (compute_dtype(backbone), compute_dtype(copy)) == ("float32", "bfloat16")
    # Pixels are not rounded to 8 bits before the mean is off.
    assert copy.get_layer("backbone_preprocessing").compute_dtype == "float32"
    images = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype("float32")
    expected = backbone(images, training=False).numpy()
    found = keras.ops.cast(copy(images, training=False), "float32").numpy()
    assert 0 < np.abs(found - expected).max() < 0.02 * expected.max()


def test_trained_depthwise_and_mixed_networks_stay_as_they_are(backbone, monkeypatch):
    monkeypatch.setattr(precision, "has_native_bfloat16", lambda: True)
    assert fast_copy(backbone) is backbone
    assert compute_dtype(fast_copy(backbone, frozen=True)) == "bfloat16"
    plain = kt.build_backbone("vgg16", weights=None, image_size=32)
    assert compute_dtype(fast_copy(plain)) == "bfloat16"
    assert fast_copy(plain, "float32") is plain
    keras.config.set_dtype_policy("mixed_float16")
    try:
        mixed = kt.build_backbone("vgg16", weights=None, image_size=32)
    finally:
        keras.config.set_dtype_policy("float32")
    assert fast_copy(mixed) is mixed
    monkeypatch.setattr(precision, "has_native_bfloat16", lambda: False)
    assert fast_copy(plain) is plain


def test_another_augmentation_with_the_same_settings_is_not_taken_for_it(
    splits, parts, tmp_path
):
    layers = keras.layers
    found = [
        kt.extract_feature_maps(
            parts[0],
            splits,
            augmentation=layer,
            augmented_copies=1,
            cache_dir=tmp_path,
            verbose=False,
        )
        for layer in (layers.RandomHue(0.2, seed=1), layers.RandomContrast(0.2, seed=1))
    ]
    assert len(list(tmp_path.iterdir())) == 5
    assert len(found) == 2
