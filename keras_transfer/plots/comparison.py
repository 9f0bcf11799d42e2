"""The figure of a comparison: accuracy against cost."""

import matplotlib.pyplot as plt
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from keras_transfer.comparison.result import Comparison, duration
from keras_transfer.plots.style import COLORS, axes_or_new, style
from keras_transfer.runtime.arguments import shown


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
                label=f"{row['recipe']}: {mean:.1%} in {duration(row)}",
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
        axes.set(xlabel="seconds a training", ylabel="test accuracy (%)")
        # Beside the axes, where no label can hide a marker or another label.
        axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.01, 1))
    return axes
