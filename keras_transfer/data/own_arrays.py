"""Read own data that lie in memory: arrays, tensors, lists."""

import pathlib
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from keras_transfer.data.own_content import Content
from keras_transfer.data.own_data import (
    OwnData,
    add,
    checked_request,
    checked_shape,
    checked_side,
    finished,
    hard_labels,
    numbers,
    same_width,
)
from keras_transfer.runtime.arguments import shown, texts

# Images that are changed and looked at at once.
AT_ONCE = 64


def of_arrays(
    parts: Mapping, class_names, fractions, seed: int, image_size: int | None
) -> OwnData:
    """Read pairs of images and labels; arguments as in `Splits.from_arrays`."""
    shares, image_size = checked_request(parts, fractions, image_size)
    pairs = {name: _pair(name, part) for name, part in parts.items()}
    class_names, pairs = _named(class_names, pairs)
    content, labels, width = Content(), {}, None
    for name, pair in pairs.items():
        if pair is None:
            continue
        images, given = pair
        start = len(content.digests)
        _add_array(content, name, images, image_size)
        if len(images) != len(given):
            raise ValueError(
                f"{name} must hold one label for each image. Received: {name} with "
                f"{len(images)} images and {len(given)} labels"
            )
        labels[name], found = hard_labels(name, given)
        width = same_width(width, found, name)
        content.parts[name] = np.arange(start, len(content.digests))
    return finished(content, labels, width, class_names, shares, seed)


def _pair(name: str, part) -> tuple | None:
    """Return images and labels as given, or `None`; refuse what is no such pair."""
    if part is None and name != "train":
        return None
    hint = ""
    if isinstance(part, tf.data.Dataset):
        hint = " Of a tf.data.Dataset, use kt.Splits.from_datasets."
    elif isinstance(part, str | pathlib.PurePath):
        hint = " Of a folder of photos, use kt.load_directory."
    elif hasattr(part, "shape"):
        hint = f" Pass images and labels together: {name}=(images, labels)."
    if hint or not isinstance(part, tuple | list) or len(part) != 2:
        raise ValueError(
            f"{name} must be a pair of arrays, (images, labels).{hint} "
            f"Received: {name}={shown(part)}"
        )
    images, labels = part
    try:
        labels = np.asarray(labels)
    except Exception as error:
        raise ValueError(
            f"{name} must be a pair of arrays, (images, labels); its labels are none "
            f"({type(error).__name__}). Received: labels={shown(labels)}"
        ) from error
    if labels.ndim == 0:
        raise ValueError(
            f"{name} must hold one label for each image. "
            f"Received: labels={shown(labels)}"
        )
    return _array(name, images), labels


def _array(name: str, images):
    """Return images as one array, or a list of arrays where they differ in size."""
    try:
        array = numbers(images)
    except Exception:
        array = None  # Of different sizes, or nothing that NumPy knows.
    if array is not None and array.dtype != object:
        return array
    try:
        each = [np.asarray(image) for image in images]
    except Exception:
        each = []
    if not each or any(image.dtype.kind not in "iufb" for image in each):
        raise ValueError(
            f"The images of {name} must be an array of numbers of shape (count, "
            f"height, width, 3). Received: images={shown(images)}"
        )
    return each


def _named(class_names, pairs: dict) -> tuple[tuple | None, dict]:
    """Return class names, where they are known, and text labels as numbers."""
    names = None if class_names is None else texts("class_names", class_names, least=2)
    labels = {key: pair[1] for key, pair in pairs.items() if pair is not None}
    written = {
        key: [str(label) for label in each.reshape(-1)]
        for key, each in labels.items()
        if each.size and all(isinstance(x, str) for x in each.reshape(-1).tolist())
    }
    if not written:
        return names, pairs
    found = sorted({label for each in written.values() for label in each})
    names = names or tuple(found)
    unknown = [label for label in found if label not in names]
    if unknown or {*written} != {*labels}:
        raise ValueError(
            "Labels must be class names in all splits, and each of them one of "
            f"class_names. Received: class_names={shown(names)}, labels such as "
            f"{shown((unknown or found)[0])}"
        )
    number = {label: index for index, label in enumerate(names)}
    for key, each in written.items():
        pairs[key] = (pairs[key][0], np.array([number[label] for label in each]))
    return names, pairs


def _add_array(content: Content, name: str, images, image_size: int | None) -> None:
    if not isinstance(images, list) and (not images.ndim or not len(images)):
        raise ValueError(f"{name} holds no image. Received: images={shown(images)}")
    if isinstance(images, list):
        batches = (image[None] for image in images)
    else:
        if images.ndim == 3 and images.shape[1] == images.shape[2]:
            images = images[..., None]  # Grey, without a channel.
        checked_shape(name, images.shape, images.dtype.kind in "iufb", image_size)
        as_it_is = images.shape[-1] == 3 and image_size in (None, images.shape[1])
        if as_it_is and images.dtype == np.uint8:
            checked_side(content, name, images.shape)
            content.refer_to(images)
            return
        batches = (images[i : i + AT_ONCE] for i in range(0, len(images), AT_ONCE))
    for batch in batches:
        add(content, name, batch, image_size)
    content.flush()
