"""Take some of many, so that no class is lost."""

import numpy as np


def in_turn(labels: np.ndarray, most: int) -> np.ndarray:
    """Return at most so many positions, in order: in turn from each class, by chance.

    Args:
        labels: Label of each element, of shape `(count,)`.
        most: How many are taken, if there are as many.
    """
    order = np.random.default_rng(0).permutation(len(labels))
    by_class = order[np.argsort(labels[order], kind="stable")]
    found, starts = np.unique(labels[by_class], return_index=True)
    ranks = np.empty(len(labels), int)
    ranks[by_class] = np.arange(len(labels))
    ranks -= starts[np.searchsorted(found, labels)]
    return np.sort(order[np.argsort(ranks[order], kind="stable")][:most])
