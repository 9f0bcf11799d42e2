"""What `compare` keeps of each recipe and seed, and under which name."""

import dataclasses
import hashlib
import importlib.metadata
import importlib.util
import json
import pathlib
import typing
import zipfile

import keras
import numpy as np

from keras_transfer import profiles, storage
from keras_transfer.recipes import Recipe
from keras_transfer.splits import Splits

# Counted up when a recipe of the same values trains in another way than before.
VERSION = 1
LIBRARIES = ("keras", "tensorflow")


class Run(typing.NamedTuple):
    """Hold what one recipe made with one seed.

    Attributes:
        probabilities: Array `(photos, classes)` of the test photos, in stored order.
        labels: Their integer labels.
        figures: `seconds`, `peak_memory` in bytes or `None`, `trained_parameters`.
    """

    probabilities: np.ndarray
    labels: np.ndarray
    figures: dict

    @property
    def right(self) -> np.ndarray:
        """Whether each test photo was named rightly."""
        return self.probabilities.argmax(axis=1) == self.labels


def run_path(recipe: Recipe | str, splits: Splits, seed: int) -> pathlib.Path:
    """Return where the run of a recipe with a seed is kept.

    The name holds all that the figures depend on: recipe, seed, data, precision,
    device and versions, and for a function the text of its module.
    """
    arguments = splits.loader["arguments"]
    described = {
        "recipe": describe(recipe),
        "seed": seed,
        "data": splits.fingerprint,
        # These two are in no fingerprint, because they change no photo.
        "batches": [arguments["batch_size"], arguments["seed"]],
        "dtype_policy": keras.config.dtype_policy().name,
        "device": profiles._device()[0],
        "versions": [VERSION, *map(importlib.metadata.version, LIBRARIES)],
    }
    if isinstance(recipe, str):
        spec = importlib.util.find_spec(recipe.split(":")[0])
        source = pathlib.Path(spec.origin).read_bytes()
        described["source"] = hashlib.sha256(source).hexdigest()
    text = json.dumps(described, sort_keys=True, default=int)
    digest = hashlib.sha256(text.encode()).hexdigest()[:24]
    kind = getattr(recipe, "kind", "function")
    return storage.data_dir() / "comparisons" / f"{kind}-{seed}-{digest}.npz"


def describe(recipe: Recipe | str) -> dict | str:
    """Return a recipe as plain values."""
    return recipe if isinstance(recipe, str) else dataclasses.asdict(recipe)


def save_run(path: pathlib.Path, run: Run) -> None:
    """Keep a finished run, whole or not at all."""
    with storage.written_whole(path) as temporary:
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
