"""Figures of a classifier's predictions as a whole: confusion, calibration."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np

from keras_transfer.evaluation.calibration import NUM_BINS, reliability_bins
from keras_transfer.evaluation.statistics import accuracy_interval
from keras_transfer.plots.arguments import (
    check_predictions,
    class_labels,
    legend_label,
    named_classes,
    plain,
)
from keras_transfer.plots.style import (
    COLORS,
    LEGEND,
    LEGEND_BELOW,
    axes_or_new,
    say_none_found,
    style,
)
from keras_transfer.runtime.arguments import whole_number

# Letters of a name for which a figure grows.
LONGEST = 80


def show_confusion_matrix(
    labels: Sequence[int],
    predicted: Sequence[int],
    class_names: Sequence[str],
    title: str = "Confusion matrix",
    axes: plt.Axes | None = None,
) -> plt.Axes:
    """Show how often each class was taken for each other.

    Args:
        labels: True integer labels.
        predicted: Predicted integer labels.
        class_names: Names; label `i` means `class_names[i]`.
        title: Title of the axes. Defaults to `"Confusion matrix"`.
        axes: Matplotlib `Axes` to draw in. Defaults to those of a new figure.

    Returns:
        A Matplotlib `Axes`.

    Raises:
        ValueError: If the labels do not fit each other or the names.

    Example:

    >>> import keras_transfer as kt
    >>> axes = kt.plots.show_confusion_matrix([0, 1, 1], [0, 1, 0], ["cat", "dog"])
    """
    from sklearn.metrics import ConfusionMatrixDisplay, confusion_matrix

    class_names = named_classes(class_names)
    labels = class_labels(labels, len(class_names))
    predicted = class_labels(predicted, len(class_names), "predicted")
    if len(labels) != len(predicted):
        raise ValueError(
            "Expected one predicted label for each label. "
            f"Received: {len(labels)} labels, {len(predicted)} predicted"
        )
    # Many classes leave no room for numbers: then a bar says what a colour means.
    many = len(class_names) > 20
    longest = max(map(len, class_names))
    # What the longest name needs more than there is beside the matrix.
    room = (0.05 if many else 0.085) * max(0, min(longest, LONGEST) - 12)
    size = min(2.2 + 0.5 * len(class_names), 9) + room
    counts = np.zeros([len(class_names)] * 2, int)
    if len(labels):
        counts = confusion_matrix(labels, predicted, labels=range(len(class_names)))
    with style(**{"axes.grid": False}):
        axes = axes_or_new(axes, (size + 0.6, size), title)
        display = ConfusionMatrixDisplay(
            counts, display_labels=[*map(plain, class_names)]
        ).plot(cmap="Blues", include_values=not many, colorbar=False, ax=axes)
        axes.set(xlabel="predicted", ylabel="true")
        if many:
            bar = axes.figure.colorbar(display.im_, ax=axes, shrink=0.8)
            bar.set_label("images")
            axes.tick_params(labelsize=min(7, 420 / len(class_names)))
        # Side by side, long names would lie on each other.
        if len(class_names) > 3 or longest > 8:
            upright = many or longest > 16
            axes.tick_params(axis="x", rotation=90 if upright else 35)
        if not len(labels):
            say_none_found(axes)
    return axes


def show_reliability_diagram(
    labels: Sequence[int],
    probabilities: np.ndarray,
    *,
    bins: int = NUM_BINS,
    title: str = "Reliability",
    axes: plt.Axes | None = None,
) -> plt.Axes:
    """Show whether a classifier is right as often as it says.

    Predictions are put into bins by the probability of the predicted class. A point
    below the diagonal is too sure of itself.

    Args:
        labels: True integer labels `(count,)`.
        probabilities: Array of shape `(count, num_classes)`, 0 to 1, as
            `class_probabilities` makes it.
        bins: Number of bins from 0 to 1, at least 1. Defaults to `15`, as in
            `expected_calibration_error`.
        title: Title of the axes. Defaults to `"Reliability"`.
        axes: Matplotlib `Axes` to draw in. Defaults to those of a new figure.

    Returns:
        A Matplotlib `Axes` with the accuracy of each bin, its 95 % Wilson interval and
        its share of the images. The legend says the expected calibration error, the
        mean distance of the points from the diagonal, weighted with the shares.

    Raises:
        ValueError: If labels and probabilities do not fit, or there is no bin.

    Example:

    >>> import keras_transfer as kt
    >>> probabilities = [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]
    >>> axes = kt.plots.show_reliability_diagram([0, 1, 1], probabilities, bins=5)

    Reference:

    - [Guo et al., 2017](https://arxiv.org/abs/1706.04599)
    """
    bins = whole_number("bins", bins, 1)
    _, labels, probabilities = check_predictions(labels, probabilities)
    found = reliability_bins(labels, probabilities, bins) if len(labels) else None
    with style():
        axes = axes_or_new(axes, (4.6, 4.8), title)
        axes.set(xlabel="probability of the predicted class (%)")
        axes.set(ylabel="accuracy (%)", ylim=(-2, 102))
        if found is None:
            say_none_found(axes)
            return axes
        used = np.flatnonzero(found.counts)
        counts, said = found.counts[used], 100 * found.confidences[used]
        shares, accuracy = 100 * counts / len(labels), 100 * found.accuracies[used]
        hits = np.round(found.accuracies[used] * counts).astype(int)
        intervals = [
            accuracy_interval(hit, count)
            for hit, count in zip(hits, counts, strict=True)
        ]
        axes.bar(
            100 * used / bins,
            shares,
            100 / bins,
            align="edge",
            color="#d0d0d0",
            edgecolor="white",
            label="share of the images",
        )
        axes.errorbar(
            said,
            accuracy,
            np.abs(100 * np.array(intervals).T - accuracy),
            fmt="o",
            color=COLORS[0],
            capsize=3,
            label="accuracy, 95 % interval",
        )
        axes.plot([0, 100], [0, 100], ":", color="grey", lw=1, label="as it says")
        # Nothing predicted can be less sure than by chance.
        axes.set_xlim(100 * np.floor(bins / probabilities.shape[1]) / bins, 102)
        error = np.sum(shares * np.abs(accuracy - said)) / 100
        title = f"expected calibration error {error:.1f} %"
        axes.legend(**LEGEND_BELOW, title=title)
    return axes


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
    if len(curves) < 2:
        return LEGEND | {"loc": inside}
    longest = max(len(name) for _, name, _, _ in curves)
    return LEGEND_BELOW | {"ncols": 1 if longest > 20 else 2}


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
            label=legend_label(f"{name} ({score:.3f})"),
            **line,
        )
    axes.set(xlim=(-2, 102), ylim=(-2, 102))
