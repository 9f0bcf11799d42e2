"""Calibration: of the answers given with 80 % confidence, are 80 % right?"""

import typing

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from keras_transfer.models.tempering import log_probabilities, tempered
from keras_transfer.runtime.arguments import number_array, real_number, whole_number

NUM_BINS = 15
TEMPERATURES = (0.05, 20.0)


class ReliabilityBins(typing.NamedTuple):
    """Hold for each bin of confidence what a reliability diagram shows.

    Attributes:
        counts: Number of images of each bin, shape `(num_bins,)`.
        confidences: Their mean confidence; 0 where a bin is empty.
        accuracies: The share of them that is right; 0 where a bin is empty.
    """

    counts: np.ndarray
    confidences: np.ndarray
    accuracies: np.ndarray


def reliability_bins(
    labels: np.ndarray, probabilities: np.ndarray, num_bins: int = NUM_BINS
) -> ReliabilityBins:
    """Sort answers into bins of equal width by their confidence.

    The confidence is the probability of the predicted class.

    Args:
        labels: Integer or one-hot labels of the images.
        probabilities: Of shape `(count, num_classes)`, of the same images; the rows
            sum to 1.
        num_bins: Number of bins from 0 to 1. Defaults to `15`.

    Returns:
        `ReliabilityBins`, from the lowest confidence to the highest.

    Raises:
        ValueError: If probabilities, labels or the number of bins are out of range.
    """
    labels, probabilities = _checked(labels, probabilities)
    num_bins = whole_number("num_bins", num_bins, least=1)
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    inner_edges = np.linspace(0, 1, num_bins + 1)[1:-1]
    index = np.searchsorted(inner_edges, confidence)
    counts = np.bincount(index, minlength=num_bins)
    filled = np.maximum(counts, 1)
    return ReliabilityBins(
        counts,
        np.bincount(index, weights=confidence, minlength=num_bins) / filled,
        np.bincount(index, weights=right, minlength=num_bins) / filled,
    )


def expected_calibration_error(
    labels: np.ndarray, probabilities: np.ndarray, num_bins: int = NUM_BINS
) -> float:
    """Return how far confidence and accuracy are apart, on average over the images.

    Args:
        labels: Integer or one-hot labels of the images.
        probabilities: Of shape `(count, num_classes)`, of the same images; the rows
            sum to 1.
        num_bins: Number of bins of equal width into which the images are sorted by
            the probability of their predicted class. Defaults to `15`.

    Returns:
        The error, from 0 (calibrated) to 1.

    Raises:
        ValueError: If probabilities, labels or the number of bins are out of range.

    Example:

    >>> import numpy as np, keras_transfer as kt
    >>> probabilities = np.array([[0.75, 0.25]] * 4)
    >>> kt.expected_calibration_error([0, 0, 0, 1], probabilities)
    0.0
    >>> kt.expected_calibration_error([0, 0, 1, 1], probabilities)
    0.25

    Reference:

    - [Guo et al., 2017](https://arxiv.org/abs/1706.04599)
    """
    bins = reliability_bins(labels, probabilities, num_bins)
    gaps = np.abs(bins.accuracies - bins.confidences)
    return float(np.average(gaps, weights=bins.counts))


