"""The sweep finds a rate that works, and leaves no trace in the model."""

import random

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_transfer as kt
from tests.helpers.small_networks import images_and_labels, small_classifier


def compiled(optimizer=None):
    keras.utils.set_random_seed(0)
    model = small_classifier(normalized=True, dropout=0.5)
    kt.unfreeze(model, from_block="block1", train_batch_normalization=True)
    kt.compile_classifier(model, optimizer or keras.optimizers.AdamW(0.123))
    return model


def dataset(count=16):
    return tf.data.Dataset.from_tensor_slices(images_and_labels(count)).batch(4)


def state(model):
    variables = [*model.variables, *model.optimizer.variables]
    return [np.array(variable.value) for variable in variables]


@pytest.mark.parametrize("trained", [False, True])
def test_all_is_as_before_bit_for_bit(trained):
    model = compiled()
    if trained:
        model.fit(dataset(), verbose=0, shuffle=False)
    before = state(model)
    finder = kt.find_learning_rate(model, dataset(), num_steps=30)
    assert all(map(np.array_equal, before, state(model)))
    assert float(model.optimizer.learning_rate) == pytest.approx(0.123)
    rates = finder.learning_rates
    assert len(rates) == len(finder.losses) <= 30
    assert rates[0] == pytest.approx(1e-6)
    assert all(np.diff(rates) > 0)
    assert finder.suggestion < rates[-1]
    twin = compiled()
    if trained:
        twin.fit(dataset(), verbose=0, shuffle=False)
    for trained_model in (model, twin):
        trained_model.fit(dataset(), verbose=0, shuffle=False)
    # Dropout included, the model goes on as if there had been no sweep.
    assert all(map(np.array_equal, state(model), state(twin)))


def seen(model):
    """Return all that a user can see of a model, beside its variables."""
    names = ("optimizer", "history", "train_function", "test_function", "compiled")
    return {name: getattr(model, name, None) for name in names} | {
        "stop_training": model.stop_training,
        "metrics": list(model.metrics),
        "results": [float(v) for m in model.metrics for v in m.variables],
        "trainable": [layer.trainable for layer in model.layers],
        "python": random.getstate(),
        "numpy": np.random.get_state()[1].tolist(),
    }


@pytest.mark.parametrize("moment", ["unbuilt", "unbuilt metrics", "trained"])
def test_nothing_that_can_be_seen_is_another_one(moment):
    model = compiled()
    if moment == "unbuilt":
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    elif moment == "trained":
        model.fit(dataset(), verbose=0, shuffle=False)
        model.evaluate(dataset(), verbose=0)
    before, arrays = seen(model), state(model)
    built, steps = model.optimizer.built, int(model.optimizer.iterations)
    kt.find_learning_rate(model, dataset(), num_steps=10)
    assert seen(model) == before
    assert (model.optimizer.built, int(model.optimizer.iterations)) == (built, steps)
    assert all(map(np.array_equal, arrays, state(model)))
    model.fit(dataset(), verbose=0, shuffle=False)
    assert set(model.history.history) == {"loss", "accuracy"}
    # Also as a callback of a `fit` of one's own, whose history stays.
    before, arrays = seen(model), state(model)
    finder = kt.callbacks.LearningRateFinder(num_steps=10)
    history = model.fit(
        dataset().repeat(), epochs=1, steps_per_epoch=10, callbacks=[finder], verbose=0
    )
    assert len(finder.losses) == 10
    after = seen(model) | {"history": before["history"], "results": before["results"]}
    after["train_function"] = before["train_function"]
    assert model.history is history and after == before
    assert all(map(np.array_equal, arrays, state(model)))


