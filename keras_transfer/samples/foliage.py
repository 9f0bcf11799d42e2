"""What flowers stand on: stems, leaves and vases.

`label` is the index of the flower in `flowers.FLOWERS_LABELS`.
"""

import numpy as np

from keras_transfer.samples import curves
from keras_transfer.samples.canvas import darker, lighter, mix, pick

_STEMS = (0.07, 0.09, 0.1, 0.14, 0.14)
_GLASS = ((186, 206, 214), (200, 120, 90), (88, 112, 150), (236, 228, 214))


def draw_stem(layer, label, top, foot, radius, green):
    rng = layer.rng
    place = layer.frame(0, 0, 1)
    top, foot = np.array(top), np.array(foot)
    bend = rng.normal(0, 0.12) * radius
    path = np.array([top, top * 0.6 + foot * 0.4 + [bend, 0], foot])
    wide = _STEMS[label] * radius * 1.5 + 1
    layer.part(place(curves.ribbon(path, (wide, wide * 1.15))), green, relief=0.9)
    if label not in (2, 3):
        return
    for along in (0.45, 0.66, 0.84)[: 1 + (radius > 30) + int(rng.integers(2))]:
        spot = top + (foot - top) * along + [bend * 0.5, 0]
        for side in (-1, 1):
            angle = side * rng.uniform(0.1, 0.6) + (np.pi if side < 0 else 0)
            here = layer.frame(*spot, radius * rng.uniform(0.7, 1.0), angle)
            (_serrated if label == 2 else _heart)(layer, here, green)


def _serrated(layer, here, green):
    """Draw a rose's leaf of three saw-edged leaflets."""
    layer.flat(
        here(curves.ribbon([(0, 0), (0.4, -0.03), (0.8, 0)], (0.06, 0.04), 3)),
        darker(green, 0.2),
    )
    steps = np.linspace(0, 1, 15)
    for x, angle in ((0.45, 0.9), (0.45, -0.9), (0.62, 0.0)):
        half = 0.24 * np.sin(np.pi * steps**0.85) * (1 + 0.14 * (np.arange(15) % 2))
        edge = np.stack([0.72 * steps, half], 1)
        leaf = np.concatenate([edge, edge[::-1] * [1, -1]])
        _leaf(layer, here.at(x, 0, 0.9, angle), leaf, darker(green, 0.12), 0.7)


def _heart(layer, here, green):
    """Draw a sunflower's broad leaf."""
    points = [(0.1, 0), (0.25, -0.4), (0.7, -0.45), (1.3, 0), (0.7, 0.45), (0.25, 0.4)]
    _leaf(layer, here, curves.smooth(points), green, 1.25)


def _leaf(layer, here, outline, green, length):
    rib = curves.ribbon([(0.02, 0), (length * 0.5, 0.01), (length, 0)], (0.05, 0.01), 4)
    marks = [(here(rib), lighter(green, 0.3))]
    # Side veins are drawn where somebody can see them.
    for x in np.linspace(0.2, 0.75, 4 if here.scale > 60 else 0) * length:
        for side in (-1, 1):
            vein = [(x, 0), (x + 0.04, 0), (x + 0.2, side * 0.34)]
            marks.append((here(vein), lighter(green, 0.16)))
    layer.part(here(outline), green, marks, relief=0.6)


def draw_low_leaves(layer, label, heads, green):
    """Draw the leaves that grow from the ground: spoons, dandelion teeth or blades."""
    rng, height = layer.rng, layer.size[1]
    for x, y, radius in heads:
        for _ in range(int(rng.integers(2, 4))):
            tall = (height * 1.05 - y) * rng.uniform(0.55, 0.9) / 2
            here = layer.frame(
                x,
                height * 1.06,
                max(tall, radius * 0.7),
                rng.uniform(-0.8, 0.8) - np.pi / 2,
            )
            if label == 0:
                shape = curves.smooth(
                    [
                        (0, 0),
                        (0.5, 0.08),
                        (0.9, 0.26),
                        (1.25, 0),
                        (0.9, -0.26),
                        (0.5, -0.08),
                    ]
                )
            elif label == 1:
                steps = np.linspace(0, 1.7, 15)
                half = (
                    0.22
                    * np.sin(steps * 1.7) ** 0.8
                    * np.where(np.arange(15) % 2, 1, 0.35)
                    + 0.02
                )
                edge = np.stack([steps - 0.1 * (np.arange(15) % 2), half], 1)
                shape = np.concatenate([edge, edge[::-1] * [1, -1]])
            else:
                bend = rng.normal(0, 0.25)
                shape = curves.smooth(
                    [
                        (0, 0.16),
                        (0.8, 0.26),
                        (1.4, 0.1 + bend * 0.4),
                        (2.0, bend),
                        (1.4, -0.1 + bend * 0.3),
                        (0.7, -0.2),
                        (0, -0.16),
                    ]
                )
            layer.part(
                here(shape), mix(green, darker(green, 0.4), rng.random()), relief=0.7
            )


def draw_vase(layer, foot):
    rng, glass = layer.rng, pick(layer.rng, _GLASS)
    here = layer.frame(*foot, layer.size[1] * 0.24)
    half = [
        (0, -0.02),
        (0.34, -0.04),
        (0.27, 0.2),
        (0.5, 0.55),
        (0.56, 0.9),
        (0.4, 1.2),
        (0, 1.2),
    ]
    outline = here(curves.mirrored(half))
    bands = [
        (
            here(curves.ribbon([(-0.7, y), (0.7, y)], (0.06, 0.06), 3)),
            lighter(glass, 0.5),
        )
        for y in (0.5, 0.64)
    ]
    layer.part(outline, glass, bands if rng.random() < 0.5 else (), relief=1)
