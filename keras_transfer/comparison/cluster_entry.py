"""Where a task of Ray begins, before TensorFlow is imported, which reads variables."""

import importlib
import typing

from keras_transfer.runtime.clusters import Surroundings, take_over

if typing.TYPE_CHECKING:
    from keras_transfer.comparison.store import Run


def computed_there(engine: str, there: Surroundings) -> dict[str, str]:
    """Return by what the machine of this task would compute a run."""
    take_over(there)
    store = importlib.import_module("keras_transfer.comparison.store")
    return store.computed_here(engine)


def run_there(
    task: dict, seed: int, computed_by: dict[str, str], there: Surroundings
) -> "Run":
    """Make a run on the machine of this task.

    Args:
        task: That of `comparison.worker`.
        seed: The seed.
        computed_by: What the machine must compute runs by.
        there: The surroundings of whoever asks.

    Raises:
        RuntimeError: If this machine computes in another way, or has other software.
    """
    here = computed_there(task["engine"], there)
    if here != computed_by:
        raise RuntimeError(
            "The machines of this cluster compute runs in different ways, so that they "
            "cannot be compared. Make a cluster of machines that are alike. "
            f"Received: {here} on one, {computed_by} on another"
        )
    worker = importlib.import_module("keras_transfer.comparison.worker")
    return worker.run_seed(task, seed)
