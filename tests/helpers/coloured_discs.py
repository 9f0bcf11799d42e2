"""A classifier that really works, made in a second: is the disc red or blue?

What it looks at is known, so its heat map can be held to that; and a green disc is none
of both.
"""

import io
import pathlib
import tempfile

import keras
import numpy as np
import tensorflow as tf
from PIL import Image, ImageDraw

import keras_transfer as kt

SIZE = 96
NAMES = ("blue", "red")
COLOURS = {"blue": (40, 70, 230), "red": (230, 50, 40), "green": (40, 210, 60)}


def draw_disc(colour: str, at: tuple[float, float] = (0.5, 0.5), seed: int = 0):
    """Return a dark photo, wider than high, of one disc in the middle or elsewhere."""
    rng = np.random.default_rng(seed)
    image = Image.fromarray(rng.integers(20, 60, (120, 160, 3), "uint8"))
    x, y = at[0] * image.width, at[1] * image.height
    radius = 20 + 8 * rng.random()
    box = (x - radius, y - radius, x + radius, y + radius)
    light = rng.uniform(0.7, 1)
    shade = tuple(int(part * light) for part in COLOURS[colour])
    ImageDraw.Draw(image).ellipse(box, fill=shade)
    return image


def jpeg(image: Image.Image) -> bytes:
    """Return the bytes of a JPEG file."""
    with io.BytesIO() as file:
        image.save(file, "JPEG", quality=92)
        return file.getvalue()


def save_disc_classifier(path: pathlib.Path) -> pathlib.Path:
    """Save a classifier with figures of a test, and a detector of other things."""
    images = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.Rescaling(1 / 255)(images)
    x = keras.layers.Conv2D(3, 1, activation="relu", name="block1_conv1")(x)
    x = keras.layers.MaxPooling2D(4, name="block1_pool")(x)
    backbone = keras.Model(images, x, name="discs")
    # How red, green and blue a place is, beyond grey.
    kernel = np.array([[2, -1, -1], [-1, 2, -1], [-1, -1, 2]], "float32").T
    backbone.get_layer("block1_conv1").set_weights([kernel[None, None], np.zeros(3)])
    model = kt.build_classifier(backbone, num_classes=2, share_backbone=True)
    head = model.layers[-1]
    head.set_weights([np.array([[-9, 9], [0, 0], [9, -9]], "float32"), np.zeros(2)])

    with tempfile.TemporaryDirectory() as folder:
        photos, labels = _photos(pathlib.Path(folder))
    dataset = tf.data.Dataset.from_tensor_slices((photos, labels)).batch(16)
    report = kt.evaluate_classifier(model, dataset, NAMES)
    features, _ = kt.pooled_features_of(model, dataset)
    return kt.save_classifier(
        model,
        path,
        NAMES,
        unknown=kt.fit_unknown_detector(features[::2], features[1::2]),
        details={"backbone": "discs", "test": kt.kept_figures(report)},
    )


def _photos(folder: pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    labels = np.arange(160) // 2 % 2
    photos = []
    for seed, label in enumerate(labels):
        path = folder / f"{seed}.jpg"
        path.write_bytes(jpeg(draw_disc(NAMES[label], rng.uniform(0.2, 0.8, 2), seed)))
        photos.append(kt.load_image(path, SIZE))
    return np.stack(photos), labels