def test_data_that_have_one_meaning():
    model = compiled()
    splits = kt.load_dataset("sample_cats_vs_dogs", image_size=8, max_images=36)
    for data in (splits, splits.train, dataset().repeat()):
        finder = kt.find_learning_rate(model, data, num_steps=np.int64(10))
        assert len(finder.losses) == 10
    assert len(kt.callbacks.LearningRateFinder(num_steps=12.0)._rates) == 12


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (images_and_labels(), r"from_tensor_slices.*Received: dataset=\("),
        (images_and_labels()[0], "from_tensor_slices"),
        (None, "dataset=None"),
        (dataset().unbatch(), r"\.batch\(32\)"),
        (dataset().map(lambda x, y: x), r"\(images, labels\)"),
        (dataset().take(0), "at least one batch"),
        (dataset().map(lambda x, y: (x[:, :4], y)), r"shape \(None, 8, 8, 3\)"),
    ],
)
def test_wrong_data(data, message):
    model = compiled()
    before = seen(model)
    with pytest.raises(ValueError, match=message):
        kt.find_learning_rate(model, data, num_steps=10)
    assert seen(model) == before


def test_an_interrupted_sweep_is_undone_too():
    class StopError(Exception):
        pass

    def interrupted():
        for batch, item in enumerate(dataset().as_numpy_iterator()):
            if batch == 2:
                raise StopError
            yield item

    broken = tf.data.Dataset.from_generator(
        interrupted, output_signature=dataset().element_spec
    )
    model = compiled()
    before = state(model)
    with pytest.raises(tf.errors.OpError, match="StopError"):
        kt.find_learning_rate(model, broken, num_steps=10)
    assert all(map(np.array_equal, before, state(model)))


def test_the_loss_is_that_of_each_batch():
    # At a rate of nearly zero nothing is learnt: the batches repeat their losses.
    model = compiled(keras.optimizers.SGD())
    kt.freeze(model)
    model.get_layer("head_dropout").rate = 0.0
    finder = kt.find_learning_rate(
        model,
        dataset(8),
        min_learning_rate=1e-30,
        max_learning_rate=1e-20,
        num_steps=12,
    )
    losses = [
        float(model.compute_loss(x, y, model(x, training=False))) for x, y in dataset(8)
    ]
    average = 0
    for step in range(12):
        average = 0.9 * average + 0.1 * losses[step % 2]
        expected = average / (1 - 0.9 ** (step + 1))
        assert finder.losses[step] == pytest.approx(expected, rel=1e-4)


def test_the_suggestion_learns_and_ten_thousand_times_less_does_not():
    def final_loss(rate):
        model = compiled(keras.optimizers.Adam(rate))
        return model.fit(dataset(), epochs=15, verbose=0, shuffle=False).history[
            "loss"
        ][-1]

    rate = kt.find_learning_rate(compiled(), dataset()).suggestion
    assert final_loss(rate) < final_loss(rate / 1e4)


def test_rates_by_depth_are_swept_together():
    model = compiled()
    rates = kt.discriminative_learning_rates(model, 0.1)
    kt.compile_classifier(model, rates)
    before = state(model)
    kt.find_learning_rate(model, dataset(), num_steps=10)
    assert all(map(np.array_equal, before, state(model)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"min_learning_rate": 0}, "min_learning_rate=0"),
        ({"min_learning_rate": 1e-3, "max_learning_rate": 1e-4}, "=0.0001"),
        ({"num_steps": 5}, "num_steps=5"),
        ({"num_steps": "60"}, "num_steps='60'"),
        ({"num_steps": None}, "num_steps=None"),
        ({"min_learning_rate": "1"}, "min_learning_rate='1'"),
        ({"max_learning_rate": np.nan}, "max_learning_rate=nan"),
    ],
)
def test_wrong_sweeps(arguments, message):
    with pytest.raises(ValueError, match=message):
        kt.callbacks.LearningRateFinder(**arguments)


def test_wrong_models():
    with pytest.raises(ValueError, match="model=None"):
        kt.find_learning_rate(None, dataset())
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5)
    with pytest.raises(ValueError, match="follows a schedule"):
        kt.find_learning_rate(compiled(keras.optimizers.Adam(schedule)), dataset())
    model = compiled()
    model.compile("adam")
    with pytest.raises(ValueError, match="compiled with a loss"):
        kt.find_learning_rate(model, dataset())
    model.compile("adam", "sparse_categorical_crossentropy", steps_per_execution=4)
    with pytest.raises(ValueError, match="steps_per_execution=4"):
        kt.find_learning_rate(model, dataset())
    with pytest.raises(ValueError, match="no suggestion before"):
        kt.callbacks.LearningRateFinder().suggestion  # noqa: B018
