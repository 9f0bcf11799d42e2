"""What `train_on_cluster` asks of its workers, and what each of them keeps; no Ray."""

import contextlib
import pathlib
import shutil
import sys
import types

import keras
import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer.cluster import entry, training, worker
from keras_transfer.runtime import workers
from keras_transfer.runtime.clusters import surroundings
from tests.helpers.small_networks import images_and_labels, small_classifier

RECIPE = kt.Recipe("from_scratch", "small_convnet", epochs=1)


@pytest.fixture(scope="module")
def splits():
    images, labels = images_and_labels(32)
    return kt.Splits.from_arrays((np.round(images * 255), labels))


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """Return what was asked of the workers, which leave a file."""
    found = []

    def learn(task, splits, asked, max_failures):
        found.append((task, asked, max_failures))
        path = pathlib.Path(task["path"])
        path.parent.mkdir(parents=True)
        path.write_text("a classifier")

    monkeypatch.setattr(training, "learn_on_workers", learn)
    monkeypatch.setenv("KERAS_TRANSFER_DATA_DIR", str(tmp_path))
    return found


def test_a_run_is_asked_for_once(splits, asked, tmp_path):
    path = kt.train_on_cluster(RECIPE, splits, seed=3)
    assert path.parent.parent == tmp_path / "cluster_runs"
    ((task, where, max_failures),) = asked
    assert (where, max_failures) == (("auto", 2, 1), 2)
    assert (task["seed"], task["path"]) == (3, str(path))
    assert kt.train_on_cluster(RECIPE, splits, seed=3) == path
    assert len(asked) == 1


@pytest.mark.parametrize("change", [{"seed": 1}, {"workers": 3}])
def test_another_run_has_another_place(splits, asked, change):
    paths = {kt.train_on_cluster(RECIPE, splits, **x) for x in ({}, change)}
    assert len(paths) == len(asked) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"workers": 1}, "workers must be a whole number.*Received: workers=1"),
        ({"recipe": "nowhere:train"}, "Received: recipe='nowhere:train'"),
        ({"max_failures": -1}, "Received: max_failures=-1"),
        ({"cluster": None, "workers": 2}, "Received: cluster=None"),
    ],
)
def test_what_cannot_be_is_refused(splits, arguments, words, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_TRANSFER_DATA_DIR", str(tmp_path))
    with pytest.raises(ValueError, match=words):
        kt.train_on_cluster(**{"recipe": RECIPE, "splits": splits, **arguments})


def test_a_worker_does_not_look_for_keras_2(monkeypatch):
    seen = []
    monkeypatch.setenv("TF_USE_LEGACY_KERAS", "1")
    monkeypatch.setattr(worker, "learn", lambda task: seen.append({**entry.os.environ}))
    entry.learn({"surroundings": surroundings()})
    assert "TF_USE_LEGACY_KERAS" not in seen[0]


def test_a_machine_that_does_not_see_the_storage_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"that all machines.*Received"):
        worker.learn({"path": str(tmp_path / "storage" / "run" / "model.keras")})


class Ray:
    """Stand in for Ray, which keeps what is reported in a folder that all share."""

    def __init__(self, storage):
        self.storage, self.reported = storage, []

    @property
    def last(self):
        return self.storage / str(len(self.reported))

    def get_checkpoint(self):
        if not self.reported:
            return None
        there = contextlib.nullcontext(self.last)
        return types.SimpleNamespace(as_directory=lambda: there)

    def report(self, metrics, checkpoint):
        self.reported.append(metrics["epoch"])
        shutil.copytree(checkpoint, self.last)

    Checkpoint = types.SimpleNamespace(from_directory=pathlib.Path)


@pytest.fixture
def ray(monkeypatch, tmp_path):
    found = Ray(tmp_path / "kept")
    monkeypatch.setitem(sys.modules, "ray.train", found)
    first = workers.Worker(0, 2, 1)
    monkeypatch.setattr(workers, "this_worker", lambda: first)
    return found


def trained(folder, epochs, initial_epoch=0):
    """Train with dropout, from what is kept on."""
    keras.utils.set_random_seed(0)
    model = small_classifier(dropout=0.5)
    kt.compile_classifier(model, keras.optimizers.Adam(0.01))
    images, labels = images_and_labels(8)
    history = model.fit(
        images,
        labels,
        batch_size=8,
        epochs=epochs,
        initial_epoch=initial_epoch,
        callbacks=[worker.Checkpoints(folder)],
        shuffle=False,
        verbose=0,
    )
    return history.epoch, [np.asarray(weight) for weight in model.weights]


def test_what_begins_again_goes_on_with_the_same_numbers(ray, tmp_path, monkeypatch):
    begun = []
    monkeypatch.setattr(workers, "go_on", begun.append)
    trained(tmp_path / "first", 2)
    epochs, again = trained(tmp_path / "again", 4)
    assert epochs == [2, 3]
    assert begun == [2]
    assert ray.reported == [1, 2, 3, 4]
    ray.reported.clear()
    ray.storage = tmp_path / "other"
    _, at_once = trained(tmp_path / "at once", 4)
    for one, other in zip(again, at_once, strict=True):
        np.testing.assert_array_equal(one, other)


def test_passes_over_the_photos_count_and_not_epochs(ray, tmp_path, monkeypatch):
    begun = []
    monkeypatch.setattr(workers, "go_on", begun.append)
    # As the second stage of `fine_tune` has them, after 2 epochs of its first one.
    assert trained(tmp_path / "first", 4, initial_epoch=2)[0] == [2, 3]
    assert trained(tmp_path / "again", 5, initial_epoch=2)[0] == [4]
    assert trained(tmp_path / "once more", 6, initial_epoch=2)[0] == [5]
    assert begun == [2, 3]
