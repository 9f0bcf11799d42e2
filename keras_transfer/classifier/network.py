"""A classifier as a graph that gives its answers and its pooled features at once."""

import typing
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from keras_transfer.features.extraction import LabeledFeatures
from keras_transfer.models.blocks import cut, pooled_features
from keras_transfer.models.folding import fold_batch_normalization
from keras_transfer.models.graph import single_output
from keras_transfer.models.outputs import only_output
from keras_transfer.models.precision import fast_copy
from keras_transfer.runtime.arguments import batched_dataset, keras_model, shown
from keras_transfer.runtime.devices import on_all_devices

# From a batch of images to the outputs, and the pooled features where there are any.
Run = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray | None]]


def pooled_channels(model: keras.Model) -> int | None:
    """Return the number of pooled features that the head is given, if there are any."""
    first, _ = _parts(model)
    return None if first is None else first.output_shape[-1]


def as_it_is(model: keras.Model) -> Run:
    """Return a function that calls a model layer by layer: for a few images.

    Tracing a graph would take longer.
    """
    first, last = _parts(model)

    def run(images):
        images = images.astype("float32")
        x = images if first is None else single_output(first, images)
        features = None if first is None else keras.ops.convert_to_numpy(x)
        outputs = only_output(last(x, training=False))
        return keras.ops.convert_to_numpy(outputs), features

    return run


def compiled(
    model: keras.Model,
    image_size: int,
    dtype: typing.Any = None,
    pixels: tf.DType = tf.uint8,
) -> Run:
    """Return a copy of a model as one graph for every batch size: for many images.

    BatchNormalization is folded where it can be, as in `extract_features`.

    Args:
        model: The classifier, which stays as it is.
        image_size: Side of the square images, in pixels.
        dtype: Precision. Defaults to the faster one here of those that are safe.
        pixels: What the images are given as. Defaults to `tf.uint8`.
    """
    copy = fast_copy(model, dtype, frozen=True)
    first, last = _parts(copy)
    if first is None:
        last = fold_batch_normalization(last)
    else:
        first = fold_batch_normalization(first)

    def answer(images):
        images = tf.cast(images, tf.float32)
        x = images if first is None else single_output(first, images)
        made = [only_output(last(x, training=False)), *([] if first is None else [x])]
        # As one tensor, which several devices can put together.
        return tf.concat([tf.cast(each, tf.float32) for each in made], axis=1)

    signature = tf.TensorSpec((None, image_size, image_size, 3), pixels)
    graph = tf.function(on_all_devices(answer), input_signature=[signature])
    channels = None if first is None else first.output_shape[-1]

    def run(images):
        made = graph(images).numpy()
        if channels is None:
            return made, None
        return made[:, :-channels], made[:, -channels:]

    return run


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
    made = [(run(x)[1], np.asarray(y)) for x, y in dataset]
    if not made:
        raise ValueError(
            "Expected a data set with at least one image. Received: an empty dataset"
        )
    features, labels = zip(*made, strict=True)
    return LabeledFeatures(np.concatenate(features), np.concatenate(labels))


def _parts(model: keras.Model) -> tuple[keras.Model | None, keras.Model]:
    """Return a model up to its pooled features, if it has such, and the rest of it."""
    call = pooled_features(model)
    if call is None:
        return None, model
    try:
        return cut(model, call, ("pooled", "answers"))
    except ValueError:  # More than the features goes on from there.
        return None, model
