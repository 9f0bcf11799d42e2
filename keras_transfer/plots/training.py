"""Figures of training: histories, learning rates, what is trained when."""

import typing
from collections.abc import Mapping, Sequence

import keras
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.lines import Line2D

from keras_transfer.fine_tuning.learning_rate_finder import LearningRateFinder
from keras_transfer.plots.arguments import plain
from keras_transfer.plots.style import (
    COLORS,
    axes_or_new,
    color_of,
    say_none_found,
    style,
)
from keras_transfer.runtime.arguments import (
    elements,
    number_array,
    real_number,
    shown,
    text,
)


def show_training_history(
    history: keras.callbacks.History | Mapping[str, keras.callbacks.History],
    title: str = "Training history",
) -> plt.Figure:
    """Show loss and accuracy of each epoch, in training and validation.

    Args:
        history: What `fit` or `fine_tune` returned, with the metric `accuracy`, or its
            dictionary, or a mapping from the names of several runs to theirs. A line
            marks where a new stage begins, or, of several runs, a diamond on the curve.
        title: Title of the figure. Defaults to `"Training history"`.

    Returns:
        A Matplotlib `Figure`. Without values it says so in words.

    Raises:
        ValueError: If this is no history of numbers.

    Example:

    >>> import keras, keras_transfer as kt
    >>> history = keras.callbacks.History()
    >>> history.history = {"loss": [1.0, 0.5], "accuracy": [0.6, 0.8]}
    >>> figure = kt.plots.show_training_history({"first": history, "again": history})
    """
    several = isinstance(history, Mapping) and not _is_run(history)
    runs = {
        str(name): _run(f"history[{name!r}]" if several else "history", run)
        for name, run in (history if several else {"": history}).items()
    }
    title = text("title", title)
    with style():
        figure, axes = plt.subplots(1, 2, figsize=(8, 3.4 if several else 2.8))
        for axis, name, scale in zip(axes, ("loss", "accuracy"), (1, 100), strict=True):
            for index, run in enumerate(runs.values()):
                color = color_of(index) if several else None
                _show_run(axis, run, name, scale, color)
            axis.set(xlabel="epoch", ylabel=name if scale == 1 else f"{name} (%)")
            axis.xaxis.get_major_locator().set_params(integer=True)
            if not axis.lines:
                say_none_found(axis)
        if several and runs:
            _add_legend_of_runs(figure, runs)
        elif axes[0].lines:
            axes[0].legend(frameon=False)
        figure.suptitle(title or "", fontsize=11)
    return figure


def _is_run(history: typing.Any) -> bool:
    """Tell a dictionary of one run, as `History.history` is, from one of runs."""
    return bool(history) and all(
        elements(each) is not None for each in history.values()
    )


def _run(name: str, history: typing.Any) -> dict[str, typing.Any]:
    """Return what was measured in each epoch of one run."""
    hint = ""
    if isinstance(history, keras.callbacks.History):
        history = history.history
    elif isinstance(history, keras.Model):
        hint = " Of the model that fit_head returns, pass model.history."
    if isinstance(history, Mapping) and (not history or _is_run(history)):
        run = {"stage": [*map(str, history.get("stage", ()))]}
        for metric in ("loss", "accuracy", "val_loss", "val_accuracy"):
            values = number_array(f"{name}[{metric!r}]", history.get(metric, ()))
            run[metric] = values.ravel()
        return run
    raise ValueError(
        f"{name} must be what fit or fine_tune returned, or a mapping from names to "
        f"such histories.{hint} Received: {name}={shown(history)}"
    )


