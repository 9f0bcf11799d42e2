"""Heads of dogs: a long muzzle, a big nose and hanging, folded or upright ears."""

import dataclasses

import numpy as np

from keras_transfer.samples import curves
from keras_transfer.samples.canvas import darker, lighter, mix, pick

_NOSE = (38, 32, 34)
_EYE = (70, 44, 28)
_TONGUE = (222, 112, 120)

EARS = {
    "flop": [(0.36, -0.8), (0.8, -0.86), (1.12, -0.5), (1.2, 0.0), (1.08, 0.36),
             (0.86, 0.3), (0.74, -0.1), (0.6, -0.4)],
    "long": [(0.4, -0.72), (0.84, -0.7), (1.16, -0.2), (1.3, 0.5), (1.2, 1.05),
             (0.92, 1.12), (0.76, 0.6), (0.7, 0.0), (0.6, -0.35)],
    "prick": [(0.2, -0.74), (0.42, -1.2), (0.66, -1.62), (0.84, -1.3), (0.9, -0.7),
              (0.76, -0.4), (0.4, -0.5)],
    "fold": [(0.26, -0.8), (0.56, -1.12), (0.86, -1.14), (1.08, -0.76), (1.04, -0.38),
             (0.82, -0.5), (0.66, -0.6)],
}  # fmt: skip
# A little inside of the outlines: where each ear ends.
_EAR_TIPS = {
    "flop": (1.06, 0.27),
    "long": (1.07, 1.0),
    "prick": (0.66, -1.5),
    "fold": (1.0, -0.5),
}


@dataclasses.dataclass(frozen=True)
class Breed:
    """What makes one dog's head different from another's."""

    ear: str
    muzzle: float
    width: float
    tongue: bool
    tail: str


def draw_breed(rng) -> Breed:
    """Return a random breed."""
    ear = str(rng.choice(list(EARS), p=(0.36, 0.2, 0.22, 0.22)))
    tail = pick(rng, ("plume", "otter", "curl", "otter"))
    muzzle, width = rng.uniform(0.88, 1.16), rng.uniform(0.92, 1.08)
    return Breed(ear, muzzle, width, rng.random() < 0.5, tail)


def _front_ear(layer, place, coat, breed, side, shift):
    rng = layer.rng
    points = np.array(EARS[breed.ear]) * [side * breed.width, 1] + [shift, 0]
    outline = curves.tufted(curves.smooth(points, 5), rng, 0.045, 60)
    colour = darker(coat.ear, 0.0 if breed.ear == "prick" else 0.16)
    layer.part(place(outline), colour, relief=0.85, fur=0.8)
    if breed.ear == "prick":
        inner = np.array(
            [(0.38, -0.8), (0.5, -1.1), (0.65, -1.4), (0.76, -1.1), (0.76, -0.7)]
        )
        inner = inner * [side * breed.width, 1] + [shift, 0]
        tone = mix(mix((214, 150, 140), coat.dark, 0.4), coat.light, 0.15)
        layer.part(place(curves.smooth(inner, 5)), tone, relief=0.4)
    x, y = _EAR_TIPS[breed.ear]
    layer.note("ear", place, (side * breed.width * x + shift, y), side)


def _face_marks(coat, place, shift, rng):
    marks = []
    if coat.pattern == "bib":
        blaze = [(0, -0.9), (0.13, -0.5), (0.14, 0.0), (0.5, 0.3), (0.5, 1.2), (0, 1.3)]
        marks.append((np.add(curves.mirrored(blaze, 5), (shift, 0)), coat.light))
    elif coat.pattern == "patches":
        side = pick(rng, (-1, 1))
        for accent, x in zip(coat.accents, (0.5, -0.75), strict=True):
            marks.append((curves.blob(side * x, -0.3, 0.42, 0.55, rng, 0.2), accent))
    elif coat.pattern in ("points", "saddle"):
        low = 0.45 if coat.pattern == "points" else -0.85
        marks.append((curves.blob(shift, low, 0.8, 0.55, rng, 0.1), coat.dark))
    elif coat.pattern == "stripes":
        for x in (-0.5, -0.2, 0.1, 0.4):
            path = [(x, -1.0), (x * 0.9, -0.7), (x * 0.7, -0.45)]
            marks.append((curves.ribbon(path, (0.08, 0.1, 0.02), 4), coat.dark))
    return [(place(outline), colour) for outline, colour in marks]


