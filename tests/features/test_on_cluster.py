"""What workers of a cluster are given: all that is missing, in whole batches."""

import itertools
import pickle
import platform
import subprocess
import sys
import types
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_transfer as kt
from keras_transfer.cluster import entry
from keras_transfer.comparison import cluster_entry
from keras_transfer.data import photo_files
from keras_transfer.data.splits import decoded, in_batches
from keras_transfer.features import cluster_entry as features_entry
from keras_transfer.features import on_cluster
from keras_transfer.features.ranges import Job, Range, Settings
from keras_transfer.runtime.clusters import surroundings
from keras_transfer.runtime.processes import child_environment
from tests.helpers.own_layers import Doubled
from tests.helpers.small_networks import small_backbone


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for number in range(60):
        path = folder / ("dark", "light")[number % 2] / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        pixels = rng.integers(0, 200, (8, 8, 3)) + 50 * (number % 2)
        keras.utils.save_img(path, pixels, scale=False)
    return kt.load_directory(folder, image_size=8, batch_size=5)


def rows(splits, missing, count=2, *at_most):
    ranges = [Range(split, 0, number) for split, number in splits.counts.items()]
    batch = on_cluster._batch_size(splits)
    return [*on_cluster._rows(splits, ranges, missing, count, batch, *at_most)]


@pytest.mark.parametrize("images", [5, 10, 512])
@pytest.mark.parametrize("count", [1, 3])
def test_rows_leave_nothing_out_and_cut_no_batch(photos, monkeypatch, images, count):
    monkeypatch.setattr(on_cluster, "IMAGES", images)
    missing = [(0, 10), (2, 0)]
    found = rows(photos, missing, count)
    for part, done in missing:
        mine = [row for row in found if row["part"] == part]
        split = mine[0]["split"]
        assert (mine[0]["start"], mine[-1]["stop"]) == (done, photos.counts[split])
        assert all(a["stop"] == b["start"] for a, b in itertools.pairwise(mine))
        assert all(row["start"] % 5 == 0 for row in mine)
        assert all(row["stop"] - row["start"] <= images for row in mine)
    assert [row["part"] for row in found] == sorted(row["part"] for row in found)


