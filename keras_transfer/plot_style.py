"""The one style of all figures."""

import contextlib

import matplotlib.pyplot as plt

# Okabe and Ito, 2008: told apart with any form of colour blindness, and in print.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "os^Dv"
LEGEND = {"frameon": False, "fontsize": 8, "title_fontsize": 8}
LEGEND_BELOW = LEGEND | {
    "loc": "upper center",
    "bbox_to_anchor": (0.5, -0.2),
    "ncols": 2,
}
STYLE = {
    "axes.prop_cycle": plt.cycler(color=COLORS),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.alpha": 0.25,
    "axes.titlesize": "medium",
    "figure.constrained_layout.use": True,
}


@contextlib.contextmanager
def style(**changes):
    # Not pyplot's rc_context: in a notebook it would also undo what Matplotlib sets up
    # at the first figure, and no later figure would be shown.
    wanted = STYLE | changes
    before = {name: plt.rcParams[name] for name in wanted}
    plt.rcParams.update(wanted)
    try:
        yield
    finally:
        plt.rcParams.update(before)


def axes_or_new(axes: plt.Axes | None, figsize: tuple[float, float]) -> plt.Axes:
    """Return `axes`, or without any those of a new figure, in inches."""
    return plt.subplots(figsize=figsize)[1] if axes is None else axes


def say_none_found(axes: plt.Axes) -> None:
    """Say in words that there is nothing to draw."""
    axes.text(
        0.5, 0.5, "none found", ha="center", va="center", transform=axes.transAxes
    )


def color_of(index: int) -> str:
    """Return a colour; with more than there are, they come again."""
    return COLORS[index % len(COLORS)]
