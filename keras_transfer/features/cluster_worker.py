"""One worker of a cluster: it holds a frozen network, and runs it on rows of photos."""

import importlib
import pathlib
import pickle
import platform
import tempfile
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from keras_transfer.data import photo_files
from keras_transfer.data.loading_again import load_again
from keras_transfer.data.splits import decoded, in_batches
from keras_transfer.features import cache
from keras_transfer.features.inference import frozen_network
from keras_transfer.features.ranges import Job


class Extractor:
    """Run a frozen network on rows, as `cluster_entry.Extractor` hands them on.

    Args:
        references: List of the one place in which Ray keeps the `Job`.
    """

    def __init__(self, references):
        (job,) = importlib.import_module("ray").get(references)
        settings = job.settings
        self._kept = np.dtype(settings["kept"])
        self._network = frozen_network(
            _loaded(job),
            job.image_shape,
            settings["dtype"],
            settings["engine"],
            pooled=settings["pooled"],
        )
        self._batches = _reader(job)

    def __call__(self, row: dict) -> dict:
        values, labels = zip(*self._network.stream(self._batches(row)), strict=True)
        with np.errstate(over="ignore"):  # Which is looked for by whoever gets it.
            made = np.concatenate(values).astype(self._kept, copy=False)
        return {
            "part": row["part"],
            "shape": [*made.shape],
            "dtype": made.dtype.name,
            "values": made.tobytes(),
            "labels": np.concatenate(labels).astype("int32").tobytes(),
        }


def _loaded(job: Job) -> keras.Model:
    for module in job.modules:
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            raise RuntimeError(
                "A worker cannot import what this network is made of. Its file must "
                "lie at the same place on each machine, or its package be installed "
                f"there. Received: module={module}, on {platform.node()} ({error})"
            ) from error
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "network.keras")
        path.write_bytes(job.network)
        # It comes from whoever calls, not from somebody unknown.
        network = keras.saving.load_model(path, compile=False, safe_mode=False)
    if cache.checksums(network) != job.checksums:
        raise RuntimeError(
            "The weights of this network do not come back as they were saved. Leave "
            f"cluster out, to compute it where it was made. Received: {network.name}"
        )
    return network


def _reader(job: Job) -> Callable[[dict], tf.data.Dataset]:
    """Return a function from a row to its batches."""
    if job.loader is not None:
        splits = load_again(job.loader, job.fingerprint)

        def in_range(row):
            images = splits.ordered(row["split"], row["start"], row["stop"])
            # Own training data may have batches of another size than what is in order.
            return images.rebatch(job.batch_size)

        return in_range

    def of_files(row):
        examples = tf.data.Dataset.from_tensor_slices(pickle.loads(row["files"]))
        photos = decoded(examples, photo_files.decode, job.image_size)
        return in_batches(photos, job.batch_size)

    return of_files
