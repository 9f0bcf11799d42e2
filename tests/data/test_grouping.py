"""Photos of one group, and near copies, stay in one split."""

import copy
import itertools
import json
import pathlib
import warnings

import numpy as np
import pytest
import sklearn.datasets
from PIL import Image

import keras_transfer as kt
from keras_transfer.data import grouping, near_copies, photo_files, thumbnails
from keras_transfer.data.splits import GROUP_IN_SPLIT, NEAR_SPLIT
from keras_transfer.workflow import report

SHARES = {"test": 0.15, "validation": 0.15}


@pytest.fixture(autouse=True)
def data_of_its_own(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("data")
    monkeypatch.setenv("KERAS_TRANSFER_DATA_DIR", str(folder))
    return folder


def photo(*seed):
    """Return an image with coarse and fine structure, like a photo."""
    rng, image = np.random.default_rng(seed), np.full((64, 64, 3), 128.0)
    for cells, strength in ((4, 50), (16, 30), (32, 20)):
        noise = rng.normal(0, strength, (cells, cells, 3))
        noise = np.kron(noise, np.ones((64 // cells, 64 // cells, 1)))
        image += noise
    return Image.fromarray(image.clip(0, 255).astype("uint8"))


def make(folder, counts):
    """Write photos of patients: `a/p0_3.png` is the fourth one of patient 0."""
    for number, (name, patients) in enumerate(counts.items()):
        (folder / name).mkdir(parents=True)
        for patient, count in enumerate(patients):
            for index in range(count):
                path = folder / name / f"p{number}{patient:02}_{index}.png"
                photo(number, patient, index).save(path)
    return folder


def where(splits):
    """Return the split of each photo by its path in the folder."""
    folder = splits.loader["arguments"]["path"]
    return {
        str(photo.path.relative_to(folder)): name
        for name, photos in splits.photos.items()
        for photo in photos
    }


def by_patient(splits):
    found = {}
    for path, split in where(splits).items():
        found.setdefault(path.split("/")[1].split("_")[0], set()).add(split)
    return found


PATIENTS = {"a": [5, 3, 4, 2, 6, 1, 1, 4, 5, 3], "b": [4] * 8}


def test_groups_stay_in_one_split(tmp_path, capsys):
    folder = make(tmp_path / "photos", PATIENTS)
    table = {
        str(path.relative_to(folder)): path.name.split("_")[0]
        for path in folder.rglob("*.png")
    }
    rows = "\n".join(f"{path},{name}" for path, name in table.items())
    csv = tmp_path / "groups.csv"
    csv.write_text(f"\ufeffpath,group\n{rows}\n", encoding="utf-8")
    absolute = {folder / path: name for path, name in table.items()}
    found = []
    for groups in (r"/(p\d+)_", r"p\d+", csv, absolute):
        splits = kt.load_directory(folder, image_size=8, groups=groups)
        assert all(len(names) == 1 for names in by_patient(splits).values())
        found.append(where(splits))
        again = json.loads(json.dumps(splits.loader["arguments"]))
        assert kt.load_directory(**again).fingerprint == splits.fingerprint
    assert all(each == found[0] for each in found)
    assert "18 groups kept together" in capsys.readouterr().out
    # Without them it is another split, and patients are in two.
    alone = kt.load_directory(folder, image_size=8)
    assert max(map(len, by_patient(alone).values())) > 1
    assert "kept together" not in alone.source
    for name, share in (("train", 0.7), ("validation", 0.15), ("test", 0.15)):
        labels = [photo.label for photo in splits.photos[name]]
        for label, patients in enumerate(PATIENTS.values()):
            count = labels.count(label)
            assert abs(count - share * sum(patients)) <= max(patients)


def near(folder, name, of, quality=60):
    """Save a photo again, smaller and brighter."""
    image = Image.open(folder / of).resize((56, 56)).point(lambda x: x * 1.1)
    image.save(folder / name, quality=quality)


def test_near_copies_stay_in_one_split(tmp_path):
    folder = make(tmp_path, {"a": [1] * 20, "b": [1] * 20})
    plain = kt.load_directory(folder, image_size=8)
    for index in range(6):
        near(folder, f"a/copy {index}.jpg", f"a/p00{index}_0.png")
    near(folder, "b/other class.jpg", "a/p007_0.png")
    for seed in range(2):
        splits = kt.load_directory(folder, image_size=8, seed=seed)
        found = where(splits)
        assert "14 near copies kept together" in splits.source
        for index in range(6):
            assert found[f"a/copy {index}.jpg"] == found[f"a/p00{index}_0.png"]
        assert found["b/other class.jpg"] == found["a/p007_0.png"]
        assert splits.counts == {"train": 33, "validation": 7, "test": 7}
    again = kt.load_directory(**splits.loader["arguments"])
    assert again.fingerprint == splits.fingerprint
    apart = kt.load_directory(folder, image_size=8, keep_copies_together=False)
    assert "kept together" not in apart.source
    # Where there are none, it is the split that it was.
    for path in folder.glob("*/*.jpg"):
        path.unlink()
    assert kt.load_directory(folder, image_size=8).fingerprint == plain.fingerprint


def test_photos_say_what_they_are_kept_together_with(tmp_path):
    folder = make(tmp_path, {"a": [2, 3, 1, 1], "b": [1] * 4})
    near(folder, "b/other class.jpg", "a/p002_0.png")

    def members(**options):
        splits = kt.load_directory(folder, image_size=8, **options)
        found = {}
        for photo in (photo for photos in splits.photos.values() for photo in photos):
            assert photo.group is None or type(photo.group) is int
            found.setdefault(photo.group, []).append(photo.path.name)
        alone = found.pop(None)
        return sorted(map(sorted, found.values())), len(alone)

    copies = ["other class.jpg", "p002_0.png"]
    assert members() == ([copies], 10)
    patients = [["p000_0.png", "p000_1.png"], [f"p001_{i}.png" for i in range(3)]]
    expression = r"p\d+|other"
    assert members(groups=expression) == ([copies, *patients], 5)
    assert members(groups=expression, keep_copies_together=False) == (patients, 7)


def test_a_class_of_too_few_groups_is_named(tmp_path):
    folder = make(tmp_path, {"a": [4, 4, 4], "b": [9, 3]})
    with pytest.raises(ValueError, match=r"at least 3 groups.*12 images of b in 2"):
        kt.load_directory(folder, image_size=8, groups=r"p\d+")
    for index in range(3):
        near(folder, f"b/copy {index}.jpg", f"b/p100_{index}.png")
    few = make(tmp_path / "few", {"a": [3], "b": [2]})
    near(few, "b/copy.jpg", "b/p100_0.png")
    with pytest.raises(ValueError, match=r"3 images of b in 2 group.*") as caught:
        kt.load_directory(few, image_size=8)
    assert "keep_copies_together=False" in str(caught.value)
    splits = kt.load_directory(few, image_size=8, keep_copies_together=False)
    assert sum(splits.counts.values()) == 6
    with pytest.raises(ValueError, match=r"12 images of a in 1 group"):
        kt.load_directory(make(tmp_path / "c", {"a": [12], "b": [9]}), groups="[ab]/")


def test_a_group_in_all_classes_that_leaves_none_for_a_split(tmp_path):
    folder = make(tmp_path, {"a": [2] * 3, "b": [2] * 3})
    table = {
        str(path.relative_to(folder)): (
            "x" if path.name[2:4] == "00" else path.name[:4]
        )
        for path in folder.rglob("*.png")
    }
    splits = kt.load_directory(folder, image_size=8, groups=table)
    for photos in splits.photos.values():
        assert {photo.label for photo in photos} == {0, 1}
    table = {path: name.replace("p001", "p101") for path, name in table.items()}
    table = {path: name.replace("p002", "p102") for path, name in table.items()}
    kt.load_directory(folder, image_size=8, groups=table)


def test_groups_of_given_splits(tmp_path):
    counts = {"train/a": [6, 6], "train/b": [6], "test/a": [1], "test/b": [2]}
    folder = make(tmp_path, counts)
    near(folder, "train/a/copy.jpg", "test/a/p200_0.png")
    with pytest.warns(UserWarning, match="tested on is not trained on"):
        splits = kt.load_directory(folder, image_size=8)
    assert dict(splits.skipped) == {
        "train/a/copy.jpg": "nearly the same as test/a/p200_0.png, which is in test"
    }
    assert [each.kind for each in splits.skipped] == [NEAR_SPLIT]
    assert copy.deepcopy(splits.skipped)[0].kind == NEAR_SPLIT
    assert splits.counts["test"] == 3
    table = {
        str(p.relative_to(folder)): p.parent.name + p.name for p in folder.rglob("*.*")
    }
    table |= {f"train/a/p001_{index}.png": "x" for index in range(6)}
    table["test/a/p200_0.png"] = "x"
    with pytest.warns(UserWarning, match="7 file"):
        splits = kt.load_directory(folder, image_size=8, groups=table)
    reason = "belongs to test/a/p200_0.png, which is in test"
    assert [each.reason for each in splits.skipped] == [reason] * 7
    assert report._reasons(splits.skipped) == [(GROUP_IN_SPLIT, 7)]
    assert sum(splits.counts.values()) == 15


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        ("(", "no regular expression"),
        ("nothing like it", "groups gives none of the photos a group: a/p000_0.png"),
        (r"a/(p\d+)", "3 of 6 photos have no group: b/p100_0.png"),
        ("()", "none of the photos"),
        ("", "must be a regular expression"),
        (3, "must be a regular expression"),
        (["a"], "must be a regular expression"),
        (True, "must be a regular expression"),
        ({}, "groups gives none"),
        ({"a/p000_0.png": 1}, "5 of 6 photos have no group"),
        ({"a/p000_0.png": None}, "must map paths"),
        ({1: "a"}, "must map paths"),
        ({"a/x.png": "1", "./a/x.png": "2"}, "can be in one group only"),
        ("none.csv", "cannot be read"),
        ("names.csv", "with the columns path and group"),
        ("empty.csv", "with the columns path and group"),
        ("bytes.csv", "in UTF-8"),
        ("two.csv", "can be in one group only, but a/p000_0.png is in 1 and in 2"),
        ("few.csv", "5 of 6 photos have no group"),
    ],
)
def test_groups_of_no_meaning(tmp_path, monkeypatch, groups, said):
    folder = make(tmp_path / "photos", {"a": [1] * 3, "b": [1] * 3})
    monkeypatch.chdir(tmp_path)
    (tmp_path / "names.csv").write_text("file,patient\na/p000_0.png,1\n")
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "bytes.csv").write_bytes(b"path,group\n\xff\xfe,1\n")
    (tmp_path / "two.csv").write_text("path,group\na/p000_0.png,1\na\\p000_0.png,2\n")
    (tmp_path / "few.csv").write_text("path,group\na/p000_0.png,1\na/p001_0.png,\n")
    with pytest.raises((ValueError, OSError), match=said) as caught:
        kt.load_directory(folder, image_size=8, groups=groups)
    assert "Received: groups=" in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "path;group\n{};1\n;\n",
        "\ufeffPath,Group\n{},1\n,,\n",
        "GROUP\tnote\t path \r\n1\tx\t{}\r\n",
    ],
    ids=["semicolons", "headings in capitals", "tabulators"],
)
def test_groups_that_a_spreadsheet_saved(tmp_path, text):
    groups = tmp_path / "groups.csv"
    groups.write_text(text.format("a/1.png"), "utf-8")
    found = grouping.read_groups(groups, tmp_path)
    assert found.find("a/1.png") == "1"
    assert found.find("b/1.png") is None


