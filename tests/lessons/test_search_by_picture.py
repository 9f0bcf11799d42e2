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
FUNCTIONS = {"find_photos", "find_groceries", "read_images", "read_groceries"}
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


NAMES = [
    "Anjou",
    "Conference",
    "Kaiser",
    "Kiwi",
    "Lemon",
    "Mango",
    "Papaya",
    "Royal-Gala",
]


def write_groceries(paths, kinds=("jpg",)):
    """Write the products: a picture each, 8 photos to learn from and one to ask."""
    for split, count in {"catalogue": 1, "train": 8, "test": 1}.items():
        for number, name in enumerate(NAMES):
            for seed in range(count):
                path = paths[split].format(name=name, seed=seed)
                kind = kinds[(number + seed) % len(kinds)]
                photo = pathlib.Path(path).with_suffix(f".{kind}")
                write_photo(photo, (seed, number, *split.encode()))


@pytest.mark.parametrize("layout", [as_folders, as_a_clone])
def test_reads_both_layouts(lesson, monkeypatch, tmp_path, capsys, layout):
    paths = {split: str(path) for split, path in layout(tmp_path).items()}
    write_groceries(paths)
    # Of no product in the catalogue; no photo at all; a folder; what systems leave.
    write_photo(pathlib.Path(paths["train"].format(name="Lime", seed=5)), 5)
    broken = pathlib.Path(paths["test"].format(name="Kiwi", seed="broken"))
    broken.write_bytes(b"no photo")
    broken.with_name("._0.jpg").write_bytes(b"no photo")
    broken.with_name("album.jpg").mkdir()
    pathlib.Path(paths["catalogue"].format(name="Kiwi")).with_suffix(".txt").touch()
    monkeypatch.setenv("KERAS_TRANSFER_GROCERY_DIR", str(tmp_path))
    names, pictures, (photos, labels), (queries, asked) = lesson["read_groceries"]()
    assert names == NAMES
    assert labels.tolist() == np.repeat(np.arange(8), 8).tolist()
    assert asked.tolist() == [*range(8)]
    for images, count in ((pictures, 8), (photos, 64), (queries, 8)):
        assert images.shape == (count, 16, 16, 3)
        assert images.dtype == np.uint8
    found = kt.load_image(pathlib.Path(paths["test"].format(name="Kiwi", seed=0)), 16)
    np.testing.assert_array_equal(queries[3], found)
    assert re.fullmatch(
        r"left out of train, no picture in the catalogue: \['Lime'\]\n"
        r"left out: album\.jpg\. .+\nleft out: broken\.jpg\. Expected .*\.\n",
        capsys.readouterr().out,
    )


def test_photos_are_known_by_any_of_their_names(lesson, monkeypatch, tmp_path):
    paths = {split: str(path) for split, path in as_folders(tmp_path).items()}
    write_groceries(paths, kinds=("JPG", "png", "jpeg"))
    monkeypatch.setenv("KERAS_TRANSFER_GROCERY_DIR", str(tmp_path))
    names, _, (_, labels), (_, asked) = lesson["read_groceries"]()
    assert names == NAMES
    assert np.bincount(labels).tolist() == [8] * 8
    assert asked.tolist() == [*range(8)]


def test_a_product_may_be_in_one_split_alone(lesson, monkeypatch, tmp_path):
    paths = {split: str(path) for split, path in as_folders(tmp_path).items()}
    write_groceries(paths)
    for name in ("Orange", "Tomato"):
        write_photo(pathlib.Path(paths["catalogue"].format(name=name)), 9)
    write_photo(pathlib.Path(paths["test"].format(name="Orange", seed=0)), 10)
    monkeypatch.setenv("KERAS_TRANSFER_GROCERY_DIR", str(tmp_path))
    names, _, (photos, labels), (queries, asked) = lesson["read_groceries"]()
    assert {*names} - {names[label] for label in labels} == {"Orange", "Tomato"}
    orange = asked == names.index("Orange")
    rows = (images.reshape(len(images), -1) / 255 for images in (photos, queries))
    found = lesson["measure"](next(rows), labels, next(rows), asked)
    assert all(values[orange] == 0 for values in found.values())


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
