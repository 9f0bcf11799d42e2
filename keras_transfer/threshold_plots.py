"""Figures of what a threshold of the probability gains and costs."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np

from keras_transfer.evaluation_plots import check_predictions
from keras_transfer.plot_arguments import named_classes
from keras_transfer.plot_style import (
    COLORS,
    LEGEND,
    LEGEND_BELOW,
    axes_or_new,
    say_none_found,
    style,
)


def show_roc_curve(
    labels: Sequence[int],
    probabilities: np.ndarray,
    class_names: Sequence[str],
    title: str = "ROC curve",
    axes: plt.Axes | None = None,
) -> plt.Axes:
    """Show how many images of a class are found for how many false alarms.

    Each point of a curve is one threshold of the probability.

    Args:
        labels: True integer labels `(count,)`.
        probabilities: Array of shape `(count, num_classes)`, 0 to 1, as
            `class_probabilities` makes it.
        class_names: Names; label `i` means `class_names[i]`.
        title: Title of the axes. Defaults to `"ROC curve"`.
        axes: Matplotlib `Axes` to draw in. Defaults to those of a new figure.

    Returns:
        A Matplotlib `Axes`: of two classes the curve of the second one, else one curve
        for each class against all others. The legend says the area under the curve;
        of many classes it names the seven with the smallest.

    Raises:
        ValueError: If labels, probabilities and names do not fit each other.

    Example:

    >>> import keras_transfer as kt
    >>> probabilities = [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]
    >>> axes = kt.plots.show_roc_curve([0, 1, 1], probabilities, ["cat", "dog"])

    Reference:

    - [Fawcett, 2006](https://doi.org/10.1016/j.patrec.2005.10.010)
    """
    from sklearn.metrics import auc, roc_curve

    class_names, labels, probabilities = check_predictions(
        labels, probabilities, named_classes(class_names)
    )
    curves = []
    for name, positive, scores in _one_against_rest(labels, probabilities, class_names):
        false_rate, true_rate, _ = roc_curve(positive, scores)
        curves.append((auc(false_rate, true_rate), name, false_rate, true_rate))
    with style():
        axes = axes_or_new(axes, (4.6, 5.2 if len(curves) > 1 else 4.2), title)
        _show_curves(axes, curves)
        if curves:
            axes.plot([0, 100], [0, 100], ":", color="grey", lw=1, label="by chance")
            axes.legend(**_legend(curves, "lower right"), title="area under the curve")
        axes.set(xlabel="false positive rate (%)", ylabel="true positive rate (%)")
    return axes


def show_precision_recall_curve(
    labels: Sequence[int],
    probabilities: np.ndarray,
    class_names: Sequence[str],
    title: str = "Precision and recall",
    axes: plt.Axes | None = None,
) -> plt.Axes:
    """Show how many of the images taken for a class are of it, and how many are found.

    It says more than the ROC curve where a class is rare.

    Args:
        labels: True integer labels `(count,)`.
        probabilities: Array of shape `(count, num_classes)`, 0 to 1, as
            `class_probabilities` makes it.
        class_names: Names; label `i` means `class_names[i]`.
        title: Title of the axes. Defaults to `"Precision and recall"`.
        axes: Matplotlib `Axes` to draw in. Defaults to those of a new figure.

    Returns:
        A Matplotlib `Axes`: of two classes the curve of the second one, else one curve
        for each class against all others. The legend says the average precision; of
        many classes it names the seven with the lowest.

    Raises:
        ValueError: If labels, probabilities and names do not fit each other.

    Example:

    >>> import keras_transfer as kt
    >>> found = [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]
    >>> axes = kt.plots.show_precision_recall_curve([0, 1, 1], found, ["cat", "dog"])

    Reference:

    - [Davis and Goadrich, 2006](https://doi.org/10.1145/1143844.1143874)
    """
    from sklearn.metrics import average_precision_score, precision_recall_curve

    class_names, labels, probabilities = check_predictions(
        labels, probabilities, named_classes(class_names)
    )
    curves = []
    for name, positive, scores in _one_against_rest(labels, probabilities, class_names):
        precision, recall, _ = precision_recall_curve(positive, scores)
        average = average_precision_score(positive, scores)
        curves.append((average, name, recall, precision))
    with style():
        axes = axes_or_new(axes, (4.6, 5.2 if len(curves) > 1 else 4.2), title)
        _show_curves(axes, curves, drawstyle="steps-post")
        if curves:
            if len(class_names) == 2:
                share = 100 * np.mean(labels == 1)
                axes.axhline(share, ls=":", color="grey", lw=1, label="by chance")
            axes.legend(**_legend(curves, "lower left"), title="average precision")
        axes.set(xlabel="recall (%)", ylabel="precision (%)")
    return axes


def _one_against_rest(labels, probabilities, class_names):
    """Yield name, truth and score of each class that some images have and some not."""
    first = 1 if len(class_names) == 2 else 0
    for label in range(first, len(class_names)):
        positive = labels == label
        if 0 < positive.sum() < len(positive):
            yield class_names[label], positive, probabilities[:, label]


def _legend(curves, inside: str) -> dict:
    """Return where the legend goes: that of several curves lies below the axes."""
    return LEGEND_BELOW if len(curves) > 1 else LEGEND | {"loc": inside}


def _show_curves(axes, curves, **line) -> None:
    """Draw curves `(score, name, x, y)`; name those with the lowest scores."""
    if not curves:
        say_none_found(axes)
    curves = sorted(curves, key=lambda curve: curve[0])
    named, others = curves[: len(COLORS)], curves[len(COLORS) :]
    for index, (_, _, x, y) in enumerate(others):
        label = f"{len(others)} other classes" if index == 0 else None
        axes.plot(100 * x, 100 * y, color="silver", lw=0.8, label=label, **line)
    for index, (score, name, x, y) in enumerate(named):
        axes.plot(
            100 * x,
            100 * y,
            color=COLORS[index],
            ls=("-", "--", "-.")[index % 3],
            label=f"{name} ({score:.3f})",
            **line,
        )
    axes.set(xlim=(-2, 102), ylim=(-2, 102))
