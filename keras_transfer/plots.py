"""Figures of the lessons, in one colour-blind-safe style.

Each function draws with Matplotlib and returns its `Axes` or `Figure`, so titles and
sizes can still be changed.
"""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np

from keras_transfer.comparison_plots import show_comparison
from keras_transfer.plot_style import COLORS, style
from keras_transfer.training_plots import (
    show_learning_rate_finder,
    show_training_history,
    show_unfreezing_schedule,
)

__all__ = [
    "show_accuracies",
    "show_comparison",
    "show_confusion_matrix",
    "show_images",
    "show_learning_curve",
    "show_learning_rate_finder",
    "show_training_history",
    "show_unfreezing_schedule",
    "style",
]


def show_images(
    images: np.ndarray,
    titles: Sequence[str] | None = None,
    *,
    columns: int = 6,
    title: str | None = None,
) -> plt.Figure:
    """Show images in a grid.

    Args:
        images: Images of shape `(count, height, width, 3)`, RGB, 0 to 255.
        titles: Text above each image. Defaults to none.
        columns: Images in a row. Defaults to `6`.
        title: Title of the figure. Defaults to none.

    Returns:
        A Matplotlib `Figure`. Without images it says so in words.

    Example:

    >>> import numpy as np, keras_transfer as kt
    >>> figure = kt.plots.show_images(np.zeros((2, 8, 8, 3)), ["left", "right"])
    """
    count = max(1, len(images))
    columns = min(columns, count)
    rows = -(-count // columns)
    with style():
        figure, axes = plt.subplots(
            rows, columns, figsize=(1.6 * columns, 1.85 * rows), squeeze=False
        )
        for axis in axes.flat:
            axis.axis("off")
        if len(images) == 0:
            axes[0, 0].text(0.5, 0.5, "none found", ha="center", va="center")
        for index, (image, axis) in enumerate(zip(images, axes.flat, strict=False)):
            axis.imshow(np.asarray(image).clip(0, 255).astype("uint8"))
            if titles is not None:
                axis.set_title(titles[index], fontsize=8)
        if title:
            figure.suptitle(title, fontsize=11)
    return figure


def show_confusion_matrix(
    labels: Sequence[int],
    predicted: Sequence[int],
    class_names: Sequence[str],
    title: str = "Confusion matrix",
) -> plt.Axes:
    """Show how often each class was taken for each other.

    Args:
        labels: True integer labels.
        predicted: Predicted integer labels.
        class_names: Names; label `i` means `class_names[i]`.
        title: Title of the axes. Defaults to `"Confusion matrix"`.

    Returns:
        A Matplotlib `Axes`.

    Example:

    >>> import keras_transfer as kt
    >>> axes = kt.plots.show_confusion_matrix([0, 1, 1], [0, 1, 0], ["cat", "dog"])
    """
    from sklearn.metrics import ConfusionMatrixDisplay

    size = 2.2 + 0.5 * len(class_names)
    with style(**{"axes.grid": False}):
        _, axes = plt.subplots(figsize=(size + 0.6, size))
        ConfusionMatrixDisplay.from_predictions(
            labels,
            predicted,
            labels=range(len(class_names)),
            display_labels=class_names,
            cmap="Blues",
            colorbar=False,
            ax=axes,
        )
        axes.set(title=title, xlabel="predicted", ylabel="true")
        if len(class_names) > 3:
            axes.tick_params(axis="x", rotation=35)
    return axes


def show_learning_curve(
    sizes: Sequence[int],
    accuracies: Mapping[str, np.ndarray],
    title: str = "Accuracy against the number of labelled photos",
) -> plt.Axes:
    """Show test accuracy against training photos, with the spread over seeds.

    Args:
        sizes: Numbers of training photos.
        accuracies: For each method an array of shape `(seeds, len(sizes))`, 0 to 1.
        title: Title of the axes.

    Returns:
        A Matplotlib `Axes`: a line through the means, a band from the lowest to the
        highest seed.

    Example:

    >>> import numpy as np, keras_transfer as kt
    >>> curve = np.array([[0.6, 0.8], [0.7, 0.9]])
    >>> axes = kt.plots.show_learning_curve([10, 100], {"ours": curve})
    """
    with style():
        _, axes = plt.subplots(figsize=(7, 3.8))
        for index, (name, values) in enumerate(accuracies.items()):
            values = 100 * np.asarray(values)
            color, marker = COLORS[index % len(COLORS)], "os^Dv"[index % 5]
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
    right: Mapping[str, np.ndarray], title: str = "Test accuracy, 95 % intervals"
) -> plt.Axes:
    """Show the accuracy of several models with its Wilson interval.

    Args:
        right: For each model a boolean array of shape `(test images,)`: whether it was
            right about each.
        title: Title of the axes.

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
        _, axes = plt.subplots(figsize=(6, 1.1 + 0.4 * len(right)))
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
