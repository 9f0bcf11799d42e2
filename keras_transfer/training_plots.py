"""Figures of training: histories, learning rates, what is trained when."""

from collections.abc import Mapping, Sequence

import keras
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.lines import Line2D

from keras_transfer.learning_rate_finder import LearningRateFinder
from keras_transfer.plot_style import (
    COLORS,
    axes_or_new,
    color_of,
    say_none_found,
    style,
)


def show_training_history(
    history: keras.callbacks.History | Mapping[str, keras.callbacks.History],
    title: str = "Training history",
) -> plt.Figure:
    """Show loss and accuracy of each epoch, in training and validation.

    Args:
        history: What `fit` or `fine_tune` returned, with the metric `accuracy`, or a
            mapping from the names of several runs to theirs. A line marks where a new
            stage begins, or, of several runs, a diamond on the curve.
        title: Title of the figure. Defaults to `"Training history"`.

    Returns:
        A Matplotlib `Figure`.

    Example:

    >>> import keras, keras_transfer as kt
    >>> history = keras.callbacks.History()
    >>> history.history = {"loss": [1.0, 0.5], "accuracy": [0.6, 0.8]}
    >>> figure = kt.plots.show_training_history({"first": history, "again": history})
    """
    several = isinstance(history, Mapping)
    runs = history if several else {"": history}
    with style():
        figure, axes = plt.subplots(1, 2, figsize=(8, 3.4 if several else 2.8))
        for axis, name, scale in zip(axes, ("loss", "accuracy"), (1, 100), strict=True):
            for index, run in enumerate(runs.values()):
                color = color_of(index) if several else None
                _show_run(axis, run.history, name, scale, color)
            axis.set(xlabel="epoch", ylabel=name if scale == 1 else f"{name} (%)")
            axis.xaxis.get_major_locator().set_params(integer=True)
            if not axis.lines:
                say_none_found(axis)
        if several and runs:
            _add_legend_of_runs(figure, runs)
        elif axes[0].lines:
            axes[0].legend(frameon=False)
        figure.suptitle(title, fontsize=11)
    return figure


def _show_run(
    axis: plt.Axes, values: Mapping, name: str, scale: float, color: str | None
) -> None:
    """Draw one run; with a colour as one of several, in that colour."""
    stages = values.get("stage", [])
    starts = [n for n in range(1, len(stages)) if stages[n] != stages[n - 1]]
    lines = {"training": name, "validation": f"val_{name}"}
    for index, (label, key) in enumerate(lines.items()):
        measured = scale * np.array(values.get(key, []))
        if not len(measured):
            continue
        axis.plot(
            np.arange(1, len(measured) + 1),
            measured,
            ls=("-", "--")[index],
            color=color or COLORS[index],
            marker="o" if len(measured) < 3 else None,
            label=label,
        )
        if color and starts:
            axis.plot(np.array(starts) + 1, measured[starts], "D", ms=5, color=color)
    for start in starts if color is None else []:
        axis.axvline(start + 0.5, color="grey", lw=1)
        axis.annotate(
            f" {stages[start]}",
            (start + 0.5, 1),
            xycoords=("data", "axes fraction"),
            va="bottom",
            ha="center",
            fontsize=8,
            color="grey",
        )


def _add_legend_of_runs(figure: plt.Figure, runs: Mapping) -> None:
    """Say below the axes which colour is which run, and what the lines mean."""
    handles = [
        Line2D([], [], color=color_of(index), lw=3, label=run)
        for index, run in enumerate(runs)
    ]
    handles += [
        Line2D([], [], color="grey", label="training"),
        Line2D([], [], color="grey", ls="--", label="validation"),
    ]
    if any(len(set(run.history.get("stage", []))) > 1 for run in runs.values()):
        diamond = {"color": "grey", "ls": "", "marker": "D", "ms": 5}
        handles.append(Line2D([], [], **diamond, label="a new stage begins"))
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=min(5, len(handles)),
        frameon=False,
        fontsize=8,
    )


def show_learning_rate_finder(
    finder: LearningRateFinder,
    title: str = "Learning-rate finder",
    axes: plt.Axes | None = None,
) -> plt.Axes:
    """Show the loss against the learning rate, and the suggestion.

    Args:
        finder: What `find_learning_rate` returned.
        title: Title of the axes. Defaults to `"Learning-rate finder"`.
        axes: Matplotlib `Axes` to draw in. Defaults to those of a new figure.

    Returns:
        A Matplotlib `Axes`.
    """
    suggestion, losses = finder.suggestion, np.array(finder.losses)
    with style():
        axes = axes_or_new(axes, (6, 3))
        axes.plot(finder.learning_rates, losses, color=COLORS[0])
        axes.axvline(suggestion, color=COLORS[1], ls="--", label=f"{suggestion:.1g}")
        axes.set_xscale("log")
        # The last rates blow the loss up; the rest of the curve must stay readable.
        low, middle = np.nanmin(losses), max(losses[0], np.nanmedian(losses))
        spread = max(middle - low, 1e-6)
        axes.set_ylim(low - 0.1 * spread, low + 2.5 * spread)
        axes.set(xlabel="learning rate", ylabel="loss (smoothed)", title=title)
        axes.legend(frameon=False, title="suggestion")
    return axes


def show_unfreezing_schedule(
    learning_rates: Sequence[Mapping[str, float | None]],
    title: str = "What is trained when, and how fast",
    axes: plt.Axes | None = None,
) -> plt.Axes:
    """Show blocks by epochs, coloured by learning rate; frozen cells stay empty.

    Args:
        learning_rates: For each epoch a mapping from block to its learning rate, or
            `None` where it is frozen, blocks from input to output.
        title: Title of the axes.
        axes: Matplotlib `Axes` to draw in. Defaults to those of a new figure.

    Returns:
        A Matplotlib `Axes`, the head on top.

    Example:

    >>> import keras_transfer as kt
    >>> epochs = [{"block5": None, "head": 1e-3}, {"block5": 1e-4, "head": 1e-3}]
    >>> axes = kt.plots.show_unfreezing_schedule(epochs)
    """
    blocks = list(learning_rates[0])[::-1]
    rates = np.array(
        [[epoch[block] or np.nan for epoch in learning_rates] for block in blocks]
    )
    low, high = np.nanmin(rates), np.nanmax(rates)
    with style(**{"axes.grid": False}):
        size = 2.6 + 0.6 * len(learning_rates), 1.2 + 0.32 * len(blocks)
        axes = axes_or_new(axes, size)
        axes.set_facecolor("#eeeeee")
        mesh = axes.pcolormesh(
            np.arange(len(learning_rates) + 1) + 0.5,
            np.arange(len(blocks) + 1),
            np.ma.masked_invalid(rates),
            norm=LogNorm(low, high if high > low else low * 1.01),
            cmap="viridis",
            edgecolors="white",
            linewidth=1,
        )
        axes.set_yticks(np.arange(len(blocks)) + 0.5, blocks)
        axes.set_xticks(np.arange(len(learning_rates)) + 1)
        axes.invert_yaxis()
        axes.set(xlabel="epoch (grey: frozen)", title=title)
        axes.figure.colorbar(mesh, ax=axes, label="learning rate")
    return axes
