"""TFDS data sets become splits: sliced first, capped afterwards, never overlapping."""

import itertools
import json
import pathlib

import numpy as np
import pytest
import tensorflow_datasets as tfds

import keras_transfer as kt
from keras_transfer.data import tfds as datasets


class NumberedImages(tfds.core.GeneratorBasedBuilder):
    """Images that hold their own number, with the splits that a test asks for."""

    VERSION = tfds.core.Version("1.0.0")
    SPLITS = {"train": 200}
    LABELED = True

    def _info(self):
        features = tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(shape=(None, None, 3)),
                "label": tfds.features.ClassLabel(names=["even", "odd"]),
            }
        )
        keys = ("image", "label") if self.LABELED else None
        return tfds.core.DatasetInfo(
            builder=self, features=features, supervised_keys=keys
        )

    def _split_generators(self, dl_manager):
        return {
            name: self._generate_examples(offset * 256, count)
            for offset, (name, count) in enumerate(self.SPLITS.items())
        }

    def _generate_examples(self, start, count):
        for number in range(start, start + count):
            image = np.full((8, 8, 3), number % 256, "uint8")
            image[..., 1] = number // 256 * 50
            yield number, {"image": image, "label": number % 2}


class WithTest(NumberedImages):
    """`train` and `test` are official."""

    SPLITS = {"train": 100, "test": 40}


class WithAll(NumberedImages):
    """All three are official."""

    SPLITS = {"train": 60, "validation": 20, "test": 20}


class Tiny(NumberedImages):
    """Fifteen percent of it are less than half an image."""

    SPLITS = {"train": 3}


class OnlyTest(NumberedImages):
    """A lone split with the name of an official one."""

    SPLITS = {"test": 100}


class OnlyValidation(NumberedImages):
    """The same with another name."""

    SPLITS = {"validation": 100}


class OtherNames(NumberedImages):
    """Official splits that are named in other words, and one that is none."""

    SPLITS = {"training": 60, "val": 20, "testing": 10, "extra": 30}


