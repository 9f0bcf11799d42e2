"""One table says all of every backbone, and nothing else repeats it."""

import ast
import pathlib

import pytest

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
    "evaluation/linear_probe.py",  # What is measured without arguments.
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


def test_the_docstring_names_every_backbone_and_its_paper():
    for name, entry in ARCHITECTURES.items():
        assert f'`"{name}"`' in kt.build_backbone.__doc__
        authors, address = entry.paper
        assert f"[{authors}]({address})" in kt.build_backbone.__doc__


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_an_entry_agrees_with_its_network(name):
    entry = ARCHITECTURES[name]
    backbone = kt.build_backbone(name, weights=None, image_size=entry.smallest_size)
    assert backbone.count_params() == entry.parameters
    assert kt.block_names(backbone) == [*entry.blocks]
    layers = {layer.name for layer in backbone.layers}
    assert layers >= {*entry.signature, *entry.blocks.values()}
    assert not layers & {*entry.absent}
    if entry.carrier is not None:
        assert callable(getattr(packages, entry.carrier.reader))
