"""Read own data that come as `tf.data` data sets, as they are stored."""

import collections
import contextlib
import pathlib
import typing
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import tensorflow as tf

from keras_transfer.data import pipelines
from keras_transfer.data.own_content import Content, digest
from keras_transfer.data.own_data import (
    OwnData,
    add,
    as_rgb,
    checked_request,
    finished,
    hard_labels,
    numbers,
    same_width,
)
from keras_transfer.runtime.arguments import shown, texts

# Images that are looked at at once.
AT_ONCE = 64
# A data set that gives each image so many times over, and many of them, has no end.
MOST_COPIES = 8
ENDLESS = 4096


def of_datasets(
    parts: Mapping,
    class_names,
    fractions,
    seed: int,
    batch_size: int,
    image_size: int | None,
) -> OwnData:
    """Read data sets; arguments as in `Splits.from_datasets`."""
    shares, image_size = checked_request(parts, fractions, image_size)
    pairs = {name: _form_of(name, part) for name, part in parts.items()}
    class_names = _attribute_names(class_names, parts)
    content, labels, width, train = Content(), {}, None, None
    for name, dataset in parts.items():
        if dataset is None:
            continue
        reader = _Reader(name, dataset, pairs[name], image_size)
        if name == "train" and shares and reader.random:
            raise ValueError(
                f"train changes its images at random, so {' and '.join(shares)} cannot "
                "be cut from it. Pass all three splits; or train without augmentation, "
                "and give that to fine_tune. Received: "
                f"{', '.join(f'{each}=None' for each in shares)}"
            )
        labels[name], found = reader.read(content)
        width = same_width(width, found, name)
        if name == "train" and not shares:
            train = reader.to_train_on(batch_size, content.side)
    given = pipelines.batch_size(parts["train"])
    made = finished(content, labels, width, class_names, shares, seed)
    return made._replace(train=train, batch_size=given)


class _Form(typing.NamedTuple):
    """Say how a data set gives images and labels."""

    pair: Callable
    batched: bool


def _form_of(name: str, dataset) -> _Form | None:
    """Return how to take images and labels from an element; refuse other elements."""
    if dataset is None and name != "train":
        return None
    if not isinstance(dataset, tf.data.Dataset):
        raise ValueError(
            f"{name} must be a tf.data.Dataset of (images, labels)."
            f"{_hint_for(name, dataset)} Received: {name}={shown(dataset)}"
        )
    spec, keys = dataset.element_spec, None
    if isinstance(spec, Mapping):
        keys = [
            next((key for key in names if key in spec), None)
            for names in (("image", "images"), ("label", "labels"))
        ]
        spec = tuple(spec.get(key) for key in keys)

    def pair(*element):
        return tuple(element[0][key] for key in keys) if keys else element

    received = f"Received: {name} with elements {dataset.element_spec}"
    _check_pairs(name, spec, received)
    if dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise ValueError(
            f"{name} must end. Leave out .repeat(), or add .take(steps). {received}"
        )
    if pipelines.draws_a_part(dataset):
        raise ValueError(
            f"{name} shuffles anew in each pass and then takes or skips a part, so "
            "what one split leaves out in one pass it gets in the next. Take the parts "
            "first and shuffle the training part afterwards, or write "
            f".shuffle(..., reshuffle_each_iteration=False). Received: {name}="
            f"{_written(dataset)}"
        )
    rank = spec[0].shape.rank
    if rank is None:  # As after py_function: only reading tells.
        for element in dataset.take(1):
            element = element if isinstance(element, tuple) else (element,)
            rank = pair(*element)[0].shape.rank
    if rank not in (3, 4):
        raise ValueError(
            f"{name} must give images of shape (height, width, 3), or batches of them. "
            f"{received}"
        )
    return _Form(pair, rank == 4)


def _hint_for(name: str, value) -> str:
    """Say what to do with what is given in place of a data set."""
    one_by_one = " Pass its parts one by one: train=..., validation=..., test=...."
    if hasattr(value, "ordered") and hasattr(value, "train"):
        return f" Of Splits, pass one part, such as {name}=splits.{name}."
    if isinstance(value, Mapping):
        return one_by_one
    if isinstance(value, str | pathlib.PurePath):
        return " Of a folder of photos, use kt.load_directory."
    is_sequence = isinstance(value, tuple | list)
    if is_sequence and any(isinstance(part, tf.data.Dataset) for part in value):
        return one_by_one
    if is_sequence or hasattr(value, "shape"):
        return " Of arrays, use kt.Splits.from_arrays."
    return ""