def _show_run(
    axis: plt.Axes, values: Mapping, name: str, scale: float, color: str | None
) -> None:
    """Draw one run; with a colour as one of several, in that colour."""
    stages = values["stage"]
    starts = [n for n in range(1, len(stages)) if stages[n] != stages[n - 1]]
    lines = {"training": name, "validation": f"val_{name}"}
    for index, (label, key) in enumerate(lines.items()):
        measured = scale * values[key]
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
        begun = [start for start in starts if start < len(measured)]
        if color and begun:
            axis.plot(np.array(begun) + 1, measured[begun], "D", ms=5, color=color)
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
        Line2D([], [], color=color_of(index), lw=3, label=plain(run))
        for index, run in enumerate(runs)
    ]
    handles += [
        Line2D([], [], color="grey", label="training"),
        Line2D([], [], color="grey", ls="--", label="validation"),
    ]
    if any(len({*run["stage"]}) > 1 for run in runs.values()):
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

    Raises:
        ValueError: If this is no finder, or its sweep has not run.
    """
    if not isinstance(finder, LearningRateFinder) or not finder.losses:
        raise ValueError(
            "finder must be what kt.find_learning_rate returned, or a "
            "LearningRateFinder after a fit. "
            f"Received: finder={shown(finder)}"
        )
    suggestion, losses = finder.suggestion, np.array(finder.losses)
    with style():
        axes = axes_or_new(axes, (6, 3), title)
        axes.plot(finder.learning_rates, losses, color=COLORS[0])
        axes.axvline(suggestion, color=COLORS[1], ls="--", label=f"{suggestion:.1g}")
        axes.set_xscale("log")
        # The last rates blow the loss up; the rest of the curve must stay readable.
        low, middle = np.nanmin(losses), max(losses[0], np.nanmedian(losses))
        spread = max(middle - low, 1e-6)
        axes.set_ylim(low - 0.1 * spread, low + 2.5 * spread)
        axes.set(xlabel="learning rate", ylabel="loss (smoothed)")
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
        A Matplotlib `Axes`, the head on top. Without epochs it says so in words.

    Raises:
        ValueError: If an epoch has other blocks than the first, or a rate is no number.

    Example:

    >>> import keras_transfer as kt
    >>> epochs = [{"block5": None, "head": 1e-3}, {"block5": 1e-4, "head": 1e-3}]
    >>> axes = kt.plots.show_unfreezing_schedule(epochs)
    """
    epochs = _checked_schedule(learning_rates)
    blocks = list(epochs[0])[::-1] if epochs else []
    rates = np.array(
        [[epoch[block] or np.nan for epoch in epochs] for block in blocks], float
    )
    # All that is frozen is left out here.
    low = np.nanmin(rates, initial=np.inf)
    high = np.nanmax(rates, initial=0)
    with style(**{"axes.grid": False}):
        # Wide enough for the title above few epochs.
        size = max(4.2, 2.6 + 0.6 * len(epochs)), 1.2 + 0.32 * max(1, len(blocks))
        axes = axes_or_new(axes, size, title)
        if not blocks:
            say_none_found(axes)
            return axes
        axes.set_facecolor("#eeeeee")
        mesh = axes.pcolormesh(
            np.arange(len(epochs) + 1) + 0.5,
            np.arange(len(blocks) + 1),
            np.ma.masked_invalid(rates),
            norm=LogNorm(low, high if high > low else low * 1.01) if high else None,
            cmap="viridis",
            edgecolors="white",
            linewidth=1,
        )
        axes.set_yticks(np.arange(len(blocks)) + 0.5, blocks)
        axes.set_xticks(np.arange(len(epochs)) + 1)
        axes.invert_yaxis()
        axes.set_xlabel("epoch (grey: frozen)")
        if high:
            axes.figure.colorbar(mesh, ax=axes, label="learning rate")
    return axes


def _checked_schedule(learning_rates) -> list[dict[str, float | None]]:
    """Return the rate of each block in each epoch, `None` where it is frozen."""
    epochs = elements(learning_rates)
    if epochs is None or not all(isinstance(epoch, Mapping) for epoch in epochs):
        raise ValueError(
            "learning_rates must be a list with one mapping for each epoch, from the "
            "name of a block to its learning rate or None. "
            f"Received: learning_rates={shown(learning_rates)}"
        )
    if any(set(epoch) != set(epochs[0]) for epoch in epochs):
        raise ValueError(
            "Each epoch must have the same blocks; one that is frozen has None. "
            f"Received: learning_rates={shown(learning_rates)}"
        )
    return [
        {
            str(block): None
            if rate is None
            else real_number(f"learning_rates[{index}][{block!r}]", rate, least=0)
            for block, rate in epoch.items()
        }
        for index, epoch in enumerate(epochs)
    ]
