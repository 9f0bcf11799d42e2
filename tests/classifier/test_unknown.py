"""None of these: what is far from all training photos, by a threshold that holds."""

import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer.classifier import unknown
from keras_transfer.classifier.unknown import UnknownDetector
from tests.helpers.small_networks import small_classifier


def cloud(count, seed=0, middle=(5.0, 1, 1, 0)):
    return np.random.default_rng(seed).normal(middle, 1, (count, 4)).astype("float32")


def test_the_distance_is_that_to_the_tenth_nearest_feature():
    train, photos = cloud(60), cloud(7, seed=1)
    detector = kt.fit_unknown_detector(train, cloud(30, seed=2))
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (photos, train))
    expected = np.sort(1 - a @ b.T, axis=1)[:, 9]
    np.testing.assert_allclose(detector.distances(photos), expected, atol=2e-3)
    # Neither length nor company changes a distance.
    alone = [detector.distances(photo[None])[0] for photo in 3 * photos]
    np.testing.assert_allclose(alone, detector.distances(photos), atol=1e-6)
    many = np.concatenate([photos] * 200)
    np.testing.assert_allclose(detector.distances(many)[-7:], alone, atol=1e-6)


@pytest.mark.parametrize(("count", "refusals"), [(225, 4), (100, 0), (1000, 36)])
def test_as_many_are_refused_as_the_threshold_allows(count, refusals):
    validation = cloud(count, seed=1)
    detector = kt.fit_unknown_detector(cloud(300), validation)
    assert detector.is_unknown(validation).sum() == refusals
    assert detector.promised


def test_the_share_of_new_photos_that_is_refused_keeps_to_the_bound():
    shares = []
    for seed in range(60):
        detector = kt.fit_unknown_detector(cloud(200, seed), cloud(225, seed + 100))
        shares.append(detector.is_unknown(cloud(2000, seed + 200)).mean())
    assert np.mean(np.array(shares) > 0.05) <= 0.05
    # Nor are so few refused that it would be of no use.
    assert 0.01 < np.mean(shares) < 0.035


def test_few_photos():
    train, validation = cloud(4), cloud(3, seed=1)
    detector = kt.fit_unknown_detector(train, validation)
    assert detector.neighbors == 4
    assert not detector.is_unknown(validation).any()
    assert not detector.promised
    assert "With only 3 validation photos, more than 5.0%" in repr(detector)
    one = kt.fit_unknown_detector(train[:1], train[:1])
    assert (one.neighbors, len(one.features)) == (1, 1)
    assert one.is_unknown(-train[:1])


def test_of_many_photos_some_of_each_class_are_kept(monkeypatch):
    monkeypatch.setattr(unknown, "MOST_FEATURES", 40)
    labels = np.array([0] * 500 + [1] * 12 + [2] * 3)
    train = np.eye(3)[labels]
    detector = kt.fit_unknown_detector((train, labels), train)
    kept = detector.features.argmax(axis=1)
    assert np.bincount(kept).tolist() == [25, 12, 3]
    assert detector.features.dtype == np.float16
    again = kt.fit_unknown_detector((train, labels), train)
    np.testing.assert_array_equal(again.features, detector.features)
    assert len(kt.fit_unknown_detector(train, train).features) == 40


def test_a_photo_without_any_feature_is_near_to_nothing():
    detector = kt.fit_unknown_detector(cloud(50), cloud(30, seed=1))
    np.testing.assert_array_equal(detector.distances(np.zeros((1, 4))), [1])


@pytest.mark.parametrize(
    "features",
    [np.zeros((0, 4)), np.zeros(4), [[np.nan] * 4], [["a"] * 4], None, "features"],
    ids=str,
)
def test_what_is_no_feature(features):
    good = cloud(20)
    for call in (
        lambda: kt.fit_unknown_detector(features, good),
        lambda: kt.fit_unknown_detector(good, features),
        lambda: kt.fit_unknown_detector(good, good).distances(features),
        lambda: UnknownDetector(features, 1, 0.5, 0.05, 3),
    ):
        with pytest.raises(ValueError, match=r"Received: (\w+_)?features="):
            call()


def test_features_of_two_networks():
    with pytest.raises(ValueError, match="the same network"):
        kt.fit_unknown_detector(cloud(20), cloud(20)[:, :3])
    detector = kt.fit_unknown_detector(cloud(20), cloud(20))
    with pytest.raises(ValueError, match="features of 4 channels"):
        detector.is_unknown(cloud(20)[:, :3])
    with pytest.raises(ValueError, match="one integer label"):
        kt.fit_unknown_detector((cloud(20), [0, 1]), cloud(20))


def test_features_of_a_classifier_are_those_that_its_head_is_given():
    splits = kt.load_dataset("sample_cats_vs_dogs", image_size=8, max_images=60)
    model = small_classifier(normalized=True)
    kept = kt.pooled_features_of(model, splits.ordered("train"))
    images, labels = splits.arrays("train")
    np.testing.assert_array_equal(kept.labels, labels)
    backbone, _ = kt.split_at_block(model, kt.block_names(model)[-1])
    expected = np.mean(backbone(images.astype("float32"), training=False), axis=(1, 2))
    np.testing.assert_allclose(kept.features, expected, rtol=0.02, atol=1.0)
    with pytest.raises(ValueError, match=r"takes images of shape \(8, 8, 3\)"):
        other = kt.load_dataset("sample_cats_vs_dogs", image_size=9, max_images=60)
        kt.pooled_features_of(model, other.test)
    with pytest.raises(ValueError, match="global average pooling"):
        kt.pooled_features_of(backbone, splits.test)
