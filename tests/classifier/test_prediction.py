"""A stream of predictions: in order, in flat memory, whatever the files hold."""

import itertools
import os
import pathlib
import threading

import keras
import numpy as np
import pytest
from PIL import Image

import keras_transfer as kt
from keras_transfer.classifier.saved import Classifier
from tests.helpers.small_networks import small_backbone, small_classifier

NAMES = ["cat", "dog"]


def folder_of_photos(folder, count):
    rng = np.random.default_rng(0)
    paths = [folder / f"{number:03}.jpg" for number in range(count)]
    for path in paths:
        colour = rng.integers(0, 230, 3) + rng.integers(0, 25, (20, 24, 3))
        Image.fromarray(colour.astype("uint8")).save(path)
    return paths


def detector_for(model, paths, refused=0.05):
    images = np.stack([kt.load_image(path, 8) for path in paths])
    backbone, _ = kt.split_at_block(model, kt.block_names(model)[-1])
    features = np.mean(backbone(images), axis=(1, 2))
    return kt.fit_unknown_detector(features, features, neighbors=2, refused=refused)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return folder_of_photos(tmp_path_factory.mktemp("photos"), 70)


@pytest.fixture(scope="module")
def classifier(photos):
    # Uneven answers, and not so sure that the temperature changes nothing.
    keras.utils.set_random_seed(0)
    model = small_classifier(normalized=True)
    head = model.get_layer("head_predictions")
    head.set_weights([w / 100 for w in head.get_weights()])
    unknown = detector_for(model, photos[:30])
    return Classifier(model, NAMES, 8, temperature=2.0, unknown=unknown)


def numbers(found):
    return np.array([[*x.probabilities, x.distance] for x in found])


def test_the_stream_is_what_predict_gives(classifier, photos):
    expected = classifier.predict(photos)
    for settings in ({}, {"batch_size": 1}, {"batch_size": 70}, {"batch_size": 9}):
        found = [*classifier.predict_stream(iter(photos), dtype="float32", **settings)]
        assert [x.path for x in found] == photos
        assert [x.class_name for x in found] == [x.class_name for x in expected]
        np.testing.assert_allclose(numbers(found), numbers(expected), atol=1e-5)
    threshold = classifier.unknown.threshold
    assert {x.unknown for x in found} == {True, False}
    assert [x.unknown for x in found] == [x.distance > threshold for x in found]


def test_neighbours_in_a_batch_change_nothing(classifier, photos):
    alone = [*classifier.predict_stream(photos[:5], batch_size=1)]
    among = [*classifier.predict_stream(photos)][:5]
    np.testing.assert_allclose(numbers(alone), numbers(among), atol=1e-5)


def test_probabilities_are_calibrated_by_the_temperature(classifier, photos):
    images = np.stack([kt.load_image(path, 8) for path in photos[:3]])
    plain = classifier.model(images, training=False)
    expected = kt.apply_temperature(np.array(plain), 2.0)
    found = [x.probabilities for x in classifier.predict(photos[:3])]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.abs(found - np.array(plain)).max() > 1e-3
    bare = kt.evaluate_classifier(
        classifier.model,
        kt.load_dataset("sample_cats_vs_dogs", image_size=8).test,
        NAMES,
    )
    assert bare.probabilities.shape[1] == 2


