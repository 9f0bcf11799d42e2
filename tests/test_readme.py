"""Every command in README.md is one that exists."""

import pathlib
import re
import shlex
import subprocess

import pytest

from keras_transfer.cli import main as command_line
from keras_transfer.runtime import paths
from tests.helpers import how_it_is_built

ROOT = paths.project_root()
README = ROOT / "README.md"
# What a reader types before anything of this repository is installed.
SETUP = (
    r"git clone \S+( \S+)?",
    r"cd \S+",
    r"(python3?|py -3\.\d+|python3\.\d+) -m venv \.venv",
    r"(\. |source )?\.venv[/\\](bin/activate|Scripts[/\\]activate)",
    r"(python -m )?pip install .+",
    r"python -m jupyter lab --notebook-dir=(notebooks|build/exercises)",
    r"python -m pytest( tests/\S+)*",
    r"ray start (--head|--address=\S+)",
)


def readme_commands() -> list[str]:
    text = README.read_text(encoding="utf-8")
    blocks = re.findall(r"^```(?:sh|bash|shell|console)\n(.*?)^```", text, re.M | re.S)
    lines = (line for block in blocks for line in block.splitlines())
    bare = (re.sub(r"(^|\s)#.*$", "", line).strip() for line in lines)
    return [line.removeprefix("$ ").replace("\\", "/") for line in bare if line]


def make_targets() -> set[str]:
    text = pathlib.Path(ROOT / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z]+):", text, re.M))


def is_known(command: str) -> bool:
    words = shlex.split(command)
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words = words[1:]
    if words and words[0] == "make":
        wanted = [word for word in words[1:] if "=" not in word]
        return set(wanted) <= make_targets()
    if words[0] == "python" and words[1].endswith(".py"):
        return (ROOT / words[1]).is_file()
    if words[:2] == ["python", "-m"] and words[2].startswith("tests."):
        return (ROOT / f"{words[2].replace('.', '/')}.py").is_file()
    if words[:3] == ["python", "-m", "keras_transfer"]:
        try:
            command_line.parse(words[3:])
        except SystemExit as end:
            return end.code == 0
        return True
    return any(re.fullmatch(pattern, " ".join(words)) for pattern in SETUP)


def test_readme_has_commands():
    assert len(readme_commands()) > 10


@pytest.mark.parametrize("command", readme_commands())
def test_command_exists(command):
    assert is_known(command), f"README.md names a command that is not there: {command}"


def test_known_commands():
    assert is_known('make lessons PROFILE=lesson LESSONS="1 3"')
    assert is_known("WEIGHTS=none make lessons")
    assert is_known("python -m keras_transfer lessons 1 --profile quick")
    assert is_known("python -m tests.helpers.fuzzing")
    assert not is_known("python -m tests.helpers.nothing")
    assert not is_known("make nothing")
    assert not is_known("python -m keras_transfer lessons --nothing")
    assert not is_known("rm -rf data")


def test_pytest_command_in_the_readme_is_the_makefiles():
    """Windows has no make: the plain command must do the same."""
    plan = subprocess.run(
        ["make", "-n", "test"], cwd=ROOT, capture_output=True, text=True
    ).stdout
    assert "python -m pytest" in readme_commands()
    (command,) = re.findall(r"-m pytest(.*)", plan)
    # In how many processes, and where to write a report, is all that it adds.
    added = {option.partition("=")[0] for option in command.split()}
    assert added == {"--numprocesses", "--junitxml"}


def test_the_table_of_folders_is_that_of_today(tmp_path):
    text = README.read_text(encoding="utf-8")
    copy = tmp_path / "README.md"
    copy.write_text(text, encoding="utf-8")
    how_it_is_built.write_table(copy)
    assert copy.read_text(encoding="utf-8") == text, "make format writes it"
    assert "`fine_tuning/`" in text
