"""What lesson 9 says of its drawn sentences holds whatever the seed."""

import pathlib

import keras
import nbformat
import numpy as np
import pytest

from keras_transfer.lessons.exercises import lesson_cells

NOTEBOOKS = pathlib.Path(__file__).parent.parent.parent / "notebooks"
SEEDS = (0, 1, 2)


@pytest.fixture(scope="module")
def cells():
    cells = lesson_cells(nbformat.read(NOTEBOOKS / "09_sentiment_with_bert.ipynb", 4))
    return [cell.source for cell in cells if cell.cell_type == "code"]


def run(cells, names, *marks):
    """Run the cells in which each of these marks occurs first."""
    for mark in marks:
        exec(next(source for source in cells if mark in source), names)


@pytest.fixture(scope="module")
def lesson(cells):
    """Return the names of the lesson, up to its frozen features."""
    names = {"test_texts": ["a film"]}
    run(cells, names, "import keras_hub", "MOOD_WORDS =", "TEMPLATES =")
    run(cells, names, "def draw_sentences", "folder = kt.weights_folder")
    run(cells, names, "def encode", "def reader")
    names["frozen_reader"] = names["reader"](names["bert"])
    return names


@pytest.fixture(scope="module", autouse=True)
def quiet_seed():
    """Leave the policy and the seed of the other tests as they were."""
    policy = keras.config.dtype_policy()
    yield
    keras.config.set_dtype_policy(policy)


def words_of(lesson, texts):
    moody = {word for each in lesson["MOOD_WORDS"].values() for word in each.split()}
    return moody & {word for text in texts for word in text.split()}


@pytest.mark.parametrize("seed", range(20))
def test_no_mood_word_of_the_test_occurs_in_training(lesson, seed):
    train, test = lesson["draw_splits"](seed)
    assert not words_of(lesson, train[0]) & words_of(lesson, test[0])
    assert len(words_of(lesson, test[0])) == 30
    for texts, moods, kinds in (train, test):
        assert len(set(texts)) == len(texts)
        assert moods.mean() == 0.5
        assert set(kinds) == {"words", "negation", "contrast"}
    again = lesson["draw_splits"](seed)
    assert np.array_equal(again[0][0], train[0])
    assert np.array_equal(again[1][0], test[0])


@pytest.mark.parametrize("seed", SEEDS)
def test_counting_words_is_near_chance_and_frozen_features_are_not(lesson, cells, seed):
    train, test = lesson["draw_splits"](seed)
    names = {**lesson, "train_texts": train[0], "train_labels": train[1]}
    names |= {"test_texts": test[0], "test_labels": test[1], "test_kinds": test[2]}
    run(cells, names, "counting = make_pipeline")
    assert names["right"]["counting words"].mean() <= 0.65
    for split, texts in (("train", train[0]), ("test", test[0])):
        features = names["predict"](names["frozen_reader"], texts)
        names[f"{split}_features"] = features
    probe = next(source for source in cells if "def probe" in source)
    exec(probe.partition("by_block = ")[0], names)
    right = names["probe"]()
    assert right.mean() >= 0.85
    # What the text of the lesson says of each kind.
    assert right[test[2] == "words"].mean() > 0.9
    assert right[test[2] == "negation"].mean() < right[test[2] == "words"].mean()
