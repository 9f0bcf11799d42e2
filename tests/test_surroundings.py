"""A console, a locale or a pipe ends no call, and settings are read as they are."""

import io
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer.lessons import copies, grading, runner
from keras_transfer.runtime import atomic_files
from keras_transfer.runtime.status_lines import say

ROOT = pathlib.Path(atomic_files.__file__).parent.parent.parent


class Gone:
    """A stream whose other end has gone."""

    encoding = "utf-8"

    def write(self, text):
        raise BrokenPipeError

    def flush(self):
        raise BrokenPipeError


def test_say_prints_as_print_does(capsys):
    say("a", 1, sep="-", end="!\n")
    assert capsys.readouterr().out == "a-1!\n"


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "utf-8"])
def test_say_shows_what_the_console_can(encoding):
    written = io.BytesIO()
    stream = io.TextIOWrapper(written, encoding, newline="")
    say("Фото", "é", "\udcff", file=stream, flush=True)
    shown = written.getvalue().decode(encoding)
    assert shown.count("\n") == 1
    assert shown.endswith(" ?\n")
    assert ("Фото" in shown) == (encoding == "utf-8")
    assert ("é" in shown) == (encoding != "ascii")


def test_say_to_nobody():
    say("nobody", file=Gone(), flush=True)
    closed = io.StringIO()
    closed.close()
    say("nobody", file=closed)


@pytest.mark.slow
def test_a_console_without_its_letters_ends_no_call(tmp_path):
    """In a process of its own, for its locale is chosen when it starts."""
    script = """
import os, pathlib, sys
import numpy as np, keras
from PIL import Image
import keras_transfer as kt
from keras_transfer.cli.main import main

root = pathlib.Path(sys.argv[1])
rng = np.random.default_rng(0)
photos = root / os.fsdecode("Фото 写真".encode())
for name in ("кошки", "犬"):
    folder = photos / os.fsdecode(name.encode())
    folder.mkdir(parents=True)
    for index in range(8):
        pixels = rng.integers(0, 255, (32, 32, 3), "uint8")
        Image.fromarray(pixels).save(folder / f"{index}.png")
(folder / os.fsdecode("сломано.jpg".encode())).write_bytes(b"no photo")
for text in (print, lambda *a: print(*a, file=sys.stderr)):
    text("begun")
kt.profile()
splits = kt.load_directory(photos, image_size=32)
backbone = kt.build_backbone("efficientnet_lite0", image_size=32)
features = kt.extract_features(backbone, splits, root / "kept")
model = kt.build_classifier(backbone, num_classes=2)
kt.fit_head(model, features, epochs=1)
kt.save_classifier(model, root / "model.keras", splits.class_names)
assert main(["features", "efficientnet_lite0@32", str(photos),
             "--cache-dir", str(root / "kept")]) == 0
assert main(["diagnose", str(root / "model.keras"), str(photos)]) in (0, 1)
assert main(["features", "efficientnet_lite0@32", str(photos) + "x"]) == 2
print("done")
"""
    variables = {
        "PYTHONPATH": str(ROOT),
        "LC_ALL": "C",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONIOENCODING": "cp1252",
    }
    ended = subprocess.run(
        # Which that process could not read either.
        [sys.executable, "-c", script.encode("ascii", "backslashreplace"), tmp_path],
        cwd=tmp_path,
        env=os.environ | variables,
        capture_output=True,
        encoding="cp1252",
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    lines = ended.stdout.splitlines()
    assert lines[-1] == "done"
    # The names are read as what they are, and shown as far as the console can.
    assert any(line.startswith("Data: ???? ??: ") for line in lines), lines
    assert ended.stderr.splitlines()[-1].startswith("error: There is no folder of")


def test_text_is_read_and_written_in_utf_8_everywhere():
    """Without its encoding named, a file is read in that of the machine."""
    wrong = []
    for path in [*ROOT.glob("keras_transfer/**/*.py"), *ROOT.glob("benchmarks/*.py")]:
        text = path.read_text(encoding="utf-8")
        calls = [
            text[start : text.find("\n\n", start)]
            for word in (".read_text(", ".write_text(", "text=True")
            for start in range(len(text))
            if text.startswith(word, start)
        ]
        wrong += [f"{path}: {c[:60]}" for c in calls if "utf-8" not in c[:120]]
    assert not wrong


def test_every_status_line_goes_through_say():
    # JSON for other programs, and what `compare` and its processes tell each other.
    allowed = {"status_lines.py": 2, "diagnose.py": 1, "worker.py": 2}
    # In the code of a process that has no other module.
    allowed["predictions.py"] = 1
    # JSON as well, of the commands for a folder of photos.
    allowed |= {"check.py": 2, "evaluate.py": 1}
    # The client of an export, which stands for itself.
    allowed["client.py"] = 1
    found = {}
    for path in (ROOT / "keras_transfer").rglob("*.py"):
        lines = path.read_text(encoding="utf-8").splitlines()
        count = sum(line.strip().startswith("print(") for line in lines)
        if count:
            found[path.name] = count
    assert found == allowed


# --- Selecting a profile --------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "received"),
    [
        ({"name": "fast"}, "name=fast"),
        ({"name": "Quick"}, "name=Quick"),
        ({"name": ""}, "name=''"),
        ({"name": 3}, "name=3"),
        ({"name": 0}, "name=0"),
        ({"name": ["quick"]}, r"name=\['quick'\]"),
        ({"name": np.array(["quick", "full"])}, "name=array"),
        ({"seed": -1}, "seed=-1"),
        ({"seed": 2**40}, "seed=1099511627776"),
        ({"seed": "0"}, "seed='0'"),
        ({"seed": 0.5}, "seed=0.5"),
        ({"seed": None}, "seed=None"),
        ({"seed": True}, "seed=True"),
    ],
)
def test_profile_refuses(arguments, received):
    before = np.random.get_state()[1][:5].tolist()
    with pytest.raises(ValueError, match=f"Received: {received}"):
        kt.profile(**arguments)
    assert np.random.get_state()[1][:5].tolist() == before, "nothing was seeded"


