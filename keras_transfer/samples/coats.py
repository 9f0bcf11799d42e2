"""Coats: the colours and patterns that cats and dogs share."""

import dataclasses

import numpy as np

from keras_transfer.samples import curves
from keras_transfer.samples.canvas import darker, lighter, mix, pick

# Base, light and dark tone of each coat. Both classes draw from the same list, so
# that colour says nothing about the class.
_TONES = (
    ((216, 142, 74), (250, 228, 196), (162, 88, 42)),
    ((146, 146, 150), (228, 228, 226), (88, 88, 94)),
    ((64, 60, 64), (236, 232, 226), (36, 33, 37)),
    ((138, 96, 64), (226, 198, 162), (78, 52, 36)),
    ((234, 210, 172), (252, 243, 226), (184, 140, 96)),
    ((240, 236, 228), (253, 251, 247), (204, 196, 186)),
    ((110, 74, 56), (212, 176, 146), (62, 40, 32)),
    ((200, 164, 116), (242, 226, 196), (132, 96, 62)),
)


@dataclasses.dataclass
class Coat:
    """The colours of one animal.

    Attributes:
        base: Most of the body.
        light: Muzzle, chest and paws where the pattern has them light.
        dark: Stripes, saddle and shaded places.
        pattern: One of `PATTERNS`.
        accents: Colours of patches.
    """

    base: tuple
    light: tuple
    dark: tuple
    pattern: str
    accents: tuple
    rng: np.random.Generator

    @property
    def paw(self):
        if self.pattern == "points":
            return self.dark
        return self.light if self.pattern in ("bib", "patches") else self.base

    @property
    def muzzle(self):
        if self.pattern == "points":
            return mix(self.base, self.dark, 0.7)
        if self.pattern == "solid":
            return lighter(self.base, 0.12)
        return self.light

    @property
    def ear(self):
        if self.pattern in ("points", "saddle"):
            return self.dark
        return self.accents[0] if self.pattern == "patches" else self.base

    @property
    def tail(self):
        return self.dark if self.pattern in ("points", "saddle") else self.base

    @property
    def line(self):
        """Thin lines of mouth and toes."""
        return darker(self.dark, 0.55)

    def body_marks(self, place, left, top, right, bottom, chest=None):
        """Return the marks of a body part that fills a local box.

        Args:
            place: The part's frame.
            left, top, right, bottom: The part's box in the frame.
            chest: `(x, y, radius_x, radius_y)` of the light chest, if it shows.
        """
        rng, marks = self.rng, []
        wide, high = right - left, bottom - top
        if self.pattern == "stripes":
            for x in np.arange(left + 0.08 * wide, right, 0.15 * max(wide, high)):
                reach = top + high * rng.uniform(0.45, 0.8)
                bend = rng.normal(0, 0.05) * wide
                path = [
                    (x, top - 0.1),
                    (x + bend, (top + reach) / 2),
                    (x - bend, reach),
                ]
                thick = 0.06 * max(wide, high) * rng.uniform(0.7, 1.2)
                marks.append((curves.ribbon(path, (thick, thick, 0.01)), self.dark))
        elif self.pattern == "patches":
            for accent in self.accents * 2:
                x, y = rng.uniform(left, right), rng.uniform(top, top + 0.7 * high)
                size = rng.uniform(0.16, 0.3) * np.array([wide, high])
                marks.append((curves.blob(x, y, *size, rng, 0.3), accent))
        elif self.pattern == "saddle":
            middle = (left + right) / 2 - 0.06 * wide
            saddle = curves.blob(middle, top, 0.46 * wide, 0.55 * high, rng, 0.12)
            marks.append((saddle, self.dark))
        if chest and self.pattern in ("bib", "saddle", "stripes"):
            bib = curves.blob(*chest, rng, 0.12)
            marks.append((curves.tufted(bib, rng, 0.08 * chest[2], 40), self.light))
        return [(place(outline), colour) for outline, colour in marks]


PATTERNS = ("stripes", "solid", "bib", "patches", "saddle", "points")


def draw_coat(rng, weights) -> Coat:
    """Return a random coat.

    Args:
        rng: The picture's `numpy.random.Generator`.
        weights: Probability of each of `PATTERNS`.
    """
    base, light, dark = pick(rng, _TONES)
    pattern = str(rng.choice(PATTERNS, p=weights))
    chosen = rng.permutation(5)[:2]
    accents = tuple(_TONES[i][0] for i in chosen)
    if pattern == "patches":
        base, light = (240, 234, 224), (252, 248, 242)
        dark = _TONES[chosen[0]][2]
    if pattern == "points":
        base = lighter(base, 0.45)
    if pattern == "saddle":
        dark = darker(dark, 0.35)
    # Nobody's fur is exactly the colour of anybody else's.
    shift = rng.normal(0, 8) + rng.normal(0, 2.5, 3)
    base = tuple(int(c) for c in np.clip(np.add(base, shift), 8, 250))
    return Coat(base, light, dark, pattern, accents, rng)
