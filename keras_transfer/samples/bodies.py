"""Bodies of cats and dogs in five poses; each pose says where the head goes.

A body stands on y = 0 of its frame, faces right, and is about three units tall
when it sits. A pose draws everything but the head and returns the head's frame.
"""

import numpy as np

from keras_transfer.samples import curves
from keras_transfer.samples.canvas import darker, lighter
from keras_transfer.samples.limbs import draw_leg, draw_paw, draw_tail


def _trunk(layer, place, coat, points, chest=None, fur=0.85):
    points = curves.smooth(points)
    low, high = points.min(0), points.max(0)
    marks = coat.body_marks(place, *low, *high, chest)
    outline = curves.tufted(points, layer.rng, 0.05, 110)
    layer.part(place(outline), coat.base, marks, relief=0.8, fur=fur)


def portrait(layer, place, coat, build):
    """Draw the shoulders below a head that fills the picture."""
    wide = 1.12 * build.girth
    outline = [(0, 0.2), (0.62, 0.5), (wide, 1.1), (wide + 0.25, 2.2), (0, 3.2)]
    outline = curves.tufted(curves.mirrored(outline), layer.rng, 0.06, 90)
    marks = coat.body_marks(place, -wide, 0.5, wide, 2.4, (0, 1.6, 0.5, 0.9))
    layer.part(place(outline), coat.base, marks, relief=0.6, fur=0.9)
    return place


def sit_front(layer, place, coat, build):
    """Draw a body that sits and faces the viewer."""
    rng, limb, girth = layer.rng, build.limb, build.girth
    draw_tail(layer, place.at(-0.55 * girth, -0.2), coat, build, rng.uniform(-0.1, 0.5))
    for side in (-1, 1):
        haunch = curves.ellipse(side * 0.66 * girth, -0.42, 0.38, 0.46, side * -0.3)
        layer.part(place(haunch), darker(coat.base, 0.08), relief=0.8, fur=0.7)
        tone = darker(coat.paw, 0.06)
        draw_paw(layer, place, coat, side * 0.78 * girth, 0, limb * 1.15, tone)
    half = [(0, -2.2), (0.36, -2.1), (0.52 * girth, -1.55), (0.64 * girth, -1.0)]
    half += [(0.7 * girth, -0.5), (0.5 * girth, -0.12), (0, -0.08)]
    _trunk(layer, place, coat, _both(half), (0, -1.4, 0.34, 0.6))
    for side in (-1, 1):
        path = [(side * 0.34 * girth, -1.25), (side * 0.3, -0.6), (side * 0.28, -0.08)]
        draw_leg(layer, place, coat, path, limb)
    return place.at(0, -2.3 - build.neck, build.head)


def _both(half):
    left = [(-x, y) for x, y in reversed(half) if x]
    return [*half, *left]


def sit_side(layer, place, coat, build):
    """Draw a body that sits and is seen from the side."""
    limb, girth = build.limb, build.girth
    draw_tail(layer, place.at(-0.82, -0.22), coat, build, layer.rng.uniform(-0.5, 0.2))
    far = [(0.5, -1.1), (0.62, -0.6), (0.64, -0.04)]
    draw_leg(layer, place, coat, far, limb, far=True)
    back = [(0.1, -2.15), (-0.3, -1.65), (-0.72 * girth, -0.95), (-0.95 * girth, -0.35)]
    back += [
        (-0.7, -0.04),
        (-0.1, -0.08),
        (0.4, -0.5),
        (0.66, -1.1),
        (0.68, -1.6),
        (0.56, -2.1),
    ]
    _trunk(layer, place, coat, back, (0.55, -1.35, 0.24, 0.55))
    haunch = curves.smooth(
        [
            (-0.55, -0.98),
            (-0.02, -0.8),
            (0.16, -0.4),
            (0.02, -0.08),
            (-0.6, -0.04),
            (-0.9, -0.4),
        ]
    )
    layer.shadow(place(np.add(haunch, (0.06, 0.03))), 0.3, 3)
    marks = (
        coat.body_marks(place, -0.9, -1.1, 0.2, 0.0)
        if coat.pattern == "stripes"
        else []
    )
    layer.part(place(haunch), coat.base, marks, relief=0.55, fur=0.8)
    draw_paw(layer, place, coat, 0.16, 0, limb * 1.2, coat.paw)
    draw_leg(layer, place, coat, [(0.4, -1.2), (0.44, -0.6), (0.42, -0.02)], limb)
    return place.at(0.42, -2.35 - build.neck, build.head)


