"""Figures show what they were given, in words too where there is nothing to show."""

import importlib
import warnings

import keras
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import tensorflow as tf
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

import keras_transfer as kt
from keras_transfer.comparison.result import Comparison
from tests.runtime.test_devices import splits as random_splits

NAMES = ["cat", "dog"]
LABELS = [0, 1, 1, 0]
PROBABILITIES = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.05, 0.95]])
IMAGES = np.zeros((4, 8, 8, 3))


@pytest.fixture(autouse=True)
def close_figures():
    matplotlib.use("Agg")
    yield
    plt.close("all")


def texts(thing):
    """Return all that can be read in an axes or a figure."""
    figure = thing if isinstance(thing, plt.Figure) else thing.figure
    found = [text.get_text() for text in figure.findobj(matplotlib.text.Text)]
    return "\n".join(text for text in found if text)


def legend(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_predictions_are_right_or_wrong_without_colour():
    figure = kt.plots.show_predictions(IMAGES, LABELS, PROBABILITIES, NAMES)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == [
        "✓ cat 90 %\n",
        "✗ cat 60 %\ntrue: dog",
        "✓ dog 80 %\n",
        "✗ dog 95 %\ntrue: cat",
    ]
    framed = [axes.spines["left"].get_linewidth() > 2 for axes in figure.axes]
    assert framed == [False, True, False, True]


def test_mistakes_begin_with_the_surest():
    images = IMAGES + np.arange(4)[:, None, None, None]
    figure = kt.plots.show_mistakes(images, LABELS, PROBABILITIES, NAMES)
    assert [axes.get_title()[0] for axes in figure.axes] == ["✗", "✗"]
    shown = [int(axes.images[0].get_array()[0, 0, 0]) for axes in figure.axes]
    assert shown == [3, 1]
    figure = kt.plots.show_mistakes(images, LABELS, PROBABILITIES, NAMES, count=1)
    assert len(figure.axes) == 1


def test_augmentation_shows_the_image_first():
    image = np.random.default_rng(0).uniform(0, 255, (8, 8, 3))
    layer = kt.build_augmentation("light", seed=0)
    figure = kt.plots.show_augmentation(image, layer, count=5)
    shown = [np.asarray(axes.images[0].get_array()) for axes in figure.axes]
    np.testing.assert_array_equal(shown[0], image.astype("uint8"))
    assert len(shown) == 6
    assert any(np.any(other != shown[0]) for other in shown[1:])
    assert figure.get_suptitle() == "Light augmentation"


def test_grad_cam_lies_below_each_image():
    maps = np.linspace(0, 1, 4 * 64).reshape(4, 8, 8)
    figure = kt.plots.show_grad_cam(IMAGES, maps, list("abcd"), columns=3)
    *panels, bar = figure.axes
    assert [axes.get_title() for axes in panels[:3]] == ["a", "b", "c"]
    np.testing.assert_array_equal(panels[3].images[1].get_array(), maps[0])
    assert panels[6].get_title() == "d"
    np.testing.assert_array_equal(panels[9].images[1].get_array(), maps[3])
    assert "evidence" in bar.get_ylabel()
    with pytest.raises(ValueError, match=r"maps of shape \(4, 7, 7\)"):
        kt.plots.show_grad_cam(IMAGES, maps[:, 1:, 1:])


def test_roc_and_precision_recall():
    axes = kt.plots.show_roc_curve(LABELS, PROBABILITIES, NAMES)
    # Of the four pairs of a dog and a cat, the dog is more of a dog in two.
    assert legend(axes) == ["dog (0.500)", "by chance"]
    assert axes.get_xlabel().endswith("(%)")
    axes = kt.plots.show_precision_recall_curve(LABELS, PROBABILITIES, NAMES)
    assert legend(axes) == ["dog (0.583)", "by chance"]
    np.testing.assert_array_equal(axes.lines[1].get_ydata(), [50, 50])


def test_curves_of_many_classes_name_the_worst():
    rng = np.random.default_rng(0)
    labels = np.arange(400) % 10
    probabilities = rng.uniform(0, 1, (400, 12))
    # The higher the class, the better it is found; the last two have no image.
    probabilities[np.arange(400), labels] += 0.1 * labels
    names = [f"class {n}" for n in range(12)]
    for show in (kt.plots.show_roc_curve, kt.plots.show_precision_recall_curve):
        named = [
            text.split(" (")[0] for text in legend(show(labels, probabilities, names))
        ]
        assert named[0] == "3 other classes"
        assert {"class 0", "class 1", "class 2"} < set(named)
        assert not {"class 9", "class 10", "class 11"} & set(named)


def test_reliability():
    probabilities = np.array([[0.75, 0.25]] * 4 + [[0.05, 0.95]] * 4)
    labels = [0, 0, 1, 1, 1, 1, 1, 1]
    axes = kt.plots.show_reliability_diagram(labels, probabilities)
    points, _, _ = axes.containers[1].lines
    np.testing.assert_allclose(points.get_xdata(), [75, 95])
    np.testing.assert_allclose(points.get_ydata(), [50, 100])
    assert [bar.get_height() for bar in axes.patches] == [50, 50]
    # Of 15 bins, as the calibration error has them.
    assert [round(bar.get_x()) for bar in axes.patches] == [73, 93]
    # (25 % + 5 %) / 2
    assert "calibration error 15.0 %" in axes.get_legend().get_title().get_text()
    with pytest.raises(ValueError, match="Received: bins=0"):
        kt.plots.show_reliability_diagram(labels, probabilities, bins=0)


def test_class_balance():
    labels = {"train": [0, 0, 1], "test": np.array([1, 1])}
    axes = kt.plots.show_class_balance(labels, NAMES)
    assert legend(axes) == ["train (3)", "test (2)"]
    assert [bar.get_width() for bar in axes.patches] == [2, 1, 0, 2]
    assert [text.get_text().strip() for text in axes.texts] == ["2", "3"]
    axes = kt.plots.show_class_balance(random_splits())
    assert legend(axes) == ["train (16)", "validation (8)", "test (5)"]
    assert [text.get_text().strip() for text in axes.texts] == ["15", "14"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]
    with pytest.raises(ValueError, match="Received: class_names=None"):
        kt.plots.show_class_balance(labels)


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_embedding(method):
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 10)
    features = rng.normal(0, 1, (20, 16)) + 20 * labels[:, None]
    axes = kt.plots.show_embedding(features, labels, NAMES, method=method)
    cats, dogs = (np.asarray(points.get_offsets()) for points in axes.collections)
    between = np.linalg.norm(cats.mean(0) - dogs.mean(0))
    assert between > 2 * np.linalg.norm(cats - cats.mean(0), axis=1).max()
    assert legend(axes) == NAMES
    assert ("%" if method == "pca" else "no unit") in axes.get_xlabel()


