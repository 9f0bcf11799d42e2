"""Heads of daisies, dandelions and sunflowers: wheels of petals.

Every function draws one head of radius 1 in its frame.
"""

import numpy as np

from keras_transfer.samples import curves
from keras_transfer.samples.canvas import darker, lighter, mix, pick

_GOLDEN_ANGLE = np.pi * (3 - 5**0.5)


def _strap(start, length, width, tip):
    """Return a petal along the x axis: its tip is round, pointed or cut off."""
    shapes = {
        "round": [(0, 0.5), (0.5, 0.9), (0.8, 1.0), (0.95, 0.62), (1, 0)],
        "pointed": [(0, 0.45), (0.3, 0.9), (0.55, 1.0), (0.82, 0.55), (1, 0)],
        "cut": [(0, 0.5), (0.6, 0.9), (0.97, 1.0), (0.93, 0.4), (1.0, 0)],
    }
    upper = np.array(shapes[tip]) * [length, width] + [start, 0]
    return np.concatenate([upper, upper[-2::-1] * [1, -1]])


def facing(layer, place, angle):
    """Return how directly a petal at `angle` catches the light, from 0 to 1."""
    direction = place.matrix @ [np.cos(angle), np.sin(angle)]
    return 0.5 + 0.5 * float(direction @ layer.light) / (
        np.linalg.norm(direction) + 1e-9
    )


def _wheel(layer, place, count, outline, colours, jitter=0.1, shade=0.3):
    """Draw `count` straps around the centre, each a little different.

    Every petal has a dark edge. The two colours are its own and that of its middle,
    which may be None.
    """
    rng, (colour, vein) = layer.rng, colours
    if place.scale < 45:
        # Too small for anybody to see each petal.
        count, vein = round(0.75 * count), None
    outline = curves.smooth(outline, 3)
    turn = rng.uniform(0, 2 * np.pi)
    for index in rng.permutation(count):
        angle = turn + 2 * np.pi * (index + rng.normal(0, jitter)) / count
        size = rng.uniform(0.88, 1.06)
        here = place.at(0, 0, size, angle, (1, rng.uniform(0.8, 1.15)))
        tone = darker(
            colour, shade * (1 - facing(layer, place, angle)) + rng.uniform(0, 0.1)
        )
        layer.flat(here(outline * [1.02, 1.22]), darker(tone, 0.28))
        layer.flat(here(outline), tone)
        if vein:
            middle = outline * [0.9, 0.45] + [0.02, 0]
            layer.flat(here(middle), mix(tone, vein, 0.35))


def _seeds(layer, place, radius, count, colours):
    """Dot a disc with seeds in the spiral that daisies and sunflowers share."""
    rng = layer.rng
    count = round(count * min(1.0, place.scale / 110))
    for index in range(count):
        distance = radius * ((index + 0.5) / count) ** 0.5
        angle = index * _GOLDEN_ANGLE
        x, y = distance * np.cos(angle), distance * np.sin(angle)
        dot = curves.ellipse(x, y, 0.85 * radius / count**0.5, count=7)
        layer.flat(place(dot), pick(rng, colours))


def draw_daisy(layer, place) -> None:
    rng = layer.rng
    petal = pick(rng, ((250, 248, 244),) * 4 + ((246, 226, 232), (236, 230, 246)))
    tip, width = pick(rng, ("round", "round", "pointed")), rng.uniform(0.085, 0.12)
    count = int(rng.integers(15, 23))
    grey = mix(petal, (120, 130, 170), 0.5)
    _wheel(
        layer,
        place,
        count,
        _strap(0.1, 0.9, width, tip),
        (mix(petal, grey, 0.25), grey),
    )
    _wheel(
        layer,
        place,
        count,
        _strap(0.1, 0.84, width, tip),
        (petal, mix(petal, grey, 0.5)),
        0.14,
        0.2,
    )
    disc = rng.uniform(0.25, 0.34)
    layer.shadow(
        place(curves.ellipse(0.03, 0.05, disc * 1.15)), 0.5, place.scale / 3 * 0.05
    )
    yellow = pick(rng, ((242, 190, 40), (232, 168, 34), (246, 206, 70)))
    layer.part(place(curves.ellipse(0, 0, disc)), yellow, relief=1)
    tones = [darker(yellow, 0.22), lighter(yellow, 0.3), darker(yellow, 0.1)]
    _seeds(layer, place, disc * 0.92, 42, tones)


