"""Heads of roses and tulips, whose petals wrap around each other.

Every function draws one head of radius 1 in its frame.
"""

import numpy as np

from keras_transfer.samples import curves
from keras_transfer.samples.blossoms import facing
from keras_transfer.samples.canvas import darker, lighter, mix, pick


def draw_rose(layer, place) -> None:
    rng = layer.rng
    colours = ((196, 30, 48), (222, 92, 128), (244, 188, 190), (248, 240, 226))
    colours += ((244, 206, 96), (226, 120, 70), (170, 24, 60))
    petal = pick(rng, colours)
    turn = rng.uniform(0, 2 * np.pi)
    rings = ((1.0, 5), (0.82, 5), (0.6, 4), (0.42, 3), (0.27, 3))
    for depth, (reach, count) in enumerate(rings):
        tone = mix(petal, darker(petal, 0.5), depth / 5)
        turn += 0.55
        if depth:
            layer.shadow(
                place(curves.ellipse(0, 0, reach)), 0.5, place.scale / 3 * 0.06
            )
        for index in range(count):
            angle = turn + 2 * np.pi * (index + rng.normal(0, 0.07)) / count
            size = reach * rng.uniform(0.93, 1.06)
            wide = 1.25 * np.pi / count
            lip = rng.uniform(0.94, 1.1)
            bow = [(-0.2, 0), (0.1, 0.7 * wide), (0.5, wide), (0.84, 0.66 * wide)]
            bow += [(lip, rng.normal(0, 0.1)), (0.88, -0.62 * wide), (0.5, -wide)]
            bow += [(0.1, -0.7 * wide)]
            here = place.at(0, 0, size, angle)
            outline = curves.smooth(bow, 5)
            shade = tone if depth % 2 else darker(tone, 0.08)
            shade = darker(shade, 0.22 * (1 - facing(layer, place, angle)))
            inner = outline * [0.88, 0.9] - [0.02, 0]
            rim = lighter(shade, 0.32)
            layer.part(here(outline), rim, [(here(inner), shade)], relief=0.8)
    for reach in (0.24, 0.15):
        turn += 2
        here = place.at(0, 0, reach, turn)
        layer.shadow(here(curves.ellipse(0, 0, 1.1)), 0.4, place.scale / 3 * 0.03)
        layer.part(here(curves.ellipse(0, 0, 1, 0.86)), darker(petal, 0.2), relief=0.9)
    theta = np.linspace(0, 4.2 * np.pi, 40) + turn
    spiral = (
        np.stack([np.cos(theta), np.sin(theta)], 1)
        * np.linspace(0.02, 0.24, 40)[:, None]
    )
    layer.line(place(spiral), darker(petal, 0.55), max(0.6, place.scale / 3 * 0.03))


def draw_tulip(layer, place) -> None:
    rng = layer.rng
    colours = ((206, 36, 46), (246, 200, 50), (132, 62, 140), (236, 130, 160))
    colours += ((248, 242, 232), (238, 120, 50))
    petal, other = pick(rng, colours), pick(rng, colours)
    flame = other if rng.random() < 0.25 else lighter(petal, 0.25)
    spread = rng.uniform(-0.08, 0.24)
    for side in (-1, 1):
        back = [
            (0, 0.4),
            (0.62, 0.2),
            (0.56 + spread, -0.5),
            (0.3 + spread, -0.92),
            (0.05, -0.4),
        ]
        layer.part(
            place(curves.smooth(np.array(back) * [side, 1])),
            darker(petal, 0.34),
            relief=0.6,
        )
    behind = [(0, -0.98), (0.3, -0.6), (0.42, 0.1), (0, 0.6)]
    layer.part(place(curves.mirrored(behind)), darker(petal, 0.24), relief=0.6)
    first = pick(rng, (-1, 1))
    for side in (first, -first):
        outer = [(0.04, 0.98), (0.5, 0.86), (0.8, 0.42), (0.84 + 0.4 * spread, -0.2)]
        outer += [(0.7 + spread, -0.74), (0.52 + 1.4 * spread, -1.04), (0.36, -0.66)]
        outer += [(0.12, -0.1), (-0.1, 0.5)]
        _tulip_petal(
            layer, place, np.array(outer) * [side, 1], petal, flame, 0.42 * side
        )
    middle = [(0, -0.8), (0.3, -0.42), (0.48, 0.1), (0.4, 0.66), (0, 1.0)]
    middle = middle + [(-x, y) for x, y in middle[-2:0:-1]]
    layer.shadow(place(np.array(middle)), 0.3, place.scale / 3 * 0.08)
    _tulip_petal(layer, place, np.array(middle), lighter(petal, 0.06), flame, 0)


def _tulip_petal(layer, place, points, petal, flame, lean):
    marks = []
    for x in np.linspace(-0.3, 0.3, 7):
        path = [
            (lean * 0.5 + x * 0.5, 0.95),
            (lean + x, 0.2),
            (lean * 1.3 + x * 0.5, -0.6),
        ]
        tone = mix(petal, flame if abs(x) < 0.15 else darker(petal, 0.25), 0.4)
        marks.append((place(curves.ribbon(path, (0.05, 0.07, 0.01), 4)), tone))
    foot = curves.ellipse(0, 1.05, 0.36, 0.22)
    marks.append((place(foot), mix(petal, (206, 214, 130), 0.45)))
    layer.part(place(curves.smooth(points)), petal, marks, relief=0.85)
