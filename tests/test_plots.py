"""Figures show what they were given, in words too where there is nothing to show."""

import keras
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest

import keras_transfer as kt
from tests.test_devices import splits as random_splits

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
