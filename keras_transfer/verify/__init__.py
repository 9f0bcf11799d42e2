"""Proof cells: each function asserts one claim of a lesson, and returns what it found.

What does not hold raises an `AssertionError` that says what to do about it. Arguments
that do not fit raise a `ValueError`, as everywhere.
"""

from keras_transfer.verify.data import (
    assert_augmentation_rests,
    assert_augmentation_varies,
    assert_disjoint_splits,
    assert_order_kept,
)
from keras_transfer.verify.pixels import assert_pixel_range
from keras_transfer.verify.predictions import (
    assert_label_order,
    assert_reproducible,
    assert_same_predictions,
)
from keras_transfer.verify.weights import (
    assert_batch_normalization_still,
    assert_frozen,
    assert_updated,
    snapshot,
)

__all__ = [
    "assert_augmentation_rests",
    "assert_augmentation_varies",
    "assert_batch_normalization_still",
    "assert_disjoint_splits",
    "assert_frozen",
    "assert_label_order",
    "assert_order_kept",
    "assert_pixel_range",
    "assert_reproducible",
    "assert_same_predictions",
    "assert_updated",
    "snapshot",
]
