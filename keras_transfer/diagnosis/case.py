"""The evidence of an examination: read or computed once, then shared by all checks."""

import functools
import math
import os
import time
import typing
from collections.abc import Callable, Iterable, Mapping

import keras
import numpy as np
import tensorflow as tf

from keras_transfer.classifier.saved import Classifier
from keras_transfer.data import pipelines
from keras_transfer.data.near_duplicates import Fingerprints, fingerprints
from keras_transfer.data.splits import Splits
from keras_transfer.diagnosis.findings import NotExaminedError
from keras_transfer.diagnosis.labels import integer_labels, whole_labels
from keras_transfer.evaluation.report import ClassificationReport
from keras_transfer.models.outputs import (
    as_array,
    class_scores,
    only_output,
    output_activation,
)
from keras_transfer.runtime.arguments import reason, shown, texts, whole_number

# Enough for what is looked at, and few enough for a minute on two cores.
LIMITS = {"train": 48, "validation": 384, "test": 384}
# All photos are compared with each other, as long as that takes no longer than this.
# Decoding and comparing 10,000 photos of 160 px took 30 s of one core.
PHOTO_LIMITS = {"train": 20_000, "validation": 5_000, "test": 5_000}
SECONDS = {"train": 90.0, "validation": 30.0, "test": 30.0}
# As they are compared, and as so many are kept to be shown.
PHOTO_SIDE, SHOWN_SIDE, MANY = 96, 48, 4096
BATCH_SIZE = 32
SPLITS = ("train", "validation", "test")
PARTS = (*SPLITS, "class_names", "counts")
# What people call the validation split otherwise.
OTHER_NAMES = {"val": "validation", "valid": "validation"}
CLASSIFIER = (
    "Expected a built classifier of images, from (batch, height, width, channels) to "
    "(batch, classes), with one input and one output. "
)


class Sample(typing.NamedTuple):
    """Hold images as the model is given them.

    Attributes:
        images: float32 array of shape `(count, height, width, channels)`.
        labels: Integer labels of shape `(count,)`.
        targets: The labels as the data set gives them.
    """

    images: np.ndarray
    labels: np.ndarray
    targets: np.ndarray


class Photos(typing.NamedTuple):
    """Hold what the photos of a split are recognised by in another split.

    Attributes:
        prints: `Fingerprints` of those that were looked at.
        images: uint8 images of them, small.
        share: How many these are of all photos of the split, 0 to 1, or `None` where
            it is not known how many there are.
    """

    prints: Fingerprints
    images: np.ndarray
    share: float | None


