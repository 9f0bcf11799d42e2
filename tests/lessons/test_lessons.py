import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import tomllib
import xml.etree.ElementTree as ElementTree

import nbformat
import psutil
import pytest

from keras_transfer.cli import main as command_line
from keras_transfer.lessons import kernel, pages, report, runner
from keras_transfer.runtime import paths

RECORD = """\
from keras_transfer.lessons import ledger
class profile: name, seed, device = "quick", 0, "CPU"
(ledger.output_dir() / "{name}.keras").write_text("model")
ledger.record(profile=profile, data="drawn", backbone="resnet50",
              test_accuracy={accuracy}, test_images=100)"""
# One pixel, so that no test needs to import matplotlib in a kernel.
FIGURE = """\
from IPython.display import Image, display
pixel = ("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YA"
         "AAAASUVORK5CYII=")
import base64; display(Image(base64.b64decode(pixel), format="png"))"""


def write_notebook(folder: pathlib.Path, name: str, *cells: str) -> None:
    notebook = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_markdown_cell(f"Some text.\n\n# Lesson {name}"),
            *map(nbformat.v4.new_code_cell, cells),
        ]
    )
    nbformat.write(notebook, folder / f"{name}.ipynb")


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """One run of lessons that end in every way, in a project of their own."""
    root = tmp_path_factory.mktemp("project")
    folder, output = root / "notebooks", root / "build" / "lessons"
    folder.mkdir()
    write_notebook(
        folder, "01_good", FIGURE, RECORD.format(name="01_good", accuracy=0.9)
    )
    write_notebook(
        folder, "02_fails", "print('before')\nassert 1 > 2", "print('never')"
    )
    write_notebook(folder, "03_dies", "import os\nos._exit(3)", "print('never')")
    write_notebook(
        folder, "04_band", RECORD.format(name="04_band", accuracy=0.5), "print('never')"
    )
    write_notebook(folder, "05_hangs", "import time\ntime.sleep(60)")
    (folder / "06_broken.ipynb").write_text("{")
    write_notebook(folder, "not_a_lesson", "1 / 0")
    band = {"data": "drawn", "test_accuracy": 0.9, "test_images": 100}
    bands = {"04_band": {"quick": {"resnet50": band}}}
    (folder / "bands.json").write_text(json.dumps(bands))
    output.mkdir(parents=True)
    (output / "02_fails.keras").write_text("of an earlier run")
    (output / "06_broken.html").write_text("of an earlier run")
    options = ["--notebooks", str(folder), "--output", str(output)]
    started = time.monotonic()
    status = command_line.main(["lessons", *options, "--cell-timeout", "5"])
    return status, output, time.monotonic() - started


@pytest.fixture(scope="module")
def entries(ran):
    text = (ran[1] / "ledger.json").read_text(encoding="utf-8")
    return {entry["lesson"]: entry for entry in json.loads(text)}


def test_failed_lessons_do_not_stop_the_others(ran, entries):
    status, _, seconds = ran
    assert status == 1
    assert [*entries] == [
        "01_good", "02_fails", "03_dies", "04_band", "05_hangs", "06_broken"
    ]  # fmt: skip
    assert [entry["passed"] for entry in entries.values()] == [True] + [False] * 5
    assert seconds < 90, "a dead kernel must be noticed long before a timeout"


def test_ledger_has_what_was_recorded_and_measured(entries):
    good = entries["01_good"]
    assert good["test_accuracy"] == 0.9
    assert (good["profile"], good["data"], good["backbone"]) == (
        "quick", "drawn", "resnet50"
    )  # fmt: skip
    assert good["title"] == "Lesson 01_good"
    assert good["notebook"] == "01_good.ipynb"
    assert good["error"] is None
    assert good["device"] == "CPU"
    assert "Python" in good["machine"]
    assert 20 < good["peak_memory_mb"] < 2000
    assert 0 < good["seconds"] < 60
    # A lesson that falls out of its band still tells what it measured.
    assert entries["04_band"]["test_accuracy"] == 0.5


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("02_fails", "AssertionError: assert 1 > 2"),
        ("03_dies", "DeadKernelError: The kernel died"),
        ("04_band", "outside its band of 81.0% to 99.0%"),
        ("05_hangs", "TimeoutError: The cell took more than 5 s."),
        ("06_broken", "NotJSONError: "),
    ],
)
def test_error_is_in_ledger_page_and_junit(ran, entries, name, error):
    assert error in entries[name]["error"]
    page = (ran[1] / f"{name}.html").read_text(encoding="utf-8")
    assert error.partition(": ")[0] in page
    assert "lesson-bar failed" in page
    cases = ElementTree.parse(ran[1] / "junit.xml").getroot().findall("testcase")
    failures = {case.get("name"): case.find("failure") for case in cases}
    assert failures["01_good"] is None
    assert error in failures[name].text


