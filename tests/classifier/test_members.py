"""What a saved file keeps beside the model, and what it says of itself."""

import json
import pathlib
import zipfile

import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer.classifier.members import FEATURES, MEMBER, PHOTOS
from keras_transfer.classifier.saved import (
    Classifier,
    known_photos,
    left_out_photos,
)
from keras_transfer.data.decoding import RESIZE_RULE
from tests.classifier.test_saved import NAMES, discriminative, saved_as_before
from tests.helpers import fresh_process
from tests.helpers.small_networks import images_and_labels, small_classifier

SUMS = [f"{number:064x}" for number in range(5)]
TEST = {"images": 200, "accuracy": 0.965, "accuracy_interval": [0.93, 0.983]}
DETAILS = {"backbone": "small", "test": TEST, "command": "train photos"}


def detector(channels=2):
    features = np.random.default_rng(0).random((30, channels))
    return kt.fit_unknown_detector(features, features)


def everything():
    return {
        "temperature": 1.5,
        "unknown": detector(),
        "trained_on": {"train": SUMS[:3], "validation": SUMS[3:]},
        "details": DETAILS,
    }


@pytest.fixture
def path(tmp_path):
    return kt.save_classifier(
        small_classifier(), tmp_path / "model.keras", NAMES, **everything()
    )


def test_all_of_it_comes_back(path):
    found, given = kt.load_classifier(path), everything()
    assert found.temperature == 1.5
    assert found.trained_on == {"train": (*SUMS[:3],), "validation": (*SUMS[3:],)}
    assert known_photos(found)[SUMS[4]] == "validation"
    assert {key: found.details[key] for key in DETAILS} == DETAILS
    assert found.details["versions"]["keras"]
    assert found.details["saved"].startswith("20")
    kept = found.unknown
    np.testing.assert_array_equal(kept.features, given["unknown"].features)
    for name in ("neighbors", "threshold", "refused", "validation_images"):
        assert getattr(kept, name) == getattr(given["unknown"], name)
    # And again, as it is.
    again = kt.save_classifier(
        found.model,
        path.with_name("again.keras"),
        found.class_names,
        temperature=found.temperature,
        unknown=kept,
        trained_on=found.trained_on,
        details=found.details,
    )
    assert kt.load_classifier(again).details == found.details


def test_what_was_left_out_is_kept_apart(path):
    sums = {"train": SUMS[:2], "validation": SUMS[2:3], "left out": SUMS[3:]}
    model = kt.load_classifier(path).model
    kt.save_classifier(model, path, NAMES, trained_on=sums)
    found = kt.load_classifier(path)
    assert {*known_photos(found)} == {*SUMS[:3]}
    assert left_out_photos(found) == {*SUMS[3:]}
    assert "2 train, 1 validation, 2 left out" in repr(found)
    sums["left out"] = []
    kt.save_classifier(model, path, NAMES, trained_on=sums)
    assert not left_out_photos(kt.load_classifier(path))
    assert "left out" not in repr(kt.load_classifier(path))


def test_what_it_says_of_itself(path, tmp_path):
    found = kt.load_classifier(path)
    lines = repr(found).splitlines()
    assert len(lines) <= 8
    for said in (
        "2: cat, dog",
        "small, images of 8 px",
        "96.5% of 200 photos (95% interval 93.0% to 98.3%)",
        "3 train, 2 validation",
        "yes, temperature 1.50",
        found.details["saved"],
    ):
        assert said in repr(found)
        assert said in found._repr_html_()
    bare = saved_as_before(small_classifier(), tmp_path / "before.keras")
    old = kt.load_classifier(bare)
    assert old.temperature is old.unknown is old.trained_on is old.details is None
    assert repr(old).count("not known") == 4
    assert "calibrated     no" in repr(old)
    many = [f"<class {number}>" for number in range(1000)]
    text = Classifier(kt.build_classifier(*small(1000)), many, 8)
    assert "1000: <class 0>" in repr(text)
    assert len(repr(text)) < 800
    assert "<class" not in text._repr_html_()


def small(classes):
    from tests.helpers.small_networks import small_backbone

    return small_backbone(), classes


