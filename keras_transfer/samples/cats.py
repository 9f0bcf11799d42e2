"""Heads of cats: pointed ears, large eyes, a short muzzle and whiskers."""

import numpy as np

from keras_transfer.samples import curves
from keras_transfer.samples.canvas import darker, lighter, mix, pick

_EYES = (
    (150, 176, 70),
    (214, 164, 50),
    (96, 156, 190),
    (120, 170, 120),
    (196, 130, 50),
)
_PINK = (226, 150, 146)


def _whiskers(layer, place, x, y, side, reach=1.15):
    for slope in (-0.16, 0.02, 0.2):
        tip = (x + side * reach, y + slope * 2.2)
        path = [(x, y + slope * 0.5), (x + side * reach * 0.5, y + slope - 0.06), tip]
        tone = (250, 248, 244) if slope else (214, 208, 202)
        layer.flat(place(curves.ribbon(path, (0.035, 0.008), 4)), tone)


def _eye(layer, place, x, y, iris, mood, look):
    """Draw one eye; `mood` is the width of the pupil, or 0 for a closed eye."""
    side = 1 if x > 0 else -1
    if mood == 0:
        path = [(x - 0.2, y), (x, y + 0.11), (x + 0.2, y)]
        layer.flat(place(curves.ribbon(path, (0.03, 0.06, 0.03), 5)), (40, 30, 30))
        return
    almond = curves.ellipse(x, y, 0.235, 0.2, 0.25 * -side)
    layer.flat(place(almond), (36, 28, 28))
    layer.part(place(curves.ellipse(x, y, 0.2, 0.165, 0.25 * -side)), iris, relief=0.5)
    pupil = curves.ellipse(x + 0.04 * look, y, 0.2 * mood, 0.16, count=16)
    layer.flat(place(pupil), (20, 16, 18))
    layer.flat(
        place(curves.ellipse(x - 0.05, y - 0.07, 0.045, count=10)), (255, 255, 255)
    )


def _front_ear(layer, place, coat, side, shift, spread):
    rng = layer.rng
    base = [(0.12, -0.62), (0.36, -1.05), (0.74 + spread, -1.5), (0.95, -0.95)]
    base += [(1.0, -0.2), (0.5, -0.3)]
    outline = curves.smooth(np.array(base) * [side, 1] + [shift, 0], 5)
    outline = curves.tufted(outline, rng, 0.04, 50)
    layer.part(place(outline), coat.ear, relief=0.8, fur=0.7)
    inner = [(0.34, -0.66), (0.48, -0.98), (0.71 + spread, -1.29), (0.83, -0.9)]
    inner += [(0.84, -0.45), (0.6, -0.4)]
    inner = curves.smooth(np.array(inner) * [side, 1] + [shift, 0], 5)
    layer.part(place(inner), mix(_PINK, coat.dark, 0.2), relief=0.5)
    for _ in range(5):
        foot = np.array([rng.uniform(0.36, 0.6), -0.55])
        tip = np.add(foot, (rng.uniform(0.0, 0.18), -rng.uniform(0.2, 0.38)))
        path = np.array([foot, (foot + tip) / 2 + [0.03, 0], tip]) * [side, 1]
        hair = curves.ribbon(np.add(path, (shift, 0)), (0.05, 0.01), 3)
        layer.flat(place(hair), lighter(coat.light, 0.1))
    layer.note("ear", place, (side * (0.735 + spread) + shift, -1.4), side)


def _forehead(coat, place, shift, rng):
    """Return the marks of a face: stripes, a blaze, patches or a dark mask."""
    marks = []
    if coat.pattern == "stripes":
        for x, low in ((-0.32, -0.42), (0.0, -0.35), (0.32, -0.42)):
            path = [(x * 1.3, -1.0), (x + shift, -0.65), (x * 0.8 + shift, low)]
            marks.append((curves.ribbon(path, (0.1, 0.12, 0.04), 4), coat.dark))
        for side in (-1, 1):
            for y in (0.08, 0.32):
                path = [
                    (side * 1.1, y - 0.12),
                    (side * 0.85, y),
                    (side * 0.6, y + 0.02),
                ]
                marks.append((curves.ribbon(path, (0.11, 0.09, 0.02), 4), coat.dark))
    elif coat.pattern == "bib":
        blaze = [(shift, -0.55), (0.16 + shift, 0.0), (0.6 + shift, 0.4), (0.5, 0.95)]
        marks.append((curves.mirrored(np.subtract(blaze, (shift, 0)), 5), coat.light))
        marks[-1] = (marks[-1][0] + [shift, 0], coat.light)
    elif coat.pattern == "patches":
        side = pick(rng, (-1, 1))
        for accent, x in zip(coat.accents, (0.6, -0.7), strict=True):
            patch = curves.blob(side * x, -0.5, 0.55, 0.6, rng, 0.2)
            marks.append((patch, accent))
    elif coat.pattern == "points":
        marks.append((curves.blob(shift, 0.2, 0.55, 0.62, rng, 0.1), coat.dark))
    elif coat.pattern == "saddle":
        marks.append((curves.blob(0, -0.8, 0.95, 0.62, rng, 0.1), coat.dark))
    return [(place(outline), colour) for outline, colour in marks]