def _check_pairs(name: str, spec, received: str) -> None:
    """Raise an error if elements are no pairs of an image, or a batch, and a label."""
    if not (
        isinstance(spec, tuple)
        and len(spec) == 2
        and all(isinstance(part, tf.TensorSpec) for part in spec)
    ):
        hint = "map other elements to such pairs"
        if isinstance(spec, tuple) and len(spec) == 3:
            hint = (
                "leave out the weights with .map(lambda images, labels, weights: "
                "(images, labels)); weights of classes go to fit_head and fine_tune"
            )
        elif any(
            isinstance(part, tf.RaggedTensorSpec) for part in tf.nest.flatten(spec)
        ):
            hint = (
                "leave the batching out, and pass image_size to bring images of "
                "different sizes to one"
            )
        raise ValueError(
            f"{name} must be a tf.data.Dataset of (images, labels); {hint}. {received}"
        )
    if not (spec[0].dtype.is_floating or spec[0].dtype.is_integer):
        raise ValueError(
            f"{name} must give images, not {spec[0].dtype.name}: decode them in a "
            f".map(...). {received}"
        )


def _attribute_names(class_names, parts: Mapping) -> tuple[str, ...] | None:
    """Return class names that were given, or that Keras left on a data set."""
    names = None if class_names is None else texts("class_names", class_names, least=2)
    for name, dataset in parts.items():
        left = dataset is not None and pipelines.attribute(dataset, "class_names")
        if not left:
            continue
        left = tuple(map(str, left))
        names = names or left
        same_classes = class_names is None or {*left} == {*names}
        if left != names and same_classes:
            raise ValueError(
                "The class names must be in the same order everywhere, because a label "
                f"is a position in them. Received: class_names={shown(names)}, and of "
                f"{name} {shown(left)}"
            )
    return names


