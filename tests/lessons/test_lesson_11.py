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
# Of this size, a picture costs half of what it costs in the lesson.
COUNT, SIZE = 100, 96
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


@pytest.fixture(scope="module")
def backbone():
    return kt.build_backbone("efficientnet_lite0", image_size=SIZE)


def drawn(seed):
    """Return animals by day, and the same ones at night."""
    days = [animals.draw_cat_or_dog(index, seed)[0] for index in range(COUNT)]
    nights = [
        pets._at_night(day, np.random.default_rng([seed, index, 1]))
        for index, day in enumerate(days)
    ]
    return [
        np.stack([np.asarray(image.resize((SIZE, SIZE)), "float32") for image in each])
        for each in (days, nights)
    ]


def test_normalizations_are_anew_and_all_else_as_it_was(lesson, backbone):
    norms = [
        layer
        for layer in backbone.layers
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    before = {norm: norm.get_weights() for norm in norms}
    as_it_was, momentum = backbone.get_weights(), [norm.momentum for norm in norms]
    convolution = next(
        layer for layer in backbone.layers if isinstance(layer, keras.layers.Conv2D)
    )
    entering = keras.Model(backbone.inputs, convolution.output)
    images = np.random.default_rng(0).uniform(0, 255, (128, SIZE, SIZE, 3))
    batches = [np.asarray(entering([images[start : start + 64]])) for start in (0, 64)]
    for first, anew in ((4, norms[:4]), (None, norms)):
        lesson["re_estimate"](backbone, images, first)
        changed = []
        for norm in norms:
            *trained, mean, variance = norm.get_weights()
            *trained_before, mean_before, variance_before = before[norm]
            for now, then in zip(trained, trained_before, strict=True):
                assert np.array_equal(now, then)
            if not np.array_equal(mean, mean_before):
                assert not np.array_equal(variance, variance_before)
                changed.append(norm)
        assert changed == anew
        *_, mean, variance = norms[0].get_weights()
        for found, of in ((mean, np.mean), (variance, np.var)):
            expected = np.mean([of(batch, axis=(0, 1, 2)) for batch in batches], axis=0)
            assert np.allclose(found, expected, rtol=1e-3, atol=1e-4)
        assert momentum == [norm.momentum for norm in norms]
        backbone.set_weights(as_it_was)


@pytest.mark.slow
def test_night_takes_ten_points_and_adaptation_brings_half_of_them_back(
    lesson, backbone
):
    """Of three times a hundred animals: one by day, another by day and at night."""
    as_it_was = backbone.get_weights()

    def features_of(images):
        parts = (backbone(part, training=False) for part in np.split(images, 4))
        return np.concatenate([np.asarray(part).mean((1, 2)) for part in parts])

    by_day, at_night, again = [], [], []
    for seed in range(3):
        day, night = drawn(seed)
        by_day.append(features_of(day))
        at_night.append(features_of(night))
        lesson["re_estimate"](backbone, night, 4)
        again.append(features_of(night))
        backbone.set_weights(as_it_was)
    right = {"by day": [], "at night": [], "adapted": []}
    for ours, other in ((0, 1), (1, 2), (2, 0)):
        plain = lesson["source_only"](by_day[ours], LABELS, None)
        known = by_day[ours], LABELS, again[other]
        answers = {
            "by day": plain(by_day[other], None),
            "at night": plain(at_night[other], None),
            "adapted": lesson["self_training"](*known)(again[other], again[other]),
        }
        for name, each in answers.items():
            right[name].append((each.argmax(axis=1) == LABELS).mean())
        assert right["at night"][-1] < right["by day"][-1]
        assert right["adapted"][-1] > right["at night"][-1]
    day, night, adapted = (np.mean(found) for found in right.values())
    assert night < day - 0.1
    assert adapted - night > (day - night) / 2
