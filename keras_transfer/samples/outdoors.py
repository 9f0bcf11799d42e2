"""Backgrounds under the sky: meadow, garden, beach, park and snow."""

import numpy as np

from keras_transfer.samples import curves, sheets
from keras_transfer.samples.canvas import darker, lighter, mix, pick


def _sky(sheet, horizon):
    rng = sheet.rng
    top, bottom = pick(rng, sheets.SKIES)
    sheet.fade(top, bottom, 0, horizon + 0.08)
    for _ in range(rng.integers(0, 4)):
        x, y = rng.uniform(0, 1), rng.uniform(0, horizon * 0.8)
        for _ in range(5):
            shift = rng.normal(0, (0.06, 0.012), 2)
            cloud = lighter(bottom, rng.uniform(0.3, 0.7))
            sheet.disc(x + shift[0], y + shift[1], rng.uniform(0.03, 0.07), cloud, 0.6)


def draw_meadow(sheet, horizon):
    rng, green = sheet.rng, pick(sheet.rng, sheets.GREENS)
    _sky(sheet, horizon)
    sheet.ridge(horizon - 0.06, 0.06, mix(green, (150, 180, 200), 0.55))
    sheet.ridge(horizon, 0.04, darker(green, 0.2))
    for _ in range(rng.integers(0, 7)):
        x, radius = rng.uniform(0, 1), rng.uniform(0.04, 0.1)
        sheet.disc(
            x, horizon - radius * 0.4, radius, darker(green, rng.uniform(0.3, 0.5))
        )
    sheet.fade(lighter(green, 0.18), darker(green, 0.2), horizon + 0.03, 1)
    tones = [darker(green, 0.35), lighter(green, 0.2), green, darker(green, 0.15)]
    sheet.blades(150, horizon + 0.05, tones)
    petals = [pick(rng, ((244, 240, 230), (238, 200, 80), (200, 120, 170)))]
    sheet.specks(rng.integers(0, 26), horizon + 0.1, 1, petals, 0.004, 0.011, 0.7)


def draw_garden(sheet, horizon):
    rng, green = sheet.rng, pick(sheet.rng, sheets.GREENS)
    sheet.fade(darker(green, 0.55), darker(green, 0.15), 0, 1)
    for depth in np.linspace(0, 1, 70):
        x, y = rng.uniform(-0.05, 1.05), depth * 1.1 + rng.normal(0, 0.08)
        tone = mix(darker(green, 0.6), lighter(green, 0.25), rng.beta(2, 2.2))
        leaf = curves.ellipse(0, 0, rng.uniform(0.04, 0.1), 0.03, count=14)
        angle = rng.uniform(0, np.pi)
        turn = [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
        sheet.shape(leaf @ turn + [x, y], tone)
    dots = [pick(rng, sheets.FABRICS), (240, 232, 214)]
    sheet.specks(rng.integers(0, 18), 0, horizon + 0.2, dots, 0.008, 0.025)
    if rng.random() < 0.5:
        sheet.ridge(max(horizon + 0.16, 0.74), 0.02, mix((112, 84, 62), green, 0.25))


def draw_beach(sheet, horizon):
    rng = sheet.rng
    _sky(sheet, horizon)
    sea = pick(rng, ((46, 124, 160), (86, 160, 170), (70, 104, 140)))
    shore = horizon + rng.uniform(0.1, 0.2)
    sheet.fade(sea, lighter(sea, 0.3), horizon, shore)
    for _ in range(12):
        x, y = rng.uniform(-0.1, 1), rng.uniform(horizon + 0.01, shore)
        sheet.box(x, y, x + rng.uniform(0.05, 0.2), y + 0.006, lighter(sea, 0.5))
    sand = pick(rng, ((226, 200, 152), (214, 186, 146), (232, 214, 180)))
    sheet.ridge(shore - 0.012, 0.012, (246, 246, 240))
    sheet.ridge(shore + 0.02, 0.015, darker(sand, 0.15))
    sheet.fade(sand, lighter(sand, 0.2), shore + 0.06, 1)
    pebbles = [darker(sand, 0.25), lighter(sand, 0.5), (190, 150, 130)]
    sheet.specks(60, shore + 0.06, 1, pebbles, 0.002, 0.008, 0.6)
    if rng.random() < 0.5:
        x, cloth = rng.uniform(0.05, 0.95), pick(rng, sheets.FABRICS)
        sheet.box(x - 0.006, horizon - 0.2, x + 0.006, shore + 0.14, (230, 226, 220))
        top = curves.ellipse(x, horizon - 0.16, 0.2, 0.2, count=40)
        sheet.shape(top[top[:, 1] <= horizon - 0.16], cloth)
        stripe = curves.ellipse(x, horizon - 0.16, 0.08, 0.2, count=40)
        sheet.shape(stripe[stripe[:, 1] <= horizon - 0.16], lighter(cloth, 0.75))


def draw_park(sheet, horizon):
    rng = sheet.rng
    _sky(sheet, horizon)
    leaf = pick(rng, ((206, 130, 50), (98, 138, 70), (190, 90, 50), (150, 160, 70)))
    sheet.ridge(horizon - 0.1, 0.08, mix(leaf, (170, 180, 190), 0.5))
    ground = mix(leaf, pick(rng, sheets.GREENS), 0.6)
    sheet.fade(ground, darker(ground, 0.25), horizon, 1)
    bark = pick(rng, sheets.WOODS)
    for _ in range(rng.integers(2, 5)):
        x, width = rng.uniform(0, 1), rng.uniform(0.02, 0.06)
        foot = horizon + width * 1.4
        sheet.box(x - width / 2, 0, x + width / 2, foot, darker(bark, 0.45))
        sheet.box(x - width / 2, 0, x, foot, darker(bark, 0.3))
    crown = [
        leaf,
        darker(leaf, 0.3),
        lighter(leaf, 0.25),
        mix(leaf, (220, 190, 70), 0.5),
    ]
    sheet.specks(60, -0.05, 0.24, crown, 0.02, 0.06)
    sheet.specks(90, horizon + 0.05, 1, crown, 0.004, 0.014, 0.6)


def draw_snow(sheet, horizon):
    rng = sheet.rng
    _sky(sheet, horizon)
    for _ in range(rng.integers(3, 9)):
        x, tall = rng.uniform(0, 1), rng.uniform(0.15, 0.4)
        fir = mix((60, 96, 88), (190, 206, 220), rng.uniform(0, 0.5))
        for part in (1.0, 0.7, 0.42):
            tip = horizon + 0.03 - tall
            half = 0.2 * tall * part
            foot = tip + tall * part
            sheet.shape([(x, tip), (x + half, foot), (x - half, foot)], fir)
            sheet.shape(
                [(x, tip), (x, tip + 0.2 * tall), (x - half, foot)], (232, 238, 244)
            )
    sheet.ridge(horizon + 0.02, 0.03, (206, 218, 234))
    sheet.fade((216, 226, 238), (240, 240, 244), horizon + 0.06, 1)
    sheet.specks(40, 0, 1, [(250, 250, 252)], 0.003, 0.008)
