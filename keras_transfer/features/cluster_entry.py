"""Where a worker of Ray Data begins, before TensorFlow is imported."""

import importlib

from keras_transfer.runtime.clusters import take_over


class Extractor:
    """Run a frozen network on rows, as Ray Data calls it.

    Args:
        references: List of the one place in which Ray keeps the `Job`.
    """

    def __init__(self, references):
        (job,) = importlib.import_module("ray").get(references)
        # TensorFlow reads some variables once, when it is imported.
        take_over(job.surroundings)
        del job
        worker = importlib.import_module("keras_transfer.features.cluster_worker")
        self._run = worker.Extractor(references)

    def __call__(self, row: dict) -> dict:
        return self._run(row)
