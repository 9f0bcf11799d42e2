"""Cats and dogs with what only who draws them knows: where each animal is."""

import io
import pickle

import numpy as np
from PIL import Image

from keras_transfer.samples import animals

# The animal's own left and right, as in COCO: it faces us, so they are swapped.
KEY_POINTS = ("nose", "left_eye", "right_eye", "left_ear", "right_ear")


def draw_pet(index: int, seed: int) -> tuple[bytes, int]:
    """Draw one picture of `draw_cats_vs_dogs`, with its annotations.

    Returns:
        What `unpacked` reads, and the label.
    """
    image, label, layers = animals.draw_with_layers(index, seed)
    return _packed(image, layers), label


def unpacked(example: bytes) -> dict:
    """Return PNG files of `image` and `mask`, and arrays `box` and `key_points`."""
    return pickle.loads(example)


def _packed(image: Image.Image, layers) -> bytes:
    mask = visible(layers)
    example = {
        "image": _png(image),
        "mask": _png(Image.fromarray(np.uint8(255) * mask)),
        "box": box_of(mask),
        "key_points": _key_points(layers[0], mask),
    }
    return pickle.dumps(example)


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "png", compress_level=1)
    return file.getvalue()


def visible(layers) -> np.ndarray:
    """Return where the subject, the first of the layers, is seen, without whiskers."""
    seen = layers[0].body()
    for front in layers[1:]:
        seen = seen * (1 - front.reduced()[1][..., 0])
    return seen >= 0.5


def box_of(mask: np.ndarray) -> np.ndarray:
    """Return `y_min, x_min, y_max, x_max` of what is true, as shares of the picture."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    height, width = mask.shape
    edges = (
        rows[0] / height,
        columns[0] / width,
        (rows[-1] + 1) / height,
        (columns[-1] + 1) / width,
    )
    return np.array(edges, "float32")


def _key_points(layer, mask) -> np.ndarray:
    """Return y, x and whether it is seen of each of `KEY_POINTS`."""
    height, width = mask.shape
    rows = []
    for name in KEY_POINTS:
        x, y, seen = layer.noted()[name]
        inside = 0 <= x < width and 0 <= y < height
        seen = seen and inside and mask[int(y), int(x)]
        rows.append((y / height, x / width, float(seen)))
    return np.array(rows, "float32")


def draw_pet_at_night(index: int, seed: int) -> tuple[bytes, int]:
    """Draw a picture as `draw_pet` does, at night."""
    image, label, layers = animals.draw_with_layers(index, seed)
    rng = np.random.default_rng([seed, index, 1])
    return _packed(_at_night(image, rng), layers), label


def _at_night(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return a picture in a tenth of the light, bluish, with a little noise.

    Nearly all of what it shows is left, at other numbers: a head that was trained by
    day fails, and adaptation without labels repairs it. More noise, a pencil or a
    print would take away what no adaptation can bring back.
    """
    pixels = np.asarray(image, np.float32)
    grey = pixels.mean(2, keepdims=True)
    pixels = (grey + (pixels - grey) * 0.25) / 255
    pixels = pixels**1.3 * 25.5 * np.float32((0.65, 0.84, 1.35)) + 4
    pixels += rng.normal(0, 0.5, pixels.shape)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
