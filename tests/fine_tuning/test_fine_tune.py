"""One call trains the head, then the blocks, and leaves a plain Keras model."""

import dataclasses
import functools

import keras
import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer.models.compiling import SoftBinaryAccuracy
from tests.helpers import fresh_process
from tests.helpers.small_networks import (
    changed_blocks,
    images_and_labels,
    small_backbone,
    small_classifier,
    values,
)


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


@pytest.mark.parametrize("engine", ["tensorflow", "openvino"])
def test_both_stages_compute_by_the_engine_that_is_named(
    engine, capsys, tmp_path, monkeypatch
):
    splits()  # Where all tests have them.
    monkeypatch.setenv("KERAS_TRANSFER_DATA_DIR", str(tmp_path))
    if engine == "openvino":
        pytest.importorskip("openvino")
    fine_tune(classifier(), 1, cache_prefix=True, engine=engine, verbose=1)
    said = capsys.readouterr().out
    assert f"by {engine}" in said
    assert {"openvino": "by tensorflow", "tensorflow": "by openvino"}[
        engine
    ] not in said


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


@pytest.mark.slow
def test_the_model_loads_with_keras_alone(tmp_path):
    model = classifier()
    best = keras.callbacks.ModelCheckpoint(tmp_path / "checkpoint.keras")
    fine_tune(model, label_smoothing=0.1, callbacks=best)
    model.save(tmp_path / "model.keras")
    soft = keras.callbacks.ModelCheckpoint(tmp_path / "soft.keras")
    fine_tune(classifier(activation="sigmoid"), mixup=0.2, callbacks=[soft])
    script = (
        "import sys, keras, numpy as np\n"
        "photos = np.zeros((2, 64, 64, 3))\n"
        "for name in ('model', 'checkpoint', 'soft'):\n"
        "    model = keras.saving.load_model(f'{name}.keras')\n"
        "    labels = {'model': [0, 1], 'soft': [[0.0], [1.0]]}.get(name, np.eye(2))\n"
        "    assert (int(model.optimizer.iterations) > 0) == (name != 'model')\n"
        "    model.fit(photos, np.array(labels), verbose=0)\n"
        "    history = model.evaluate(photos, np.array(labels), return_dict=True)\n"
        "    assert set(history) == {'loss', 'accuracy'}, history\n"
        "assert not [m for m in sys.modules if m.startswith('keras_transfer')]\n"
    )
    fresh_process.run(script, cwd=tmp_path).check_returncode()


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
        (
            {
                "callbacks": [keras.callbacks.ReduceLROnPlateau()],
                "schedule": keras.optimizers.schedules.ExponentialDecay(0.1, 9, 0.5),
            },
            "ReduceLROnPlateau in",
        ),
        ({"layer_decay": 2.0}, "layer_decay=2.0"),
        ({"optimizer": "ftrl"}, "optimizer=ftrl"),
        ({"label_smoothing": 1.0}, "label_smoothing=1.0"),
        ({"mixup": -0.1}, "mixup=-0.1"),
        ({"epochs": "3"}, "epochs='3'"),
        ({"epochs": 1.5}, "epochs=1.5"),
        ({"freeze_epochs": "1"}, "freeze_epochs='1'"),
        ({"epochs": 0, "freeze_epochs": None}, "not both 0"),
        ({"from_block": 5}, "from_block=5"),
        ({"from_block": ["block3"]}, "from_block="),
        ({"learning_rate": "0.1"}, "learning_rate='0.1'"),
        ({"learning_rate": np.nan}, "learning_rate=nan"),
        (
            {"learning_rate": keras.optimizers.schedules.ExponentialDecay(0.1, 9, 0.5)},
            "passed as schedule",
        ),
        ({"head_learning_rate": None}, "head_learning_rate=None"),
        ({"layer_decay": "0.5"}, "layer_decay='0.5'"),
        ({"schedule": 0.1}, "schedule=0.1"),
        ({"schedule": keras.optimizers.schedules.CosineDecay}, "schedule=<"),
        ({"schedule": lambda step: 0.1}, "LearningRateScheduler"),
        ({"schedule": "cosine"}, '"constant", or None.*schedule=cosine'),
        (
            {
                "optimizer": keras.optimizers.AdamW(
                    keras.optimizers.schedules.ExponentialDecay(0.1, 9, 0.5)
                )
            },
            "schedule= of fine_tune.*Received: optimizer=AdamW with",
        ),
        ({"optimizer": None}, "optimizer=None"),
        ({"optimizer": 5}, "optimizer=5"),
        ({"optimizer": keras.optimizers.Adam}, "an instance"),
        ({"augmentation": "flip"}, "augmentation=flip"),
        ({"augmentation": ["flip"]}, "augmentation="),
        ({"mixup": "0.2"}, "mixup='0.2'"),
        ({"label_smoothing": np.nan}, "label_smoothing=nan"),
        ({"class_weight": {"fox": 2.0}}, "cat, dog.*'fox': 2.0"),
        ({"class_weight": {7: 2.0}}, "7: 2.0"),
        ({"class_weight": [1.0]}, r"class_weight=\[1.0\]"),
        ({"class_weight": "even"}, "or be auto. Received: class_weight=even"),
        ({"train_batch_normalization": 2}, "train_batch_normalization=2"),
        ({"cache_prefix": "yes"}, "cache_prefix=yes"),
        ({"augmented_copies": "2"}, "augmented_copies='2'"),
        ({"dtype": "half"}, "dtype=half"),
        ({"callbacks": keras.callbacks.EarlyStopping}, "instance"),
        ({"verbose": 7}, "verbose=7"),
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


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: None, "model=None"),
        (lambda: keras.Sequential([keras.layers.Dense(2)]), "must be built"),
        (
            lambda: keras.Sequential(
                [keras.Input((64, 64, 3)), keras.layers.Flatten()]
            ),
            "No block of a known backbone",
        ),
        (
            lambda: keras.Sequential(
                [keras.Input((64, 64, 3)), small_backbone(3, size=64)]
            ),
            r"one output of shape \(batch, classes\)",
        ),
        (lambda: small_classifier(blocks=3, size=32), r"image_size=64.*\(None, 32"),
    ],
)
def test_wrong_models(model, message):
    with pytest.raises(ValueError, match=message):
        kt.fine_tune(model(), splits(), 1, freeze_epochs=0)