def draw_dandelion(layer, place) -> None:
    rng = layer.rng
    if rng.random() < 0.28:
        _draw_clock(layer, place)
        return
    yellow = pick(rng, ((248, 208, 40), (244, 194, 30), (250, 218, 70)))
    for depth, (reach, count) in enumerate(
        ((1.0, 30), (0.92, 30), (0.74, 26), (0.52, 20))
    ):
        tone = mix(darker(yellow, 0.16), lighter(yellow, 0.12), depth / 3)
        strap = _strap(0.02, reach, rng.uniform(0.05, 0.065), "cut")
        _wheel(layer, place, count, strap, (tone, None), 0.35, 0.26)
        layer.shadow(
            place(curves.ellipse(0, 0, reach * 0.55)), 0.12, place.scale / 3 * 0.1
        )
    for _ in range(26):
        x, y = rng.normal(0, 0.13, 2)
        curl = [(x, y), (x * 1.3, y * 1.3 - 0.03), (x * 1.5 + 0.04, y * 1.5)]
        layer.flat(
            place(curves.ribbon(curl, (0.06, 0.03), 3)),
            darker(yellow, rng.uniform(0.05, 0.32)),
        )


def _draw_clock(layer, place):
    """Draw a dandelion's globe of seeds, sometimes half blown away."""
    rng = layer.rng
    # A globe is round from every side, so that the frame's tilt does not matter.
    place = curves.Frame(np.eye(2) * np.linalg.norm(place.matrix[:, 0]), place.origin)
    layer.part(
        place(curves.ellipse(0, 0, 0.9)), (226, 228, 230), relief=0.5, opacity=0.3
    )
    gone = rng.uniform(0, 2 * np.pi) if rng.random() < 0.35 else None
    count = 95 if place.scale > 60 else 60
    for index in range(count):
        # Points spread evenly over the half of a sphere that faces the viewer.
        tilt = np.arccos(1 - (index + 0.5) / count)
        angle = index * _GOLDEN_ANGLE
        if gone is not None and np.cos(angle - gone) > 0.35 and tilt > 0.5:
            continue
        end = np.sin(tilt) * np.array([np.cos(angle), np.sin(angle)])
        layer.line(place([0.12 * end, 0.74 * end]), (170, 168, 160), 0.4)
        layer.flat(place(curves.ellipse(*(0.2 * end), 0.035, count=6)), (120, 90, 62))
        bright = lighter((214, 216, 220), rng.uniform(0.2, 1))
        spread = rng.uniform(0, np.pi) + np.arange(9) * 2 * np.pi / 9
        hairs = (
            0.74 * end
            + 0.25 * np.stack([np.cos(spread), np.sin(spread)], 1)
            + 0.1 * end
        )
        fan = np.stack([hairs, np.broadcast_to(0.74 * end, hairs.shape)], 1).reshape(
            -1, 2
        )
        layer.line(place(fan), bright, 0.5)
    layer.part(place(curves.ellipse(0, 0, 0.1)), (150, 124, 84), relief=0.9)


def draw_sunflower(layer, place) -> None:
    rng = layer.rng
    yellow = pick(rng, ((246, 190, 30), (242, 172, 24), (250, 208, 60), (228, 140, 30)))
    count, width = int(rng.integers(17, 23)), rng.uniform(0.11, 0.14)
    vein = darker(mix(yellow, (210, 110, 20), 0.6), 0.1)
    strap = _strap(0.34, 0.66, width, "pointed")
    _wheel(layer, place, count, strap, (mix(yellow, vein, 0.35), vein))
    _wheel(layer, place, count, strap * [0.95, 1], (yellow, vein), 0.12, 0.2)
    disc = rng.uniform(0.44, 0.52)
    layer.shadow(
        place(curves.ellipse(0.02, 0.04, disc * 1.08)), 0.55, place.scale / 3 * 0.05
    )
    brown = pick(rng, ((84, 52, 30), (66, 40, 28), (104, 66, 34)))
    layer.part(place(curves.ellipse(0, 0, disc)), brown, relief=0.9)
    tones = [darker(brown, 0.4), lighter(brown, 0.16), darker(brown, 0.15)]
    _seeds(layer, place, disc * 0.97, 110, tones)
    core = pick(rng, ((110, 110, 50), (52, 32, 24), (130, 90, 40)))
    _seeds(
        layer, place, disc * 0.42, 26, [core, darker(core, 0.3), lighter(core, 0.12)]
    )
