"""Blocks join from the top, inside one fit, and what is frozen does not move."""

import keras
import numpy as np
import pytest

import keras_transfer as kt
from tests.helpers import fresh_process
from tests.helpers.small_networks import (
    changed_blocks,
    images_and_labels,
    small_classifier,
    values,
)


class Watch(keras.callbacks.Callback):
    """Note in each epoch which blocks changed, and what was trainable."""

    def __init__(self):
        super().__init__()
        self.changed, self.trainable = [], []

    def on_epoch_begin(self, epoch, logs=None):
        self.before = values(self.model)

    def on_epoch_end(self, epoch, logs=None):
        self.changed.append(changed_blocks(self.before, self.model))
        paths = [v.path for v in self.model.trainable_variables]
        self.trainable.append({path.split("_")[0] for path in paths})


def compiled(optimizer=None, **arguments):
    keras.utils.set_random_seed(0)
    model = small_classifier(blocks=3, **arguments)
    kt.compile_classifier(
        model, optimizer or keras.optimizers.AdamW(0.01, weight_decay=0.1)
    )
    return model


def fit(model, epochs, *callbacks, **arguments):
    images, labels = images_and_labels(16)
    return model.fit(
        images,
        labels,
        batch_size=4,
        epochs=epochs,
        shuffle=False,
        callbacks=list(callbacks),
        verbose=0,
        **arguments,
    )


