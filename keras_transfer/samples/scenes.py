"""Backgrounds: rooms, streets, blurred lights and the outdoors."""

import numpy as np
from PIL import Image, ImageFilter

from keras_transfer.samples import outdoors, sheets
from keras_transfer.samples.canvas import darker, lighter, mix, pick


def _room(sheet, horizon):
    rng, wall, wood = (
        sheet.rng,
        pick(sheet.rng, sheets.WALLS),
        pick(sheet.rng, sheets.WOODS),
    )
    floor = max(horizon + 0.05, 0.55)
    sheet.fade(wall, darker(wall, 0.12), 0, floor)
    if rng.random() < 0.4:
        for x in np.arange(rng.uniform(0, 0.1), 1, rng.uniform(0.07, 0.14)):
            sheet.box(x, 0, x + 0.03, floor, darker(wall, 0.07))
    sheet.fade(darker(wood, 0.15), lighter(wood, 0.1), floor, 1)
    for step, y in enumerate(floor + (1 - floor) * np.linspace(0, 1, 6) ** 1.6):
        sheet.box(0, y, 1, y + 0.006, darker(wood, 0.35))
        for x in rng.uniform(0, 1, 1 + step // 2):
            sheet.box(x, y, x + 0.004, y + 0.09, darker(wood, 0.3))
    sheet.box(0, floor - 0.035, 1, floor, lighter(wall, 0.55))
    if rng.random() < 0.6:
        _window(sheet)
    if rng.random() < 0.5:
        _framed_picture(sheet, wood)
    if rng.random() < 0.5:
        x, cloth = rng.uniform(-0.2, 0.7), pick(rng, sheets.FABRICS)
        sheet.box(x, floor - 0.25, x + 0.55, floor + 0.04, darker(cloth, 0.25))
        sheet.box(x + 0.03, floor - 0.09, x + 0.52, floor + 0.06, cloth)
    if rng.random() < 0.7:
        x, cloth = rng.uniform(0.3, 0.7), pick(rng, sheets.FABRICS)
        for shrink in (1.0, 0.86, 0.7):
            sheet.disc(x, 0.86, 0.46 * shrink, cloth, 0.3)
            cloth = lighter(cloth, 0.22)


def _window(sheet):
    rng = sheet.rng
    x, y, width = rng.uniform(-0.05, 0.75), rng.uniform(0, 0.1), 0.32
    top, bottom = pick(rng, sheets.SKIES)
    sheet.box(x, y, x + width, y + 0.44, (240, 234, 222))
    for column in (0.02, 0.17):
        for row in (0.02, 0.23):
            left, above = x + column, y + row
            glass = top if row < 0.1 else bottom
            sheet.box(left, above, left + 0.13, above + 0.19, glass)
    cloth = pick(rng, sheets.FABRICS)
    for side in (x - 0.06, x + width - 0.04):
        sheet.box(side, 0, side + 0.1, y + 0.5, cloth)
        sheet.box(side + 0.03, 0, side + 0.05, y + 0.5, darker(cloth, 0.2))


def _framed_picture(sheet, wood):
    rng = sheet.rng
    x, y, cloth = (
        rng.uniform(0, 0.8),
        rng.uniform(0.08, 0.2),
        pick(rng, sheets.FABRICS),
    )
    sheet.box(x, y, x + 0.2, y + 0.19, darker(wood, 0.4))
    sheet.box(x + 0.02, y + 0.025, x + 0.18, y + 0.165, lighter(cloth, 0.5))
    sheet.disc(x + 0.1, y + 0.1, 0.04, cloth)


def _street(sheet, horizon):
    rng = sheet.rng
    brick = pick(rng, ((166, 92, 72), (186, 128, 96), (140, 110, 100), (200, 176, 150)))
    paving = max(horizon + 0.12, 0.62)
    sheet.box(0, 0, 1, paving, mix(brick, (226, 214, 200), 0.45))
    high, wide = 0.055, 0.12
    for row in range(int(paving / high) + 1):
        for column in range(-1, int(1 / wide) + 2):
            x, y = (column + 0.5 * (row % 2)) * wide, row * high
            tone = mix(darker(brick, 0.3), lighter(brick, 0.15), rng.random())
            sheet.box(x, y, x + wide * 0.93, y + high * 0.85, tone)
    if rng.random() < 0.4:
        x, door = rng.uniform(0, 0.75), pick(rng, sheets.FABRICS)
        sheet.box(x - 0.015, 0, x + 0.265, paving, (232, 226, 214))
        sheet.box(x, 0, x + 0.25, paving, door)
        sheet.box(x + 0.04, 0.06, x + 0.21, paving * 0.45, darker(door, 0.18))
        sheet.box(x + 0.04, paving * 0.55, x + 0.21, paving * 0.92, darker(door, 0.18))
    stone = pick(rng, ((150, 146, 140), (178, 168, 156), (120, 118, 122)))
    sheet.fade(darker(stone, 0.25), lighter(stone, 0.15), paving, 1)
    for y in paving + (1 - paving) * np.array([0.2, 0.5]):
        sheet.box(0, y, 1, y + 0.008, darker(stone, 0.35))
    sheet.specks(14, paving, 1, [darker(stone, 0.3), (150, 120, 70)], 0.003, 0.01, 0.6)


def _lights(sheet, horizon):
    rng, base = (
        sheet.rng,
        pick(sheet.rng, (*sheets.GREENS, *sheets.FABRICS, *sheets.WALLS)),
    )
    tones = [darker(base, 0.6), darker(base, 0.25), lighter(base, 0.3)]
    order = rng.permutation(3)
    sheet.fade(tones[order[0]], tones[order[1]], 0, 1)
    other = pick(rng, sheets.SKIES)[1]
    for _ in range(rng.integers(12, 30)):
        spot = mix(
            mix(base, other, rng.random()), (255, 246, 214), rng.uniform(0, 0.35)
        )
        x, y, radius = rng.uniform(0, 1), rng.uniform(0, 1), rng.uniform(0.02, 0.08)
        sheet.disc(x, y, radius, spot)
        sheet.disc(x, y, radius * 0.86, mix(spot, base, 0.25))
    if rng.random() < 0.5:
        sheet.ridge(horizon + 0.3, 0.02, darker(base, 0.4))


PLACES = (
    outdoors.draw_meadow,
    _room,
    outdoors.draw_beach,
    _street,
    outdoors.draw_park,
    outdoors.draw_snow,
    _lights,
    outdoors.draw_garden,
)


def draw_scene(size, rng, places=PLACES) -> Image.Image:
    """Return a background, slightly out of focus.

    Args:
        size: `(width, height)` in pixels.
        rng: The picture's `numpy.random.Generator`.
        places: Drawing functions to choose from.
    """
    sheet = sheets.Sheet(size, rng)
    pick(rng, places)(sheet, rng.uniform(0.3, 0.52))
    image = sheet.image.reduce(2)
    blur = pick(rng, (0.5, 0.8, 1.2, 1.8))
    return image.filter(ImageFilter.GaussianBlur(blur))
