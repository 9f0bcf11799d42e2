"""Own data as `Splits` need them: checked, signed, and cut where a split is missing.

All images are read once and kept as they are (`Content`), so that their order, their
fingerprint and what is cut from them hold in every pass, whatever a pipeline shuffles
or draws at random. What has no single meaning is refused.
"""

import hashlib
import itertools
import typing
import warnings
import weakref
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from keras_transfer.data.decoding import resize
from keras_transfer.data.own_content import Content
from keras_transfer.data.pipelines import without_autotune
from keras_transfer.data.shares import shared
from keras_transfer.data.split_names import FRACTIONS, refuse_given, shares, sizes
from keras_transfer.runtime.arguments import shown, square_size


class OwnData(typing.NamedTuple):
    """Hold what was read.

    Attributes:
        content: The `Content`, with the parts of all three splits.
        class_names: Tuple of names.
        fingerprint: Checksum of all images and labels, in stored order.
        train: Data set to train on as it was given, or `None` where it is to be made
            of the content.
        batch_size: Images in a batch of the training data, or `None` if unknown.
    """

    content: Content
    class_names: tuple[str, ...]
    fingerprint: str
    train: tf.data.Dataset | None = None
    batch_size: int | None = None


def checked_request(
    parts: Mapping, fractions, image_size
) -> tuple[dict[str, float], int | None]:
    """Return the shares of train that the missing splits get, and the size of images.

    Args:
        parts: What was given of each split, or `None`.
        fractions: As `split_names.shares` takes them.
        image_size: As `square_size` takes it, or `None`.
    """
    cut = [name for name, part in parts.items() if part is None and name != "train"]
    asked = shares(fractions)
    refuse_given(asked, parts.keys() - cut)
    if image_size is not None:
        image_size = square_size("image_size", image_size)
    return {name: asked.get(name, FRACTIONS[name]) for name in cut}, image_size


def hard_labels(name: str, labels) -> tuple[np.ndarray, int | None]:
    """Return integer labels, and the number of classes where they were one-hot.

    Args:
        name: Name of the split, for the error.
        labels: Whole numbers of shape `(count,)` or `(count, 1)`, or rows with a single
            1 of shape `(count, classes)`.
    """
    labels = np.asarray(labels)
    wanted = (
        f"The labels of {name} must be whole numbers from 0, one an image, or one-hot "
        "rows with a single 1"
    )
    got = f"Received: labels of shape {labels.shape} and dtype {labels.dtype}"
    if labels.dtype.kind not in "iufb" or labels.ndim not in (1, 2) or not labels.size:
        raise ValueError(f"{wanted}. {got}")
    if labels.ndim == 2 and labels.shape[1] > 1:
        rows_are_hot = np.isin(labels, (0, 1)).all() and (labels.sum(axis=1) == 1).all()
        if not rows_are_hot:
            raise ValueError(
                f"{wanted}; for smoothed or mixed labels see label_smoothing, mixup "
                f"and cutmix of fine_tune. {got}, the first row {labels[0][:8]}"
            )
        return labels.argmax(axis=1).astype("int32"), labels.shape[1]
    flat = labels.reshape(-1)
    odd = flat[~_are_labels(flat)]
    if len(odd):
        raise ValueError(f"{wanted}. {got}, such as {odd[0]}")
    return flat.astype("int32"), None


def same_width(known: int | None, found: int | None, name: str) -> int | None:
    if known and found and known != found:
        raise ValueError(
            "One-hot labels must be of one width in all splits. "
            f"Received: {name} with {found} classes after {known}"
        )
    return known or found


def add(content: Content, name: str, images, image_size: int | None) -> None:
    """Add a batch of images in the form in which they are given."""
    images = numbers(images)
    checked_shape(name, images.shape, images.dtype.kind in "iufb", image_size)
    images = as_rgb(images, image_size)
    images = images if isinstance(images, np.ndarray) else images.numpy()
    checked_side(content, name, images.shape)
    content.add(images)


def numbers(images) -> np.ndarray:
    """Return an array; bfloat16, which NumPy does not know, as float32."""
    images = np.asarray(images)
    return images.astype("float32") if images.dtype.name == "bfloat16" else images