def test_few_features_are_embedded_without_approximation():
    features = np.random.default_rng(0).normal(size=(12, 4)).astype("float32")
    axes = kt.plots.show_embedding(features, [0] * 12, NAMES, method="tsne")
    small = PCA(4, random_state=0).fit_transform(features)
    exact = TSNE(2, perplexity=11 / 3, random_state=0, method="exact")
    points = np.asarray(axes.collections[0].get_offsets())
    np.testing.assert_allclose(points, exact.fit_transform(small), rtol=1e-3)


def test_embedding_thumbnails_do_not_cover_each_other():
    features = np.repeat([[0, 0, 0], [9, 0, 0], [0, 5, 0]], 5, axis=0)
    images = np.zeros((15, 8, 8, 3))
    axes = kt.plots.show_embedding(features, [0] * 15, NAMES, thumbnails=images)
    boxes = axes.findobj(matplotlib.offsetbox.AnnotationBbox)
    assert len(boxes) == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "umap"}, "pca, tsne. Received: method=umap"),
        ({"labels": [0]}, "4 features, 1 labels"),
        ({"thumbnails": IMAGES[:2]}, "thumbnails=2"),
        ({"features": np.zeros((4, 2))}, r"shape \(4, 2\)"),
    ],
)
def test_embedding_errors(changes, message):
    arguments = {"features": np.eye(4), "labels": LABELS, "class_names": NAMES}
    with pytest.raises(ValueError, match=message):
        kt.plots.show_embedding(**arguments | changes)


