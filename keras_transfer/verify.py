"""Proof cells: each function asserts one claim of a lesson, and returns what it found.

What does not hold raises an `AssertionError` that says what to do about it. Arguments
that do not fit raise a `ValueError`, as everywhere.
"""

from keras_transfer.pipeline_proofs import (
    assert_augmentation_rests,
    assert_augmentation_varies,
    assert_order_kept,
)
from keras_transfer.pixel_range import assert_pixel_range
from keras_transfer.prediction_proofs import (
    assert_label_order,
    assert_reproducible,
)
from keras_transfer.saving_proofs import assert_same_predictions
from keras_transfer.split_proofs import assert_disjoint_splits
from keras_transfer.weight_proofs import (
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
