"""`Splits`: the train, validation and test photos of one data set."""

import dataclasses
import os
import typing
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from keras_transfer.arguments import shown
from keras_transfer.images import RESIZE_RULE, resize

FRACTIONS = {"train": 0.70, "validation": 0.15, "test": 0.15}
# Decoded images are kept in memory (uint8) after the first epoch up to this size.
CACHE_BYTES = 2 * 1024**3


WAYS_OUT = (
    "Ways out: set TFDS_DATA_DIR to a folder of prepared data sets; use photos of your "
    "own with load_directory(path), one subfolder a class; or stay with the quick "
    'profile, kt.profile("quick"), which draws its images itself.'
)


class DatasetUnavailableError(RuntimeError):
    """Says that a data set cannot be had here, and what to do instead."""


class Skipped(typing.NamedTuple):
    """Name what was left out of a data set, and why.

    Attributes:
        path: Path of a photo relative to its folder; of a prepared data set, the
            slice of its records.
        reason: Why it is in no split.
    """

    path: str
    reason: str


@dataclasses.dataclass(frozen=True, repr=False)
class Splits:
    """Hold a data set in three parts that share no image.

    Attributes:
        train: Batched `tf.data.Dataset` of float32 images `(batch, size, size, 3)`,
            RGB, 0 to 255, and integer labels; shuffled anew in each epoch.
        validation: The same, in stored order.
        test: The same, in stored order.
        class_names: Tuple of names; label `i` means `class_names[i]`.
        counts: Number of images of each split, by its name.
        name: Name of the data set.
        source: One printable line: where the images came from and how many.
        fingerprint: Changes when any image, label, split or size changes.
        image_size: Side of the square images, in pixels.
        loader: The public function that loads them again, by its name, and its
            arguments; plain values, so that another process can be told. `None` for
            splits that were made in another way.
        skipped: What was left out of the data set, each with `path` and `reason`;
            `source` counts it.
    """

    train: tf.data.Dataset
    validation: tf.data.Dataset
    test: tf.data.Dataset
    class_names: tuple[str, ...]
    counts: dict[str, int]
    name: str
    source: str
    fingerprint: str
    image_size: int
    _ordered: dict[str, Callable[[int, int], tf.data.Dataset]]
    loader: dict | None = None
    skipped: tuple[Skipped, ...] = ()

    def ordered(
        self, split: str, start: int = 0, stop: int | None = None
    ) -> tf.data.Dataset:
        """Return a split batched in stored order, also the training split.

        Args:
            split: `"train"`, `"validation"` or `"test"`.
            start: Number of the first image, from 0. Defaults to `0`.
            stop: Number of the image to stop before. Defaults to that after the last.
        """
        if split not in self._ordered:
            raise ValueError(
                f"Expected one of the splits {', '.join(self._ordered)}. "
                f"Received: split={split}"
            )
        count = self.counts[split]
        stop = count if stop is None else stop
        if not 0 <= start < stop <= count:
            raise ValueError(
                f"The {split} split has {count:,} images: expected 0 <= start < stop "
                f"<= {count}. Received: start={start}, stop={stop}"
            )
        return self._ordered[split](start, stop)

    def arrays(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        """Return a whole split in memory, in stored order.

        Args:
            split: `"train"`, `"validation"` or `"test"`.

        Returns:
            uint8 images of shape `(count, size, size, 3)` and integer labels.
        """
        batches = self.ordered(split).as_numpy_iterator()
        images, labels = zip(
            *((images.astype("uint8"), labels) for images, labels in batches),
            strict=True,
        )
        return np.concatenate(images), np.concatenate(labels)

    def __repr__(self) -> str:
        return f"Splits({self.source})"


def checked_splits(splits: typing.Any, name: str = "splits") -> Splits:
    """Return `Splits` as they are, and refuse what is none."""
    if isinstance(splits, Splits):
        return splits
    raise ValueError(
        f"{name} must be Splits, from load_directory or load_dataset; of arrays or "
        "tf.data data sets, make them with kt.Splits.from_arrays or "
        f"kt.Splits.from_datasets. Received: {name}={shown(splits)}"
    )


def build_splits(
    examples: dict[str, Callable[[], tf.data.Dataset]],
    decode: Callable,
    *,
    counts: dict[str, int],
    image_size: int,
    batch_size: int,
    seed: int,
    **described,
) -> Splits:
    """Turn ordered examples `(encoded, label)` of each split into `Splits`.

    Args:
        examples: For each split, a function that returns its examples in stored
            order; it is called for `fit` and for each reading in order.
        decode: Maps one encoded example to an RGB image tensor.
        counts: Number of images of each split.
        image_size: Side of the square images, in pixels.
        batch_size: Images in a batch.
        seed: Seed of the order of training images.
        **described: `class_names`, `name`, `source`, `fingerprint` and `loader`.
    """

    def read(encoded, label):
        return resize(decode(encoded), image_size), tf.cast(label, tf.int32)

    def batched(dataset):
        return without_autotune(
            dataset.batch(batch_size)
            .map(lambda images, labels: (tf.cast(images, tf.float32), labels))
            .prefetch(2)
        )

    def pixels(dataset):
        return dataset.map(read, num_parallel_calls=os.cpu_count())

    def in_order(make):
        # Cut before they are decoded, which costs most of the time.
        def cut(start, stop):
            return batched(pixels(make().skip(start).take(stop - start)))

        return cut

    ordered = {name: in_order(make) for name, make in examples.items()}
    train, count = examples["train"](), counts["train"]
    validation = pixels(examples["validation"]())
    if sum(counts.values()) * image_size**2 * 3 <= CACHE_BYTES:
        train = pixels(train).cache().shuffle(count, seed=seed)
        validation = validation.cache()
    else:
        train = pixels(train.shuffle(min(count, 8192), seed=seed))
    return Splits(
        train=batched(train),
        validation=batched(validation),
        test=ordered["test"](0, counts["test"]),
        counts=counts,
        image_size=image_size,
        _ordered=ordered,
        **described,
    )


def without_autotune(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Return a data set whose number of threads is as it was written.

    On a CPU, tf.data's tuning leaves a network that reads from it with a single thread
    in about every second pass (TensorFlow 2.21): ResNet50 took 25 in place of 44 images
    a second. Without it that does not happen.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


def describe_size(
    counts: dict[str, int], image_size: int, skipped: int = 0, capped: int = 0
) -> str:
    """Return the printable part of `Splits.source` that says how many images.

    Args:
        counts: Number of images of each split.
        image_size: Side of the square images, in pixels.
        skipped: Number of all that was left out. Defaults to `0`.
        capped: How many of them `max_images` left out. Defaults to `0`.
    """
    parts = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    text = f"{sum(counts.values()):,} images at {image_size} px ({parts})"
    if not skipped:
        return text
    by_cap = " by max_images" if capped else ""
    if 0 < capped < skipped:
        by_cap = f", {capped:,} of them by max_images"
    return f"{text}; {skipped:,} left out{by_cap}"


def cap(
    counts: dict[str, int], max_images: int | None, least: int = 1
) -> dict[str, int]:
    """Return how many images of each split remain under `max_images` in all.

    Args:
        counts: Number of images of each split.
        max_images: The most images in all, or `None` for all.
        least: How many each split must keep, at least. Defaults to `1`.
    """
    needed = least * len(counts)
    if max_images is not None and max_images < needed:
        each = "split" if least == 1 else f"of the {least} classes in each split"
        raise ValueError(
            f"max_images must be at least {needed}, one for each {each}. "
            f"Received: max_images={max_images}"
        )
    total = sum(counts.values())
    if min(counts.values()) < least:
        raise ValueError(
            f"Expected at least {'one image' if least == 1 else f'{least} images'} in "
            f"each split. Use a data set with more images. Received: counts={counts}"
        )
    if max_images is None or total <= max_images:
        return dict(counts)
    kept = {name: max(least, n * max_images // total) for name, n in counts.items()}
    # Splits that were lifted to the least they need take it from the largest one.
    while sum(kept.values()) > max_images:
        kept[max(kept, key=kept.get)] -= 1
    return kept


def settings_text(image_size: int) -> str:
    """Return the settings that belong into every fingerprint."""
    return f"{image_size} px, {RESIZE_RULE}"
