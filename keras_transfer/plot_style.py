"""The one style of all figures."""

import contextlib

import matplotlib.pyplot as plt

# Okabe and Ito, 2008: told apart with any form of colour blindness, and in print.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
STYLE = {
    "axes.prop_cycle": plt.cycler(color=COLORS),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
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
