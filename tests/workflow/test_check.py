"""Planted faults are found, and a review makes the copy that somebody decided on."""

import csv
import dataclasses
import json
import os
import re
import shutil

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter

import keras_transfer as kt
from keras_transfer.cli import main as command_line
from keras_transfer.data.photo_files import read_folder
from keras_transfer.runtime import csv_tables
from keras_transfer.runtime.sampling import in_turn
from keras_transfer.samples import draw_cats_vs_dogs
from keras_transfer.workflow import folder_check, photo_quality, review, wrong_labels
from keras_transfer.workflow.suspicions import KINDS
from tests.helpers.small_networks import small_classifier

# What a table, a console and a file system may stumble over.
ODD_FILE = 'cat/=1+1, "odd"\nü.png'
ODD = ODD_FILE.replace("\n", r"\n")
FAULTS = {
    "unreadable": {"dog/notes.jpg"},
    "in two classes": {"cat/004.png", "dog/twin.png"},
    "near copy in another class": {"cat/006.png", "dog/resized.jpg"},
    "wrong label": {"dog/058.png", ODD},
    "near copy": {"dog/003.png", "dog/mirrored.png"},
    "copy": {"dog/copy.png"},
    "blank": {"cat/blank.png"},
    "dark": {"cat/008.png"},
    "blurred": {"dog/015.png"},
    "tiny": {"cat/010.png"},
    "odd shape": {"dog/011.png"},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Draw cats and dogs, and plant every fault once."""
    photos = tmp_path_factory.mktemp("drawn") / "photos"
    for name in ("cat", "dog"):
        (photos / name).mkdir(parents=True)
    for number, (image, label) in enumerate(draw_cats_vs_dogs(80, seed=0)):
        image.save(photos / ("cat", "dog")[label] / f"{number:03}.png")

    def change(name, how, new=None):
        how(Image.open(photos / name)).save(photos / (new or name))

    (photos / "cat" / "058.png").rename(photos / "dog" / "058.png")
    (photos / "dog" / "059.png").rename(photos / ODD_FILE)
    change("cat/008.png", lambda image: ImageEnhance.Brightness(image).enhance(0.1))
    change("dog/015.png", lambda image: image.filter(ImageFilter.GaussianBlur(12)))
    change("cat/010.png", lambda image: image.resize((16, 16)))
    change("dog/011.png", lambda image: image.resize((300, 60)))
    change("cat/006.png", lambda image: image.resize((120, 100)), "dog/resized.jpg")
    mirror = Image.Transpose.FLIP_LEFT_RIGHT
    change("dog/003.png", lambda image: image.transpose(mirror), "dog/mirrored.png")
    Image.new("RGB", (160, 160), "grey").save(photos / "cat" / "blank.png")
    (photos / "dog" / "notes.jpg").write_text("no photo")
    shutil.copy(photos / "cat" / "004.png", photos / "dog" / "twin.png")
    shutil.copy(photos / "dog" / "005.png", photos / "dog" / "copy.png")
    (photos / "readme.png").write_bytes((photos / "dog" / "007.png").read_bytes())
    return photos


@pytest.fixture(scope="module")
def check(folder):
    return kt.check_directory(folder, image_size=160)


@pytest.fixture
def written(check, tmp_path):
    check.write(tmp_path / "review")
    return tmp_path / "review" / "review.csv"


def decide(path, decisions):
    """Fill in some decisions, as somebody would."""
    rows = [*csv.reader(path.open(encoding="utf-8-sig", newline=""))]
    names = [csv_tables.unmarked(row[0]) for row in rows]
    for name, decision in decisions.items():
        rows[names.index(name)][5] = decision
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file).writerows(rows)


def state(folder):
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_planted_faults_are_found(check):
    found = {kind: {x.path for x in each} for kind, each in check.kinds.items()}
    for kind, paths in FAULTS.items():
        assert paths <= found.get(kind, set()), (kind, found.get(kind))
    assert found["passed over"] == {"readme.png"}
    assert set(found) <= set(KINDS)
    # Of 80 drawings without a fault, few are listed.
    innocent = {x.path for x in check.suspicions if x.path}
    innocent -= set().union(*FAULTS.values(), {"readme.png"})
    assert len(innocent) <= 4, innocent
    assert check.not_examined == {}
    assert sum(check.counts.values()) == 80 + 5


def test_each_suspicion_says_what_to_do(check):
    by_name = {(x.kind, x.path): x for x in check.suspicions}
    wrong = by_name["wrong label", "dog/058.png"]
    assert wrong.suggestion == "cat"
    assert re.search(r"says cat \d+ %, dog \d+ %", wrong.evidence)
    assert by_name["in two classes", "dog/twin.png"].suggestion == "drop"
    assert by_name["in two classes", "cat/004.png"].suggestion == "keep"
    near = by_name["near copy", "dog/mirrored.png"]
    assert near.other == "dog/003.png"
    assert "(difference 0.0" in near.evidence
    scores = [x.score for x in check.kinds["wrong label"]]
    assert scores == sorted(scores, reverse=True)


def test_it_prints_shows_and_is_json(check):
    text = str(check)
    assert text.startswith("photos: 85 readable photos of 2 classes; ")
    assert "wrong label" in text and "dog/058.png: a probe" in text
    page = check._repr_html_()
    assert 1 <= page.count("data:image/jpeg;base64,") <= 48
    kept = json.loads(json.dumps(check.to_dict()))
    assert kept["counts"] == check.counts
    assert {x["kind"] for x in kept["suspicions"]} == set(check.kinds)


def test_the_review_has_a_row_for_each_photo_and_no_formula(check, written):
    data = written.read_bytes()
    assert data.startswith(b"\xef\xbb\xbf")  # By which Excel knows UTF-8.
    rows = [*csv.reader(written.open(encoding="utf-8-sig", newline=""))]
    assert tuple(rows[0]) == review.COLUMNS
    names = [row[0] for row in rows[1:]]
    assert len(names) == len(set(names)) and ODD in names
    assert all(row[5] == "" for row in rows[1:])
    assert "readme.png" not in names
    page = written.with_name("review.html").read_text("utf-8")
    assert "http" not in re.sub(r"data:[^\"]+", "", page)
    assert "&#34;odd&#34;" in page


@pytest.mark.parametrize("name", ["=1+1", "+a", "-a", "@a", "'=a", "'a", "a,b", 'a"b'])
def test_a_name_survives_the_table(name):
    marked = csv_tables.marked(name)
    assert not marked.startswith(csv_tables.FORMULA)
    assert csv_tables.unmarked(marked) == name


def test_a_review_makes_a_cleaned_copy(folder, check, written, tmp_path):
    before = state(folder)
    decide(
        written,
        {
            "dog/058.png": "cat",
            ODD: "dog",
            "dog/twin.png": "Drop",
            "cat/008.png": "keep",
            "dog/copy.png": "drop",
        },
    )
    cleaned = kt.apply_review(folder, written, tmp_path / "clean")
    assert state(folder) == before
    assert cleaned[1:5] == (81, 2, 2, ("dog/notes.jpg",))
    named = {each.path for each in check.suspicions if each.path}
    assert cleaned.undecided == len(named - {"readme.png", "dog/notes.jpg"}) - 5
    found = {str(x.relative_to(cleaned.path)) for x in cleaned.path.rglob("*.*")}
    there = {f"cat/{name}" for name in ("058.png", "008.png", "004.png")}
    assert there | {ODD_FILE.replace("cat/", "dog/")} <= found
    assert not found & {"dog/058.png", "dog/twin.png", "dog/notes.jpg", "readme.png"}
    # A link takes no room.
    assert (cleaned.path / "cat" / "058.png").samefile(folder / "dog" / "058.png")
    assert len(read_folder(cleaned.path).files) == 83


def small_folder(path, *names):
    """Write small photos that differ, under these names."""
    for number, name in enumerate(names):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), "uint8")
        Image.fromarray(pixels).save(path / name, "PNG")
    return path


def write_decisions(path, *rows, head="path,class,decision"):
    path.write_text("\n".join([head, *rows]), "utf-8")
    return path


def names_in(folder):
    return sorted(str(x.relative_to(folder)) for x in folder.rglob("*") if x.is_file())


def test_nothing_is_overwritten_and_splits_are_kept(tmp_path):
    names = ["train/a/1.png", "train/a/2.png", "train/b/1.png", "train/b/1-2.png"]
    photos = small_folder(tmp_path / "p", *names, "val/a/1.png", "val/b/sub/1.png")
    rows = ["train/a/1.png,a,b", "val/b/sub/1.png,b,a"]
    kt.apply_review(photos, write_decisions(tmp_path / "r.csv", *rows), tmp_path / "c")
    assert names_in(tmp_path / "c") == [
        *("train/a/2.png", "train/b/1-2.png", "train/b/1-3.png", "train/b/1.png"),
        *("val/a/1.png", "val/a/sub/1.png"),
    ]
    moved = tmp_path / "c" / "train" / "b" / "1-3.png"
    assert moved.read_bytes() == (photos / "train" / "a" / "1.png").read_bytes()


def test_classes_that_hold_their_splits_keep_them(tmp_path):
    names = [f"{c}/{s}/1.png" for c in "ab" for s in ("train", "test")]
    photos = small_folder(tmp_path / "p", *names, "a/train/2.png")
    review_csv = write_decisions(tmp_path / "r.csv", "a/train/2.png,a,b")
    kt.apply_review(photos, review_csv, tmp_path / "c")
    assert names_in(tmp_path / "c") == sorted([*names, "b/train/2.png"])


def test_a_copy_is_made_where_there_are_no_links(tmp_path, monkeypatch):
    photos = small_folder(tmp_path / "p", "a/1.png", "b/1.png")

    def refuse(*arguments):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    kt.apply_review(photos, write_decisions(tmp_path / "r.csv"), tmp_path / "c")
    assert names_in(tmp_path / "c") == ["a/1.png", "b/1.png"]


def test_what_a_spreadsheet_saves_is_read(tmp_path):
    photos = small_folder(tmp_path / "p", "a/1.png", "b/1.png", "b/=2.png")
    table = write_decisions(
        tmp_path / "r.csv",
        "b/1.png;b;A",
        "b/=2.png;b; drop ",
        ";;",
        head="path;class;decision",
    )
    with pytest.raises(ValueError, match="Did you mean a"):
        kt.apply_review(photos, table, tmp_path / "c")
    table.write_text(table.read_text().replace(";A", ";a"), "utf-8-sig")
    kt.apply_review(photos, table, tmp_path / "c")
    assert names_in(tmp_path / "c") == ["a/1-2.png", "a/1.png"]


def test_photos_without_a_decision_are_counted(tmp_path, capsys):
    photos = small_folder(tmp_path / "p", "a/1.png", "a/2.png", "b/1.png", "b/2.png")
    (photos / "b" / "3.png").write_bytes(b"")
    rows = ["a/1.png,a,", "a/2.png,a, ", "b/2.png,b,keep", "b/3.png,b,", "b/1.png,b,"]
    table = write_decisions(tmp_path / "r.csv", *rows, "b/1.png,b,a")
    cleaned = kt.apply_review(photos, table, tmp_path / "c")
    assert cleaned.undecided == 2
    said = capsys.readouterr().out
    assert "2 suspected photos have no decision and stay as they are" in said
    table = write_decisions(tmp_path / "r.csv", *rows[2:3])
    assert kt.apply_review(photos, table, tmp_path / "d").undecided == 0
    assert "no decision" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("rows", "head", "said"),
    [
        (["a/9.png,a,drop"], None, "no such photo"),
        (["a/1.png,b,drop"], None, "in the class a and not in b"),
        (["a/1.png,a,remove"], None, "Expected keep, drop or a class"),
        (["a/1.png,a,c"], None, "For a new class make a folder"),
        (["a/1.png,a,drop", "a/1.png,a,b"], None, "Two decisions"),
        (["a/1.png,a,drop", "b/1.png,b,drop"], None, "No photo would be left"),
        (["a/1.png"], "path", "without class, decision"),
        ([], "", "without class, decision, path"),
    ],
)
def test_a_review_that_does_not_fit_is_refused(tmp_path, rows, head, said):
    photos = small_folder(tmp_path / "p", "a/1.png", "b/1.png")
    head = "path,class,decision" if head is None else head
    table = write_decisions(tmp_path / "r.csv", *rows, head=head)
    with pytest.raises(ValueError, match=said) as error:
        kt.apply_review(photos, table, tmp_path / "c")
    assert "Received: review=" in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "c").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p", "r.csv"]


def test_the_copy_lies_elsewhere(tmp_path):
    photos = small_folder(tmp_path / "p", "a/1.png", "b/1.png")
    table = write_decisions(tmp_path / "r.csv")
    with pytest.raises(ValueError, match="outside of the folder"):
        kt.apply_review(photos, table, photos / "a" / "clean")
    with pytest.raises(FileExistsError, match="something at this path"):
        kt.apply_review(photos, table, photos / "a")
    with pytest.raises(FileNotFoundError, match="no review"):
        kt.apply_review(photos, tmp_path / "none.csv", tmp_path / "c")
    table.write_bytes("path,class,decision\ncafé.png,a,drop".encode("cp1252"))
    with pytest.raises(ValueError, match="CSV UTF-8"):
        kt.apply_review(photos, table, tmp_path / "c")


def test_a_class_named_as_a_decision_is_not_guessed_at(tmp_path):
    photos = small_folder(tmp_path / "p", "drop/1.png", "rain/1.png")
    table = write_decisions(tmp_path / "r.csv", "rain/1.png,rain,drop")
    with pytest.raises(ValueError, match="Rename the folder of the class"):
        kt.apply_review(photos, table, tmp_path / "c")


def test_a_class_with_spaces_around_its_name_can_be_decided_for(tmp_path):
    photos = small_folder(tmp_path / "p", *(f"{c}/1.png" for c in (" sun", "é", "b")))
    decided = '"b/1.png",b," sun"'
    for number, decision in enumerate((decided, "b/1.png,b,sun", "b/1.png,b,e\u0301")):
        table = write_decisions(tmp_path / "r.csv", decision)
        copy = kt.apply_review(photos, table, tmp_path / str(number)).path
        there = copy / ("é" if "\u0301" in decision else " sun") / "1-2.png"
        assert there.is_file()
    small_folder(tmp_path / "q", "sun/1.png", " sun/1.png", "sun /1.png", "b/1.png")
    for decision, name in ((" sun", " sun"), ("sun", "sun"), ("sun ", "sun ")):
        table = write_decisions(tmp_path / "r.csv", f"b/1.png,b,{decision}")
        copy = kt.apply_review(tmp_path / "q", table, tmp_path / f"q{name}").path
        assert (copy / name / "1-2.png").is_file()
    small_folder(tmp_path / "d", " drop/1.png", "b/1.png")
    table = write_decisions(tmp_path / "r.csv", "b/1.png,b,drop")
    with pytest.raises(ValueError, match="Rename the folder of the class"):
        kt.apply_review(tmp_path / "d", table, tmp_path / "dd")


def test_small_classes_and_missing_packages_are_named(tmp_path, monkeypatch):
    names = [f"a/{n}.png" for n in range(30)] + ["b/1.png", "b/2.png"]
    photos = small_folder(tmp_path / "p", *names)
    monkeypatch.setattr(photo_quality, "can_judge", lambda: False)
    check = kt.check_directory(photos)
    assert {*check.kinds} >= {"too few photos", "imbalance"}
    assert "cleanvision" in check.not_examined["blank, dark, bright and blurred photos"]
    assert "two classes" in check.not_examined["wrong labels"]
    assert check.not_examined["wrong labels in b"] == "fewer than 5 different photos"
    assert "Not examined:" in str(check)
    assert "wrong labels in b" in check._repr_html_()


def test_a_folder_without_any_photo_is_told(tmp_path):
    for name in "ab":
        (tmp_path / "p" / name).mkdir(parents=True)
        (tmp_path / "p" / name / "1.jpg").write_bytes(b"")
    check = kt.check_directory(tmp_path / "p")
    assert {*check.kinds} == {"too few photos", "unreadable"}
    assert check.counts == {"a": 0, "b": 0}


def test_decisions_stay_when_a_folder_is_checked_again(check, folder, written):
    decide(written, {"dog/058.png": "cat", ODD: "dog"})
    rows = [*csv.reader(written.open(encoding="utf-8-sig", newline=""))]
    with written.open("a", encoding="utf-8", newline="") as file:
        csv.writer(file).writerow(["cat/002.png", "cat", "", "", "", "drop"])
        csv.writer(file).writerow(["cat/gone.png", "cat", "", "", "", "drop"])
    check.write(written.parent)
    again = [*csv.reader(written.open(encoding="utf-8-sig", newline=""))]
    assert again == [*rows, ["cat/002.png", "cat", "", "", "", "drop"]]


def test_decisions_are_not_taken_from_another_folder_of_the_same_name(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    for year in ("2024", "2025 & <more>"):
        small_folder(
            tmp_path / year / "photos", *(f"{c}/{n}.png" for c in "ab" for n in "123")
        )
    words = ["check", "2024/photos", "--no-labels"]
    assert command_line.main(words) == 0
    written = tmp_path / "build" / "check" / "photos" / "review.csv"
    write_decisions(written, "a/1.png,a,drop")
    other = ["check", "2025 & <more>/photos", "--no-labels"]
    assert command_line.main(other) == 2
    said = capsys.readouterr().err
    assert "with --output. Received: folder=2025 & <more>" in said
    assert written.read_text("utf-8").endswith("a/1.png,a,drop")
    words[1] = "2025 & <more>/../2024/photos"
    assert command_line.main(words) == 0
    assert "a/1.png,a,,,,drop" in written.read_text("utf-8-sig")
    assert command_line.main([*other, "--output", "other"]) == 0
    assert command_line.main([*other, "--output", "other"]) == 0


def test_nothing_is_kept_among_the_classes(tmp_path, monkeypatch, capsys):
    names = [f"{c}/{n}.png" for c in "ab" for n in "123"]
    photos = small_folder(tmp_path / "photos", *names)
    model = small_classifier(size=32)
    kt.save_classifier(model, tmp_path / "m.keras", ["a", "b"])
    monkeypatch.delenv("KERAS_TRANSFER_DATA_DIR")
    for place in (photos, photos / "a"):
        monkeypatch.chdir(place)
        for words in (
            "check {} --output {}/../review",
            "train {} --output {}/../n.keras",
            "evaluate {}/../m.keras {}",
            "diagnose {}/../m.keras {}",
            "export {}/../m.keras --output {}/../onnx --photos {}",
            "features efficientnet_lite0@32 {}",
        ):
            typed = words.replace("{}", str(photos)).split()
            assert command_line.main(typed) == 2
            said = capsys.readouterr().err
            assert "outside of it with KERAS_TRANSFER_DATA_DIR; " in said, words
    assert names_in(photos) == sorted(names)
    monkeypatch.chdir(tmp_path)
    words = ["features", "efficientnet_lite0@32", "photos", "--cache-dir", "photos/x"]
    assert command_line.main(words) == 2
    assert "outside of it with --cache-dir; " in capsys.readouterr().err
    words = ["export", "m.keras", "--output", "photos/x", "--photos", "photos"]
    assert command_line.main(words) == 2
    assert "output must lie outside of the folder" in capsys.readouterr().err
    assert names_in(photos) == sorted(names)
    # Beside folders of splits it is no class.
    names = [f"{s}/{name}" for s in ("train", "test") for name in names]
    monkeypatch.chdir(small_folder(tmp_path / "splits", *names))
    words = ["check", ".", "--no-labels", "--output", str(tmp_path / "r")]
    assert command_line.main(words) == 0


def test_where_nothing_can_be_written_is_told_before_the_work(
    tmp_path, monkeypatch, capsys
):
    photos = small_folder(tmp_path / "p", "a/1.png", "b/1.png")
    (tmp_path / "file").write_text("here")
    monkeypatch.setattr(kt, "check_directory", None)
    for output in ("file", "file/below"):
        words = ["check", str(photos), "--output", str(tmp_path / output)]
        assert command_line.main(words) == 2
        (said,) = capsys.readouterr().err.splitlines()
        assert "name another one with --output. Received: folder=" in said


def test_splits_that_share_a_photo(tmp_path):
    names = [
        f"{s}/{c}/{n}.png" for s in ("train", "test") for c in "ab" for n in (1, 2)
    ]
    photos = small_folder(tmp_path / "p", *names)
    shutil.copy(photos / "test" / "a" / "1.png", photos / "train" / "a" / "9.png")
    found = kt.check_directory(photos, labels=False).kinds["in two splits"]
    (shared,) = [x for x in found if x.path == "train/a/9.png"]
    assert (shared.other, shared.suggestion) == ("test/a/1.png", "drop")


@pytest.mark.parametrize("classes", [2, 5])
def test_without_cleanlab_the_same_labels_are_doubtful(classes):
    rng = np.random.default_rng(classes)
    labels = np.arange(600) % classes
    logits = rng.normal(0, 1, (600, classes)) + 4 * np.eye(classes)[labels]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    changed = rng.choice(600, 30, replace=False)
    labels[changed] = (labels[changed] + 1) % classes
    ours = wrong_labels.by_noise_rate(labels, probabilities)
    theirs = wrong_labels.doubtful_labels(labels, probabilities)
    assert len({*ours} & {*theirs}) >= 0.95 * max(len(ours), len(theirs)) > 20
    assert len({*ours} & {*changed}) >= 0.8 * len(changed)


def test_what_is_about_as_likely_is_not_doubted():
    labels = np.repeat([0, 1], 20)
    probabilities = np.repeat([[0.52, 0.48], [0.1, 0.9]], 20, axis=0)
    probabilities[:2], probabilities[20:22] = [0.05, 0.95], [[0.8, 0.2], [0.51, 0.49]]
    doubted = wrong_labels.doubtful_labels(labels, probabilities)
    assert {*doubted.tolist()} == {0, 1, 20, 21}
    found = wrong_labels.find(labels, probabilities, np.ones(40, bool))
    assert {*found} == {(0, 1), (1, 1), (20, 0)}


def test_near_copies_never_judge_each_other():
    rng = np.random.default_rng(0)
    features = rng.normal(0, 1, (40, 8)).astype("float32")
    features[20:] = features[:20]
    labels, groups = np.arange(40) % 2, np.arange(40) % 20
    found = wrong_labels.out_of_fold_probabilities(
        features, labels, groups, np.ones(40, bool)
    )
    assert found.dtype == "float32"
    np.testing.assert_allclose(found[:20], found[20:], atol=1e-5)


def test_many_photos_are_trained_on_in_turn():
    labels = np.repeat([0, 1, 2], [90, 5, 5])
    rows = in_turn(labels, 20)
    assert np.bincount(labels[rows]).tolist() == [10, 5, 5]
    assert in_turn(labels, 200).tolist() == [*range(100)]


def test_a_folder_is_read_once(tmp_path, monkeypatch):
    names = [f"{c}/{n}.png" for c in "ab" for n in range(4)]
    photos = small_folder(tmp_path / "p", *names)
    found = kt.check_directory(photos, labels=False)

    def again(*args, **kwargs):
        pytest.fail("read again")

    monkeypatch.setattr(folder_check, "read_folder", again)
    monkeypatch.setattr(review, "read_folder", again)
    for _ in range(2):
        found.write(tmp_path / "r")
    assert dataclasses.replace(found, folder=None).to_dict() == found.to_dict()
    monkeypatch.undo()
    dataclasses.replace(found, folder=None).write(tmp_path / "r")


def test_faults_of_ours_are_shown_as_such(tmp_path, monkeypatch, capsys):
    photos = small_folder(tmp_path / "p", "a/1.png", "b/1.png")
    words = ["check", str(photos), "--no-labels", "--output", str(tmp_path / "r")]

    def fails(error):
        def check(*args, **kwargs):
            raise error

        monkeypatch.setattr(kt, "check_directory", check)

    fails(KeyError("x"))
    with pytest.raises(KeyError):
        command_line.main(words)
    fails(PermissionError(13, "Permission denied", "p"))
    assert command_line.main(words) == 2
    assert "could not be examined" in capsys.readouterr().err


def test_the_command_line(folder, tmp_path, capsys):
    photos = small_folder(
        tmp_path / "p", *[f"{c}/{n}.png" for c in "ab" for n in range(20)]
    )
    words = ["check", str(photos), "--no-labels"]
    assert command_line.main([*words, "--output", str(tmp_path / "r")]) == 0
    assert "review.csv" in capsys.readouterr().out
    assert command_line.main([*words, "--json", "--output", str(tmp_path / "r")]) == 0
    assert json.loads(capsys.readouterr().out)["counts"] == {"a": 20, "b": 20}
    (photos / "a" / "broken.jpg").write_bytes(b"")
    assert command_line.main([*words, "--output", str(tmp_path / "r")]) == 1
    assert "a/broken.jpg: empty (zero bytes)" in capsys.readouterr().out
    assert command_line.main([*words, "--output", str(photos / "r")]) == 2
    assert "must lie outside" in capsys.readouterr().err
    assert not (photos / "r").exists()
    apply = ["check", str(photos), "--apply", str(tmp_path / "r" / "review.csv")]
    assert command_line.main(apply) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: Expected --output, the cleaned copy")
    assert said.endswith(f"Received: --apply {apply[-1]}\n")
    assert command_line.main([*apply, "--output", str(tmp_path / "c")]) == 0
    assert "1 left out that cannot be read" in capsys.readouterr().out
    assert command_line.main([*apply, "--output", str(tmp_path / "c")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert command_line.main(["check", str(tmp_path / "none")]) == 2
    assert command_line.main([*words, "--backbone", "x"]) == 2