@pytest.mark.parametrize("keep", [None, "yes", 2])
def test_keep_copies_together_is_true_or_false(tmp_path, keep):
    with pytest.raises(ValueError, match="Received: keep_copies_together="):
        kt.load_directory(tmp_path, keep_copies_together=keep)


def test_names_of_photos_are_those_of_every_system():
    """A review that was written on Windows is read elsewhere."""
    place = pathlib.PureWindowsPath(r"C:\photos")
    file = photo_files.PhotoFile(place / "cat" / "1.jpg", 0, None, "", 0, True, None)
    assert photo_files.Folder(place, (), (), [], [], {}).name(file) == "cat/1.jpg"


def test_thumbnails_of_other_folders_are_left_alone(data_of_its_own, monkeypatch):
    one, two = pathlib.Path("/one"), pathlib.Path("/two")
    small = {f"{index:064x}": bytes([index] * 1024) for index in range(4)}
    thumbnails.keep(one, small)
    before = thumbnails.kept_at(one).stat()
    thumbnails.keep(two, {"f" * 64: bytes(1024)})
    assert thumbnails.kept_at(one).stat() == before
    assert thumbnails.read_kept(one, [*small][1:]) == dict([*small.items()][1:])
    assert thumbnails.read_kept(two, small) == {}
    monkeypatch.setattr(thumbnails, "MOST_BYTES", 2000)
    thumbnails.keep(two, small)
    assert len(thumbnails.read_kept(two, small)) == 4
    assert not thumbnails.kept_at(one).exists()


