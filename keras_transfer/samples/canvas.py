"""Layers: shaded, furred shapes drawn three times too large and then reduced."""

import functools
import math

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from keras_transfer.samples import curves

# Shapes are drawn this many times larger than the picture: reducing them again is
# what antialiases every edge.
OVERSAMPLE = 3

# The relief of a shape needs no detail, so it is made on a grid this much coarser.
_COARSE = 6

# Nobody sees the relief of a shape smaller than this, in oversampled pixels.
_TINY = 48


def mix(first, second, amount: float) -> tuple[int, int, int]:
    """Return the colour that is `amount`, 0 to 1, of the way to `second`."""
    (red, green, blue), (red_to, green_to, blue_to) = first, second
    return (
        round(red + (red_to - red) * amount),
        round(green + (green_to - green) * amount),
        round(blue + (blue_to - blue) * amount),
    )


def darker(colour, amount: float) -> tuple[int, int, int]:
    """Return the colour moved towards a warm black."""
    return mix(colour, (22, 14, 16), amount)


def lighter(colour, amount: float) -> tuple[int, int, int]:
    """Return the colour moved towards a warm white."""
    return mix(colour, (255, 250, 240), amount)


def pick(rng, items):
    """Return one of `items`."""
    return items[int(rng.integers(len(items)))]


def _coordinates(points) -> list[float]:
    return np.asarray(points).ravel().tolist()


@functools.cache
def _fur() -> Image.Image:
    """Return a large grey tile of short, mostly upright strands around 128."""
    rng = np.random.default_rng(7)
    total = np.zeros((900, 900), np.float32)
    for columns, rows, weight in ((450, 90, 1.0), (225, 50, 0.9), (60, 60, 0.6)):
        noise = rng.normal(128, 40, (rows, columns)).clip(0, 255).astype(np.uint8)
        tile = Image.fromarray(noise).resize((900, 900), Image.Resampling.BICUBIC)
        total += weight * (np.asarray(tile, np.float32) - 128)
    return Image.fromarray((128 + total * (24 / total.std())).clip(0, 255).astype("u1"))


