import json

import numpy as np
import pytest

from keras_transfer.lessons import ledger


class Profile:
    name, seed, device = "quick", 0, "CPU"


class Splits:
    name, source = "sample_cats_vs_dogs", "sample_cats_vs_dogs: 600 drawn images"


BAND = {"data": "sample_cats_vs_dogs", "test_accuracy": 0.9, "test_images": 100}


@pytest.fixture
def declared(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = json.dumps({"01_lesson": {"quick": {"resnet50": BAND}}})
    (tmp_path / "bands.json").write_text(text)


def record(**figures):
    figures = {"backbone": "resnet50", "data": Splits(), "test_images": 100, **figures}
    return ledger.record(lesson="01_lesson", profile=Profile(), **figures)


def test_record_gives_plain_values_and_prints_them(declared, capsys):
    entry = record(
        test_accuracy=np.float32(0.875), losses=np.arange(2), seconds=np.int64(3)
    )
    assert json.loads(json.dumps(entry)) == {
        "lesson": "01_lesson",
        "profile": "quick",
        "seed": 0,
        "device": "CPU",
        "data": "sample_cats_vs_dogs",
        "data_source": "sample_cats_vs_dogs: 600 drawn images",
        "backbone": "resnet50",
        "test_images": 100,
        "test_accuracy": 0.875,
        "losses": [0, 1],
        "seconds": 3,
        "band": pytest.approx([0.81, 0.99]),
    }
    text = capsys.readouterr().out
    assert "test_accuracy: 0.875" in text
    assert "Accuracy band: 81.0% to 99.0%" in text


@pytest.mark.parametrize("accuracy", [0.5, 0.8, 1.0])
def test_accuracy_outside_its_band_fails_and_is_shown_all_the_same(
    declared, capsys, accuracy
):
    with pytest.raises(AssertionError, match=r"outside its band of 81.0% to 99.0%"):
        record(test_accuracy=accuracy)
    assert f"test_accuracy: {accuracy:.4g}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "other",
    [{"data": "my_photos"}, {"backbone": "vgg16"}, {"data": None}, {"backbone": None}],
)
def test_other_data_or_backbone_has_no_band(declared, capsys, other):
    assert "band" not in record(test_accuracy=0.1, **other)
    assert "nothing to compare with" in capsys.readouterr().out


def test_bands_can_be_turned_off(declared, monkeypatch, capsys):
    monkeypatch.setenv("KERAS_TRANSFER_BANDS", "none")
    assert record(test_accuracy=0.1)["test_accuracy"] == 0.1
    assert "not checked" in capsys.readouterr().out


def test_profile_defaults_to_the_environment(declared, monkeypatch):
    monkeypatch.setenv("KERAS_TRANSFER_PROFILE", "lesson")
    monkeypatch.setenv("KERAS_TRANSFER_LESSON", "02_other")
    entry = ledger.record(photos=3)
    assert (entry["profile"], entry["lesson"]) == ("lesson", "02_other")
    assert entry["device"]


@pytest.mark.parametrize("accuracy", [-0.1, 1.01, 95, "0.9", True])
def test_accuracy_must_be_a_share(declared, accuracy):
    with pytest.raises(ValueError, match=r"in \[0, 1\]. Received: "):
        record(test_accuracy=accuracy)


@pytest.mark.parametrize("value", [float("nan"), np.float32("inf"), [1, float("-inf")]])
def test_figures_must_be_finite(declared, value):
    with pytest.raises(ValueError, match=r"must be finite. Received: "):
        record(loss=value)


def test_figures_must_be_plain(declared):
    with pytest.raises(TypeError, match=r"`model` must be a number"):
        record(model=object())


@pytest.mark.parametrize("measured", [0.0, 1.0])
def test_band_has_width_at_the_ends(measured):
    low, high = ledger.accuracy_band(measured, 50)
    # Half a photo inwards: p = 0.99, so 3 * sqrt(0.99 * 0.01 / 50).
    assert high - low == pytest.approx(0.0422, abs=1e-4)
    assert 0 <= low <= measured <= high <= 1


def test_band_is_three_standard_errors():
    assert ledger.accuracy_band(0.5, 900) == pytest.approx((0.45, 0.55))
    with pytest.raises(ValueError, match=r"Received: measured=0.5, test_images=0"):
        ledger.accuracy_band(0.5, 0)


def test_merge_bands_keeps_the_others_and_leaves_failures_out(tmp_path):
    path = tmp_path / "bands.json"
    path.write_text(json.dumps({"01_lesson": {"quick": {"vgg16": BAND}}}))
    good = {"lesson": "01_lesson", "profile": "quick", "backbone": "resnet50", **BAND}
    failed = {**good, "lesson": "02_lesson", "error": "AssertionError"}
    without_accuracy = {"lesson": "03_lesson", "profile": "quick", "seconds": 3}
    assert ledger.merge_bands([good, failed, without_accuracy], path) == 1
    assert json.loads(path.read_text()) == {
        "01_lesson": {"quick": {"resnet50": BAND, "vgg16": BAND}}
    }


def test_output_dir_is_made(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_TRANSFER_OUTPUT_DIR", str(tmp_path / "a" / "b"))
    assert ledger.output_dir() == tmp_path / "a" / "b"
    assert ledger.output_dir().is_dir()
    monkeypatch.delenv("KERAS_TRANSFER_OUTPUT_DIR")
    monkeypatch.chdir(tmp_path)
    assert ledger.output_dir() == tmp_path / "build" / "lessons"
