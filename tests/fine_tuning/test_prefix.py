"""cache_prefix="auto" saves time where nothing else changes, and says so in a line."""

import collections
import dataclasses
import functools

import keras
import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer.classifier.head import split_at_head
from keras_transfer.data.augmentation import augmented
from keras_transfer.fine_tuning import prefix
from keras_transfer.fine_tuning.prefix import Plan, decide
from keras_transfer.runtime import paths
from tests.helpers.small_networks import images_and_labels, small_classifier

SIZE = 16


@functools.cache
def splits(seed=0):
    images, labels = images_and_labels(48, SIZE)
    images = np.round(255 * images + seed).astype("uint8")
    return kt.Splits.from_arrays((images, labels), batch_size=8)


@functools.cache
def classifier(layer=None):
    keras.utils.set_random_seed(0)
    if layer is None:
        return small_classifier(3, size=SIZE)
    inputs = keras.Input((SIZE, SIZE, 3))
    x = layer(inputs)
    for block in (1, 2):
        x = keras.layers.Conv2D(4, 3, padding="same", name=f"block{block}_conv1")(x)
        x = keras.layers.MaxPooling2D(name=f"block{block}_pool")(x)
    backbone = keras.Model(inputs, x)
    return kt.build_classifier(backbone, num_classes=2, share_backbone=True)


def frozen():
    return kt.split_at_block(split_at_head(classifier())[0], "block1")[0]


@pytest.fixture
def decided(capsys, tmp_path, monkeypatch):
    """Return a function that decides, and gives the decision and its line."""
    monkeypatch.setenv("KERAS_TRANSFER_DATA_DIR", str(tmp_path))

    def run(model=None, data=None, **changes):
        plan = Plan("block2", epochs=2, freeze_epochs=1, callbacks=[], dtype=None)
        plan, data = plan._replace(**changes), data or splits()
        capsys.readouterr()
        found = decide(model or classifier(), data, plan, verbose=True)
        (line,) = capsys.readouterr().out.splitlines()
        assert line.startswith("Fine-tuning: ")
        assert 'cache_prefix="auto"' in line
        assert ("run once" in line) == found
        return found, line

    return run


class Own(keras.callbacks.Callback):
    """Might do anything."""


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"from_block": "block1"}, "no block comes before block1"),
        ({"epochs": 0}, "the head alone"),
        ({"draws": "something draws"}, "something draws"),
        ({"callbacks": [Own()]}, "Own may look at the whole model or save it"),
        (
            {"callbacks": [keras.callbacks.ModelCheckpoint("here.keras")]},
            "ModelCheckpoint may",
        ),
        (
            {"callbacks": [keras.callbacks.BackupAndRestore("here")]},
            "BackupAndRestore may",
        ),
        ({"callbacks": [kt.callbacks.GradualUnfreezing()]}, "GradualUnfreezing may"),
        ({"callbacks": [keras.callbacks.LambdaCallback()]}, "LambdaCallback may"),
    ],
)
def test_what_might_change_a_result_is_not_kept(decided, changes, why):
    found, line = decided(**changes)
    assert not found
    assert why in line


def test_callbacks_that_do_the_same_on_a_part(decided, tmp_path):
    callbacks = [
        keras.callbacks.EarlyStopping(),
        keras.callbacks.ReduceLROnPlateau(),
        keras.callbacks.CSVLogger(tmp_path / "log.csv"),
        keras.callbacks.TerminateOnNaN(),
        keras.callbacks.LearningRateScheduler(lambda epoch: 1e-4),
    ]
    found, line = decided(callbacks=callbacks)
    assert found
    assert "MB that are free" in line


@pytest.mark.parametrize(
    ("layer", "why"),
    [
        (keras.layers.RandomFlip(name="flips"), "flips before block2 draws anew"),
        (keras.layers.Dropout(0.1, name="drops"), "drops before block2 draws anew"),
        (
            keras.layers.Lambda(lambda x: x / 255, name="mine"),
            "mine before block2 may do something else",
        ),
    ],
)
def test_a_prefix_that_is_another_one_in_training(decided, layer, why):
    found, line = decided(classifier(layer))
    assert not found
    assert why in line


