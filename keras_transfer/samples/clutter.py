"""Things between the viewer and the subject: grass, twigs, a fence, a cushion."""

import numpy as np

from keras_transfer.samples import curves
from keras_transfer.samples.canvas import Layer, darker, lighter, mix, pick

_LEAVES = ((92, 140, 60), (66, 116, 62), (140, 150, 70), (190, 130, 54))
_CLOTHS = (
    (186, 76, 70),
    (76, 112, 152),
    (212, 160, 74),
    (104, 140, 112),
    (150, 104, 150),
)
_TIMBER = ((236, 230, 220), (176, 128, 84), (130, 96, 68), (120, 150, 160))


def _grass(layer, width, height, rng):
    green, base = pick(rng, _LEAVES[:3]), height * rng.uniform(0.06, 0.2)
    for x in rng.uniform(-0.05, 1.05, int(rng.integers(25, 60))) * width:
        tall = base * rng.uniform(0.5, 1.7)
        lean = rng.normal(0, 0.3) * tall
        path = [
            (x, height + 4),
            (x + lean * 0.3, height - tall * 0.6),
            (x + lean, height - tall),
        ]
        tone = mix(darker(green, 0.35), lighter(green, 0.3), rng.random())
        layer.flat(layer.frame(0, 0, 1)(curves.ribbon(path, (4, 3, 0.5), 4)), tone)


def _twigs(layer, width, height, rng):
    green, side = pick(rng, _LEAVES), pick(rng, (0, 1))
    top = rng.uniform(-0.05, 0.35) * height
    reach = rng.uniform(0.25, 0.5) * width
    inward = 1 if side == 0 else -1
    start = np.array([side * width - 6 * inward, top])
    end = np.add(start, (inward * reach, rng.uniform(-0.05, 0.3) * height))
    place = layer.frame(0, 0, 1)
    layer.flat(
        place(curves.ribbon([start, (start + end) / 2 - [0, 6], end], (4, 2, 1))),
        (92, 68, 50),
    )
    for along in np.linspace(0.15, 1, int(rng.integers(6, 11))):
        here = layer.frame(
            *(start + along * (end - start)), rng.uniform(8, 15), rng.uniform(0, 6.3)
        )
        leaf = curves.smooth(
            [(0, 0), (0.6, -0.35), (1.3, -0.25), (1.9, 0), (1.2, 0.3), (0.5, 0.3)]
        )
        layer.part(
            here(leaf), mix(green, (230, 214, 120), rng.uniform(0, 0.3)), relief=0.6
        )


def _fence(layer, width, height, rng):
    timber, wide = pick(rng, _TIMBER), width * rng.uniform(0.07, 0.1)
    top = height * rng.uniform(0.66, 0.84)
    place, gap = layer.frame(0, 0, 1), wide * rng.uniform(1.8, 2.6)
    rail = [
        (-9, top + 14),
        (width + 9, top + 14),
        (width + 9, top + 22),
        (-9, top + 22),
    ]
    layer.part(place(np.array(rail)), darker(timber, 0.2), relief=0.4)
    for x in np.arange(rng.uniform(-wide, gap), width, gap):
        post = [(x, top + wide / 2), (x + wide / 2, top), (x + wide, top + wide / 2)]
        post += [(x + wide, height + 6), (x, height + 6)]
        layer.part(place(np.array(post)), timber, relief=0.5, fur=0.25)


def _cushion(layer, width, height, rng):
    cloth, place = (
        pick(rng, _CLOTHS),
        layer.frame(
            rng.uniform(0.1, 0.9) * width,
            height * rng.uniform(0.93, 1.05),
            width * 0.2,
            rng.normal(0, 0.3),
        ),
    )
    square = [
        (-1.2, -0.6),
        (0, -0.48),
        (1.2, -0.6),
        (1.05, 0),
        (1.2, 0.6),
        (0, 0.48),
        (-1.2, 0.6),
        (-1.05, 0),
    ]
    marks = [
        (place(curves.ribbon([(x, -1), (x, 1)], (0.12, 0.12), 3)), lighter(cloth, 0.5))
        for x in (-0.7, -0.35, 0.0, 0.35, 0.7)
    ]
    layer.part(place(curves.smooth(square)), cloth, marks, relief=0.8)


def _box(layer, width, height, rng):
    card, tall = pick(rng, _TIMBER[1:3]), height * rng.uniform(0.14, 0.26)
    left = rng.uniform(-0.2, 0.4) * width
    right, top = left + width * rng.uniform(0.55, 0.8), height - tall
    place = layer.frame(0, 0, 1)
    front = np.array(
        [(left, top), (right, top), (right, height + 5), (left, height + 5)]
    )
    layer.part(place(front), lighter(card, 0.25), relief=0.35, fur=0.15)
    flap = np.array(
        [(left, top), (right, top), (right + 8, top + 14), (left - 8, top + 14)]
    )
    layer.part(place(flap), lighter(card, 0.4), relief=0.4)


def _ball(layer, width, height, rng):
    cloth = pick(rng, _CLOTHS)
    place = layer.frame(
        rng.uniform(0.1, 0.9) * width, height * 0.92, width * rng.uniform(0.06, 0.1)
    )
    stripe = curves.ribbon([(-1, 0.3), (0, -0.1), (1, -0.4)], (0.4, 0.5, 0.4))
    layer.part(
        place(curves.ellipse(0, 0, 1)),
        cloth,
        [(place(stripe), lighter(cloth, 0.7))],
        relief=1,
    )


PLANTS = (_grass, _twigs, _fence)
CLUTTER = (_grass, _twigs, _fence, _cushion, _box, _ball)


def draw_foreground(size, rng, light, chance: float, clutter=CLUTTER) -> list:
    """Return one layer of things before the subject, or an empty list."""
    if rng.random() > chance:
        return []
    layer = Layer(size, rng, light)
    pick(rng, clutter)(layer, *size, rng)
    return [layer]
