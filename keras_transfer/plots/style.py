"""The one style of all figures."""

import contextlib
import typing
from collections.abc import Iterator

import matplotlib.pyplot as plt
from matplotlib import font_manager

from keras_transfer.runtime.arguments import shown, text

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
# For letters that Matplotlib's own font has not, of Chinese names, say: what Windows,
# macOS and Linux bring. One that is named and not there would be a warning a text.
FALLBACKS = (
    *("Microsoft YaHei", "Yu Gothic", "Malgun Gothic", "Nirmala UI", "Leelawadee UI"),
    *("PingFang SC", "Hiragino Sans GB", "Apple SD Gothic Neo", "Arial Unicode MS"),
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "WenQuanYi Micro Hei"),
    *("WenQuanYi Zen Hei", "Droid Sans Fallback", "Noto Sans Devanagari"),
)


@contextlib.contextmanager
def style(**changes: typing.Any) -> Iterator[None]:
    """Draw in this style within a `with` block, and in the one before after it.

    Args:
        **changes: Settings of Matplotlib by their names in `plt.rcParams`, beside or in
            place of those of this style.

    Raises:
        ValueError: If Matplotlib has no such setting, or it cannot have this value.

    Example:

    >>> import keras_transfer as kt, matplotlib.pyplot as plt
    >>> with kt.plots.style(**{"axes.grid": False}):
    ...     figure, axes = plt.subplots()
    """
    # Not pyplot's rc_context: in a notebook it would also undo what Matplotlib sets up
    # at the first figure, and no later figure would be shown.
    wanted = STYLE | {"font.family": _families()} | changes
    unknown = [name for name in changes if name not in plt.rcParams]
    if unknown:
        raise ValueError(
            "style takes Matplotlib's settings by their names in plt.rcParams, such as "
            f"**{{'axes.grid': False}}. Received: {unknown[0]}="
            f"{shown(changes[unknown[0]])}"
        )
    before = {name: plt.rcParams[name] for name in wanted}
    try:
        try:
            plt.rcParams.update(wanted)
        except Exception as error:  # Each setting is checked in a way of its own.
            raise ValueError(
                f"Matplotlib cannot take this setting ({error}). "
                f"Received: changes={shown(changes)}"
            ) from error
        yield
    finally:
        plt.rcParams.update(before)


def _families() -> list[str]:
    """Return the fonts that are set, and behind them those for other letters."""
    installed = {font.name for font in font_manager.fontManager.ttflist}
    families = plt.rcParams["font.family"]
    more = [x for x in FALLBACKS if x in installed and x not in families]
    return [*families, *more]


def axes_or_new(
    axes: plt.Axes | None, figsize: tuple[float, float], title: str | None
) -> plt.Axes:
    """Return `axes`, or without any those of a new figure, in inches, with a title."""
    check_axes(axes, title)
    axes = plt.subplots(figsize=figsize)[1] if axes is None else axes
    axes.set_title(title or "")
    return axes


def check_axes(axes: plt.Axes | None, title: str | None) -> None:
    """Refuse what is no title, and what cannot be drawn in."""
    text("title", title)
    if axes is not None and not isinstance(axes, plt.Axes):
        raise ValueError(
            "axes must be Matplotlib Axes, as plt.subplots() makes them; of several, "
            f"pass one, such as axes[0]. Received: axes={shown(axes)}"
        )


def say_none_found(axes: plt.Axes) -> None:
    """Say in words that there is nothing to draw."""
    axes.text(
        0.5, 0.5, "none found", ha="center", va="center", transform=axes.transAxes
    )


def color_of(index: int) -> str:
    """Return a colour; with more than there are, they come again."""
    return COLORS[index % len(COLORS)]
