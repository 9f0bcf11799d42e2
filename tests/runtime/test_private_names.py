"""No private name of Keras or TensorFlow stands outside of keras_internals."""

import pathlib

import keras_transfer as kt
from tests.helpers.private_names import Project

ROOT = pathlib.Path(kt.__file__).parent.parent
INTERNALS = "keras_transfer.runtime.keras_internals"
# Not of Keras or TensorFlow: files of PyTorch name this module of its, nbclient
# registers this method to be called at Python's exit, and Python documents this
# function.
ALLOWED = {
    ("keras_transfer.backbones.weights.torch_checkpoint", "_utils"),
    ("keras_transfer.lessons.kernel", "_cleanup_kernel"),
    ("lesson_phases", "_current_frames"),
}


def sources():
    """Return the code of package and benchmarks by the names of the modules."""
    found = {}
    for folder in ("keras_transfer", "benchmarks"):
        for path in ROOT.joinpath(folder).rglob("*.py"):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            # Benchmarks are run as a folder, and import each other by name alone.
            name = name.removeprefix("benchmarks.").removesuffix(".__init__")
            found[name] = path.read_text("utf-8")
    return found


def test_all_are_in_keras_internals():
    project = Project(sources())
    found = {name: project.foreign(name) for name in project.trees}
    assert len(found.pop(INTERNALS)) > 50
    touched = {
        (module, line.split(": ")[1])
        for module, lines in found.items()
        for line in lines
    }
    assert touched == ALLOWED


OTHER = """
import typing

_TABLE = {}

def _read(path):
    return path

class Notes(typing.NamedTuple):
    text: str
    _hidden: int = 0

class Finder:
    def __init__(self):
        self._rates, self._layers = [], None

    def _find(self):
        return self._rates
"""
MINE = """
import keras
import project.other
from project import other
from project.other import Finder

class Sweep(Finder, keras.callbacks.Callback):
    def start(self):
        self._find()
        return self._layers

def use(finder, notes):
    other._read(other._TABLE)
    return finder._rates, notes._replace(text=f"{finder}_path"), notes.__class__
"""
THEIRS = """
import keras
import keras.src.layers
from keras.src import backend
from project import other

class Slow(keras.optimizers.SGD):
    def _apply_weight_decay(self, variables):
        self._use_weight_decay(variables)

def use(model, layer, variable):
    model._flatten_layers()
    getattr(model, "_compile_loss", None)
    vars(model)["_compile_metrics"] = None
    variable._path = "a"
    layer._layers
    model._no_such_name_anywhere
    other._no_such_name
    return {"_MapDataset", "CacheDataset", "ExpandDims", "Functional"}

REPAIR = '''
for layer in model._flatten_layers():
    layer.trainable = False
'''
"""


def test_own_names_are_told_from_foreign_ones():
    project = Project({"project.other": OTHER, "mine": MINE, "theirs": THEIRS})
    assert project.foreign("project.other") == project.foreign("mine") == []
    assert {line.split(": ")[1] for line in project.foreign("theirs")} == {
        "keras.src.layers",
        "keras.src",
        "_apply_weight_decay",
        "_use_weight_decay",
        "_flatten_layers",
        "_compile_loss",
        "_compile_metrics",
        "_path",
        "_layers",
        "_no_such_name_anywhere",
        "_no_such_name",
        "_MapDataset",
        "CacheDataset",
        "ExpandDims",
        "Functional",
    }
    assert len(project.foreign("theirs")) == 16
