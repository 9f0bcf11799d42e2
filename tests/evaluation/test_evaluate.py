"""The figures of an evaluation are scikit-learn's, whatever the model ends in."""

import itertools
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import logit
from sklearn import metrics
from sklearn.calibration import calibration_curve

import keras_transfer as kt
from keras_transfer.evaluation.calibration import reliability_bins
from tests.helpers.model_state import changed, state
from tests.helpers.small_networks import (
    images_and_labels,
    small_backbone,
    small_classifier,
)

RANKED = ("roc_auc", "average_precision")


def answering(units, activation=None):
    """Return a classifier whose outputs are the activation of its "images"."""
    dense = keras.layers.Dense(
        units, activation=activation, kernel_initializer="identity", name="head"
    )
    return keras.Sequential([keras.Input((units,)), dense])


def names(count):
    return [f"class {i}" for i in range(count)]


def random_answers(classes, count=203, seed=0):
    """Return probabilities that are more often right than not, and labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    logits = rng.normal(size=(count, classes)) + 1.5 * np.eye(classes)[labels]
    return (np.exp(logits) / np.exp(logits).sum(1, keepdims=True)), labels


def normal(probabilities):
    """Return float32 probabilities as float64 ones, whose sums scikit-learn checks."""
    return probabilities / probabilities.sum(axis=1, keepdims=True, dtype="float64")


def batched(probabilities, labels, size=32):
    images = np.log(probabilities).astype("float32")
    return tf.data.Dataset.from_tensor_slices((images, labels)).batch(size)


def evaluate(probabilities, labels):
    classes = probabilities.shape[1]
    return kt.evaluate_classifier(
        answering(classes, "softmax"), batched(probabilities, labels), names(classes)
    )


@pytest.mark.parametrize("classes", [2, 5])
def test_every_figure_agrees_with_scikit_learn(classes):
    probabilities, labels = random_answers(classes)
    report = evaluate(probabilities, labels)
    predicted = probabilities.argmax(axis=1)
    one_hot = np.eye(classes, dtype=int)[labels]
    assert np.array_equal(report.labels, labels)
    assert np.array_equal(report.predicted, predicted)
    assert np.allclose(report.probabilities, probabilities, atol=1e-6)

    assert report.accuracy == metrics.accuracy_score(labels, predicted)
    expected = metrics.classification_report(
        labels, predicted, target_names=names(classes), output_dict=True
    )
    expected = {k: v for k, v in expected.items() if k != "accuracy"}
    found = {row["class"]: row for row in report.classes}
    found["macro avg"] = report.macro | {"images": len(labels)}
    for name in [*names(classes), "macro avg"]:
        assert found[name]["images"] == expected[name]["support"]
        assert found[name]["precision"] == pytest.approx(expected[name]["precision"])
        assert found[name]["recall"] == pytest.approx(expected[name]["recall"])
        assert found[name]["f1"] == pytest.approx(expected[name]["f1-score"])

    scores = probabilities[:, 1] if classes == 2 else probabilities
    area = metrics.roc_auc_score(labels, scores, multi_class="ovr")
    assert report.roc_auc == pytest.approx(area)
    precision = metrics.average_precision_score(one_hot, probabilities, average="macro")
    assert report.mean_average_precision == pytest.approx(precision)
    for i, row in enumerate(report.classes):
        one, score = labels == i, probabilities[:, i]
        assert row["roc_auc"] == pytest.approx(metrics.roc_auc_score(one, score))
        assert row["average_precision"] == pytest.approx(
            metrics.average_precision_score(one, score)
        )
    assert report.log_loss == pytest.approx(metrics.log_loss(labels, probabilities))
    matrix = metrics.confusion_matrix(labels, predicted)
    assert np.array_equal(report.confusion_matrix, matrix)
    low, high = report.accuracy_interval
    assert 0 < low < report.accuracy < high < 1


@pytest.mark.parametrize("classes", [2, 5])
def test_calibration_agrees_with_scikit_learn(classes):
    probabilities, labels = random_answers(classes)
    right, confidence = probabilities.argmax(1) == labels, probabilities.max(1)
    accuracies, confidences = calibration_curve(right, confidence, n_bins=15)
    bins = reliability_bins(labels, probabilities)
    filled = bins.counts > 0
    assert np.allclose(bins.accuracies[filled], accuracies)
    assert np.allclose(bins.confidences[filled], confidences)
    # A histogram counts the images of each bin in another way.
    counts, _ = np.histogram(confidence, bins=np.linspace(0, 1, 16))
    expected = np.sum(counts[filled] / len(labels) * abs(accuracies - confidences))
    assert kt.expected_calibration_error(labels, probabilities) == pytest.approx(
        expected
    )
    report = evaluate(probabilities, labels)
    assert report.expected_calibration_error == pytest.approx(expected, abs=1e-6)


def test_wilson_interval_is_that_of_the_formula():
    probabilities = np.tile([0.9, 0.1], (50, 1))
    report = evaluate(probabilities, np.arange(50) % 5 == 0)
    p, n, z = 0.8, 50, 1.959964
    middle, half = p + z**2 / (2 * n), z * np.sqrt(p * (1 - p) / n + (z / n / 2) ** 2)
    expected = [(middle - half) / (1 + z**2 / n), (middle + half) / (1 + z**2 / n)]
    assert report.accuracy_interval == pytest.approx(expected)


def test_a_data_set_that_shuffles_gives_the_same_figures():
    probabilities, labels = random_answers(5)
    report = evaluate(probabilities, labels)
    images = np.log(probabilities).astype("float32")
    dataset = tf.data.Dataset.from_tensor_slices((images, labels))
    shuffled = dataset.shuffle(len(labels), reshuffle_each_iteration=True).batch(32)
    model = answering(5, "softmax")
    first, second = (
        kt.evaluate_classifier(model, shuffled, names(5)) for _ in range(2)
    )
    assert not np.array_equal(first.labels, second.labels)
    for other in (first, second):
        assert figures(other) == nearly(report)


def figures(report):
    """Return all figures in one list, but the positions of mistakes."""
    found = report.to_dict()
    for mistake in found["mistakes"]:
        del mistake["index"]
    return keras.tree.flatten(found)


def nearly(report):
    return [
        pytest.approx(x, rel=1e-5) if isinstance(x, float) else x
        for x in figures(report)
    ]


def test_one_pass_over_the_data_and_one_graph():
    passes, traces = [], []

    def examples():
        passes.append("pass")
        for i in range(11):
            yield np.float32([i, 5]), i % 2

    spec = tf.TensorSpec((2,), tf.float32), tf.TensorSpec((), tf.int32)
    dataset = tf.data.Dataset.from_generator(examples, output_signature=spec).batch(4)

    class Counting(keras.layers.Layer):
        def call(self, x):
            traces.append(x.shape)
            return x

    inputs = keras.Input((2,))
    outputs = keras.layers.Dense(2, name="head")(Counting()(inputs))
    model = keras.Model(inputs, outputs)
    traces.clear()
    report = kt.evaluate_classifier(model, dataset, names(2))
    assert len(report.labels) == 11
    assert passes == ["pass"]
    assert traces == [(None, 2)]


def test_sigmoid_softmax_and_logits_agree():
    probabilities, labels = random_answers(2)
    expected = nearly(evaluate(probabilities, labels))
    logits = logit(probabilities[:, 1:]).astype("float32")
    single = tf.data.Dataset.from_tensor_slices((logits, labels)).batch(32)
    both = batched(probabilities, labels)
    for model, dataset in (
        (answering(2), both),
        (answering(1, "sigmoid"), single),
        (answering(1), single),
    ):
        report = kt.evaluate_classifier(model, dataset, names(2))
        assert figures(report) == expected


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_networks_of_images_in_every_precision(dtype):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype)
    try:
        model = small_classifier()
    finally:
        keras.config.set_dtype_policy(before)
    images, labels = images_and_labels(10)
    dataset = tf.data.Dataset.from_tensor_slices((images, labels)).batch(4)
    report = kt.evaluate_classifier(model, dataset, ("cat", "dog"))
    outputs = keras.ops.convert_to_numpy(model(images, training=False))
    assert report.probabilities.dtype == np.float32
    assert np.allclose(report.probabilities, outputs, atol=1e-2)
    assert report.log_loss == pytest.approx(
        metrics.log_loss(labels, report.probabilities)
    )


@pytest.mark.parametrize("kind", ["one-hot", "column", "float", "uint8"])
def test_labels_of_every_kind(kind):
    probabilities, labels = random_answers(2)
    converted = {
        "one-hot": np.eye(2, dtype="float32")[labels],
        "column": labels[:, None],
        "float": labels.astype("float32"),
        "uint8": labels.astype("uint8"),
    }[kind]
    report = evaluate(probabilities, converted)
    assert report.to_dict() == evaluate(probabilities, labels).to_dict()
    assert np.array_equal(report.labels, labels)


def test_a_class_without_images_has_no_figures():
    probabilities, labels = random_answers(5)
    kept = labels != 3
    report = evaluate(probabilities[kept], labels[kept])
    absent = report.classes[3]
    assert absent["images"] == 0
    assert {absent[k] for k in ("precision", "recall", "f1", *RANKED)} == {None}
    present = [0, 1, 2, 4]
    expected = metrics.precision_recall_fscore_support(
        report.labels, report.predicted, labels=present, average="macro"
    )
    assert [*report.macro.values()] == pytest.approx(list(expected[:3]))
    areas = [
        metrics.roc_auc_score(report.labels == i, report.probabilities[:, i])
        for i in present
    ]
    assert report.roc_auc == pytest.approx(np.mean(areas))
    assert report.confusion_matrix.shape == (5, 5)
    assert report.confusion_matrix[3].sum() == 0
    line = next(x for x in str(report).splitlines() if x.startswith("class 3"))
    assert line.split()[2:] == ["0", *"–––––"]
    assert "the 4 classes that have images" in str(report)


@pytest.mark.parametrize("classes", [2, 5])
def test_images_of_a_single_class_cannot_be_ranked(classes):
    probabilities, labels = random_answers(classes)
    report = evaluate(probabilities[labels == 1], labels[labels == 1])
    assert report.roc_auc is None
    assert report.mean_average_precision is None
    assert report.macro["recall"] == pytest.approx(report.accuracy)
    assert report.macro["precision"] == 1
    assert json.loads(json.dumps(report.to_dict(), allow_nan=False))["roc_auc"] is None
    assert "nothing can be ranked" in str(report)


def test_a_class_that_is_never_predicted_counts_as_0():
    report = evaluate(np.tile([0.7, 0.2, 0.1], (4, 1)), np.array([0, 0, 1, 1]))
    assert report.classes[1]["precision"] == 0
    assert report.classes[1]["f1"] == 0
    assert report.macro["recall"] == 0.5


def test_the_surest_mistakes_come_first():
    probabilities = np.array([[0.6, 0.4], [0.1, 0.9], [0.9, 0.1], [0.2, 0.8]])
    report = evaluate(probabilities, np.array([1, 0, 0, 0]))
    found = [
        (m["index"], m["true"], m["predicted"], round(m["probability"], 3))
        for m in report.mistakes()
    ]
    assert found == [
        (1, "class 0", "class 1", 0.9),
        (3, "class 0", "class 1", 0.8),
        (0, "class 1", "class 0", 0.6),
    ]
    assert report.mistakes(1) == report.mistakes()[:1]
    assert "mistake at" in str(report)
    assert "mistake at" not in str(evaluate(probabilities, np.array([0, 1, 0, 1])))


def test_text_and_html_show_the_figures():
    probabilities, labels = random_answers(5)
    report = evaluate(probabilities, labels)
    text, page = str(report), report._repr_html_()
    assert repr(report) == text
    low, high = report.accuracy_interval
    shown = [f"{report.accuracy:.1%}", f"{low:.1%} to {high:.1%}", "one-vs-rest"]
    shown += [f"{report.log_loss:.3f}", f"{report.roc_auc:.3f}"]
    shown += [f"{report.expected_calibration_error:.3f}"]
    shown += [f"{report.mean_average_precision:.3f}"]
    shown += [f"{value:.3f}" for value in report.macro.values()]
    shown += [f"{row['f1']:.3f}" for row in report.classes]
    shown += [str(m["index"]) for m in report.mistakes()]
    for figure in shown:
        assert figure in text
        assert figure in page
    lines = text.splitlines()
    matrix = lines.index(next(x for x in lines if x.startswith("true, predicted as")))
    counts = [line.split()[2:] for line in lines[matrix + 1 : matrix + 6]]
    assert np.array_equal(np.array(counts, int), report.confusion_matrix)
    assert max(map(len, lines)) <= 100
    assert page.count("<table>") == 4
    assert page.count("<tr>") == 8 + 7 + 6 + 11


def test_names_are_escaped_and_wide_matrices_left_to_a_figure():
    probabilities, labels = random_answers(13)
    model, dataset = answering(13, "softmax"), batched(probabilities, labels)
    report = kt.evaluate_classifier(model, dataset, [f"<b>{i}" for i in range(13)])
    assert "<b>" not in report._repr_html_()
    assert "&lt;b&gt;12" in report._repr_html_()
    assert "true, predicted as" not in str(report)
    assert "show_confusion_matrix" in str(report)


def test_figures_survive_json():
    probabilities, labels = random_answers(5)
    report = evaluate(probabilities, labels)
    figures = report.to_dict()
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures
    assert figures["images"] == 203
    assert figures["mistakes"] == report.mistakes()
    assert np.array_equal(figures["confusion_matrix"], report.confusion_matrix)
    assert not {"labels", "probabilities"} & set(figures)


def test_predictions_that_are_not_finite_are_refused():
    probabilities, labels = random_answers(5)
    for broken in (np.nan, np.inf):
        images = np.log(probabilities).astype("float32")
        images[40, 2] = broken
        dataset = tf.data.Dataset.from_tensor_slices((images, labels)).batch(32)
        for activation in ("softmax", None):
            with pytest.raises(ValueError, match=r"for 1 of 203 images.*index 40"):
                kt.evaluate_classifier(answering(5, activation), dataset, names(5))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1, 2, 3], "integers from 0 to 2.*Received: 1 others, among them 3"),
        ([0, -1, 2, -1], "Received: 2 others, among them -1"),
        ([0, 1, 1.5, 2], "among them 1.5"),
        ([0, 1, np.nan, 2], "among them nan"),
        (np.full((4, 3), 1 / 3), "must be one-hot"),
        (np.zeros((4, 3)), "must be one-hot"),
        (np.eye(4), "Received: labels of shape"),
    ],
)
def test_labels_out_of_range_are_refused(labels, message):
    probabilities, _ = random_answers(3, count=4)
    with pytest.raises(ValueError, match=message):
        evaluate(probabilities, labels)
    with pytest.raises(ValueError, match=message):
        kt.fit_temperature(labels, probabilities)


def test_what_does_not_fit_is_refused_before_the_pass():
    probabilities, labels = random_answers(2)
    model, dataset = answering(2, "softmax"), batched(probabilities, labels)

    def refused(message, model=model, dataset=dataset, class_names=("cat", "dog")):
        with pytest.raises(ValueError, match=message):
            kt.evaluate_classifier(model, dataset, class_names)

    refused("Received: an empty dataset", dataset=dataset.take(0))
    none = dataset.map(lambda x, y: (x[y > 1], y[y > 1]))
    refused("Received: an empty dataset", dataset=none)
    refused("that ends", dataset=dataset.repeat())
    refused("needs .batch", dataset=dataset.unbatch())
    refused("takes them", dataset=batched(*random_answers(5)))
    refused("of \\(images, labels\\)", dataset=dataset.map(lambda images, _: images))
    refused("of \\(images, labels\\)", dataset=(np.log(probabilities), labels))
    refused("2 classes, so as many", class_names=["cat"])
    refused("2 classes, so as many", model=answering(2), class_names=names(3))
    refused("activation=sigmoid", model=answering(2, "sigmoid"))
    refused("activation=softmax", model=answering(1, "softmax"))
    softmax = keras.Sequential([keras.Input((2,)), keras.layers.Softmax()])
    # Where softmax is a layer of its own, it is read from the graph all the same.
    assert kt.evaluate_classifier(softmax, dataset, names(2)).accuracy > 0


def test_temperature_repairs_what_is_too_sure():
    probabilities, labels = random_answers(5, count=2000)
    base = kt.fit_temperature(labels, probabilities)
    assert kt.apply_temperature(probabilities, 1.0) == pytest.approx(probabilities)
    too_sure = kt.apply_temperature(probabilities, 0.25)
    temperature = kt.fit_temperature(labels, too_sure)
    assert temperature == pytest.approx(4 * base, rel=1e-3)
    repaired = kt.apply_temperature(too_sure, temperature)
    assert repaired.dtype == np.float32
    assert np.allclose(repaired.sum(axis=1), 1)
    assert np.array_equal(repaired.argmax(axis=1), too_sure.argmax(axis=1))
    before, after = (
        kt.expected_calibration_error(labels, p) for p in (too_sure, repaired)
    )
    assert after < before / 3
    losses = [
        metrics.log_loss(labels, normal(kt.apply_temperature(too_sure, t)))
        for t in (temperature / 1.05, temperature, temperature * 1.05)
    ]
    assert losses[1] == min(losses)


def test_temperature_of_the_softmax_is_that_of_the_logits():
    logits = np.random.default_rng(0).normal(0, 5, (20, 4))
    one, three = (
        keras.ops.convert_to_numpy(keras.ops.softmax(logits / t)) for t in (1, 3)
    )
    assert np.allclose(kt.apply_temperature(one, 3.0), three, atol=1e-6)


def test_temperature_of_probabilities_that_were_rounded():
    # A sigmoid's 1 is "almost sure", not "sure": one mistake of it outweighs no others.
    saturated = np.float32([[0, 1], [0, 1], [0, 1], [0, 1]])
    scaled = kt.apply_temperature(saturated, 2.0)
    assert np.all(scaled[:, 0] > 1e-4)
    assert 10 < kt.fit_temperature([1, 1, 1, 0], saturated) < 20
    beside = kt.apply_temperature(np.array([[0, 1], [1e-30, 1]]), 2.0)
    assert np.array_equal(beside[0], scaled[0])
    # And no class may overtake another.
    tiny = np.array([[1 - 1e-20, 1e-20, 0.0]])
    assert [*kt.apply_temperature(tiny, 2.0).argsort()[0]][-1] == 0
    assert (
        kt.apply_temperature(tiny, 2.0)[0, 2] <= kt.apply_temperature(tiny, 2.0)[0, 1]
    )
    sure = np.tile([0.6, 0.4], (5, 1))
    assert kt.fit_temperature([0] * 5, sure) == pytest.approx(0.05, rel=1e-2)
    # However sure it is.
    for one in ([0.999, 0.001], [1, 0]):
        assert kt.fit_temperature([0], np.array([one])) == 0.05


def test_calibration_refuses_what_is_no_probability():
    probabilities, labels = random_answers(3, count=4)
    calls = itertools.product(
        (kt.expected_calibration_error, kt.fit_temperature),
        (
            (np.log(probabilities), labels, "pass the softmax"),
            (probabilities * np.nan, labels, "pass the softmax"),
            (probabilities[:0], labels[:0], r"shape \(0, 3\)"),
            (probabilities[:, 0], labels, r"shape \(4,\)"),
            (probabilities, labels[:3], "4 rows, 3 labels"),
        ),
    )
    for function, (probabilities, labels, message) in calls:
        with pytest.raises(ValueError, match=message):
            function(labels, probabilities)
    for temperature in (0, -1, np.nan, np.inf):
        with pytest.raises(ValueError, match="Received: temperature="):
            kt.apply_temperature(np.array([[0.5, 0.5]]), temperature)
    with pytest.raises(ValueError, match="num_bins=0"):
        kt.expected_calibration_error([0], np.array([[0.5, 0.5]]), num_bins=0)


def pairs(count=10):
    return tf.data.Dataset.from_tensor_slices(images_and_labels(count)).batch(4)


def test_the_model_is_left_as_it_was():
    model = small_classifier(dropout=0.5)
    kt.compile_classifier(model, "adam")
    model.fit(pairs(), verbose=0)
    before = state(model)
    report = kt.evaluate_classifier(model, pairs(), names(2))
    with pytest.raises(ValueError, match="that ends"):
        kt.evaluate_classifier(model, pairs().repeat(), names(2))
    assert not changed(before, model)
    expected = model.evaluate(pairs(), verbose=0)[1]
    assert report.accuracy == pytest.approx(expected)


class Subclassed(keras.Model):
    def __init__(self, units=2, activation="softmax"):
        super().__init__()
        self.pool = keras.layers.GlobalAveragePooling2D()
        self.head = keras.layers.Dense(units, activation=activation)

    def call(self, images):
        return self.head(self.pool(images))


def called(model):
    model(images_and_labels()[0])
    return model


def several_inputs(structure):
    inputs = keras.tree.map_structure(
        lambda name: keras.Input((8, 8, 3), name=name), structure
    )
    maps = [
        keras.layers.GlobalAveragePooling2D()(x) for x in keras.tree.flatten(inputs)
    ]
    x = keras.layers.Concatenate()(maps)
    return keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(x))


@pytest.mark.parametrize("kind", ["subclassed", "two", "dict", "any size", "one image"])
def test_every_kind_of_model_is_evaluated(kind):
    given, model = pairs(), None
    if kind == "subclassed":
        model = called(Subclassed())
    elif kind == "two":
        model = several_inputs(["left", "right"])
        given = given.map(lambda x, y: ((x, x + 1), y))
    elif kind == "dict":
        model = several_inputs({"left": "left", "right": "right"})
        given = given.map(lambda x, y: ({"left": x, "right": x + 1}, y))
    elif kind == "any size":
        model = kt.build_classifier(small_backbone(size=None), 2)
    else:
        # Keras notes the one image that this was first called on.
        model = keras.Sequential(
            [keras.layers.Flatten(), keras.layers.Dense(2, activation="softmax")]
        )
        model(images_and_labels(1)[0])
    report = kt.evaluate_classifier(model, given, names(2))
    expected = [model(x, training=False) for x, _ in given]
    assert np.allclose(report.probabilities, np.concatenate(expected), atol=1e-6)
    assert np.array_equal(report.labels, np.arange(10) % 2)


def test_models_that_are_no_classifier():
    keras.utils.set_random_seed(0)
    two = keras.Input((8, 8, 3))
    x = keras.layers.GlobalAveragePooling2D()(two)
    for model in (
        keras.Model(two, [keras.layers.Dense(2)(x), keras.layers.Dense(2)(x)]),
        small_backbone(),
        Subclassed(),
        keras.Sequential([keras.layers.Dense(2)]),
        called(Subclassed(2, "sigmoid")),
        called(Subclassed(3)),
        "model.keras",
        None,
    ):
        with pytest.raises(ValueError, match="Received: ") as caught:
            kt.evaluate_classifier(model, pairs(), names(2))
        assert "\n" not in str(caught.value)


class Broken(Subclassed):
    def call(self, images):
        return self.head(self.pool(images)[:, :2] @ np.eye(5, dtype="float32"))


class Several(Subclassed):
    def call(self, images):
        return [self.head(self.pool(images)) for _ in range(2)]


def test_subclassed_models_that_cannot_be_called():
    broken, several, maps = Broken(), Several(), called(Subclassed())
    maps.call = lambda images: images
    several(images_and_labels()[0])
    broken.built = True
    for model, message in (
        (broken, "cannot be called on such images"),
        (several, "one output of shape .*Received: 2 outputs"),
        (maps, "one output of shape"),
    ):
        with pytest.raises(ValueError, match=message) as caught:
            kt.evaluate_classifier(model, pairs(), names(2))
        assert "Received: " in str(caught.value)


def wrong_data():
    images, labels = images_and_labels(10)
    slices = tf.data.Dataset.from_tensor_slices
    dictionary = {"image": images, "label": labels}
    return {
        "arrays": (images, labels),
        "images": images,
        "a path": "photos",
        "none": None,
        "a list": [(images, labels)],
        "single images": slices((images, labels)),
        "endless": pairs().repeat(),
        "dictionaries": slices(dictionary).batch(4),
        "no labels": slices(images).batch(4),
        "weights": slices((images, labels, labels)).batch(4),
        "empty": pairs().take(0),
        "another size": slices((images[:, :4], labels)).batch(4),
        "grayscale": slices((images[..., :1], labels)).batch(4),
        "texts": slices((images, np.where(labels, "cat", "dog"))).batch(4),
        "ragged": slices((tf.ragged.constant([[1.0], [1.0, 2.0]]), [0, 1])).batch(2),
        "columns": slices((images, np.zeros((10, 3)))).batch(4),
        "smoothed": slices((images, np.full((10, 2), 0.5))).batch(4),
        "fractions": slices((images, labels + 0.5)).batch(4),
        "three classes": slices((images, labels + 1)).batch(4),
    }


@pytest.mark.parametrize("kind", wrong_data())
@pytest.mark.parametrize("subclassed", [False, True])
def test_data_of_every_kind(kind, subclassed):
    model = called(Subclassed()) if subclassed else small_classifier()
    if subclassed and kind == "another size":
        return  # It takes any.
    with pytest.raises(ValueError, match="Received: ") as caught:
        kt.evaluate_classifier(model, wrong_data()[kind], names(2))
    assert "\n" not in str(caught.value)


def test_splits_are_not_one_part_of_them():
    splits = kt.load_dataset("sample_cats_vs_dogs", image_size=64, max_images=30)
    with pytest.raises(ValueError, match=r"dataset=splits\.test.*Received: dataset="):
        kt.evaluate_classifier(small_classifier(), splits, splits.class_names)


@pytest.mark.parametrize("wrong", ["ab", ["a"], ["a", "a"], [1, 2], None, {"a": 0}, 2])
def test_class_names_that_are_none(wrong):
    with pytest.raises(ValueError, match="Received: class_names="):
        kt.evaluate_classifier(small_classifier(), pairs(), wrong)


def test_class_names_in_every_form():
    for given in (np.array(["cat", "dog"]), ("cat", "dog")):
        report = kt.evaluate_classifier(small_classifier(), pairs(), given)
        assert report.class_names == ("cat", "dog")
        json.dumps(report.to_dict())


def test_counts_of_mistakes():
    report = evaluate(*random_answers(5))
    assert report.mistakes(0) == []
    assert report.mistakes(np.int64(3)) == report.mistakes()[:3]
    for wrong in (-1, 2.5, "3", None, True):
        with pytest.raises(ValueError, match="Received: count="):
            report.mistakes(wrong)


def test_calibration_takes_what_has_one_meaning():
    probabilities, labels = random_answers(3, count=20)
    expected = kt.fit_temperature(labels, probabilities)
    assert kt.fit_temperature(labels.tolist(), probabilities.tolist()) == expected
    assert kt.fit_temperature(np.eye(3)[labels], probabilities) == expected
    half = tf.cast(probabilities, "bfloat16")
    assert kt.fit_temperature(tf.constant(labels), half) == pytest.approx(expected, 0.1)
    scaled = kt.apply_temperature(probabilities.tolist(), np.float32(2))
    np.testing.assert_array_equal(scaled, kt.apply_temperature(probabilities, 2))
    for wrong in ("2", None, True, [1, 2], {}):
        with pytest.raises(ValueError, match="Received: temperature="):
            kt.apply_temperature(probabilities, wrong)
    for wrong in (1.5, "15", None, 0, True):
        with pytest.raises(ValueError, match="Received: num_bins="):
            kt.expected_calibration_error(labels, probabilities, num_bins=wrong)
    for wrong in (None, "cat", [[0.5, 0.5], [1.0]], {}, 0.5, [], [["a", "b"]]):
        with pytest.raises(ValueError, match="Received: "):
            kt.apply_temperature(wrong, 1.0)
        with pytest.raises(ValueError, match="Received: "):
            kt.fit_temperature(wrong, probabilities)
        with pytest.raises(ValueError, match="Received: "):
            kt.expected_calibration_error(labels, wrong)


def test_shapes_that_tensorflow_does_not_know_are_those_of_the_model():
    probabilities, labels = random_answers(2)
    dataset = batched(probabilities, labels)

    def nameless(*parts):
        return tf.py_function(lambda *each: each, parts, [x.dtype for x in parts])

    model = answering(2, "softmax")
    unknown = dataset.map(nameless)
    assert unknown.element_spec[0].shape.rank is None
    report = kt.evaluate_classifier(model, unknown, names(2))
    assert report.accuracy == evaluate(probabilities, labels).accuracy
    kt.compile_classifier(model, "adam")
    with pytest.raises(ValueError, match=r"ensure_shape.*Received: dataset"):
        kt.find_learning_rate(model, unknown)
