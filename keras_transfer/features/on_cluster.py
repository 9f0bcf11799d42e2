"""A frozen network that the workers of a cluster run, with Ray Data.

A row is a few hundred photos that follow each other. Whoever asks gets the rows back in
order and writes them as if they were computed here, so what has been written when a run
is killed is whole, and the next run goes on behind it. Rows that a worker or a machine
takes with it are given to another one by Ray.
"""

import contextlib
import gc
import importlib
import json
import logging
import math
import pathlib
import pickle
import tempfile
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Sequence

import keras
import numpy as np

from keras_transfer.data.loading_again import handed_over
from keras_transfer.data.photo_files import columns
from keras_transfer.data.splits import Splits
from keras_transfer.features import cache
from keras_transfer.features.array_files import Compute, Computed
from keras_transfer.features.cluster_entry import Begun, Extractor
from keras_transfer.features.inference import frozen_network
from keras_transfer.features.ranges import Job, Range, Settings
from keras_transfer.models.graph import operations
from keras_transfer.runtime.clusters import (
    Workers,
    connected,
    last_line,
    surroundings,
    worker_count,
)
from keras_transfer.runtime.status_lines import say

# Images of a row: many, for each costs the making of a pipeline, and few, because what
# a worker that dies was computing is computed again.
IMAGES = 512
# What is made of them, in float32, so that a worker can hold it several times: maps of
# a first block are a few megabytes an image.
ROW_BYTES = 256 * 1024**2
# Rows that each worker gets at least, so that none is idle for long at the end.
ROWS = 4
# How often a row is begun, and a worker for each of them, until that ends the run: Ray
# Data would go on for ever where the row, or the network, is what kills them.
TRIES = 5
STARTS = 30
_WRITTEN = {"class_name", "config", "module", "registered_name"}
# Where Keras looks by itself for classes and functions when it loads a network.
_FOUND_BY_KERAS = {"builtins", "keras", "keras_cv", "keras_hub", "keras_nlp"}
_FUNCTIONS = (
    *(keras.activations, keras.constraints, keras.initializers, keras.losses),
    *(keras.metrics, keras.optimizers, keras.regularizers),
)


@contextlib.contextmanager
def computed_on(
    workers: Workers,
    network: keras.Model,
    splits: Splits,
    settings: Settings,
    verbose: bool,
) -> Iterator[Callable[[Sequence[Range]], Compute]]:
    """Yield a function from the ranges of the parts to what computes them.

    Raises:
        ValueError: If network or splits cannot be given to another process, or the
            cluster has not what is asked for.
        ConnectionError: If there is no such cluster.
        UnsupportedError: If the engine does not take the network.
    """
    _check(network, splits)
    if settings.engine == "openvino":
        # It says here whether it takes the network, and not on each worker.
        frozen_network(
            network, cache.image_shape(splits), settings.dtype, settings.engine
        )
    with connected(workers) as ray, handed_over(splits) as loader:
        count = worker_count(ray, workers)
        batch, images = _batch_size(splits), _images(network, splits, settings)
        job = ray.put(_job(network, splits, settings, loader, batch))
        if verbose:
            address = ray.get_runtime_context().gcs_address
            say(f"Cluster: {count} worker(s) of {address}")

        def compute_of(ranges: Sequence[Range], batches: None = None) -> Compute:
            assert batches is None, "These batches are of the process that asks."

            def compute(missing):
                rows = [*_rows(splits, ranges, missing, count, batch, images)]
                yield from _computed(ray, job, rows, count, workers.gpus)

            return compute

        yield compute_of


def _computed(
    ray: types.ModuleType, job, rows: list[dict], count: int, gpus: int
) -> Iterator[Computed]:
    """Yield what the workers make of rows, in their order."""
    data = importlib.import_module("ray.data")
    # Raised where no row is finished for half an hour.
    late = importlib.import_module("ray.data.exceptions").ExecutionTimeoutError
    limits = {"a row": TRIES, "a worker": STARTS * count}
    # It needs no processor, and is made again where its machine is lost.
    endless = {"max_restarts": -1, "max_task_retries": -1}
    begun = ray.remote(num_cpus=0, **endless)(Begun).remote(limits)
    with _quiet(data):
        dataset = data.from_items(rows, override_num_blocks=len(rows)).map(
            Extractor,
            # In a list: what is not, Ray fetches itself, and fails where it is lost.
            fn_constructor_args=([job], begun),
            compute=data.ActorPoolStrategy(size=min(count, len(rows))),
            num_cpus=1,
            num_gpus=gpus,
        )
        try:
            for row in dataset.iter_rows():
                if "error" in row:
                    raise pickle.loads(row["error"])
                values = np.frombuffer(row["values"], row["dtype"])
                yield Computed(
                    row["part"],
                    values.reshape(row["shape"]),
                    np.frombuffer(row["labels"], "int32"),
                )
        except late as error:
            why, *_ = str(error).splitlines()
            raise RuntimeError(
                "The workers of the cluster finished nothing for so long that Ray gave "
                "up, most often because its machines compute for others. What was "
                "finished is kept: call again to go on, with "
                "RAY_DATA_EXECUTION_NO_PROGRESS_TIMEOUT_S set to more seconds, or -1, "
                f"to wait longer. Received from Ray: {why}"
            ) from error
        except ray.exceptions.RayError as error:
            raise RuntimeError(
                "The workers of the cluster could not compute this. What was finished "
                "is kept: call again to go on, or leave cluster out to compute it "
                f"here. Received from Ray: {last_line(error)}"
            ) from error
        finally:
            # It is in a cycle, and would keep workers, and their machines' processors,
            # of a connection that goes on.
            del dataset, begun
            gc.collect()


