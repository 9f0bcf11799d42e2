"""Whole pictures: size, light, grain and the final composition."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from keras_transfer.samples import curves
from keras_transfer.samples.canvas import pick

# Red, green and blue gain: neutral, warm, cool, golden hour, overcast.
_LIGHTS = ((1, 1, 1), (1.07, 1.0, 0.88), (0.91, 0.99, 1.09), (1.12, 0.97, 0.8))
_LIGHTS += ((0.96, 0.98, 1.0),)


def draw_size(rng) -> tuple[int, int]:
    """Return a picture size near 192 x 160, a little wider or taller."""
    width = int(rng.integers(168, 209))
    return width, int(np.clip(width * rng.uniform(0.74, 1.06), 144, 192))


def compose(background, layers, rng, ground=None) -> Image.Image:
    """Return the finished picture.

    Args:
        background: RGB picture.
        layers: Layers from the farthest to the nearest; the first is the subject.
        rng: The picture's `numpy.random.Generator`.
        ground: `(x, y, radius)` of the subject's shadow on the ground, in pixels.
    """
    if ground:
        x, y, radius = ground
        shade = Image.new("L", background.size)
        outline = curves.ellipse(x, y, radius, radius * 0.22)
        ImageDraw.Draw(shade).polygon(outline.ravel().tolist(), fill=120)
        shade = shade.filter(ImageFilter.GaussianBlur(4))
        background.paste((24, 20, 34), (0, 0), shade)
    pixels = np.asarray(background, np.float32)
    for layer in layers:
        colours, cover = layer.reduced()
        pixels = pixels * (1 - cover) + colours
    return _graded(pixels, rng, layers[0].light)


def _graded(pixels, rng, light) -> Image.Image:
    """Return the picture under a random light, with vignette and film grain."""
    height, width = pixels.shape[:2]
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None]
    exposure = (
        rng.uniform(0.92, 1.18) if rng.random() < 0.86 else rng.uniform(0.45, 0.7)
    )
    field = 1 + rng.uniform(0, 0.28) * (light[0] * x + light[1] * y)
    field -= rng.uniform(0, 0.18) * (x * x + y * y) / 2
    gains = np.float32(pick(rng, _LIGHTS)) * np.float32(exposure)
    pixels = pixels * field[..., None] * gains
    if rng.random() < 0.18:
        # Sun into the lens: a warm veil that eats contrast from one corner.
        glow = np.exp(-((x - light[0]) ** 2 + (y - light[1]) ** 2) / 1.1)[..., None]
        veil = np.float32((255, 232, 190))
        pixels = pixels + (veil - pixels) * glow * rng.uniform(0.25, 0.6)
    grey = pixels.mean(2, keepdims=True)
    pixels = grey + (pixels - grey) * rng.uniform(0.95, 1.35)
    pixels = (pixels - 120) * rng.uniform(0.9, 1.14) + 120
    grain = rng.standard_normal((height, width, 1), np.float32) * rng.uniform(1, 4)
    image = Image.fromarray((pixels + grain).clip(0, 255).astype(np.uint8))
    if exposure > 0.8 and rng.random() < 0.08:
        # A few pictures are out of focus, as in every album.
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.8, 1.8)))
    return image
