"""Figures of the lessons, in one colour-blind-safe style.

Each function draws with Matplotlib and returns its `Axes` or `Figure`, so titles and
sizes can still be changed.
"""

from keras_transfer.plots.comparison import (
    show_accuracies,
    show_comparison,
    show_learning_curve,
)
from keras_transfer.plots.data import show_class_balance, show_embedding
from keras_transfer.plots.evaluation import (
    show_confusion_matrix,
    show_precision_recall_curve,
    show_reliability_diagram,
    show_roc_curve,
)
from keras_transfer.plots.images import (
    show_augmentation,
    show_grad_cam,
    show_images,
    show_mistakes,
    show_pairs,
    show_predictions,
)
from keras_transfer.plots.style import COLORS, style
from keras_transfer.plots.training import (
    show_learning_rate_finder,
    show_training_history,
    show_unfreezing_schedule,
)

__all__ = [
    "COLORS",
    "show_accuracies",
    "show_augmentation",
    "show_class_balance",
    "show_comparison",
    "show_confusion_matrix",
    "show_embedding",
    "show_grad_cam",
    "show_images",
    "show_learning_curve",
    "show_learning_rate_finder",
    "show_mistakes",
    "show_pairs",
    "show_precision_recall_curve",
    "show_predictions",
    "show_reliability_diagram",
    "show_roc_curve",
    "show_training_history",
    "show_unfreezing_schedule",
    "style",
]