def lie(layer, place, coat, build):
    """Draw a body that lies with its front legs towards the viewer's right."""
    limb, girth = build.limb, build.girth
    draw_tail(
        layer, place.at(-1.45, -0.25), coat, build, layer.rng.uniform(-0.75, -0.3)
    )
    draw_leg(
        layer, place, coat, [(0.6, -0.5), (1.1, -0.2), (1.62, -0.12)], limb, far=True
    )
    back = [(0.85, -1.35), (0.3, -1.1 * girth), (-0.6, -1.02 * girth), (-1.3, -0.85)]
    back += [
        (-1.62, -0.4),
        (-1.4, -0.03),
        (0.0, 0.0),
        (0.9, -0.04),
        (1.15, -0.5),
        (1.2, -1.1),
    ]
    _trunk(layer, place, coat, back, (1.0, -0.55, 0.25, 0.5))
    haunch = curves.ellipse(-1.02, -0.45, 0.56, 0.45, 0.2)
    layer.shadow(place(np.add(haunch, (0.05, 0.02))), 0.3, 3)
    layer.part(place(haunch), coat.base, relief=0.5, fur=0.8)
    draw_paw(layer, place, coat, -0.55, 0, limb * 1.3, coat.paw)
    path = [(0.75, -0.5), (1.05, -0.16), (1.5, -0.06)]
    draw_leg(layer, place, coat, path, limb * 1.05, paw=False)
    draw_paw(layer, place, coat, 1.55, 0.03, limb * 0.95, coat.paw)
    return place.at(0.98, -1.5 - build.neck, build.head)


def loaf(layer, place, coat, build):
    """Draw a body that rests on folded legs and faces the viewer."""
    rng, limb, girth = layer.rng, build.limb, build.girth
    draw_tail(layer, place.at(-0.9, -0.2), coat, build, rng.uniform(-0.9, 0.2))
    half = [(0, -1.1), (0.7, -1.12 * girth), (1.12 * girth, -0.7), (1.15 * girth, -0.2)]
    half += [(0.8, 0.0), (0, 0.02)]
    _trunk(layer, place, coat, _both(half), (0, -0.5, 0.4, 0.4))
    for side in (-1, 1):
        foot = place.at(side * 0.4, 0)
        draw_paw(layer, foot, coat, 0, 0.06, limb * 1.45, lighter(coat.paw, 0.05))
    return place.at(rng.normal(0, 0.2), -1.22 - build.neck, build.head)


def walk(layer, place, coat, build):
    """Draw a body that walks, seen from the side."""
    rng, limb, girth = layer.rng, build.limb, build.girth
    step = rng.uniform(0.12, 0.4)
    draw_tail(layer, place.at(-1.2, -1.3), coat, build, rng.uniform(-0.2, 0.5))
    far = [(-0.9, -1.0), (-0.75 + step, -0.55), (-0.95 + step, -0.06)]
    draw_leg(layer, place, coat, far, limb, far=True)
    far = [(0.72, -1.0), (0.7 + step, -0.55), (0.78 + step, -0.06)]
    draw_leg(layer, place, coat, far, limb, far=True)
    tuck = -0.72 - 0.1 * girth
    body = [(1.15, -1.95), (0.6, -1.52), (-0.4, -1.5), (-1.1, -1.45), (-1.3, -1.1)]
    body += [
        (-0.95, -0.72),
        (-0.3, tuck),
        (0.5, -0.66),
        (1.0, -0.85),
        (1.25, -1.3),
        (1.5, -1.75),
    ]
    _trunk(layer, place, coat, body, (1.1, -1.15, 0.24, 0.5))
    near = [(-0.95, -1.05), (-0.85 - step * 0.6, -0.52), (-1.05 - step * 0.4, 0)]
    draw_leg(layer, place, coat, near, limb * 1.1)
    near = [(0.8, -0.95), (0.82 - step * 0.5, -0.5), (0.76 - step, 0)]
    draw_leg(layer, place, coat, near, limb)
    return place.at(1.4, -2.0 - build.neck, build.head)
