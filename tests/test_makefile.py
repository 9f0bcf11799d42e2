import os
import pathlib
import shutil
import subprocess
import sys
import tomllib

import pytest

from keras_transfer.runtime import paths

ROOT = paths.project_root()

# What `make test` itself may have been given.
MAKE_VARIABLES = {"WEIGHTS", "PROFILE", "LESSONS", "BENCH", "NOTEBOOKS", "PYTHON"}

pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="make is not here")


@pytest.fixture
def project(tmp_path):
    """Return a folder with the Makefile and what its stamp depends on."""
    for name in ("Makefile", "requirements.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "notebooks").mkdir()
    return tmp_path


def make(folder: pathlib.Path, *arguments: str, **environment: str):
    # The test itself may run under `make test WEIGHTS=none`.
    ours = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MAKE", "MFLAGS", "KERAS_TRANSFER_"))
        and name not in MAKE_VARIABLES
    }
    return subprocess.run(
        [shutil.which("make"), *arguments],
        cwd=folder,
        env={**ours, **environment},
        capture_output=True,
        text=True,
    )


def fake(folder: pathlib.Path, name: str, script: str) -> pathlib.Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_says_which_python_fits_and_what_it_found(project):
    tools = project / "tools"
    for name in ("sh", "rm", "touch"):
        fake(tools, name, f'exec {shutil.which(name)} "$@"')
    fake(tools, "python3", 'case "$2" in *version_info*) exit 1;; esac; echo 3.9.18')
    ended = make(project, "lessons", PATH=str(tools))
    assert ended.returncode != 0
    assert "need Python 3.11, 3.12 or 3.13" in ended.stderr
    assert "python3 (3.9.18) python (not found)" in ended.stderr
    assert not (project / ".venv").exists()


def test_half_made_environment_is_made_anew(project):
    # An interrupted install: an interpreter, but no stamp.
    fake(project / ".venv" / "bin", "python", "exit 1")
    (project / ".venv" / "leftover").touch()
    python = fake(
        project / "tools",
        "python3.12",
        f'echo "$@" >> {project}/calls; case "$2" in venv) rm -r .venv; '
        "mkdir -p .venv/bin; cp $0 .venv/bin/python;; esac",
    )
    ended = make(project, "install", PYTHON=str(python))
    assert ended.returncode == 0, ended.stderr
    assert (project / ".venv" / "installed").exists()
    assert not (project / ".venv" / "leftover").exists()
    calls = (project / "calls").read_text()
    assert "-m venv --clear .venv" in calls
    assert "install --disable-pip-version-check -r requirements.txt" in calls


@pytest.fixture
def installed(project):
    """Return a project whose environment is complete: nothing is to be installed."""
    (project / "keras_transfer").symlink_to(ROOT / "keras_transfer")
    fake(
        project / ".venv" / "bin",
        "python",
        f'case "$1" in -I) exit 0;; esac; '
        f'echo "$KERAS_TRANSFER_DOWNLOAD|$@" >> {project}/calls\n'
        'case "$3" in weights) exit 1;; esac',
    )
    (project / ".venv" / "installed").touch()
    return project


def calls(project: pathlib.Path) -> list[str]:
    return (project / "calls").read_text().splitlines()


def test_lessons_fetches_weights_and_goes_on_when_that_fails(installed):
    ended = make(installed, "lessons", "LESSONS=1 3", "PROFILE=lesson", WEIGHTS="vgg16")
    assert ended.returncode == 0, ended.stderr
    assert calls(installed) == [
        "|-m keras_transfer weights vgg16",
        "none|-m keras_transfer lessons 1 3 --profile lesson",
    ]
    assert "go on with what is there" in ended.stdout


def test_weights_none_fetches_nothing(installed):
    assert make(installed, "lessons", WEIGHTS="none").returncode == 0
    assert calls(installed) == ["none|-m keras_transfer lessons --profile quick"]


def test_bench_fetches_weights_and_runs_what_is_named(installed):
    ended = make(installed, "bench", "BENCH=extraction cache", WEIGHTS="vgg16")
    assert ended.returncode == 0, ended.stderr
    assert calls(installed) == [
        "|-m keras_transfer weights vgg16",
        "none|benchmarks extraction cache",
    ]


def test_test_runs_what_pytest_alone_runs_with_an_explicit_cell_timeout(installed):
    assert make(installed, "test").returncode == 0
    (call,) = calls(installed)
    assert call == "|-m pytest --numprocesses=2 --junitxml=build/test/junit.xml"
    settings = tomllib.loads((installed / "pyproject.toml").read_text("utf-8"))
    options = settings["tool"]["pytest"]["ini_options"]
    assert {"tests", "notebooks"} == {*options["testpaths"]}
    assert "--nbval-lax" in options["addopts"]
    assert "--nbval-cell-timeout=" in options["addopts"]


def test_environment_without_its_interpreter_is_made_anew(installed):
    (installed / ".venv" / "bin" / "python").unlink()
    plan = make(installed, "-n", "lab", PYTHON=sys.executable).stdout
    assert "-m venv --clear .venv" in plan


def test_clean_keeps_what_learners_wrote(project):
    for name in ("exercises", "lessons"):
        (project / "build" / name).mkdir(parents=True)
    assert make(project, "clean").returncode == 0
    assert [path.name for path in (project / "build").iterdir()] == ["exercises"]


def test_exercises_writes_copies_and_lab_opens_them(installed):
    assert make(installed, "exercises", "LESSONS=1 3").returncode == 0
    assert make(installed, "lab", "NOTEBOOKS=build/exercises").returncode == 0
    assert calls(installed) == [
        "|-m keras_transfer exercises 1 3",
        "|-m jupyter lab --notebook-dir=build/exercises",
    ]