def random_units(rng):
    """Return labels and units: of one class or of several, small and large."""
    labels, units = [], []
    for unit in range(int(rng.integers(6, 40))):
        mixed = rng.random() < 0.2
        label = int(rng.integers(3))
        for _ in range(int(rng.choice([1, 1, 2, 3, 8]))):
            labels.append(int(rng.integers(3)) if mixed else label)
            units.append(unit)
    return np.array(labels), np.array(units)


def test_no_unit_is_ever_in_two_splits():
    rng, lacking = np.random.default_rng(0), 0
    for seed in range(100):
        labels, units = random_units(rng)
        pools = grouping.spread(labels, units, SHARES, seed)
        split = np.full(len(labels), "", "<U10")
        for name, classes in pools.items():
            for label, members in enumerate(classes):
                assert np.all(labels[members] == label)
                assert np.all(split[members] == "")
                split[members] = name
        assert np.all(split != "")
        for unit in np.unique(units):
            assert len({*split[units == unit]}) == 1
        for label in range(3):
            here = labels == label
            enough = len(np.unique(units[here])) >= 3
            lacking += enough and len({*split[here]}) < 3
    # Units of several classes can make it impossible, and seldom do.
    assert lacking < 4


def test_shares_are_met_where_there_are_many_groups():
    labels = np.repeat([0, 1], 600)
    units = np.arange(1200) // 4
    for shares in (SHARES, {"test": 0.3, "validation": 0.2}, {"test": 0.05}):
        pools = grouping.spread(labels, units, shares, 0)
        for name, share in shares.items():
            for members in pools[name]:
                assert abs(len(members) / 600 - share) < 0.03


