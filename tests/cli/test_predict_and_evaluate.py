"""Commands predict, evaluate and diagnose, on a saved model and folders of photos."""

import csv
import dataclasses
import hashlib
import io
import json
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import keras_transfer as kt
from keras_transfer.classifier.saved import Classifier
from keras_transfer.cli import main as command_line
from keras_transfer.diagnosis import examine
from keras_transfer.evaluation.evaluate import measure
from tests.helpers.small_networks import small_classifier

NAMES = ["cat", "dog", "k\u00f6nig"]
SIZE = 8


def photo(path, seed, quality=95):
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 200, 3) + rng.integers(0, 55, (16, 16, 3))
    Image.fromarray(pixels.astype("uint8")).save(path, quality=quality)
    return path


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Make a folder of photos, and a model that was trained on some of them."""
    folder = tmp_path_factory.mktemp("world")
    found = {
        (name, number): photo(
            folder / "photos" / name / f"{number}.jpg", 9 * i + number
        )
        for i, name in enumerate(NAMES)
        for number in range(9)
    }
    backbone = kt.split_at_block(small_classifier(), "block2")[0]
    model = kt.build_classifier(backbone, 3)
    head = model.get_layer("head_predictions")
    head.set_weights([w / 50 for w in head.get_weights()])  # Never quite sure.
    images = np.stack([kt.load_image(path, SIZE) for path in found.values()])
    features = np.mean(backbone(images), axis=(1, 2))
    sums = {
        split: [
            hashlib.sha256(path.read_bytes()).hexdigest()
            for (_, number), path in found.items()
            if number in numbers
        ]
        for split, numbers in {"train": range(4), "validation": [4, 5]}.items()
    }
    kt.save_classifier(
        model,
        folder / "model.keras",
        NAMES,
        temperature=2.0,
        unknown=kt.fit_unknown_detector(features[:20], features, neighbors=2),
        trained_on=sums,
        details={
            "test": {"images": 50, "accuracy": 0.9, "accuracy_interval": [0.8, 1]}
        },
    )
    kt.save_classifier(model, folder / "bare.keras", NAMES)
    return folder


@pytest.fixture
def here(world, tmp_path, monkeypatch):
    """Make a copy that a test may change the current folder."""
    shutil.copytree(world, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def ran(capsys, *words):
    status = command_line.main([*map(str, words)])
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    return status, said.out, said.err


def lines(out):
    return [json.loads(line) for line in out.splitlines()]


def test_a_line_for_each_photo(here, capsys):
    photo(here / "photos" / "deep" / "er" / 'a "new"\nline, .PNG', 1)
    (here / "photos" / "cat" / "notes.txt").write_text("no photo")
    (here / "photos" / "cat" / ".hidden.jpg").write_bytes(b"")
    status, out, err = ran(capsys, "predict", "model.keras", "photos")
    assert status == 0, out
    found = lines(out)
    assert len(found) == 28
    assert 'photos/deep/er/a "new"\nline, .PNG' in [x["path"] for x in found]
    expected = kt.load_classifier("model.keras").predict([x["path"] for x in found])
    for line, prediction in zip(found, expected, strict=True):
        assert [*line] == ["path", "class_name", "probability"]
        assert line["class_name"] == prediction.class_name
        assert line["probability"] == pytest.approx(prediction.probability, abs=0.02)
    # The same paths one by one, from standard input, and as a table.
    names = [x["path"] for x in found if "\n" not in x["path"]]
    assert lines(ran(capsys, "predict", "model.keras", *names)[1]) == [
        x for x in found if "\n" not in x["path"]
    ]
    status, out, err = ran(
        capsys, "predict", "model.keras", "photos", "--format", "csv"
    )
    table = [*csv.DictReader(io.StringIO(out))]
    assert [x["path"] for x in table] == [x["path"] for x in found]
    assert [float(x["probability"]) for x in table] == [x["probability"] for x in found]
    assert {x["error"] for x in table} == {""}
    assert "photos/s" not in err


def test_top_and_none_of_these(here, capsys):
    words = "predict", "model.keras", "photos", "--top", "2", "--unknown"
    status, out, _ = ran(capsys, *words)
    found = lines(out)
    assert status == 0
    for line in found:
        best, second = line["top"]
        assert best["probability"] >= second["probability"]
        assert line["unknown"] == (line["distance"] > line["threshold"])
        if line["unknown"]:
            assert line["class_name"] == "none of these"
            assert line["probability"] is None
        else:
            assert line["class_name"] == best["class_name"]
    table = [*csv.DictReader(io.StringIO(ran(capsys, *words, "--format", "csv")[1]))]
    assert [*table[0]] == [
        *("path", "class_name", "probability", "class_name_1", "probability_1"),
        *("class_name_2", "probability_2", "unknown", "distance", "threshold", "error"),
    ]
    assert [x["class_name_2"] for x in table] == [
        x["top"][1]["class_name"] for x in found
    ]
    # More than there are are all.
    _, out, _ = ran(capsys, "predict", "bare.keras", "photos/cat/0.jpg", "--top", "9")
    assert len(lines(out)[0]["top"]) == 3


def test_a_bad_file_is_a_line_and_status_1(here, capsys, monkeypatch):
    (here / "photos" / "cat" / "0.jpg").write_bytes(b"")
    (here / "empty").mkdir()
    (here / "photos" / "loop").symlink_to("../photos")
    words = "model.keras", "nowhere.jpg", "photos", "empty", "~nobody-of-this-name/x"
    for form in ("jsonl", "csv"):
        status, out, _ = ran(capsys, "predict", *words, "--format", form)
        found = lines(out) if form == "jsonl" else [*csv.DictReader(io.StringIO(out))]
        assert status == 1
        bad = {x["path"]: x["error"] for x in found if x.get("error")}
        assert [*bad] == [words[1], "photos/cat/0.jpg", "photos/loop", *words[3:]]
        assert len(found) == 27 + 4
        assert all("Received: " in error for error in bad.values())
    assert "a link to a folder that it lies in" in bad["photos/loop"]
    assert "with photos" in bad["empty"]
    monkeypatch.setattr(
        sys, "stdin", io.StringIO("photos/cat/1.jpg\n\ngone\nphotos/dog")
    )
    status, out, _ = ran(capsys, "predict", "model.keras", "-")
    assert status == 1
    assert [x["path"] for x in lines(out)][:2] == ["photos/cat/1.jpg", "gone"]
    assert len(lines(out)) == 11


@pytest.mark.skipif(os.name == "nt", reason="names that are no text")
def test_every_program_reads_the_names(here, capsys, monkeypatch):
    cats = here / "photos" / "cat"
    monkeypatch.chdir(cats)
    (cats / "0.jpg").rename("=cmd.jpg")
    (cats / "1.jpg").rename(os.fsdecode(b"\xff.jpg"))
    (cats / os.fsdecode(b"\xfe.jpg")).write_bytes(b"")
    model = kt.load_classifier(here / "model.keras").model
    kt.save_classifier(model, here / "odd.keras", ["-cat", "@dog", "+k"])
    names = [path.name for path in cats.iterdir()]
    words = "predict", here / "odd.keras", "--top=1", *names, "=1.jpg"
    _, out, _ = ran(capsys, *words)
    # A lone surrogate is refused by strict readers.
    found = lines(out)
    assert json.dumps(found, ensure_ascii=False).encode()
    assert r"\udcff.jpg" in [row["path"] for row in found]
    _, out, _ = ran(capsys, *words, "--format", "csv")
    rows = [*csv.DictReader(io.StringIO(out))]
    assert {r"\udcff.jpg", "'=cmd.jpg", "'=1.jpg"} <= {row["path"] for row in rows}
    names = [row[k] for row in rows for k in ("class_name", "class_name_1")]
    assert all(name.startswith("'") for name in names if name)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("predict modle.keras photos", "Near it: model.keras, bare.keras. Received: "),
        ("predict photos photos", "no model at this path. Received: photos"),
        ("predict photos/cat/0.jpg photos", "damaged or of another kind"),
        ("predict bare.keras photos --unknown", "Received: --unknown, bare.keras"),
        ("evaluate modle.keras photos", "Near it: model.keras"),
        ("evaluate model.keras photso", "Near it: photos. Received: photso"),
        ("evaluate model.keras photos/cat", "at least two subfolders"),
        ("evaluate model.keras others", "with bird"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(here, capsys, words, message):
    photo(here / "others" / "cat" / "0.jpg", 1)
    photo(here / "others" / "bird" / "1.jpg", 2)
    status, out, err = ran(capsys, *words.split())
    assert (status, out) == (2, "")
    (line,) = err.strip().splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert "Received: " in line


@pytest.mark.parametrize("top", ["0", "-1", "1.5", "many", "\u00b2"])
def test_what_the_parser_refuses(capsys, top):
    with pytest.raises(SystemExit) as end:
        command_line.main(["predict", "model.keras", "photos", "--top", top])
    assert end.value.code == 2
    assert "a whole number from 1" in capsys.readouterr().err


def test_help_names_each_status(capsys):
    for name in ("predict", "evaluate", "diagnose"):
        with pytest.raises(SystemExit):
            command_line.main([name, "--help"])
        said = capsys.readouterr().out
        assert "exit status:\n  0  " in said
        assert "\n  2  " in said


def test_photos_that_were_trained_on_are_left_out(here, capsys):
    status, out, _ = ran(capsys, "evaluate", "model.keras", "photos", "--json")
    assert status == 0
    found = json.loads(out)
    assert found["left_out"] == {"trained on": 12, "validated on": 6}
    assert found["report"]["images"] == 9
    assert found["saved_test"]["accuracy"] == 0.9
    # Labels are those of the model, and probabilities calibrated.
    classifier = kt.load_classifier("model.keras")
    left = [here / "photos" / name / f"{i}.jpg" for name in NAMES for i in (6, 7, 8)]
    rows = np.array([x.probabilities for x in classifier.predict(left)])
    right = rows.argmax(axis=1) == np.repeat([0, 1, 2], 3)
    assert found["report"]["accuracy"] == pytest.approx(right.mean())
    loss = -np.log(rows[np.arange(9), np.repeat([0, 1, 2], 3)]).mean()
    assert found["report"]["log_loss"] == pytest.approx(loss, abs=1e-4)
    _, out, _ = ran(capsys, "evaluate", "model.keras", "photos")
    assert "left out: trained on" in out
    assert "80.0% to 100.0%" in out
    assert "the same files only" in out
    # Where nothing is left, that is said.
    for name in NAMES:
        for number in (6, 7, 8):
            (here / "photos" / name / f"{number}.jpg").unlink()
    status, out, _ = ran(capsys, "evaluate", "model.keras", "photos")
    assert status == 1
    assert "Nothing is left to evaluate on" in out
    status, out, _ = ran(capsys, "evaluate", "model.keras", "photos", "--json")
    assert (status, json.loads(out)["report"]) == (1, None)


def test_folders_of_other_forms(here):
    # Some classes, in another order than the model's, with what cannot be used.
    shutil.rmtree(here / "photos" / "cat")
    (here / "photos" / "dog" / "text.jpg").write_text("no photo")
    found = kt.evaluate_files("model.keras", "photos")
    assert found.left_out["unreadable, copied or in two classes"] == 1
    assert {*found.report.labels} == {1, 2}
    # A single one.
    shutil.rmtree(here / "photos" / "dog")
    assert {*kt.evaluate_files("model.keras", "photos").report.labels} == {2}
    # Splits: all of them, but for what was trained on; else the test split.
    for split, number in {"train": 7, "test": 8}.items():
        for label, name in enumerate(NAMES):
            photo(here / "split" / split / name / "0.jpg", 9 * label + number)
            photo(here / "split" / split / name / "1.jpg", 1000 + 9 * label + number)
    assert len(kt.evaluate_files("model.keras", "split").report.labels) == 12
    bare = kt.evaluate_files("bare.keras", "split")
    assert len(bare.report.labels) == 6
    assert bare.left_out == {"in train": 6}
    assert "does not say which photos" in str(bare)
    assert "does not say which photos" in bare._repr_html_()


def test_the_doctor_knows_what_was_trained_on(here, capsys):
    _, out, err = ran(capsys, "diagnose", "model.keras", "photos", "--json")
    assert json.loads(out)["checks"]
    assert "trained on 12 of these photos, and validated on 6" in err
    assert "the other 9" in err
    for seed, name in enumerate(["cat", "cat", "dog", "dog"]):
        photo(here / "elsewhere" / name / f"{seed}.jpg", 500 + seed)
    _, out, err = ran(capsys, "diagnose", "model.keras", "elsewhere", "--json")
    assert "trained on 0 of these photos" in err
    assert not [x for x in json.loads(out)["findings"] if "split" in x["title"]]


@pytest.mark.parametrize("model", ["model.keras", "bare.keras"])
def test_diagnose_takes_classes_by_their_names(here, model):
    def labels():
        found = examine.diagnose_files(model, "photos")
        said = " ".join(f"{each.title} {each.evidence}" for each in found.findings)
        assert "another order" not in said
        assert " cat" not in str(found.not_examined)
        return {*kt.evaluate_files(model, "photos").report.labels}

    shutil.rmtree(here / "photos" / "cat")
    assert labels() == {1, 2}
    shutil.rmtree(here / "photos" / "dog")
    assert labels() == {2}
    photo(here / "photos" / "x" / "1.jpg", 1)
    with pytest.raises(ValueError, match="name of a class of the model"):
        examine.diagnose_files(model, here / "photos")


def test_a_classifier_in_memory_is_evaluated_too(here):
    classifier = kt.load_classifier("model.keras")
    assert isinstance(classifier, Classifier)
    found = kt.evaluate_files(classifier, here / "photos")
    assert found.to_dict() == kt.evaluate_files("model.keras", "photos").to_dict()


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="a shell and names that are no text")
def test_in_a_pipe(here):
    odd = here / "photos" / os.fsdecode(b"\xff.jpg")
    (here / "photos" / "cat" / "0.jpg").rename(odd)
    command = f"{sys.executable} -m keras_transfer predict model.keras"
    root = str(pathlib.Path(kt.__file__).parent.parent)
    ended = subprocess.run(
        f"{command} photos --format csv > all.csv; echo $?; "
        f"find photos -type f | {command} - | head -n 1; echo ${{PIPESTATUS[*]}}",
        shell=True,
        executable="/bin/bash",
        env=os.environ | {"PYTHONPATH": root, "LC_ALL": "C", "PYTHONUTF8": "0"},
        capture_output=True,
    )
    first, line, statuses = ended.stdout.decode().splitlines()
    assert (first, statuses) == ("0", "0 0 0")
    assert json.loads(line)["class_name"]
    assert b"error:" not in ended.stderr
    assert b"Traceback" not in ended.stderr
    table = (here / "all.csv").read_bytes()
    assert table.count(b"\n") == 28
    assert rb"photos/\udcff.jpg," in table
    assert "k\u00f6nig".encode() in table


def test_a_saved_test_is_compared_only_where_it_is_calibrated_alike(here):
    before = kt.load_classifier("model.keras")
    labels = np.array([0, 1, 2, 0])
    rows = np.full((4, 3), 0.2) + np.eye(3)[[0, 1, 2, 1]] * 0.4
    report = measure(labels, rows, NAMES)
    for test, shown in (
        (kt.kept_figures(report, before.temperature), True),
        (report.to_dict(), False),
    ):
        classifier = dataclasses.replace(before, details={"test": test})
        found = kt.evaluate_files(classifier, "photos")
        assert ("kept_figures" in str(found)) is not shown
        (row,) = [x for x in str(found).splitlines() if x.startswith("log loss, cal")]
        assert row.split()[-1] == (f"{test['log_loss']:.3f}" if shown else "-")
    kept = kt.kept_figures(report, before.temperature)
    assert not {"mistakes", "confusion_matrix"} & {*kept}
    assert kept["log_loss"] != report.log_loss
    assert kept["temperature"] == before.temperature
    assert kt.kept_figures(report)["log_loss"] == report.log_loss
    grouped = measure(labels, rows, NAMES, groups=[0] * len(labels))
    for each, told in ((report, False), (grouped, True)):
        details = {"test": kt.kept_figures(each, before.temperature)}
        classifier = dataclasses.replace(before, details=details)
        found = kt.evaluate_files(classifier, "photos")
        assert ("the saved one counts groups" in str(found)) is told