def _tongue(layer, place, x, y, length):
    shape = [(-0.17, -0.1), (0.17, -0.1), (0.19, length * 0.6), (0.0, length)]
    shape = np.add(curves.smooth([*shape, (-0.19, length * 0.6)]), (x, y))
    layer.part(place(shape), _TONGUE, relief=0.6)
    crease = curves.ribbon(
        [(x, y), (x, y + length * 0.4), (x, y + length * 0.75)], (0.04, 0.02)
    )
    layer.flat(place(crease), darker(_TONGUE, 0.25))


def draw_front(layer, place, coat, breed, look: float) -> None:
    """Draw a dog's head that faces the viewer.

    Args:
        layer: The sheet to draw on.
        place: Frame whose unit is the head's radius.
        coat: The dog's colours.
        breed: The dog's breed.
        look: How far the head is turned, from -1 to 1.
    """
    rng, shift, long = layer.rng, 0.24 * look, breed.muzzle
    behind = breed.ear == "prick"
    if behind:
        for side in (-1, 1):
            _front_ear(layer, place, coat, breed, side, -0.3 * shift)
    wide = breed.width
    outline = [
        (0, -0.92),
        (0.42 * wide, -0.88),
        (0.78 * wide, -0.58),
        (0.86 * wide, -0.1),
    ]
    outline += [
        (0.72 * wide, 0.36),
        (0.52 * wide, 0.72),
        (0.28, 0.9 * long),
        (0, 0.94 * long),
    ]
    outline = curves.tufted(curves.mirrored(outline), rng, 0.05, 70)
    marks = _face_marks(coat, place, shift, rng)
    layer.part(place(outline), coat.base, marks, relief=0.8, fur=0.8)
    x = 1.5 * shift
    if breed.tongue:
        layer.part(
            place(curves.ellipse(x, 0.86 * long, 0.3, 0.24)), (92, 40, 44), relief=0.3
        )
        _tongue(layer, place, x, 0.84 * long, 0.5)
    snout = [
        (0, -0.12),
        (0.26, 0.0),
        (0.44, 0.36),
        (0.48, 0.62 * long),
        (0.34, 0.88 * long),
    ]
    snout += [(0.1, 0.92 * long), (0, 0.86 * long)]
    snout = np.add(curves.mirrored(snout), (x * 0.85, 0))
    layer.part(place(snout), coat.muzzle, relief=0.75, fur=0.5)
    for side in (-1, 1):
        eye = np.array([side * 0.4 + shift, -0.2])
        layer.flat(place(curves.ellipse(*eye, 0.165, 0.15)), (28, 20, 20))
        layer.flat(place(curves.ellipse(*eye, 0.12, 0.115)), _EYE)
        layer.flat(place(curves.ellipse(*eye, 0.07, count=14)), (12, 10, 12))
        glint = curves.ellipse(*(eye - [0.045, 0.05]), 0.042, count=10)
        layer.flat(place(glint), (255, 255, 255))
        brow = [*np.add(eye, [(side * -0.16, -0.2), (0, -0.27), (side * 0.17, -0.2)])]
        tone = lighter(coat.base, 0.25) if coat.pattern != "saddle" else coat.base
        layer.flat(place(curves.ribbon(brow, (0.03, 0.08, 0.03), 4)), tone)
        layer.note("eye", place, eye, side)
    nose = [(0, 0.1), (0.2, 0.12), (0.27, 0.24), (0.18, 0.38), (0, 0.46)]
    layer.part(place(np.add(curves.mirrored(nose), (x, 0))), _NOSE, relief=0.9)
    layer.note("nose", place, (x, 0.26))
    shine = curves.ellipse(x - 0.07, 0.18, 0.09, 0.035, count=14)
    layer.flat(place(shine), (150, 146, 150))
    line = curves.ribbon([(x, 0.44), (x, 0.55), (x, 0.68 * long)], (0.04, 0.04), 4)
    layer.flat(place(line), coat.line)
    for side in (-1, 1):
        lip = [
            (x, 0.66 * long),
            (x + side * 0.2, 0.8 * long),
            (x + side * 0.42, 0.66 * long),
        ]
        layer.flat(place(curves.ribbon(lip, (0.04, 0.05, 0.02), 5)), coat.line)
    if not behind:
        for side in (-1, 1):
            _front_ear(layer, place, coat, breed, side, -0.3 * shift)