def test_nothing_of_an_earlier_run_survives(ran):
    assert not (ran[1] / "02_fails.keras").exists()
    assert "of an earlier run" not in (ran[1] / "06_broken.html").read_text()
    assert (ran[1] / "01_good.keras").read_text() == "model"
    assert not list(ran[1].glob(".*")), "temporary files"
    assert not (ran[1] / "01_good.log").exists()
    assert (ran[1] / "03_dies.log").exists()


def test_pages_need_no_network(ran):
    index = (ran[1] / "index.html").read_text(encoding="utf-8")
    page = (ran[1] / "01_good.html").read_text(encoding="utf-8")
    assert "1 of 6 lessons passed" in index
    assert 'href="01_good.html"' in index
    assert index.count("data:image/png;base64,") == 1
    assert "data:image/png;base64," in page
    for text in (index, page):
        for loads in ("<script src=", 'src="http', "import(", '<link rel="stylesheet"'):
            assert loads not in text


def test_index_shows_what_was_recorded_and_lets_none_of_it_be_a_tag():
    entry = {"lesson": "01_a", "passed": False, "title": "Cats & <b>dogs</b>"}
    entry |= {"error": "ValueError: 1 < 2", "weights": "<i>none</i>"}
    row = ("01_a", "<u>mine</u>", "no")
    page = pages.index_page([entry], [row], ("lesson", "data", "passed"), "<s>", {})
    assert "Cats &amp; &lt;b&gt;dogs&lt;/b&gt;</a></h2>" in page
    assert '<p class="error">ValueError: 1 &lt; 2</p>' in page
    assert '<td>&lt;u&gt;mine&lt;/u&gt;</td><td class="no">no</td>' in page
    assert not [tag for tag in ("<b>", "<i>", "<u>", "<s>") if tag in page]
    assert "<img" not in page


def test_what_is_no_module_is_installed_as_well():
    root = paths.project_root()
    settings = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    data = settings["tool"]["setuptools"]["package-data"]
    installed = {
        path
        for package, patterns in data.items()
        for pattern in patterns
        for path in (root / package.replace(".", "/")).glob(pattern)
    }
    files = {path for path in (root / "keras_transfer").rglob("*") if path.is_file()}
    assert installed == {path for path in files if path.suffix not in (".py", ".pyc")}
    assert len(installed) >= 2


def processes_in(folder):
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.cwd() == str(folder):
                found.append(process.pid)
    return found


def test_the_next_kernel_starts_early_and_knows_no_name(tmp_path):
    # It has imported what the lesson will, where the lesson does not see it.
    write_notebook(
        tmp_path,
        "01_first",
        "import pathlib, time\ntime.sleep(3)\n"
        "pathlib.Path('time').write_text(str(time.time()))",
    )
    write_notebook(
        tmp_path,
        "02_second",
        "import sys\nassert 'colorsys' in sys.modules and 'colorsys' not in globals()\n"
        "import psutil, pathlib, time\nimport colorsys\n"
        "began = psutil.Process().create_time()\n"
        "assert began < float(pathlib.Path('time').read_text()) < time.time()",
    )
    first, second = runner.run_lessons(runner.find_lessons(tmp_path), tmp_path / "out")
    assert (first["error"], second["error"]) == (None, None)
    assert not [*(tmp_path / "out").glob("*.log")]
    assert not processes_in(tmp_path)


