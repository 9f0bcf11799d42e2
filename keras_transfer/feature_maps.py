"""Run the first blocks of a network once, so that only the last ones are trained."""

import dataclasses
import os
import pathlib
import typing

import keras
import numpy as np
import tensorflow as tf

from keras_transfer import feature_store, storage
from keras_transfer.precision import fast_copy, fast_dtype
from keras_transfer.splits import Splits, without_autotune
from keras_transfer.status_lines import say

FILES = ("maps", "labels")


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


def extract_feature_maps(
    network: keras.Model,
    splits: Splits,
    *,
    augmentation: keras.layers.Layer | None = None,
    augmented_copies: int = 2,
    batch_size: int = 32,
    seed: int = 0,
    dtype: str | None = None,
    cache_dir: str | os.PathLike | None = None,
    verbose: bool = True,
) -> FeatureMaps:
    """Run frozen layers once over a data set and keep their feature maps on disk.

    With augmentation, the training photos are also run in `augmented_copies` changed
    versions. An epoch then sees one of the copies, and the next epoch the next.

    Args:
        network: `keras.Model` from images to a feature map, such as the first part
            from `split_at_block`.
        splits: `Splits` with images of the network's input size.
        augmentation: Layer from `build_augmentation`. Defaults to none.
        augmented_copies: Changed versions of each training photo, at least 1. Used
            with `augmentation` only. Defaults to `2`.
        batch_size: Feature maps in a batch. Defaults to `32`.
        seed: Seed of the order of the training data. Defaults to `0`.
        dtype: Precision of the computation, as in `extract_features`.
        cache_dir: Folder that keeps the maps. Defaults to `data/feature_maps`.
        verbose: Whether to print one line for each part. Defaults to `True`.

    Returns:
        `FeatureMaps`, to use wherever `Splits` are. On disk they are float16.

    Raises:
        ValueError: If the shapes do not fit, or `augmented_copies` is below 1.
        OSError: If there is not enough room on the disk.

    Example:

    >>> import keras_transfer as kt
    >>> splits = kt.load_dataset("sample_cats_vs_dogs", image_size=64, max_images=36)
    >>> backbone = kt.build_backbone("vgg16", weights=None, image_size=64)
    >>> first, last = kt.split_at_block(backbone, "block4")
    >>> maps = kt.extract_feature_maps(first, splits)
    >>> maps.arrays("test")[0].shape
    (5, 4, 4, 512)
    """
    feature_store.check_network(network, splits)
    if augmentation is not None and augmented_copies < 1:
        raise ValueError(
            "augmented_copies must be at least 1. "
            f"Received: augmented_copies={augmented_copies}"
        )
    copies = 0 if augmentation is None else augmented_copies
    dtype = fast_dtype(network, dtype, frozen=True)
    cache_dir = pathlib.Path(cache_dir or storage.data_dir() / "feature_maps")
    shape = network.output_shape[1:]
    parts = _parts(network, splits, dtype, augmentation, copies)
    sizes = {part: (splits.counts[part.split], *shape) for part in parts}
    missing = [
        part for part in parts if not feature_store.read(cache_dir / part.key, FILES)
    ]
    if missing:
        # All of it is asked for before any of it is computed.
        needed = sum(2 * int(np.prod(sizes[part])) for part in missing)
        free = storage.check_room(cache_dir, needed)
        if verbose:
            say(
                f"Feature maps: {needed / 1e6:,.0f} MB to keep in {cache_dir} "
                f"({free / 1e6:,.0f} MB free)"
            )
    run = None
    if missing:
        frozen = fast_copy(network, dtype, frozen=True)
        run = feature_store.compiled(frozen, tf.float16)
    arrays, labels = {}, {}
    for part in parts:

        def write(path, part=part):
            dataset = splits.ordered(part.split)
            if part.copy:
                dataset = _augmented(dataset, augmentation, part.copy)
            files = (path / f"{name}.npy" for name in FILES)
            feature_store.write_outputs(run, dataset, *files, sizes[part], np.float16)

        found, was_there = feature_store.keep(cache_dir / part.key, FILES, write)
        arrays[part], labels[part.split] = found["maps"], np.array(found["labels"])
        if verbose:
            how = "read back" if was_there else f"computed in {dtype}"
            say(
                f"Feature maps: {sizes[part][0]:,} {part.split} images x {shape}"
                f"{f', augmented copy {part.copy}' if part.copy else ''}, {how}, "
                f"{found['maps'].nbytes / 1e6:,.0f} MB"
            )

    def in_order(split):
        maps = next(arrays[part] for part in parts if part.split == split)
        return lambda start, stop: _dataset(
            [maps[start:stop]], labels[split][start:stop], batch_size
        )

    ordered = {split: in_order(split) for split in splits.counts}
    whole = {split: ordered[split](0, count) for split, count in splits.counts.items()}
    train = [arrays[part] for part in parts if part.split == "train"]
    return FeatureMaps(
        train=_dataset(train, labels["train"], batch_size, seed),
        validation=whole["validation"],
        test=whole["test"],
        class_names=splits.class_names,
        counts=splits.counts,
        name=splits.name,
        source=f"{splits.source}; feature maps {shape} of {network.name}",
        fingerprint=feature_store.key(network, splits, dtype),
        image_size=shape[0],
        _ordered=ordered,
        made_by=feature_store.made_by(network, splits),
    )


class _Part(typing.NamedTuple):
    """Name one file of maps: a split, and which changed version of it (0: none)."""

    split: str
    copy: int
    key: str


def _parts(network, splits, dtype, augmentation, copies) -> list[_Part]:
    def key(split, copy):
        described = [dtype, split]
        if copy:
            layer = keras.saving.serialize_keras_object(augmentation)
            described += [copy, feature_store.nameless(layer)]
        return feature_store.key(network, splits, *described)

    pairs = [(split, 0) for split in splits.counts]
    pairs += [("train", copy) for copy in range(1, copies + 1)]
    return [_Part(split, copy, key(split, copy)) for split, copy in pairs]


def _dataset(copies, labels, batch_size, seed=None) -> tf.data.Dataset:
    """Read batches of the copies, a copy in each pass, shuffled if there is a seed."""
    passes = 0

    def batches():
        nonlocal passes
        order, maps = np.arange(len(labels)), copies[passes % len(copies)]
        if seed is not None:
            order = np.random.default_rng((seed, passes)).permutation(order)
        passes += 1
        for start in range(0, len(order), batch_size):
            # Sorted, so that a disk is read in one direction.
            chosen = np.sort(order[start : start + batch_size])
            yield maps[chosen].astype("float32"), labels[chosen]

    shape = copies[0].shape[1:]
    dataset = tf.data.Dataset.from_generator(
        batches,
        output_signature=(
            tf.TensorSpec((None, *shape), tf.float32),
            tf.TensorSpec((None,), tf.int32),
        ),
    )
    steps = -(-len(labels) // batch_size)
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(steps))
    return without_autotune(dataset.prefetch(2))


def _augmented(dataset, augmentation, copy: int) -> tf.data.Dataset:
    # A layer of its own for each copy, so that a copy that is kept on disk does not
    # change what the next one draws.
    layer = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(augmentation)
    )
    for variable in layer.variables:
        # The state of a generator is its seed and a counter.
        variable.assign(variable + np.array([0, copy * 1_000_003], "uint32"))
    return dataset.map(lambda images, labels: (layer(images, training=True), labels))
