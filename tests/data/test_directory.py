"""A folder with one subfolder a class becomes splits that share no image."""

import json
import os
import shutil

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import keras_transfer as kt
from keras_transfer.data import checked_files, decoding, split_names
from keras_transfer.data.splits import cap


def make_folder(path, counts, seed=0):
    rng = np.random.default_rng(seed)
    for name, count in counts.items():
        (path / name).mkdir(parents=True)
        for index in range(count):
            pixels = rng.integers(0, 256, (20, 30, 3), "uint8")
            Image.fromarray(pixels).save(path / name / f"{index:03d}.png")
    return path


def contents(splits):
    return {
        name: {image.tobytes() for image in splits.arrays(name)[0]}
        for name in ("train", "validation", "test")
    }


def test_splits_by_class(tmp_path):
    splits = kt.load_directory(make_folder(tmp_path, {"b": 40, "a": 20}), image_size=32)
    assert splits.class_names == ("a", "b")
    assert splits.counts == {"train": 42, "validation": 9, "test": 9}
    for name, share in {
        "train": (14, 28),
        "validation": (3, 6),
        "test": (3, 6),
    }.items():
        assert tuple(np.bincount(splits.arrays(name)[1])) == share
    parts = contents(splits)
    assert len(set.union(*parts.values())) == 60
    images, labels = next(iter(splits.train))
    assert images.dtype == "float32"
    assert images.shape == (32, 32, 32, 3)
    assert labels.dtype.is_integer
    assert 1 < images.numpy().max() <= 255


def test_only_training_is_shuffled(tmp_path):
    splits = kt.load_directory(make_folder(tmp_path, {"a": 40, "b": 40}), image_size=32)

    def order(dataset):
        return [image.tobytes() for images, _ in dataset for image in images.numpy()]

    assert order(splits.train) != order(splits.train)
    assert sorted(order(splits.train)) == sorted(order(splits.ordered("train")))
    for name in ("validation", "test"):
        assert order(getattr(splits, name)) == order(splits.ordered(name))
    assert order(splits.ordered("train")) == order(splits.ordered("train"))


def test_a_cap_keeps_splits_and_balance(tmp_path):
    folder = make_folder(tmp_path, {"a": 60, "b": 60})
    whole = contents(kt.load_directory(folder, image_size=32))
    capped = kt.load_directory(folder, image_size=32, max_images=40)
    assert sum(capped.counts.values()) <= 40
    for name, kept in contents(capped).items():
        assert kept < whole[name]
        assert np.ptp(np.bincount(capped.arrays(name)[1])) <= 1


def test_fingerprint(tmp_path):
    folder = make_folder(tmp_path, {"a": 6, "b": 6})
    first = kt.load_directory(folder, image_size=32).fingerprint
    assert kt.load_directory(folder, image_size=32).fingerprint == first
    assert kt.load_directory(folder, image_size=33).fingerprint != first
    assert kt.load_directory(folder, image_size=32, seed=1).fingerprint != first
    Image.fromarray(np.zeros((9, 9, 3), "uint8")).save(folder / "a" / "000.png")
    assert kt.load_directory(folder, image_size=32).fingerprint != first


def test_unreadable_files_are_skipped_and_named(tmp_path):
    folder = make_folder(tmp_path, {"a": 5, "b": 5})
    whole = (folder / "a" / "000.png").read_bytes()
    (folder / "a" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "a" / "empty.jpg").write_bytes(b"")
    (folder / "b" / "notes.txt").write_text("text")
    (folder / "b" / ".DS_Store").write_bytes(b"x")
    with pytest.warns(UserWarning) as caught:
        splits = kt.load_directory(folder, image_size=32)
    message = str(caught[0].message)
    assert message.startswith("3 file(s)")
    for part in ("cut.png: truncated", "empty.jpg: empty", "notes.txt", "export"):
        assert part in message
    assert sum(splits.counts.values()) == 10


