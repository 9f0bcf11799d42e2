"""Where a worker of Ray begins, before TensorFlow is imported."""

import importlib
import os

from keras_transfer.runtime.clusters import take_over


def learn(task: dict) -> None:
    """Learn with the other workers what a task of `train_on_cluster` says."""
    # Ray asks for Keras 2 in its name, which TensorFlow looks up when it is imported.
    os.environ.pop("TF_USE_LEGACY_KERAS", None)
    take_over(task["surroundings"])
    importlib.import_module("keras_transfer.cluster.worker").learn(task)
