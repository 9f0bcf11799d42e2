"""What `compare` keeps of each recipe and seed, and under which name."""

import ast
import dataclasses
import hashlib
import importlib
import importlib.util
import json
import pathlib
import platform
import sys
import typing
import zipfile
from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf

from keras_transfer.backbones.registry import ARCHITECTURES
from keras_transfer.backbones.weights.files import content_digest
from keras_transfer.backbones.weights.sources import weights_digest
from keras_transfer.comparison.recipe import Recipe
from keras_transfer.data.splits import Splits
from keras_transfer.features.inference import described_engine
from keras_transfer.runtime import atomic_files, paths, profiles

PACKAGE = pathlib.Path(__file__).parent.parent
# Folders of packages that were installed: they import half of all that there is.
INSTALLED = {"site-packages", "dist-packages"}


class Run(typing.NamedTuple):
    """Hold what one recipe made with one seed.

    Attributes:
        probabilities: Array `(photos, classes)` of the test photos, in stored order.
        labels: Their integer labels.
        figures: `seconds`, `peak_memory` in bytes or `None`, `trained_parameters`,
            `machine`, the kind of machine that made it, and `alone`, whether nothing
            else was to run there meanwhile.
    """

    probabilities: np.ndarray
    labels: np.ndarray
    figures: dict

    @property
    def right(self) -> np.ndarray:
        """Whether each test photo was named rightly."""
        return self.probabilities.argmax(axis=1) == self.labels


def computed_here(engine: str = "auto") -> dict[str, str]:
    """Return by what this machine would compute a run, as its name holds it."""
    return {
        "device": profiles.device_in_use()[0],
        "engine": described_engine(engine),
    }


def run_path(
    recipe: Recipe | str,
    splits: Splits,
    seed: int,
    computed_by: dict[str, str] | None = None,
) -> pathlib.Path:
    """Return where the run of a recipe with a seed is kept.

    The name holds all that the figures depend on: recipe, seed, data, precision,
    device, engine, the pretrained weights, the versions of Keras and TensorFlow and the
    source files of this package; for a function also the source of its module and of
    what it imports from beside it. What a function reads while it runs, and other
    packages that it uses, are not seen.

    Args:
        recipe: The `Recipe`, or the name of a function.
        splits: `Splits`.
        seed: The seed.
        computed_by: What `computed_here` returns where the run is to be made. Defaults
            to this machine.
    """
    arguments = splits.loader["arguments"]
    described = {
        "recipe": describe(recipe),
        "seed": seed,
        "data": splits.fingerprint,
        # These two are in no fingerprint, because they change no photo.
        "batches": [arguments["batch_size"], arguments["seed"]],
        "dtype_policy": keras.config.dtype_policy().name,
        **(computed_by or computed_here()),
        "versions": [keras.__version__, tf.__version__],
        "package": _digests(PACKAGE.rglob("*.py"), PACKAGE),
    }
    if isinstance(recipe, str):
        sources = [*module_sources(recipe.split(":")[0])]
        described["source"] = source_of(recipe)
        text = b"".join(path.read_bytes() for path in sources)
        named = [name for name in ARCHITECTURES if name.encode() in text]
    else:
        named = [recipe.backbone] if pretrained(recipe) else []
    described["weights"] = {name: weights_digest(name) for name in named}
    text = json.dumps(described, sort_keys=True, default=_plain)
    digest = hashlib.sha256(text.encode()).hexdigest()[:24]
    kind = getattr(recipe, "kind", "function")
    return paths.data_dir() / "comparisons" / f"{kind}-{seed}-{digest}.npz"


def pretrained(recipe: Recipe | str) -> bool:
    """Return whether a recipe is known to begin with ImageNet weights."""
    return isinstance(recipe, Recipe) and recipe.kind != "from_scratch"


def source_of(recipe: Recipe | str) -> list[str]:
    """Return the checksums of the source of a function, none of a `Recipe`."""
    if not isinstance(recipe, str):
        return []
    return _digests(module_sources(recipe.split(":")[0]))


def imported(recipe: str, source: list[str]) -> Callable:
    """Return the function that a recipe names, in the process that makes its run.

    Args:
        recipe: Its name.
        source: What `source_of` returned where the run was named.

    Raises:
        RuntimeError: If the source is another one here.
    """
    module, name = recipe.split(":")
    # What has been imported stays what it was, whatever its file is meanwhile.
    is_new = module not in sys.modules
    function = getattr(importlib.import_module(module), name)
    if is_new:
        here, there = {*source_of(recipe)}, {*source}
        # Where it is installed, the files beside it are not counted.
        if not (here <= there or there <= here):
            others = sorted(each.rpartition(" ")[0] for each in here ^ there)
            raise RuntimeError(
                "The source of this function is another one than where its run was "
                "asked for, so the run would be kept as what it is not. Have the same "
                "file on all machines, do not change it meanwhile, and call again. "
                f"Received: {recipe} with other {', '.join(dict.fromkeys(others))}, on "
                f"{platform.node()}"
            )
    return function


def module_sources(module: str) -> Iterator[pathlib.Path]:
    """Yield the file of a module, and those that it imports from beside it."""
    path = pathlib.Path(importlib.util.find_spec(module).origin)
    # Where the first part of its name lies, and its own folder: a script's place.
    parts = module.count(".") + (path.name == "__init__.py")
    roots = (path.parents[parts], path.parent)
    found, waiting = {path}, [path]
    while waiting:
        path = waiting.pop()
        yield path
        new = {file for file in _imported(path, roots) if not INSTALLED & {*file.parts}}
        new -= found
        found |= new
        waiting += new


def _imported(path: pathlib.Path, roots: tuple) -> Iterator[pathlib.Path]:
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):  # Compiled, or to fail when it is run.
        return
    for node in ast.walk(tree):
        folders, names = roots, []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                folders = [path.parents[node.level - 1]]
            base = f"{node.module}." if node.module else ""
            names = [f"{base}{alias.name}" for alias in node.names]
        for name in names:
            parts = name.split(".")
            # Of `a.b.c` also what a package runs on the way; `c` may be no module.
            for count in range(1, len(parts) + 1):
                for folder in folders:
                    inner = folder.joinpath(*parts[:count])
                    files = (inner.with_name(f"{inner.name}.py"), inner / "__init__.py")
                    yield from (file for file in files if file.is_file())


def _digests(paths, folder: pathlib.Path | None = None) -> list[str]:
    """Return the checksum of each file, with its name or its place in `folder`."""
    return sorted(
        f"{path.relative_to(folder).as_posix() if folder else path.name} "
        f"{content_digest(path)}"
        for path in paths
    )


def _plain(value) -> int | float:
    """Return NumPy's number as Python's."""
    return value.item()


def describe(recipe: Recipe | str) -> dict | str:
    """Return a recipe as plain values."""
    return recipe if isinstance(recipe, str) else dataclasses.asdict(recipe)


def save_run(path: pathlib.Path, run: Run) -> None:
    """Keep a finished run, whole or not at all."""
    with atomic_files.written_whole(path) as temporary:
        np.savez(
            temporary,
            probabilities=run.probabilities,
            labels=run.labels,
            figures=json.dumps(run.figures),
        )


def read_run(path: pathlib.Path) -> Run | None:
    """Return a run that was kept, or `None` if there is none, or not a whole one."""
    try:
        with np.load(path) as kept:
            figures = json.loads(str(kept["figures"]))
            return Run(kept["probabilities"], kept["labels"], figures)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
