"""A folder with one subfolder a class becomes splits that share no image."""

import numpy as np
import pytest
from PIL import Image

import keras_transfer as kt


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
        ({"train": 3, "test": 3}, ValueError, "splits, not classes"),
    ],
)
def test_wrong_folders(tmp_path, counts, error, message):
    with pytest.raises(error, match=message) as caught:
        kt.load_directory(make_folder(tmp_path, counts))
    assert "Received: " in str(caught.value)
    assert "splits, not classes" in message or "Ways out" in str(caught.value)


def test_missing_folder(tmp_path):
    with pytest.raises(NotADirectoryError, match="Received: path="):
        kt.load_directory(tmp_path / "nowhere")
