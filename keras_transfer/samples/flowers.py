"""Pictures of daisies, dandelions, roses, sunflowers and tulips."""

from collections.abc import Iterator

import numpy as np
from PIL import Image

from keras_transfer.samples import blossoms, cups, foliage, scenes
from keras_transfer.samples.canvas import Layer, pick
from keras_transfer.samples.clutter import PLANTS, draw_foreground
from keras_transfer.samples.pictures import compose, draw_size

FLOWERS_LABELS = ("daisy", "dandelion", "roses", "sunflowers", "tulips")

_HEADS = (
    blossoms.draw_daisy,
    blossoms.draw_dandelion,
    cups.draw_rose,
    blossoms.draw_sunflower,
    cups.draw_tulip,
)

_GREENS = ((94, 142, 62), (74, 122, 66), (120, 152, 80), (86, 130, 84))


def draw_flowers(num_images: int, seed: int) -> Iterator[tuple[Image.Image, int]]:
    """Draw the five flowers of `FLOWERS_LABELS` in turn.

    Every image depends on `seed` and its index alone, not on `num_images`.

    Args:
        num_images: Number of images, 0 or more.
        seed: Seed of the generator, 0 or more.

    Yields:
        RGB image of about 192 x 160 pixels, and its label.

    Example:
        >>> labels = [label for _, label in draw_flowers(5, seed=0)]
        >>> labels
        [0, 1, 2, 3, 4]
    """
    return (draw_flower(index, seed) for index in range(num_images))


def draw_flower(index: int, seed: int) -> tuple[Image.Image, int]:
    """Draw one picture of `draw_flowers`."""
    label = index % len(FLOWERS_LABELS)
    return _draw_picture(label, np.random.default_rng([seed, index])), label


def _draw_picture(label: int, rng: np.random.Generator) -> Image.Image:
    size = draw_size(rng)
    background = scenes.draw_scene(size, rng)
    light = (rng.choice((-1, 1)) * rng.uniform(0.3, 0.9), -rng.uniform(0.5, 0.9))
    layers = [Layer(size, rng, light)]
    count = int(rng.choice((1, 2, 3, 5), p=(0.48, 0.24, 0.2, 0.08)))
    radius = min(size) * rng.uniform(0.15, 0.36) / count**0.36
    if rng.random() < 0.4:
        # Something else blooms behind: smaller, and out of focus.
        other = Layer(size, rng, light)
        neighbour = (label + int(rng.integers(1, 5))) % len(_HEADS)
        _draw_plants(other, neighbour, int(rng.integers(1, 3)), radius * 0.58)
        other.defocus(rng.uniform(0.8, 1.6))
        layers.insert(0, other)
    _draw_plants(layers[-1], label, count, radius)
    layers += draw_foreground(size, rng, light, 0.42, PLANTS)
    return compose(background, layers, rng)


def _draw_plants(layer, label, count, radius):
    """Draw some flowers of one kind with stems and leaves, perhaps in a vase."""
    rng, (width, height) = layer.rng, layer.size
    green, vase = pick(rng, _GREENS), rng.random() < 0.2
    foot = (width * rng.uniform(0.35, 0.65), height * (0.78 if vase else 1.05))
    heads = _head_places(rng, layer.size, count, radius, 0.58 if vase else 0.7)
    if not vase and label in (0, 1, 4):
        foliage.draw_low_leaves(layer, label, heads, green)
    for x, y, _ in heads:
        end = foot[0] if vase else x + rng.normal(0, 0.1) * width
        foliage.draw_stem(layer, label, (x, y), (end, foot[1]), radius, green)
    if vase:
        foliage.draw_vase(layer, foot)
    for x, y, scale in heads:
        lean = rng.normal(0, 0.25)
        tilt = rng.uniform(0.5, 1.0) if label != 4 else rng.uniform(0.9, 1.1)
        place = layer.frame(x, y, scale, lean).at(0, 0, stretch=(1, tilt))
        _HEADS[label](layer, place)


def _head_places(rng, size, count, radius, lowest):
    """Return `(x, y, radius)` of heads that overlap little, the highest first."""
    width, height = size
    places = []
    for _ in range(60):
        x = (
            width * rng.uniform(0.16, 0.84)
            if count > 1
            else width * rng.uniform(0.34, 0.66)
        )
        y = (
            height * rng.uniform(0.2, lowest)
            if count > 1
            else height * rng.uniform(0.34, 0.56)
        )
        apart = [np.hypot(x - p[0], y - p[1]) / (radius + p[2]) for p in places]
        if not apart or min(apart) > 0.82:
            places.append((x, y, radius * rng.uniform(0.8, 1.15)))
        if len(places) == count:
            break
    return sorted(places, key=lambda p: p[1])
