"""Measure backbones by a linear probe: how good are their frozen features?

`python -m keras_transfer backbones` prints a table; with `--samples` it measures the
drawn images of the quick profile beside a linear classifier on raw pixels.
"""

import datetime

import keras
import numpy as np
import tensorflow as tf
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from keras_transfer import samples
from keras_transfer.backbones import build, registry
from keras_transfer.data import decoding, tfds
from keras_transfer.features import extraction
from keras_transfer.models.precision import fast_dtype
from keras_transfer.runtime.arguments import (
    one_of,
    real_number,
    shown,
    square_size,
    whole_number,
)
from keras_transfer.runtime.threads import one_blas_thread

# What is tried on raw pixels, which learn best with one of them.
PIXEL_SIZES = (32, 64)
PIXEL_PENALTIES = (1e-5, 1e-4, 1e-3, 1e-2)


def cross_validated_accuracy(
    inputs: np.ndarray, labels: np.ndarray, regularization: float = 0.01
) -> float:
    """Return the 5-fold cross-validated accuracy of a logistic regression.

    Args:
        inputs: Features or pixels of shape `(count, channels)`.
        labels: Integer labels of shape `(count,)`.
        regularization: Inverse strength `C` of the penalty. Defaults to `0.01`.

    Returns:
        Mean accuracy over the folds, 0 to 1.

    Raises:
        ValueError: If there is not one row and one label a photo, or no class has as
            many photos as there are folds.
    """
    inputs, labels = np.asarray(inputs), np.asarray(labels)
    if inputs.ndim != 2 or labels.shape != inputs.shape[:1]:
        raise ValueError(
            "Expected features of shape (count, channels) and a label for each. "
            f"Received: inputs of shape {inputs.shape}, labels of shape {labels.shape}"
        )
    regularization = real_number("regularization", regularization, above=0)
    probe = make_pipeline(
        StandardScaler(), LogisticRegression(C=regularization, max_iter=2000)
    )
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    with one_blas_thread():
        return float(cross_val_score(probe, inputs, labels, cv=folds).mean())


def measure_backbone(
    name: str, dataset: str, image_size: int, dtype: str | None = None
) -> dict:
    """Measure a backbone by a linear probe on all images of a data set.

    Args:
        name: Name of a backbone.
        dataset: Name of a data set for `load_dataset`.
        image_size: Side of the images in pixels.
        dtype: Precision of the computation, as in `extract_features`.

    Returns:
        Dictionary of plain values: the 5-fold cross-validated `accuracy`, 0 to 1, and
        what was measured and how.

    Raises:
        ValueError: If an argument is of no use here.
    """
    one_of("name", name, registry.ARCHITECTURES)
    if not isinstance(dataset, str):
        raise ValueError(
            "dataset must be the name of a data set, as for load_dataset. "
            f"Received: dataset={shown(dataset)}"
        )
    image_size = square_size("image_size", image_size, 32)
    splits = tfds.load_dataset(dataset, image_size=image_size)
    backbone = build.build_backbone(name, image_size=image_size)
    dtype = fast_dtype(backbone, dtype, frozen=True)
    extracted = extraction.extract_features(
        backbone, splits, verbose=False, dtype=dtype
    )
    parts = [getattr(extracted, split) for split in splits.counts]
    labels = np.concatenate([part.labels for part in parts])
    accuracy = cross_validated_accuracy(
        np.concatenate([part.features for part in parts]), labels
    )
    return {
        "backbone": name,
        "dataset": dataset,
        "image_size": image_size,
        "photos": len(labels),
        "accuracy": accuracy,
        "dtype": str(dtype),
        "versions": {"keras": keras.__version__, "tensorflow": tf.__version__},
        "date": datetime.date.today().isoformat(),
    }


def probe_samples(seed: int, num_images: int = 300) -> dict[str, float]:
    """Return accuracies on drawn cats and dogs of one generator seed.

    Args:
        seed: Seed of the drawings.
        num_images: How many are drawn, at least 10. Defaults to `300`.

    Returns:
        Dictionary with the accuracy of a linear classifier on raw pixels, the best of
        several penalties and two sizes, and of one on frozen features of
        EfficientNet-Lite0 at 128 px.

    Raises:
        ValueError: If the seed is none, or the images are too few for five folds.
    """
    seed = whole_number("seed", seed, 0)
    num_images = whole_number("num_images", num_images, 10)
    drawn = [
        (decoding.resize(np.asarray(image), 128).numpy(), label)
        for image, label in samples.draw_cats_vs_dogs(num_images, seed)
    ]
    pixels, labels = (np.array(column) for column in zip(*drawn, strict=True))
    best = max(
        cross_validated_accuracy(
            decoding.resize(pixels, size).numpy().reshape(len(pixels), -1), labels, c
        )
        for size in PIXEL_SIZES
        for c in PIXEL_PENALTIES
    )
    backbone = build.build_backbone("efficientnet_lite0", image_size=128)
    maps = backbone.predict(pixels.astype("float32"), verbose=0)
    pooled = maps.mean(axis=(1, 2))
    return {
        "linear on raw pixels": best,
        "efficientnet_lite0 features": cross_validated_accuracy(pooled, labels),
    }
