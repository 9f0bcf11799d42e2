"""What lesson 12 finds in perfect maps are the boxes that these were made of.

The functions are taken out of the notebook as they stand there.
"""

import pathlib

import keras
import nbformat
import numpy as np
import pytest

NOTEBOOK = (
    pathlib.Path(__file__).parent.parent.parent / "notebooks" / "12_two_answers.ipynb"
)
WANTED = (
    "from pycocotools",
    "def paint(",
    "def draw_smear(",
    "def targets(",
    "class Turned(",
    "def detection_loss(",
    "def with_boxes(",
    "def quietly(",
    "def match(",
    "def precision(",
    "def box_iou(",
    "def predictive_value(",
)
SIDE, GRID = 96, 12


class Drawn(dict):
    """Names of the lesson, as attributes."""

    __getattr__ = dict.__getitem__


@pytest.fixture(scope="module")
def lesson():
    """Return the functions of the lesson, without what its cells run below them."""
    pytest.importorskip("pycocotools")
    names = Drawn(SIDE=SIDE, STRIDE=SIDE // GRID)
    cells = nbformat.read(NOTEBOOK, 4).cells
    for cell in cells:
        if cell.cell_type != "code" or cell.metadata.get("tags"):
            continue
        if any(word in cell.source for word in WANTED):
            exec(definitions(cell.source), names)
    return names


def definitions(source):
    """Leave imports, functions, classes and constants of a cell."""
    import ast

    kept = ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef
    tree = ast.parse(source)
    tree.body = [
        node
        for node in tree.body
        if isinstance(node, kept)
        or (isinstance(node, ast.Assign) and ast.unparse(node.targets[0]).isupper())
    ]
    return compile(ast.unparse(tree), "lesson 12", "exec")


@pytest.fixture(scope="module")
def smears(lesson):
    rng = np.random.default_rng(0)
    return [lesson.draw_smear(rng) for _ in range(12)]


def perfect(maps):
    """Return what a detector would say that makes no error."""
    heat = np.clip(maps[..., :3], 1e-4, 1 - 1e-4)
    return np.concatenate([np.log(heat / (1 - heat)), maps[..., 3:7]], axis=-1)


def boxes_of(lesson, maps):
    said = keras.Input((GRID, GRID, 7))
    as_model = keras.Model(said, keras.layers.Identity()(said))
    return lesson.with_boxes(as_model).predict(perfect(maps), verbose=0)


def test_perfect_maps_give_the_boxes_back(lesson, smears):
    maps = np.array([lesson.targets(*cells, GRID) for _, *cells in smears])
    matched = lesson.match(smears, boxes_of(lesson, maps))
    found = lesson.precision(matched)
    # Two middles of one kind in one place are one.
    assert found["AP50"] > 0.95
    assert found["AP"] > 0.9
    # In whatever order the images come.
    again = lesson.precision(matched, np.arange(len(smears))[::-1])
    assert abs(again["AP50"] - found["AP50"]) < 0.05
    assert lesson.precision(matched)["AP50"] == found["AP50"]


def test_images_drawn_anew_count_as_if_they_were_matched_anew(lesson, smears):
    rng = np.random.default_rng(1)
    maps = np.array([lesson.targets(*cells, GRID) for _, *cells in smears])
    rows = boxes_of(lesson, maps)
    # A detector that errs: boxes off by some pixels, scores in no order.
    rows[..., :4] += rng.normal(0, 0.02, (*rows.shape[:2], 4))
    rows[..., 4] = rng.random(rows.shape[:2])
    matched = lesson.match(smears, rows)
    drawn = rng.integers(len(smears), size=len(smears))
    anew = lesson.match([smears[image] for image in drawn], rows[drawn])
    for name, value in lesson.precision(anew).items():
        np.testing.assert_allclose(lesson.precision(matched, drawn)[name], value)
    assert lesson.precision(matched)["AP"] != lesson.precision(anew)["AP"]


def test_a_kind_of_which_there_is_none_does_not_count(lesson, smears):
    red = [
        (image, boxes[labels == 0], labels[labels == 0])
        for image, boxes, labels in smears
    ]
    maps = np.array([lesson.targets(*cells, GRID) for _, *cells in red])
    found = lesson.precision(lesson.match(red, boxes_of(lesson, maps)))
    assert np.isnan(found["kinds"][1:]).all()
    assert found["AP50"] == found["kinds"][0] > 0.95


def test_perfect_maps_have_the_smallest_loss(lesson, smears):
    maps = np.array([lesson.targets(*cells, GRID) for _, *cells in smears])
    best = float(lesson.detection_loss(maps, perfect(maps)))
    silent = perfect(maps) * 0 - 4
    assert best < 0.1
    assert float(lesson.detection_loss(maps, silent)) > 10 * best + 1


def turns(image, boxes):
    """Yield an image and its boxes in all eight positions of a square."""
    for axes in ((0, 1), (1, 0)):
        for down in (1, -1):
            for right in (1, -1):
                moved = image.transpose(*axes, 2)[::down, ::right]
                box = boxes[:, [*axes, axes[0] + 2, axes[1] + 2]]
                if down < 0:
                    box = np.stack(
                        [1 - box[:, 2], box[:, 1], 1 - box[:, 0], box[:, 3]], 1
                    )
                if right < 0:
                    box = np.stack(
                        [box[:, 0], 1 - box[:, 3], box[:, 2], 1 - box[:, 1]], 1
                    )
                yield moved, box


def test_what_is_turned_has_the_boxes_of_where_it_is(lesson, smears):
    lesson["profile"] = type("Profile", (), {"seed": 0})
    turned = lesson.Turned(smears, batch_size=len(smears))
    images, maps = turned[0]
    moved = []
    for image, index in zip(images, turned.order, strict=True):
        original, boxes, labels = smears[index]
        (place,) = (
            box
            for each, box in turns(original, boxes)
            if np.array_equal(each, image.astype("uint8"))
        )
        moved.append((image, place, labels))
    found = lesson.precision(lesson.match(moved, boxes_of(lesson, maps)))
    assert found["AP50"] > 0.95
    assert found["AP"] > 0.9


def test_a_rare_illness_makes_most_alarms_false(lesson):
    assert lesson.predictive_value(0.01, 0.99, 0.95) == pytest.approx(1 / 6)
    assert lesson.predictive_value(0.5, 0.9, 0.9) == pytest.approx(0.9)
