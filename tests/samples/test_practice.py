"""The folder to practise on holds the faults that it says, and always the same."""

import dataclasses
import io
import re

import numpy as np
import pytest
from PIL import Image

import keras_transfer as kt
from keras_transfer.data import tfds
from keras_transfer.data.near_duplicates import fingerprints, match
from keras_transfer.samples import builders, practice
from keras_transfer.samples.flowers import FLOWERS_LABELS, draw_flowers

PLANTS = 3


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(practice, "DRAWN_PLANTS", PLANTS)
    monkeypatch.setattr(practice, "DRAWN_ANIMALS", 3)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Return where a small folder is drawn once."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def folder(drawn, monkeypatch):
    """Draw the folder unless it is there."""
    monkeypatch.setenv("KERAS_TRANSFER_DATA_DIR", str(drawn))
    return kt.practice_folder()


def files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_every_plant_has_four_shots_in_its_class(folder):
    found = {*files(folder.path)} - {*folder.planted["near copy"]}
    plants = {}
    for name in found:
        if found_plant := re.search(folder.groups, name):
            plants.setdefault(found_plant[0], []).append(name)
    assert len(plants) == 3 * PLANTS
    right = folder.decisions
    for shots in plants.values():
        assert len([shot for shot in shots if right.get(shot) != "drop"]) == 4
        classes = {right.get(shot, shot.split("/")[0]) for shot in shots} - {"drop"}
        assert len(classes) == 1
    assert {path.name for path in folder.path.iterdir()} == {*practice.CLASSES}


def test_planted_faults_are_there(folder):
    found, planted = files(folder.path), folder.planted
    assert [len(planted[kind]) for kind in sorted(planted)] == [1, 1, 1, 8]
    assert {file for listed in planted.values() for file in listed} <= {*found}
    assert {*folder.decisions} == {f for listed in planted.values() for f in listed}
    for file in planted["wrong label"]:
        assert folder.decisions[file] in practice.CLASSES
        assert folder.decisions[file] != file.split("/")[0]
    (dark,), (copy,) = planted["dark"], planted["near copy"]
    assert np.asarray(Image.open(folder.path / dark)).max() < 20
    alike = [name for name in found if re.search(folder.groups, copy)[0] in name]
    assert alike == [copy], "its name must not give it away"
    images = {
        name: np.asarray(Image.open(folder.path / name).resize((128, 128)))
        for name in found
        if name.endswith(".jpg") and name != copy
    }
    (hit,) = match(
        fingerprints([np.stack([*images.values()])]),
        fingerprints(
            [np.asarray(Image.open(folder.path / copy).resize((128, 128)))[None]]
        ),
    )
    assert not hit.exact
    assert [*images][hit.first_index].split("/")[0] == copy.split("/")[0]


def test_other_things_belong_to_no_class(folder):
    kinds = [name.split("/")[0] for name in files(folder.others)]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "animals": 3,
        "other flowers": 2 * PLANTS,
    }
    assert not folder.others.is_relative_to(folder.path)


def test_the_folder_is_drawn_once_and_always_the_same(
    folder, tmp_path, monkeypatch, capsys
):
    capsys.readouterr()
    assert kt.practice_folder() == folder
    assert kt.practice_folder(kt.profile("quick")) == folder
    assert "Writing" not in capsys.readouterr().out
    monkeypatch.setenv("KERAS_TRANSFER_DATA_DIR", str(tmp_path / "again"))
    again = kt.practice_folder()
    assert files(again.path) == files(folder.path)
    assert again.planted == folder.planted


def test_an_interrupted_run_leaves_no_half_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_TRANSFER_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(practice, "DRAWN_PLANTS", 1)

    def interrupted(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(practice, "plant_faults", interrupted)
        with pytest.raises(KeyboardInterrupt):
            kt.practice_folder()
    assert not [*tmp_path.rglob("drawn_flowers")]
    assert (kt.practice_folder().path / "daisy").is_dir()


def test_another_process_that_is_quicker_is_no_error(tmp_path, monkeypatch):
    # Two that begin with nothing there, as two lessons may.
    monkeypatch.setenv("KERAS_TRANSFER_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(practice, "DRAWN_PLANTS", 1)
    write = practice._write

    def slow(*arguments):
        write(*arguments)
        with monkeypatch.context() as patch:
            patch.setattr(practice, "_write", write)
            quicker.append(kt.practice_folder())

    quicker = []
    monkeypatch.setattr(practice, "_write", slow)
    assert [kt.practice_folder()] == quicker
    root = quicker[0].path.parent
    assert [*root.parent.iterdir()] == [root], "nothing else is left"


def test_a_damaged_folder_is_written_again(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_TRANSFER_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(practice, "DRAWN_PLANTS", 1)
    found = kt.practice_folder()
    before = files(found.path)
    (found.path.parent / practice.LIST).unlink()
    assert files(kt.practice_folder().path) == before


def test_another_shot_is_no_near_copy():
    rng = np.random.default_rng(0)
    for image, _ in draw_flowers(6, 1):
        shots = [practice.take_shot(image, rng) for _ in range(2)]
        assert all(shot.size == image.size for shot in shots)
        pair = [np.asarray(shot)[None] for shot in shots]
        assert not match(*map(fingerprints, ([pair[0]], [pair[1]])))


def noise(dataset):
    """Yield what `open_photos` does, quickly."""
    rng = np.random.default_rng(0)
    names = ("cat", "dog") if dataset == "cats_vs_dogs" else FLOWERS_LABELS
    for number in range(150):
        encoded = io.BytesIO()
        pixels = rng.integers(0, 256, (24, 32, 3), "uint8")
        Image.fromarray(pixels).save(encoded, "jpeg")
        yield encoded.getvalue(), names[number % len(names)]


def test_photos_of_a_data_set_are_capped_and_only_some_are_in_series(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("KERAS_TRANSFER_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(practice, "OTHERS", 4)
    monkeypatch.setattr(tfds, "open_photos", noise)
    quick = kt.profile("quick")
    folder = kt.practice_folder(
        dataclasses.replace(quick, name="lesson", max_images=100)
    )
    found = [re.search(folder.groups, name) for name in files(folder.path)]
    plants = [plant[0] for plant in found if plant]
    # Two thirds of what is allowed are plants; one in five was taken three times, and
    # the dark one is one more of a plant. The copy has a number of its own.
    assert len({*plants}) == 66 + 1
    assert len(plants) == 66 + 2 * 14 + 2
    assert len(folder.planted["wrong label"]) == 20
    kinds = [name.split("/")[0] for name in files(folder.others)]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "animals": 4,
        "other flowers": 4,
    }


def test_photos_of_a_data_set_come_as_they_are(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_TRANSFER_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(builders.SampleFlowers, "num_images", 5)
    found = [
        (Image.open(io.BytesIO(encoded)).tobytes(), name)
        for encoded, name in tfds.open_photos("sample_flowers")
    ]
    drawn = draw_flowers(5, 0)
    assert {*found} == {(image.tobytes(), FLOWERS_LABELS[k]) for image, k in drawn}


def test_profile_that_is_none_is_refused():
    with pytest.raises(ValueError, match="profile must be a Profile"):
        kt.practice_folder("quick")