def draw_profile(layer, place, coat, breed) -> None:
    """Draw a dog's head that looks to the right of its frame."""
    rng, tip = layer.rng, 0.55 + 0.85 * breed.muzzle
    if breed.ear == "prick":
        far = curves.smooth([(-0.1, -0.6), (0.2, -1.42), (0.36, -0.6)], 5)
        layer.part(place(far), darker(coat.ear, 0.3), relief=0.6)
        layer.note("ear", place, (0.2, -1.3), 1)
    if breed.tongue:
        _tongue(layer, place.at(tip - 0.35, 0.3, angle=-0.15), 0, 0, 0.55)
    jaw = [(0.2, 0.2), (tip - 0.25, 0.22), (tip - 0.18, 0.36), (0.7, 0.5), (0.2, 0.6)]
    layer.part(place(curves.smooth(jaw)), darker(coat.muzzle, 0.1), relief=0.6, fur=0.4)
    outline = [
        (-0.85, 0.05),
        (-0.68, -0.5),
        (-0.25, -0.82),
        (0.2, -0.76),
        (0.46, -0.42),
    ]
    outline += [(0.8, -0.24), (tip - 0.1, -0.2), (tip, -0.02), (tip - 0.08, 0.24)]
    outline += [(0.9, 0.3), (0.5, 0.42), (0.1, 0.62), (-0.4, 0.8), (-0.8, 0.55)]
    outline = curves.tufted(curves.smooth(outline), rng, 0.045, 80)
    marks = [] if coat.pattern == "bib" else _face_marks(coat, place, 0.3, rng)
    layer.part(place(outline), coat.base, marks, relief=0.8, fur=0.8)
    snout = [(0.55, -0.22), (tip - 0.14, -0.16), (tip - 0.05, 0.02), (tip - 0.12, 0.22)]
    snout = curves.smooth([*snout, (0.85, 0.3), (0.5, 0.14)])
    layer.part(place(snout), coat.muzzle, relief=0.5, fur=0.4)
    nose = curves.ellipse(tip - 0.03, -0.08, 0.15, 0.13, 0.3)
    layer.part(place(nose), _NOSE, relief=0.8)
    layer.note("nose", place, (tip - 0.03, -0.08))
    lip = [(tip - 0.1, 0.2), (0.95, 0.27), (0.55, 0.3)]
    layer.flat(place(curves.ribbon(lip, (0.04, 0.05, 0.03), 5)), coat.line)
    layer.flat(place(curves.ellipse(0.3, -0.28, 0.13, 0.12)), (28, 20, 20))
    layer.flat(place(curves.ellipse(0.32, -0.28, 0.09, 0.09)), _EYE)
    layer.flat(place(curves.ellipse(0.29, -0.32, 0.035, count=8)), (255, 255, 255))
    layer.note("eye", place, (0.31, -0.28), -1)
    layer.note("eye", place, (0.31, -0.28), 1, seen=False)
    offset = (0.45, 0.05) if breed.ear == "prick" else (0.52, 0.08)
    ear = np.array(EARS[breed.ear]) * [-1, 1] + offset
    outline = curves.tufted(curves.smooth(ear, 5), rng, 0.045, 60)
    layer.part(place(outline), darker(coat.ear, 0.16), relief=0.85, fur=0.8)
    ear_tip = np.array(_EAR_TIPS[breed.ear]) * [-1, 1] + offset
    layer.note("ear", place, ear_tip, -1)
    if breed.ear != "prick":  # The head hides the other one.
        layer.note("ear", place, ear_tip, 1, seen=False)
