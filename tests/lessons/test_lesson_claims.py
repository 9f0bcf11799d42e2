"""A lesson fails when it stops being true, and shows the figures that it draws."""

import json
import os
import pathlib

import nbformat
import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer.lessons.exercises import lesson_cells
from keras_transfer.lessons.kernel import Progress, execute
from tests.helpers.tiny_training import SIZE, draw_photos

NOTEBOOKS = pathlib.Path(__file__).parent.parent.parent / "notebooks"
LESSONS = sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))
SHUFFLE = """
import dataclasses
shuffled = np.random.default_rng(0).permutation(features.train.labels)
features = dataclasses.replace(features, train=features.train._replace(labels=shuffled))
"""
# What the band does not need: the second extraction and the curve of training runs.
SLOW = (
    "snippet_features",
    "linear_probe(features), linear_probe(snippet",
    "splits.test, snippet",
    "by_scratch",
    "show_learning_curve",
)
STAND_IN = "snippet_accuracy, from_scratch, from_features = 0.5, [0.5], [0.5]"


@pytest.fixture(scope="module")
def ended():
    """Run lesson 1, then what follows its features again with shuffled labels.

    Returns:
        Whether the run came to the labels that are shuffled, and why it failed.
    """
    notebook = nbformat.read(NOTEBOOKS / "01_feature_extraction.ipynb", 4)
    sources = [
        cell.source
        for cell in lesson_cells(notebook)
        if cell.cell_type == "code"
        and not any(part in cell.source for part in SLOW)
        and ("from_features" not in cell.source or "kt.record" in cell.source)
    ]
    (features,) = (
        i
        for i, source in enumerate(sources)
        if "kt.extract_features(backbone" in source
    )
    first, rest = sources[: features + 1], sources[features + 1 :]
    sources = [*first, STAND_IN, *rest, SHUFFLE, *rest]
    notebook.cells = [nbformat.v4.new_code_cell(source) for source in sources]
    failure = run(notebook)
    shuffle = notebook.cells[len(first) + 1 + len(rest)]
    return bool(shuffle.execution_count), failure


def run(notebook) -> str | None:
    """Run a notebook where the lessons lie; return its error."""
    progress = Progress("test")
    start = {"cwd": str(NOTEBOOKS), "env": dict(os.environ)}
    return execute(notebook, start, cell_timeout=300, progress=progress)


@pytest.mark.slow
def test_true_labels_are_inside_the_band(ended):
    came_through, failure = ended
    assert came_through, failure


@pytest.mark.slow
def test_shuffled_labels_fall_out_of_the_band(ended):
    came_through, failure = ended
    assert came_through
    assert failure is not None
    assert "outside its band" in failure


@pytest.mark.parametrize("profile", ["quick", "lesson"])
def test_every_lesson_declares_bands(profile):
    bands = json.loads((NOTEBOOKS / "bands.json").read_text(encoding="utf-8"))
    assert len(LESSONS) >= 7
    for path in LESSONS:
        assert bands[path.stem][profile]


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_every_lesson_proves_what_it_claims(path):
    cells = lesson_cells(nbformat.read(path, 4))
    assert any("kt.verify.assert_" in c.source for c in cells if c.cell_type == "code")


@pytest.mark.slow
def test_each_cell_that_draws_shows_its_figure():
    draw = "import keras_transfer as kt\nkt.plots.show_images([]);"
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(draw) for _ in range(3)]
    )
    assert run(notebook) is None
    for cell in notebook.cells:
        assert any("image/png" in output.get("data", {}) for output in cell.outputs)


def test_photos_of_equal_names_are_two_in_lesson_7(tmp_path, capsys):
    """Nothing names groups in most folders, and each class has its 00.png."""
    names = {
        "kt": kt,
        "np": np,
        "profile": kt.profile("quick"),
        "practice": None,
        "clean": draw_photos(tmp_path / "photos"),
        "groups": None,
        "size": SIZE,
    }
    notebook = nbformat.read(NOTEBOOKS / "07_your_own_images.ipynb", 4)
    code = [c.source for c in lesson_cells(notebook) if c.cell_type == "code"]
    cells = [source for source in code if "known_groups(" in source]
    assert len(cells) == 2
    for source in cells:
        exec(source, names)
    assert "groups kept together 0%" in capsys.readouterr().out
