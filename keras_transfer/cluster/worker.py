"""One worker of `train_on_cluster`: it learns with the others, and the first one saves.

Only Ray runs this module, on the machines of the cluster.
"""

import importlib
import inspect
import pathlib
import platform
import shutil
import tempfile

import keras
import numpy as np
import tensorflow as tf

from keras_transfer.classifier.saved import save_classifier
from keras_transfer.comparison.recipe import Recipe
from keras_transfer.comparison.store import imported
from keras_transfer.comparison.training import train
from keras_transfer.data.loading_again import load_again
from keras_transfer.models.training_state import random_states
from keras_transfer.runtime import workers
from keras_transfer.runtime.devices import use_all_devices

RANDOM = "random_states.npz"


class Checkpoints(keras.callbacks.BackupAndRestore):
    """Hand what an epoch has made to Ray, and go on from what it gives back.

    Each worker saves, because Keras makes variables on the way, which all have to make.
    What the first one saves is kept.

    Args:
        folder: Folder of this worker's own.
    """

    def __init__(self, folder: pathlib.Path):
        super().__init__(str(folder))
        self._ray = importlib.import_module("ray.train")
        kept = self._ray.get_checkpoint()
        if kept is not None:
            with kept.as_directory() as there:
                shutil.copytree(there, folder, dirs_exist_ok=True)
        self._random, self._passes = folder / RANDOM, 0

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Put back weights, optimizer, random numbers, and the order of the photos."""
        super().on_train_begin(logs)
        if not self._random.exists():
            return
        with np.load(self._random) as kept:
            states = [kept[name] for name in kept.files if name != "passes"]
            self._passes = int(kept["passes"])
        for state, value in zip(random_states(self.model), states, strict=True):
            state.assign(value)
        workers.go_on(self._passes)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Save what there is now, and wait until the first worker's is kept."""
        super().on_epoch_end(epoch, logs)
        states = map(np.asarray, random_states(self.model))
        # Not the number of the epoch: `fine_tune` counts those of its first stage, too,
        # in which nobody goes through the photos.
        self._passes += 1
        np.savez(self._random, *states, passes=self._passes)
        figures = {name: float(value) for name, value in (logs or {}).items()}
        checkpoint = None
        if workers.this_worker().index == 0:
            checkpoint = self._ray.Checkpoint.from_directory(self.backup_dir)
        self._ray.report({"epoch": epoch + 1, **figures}, checkpoint=checkpoint)


def learn(task: dict) -> None:
    """Learn what a task says; the first worker saves the classifier."""
    path = pathlib.Path(task["path"])
    if not path.parent.is_dir():
        raise FileNotFoundError(
            "This machine does not see the folder that the run is kept in. Pass "
            "storage= with a folder that all machines of the cluster share. "
            f"Received: storage={path.parent.parent}, on {platform.node()}"
        )
    keras.config.set_dtype_policy(task["dtype_policy"])
    tf.config.experimental.enable_op_determinism()
    use_all_devices()
    keras.utils.set_random_seed(task["seed"])
    splits = load_again(task["loader"], task["fingerprint"])
    with tempfile.TemporaryDirectory() as folder:
        callbacks = [Checkpoints(pathlib.Path(folder, "backup"))]
        model = _learnt(task, splits, callbacks)
    if workers.this_worker().index == 0:
        save_classifier(model, path, splits.class_names)


def _learnt(task: dict, splits, callbacks: list) -> keras.Model:
    recipe, seed = task["recipe"], task["seed"]
    if not isinstance(recipe, str):
        return train(Recipe(**recipe), splits, seed, callbacks=callbacks).model
    function = imported(recipe, task["source"])
    given = {}
    if "callbacks" in inspect.signature(function).parameters:
        given["callbacks"] = callbacks
    model = function(splits, seed, **given)
    if not isinstance(model, keras.Model):
        raise TypeError(
            f"{recipe} must return the trained keras.Model. Received: {model!r}"
        )
    return model
