"""Recognise weights that are as Keras drew them, before any training."""

import keras
import numpy as np
from scipy.stats import ks_2samp

from keras_transfer.models.outputs import as_array

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