def bad_files(folder, photo):
    """Make a file of each kind that cannot be read; return their paths."""
    folder.mkdir()
    for name, data in {
        "empty.jpg": b"",
        "text.jpg": b"no photo",
        "cut.jpg": photo.read_bytes()[:-300],
        "noise.png": b"\x89PNG\r\n\x1a\n" + bytes(range(200)),
    }.items():
        (folder / name).write_bytes(data)
    (folder / "folder.jpg").mkdir()
    (folder / "loop.jpg").symlink_to("loop.jpg")
    (folder / "lost.jpg").symlink_to("nowhere.jpg")
    os.mkfifo(folder / "pipe.jpg")
    Image.new("1", (20_000, 20_000)).save(folder / "large.png")
    missing = [folder / "missing.jpg", folder / ("x" * 300), f"{folder}/a\0b.jpg", ""]
    return [*sorted(folder.iterdir()), *missing]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_bad_file_is_an_entry_in_its_place(classifier, photos, tmp_path):
    bad = bad_files(tmp_path / "bad", photos[0])
    mixed = [x for pair in zip(bad, photos, strict=False) for x in pair]
    found = [*classifier.predict_stream(mixed, batch_size=4)]
    assert [x.path for x in found] == mixed
    for each in found[::2]:
        assert each.error, each.path
        assert "Received: path" in each.error
        assert each.class_name is each.probabilities is each.unknown is None
    good = [*classifier.predict_stream(photos[: len(bad)])]
    assert not any(each.error for each in found[1::2])
    np.testing.assert_allclose(numbers(found[1::2]), numbers(good), atol=1e-5)
    # The same in a list, and with nothing but bad files.
    assert [bool(x.error) for x in classifier.predict(mixed, errors="return")] == (
        [True, False] * len(bad)
    )
    assert all(each.error for each in classifier.predict_stream(bad))


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read all"
)
def test_a_file_without_permission(classifier, photos, tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(photos[0].read_bytes())
    path.chmod(0)
    (found,) = classifier.predict_stream([path])
    assert "Permission denied" in found.error


def test_errors_are_raised_where_they_are_asked_for(classifier, photos, tmp_path):
    stream = classifier.predict_stream(
        [*photos[:3], tmp_path / "gone.jpg"], errors="raise", batch_size=2
    )
    assert len([*itertools.islice(stream, 2)]) == 2
    with pytest.raises(FileNotFoundError, match=r"gone\.jpg"):
        list(stream)
    for errors in ("ignore", None, True):
        for call in (classifier.predict, classifier.predict_stream):
            with pytest.raises(ValueError, match="errors must be one of raise, return"):
                call(photos, errors=errors)


def test_an_endless_stream_is_read_no_further_than_needed(classifier, photos):
    asked = itertools.count()
    paths = (photos[next(asked) % len(photos)] for _ in itertools.count())
    threads = threading.active_count()
    stream = classifier.predict_stream(paths, batch_size=8)
    assert len([*itertools.islice(stream, 20)]) == 20
    assert next(asked) < 60
    stream.close()
    assert threading.active_count() == threads
    with pytest.raises(StopIteration):
        next(stream)


def test_what_a_stream_is_not_made_of(classifier, photos):
    for paths in (None, 3, b"photo.jpg", {"photo.jpg": 1}, kt):
        with pytest.raises(ValueError, match="Received: paths="):
            classifier.predict_stream(paths)
    for bad in (3, None, b"photo.jpg", ["photo.jpg"]):
        with pytest.raises(ValueError, match="Received: paths="):
            list(classifier.predict_stream([photos[0], bad]))
    for size in (0, -1, 1.5, "8"):
        with pytest.raises(ValueError, match="Received: batch_size="):
            classifier.predict_stream(photos, batch_size=size)
    assert [*classifier.predict_stream([])] == []
    assert len([*classifier.predict_stream(str(photos[0]))]) == 1


def test_models_without_pooled_features(photos, tmp_path):
    layers = keras.layers
    flat = keras.Sequential(
        [keras.Input((8, 8, 3)), layers.Flatten(), layers.Dense(2, "softmax")]
    )
    nested = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            small_backbone(),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2),
        ]
    )
    for model in (flat, nested):
        classifier = Classifier(model, NAMES, 8)
        found = [*classifier.predict_stream(photos[:3], dtype="float32")]
        expected = classifier.predict(photos[:3])
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(
                one.probabilities, other.probabilities, atol=1e-5
            )
            assert one.unknown is one.distance is None
    detector = kt.fit_unknown_detector(np.eye(2), np.eye(2))
    assert Classifier(nested, NAMES, 8, unknown=detector).predict(photos[0])[0].distance
    with pytest.raises(ValueError, match=r"makes none\. Received: unknown="):
        Classifier(flat, NAMES, 8, unknown=detector)
    with pytest.raises(
        ValueError, match=r"makes 2\. Received: unknown=.*of 5 channels"
    ):
        Classifier(
            nested, NAMES, 8, unknown=kt.fit_unknown_detector(np.eye(5), np.eye(5))
        )


def test_predictions_that_are_not_finite(photos):
    model = small_classifier()
    head = model.get_layer("head_predictions")
    head.set_weights([w * np.nan for w in head.get_weights()])
    for call in ("predict", "predict_stream"):
        with pytest.raises(ValueError, match="not finite"):
            list(getattr(Classifier(model, NAMES, 8), call)(pathlib.Path(photos[0])))
