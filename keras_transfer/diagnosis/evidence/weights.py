"""Recognise the ImageNet weights of a backbone by its first kernel."""

import typing

import keras
import numpy as np
from scipy.stats import ks_2samp

from keras_transfer.backbones.fingerprint import FILTERS, colour_sums
from keras_transfer.backbones.registry import ARCHITECTURES
from keras_transfer.models.outputs import as_array

# A fine-tuned kernel keeps a likeness above 0.99, a random one stays below 0.8.
LIKENESS = 0.98
ONCE = 0.8


class Recognised(typing.NamedTuple):
    """Say whose first kernel one is.

    Attributes:
        architecture: Name of the backbone.
        likeness: Correlation of its answers to plain colours with those of ImageNet's
            weights, at most 1.
        reversed: Whether its channels were put in reverse order.
    """

    architecture: str
    likeness: float
    reversed: bool

    @property
    def sure(self) -> bool:
        """Whether it still is that of ImageNet, at most a little fine-tuned."""
        return self.likeness >= LIKENESS


def recognise(layer: keras.layers.Conv2D) -> Recognised | None:
    """Return whose first kernel a convolution has, or once had.

    Args:
        layer: First convolution of a network.

    Returns:
        `Recognised`, or `None` for a kernel that is not known here.
    """
    kernel = keras.ops.convert_to_numpy(layer.kernel)
    if kernel.ndim != 4 or kernel.shape[2] != 3 or kernel.shape[3] < FILTERS:
        return None  # Nor has any backbone of the table so few filters.
    sums = colour_sums(kernel)
    found = [
        Recognised(name, _correlation(np.array(known), sums[::order]), order < 0)
        for name, known in known_sums().items()
        for order in (1, -1)
    ]
    best = max(found, key=lambda each: each.likeness, default=None)
    return best if best and best.likeness >= ONCE else None


def known_sums() -> dict[str, tuple]:
    """Return the colour sums of each backbone of which they are known."""
    return {
        name: entry.colour_sums
        for name, entry in ARCHITECTURES.items()
        if entry.colour_sums is not None
    }


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    lengths = np.linalg.norm(first) * np.linalg.norm(second)
    return float(np.sum(first * second) / lengths) if lengths else 0.0


# Fresh weights differ from others that are fresh by more once in a thousand times.
UNLIKELY = 1e-3
# Of so many numbers at most; more say no more.
NUMBERS = 20_000


def is_fresh(layer: keras.layers.Layer) -> bool:
    """Tell whether the weights of a layer are as its initializer drew them.

    A bias begins at exactly 0, and the first training step moves it. A kernel has the
    distribution of the initializer, which Keras keeps with the layer.
    """
    bias = getattr(layer, "bias", None)
    if bias is not None and as_array(bias).any():
        return False
    name = "depthwise_initializer"
    initializer = getattr(layer, name, None) or layer.kernel_initializer
    kernel = as_array(layer.kernel)
    config = initializer.get_config()
    if "seed" in config:
        config["seed"] = 0
    fresh = as_array(type(initializer).from_config(config)(kernel.shape))
    kernel, fresh = kernel.ravel(), fresh.ravel()
    if np.abs(kernel).max() > 1.5 * max(np.abs(fresh).max(), 1e-12):
        return False
    step = max(1, kernel.size // NUMBERS)
    return ks_2samp(kernel[::step], fresh[::step]).pvalue > UNLIKELY


def is_untouched(layer: keras.layers.BatchNormalization) -> bool:
    """Tell whether the statistics of BatchNormalization have never seen an image."""
    return not as_array(layer.moving_mean).any() and bool(
        np.all(as_array(layer.moving_variance) == 1)
    )