class Case:
    """Hold a classifier, its data and what else was given.

    Attributes:
        model: The `keras.Model`.
        units: Number of its outputs.
        datasets: Dict of the given splits, each a batched `tf.data.Dataset`.
        class_names: Tuple of names, or `None`.
        model_class_names: Names that were saved with the model, or `None`.
        counts: Number of images of each split, where it is known.
        history: Dict from a metric to its value after each epoch, or `None`.
        given: Labels (or `None`) and predictions that were given, or `None`.
    """

    def __init__(
        self,
        model: keras.Model,
        splits: Splits | Mapping,
        history=None,
        predictions=None,
        model_class_names: tuple[str, ...] | None = None,
    ):
        self.model = model
        parts = checked_parts(splits)
        self.datasets = {name: parts[name] for name in SPLITS if name in parts}
        self.units = checked_units(model, self.datasets)
        names = parts.get("class_names")
        for dataset in self.datasets.values():
            # Where Keras's own loader made it.
            if names is None:
                names = pipelines.attribute(dataset, "class_names")
        self.class_names = tuple(names) if names is not None else None
        self.model_class_names = model_class_names
        self.counts = parts.get("counts", {})
        self.history = checked_history(history)
        self.given = checked_predictions(predictions)
        self._known = {}

    @property
    def trained(self) -> str:
        """The split that is trained on, or what there is in its place."""
        return "train" if "train" in self.datasets else self.scored

    @property
    def scored(self) -> str:
        """The split that accuracy is measured on."""
        return "test" if "test" in self.datasets else [*self.datasets][-1]

    @property
    def num_classes(self) -> int:
        """Number of classes that the outputs tell apart."""
        return max(2, self.units)

    @property
    def image_size(self) -> int:
        """Height of the images, in pixels."""
        return self.sample(self.scored).images.shape[1]

    def dataset(self, split: str) -> tf.data.Dataset:
        """Return a split, which must have been given."""
        if split not in self.datasets:
            raise NotExaminedError(f"no {split} split was given")
        return self.datasets[split]

    def names(self) -> tuple[str, ...]:
        """Return the class names, which must have been given."""
        if self.class_names is None:
            raise NotExaminedError("no class names were given")
        return self.class_names

    def name(self, label: int) -> str:
        """Return the name of a class, or its number."""
        known = self.class_names or ()
        return str(known[label]) if label < len(known) else f"class {label}"

    def once(self, compute: Callable, *arguments):
        """Return `compute(case, *arguments)`, computed when first asked for."""
        key = compute, *arguments
        if key not in self._known:
            try:
                self._known[key] = compute(self, *arguments)
            except NotExaminedError as error:
                self._known[key] = error
        if isinstance(self._known[key], NotExaminedError):
            raise self._known[key]
        return self._known[key]

    def sample(self, split: str) -> Sample:
        """Return some images of a split, in stored order, as the model gets them."""
        return self.once(_sample, split)

    def labels(self, split: str) -> np.ndarray:
        """Return the labels of `sample(split)`, which must be numbers of classes."""
        sample = self.sample(split)
        if sample.labels.min() < 0:
            raise NotExaminedError("there are labels below 0")
        if not whole_labels(sample.targets):
            raise NotExaminedError("there are labels that are no whole numbers")
        return sample.labels

    @property
    def signed(self) -> bool:
        """Whether labels are -1 and 1, and the loss is a hinge, which takes them."""
        loss = keras.tree.flatten(getattr(self.model, "loss", None))
        names = [
            x if isinstance(x, str) else getattr(x, "__name__", type(x).__name__)
            for x in loss
        ]
        names = {name.lower().replace("_", "") for name in names}
        targets = self.sample(self.scored).targets
        return (
            self.units == 1
            and bool(np.isin(targets, (-1, 1)).all())
            and names <= {"hinge", "squaredhinge"}
        )

    def every(self, split: str) -> int:
        """Return the distance between the images of `sample(split)`."""
        return pipelines.spacing(self.dataset(split), LIMITS[split])

    def some(self, split: str, count: int) -> np.ndarray:
        """Return a few images of `sample(split)`, from all over it."""
        images = self.sample(split).images
        return images[:: max(1, len(images) // count)][:count]

    def random_maps(self, split: str) -> list[pipelines.RandomMap]:
        """Return the steps of a split that change its images at random."""
        return self.once(_random_maps, split)

    def photos(self, split: str) -> Photos:
        """Return what the photos of a split, without augmentation, are known by."""
        return self.once(_photos, split)

    def outputs(self, split: str) -> np.ndarray:
        """Return what the model answers to `sample(split)`, in inference mode."""
        return self.once(_outputs, split)

    @functools.cached_property
    def activation(self) -> str | None:
        """Activation of the last layer, as far as it is known."""
        return output_activation(self.model)

    def probabilities(self, split: str) -> np.ndarray:
        """Return one number a class for each image, the largest for the answer."""
        return class_scores(self.outputs(split), self.activation)

    def predicted(self, split: str) -> np.ndarray:
        """Return the class that is answered for each image of `sample(split)`."""
        probabilities = self.probabilities(split)
        if not np.isfinite(probabilities).all():
            raise NotExaminedError("the model's outputs are not finite")
        return probabilities.argmax(axis=1)

    def correct(self, split: str) -> np.ndarray:
        """Return for each image of `sample(split)` whether the answer is right."""
        return self.predicted(split) == self.labels(split)

    def size(self, split: str) -> int | None:
        """Return the number of images of a split, or `None` where it is not known."""
        known = self.counts.get(split) or pipelines.count(self.dataset(split))
        if known:
            return known
        read = len(self.sample(split).images)
        return read if read < LIMITS[split] else None


def _sample(case: Case, split: str) -> Sample:
    dataset = pipelines.in_order(case.dataset(split), every=case.every(split))
    images, labels = pipelines.read(dataset, LIMITS[split])
    if not len(images):
        raise NotExaminedError(f"the {split} split has no images")
    return Sample(images.astype("float32"), integer_labels(labels), labels)


def _random_maps(case: Case, split: str) -> list[pipelines.RandomMap]:
    return pipelines.random_maps(case.dataset(split))


def _photos(case: Case, split: str) -> Photos:
    dataset, count = case.dataset(split), pipelines.count(case.dataset(split))
    every, seconds = pipelines.spacing(dataset, PHOTO_LIMITS[split]), SECONDS[split]
    prints, images, ended = _read_photos(case, split, every, seconds)
    if not ended and count:
        # Too slow for all of them, so a part that is even over the whole split.
        every *= math.ceil(count / every / max(1, len(images)))
        prints, images, _ = _read_photos(case, split, every, 2 * seconds)
    total = count or case.counts.get(split) or (len(images) if ended else None)
    return Photos(prints, images, min(1.0, len(images) / total) if total else None)


def _read_photos(case: Case, split: str, every: int, seconds: float):
    """Return fingerprints, small images, and whether the data set came to its end."""
    dataset, limit = case.dataset(split), PHOTO_LIMITS[split]
    augmentations = {
        step.index
        for step in case.random_maps(split)
        if pipelines.keeps_shape(dataset, step.index)
    }
    dataset = pipelines.in_order(dataset, augmentations, every)
    sample, kept, ended = case.sample(split).images, [], True
    low, high = float(sample.min()), float(sample.max())
    if low >= 0 and high > 2:
        low, high = 0.0, 255.0
    side = SHOWN_SIDE if (pipelines.count(dataset) or limit) > MANY else PHOTO_SIDE
    end = time.monotonic() + seconds

    def batches():
        nonlocal ended
        for images in dataset.map(_small, num_parallel_calls=2):
            levels = 255 * (images.numpy() - low) / max(high - low, 1e-12)
            images = np.uint8(np.clip(np.nan_to_num(levels), 0, 255).round())
            step = math.ceil(max(images.shape[1:3]) / side)
            kept.append(images[:, ::step, ::step])
            yield images
            if sum(map(len, kept)) >= limit or time.monotonic() > end:
                ended = False
                return

    prints = fingerprints(batches())
    if not kept:
        raise NotExaminedError(f"the {split} split has no images")
    return prints, np.concatenate(kept), ended


def _outputs(case: Case, split: str) -> np.ndarray:
    images = case.sample(split).images
    run = tf.function(
        lambda batch: only_output(case.model(batch, training=False)),
        input_signature=[tf.TensorSpec((None, *images.shape[1:]), tf.float32)],
    )
    starts = range(0, len(images), BATCH_SIZE)
    parts = [run(images[i : i + BATCH_SIZE]) for i in starts]
    return np.concatenate([as_array(part) for part in parts])


def _small(images, *_):
    # Small ones show what they share as well, and many have room in memory.
    images = tf.cast(images, tf.float32)
    sides = tf.minimum(tf.shape(images)[1:3], PHOTO_SIDE)
    images = tf.image.resize(images, sides, antialias=True)
    # Grey ones are compared as colours are.
    return tf.image.grayscale_to_rgb(images) if images.shape[-1] == 1 else images


def checked_model(model) -> tuple[keras.Model, tuple[str, ...] | None]:
    """Return a built model, and the class names that were saved with it, if any."""
    names = None
    if isinstance(model, Classifier):
        model, names = model.model, model.class_names
    if isinstance(model, str | os.PathLike):
        raise ValueError(
            f"{CLASSIFIER}Of a file, load it first: kt.load_classifier(path). "
            f"Received: model={shown(model)}"
        )
    if not isinstance(model, keras.Model) or not model.built:
        raise ValueError(f"{CLASSIFIER}Received: model={shown(model)}")
    return model, names


def checked_parts(splits) -> dict:
    """Return what was given of `PARTS`: data sets, class names and counts."""
    if isinstance(splits, Mapping):
        parts = _of_mapping(splits)
    elif any(hasattr(splits, name) for name in SPLITS):
        parts = {name: getattr(splits, name, None) for name in PARTS}
    else:
        hint = ""
        if isinstance(splits, tf.data.Dataset):
            hint = ' Of one data set, pass {"test": dataset}.'
        elif isinstance(splits, str | os.PathLike):
            hint = " Of a folder, pass kt.load_directory(path)."
        raise ValueError(
            "splits must be Splits, or a dictionary with at least one of train, "
            f"validation and test, and class_names if there are any.{hint} "
            f"Received: splits={shown(splits)}"
        )
    parts = {name: part for name, part in parts.items() if part is not None}
    _check_data({name: parts[name] for name in SPLITS if name in parts})
    if "class_names" in parts:
        parts["class_names"] = texts("class_names", parts["class_names"], 1)
    if "counts" in parts:
        counts = parts["counts"]
        if not isinstance(counts, Mapping):
            raise ValueError(
                "counts must be a dictionary from a split to its number of images. "
                f"Received: counts={shown(counts)}"
            )
        parts["counts"] = {
            name: whole_number(f"counts[{name!r}]", count, 0)
            for name, count in counts.items()
        }
    return parts


def _of_mapping(splits: Mapping) -> dict:
    parts = {}
    for key, part in splits.items():
        name = OTHER_NAMES.get(key, key) if isinstance(key, str) else key
        if name not in PARTS or parts.get(name) is not None:
            raise ValueError(
                "splits must be Splits, or a dictionary with at least one of train, "
                "validation and test, each once, and class_names if there are any. "
                f"Received: splits with the keys {', '.join(map(str, splits))}"
            )
        parts[name] = part
    return parts


def checked_history(history) -> dict[str, list[float]] | None:
    """Return one number an epoch for each metric; or raise an error."""
    if history is None:
        return None
    values = getattr(history, "history", history)
    try:
        numbers = {
            str(name): [float(each) for each in epochs]
            for name, epochs in values.items()
            # `fine_tune` names the stage of each epoch beside its numbers, and metrics
            # such as F1Score give one number a class.
            if not all(isinstance(each, str) or np.ndim(each) for each in epochs)
        }
        if values and not numbers:
            raise ValueError("no metric has one number an epoch")
        return numbers
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            "history must be what fit or fine_tune returned, or its dictionary of one "
            f"number an epoch for each metric. Received: history={shown(history)}"
        ) from error


def checked_predictions(predictions) -> tuple[np.ndarray | None, np.ndarray] | None:
    """Return labels, where they are known, and predictions; or raise an error."""
    if predictions is None:
        return None
    if isinstance(predictions, ClassificationReport):
        return predictions.labels, predictions.probabilities
    try:
        # A model whose output has a name predicts a dictionary.
        named = isinstance(predictions, Mapping)
        found = np.asarray(only_output(predictions) if named else predictions)
    except (TypeError, ValueError):  # Rows of different lengths.
        found = np.asarray(None)
    if str(found.dtype) == "bfloat16":
        found = found.astype("float32")
    if found.ndim not in (1, 2) or found.dtype.kind not in "iuf" or not found.size:
        received = (
            f"predictions of shape {found.shape}"
            if found.dtype.kind in "iuf"
            else f"predictions={shown(predictions)}"
        )
        raise ValueError(
            "predictions must be a report of evaluate_classifier, or an array of one "
            f"row an image, or of one class number an image. Received: {received}"
        )
    return None, found


def _check_data(datasets: dict[str, tf.data.Dataset]) -> None:
    """Raise an error if there are no batched images with labels."""
    if not datasets:
        raise ValueError(
            "Expected Splits, or a dictionary with at least one of train, validation "
            "and test, and class_names if there are any. Received: no split"
        )
    for name, dataset in datasets.items():
        spec = getattr(dataset, "element_spec", None)
        pair = spec[:2] if isinstance(spec, tuple) and len(spec) > 1 else ()
        if (
            not isinstance(dataset, tf.data.Dataset)
            or not pair
            or not all(isinstance(x, tf.TensorSpec) and _is_number(x) for x in pair)
            or pair[0].shape.rank != 4
        ):
            raise ValueError(
                "Each split must be a batched tf.data.Dataset of images and labels; "
                "one of single images needs .batch(32). "
                f"Received: {name}={shown(dataset)}"
            )


def _is_number(spec: tf.TensorSpec) -> bool:
    return spec.dtype.is_floating or spec.dtype.is_integer or spec.dtype.is_bool


def checked_units(model: keras.Model, datasets: dict[str, tf.data.Dataset]) -> int:
    """Return the number of output units of a classifier, or raise an error.

    Keras does not know the shapes of a subclassed model, so that one is called.
    """
    inputs, outputs = (
        getattr(model, name, None) for name in ("input_shape", "output_shape")
    )
    if inputs is None and isinstance(model, keras.Model) and model.built:
        outputs, inputs = _called(model, datasets.values())
    if [len(x) if isinstance(x, tuple) else 0 for x in (inputs, outputs)] != [4, 2]:
        raise ValueError(
            f"{CLASSIFIER}Received: model={shown(model)}, input_shape={inputs}, "
            f"output_shape={outputs}"
        )
    for name, dataset in datasets.items():
        shape = dataset.element_spec[0].shape
        if not shape.is_compatible_with(inputs):
            raise ValueError(
                f"The model takes images of shape {inputs}. "
                f"Received: {name} with images of shape {shape}"
            )
    return outputs[-1]


def _called(model, datasets: Iterable[tf.data.Dataset]) -> tuple:
    """Return the shape of what a model answers, and of what it was asked."""
    for dataset in datasets:
        images, _ = pipelines.read(pipelines.in_order(dataset), 1)
        if len(images):
            break
    try:
        answers = keras.tree.flatten(model(images, training=False))
        outputs = getattr(answers[0], "shape", None) if len(answers) == 1 else None
    except Exception as error:  # It is somebody else's code.
        raise ValueError(
            f"{CLASSIFIER}It cannot be called with images of shape {images.shape} "
            f"({type(error).__name__}: {reason(error)}). Received: model={shown(model)}"
        ) from error
    return outputs and tuple(outputs), (None, *images.shape[1:])
