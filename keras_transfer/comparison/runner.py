"""Run several recipes, each in a process of its own, and compare them."""

import contextlib
import importlib.util
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence

import keras
import numpy as np

from keras_transfer.backbones.registry import is_from_outside
from keras_transfer.comparison.on_cluster import (
    RunFailedError,
    machines_of,
    run_on_cluster,
)
from keras_transfer.comparison.recipe import Recipe
from keras_transfer.comparison.result import Comparison, summarize
from keras_transfer.comparison.store import (
    Run,
    computed_here,
    describe,
    read_run,
    run_path,
    source_of,
)
from keras_transfer.data.loading_again import handed_over
from keras_transfer.data.splits import Splits, checked_splits
from keras_transfer.features.inference import engine_here
from keras_transfer.runtime.arguments import elements, flag, shown, whole_number
from keras_transfer.runtime.clusters import asked_workers
from keras_transfer.runtime.processes import child_environment
from keras_transfer.runtime.status_lines import say

# Lines of a failed process that are shown: the error, and where it was raised.
SHOWN_LINES = 15
# Imports keep one core busy for seconds, so two processes import side by side.
AT_ONCE = 2


def compare(
    experiments: Mapping[str, Recipe | str],
    splits: Splits,
    seeds: Sequence[int] = (0, 1, 2),
    *,
    verbose: bool = True,
    engine: str = "auto",
    cluster: str | None = None,
    share_machines: bool = False,
) -> Comparison:
    """Train several recipes on the same photos, and say what the difference is worth.

    Each recipe runs in a process of its own, one after the other, so its memory and its
    seconds are its own. They are started two at a time, because their imports take
    longer than a small recipe; the second one then waits for its turn. Each finished
    recipe and seed is kept in `data/comparisons`: an interrupted comparison goes on
    where it was, and a recipe that is added later is compared with the others without
    training those again. A run is read back only where everything that it depends on is
    the same: recipe and seed, photos, weights, precision, device, versions, and the
    source of this package and of your function, with what it imports from beside it.

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
        splits: `Splits`. Each process loads them again, so what you changed in them
            afterwards has no effect; own arrays and data sets wait for it in files,
            without the augmentation of a training pipeline.
        seeds: Different whole numbers from 0. Defaults to `(0, 1, 2)`.
        verbose: Whether to print one line for each recipe and seed. Defaults to
            `True`.
        engine: What features and maps are computed by in all recipes, as in
            `extract_features`; a function of your own chooses for itself. Defaults to
            `"auto"`.
        cluster: Address of a Ray cluster that makes the runs, as in `extract_features`:
            each recipe and seed in a process of its own, on a whole machine at a time.
            A run whose machine dies is made again, twice at most. Defaults to `None`:
            this machine makes them.
        share_machines: Whether several runs may share a machine of the cluster, each
            with one CPU, and one GPU where there are any. It takes less time, and their
            seconds cannot be compared, which the comparison says. Defaults to `False`.

    Returns:
        A `Comparison`, to print, to show in a notebook, or to draw with
        `plots.show_comparison`.

    Raises:
        ValueError: If there is no experiment or seed, a seed is there twice, or an
            experiment or the splits cannot be handed to a process.
        RuntimeError: If the process of a recipe fails, or the machines of a cluster
            differ in what computes or is installed. What was finished stays kept.
        ConnectionError: If there is no such cluster.
        ModuleNotFoundError: If `cluster` is given and Ray is not installed.

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
    _check(experiments, splits)
    seeds = _seeds(seeds)
    verbose = flag("verbose", verbose)
    engine_here(engine)
    share_machines = flag("share_machines", share_machines)
    workers = asked_workers(cluster)
    # Closed at once after an error, so that no process is left.
    with contextlib.ExitStack() as stack:
        machines = None
        if workers:
            there = machines_of(workers, engine, share_machines)
            machines = stack.enter_context(there)
        made_by = machines.computed_by if machines else computed_here(engine)
        paths, runs, missing = {}, {}, {}
        for name, recipe in experiments.items():
            paths[name] = {s: run_path(recipe, splits, s, made_by) for s in seeds}
            runs[name] = {seed: read_run(path) for seed, path in paths[name].items()}
            for seed, run in runs[name].items():
                if run is None:
                    missing.setdefault(name, {})[seed] = paths[name][seed]
                elif verbose:
                    say(_line(name, seed, run), f"(read back from {paths[name][seed]})")
        loader = stack.enter_context(handed_over(splits)) if missing else None
        tasks = {
            name: {
                "recipe": describe(experiments[name]),
                "source": source_of(experiments[name]),
                "runs": [(seed, str(path)) for seed, path in missing[name].items()],
                "loader": loader,
                "fingerprint": splits.fingerprint,
                "dtype_policy": keras.config.dtype_policy().name,
                "engine": engine,
            }
            for name in missing
        }
        make = run_on_cluster(machines, tasks) if machines else _run_here(tasks)
        made = stack.enter_context(contextlib.closing(make))
        try:
            for name, seed in made:
                runs[name][seed] = read_run(paths[name][seed])
                if verbose:
                    say(_line(name, seed, runs[name][seed]), flush=True)
        except RunFailedError as error:
            name, how = error.args
            raise RuntimeError(
                f"The process of {name!r} {how}\nRuns that were finished are kept: "
                "call compare again to go on. "
                f"Received: experiments[{name!r}]={experiments[name]!r}"
            ) from error
    finished = {name: [runs[name][seed] for seed in seeds] for name in experiments}
    return summarize(finished, seeds)


def _run_here(tasks: Mapping[str, dict]) -> Iterator[tuple[str, int]]:
    """Yield each name and seed as soon as its run is kept."""
    processes = ready_processes(len(tasks))
    with contextlib.closing(processes):
        for (name, task), process in zip(tasks.items(), processes, strict=False):
            for seed in process.run(task):
                yield name, seed
            if process.failure:
                raise RunFailedError(name, process.failure)


def _line(name: str, seed: int, run: Run) -> str:
    return (
        f"{name}, seed {seed}: {np.mean(run.right):.1%} of {len(run.right):,} test "
        f"photos right, {run.figures['seconds']:.1f} s"
    )


def _check(experiments, splits) -> None:
    if not isinstance(experiments, Mapping) or not experiments:
        raise ValueError(
            "Expected at least one experiment: a mapping from a name to a Recipe. "
            f"Received: experiments={shown(experiments)}"
        )
    for name, recipe in experiments.items():
        if not isinstance(name, str):
            raise ValueError(
                "The name of an experiment is a text, for tables and figures. "
                f"Received: {shown(name)} as the name of {shown(recipe)}"
            )
        check_experiment(f"experiments[{name!r}]", recipe, splits)


def check_experiment(name: str, recipe, splits) -> None:
    """Refuse a recipe or splits that cannot be handed to another process.

    Args:
        name: Name of the recipe, for the error.
        recipe: What is to be a `Recipe` or `"module:function"`.
        splits: What are to be `Splits` that can be loaded again.
    """
    if not isinstance(recipe, Recipe) and not _can_be_imported(recipe):
        raise ValueError(
            "An experiment is a Recipe, or the text 'module:function' that names "
            "a function in a file of yours which can be imported, because a "
            "process of its own must find it. "
            f"Received: {name}={recipe!r}"
        )
    if isinstance(recipe, Recipe) and is_from_outside(recipe.backbone):
        raise ValueError(
            "A Recipe is trained in processes of its own, which do not know what was "
            "registered in this one. Name a function of a file that registers the "
            "backbone, as 'module:function', in place of the Recipe. "
            f"Received: {name}={recipe!r}"
        )
    if checked_splits(splits).loader is None:
        raise ValueError(
            "Expected splits from load_dataset, load_directory, Splits.from_arrays or "
            "Splits.from_datasets, because the process of a recipe loads them again. "
            "Feature maps, and splits made in another way, cannot be. "
            f"Received: splits={splits!r}"
        )


def _seeds(seeds) -> list[int]:
    try:
        # What Keras takes.
        whole = [whole_number("seeds", seed, 0, 2**32 - 1) for seed in elements(seeds)]
    except (TypeError, ValueError):  # A single number, or what is none.
        whole = []
    if not whole or len({*whole}) != len(whole):
        raise ValueError(
            "seeds must be a list of at least one whole number from 0, each of them "
            f"once, such as (0, 1, 2). Received: seeds={shown(seeds)}"
        )
    return whole


def _can_be_imported(recipe) -> bool:
    if not isinstance(recipe, str) or recipe.count(":") != 1:
        return False
    module, function = recipe.split(":")
    try:
        spec = importlib.util.find_spec(module)
    except Exception:  # A package runs code of its own when it is looked into.
        return False
    # What is built into Python has no file.
    return bool(function.isidentifier() and spec and spec.has_location)


def ready_processes(count: int) -> Iterator["RecipeProcess"]:
    """Yield `count` processes whose imports are done, each for one task.

    None of them imports while the task of another one runs.
    """
    for start in range(0, count, AT_ONCE):
        with contextlib.ExitStack() as stack:
            processes = [
                stack.enter_context(RecipeProcess())
                for _ in range(start, min(start + AT_ONCE, count))
            ]
            for process in processes:
                process.wait_until_ready()
            yield from processes


class RecipeProcess:
    """A process of `comparison.worker`, which waits for its task.

    Attributes:
        failure: How it ended and the last that it wrote, if it failed, else `None`.
    """

    def __init__(self):
        self.failure = None
        self._open = contextlib.ExitStack()
        self._log = self._open.enter_context(
            tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        )
        self._process = self._open.enter_context(
            subprocess.Popen(
                [sys.executable, "-m", "keras_transfer.comparison.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                encoding="utf-8",
                env=child_environment(),
            )
        )

    def __enter__(self) -> "RecipeProcess":
        return self

    def __exit__(self, *_) -> None:
        self._process.kill()  # It does nothing to one that ended.
        self._open.close()

    def wait_until_ready(self) -> None:
        """Wait until it says so, or has ended."""
        # What Python itself runs at its start may have written something before.
        while self._process.stdout.readline() not in ("ready\n", ""):
            pass

    def run(self, task: dict) -> Iterator[int]:
        """Hand over the task, and yield each number that it writes."""
        with contextlib.suppress(BrokenPipeError), self._process.stdin as words:
            words.write(json.dumps(task, default=lambda value: value.item()))
        for line in self._process.stdout:
            yield int(line)
        code = self._process.wait()
        if code:
            self._log.seek(0)
            end = "".join(self._log.readlines()[-SHOWN_LINES:])
            how = f"ended with the exit code {code}"
            if code < 0:
                how = f"was ended by signal {-code}, as happens where memory runs out"
            self.failure = f"{how}. The last that it wrote:\n{end}"