def test_mixed_formats_in_one_folder(tmp_path):
    folder = make_folder(tmp_path, {"a": 3, "b": 3})
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.open(folder / "a" / "000.png")
    image.save(folder / "a" / "ünï cödé.JPG", exif=exif)
    image.convert("CMYK").save(folder / "a" / "cmyk.jpg")
    image.save(folder / "b" / "photo.webp")
    image.convert("L").save(folder / "b" / "gray.jpg")
    (folder / "b" / "deeper").mkdir()
    image.save(folder / "b" / "deeper" / "photo.bmp")
    splits = kt.load_directory(folder, image_size=32)
    assert sum(splits.counts.values()) == 11
    assert sum(len(splits.arrays(name)[1]) for name in splits.counts) == 11


def test_copies_and_hidden_folders_stay_out(tmp_path):
    folder = make_folder(tmp_path, {"a": 10, "b": 10})
    data = (folder / "a" / "000.png").read_bytes()
    (folder / "a" / "copy.png").write_bytes(data)
    (folder / "a" / ".thumbnails").mkdir()
    (folder / "a" / ".thumbnails" / "000.png").write_bytes(data)
    with pytest.warns(UserWarning, match="copy.png: a copy of a.000.png") as caught:
        splits = kt.load_directory(folder, image_size=32)
    assert str(caught[0].message).startswith("1 file(s)")
    parts = contents(splits)
    assert sum(map(len, parts.values())) == len(set.union(*parts.values())) == 20


@pytest.mark.parametrize(
    ("counts", "error", "message"),
    [
        ({}, ValueError, "at least two subfolders"),
        ({"a": 5}, ValueError, "at least two subfolders"),
        ({"a": 5, "b": 0}, ValueError, "three readable images"),
        ({"a": 5, "b": 2}, ValueError, "2 readable image"),
    ],
)
def test_wrong_folders(tmp_path, counts, error, message):
    with pytest.raises(error, match=message) as caught:
        kt.load_directory(make_folder(tmp_path, counts))
    assert "Received: " in str(caught.value)
    assert "Ways out" in str(caught.value)
    # Not those of somebody who has no photos.
    assert "TFDS_DATA_DIR" not in str(caught.value)


def test_missing_folder(tmp_path):
    with pytest.raises(NotADirectoryError, match="Received: path="):
        kt.load_directory(tmp_path / "nowhere")


def make_splits(path, counts, seed=0):
    for index, (split, classes) in enumerate(counts.items()):
        make_folder(path / split, classes, seed=100 * seed + index)
    return path


def skipped(splits):
    return dict(splits.skipped)


def rows(splits):
    return {
        name: np.bincount(splits.arrays(name)[1]).tolist() for name in splits.counts
    }


def test_links_are_followed_and_end(tmp_path):
    folder = make_folder(tmp_path / "photos", {"a": 6, "b": 20})
    elsewhere = make_folder(tmp_path / "elsewhere", {"more": 10, "one": 1}, seed=1)
    (folder / "a" / "more").symlink_to(elsewhere / "more")
    (folder / "a" / "one.png").symlink_to(elsewhere / "one" / "000.png")
    (folder / "a" / "self").symlink_to(folder / "a")
    (folder / "a" / "top").symlink_to(folder)
    (elsewhere / "more" / "back").symlink_to(elsewhere / "more")
    (folder / "b" / "lost.png").symlink_to(tmp_path / "nothing.png")
    (folder / "b" / "round").symlink_to(folder / "b" / "round")
    with pytest.warns(UserWarning, match="lost.png: a link to nothing"):
        splits = kt.load_directory(folder, image_size=8)
    assert sum(splits.counts.values()) == 6 + 10 + 1 + 20
    loops = ("a/self", "a/top", "a/more/back")
    assert {skipped(splits)[name] for name in loops} == {
        "a link to a folder that it lies in"
    }
    assert skipped(splits)["b/lost.png"] == skipped(splits)["b/round"]


