"""One table says all of every backbone, and nothing else repeats it."""

import ast
import pathlib
import re

import keras_transfer as kt
from keras_transfer.backbones.registry import ARCHITECTURES
from keras_transfer.backbones.weights import packages

PACKAGE = pathlib.Path(kt.__file__).parent
# Where the package has to choose one backbone, or names one by itself.
CHOICES = {
    "backbones/convnext_tiny.py",  # The name of the network, as in the next one.
    "backbones/efficientnet_lite0.py",
    "runtime/profiles.py",  # Its weights are always there.
    "comparison/recipe.py",  # The default of `Recipe`.
    "cli/backbones.py",  # What is measured without arguments.
    "evaluation/linear_probe.py",  # What looks at drawn photos.
    "workflow/check.py",  # The default of `check`, and of its command.
    "cli/check.py",
    "workflow/train.py",  # The default of `train`, and of its command.
    "cli/train.py",
}


def spelled(path):
    """Return the backbones that are strings of their own in a file of Python."""
    texts = {
        node.value.partition("@")[0]
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    return texts & {*ARCHITECTURES}


def test_no_other_file_has_a_table_of_architectures():
    found = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if spelled(path)
    }
    assert found == CHOICES | {"backbones/registry.py"}


def test_the_docstring_names_backbones_that_are_there():
    named = re.findall(r'`"(\w+_?\w*\d*)"`', kt.build_backbone.__doc__)
    named = [name for name in named if name != "imagenet"]
    assert len(named) == 4
    assert set(named) <= set(ARCHITECTURES)
    papers = [row["paper"] for row in kt.backbones().rows]
    assert all(address.startswith("https://") for _, address in papers)


def test_each_package_has_a_reader():
    for entry in ARCHITECTURES.values():
        if entry.carrier is not None:
            assert callable(getattr(packages, entry.carrier.reader))
