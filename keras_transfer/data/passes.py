"""The order of training data, as a function of a seed and of the number of the pass."""

import numpy as np


class Passes:
    """Number the passes over training data; each has an order of its own.

    A run that goes on after some epochs sets `next`, and sees what it would have seen.

    Args:
        seed: Seed of the orders.

    Attributes:
        next: Number of the next pass, from 0.
    """

    def __init__(self, seed: int):
        self._seed, self.next = seed, 0

    def begin(self, count: int) -> tuple[int, np.ndarray]:
        """Return the number of the pass that begins, and the order of its elements."""
        number = self.next
        self.next += 1
        order = np.random.default_rng((self._seed, number)).permutation(count)
        return number, order