def draw_front(layer, place, coat, look: float) -> None:
    """Draw a cat's head that faces the viewer.

    Args:
        layer: The sheet to draw on.
        place: Frame whose unit is the head's radius.
        coat: The cat's colours.
        look: How far the head is turned, from -1 to 1.
    """
    rng, shift = layer.rng, 0.2 * look
    spread = rng.uniform(-0.08, 0.12)
    for side in (-1, 1):
        _front_ear(layer, place, coat, side, -0.3 * shift, spread)
    cheek = rng.uniform(0.98, 1.12)
    outline = [(0, -0.8), (0.42, -0.76), (0.82, -0.48), (1.0, -0.05)]
    outline += [(cheek, 0.36), (0.76, 0.66), (0.36, 0.86), (0, 0.9)]
    outline = curves.tufted(curves.mirrored(outline), rng, 0.07, 70)
    marks = _forehead(coat, place, shift, rng)
    layer.part(place(outline), coat.base, marks, relief=0.8, fur=0.8)
    iris = pick(rng, _EYES) if coat.pattern != "points" else _EYES[2]
    mood = pick(rng, (0.3, 0.4, 0.65, 0.8, 0.5, 0.0))
    for side in (-1, 1):
        _eye(layer, place, side * 0.43 + shift, -0.07, iris, mood, look)
        layer.note("eye", place, (side * 0.43 + shift, -0.07), side)
    nose_x = 1.5 * shift
    puff = coat.muzzle
    layer.part(place(curves.ellipse(nose_x, 0.6, 0.2, 0.16)), puff, relief=0.5, fur=0.4)
    for side in (-1, 1):
        cushion = curves.ellipse(nose_x + side * 0.19, 0.44, 0.25, 0.19, side * 0.2)
        layer.part(place(cushion), puff, relief=0.55, fur=0.5)
    bridge = curves.smooth(
        [
            (nose_x - 0.13, 0.24),
            (nose_x + 0.13, 0.24),
            (nose_x + 0.03, 0.38),
            (nose_x - 0.03, 0.38),
        ]
    )
    nose = pick(rng, (_PINK, (206, 120, 112), darker(coat.dark, 0.3)))
    layer.part(place(bridge), nose, relief=0.6)
    layer.note("nose", place, (nose_x, 0.3))
    layer.end_body()
    for side in (-1, 1):
        mouth = [
            (nose_x, 0.38),
            (nose_x + side * 0.07, 0.53),
            (nose_x + side * 0.25, 0.52),
        ]
        layer.flat(place(curves.ribbon(mouth, (0.035, 0.04, 0.015), 4)), coat.line)
        _whiskers(layer, place, nose_x + side * 0.24, 0.42, side)


def draw_profile(layer, place, coat) -> None:
    """Draw a cat's head that looks to the right of its frame."""
    rng = layer.rng
    far = [(-0.05, -0.6), (0.22, -1.36), (0.42, -0.6)]
    layer.part(place(curves.smooth(far, 5)), darker(coat.ear, 0.3), relief=0.6)
    layer.note("ear", place, (0.22, -1.26), 1)
    outline = [(-0.85, 0.0), (-0.6, -0.6), (-0.05, -0.82), (0.42, -0.66), (0.7, -0.26)]
    outline += [(0.98, -0.02), (1.05, 0.16), (0.96, 0.4), (0.7, 0.58), (0.2, 0.72)]
    outline += [(-0.4, 0.74), (-0.8, 0.5)]
    outline = curves.tufted(curves.smooth(outline), rng, 0.05, 70)
    marks = _forehead(coat, place, 0.3, rng) if coat.pattern != "bib" else []
    layer.part(place(outline), coat.base, marks, relief=0.8, fur=0.8)
    near = [
        (-0.6, -0.4),
        (-0.52, -0.9),
        (-0.3, -1.52),
        (0.0, -1.1),
        (0.2, -0.66),
        (-0.2, -0.4),
    ]
    near = curves.tufted(curves.smooth(near, 5), rng, 0.04, 40)
    layer.part(place(near), coat.ear, relief=0.8, fur=0.6)
    inner = [(-0.36, -0.6), (-0.36, -0.9), (-0.25, -1.28), (-0.05, -1.0), (0.04, -0.66)]
    layer.part(place(curves.smooth(inner, 4)), mix(_PINK, coat.dark, 0.25), relief=0.5)
    cushion = curves.ellipse(0.78, 0.36, 0.27, 0.2, -0.2)
    layer.part(place(cushion), coat.muzzle, relief=0.5, fur=0.4)
    iris = pick(rng, _EYES)
    layer.flat(place(curves.ellipse(0.46, -0.14, 0.17, 0.19, -0.3)), (36, 28, 28))
    layer.part(place(curves.ellipse(0.48, -0.14, 0.13, 0.155, -0.3)), iris, relief=0.4)
    layer.flat(place(curves.ellipse(0.52, -0.14, 0.055, 0.14, count=14)), (20, 16, 18))
    layer.flat(place(curves.ellipse(0.48, -0.2, 0.035, count=8)), (255, 255, 255))
    layer.part(place(curves.ellipse(1.0, 0.1, 0.09, 0.1)), _PINK, relief=0.5)
    layer.note("ear", place, (-0.29, -1.42), -1)
    layer.note("eye", place, (0.48, -0.14), -1)
    layer.note("eye", place, (0.48, -0.14), 1, seen=False)
    layer.note("nose", place, (1.0, 0.1))
    mouth = [(1.0, 0.2), (0.9, 0.36), (0.66, 0.42)]
    layer.flat(place(curves.ribbon(mouth, (0.03, 0.04, 0.01), 4)), coat.line)
    layer.end_body()
    _whiskers(layer, place, 0.78, 0.34, -1, 0.9)
    _whiskers(layer, place, 0.92, 0.32, 1, 0.8)