def history(stages=(), validation=True):
    found = keras.callbacks.History()
    found.history = {"loss": [3.0, 2.0, 1.0], "accuracy": [0.5, 0.6, 0.7]}
    if stages:
        found.history["stage"] = list(stages)
    if validation:
        found.history |= {"val_loss": [3.0, 2.5, 2.0], "val_accuracy": [0.4, 0.5, 0.6]}
    return found


def test_histories_of_several_runs():
    runs = {
        "scratch": history(validation=False),
        "joined": history(["head", "head", "all"]),
    }
    figure = kt.plots.show_training_history(runs, "Two runs")
    left, right = figure.axes
    colors = [line.get_color() for line in left.lines]
    assert len(set(colors)) == 2
    # One line, then training and validation, each with the stage that begins.
    markers = [line.get_marker() for line in left.lines]
    assert markers == ["None", "None", "D", "None", "D"]
    assert left.lines[2].get_xdata() == [3]
    np.testing.assert_allclose(right.lines[4].get_ydata(), [60])
    (names,) = figure.legends
    assert [text.get_text() for text in names.get_texts()] == [
        "scratch",
        "joined",
        "training",
        "validation",
        "a new stage begins",
    ]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("show_images", ([],)),
        ("show_predictions", ([], [], [], NAMES)),
        ("show_mistakes", ([], [], [], NAMES)),
        ("show_mistakes", (IMAGES[:2], [0, 0], PROBABILITIES[:2], NAMES)),
        ("show_grad_cam", ([], [])),
        ("show_confusion_matrix", ([], [], NAMES)),
        ("show_roc_curve", ([], [], NAMES)),
        ("show_roc_curve", ([1, 1], PROBABILITIES[:2], NAMES)),
        ("show_precision_recall_curve", ([], np.zeros((0, 2)), NAMES)),
        ("show_reliability_diagram", ([], [])),
        ("show_embedding", (np.zeros((0, 4)), [], NAMES)),
        ("show_class_balance", ({"train": []}, NAMES)),
        ("show_class_balance", ({}, NAMES)),
        ("show_training_history", ({},)),
    ],
)
def test_nothing_to_show_is_said_in_words(name, arguments):
    assert "none found" in texts(getattr(kt.plots, name)(*arguments))


@pytest.mark.parametrize(
    ("labels", "probabilities"),
    [([0, 1], PROBABILITIES), ([0], [[0.5]]), ([0, 1], [0.5, 0.5]), ([0], [])],
)
def test_labels_and_probabilities_must_fit(labels, probabilities):
    with pytest.raises(ValueError, match="one row of probabilities for each image"):
        kt.plots.show_roc_curve(labels, probabilities, NAMES)
    with pytest.raises(ValueError, match="for each"):
        kt.plots.show_mistakes(IMAGES, labels, probabilities, NAMES)


def test_single_panels_draw_where_they_are_told():
    rates = [{"block5": None, "head": 1e-3}, {"block5": 5e-4, "head": 1e-3}]
    finder = kt.callbacks.LearningRateFinder()
    finder.learning_rates = [10.0**n for n in range(-6, 1)]
    finder.losses = [1.0, 1.0, 0.9, 0.5, 0.4, 3.0, 9.0]
    plots = kt.plots
    calls = [
        (plots.show_confusion_matrix, LABELS, LABELS, NAMES),
        (plots.show_roc_curve, LABELS, PROBABILITIES, NAMES),
        (plots.show_precision_recall_curve, LABELS, PROBABILITIES, NAMES),
        (plots.show_reliability_diagram, LABELS, PROBABILITIES),
        (plots.show_class_balance, {"train": LABELS}, NAMES),
        (plots.show_embedding, np.eye(4), LABELS, NAMES),
        (plots.show_learning_curve, [10, 100], {"ours": np.ones((2, 2))}),
        (plots.show_accuracies, {"ours": [True, False]}),
        (plots.show_learning_rate_finder, finder),
        (plots.show_unfreezing_schedule, rates),
    ]
    for show, *arguments in calls:
        _, axes = plt.subplots()
        assert show(*arguments, axes=axes) is axes
        assert axes.get_title()
        plt.close("all")


