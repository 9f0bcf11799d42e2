"""`Splits`: the train, validation and test photos of one data set."""

import dataclasses
import os
import typing
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from keras_transfer.data import own_arrays, own_data, own_datasets
from keras_transfer.data.decoding import RESIZE_RULE, resize
from keras_transfer.data.own_content import Content, compact
from keras_transfer.data.passes import Passes
from keras_transfer.data.pipelines import without_autotune
from keras_transfer.data.shares import Whole, shared
from keras_transfer.data.skipped import Skipped
from keras_transfer.runtime.arguments import one_of, shown, whole_number
from keras_transfer.runtime.status_lines import say

# Decoded images are kept in memory (uint8) after the first epoch up to this size.
CACHE_BYTES = 2 * 1024**3
# What `Splits.annotations` returns of data sets that have it.
ANNOTATIONS = ("box", "mask", "key_points")
# The loader of own data, which no public function can load again: see comparison_data.
OWN = "own data"

WAYS_OUT = (
    "Ways out: set TFDS_DATA_DIR to a folder of prepared data sets; use photos of your "
    "own with load_directory(path), one subfolder a class; or stay with the quick "
    'profile, kt.profile("quick"), which draws its images itself.'
)


class DatasetUnavailableError(RuntimeError):
    """Says that a data set cannot be had here, and what to do instead."""


# What a photo is that could be read and was left out, whatever the other one's name.
IN_TWO_CLASSES = "in two classes"
COPY = "a copy of another photo"
IN_SPLIT = "a copy of a photo in another split"
NEAR_SPLIT = "nearly the same as a photo in another split"
GROUP_IN_SPLIT = "belongs to a photo in another split"


