"""Where a frozen network is run: in this process, or by the workers of a cluster."""

import contextlib
from collections.abc import Callable, Iterator, Sequence

import keras

from keras_transfer.data.splits import Splits
from keras_transfer.features import cache
from keras_transfer.features.array_files import Compute, batch_by_batch
from keras_transfer.features.inference import frozen_network
from keras_transfer.features.on_cluster import computed_on
from keras_transfer.features.ranges import Range, Settings
from keras_transfer.runtime.clusters import Workers


def engine_for(asked: Workers | None, engine: str) -> str:
    """Return the engine that an argument stands for where workers have GPUs.

    Raises:
        ValueError: If it computes on processors alone.
    """
    if asked is None or not asked.gpus:
        return engine
    if engine == "openvino":
        raise ValueError(
            "OpenVINO computes on processors. Leave engine out, or gpus_per_worker. "
            f"Received: engine=openvino, gpus_per_worker={asked.gpus}"
        )
    return "tensorflow" if engine == "auto" else engine


@contextlib.contextmanager
def computing(
    asked: Workers | None,
    network: keras.Model,
    splits: Splits,
    settings: Settings,
    verbose: bool = True,
) -> Iterator[Callable[..., Compute]]:
    """Yield a function from the ranges of the parts to what computes them.

    Behind the ranges it takes a function from the number of the first image to the
    batches of a single part, in place of those of its range; in this process only.

    Args:
        asked: The workers, or `None` for this process.
        network: The frozen network.
        splits: `Splits` of which the ranges are.
        settings: How it is run.
        verbose: Whether to print which workers compute. Defaults to `True`.

    Raises:
        UnsupportedError: If the engine does not take the network.
    """
    if asked is not None:
        with computed_on(asked, network, splits, settings, verbose) as compute_of:
            yield compute_of
        return
    run = frozen_network(
        network,
        cache.image_shape(splits),
        settings.dtype,
        settings.engine,
        pooled=settings.pooled,
    )

    def batches_of(part: Range) -> Callable:
        return lambda done: splits.ordered(part.split, part.start + done, part.stop)

    def compute_of(ranges: Sequence[Range], batches: Callable | None = None) -> Compute:
        each = [batches] if batches else [batches_of(part) for part in ranges]
        return batch_by_batch(run, each)

    yield compute_of