def test_a_row_of_large_maps_has_fewer_images(photos, monkeypatch):
    network = small_backbone()
    floats = np.prod(network.output_shape[1:])
    monkeypatch.setattr(on_cluster, "ROW_BYTES", 4 * 10 * floats)
    maps, features = (Settings("float32", "tensorflow", x, "float16") for x in (0, 1))
    assert on_cluster._images(network, photos, maps) == 10
    assert on_cluster._images(network, photos, features) > 10
    found = rows(photos, [(0, 0)], 1, 10)
    assert max(row["stop"] - row["start"] for row in found) == 10
    # A batch is not cut, whatever it makes.
    assert len(rows(photos, [(0, 0)], 1, 0)) == -(-photos.counts["train"] // 5)


def test_the_files_of_rows_are_the_photos_in_order(photos):
    images, labels = photos.arrays("train")
    read = []
    for row in rows(photos, [(0, 0)]):
        examples = tf.data.Dataset.from_tensor_slices(pickle.loads(row["files"]))
        pixels = decoded(examples, photo_files.decode, photos.image_size)
        read += [*in_batches(pixels, 5).as_numpy_iterator()]
    assert {len(batch) for batch, _ in read[:-1]} == {5}
    np.testing.assert_array_equal(np.concatenate([x for x, _ in read]), images)
    np.testing.assert_array_equal(np.concatenate([y for _, y in read]), labels)


def test_what_a_worker_is_sent_does_not_import_tensorflow_before_it_takes_over():
    # Which reads TF_ENABLE_ONEDNN_OPTS, and with it what is computed, only then.
    there = surroundings()
    job = Job(b"", (), (), (8, 8, 3), None, "", 8, 5, {}, there)
    tasks = [cluster_entry.computed_there, cluster_entry.run_there, entry.learn]
    sent = pickle.dumps([on_cluster.Extractor, job, *tasks, there])
    script = "import pickle, sys; pickle.load(sys.stdin.buffer); print(*sys.modules)"
    made = subprocess.run(
        [sys.executable, "-c", script],
        input=sent,
        env=child_environment(),
        capture_output=True,
        check=True,
    )
    loaded = made.stdout.decode().split()
    assert on_cluster.Extractor.__module__ in loaded
    assert not {"tensorflow", "keras"} & {*loaded}


@keras.saving.register_keras_serializable("tests")
class Own(keras.layers.Layer):
    """A layer of whoever asks."""

    def call(self, images):
        return images

    def get_config(self):
        return {**super().get_config(), "module": "neck", "class_name": "function"}


@keras.saving.register_keras_serializable("tests")
def halved(values):
    """Halve what comes in."""
    return values / 2


def test_what_a_worker_cannot_have_is_refused(photos, monkeypatch):
    maps = kt.extract_feature_maps(small_backbone(), photos, verbose=False)
    with pytest.raises(
        ValueError, match=r"cannot read feature maps.*Received: splits="
    ):
        on_cluster._check(small_backbone(), maps)
    inputs = keras.Input((8, 8, 3))
    network = keras.Model(inputs, Own(name="own")(inputs))
    on_cluster._check(network, photos)
    monkeypatch.setattr(Own, "__module__", "__main__")
    with pytest.raises(ValueError, match=r"notebook or a script.*Received: .* Own"):
        on_cluster._check(network, photos)


def test_workers_import_what_the_network_is_made_of():
    inputs = keras.Input((8, 8, 3))
    outputs = keras.layers.Conv2D(2, 3, activation=halved)(inputs)
    network = keras.Model(inputs, Doubled()(outputs))
    found = on_cluster._registered(on_cluster._config(network))
    assert {*found} == {halved, Doubled}
    assert on_cluster._registered(on_cluster._config(small_backbone())) == []


def test_what_would_not_come_back_on_a_worker_is_refused_here(photos):
    class Unregistered(keras.layers.Layer):
        def call(self, images):
            return images

    class Unsaved(Unregistered):
        def __init__(self, values):
            super().__init__()

    def unknown(images):
        return images

    def network(*layers):
        return keras.Sequential([keras.Input((8, 8, 3)), *layers])

    def refused(layer, words):
        with pytest.raises(ValueError, match=words):
            on_cluster._check(network(network(layer)), photos)

    refused(Unregistered(), r"only if it is registered.*Received.*\.Unregistered")
    refused(keras.layers.Activation(unknown), "registered.*Received: .* unknown")
    refused(Unsaved(np.ones(3)), r"get_config.*Received: .*\(NotImplemented")
    on_cluster._check(network(keras.layers.Activation("relu")), photos)


def test_a_loss_that_only_this_process_knows_is_no_hindrance(photos):
    def loss(labels, predictions):
        return predictions

    network = small_backbone()
    network.compile("sgd", loss)
    on_cluster._check(network, photos)


class LateError(Exception):
    """Stand in for the error of Ray Data where no row is finished for long."""


@pytest.fixture
def ray(monkeypatch):
    """Stand in for Ray, whose workers live as long as a data set in a cycle."""

    class Dataset:
        def __init__(self):
            self.itself = self
            ray.workers.add(self)

        def map(self, *_, **__):
            return self

        def iter_rows(self):
            yield from ray.rows
            raise LateError("no progress for 1800s\nOperators:")

    options = types.SimpleNamespace(preserve_order=False)
    context = types.SimpleNamespace(execution_options=options, enable_progress_bars=1)
    data = types.SimpleNamespace(
        DataContext=types.SimpleNamespace(get_current=lambda: context),
        ActorPoolStrategy=dict,
        from_items=lambda *_, **__: Dataset(),
    )
    errors = types.SimpleNamespace(ExecutionTimeoutError=LateError)
    monkeypatch.setitem(sys.modules, "ray.data", data)
    monkeypatch.setitem(sys.modules, "ray.data.exceptions", errors)
    actor = types.SimpleNamespace(remote=lambda limits: "begun")
    ray = types.SimpleNamespace(
        rows=[],
        workers=weakref.WeakSet(),
        remote=lambda **_: lambda _: actor,
        exceptions=types.SimpleNamespace(RayError=KeyError),
    )
    return ray


def test_an_error_of_a_worker_comes_out_and_leaves_no_worker(ray):
    told = features_entry._told(ValueError("The data changed. Received: them"))
    ray.rows.append({"error": pickle.dumps(told)})
    with pytest.raises(ValueError, match=r"Received: them\nThis was") as caught:
        next(on_cluster._computed(ray, None, [{}], 1, 0))
    assert platform.node() in caught.value.__notes__[0]
    # Of a connection that goes on, though the error is kept.
    assert not [*ray.workers]
    told = str(features_entry._told(KeyError("pixels")))
    assert told.endswith(f"Received: KeyError on {platform.node()}: 'pixels'")


def test_a_cluster_that_computes_for_others_only_ends_in_words(ray):
    with pytest.raises(
        RuntimeError, match=r"for others.*from Ray: no progress for 1800s$"
    ):
        next(on_cluster._computed(ray, None, [{}], 1, 0))


@pytest.mark.parametrize(
    ("arguments", "received"),
    [
        ({"augmentation": [keras.layers.RandomFlip()]}, "augmentation="),
        ({"engine": "openvino", "gpus_per_worker": 1}, "gpus_per_worker=1"),
    ],
)
def test_maps_that_a_cluster_does_not_compute(photos, monkeypatch, arguments, received):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    with pytest.raises(ValueError, match=f"Received: .*{received}"):
        kt.extract_feature_maps(small_backbone(), photos, cluster="auto", **arguments)
