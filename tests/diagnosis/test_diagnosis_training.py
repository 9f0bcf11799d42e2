"""The doctor finds what moves that should not, and what stays that should move."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_transfer as kt
from keras_transfer.diagnosis.case import Case
from keras_transfer.diagnosis.checks.training import (
    BOUND,
    _steps,
    check_backbone,
    check_batch_normalization,
    check_head,
    check_learning_rate,
    check_trainable,
)
from tests.helpers.small_patients import (
    build,
    data,
    found,
    healthy,
    not_examined,
    one,
    photos,
    unfrozen,
)


def train(model, **options):
    model.fit(data()["train"], epochs=1, verbose=0, **options)
    return model


def test_batch_normalization_that_moves_before_frozen_kernels():
    model = healthy(normalized=True)
    assert found(check_batch_normalization, model) == []
    model.get_layer("block2_bn").trainable = True
    kt.compile_classifier(model, "adam")
    before = model.get_layer("block2_bn").moving_mean.numpy()
    finding = one(check_batch_normalization, model)
    assert finding.severity == "serious"
    assert finding.numbers["layers"] == 1
    assert finding.numbers["moved"] > 0
    # Tried and undone.
    assert np.array_equal(model.get_layer("block2_bn").moving_mean, before)


def nested(trainable, **call):
    base = keras.Sequential(healthy(normalized=True).layers[:-3])
    for layer in [*base.layers, base]:
        layer.trainable = trainable
    inputs = keras.Input((16, 16, 3))
    x = keras.layers.GlobalAveragePooling2D()(base(inputs, **call))
    return keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(x))


def test_training_false_is_not_enough():
    finding = one(check_batch_normalization, nested(True, training=False))
    assert finding.numbers["layers"] == 2
    assert "training=False" in finding.evidence
    assert found(check_batch_normalization, nested(False, training=False)) == []
    # Whoever trains all of it on purpose says nothing of the kind.
    assert found(check_batch_normalization, nested(True)) == []
    assert found(check_batch_normalization, unfrozen(healthy(normalized=True))) == []


def test_a_frozen_model_around_layers_that_are_not():
    model = nested(False)
    base = next(x for x in model.layers if isinstance(x, keras.Sequential))
    assert found(check_batch_normalization, model) == []
    for layer in base.layers:
        layer.trainable = True
    # Keras trains these, whatever the model in between says.
    assert not base.trainable and len(model.trainable_weights) == 10
    assert found(check_batch_normalization, model) == []
    model.trainable = False
    for layer in base.layers:
        layer.trainable = True
    assert not model.trainable_weights
    assert one(check_batch_normalization, model).numbers["layers"] == 2


def test_trainable_changed_after_fit():
    model = train(healthy())
    assert found(check_trainable, model) == []
    unfrozen(model)
    finding = one(check_trainable, model)
    assert finding.severity == "serious"
    assert finding.numbers == {"updated": 2, "not_trained": 4}
    assert "block" in finding.evidence
    kt.compile_classifier(model, "adam")
    assert "has not been in `fit`" in not_examined(check_trainable, model)
    assert found(check_trainable, train(model)) == []


@pytest.mark.parametrize("steps", [1, 3])
def test_frozen_after_fit_without_effect(steps):
    model = unfrozen(healthy())
    kt.compile_classifier(model, "adam")
    model.steps_per_execution = steps
    train(model)
    model.get_layer("block1_conv1").trainable = False
    finding = one(check_trainable, model)
    assert "2 of them should be frozen" in finding.evidence


def test_trainable_changed_before_the_first_fit_works():
    model = healthy()
    unfrozen(model)
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.get_layer("block1_conv1").trainable = False
    assert found(check_trainable, train(model)) == []


def test_gradual_unfreezing_raises_no_alarm():
    model = healthy()
    schedule = kt.callbacks.GradualUnfreezing(["block2"])
    model.fit(data()["train"], epochs=2, callbacks=[schedule], verbose=0)
    assert model.get_layer("block2_conv1").trainable
    assert found(check_trainable, model) == []
    model.get_layer("block1_conv1").trainable = True
    assert one(check_trainable, model).numbers["not_trained"] == 2


def unlearnable():
    """Return data whose labels say nothing, so that a large step must do harm."""
    images, _ = photos(96, seed=1)
    labels = np.random.default_rng(0).integers(0, 2, 96)
    return data(train=tf.data.Dataset.from_tensor_slices((images, labels)).batch(16))


@pytest.mark.parametrize(
    ("optimizer", "rate"), [("Adam", 3.0), ("RMSprop", 3.0), ("SGD", 300.0)]
)
def test_learning_rate_that_destroys(optimizer, rate):
    model = unfrozen(healthy())
    before = model.get_weights()
    make = getattr(keras.optimizers, optimizer)
    kt.compile_classifier(model, make(rate))
    finding = one(check_learning_rate, model, unlearnable())
    assert finding.severity == "serious"
    assert finding.numbers["moved"] > 1
    assert int(model.optimizer.iterations) == 0
    for a, b in zip(before, model.get_weights(), strict=True):
        assert np.array_equal(a, b)
    kt.compile_classifier(model, make(1e-5))
    assert found(check_learning_rate, model, unlearnable()) == []


def test_a_network_that_is_not_known_may_move_as_long_as_its_loss_bears_it():
    model = unfrozen(healthy())
    kt.compile_classifier(model, keras.optimizers.Adam(2e-3))
    before, after, losses, _ = _steps(Case(model, data()), model.optimizer)
    moved = [
        np.linalg.norm(b - a) / np.linalg.norm(a)
        for a, b in zip(before, after, strict=True)
    ]
    assert BOUND < np.median(moved) < 1 and losses[1] < 2 * losses[0]
    kt.compile_classifier(model, keras.optimizers.Adam(2e-3))
    assert found(check_learning_rate, model) == []


def test_learning_rates_of_a_network_that_is_known():
    backbone = kt.build_backbone("efficientnet_lite0", image_size=32)
    model = kt.build_classifier(backbone, num_classes=2)
    kt.unfreeze(model, from_block=kt.block_names(model)[0])
    images, labels = photos(32, seed=1)
    images = np.repeat(np.repeat(images, 2, axis=1), 2, axis=2)
    train = tf.data.Dataset.from_tensor_slices((images, labels)).batch(16)
    for rate, count in ((1e-2, 1), (1e-5, 0)):
        kt.compile_classifier(model, keras.optimizers.Adam(rate))
        assert len(found(check_learning_rate, model, {"train": train})) == count
    # Nobody expects such steps to harm what is frozen.
    kt.unfreeze(model, from_block="top")
    kt.compile_classifier(model, keras.optimizers.Adam(1e-2))
    assert found(check_learning_rate, model, {"train": train}) == []


def test_weights_that_become_nan_are_destroyed():
    model = unfrozen(healthy())
    kt.compile_classifier(model, keras.optimizers.SGD(1e30))
    finding = one(check_learning_rate, model, unlearnable())
    assert finding.numbers["moved"] == np.inf
    assert finding.to_dict()["numbers"]["moved"] is None


def test_a_frozen_backbone_has_nothing_to_destroy():
    model = healthy()
    kt.compile_classifier(model, keras.optimizers.Adam(1.0))
    assert found(check_learning_rate, model) == []
    assert "not compiled" in not_examined(check_learning_rate, build())


def test_a_model_trained_from_scratch_at_its_rate_is_not_accused():
    model = unfrozen(build())
    kt.compile_classifier(model, keras.optimizers.Adam(1e-1))
    reason = not_examined(check_learning_rate, train(model))
    assert "cannot be known" in reason


def test_a_head_that_was_never_trained():
    model = healthy()
    assert found(check_head, model) == []
    head = model.get_layer("head_predictions")
    head.set_weights(
        [keras.initializers.GlorotUniform(seed=5)(head.kernel.shape), np.zeros(2)]
    )
    finding = one(check_head, model)
    assert finding.severity == "serious"
    assert "head_predictions" in finding.evidence
    kt.compile_classifier(model, keras.optimizers.SGD(1e-4))
    assert found(check_head, train(model)) == []


def test_a_head_without_a_bias_is_accused_only_if_it_knows_nothing():
    trained = healthy()
    features = trained.get_layer("head_dropout").output
    head = keras.layers.Dense(2, use_bias=False, activation="softmax")
    model = keras.Model(trained.input, head(features))
    images, labels = photos(60, seed=3)
    known = np.array(keras.Model(trained.input, features)(images))

    def right(kernel):
        return np.mean((known @ kernel).argmax(axis=1) == labels)

    shape = head.kernel.shape
    draws = [
        np.array(keras.initializers.GlorotUniform(seed=seed)(shape))
        for seed in range(100)
    ]
    # A kernel that was trained with small steps looks like a lucky draw.
    head.set_weights([max(draws, key=right)])
    assert "no bias" in not_examined(check_head, model)
    head.set_weights([min(draws, key=lambda kernel: abs(right(kernel) - 0.5))])
    assert one(check_head, model).severity == "serious"


@pytest.mark.parametrize("normalized", [False, True])
def test_a_backbone_with_random_weights(normalized):
    model = healthy(normalized)
    assert found(check_backbone, model) == []
    fresh = build(normalized)
    fresh.get_layer("head_predictions").set_weights(
        model.get_layer("head_predictions").get_weights()
    )
    finding = one(check_backbone, fresh)
    assert finding.severity == "serious"
    assert finding.numbers["fresh"] == 2
    unfrozen(fresh)
    kt.compile_classifier(fresh, keras.optimizers.Adam(1e-2))
    assert found(check_backbone, train(fresh)) == []


def test_a_step_that_cannot_be_looked_into_is_not_judged():
    model = healthy()
    model.compile("adam", "sparse_categorical_crossentropy", run_eagerly=True)
    train(model)
    unfrozen(model)
    assert "cannot be looked into" in not_examined(check_trainable, model)


def test_a_loss_that_does_not_fit_is_no_learning_rate():
    model = unfrozen(healthy())
    model.compile("adam", "categorical_crossentropy")
    reason = not_examined(check_learning_rate, model)
    assert "a training step failed" in reason
