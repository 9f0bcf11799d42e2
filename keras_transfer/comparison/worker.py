"""One process of `compare`: train a recipe with some seeds, and keep each run.

On standard output it writes a line when its imports are done. Then its task comes as
JSON on standard input, and it writes the number of each seed whose run is kept.
"""

import contextlib
import json
import math
import os
import pathlib
import sys
import time

import keras
import numpy as np
import tensorflow as tf

from keras_transfer.comparison.recipe import Recipe
from keras_transfer.comparison.store import Run, imported, save_run
from keras_transfer.comparison.training import Trained, train
from keras_transfer.data.loading_again import load_again
from keras_transfer.data.splits import Splits
from keras_transfer.features import cache
from keras_transfer.models.outputs import class_probabilities
from keras_transfer.runtime.devices import use_all_devices
from keras_transfer.runtime.processes import machine_kind, peak_memory


def run_once(
    recipe: Recipe | str, splits: Splits, seed: int, engine: str, source: list[str]
) -> Run:
    """Train a recipe, and predict the test photos.

    The seconds are those of the recipe: from building the network to the trained
    model. What it read back from disk counts with the seconds that it once took, so
    that no recipe profits from what another one has kept.
    """
    with cache.spared_seconds() as spared:
        start = time.perf_counter()
        trained = _by_function(recipe, splits, seed, source)
        trained = trained or train(recipe, splits, seed, engine)
        seconds = time.perf_counter() - start + sum(spared.values())
    outputs, labels = zip(
        *((trained.network(x, training=False), y) for x, y in trained.test), strict=True
    )
    return Run(
        class_probabilities(trained.network, np.concatenate(outputs)),
        np.concatenate(labels),
        {
            "seconds": seconds,
            "peak_memory": peak_memory(),
            "machine": machine_kind(),
            "alone": True,
            "trained_parameters": sum(
                math.prod(v.shape) for v in trained.model.trainable_variables
            ),
        },
    )


def main() -> None:
    """Do the task that comes on standard input."""
    # The channel of its own: what anybody else writes to standard output, from C or
    # another process too, belongs to what is shown if this process fails.
    words = open(os.dup(1), "w", encoding="utf-8")  # noqa: PTH123, SIM115
    os.dup2(2, 1)
    print("ready", file=words, flush=True)
    task = json.load(sys.stdin)
    with contextlib.redirect_stdout(sys.stderr):
        for seed, path in task["runs"]:
            save_run(pathlib.Path(path), run_seed(task, seed))
            print(seed, file=words, flush=True)


def run_seed(task: dict, seed: int) -> Run:
    """Do a task with a seed as if it were the first one in this process.

    Args:
        task: `recipe`, as `store.describe` gives it, its `source`, `loader` and
            `fingerprint` of the splits, `dtype_policy` and `engine`.
        seed: The seed.
    """
    recipe = task["recipe"]
    recipe = recipe if isinstance(recipe, str) else Recipe(**recipe)
    keras.config.set_dtype_policy(task["dtype_policy"])
    tf.config.experimental.enable_op_determinism()
    use_all_devices()
    keras.utils.clear_session()
    keras.utils.set_random_seed(seed)
    splits = load_again(task["loader"], task["fingerprint"])
    return run_once(recipe, splits, seed, task["engine"], task["source"])


def _by_function(
    recipe: Recipe | str, splits: Splits, seed: int, source: list[str]
) -> Trained | None:
    if not isinstance(recipe, str):
        return None
    model = imported(recipe, source)(splits, seed)
    if not isinstance(model, keras.Model):
        raise TypeError(
            f"{recipe} must return the trained keras.Model. Received: {model!r}"
        )
    return Trained(model, model, splits.test)


if __name__ == "__main__":
    main()
