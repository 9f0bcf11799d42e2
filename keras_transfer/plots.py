"""Figures of the lessons, in one colour-blind-safe style.

Each function draws with Matplotlib and returns its `Axes` or `Figure`, so titles and
sizes can still be changed.
"""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np

from keras_transfer.comparison_plots import show_comparison
from keras_transfer.data_plots import show_class_balance, show_embedding
from keras_transfer.evaluation_plots import (
    show_confusion_matrix,
    show_reliability_diagram,
)
from keras_transfer.image_plots import (
    show_augmentation,
    show_grad_cam,
    show_images,
    show_pairs,
)
from keras_transfer.plot_style import COLORS, MARKERS, axes_or_new, color_of, style
from keras_transfer.prediction_plots import show_mistakes, show_predictions
from keras_transfer.threshold_plots import (
    show_precision_recall_curve,
    show_roc_curve,
)
from keras_transfer.training_plots import (
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


def show_learning_curve(
    sizes: Sequence[int],
    accuracies: Mapping[str, np.ndarray],
    title: str = "Accuracy against the number of labelled photos",
    axes: plt.Axes | None = None,
) -> plt.Axes:
    """Show test accuracy against training photos, with the spread over seeds.

    Args:
        sizes: Numbers of training photos.
        accuracies: For each method an array of shape `(seeds, len(sizes))`, 0 to 1.
        title: Title of the axes.
        axes: Matplotlib `Axes` to draw in. Defaults to those of a new figure.

    Returns:
        A Matplotlib `Axes`: a line through the means, a band from the lowest to the
        highest seed.

    Example:

    >>> import numpy as np, keras_transfer as kt
    >>> curve = np.array([[0.6, 0.8], [0.7, 0.9]])
    >>> axes = kt.plots.show_learning_curve([10, 100], {"ours": curve})
    """
    with style():
        axes = axes_or_new(axes, (7, 3.8))
        for index, (name, values) in enumerate(accuracies.items()):
            values = 100 * np.asarray(values)
            color, marker = color_of(index), MARKERS[index % len(MARKERS)]
            axes.fill_between(
                sizes, values.min(0), values.max(0), color=color, alpha=0.2, lw=0
            )
            axes.plot(sizes, values.mean(0), marker=marker, color=color, label=name)
        axes.set_xscale("log")
        axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
        axes.minorticks_off()
        axes.set(xlabel="labelled training photos", ylabel="test accuracy (%)")
        axes.set_title(title)
        axes.legend(frameon=False, loc="best")
    return axes


def show_accuracies(
    right: Mapping[str, np.ndarray],
    title: str = "Test accuracy, 95 % intervals",
    axes: plt.Axes | None = None,
) -> plt.Axes:
    """Show the accuracy of several models with its Wilson interval.

    Args:
        right: For each model a boolean array of shape `(test images,)`: whether it was
            right about each.
        title: Title of the axes.
        axes: Matplotlib `Axes` to draw in. Defaults to those of a new figure.

    Returns:
        A Matplotlib `Axes`, the first model on top.

    Example:

    >>> import numpy as np, keras_transfer as kt
    >>> axes = kt.plots.show_accuracies({"ours": np.array([True, True, False])})

    Reference:

    - [Wilson, 1927](https://doi.org/10.1080/01621459.1927.10502953)
    """
    from scipy.stats import binomtest

    with style():
        axes = axes_or_new(axes, (6, 1.1 + 0.4 * len(right)))
        for row, found in enumerate(right.values()):
            interval = binomtest(int(np.sum(found)), len(found)).proportion_ci(
                method="wilson"
            )
            mean = np.mean(found)
            errors = [[100 * (mean - interval.low)], [100 * (interval.high - mean)]]
            axes.errorbar(100 * mean, row, xerr=errors, fmt="o", capsize=4)
        axes.set_yticks(range(len(right)), list(right))
        axes.set_ylim(len(right) - 0.5, -0.5)
        axes.set(xlabel="test accuracy (%)", title=title)
    return axes