@dataclasses.dataclass(frozen=True, repr=False)
class Splits:
    """Hold a data set in three parts that share no image.

    Attributes:
        train: Batched `tf.data.Dataset` of float32 images `(batch, size, size, 3)`,
            RGB, 0 to 255, and integer labels; shuffled anew in each epoch, or as it
            was given to `from_datasets`.
        validation: The same, in stored order.
        test: The same, in stored order.
        class_names: Tuple of names; label `i` means `class_names[i]`.
        counts: Number of images of each split, by its name.
        name: Name of the data set.
        source: One printable line: where the images came from and how many.
        fingerprint: Changes when any image, label, split or size changes.
        image_size: Side of the square images, in pixels.
        loader: The public function that loads them again, by its name, and its
            arguments; plain values, so that another process can be told. Own data,
            which no function can load again, have `OWN` in place of its name, and are
            handed over in files. `None` for splits that were made in another way.
        skipped: What was left out of the data set, each with `path` and `reason`;
            `source` counts it.
        photos: Of a folder of photos, the files of each split in stored order, each
            with `path`, `label`, `sha256` and `group`, the number that photos share
            which are kept together; else `None`.
        left_out: Of a folder that gives splits, the photos that stay out because they
            belong to those of another split or nearly are the same, as in `photos`.
        passes: What orders `train` in each pass, where that can be set; else `None`.
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
    photos: Mapping[str, tuple] | None = None
    left_out: tuple = ()
    passes: Passes | None = None
    _content: Content | None = None
    _annotations: Callable[[str], dict[str, np.ndarray]] | None = None
    _stored_train: tf.data.Dataset | None = None

    @property
    def trains_as_stored(self) -> bool:
        """Whether `train` was made here of the stored photos, and not given by you."""
        return self.train is self._stored_train

    @classmethod
    def from_arrays(  # noqa: PLR0913
        cls,
        train: tuple,
        validation: tuple | None = None,
        test: tuple | None = None,
        *,
        class_names: Sequence[str] | None = None,
        fractions: Mapping[str, float] | Sequence[float] | None = None,
        image_size: int | None = None,
        batch_size: int = 32,
        seed: int = 0,
        name: str = "arrays",
    ) -> "Splits":
        """Make splits of images and labels in memory.

        Splits that are not given are cut from `train`: of each class its fraction, by
        the seed, in the order in which the images are given; exact copies of an image
        stay together.

        uint8 images are not copied, so do not change them afterwards. Others are read
        into memory once: as uint8 if they are whole numbers from 0 to 255, else as
        float32; beyond 2 GB they go into files under the data folder until the splits
        are gone.

        Args:
            train: Pair `(images, labels)` of NumPy arrays, tensors or lists. Images are
                RGB, `(count, size, size, 3)`, any numbers, 0 to 255 for the backbones
                of `build_backbone`; grey ones become RGB. Labels are whole numbers
                from 0, also in a column, one-hot rows, or class names.
            validation: The same. Defaults to a part of `train`.
            test: The same. Defaults to a part of `train`.
            class_names: Names of the classes, in the order of the labels. Defaults to
                the labels where these are names, else to their numbers as text.
            fractions: Shares of `train` that the splits get that are cut from it, such
                as `{"validation": 0.2, "test": 0.2}`; or of all three, train first.
                Defaults to 0.15 each.
            image_size: Side in pixels to which images are stretched. Defaults to that
                of the images, which must then be square and of one size.
            batch_size: Images in a batch. Defaults to `32`.
            seed: Seed of the cut and of the order of training images. Defaults to `0`.
            name: Name of the data set. Defaults to `"arrays"`.

        Returns:
            `Splits`, which all functions take that take those of `load_dataset`.

        Raises:
            ValueError: If images, labels and names do not fit, or a class has too few
                images to be in each split.

        Example:

        >>> import numpy as np, keras_transfer as kt
        >>> images = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), "uint8")
        >>> labels = np.arange(40) % 2
        >>> splits = kt.Splits.from_arrays((images, labels), class_names=["cat", "dog"])
        Data: arrays: 40 images at 32 px (28 train, 6 validation, 6 test)
        >>> splits.test.element_spec[0].shape
        TensorShape([None, 32, 32, 3])
        """
        _only_of_images(cls)
        batch_size = whole_number("batch_size", batch_size, least=1)
        seed = whole_number("seed", seed, least=0)
        data = own_arrays.of_arrays(
            {"train": train, "validation": validation, "test": test},
            class_names,
            fractions,
            seed,
            image_size,
        )
        return own_splits(data, name, batch_size, seed)

    @classmethod
    def from_datasets(  # noqa: PLR0913
        cls,
        train: tf.data.Dataset,
        validation: tf.data.Dataset | None = None,
        test: tf.data.Dataset | None = None,
        *,
        class_names: Sequence[str] | None = None,
        fractions: Mapping[str, float] | Sequence[float] | None = None,
        image_size: int | None = None,
        batch_size: int = 32,
        seed: int = 0,
        name: str = "datasets",
    ) -> "Splits":
        """Make splits of `tf.data` data sets, as they come.

        Batched or not, with integer or one-hot labels, as of
        `keras.utils.image_dataset_from_directory` or of TensorFlow Datasets with
        `as_supervised=True`. `splits.train` is the data set that is given, with its
        shuffling, caches and augmentation. Everything else gets its images without
        augmentation and in one order that holds: as stored, or by content where a
        generator shuffles.

        All images are read once, and twice where nothing else tells that each pass
        gives the same ones. They are kept in memory, as uint8 if they are whole numbers
        from 0 to 255, else as float32; beyond 2 GB in files under the data folder
        until the splits are gone.

        Args:
            train: `tf.data.Dataset` of `(images, labels)`. Images are RGB, any numbers,
                0 to 255 for the backbones of `build_backbone`; grey ones become RGB.
                Labels are whole numbers from 0, also in a column, or one-hot rows.
            validation: The same. Defaults to a part of `train`, cut as in
                `from_arrays`; `train` is then shuffled anew here in each epoch, and
                may hold no augmentation.
            test: The same. Defaults to a part of `train`.
            class_names: Names of the classes, in the order of the labels. Defaults to
                those that Keras left on a data set, else to their numbers as text.
            fractions: As in `from_arrays`.
            image_size: Side in pixels to which images are stretched. Defaults to that
                of the images, which must then be square and of one size.
            batch_size: Images in a batch of validation and test, and of training data
                that are not batched. Defaults to `32`.
            seed: Seed of the cut, and of the order of what is left for training.
                Defaults to `0`.
            name: Name of the data set. Defaults to `"datasets"`.

        Returns:
            `Splits`, which all functions take that take those of `load_dataset`.

        Raises:
            ValueError: If elements, sizes, labels and names do not fit, a data set has
                no end, or each pass gives other images, so that splits would share
                some.

        Example:

        >>> import numpy as np, tensorflow as tf, keras_transfer as kt
        >>> images = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), "uint8")
        >>> dataset = tf.data.Dataset.from_tensor_slices((images, np.arange(40) % 2))
        >>> splits = kt.Splits.from_datasets(dataset.batch(8), class_names=["a", "b"])
        Data: datasets: 40 images at 32 px (28 train, 6 validation, 6 test)
        >>> splits.counts["test"]
        6
        """
        _only_of_images(cls)
        batch_size = whole_number("batch_size", batch_size, least=1)
        seed = whole_number("seed", seed, least=0)
        data = own_datasets.of_datasets(
            {"train": train, "validation": validation, "test": test},
            class_names,
            fractions,
            seed,
            batch_size,
            image_size,
        )
        return own_splits(data, name, batch_size, seed)

    def ordered(
        self, split: str, start: int = 0, stop: int | None = None
    ) -> tf.data.Dataset:
        """Return a split batched in stored order, also the training split.

        Args:
            split: `"train"`, `"validation"` or `"test"`.
            start: Number of the first image, from 0. Defaults to `0`.
            stop: Number of the image to stop before. Defaults to that after the last.
        """
        one_of("split", split, self._ordered)
        count = self.counts[split]
        first = whole_number("start", start)
        last = count if stop is None else whole_number("stop", stop)
        if not 0 <= first < last <= count:
            raise ValueError(
                f"The {split} split has {count:,} images: expected 0 <= start < stop "
                f"<= {count}. Received: start={start}, stop={stop}"
            )
        return self._ordered[split](first, last)

    def arrays(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        """Return a whole split in memory, in stored order.

        Args:
            split: `"train"`, `"validation"` or `"test"`.

        Returns:
            uint8 images of shape `(count, size, size, 3)`, or float32 where they are
            not whole numbers from 0 to 255, and integer labels.
        """
        batches = self.ordered(split).as_numpy_iterator()
        images, labels = zip(
            *((compact(images), labels) for images, labels in batches), strict=True
        )
        return np.concatenate(images), np.concatenate(labels)

    def annotations(self, split: str) -> dict[str, np.ndarray]:
        """Return what is known of each image beside its class, in stored order.

        The order is that of `arrays`, of `ordered` and of the rows of
        `extract_features`. Only `sample_pets` and `sample_pets_night` have
        annotations: exact ones, for they come from the drawing.

        Args:
            split: `"train"`, `"validation"` or `"test"`.

        Returns:
            A dictionary of arrays. `"box"`, float32 `(count, 4)`: `y_min, x_min, y_max,
            x_max` of the smallest box around what the mask of the full-size drawing
            shows, as shares of the image from 0 to 1. `"mask"`, bool `(count, size,
            size)`: the pixels at which the animal is seen, without its whiskers and
            what stands in front. `"key_points"`, float32 `(count, 5, 3)`: `y, x` as
            shares of the image, below 0 or above 1 where a point is outside, and 1 if
            the point is seen or 0 if it is hidden or outside, of nose, left eye, right
            eye, tip of the left ear, tip of the right ear. Left and right are the
            animal's own.

        Raises:
            ValueError: If the data set has none.

        Example:

        >>> import keras_transfer as kt
        >>> splits = kt.load_dataset("sample_pets", image_size=64, max_images=60)
        >>> splits.annotations("test")["mask"].shape
        (9, 64, 64)
        """
        one_of("split", split, self._ordered)
        if self._annotations is None:
            raise ValueError(
                "This data set has no boxes, masks and key points. Expected one whose "
                "images were drawn with them: load_dataset of sample_pets or "
                f"sample_pets_night. Received: splits of {self.name}"
            )
        return self._annotations(split)

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


def train_labels(splits: Splits) -> np.ndarray:
    """Return the integer labels of the training photos, in stored order."""
    if splits.photos is not None:
        return np.array([photo.label for photo in splits.photos["train"]])
    labels = splits.ordered("train").map(lambda _, labels: labels)
    return np.concatenate([*labels.as_numpy_iterator()])


def own_splits(
    data: own_data.OwnData, name: str, batch_size: int, seed: int, loud: bool = True
) -> Splits:
    """Return `Splits` of own data that were read."""
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise ValueError(
            f"name must be a text of one line. Received: name={shown(name)}"
        )
    content = data.content
    counts = {split: len(chosen) for split, chosen in content.parts.items()}
    ordered = {split: own_data.in_order(content, split, batch_size) for split in counts}
    train, size = data.train, data.batch_size or batch_size
    if train is None:
        train = own_data.shuffled(content, size, seed)
    splits = Splits(
        train=train,
        validation=ordered["validation"](0, counts["validation"]),
        test=ordered["test"](0, counts["test"]),
        class_names=data.class_names,
        counts=counts,
        name=name,
        source=f"{name}: {describe_size(counts, content.side)}",
        fingerprint=data.fingerprint,
        image_size=content.side,
        _ordered=ordered,
        loader={
            "function": OWN,
            "arguments": {"batch_size": size, "seed": seed},
        },
        _content=content,
        _stored_train=train if data.train is None else None,
    )
    if loud:
        say(f"Data: {splits.source}")
    return splits


def _only_of_images(cls) -> None:
    if cls is not Splits:
        raise ValueError(
            "Feature maps are made by extract_feature_maps. Make splits of images with "
            f"kt.Splits first, and pass them to it. Received: kt.{cls.__name__}"
        )


def build_splits(
    examples: dict[str, Callable[..., tf.data.Dataset]],
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
            order, all of them or those from a number to before another one; it is
            called for `fit` and for each reading in order.
        decode: Maps one encoded example to an RGB image tensor.
        counts: Number of images of each split.
        image_size: Side of the square images, in pixels.
        batch_size: Images in a batch.
        seed: Seed of the order of training images.
        **described: `class_names`, `name`, `source`, `fingerprint`, `loader`,
            `skipped`, `photos` and `left_out`.
    """

    def batched(dataset, cut):
        return as_floats(cut.batch(dataset))

    def pixels(dataset):
        return decoded(dataset, decode, image_size)

    def in_order(make):
        # Cut before they are decoded, which costs most of the time.
        return lambda start, stop: batched(pixels(make(start, stop)), whole)

    whole, count = Whole(batch_size), counts["train"]
    ordered = {name: in_order(make) for name, make in examples.items()}
    kept = sum(counts.values()) * image_size**2 * 3 <= CACHE_BYTES

    def shuffled(cut):
        train = examples["train"]()
        if kept:
            # Each pass gives a worker other photos, so it keeps all of them.
            train = cut.own(pixels(train).cache().shuffle(count, seed=seed))
        else:
            train = pixels(cut.own(train.shuffle(min(count, 8192), seed=seed)))
        return batched(train, cut)

    def judged(split, cache):
        def make(cut):
            photos = pixels(cut.own(examples[split]()))
            return batched(photos.cache() if cache else photos, cut)

        return shared(make, counts[split], batch_size)

    train = shared(shuffled, count, batch_size, training=True)
    return Splits(
        train=train,
        _stored_train=train,
        validation=judged("validation", kept),
        test=judged("test", False),
        counts=counts,
        image_size=image_size,
        _ordered=ordered,
        **described,
    )


def decoded(
    examples: tf.data.Dataset, decode: Callable, image_size: int
) -> tf.data.Dataset:
    """Return uint8 images of one size, and their labels, one by one.

    Args:
        examples: Encoded images and labels.
        decode: Maps one encoded example to an RGB image tensor.
        image_size: Side of the square images, in pixels.
    """

    def read(encoded, label):
        return resize(decode(encoded), image_size), tf.cast(label, tf.int32)

    return examples.map(read, num_parallel_calls=os.cpu_count())


def in_batches(images: tf.data.Dataset, batch_size: int) -> tf.data.Dataset:
    """Return batches of float32 images and labels, of what `decoded` returns."""
    return as_floats(images.batch(batch_size))


def as_floats(batches: tf.data.Dataset) -> tf.data.Dataset:
    """Return batches of images as float32 ones, two of them ahead."""
    return without_autotune(
        batches.map(
            lambda images, labels: (tf.cast(images, tf.float32), labels)
        ).prefetch(2)
    )


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
