"""Proof that pixels reach a pretrained network as its weights were trained with."""

import keras
import numpy as np
import tensorflow as tf

from keras_transfer.backbones.registry import ARCHITECTURES
from keras_transfer.data import pipelines
from keras_transfer.models import graph
from keras_transfer.runtime.arguments import (
    batched_dataset,
    elements,
    keras_model,
    reason,
    shown,
)

# As a share of the range: how far any channel may lie outside of it, and how much of
# either end all channels may leave out.
OUTSIDE, LEFT_OUT = 0.05, 0.35
# So many tell the range.
IMAGES = 256


def assert_pixel_range(
    dataset: tf.data.Dataset,
    model: keras.Model,
    expected: tuple[float, float] | None = None,
) -> tuple[float, float]:
    """Assert that pixels reach the first convolution in the range it was trained with.

    What images from all over the data set have become where they arrive at the first
    convolution is looked at, behind whatever preprocessing data set and model have
    between them. So a preprocessing that is missing, is another network's or is there
    twice is found where it changes the range. The order of the channels (RGB or BGR)
    cannot be known so.

    Args:
        dataset: Batched `tf.data.Dataset` of images as the model takes them, or of
            images and labels.
        model: `keras.Model` with a pretrained network in it.
        expected: Lowest and highest value that the weights were trained with. Defaults
            to that of ResNet50, VGG16, EfficientNet-Lite0, InceptionV3 and MobileNetV2,
            which are recognised by the names of their layers.

    Returns:
        The lowest and the highest value that arrive.

    Raises:
        AssertionError: If they do not lie in the expected range, or fill too little of
            it.
        ValueError: If the range is not known, or the model has no convolution.

    Example:

    >>> import keras_transfer as kt
    >>> splits = kt.load_dataset("sample_cats_vs_dogs", image_size=64, max_images=60)
    >>> backbone = kt.build_backbone("mobilenet_v2", weights=None, image_size=64)
    >>> low, high = kt.verify.assert_pixel_range(splits.test, backbone)
    >>> -1 <= low < -0.5, 0.5 < high <= 1
    (True, True)
    """
    model = keras_model("model", model)
    batched_dataset("dataset", dataset, labeled=False)
    if expected is None:
        name, low, high = known_range(model)
    else:
        name, low, high = model.name, *_checked_range(expected)
    images = _images(dataset)
    convolutions = graph.first_convolutions(model)
    try:
        arrived = graph.arrival(model, convolutions, images)
    except Exception as error:  # Of another size, or one of several inputs.
        raise ValueError(
            f"The model cannot be called on these images ({reason(error)}). Received: "
            f"model={shown(model)}, images of shape {images.shape}"
        ) from error
    if arrived is None:
        raise ValueError(
            "Expected a model of RGB images that has a convolution. "
            f"Received: model with name={model.name}"
        )
    found = arrived.inputs
    lowest, highest = found.min(axis=(0, 1, 2)), found.max(axis=(0, 1, 2))
    width = (high - low).max()
    outside = np.maximum(low - lowest, highest - high).max()
    left_out = max((lowest - low).min(), (high - highest).min())
    fits = outside <= OUTSIDE * width and left_out <= LEFT_OUT * width
    if not fits:  # Nor does NaN fit.
        raise AssertionError(
            f"The pixels reach the first convolution with values from {found.min():.4g}"
            f" to {found.max():.4g}; the weights of {name} were trained with about "
            f"{low.min():.4g} to {high.max():.4g}. The data set gives "
            f"{images.min():.4g} to {images.max():.4g}: apply the preprocessing of "
            "this network, once. A backbone from kt.build_backbone holds it, and takes "
            "RGB from 0 to 255."
        )
    return float(found.min()), float(found.max())


def _checked_range(expected) -> tuple[np.ndarray, np.ndarray]:
    try:
        ends = elements(expected)
        low, high = (np.atleast_1d(np.asarray(end, "float64")) for end in ends)
        fits = {low.shape, high.shape} <= {(1,), (3,)} and bool(np.all(low < high))
        fits &= bool(np.isfinite([*low, *high]).all())
    except (TypeError, ValueError):
        fits = False
    if not fits:
        raise ValueError(
            "expected must be the lowest and the highest value, (low, high), each one "
            f"number or one for each channel. Received: expected={shown(expected)}"
        )
    return low, high


def _images(dataset: tf.data.Dataset) -> np.ndarray:
    """Return images from all over a data set: one batch may be darker than others."""
    every, batches, count = pipelines.spacing(dataset, IMAGES), [], 0
    for element in pipelines.in_order(dataset, every=every):
        batches.append(
            np.asarray(element[0] if isinstance(element, tuple) else element)
        )
        count += len(batches[-1])
        if count >= IMAGES:
            break
    if not count or batches[0].ndim != 4:
        raise ValueError(
            "dataset must give batches of images, of shape (batch, height, width, 3). "
            f"Received: dataset={shown(dataset)} of {count} images"
        )
    return np.concatenate(batches)


def known_range(model: keras.Model) -> tuple[str, np.ndarray, np.ndarray]:
    """Return the name of the network in `model`, and for each channel its range."""
    names = {layer.name for layer in graph.layers_of(model)}
    for name, entry in ARCHITECTURES.items():
        known = entry.signature and names.issuperset(entry.signature)
        if known and names.isdisjoint(entry.absent):
            ends = np.reshape([0.0, 255.0], (2, 1, 1, 1)).repeat(3, axis=-1)
            ends = entry.preprocess(keras.ops.convert_to_tensor(ends))
            low, high = keras.ops.convert_to_numpy(ends)[:, 0, 0]
            return name, low, high
    raise ValueError(
        "The range that the weights of this model were trained with is not known here. "
        f"Pass expected=(low, high). Received: model with name={model.name}"
    )