class _Reader:
    """Reads one data set without what it shuffles and changes at random.

    Attributes:
        random: Whether it changes images at random.
    """

    def __init__(self, name, dataset, form: _Form, image_size):
        self._name, self._dataset, self._form = name, dataset, form
        self._image_size = image_size
        with _told(name):
            maps = pipelines.random_maps(dataset)
        for step in maps:
            keeps = pipelines.keeps_shape(dataset, step.index)
            if step.rescales or not keeps:
                also = "range" if keeps else "size or labels"
                raise ValueError(
                    f"A step of {name} changes images at random, and their {also} as "
                    "well, so it cannot be left out where images are needed without "
                    "augmentation. Make two .map(...) of it, or give it to fine_tune "
                    "as augmentation, mixup or cutmix. "
                    f"Received: step {step.index} of {name} ({_written(dataset)})"
                )
        self.random = bool(maps)
        self._left_out = {step.index for step in maps}
        self._repeats = pipelines.repeats(dataset, self._left_out)

    def read(self, content: Content) -> tuple[np.ndarray, int | None]:
        """Add all images to `content` and return the labels, as `hard_labels` does."""
        start, labels, width = len(content.digests), [], None
        copies = collections.Counter()
        for images, given in self._batches():
            add(content, self._name, images, self._image_size)
            found, width = hard_labels(self._name, given)
            labels.append(found)
            self._shapes = images.shape[1:], given.shape[1:]
            copies.update(content.digests[-len(images) :])
            count = copies.total()
            if count >= ENDLESS and count > MOST_COPIES * len(copies):
                raise ValueError(
                    f"{self._name} must end, but gives the same images over and over. "
                    "Let its generator stop after one pass, or add .take(steps). "
                    f"Received: {count} images, {len(copies)} of them different"
                )
        content.flush()
        if not labels:
            raise ValueError(
                f"{self._name} holds no image. Received: {self._name} with elements "
                f"{self._dataset.element_spec}"
            )
        labels, digests = np.concatenate(labels), content.digests[start:]
        order = self._order(digests, labels)
        content.parts[self._name] = start + order
        if self.random and width:
            # Read before augmentation; what is trained on may mix them.
            for element in self._dataset.take(2):
                hard_labels(self._name, self._numbers(element)[1])
        return labels, width

    def to_train_on(self, batch_size: int, side: int) -> tf.data.Dataset:
        """Return the data set as it was given, batched, with integer labels."""
        form, image_size, batch = self._form, self._image_size, ()
        if form.batched:
            batch = (None,)
        pixels, target = self._shapes
        shape = (*batch, side, side, 3)

        def prepare(*element):
            images, labels = form.pair(*element)
            images.set_shape([*batch, None, None, pixels[-1]])
            labels.set_shape([*batch, *target])
            images = tf.cast(as_rgb(images, image_size), tf.float32)
            labels = tf.cast(labels, tf.int32)
            if target:
                one_hot = target[-1] > 1
                labels = tf.argmax(labels, axis=-1) if one_hot else labels[..., 0]
            return tf.ensure_shape(images, shape), tf.cast(labels, tf.int32)

        train = self._dataset.map(prepare, num_parallel_calls=2)
        if not form.batched:
            train = train.batch(batch_size)
        if train.cardinality() < 0:  # After a generator or a filter, only this tells.
            with _told(self._name):
                steps = train.reduce(np.int64(0), lambda count, *_: count + 1)
            train = train.apply(tf.data.experimental.assert_cardinality(steps))
        return pipelines.without_autotune(train.prefetch(2))

    def _batches(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        dataset = pipelines.in_order(self._dataset, self._left_out)
        if not self._form.batched and all(
            part.shape.is_fully_defined()
            for part in tf.nest.flatten(dataset.element_spec)
        ):
            dataset, batched = dataset.batch(AT_ONCE), True
        else:
            batched = self._form.batched
        with _told(self._name):
            for element in dataset:
                images, labels = self._numbers(element)
                yield (images, labels) if batched else (images[None], labels[None])

    def _numbers(self, element) -> tuple[np.ndarray, np.ndarray]:
        images, labels = self._form.pair(*_packed(element))
        return numbers(images), np.asarray(labels)

    def _order(self, digests: list[bytes], labels: np.ndarray) -> np.ndarray:
        """Return the order that holds in every process: as stored, else by content."""
        order = np.arange(len(digests))
        paths = pipelines.attribute(self._dataset, "file_paths")
        kinds = {pipelines.kind(step) for step in pipelines.steps(self._dataset)}
        if (
            paths is not None
            and len(paths) == len(digests)
            and kinds & pipelines.SHUFFLES
            and not kinds & pipelines.PASSING
        ):
            # Keras has shuffled the files before, by a seed that may differ each time.
            parts = [pathlib.PurePath(str(path)).parts for path in paths]
            order = np.array(sorted(order, key=parts.__getitem__))
        if self._repeats:
            return order
        first, second = [*zip(digests, labels.tolist(), strict=True)], []
        for images, given in self._batches():
            seen = as_rgb(images, self._image_size)
            found = hard_labels(self._name, given)[0].tolist()
            second += zip(map(digest, np.asarray(seen)), found, strict=True)
            if len(second) > len(first):
                break
        if first == second:
            return order
        if sorted(first) != sorted(second):
            raise ValueError(
                f"Two passes over {self._name} give other images. What shuffles or "
                "changes them at random belongs at the end of the pipeline, where it "
                "can be left out: .shuffle(...) and .map(augment) after all that reads "
                "and cuts; or give the augmentation to fine_tune. "
                f"Received: {self._name}="
                f"{_written(self._dataset)}"
            )
        return np.array(sorted(order, key=first.__getitem__))


@contextlib.contextmanager
def _told(name: str) -> Iterator[None]:
    """Turn what TensorFlow raises while a data set is read into one `ValueError`."""
    try:
        yield
    except tf.errors.OpError as error:
        reason = (str(error.message).strip().splitlines() or [""])[0][:200]
        raise ValueError(
            f"{name} cannot be read to its end: repair what its pipeline stops at. "
            f"Received: {type(error).__name__}: {reason}"
        ) from error


def _packed(element) -> tuple:
    return element if isinstance(element, tuple) else (element,)


def _written(dataset: tf.data.Dataset) -> str:
    return " -> ".join(map(pipelines.kind, pipelines.steps(dataset)))