def test_a_class_folder_may_be_a_link(tmp_path):
    folder = make_folder(tmp_path / "photos", {"a": 4})
    elsewhere = make_folder(tmp_path / "elsewhere", {"b": 4}, seed=1)
    (folder / "b").symlink_to(elsewhere / "b")
    assert sum(kt.load_directory(folder, image_size=8).counts.values()) == 8


@pytest.mark.parametrize("max_images", [9, 10, 40, 41, 203, 204, 300])
def test_a_cap_keeps_each_class_in_each_split(tmp_path, max_images):
    folder = make_folder(tmp_path, {"a": 100, "b": 100, "rare": 4})
    splits = kt.load_directory(folder, image_size=8, max_images=max_images)
    assert sum(splits.counts.values()) <= max_images
    assert all(min(row) > 0 and len(row) == 3 for row in rows(splits).values())
    left_out = 204 - sum(splits.counts.values())
    assert len(splits.skipped) == left_out
    assert (f"{left_out} left out by max_images" in splits.source) == (left_out > 0)
    assert {*skipped(splits).values()} <= {f"beyond max_images={max_images}"}


def test_a_cap_below_what_is_needed_says_the_least(tmp_path):
    folder = make_folder(tmp_path, {"a": 10, "b": 10, "c": 4})
    with pytest.raises(ValueError, match=r"at least 9.*Received: max_images=8"):
        kt.load_directory(folder, image_size=8, max_images=8)


def test_no_cap_is_exceeded():
    rng = np.random.default_rng(0)
    for _ in range(500):
        counts = {
            n: int(rng.integers(1, 2000)) for n in ("train", "validation", "test")
        }
        most = int(rng.integers(3, 2500))
        kept = cap(counts, most)
        assert sum(kept.values()) <= most
        assert all(1 <= kept[name] <= counts[name] for name in counts)
    assert sum(cap({"train": 4000, "validation": 1, "test": 1}, 300).values()) == 300


def test_a_photo_in_two_classes_is_in_none(tmp_path):
    folder = make_folder(tmp_path, {"a": 10, "b": 10, "c": 4})
    data = (folder / "a" / "003.png").read_bytes()
    (folder / "b" / "same.png").write_bytes(data)
    (folder / "a" / "again.png").write_bytes(data)
    (folder / "c" / "copy.png").write_bytes((folder / "c" / "000.png").read_bytes())
    with pytest.warns(UserWarning, match="both are left out") as caught:
        splits = kt.load_directory(folder, image_size=8)
    assert str(caught[0].message).startswith("4 file(s)")
    assert skipped(splits) == {
        "a/003.png": "in two classes, also as b/same.png",
        "a/again.png": "in two classes, also as b/same.png",
        "b/same.png": "in two classes, also as a/003.png",
        "c/copy.png": "a copy of c/000.png",
    }
    assert sum(splits.counts.values()) == 9 + 10 + 4
    assert "4 left out" in splits.source
    assert splits.skipped[0].path
    assert splits.skipped[0].reason


def test_all_that_is_passed_over_is_listed(tmp_path):
    folder = make_folder(tmp_path, {"a": 5, "b": 5, "__MACOSX": 4, ".thumbnails": 4})
    photo = (folder / "a" / "000.png").read_bytes()
    (folder / "a" / ".DS_Store").write_bytes(b"x")
    (folder / "a" / "._000.png").write_bytes(b"x")
    (folder / "a" / "Thumbs.db").write_bytes(b"x")
    (folder / "b" / "PHOTO.PnG").write_bytes(changed := photo + b"\0")
    (folder / "b" / "no suffix").write_bytes(changed + b"\0")
    (folder / "labels.csv").write_text("a,b")
    (folder / "loose.png").write_bytes(photo)
    os.mkfifo(folder / "a" / "pipe")
    os.mkfifo(folder / "pipe")
    with pytest.warns(UserWarning) as caught:
        splits = kt.load_directory(folder, image_size=8)
    assert str(caught[0].message).startswith("2 file(s)")
    assert "loose.png: not in a class folder" in str(caught[0].message)
    assert "a/pipe: no regular file" in str(caught[0].message)
    assert sum(splits.counts.values()) == 12
    assert {*skipped(splits)} == {
        *("a/.DS_Store", "a/._000.png", "a/Thumbs.db", "a/pipe", "pipe"),
        *("labels.csv", "loose.png", "__MACOSX", ".thumbnails"),
    }
    assert f"{len(splits.skipped)} left out" in splits.source


