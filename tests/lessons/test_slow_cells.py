"""The table of cells that run once in tests names cells that there are."""

import pathlib

import nbformat
import pytest

from tests.helpers.slow_cells import SLOW_CELLS

NOTEBOOKS = pathlib.Path(__file__).parent.parent.parent / "notebooks"


@pytest.mark.parametrize("name", SLOW_CELLS)
def test_slow_cells_are_there(name):
    cells = nbformat.read(NOTEBOOKS / f"{name}.ipynb", 4).cells
    code = {cell.id for cell in cells if cell.cell_type == "code"}
    assert SLOW_CELLS[name] <= code
    # Most of a lesson is run twice, as learners do.
    assert len(SLOW_CELLS[name]) < len(code) / 4