def fit_temperature(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Find the temperature that calibrates a classifier best.

    It is the one with the lowest log loss. Fit it on the validation split: on the
    training split a model is too sure of itself, and the test split is for the result.

    Args:
        labels: Integer or one-hot labels of the images.
        probabilities: Of shape `(count, num_classes)`, of the same images; the rows
            sum to 1. Of logits, pass the softmax.

    Returns:
        The temperature, from 0.05 to 20: above 1 if the classifier was too sure. Where
        it made no mistake, no temperature is low enough, and this is the lowest.

    Raises:
        ValueError: If probabilities or labels are out of range.

    Example:

    >>> import numpy as np, keras_transfer as kt
    >>> too_sure = np.array([[0.99, 0.01]] * 4)
    >>> temperature = kt.fit_temperature([0, 0, 0, 1], too_sure)
    >>> kt.apply_temperature(too_sure, temperature)[0].round(2)
    array([0.75, 0.25], dtype=float32)

    Reference:

    - [Guo et al., 2017](https://arxiv.org/abs/1706.04599)
    """
    labels, probabilities = _checked(labels, probabilities)
    if np.array_equal(probabilities.argmax(axis=1), labels):
        # Found by no search where probabilities are 0 and 1, and the loss is 0.
        return TEMPERATURES[0]
    logits = log_probabilities(probabilities)
    rows = np.arange(len(labels))

    def loss(log_temperature):
        scaled = log_softmax(logits / np.exp(log_temperature), axis=1)
        return -scaled[rows, labels].mean()

    found = minimize_scalar(loss, bounds=np.log(TEMPERATURES), method="bounded")
    return float(np.exp(found.x))


def calibration_temperature(
    labels: np.ndarray, probabilities: np.ndarray
) -> float | None:
    """Find the temperature that calibrates a classifier, if anything tells it.

    Where all answers are right, being surer is always better, and `fit_temperature`
    returns its lowest temperature: nothing tells how sure is too sure.

    Args:
        labels: Integer or one-hot labels of the validation images.
        probabilities: As in `fit_temperature`.

    Returns:
        That of `fit_temperature`, or `None` where all answers are right. Both can be
        passed on to `save_classifier`.

    Raises:
        ValueError: If probabilities or labels are out of range.

    Example:

    >>> import numpy as np, keras_transfer as kt
    >>> sure = np.array([[0.99, 0.01]] * 4)
    >>> round(kt.calibration_temperature([0, 0, 0, 1], sure), 2)
    4.18
    >>> print(kt.calibration_temperature([0, 0, 0, 0], sure))
    None
    """
    labels, probabilities = _checked(labels, probabilities)
    if np.array_equal(probabilities.argmax(axis=1), labels):
        return None
    return fit_temperature(labels, probabilities)


def apply_temperature(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Make a classifier's answers less sure, or surer, without changing which they are.

    Args:
        probabilities: Of shape `(count, num_classes)`; the rows sum to 1.
        temperature: Above 0, for example from `fit_temperature`. Above 1, the answers
            become less sure.

    Returns:
        float32 array of the same shape: `softmax(log(probabilities) / temperature)`,
        which is the softmax of the logits divided by the temperature.

    Raises:
        ValueError: If probabilities or temperature are out of range.

    Example:

    >>> import numpy as np, keras_transfer as kt
    >>> kt.apply_temperature(np.array([[0.9, 0.1]]), 2.0)
    array([[0.75, 0.25]], dtype=float32)

    Reference:

    - [Guo et al., 2017](https://arxiv.org/abs/1706.04599)
    """
    temperature = real_number("temperature", temperature, above=0)
    return tempered(_checked_probabilities(probabilities), temperature)


def checked_labels(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Return integer labels of shape `(count,)`, or raise an error."""
    labels = number_array("labels", labels)
    if labels.shape[1:] == (num_classes,):
        classes = labels.argmax(axis=1)
        if not np.array_equal(labels, np.eye(num_classes)[classes]):
            raise ValueError(
                "Labels with a column for each class must be one-hot: a single 1, else "
                "0. Mixed or smoothed labels name no class to be right about. "
                f"Received: labels of shape {labels.shape}, not all of them one-hot"
            )
        return classes
    if labels.shape[1:] not in ((), (1,)) or labels.ndim == 0:
        raise ValueError(
            "Expected one integer label for each image, or one-hot labels of shape "
            f"(count, {num_classes}). Received: labels of shape {labels.shape}"
        )
    labels = labels.reshape(-1)
    # Also finds what is no whole number.
    unknown = labels[~np.isin(labels, np.arange(num_classes))]
    if len(unknown):
        raise ValueError(
            f"Labels must be integers from 0 to {num_classes - 1}, one for each class "
            f"name. Received: {len(unknown)} others, among them {unknown[0]}"
        )
    return labels.astype("int64")


def _checked(
    labels: np.ndarray, probabilities: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    probabilities = _checked_probabilities(probabilities)
    labels = checked_labels(labels, probabilities.shape[1])
    if len(labels) != len(probabilities):
        raise ValueError(
            "Expected one label for each row of probabilities. Received: "
            f"{len(probabilities)} rows, {len(labels)} labels"
        )
    return labels, probabilities


def _checked_probabilities(probabilities: np.ndarray) -> np.ndarray:
    probabilities = number_array("probabilities", probabilities).astype("float64")
    shape = probabilities.shape
    if len(shape) != 2 or shape[0] < 1 or shape[1] < 2:
        raise ValueError(
            "Expected probabilities of shape (count, num_classes), of at least one "
            "image and two classes, as class_probabilities returns them. "
            f"Received: probabilities of shape {shape}"
        )
    sums = probabilities.sum(axis=1)
    if not (probabilities.min() >= 0 and np.allclose(sums, 1, atol=1e-2)):
        raise ValueError(
            "Expected probabilities from 0 to 1 whose rows sum to 1. Of logits, pass "
            f"the softmax. Received: numbers from {probabilities.min():.4g} to "
            f"{probabilities.max():.4g}, rows that sum to {sums.min():.4g} to "
            f"{sums.max():.4g}"
        )
    return probabilities
