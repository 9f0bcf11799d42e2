"""Sheets that backgrounds are drawn on, and the colours they share."""

import numpy as np
from PIL import Image, ImageDraw

from keras_transfer.samples import curves
from keras_transfer.samples.canvas import pick

SKIES = (
    ((92, 160, 222), (208, 232, 246)),
    ((120, 170, 205), (240, 226, 205)),
    ((150, 172, 190), (218, 224, 226)),
    ((236, 150, 110), (252, 222, 170)),
    ((70, 104, 160), (190, 190, 214)),
)
GREENS = ((104, 150, 66), (82, 132, 72), (132, 160, 78), (70, 116, 60), (142, 150, 82))
WALLS = ((214, 196, 170), (176, 198, 196), (222, 186, 176), (150, 168, 190))
WALLS += ((196, 204, 168), (120, 104, 110), (236, 226, 208), (206, 160, 110))
WOODS = ((176, 124, 78), (138, 92, 58), (204, 164, 118), (110, 78, 60))
FABRICS = ((178, 70, 64), (70, 104, 146), (206, 150, 62), (96, 132, 104))
FABRICS += ((140, 92, 140), (222, 206, 180), (84, 80, 96), (220, 140, 130))


class Sheet:
    """A background drawn two times too large, measured in parts of its own size."""

    def __init__(self, size, rng):
        self.rng = rng
        self.size = (2 * size[0], 2 * size[1])
        self.image = Image.new("RGB", self.size)
        self.pen = ImageDraw.Draw(self.image)

    def fade(self, top, bottom, above, below):
        """Fill the band between two heights from one colour to another."""
        y0, y1 = int(above * self.size[1]), int(np.ceil(below * self.size[1]))
        steps = np.linspace(0, 1, max(2, y1 - y0))[:, None, None]
        ramp = np.asarray(top) * (1 - steps) + np.asarray(bottom) * steps
        band = Image.fromarray(ramp.astype(np.uint8))
        self.image.paste(band.resize((self.size[0], y1 - y0)), (0, y0))

    def shape(self, points, colour):
        self.pen.polygon((np.asarray(points) * self.size).ravel().tolist(), fill=colour)

    def box(self, left, top, right, bottom, colour):
        self.shape([(left, top), (right, top), (right, bottom), (left, bottom)], colour)

    def disc(self, x, y, radius, colour, squash=1.0):
        aspect = self.size[0] / self.size[1]
        self.shape(
            curves.ellipse(x, y, radius, radius * aspect * squash, count=24), colour
        )

    def ridge(self, height, bumps, colour):
        """Fill everything below an uneven line, such as a row of hills."""
        x = np.linspace(-0.1, 1.1, 9)
        y = height + self.rng.uniform(-bumps, bumps, 9)
        line = curves.smooth(np.stack([x, y], 1), 5, closed=False)
        self.shape(np.concatenate([line, [(1.2, 1.1), (-0.2, 1.1)]]), colour)

    def blades(self, count, top, colours, tall=0.06):
        """Scatter blades of grass, larger towards the viewer."""
        for depth in np.sort(self.rng.uniform(0, 1, count)):
            x, y = self.rng.uniform(0, 1), top + depth * (1.05 - top)
            length = tall * (0.35 + depth)
            lean = self.rng.normal(0, 0.25) * length
            foot = 0.004 + 0.004 * depth
            blade = [(x - foot, y), (x + foot, y), (x + lean, y - length)]
            self.shape(blade, pick(self.rng, colours))

    def specks(self, count, top, bottom, colours, low, high, squash=1.0):
        """Scatter small discs: petals, pebbles, leaves, lights."""
        for _ in range(count):
            x, y = self.rng.uniform(0, 1), self.rng.uniform(top, bottom)
            radius = self.rng.uniform(low, high)
            self.disc(x, y, radius, pick(self.rng, colours), squash)
