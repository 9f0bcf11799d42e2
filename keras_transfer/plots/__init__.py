"""Figures of the lessons, in one colour-blind-safe style.

Each function draws with Matplotlib and returns its `Axes` or `Figure`, so titles and
sizes can still be changed.
"""

import typing
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np

from keras_transfer.plots.arguments import named_series
from keras_transfer.plots.comparison import show_comparison
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
from keras_transfer.plots.style import (
    COLORS,
    MARKERS,
    axes_or_new,
    color_of,
    say_none_found,
    style,
)
from keras_transfer.plots.training import (
    show_learning_rate_finder,
    show_training_history,
    show_unfreezing_schedule,
)
from keras_transfer.runtime.arguments import number_array, shown

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
        accuracies: For each method an array of shape `(seeds, len(sizes))`, 0 to 1, or
            of one seed `(len(sizes),)`.
        title: Title of the axes.
        axes: Matplotlib `Axes` to draw in. Defaults to those of a new figure.

    Returns:
        A Matplotlib `Axes`: a line through the means, a band from the lowest to the
        highest seed. Without methods it says so in words.

    Raises:
        ValueError: If sizes and accuracies do not fit each other.

    Example:

    >>> import numpy as np, keras_transfer as kt
    >>> curve = np.array([[0.6, 0.8], [0.7, 0.9]])
    >>> axes = kt.plots.show_learning_curve([10, 100], {"ours": curve})
    """
    sizes = number_array("sizes", sizes)
    if sizes.ndim != 1 or not len(sizes) or not np.all(sizes > 0):
        raise ValueError(
            "sizes must be numbers of training photos, each above 0. "
            f"Received: sizes={shown(sizes)}"
        )
    curves = {}
    for name, values in named_series("accuracies", accuracies, "accuracies").items():
        curve = number_array(f"accuracies[{name!r}]", values)
        curves[name] = 100 * np.atleast_2d(curve)
        if curves[name].shape[1:] != sizes.shape or not len(curves[name]):
            raise ValueError(
                f"Expected accuracies of shape (seeds, {len(sizes)}), one for each "
                f"size. Received: accuracies[{name!r}] of shape {curve.shape}"
            )
    with style():
        axes = axes_or_new(axes, (7, 3.8), title)
        for index, (name, values) in enumerate(curves.items()):
            color, marker = color_of(index), MARKERS[index % len(MARKERS)]
            axes.fill_between(
                sizes, values.min(0), values.max(0), color=color, alpha=0.2, lw=0
            )
            axes.plot(sizes, values.mean(0), marker=marker, color=color, label=name)
        axes.set_xscale("log")
        axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
        axes.minorticks_off()
        axes.set(xlabel="labelled training photos", ylabel="test accuracy (%)")
        if curves:
            axes.legend(frameon=False, loc="best")
        else:
            say_none_found(axes)
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
        A Matplotlib `Axes`, the first model on top. Without models it says so in words.

    Raises:
        ValueError: If these are no truth values of at least one image.

    Example:

    >>> import numpy as np, keras_transfer as kt
    >>> axes = kt.plots.show_accuracies({"ours": np.array([True, True, False])})

    Reference:

    - [Wilson, 1927](https://doi.org/10.1080/01621459.1927.10502953)
    """
    from scipy.stats import binomtest

    right = {
        name: _truth_values(f"right[{name!r}]", values)
        for name, values in named_series("right", right, "truth values").items()
    }
    with style():
        axes = axes_or_new(axes, (6, 1.1 + 0.4 * max(1, len(right))), title)
        if not right:
            say_none_found(axes)
        for row, found in enumerate(right.values()):
            interval = binomtest(int(np.sum(found)), len(found)).proportion_ci(
                method="wilson"
            )
            mean = np.mean(found)
            errors = [[100 * (mean - interval.low)], [100 * (interval.high - mean)]]
            axes.errorbar(100 * mean, row, xerr=errors, fmt="o", capsize=4)
        axes.set_yticks(range(len(right)), list(right))
        axes.set_ylim(max(1, len(right)) - 0.5, -0.5)
        axes.set_xlabel("test accuracy (%)")
    return axes


def _truth_values(name: str, values: typing.Any) -> np.ndarray:
    found = number_array(name, values)
    if found.ndim != 1 or not len(found) or not np.isin(found, (0, 1)).all():
        raise ValueError(
            f"{name} must say for each of at least one image whether the model was "
            "right, such as report.predicted == report.labels. "
            f"Received: {name}={shown(values)}"
        )
    return found
