"""pyproject.toml allows the versions that were tried, and says where it begins."""

import pathlib
import tomllib

import keras
import pytest
import tensorflow as tf
from packaging.requirements import Requirement

from tests.helpers.oldest_versions import TOOLS, oldest, oldest_requirements

ROOT = pathlib.Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS = [
    line
    for extra in PROJECT["optional-dependencies"].values()
    for line in extra
    if Requirement(line).name != PROJECT["name"]  # An extra may bring others.
]
TRIED = [
    Requirement(line)
    for line in (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    if not line.startswith("#")
]
PINS = {each.name.lower(): str(each.specifier)[len("==") :] for each in TRIED}


@pytest.mark.parametrize("line", [*PROJECT["dependencies"], *EXTRAS])
def test_each_requirement_begins_somewhere_and_allows_what_lessons_run_with(line):
    allowed = Requirement(line)
    lowest = Requirement(oldest(line)).specifier
    (version,) = [each.version for each in lowest]
    assert version in allowed.specifier
    newest = PINS.get(allowed.name.lower())
    assert newest is None or newest in allowed.specifier


@pytest.mark.parametrize("module", [keras, tf])
def test_keras_and_tensorflow_end_with_the_minor_version_that_was_tried(module):
    name = {keras: "keras", tf: "tensorflow"}[module]
    given = [Requirement(x) for x in [*PROJECT["dependencies"], *EXTRAS]]
    major, minor, *_ = map(int, PINS[name].split("."))
    for allowed in [each.specifier for each in given if each.name == name]:
        assert f"{major}.{minor}.9" in allowed
        assert f"{major}.{minor + 1}.0" not in allowed
    # Neither these tests nor `make oldest` run with anything else.
    assert module.__version__ in allowed


def test_the_oldest_requirements_are_pins():
    found = {line.split("==")[0]: line for line in oldest_requirements()}
    assert len(found) == len(PROJECT["dependencies"]) + len(TOOLS)
    assert all(Requirement(line).specifier for line in found.values())
    assert oldest("tensorflow[and-cuda]>=2.20,<2.22") == "tensorflow[and-cuda]==2.20"


@pytest.mark.parametrize("line", ["numpy", "numpy<3", "numpy>2", "numpy!=2.0,>=1.26"])
def test_a_requirement_without_a_lowest_version_is_refused(line):
    with pytest.raises(ValueError, match=r"lowest version.*Received: requirement="):
        oldest(line)
