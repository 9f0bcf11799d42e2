"""Probabilities and their logarithms, and what a temperature makes of them."""

import numpy as np


def log_probabilities(probabilities: np.ndarray) -> np.ndarray:
    """Return the logarithms of probabilities `(count, num_classes)`, none infinite."""
    # In float32, `1 - p` of a sigmoid is 0 where it lies below half the distance from 1
    # to the next number. No zero may be more than the smallest number beside it.
    positive = probabilities > 0
    smallest = probabilities.min(
        axis=1, where=positive, initial=2.0**-25, keepdims=True
    )
    return np.log(np.where(positive, probabilities, smallest))


def tempered(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Return float32 probabilities whose logits are divided by a temperature."""
    logits = log_probabilities(probabilities.astype("float64"))
    logits /= temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (powers / powers.sum(axis=1, keepdims=True)).astype("float32")