@contextlib.contextmanager
def _quiet(data: types.ModuleType) -> Iterator[None]:
    """Have Ray Data keep the order of rows, and print nothing."""
    log, context = logging.getLogger("ray.data"), data.DataContext.get_current()
    level, bars = log.level, context.enable_progress_bars
    ordered = context.execution_options.preserve_order
    # Errors as well: they are raised here.
    log.setLevel(logging.CRITICAL)
    context.enable_progress_bars = False
    context.execution_options.preserve_order = True
    try:
        yield
    finally:
        log.setLevel(level)
        context.enable_progress_bars = bars
        context.execution_options.preserve_order = ordered


def _rows(
    splits: Splits,
    ranges: Sequence[Range],
    missing: Iterable[tuple[int, int]],
    count: int,
    batch: int,
    at_most: int | None = None,
) -> Iterator[dict]:
    """Yield what is missing as rows, cut where one process would cut batches.

    Of `at_most` images, or of `IMAGES`; of one batch at least.
    """
    missing = [*missing]
    images = sum(ranges[p].stop - ranges[p].start - done for p, done in missing)
    at_most = IMAGES if at_most is None else at_most
    most = min(at_most, images // (count * ROWS))
    most = max(1, most // batch) * batch
    for part, done in missing:
        split, start, stop = ranges[part]
        for first in range(start + done, stop, most):
            last = min(first + most, stop)
            files = splits.photos and columns(splits.photos[split][first:last])
            row = {"part": part, "split": split, "start": first, "stop": last}
            # Arrays take half the time and bytes that the files as such would.
            yield {**row, "files": pickle.dumps(files)}


def _images(network: keras.Model, splits: Splits, settings: Settings) -> int:
    """Return how many images a row has at most."""
    shape = cache.check_network(network, splits)
    shape = shape[-1:] if settings.pooled else shape
    return min(IMAGES, ROW_BYTES // (4 * math.prod(shape)))


def _batch_size(splits: Splits) -> int:
    """Return how many images are in a batch of what is read in order."""
    longest = max(splits.counts, key=splits.counts.get)
    _, labels = next(iter(splits.ordered(longest)))
    return len(labels)


def _job(
    network: keras.Model, splits: Splits, settings: Settings, loader: dict, batch: int
) -> Job:
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "network.keras")
        network.save(path)
        saved = path.read_bytes()
    config = _config(network)
    return Job(
        network=saved,
        modules=tuple(sorted({each.__module__ for each in _registered(config)})),
        checksums=cache.checksums(network),
        image_shape=cache.image_shape(splits),
        # A folder of photos is read again by nobody: its rows say all.
        loader=None if splits.photos else loader,
        fingerprint=splits.fingerprint,
        image_size=splits.image_size,
        batch_size=batch,
        settings=settings._asdict(),
        surroundings=surroundings(),
    )


def _check(network: keras.Model, splits: Splits) -> None:
    if splits.loader is None:
        raise ValueError(
            "A cluster computes on splits from load_directory, load_dataset, "
            "Splits.from_arrays or Splits.from_datasets. Its workers cannot read "
            "feature maps, and splits made in another way: leave cluster out. "
            f"Received: splits={splits!r}"
        )
    config = _config(network)
    made_of = {*map(type, operations(network)), *_registered(config)}
    own = sorted(made.__name__ for made in made_of if made.__module__ == "__main__")
    if own:
        raise ValueError(
            "The workers of a cluster cannot import what is defined in a notebook or a "
            "script. Put its class into a file beside it, import it from there, and "
            "decorate it with keras.saving.register_keras_serializable(). "
            f"Received: {network.name} with {', '.join(own[:5])}"
        )
    unknown = sorted({*_unregistered(config)})
    if unknown:
        raise ValueError(
            "The workers of a cluster load the network, and Keras finds a class or a "
            "function of your own again only if it is registered: decorate it, in a "
            "file that workers can import, with "
            "keras.saving.register_keras_serializable(). "
            f"Received: {network.name} with {', '.join(unknown[:5])}"
        )


def _config(network: keras.Model) -> dict:
    """Return what Keras writes of a network that is to be loaded again."""
    try:
        config = keras.saving.serialize_keras_object(network)
        json.dumps(config)
    except Exception as error:
        raise ValueError(
            "The workers of a cluster load the network from a file, and this one "
            "cannot be saved. Give each class of your own a get_config with all "
            "arguments of its __init__, or leave cluster out. "
            f"Received: {network.name} ({type(error).__name__}: {str(error).strip()})"
        ) from error
    # Nothing is trained there, so nobody loads its loss.
    config.pop("compile_config", None)
    return config


def _registered(config: dict) -> list:
    """Return the registered classes and functions that a network is made of.

    Keras finds them again only where their modules have been imported.
    """
    saved = json.dumps(config)
    registered = keras.saving.get_custom_objects().items()
    return [made for name, made in registered if json.dumps(name) in saved]


def _unregistered(config: typing.Any) -> Iterator[str]:
    """Yield the names of classes and functions that Keras will not find again."""
    if isinstance(config, dict):
        # What is written of a class or function, and not what a layer says of itself.
        if config.keys() >= _WRITTEN:
            module, name = config["module"], config["registered_name"]
            if config["class_name"] == "function":
                module, name = None, config["config"]
                known = any(hasattr(each, name) for each in _FUNCTIONS)
            else:
                known = not module or module.partition(".")[0] in _FOUND_BY_KERAS
            if not known and name not in keras.saving.get_custom_objects():
                yield f"{module}.{name}" if module else name
        config = config.values()
    elif not isinstance(config, list | tuple):
        return
    for each in config:
        yield from _unregistered(each)
