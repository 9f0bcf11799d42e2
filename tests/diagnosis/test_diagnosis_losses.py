"""The doctor measures whether the loss fits the last layer and the labels."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_transfer.diagnosis.checks.data import check_label_order
from keras_transfer.diagnosis.checks.last_layer import check_last_layer
from tests.helpers.small_patients import data, found, healthy, not_examined, one, photos

LOSSES = keras.losses
IMAGES, LABELS = photos(60, seed=3)
THREE = np.arange(60) % 3


def labelled(labels):
    return {"test": tf.data.Dataset.from_tensor_slices((IMAGES, labels)).batch(16)}


def one_hot(labels):
    return np.eye(labels.max() + 1, dtype="float32")[labels]


def headed(units, activation):
    model = healthy()
    features = model.get_layer("head_dropout").output
    head = keras.layers.Dense(units, activation=activation)
    return keras.Model(model.input, head(features))


def compiled(units, activation, loss, **settings):
    model = healthy() if (units, activation) == (2, "softmax") else None
    model = model or headed(units, activation)
    model.compile("adam", loss, **settings)
    return model


NUMBERS, COLUMN, ONE_HOT = LABELS, LABELS[:, None], one_hot(LABELS)
BLIND = "A loss that does not tell right from wrong answers"
IMPOSSIBLE = "A loss that cannot take these labels"
SEVERAL = "Binary crossentropy for classes that exclude each other"
READ = "A number that is trained towards the label, and read as a logit"
FAULTS = [
    (1, "sigmoid", "categorical_crossentropy", NUMBERS, BLIND),
    (1, "sigmoid", LOSSES.CategoricalCrossentropy(), COLUMN, BLIND),
    (1, "sigmoid", LOSSES.categorical_crossentropy, COLUMN.astype("float32"), BLIND),
    (1, "sigmoid", LOSSES.CategoricalFocalCrossentropy(), NUMBERS, BLIND),
    (1, "sigmoid", ["categorical_crossentropy"], NUMBERS, BLIND),
    (1, "sigmoid", "kl_divergence", NUMBERS, BLIND),
    (1, "sigmoid", "cosine_similarity", NUMBERS, BLIND),
    (1, "sigmoid", "mse", ONE_HOT, BLIND),
    (1, None, LOSSES.CategoricalCrossentropy(from_logits=True), NUMBERS, BLIND),
    (3, "softmax", "mse", THREE[:, None], BLIND),
    (3, "softmax", "hinge", THREE[:, None], BLIND),
    (3, "softmax", LOSSES.MeanAbsoluteError(), THREE[:, None], BLIND),
    (1, "sigmoid", "sparse_categorical_crossentropy", NUMBERS, IMPOSSIBLE),
    (2, "softmax", "sparse_categorical_crossentropy", ONE_HOT, IMPOSSIBLE),
    (2, "softmax", LOSSES.sparse_categorical_crossentropy, ONE_HOT, IMPOSSIBLE),
    (2, "softmax", "categorical_crossentropy", NUMBERS, IMPOSSIBLE),
    (3, "softmax", "categorical_crossentropy", THREE[:, None], IMPOSSIBLE),
    (2, "softmax", "binary_crossentropy", NUMBERS, IMPOSSIBLE),
    (2, "softmax", "mse", NUMBERS, IMPOSSIBLE),
    (1, "sigmoid", "binary_crossentropy", ONE_HOT, IMPOSSIBLE),
    (2, "softmax", "binary_crossentropy", ONE_HOT, SEVERAL),
    (3, "softmax", LOSSES.BinaryCrossentropy(), one_hot(THREE), SEVERAL),
    (3, "softmax", LOSSES.BinaryFocalCrossentropy(), one_hot(THREE), SEVERAL),
    (3, None, LOSSES.BinaryCrossentropy(from_logits=True), one_hot(THREE), SEVERAL),
    (1, None, "mse", NUMBERS, READ),
    (1, None, LOSSES.Huber(), COLUMN, READ),
    (2, "sigmoid", "binary_crossentropy", ONE_HOT, "Sigmoid for classes that exclude"),
    (1, "softmax", "categorical_crossentropy", NUMBERS, "Softmax over a single unit"),
    (3, None, "kl_divergence", one_hot(THREE), "Logits without from_logits=True"),
    (3, None, "crossentropy", THREE, "Logits without from_logits=True"),
    (1, None, LOSSES.BinaryFocalCrossentropy(), NUMBERS, "Logits without from_logits"),
    (
        *(1, "sigmoid", LOSSES.BinaryFocalCrossentropy(from_logits=True), NUMBERS),
        "Sigmoid and from_logits=True",
    ),
    (
        *(2, "softmax", LOSSES.CategoricalCrossentropy(from_logits=True), ONE_HOT),
        "Softmax and from_logits=True",
    ),
]


@pytest.mark.parametrize(("units", "activation", "loss", "labels", "title"), FAULTS)
def test_a_loss_that_does_not_fit(units, activation, loss, labels, title):
    model = compiled(units, activation, loss)
    finding = one(check_last_layer, model, labelled(labels))
    assert finding.title.startswith(title)
    if title == BLIND:
        assert finding.numbers["wrong"] <= finding.numbers["right"] + 1e-3
        assert finding.severity == "serious"


def test_the_loss_is_measured_on_these_photos():
    model = compiled(1, "sigmoid", "categorical_crossentropy")
    finding = one(check_last_layer, model, labelled(NUMBERS))
    assert finding.numbers["loss"] == pytest.approx(0, abs=1e-5)
    assert "On 60 test photos the loss of right, sure answers is" in finding.evidence
    model = compiled(2, "softmax", "binary_crossentropy")
    finding = one(check_last_layer, model, labelled(ONE_HOT))
    own = LOSSES.BinaryCrossentropy()(ONE_HOT, model.predict(IMAGES, verbose=0))
    assert finding.numbers["loss"] == pytest.approx(float(own), rel=1e-3)


HEALTHY = [
    (1, "sigmoid", "binary_crossentropy", NUMBERS),
    (1, "sigmoid", LOSSES.BinaryCrossentropy(label_smoothing=0.1), COLUMN),
    (1, "sigmoid", LOSSES.BinaryFocalCrossentropy(), NUMBERS),
    (1, "sigmoid", "crossentropy", NUMBERS),
    (1, "sigmoid", "mse", NUMBERS),
    (1, "sigmoid", "hinge", NUMBERS),
    (1, None, LOSSES.BinaryCrossentropy(from_logits=True), NUMBERS),
    (1, None, LOSSES.BinaryFocalCrossentropy(from_logits=True), COLUMN),
    (1, None, "hinge", NUMBERS),
    (2, "softmax", "sparse_categorical_crossentropy", NUMBERS),
    (2, "softmax", LOSSES.sparse_categorical_crossentropy, COLUMN),
    (2, "softmax", ["sparse_categorical_crossentropy"], NUMBERS),
    (2, "softmax", {"head_predictions": "sparse_categorical_crossentropy"}, NUMBERS),
    (2, "softmax", "categorical_crossentropy", ONE_HOT),
    (2, "softmax", LOSSES.CategoricalCrossentropy(label_smoothing=0.1), ONE_HOT),
    (2, "softmax", LOSSES.CategoricalFocalCrossentropy(), ONE_HOT),
    (2, "softmax", "crossentropy", ONE_HOT),
    (2, "softmax", "mse", ONE_HOT),
    (2, "softmax", "categorical_hinge", ONE_HOT),
    (2, "softmax", "kl_divergence", ONE_HOT),
    (3, None, LOSSES.SparseCategoricalCrossentropy(from_logits=True), THREE),
    (3, None, LOSSES.CategoricalCrossentropy(from_logits=True), one_hot(THREE)),
]


@pytest.mark.parametrize(("units", "activation", "loss", "labels"), HEALTHY)
def test_a_loss_that_fits(units, activation, loss, labels):
    model = compiled(units, activation, loss)
    assert found(check_last_layer, model, labelled(labels)) == []


@pytest.mark.parametrize(
    ("units", "activation", "labels", "metric", "fits"),
    [
        (2, "softmax", NUMBERS, "accuracy", True),
        (2, "softmax", NUMBERS, keras.metrics.SparseCategoricalAccuracy(), True),
        (2, "softmax", NUMBERS, "categorical_accuracy", False),
        (2, "softmax", NUMBERS, keras.metrics.BinaryAccuracy(), False),
        (2, "softmax", NUMBERS, keras.metrics.AUC(), True),
        (2, "softmax", ONE_HOT, "acc", True),
        (2, "softmax", ONE_HOT, "sparse_categorical_accuracy", False),
        (2, "softmax", ONE_HOT, keras.metrics.Accuracy(), False),
        (2, "softmax", ONE_HOT, "top_k_categorical_accuracy", True),
        (1, "sigmoid", NUMBERS, "accuracy", True),
        (1, "sigmoid", NUMBERS, "sparse_categorical_accuracy", False),
    ],
)
def test_a_metric_beside_the_answers(units, activation, labels, metric, fits):
    kind = "binary" if units == 1 else "categorical"
    kind = "sparse_categorical" if units == 2 and labels is NUMBERS else kind
    # Twice, because each is computed for itself.
    model = healthy(activation=activation)
    model.compile("adam", f"{kind}_crossentropy", metrics=[metric])
    findings = found(check_last_layer, model, labelled(labels))
    assert [x.title for x in findings] == (
        [] if fits else ["A metric that is not the accuracy of these answers"]
    )


def test_an_accuracy_of_logits_that_parts_at_one_half():
    model = headed(1, None)
    head = model.layers[-1]
    logits = model.predict(IMAGES, verbose=0)
    head.bias.assign([0.25 - np.median(logits)])
    loss = LOSSES.BinaryCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=[keras.metrics.BinaryAccuracy(threshold=0)])
    assert found(check_last_layer, model, data()) == []


def test_a_loss_given_as_something_else():
    class Own(LOSSES.Loss):
        def call(self, labels, outputs):
            return keras.ops.mean(outputs)

    model = healthy()
    model.compile("adam", Own())
    assert not_examined(check_last_layer, model, labelled(NUMBERS))


OUTSIDE = [
    (1, "tanh", "binary_crossentropy", NUMBERS, "Tanh before a crossentropy"),
    (1, "relu", LOSSES.BinaryCrossentropy(), NUMBERS, "Relu before a crossentropy"),
    (2, "tanh", "sparse_categorical_crossentropy", NUMBERS, "Tanh before a"),
    (3, "softplus", "categorical_crossentropy", one_hot(THREE), "Softplus before a"),
    (2, "log_softmax", "categorical_crossentropy", ONE_HOT, "Log_softmax before a"),
    (
        *(1, "tanh", LOSSES.BinaryCrossentropy(from_logits=True), NUMBERS),
        "Tanh and from_logits=True",
    ),
    (
        *(3, "relu", LOSSES.SparseCategoricalCrossentropy(from_logits=True), THREE),
        "Relu and from_logits=True",
    ),
]


@pytest.mark.parametrize(("units", "activation", "loss", "labels", "title"), OUTSIDE)
def test_an_activation_that_no_crossentropy_takes(
    units, activation, loss, labels, title
):
    model = compiled(units, activation, loss)
    finding = one(check_last_layer, model, labelled(labels))
    assert finding.title.startswith(title)
    outputs = model.predict(IMAGES, verbose=0)
    outside = np.mean((outputs < 0) | (outputs > 1))
    assert finding.numbers["outside"] == pytest.approx(outside, abs=0.02)
    assert f"{finding.numbers['outside']:.0%} of them lie outside" in finding.evidence
    if "logits" not in title:
        assert finding.numbers["lowest"] == pytest.approx(outputs.min(), abs=1e-3)
        assert finding.numbers["highest"] == pytest.approx(outputs.max(), abs=1e-3)
    assert finding.severity == ("warning" if "logits" in title else "serious")


@pytest.mark.parametrize(
    ("units", "activation", "loss", "labels"),
    [
        (1, "tanh", "hinge", 2 * LABELS - 1),
        (1, "tanh", LOSSES.SquaredHinge(), 2.0 * COLUMN - 1),
        (1, None, LOSSES.hinge, 2 * LABELS - 1),
        (2, "log_softmax", LOSSES.CategoricalCrossentropy(from_logits=True), ONE_HOT),
    ],
)
def test_other_activations_that_fit(units, activation, loss, labels):
    model, splits = compiled(units, activation, loss), labelled(labels)
    assert found(check_last_layer, model, splits) == []
    if labels.min() < 0:
        reason = not_examined(check_label_order, model, splits)
        assert reason == "there are labels below 0"


def test_activations_of_which_nothing_is_known():
    for activation in ("hard_sigmoid", keras.layers.LeakyReLU(0.5)):
        reason = not_examined(
            check_last_layer, compiled(1, activation, "binary_crossentropy"), data()
        )
        assert reason.startswith("the last activation is")
