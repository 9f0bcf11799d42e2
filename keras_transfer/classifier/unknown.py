"""None of these: a photo that lies too far from all photos that were trained on.

A classifier names one of its classes, whatever it is shown, and is often sure of it.
How far the pooled features of a photo are from those of the training photos tells more
than the highest probability.
"""

import dataclasses
import functools
import typing

import numpy as np

from keras_transfer.runtime.arguments import (
    number_array,
    real_number,
    shown,
    whole_number,
)
from keras_transfer.runtime.sampling import in_turn

# Keeps file and time small: of 2,048 channels these are 17 MB, and 1 ms a photo.
MOST_FEATURES = 4096
# How sure it must be that no more photos of the known classes are refused than allowed.
# Tried on 200 splits of the 1,501 cats and dogs, 225 photos of each for validation and
# 500 held out, ResNet50 and EfficientNet-Lite0: 2.3 % of these were refused on average,
# and more than 5 % in one split of 40. At a confidence of 0.95 it was one of 17.
CONFIDENCE = 0.975
# Another batch may bring a distance to the other side of itself by so much.
ROUNDING = 1e-6
# Distances of so many photos are computed at once.
CHUNK = 512


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class UnknownDetector:
    """Tell whether photos are of none of the classes; from `fit_unknown_detector`.

    Attributes:
        features: float16 array `(count, channels)` of pooled features of training
            photos, each of length 1.
        neighbors: The distance is that to this one of the nearest features, from 1.
        threshold: What is farther away is of none of the classes.
        refused: The share of photos of the known classes that may be refused.
        validation_images: How many photos the threshold was fixed on.
    """

    features: np.ndarray
    neighbors: int
    threshold: float
    refused: float
    validation_images: int

    def __post_init__(self):
        kept = number_array("features", self.features)
        if kept.ndim != 2 or not kept.size or not np.isfinite(kept).all():
            raise ValueError(
                "Expected finite features of shape (count, channels), as "
                f"fit_unknown_detector keeps them. Received: features={shown(kept)}"
            )
        count = len(kept)
        checked = {
            "features": kept.astype("float16"),
            "neighbors": whole_number("neighbors", self.neighbors, 1, count),
            "threshold": real_number("threshold", self.threshold, least=0),
            "refused": real_number("refused", self.refused, above=0, below=1),
            "validation_images": whole_number(
                "validation_images", self.validation_images, least=1
            ),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    def distances(self, features: np.ndarray) -> np.ndarray:
        """Return how far photos are from the training photos.

        Args:
            features: Pooled features of the photos, of shape `(count, channels)`.

        Returns:
            float32 array of shape `(count,)`: the cosine distance to the nearest
            training feature but `neighbors - 1`, from 0 (the same) to 2.
        """
        features = _checked("features", features)[0]
        channels = self.features.shape[1]
        if features.shape[1] != channels:
            raise ValueError(
                f"Expected features of {channels} channels, as the detector was fitted "
                f"on. Received: features of shape {features.shape}"
            )
        parts = [
            _distances(self._bank, features[start : start + CHUNK], self.neighbors)
            for start in range(0, len(features), CHUNK)
        ]
        return np.concatenate(parts)

    def is_unknown(self, features: np.ndarray) -> np.ndarray:
        """Return for each photo whether it is of none of the classes.

        Args:
            features: Pooled features of the photos, of shape `(count, channels)`.

        Returns:
            Array of truth values of shape `(count,)`.
        """
        return self.distances(features) > self.threshold

    @property
    def promised(self) -> bool:
        """Whether there were enough validation photos to keep to `refused`.

        The photos are taken for independent: where many are of one patient, or near
        copies, the promise is too good.
        """
        return _chance(0, self.validation_images, self.refused) >= CONFIDENCE

    @functools.cached_property
    def _bank(self) -> np.ndarray:
        return _of_length_one(self.features.astype("float32"))

    def __repr__(self) -> str:
        text = (
            f"None of these: farther than {self.threshold:.3f} from training photo "
            f"{self.neighbors} in order of distance, of {len(self.features):,}. "
        )
        if self.promised:
            return text + (
                f"At most {self.refused:.1%} of the known classes are refused, by "
                f"{self.validation_images:,} validation photos."
            )
        return text + (
            f"With only {self.validation_images:,} validation photos, more than "
            f"{self.refused:.1%} of the known classes may be refused."
        )


def fit_unknown_detector(
    train_features: typing.Any,
    validation_features: typing.Any,
    *,
    neighbors: int = 10,
    refused: float = 0.05,
) -> UnknownDetector:
    """Learn to tell photos that are of none of the classes.

    The measure is the cosine distance of a photo's pooled features to the 10th nearest
    training feature. The threshold is fixed on the validation photos: the lowest by
    which, at a confidence of 97.5 %, no more than the share `refused` of new photos of
    the known classes is refused. That takes 72 validation photos for 5 %; with fewer it
    is the largest distance among them, and `promised` is false. Of more than 4,096
    training photos, as many of each class as can be are kept.

    Args:
        train_features: Pooled features `(count, channels)` of the training photos,
            or a pair of features and labels, such as `features.train` of
            `extract_features`. For a network that was fine-tuned, those that it makes
            now: `pooled_features_of(model, splits.ordered("train"))`.
        validation_features: The same of the validation photos.
        neighbors: Which of the nearest features counts, at least 1; with fewer training
            photos, the farthest of them. Defaults to `10`.
        refused: Share of photos of the known classes that may be refused, above 0 and
            below 1. Defaults to `0.05`.

    Returns:
        An `UnknownDetector` with `distances(features)`, `is_unknown(features)` and
        `threshold`. `save_classifier(..., unknown=detector)` keeps it with a model.

    Raises:
        ValueError: If the features do not fit together, or an argument is out of range.

    Example:

    >>> import numpy as np, keras_transfer as kt
    >>> photos = np.random.default_rng(0).normal([9, 1, 1], 1, (300, 3))
    >>> detector = kt.fit_unknown_detector(photos[:200], photos[200:])
    >>> detector.is_unknown(np.array([[9.0, 1.0, 1.0], [1.0, 9.0, 1.0]]))
    array([False,  True])

    Reference:

    - [Sun et al., 2022](https://arxiv.org/abs/2204.06507), deep nearest neighbours
    """
    train, labels = _checked("train_features", train_features)
    validation, _ = _checked("validation_features", validation_features)
    if train.shape[1] != validation.shape[1]:
        raise ValueError(
            "Training and validation features must come from the same network. "
            f"Received: train_features of shape {train.shape}, validation_features of "
            f"shape {validation.shape}"
        )
    neighbors = whole_number("neighbors", neighbors, least=1)
    refused = real_number("refused", refused, above=0, below=1)
    kept = train[in_turn(labels, MOST_FEATURES)].astype("float16")
    neighbors = min(neighbors, len(kept))
    count = len(validation)
    detector = UnknownDetector(kept, neighbors, 0.0, refused, count)
    farthest_first = np.sort(detector.distances(validation))[::-1]
    threshold = float(farthest_first[refusals(count, refused)]) + ROUNDING
    return dataclasses.replace(detector, threshold=threshold)


def refusals(count: int, refused: float) -> int:
    """Return how many of `count` validation photos may lie beyond the threshold.

    Whatever the distances are like, the share of all photos beyond the one of rank
    `number + 1` is distributed as Beta(number + 1, count - number).
    """
    number = 0
    while number + 1 < count and _chance(number + 1, count, refused) >= CONFIDENCE:
        number += 1
    return number


def _chance(number: int, count: int, refused: float) -> float:
    # Takes longer to import than an exported classifier takes to answer.
    from scipy.stats import beta

    return float(beta.cdf(refused, number + 1, count - number))


def _distances(bank: np.ndarray, features: np.ndarray, neighbors: int) -> np.ndarray:
    nearest_last = np.partition(features @ bank.T, -neighbors, axis=1)
    return np.clip(1 - nearest_last[:, -neighbors], 0, 2)


def _checked(name: str, value: typing.Any) -> tuple[np.ndarray, np.ndarray]:
    """Return float32 features of length 1 and labels, all 0 where none are given."""
    labels = None
    if isinstance(value, tuple) and len(value) == 2:
        value, labels = value
    features = number_array(name, value)
    if features.ndim != 2 or not features.size or not np.isfinite(features).all():
        raise ValueError(
            f"{name} must be finite numbers of shape (count, channels), of at least "
            f"one photo. Received: {name}={shown(value)}"
        )
    given = np.zeros(len(features)) if labels is None else number_array(name, labels)
    if given.shape not in ((len(features),), (len(features), 1)):
        raise ValueError(
            f"{name} must have one integer label for each photo, or none at all. "
            f"Received: {name} of shape {features.shape}, labels of {given.shape}"
        )
    return _of_length_one(features.astype("float32")), given.reshape(-1)


def _of_length_one(features: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    # Of a photo that excites no channel nothing is known: it is near to nothing.
    return features / np.where(lengths > 0, lengths, 1)
