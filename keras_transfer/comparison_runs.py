"""Run several recipes, each in a process of its own, and compare them."""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence

import keras
import numpy as np

from keras_transfer.comparison import Comparison, summarize
from keras_transfer.comparison_store import Run, describe, read_run, run_path
from keras_transfer.recipes import Recipe
from keras_transfer.splits import Splits

# Lines of a failed process that are shown: the error, and where it was raised.
SHOWN_LINES = 15


def compare(
    experiments: Mapping[str, Recipe | str],
    splits: Splits,
    seeds: Sequence[int] = (0, 1, 2),
    *,
    verbose: bool = True,
) -> Comparison:
    """Train several recipes on the same photos, and say what the difference is worth.

    Each recipe runs in a process of its own, one after the other, so its memory and
    its seconds are its own. Each finished recipe and seed is kept in
    `data/comparisons`: an interrupted comparison goes on where it was, and a recipe
    that is added later is compared with the others without training those again.

    The seconds go from building the network to the trained model; starting the process
    and predicting the test photos are not in them. Features and maps that are read
    back from disk count with the seconds that they took when they were computed. A
    seed sets the weights of the head, dropout and the order of the photos. Operations
    are deterministic, in the precision that was set here.

    Args:
        experiments: For each name a `Recipe`, or a function of your own as
            `"module:function"`, in a file that can be imported (not in the notebook),
            which takes `(splits, seed)` and returns a trained `keras.Model` of images
            that ends in a dense layer.
        splits: `Splits` from `load_dataset` or `load_directory`. Each process loads
            them again, so what you changed in them afterwards has no effect.
        seeds: Different whole numbers from 0. Defaults to `(0, 1, 2)`.
        verbose: Whether to print one line for each recipe and seed. Defaults to
            `True`.

    Returns:
        A `Comparison`, to print, to show in a notebook, or to draw with
        `plots.show_comparison`.

    Raises:
        ValueError: If there is no experiment or seed, a seed is there twice, or an
            experiment or the splits cannot be handed to a process.
        RuntimeError: If the process of a recipe fails. What was finished stays kept.

    Example:

    >>> import keras_transfer as kt
    >>> splits = kt.load_dataset("sample_flowers", image_size=64, max_images=60)
    >>> recipe = kt.Recipe("from_scratch", "small_convnet", epochs=1)
    >>> comparison = kt.compare({"from scratch": recipe}, splits, seeds=[0])
    >>> comparison.rows[0]["trained_parameters"]
    24869

    Reference:

    - [Dietterich, 1998](https://doi.org/10.1162/089976698300017197) (tests between
      classifiers)
    """
    _check(experiments, splits, seeds)
    seeds = [int(seed) for seed in seeds]
    finished = {}
    for name, recipe in experiments.items():
        paths = {seed: run_path(recipe, splits, seed) for seed in seeds}
        found = {seed: read_run(path) for seed, path in paths.items()}
        missing = {seed: paths[seed] for seed in seeds if found[seed] is None}
        if verbose:
            for seed, run in found.items():
                if run is not None:
                    print(_line(name, seed, run), f"(read back from {paths[seed]})")
        if missing:
            for seed in _run_process(name, recipe, splits, missing):
                found[seed] = read_run(paths[seed])
                if verbose:
                    print(_line(name, seed, found[seed]), flush=True)
        finished[name] = [found[seed] for seed in seeds]
    return summarize(finished, seeds)


def _run_process(
    name: str, recipe: Recipe | str, splits: Splits, missing: dict[int, pathlib.Path]
) -> Iterator[int]:
    """Yield each seed as soon as its run is kept."""
    task = {
        "recipe": describe(recipe),
        "runs": [(seed, str(path)) for seed, path in missing.items()],
        "loader": splits.loader,
        "fingerprint": splits.fingerprint,
        "dtype_policy": keras.config.dtype_policy().name,
    }
    # The process finds the modules that can be imported here.
    variables = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    variables.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    variables.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log,
        subprocess.Popen(
            [sys.executable, "-m", "keras_transfer.comparison_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=variables,
        ) as process,
    ):
        try:
            with process.stdin:
                process.stdin.write(json.dumps(task, default=int))
            for line in process.stdout:
                yield int(line)
            process.wait()
        finally:
            # An interruption here ends it as well. It does nothing to one that ended.
            process.kill()
        if process.returncode != 0:
            log.seek(0)
            end = "".join(log.readlines()[-SHOWN_LINES:])
            raise RuntimeError(
                f"The process of {name!r} {_how(process.returncode)}. Runs that were "
                "finished are kept: call compare again to go on. The last that it "
                f"wrote:\n{end}\nReceived: experiments[{name!r}]={recipe!r}"
            )


def _how(code: int) -> str:
    if code < 0:
        return f"was ended by signal {-code}, as happens where memory runs out"
    return f"ended with the exit code {code}"


def _line(name: str, seed: int, run: Run) -> str:
    return (
        f"{name}, seed {seed}: {np.mean(run.right):.1%} of {len(run.right):,} test "
        f"photos right, {run.figures['seconds']:.1f} s"
    )


def _check(experiments, splits, seeds) -> None:
    if not isinstance(experiments, Mapping) or not experiments:
        raise ValueError(
            "Expected at least one experiment: a mapping from a name to a Recipe. "
            f"Received: experiments={experiments!r}"
        )
    for name, recipe in experiments.items():
        if not isinstance(recipe, Recipe) and not _can_be_imported(recipe):
            raise ValueError(
                "An experiment is a Recipe, or the text 'module:function' that names "
                "a function in a file of yours which can be imported, because a "
                "process of its own must find it. "
                f"Received: experiments[{name!r}]={recipe!r}"
            )
    whole = [isinstance(seed, int | np.integer) and seed >= 0 for seed in seeds]
    if not whole or not all(whole) or len({*seeds}) != len(whole):
        raise ValueError(
            "seeds must be at least one whole number from 0, each of them once. "
            f"Received: seeds={seeds!r}"
        )
    if getattr(splits, "loader", None) is None:
        raise ValueError(
            "Expected splits from load_dataset or load_directory, because the process "
            "of a recipe loads them again. Feature maps, and splits made in another "
            f"way, cannot be. Received: splits={splits!r}"
        )


def _can_be_imported(recipe) -> bool:
    if not isinstance(recipe, str) or recipe.count(":") != 1:
        return False
    module, function = recipe.split(":")
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return False
    return bool(function and spec and spec.origin)