class Layer:
    """A transparent sheet of shapes, lit from one side.

    Args:
        size: `(width, height)` of the picture in pixels.
        rng: The picture's `numpy.random.Generator`.
        light: `(x, y)` direction towards the light; y is negative for above.
    """

    def __init__(self, size, rng, light=(-0.5, -0.85)):
        self.size = size
        self.rng = rng
        self.light = np.asarray(light, float) / np.linalg.norm(light)
        large = (size[0] * OVERSAMPLE, size[1] * OVERSAMPLE)
        self._blur = None
        self._colours = Image.new("RGB", large)
        self._cover = Image.new("L", large)
        self._pens = ImageDraw.Draw(self._colours), ImageDraw.Draw(self._cover)
        self._noted = {}
        self._body = None

    def frame(self, x, y, scale, angle=0.0, flip=False) -> curves.Frame:
        """Return a frame given in picture pixels on the oversampled sheet."""
        place = np.array([x, y]) * OVERSAMPLE
        return curves.frame(*place, scale * OVERSAMPLE, angle, flip)

    def flat(self, points, colour) -> None:
        """Draw an evenly coloured shape."""
        flattened = _coordinates(points)
        self._pens[0].polygon(flattened, fill=colour)
        self._pens[1].polygon(flattened, fill=255)

    def line(self, points, colour, width: float = 1.0) -> None:
        """Draw a line `width` picture pixels wide."""
        thick = max(1, round(width * OVERSAMPLE))
        flattened = _coordinates(points)
        self._pens[0].line(flattened, colour, thick)
        self._pens[1].line(flattened, 255, thick)

    def part(self, points, colour, marks=(), relief=0.7, fur=0.0, opacity=1.0) -> None:
        """Draw a rounded shape: lit on one side, dark on the other, maybe furred.

        Args:
            points: Outline in pixels of the oversampled sheet.
            colour: RGB colour.
            marks: `(outline, colour)` pairs painted on the shape and cut off at
                its edge: stripes, patches, veins.
            relief: How round the shape looks, from 0 to 1.
            fur: How visible the strands of fur are, from 0 to 1.
            opacity: 1 hides what lies below, 0 shows it.
        """
        points = np.asarray(points)
        low = np.maximum(np.floor(points.min(0)).astype(int), 0)
        high = np.minimum(np.ceil(points.max(0)).astype(int) + 1, self._cover.size)
        if (high - low < 2).any():
            return
        box, extent = (*low.tolist(), *high.tolist()), tuple((high - low).tolist())
        mask = Image.new("L", extent)
        ImageDraw.Draw(mask).polygon(
            _coordinates(points - low), fill=int(255 * opacity)
        )
        tile = Image.new("RGB", extent, tuple(colour))
        pen = ImageDraw.Draw(tile)
        for outline, mark_colour in marks:
            pen.polygon(_coordinates(outline - low), fill=tuple(mark_colour))
        if max(extent) > _TINY:
            shade = self._relief(points - low, extent, relief)
            if fur:
                shade = self._furred(shade, fur)
            tile = ImageChops.hard_light(tile, Image.merge("RGB", [shade] * 3))
        self._colours.paste(tile, box, mask)
        self._cover.paste(255, box, mask)
        self._hide(low, mask)

    def _relief(self, points, extent, relief) -> Image.Image:
        """Return light and shade around 128 for a shape bulging towards the viewer."""
        span = points.max(0) - points.min(0)
        radius = max(1.0, float(span.min()) / _COARSE * 0.17)
        border = int(3 * radius) + 2
        grid = [int(np.ceil(length / _COARSE)) + 2 * border for length in extent]
        hill = Image.new("L", grid)
        small = points / _COARSE + border
        ImageDraw.Draw(hill).polygon(_coordinates(small), fill=255)
        hill = hill.filter(ImageFilter.GaussianBlur(radius))
        width, height = extent[0] / _COARSE, extent[1] / _COARSE
        coarse = (math.ceil(width) + 1, math.ceil(height) + 1)

        def shifted(step):
            left, top = border - step * self.light * radius
            return hill.resize(
                coarse,
                Image.Resampling.BILINEAR,
                (left, top, left + width, top + height),
            )

        strength = 1.75 / max(relief, 1e-3)
        offset = int(130 - 8 * relief)
        slope = ImageChops.subtract(shifted(1), shifted(-1), strength, offset)
        return slope.resize(extent, Image.Resampling.BICUBIC)

    def _furred(self, shade, fur) -> Image.Image:
        fur_tile = _fur()
        left = int(self.rng.integers(max(1, fur_tile.width - shade.width)))
        top = int(self.rng.integers(max(1, fur_tile.height - shade.height)))
        strands = fur_tile.crop((left, top, left + shade.width, top + shade.height))
        grey = Image.new("L", shade.size, 128)
        return ImageChops.add(
            shade, Image.blend(grey, strands, 0.55 * fur), offset=-128
        )

    def shadow(self, points, strength: float, softness: float) -> None:
        """Darken what is drawn so far under a blurred shape (head over chest)."""
        points = np.asarray(points)
        spread = softness * OVERSAMPLE
        low = np.maximum((points.min(0) - 3 * spread).astype(int), 0)
        high = np.minimum((points.max(0) + 3 * spread).astype(int), self._cover.size)
        if (high - low < _COARSE).any():
            return
        extent = tuple((high - low).tolist())
        soft = Image.new("L", (extent[0] // _COARSE, extent[1] // _COARSE))
        pen = ImageDraw.Draw(soft)
        pen.polygon(_coordinates((points - low) / _COARSE), fill=int(255 * strength))
        soft = soft.filter(ImageFilter.GaussianBlur(spread / _COARSE))
        soft = soft.resize(extent, Image.Resampling.BILINEAR)
        # Black keeps the sheet black wherever nothing covers it; see `reduced`.
        self._colours.paste((0, 0, 0), (*low.tolist(), *high.tolist()), soft)

    def end_body(self) -> None:
        """Leave what is drawn from now on, such as whiskers, out of `body`."""
        self._body = self._cover.copy()

    def body(self) -> np.ndarray:
        """Return the cover, 0 to 1, of the subject without hairs, as in `reduced`."""
        sheet = self._body or self._cover
        return np.asarray(sheet.reduce(OVERSAMPLE), np.float32) / 255

    def defocus(self, radius: float) -> None:
        """Blur the whole layer by `radius` picture pixels."""
        self._blur = ImageFilter.GaussianBlur(radius)

    def note(self, name: str, place, point, side=0, seen=True) -> None:
        """Remember where a part of the subject is: an eye, the tip of an ear.

        A part that is drawn over it afterwards hides it.

        Args:
            name: Name of the part.
            place: Frame in which `point` is given.
            point: `(x, y)` of the part.
            side: Of one of two, 1 if it lies on the right of a head that is not
                mirrored, -1 on the left. Its name gets the animal's own side, which
                is the other one of somebody who is faced.
            seen: Whether it is to be seen.
        """
        if side:
            mirrored = np.linalg.det(place.matrix) < 0
            name = f"{'left' if (side > 0) != mirrored else 'right'}_{name}"
        self._noted[name] = [place([point])[0], seen]

    def noted(self) -> dict[str, tuple[float, float, bool]]:
        """Return `(x, y, seen)` of each part that was noted, in picture pixels."""
        return {
            name: (*(point / OVERSAMPLE).tolist(), seen)
            for name, (point, seen) in self._noted.items()
        }

    def _hide(self, low, mask) -> None:
        for noted in self._noted.values():
            x, y = (noted[0] - low).astype(int).tolist()
            if 0 <= x < mask.width and 0 <= y < mask.height and mask.getpixel((x, y)):
                noted[1] = False

    def reduced(self) -> tuple[np.ndarray, np.ndarray]:
        """Return antialiased `(colours, cover)` at the size of the picture.

        Colours are 0 to 255 and already multiplied by the cover, because the
        uncovered sheet is black. Cover is 0 to 1, with a last axis of one channel.
        """
        sheets = self._colours.reduce(OVERSAMPLE), self._cover.reduce(OVERSAMPLE)
        if self._blur:
            sheets = [sheet.filter(self._blur) for sheet in sheets]
        colours, cover = (np.asarray(sheet, np.float32) for sheet in sheets)
        return colours, cover[..., None] / 255
