"""One call trains the head, then the blocks, and leaves a plain Keras model."""

import dataclasses
import functools
import subprocess
import sys

import keras
import numpy as np
import pytest

import keras_transfer as kt
from tests.small_networks import changed_blocks, small_classifier, values


@functools.cache
def splits():
    return kt.load_dataset("sample_cats_vs_dogs", image_size=64, max_images=60)


class Changed(keras.callbacks.Callback):
    """Note which blocks of a model changed, whether they are kept or not."""

    def __init__(self, whole):
        super().__init__()
        self.before, self.blocks = values(whole), set()

    def on_epoch_end(self, epoch, logs=None):
        # The part that learns may be a copy of the end of the model.
        after = values(self.model)
        before = {path: self.before[path] for path in after}
        self.blocks |= changed_blocks(before, self.model)


def classifier(**head):
    keras.utils.set_random_seed(0)
    return small_classifier(blocks=3, normalized=True, size=64, **head)


def fine_tune(model, epochs=1, **arguments):
    defaults = {"from_block": "block3", "verbose": 0}
    return kt.fine_tune(model, splits(), epochs, **defaults | arguments)


@pytest.mark.parametrize(
    ("activation", "soft"),
    [("softmax", False), ("softmax", True), ("sigmoid", True), (None, True)],
)
def test_both_stages_for_every_kind_of_output(activation, soft):
    model = classifier(activation=activation)
    changed, more = Changed(model), {}
    if soft:
        more = {"mixup": 0.2, "cutmix": 0.5, "label_smoothing": 0.1}
        more |= {"augmentation": kt.build_augmentation("light", seed=0)}
        more |= {"class_weight": {0: 1.0, 1: 2.0}}
    history = fine_tune(model, 2, freeze_epochs=3, callbacks=[changed], **more)
    assert isinstance(history, keras.callbacks.History)
    assert model.history is history
    assert history.history["stage"] == ["head"] * 3 + ["fine-tuning"] * 2
    assert history.epoch == list(range(5))
    for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
        assert np.isfinite(history.history[name]).all()
        assert len(history.history[name]) == 5
    assert changed.blocks == {"head", "block3"}
    # Left with a stock optimizer, and metrics for the integer labels of the splits.
    assert type(model.optimizer) is keras.optimizers.AdamW
    images, labels = splits().arrays("test")
    outputs = model(images.astype("float32"), training=False)
    right = kt.class_probabilities(model, outputs).argmax(axis=1) == labels
    accuracy = model.evaluate(splits().test, verbose=0, return_dict=True)["accuracy"]
    assert accuracy == pytest.approx(right.mean())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_cached_prefix_trains_the_same_blocks_and_the_whole_model_has_learnt(dtype):
    model = classifier(dropout=0.0)
    changed = Changed(model)
    history = fine_tune(
        model,
        2,
        freeze_epochs=1,
        callbacks=[changed],
        cache_prefix=True,
        dtype=dtype,
        augmentation=kt.build_augmentation("light", seed=0),
        augmented_copies=1,
    )
    assert changed.blocks == {"head", "block3"}
    loss = model.evaluate(splits().validation, verbose=0)[0]
    # The maps are kept as float16. The head's own epoch may be the best one.
    best = min(history.history["val_loss"])
    assert loss == pytest.approx(best, rel=0.02 if dtype == "float32" else 0.05)
    assert {layer.dtype_policy.name for layer in model.layers} == {"float32"}


def test_batch_normalization_stands_still():
    model = classifier()
    before = values(model)
    fine_tune(model)
    after = values(model)
    moving = [path for path in after if "moving_" in path]
    assert len(moving) == 6
    assert all(np.array_equal(before[path], after[path]) for path in moving)


def test_what_makes_it_worse_is_not_kept(capsys):
    model = classifier()
    fine_tune(model, 0, freeze_epochs=10)
    before = values(model)
    history = fine_tune(model, 1, freeze_epochs=0, learning_rate=3.0, verbose=2)
    assert "earlier weights" in capsys.readouterr().out
    assert changed_blocks(before, model) == set()
    assert history.history["stage"] == ["fine-tuning"]