def as_rgb(images, image_size: int | None):
    """Return a batch of images, grey ones as RGB, stretched to `image_size` if given.

    Whole numbers are rounded to whole numbers, as everywhere; others keep their range.
    """
    if images.shape[-1] == 1:
        repeat = np.repeat if isinstance(images, np.ndarray) else tf.repeat
        images = repeat(images, 3, axis=-1)
    if image_size is None or tuple(images.shape[-3:-1]) == (image_size, image_size):
        return images
    if np.dtype(getattr(images.dtype, "as_numpy_dtype", images.dtype)).kind in "iub":
        return resize(images, image_size)
    images = tf.cast(images, tf.float32)
    return tf.image.resize(images, (image_size, image_size), antialias=True)


def checked_shape(name, shape, numbers: bool, image_size) -> None:
    rule = f"The images of {name} must be RGB, of shape (count, height, width, 3)"
    got = f"Received: images of shape {tuple(shape)}"
    if not numbers:
        raise ValueError(f"{rule}, and numbers. Received: images of another type")
    if len(shape) != 4 or shape[-1] not in (1, 3):
        hint = ""
        if len(shape) == 4 and shape[-1] == 4:
            hint = " Leave out the fourth channel: images[..., :3]."
        elif len(shape) == 4 and shape[1] in (1, 3):
            hint = " Channels come last: np.moveaxis(images, 1, -1)."
        raise ValueError(f"{rule}.{hint} {got}")
    if not all(shape[1:3]):
        raise ValueError(f"{rule}, with pixels. {got}")
    if image_size is None and shape[1] != shape[2]:
        raise ValueError(
            f"{rule}, and square. Pass image_size={max(shape[1:3])}, for example, to "
            f"stretch them. {got}"
        )


def checked_side(content: Content, name: str, shape) -> None:
    if content.side not in (None, shape[1]):
        raise ValueError(
            "All images must be of one size. Pass image_size to stretch them to it: "
            f"image_size={content.side}. Received: {name} with images of "
            f"{shape[1]} x {shape[2]} pixels after others of {content.side}"
        )


def finished(content, labels, width, class_names, shares, seed) -> OwnData:
    """Check labels and names, cut the splits that are missing, and sign it all."""
    content.labels = np.concatenate([*labels.values()])
    names = _checked_names(class_names, content, width)
    _warn_of_pixels(content)
    _warn_of_copies(content, names)
    if shares:
        _cut(content, shares, seed, names)
    content.parts = {name: content.parts[name] for name in FRACTIONS}
    return OwnData(content, names, fingerprint(content, names))


def fingerprint(content: Content, class_names: Sequence[str]) -> str:
    """Return a checksum of all images and labels, in stored order."""
    described = [tuple(class_names), content.side]
    for name in FRACTIONS:
        chosen = content.parts[name]
        pairs = [(content.digests[i].hex(), int(content.labels[i])) for i in chosen]
        described.append((name, pairs))
    return hashlib.sha256(repr(described).encode()).hexdigest()


def _checked_names(class_names, content: Content, width) -> tuple[str, ...]:
    classes = width or int(content.labels.max()) + 1
    named = class_names is not None
    # Not as texts before it is known that there are no more than images.
    names = class_names if named else range(classes)
    if len(names) != classes or (named and len({*names}) != classes) or classes < 2:
        highest = int(content.labels.max())
        raise ValueError(
            "class_names must hold one different name for each class, at least two, in "
            f"the order of the labels. Received: class_names={shown(class_names)}, and "
            + (f"one-hot labels of {width}" if width else f"labels from 0 to {highest}")
        )
    in_train = {*content.labels[content.parts["train"]].tolist()}
    missing = (f"{i} ({names[i]})" for i in range(classes) if i not in in_train)
    missing = [*itertools.islice(missing, 5)]
    if missing:
        begin = " Labels begin at 0." if missing[0].startswith("0 ") else ""
        raise ValueError(
            f"Each class needs images in train.{begin} Received: none of class "
            f"{', '.join(missing)}, labels {sorted(in_train)[:10]}"
        )
    return tuple(map(str, names))