def test_images_labels_and_names_come_in_many_forms():
    one = kt.plots.show_images(IMAGES[0])
    assert len(one.axes) == 1
    for images in (list(IMAGES), tuple(IMAGES), tf.constant(IMAGES), iter(IMAGES)):
        assert len(kt.plots.show_images(images, range(4), columns=2.0).axes) == 4
    for image in (IMAGES[0][..., 0], IMAGES[0][..., :1], np.full((8, 8, 3), np.nan)):
        assert len(kt.plots.show_images([image]).axes) == 1
        assert len(kt.plots.show_pairs([image], [image]).axes) == 1
    one_hot = np.eye(2)[LABELS]
    forms = [
        (np.array(NAMES), tf.constant(LABELS)),
        (tuple(NAMES), one_hot),
        (dict.fromkeys(NAMES).keys(), np.array(LABELS)[:, None]),
        ([0, 1], one_hot > 0),
        (np.arange(2), LABELS),
    ]
    for names, labels in forms:
        plt.close("all")
        axes = kt.plots.show_confusion_matrix(labels, labels, names)
        assert [text.get_text() for text in axes.texts] == ["2", "0", "0", "2"]
        figure = kt.plots.show_predictions(IMAGES, labels, PROBABILITIES, names)
        assert [axes.get_title()[0] for axes in figure.axes] == list("✓✗✓✗")
        axes = kt.plots.show_roc_curve(labels, PROBABILITIES.tolist(), names)
        assert legend(axes)[0] == f"{[*names][1]} (0.500)"
        axes = kt.plots.show_class_balance({"train": labels}, names)
        assert [bar.get_width() for bar in axes.patches] == [2, 2]
        axes = kt.plots.show_embedding(np.eye(4).tolist(), labels, names)
        assert len(axes.collections) == 2


def test_histories_come_as_dictionaries_too():
    def heights(given):
        return [len(axes.lines) for axes in kt.plots.show_training_history(given).axes]

    assert heights(history().history) == heights(history()) == [2, 2]
    assert heights({"a": history().history, "b": history()}) == [4, 4]
    # One run that broke off in its second stage, before its accuracy was measured.
    torn = history(["head", "head", "all"])
    torn.history["accuracy"] = torn.history["accuracy"][:2]
    assert heights({"a": torn}) == [4, 3]
    with pytest.raises(ValueError, match=r"pass model.history\. Received: history="):
        kt.plots.show_training_history(keras.Sequential())


def test_one_seed_makes_a_learning_curve():
    axes = kt.plots.show_learning_curve([10, 100], {"ours": [0.5, 0.6]})
    np.testing.assert_allclose(axes.lines[0].get_ydata(), [50, 60])


def test_blocks_that_stay_frozen_are_grey():
    axes = kt.plots.show_unfreezing_schedule([{"block5": None, "head": None}])
    assert axes.collections[0].get_array().mask.all()
    axes.figure.draw_without_rendering()


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_features_that_are_all_the_same_make_one_point(method):
    axes = kt.plots.show_embedding(np.ones((4, 4)), LABELS, NAMES, method=method)
    if method == "pca":
        assert axes.get_xlabel() == "component 1 (0 % of the variance)"
    points = np.concatenate([drawn.get_offsets() for drawn in axes.collections])
    np.testing.assert_array_equal(points, np.zeros((4, 2)))


def test_dollars_in_class_names_are_no_formula():
    names = ["$5_bill", "$10_{bill$"]
    figures = [
        kt.plots.show_predictions(IMAGES, LABELS, PROBABILITIES, names),
        kt.plots.show_confusion_matrix(LABELS, LABELS, names).figure,
        kt.plots.show_class_balance({"train": LABELS}, names).figure,
    ]
    for figure in figures:
        figure.draw_without_rendering()


