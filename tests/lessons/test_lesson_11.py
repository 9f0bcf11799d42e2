"""What lesson 11 says of drawn days and nights holds whatever is drawn."""

import io
import pathlib

import keras
import nbformat
import numpy as np
import pytest
from PIL import Image

import keras_transfer as kt
from keras_transfer.features.inference import frozen_network
from keras_transfer.lessons.exercises import lesson_cells
from keras_transfer.samples import animals, pets

NOTEBOOK = pathlib.Path(__file__).parent.parent.parent / "notebooks"
NOTEBOOK /= "11_from_drawings_to_photos.ipynb"
COUNT, SIZE = 120, 128
LABELS = np.arange(COUNT) % 2


@pytest.fixture(scope="module")
def lesson():
    """Return the functions of the lesson."""
    names = {"np": np, "keras": keras, "kt": kt}
    cells = lesson_cells(nbformat.read(NOTEBOOK, 4))
    sources = [cell.source for cell in cells if cell.cell_type == "code"]
    for mark in ("joined", "scaled", "linear_head", "own_scaling", "self_taught"):
        source = next(each for each in sources if f"def {mark}(" in each)
        exec(source.partition("\n\n\nat_home")[0].partition("\nat_home")[0], names)
    source = next(each for each in sources if "def re_estimate(" in each)
    exec(source.partition("as_it_was")[0], names)
    return names


def pixels(image):
    small = image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    return np.asarray(small, "float32")


def by_day(seed):
    drawn = (animals.draw_cat_or_dog(index, seed) for index in range(COUNT))
    return np.stack([pixels(image) for image, _ in drawn])


def at_night(seed):
    files = (pets.draw_pet_at_night(index, seed)[0] for index in range(COUNT))
    return np.stack(
        [pixels(Image.open(io.BytesIO(pets.unpacked(file)["image"]))) for file in files]
    )


def test_night_takes_ten_points_and_adaptation_brings_half_of_them_back(lesson):
    """Of three times other animals by day, and others at night."""
    backbone = kt.build_backbone("efficientnet_lite0", image_size=SIZE)
    as_it_was = backbone.get_weights()

    def features_of(images):
        shape = (SIZE, SIZE, 3)
        return frozen_network(backbone, shape, "float32", pooled=True)(images)

    home, plain, adapted = [], [], []
    for seed in (0, 2, 4):
        night = at_night(seed + 1)
        ours, theirs = features_of(by_day(seed)), features_of(night)
        lesson["re_estimate"](backbone, night, 4)
        again = features_of(night)
        backbone.set_weights(as_it_was)
        even = np.arange(COUNT) // 2 % 2 == 0
        half = lesson["source_only"](ours[even], LABELS[even], None)
        known = half(ours[~even], None).argmax(axis=1) == LABELS[~even]
        home.append(known.mean())
        for way, found in (
            (lesson["source_only"](ours, LABELS, None)(theirs, None), plain),
            (lesson["self_training"](ours, LABELS, again)(again, again), adapted),
        ):
            found.append((way.argmax(axis=1) == LABELS).mean())
        assert plain[-1] < home[-1] - 0.05
        assert adapted[-1] > plain[-1]
    lost = np.mean(home) - np.mean(plain)
    assert lost > 0.1
    assert np.mean(adapted) - np.mean(plain) > lost / 2
