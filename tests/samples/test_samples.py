"""Tests of the drawn samples: the pictures, the data sets, and what they teach."""

import io
import itertools
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.preprocessing import StandardScaler

from keras_transfer import samples
from keras_transfer.samples import encoding, flowers

DRAWERS = (samples.draw_cats_vs_dogs, samples.draw_flowers)
SEEDS = (0, 1, 2)


def _image_at(draw, index, seed):
    return next(itertools.islice(draw(index + 1, seed), index, None))


@pytest.fixture
def few_images(monkeypatch):
    """Shrink both data sets, so that preparing them takes no time."""
    from keras_transfer.samples import builders

    for builder in builders._BUILDERS.values():
        monkeypatch.setattr(builder, "num_images", 10)


@pytest.mark.parametrize("draw", DRAWERS)
def test_same_seed_draws_the_same_bytes(draw):
    first = [(image.tobytes(), label) for image, label in draw(6, 3)]
    again = [(image.tobytes(), label) for image, label in draw(6, 3)]
    other = [(image.tobytes(), label) for image, label in draw(6, 4)]
    assert first == again
    assert all(a[0] != b[0] for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("draw", DRAWERS)
def test_image_depends_on_seed_and_index_alone(draw):
    image, label = _image_at(draw, 4, 0)
    longer, longer_label = list(draw(9, 0))[4]
    assert image.tobytes() == longer.tobytes()
    assert label == longer_label


@pytest.mark.parametrize("draw", DRAWERS)
def test_images_are_rgb_of_about_the_promised_size(draw):
    sizes = set()
    for image, _ in draw(20, 0):
        assert image.mode == "RGB"
        assert 160 <= image.width <= 208
        assert 144 <= image.height <= 192
        assert np.asarray(image).std() > 8
        sizes.add(image.size)
    assert len(sizes) > 10


def test_classes_are_balanced():
    for draw, classes in zip(DRAWERS, (2, 5), strict=True):
        labels = [label for _, label in draw(4 * classes, 0)]
        assert np.bincount(labels).tolist() == [4] * classes


def test_drawing_needs_no_tensorflow():
    code = (
        "import importlib.util, sys, types\n"
        "package = types.ModuleType('keras_transfer')\n"
        "package.__path__ = [sys.argv[1]]\n"
        "sys.modules['keras_transfer'] = package\n"
        "from keras_transfer.samples import draw_flowers\n"
        "next(draw_flowers(1, 0))\n"
        "assert not {'tensorflow', 'tensorflow_datasets'} & set(sys.modules)\n"
    )
    package = str(pathlib.Path(samples.__file__).parent.parent)
    subprocess.run([sys.executable, "-c", code, package], check=True)


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("sample_cats_vs_dogs", ["cat", "dog"]),
        ("sample_flowers", ["daisy", "dandelion", "roses", "sunflowers", "tulips"]),
        ("sample_pets", ["cat", "dog"]),
        ("sample_pets_night", ["cat", "dog"]),
    ],
)
def test_prepare_writes_a_tfds_data_set(
    name, labels, few_images, tmp_path, monkeypatch, capsys
):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o555)
    monkeypatch.setenv("TFDS_DATA_DIR", str(elsewhere))
    builder = samples.prepare(name, tmp_path / "data")
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 1
    assert printed[0].startswith(f"Drawing 10 sample images of {name} into ")
    assert builder.info.features["label"].names == labels
    assert builder.info.splits["train"].num_examples == 10
    records = list(builder.as_dataset(split="train", as_supervised=True))
    counts = np.bincount([int(label) for _, label in records])
    assert counts.tolist() == [10 // len(labels)] * len(labels)
    assert records[0][0].dtype == np.uint8
    assert not list(elsewhere.iterdir())
    samples.prepare(name, tmp_path / "data")
    assert capsys.readouterr().out == ""


def test_prepared_pixels_are_the_drawn_ones(few_images, tmp_path):
    builder = samples.prepare("sample_flowers", tmp_path)
    stored = {
        image.numpy().tobytes()
        for image, _ in builder.as_dataset(split="train", as_supervised=True)
    }
    assert stored == {image.tobytes() for image, _ in samples.draw_flowers(10, 0)}


def _plain_drawings(draw, count):
    files = []
    for image, label in draw(count, 0):
        file = io.BytesIO()
        image.save(file, "png", compress_level=1)
        files.append((len(files), label, file.getvalue()))
    return files


def test_two_processes_draw_what_one_does(monkeypatch):
    monkeypatch.setattr(encoding.os, "cpu_count", lambda: 2)
    monkeypatch.setattr(encoding, "FEWEST", 5)
    drawn = list(encoding.drawn(flowers.draw_flower, 11, 0))
    assert [index for index, _, _ in drawn] == [*range(0, 11, 2), *range(1, 11, 2)]
    assert sorted(drawn) == _plain_drawings(samples.draw_flowers, 11)


@pytest.mark.parametrize("executable", ["/nowhere/python", "half"])
def test_what_another_process_cannot_draw_is_drawn_here(
    executable, monkeypatch, tmp_path
):
    if executable == "half":  # It is ended in the middle of a picture.
        label, png = encoding._encoded(flowers.draw_flower, 1, 0)
        head = bytes([label]) + len(png).to_bytes(encoding.LENGTH, "little")
        (tmp_path / "written").write_bytes(head + png + head + png[:99])
        path = tmp_path / "python"
        path.write_text(f"#!/bin/sh\ncat '{tmp_path}/written'\nexit 1\n")
        path.chmod(0o755)
        executable = str(path)
    monkeypatch.setattr(encoding.os, "cpu_count", lambda: 2)
    monkeypatch.setattr(encoding, "FEWEST", 5)
    monkeypatch.setattr(encoding.sys, "executable", executable)
    drawn = sorted(encoding.drawn(flowers.draw_flower, 10, 0))
    assert drawn == _plain_drawings(samples.draw_flowers, 10)


def test_prepare_uses_what_another_process_finished_first(
    few_images, tmp_path, monkeypatch
):
    from keras_transfer.samples import builders

    def overtaken(index, seed):
        if index == 0:
            monkeypatch.undo()
            monkeypatch.setattr(builders.SampleFlowers, "num_images", 5)
            # TFDS removes what lies there unfinished, also that of another process.
            assert not (tmp_path / "sample_flowers").exists()
            samples.prepare("sample_flowers", tmp_path)
        return flowers.draw_flower(index, seed)

    monkeypatch.setattr(builders.SampleFlowers, "draw", staticmethod(overtaken))
    builder = samples.prepare("sample_flowers", tmp_path)
    assert builder.info.splits["train"].num_examples == 5


def test_prepare_names_the_sample_data_sets():
    with pytest.raises(ValueError, match="sample_cats_vs_dogs, sample_flowers"):
        samples.prepare("sample_birds", "anywhere")


def test_prepare_says_that_a_folder_cannot_be_written(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("a file where the folder should be")
    said = "Nothing can be written .* KERAS_TRANSFER_DATA_DIR. Received: folder="
    with pytest.raises(NotADirectoryError, match=said):
        samples.prepare("sample_flowers", blocked / "tfds")


def _cross_validated(features, labels, strength):
    # There are fewer images than features. Turned onto the images' own axes the data
    # are just as linearly separable, and a classifier is trained much sooner.
    scaled = StandardScaler().fit_transform(features.astype(float))
    left, lengths, _ = np.linalg.svd(scaled, full_matrices=False)
    model = LogisticRegression(C=strength, max_iter=300)
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    return cross_val_score(model, left * lengths, labels, cv=folds).mean()


@pytest.fixture(scope="module")
def features_of():
    """Return what makes features of images as float32 arrays."""
    import keras_transfer as kt
    from keras_transfer.features.inference import frozen_network

    backbone = kt.build_backbone("efficientnet_lite0", image_size=128)
    return frozen_network(backbone, (128, 128, 3), "float32", pooled=True)


@pytest.mark.parametrize("seed", SEEDS)
def test_pixels_do_not_tell_cats_from_dogs_but_features_do(seed, features_of):
    drawn = list(samples.draw_cats_vs_dogs(300, seed))
    labels = np.array([label for _, label in drawn])
    images = np.stack(
        [
            np.asarray(image.resize((128, 128), Image.Resampling.BILINEAR))
            for image, _ in drawn
        ]
    )
    small = images.reshape(300, 32, 4, 32, 4, 3).mean((2, 4)).reshape(300, -1)
    pixels = max(_cross_validated(small, labels, c) for c in (1e-5, 1e-4, 1e-3, 1e-2))
    assert pixels < 0.75
    features = features_of(images.astype("float32"))
    assert _cross_validated(features, labels, 1e-2) > 0.9
