"""Pictures of cats and dogs."""

from collections.abc import Iterator

import numpy as np
from PIL import Image

from keras_transfer.samples import (
    bodies,
    cats,
    clutter,
    coats,
    curves,
    dogs,
    limbs,
    pictures,
    scenes,
)
from keras_transfer.samples.canvas import Layer, darker, pick

CATS_VS_DOGS_LABELS = ("cat", "dog")

# Probability of each of coats.PATTERNS.
_CAT_COATS = (0.38, 0.16, 0.2, 0.14, 0.02, 0.1)
_DOG_COATS = (0.06, 0.26, 0.2, 0.2, 0.2, 0.08)

# Pose, height of the standing figure in its own units, and probability. Both
# classes share them, so that the place of the animal says nothing about it.
_POSES = (
    (bodies.portrait, 2.6, 0.3),
    (bodies.sit_front, 3.3, 0.2),
    (bodies.sit_side, 3.3, 0.18),
    (bodies.lie, 2.5, 0.1),
    (bodies.loaf, 2.3, 0.1),
    (bodies.walk, 3.0, 0.12),
)
_PROFILE_POSES = (bodies.sit_side, bodies.lie, bodies.walk)
_COLLARS = ((196, 60, 56), (60, 110, 170), (230, 180, 70), (80, 150, 100))


def draw_cats_vs_dogs(num_images: int, seed: int) -> Iterator[tuple[Image.Image, int]]:
    """Draw cats (label 0) and dogs (label 1) in turn.

    Every image depends on `seed` and its index alone, not on `num_images`.

    Args:
        num_images: Number of images, 0 or more.
        seed: Seed of the generator, 0 or more.

    Yields:
        RGB image of about 192 x 160 pixels, and its label.

    Example:
        >>> image, label = next(draw_cats_vs_dogs(1, seed=0))
        >>> label
        0
    """
    return (draw_cat_or_dog(index, seed) for index in range(num_images))


def draw_cat_or_dog(index: int, seed: int) -> tuple[Image.Image, int]:
    """Draw one picture of `draw_cats_vs_dogs`."""
    image, label, _ = draw_with_layers(index, seed)
    return image, label


def draw_with_layers(index: int, seed: int) -> tuple[Image.Image, int, list[Layer]]:
    """Draw one picture of `draw_cats_vs_dogs`, and return the sheets it is made of.

    The first of them is the animal, the others are what lies in front of it.
    """
    label = index % len(CATS_VS_DOGS_LABELS)
    image, layers = _draw_animal(label, np.random.default_rng([seed, index]))
    return image, label, layers


def _draw_animal(
    label: int, rng: np.random.Generator
) -> tuple[Image.Image, list[Layer]]:
    size = width, height = pictures.draw_size(rng)
    background = scenes.draw_scene(size, rng)
    light = (rng.choice((-1, 1)) * rng.uniform(0.3, 0.9), -rng.uniform(0.5, 0.9))
    layer = Layer(size, rng, light)
    pose, units, _ = _POSES[rng.choice(len(_POSES), p=[p[2] for p in _POSES])]
    angle, flip = rng.normal(0, 0.06), bool(rng.random() < 0.5)
    if pose is bodies.portrait:
        scale = height * rng.uniform(0.26, 0.4)
        x, y = width * rng.uniform(0.34, 0.66), height * rng.uniform(0.46, 0.62)
        angle, ground = rng.normal(0, 0.14), None
    else:
        scale = height * rng.uniform(0.55, 0.98) / units
        scale = min(scale, width * 0.98 / 3.6)
        x, y = width * rng.uniform(0.36, 0.64), height * rng.uniform(0.86, 1.02)
        ground = (x, y, scale * 1.5)
    place = layer.frame(x, y, scale, angle, flip)
    view = "front"
    if pose in _PROFILE_POSES and rng.random() < 0.5:
        view = "profile"
    if label == 0:
        _draw_cat(layer, place, pose, view)
    else:
        _draw_dog(layer, place, pose, view)
    layers = [layer, *clutter.draw_foreground(size, rng, light, 0.45)]
    return pictures.compose(background, layers, rng, ground), layers


def _head_place(layer, head, view):
    """Return the frame of a head with a little tilt of its own."""
    return head.at(0, 0, angle=layer.rng.normal(0, 0.07 if view == "profile" else 0.1))


def _draw_cat(layer, place, pose, view):
    rng = layer.rng
    coat = coats.draw_coat(rng, _CAT_COATS)
    head_size = rng.uniform(0.62, 0.74)
    build = limbs.Build(0.24, rng.uniform(0.9, 1.08), "cat", head_size, 0.02)
    head = _head_place(layer, pose(layer, place, coat, build), view)
    _neck_shadow(layer, head, pose)
    if view == "profile":
        cats.draw_profile(layer, head, coat)
    else:
        cats.draw_front(layer, head, coat, rng.uniform(-1, 1))


def _draw_dog(layer, place, pose, view):
    rng = layer.rng
    coat = coats.draw_coat(rng, _DOG_COATS)
    breed = dogs.draw_breed(rng)
    head_size, neck = rng.uniform(0.6, 0.7), rng.uniform(0.02, 0.14)
    build = limbs.Build(0.28, rng.uniform(0.95, 1.12), breed.tail, head_size, neck)
    head = _head_place(layer, pose(layer, place, coat, build), view)
    _neck_shadow(layer, head, pose)
    if view == "profile":
        dogs.draw_profile(layer, head, coat, breed)
    else:
        dogs.draw_front(layer, head, coat, breed, rng.uniform(-1, 1))


def _neck_shadow(layer, head, pose):
    """Darken the chest below the head, and sometimes put a collar there."""
    rng = layer.rng
    if rng.random() < 0.4:
        half = 0.8 if pose is bodies.portrait else 0.62
        band = [(-half, 0.72), (0, 1.02), (half, 0.72)]
        colour = pick(rng, _COLLARS)
        layer.part(head(curves.ribbon(band, (0.17, 0.2, 0.17))), colour, relief=0.6)
        tag = curves.ellipse(0, 1.2, 0.11, count=16)
        layer.part(head(tag), (226, 190, 90), relief=0.9)
        layer.flat(head(curves.ellipse(0, 1.2, 0.04, count=10)), darker(colour, 0.4))
    softness = max(1.0, head.scale / 3 * 0.1)
    layer.shadow(head(curves.ellipse(0, 0.35, 0.8, 0.75)), 0.4, softness)