@pytest.mark.filterwarnings("ignore:1 file")
def test_names_in_any_bytes(tmp_path):
    folder = make_folder(tmp_path / "photos", {"a": 4, "caf\u00e9": 3})
    make_folder(folder, {"cafe\u0301": 3}, seed=1)
    odd = os.fsdecode(b"z\xff")
    shutil.copytree(folder / "a", folder / odd)
    for index, file in enumerate(sorted((folder / odd).iterdir())):
        Image.new("RGB", (9, 9), (index, 0, 0)).save(file)
    (folder / odd / os.fsdecode(b"\xfe.txt")).write_text("no photo")
    splits = kt.load_directory(folder, image_size=8)
    # The same name, written with one letter or with two.
    assert splits.class_names == ("a", "cafe\u0301", "z\\udcff")
    assert [sum(column) for column in zip(*rows(splits).values(), strict=True)] == [
        4,
        6,
        4,
    ]
    "".join([*splits.class_names, splits.source, *skipped(splits)]).encode()
    again = getattr(kt, splits.loader["function"])(
        **json.loads(json.dumps(splits.loader["arguments"]))
    )
    assert again.fingerprint == splits.fingerprint


NAMES = [
    ("train", "validation", "test"),
    ("Training", "valid", "Testing"),
    ("seg_train", "seg_val", "seg_test"),
    ("train_images", "dev_images", "test_images"),
    ("TrainSet", "ValSet", "eval-set"),
    ("01 train", "02 eval", "03 test"),
]


@pytest.mark.parametrize("names", NAMES)
def test_given_splits_stay_as_they_are(tmp_path, names):
    sizes = ({"a": 5, "b": 6}, {"a": 2, "b": 1}, {"a": 1, "b": 3})
    make_splits(tmp_path, dict(zip(names, sizes, strict=True)))
    splits = kt.load_directory(tmp_path, image_size=8)
    assert splits.class_names == ("a", "b")
    assert rows(splits) == {"train": [5, 6], "validation": [2, 1], "test": [1, 3]}
    assert "train and validation and test as given" in splits.source
    assert splits.skipped == ()


@pytest.mark.parametrize(
    "names",
    [
        ("training_set", "test_set"),
        ("seg_train", "seg_test"),
        ("train", "evaluation"),
        ("train", "holdout"),
        ("trainval", "test"),
    ],
)
def test_a_missing_validation_split_is_taken_from_train(tmp_path, names, capsys):
    first, second = {"a": 20, "b": 40}, {"a": 3, "b": 2}
    make_splits(tmp_path, dict(zip(names, (first, second), strict=True)))
    splits = kt.load_directory(tmp_path, image_size=8)
    assert rows(splits) == {"train": [17, 34], "validation": [3, 6], "test": [3, 2]}
    said = "train and test as given, validation taken from train"
    assert said in splits.source
    assert said in capsys.readouterr().out
    parts = contents(splits)
    assert sum(map(len, parts.values())) == len(set.union(*parts.values())) == 65
    other = kt.load_directory(tmp_path, image_size=8, seed=1)
    assert contents(other)["test"] == parts["test"]
    assert contents(other)["validation"] != parts["validation"]
    again = kt.load_directory(**splits.loader["arguments"])
    assert again.fingerprint == splits.fingerprint
    more = kt.load_directory(tmp_path, image_size=8, fractions={"validation": 0.5})
    assert rows(more) == {"train": [10, 20], "validation": [10, 20], "test": [3, 2]}
    with pytest.raises(ValueError, match=r"Leave test out of fractions.*Received: "):
        kt.load_directory(tmp_path, image_size=8, fractions={"test": 0.5})


