"""Train one classifier on several machines of a Ray cluster."""

import os
import pathlib

import keras

from keras_transfer.cluster.entry import learn
from keras_transfer.comparison.recipe import Recipe
from keras_transfer.comparison.runner import check_experiment
from keras_transfer.comparison.store import describe, run_path, source_of
from keras_transfer.data.loading_again import handed_over
from keras_transfer.data.splits import Splits
from keras_transfer.runtime import paths
from keras_transfer.runtime.arguments import file_path, whole_number
from keras_transfer.runtime.clusters import (
    Workers,
    asked_workers,
    connected,
    surroundings,
)
from keras_transfer.runtime.status_lines import say

MODEL = "model.keras"


def train_on_cluster(  # noqa: PLR0913
    recipe: Recipe | str,
    splits: Splits,
    *,
    workers: int = 2,
    cluster: str = "auto",
    gpus_per_worker: int = 1,
    storage: str | os.PathLike | None = None,
    max_failures: int = 2,
    seed: int = 0,
) -> pathlib.Path:
    """Train one classifier on several machines at once, and return where it lies.

    Ray starts the workers and TensorFlow's `MultiWorkerMirroredStrategy` joins them:
    each computes its part of each batch, and all have the same weights after each step.
    Without dropout and augmentation the result is that of one process, but for
    rounding. The photos of a batch are those of all workers together, so the batch
    size of `splits` must be a multiple of `workers`, times their GPUs where each has
    several.

    After each epoch the first worker's state goes to `storage`. Where a worker or its
    machine is lost, all begin again and go on after the last epoch that was kept; so
    does a second call, if this process is lost. A run that is finished is found again.

    Args:
        recipe: A `Recipe`, or a function of your own as `"module:function"`, in a file
            that each machine can import, which returns a trained `keras.Model` of
            images. It takes `(splits, seed)`, or `(splits, seed, callbacks)` and gives
            these callbacks to its one `fit` or `fine_tune`: without them it would begin
            from the start after a failure.
        splits: `Splits` that each worker can load again: photos lie at the same path on
            all machines.
        workers: How many processes learn together, at least 2. Defaults to `2`.
        cluster: `"auto"` for the cluster that this machine is in, its address, or
            `"local"` for a cluster of this machine alone. Defaults to `"auto"`.
        gpus_per_worker: GPUs of each worker; 0 for processors alone. Defaults to `1`.
        storage: Folder that all machines share, for states and the classifier.
            Defaults to `cluster_runs` in the folder of data.
        max_failures: How often the workers may begin again. Defaults to `2`.
        seed: Seed of weights, dropout and whatever is drawn. Defaults to `0`.

    Returns:
        Path of the `.keras` file, which `load_classifier` and `import keras` alone
        load.

    Raises:
        ValueError: If recipe or splits cannot be handed to a process, the cluster is
            smaller than what is asked for, or another argument is wrong.
        ModuleNotFoundError: If Ray is not installed.
        ConnectionError: If there is no cluster.
        RuntimeError: If training failed more often than it may.

    Example:

    >>> import keras_transfer as kt
    >>> splits = kt.load_directory("/shared/photos")  # doctest: +SKIP
    >>> recipe = kt.Recipe("fine_tuned", "resnet50", from_block="conv5")
    >>> kt.train_on_cluster(recipe, splits, workers=4)  # doctest: +SKIP
    PosixPath('/shared/runs/fine_tuned-0-3f2a/model.keras')
    """
    check_experiment("recipe", recipe, splits)
    workers = whole_number("workers", workers, 2)
    gpus = whole_number("gpus_per_worker", gpus_per_worker, 0)
    max_failures = whole_number("max_failures", max_failures, 0)
    seed = whole_number("seed", seed, 0, 2**32 - 1)
    storage = paths.data_dir() / "cluster_runs" if storage is None else storage
    storage = file_path("storage", storage).absolute()
    by = {"workers": f"{workers} with {gpus} GPUs each"}
    path = storage / run_path(recipe, splits, seed, by).stem / MODEL
    if path.exists():
        say(f"Training: found finished, in {path}")
        return path
    task = {
        "recipe": describe(recipe),
        "source": source_of(recipe),
        "fingerprint": splits.fingerprint,
        "seed": seed,
        "dtype_policy": keras.config.dtype_policy().name,
        "path": str(path),
    }
    learn_on_workers(task, splits, (cluster, workers, gpus), max_failures)
    say(f"Training: {workers} workers have made {path}")
    return path


def learn_on_workers(
    task: dict, splits: Splits, asked: tuple, max_failures: int
) -> None:
    """Do a task on the workers of a cluster.

    Args:
        task: What each of them learns, as `train_on_cluster` makes it.
        splits: The photos.
        asked: Cluster, number of workers and GPUs of each.
        max_failures: How often they may begin again.
    """
    asked, path = asked_workers(*asked), pathlib.Path(task["path"])
    with handed_over(splits) as loader, connected(asked):
        paths.make_folder(path.parent)
        given = {"loader": loader, "surroundings": surroundings()}
        _run(task | given, asked, path, max_failures)


def _run(task: dict, asked: Workers, path: pathlib.Path, failures: int) -> None:
    from ray import train
    from ray.train.tensorflow import TensorflowTrainer

    resources = {"CPU": 1} | ({"GPU": asked.gpus} if asked.gpus else {})
    trainer = TensorflowTrainer(
        learn,
        train_loop_config=task,
        scaling_config=train.ScalingConfig(
            num_workers=asked.count,
            use_gpu=bool(asked.gpus),
            resources_per_worker=resources,
        ),
        run_config=train.RunConfig(
            name=path.parent.name,
            storage_path=str(path.parent.parent),
            failure_config=train.FailureConfig(max_failures=failures),
            # The one before, should a machine be lost while the last one is written.
            checkpoint_config=train.CheckpointConfig(num_to_keep=2),
        ),
    )
    try:
        trainer.fit()
    except train.TrainingFailedError as error:
        raise RuntimeError(
            f"The workers failed more often than max_failures={failures} allows. What "
            "they had learnt is kept: call train_on_cluster again to go on. "
            f"Received: recipe={task['recipe']!r}\n{error}"
        ) from error