def test_a_pipeline_of_ones_own(decided):
    changed = augmented(splits().train, kt.build_augmentation("light", seed=0))
    own = dataclasses.replace(splits(), train=changed)
    given = kt.Splits.from_datasets(splits().train, splits().validation, splits().test)
    for data in (own, given):
        found, line = decided(data=data)
        assert not found
        assert "pipeline of your own" in line


def test_a_model_that_cannot_be_cut(decided):
    whole = classifier()
    _, part = kt.split_at_block(whole, "block1")
    found, line = decided(part, from_block="block3")
    assert not found
    assert "cannot be cut behind block2" in line


def test_it_must_pay(decided):
    # All 48 photos once, against 32 to train on and twice 8 to validate on.
    assert splits().counts == {"train": 32, "validation": 8, "test": 8}
    found, line = decided(epochs=1, freeze_epochs=0)
    assert (found, "less time" in line) == (False, True)
    assert decided(epochs=1, freeze_epochs=1)[0]
    assert decided(epochs=2, freeze_epochs=0)[0]
    # What is there already costs nothing.
    kt.extract_feature_maps(frozen(), splits(), verbose=False)
    found, line = decided(epochs=1, freeze_epochs=0)
    assert (found, "is there already" in line) == (True, True)


def test_maps_of_another_engine_are_not_those_that_are_asked_for(decided):
    pytest.importorskip("openvino")
    kt.extract_feature_maps(frozen(), splits(), engine="openvino", verbose=False)
    assert decided(epochs=1, freeze_epochs=0, engine="openvino")[0]
    assert not decided(epochs=1, freeze_epochs=0, engine="tensorflow")[0]


def test_room_on_the_disk(decided, monkeypatch):
    Usage = collections.namedtuple("Usage", "total used free")
    needed = prefix.room_for(frozen(), splits()).needed
    for free, enough in ((2 * needed, True), (2 * needed - 1, False)):
        usage = Usage(10**9, 0, free)
        monkeypatch.setattr("shutil.disk_usage", lambda path, usage=usage: usage)
        found, line = decided()
        assert found == enough
        assert ("more than half" in line) != enough


def test_a_folder_that_cannot_be_written(decided, monkeypatch):
    def refuse(folder):
        raise OSError(30, "Nothing can be written")

    monkeypatch.setattr(paths, "make_folder", refuse)
    found, line = decided()
    assert not found
    assert "Nothing can be written" in line


def fine_tuned(splits, **arguments):
    keras.utils.set_random_seed(0)
    model = small_classifier(3, normalized=True, size=SIZE)
    given = {"from_block": "block3", "verbose": 2, "epochs": 2, "dtype": "float32"}
    history = kt.fine_tune(model, splits, **given | arguments)
    return model, history.history


def test_fine_tune_decides_so(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_TRANSFER_DATA_DIR", str(tmp_path))
    model, history = fine_tuned(splits())
    said = capsys.readouterr().out
    assert "the blocks before block3 run once" in said
    assert "Feature maps: 32 train images" in said
    asked, same = fine_tuned(splits(), cache_prefix=True)
    assert "auto" not in capsys.readouterr().out
    assert same["loss"] == history["loss"]
    assert all(map(np.array_equal, model.get_weights(), asked.get_weights()))
    fine_tuned(splits(), cache_prefix=False)
    assert "blocks" not in capsys.readouterr().out
    fine_tuned(
        splits(), augmentation=kt.build_augmentation("light"), augmented_copies=3
    )
    said = capsys.readouterr().out
    assert "each epoch runs all blocks" in said
    assert "cache_prefix=True trains on augmented_copies=3 changed versions" in said
    fine_tuned(splits(), mixup=0.2)
    assert "mixup and cutmix mix the photos" in capsys.readouterr().out
    fine_tuned(splits(), from_block=None, verbose=0)
    assert not capsys.readouterr().out


def test_a_kept_prefix_trains_on_batches_of_the_same_size(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_TRANSFER_DATA_DIR", str(tmp_path))
    steps = []
    for cache_prefix in (True, False):
        count = keras.callbacks.LambdaCallback(
            on_train_begin=lambda logs: steps.append(0),
            on_train_batch_end=lambda batch, logs: steps.append(steps.pop() + 1),
        )
        fine_tuned(
            splits(), epochs=1, cache_prefix=cache_prefix, callbacks=count, verbose=0
        )
    assert steps == [4, 4]