class Unlabeled(NumberedImages):
    """No image and label named as the supervised pair."""

    LABELED = False


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Return what prepares a data set once and says in which folder."""
    folder = tmp_path_factory.mktemp("tfds")

    def prepare(builder):
        builder(data_dir=folder).download_and_prepare()
        return folder

    return prepare


@pytest.fixture
def load(prepared, monkeypatch):
    def load(builder, **arguments):
        folder = prepared(builder)
        monkeypatch.setenv("TFDS_DATA_DIR", str(folder))
        arguments = {"image_size": 8, "data_dir": folder} | arguments
        return kt.load_dataset(builder.name, **arguments)

    return load


def numbers(splits):
    return {
        name: [
            int(image[0, 0, 0]) + int(image[0, 0, 1]) // 50 * 256
            for image in splits.arrays(name)[0]
        ]
        for name in ("train", "validation", "test")
    }


def test_slices_are_disjoint_complete_and_repeatable(load):
    splits = load(NumberedImages)
    assert splits.counts == {"train": 140, "validation": 30, "test": 30}
    assert splits.class_names == ("even", "odd")
    found = numbers(splits)
    assert sorted(itertools.chain(*found.values())) == list(range(200))
    assert numbers(load(NumberedImages)) == found
    labels = splits.arrays("test")[1]
    assert np.array_equal(labels, np.array(found["test"]) % 2)


def test_a_test_image_of_one_cap_is_never_a_training_image_of_another(load):
    whole = numbers(load(NumberedImages))
    for max_images in (10, 50, 199):
        splits = load(NumberedImages, max_images=max_images)
        assert sum(splits.counts.values()) <= max_images
        for name, kept in numbers(splits).items():
            assert set(kept) <= set(whole[name])
            assert len(kept) == splits.counts[name] > 0


def test_official_splits_are_kept(load):
    splits = load(WithTest)
    assert splits.counts == {"train": 85, "validation": 15, "test": 40}
    found = numbers(splits)
    assert sorted(found["test"]) == list(range(256, 296))
    assert sorted(found["train"] + found["validation"]) == list(range(100))
    splits = load(WithAll)
    assert splits.counts == {"train": 60, "validation": 20, "test": 20}


@pytest.mark.parametrize("only", [OnlyTest, OnlyValidation])
def test_a_lone_split_is_sliced_like_train(load, only):
    splits = load(only)
    assert splits.counts == {"train": 70, "validation": 15, "test": 15}
    found = numbers(splits)
    assert sorted(itertools.chain(*found.values())) == list(range(100))


def test_only_training_is_shuffled(load):
    splits = load(NumberedImages, batch_size=16)

    def order(dataset):
        return [int(image[0, 0, 0]) for images, _ in dataset for image in images]

    assert order(splits.train) != order(splits.train)
    assert sorted(order(splits.train)) == sorted(numbers(splits)["train"])
    assert order(splits.validation) == numbers(splits)["validation"]
    again = load(NumberedImages, batch_size=16)
    splits = load(NumberedImages, batch_size=16)
    assert order(again.train) == order(splits.train)


def test_fingerprint_changes_with_what_it_stands_for(load):
    first = load(NumberedImages).fingerprint
    assert load(NumberedImages).fingerprint == first
    assert load(NumberedImages, image_size=9).fingerprint != first
    assert load(NumberedImages, max_images=100).fingerprint != first
    assert load(WithAll).fingerprint != first


def test_data_set_without_labels(load):
    with pytest.raises(ValueError, match="one class label an example"):
        load(Unlabeled)


def test_unknown_name_lists_the_ways_out():
    with pytest.raises(kt.DatasetUnavailableError) as caught:
        kt.load_dataset("no_such_data_set")
    for part in ("TFDS_DATA_DIR", "load_directory", "quick", "Received: name=no_such"):
        assert part in str(caught.value)


class _Unreachable(NumberedImages):
    """Its download breaks."""

    name = "unreachable"

    def _split_generators(self, dl_manager):
        raise ConnectionError("no route to host")


def test_broken_download_is_one_clear_error(tmp_path, capsys):
    with pytest.raises(kt.DatasetUnavailableError) as caught:
        datasets._download(_Unreachable(data_dir=tmp_path), "unreachable")
    assert "no route to host" in str(caught.value)
    assert "Ways out" in str(caught.value)
    assert "disk" in capsys.readouterr().out
    assert not list(tmp_path.rglob("*.tfrecord*"))


def test_without_a_network_the_error_comes_at_once(tmp_path, monkeypatch, capsys):
    url = "http://127.0.0.1:9/archive.zip"
    size = tfds.download.checksums.UrlInfo(3_000_000, checksum="", filename="a.zip")
    monkeypatch.setattr(_Unreachable, "url_infos", {url: size})
    monkeypatch.setattr(
        _Unreachable, "download_and_prepare", lambda self: pytest.fail("tried")
    )
    with pytest.raises(kt.DatasetUnavailableError, match="refused"):
        datasets._download(_Unreachable(data_dir=tmp_path), "unreachable")
    assert "3 MB" in capsys.readouterr().out


def test_too_little_room_is_said_before_the_download(tmp_path, monkeypatch):
    builder = _Unreachable(data_dir=tmp_path)
    usage = type("Usage", (), {"free": -1})
    monkeypatch.setattr(datasets.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(kt.DatasetUnavailableError, match="not enough room"):
        datasets._download(builder, "unreachable")


def test_profile_gives_size_cap_and_samples(capsys):
    splits = kt.load_dataset("cats_vs_dogs", kt.profile("quick"), max_images=60)
    assert splits.name == "sample_cats_vs_dogs"
    assert splits.class_names == ("cat", "dog")
    assert splits.image_size == 128
    assert sum(splits.counts.values()) <= 60
    printed = capsys.readouterr().out
    assert "drawn images stand for cats_vs_dogs" in printed
    assert splits.source in printed


@pytest.mark.parametrize("arguments", [{"max_images": 2}])
def test_wrong_arguments(load, arguments):
    with pytest.raises(ValueError, match="Received: max_images=2"):
        load(NumberedImages, **arguments)


@pytest.mark.parametrize(
    "wrong",
    [
        *({"image_size": value} for value in (64.5, "64", -5, 0, (64, 32), True)),
        *({"batch_size": value} for value in (0, 1.5, "8", None)),
        *({"max_images": value} for value in (0, -1, "3", 10.5)),
        *({"seed": value} for value in (-1, 1.5, None, "0")),
        *({"name": value} for value in (None, 5, pathlib.Path("photos"), ["mnist"])),
        *({"profile": value} for value in ("quick", 128, {})),
        *({"data_dir": value} for value in (5, "", b"data")),
        *({"fractions": value} for value in (0.2, {"dev": 0.1}, {"test": 1})),
    ],
)
def test_arguments_that_say_nothing(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=f"{name}.* must .*Received: {name}"):
        kt.load_dataset(**({"name": "sample_flowers"} | wrong))


@pytest.mark.parametrize(
    "name", ["", "a b", "mnist/none", "mnist:9.9.9", "huggingface:mnist", "../mnist"]
)
def test_names_that_are_none(name):
    with pytest.raises(kt.DatasetUnavailableError, match="Received: name="):
        kt.load_dataset(name)


def test_arguments_in_other_forms(load, prepared, monkeypatch):
    usual = load(NumberedImages, max_images=50, batch_size=4, seed=1)
    folder = prepared(NumberedImages)
    monkeypatch.setenv("HOME", str(folder.parent))
    splits = kt.load_dataset(
        "numbered_images",
        image_size=(8, 8),
        max_images=np.int32(50),
        batch_size=np.int64(4),
        seed=np.int64(1),
        data_dir=f"~/{folder.name}",
    )
    assert splits.fingerprint == usual.fingerprint
    assert json.dumps(splits.loader) == json.dumps(usual.loader)


def test_fractions(load):
    usual = load(NumberedImages)
    assert load(NumberedImages, fractions=(0.7, 0.15, 0.15)).fingerprint == (
        usual.fingerprint
    )
    splits = load(NumberedImages, fractions={"validation": 0.05, "test": 0.4})
    assert splits.counts == {"train": 110, "validation": 10, "test": 80}
    found = numbers(splits)
    assert sorted(itertools.chain(*found.values())) == list(range(200))
    assert kt.load_dataset(**splits.loader["arguments"]).fingerprint == (
        splits.fingerprint
    )
    splits = load(WithTest, fractions={"validation": 0.5})
    assert splits.counts == {"train": 50, "validation": 50, "test": 40}
    with pytest.raises(ValueError, match="Leave test out of fractions"):
        load(WithTest, fractions={"test": 0.5})


def test_splits_are_known_by_what_their_names_mean(load):
    splits = load(OtherNames)
    assert splits.counts == {"train": 60, "validation": 20, "test": 10}
    assert splits.skipped == (
        ("extra", "neither a train, nor a validation, nor a test split by its name"),
    )
    assert splits.source.endswith("; 30 left out")


def test_what_a_cap_leaves_out_is_listed(load):
    splits = load(NumberedImages, max_images=100)
    assert splits.source.endswith("; 100 left out by max_images")
    assert dict(splits.skipped) == {
        "train[70:140]": "70 beyond max_images=100",
        "train[155:170]": "15 beyond max_images=100",
        "train[185:200]": "15 beyond max_images=100",
    }
    assert load(NumberedImages).skipped == ()
    with pytest.warns(UserWarning, match="max_images=4 leaves no image of"):
        load(NumberedImages, max_images=4)


def test_too_few_images_for_three_splits(load):
    with pytest.raises(ValueError, match="at least one image in each split"):
        load(Tiny)


def test_unknown_split(load):
    with pytest.raises(ValueError, match="Received: split=dev"):
        load(WithAll).ordered("dev")
