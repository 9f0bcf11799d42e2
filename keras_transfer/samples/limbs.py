"""Tails, legs and paws, and what differs between a cat's body and a dog's."""

import dataclasses

import numpy as np

from keras_transfer.samples import curves
from keras_transfer.samples.canvas import darker


@dataclasses.dataclass(frozen=True)
class Build:
    """How a cat's body differs from a dog's.

    Attributes:
        limb: Width of a leg.
        girth: Width of the trunk, about 1.
        tail: "cat", "plume", "otter" or "curl".
        head: Radius of the head.
        neck: How much further from the trunk the head is held.
    """

    limb: float
    girth: float
    tail: str
    head: float
    neck: float


_TAILS = {
    "cat": ([(0, 0), (-0.5, -0.05), (-0.82, -0.5), (-0.78, -1.05), (-1.0, -1.4)],
            (0.2, 0.21, 0.2, 0.18, 0.13)),
    "plume": ([(0, 0), (-0.4, -0.3), (-0.75, -0.62), (-1.0, -0.7)],
              (0.2, 0.36, 0.44, 0.1)),
    "otter": ([(0, 0), (-0.42, -0.2), (-0.8, -0.5)], (0.3, 0.2, 0.08)),
    "curl": ([(0, 0), (-0.3, -0.3), (-0.2, -0.66), (0.12, -0.62), (0.12, -0.36)],
             (0.24, 0.28, 0.28, 0.24, 0.14)),
}  # fmt: skip


def draw_tail(layer, place, coat, build, angle=0.0):
    path, widths = _TAILS[build.tail]
    angle += layer.rng.normal(0, 0.18)
    outline = curves.ribbon(np.array(path), widths)
    fluff = 0.07 if build.tail == "plume" else 0.035
    outline = curves.tufted(outline, layer.rng, fluff, 60)
    here = place.at(0, 0, angle=angle)
    rings = []
    if coat.pattern == "stripes":
        for x, y in path[1:]:
            rings.append((here(curves.ellipse(x, y, 0.06, 0.4, 0.9)), coat.dark))
    layer.part(here(outline), coat.tail, rings, relief=0.8, fur=0.6)


def draw_leg(layer, place, coat, path, limb, far=False, paw=True):
    """Draw a leg along `path`, thick at the top, with its paw at the last point."""
    colour = darker(coat.base, 0.28) if far else coat.base
    widths = (limb * 1.5, limb * 1.05, limb * 0.92)
    outline = place(curves.ribbon(path, widths))
    x, y = path[-1]
    sock = [(place(curves.ellipse(x, y, limb * 1.2, limb * 1.7)), coat.paw)]
    marks = [] if far else sock
    layer.part(outline, colour, marks, relief=0.7, fur=0.5)
    if paw:
        tone = darker(coat.paw, 0.28 if far else 0.0)
        draw_paw(layer, place, coat, x + limb * 0.18, y, limb * 0.82, tone)


def draw_paw(layer, place, coat, x, y, size, tone):
    foot = curves.ellipse(x, y - size * 0.42, size, size * 0.58)
    layer.part(place(foot), tone, relief=0.7, fur=0.3)
    for toe in (-0.3, 0.3):
        path = [(x + toe * size, y - size * 0.4), (x + toe * size, y - size * 0.02)]
        layer.flat(place(curves.ribbon(path, (0.02, 0.035), 3)), coat.line)