def test_a_head_that_takes_whole_maps():
    backbone = small_backbone(3, size=64)
    x = keras.layers.Flatten()(backbone.output)
    model = keras.Model(backbone.input, keras.layers.Dense(2)(x))
    before = kt.verify.snapshot(model)
    settings = {"freeze_epochs": 2, "head_learning_rate": 1e-4, "dtype": "float32"}
    history = kt.fine_tune(model, splits(), 0, **settings, verbose=0).history
    assert history["stage"] == ["head", "head"]
    kt.verify.assert_frozen(before, model, kt.block_names(model))
    kt.verify.assert_updated(before, model, ["head"])


@pytest.mark.parametrize("wrong", [None, {}, "photos", lambda: splits().train])
def test_what_is_no_splits_is_refused(wrong):
    with pytest.raises(ValueError, match=r"must be Splits.*Received: splits="):
        kt.fine_tune(classifier(), wrong() if callable(wrong) else wrong, 1)


def test_arguments_that_have_one_meaning():
    class Count(keras.callbacks.Callback):
        epochs = 0

        def on_epoch_end(self, epoch, logs=None):
            self.epochs += 1

    found = []
    for given in [
        {"freeze_epochs": 0, "class_weight": {0: 1.0, 1: 3.0}},
        {"freeze_epochs": None, "class_weight": {"dog": 3}},
        {"freeze_epochs": np.int64(0), "class_weight": np.array([1, 3])},
    ]:
        keras.utils.set_random_seed(0)
        count = Count()
        fixed = dataclasses.replace(splits(), train=splits().ordered("train"))
        history = kt.fine_tune(
            classifier(),
            fixed,
            np.int64(2) if found else 2.0,
            from_block="block3",
            callbacks=count if found else [count],
            augmentation=[keras.layers.RandomFlip(seed=0), keras.layers.Identity()],
            verbose=False,
            **given,
        )
        assert count.epochs == 2
        found.append(history.history["loss"])
    assert found[0] == pytest.approx(found[1], rel=1e-4)
    assert found[0] == pytest.approx(found[2], rel=1e-4)


class Rates(keras.callbacks.Callback):
    """Note the learning rate of each step."""

    def __init__(self):
        super().__init__()
        self.rates = []

    def on_train_batch_end(self, batch, logs=None):
        self.rates.append(float(self.model.optimizer.learning_rate))