@pytest.mark.parametrize("kind", ["adamw", "by depth", "sgd", "accumulated"])
def test_frozen_blocks_are_bit_identical_until_their_epoch(kind):
    optimizer = {
        "sgd": keras.optimizers.SGD(0.1, momentum=0.9, weight_decay=0.1),
        "accumulated": keras.optimizers.AdamW(0.01, gradient_accumulation_steps=2),
    }.get(kind)
    model = compiled(optimizer)
    if kind == "by depth":
        rates = kt.discriminative_learning_rates(model, 0.01)
        kt.compile_classifier(model, rates)
    watch = Watch()
    fit(model, 7, kt.callbacks.GradualUnfreezing(epochs_per_block=2), watch)
    stages = [
        {"head"},
        {"head", "block3"},
        {"head", "block3", "block2"},
        {"head", "block3", "block2", "block1"},
    ]
    expected = [stages[epoch // 2] for epoch in range(7)]
    assert watch.changed == expected
    assert watch.trainable == expected


@pytest.mark.parametrize("by_depth", [False, True])
def test_mixed_precision(by_depth):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = compiled()
        if by_depth:
            kt.compile_classifier(model, kt.discriminative_learning_rates(model, 0.01))
        watch = Watch()
        fit(model, 3, kt.callbacks.GradualUnfreezing(["block3"]), watch)
    finally:
        keras.config.set_dtype_policy("float32")
    stages = [{"head"}, {"head", "block3"}, {"head", "block3"}]
    assert watch.changed == watch.trainable == stages
    assert hasattr(model.optimizer, "inner_optimizer")


def test_chosen_blocks_only_and_batch_normalization_stands_still():
    model = compiled(normalized=True)
    watch, start = Watch(), values(model)
    fit(model, 4, watch, kt.callbacks.GradualUnfreezing(["block1", "block3"]))
    assert watch.changed == [
        {"head"},
        {"head", "block3"},
        {"head", "block3", "block1"},
        {"head", "block3", "block1"},
    ]
    still = [path for path in start if "_bn/" in path]
    assert still
    for path in still:
        assert np.array_equal(values(model)[path], start[path])


def test_what_an_earlier_fit_taught_the_optimizer_is_kept():
    model = compiled()
    fit(model, 2)
    state = {v.path: np.array(v.value) for v in model.optimizer.variables}
    schedule = kt.callbacks.GradualUnfreezing()
    schedule.set_model(model)
    assert int(model.optimizer.iterations) == 8
    after = {v.path: np.array(v.value) for v in model.optimizer.variables}
    assert len(after) > len(state)
    assert all(np.array_equal(after[path], state[path]) for path in state)
    # What is trainable has not changed before the first epoch.
    assert {v.path.split("_")[0] for v in model.trainable_variables} == {"head"}


def test_what_callbacks_set_survives_a_recompile():
    model = compiled()
    rate = keras.callbacks.LearningRateScheduler(lambda epoch: 1e-4)
    fit(model, 2, kt.callbacks.GradualUnfreezing(), rate)
    kt.unfreeze(model, from_block="block2")
    assert float(model.optimizer.learning_rate) == pytest.approx(1e-4)


def test_averaged_weights_are_refused_and_nothing_changes():
    model = compiled(keras.optimizers.AdamW(0.01, use_ema=True))
    with pytest.raises(ValueError, match="use_ema=True"):
        fit(model, 1, kt.callbacks.GradualUnfreezing())
    model = compiled()
    rates = {"head": 0.01, "block3": 0.01}
    kt.compile_classifier(model, kt.discriminative_learning_rates(model, rates))
    with pytest.raises(ValueError, match="no learning rate"):
        fit(model, 1, kt.callbacks.GradualUnfreezing())
    assert {v.path.split("_")[0] for v in model.trainable_variables} == {"head"}


def test_a_later_fit_trains_what_the_last_epoch_trained():
    model = compiled()
    fit(model, 2, kt.callbacks.GradualUnfreezing())
    before = values(model)
    fit(model, 1)
    assert changed_blocks(before, model) == {"head", "block3"}


@pytest.mark.parametrize("moment", ["end", "interrupted", "reused", "no fit"])
def test_what_was_trainable_can_be_put_back(moment):
    class Stop(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

    model = compiled()
    model.get_layer("block2_conv1").trainable = True
    before = [layer.trainable for layer in model.layers]
    callback = kt.callbacks.GradualUnfreezing(restore_trainable=True)
    if moment == "no fit":
        with pytest.raises(ValueError, match="no learning rate"):
            rates = {"head": 0.01, "block2": 0.01}
            rates = kt.discriminative_learning_rates(model, rates)
            kt.compile_classifier(model, rates)
            fit(model, 1, callback)
    elif moment == "end":
        fit(model, 3, callback)
    else:
        with pytest.raises(KeyboardInterrupt):
            fit(model, 3, callback, Stop())
        if moment == "interrupted":
            callback.restore()
        else:
            fit(model, 1, callback)
    assert [layer.trainable for layer in model.layers] == before
    start = values(model)
    fit(model, 1)
    assert changed_blocks(start, model) == {"head", "block2"}


def test_a_model_whose_own_flag_is_off_is_refused_as_it_is():
    model = compiled()
    model.trainable = False
    with pytest.raises(ValueError, match="blocks=conv5"):
        fit(model, 1, kt.callbacks.GradualUnfreezing(["conv5"]))
    assert not model.trainable


def test_initial_epoch_goes_on_where_it_was():
    whole, parts = compiled(), compiled()
    fit(whole, 4, kt.callbacks.GradualUnfreezing())
    fit(parts, 2, kt.callbacks.GradualUnfreezing())
    fit(parts, 4, kt.callbacks.GradualUnfreezing(), initial_epoch=2)
    for path, value in values(whole).items():
        assert np.array_equal(value, values(parts)[path]), path


def test_early_stopping_restores_weights_of_an_earlier_stage():
    class Worse(keras.callbacks.Callback):
        """Make epoch 1 the best one."""

        def on_epoch_end(self, epoch, logs=None):
            logs["score"] = abs(epoch - 1)
            self.kept = values(self.model) if epoch == 1 else self.kept

        kept = None

    model, worse = compiled(), Worse()
    stop = keras.callbacks.EarlyStopping(
        monitor="score", mode="min", patience=2, restore_best_weights=True
    )
    fit(model, 9, worse, kt.callbacks.GradualUnfreezing(), stop)
    for path, value in values(model).items():
        assert np.array_equal(value, worse.kept[path]), path
    before = values(model)
    fit(model, 1)
    assert changed_blocks(before, model) == {"head", "block3", "block2", "block1"}


RUN = """
import os, sys, keras, numpy as np, tensorflow as tf
sys.path.insert(0, {root!r})
from tests.fine_tuning.test_gradual_unfreezing import ORDERS, backed_up

class Kill(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 3 and sys.argv[1] == "kill":
            if order == ORDERS[-1]:
                os._exit(9)
            raise KeyboardInterrupt

tf.config.experimental.enable_op_determinism()
for order in ORDERS:
    try:
        np.savez(order, *backed_up(order, Kill()).get_weights())
    except KeyboardInterrupt:
        pass
if sys.argv[1] == "go on":
    os.mkdir("whole")
    os.chdir("whole")
    for order in ORDERS:
        np.savez(order, *backed_up(order).get_weights())
"""
ORDERS = ("backup first", "backup last, rates by depth")


def backed_up(order, *callbacks):
    model = compiled()
    if "depth" in order:
        kt.compile_classifier(model, kt.discriminative_learning_rates(model, 0.01))
    used = [keras.callbacks.BackupAndRestore(f"backup of {order}")]
    used.append(kt.callbacks.GradualUnfreezing())
    fit(model, 5, *(used if order == ORDERS[0] else used[::-1]), *callbacks)
    return model


@pytest.mark.slow
def test_a_killed_run_ends_with_the_same_weights(tmp_path, request):
    script = RUN.format(root=str(request.config.rootpath))

    def run(what):
        return fresh_process.run(script, what, cwd=tmp_path)

    assert run("kill").returncode == 9
    assert not list(tmp_path.glob("*.npz"))
    resumed = run("go on")
    assert resumed.returncode == 0, resumed.stderr[-2000:]
    assert "Skipping variable loading" not in resumed.stderr
    for order in ORDERS:
        file = f"{order}.npz"
        with np.load(tmp_path / file) as a, np.load(tmp_path / "whole" / file) as b:
            assert len(a.files) == 8
            assert all(np.array_equal(a[name], b[name]) for name in a.files)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epochs_per_block": 0}, "at least 1. Received: epochs_per_block=0"),
        ({"blocks": []}, r"at least one block name.*blocks=\[\]"),
        ({"blocks": "block3"}, "blocks='block3'"),
        ({"blocks": 3}, "blocks=3"),
        ({"blocks": [3]}, r"blocks=\[3\]"),
        ({"epochs_per_block": "2"}, "epochs_per_block='2'"),
        ({"epochs_per_block": 1.5}, "epochs_per_block=1.5"),
        ({"epochs_per_block": None}, "epochs_per_block=None"),
        ({"train_batch_normalization": 2}, "train_batch_normalization=2"),
        ({"restore_trainable": "yes"}, "restore_trainable=yes"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        kt.callbacks.GradualUnfreezing(**arguments)


def test_arguments_that_have_one_meaning():
    callback = kt.callbacks.GradualUnfreezing(np.array(["block3"]), np.int64(2))
    assert callback.trainable_blocks(compiled(), np.int64(2)) == ["block3"]
    for model, epoch in [(None, 0), (compiled(), "1"), (compiled(), -1)]:
        with pytest.raises(ValueError, match="Received: "):
            callback.trainable_blocks(model, epoch)


def test_wrong_models_are_refused_before_the_first_step():
    with pytest.raises(
        ValueError, match=r"block1, block2, block3\. Received: blocks=c"
    ):
        fit(compiled(), 1, kt.callbacks.GradualUnfreezing(["conv5"]))
    model = compiled()
    model.compile("adam")
    with pytest.raises(ValueError, match=r"compiled with a loss.*loss=None"):
        fit(model, 1, kt.callbacks.GradualUnfreezing())
    inputs = keras.Input((8, 8, 3))
    outputs = keras.layers.Dense(2)(keras.layers.Flatten()(inputs))
    model = keras.Model(inputs, outputs)
    model.compile("adam", "sparse_categorical_crossentropy")
    with pytest.raises(ValueError, match="No block of a known backbone"):
        fit(model, 1, kt.callbacks.GradualUnfreezing())