@pytest.mark.parametrize("count", [2, 3, 7])
def test_long_names_are_drawn_beside_each_other(count):
    names = [
        "black-eyed susan",
        "staffordshire_bull_terrier",
        "soft_coated_wheaten_terrier",
        "common dandelion",
        "american_pit_bull_terrier",
        "lily of the valley",
        "english_cocker_spaniel",
    ][:count]
    labels = np.arange(2 * count) % count
    images, wrong = np.zeros((2 * count, 8, 8, 3)), np.eye(count)[labels - 1]
    show = kt.plots
    matrix = show.show_confusion_matrix(labels, labels, names)
    grids = [
        show.show_predictions(images, labels, wrong, names, columns=4),
        show.show_images(images[:count], names),
        show.show_grad_cam(images[:count], np.zeros((count, 8, 8)), names),
        show.show_pairs(images[:count], images[:count], names, columns=2),
    ]
    beside = [matrix.get_xticklabels(), matrix.get_yticklabels()]
    beside += [[axes.title for axes in grid.axes if axes.images] for grid in grids]
    curves = show.show_roc_curve(labels, wrong, names)
    beside.append(curves.get_legend().get_texts())
    for drawn in beside:
        figure = drawn[0].figure
        figure.draw_without_rendering()
        boxes = [text.get_window_extent() for text in drawn if text.get_text()]
        # Half a line may be what Matplotlib leaves above and below letters.
        inside = figure.bbox.padded(7)
        assert all(inside.count_contains(box.corners()) == 4 for box in boxes)
        assert not any(box.count_overlaps(boxes) > 1 for box in boxes)


def read(text):
    """Return a text as it is read when it is drawn, which must be no formula."""
    drawn, formula = text._preprocess_math(text.get_text())
    assert formula is False
    return drawn


def test_letters_that_the_font_has_not_come_from_another_one(monkeypatch):
    # Of the fonts that Matplotlib brings, one has this letter.
    names = ["\u2312 arc", "dog"]
    style = importlib.import_module("keras_transfer.plots.style")

    def draw():
        axes = kt.plots.show_confusion_matrix(LABELS, [0, 1, 0, 1], names)
        axes.figure.canvas.draw()

    monkeypatch.setattr(style, "FALLBACKS", ("No Such Font",))
    with pytest.warns(UserWarning, match="Glyph") as missing:
        draw()
    assert not [x for x in missing if "No Such" in str(x.message)]
    monkeypatch.setattr(style, "FALLBACKS", ("DejaVu Sans Mono",))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw()
    assert plt.rcParams["font.family"] == ["sans-serif"]