def test_a_missing_test_split_is_taken_from_train(tmp_path):
    make_splits(tmp_path, {"train": {"a": 20, "b": 20}, "val": {"a": 3, "b": 3}})
    splits = kt.load_directory(tmp_path, image_size=8)
    assert rows(splits) == {"train": [17, 17], "validation": [3, 3], "test": [3, 3]}
    assert "train and validation as given, test taken from train" in splits.source


def test_a_photo_in_two_given_splits_is_not_trained_on(tmp_path):
    parts = {
        "train": {"a": 9, "b": 9},
        "val": {"a": 3, "b": 3},
        "test": {"a": 3, "b": 3},
    }
    make_splits(tmp_path, parts)
    for name, origin in {"x.png": "val/a/000.png", "y.png": "test/a/000.png"}.items():
        (tmp_path / "train" / "a" / name).write_bytes((tmp_path / origin).read_bytes())
    (tmp_path / "val/b/z.png").write_bytes((tmp_path / "test/b/001.png").read_bytes())
    (tmp_path / "train/b/w.png").write_bytes((tmp_path / "test/a/002.png").read_bytes())
    with pytest.warns(UserWarning, match="tested on is not trained on") as caught:
        splits = kt.load_directory(tmp_path, image_size=8)
    assert str(caught[0].message).startswith("5 file(s)")
    assert skipped(splits) == {
        "train/a/x.png": "a copy of val/a/000.png, which is in validation",
        "train/a/y.png": "a copy of test/a/000.png, which is in test",
        "val/b/z.png": "a copy of test/b/001.png, which is in test",
        "test/a/002.png": "in two classes, also as train/b/w.png",
        "train/b/w.png": "in two classes, also as test/a/002.png",
    }
    assert rows(splits) == {"train": [9, 9], "validation": [3, 3], "test": [2, 3]}


def test_splits_in_the_folder_that_an_archive_made(tmp_path):
    for name in ("seg_train", "seg_test"):
        make_folder(tmp_path / name / name, {"a": 9, "b": 9}, seed=len(name))
    make_folder(tmp_path, {"seg_pred": 4}, seed=5)
    with pytest.warns(UserWarning, match="seg_pred: beside the splits"):
        splits = kt.load_directory(tmp_path, image_size=8)
    assert rows(splits)["test"] == [9, 9]
    assert "seg_pred" in skipped(splits)


def test_splits_inside_of_classes(tmp_path):
    sizes = {"train": 8, "test": 2}
    make_splits(tmp_path, {"cats": sizes, "dogs": sizes})
    splits = kt.load_directory(tmp_path, image_size=8)
    assert splits.class_names == ("cats", "dogs")
    assert rows(splits) == {"train": [7, 7], "validation": [1, 1], "test": [2, 2]}


def test_stray_photos_make_no_classes_of_splits(tmp_path):
    make_splits(tmp_path, {"train": {"a": 9, "b": 9}, "test": {"a": 3, "b": 3}})
    (tmp_path / "train" / "labels.csv").write_text("a")
    Image.new("RGB", (9, 9)).save(tmp_path / "train" / "stray.png")
    with pytest.warns(UserWarning, match="train/stray.png: not in a class folder"):
        splits = kt.load_directory(tmp_path, image_size=8)
    assert splits.class_names == ("a", "b")
    assert {*skipped(splits)} == {"train/labels.csv", "train/stray.png"}


def test_classes_of_the_names_train_and_test(tmp_path):
    folder = make_folder(tmp_path, {"train": 4, "test": 4})
    with pytest.warns(UserWarning, match="these are the classes: test, train"):
        splits = kt.load_directory(folder, image_size=8)
    assert splits.class_names == ("test", "train")


