"""The command line answers every mistake in one line, and tells by its status."""

import argparse
import itertools
import json
import os
import pathlib
import re
import subprocess
import sys
import textwrap
import time
import warnings

import nbformat
import numpy as np
import pytest
from PIL import Image

from keras_transfer.cli import main as command_line
from keras_transfer.runtime import atomic_files, clusters, paths

ROOT = pathlib.Path(atomic_files.__file__).parent.parent.parent


def test_help_comes_at_once_and_imports_no_framework():
    code = (
        "import runpy, sys\n"
        "sys.argv = ['keras_transfer', '--help']\n"
        "try:\n    runpy.run_module('keras_transfer', run_name='__main__')\n"
        "except SystemExit as end:\n    assert not end.code, end\n"
        "heavy = {'keras', 'tensorflow', 'numpy', 'nbformat'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    seconds = []
    for _ in range(3):  # The best of three: other work may have the processor.
        started = time.monotonic()
        subprocess.run(
            [sys.executable, "-c", code], check=True, cwd=paths.project_root()
        )
        seconds.append(time.monotonic() - started)
    assert min(seconds) < 1


def test_unknown_arguments_are_errors(capsys):
    for arguments in ([], ["nothing"], ["lessons", "--nothing"], ["lessons", "x"]):
        with pytest.raises(SystemExit) as end:
            command_line.main(arguments)
        assert end.value.code == 2
    assert "invalid int value: 'x'" in capsys.readouterr().err


def test_weights_tries_all_and_tells_by_its_status(monkeypatch):
    asked = []

    def fetch_weights(name):
        asked.append(name)
        return None if name == "resnet50" else "a path"

    from keras_transfer.backbones.weights import sources

    monkeypatch.setattr(sources, "fetch_weights", fetch_weights)
    assert command_line.main(["weights", "resnet50", "vgg16"]) == 1
    assert asked == ["resnet50", "vgg16"]
    assert command_line.main(["weights", "vgg16"]) == 0
    assert command_line.main(["weights", "resnet_50"]) == 2
    assert "resnet_50" not in asked


def test_backbones_takes_arguments_of_its_own(capsys):
    """test_linear_probe.py runs it."""
    with pytest.raises(SystemExit) as end:
        command_line.main(["backbones", "--nothing"])
    assert end.value.code == 2
    assert "--nothing" in capsys.readouterr().err
    for spec in ("resnet50", "resnet@160", "resnet50@²"):
        assert command_line.main(["backbones", spec]) == 2
        assert f"Received: {spec}" in capsys.readouterr().err
    assert (
        command_line.main(["backbones", "vgg16@32", "--dataset", "no_such_data"]) == 1
    )
    assert "Received: name=no_such_data" in capsys.readouterr().err
    for word in ("vgg16@32", "--dtype=float32", "--output=kept.json"):
        assert command_line.main(["backbones", word, "--samples"]) == 2
        assert "Received: --samples and " in capsys.readouterr().err


ENTRY = {
    "lesson": "01_a",
    "profile": "quick",
    "seconds": 3,
    "peak_memory_mb": 900.5,
    "passed": True,
}


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Make the current folder one with photos, a lesson and ledgers of all kinds."""
    monkeypatch.chdir(tmp_path)
    for name in ("photos/cats", "photos/dogs", "notebooks"):
        (tmp_path / name).mkdir(parents=True)
    for name, text in {
        "good.json": json.dumps([ENTRY]),
        "list.json": "[1]",
        "dict.json": json.dumps(ENTRY),
        "less.json": json.dumps([{"lesson": "01_a"}]),
        "words.json": json.dumps([{**ENTRY, "seconds": "3"}]),
        "cut.json": json.dumps([ENTRY])[:-9],
        "README.md": "no markers",
        "model.keras": "no model",
        "notebooks/01_a.ipynb": "no notebook",
    }.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "latin.json").write_bytes(b'["\xe4"]')
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("features resnet50@32 photso/", "no folder of photos at this path. Near it: "),
        ("features resnet50@32 ./photso", "Near it: photos. Received: photso"),
        ("features resnet50@32 photso", "no folder of photos at this path. Near it: "),
        ("features resnet50@32 photos/cast", "Near it: photos/cats. Received: "),
        ("features resnet50@32 photso/cats", "Near it: photos. Received: photso/cats"),
        ("features resnet50@32 nowhere/", "no folder of photos at this path. Received"),
        ("features resnet50@32 /nowhere/at/all", "Received: /nowhere/at/all"),
        ("features resnet50@32 ~/no-such-folder", "no folder of photos at this path."),
        ("features resnet50@32 ~nobody-of-this-name/x", "can be resolved"),
        ("features resnet50@32 model.keras", "Received: model.keras"),
        ("features resnet50@² photos", "Expected NAME@SIZE"),
        ("features resnet50@-5 photos", "Expected NAME@SIZE"),
        ("features resnet50@ photos", "Expected NAME@SIZE"),
        ("features @32 photos", "Unknown backbone"),
        ("features resnet@32 photos", "Received: resnet@32"),
        ("features resnet50@32 photos --shard 1", "--shard 1"),
        ("features resnet50@32 photos --shard a/b", "--shard a/b"),
        ("features resnet50@32 photos --shard 1/2/3", "--shard 1/2/3"),
        ("features resnet50@32 photos", "with 0 readable"),
        ("diagnose modle.keras photos", "no model at this path. Near it: model.keras."),
        ("diagnose photos photos", "no model at this path. Received: photos"),
        ("diagnose model.keras photso", "Near it: photos. Received: photso"),
        ("diagnose model.keras good.json", "no folder of photos at this path."),
        ("ledger none.json", "There is no ledger of lessons"),
        ("ledger photos", "There is no ledger of lessons"),
        ("ledger godo.json", "Near it: good.json, "),
        ("ledger cut.json", "this file is no JSON"),
        ("ledger latin.json", "this file is no JSON"),
        ("ledger list.json", "where one has no lesson"),
        ("ledger dict.json", "Received: dict.json with other JSON"),
        ("ledger less.json", "where one has no profile"),
        ("ledger words.json", "where one has no seconds"),
        ("ledger good.json --readme none.md", "none.md"),
        ("ledger good.json --readme README.md", "needs the lines"),
        ("ledger good.json --bands list.json", "Received: list.json with other JSON"),
        ("ledger good.json --bands cut.json", "this file is no JSON"),
        ("lessons 7", "holds 01_a. Received: lessons [7]"),
        ("lessons --notebooks notebook", "Near it: notebooks. Received: notebook"),
        ("lessons --cell-timeout -1", "Received: cell_timeout=-1"),
        ("lessons --output good.json", "Received: "),
        ("lessons --exercises --notebooks notebook", "no copies to check"),
        ("lessons --exercises --notebooks notebooks --cell-timeout -1", "timeout=-1"),
        ("exercises 7", "Received: lessons [7]"),
        ("exercises", "This is no notebook that can be read"),
        ("weights resnet_50", "Received: resnet_50"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(here, capsys, arguments, message):
    assert command_line.main(arguments.split()) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ")
    assert message in error
    assert "Received: " in error
    assert "\n" not in error


@pytest.mark.parametrize(
    "arguments",
    [
        "lessons --cell-timeout soon",
        "lessons --profile fast",
        "lessons --output ~nobody-of-this-name/x",
        "features resnet50@32 photos --dtype float16",
        "diagnose model.keras",
        "diagnose model.keras photos --image-size big",
        "ledger",
    ],
)
def test_what_the_parser_refuses(here, capsys, arguments):
    with pytest.raises(SystemExit) as end:
        command_line.main(arguments.split())
    assert end.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


def test_what_is_no_model_is_no_serious_fault(here, capsys):
    for options in ([], ["--json"]):
        assert command_line.main(["diagnose", "model.keras", "photos", *options]) == 2
        said = capsys.readouterr()
        assert said.err.startswith("error: ")
        assert "model.keras" in said.err
        assert said.out == ""


def test_an_unknown_data_set_is_still_called_one(here, capsys):
    for name in ("no_such_data", "no_such_data/of_this_kind:1.0.0"):
        assert command_line.main(["features", "resnet50@32", name]) == 1
        error = capsys.readouterr().err
        assert "has no data set of this name" in error
        assert "no folder" not in error


def test_home_is_resolved_everywhere(here, monkeypatch):
    monkeypatch.setenv("HOME", str(here))
    features = ["resnet50@32", "photos", "--cache-dir=~/kept"]
    options = command_line.parse(["features", *features])
    assert options.cache_dir == here / "kept"
    options = command_line.parse(["diagnose", "~/model.keras", "~/photos"])
    assert (options.model, options.folder) == (here / "model.keras", here / "photos")
    readme = here / "README.md"
    readme.write_text("<!-- lessons:start -->\n<!-- lessons:end -->")
    words = ["~/good.json", "--readme=~/README.md", "--bands=~/bands.json"]
    assert command_line.main(["ledger", *words]) == 0
    assert "| 01_a |" in readme.read_text()
    assert json.loads((here / "bands.json").read_text()) == {}
    lesson = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# A")])
    nbformat.write(lesson, here / "notebooks" / "01_a.ipynb")
    words = ["--notebooks=~/notebooks", "--output=~/copies"]
    assert command_line.main(["exercises", *words]) == 0
    assert (here / "copies" / "01_a.ipynb").is_file()
    assert not (here / "~").exists()


@pytest.mark.skipif(not pathlib.Path("/sys").is_dir(), reason="nobody may write there")
@pytest.mark.parametrize(
    "arguments",
    [
        "lessons --output /sys/lessons",
        "exercises --output /sys",
        "ledger good.json --readme /sys/power/state",
        "ledger good.json --bands /sys/bands.json",
    ],
)
def test_a_folder_that_cannot_be_written_is_named(here, capsys, arguments):
    lesson = nbformat.v4.new_notebook()
    nbformat.write(lesson, here / "notebooks" / "01_a.ipynb")
    assert command_line.main(arguments.split()) == 1
    (error,) = capsys.readouterr().err.splitlines()
    assert error.startswith("error: Nothing can be written in this folder (")
    assert "Received: folder=/sys" in error


def test_a_full_disk_says_which_other_folder_can_be_named(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_TRANSFER_DATA_DIR", str(tmp_path / "kept"))
    full = OSError(28, "No space left on device")
    said = str(paths.cannot_write(tmp_path / "kept" / "features", full))
    assert "or name another one with KERAS_TRANSFER_DATA_DIR. Received: " in said
    said = str(paths.cannot_write(tmp_path / "models", full))
    assert "Make room, or write into another one; KERAS_TRANSFER_DATA_DIR" in said
    assert "Received: folder=" in said


def commands():
    """Return the parser of each command, by its name."""
    (found,) = (
        action
        for action in command_line.parser()._actions
        if isinstance(action, argparse._SubParsersAction)
    )
    return found.choices


def test_the_help_lists_commands_in_the_order_in_which_they_are_needed(capsys):
    names = [*commands()]
    way = ["check", "train", "evaluate", "predict", "diagnose"]
    way = [name for name in way if name in names]
    assert names[: len(way)] == way
    assert names.count("weights") == 1
    with pytest.raises(SystemExit) as end:
        command_line.main(["--help"])
    assert end.value.code == 0
    said = capsys.readouterr().out
    for status, meaning in command_line.STATUSES.items():
        assert f"  {status:<5}{meaning}\n" in said


@pytest.mark.parametrize("name", commands())
def test_each_help_names_the_exit_statuses(capsys, name):
    with pytest.raises(SystemExit) as end:
        command_line.main([name, "--help"])
    assert end.value.code == 0
    said = capsys.readouterr().out.partition("exit status:\n")[2]
    assert re.findall(r"^  (\d+) ", said, re.MULTILINE) == ["0", "1", "2", "130"]
    assert max(map(len, said.splitlines())) < 80


@pytest.mark.parametrize("name", commands())
def test_what_is_not_there_is_no_traceback(tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path)
    words = [name]
    for action in commands()[name]._actions:
        if not action.option_strings:
            words.append("no/such/thing")
        elif action.required:
            words += [action.option_strings[0], "some.keras"]
    for arguments in (words, [*words, "--no-such-option"], [name, "--no-such-option"]):
        try:
            status = command_line.main(arguments)
        except SystemExit as end:
            status = end.code
        said = capsys.readouterr()
        assert status in (1, 2)
        assert "error: " in said.err
        assert "Traceback" not in said.err + said.out
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (PermissionError(13, "Permission denied", "a.jpg"), 1, "Received: path=a.jpg"),
        (OSError(28, "No space left", "out.keras"), 1, "The disk is full. Make room"),
        (FileNotFoundError(2, "No such file", "a.csv"), 2, "Received: path=a.csv"),
        (OSError("Nothing can be written."), 1, "error: Nothing can be written."),
        (MemoryError(), 1, "There is not enough memory."),
        (RuntimeError(), 1, "error: RuntimeError"),
    ],
)
def test_what_the_system_refuses_is_one_sentence(
    monkeypatch, capsys, error, status, said
):
    from keras_transfer.backbones.weights import sources

    def fail(name):
        raise error

    monkeypatch.setattr(sources, "fetch_weights", fail)
    assert command_line.main(["weights", "vgg16"]) == status
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert "Errno" not in line


def test_it_is_one_sentence_too_before_tensorflow_is_imported():
    code = """
import sys
from keras_transfer.cli import main, weights

def fail(options):
    assert "tensorflow" not in sys.modules
    raise PermissionError(13, "Permission denied", "a.jpg")

weights._weights = fail
main.check_keras = lambda: None
sys.exit(main.main(["weights", "vgg16"]))
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 1
    assert ended.stderr == "error: Permission denied. Received: path=a.jpg\n"


def test_a_photo_that_goes_while_it_is_read_is_one_sentence(here, monkeypatch, capsys):
    import keras_transfer as kt

    rng = np.random.default_rng(0)
    for name, ending in itertools.product(("cats", "dogs"), ("png", "jpg")):
        for index in range(4):
            pixels = rng.integers(0, 256, (8, 8, 3), "uint8")
            Image.fromarray(pixels).save(here / "photos" / name / f"{index}.{ending}")
    splits = kt.load_directory("photos", image_size=32)
    for path in here.glob("photos/*/*"):
        path.unlink()
    monkeypatch.setattr(kt, "load_directory", lambda *_, **__: splits)
    capsys.readouterr()
    command = ["features", "efficientnet_lite0@32", "photos", "--cache-dir=kept"]
    assert command_line.main(command) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "No such file" in line
    assert "Traceback" not in line


def test_a_warning_is_plain_text(monkeypatch, capsys):
    from keras_transfer.backbones.weights import sources

    def warn(name):
        warnings.warn("2 file(s) were skipped:\n  a/1.jpg: empty", stacklevel=1)
        raise OSError("Nothing can be written.")

    monkeypatch.setattr(sources, "fetch_weights", warn)
    assert command_line.main(["weights", "vgg16"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("warning: 2 file(s) were skipped:\n  a/1.jpg: empty\nerror:")


def test_a_fault_of_ours_is_not_hidden(monkeypatch):
    from keras_transfer.backbones.weights import sources

    def fail(name):
        raise KeyError(name)

    monkeypatch.setattr(sources, "fetch_weights", fail)
    with pytest.raises(KeyError):
        command_line.main(["weights", "vgg16"])


@pytest.mark.parametrize(
    "raised", [KeyboardInterrupt(), RuntimeError("KeyboardInterrupt: \n\nAt: ops.py")]
)
def test_interrupted(monkeypatch, capsys, raised):
    from keras_transfer.backbones.weights import sources

    def interrupt(name):
        raise raised

    monkeypatch.setattr(sources, "fetch_weights", interrupt)
    assert command_line.main(["weights", "vgg16"]) == 130
    assert capsys.readouterr().err == "Interrupted.\n"


def test_a_reader_that_has_gone_is_no_failure(here):
    command = [sys.executable, "-m", "keras_transfer", "ledger", "good.json"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() == 0


def fresh(script, folder, **variables):
    """Run code in a new process, outside of the checkout; return what it prints."""
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | variables,
        capture_output=True,
        encoding="utf-8",
    )
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr
    return ended.stdout


def test_without_jupyter_it_says_what_is_missing(here):
    script = """
        import contextlib, io, sys
        class Blocker:
            def find_spec(self, name, path=None, target=None):
                if name in ("nbformat", "nbclient", "psutil", "ipykernel"):
                    raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        sys.meta_path.insert(0, Blocker())
        from keras_transfer.cli.main import main
        def said(*arguments):
            errors = io.StringIO()
            with contextlib.redirect_stderr(errors):
                status = main([*arguments])
            assert errors.getvalue().count("\\n") == (status > 0)
            return status, errors.getvalue()
        for words in (["lessons"], ["exercises"], ["lessons", "--exercises"]):
            status, error = said(*words, "--notebooks", "notebooks")
            assert status == 1 and ".[lessons]" in error, error
            assert "This command needs nbformat" in error, error
        assert said("ledger", "good.json") == (0, "")
        import os; os.rename("notebooks", "elsewhere")
        for words in (["lessons"], ["exercises"]):
            status, error = said(*words)
            assert status == 2 and "not part of the installed package" in error, error
        heavy = {"keras", "tensorflow"} & set(sys.modules)
        assert not heavy, heavy
    """
    assert "01_a" in fresh(script, here)


def test_without_ray_it_says_what_to_install(monkeypatch, capsys):
    def run(options):
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        clusters.asked_workers("auto")

    made = argparse.Namespace(needs_keras=False, run=run)
    monkeypatch.setattr(command_line, "parse", lambda arguments: made)
    assert command_line.main([]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: Clusters need Ray: python -m pip install")
    assert said.count("\n") == 1


def test_another_backend_is_one_sentence_before_keras_is_imported(here):
    (here / "keras.json").write_text(json.dumps({"backend": "torch"}))
    script = """
        import os, sys
        import keras_transfer as kt
        from keras_transfer.cli.main import main
        for name in ("profile", "build_backbone", "plots", "DatasetUnavailableError"):
            try:
                getattr(kt, name)
            except ValueError as error:
                print(error)
        for command in (["weights", "vgg16"], ["lessons"], ["backbones", "vgg16@32"]):
            assert main(command) == 2, command
        assert main(["ledger", "good.json"]) == 0
        os.environ["KERAS_BACKEND"] = ""
        os.environ["KERAS_HOME"] = os.getcwd()
        for settings in ("", '{"image_data_format": "channels_first"}', "[]", "{"):
            if settings:
                open("keras.json", "w").write(settings)
            try:
                kt.no_such_name
            except AttributeError:
                pass
            try:
                from keras_transfer.runtime.keras_settings import check_keras
                check_keras()
                print("fine")
            except ValueError as error:
                print(error)
        assert "keras" not in sys.modules
    """
    printed = fresh(script, here, KERAS_BACKEND="jax").splitlines()
    lines = [line for line in printed if "eras" in line or line == "fine"]
    assert [line.rpartition("Received: ")[2] for line in lines] == [
        *["KERAS_BACKEND=jax"] * 4,
        f"backend=torch in {here / 'keras.json'}",
        "image_data_format=channels_first",
        "fine",
        "fine",
    ]
    assert "KERAS_BACKEND=tensorflow before Python starts" in lines[0]
    assert 'set_image_data_format("channels_last")' in lines[5]


def test_channels_first_is_one_sentence_at_any_call(capsys):
    import keras

    import keras_transfer as kt

    assert kt.build_backbone  # Asked for before, and asked again.
    keras.config.set_image_data_format("channels_first")
    try:
        with pytest.raises(ValueError, match="image_data_format=channels_first"):
            kt.build_backbone("vgg16", weights=None)
        assert command_line.main(["weights", "vgg16"]) == 2
    finally:
        keras.config.set_image_data_format("channels_last")
    assert kt.build_backbone
