"""Figures of training: histories, learning rates, what is trained when."""

from collections.abc import Mapping, Sequence

import keras
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LogNorm

from keras_transfer.learning_rate_finder import LearningRateFinder
from keras_transfer.plot_style import COLORS, style


def show_training_history(
    history: keras.callbacks.History, title: str = "Training history"
) -> plt.Figure:
    """Show loss and accuracy of each epoch, in training and validation.

    Args:
        history: What `fit` or `fine_tune` returned, with the metric `accuracy`. A line
            marks where a new stage begins.
        title: Title of the figure. Defaults to `"Training history"`.

    Returns:
        A Matplotlib `Figure`.
    """
    values = history.history
    stages = values.get("stage", [])
    with style():
        figure, axes = plt.subplots(1, 2, figsize=(8, 2.8))
        for axis, name, scale in zip(axes, ("loss", "accuracy"), (1, 100), strict=True):
            epochs = np.arange(1, len(values[name]) + 1)
            marker = "o" if len(epochs) < 3 else None
            measured = scale * np.array(values[name])
            axis.plot(epochs, measured, marker=marker, label="training")
            if f"val_{name}" in values:
                measured = scale * np.array(values[f"val_{name}"])
                axis.plot(epochs, measured, "--", marker=marker, label="validation")
            for epoch in range(1, len(stages)):
                if stages[epoch] != stages[epoch - 1]:
                    axis.axvline(epoch + 0.5, color="grey", lw=1)
                    axis.annotate(
                        f" {stages[epoch]}",
                        (epoch + 0.5, 1),
                        xycoords=("data", "axes fraction"),
                        va="bottom",
                        ha="center",
                        fontsize=8,
                        color="grey",
                    )
            axis.set(xlabel="epoch", ylabel=name if scale == 1 else f"{name} (%)")
            axis.xaxis.get_major_locator().set_params(integer=True)
        axes[0].legend(frameon=False)
        figure.suptitle(title, fontsize=11)
    return figure


def show_learning_rate_finder(
    finder: LearningRateFinder, title: str = "Learning-rate finder"
) -> plt.Axes:
    """Show the loss against the learning rate, and the suggestion.

    Args:
        finder: What `find_learning_rate` returned.
        title: Title of the axes. Defaults to `"Learning-rate finder"`.

    Returns:
        A Matplotlib `Axes`.
    """
    suggestion, losses = finder.suggestion, np.array(finder.losses)
    with style():
        _, axes = plt.subplots(figsize=(6, 3))
        axes.plot(finder.learning_rates, losses)
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
) -> plt.Axes:
    """Show blocks by epochs, coloured by learning rate; frozen cells stay empty.

    Args:
        learning_rates: For each epoch a mapping from block to its learning rate, or
            `None` where it is frozen, blocks from input to output.
        title: Title of the axes.

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
        figure, axes = plt.subplots(
            figsize=(2.6 + 0.6 * len(learning_rates), 1.2 + 0.32 * len(blocks))
        )
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
        figure.colorbar(mesh, label="learning rate")
    return axes