def test_classes_with_folders_in_them_stay_classes(tmp_path):
    make_splits(
        tmp_path / "1", {"cats": {"in": 3, "out": 3}, "dogs": {"in": 3, "x": 3}}
    )
    assert kt.load_directory(tmp_path / "1", image_size=8).class_names == (
        "cats",
        "dogs",
    )
    # The same folders in each, but photos right beside them as well.
    make_splits(
        tmp_path / "2", {"cats": {"in": 3, "out": 3}, "dogs": {"in": 3, "out": 3}}
    )
    Image.new("RGB", (9, 9)).save(tmp_path / "2" / "cats" / "x.png")
    splits = kt.load_directory(tmp_path / "2", image_size=8)
    assert splits.class_names == ("cats", "dogs")
    assert sum(splits.counts.values()) == 13
    # A vehicle, with kinds of it.
    make_splits(tmp_path / "3", {"train": {"steam": 3, "diesel": 3}})
    make_folder(tmp_path / "3", {"car": 3}, seed=9)
    assert kt.load_directory(tmp_path / "3", image_size=8).class_names == (
        "car",
        "train",
    )


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({"x": {"a": 3, "b": 3}, "y": {"a": 3, "b": 3}}, "which kind x, y is"),
        ({"train": {"a": 3, "b": 3}, "y": {"a": 3, "b": 3}}, "which kind y is"),
        ({"val": {"a": 3, "b": 3}, "test": {"a": 3, "b": 3}}, "one for train"),
        ({"train1": {"a": 3, "b": 3}, "train2": {"a": 3, "b": 3}}, "one for train"),
        (
            {"train": {"a": 3, "b": 3, "c": 3}, "test": {"a": 3, "b": 3}},
            "test has none of the name c",
        ),
        ({"train": {"a": 3, "b": 3}, "test": {}}, "test has none of the name a, b"),
        ({"train": {"a": 3, "b": 3}, "test": {"a": 1}}, r"none of the name b\. "),
        (
            {"train": {"a": 3, "b": 3}, "test": {"a": 3, "b": 0}},
            "no readable image of b in test",
        ),
        ({"train": {"a": 3, "b": 1}, "test": {"a": 3, "b": 3}}, "1 readable.* of b"),
    ],
)
def test_splits_that_cannot_be_taken(tmp_path, counts, message):
    (tmp_path / "test").mkdir()
    if "test" not in counts:
        (tmp_path / "test").rmdir()
    make_splits(tmp_path, counts)
    if counts.get("test") == {}:
        Image.new("RGB", (9, 9)).save(tmp_path / "test" / "unlabelled.png")
    with pytest.raises(ValueError, match=message) as caught:
        kt.load_directory(tmp_path, image_size=8)
    assert "Received: path=" in str(caught.value)
    if "which kind" in message or "one for" in message:
        assert split_names.UNDERSTOOD in str(caught.value)


def test_a_lone_split_folder_is_named(tmp_path):
    make_splits(tmp_path, {"train": {"a": 3, "b": 3}})
    with pytest.raises(ValueError, match=r"Pass .*train, which holds them"):
        kt.load_directory(tmp_path)


def test_fractions(tmp_path):
    folder = make_folder(tmp_path, {"a": 20, "b": 40})
    usual = kt.load_directory(folder, image_size=8)
    for same in (
        {"validation": 0.15, "test": 0.15},
        (0.7, 0.15, 0.15),
        np.array([0.7, 0.15, 0.15]),
        {"train": 0.7, "test": 0.15},
        {"test": 0.15},
    ):
        splits = kt.load_directory(folder, image_size=8, fractions=same)
        assert splits.fingerprint == usual.fingerprint
    splits = kt.load_directory(
        folder, image_size=8, fractions={"validation": 0.1, "test": 0.4}
    )
    assert rows(splits) == {"train": [10, 20], "validation": [2, 4], "test": [8, 16]}
    assert splits.fingerprint != usual.fingerprint
    arguments = json.loads(json.dumps(splits.loader["arguments"]))
    assert kt.load_directory(**arguments).fingerprint == splits.fingerprint
    few = make_folder(tmp_path / "few", {"a": 4, "b": 3}, seed=2)
    splits = kt.load_directory(few, image_size=8, fractions=(0.02, 0.49, 0.49))
    assert min(map(min, rows(splits).values())) == 1


