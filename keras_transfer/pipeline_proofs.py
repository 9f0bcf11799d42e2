"""Proofs about what a data set gives in each pass: augmentation and order."""

import itertools

import keras
import numpy as np
import tensorflow as tf

from keras_transfer.duplicates import digest


def assert_augmentation_varies(
    augmented: tf.data.Dataset | keras.layers.Layer, images: np.ndarray | None = None
) -> float:
    """Assert that augmentation makes other pixels of the same images in each pass.

    Args:
        augmented: Batched, finite `tf.data.Dataset` of augmented training images, of
            which two whole passes are read, in any order; or an augmentation layer.
        images: With a layer, images of shape `(count, height, width, 3)` to augment
            twice; about ten, because a layer that only mirrors leaves half of them
            as they are. Defaults to none, for a data set.

    Returns:
        Share of the images that the second pass gave anew, 0 to 1.

    Raises:
        AssertionError: If no more than a tenth did.
        ValueError: If the data set is not batched or endless, or a layer comes without
            images.

    Example:

    >>> import numpy as np, keras_transfer as kt
    >>> images = np.random.default_rng(0).uniform(0, 255, (4, 32, 32, 3))
    >>> kt.verify.assert_augmentation_varies(kt.build_augmentation("light"), images)
    1.0
    """
    if isinstance(augmented, tf.data.Dataset):
        known = {*_digests(augmented)}
        changed = [value not in known for value in _digests(augmented)]
        reason = (
            "Either nothing augments them; or the augmentation comes before `cache()`, "
            "which keeps its first result; or it draws by a seed that begins anew in "
            "each pass, as tf.image.random_* may after set_random_seed. Cache first, "
            "then augment by Keras layers, such as kt.build_augmentation"
        )
    elif images is None or not len(images):
        raise ValueError(
            "Expected a batched tf.data.Dataset, or an augmentation layer and images. "
            f"Received: augmented={augmented}, images={images}"
        )
    else:
        images = np.asarray(images, "float32")
        first, second = (_array(augmented(images, training=True)) for _ in range(2))
        changed = [digest(a) != digest(b) for a, b in zip(first, second, strict=True)]
        reason = "The layer changes nothing at random: check its factors"
    if np.mean(changed) <= 0.1:
        raise AssertionError(
            f"Two passes gave the same pixels for {len(changed) - sum(changed):,} of "
            f"{len(changed):,} images, so every epoch sees the same pictures. {reason}."
        )
    return float(np.mean(changed))


def assert_augmentation_rests(
    augmentation: keras.layers.Layer, images: np.ndarray
) -> int:
    """Assert that an augmentation layer changes nothing in prediction.

    Args:
        augmentation: Layer such as that of `build_augmentation`.
        images: Images of shape `(count, height, width, 3)`.

    Returns:
        How many images were compared.

    Raises:
        AssertionError: If any image comes out changed with `training=False`.

    Example:

    >>> import numpy as np, keras_transfer as kt
    >>> images = np.random.default_rng(0).uniform(0, 255, (4, 32, 32, 3))
    >>> kt.verify.assert_augmentation_rests(kt.build_augmentation("light"), images)
    4
    """
    images = np.asarray(images, "float32")
    after = _array(augmentation(images, training=False))
    changed = sum(digest(a) != digest(b) for a, b in zip(images, after, strict=True))
    if changed:
        raise AssertionError(
            f"{changed} of {len(images)} images come out changed with "
            "`training=False`, so predictions depend on chance. Use Keras's own "
            "augmentation layers, and leave `training` to Keras where they are called."
        )
    return len(images)


def assert_order_kept(dataset: tf.data.Dataset) -> int:
    """Assert that two passes over a data set give the same images in the same order.

    Only then may predictions of one pass be compared with labels or file names of
    another one.

    Args:
        dataset: Batched, finite `tf.data.Dataset`, for example `splits.test`.

    Returns:
        How many images were compared.

    Raises:
        AssertionError: If the second pass gives another image at any position.
        ValueError: If the data set is not batched or endless.

    Example:

    >>> import keras_transfer as kt
    >>> splits = kt.load_dataset("sample_cats_vs_dogs", image_size=64, max_images=60)
    >>> kt.verify.assert_order_kept(splits.test)
    9
    """
    first, second = _digests(dataset), _digests(dataset)
    moved = [a != b for a, b in itertools.zip_longest(first, second)]
    if any(moved):
        raise AssertionError(
            f"The second pass gave another image at {sum(moved):,} of {len(moved):,} "
            f"positions, the first is {moved.index(True)}: the data set shuffles, or "
            "augments. Take labels and predictions from the same batches, as "
            "kt.evaluate_classifier does, or use a data set without shuffle, such as "
            "splits.test."
        )
    return len(first)


def _digests(dataset: tf.data.Dataset) -> list[bytes]:
    spec = getattr(dataset, "element_spec", None)
    spec = spec[0] if isinstance(spec, tuple) else spec
    if getattr(spec, "shape", None) is None or spec.shape.rank != 4:
        raise ValueError(
            "Expected a batched tf.data.Dataset of (images, labels), such as "
            f"splits.train. Received: dataset={dataset}"
        )
    if dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise ValueError(
            "Expected a data set that ends. Leave out .repeat(), or add .take(steps). "
            f"Received: dataset={dataset}"
        )
    digests = []
    for element in dataset.as_numpy_iterator():
        digests += map(digest, element[0] if isinstance(element, tuple) else element)
    if not digests:
        raise ValueError(
            "Expected a data set with at least one image. Received: an empty dataset"
        )
    return digests


def _array(tensor) -> np.ndarray:
    return keras.ops.convert_to_numpy(tensor)