def test_names_are_drawn_letter_by_letter():
    names = ["_hidden", "$5 or $10"]
    show, images = kt.plots, IMAGES[:2]
    swapped = np.array([[0.1, 0.9], [0.8, 0.2]])
    right = {name: np.array([True, False]) for name in names}
    row = {"accuracies": [0.5], "accuracy": 0.5, "interval": [0.1, 0.9], "seconds": 1}
    row |= {"peak_memory": None, "trained_parameters": 1}
    rows = tuple(row | {"recipe": name} for name in names)
    features = np.eye(4)
    figures = [
        show.show_images(images, names),
        show.show_pairs(images, images, names),
        show.show_grad_cam(images, np.zeros((2, 8, 8)), names),
        show.show_predictions(images, [0, 1], swapped, names),
        show.show_mistakes(images, [0, 1], swapped, names),
        show.show_confusion_matrix([0, 1], [0, 1], names),
        show.show_class_balance({name: [0, 1] for name in names}, names),
        show.show_embedding(features, LABELS, names),
        show.show_roc_curve([0, 1, 2], np.eye(3), [*names, "c"]),
        show.show_precision_recall_curve([0, 1, 2], np.eye(3), [*names, "c"]),
        show.show_accuracies(right),
        show.show_learning_curve([1, 2], {name: [0, 1] for name in names}),
        show.show_training_history({name: history() for name in names}),
        show.show_comparison(Comparison(rows, (), "", 2, (0,))),
    ]
    for figure in figures:
        figure = figure if isinstance(figure, plt.Figure) else figure.figure
        said = "\n".join(map(read, figure.findobj(matplotlib.text.Text)))
        assert all(name in said for name in names) and "\\" not in said


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("show_images", {"images": "photo.jpg"}),
        ("show_images", {"images": IMAGES[0, 0]}),
        ("show_images", {"images": np.zeros((2, 0, 8, 3))}),
        ("show_images", {"images": np.zeros((2, 8, 8, 2))}),
        ("show_images", {"images": {"a": IMAGES[0]}}),
        ("show_images", {"images": [None]}),
        ("show_images", {"images": IMAGES, "titles": ["one"]}),
        ("show_images", {"images": IMAGES, "titles": "abcd"}),
        ("show_images", {"images": IMAGES, "titles": set("abcd")}),
        ("show_images", {"images": IMAGES, "columns": 0}),
        ("show_images", {"images": IMAGES, "columns": "3"}),
        ("show_images", {"images": IMAGES, "columns": 2.5}),
        ("show_images", {"images": IMAGES, "title": 3}),
        ("show_pairs", {"first": IMAGES, "second": IMAGES[:2]}),
        ("show_pairs", {"first": IMAGES, "second": None}),
        ("show_grad_cam", {"images": IMAGES, "maps": None}),
        ("show_grad_cam", {"images": [*IMAGES, IMAGES[0, 1:]], "maps": IMAGES}),
        ("show_grad_cam", {"images": IMAGES[..., 0], "maps": [[1]], "columns": 0}),
        ("show_confusion_matrix", {"predicted": PROBABILITIES}),
        ("show_confusion_matrix", {"predicted": LABELS[:2]}),
        ("show_confusion_matrix", {"predicted": [0, 1, 2, 3]}),
        ("show_confusion_matrix", {"predicted": NAMES * 2}),
        ("show_confusion_matrix", {"labels": [0, 1, float("nan"), 1]}),
        ("show_confusion_matrix", {"class_names": "ab"}),
        ("show_confusion_matrix", {"class_names": {"cat": 0, "dog": 1}}),
        ("show_confusion_matrix", {"class_names": {"cat", "dog"}}),
        ("show_confusion_matrix", {"class_names": []}),
        ("show_confusion_matrix", {"axes": plt}),
        ("show_confusion_matrix", {"axes": np.array([None, None])}),
        ("show_roc_curve", {"probabilities": PROBABILITIES * np.nan}),
        ("show_roc_curve", {"labels": [0, 1, 2, 1]}),
        ("show_reliability_diagram", {"bins": "15"}),
        ("show_reliability_diagram", {"bins": True}),
        ("show_reliability_diagram", {"probabilities": 5 * PROBABILITIES}),
        ("show_mistakes", {"count": 0}),
        ("show_mistakes", {"images": IMAGES[:2]}),
        ("show_class_balance", {"labels": [0, 1, 1]}),
        ("show_class_balance", {"labels": {"train": [0, 5]}}),
        ("show_class_balance", {"labels": {"train": None}}),
        ("show_class_balance", {"labels": random_splits(), "class_names": ["a"]}),
        ("show_embedding", {"features": np.full((4, 4), np.nan)}),
        ("show_embedding", {"features": "features"}),
        ("show_embedding", {"labels": [0, 1, 2, 3]}),
        ("show_embedding", {"seed": -1}),
        ("show_embedding", {"seed": 2**32}),
        ("show_embedding", {"thumbnails": LABELS}),
        ("show_embedding", {"method": ["pca"]}),
        ("show_accuracies", {"right": {"ours": []}}),
        ("show_accuracies", {"right": {"ours": 0.9}}),
        ("show_accuracies", {"right": {"ours": [0.9, 0.8]}}),
        ("show_accuracies", {"right": [True, False]}),
        ("show_learning_curve", {"sizes": [0, 10], "accuracies": {}}),
        ("show_learning_curve", {"sizes": [], "accuracies": {}}),
        ("show_learning_curve", {"sizes": 10, "accuracies": {}}),
        ("show_learning_curve", {"sizes": [1], "accuracies": {"a": [[1, 2]]}}),
        ("show_learning_curve", {"sizes": [1, 2], "accuracies": {"a": [[1], [1, 2]]}}),
        ("show_learning_curve", {"sizes": [1, 2], "accuracies": [[1, 2]]}),
        ("show_learning_rate_finder", {"finder": kt.callbacks.LearningRateFinder()}),
        ("show_learning_rate_finder", {"finder": history()}),
        ("show_training_history", {"history": {"a": 1}}),
        ("show_training_history", {"history": {"loss": ["low"]}}),
        ("show_training_history", {"history": [history()]}),
        ("show_unfreezing_schedule", {"learning_rates": {"head": 1e-3}}),
        ("show_unfreezing_schedule", {"learning_rates": [{"a": 1}, {"b": 1}]}),
        ("show_unfreezing_schedule", {"learning_rates": [{"a": -1}]}),
        ("show_unfreezing_schedule", {"learning_rates": [{"a": "fast"}]}),
        ("show_comparison", {"comparison": history()}),
        ("show_augmentation", {"layer": keras.layers.RandomFlip}),
        ("show_augmentation", {"layer": keras.layers.Dense(2)}),
        ("show_augmentation", {"layer": keras.layers.Flatten()}),
        ("show_augmentation", {"layer": []}),
        ("show_augmentation", {"image": IMAGES}),
        ("show_augmentation", {"count": 0}),
        ("style", {"no.such.setting": 1}),
        ("style", {"axes.titlesize": object()}),
    ],
)
def test_plots_refuse_before_they_draw(name, arguments):
    given = {
        "show_confusion_matrix": {"labels": LABELS, "predicted": LABELS},
        "show_roc_curve": {"labels": LABELS, "probabilities": PROBABILITIES},
        "show_reliability_diagram": {"labels": LABELS, "probabilities": PROBABILITIES},
        "show_mistakes": {
            "images": IMAGES,
            "labels": LABELS,
            "probabilities": PROBABILITIES,
        },
        "show_embedding": {"features": np.eye(4), "labels": LABELS},
        "show_augmentation": {"image": IMAGES[0], "layer": keras.layers.RandomFlip()},
    }.get(name, {})
    named = ("show_confusion", "show_roc", "show_mis", "show_embed", "show_class")
    if name.startswith(named):
        given = {"class_names": NAMES, **given}
    settings = dict(plt.rcParams)
    with pytest.raises(ValueError, match="Received: "):
        # A context manager begins to work when it is entered.
        getattr(kt.plots, name)(**given | arguments).__enter__()
    # A figure that is left behind would be shown, empty, below the cell.
    assert not plt.get_fignums()
    assert dict(plt.rcParams) == settings