@pytest.mark.parametrize("cache_prefix", [False, True])
def test_a_schedule_or_a_callback_sets_the_rate(cache_prefix):
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([1], [0.02, 0.01])
    rates, model = Rates(), classifier()
    arguments = {"freeze_epochs": 0, "cache_prefix": cache_prefix}
    fine_tune(model, 2, schedule=schedule, callbacks=rates, **arguments)
    assert rates.rates == pytest.approx([0.02] + [0.01] * (len(rates.rates) - 1))
    assert float(model.optimizer.learning_rate) == pytest.approx(1e-4)
    halve = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)
    rates = Rates()
    fine_tune(model, 2, learning_rate=0.01, callbacks=[halve, rates], **arguments)
    half = len(rates.rates) // 2
    assert rates.rates == pytest.approx([0.005] * half + [0.0025] * half)
    plateau = keras.callbacks.ReduceLROnPlateau(min_delta=99, patience=1)
    rates = Rates()
    fine_tune(model, 3, learning_rate=0.01, callbacks=[plateau, rates], **arguments)
    assert rates.rates[0] == pytest.approx(0.01)
    assert rates.rates[-1] == pytest.approx(0.001)


class Halve(keras.callbacks.Callback):
    """Set the learning rate as a callback of one's own does."""

    def on_epoch_begin(self, epoch, logs=None):
        if epoch:
            self.model.optimizer.learning_rate = 0.01 / 2**epoch


@pytest.mark.parametrize("cache_prefix", [False, True])
def test_a_callback_of_ones_own_sets_a_constant_rate(cache_prefix):
    images, labels = images_and_labels(24)
    data = kt.Splits.from_arrays((images * 255, labels), batch_size=8)
    given = {"freeze_epochs": 0, "from_block": "block2", "verbose": 0}
    given |= {"cache_prefix": cache_prefix, "learning_rate": 0.01}
    model, rates = small_classifier(), Rates()
    with pytest.raises(ValueError, match=r'schedule="constant".*Received: .*Halve'):
        kt.fine_tune(model, data, 2, callbacks=[Halve()], **given)
    given["schedule"] = "constant"
    kt.fine_tune(model, data, 2, callbacks=[Halve(), rates], **given)
    half = len(rates.rates) // 2
    assert rates.rates == pytest.approx([0.01] * half + [0.005] * half)
    # Beside a callback of Keras's own it says the same.
    quarter = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 4)
    rates = Rates()
    kt.fine_tune(model, data, 1, callbacks=[quarter, rates], **given)
    assert rates.rates == pytest.approx([0.0025] * half)