def _cut(content: Content, shares: dict[str, float], seed: int, names) -> None:
    """Cut splits off the training images: of each class its share, by the seed.

    Exact copies of an image go where the first one goes.
    """
    train = content.parts["train"]
    known = {}
    first = np.array([known.setdefault(content.digests[i], i) for i in train])
    different = train[train == first]
    labels = content.labels[different]
    split_of = {}
    for label, name in enumerate(names):
        own = different[labels == label]
        if len(own) <= len(shares):
            raise ValueError(
                f"Expected at least {len(shares) + 1} different images of each class, "
                f"one for train and one for {' and '.join(shares)}, which are cut from "
                "it. "
                f"Received: {len(own)} different images of {name}"
            )
        order = np.random.default_rng([seed, label]).permutation(len(own))
        start = 0
        for split, size in sizes(len(own), reversed(shares), shares).items():
            split_of |= {own[i]: split for i in order[start : start + size]}
            start += size
    member = np.array([split_of.get(index, "train") for index in first])
    for split in ("train", *shares):
        content.parts[split] = train[member == split]


def _warn_of_pixels(content: Content) -> None:
    low, high = content.low, content.high
    if low >= 0 and 1 < high <= 255:
        return
    warnings.warn(
        f"The pixels lie from {low:g} to {high:g}, but the backbones of build_backbone "
        "take RGB from 0 to 255 and preprocess it themselves; only a network of your "
        "own may want them as they are.",
        stacklevel=5,
    )


def _warn_of_copies(content: Content, names) -> None:
    labels, splits = {}, {}
    for split, chosen in content.parts.items():
        for index in chosen:
            key = content.digests[index]
            labels.setdefault(key, {*()}).add(int(content.labels[index]))
            splits.setdefault(key, {*()}).add(split)
    said = []
    shared = [found for found in splits.values() if len(found) > 1]
    if shared:
        said.append(
            f"{len(shared):,} images are in two splits, pixel for pixel, such as in "
            f"{' and '.join(sorted(shared[0]))}: a score on images that were trained "
            "on says nothing about new ones. kt.verify."
            "assert_disjoint_splits shows them"
        )
    torn = [found for found in labels.values() if len(found) > 1]
    if torn:
        classes = " and ".join(names[label] for label in sorted(torn[0]))
        said.append(
            f"{len(torn):,} images are there with two labels, such as {classes}"
        )
    if said:
        warnings.warn(". ".join(said) + ".", stacklevel=5)


def shuffled(content: Content, batch_size: int, seed: int) -> tf.data.Dataset:
    """Return the training images of a content, shuffled anew in each epoch."""
    chosen = content.parts["train"]
    pairs = tf.data.Dataset.from_tensor_slices((chosen, content.labels[chosen]))

    def make(cut):
        order = cut.own(pairs.shuffle(len(chosen), seed=seed))
        return _gathered(content, cut.batch(order))

    return shared(make, len(chosen), batch_size, training=True)


def in_order(content: Content, split: str, batch_size: int) -> Callable:
    """Return a function that gives images `start` to `stop` of a split, in order."""

    def cut(start, stop):
        chosen = content.parts[split][start:stop]
        pairs = tf.data.Dataset.from_tensor_slices((chosen, content.labels[chosen]))

        def make(part):
            return _gathered(content, part.batch(part.own(pairs)))

        return shared(make, len(chosen), batch_size)

    return cut


def _gathered(content: Content, pairs: tf.data.Dataset) -> tf.data.Dataset:
    shape = (None, content.side, content.side, 3)
    # TensorFlow keeps a function of Python for as long as the process lives, so that
    # one must not hold the images; the step that it belongs to does.
    reference = weakref.ref(content)

    def gather(chosen, labels):
        images = tf.numpy_function(
            lambda chosen: reference().images(chosen), [chosen], tf.float32
        )
        return tf.ensure_shape(images, shape), labels

    gathered = pairs.map(gather, num_parallel_calls=2)
    gathered.content = content
    return without_autotune(gathered.prefetch(2))


def _are_labels(numbers: np.ndarray) -> np.ndarray:
    """Tell of each number whether it can be a label."""
    numbers = numbers.astype("float64")
    # Above it, another number would be kept.
    most = np.iinfo("int32").max
    return (numbers >= 0) & (numbers <= most) & (numbers == np.floor(numbers))
