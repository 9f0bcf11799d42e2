"""Figures of several models beside each other: their accuracy, and what it costs."""

import typing
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from keras_transfer.comparison.result import Comparison, duration
from keras_transfer.evaluation.statistics import accuracy_interval
from keras_transfer.plots.arguments import legend_label, named_series, plain
from keras_transfer.plots.style import (
    COLORS,
    MARKERS,
    axes_or_new,
    color_of,
    say_none_found,
    style,
)
from keras_transfer.runtime.arguments import number_array, shown


def show_comparison(
    comparison: Comparison, title: str = "Test accuracy against cost, 95 % intervals"
) -> plt.Axes:
    """Show the accuracy of each recipe against the seconds that it took.

    Args:
        comparison: What `compare` returned.
        title: Title of the axes.

    Returns:
        A Matplotlib `Axes`: one marker a recipe, with the 95 % interval of its mean
        accuracy; small dots are the seeds.

    Raises:
        ValueError: If this is no comparison.

    Example:

    >>> import keras_transfer as kt
    >>> splits = kt.load_dataset("sample_flowers", image_size=64, max_images=60)
    >>> recipe = kt.Recipe("from_scratch", "small_convnet", epochs=1)
    >>> comparison = kt.compare({"from scratch": recipe}, splits, seeds=[0])
    >>> axes = kt.plots.show_comparison(comparison)
    """
    if not isinstance(comparison, Comparison):
        raise ValueError(
            "comparison must be what kt.compare returned. "
            f"Received: comparison={shown(comparison)}"
        )
    with style():
        axes = axes_or_new(None, (8, 3.4), title)
        for index, row in enumerate(comparison.rows):
            mean, seconds = row["accuracy"], row["seconds"]
            low, high = row["interval"]
            axes.errorbar(
                seconds,
                100 * mean,
                # Rounding may leave a bound a hair on the wrong side of 0 or 100 %.
                yerr=[[100 * max(0, mean - low)], [100 * max(0, high - mean)]],
                fmt="os^Dv"[index % 5],
                color=COLORS[index % len(COLORS)],
                ms=8,
                capsize=4,
                label=legend_label(f"{row['recipe']}: {mean:.1%} in {duration(row)}"),
            )
            accuracies = [100 * accuracy for accuracy in row["accuracies"]]
            if len(accuracies) > 1:
                axes.plot([seconds] * len(accuracies), accuracies, "k.", ms=4, zorder=5)
        axes.set_xscale("log")
        # Wide enough that at least one of 1, 2, 5, 10, 20, ... lies within.
        every = [row["seconds"] for row in comparison.rows]
        axes.set_xlim(min(every) / 1.6, max(every) * 1.6)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        seconds = "seconds a training"
        if not comparison.comparable_seconds:
            seconds += ", on machines that cannot be compared"
        axes.set(xlabel=seconds, ylabel="test accuracy (%)")
        # Beside the axes, where no label can hide a marker or another label.
        axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.01, 1))
    return axes


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
            label = legend_label(name)
            axes.plot(sizes, values.mean(0), marker=marker, color=color, label=label)
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
    right = {
        name: _truth_values(f"right[{name!r}]", values)
        for name, values in named_series("right", right, "truth values").items()
    }
    with style():
        axes = axes_or_new(axes, (6, 1.1 + 0.4 * max(1, len(right))), title)
        if not right:
            say_none_found(axes)
        for row, found in enumerate(right.values()):
            mean = np.mean(found)
            low, high = accuracy_interval(np.sum(found), len(found))
            errors = [[100 * (mean - low)], [100 * (high - mean)]]
            axes.errorbar(100 * mean, row, xerr=errors, fmt="o", capsize=4)
        axes.set_yticks(range(len(right)), [*map(plain, right)])
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