def test_the_rate_rises_then_falls_and_is_smaller_in_earlier_blocks():
    class Watch(keras.callbacks.Callback):
        rates, summary = [], None

        def on_train_batch_end(self, batch, logs=None):
            self.rates.append(float(self.model.optimizer.learning_rate))
            Watch.summary = kt.trainable_summary(self.model)

    fine_tune(classifier(), 5, from_block="block2", callbacks=[Watch()])
    peak = int(np.argmax(Watch.rates))
    assert 0 <= peak <= 2
    assert np.all(np.diff(Watch.rates[peak:]) < 0)
    assert Watch.rates[-1] < 1e-5 < max(Watch.rates) <= 1e-4 * 1.001
    *_, block2, block3, head = [row["learning_rate"] for row in Watch.summary.rows]
    assert (block2, block3) == pytest.approx((head / 4, head / 2))


def test_the_model_loads_with_keras_alone(tmp_path):
    model = classifier()
    fine_tune(model, label_smoothing=0.1)
    model.save(tmp_path / "model.keras")
    script = (
        "import sys, keras, numpy as np\n"
        "model = keras.saving.load_model('model.keras')\n"
        "assert 'keras_transfer' not in sys.modules\n"
        "model.fit(np.zeros((2, 64, 64, 3)), np.array([0, 1]), verbose=0)\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epochs": -1}, "Received: epochs=-1"),
        ({"epochs": 0, "freeze_epochs": 0}, "not both 0"),
        ({"from_block": "conv5"}, r"block2, block3\. Received: from_block=conv5"),
        ({"learning_rate": 0.0}, "learning_rate=0.0"),
        ({"head_learning_rate": -1.0}, "head_learning_rate=-1.0"),
        ({"learning_rate": {"head": 0.1}}, "numbers above 0"),
        ({"cutmix": 1.5}, "cutmix=1.5"),
        ({"callbacks": [keras.callbacks.ReduceLROnPlateau()]}, "ReduceLROnPlateau in"),
        ({"layer_decay": 2.0}, "layer_decay=2.0"),
        ({"optimizer": "ftrl"}, "optimizer=ftrl"),
        ({"label_smoothing": 1.0}, "label_smoothing=1.0"),
        ({"mixup": -0.1}, "mixup=-0.1"),
        ({"cache_prefix": True, "mixup": 0.2}, "one or the other"),
        ({"cache_prefix": True, "from_block": "block1"}, "one after block1"),
    ],
)
def test_wrong_arguments_change_nothing(arguments, message):
    model = classifier()
    before = values(model)
    with pytest.raises(ValueError, match=message):
        fine_tune(model, **arguments)
    assert changed_blocks(before, model) == set()


def test_an_interruption_keeps_what_was_learnt():
    class StopError(Exception):
        pass

    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 2:
                raise StopError

    model = classifier()
    before = values(model)
    with pytest.raises(StopError):
        fine_tune(model, 5, cache_prefix=True, dtype="bfloat16", callbacks=[Stop()])
    assert changed_blocks(before, model) == {"head", "block3"}
    assert type(model.optimizer) is keras.optimizers.AdamW


class Stop(keras.callbacks.Callback):
    """Interrupt the training after an epoch."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_end(self, epoch, logs=None):
        if epoch == self.epoch:
            raise KeyboardInterrupt


@pytest.mark.parametrize("cache_prefix", [False, True])
def test_a_killed_run_goes_on_after_the_last_whole_epoch(tmp_path, cache_prefix):
    def backup():
        return keras.callbacks.BackupAndRestore(tmp_path / "backup")

    arguments = {"cache_prefix": cache_prefix, "learning_rate": 0.01}
    with pytest.raises(KeyboardInterrupt):
        fine_tune(classifier(), 3, callbacks=[backup(), Stop(2)], **arguments)
    resumed = classifier()
    history = fine_tune(resumed, 3, callbacks=[backup()], **arguments)
    assert history.history["stage"] == ["head", "fine-tuning"]
    assert history.history["loss"][1] < history.history["loss"][0]


def test_labels_beyond_the_model_are_refused():
    more = dataclasses.replace(splits(), class_names=("cat", "dog", "fox"))
    with pytest.raises(ValueError, match=r"has 2 classes, the data 3.*num_classes=len"):
        kt.fine_tune(classifier(), more, 1, verbose=0)
