"""What lesson 11 says of drawn days and nights holds whatever is drawn."""

import pathlib

import keras
import nbformat
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

import keras_transfer as kt
from keras_transfer.lessons.exercises import lesson_cells
from keras_transfer.samples import animals, pets

NOTEBOOK = pathlib.Path(__file__).parent.parent.parent / "notebooks"
NOTEBOOK /= "11_from_drawings_to_photos.ipynb"
COUNT, SIZE = 120, 128
LABELS = np.arange(COUNT) % 2


@pytest.fixture(scope="module")
def lesson():
    """Return the functions of the lesson."""
    names = {"np": np, "keras": keras, "LogisticRegression": LogisticRegression}
    cells = lesson_cells(nbformat.read(NOTEBOOK, 4))
    sources = [cell.source for cell in cells if cell.cell_type == "code"]
    for mark in ("joined", "scaled", "linear_head", "own_scaling", "self_taught"):
        source = next(each for each in sources if f"def {mark}(" in each)
        exec(source.partition("\n\n\nat_home")[0].partition("\nat_home")[0], names)
    source = next(each for each in sources if "def re_estimate(" in each)
    exec(source.partition("as_it_was")[0], names)
    return names


def drawn(seed):
    """Return animals by day, and the same ones at night."""
    days = [animals.draw_cat_or_dog(index, seed)[0] for index in range(COUNT)]
    nights = [pets._at_night(day, np.random.default_rng([seed])) for day in days]
    return [
        np.stack([np.asarray(image.resize((SIZE, SIZE)), "float32") for image in each])
        for each in (days, nights)
    ]


def test_night_takes_ten_points_and_adaptation_brings_half_of_them_back(lesson):
    """Of three times other animals by day, and others at night."""
    backbone = kt.build_backbone("efficientnet_lite0", image_size=SIZE)
    as_it_was = backbone.get_weights()

    def features_of(images):
        parts = (backbone(part, training=False) for part in np.split(images, 4))
        return np.concatenate([np.asarray(part).mean((1, 2)) for part in parts])

    right = {"by day": [], "at night": [], "adapted": []}
    for seed in (0, 2, 4):
        ours = features_of(drawn(seed)[0])
        day, night = drawn(seed + 1)
        plain = lesson["source_only"](ours, LABELS, None)
        answers = {
            "by day": plain(features_of(day), None),
            "at night": plain(features_of(night), None),
        }
        lesson["re_estimate"](backbone, night, 4)
        again = features_of(night)
        backbone.set_weights(as_it_was)
        answers["adapted"] = lesson["self_training"](ours, LABELS, again)(again, again)
        for name, each in answers.items():
            right[name].append((each.argmax(axis=1) == LABELS).mean())
        assert right["at night"][-1] < right["by day"][-1]
        assert right["adapted"][-1] > right["at night"][-1]
    by_day, at_night, adapted = (np.mean(found) for found in right.values())
    assert at_night < by_day - 0.1
    assert adapted - at_night > (by_day - at_night) / 2
