"""The callbacks that Keras does not have; all others are Keras's own."""

from keras_transfer.fine_tuning.gradual_unfreezing import GradualUnfreezing
from keras_transfer.fine_tuning.learning_rate_finder import LearningRateFinder

__all__ = ["GradualUnfreezing", "LearningRateFinder"]