def test_a_misspelled_variable_is_named(monkeypatch):
    monkeypatch.setenv("KERAS_TRANSFER_PROFILE", "quik")
    with pytest.raises(ValueError, match="Received: KERAS_TRANSFER_PROFILE=quik"):
        kt.profile()
    assert kt.profile("lesson").name == "lesson"
    monkeypatch.setenv("KERAS_TRANSFER_PROFILE", "")
    assert kt.profile().name == "quick"


def test_profile_again_and_after_models_were_built():
    import keras

    first = kt.profile("quick", seed=np.int64(5))
    assert type(first.seed) is int
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    weights = model.get_weights()
    assert kt.profile(np.str_("quick"), seed=5.0) == first
    for array, other in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(array, other)
    again = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    np.testing.assert_array_equal(again.get_weights()[0], weights[0])


# --- Lessons --------------------------------------------------------------------------


@pytest.fixture
def notebooks(tmp_path):
    import nbformat

    for name in ("01_a", "02_b"):
        nbformat.write(nbformat.v4.new_notebook(), tmp_path / f"{name}.ipynb")
    return tmp_path


@pytest.mark.parametrize("numbers", [2, np.int64(2), [2.0], (2,), np.array([2]), {2}])
def test_numbers_of_lessons_that_have_one_meaning(notebooks, numbers):
    assert [each.number for each in runner.find_lessons(notebooks, numbers)] == [2]
    assert len(runner.find_lessons(notebooks, None)) == 2


@pytest.mark.parametrize("numbers", ["2", ["2"], [None], [1.5], [True], True, object()])
def test_numbers_of_lessons_that_have_none(notebooks, numbers):
    with pytest.raises(ValueError, match="Received: numbers="):
        runner.find_lessons(notebooks, numbers)


@pytest.mark.parametrize("folder", [None, 3, ["notebooks"], ""])
def test_folders_of_lessons_are_paths(folder):
    with pytest.raises(ValueError, match="Received: folder="):
        runner.find_lessons(folder)


def test_home_is_resolved(notebooks, monkeypatch):
    monkeypatch.setenv("HOME", str(notebooks))
    found = runner.find_lessons("~")
    assert len(found) == 2
    assert len(copies.write_copies(found, "~/copies")) == 2
    assert (notebooks / "copies" / "01_a.ipynb").is_file()
    assert runner.run_lessons([], "~/out") == []
    assert (notebooks / "out").is_dir()
    monkeypatch.setenv("KERAS_TRANSFER_OUTPUT_DIR", "~/models")
    assert kt.output_dir() == notebooks / "models"
    assert kt.output_dir().is_dir()


@pytest.mark.parametrize(
    ("change", "received"),
    [
        ({"lessons": "01_a"}, "lessons='01_a'"),
        ({"lessons": ["01_a"]}, r"lessons=\['01_a'\]"),
        ({"lessons": None}, "lessons=None"),
        ({"output": None}, "output=None"),
        ({"output": 3}, "output=3"),
        ({"profile": "fast"}, "profile=fast"),
        ({"profile": None}, "profile=None"),
        ({"cell_timeout": -1}, "cell_timeout=-1"),
        ({"cell_timeout": 0.5}, "cell_timeout=0.5"),
        ({"cell_timeout": None}, "cell_timeout=None"),
        ({"cell_timeout": "60"}, "cell_timeout='60'"),
    ],
)
def test_runs_of_lessons_are_checked_before_anything_is_done(
    notebooks, change, received
):
    output = notebooks / "output"
    arguments = {"lessons": runner.find_lessons(notebooks), "output": output} | change
    with pytest.raises(ValueError, match=f"Received: {received}"):
        runner.run_lessons(**arguments)
    if not {"profile", "cell_timeout"} & {*change}:
        with pytest.raises(ValueError, match=f"Received: {received}"):
            copies.write_copies(**arguments)
    if "output" not in change:
        del arguments["output"]
        with pytest.raises(ValueError, match=f"Received: {received}"):
            grading.check_lessons(**arguments)
    assert not output.exists()


def test_a_notebook_that_is_none_is_named(notebooks):
    for text in ("", "{", "[]", "{}", '{"cells": 3}'):
        (notebooks / "01_a.ipynb").write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match=r"Received: .*01_a\.ipynb"):
            copies.write_copies(runner.find_lessons(notebooks, 1), notebooks / "out")