@pytest.mark.parametrize(
    "fractions",
    [
        *(
            0.2,
            "0.2",
            (0.8, 0.2),
            (70, 15, 15),
            (0.7, 0.2, 0.2),
            (1.0, 0.0, 0.0),
            {},
            [],
        ),
        *({"dev": 0.1}, {"train": 0.7}, {"test": 0}, {"test": -0.1}, {"test": "0.1"}),
        *({"test": 1.0}, {"test": None}, {"validation": 0.5, "test": 0.5}, {3: 0.1}),
        {"validation": float("nan")},
    ],
)
def test_fractions_of_no_meaning(tmp_path, fractions):
    folder = make_folder(tmp_path, {"a": 4, "b": 4})
    with pytest.raises(ValueError, match="Received: fractions"):
        kt.load_directory(folder, image_size=8, fractions=fractions)


@pytest.mark.parametrize(
    "wrong",
    [
        *({"image_size": value} for value in (64.5, "64", -5, 0, (64, 32), None, True)),
        *({"batch_size": value} for value in (0, -1, 1.5, "8", None)),
        *({"max_images": value} for value in (0, -1, "3", 10.5, True)),
        *({"seed": value} for value in (-1, 1.5, None, "0")),
        *({"path": value} for value in (None, 5, "", b"photos", ["photos"])),
    ],
)
def test_wrong_arguments(tmp_path, wrong):
    folder = make_folder(tmp_path, {"a": 4, "b": 4})
    (name,) = wrong
    with pytest.raises(ValueError, match=f"{name} must be .*Received: {name}="):
        kt.load_directory(**({"path": folder, "image_size": 8} | wrong))


def test_arguments_in_other_forms(tmp_path, monkeypatch):
    folder = make_folder(tmp_path / "photos", {"a": 8, "b": 8})
    usual = kt.load_directory(folder, image_size=8, max_images=12, batch_size=4, seed=1)
    monkeypatch.setenv("HOME", str(tmp_path))
    for size in ((8, 8), [8, 8], 8.0, np.int64(8), np.uint8(8)):
        splits = kt.load_directory(
            "~/photos",
            image_size=size,
            max_images=np.int32(12),
            batch_size=np.int64(4),
            seed=np.int64(1),
        )
        assert splits.fingerprint == usual.fingerprint
        assert json.dumps(splits.loader) == json.dumps(usual.loader)