def signalled(tmp_path, number):
    """Run two lessons, send a signal while the first one waits; return the status."""
    write_notebook(
        tmp_path,
        "01_waits",
        "import os, pathlib, time\n"
        "pathlib.Path('pid').write_text(str(os.getpid()))\ntime.sleep(600)",
    )
    write_notebook(tmp_path, "02_never", "1")
    output = tmp_path / "out"
    command = [sys.executable, "-m", "keras_transfer", "lessons"]
    command += ["--notebooks", str(tmp_path), "--output", str(output)]
    # Where tests run in the background, children would ignore SIGINT.
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    errors = tmp_path / "errors.txt"
    with errors.open("wb") as stderr:
        process = subprocess.Popen(command, cwd=paths.project_root(), stderr=stderr)
    signal.signal(signal.SIGINT, handler)
    deadline = time.monotonic() + 60
    while not (tmp_path / "pid").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(0.5)
    process.send_signal(number)
    status = process.wait(30)
    assert "Traceback" not in errors.read_text(encoding="utf-8")
    deadline = time.monotonic() + 20
    while (left := processes_in(tmp_path)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left, "neither the kernel of this lesson nor that of the next one"
    return status, output


@pytest.mark.slow
def test_interrupted_run_writes_what_is_there_and_ends_its_kernel(tmp_path):
    status, output = signalled(tmp_path, signal.SIGINT)
    assert status == 130
    (entry,) = json.loads((output / "ledger.json").read_text())
    assert entry["error"] == kernel.INTERRUPTED
    assert (output / "01_waits.html").exists()
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


@pytest.mark.slow
def test_run_that_is_ended_begins_no_other_lesson(tmp_path):
    """nbclient would end the kernel, and let the next lesson begin."""
    status, output = signalled(tmp_path, signal.SIGTERM)
    assert status == -signal.SIGTERM
    assert not (output / "ledger.json").exists()


def test_paths_in_the_environment_become_absolute(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", "somewhere/tfds")
    monkeypatch.setenv("KERAS_TRANSFER_DATA_DIR", "gs://bucket/data")
    environment = kernel.environment("01_lesson", tmp_path, "lesson")
    assert environment["TFDS_DATA_DIR"] == str(
        pathlib.Path("somewhere/tfds").absolute()
    )
    assert environment["KERAS_TRANSFER_DATA_DIR"] == "gs://bucket/data"
    assert environment["KERAS_TRANSFER_PROFILE"] == "lesson"


def test_find_lessons(tmp_path):
    for name in ("02_b", "01_a", "10_c"):
        write_notebook(tmp_path, name)
    names = [lesson.name for lesson in runner.find_lessons(tmp_path)]
    assert names == ["01_a", "02_b", "10_c"]
    assert [lesson.number for lesson in runner.find_lessons(tmp_path, [10, 1])] == [
        1, 10
    ]  # fmt: skip


def test_unknown_lesson_lists_those_there(tmp_path, capsys):
    write_notebook(tmp_path, "01_a")
    assert command_line.main(["lessons", "7", "--notebooks", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "holds 01_a. Received: lessons [7]" in error
    with pytest.raises(ValueError, match=r"holds no lessons\. Received: lessons all"):
        runner.find_lessons(tmp_path / "nowhere")


def test_framework_log_is_dropped_and_warnings_stay():
    log = (
        "WARNING: All log messages before absl::InitializeLog() is called are written\n"
        "I0000 00:00:1795302557.302612    5602 port.cc:153] oneDNN operations are on.\n"
    )
    cells = [nbformat.v4.new_code_cell("1") for _ in range(2)]
    new_output = nbformat.v4.new_output
    cells[0].outputs = [new_output("stream", name="stderr", text=log)]
    cells[1].outputs = [
        new_output("stream", name="stderr", text=f"{log}UserWarning: look\n"),
        new_output("stream", name="stdout", text="I0000 00:00: printed\n"),
    ]
    pages.drop_framework_log(nbformat.v4.new_notebook(cells=cells))
    assert cells[0].outputs == []
    assert [shown.text for shown in cells[1].outputs] == [
        "UserWarning: look\n", "I0000 00:00: printed\n"
    ]  # fmt: skip


def test_readme_table_and_bands_come_from_a_ledger(ran, tmp_path, capsys):
    readme, bands = tmp_path / "README.md", tmp_path / "bands.json"
    ledger_path = str(ran[1] / "ledger.json")
    marks = ("<!-- lessons:start -->", "<!-- lessons:end -->")
    readme.write_text(f"Before\n{marks[0]}\nold\n{marks[1]}\nAfter\n")
    options = ["--readme", str(readme), "--bands", str(bands)]
    for _ in range(2):
        assert command_line.main(["ledger", ledger_path, *options]) == 0
    text = readme.read_text()
    assert text.startswith(f"Before\n{marks[0]}\n| lesson | data |")
    assert text.endswith(f"{marks[1]}\nAfter\n")
    assert "old" not in text
    assert "| 01_good | drawn | resnet50 | 90.0% |" in text
    assert "Measured on " in text
    # The lesson that fell out of its band must not move the band.
    assert [*json.loads(bands.read_text())] == ["01_good"]
    capsys.readouterr()
    assert command_line.main(["ledger", ledger_path]) == 0
    assert "01_good" in capsys.readouterr().out


def test_readme_without_markers_is_an_error(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("No markers here.")
    with pytest.raises(ValueError, match="Received: "):
        report.update_readme([], readme)
    assert readme.read_text() == "No markers here."