def small(*images):
    pictures = [image.convert("L").resize((32, 32), 2).tobytes() for image in images]
    return thumbnails.pixels(pictures)


def test_pairs_within_one_set():
    images = [photo(index) for index in range(30)]
    changed = [
        images[3].resize((40, 40)),
        images[4].transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        images[5].point(lambda x: x * 0.5 + 20),
        images[5].convert("L"),
    ]
    found = near_copies.compared(small(*images, *changed)).pairs
    assert [pair[:2] for pair in found] == [
        (3, 30),
        (4, 31),
        (5, 32),
        (5, 33),
        (32, 33),
    ]
    assert all(0 <= pair.difference <= 0.4 for pair in found)
    groups = joined(found, 34)
    assert len({groups[5], groups[32], groups[33]}) == 1
    assert np.bincount(groups).max() == 3


def test_plain_pictures_resemble_nothing():
    flat = [
        Image.new("RGB", (8, 8), (each, each, each)) for each in (0, 9, 9, 200, 255)
    ]
    ramp = [Image.linear_gradient("L").point(lambda x, y=y: x // y) for y in (1, 2, 40)]
    assert near_copies.compared(small(*flat)).pairs == []
    found = near_copies.compared(small(*flat, *ramp)).pairs
    assert all(pair.first >= 5 for pair in found)
    assert near_copies.compared(small()).pairs == []


@pytest.mark.parametrize("side", [4, 15, 16, 32])
def test_small_pictures(tmp_path, side):
    """Below 16 pixels there is too little to compare; the rest is no copy by chance."""
    found = []
    for index in range(200):
        pixels = np.random.default_rng(index).integers(0, 256, (side, side, 3), "uint8")
        Image.fromarray(pixels).save(tmp_path / "a.png")
        found.append(thumbnails.thumbnail((tmp_path / "a.png").read_bytes()))
    assert near_copies.compared(thumbnails.pixels(found)).pairs == []
    pairs = near_copies.compared(thumbnails.pixels([*found, found[7]])).pairs
    assert [pair[:2] for pair in pairs] == ([(7, 200)] if side >= 16 else [])


def joined(pairs, count, labels=None):
    """Join photos of one class, if no other is named, in their order."""
    labels = np.zeros(count, int) if labels is None else np.array(labels)
    return near_copies.joined(pairs, labels, [f"{i}.jpg" for i in range(count)])


def chain(start, stop, difference=0.3):
    pairs = [(i, i + 1) for i in range(start, stop - 1)]
    return [near_copies.NearCopy(*pair, difference) for pair in pairs]


def test_a_long_chain_is_cut_into_runs_where_too_little_is_beside_it():
    assert np.bincount(joined(chain(0, 99, 0.001), 99)).max() == 99
    few = [*chain(0, 11), *chain(40, 91)]
    # All of a class, of which each split needs a part.
    groups = joined(chain(0, 99), 99)
    assert groups.tolist() == np.repeat([0, 1, 2], 33).tolist()
    assert near_copies.parted(chain(0, 99), groups) == 4
    # 51 of 100 may be trained on.
    sizes = np.bincount(joined(few, 100))
    assert sorted(sizes)[-3:] == [1, 11, 51]
    assert near_copies.parted(few, joined(few, 100)) == 0
    # Of two classes, too much of the smaller one.
    groups = joined(few, 100, np.repeat([0, 1], [40, 60]))
    assert sorted(np.bincount(groups))[-4:] == [11, 11, 20, 20]
    # Two chains that are a whole class.
    assert len({*joined(chain(0, 50) + chain(50, 100), 100)}) > 2
    # A copy at the other end stays with its photo.
    same = near_copies.NearCopy(3, 97, 0.0)
    groups = joined([*chain(0, 99), same], 99)
    assert groups[3] == groups[97]
    # Photos of one kind resemble others, not their neighbours.
    mixed = [near_copies.NearCopy(i, i + k, 0.3) for i in range(90) for k in (7, 9)]
    assert np.bincount(grouping.linked([pair[:2] for pair in mixed], 99)).max() > 30
    assert np.bincount(joined(mixed, 99)).max() == 1


@pytest.mark.parametrize("others", [0, 10, 30])
def test_frames_of_a_slow_pan_stay_in_one_split(tmp_path, others):
    folder = make(tmp_path, {"a": [1] * others, "b": [1] * 70})
    pixels = np.random.default_rng(0).normal(128, 40, (16, 38)).clip(0, 255)
    wide = Image.fromarray(np.kron(pixels, np.ones((8, 8))).astype("uint8"))
    for index in range(60):
        frame = wide.crop((index, 0, index + 128, 128)).resize((64, 64))
        frame.save(folder / "a" / f"pan {index}.png")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        splits = kt.load_directory(folder, image_size=8)
    found = where(splits)
    in_order = [found[f"a/pan {index}.png"] for index in range(60)]
    borders = sum(a != b for a, b in itertools.pairwise(in_order))
    told = [str(each.message) for each in caught if "groups=" in str(each.message)]
    assert len(told) == (not others)
    assert ("in two splits: pass groups=" in splits.source) == (not others)
    assert (borders == 2) if not others else (in_order == ["train"] * 60)
    counts = [[p.label for p in s].count(0) for s in splits.photos.values()]
    assert min(counts) >= 5
    if not others:
        return
    named = {path: "pan" if "pan" in path else path for path in found}
    splits = kt.load_directory(folder, image_size=8, groups=named)
    found = where(splits)
    assert len({found[f"a/pan {index}.png"] for index in range(60)}) == 1
    assert "pass groups" not in splits.source


def test_pictures_of_one_kind_are_no_copies_of_each_other():
    """Handwritten digits: 84,000 pairs of 1,797 pass, and in chains they are one."""
    pixels = sklearn.datasets.load_digits().images
    digits = [Image.fromarray((each * 15).astype("uint8")) for each in pixels]
    digits.append(digits[9].point(lambda x: x * 0.9))
    found, all_compared = near_copies.compared(small(*digits))
    assert not all_compared
    assert len(found) <= near_copies.MOST_COPIES * len(digits)
    groups = joined(found, len(digits))
    assert groups[9] == groups[-1]
    assert np.bincount(groups).max() <= near_copies.MOST_TOGETHER
    assert len({*groups}) > 0.75 * len(digits)


def test_blocks_change_nothing(monkeypatch):
    pictures = small(*map(photo, range(40)), *map(photo, range(20)))
    expected = near_copies.compared(pictures)
    assert expected.all_compared
    assert [pair[:2] for pair in expected.pairs] == [(i, 40 + i) for i in range(20)]
    monkeypatch.setattr(near_copies, "ROWS", 7)
    monkeypatch.setattr(near_copies, "COLUMNS", 11)
    monkeypatch.setattr(near_copies, "PAIRS", 3)
    assert near_copies.compared(pictures) == expected


def test_what_was_compared_is_kept(tmp_path, data_of_its_own, monkeypatch):
    folder = make(tmp_path, {"a": [1] * 4, "b": [1] * 4})
    near(folder, "a/copy.jpg", "a/p000_0.png")
    monkeypatch.setattr(near_copies, "LEAST_KEPT", 2)
    first = kt.load_directory(folder, image_size=8)
    kept = data_of_its_own / near_copies.NAME
    small_ones = thumbnails.kept_at(folder)
    whole, small_whole = kept.read_bytes(), small_ones.read_bytes()
    monkeypatch.setattr(near_copies, "compared", lambda pictures: pytest.fail("again"))
    monkeypatch.setattr(thumbnails, "thumbnail", lambda data: pytest.fail("again"))
    assert kt.load_directory(folder, image_size=8).fingerprint == first.fingerprint
    monkeypatch.undo()
    monkeypatch.setenv("KERAS_TRANSFER_DATA_DIR", str(data_of_its_own))
    for harm in (b"", b"{}", b"[1]", whole.replace(b"[0, 4,", b"[0, 400,"), whole[:-9]):
        kept.write_bytes(harm)
        small_ones.write_bytes(harm)
        assert kt.load_directory(folder, image_size=8).fingerprint == first.fingerprint
        assert small_ones.read_bytes() == small_whole
