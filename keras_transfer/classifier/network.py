"""A classifier as a graph that gives its answers and its pooled features at once."""

import dataclasses
import typing
from collections.abc import Callable, Iterable, Iterator

import keras
import numpy as np
import tensorflow as tf

from keras_transfer.features.extraction import LabeledFeatures
from keras_transfer.features.inference import (
    BATCH,
    Network,
    TensorFlowNetwork,
    Use,
    first_taken,
    openvino_network,
)
from keras_transfer.models.blocks import cut, pooled_features
from keras_transfer.models.folding import fold_batch_normalization
from keras_transfer.models.graph import single_output
from keras_transfer.models.outputs import only_output
from keras_transfer.models.precision import fast_copy, fast_dtype
from keras_transfer.runtime.arguments import batched_dataset, keras_model, shown


@dataclasses.dataclass(frozen=True)
class Run:
    """Run a classifier, whose outputs and pooled features come side by side.

    Attributes:
        network: What gives them as one array.
        channels: How many of its columns are features, the last ones; or `None`.
    """

    network: Network
    channels: int | None

    def stream(self, items: Iterable) -> Iterator[tuple]:
        """Yield outputs, features or `None`, and what came with each batch."""
        for made, along in self.network.stream(items):
            if self.channels is None or not len(made):
                yield made, None, along
            else:
                yield made[:, : -self.channels], made[:, -self.channels :], along


class LayerByLayer:
    """Call a model as it is: for a few images, tracing a graph takes longer."""

    engine = "tensorflow"

    def __init__(self, run: Callable):
        self._run = run

    def __call__(self, images) -> np.ndarray:
        return np.asarray(self._run(tf.constant(images)))

    def stream(self, items: Iterable) -> Iterator[tuple]:
        for images, along in items:
            yield (self(images) if len(images) else np.empty(0)), along


def pooled_channels(model: keras.Model) -> int | None:
    """Return the number of pooled features that the head is given, if there are any."""
    return _channels(parts(model)[0])


def as_it_is(model: keras.Model) -> Run:
    """Return what calls a model layer by layer: for a few images."""
    first, last = parts(model)
    return Run(LayerByLayer(_answer(first, last)), _channels(first))


def compiled(
    model: keras.Model,
    image_size: int,
    dtype: typing.Any = None,
    pixels: tf.DType = tf.uint8,
    engine: str = "auto",
    batch_size: int = BATCH,
) -> Run:
    """Return a model as one graph by the fastest engine: for many images.

    Args:
        model: The classifier, which stays as it is.
        image_size: Side of the square images, in pixels.
        dtype: Precision. Defaults to the faster one here of those that are safe.
        pixels: What the images are given as. Defaults to `tf.uint8`.
        engine: As in `extract_features`. Defaults to `"auto"`.
        batch_size: Images that come at once; OpenVINO gets no more of them at a time
            than is fastest. Defaults to `32`.
    """
    signature = tf.TensorSpec((None, image_size, image_size, 3), pixels)

    def by_tensorflow():
        first, last = parts(fast_copy(model, dtype, frozen=True))
        if first is None:
            last = fold_batch_normalization(last)
        else:
            first = fold_batch_normalization(first)
        return TensorFlowNetwork(_answer(first, last), signature)

    def by_openvino():
        precision = fast_dtype(model, dtype, frozen=True)
        answer = _answer(*parts(model))
        channels = pooled_channels(model)
        use = Use(
            "answers",
            batch_size,
            parts=() if channels is None else (-channels,),
        )
        return openvino_network(model, answer, signature, precision, use)

    network = first_taken(model, engine, by_openvino, by_tensorflow)
    return Run(network, pooled_channels(model))


def _answer(first: keras.Model | None, last: keras.Model) -> Callable:
    """Return a function from images to outputs and features, side by side."""

    def answer(images):
        images = tf.cast(images, tf.float32)
        x = images if first is None else single_output(first, images)
        made = [only_output(last(x, training=False)), *([] if first is None else [x])]
        # As one tensor, which several devices can put together.
        return tf.concat([tf.cast(each, tf.float32) for each in made], axis=1)

    return answer


def _channels(first: keras.Model | None) -> int | None:
    return None if first is None else first.output_shape[-1]


def pooled_features_of(model: keras.Model, dataset: tf.data.Dataset) -> LabeledFeatures:
    """Compute what the head of a classifier is given: the averaged feature maps.

    By the backbone as it is now, also after fine-tuning, and kept nowhere. For a frozen
    backbone, `extract_features` computes the same and keeps it on disk.

    Args:
        model: Classifier whose head begins with global average pooling, as
            `build_classifier` makes it.
        dataset: Batched, finite `tf.data.Dataset` of RGB images 0-255 and labels, for
            example `splits.ordered("train")`.

    Returns:
        A pair of float32 features `(count, channels)` and labels, in the order of the
        data set.

    Raises:
        ValueError: If the model has no such head, or the data set does not fit it.

    Example:

    >>> import keras_transfer as kt
    >>> splits = kt.load_dataset("sample_cats_vs_dogs", image_size=64, max_images=60)
    >>> backbone = kt.build_backbone("efficientnet_lite0", image_size=64)
    >>> model = kt.build_classifier(backbone, num_classes=2)
    >>> kt.pooled_features_of(model, splits.test).features.shape
    (9, 1280)
    """
    if pooled_channels(keras_model("model", model)) is None:
        raise ValueError(
            "Expected a classifier whose head begins with global average pooling, as "
            f"build_classifier makes it. Received: model={shown(model)}"
        )
    images, _ = batched_dataset("dataset", dataset).element_spec
    shape, taken = tuple(images.shape[1:]), tuple(model.inputs[0].shape[1:])
    if len(shape) != 3 or shape[0] is None or shape[0] != shape[1] or shape[2] != 3:
        raise ValueError(
            "Expected batches of square RGB images of one size. "
            f"Received: dataset with images of shape {shape}"
        )
    if any(a not in (None, b) for a, b in zip(taken, shape, strict=True)):
        raise ValueError(
            f"The model takes images of shape {taken}. "
            f"Received: dataset with images of shape {shape}"
        )
    run = compiled(model, shape[0], pixels=images.dtype)
    made = [
        (features, np.asarray(y))
        for _, features, y in run.stream(dataset)
        if features is not None
    ]
    if not made:
        raise ValueError(
            "Expected a data set with at least one image. Received: an empty dataset"
        )
    features, labels = zip(*made, strict=True)
    return LabeledFeatures(np.concatenate(features), np.concatenate(labels))


def parts(model: keras.Model) -> tuple[keras.Model | None, keras.Model]:
    """Return a model up to its pooled features, if it has such, and the rest of it."""
    call = pooled_features(model)
    if call is None:
        return None, model
    try:
        return cut(model, call, ("pooled", "answers"))
    except ValueError:  # More than the features goes on from there.
        return None, model
