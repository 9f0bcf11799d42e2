"""The doctor finds last layers, modes and outputs that cannot be right."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_transfer as kt
from keras_transfer.diagnosis.checks.last_layer import check_last_layer
from keras_transfer.diagnosis.checks.outputs import check_outputs, check_training_mode
from keras_transfer.diagnosis.checks.results import check_predictions
from tests.helpers.small_patients import (
    SIZE,
    data,
    found,
    healthy,
    not_examined,
    one,
    photos,
)

LOSSES = keras.losses


@pytest.mark.parametrize("activation", ["softmax", "sigmoid", None])
def test_a_loss_that_fits_is_not_accused(activation):
    assert found(check_last_layer, healthy(activation=activation)) == []


@pytest.mark.parametrize(
    ("activation", "loss", "title", "lowest"),
    [
        ("softmax", LOSSES.SparseCategoricalCrossentropy, "Softmax and from", 0.313),
        ("sigmoid", LOSSES.BinaryCrossentropy, "Sigmoid and from_logits", 0.313),
        (None, LOSSES.SparseCategoricalCrossentropy, "Logits without", None),
    ],
)
def test_softmax_taken_for_logits_and_logits_for_softmax(
    activation, loss, title, lowest
):
    model = healthy(activation=activation)
    model.compile("adam", loss(from_logits=activation is not None))
    finding = one(check_last_layer, model)
    assert finding.severity == "serious"
    assert finding.title.startswith(title)
    if lowest:
        assert finding.numbers["lowest_loss"] == pytest.approx(lowest, abs=1e-3)
    else:
        assert finding.numbers["outside"] > 0.5


def test_logits_with_the_loss_by_its_name():
    model = healthy(activation=None)
    model.compile("adam", "sparse_categorical_crossentropy")
    assert one(check_last_layer, model).title == "Logits without from_logits=True"


def test_an_activation_behind_the_last_dense_layer():
    logits = healthy(activation=None)
    outputs = keras.layers.Activation("softmax", dtype="float32")(logits.output)
    model = keras.Model(logits.input, outputs)
    model.compile("adam", LOSSES.SparseCategoricalCrossentropy())
    assert found(check_last_layer, model) == []
    model.compile("adam", LOSSES.SparseCategoricalCrossentropy(from_logits=True))
    assert one(check_last_layer, model).title.startswith("Softmax and")


def headed(units, activation):
    model = healthy()
    features = model.get_layer("head_dropout").output
    outputs = keras.layers.Dense(units, activation=activation)(features)
    return keras.Model(model.input, outputs)


def test_softmax_over_one_unit():
    finding = one(check_last_layer, headed(1, "softmax"))
    assert finding.severity == "serious"
    assert "all of 60 answers are 1" in finding.evidence


def test_sigmoid_for_exclusive_classes():
    images, labels = photos(60, seed=3)
    three = tf.data.Dataset.from_tensor_slices((images, labels + labels[::-1] * 2 % 3))
    model = headed(3, "sigmoid")
    finding = one(check_last_layer, model, data(test=three.batch(16)))
    assert finding.severity == "warning"
    assert finding.title == "Sigmoid for classes that exclude each other"
    # Several classes at once are what sigmoid is for.
    many = np.random.default_rng(0).integers(0, 2, (60, 3)).astype("float32")
    several = tf.data.Dataset.from_tensor_slices((images, many)).batch(16)
    model.compile("adam", LOSSES.BinaryCrossentropy())
    assert found(check_last_layer, model, data(test=several)) == []


def test_a_loss_that_is_not_known_is_not_judged():
    assert "not compiled" in not_examined(check_last_layer, healthy(compiled=False))
    model = healthy()
    model.compile("adam", LOSSES.Dice())
    assert "no crossentropy" in not_examined(check_last_layer, model)
    model.compile("adam", lambda y, p: keras.ops.mean(p))
    assert "describe" in not_examined(check_last_layer, model)


class AlwaysDropout(keras.layers.Layer):
    def __init__(self):
        super().__init__()
        self.dropout = keras.layers.Dropout(0.5)

    def call(self, inputs):
        return self.dropout(inputs, training=True)


class BatchStatistics(keras.layers.Layer):
    def call(self, inputs):
        mean = keras.ops.mean(inputs, axis=0, keepdims=True)
        return inputs - mean


def with_layer(layer, **call):
    model = healthy()
    x = layer(model.get_layer("head_pooling").output, **call)
    return keras.Model(model.input, model.get_layer("head_predictions")(x))


def test_dropout_and_batch_statistics_at_prediction():
    assert found(check_training_mode) == []
    chance = one(check_training_mode, with_layer(AlwaysDropout()))
    assert (chance.severity, chance.title) == (
        "serious",
        "Predictions depend on chance",
    )
    batch = one(check_training_mode, with_layer(BatchStatistics()))
    assert "other photos in the batch" in batch.title


def test_training_written_into_the_graph():
    model = with_layer(keras.layers.Dropout(0.5, name="rest"), training=True)
    before = [np.array(x) for x in model.variables]
    finding = one(check_training_mode, model)
    assert finding.severity == "serious"
    assert finding.evidence.startswith("rest was called with training=True")
    # Neither weights nor the state of its random numbers.
    for a, b in zip(before, model.variables, strict=True):
        assert np.array_equal(a, b)
    normalization = keras.layers.BatchNormalization(name="still")
    model = with_layer(normalization, training=True)
    assert "still was called" in one(check_training_mode, model).evidence
    assert not np.any(normalization.moving_mean)
    assert found(check_training_mode, with_layer(keras.layers.Dropout(0.5))) == []


def test_augmentation_inside_the_model_is_worth_a_note():
    inputs = keras.Input((SIZE, SIZE, 3))
    flipped = keras.layers.RandomBrightness(0.8, name="light")(inputs)
    model = keras.Model(inputs, healthy()(flipped))
    finding = one(check_training_mode, model)
    assert finding.severity == "note"
    assert "light" in finding.evidence
    # Nor does it do more harm where training=True is written: predict is right.
    light = keras.layers.RandomBrightness(0.8, name="light")
    model = keras.Model(inputs, healthy()(light(inputs, training=True)))
    assert one(check_training_mode, model).severity == "note"


class AlwaysBrightness(keras.layers.Layer):
    def __init__(self):
        super().__init__()
        self.light = keras.layers.RandomBrightness(0.8)

    def call(self, inputs):
        return self.light(inputs, training=True)


def test_augmentation_that_stays_on_at_prediction():
    inputs = keras.Input((SIZE, SIZE, 3))
    model = keras.Model(inputs, healthy()(AlwaysBrightness()(inputs)))
    finding = one(check_training_mode, model)
    assert (finding.severity, finding.title) == (
        "serious",
        "Predictions depend on chance",
    )


def test_outputs_that_are_no_numbers():
    model = healthy()
    assert found(check_outputs, model) == []
    model.get_layer("head_predictions").bias.assign([np.nan, 0.0])
    finding = one(check_outputs, model)
    assert finding.severity == "serious"
    assert "head_predictions/bias" in finding.evidence
    assert "100% of the answers" in finding.evidence
    assert "not finite" in not_examined(check_training_mode, model)


def test_the_same_answer_to_every_photo():
    model = healthy()
    kernel, bias = model.get_layer("block2_conv1").get_weights()
    model.get_layer("block2_conv1").set_weights([kernel, bias - 1e3])
    finding = one(check_outputs, model)
    assert finding.severity == "serious"
    assert finding.numbers["spread"] == 0
    assert "answered with" in finding.evidence
    # Outputs that differ, and never by enough to answer otherwise.
    model = healthy()
    model.get_layer("head_predictions").bias.assign([50.0, 0.0])
    assert "answered with red" in one(check_outputs, model).evidence


def test_predictions_in_another_order():
    model = healthy()
    splits = data()
    own = model.predict(splits["test"], verbose=0)
    assert found(check_predictions, model, splits, predictions=own) == []
    order = np.random.default_rng(0).permutation(len(own))
    for given in (own[order], own[order, 1], own[order].argmax(axis=1)):
        finding = one(check_predictions, model, splits, predictions=given)
        assert finding.severity == "serious"
        assert finding.title == "Predictions in another order than the photos"
    # A report of a data set that shuffles has its labels from the same pass.
    shuffled = splits["test"].unbatch().shuffle(60, seed=1).batch(16)
    report = kt.evaluate_classifier(model, shuffled, splits["class_names"])
    assert found(check_predictions, model, splits, predictions=report) == []
    finding = one(
        check_predictions, model, splits, predictions=model.predict(shuffled, verbose=0)
    )
    assert finding.title == "Predictions in another order than the photos"


def test_predictions_of_the_validation_split():
    model, splits = healthy(), data()
    report = kt.evaluate_classifier(model, splits["validation"], splits["class_names"])
    finding = one(check_predictions, model, splits, predictions=report)
    assert finding.severity == "warning"
    assert "validation" in finding.title
    finding = one(
        check_predictions,
        model,
        splits,
        predictions=report,
        history={"loss": [1.0], "val_loss": [1.0]},
    )
    assert finding.severity == "serious"


def test_predictions_in_training_mode():
    model = healthy(dropout=0.7)
    splits = data()
    images = np.concatenate([x for x, _ in splits["test"]])
    given = np.array(model(images, training=True))
    finding = one(check_predictions, model, splits, predictions=given)
    assert finding.severity == "serious"
    assert finding.title == "Predictions in training mode"


def test_predictions_of_something_else():
    model, splits = healthy(), data()
    others = np.random.default_rng(0).dirichlet([1, 1], 60)
    finding = one(check_predictions, model, splits, predictions=others)
    assert finding.severity == "warning"
    finding = one(check_predictions, model, splits, predictions=others[:7])
    assert "7 predictions were given for 60" in finding.evidence
    assert "columns" in not_examined(
        check_predictions, model, splits, predictions=np.ones((60, 5)) / 5
    )
    with pytest.raises(ValueError, match="Received: predictions of shape"):
        found(check_predictions, model, splits, predictions=np.ones((2, 2, 2)))
    assert not_examined(check_predictions) == "no predictions were given"


def test_class_numbers_that_rounding_changed():
    model, splits = healthy(), data()
    own = model.predict(splits["test"], verbose=0)
    numbers, gap = own.argmax(axis=1), np.abs(own[:, 0] - own[:, 1])
    # Photos that are about as much of one class as of the other may tip over.
    nearest = np.argsort(gap)[:2]
    head = model.get_layer("head_predictions")
    head.bias.assign_add([np.log(own[nearest, 1] / own[nearest, 0]).mean(), 0.0])
    tipped = model.predict(splits["test"], verbose=0).argmax(axis=1)
    tipped[nearest] = 1 - tipped[nearest]
    assert found(check_predictions, model, splits, predictions=tipped) == []
    finding = one(check_predictions, model, splits, predictions=1 - numbers)
    assert finding.severity == "warning"
    reason = not_examined(check_predictions, model, splits, predictions=numbers + 5)
    assert "no numbers of 2 classes" in reason


def test_a_model_of_one_unit_is_compared_by_its_second_class():
    model, splits = healthy(activation="sigmoid"), data()
    own = model.predict(splits["test"], verbose=0)
    for given in (own, own[:, 0], (own[:, 0] > 0.5).astype(int)):
        assert found(check_predictions, model, splits, predictions=given) == []
