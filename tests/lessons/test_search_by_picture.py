"""What lesson 13 reads and measures is what it says; functions as they stand there."""

import ast
import os
import pathlib
import re

import nbformat
import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import average_precision_score

import keras_transfer as kt

HERE = pathlib.Path(__file__).parent
NOTEBOOK = HERE.parent.parent / "notebooks" / "13_search_by_picture.ipynb"
FUNCTIONS = {"find_groceries", "read_images", "read_groceries"}
FUNCTIONS |= {"unit", "measure", "interval"}


@pytest.fixture(scope="module")
def lesson():
    """Return the names of the lesson's functions, and what they need."""
    names = {"kt": kt, "np": np, "os": os, "Path": pathlib.Path, "size": 16}
    for cell in nbformat.read(NOTEBOOK, 4).cells:
        if cell.cell_type == "code" and "%pip" not in cell.source:
            body = ast.parse(cell.source).body
            wanted = [each for each in body if getattr(each, "name", 0) in FUNCTIONS]
            exec(compile(ast.Module(wanted, []), cell.id, "exec"), names)
    assert names.keys() >= FUNCTIONS
    return names


def write_photo(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (20, 30, 3))
    Image.fromarray(pixels.astype("uint8")).save(path)


def as_folders(root):
    return {
        "catalogue": root / "catalogue" / "{name}.jpg",
        "train": root / "train" / "{name}" / "{seed}.jpg",
        "test": root / "test" / "{name}" / "{seed}.jpg",
    }


def as_a_clone(root):
    """The data set as it comes: folders in folders, and other things beside them."""
    root = root / "dataset"
    return {
        "catalogue": root
        / "iconic-images-and-descriptions/Fruit/Apple/{name}/{name}_Iconic.jpg",
        "train": root / "train" / "Fruit" / "Apple" / "{name}" / "{seed}.jpg",
        "test": root / "test" / "Fruit" / "{name}" / "{seed}.jpg",
    }


@pytest.mark.parametrize("layout", [as_folders, as_a_clone])
def test_reads_both_layouts(lesson, monkeypatch, tmp_path, capsys, layout):
    paths = {split: str(path) for split, path in layout(tmp_path).items()}
    for seed, name in enumerate(["Kiwi", "Royal-Gala"]):
        for split, path in paths.items():
            photo = pathlib.Path(path.format(name=name, seed=seed))
            write_photo(photo, (seed, *split.encode()))
    # Of no product in the catalogue; and no photo at all.
    write_photo(pathlib.Path(paths["train"].format(name="Lime", seed=5)), 5)
    broken = pathlib.Path(paths["test"].format(name="Kiwi", seed="broken"))
    broken.write_bytes(b"no photo")
    monkeypatch.setenv("KERAS_TRANSFER_GROCERY_DIR", str(tmp_path))
    names, pictures, (photos, labels), (queries, asked) = lesson["read_groceries"]()
    assert names == ["Kiwi", "Royal-Gala"]
    assert labels.tolist() == asked.tolist() == [0, 1]
    for images in (pictures, photos, queries):
        assert images.shape == (2, 16, 16, 3)
        assert images.dtype == np.uint8
    found = kt.load_image(pathlib.Path(paths["test"].format(name="Kiwi", seed=0)), 16)
    np.testing.assert_array_equal(queries[0], found)
    assert re.fullmatch(
        r"left out: broken\.jpg\. Expected .*\.\n", capsys.readouterr().out
    )


def test_groceries_that_are_not_there_are_one_clear_error(
    lesson, monkeypatch, tmp_path
):
    write_photo(tmp_path / "catalogue" / "Kiwi.jpg", 0)
    monkeypatch.setenv("KERAS_TRANSFER_GROCERY_DIR", str(tmp_path))
    with pytest.raises(
        kt.DatasetUnavailableError, match=r"git clone.*KERAS_TRANSFER_GROCERY_DIR"
    ) as raised:
        lesson["read_groceries"]()
    assert str(raised.value).endswith(f"Received: {tmp_path}")
    monkeypatch.delenv("KERAS_TRANSFER_GROCERY_DIR")
    monkeypatch.setenv("KERAS_TRANSFER_DATA_DIR", str(tmp_path / "data"))
    with pytest.raises(kt.DatasetUnavailableError, match=r"data.grocery$"):
        lesson["read_groceries"]()


def test_figures_are_those_of_their_definitions(lesson):
    rng = np.random.default_rng(0)
    gallery, asked = rng.normal(size=(40, 6)), rng.normal(size=(30, 6))
    kinds, wanted = rng.integers(0, 4, 40), rng.integers(0, 4, 30)
    found = lesson["measure"](gallery, kinds, asked, wanted)
    cosines = lesson["unit"](asked) @ lesson["unit"](gallery).T
    nearest = kt.similar_images(gallery, asked, 10).indices
    for row, kind in enumerate(wanted):
        right = kinds == kind
        hits = right[nearest[row]]
        assert found["top-1"][row] == hits[0]
        assert found["top-5"][row] == hits[:5].any()
        assert found["P@5"][row] == hits[:5].mean()
        assert found["recall@10"][row] == pytest.approx(hits.sum() / right.sum())
        average = average_precision_score(right, cosines[row])
        assert found["mAP"][row] == pytest.approx(average)


def test_interval_takes_whole_products(lesson):
    products = np.repeat(np.arange(50), 20)
    one_by_one = np.random.default_rng(0).random(1000) < 0.6
    together = np.random.default_rng(0).random(50)[products] < 0.6
    widths = [
        np.diff(lesson["interval"](values.astype(float), products)).item()
        for values in (one_by_one, together)
    ]
    # 1.96 standard errors to each side, of 1,000 queries and of 50 products.
    assert widths[0] == pytest.approx(3.92 * (0.24 / 1000) ** 0.5, rel=0.3)
    assert widths[1] == pytest.approx(3.92 * (0.24 / 50) ** 0.5, rel=0.3)