def test_plots_draw():
    matplotlib.use("Agg")
    figure = kt.plots.show_images(np.full((7, 8, 8, 3), 300.0), list("abcdefg"))
    assert len(figure.axes) == 12
    assert "none found" in kt.plots.show_images([]).axes[0].texts[0].get_text()
    axes = kt.plots.show_confusion_matrix([0, 0, 1], [0, 1, 1], ["cat", "dog"])
    assert [text.get_text() for text in axes.texts] == ["1", "1", "0", "1"]
    curve = np.array([[0.5, 0.7], [0.6, 0.9]])
    axes = kt.plots.show_learning_curve([10, 100], {"a": curve, "b": curve - 0.1})
    assert np.allclose(axes.lines[0].get_ydata(), [55, 80])
    assert axes.get_xlabel()
    assert axes.get_ylabel().endswith("(%)")
    axes = kt.plots.show_accuracies({"a": np.array([True] * 3 + [False]), "b": [True]})
    assert axes.get_yticklabels()[0].get_text() == "a"
    assert np.allclose(axes.containers[0].lines[0].get_xdata(), [75])


def test_training_plots_draw():
    matplotlib.use("Agg")
    history = keras.callbacks.History()
    history.history = {
        "stage": ["head", "head", "fine-tuning"],
        "loss": [3.0, 2.0, 1.0],
        "accuracy": [0.5, 0.6, 0.7],
        "val_loss": [3.0, 2.5, 2.0],
        "val_accuracy": [0.4, 0.5, 0.6],
    }
    left, right = kt.plots.show_training_history(history).axes
    assert [text.get_text().strip() for text in left.texts] == ["fine-tuning"]
    assert np.allclose(right.lines[1].get_ydata(), [40, 50, 60])
    finder = kt.callbacks.LearningRateFinder()
    finder.learning_rates = [10.0**n for n in range(-6, 1)]
    finder.losses = [1.0, 1.0, 0.9, 0.5, 0.4, 3.0, float("nan")]
    assert finder.suggestion == pytest.approx(1e-3)
    axes = kt.plots.show_learning_rate_finder(finder)
    assert axes.get_legend().get_texts()[0].get_text() == "0.001"
    assert axes.get_ylim()[1] < 3
    rates = [{"block5": None, "head": 1e-3}, {"block5": 5e-4, "head": 1e-3}]
    axes = kt.plots.show_unfreezing_schedule(rates)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["head", "block5"]
    cells = axes.collections[0].get_array()
    assert cells.mask.ravel().tolist() == [False, False, True, False]