def test_what_was_checked_is_not_read_again(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_TRANSFER_DATA_DIR", str(tmp_path / "data"))
    folder = make_folder(tmp_path / "photos", {"a": 5, "b": 5})
    (folder / "a" / "notes.txt").write_text("text")
    with pytest.warns(UserWarning, match="notes.txt"):
        first = kt.load_directory(folder, image_size=8)
    looked_at = []

    def inspect(data):
        looked_at.append(data)
        return original(data)

    original = decoding.inspect
    monkeypatch.setattr(decoding, "inspect", inspect)
    with pytest.warns(UserWarning, match="notes.txt"):
        second = kt.load_directory(folder, image_size=8)
    assert not looked_at
    assert second.fingerprint == first.fingerprint
    assert second.skipped == first.skipped
    # Damaged with the same size, and given back its time.
    photo = folder / "b" / "002.png"
    times = photo.stat()
    data = bytearray(photo.read_bytes())
    data[data.index(b"IDAT") + 9] ^= 255
    photo.write_bytes(data)
    os.utime(photo, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.warns(UserWarning, match="b/002.png: truncated or damaged"):
        third = kt.load_directory(folder, image_size=8)
    assert len(looked_at) == 1
    assert third.fingerprint != first.fingerprint


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"\xff\xfe{",
        b"[]",
        b'{"version": 1, "folders": []}',
        b'{"version": 1, "folders": {"FOLDER": {"000.png": 3}}}',
        b'{"version": 1, "folders": {"FOLDER": {"000.png": [[1, 2, 3]]}}}',
        b'{"version": 1, "folders": {"FOLDER": [1]}}',
        b'{"version": 0, "folders": {"FOLDER": {}}}',
    ],
)
def test_a_damaged_record_is_none(tmp_path, monkeypatch, damage):
    folder = make_folder(tmp_path / "photos", {"a": 3, "b": 3})
    usual = kt.load_directory(folder, image_size=8)
    monkeypatch.setenv("KERAS_TRANSFER_DATA_DIR", str(tmp_path / "data"))
    record = tmp_path / "data" / checked_files.NAME
    record.parent.mkdir()
    record.write_bytes(damage.replace(b"FOLDER", os.fsencode(folder / "a")))
    assert kt.load_directory(folder, image_size=8).fingerprint == usual.fingerprint
    assert len(json.loads(record.read_bytes())["folders"]) == 2


def test_the_record_stays_small(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_TRANSFER_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setattr(checked_files, "MOST_FILES", 8)
    record = tmp_path / "data" / checked_files.NAME
    for name in ("first", "second"):
        kt.load_directory(make_folder(tmp_path / name, {"a": 3, "b": 3}), image_size=8)
    folders = json.loads(record.read_bytes())["folders"]
    assert [*folders] == [str(tmp_path / "second" / name) for name in "ab"]
    # Not what lay in folders that are gone.
    shutil.rmtree(tmp_path / "second")
    kt.load_directory(tmp_path / "first", image_size=8)
    folders = json.loads(record.read_bytes())["folders"]
    assert [*folders] == [str(tmp_path / "first" / name) for name in "ab"]


def test_without_a_place_for_the_record(tmp_path, monkeypatch, capsys):
    folder = make_folder(tmp_path / "photos", {"a": 3, "b": 3})
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("KERAS_TRANSFER_DATA_DIR", str(tmp_path / "file"))
    assert sum(kt.load_directory(folder, image_size=8).counts.values()) == 6
    assert "KERAS_TRANSFER_DATA_DIR" in capsys.readouterr().out
    # Nothing is written among the photos, where it would be one more class.
    monkeypatch.setenv("KERAS_TRANSFER_DATA_DIR", str(folder / "data"))
    for _ in range(2):
        assert kt.load_directory(folder, image_size=8).class_names == ("a", "b")


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize("harm", ["deleted", "cut", "replaced", "noise"])
def test_a_photo_that_is_gone_or_damaged_is_named(tmp_path, suffix, harm):
    folder = make_folder(tmp_path, {"a": 3, "b": 3})
    for file in folder.rglob("*.png"):
        Image.open(file).save(file.with_suffix(f".{suffix}"))
        if suffix != "png":
            file.unlink()
    splits = kt.load_directory(folder, image_size=8)
    for photo in folder.rglob(f"*.{suffix}"):
        data = photo.read_bytes()
        if harm == "deleted":
            photo.unlink()
        elif harm == "cut":
            photo.write_bytes(data[: len(data) // 2])
        elif harm == "noise":
            photo.write_bytes(bytes(len(data)))
        else:
            Image.new("RGB", (30, 20)).save(photo)
    said = (
        "No such file" if harm == "deleted" else "changed or damaged after its folder"
    )
    for read in (
        lambda: splits.arrays("test"),
        lambda: list(splits.ordered("train")),
        lambda: list(splits.train),
    ):
        with pytest.raises(tf.errors.OpError, match=said) as caught:
            read()
        assert str(folder) in caught.value.message
