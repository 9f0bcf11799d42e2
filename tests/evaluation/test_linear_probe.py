"""The linear probe: what `python -m keras_transfer backbones` prints is true."""

import re

import keras
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import StandardScaler

import keras_transfer as kt
from keras_transfer.backbones.measured import measurements
from keras_transfer.cli import main as command_line
from keras_transfer.evaluation import linear_probe


def test_backbones_prints_what_the_features_are_worth(capsys, tmp_path):
    # The real command on the drawn photos, with a backbone whose weights are at hand
    # and one whose are not.
    words = ["efficientnet_lite0@64", "vgg16@32", "--dataset", "sample_cats_vs_dogs"]
    words += ["--output", str(tmp_path / "measured.json")]
    assert command_line.main(["backbones", *words]) == 1
    *_, title, _, good, missing = capsys.readouterr().out.splitlines()
    assert title == "Linear probe on sample_cats_vs_dogs, 5-fold cross-validated:"
    assert re.fullmatch(r"vgg16 +32 px  No ImageNet weights of vgg16: .*", missing)
    printed = re.fullmatch(r"efficientnet_lite0 +64 px  ([\d.]+)%", good)[1]

    # The same by hand: each photo is predicted by a regression that has not seen it.
    splits = kt.load_dataset("sample_cats_vs_dogs", image_size=64)
    backbone = kt.build_backbone("efficientnet_lite0", image_size=64)
    features = kt.extract_features(backbone, splits)
    parts = (features.train, features.validation, features.test)
    inputs, labels = (np.concatenate(part) for part in zip(*parts, strict=True))
    assert len(inputs) == sum(splits.counts.values()) > 100
    right = []
    for seen, unseen in StratifiedKFold(5, shuffle=True, random_state=0).split(
        inputs, labels
    ):
        scaler = StandardScaler().fit(inputs[seen])
        learned = LogisticRegression(C=0.01, max_iter=2000)
        learned.fit(scaler.transform(inputs[seen]), labels[seen])
        guesses = learned.predict(scaler.transform(inputs[unseen]))
        right.append(np.mean(guesses == labels[unseen]))
    assert float(printed) == pytest.approx(100 * np.mean(right), abs=0.006)
    assert float(printed) > 60, "better than a guess"

    (kept,) = measurements(tmp_path / "measured.json")
    assert kept["accuracy"] == pytest.approx(float(printed) / 100, abs=1e-9)
    assert (kept["backbone"], kept["image_size"]) == ("efficientnet_lite0", 64)
    assert kept["photos"] == len(inputs)
    assert kept["versions"]["keras"] == keras.__version__


def test_another_file_is_refused_before_anything_is_measured(tmp_path, capsys):
    path = tmp_path / "photo.json"
    path.write_text("{}")
    words = ["vgg16@32", "--dataset", "no_such_data", "--output", str(path)]
    assert command_line.main(["backbones", *words]) == 2
    assert "no measurements of backbones" in capsys.readouterr().err


def test_drawn_samples_are_drawn_and_measured_both_ways(monkeypatch):
    # All of what is tried takes minutes.
    monkeypatch.setattr(linear_probe, "PIXEL_SIZES", (8,))
    monkeypatch.setattr(linear_probe, "PIXEL_PENALTIES", (1e-3,))
    found = linear_probe.probe_samples(np.int64(0), num_images=20)
    assert list(found) == ["linear on raw pixels", "efficientnet_lite0 features"]
    assert all(0 <= accuracy <= 1 for accuracy in found.values())
    assert found["efficientnet_lite0 features"] > found["linear on raw pixels"]


def test_accuracy_is_that_of_photos_that_were_not_seen():
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 2
    noise = rng.normal(size=(60, 200))
    # A regression would learn 200 random numbers of 60 photos by heart.
    assert linear_probe.cross_validated_accuracy(noise, labels, 10.0) < 0.75
    told = np.column_stack([noise[:, 0], 5 * labels + rng.normal(size=60)])
    assert linear_probe.cross_validated_accuracy(told, labels.tolist()) > 0.9


@pytest.mark.parametrize(
    ("call", "received"),
    [
        (lambda: linear_probe.measure_backbone("resnet", "mnist", 32), "name=resnet"),
        (lambda: linear_probe.measure_backbone(None, "mnist", 32), "name=None"),
        (lambda: linear_probe.measure_backbone(["vgg16"], "mnist", 32), "name="),
        (lambda: linear_probe.measure_backbone("vgg16", 3, 32), "dataset=3"),
        (lambda: linear_probe.measure_backbone("vgg16", None, 32), "dataset=None"),
        (lambda: linear_probe.measure_backbone("vgg16", "mnist", -5), "image_size=-5"),
        (
            lambda: linear_probe.measure_backbone("vgg16", "mnist", "32"),
            "image_size='32'",
        ),
        (lambda: linear_probe.probe_samples("0"), "seed='0'"),
        (lambda: linear_probe.probe_samples(-1), "seed=-1"),
        (lambda: linear_probe.probe_samples(0, 3), "num_images=3"),
        (lambda: linear_probe.probe_samples(0, None), "num_images=None"),
        (
            lambda: linear_probe.cross_validated_accuracy([1, 2], [0, 1]),
            "inputs of shape",
        ),
        (
            lambda: linear_probe.cross_validated_accuracy(np.eye(9), [0, 1]),
            "labels of shape",
        ),
        (
            lambda: linear_probe.cross_validated_accuracy(np.eye(9), None),
            "labels of shape",
        ),
        (
            lambda: linear_probe.cross_validated_accuracy(np.eye(2), [0, 1], 0),
            "regularization=0",
        ),
    ],
)
def test_arguments_are_checked_first(call, received):
    with pytest.raises(ValueError, match=f"Received: .*{received}"):
        call()
