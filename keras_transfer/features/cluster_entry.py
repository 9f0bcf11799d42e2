"""Where a worker of Ray Data begins, before TensorFlow is imported."""

import collections
import importlib
import pickle
import platform

from keras_transfer.runtime.clusters import take_over


class Begun:
    """Count what workers begin, in a process that outlives them.

    Args:
        limits: How often anything of a kind may be begun.
    """

    def __init__(self, limits: dict[str, int]):
        self._limits, self._counts = limits, collections.Counter()

    def count(self, kind: str, name: str = "") -> bool:
        """Note that something is begun, and return whether that was too often."""
        self._counts[kind, name] += 1
        return self._counts[kind, name] > self._limits[kind]


class Extractor:
    """Run a frozen network on rows, as Ray Data calls it.

    What is raised goes back as a row: Ray Data would wrap it until it says no more what
    it was, and earlier rows would be lost.

    Args:
        references: List of the one place in which Ray keeps the `Job`.
        begun: `Begun`, as an actor of Ray.
    """

    def __init__(self, references, begun):
        self._ray = importlib.import_module("ray")
        self._begun, self._error = begun, None
        try:
            self._check("a worker")
            (job,) = self._ray.get(references)
            # TensorFlow reads some variables once, when it is imported.
            take_over(job.surroundings)
            del job
            worker = importlib.import_module("keras_transfer.features.cluster_worker")
            self._run = worker.Extractor(references)
        except Exception as error:
            self._error = error

    def __call__(self, row: dict) -> dict:
        try:
            if self._error is not None:
                raise self._error
            last = row["stop"] - 1
            self._check("a row", f"images {row['start']} to {last} of {row['split']}")
            return self._run(row)
        except Exception as error:
            return {"error": pickle.dumps(_told(error))}

    def _check(self, kind: str, name: str = "") -> None:
        if self._ray.get(self._begun.count.remote(kind, name)):
            raise RuntimeError(
                "The workers of the cluster die again and again, most often because a "
                "machine has too little memory. What was finished is kept: call again "
                "to go on, with fewer workers a machine or larger ones, or without "
                f"these images. Received: {name or 'no worker that lives'}"
            )


def _told(error: Exception) -> Exception:
    """Return an error that says to whoever asked what happened here."""
    if type(error) in (ValueError, OSError, FileNotFoundError, RuntimeError):
        # The one error of a worker that could not begin is told for each of its rows.
        if not getattr(error, "__notes__", ()):
            error.add_note(f"This was raised on {platform.node()}, for whoever asked.")
        return error
    return RuntimeError(
        "A worker of the cluster could not compute this. What was finished is kept: "
        "call again to go on, or leave cluster out to compute it here. "
        f"Received: {type(error).__name__} on {platform.node()}: {error}"
    )
