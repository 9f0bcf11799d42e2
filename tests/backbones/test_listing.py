"""The table of backbones holds what is known, and what was measured."""

import json

import pytest

import keras_transfer as kt
from keras_transfer.backbones import listing, measured
from keras_transfer.backbones.registry import ARCHITECTURES


def record(**changes):
    made = {
        "backbone": "vgg16",
        "dataset": "cats",
        "image_size": 160,
        "photos": 100,
        "accuracy": 0.9,
        "dtype": "float32",
        "versions": {"keras": "3", "tensorflow": "2"},
        "date": "2026-01-01",
    }
    return made | changes


def test_every_backbone_has_a_row():
    table = kt.backbones()
    assert [row["backbone"] for row in table.rows] == [*ARCHITECTURES]
    row = next(row for row in table.rows if row["backbone"] == "resnet50")
    assert row["megabytes"] == pytest.approx(94.35, abs=0.01)
    assert row["imagenet"] == 0.749
    lines = str(table).splitlines()
    assert lines[1].split()[:6] == ["resnet50", "23,587,712", "94", "MB", "224", "px"]
    assert "https://keras.io/api/applications/" in lines[len(ARCHITECTURES) + 1]
    shown = table._repr_html_()
    assert "<td>convnext_tiny</td>" in shown
    assert all(row["good_for"] and 0.5 < row["imagenet"] < 1 for row in table.rows)


def test_measurements_are_merged_and_shown(tmp_path, monkeypatch):
    path = tmp_path / "measured.json"
    measured.add_measurements(path, [record(), record(dataset="flowers")])
    measured.add_measurements(path, [record(accuracy=0.95), record(image_size=224)])
    kept = measured.measurements(path)
    assert [(x["dataset"], x["image_size"], x["accuracy"]) for x in kept] == [
        ("cats", 160, 0.95),
        ("flowers", 160, 0.9),
        ("cats", 224, 0.9),
    ]
    monkeypatch.setattr(listing, "measurements", lambda: kept)
    header, *lines = str(kt.backbones()).splitlines()
    assert header.split()[-2:] == ["cats", "flowers"]
    (line,) = [line for line in lines if line.startswith("vgg16 ")]
    assert line.endswith("95.0% at 160 px  90.0% at 160 px")
    assert "cats (100 photos), flowers (100 photos): 5-fold" in lines[-1]


@pytest.mark.parametrize("text", ["", "3", "[3]", "{}", '[{"accuracy": "a"}]'])
def test_another_file_is_not_written_over(tmp_path, text):
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"no measurements.*Received: "):
        measured.add_measurements(path, [record()])
    assert path.read_text() == text


def test_what_comes_with_the_package_was_measured():
    found = json.loads(measured.FILE.read_text())
    assert {each["backbone"] for each in found} <= {*ARCHITECTURES}
    assert all(set(each) == set(record()) for each in found)
    assert all(each["photos"] > 1000 and each["accuracy"] > 0.8 for each in found)
