"""The doctor finds results that mean less than they seem to."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_transfer.diagnosis import case
from keras_transfer.diagnosis.case import Case
from keras_transfer.diagnosis.checks.data import check_label_order
from keras_transfer.diagnosis.checks.results import (
    check_chosen_on_test,
    check_imbalance,
    check_test_size,
)
from tests.helpers.small_patients import (
    CLASS_NAMES,
    data,
    dataset,
    found,
    healthy,
    not_examined,
    one,
    photos,
)


def batched(images, labels):
    return tf.data.Dataset.from_tensor_slices((images, labels)).batch(16)


def unbalanced(count=200, rare=20):
    images, labels = photos(2 * count, seed=7)
    chosen = np.concatenate(
        [np.flatnonzero(labels == 0)[: count - rare], np.flatnonzero(labels)[:rare]]
    )
    return data(test=batched(images[chosen], labels[chosen]))


def always_first(model):
    model.get_layer("head_predictions").bias.assign([50.0, 0.0])
    return model


def test_accuracy_that_mirrors_imbalance():
    splits = unbalanced()
    assert found(check_imbalance, healthy(), splits) == []
    finding = one(check_imbalance, always_first(healthy()), splits)
    assert finding.severity == "serious"
    assert finding.numbers["accuracy"] == pytest.approx(0.9)
    assert finding.numbers["recall"] == pytest.approx(0.5)
    assert "are red" in finding.evidence
    # The same answers on balanced photos are another fault.
    assert found(check_imbalance, always_first(healthy())) == []


def test_a_rare_class_that_is_found_now_and_then_is_a_warning():
    model = healthy()
    images = np.concatenate([x for x, _ in unbalanced()["test"]])
    probabilities = model.predict(images, verbose=0)
    surer = np.sort(np.log(probabilities[:, 1] / probabilities[:, 0]))[::-1]
    # Towards red, until only the four bluest photos are still blue.
    head = model.get_layer("head_predictions")
    head.bias.assign_add([surer[3:5].mean(), 0.0])
    assert one(check_imbalance, model, unbalanced()).severity == "warning"


def test_few_test_photos():
    assert found(check_test_size) == []
    finding = one(check_test_size, splits=data(test=dataset(20, seed=3)))
    assert finding.severity == "serious"
    assert finding.numbers["photos"] == 20
    noisy = np.random.default_rng(0).permutation(60)[:10]
    images, labels = photos(60, seed=3)
    labels[noisy] = 1 - labels[noisy]
    finding = one(check_test_size, splits=data(test=batched(images, labels)))
    assert finding.severity == "note"
    assert finding.numbers["low"] < 5 / 6 < finding.numbers["high"]


def test_a_test_split_of_more_photos_than_are_looked_at():
    splits = data(test=dataset(800, seed=3))
    assert Case(healthy(), splits).size("test") == 800
    assert len(Case(healthy(), splits).sample("test").images) < 400
    assert found(check_test_size, splits=splits) == []
    unknown = dataset(800, seed=3).unbatch().filter(lambda x, y: y >= 0).batch(16)
    reason = not_examined(check_test_size, splits=data(test=unknown))
    assert reason == "how many test photos there are is not known"


def test_an_interval_that_reaches_chance():
    images, labels = photos(60, seed=3)
    labels[:27] = 1 - labels[:27]
    finding = one(check_test_size, splits=data(test=batched(images, labels)))
    assert finding.severity == "serious"
    assert finding.numbers["low"] <= 0.5


@pytest.mark.parametrize("seed", range(3))
def test_a_coin_flip_on_many_photos(seed):
    images, _ = photos(3000, seed=3)
    labels = np.random.default_rng(seed).integers(0, 2, 3000)
    splits = data(test=batched(images, labels))
    finding = one(check_test_size, splits=splits)
    assert finding.severity == "serious"
    assert finding.title == "Accuracy that may be chance"
    measured = len(Case(healthy(), splits).sample("test").images)
    assert finding.numbers["photos"] == measured < 400
    assert f"of {measured} test photos that were looked at (there are 3,000)" in (
        finding.evidence
    )
    # The interval is that of the photos that were measured.
    assert finding.numbers["high"] - finding.numbers["low"] > 0.08


def test_a_share_of_validation_photos_that_is_estimated(monkeypatch):
    limits = {"train": 100, "validation": 200, "test": 400}
    monkeypatch.setattr(case, "PHOTO_LIMITS", limits)
    images, labels = photos(400, seed=3)
    images[::5] = photos(600, seed=2)[0][:: 600 // 80][:80]
    splits = data(validation=dataset(600, seed=2), test=batched(images, labels))
    finding = one(check_chosen_on_test, splits=splits)
    assert "this is an estimate" in finding.evidence
    assert 0.1 < finding.numbers["share"] < 0.35


def test_a_test_split_that_is_the_validation_split():
    splits = data()
    assert not_examined(check_chosen_on_test, splits=splits) == "no history was given"
    history = {"loss": [1.0], "val_loss": [0.5], "val_accuracy": [0.9]}
    assert found(check_chosen_on_test, splits=splits, history=history) == []
    splits["test"] = splits["validation"]
    assert one(check_chosen_on_test, splits=splits).severity == "warning"
    finding = one(check_chosen_on_test, splits=splits, history=history)
    assert finding.severity == "serious"
    assert finding.numbers["share"] == 1


def test_a_test_split_that_was_passed_as_validation_data():
    model, splits = healthy(), data()
    model.get_layer("block2_conv1").trainable = True
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])

    def fit(validation):
        arguments = {"validation_data": validation, "epochs": 2, "verbose": 0}
        return model.fit(splits["train"], **arguments)

    history = fit(splits["validation"])
    assert found(check_chosen_on_test, model, splits, history=history) == []
    finding = one(check_chosen_on_test, model, splits, history=fit(splits["test"]))
    assert finding.severity == "serious"
    assert "Epoch 2" in finding.evidence


def test_a_history_without_a_loss_to_compare_it_with():
    history = {"val_loss": [0.5], "val_accuracy": [0.9]}
    bare = healthy(compiled=False)
    assert "no loss" in not_examined(check_chosen_on_test, bare, history=history)
    many = data(test=dataset(800, seed=3))
    reason = not_examined(check_chosen_on_test, splits=many, history=history)
    assert "too many" in reason


def test_labels_in_another_order():
    assert found(check_label_order) == []
    images, labels = photos(60, seed=3)
    finding = one(check_label_order, splits=data(test=batched(images, 1 - labels)))
    assert finding.severity == "serious"
    assert finding.numbers["accuracy"] < 0.1
    assert finding.numbers["accuracy_in_other_order"] > 0.9
    assert "red is answered as blue" in finding.evidence
    one_hot = keras.ops.one_hot(1 - labels, 2)
    splits = data(test=batched(images, one_hot))
    assert one(check_label_order, splits=splits).severity == "serious"


def test_a_model_that_knows_nothing_is_not_accused_of_another_order():
    model = healthy()
    rng = np.random.default_rng(0)
    model.get_layer("head_predictions").set_weights(
        [rng.normal(size=(8, 2)) * 1e-3, np.array([0.01, 0.0])]
    )
    images, _ = photos(60, seed=3)
    labels = rng.integers(0, 2, 60)
    assert found(check_label_order, model, data(test=batched(images, labels))) == []


def test_a_head_that_was_never_trained_has_no_order():
    # By chance it tells the classes apart, and names them the wrong way round.
    model = healthy()
    head = model.get_layer("head_predictions")
    fresh = keras.initializers.GlorotUniform(seed=1)(head.kernel.shape)
    images, labels = photos(60, seed=3)
    for order in (1, -1):
        head.set_weights([fresh[:, ::order], np.zeros(2)])
        splits = data(test=batched(images, labels))
        assert "never trained" in not_examined(check_label_order, model, splits)


def test_labels_without_an_output():
    images, labels = photos(60, seed=3)
    splits = data(test=batched(images, labels * 4), class_names=[*CLASS_NAMES, *"abc"])
    finding = one(check_label_order, splits=splits)
    assert finding.severity == "serious"
    assert "label 4" in finding.evidence
