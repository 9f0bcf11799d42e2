"""Lesson 1 fails when it stops being true: its labels are shuffled, its band notices."""

import pathlib

import nbclient
import nbformat
import pytest

NOTEBOOKS = pathlib.Path(__file__).parent.parent / "notebooks"
SHUFFLE = """
import dataclasses
shuffled = np.random.default_rng(0).permutation(features.train.labels)
features = dataclasses.replace(features, train=features.train._replace(labels=shuffled))
"""
# What the band does not need: the second extraction and the curve of training runs.
SLOW = (
    "snippet_features",
    "linear_probe(features), linear_probe(snippet",
    "by_scratch",
)
STAND_IN = "snippet_accuracy, from_scratch, from_features = 0.5, [0.5], [0.5]"


def run_lesson(change: str) -> str | None:
    """Run lesson 1 with a cell added after its features; return why it failed."""
    notebook = nbformat.read(NOTEBOOKS / "01_feature_extraction.ipynb", 4)
    cells = []
    for cell in notebook.cells:
        if cell.cell_type != "code" or any(part in cell.source for part in SLOW):
            continue
        if "from_features" in cell.source and "kt.record" not in cell.source:
            continue
        if "show_" in cell.source and "fit_head" not in cell.source:
            continue
        cells.append(cell)
        if "kt.extract_features(backbone" in cell.source:
            cells.append(nbformat.v4.new_code_cell(f"{change}\n{STAND_IN}"))
    notebook.cells = cells
    client = nbclient.NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        resources={"metadata": {"path": str(NOTEBOOKS)}},
    )
    try:
        client.execute()
    except nbclient.exceptions.CellExecutionError as error:
        return str(error)
    return None


def test_true_labels_are_inside_the_band():
    assert run_lesson("") is None


def test_shuffled_labels_fall_out_of_the_band():
    failure = run_lesson(SHUFFLE)
    assert failure is not None
    assert "outside its band" in failure


@pytest.mark.parametrize("profile", ["quick", "lesson"])
def test_every_lesson_declares_bands(profile):
    import json

    bands = json.loads((NOTEBOOKS / "bands.json").read_text())
    for path in NOTEBOOKS.glob("0*.ipynb"):
        assert bands[path.stem][profile]
