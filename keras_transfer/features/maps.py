"""Run the first blocks of a network once, so that only the last ones are trained."""

import contextlib
import dataclasses
import math
import os
import pathlib
import typing
from collections.abc import Callable, Iterable, Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf

from keras_transfer.data.augmentation import checked_augmentation
from keras_transfer.data.passes import Passes
from keras_transfer.data.pipelines import without_autotune
from keras_transfer.data.shares import shared
from keras_transfer.data.splits import Splits, checked_splits
from keras_transfer.features import cache
from keras_transfer.features.array_files import Outputs, write_outputs
from keras_transfer.features.computing import computing, engine_for
from keras_transfer.features.inference import UnsupportedError, engines
from keras_transfer.features.ranges import Range, Settings
from keras_transfer.models.precision import described, fast_dtype
from keras_transfer.models.training_state import random_states
from keras_transfer.runtime import atomic_files, paths
from keras_transfer.runtime.arguments import shown, whole_number
from keras_transfer.runtime.clusters import asked_workers
from keras_transfer.runtime.keras_internals import flat_layers
from keras_transfer.runtime.status_lines import say

FILES = ("maps", "labels")
_FOLDER = "feature_maps"


@dataclasses.dataclass(frozen=True, repr=False)
class FeatureMaps(Splits):
    """Hold the feature maps of a data set in place of its images.

    The same three parts with the same labels, for the layers that come after those
    that were run. `train` goes through the copies of the training photos in turn, one
    in each epoch.

    Attributes:
        made_by: Checksums of the weights that they were computed with.
    """

    made_by: frozenset[str] = frozenset()

    def arrays(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the feature maps of a whole split, float32, and integer labels.

        Args:
            split: `"train"`, `"validation"` or `"test"`.
        """
        maps, labels = zip(*self.ordered(split).as_numpy_iterator(), strict=True)
        return np.concatenate(maps), np.concatenate(labels)


def extract_feature_maps(  # noqa: PLR0913
    network: keras.Model,
    splits: Splits,
    *,
    augmentation: keras.layers.Layer | Sequence[keras.layers.Layer] | None = None,
    augmented_copies: int = 2,
    batch_size: int = 32,
    seed: int = 0,
    dtype: typing.Any = None,
    engine: str = "auto",
    cache_dir: str | os.PathLike | None = None,
    verbose: bool | int | str = True,
    cluster: str | None = None,
    workers: int | None = None,
    gpus_per_worker: int = 0,
) -> FeatureMaps:
    """Run frozen layers once over a data set and keep their feature maps on disk.

    With augmentation, the training photos are also run in `augmented_copies` changed
    versions. An epoch then sees one of the copies, and the next epoch the next. A run
    that was interrupted or killed goes on where it stopped, and ends with the same
    maps.

    Args:
        network: `keras.Model` from images to a feature map, such as the first part
            from `split_at_block`; any model that `extract_features` takes.
        splits: `Splits` with images of the network's input size.
        augmentation: Layer from `build_augmentation`, or a list of layers. Defaults
            to none.
        augmented_copies: Changed versions of each training photo, at least 1. Used
            with `augmentation` only. Defaults to `2`.
        batch_size: Feature maps in a batch. Defaults to `32`.
        seed: Seed of the order of the training data. Defaults to `0`.
        dtype: Precision of the computation, as in `extract_features`.
        engine: What computes it, as in `extract_features`. Defaults to `"auto"`.
        cache_dir: Folder that keeps the maps. Defaults to `data/feature_maps`.
        verbose: Whether to print what was done. Defaults to `True`.
        cluster: Address of a Ray cluster whose workers compute them, as in
            `extract_features`; without `augmentation`. Defaults to `None`: this process
            computes.
        workers: Number of workers of the cluster, as in `extract_features`.
        gpus_per_worker: GPUs that each worker gets. Defaults to `0`.

    Returns:
        `FeatureMaps`, to use wherever `Splits` are. On disk they are float16.

    Raises:
        ValueError: If the shapes do not fit, an argument is out of its range, or a
            cluster cannot be given this work.
        OSError: If there is not enough room on the disk, nothing can be written, or
            there is no such cluster.
        RuntimeError: If the workers of a cluster fail, or have other software.
        ModuleNotFoundError: If `cluster` is given and Ray is not installed.

    Example:

    >>> import keras_transfer as kt
    >>> splits = kt.load_dataset("sample_cats_vs_dogs", image_size=64, max_images=36)
    >>> backbone = kt.build_backbone("vgg16", weights=None, image_size=64)
    >>> first, last = kt.split_at_block(backbone, "block4")
    >>> maps = kt.extract_feature_maps(first, splits)
    >>> maps.arrays("test")[0].shape
    (5, 4, 4, 512)
    """
    checked_splits(splits)
    shape = cache.check_network(network, splits)
    augmentation = checked_augmentation(augmentation, splits)
    copies = whole_number("augmented_copies", augmented_copies, 1)
    copies = 0 if augmentation is None else copies
    batch_size = whole_number("batch_size", batch_size, 1)
    seed = whole_number("seed", seed, 0)
    verbose = cache.is_verbose(verbose)
    dtype = fast_dtype(network, dtype, frozen=True)
    cache_dir = cache.folder_of("cache_dir", cache_dir, _FOLDER)
    weights = cache.checksums(network)
    asked = asked_workers(cluster, workers, gpus_per_worker)
    if asked and copies:
        raise ValueError(
            "A cluster computes maps of photos as they are. Each augmented copy is "
            "drawn in one go, so that its random numbers hold: leave cluster out, or "
            f"augmentation. Received: cluster={cluster}, augmentation={augmentation}"
        )
    settings = (network, splits, dtype, augmentation, copies, weights)
    plans = _plans(cache_dir, engines(network, engine_for(asked, engine)), *settings)
    # All of it is asked for before any of it is computed.
    paths.check_room(cache_dir, plans[0].needed)
    arrays, labels = {}, {}
    with contextlib.ExitStack() as stack:

        def make(engine):
            how = Settings(dtype, engine, pooled=False, kept="float16")
            run = computing(asked, network, splits, how, verbose)
            return stack.enter_context(run)

        plan, compute_of = _first_ready(plans, make)
        free = paths.check_room(cache_dir, plan.needed)
        if verbose and plan.missing:
            say(
                f"Feature maps: {plan.needed / 1e6:,.0f} MB to keep in {cache_dir} "
                f"({free / 1e6:,.0f} MB free)"
            )
        for part in plan.parts:

            def write(path, part=part):
                return _write(compute_of, splits, part, augmentation, path)

            found, was_there = cache.keep(cache_dir / part.key, FILES, write)
            arrays[part], labels[part.split] = found["maps"], np.array(found["labels"])
            if verbose:
                how = "read back"
                if not was_there:
                    how = f"computed in {described(network, dtype)} by {plan.engine}"
                say(
                    f"Feature maps: {part.shape[0]:,} {part.split} images x {shape}"
                    f"{f', augmented copy {part.copy}' if part.copy else ''}, {how}, "
                    f"{found['maps'].nbytes / 1e6:,.0f} MB"
                )

    def in_order(split):
        maps = next(arrays[part] for part in plan.parts if part.split == split)
        return lambda start, stop: _dataset(
            [maps[start:stop]], labels[split][start:stop], batch_size
        )

    ordered = {split: in_order(split) for split in splits.counts}
    whole = {split: ordered[split](0, count) for split, count in splits.counts.items()}
    train = [arrays[part] for part in plan.parts if part.split == "train"]
    passes = Passes(seed)
    return FeatureMaps(
        train=_dataset(train, labels["train"], batch_size, passes),
        validation=whole["validation"],
        test=whole["test"],
        class_names=splits.class_names,
        counts=splits.counts,
        name=splits.name,
        source=f"{splits.source}; feature maps {shape} of {network.name}",
        fingerprint=cache.key(network, splits, *plan.computed_by, weights=weights),
        image_size=shape[0],
        _ordered=ordered,
        passes=passes,
        made_by=cache.made_by(network, splits, weights),
    )


def _write(compute_of, splits, part, augmentation, folder: pathlib.Path) -> float:
    """Write one part, and return the seconds that were spared."""
    batches = None
    if part.copy:

        def batches(done):
            # Drawn again from the start, for the random numbers to be the same.
            dataset = splits.ordered(part.split)
            return _after(_augmented(dataset, augmentation, part.copy), done)

    files = (folder / f"{name}.npy" for name in FILES)
    compute = compute_of([Range(part.split, 0, part.shape[0])], batches)
    return write_outputs(compute, [Outputs(*files, part.shape, np.float16)])


def missing_bytes(
    network: keras.Model,
    splits: Splits,
    augmentation: keras.layers.Layer | None,
    augmented_copies: int,
    dtype: typing.Any = None,
    engine: str = "auto",
) -> int:
    """Return how much `extract_feature_maps` would have to write into `data/`."""
    cache.check_network(network, splits)
    folder = cache.folder_of("cache_dir", None, _FOLDER)
    dtype, weights = fast_dtype(network, dtype, frozen=True), cache.checksums(network)
    settings = (network, splits, dtype, augmentation, augmented_copies, weights)
    return _plans(folder, engines(network, engine), *settings)[0].needed


class _Part(typing.NamedTuple):
    """Name one file of maps: a split, and which changed version of it (0: none)."""

    split: str
    copy: int
    key: str
    shape: tuple[int, ...]


class _Plan(typing.NamedTuple):
    """Hold what an engine would have to do.

    Attributes:
        engine: Its name.
        computed_by: What the keys hold of how maps are computed.
        parts: All parts.
        missing: Those that are not there.
        needed: Bytes that are to be written.
    """

    engine: str
    computed_by: list[str]
    parts: list[_Part]
    missing: list[_Part]
    needed: int


def _plans(cache_dir, engines, network, splits, dtype, *settings) -> list[_Plan]:
    """Return what each engine would have to do, before all others one that began."""
    found = []
    for engine in engines:
        computed_by = cache.computed_by(dtype, engine)
        parts = _parts(network, splits, computed_by, *settings)
        missing = [
            part for part in parts if not cache.read(cache_dir / part.key, FILES)
        ]
        needed = sum(
            2 * math.prod(part.shape) - atomic_files.left_bytes(cache_dir / part.key)
            for part in missing
        )
        found.append(_Plan(engine, computed_by, parts, missing, needed))
    return sorted(found, key=lambda plan: len(plan.missing) == len(plan.parts))


def _first_ready(plans: list[_Plan], make: Callable):
    """Return the first plan whose engine takes the network, and what runs it."""
    for plan in plans:
        if not plan.missing:
            return plan, None
        try:
            return plan, make(plan.engine)
        except UnsupportedError:
            if plan is plans[-1]:
                raise
    raise AssertionError("There is always an engine.")


def _parts(network, splits, computed_by, augmentation, copies, weights) -> list[_Part]:
    changed = []
    if copies:
        changed = [cache.nameless(_serialized(augmentation))]
        if augmentation.weights:
            changed.append(cache.checksums(augmentation))
    shape = cache.check_network(network, splits)

    def part(split, copy):
        more = [*computed_by, split, *([copy, *changed] if copy else [])]
        key = cache.key(network, splits, *more, weights=weights)
        return _Part(split, copy, key, (splits.counts[split], *shape))

    pairs = [(split, 0) for split in splits.counts]
    pairs += [("train", copy) for copy in range(1, copies + 1)]
    return [part(split, copy) for split, copy in pairs]


def _dataset(copies, labels, batch_size, passes=None) -> tf.data.Dataset:
    """Read batches of the copies, one in each pass, shuffled if these are counted."""

    def batches(cut):
        number, order = 0, np.arange(len(labels))
        if passes is not None:
            number, order = passes.begin(len(labels))
        maps = copies[number % len(copies)]
        for chosen in cut.batches(order):
            # So that a disk is read in one direction.
            chosen = np.sort(chosen)
            yield maps[chosen], labels[chosen]

    def make(cut):
        shape = copies[0].shape[1:]
        dataset = tf.data.Dataset.from_generator(
            lambda: batches(cut),
            output_signature=(
                tf.TensorSpec((None, *shape), tf.float16),
                tf.TensorSpec((None,), tf.int32),
            ),
        )
        # Here, because NumPy takes three times as long for it.
        dataset = dataset.map(lambda maps, labels: (tf.cast(maps, tf.float32), labels))
        count = tf.data.experimental.assert_cardinality(cut.number(len(labels)))
        return without_autotune(dataset.apply(count).prefetch(2))

    training = passes is not None
    return shared(make, len(labels), batch_size, training=training, passes=passes)


def _after(dataset: Iterable, done: int) -> Iterator:
    """Yield the batches that come after the first `done` images."""
    for images, labels in dataset:
        if done <= 0:
            yield images, labels
        done -= len(labels)


def _serialized(augmentation) -> dict:
    try:
        return keras.saving.serialize_keras_object(augmentation)
    except Exception as error:
        raise _no_copy(augmentation) from error


def _no_copy(augmentation) -> ValueError:
    return ValueError(
        "Each augmented copy is drawn by a layer of its own, made from the "
        "configuration of this one: give each class of your own a get_config with all "
        f"arguments of its __init__. Received: augmentation={shown(augmentation)}"
    )


def _augmented(dataset, augmentation, copy: int) -> tf.data.Dataset:
    # A layer of its own for each copy, so that a copy that is kept on disk does not
    # change what the next one draws.
    classes = {type(each).__name__: type(each) for each in flat_layers(augmentation)}
    try:
        layer = keras.saving.deserialize_keras_object(
            _serialized(augmentation), custom_objects=classes, safe_mode=False
        )
        if augmentation.weights:
            layer.set_weights(augmentation.get_weights())
    except Exception as error:
        raise _no_copy(augmentation) from error
    for variable in random_states(layer):
        variable.assign(variable + np.array([0, copy * 1_000_003], "uint32"))

    def changed(images, labels):
        return tf.cast(layer(images, training=True), tf.float32), labels

    return dataset.map(changed)