def test_another_error_of_a_callback_stays_its_own():
    class Wrong(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            raise TypeError("my own")

    images, labels = images_and_labels(24)
    data = kt.Splits.from_arrays((images * 255, labels), batch_size=8)
    with pytest.raises(TypeError, match="my own"):
        kt.fine_tune(small_classifier(), data, 1, callbacks=Wrong(), verbose=0)


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
@pytest.mark.parametrize("compiled", [False, True])
def test_an_interruption_keeps_what_was_learnt_and_all_else_as_it_was(error, compiled):
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 2:
                raise error

    model = classifier()
    if compiled:
        kt.unfreeze(model, "block2")
        kt.compile_classifier(model, keras.optimizers.SGD(1e-6))
        model.fit(splits().train, verbose=0)
    trainable = [layer.trainable for layer in model.layers]
    optimizer = model.optimizer if compiled else None
    before = values(model)
    with pytest.raises(error):
        fine_tune(model, 5, cache_prefix=True, dtype="bfloat16", callbacks=[Stop()])
    assert changed_blocks(before, model) == {"head", "block3"}
    assert [layer.trainable for layer in model.layers] == trainable
    if compiled:
        assert model.optimizer is optimizer
        assert int(optimizer.iterations) == len(splits().train)
    else:
        assert type(model.optimizer) is keras.optimizers.AdamW
    assert len(model.evaluate(splits().test, verbose=0)) == 2
    model.fit(splits().train, verbose=0)
    assert [layer.trainable for layer in model.layers] == trainable


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


def test_a_backup_at_home_is_one_at_its_absolute_path(tmp_path, monkeypatch):
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(here)
    images, labels = images_and_labels(24)
    data = kt.Splits.from_arrays((images * 255, labels), batch_size=8)
    data = dataclasses.replace(data, train=data.ordered("train"))

    def run(folder, *callbacks):
        keras.utils.set_random_seed(0)
        backup = keras.callbacks.BackupAndRestore(folder, delete_checkpoint=False)
        given = {"freeze_epochs": 0, "learning_rate": 0.01, "verbose": 0}
        model = small_classifier()
        kt.fine_tune(model, data, 3, callbacks=[backup, *callbacks], **given)
        return list(values(model).values())

    found = []
    for folder in (str(tmp_path / "absolute"), "~/backup"):
        with pytest.raises(KeyboardInterrupt):
            run(folder, Stop(1))
        found += [run(folder), run(folder)]
    kept = sorted(path.name for path in (tmp_path / "absolute").iterdir())
    assert sorted(path.name for path in (home / "backup").iterdir()) == kept
    assert not list(here.iterdir())
    for again in found[1:]:
        assert all(map(np.allclose, found[0], again))


@pytest.mark.parametrize("worse", [False, True])
def test_a_finished_run_called_again_ends_with_the_same_weights(tmp_path, worse):
    def run(**more):
        backup = keras.callbacks.BackupAndRestore(
            tmp_path / "backup", delete_checkpoint=False
        )
        model = classifier()
        # Where each epoch makes it worse, the best weights are those before.
        rate = 3.0 if worse else 0.01
        callbacks = [backup, *more.pop("callbacks", [])]
        history = fine_tune(model, 3, learning_rate=rate, callbacks=callbacks)
        loss = model.evaluate(splits().validation, verbose=0)[0]
        return values(model), loss, history.history

    first, loss, history = run()
    # That of the head's epoch is of features in half precision.
    assert loss == pytest.approx(min(history["val_loss"]), rel=0.02)
    again, _, history = run()
    assert history["stage"] == ["head"]
    assert all(np.array_equal(first[path], again[path]) for path in first)


def test_a_killed_run_keeps_the_best_of_all_its_epochs(tmp_path):
    class Worse(keras.callbacks.Callback):
        """Destroy the head after an epoch, which is then not the best one."""

        def __init__(self, epoch):
            super().__init__()
            self.epoch = epoch

        def on_epoch_begin(self, epoch, logs=None):
            if epoch == self.epoch:
                kernel = self.model.get_layer("head_predictions").kernel
                kernel.assign(1e4 * np.ones_like(kernel) * [1, -1])

    class Kept(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                Kept.values, Kept.loss = values(self.model), logs["val_loss"]

    def backup():
        return keras.callbacks.BackupAndRestore(tmp_path / "backup")

    first = [Kept(), Worse(2), backup(), Stop(3)]
    with pytest.raises(KeyboardInterrupt):
        fine_tune(classifier(), 4, learning_rate=0.01, callbacks=first)
    kept = sorted(path.name for path in (tmp_path / "backup").iterdir())
    assert "best_weights.npz" in kept and not [x for x in kept if x.startswith(".")]
    resumed = classifier()
    history = fine_tune(resumed, 4, learning_rate=0.01, callbacks=backup()).history
    assert history["stage"] == ["head", "fine-tuning"]
    assert Kept.loss < min(history["val_loss"][1:])
    assert all(
        np.array_equal(value, values(resumed)[path])
        for path, value in Kept.values.items()
    )
    assert not (tmp_path / "backup").exists()


def test_labels_beyond_the_model_are_refused():
    more = dataclasses.replace(splits(), class_names=("cat", "dog", "fox"))
    with pytest.raises(ValueError, match=r"has 2 classes, the data 3.*num_classes=len"):
        kt.fine_tune(classifier(), more, 1, verbose=0)


def test_mixed_labels_count_on_the_side_of_their_larger_share():
    accuracy = SoftBinaryAccuracy(name="accuracy")
    shares = np.array([[0.1], [0.4], [0.6], [0.9]], "float32")
    accuracy.update_state(shares, np.array([[0.2], [0.7], [0.7], [0.8]], "float32"))
    assert float(accuracy.result()) == pytest.approx(0.75)
    written = keras.saving.serialize_keras_object(accuracy)
    assert (written["module"], written["class_name"]) == (
        "keras.metrics",
        "BinaryAccuracy",
    )


def test_classes_weigh_the_same_in_all():
    images = np.random.default_rng(0).integers(0, 255, (3, 24, 64, 64, 3), "uint8")
    labels = np.repeat([0, 1], [18, 6])
    found = []
    for weight in ("auto", {0: 24 / 36, 1: 2.0}, None):
        keras.utils.set_random_seed(0)
        data = kt.Splits.from_arrays(*((part, labels) for part in images))
        fixed = dataclasses.replace(data, train=data.ordered("train"))
        history = kt.fine_tune(
            classifier(), fixed, 1, from_block="block3", class_weight=weight, verbose=0
        )
        found.append(history.history["loss"])
    assert found[0] == pytest.approx(found[1], rel=1e-4)
    assert found[0] != pytest.approx(found[2], rel=1e-2)