@pytest.mark.slow
def test_keras_alone_loads_it(tmp_path):
    images, _ = images_and_labels()
    model = discriminative()
    np.savez(tmp_path / "io.npz", images=images, outputs=model(images, training=False))
    kt.save_classifier(model, tmp_path / "model.keras", NAMES, **everything())
    script = (
        "import sys, warnings, keras, numpy as np\n"
        "warnings.simplefilter('error')\n"
        "model, kept = keras.saving.load_model('model.keras'), np.load('io.npz')\n"
        "found = model(kept['images'], training=False)\n"
        "np.testing.assert_allclose(found, kept['outputs'], atol=1e-5)\n"
        "assert model.compiled and int(model.optimizer.iterations) == 1\n"
        "assert not [m for m in sys.modules if m.startswith('keras_transfer')]\n"
    )
    ended = fresh_process.run(script, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr[-3000:]


def rewritten(path, changes):
    """Write a file anew with other members; `None` leaves one out."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    described = json.loads(members[MEMBER])
    for name, change in changes.items():
        if name in (PHOTOS, FEATURES):
            members[name] = change
        else:
            described[name] = change
    members[MEMBER] = json.dumps(described).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            if data is not None:
                archive.writestr(name, data)


UNKNOWN = {
    "shape": [30, 2],
    "neighbors": 10,
    "threshold": 0.5,
    "refused": 0.05,
    "validation_images": 30,
}
BROKEN = {
    "no photos": {PHOTOS: None},
    "fewer photos": {PHOTOS: bytes(64)},
    "a count that is a text": {"trained_on": {"train": "3", "validation": 2}},
    "a count below 0": {"trained_on": {"train": 7, "validation": -2}},
    "photos of another split": {"trained_on": {"train": 3, "test": 2}},
    "photos in a list": {"trained_on": [3, 2]},
    "no features": {FEATURES: None},
    "fewer features": {FEATURES: bytes(20)},
    "features that are not finite": {FEATURES: b"\xff\xff" * 60},
    "another shape": {"unknown": UNKNOWN | {"shape": [-1, 4]}},
    "a neighbour too far": {"unknown": UNKNOWN | {"neighbors": 31}},
    "no threshold": {"unknown": {k: v for k, v in UNKNOWN.items() if k != "threshold"}},
    "a threshold in words": {"unknown": UNKNOWN | {"threshold": "far"}},
    "one thing more": {"unknown": UNKNOWN | {"more": 1}},
    "unknown as a text": {"unknown": "yes"},
    "temperature 0": {"temperature": 0},
    "a temperature in words": {"temperature": "hot"},
    "details in a list": {"details": [1]},
}


@pytest.mark.parametrize("kind", BROKEN)
def test_damaged_members_are_one_sentence(kind, path):
    rewritten(path, BROKEN[kind])
    with pytest.raises(ValueError, match="Received: ") as caught:
        kt.load_classifier(path)
    text = str(caught.value)
    assert "damaged" in text or "do not fit together" in text
    assert f"path={path}" in text
    assert "\n" not in text


def test_what_another_version_adds_is_passed_over(path):
    rewritten(path, {"something": {"new": 1}})
    assert kt.load_classifier(path).temperature == 1.5
    rewritten(path, {"resize_rule": "another"})
    with pytest.raises(ValueError, match=f"by the rule {RESIZE_RULE}"):
        kt.load_classifier(path)


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": 0},
        {"temperature": "1"},
        {"unknown": 0.5},
        {"unknown": detector(5)},
        {"trained_on": SUMS},
        {"trained_on": {"train": "a" * 64}},
        {"trained_on": {"train": ["a" * 63]}},
        {"trained_on": {"test": SUMS}},
        {"trained_on": {}},
        {"details": [1]},
        {"details": {"a": {1}}},
        {"details": {"a": float("nan")}},
    ],
    ids=str,
)
def test_what_is_not_saved(wrong, tmp_path):
    (name,) = wrong
    with pytest.raises(ValueError, match=f"Received: {name}="):
        kt.save_classifier(small_classifier(), tmp_path / "m.keras", NAMES, **wrong)
    assert not [*pathlib.Path(tmp_path).iterdir()]
