"""Several workers learn what one process does with the same batches."""

import json
import os
import socket

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_transfer as kt
from keras_transfer.data import shares
from keras_transfer.data import splits as splits_module
from keras_transfer.data.splits import Splits, build_splits
from keras_transfer.runtime import workers
from keras_transfer.runtime.devices import use_all_devices
from keras_transfer.runtime.workers import Worker
from tests.helpers import fresh_process
from tests.helpers.small_networks import (
    images_and_labels,
    small_backbone,
    small_classifier,
    values,
)

COUNT = 2
# Three processes in one: each is a fork of this one before TensorFlow has begun.
RUN = """
import json, os, signal, sys, time
sys.path.insert(0, {root!r})
from tests.runtime import test_workers

ports, folder = json.loads({ports!r}), os.getcwd()
cluster = {{"worker": [f"127.0.0.1:{{port}}" for port in ports]}}
processes = {{}}
for index in (None, *range(len(ports))):
    child = os.fork()
    if child:
        processes[child] = index
        continue
    try:
        if index is not None:
            task = {{"type": "worker", "index": index}}
            os.environ["TF_CONFIG"] = json.dumps({{"cluster": cluster, "task": task}})
        os.environ["KERAS_TRANSFER_DATA_DIR"] = f"{{folder}}/data_{{index}}"
        with open(f"{{folder}}/{{index}}.json", "w") as file:
            json.dump(test_workers.results(), file)
        os._exit(0)
    except BaseException:
        import traceback
        traceback.print_exc()
        os._exit(1)
# The others would wait for one that has failed.
end, failed = time.monotonic() + 1200, False
while processes:
    pid, status = os.waitpid(-1, os.WNOHANG)
    failed |= bool(status) or time.monotonic() > end
    processes.pop(pid, None)
    if failed:
        for process in processes:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
        break
    time.sleep(0.05)
sys.exit(failed)
"""


def small_numbers(count):
    # Whole ones, as a photo has, that small weights learn from.
    images, labels = images_and_labels(count)
    return np.round(images * 8), labels


def splits(decoded=None, counts=(34, 33, 5), batch_size=8):
    """Splits of which no last batch is full, and one of validation has one photo."""
    images, labels = small_numbers(sum(counts))
    names = ("train", "validation", "test")
    starts = np.cumsum((0, *counts))

    def read(split):
        def rows(start=0, stop=None):
            chosen = np.arange(sum(counts))[starts[split] : starts[split + 1]]
            chosen = chosen[start:stop]
            pairs = (images[chosen], chosen), labels[chosen]
            return tf.data.Dataset.from_tensor_slices(pairs)

        return rows

    def decode(encoded):
        image, number = encoded
        if decoded is None:
            return image
        note = tf.numpy_function(lambda x: decoded.append(int(x)), [number], [])
        with tf.control_dependencies([note]):
            return tf.identity(image)

    return build_splits(
        {name: read(index) for index, name in enumerate(names)},
        decode,
        counts=dict(zip(names, counts, strict=True)),
        image_size=8,
        batch_size=batch_size,
        seed=0,
        class_names=("a", "b"),
        name="random",
        source="random",
        fingerprint=f"random {counts}",
    )


def classifier():
    keras.utils.set_random_seed(0)
    return small_classifier(blocks=2, normalized=True)


def fit(model, train, optimizer=None, *callbacks, data=None, **settings):
    optimizer = optimizer or keras.optimizers.AdamW(0.01, weight_decay=0.1)
    kt.compile_classifier(model, optimizer)
    model.fit(
        train,
        validation_data=(data or splits()).validation,
        epochs=2,
        callbacks=list(callbacks),
        shuffle=False,
        verbose=0,
        **settings,
    )
    return learnt(model)


def learnt(model):
    found = {name: x for name, x in model.history.history.items() if name != "stage"}
    weights = {path: value.tolist() for path, value in values(model).items()}
    return {"history": found, "weights": weights}


def plain():
    model = classifier()
    kt.unfreeze(model, "block2")
    return fit(model, splits().train)


def decoded_anew():
    """Photos that memory does not hold; a model that the first worker alone saves."""
    decoded, most = [], splits_module.CACHE_BYTES
    splits_module.CACHE_BYTES = 0
    try:
        data = splits(decoded)
    finally:
        splits_module.CACHE_BYTES = most
    path = f"{os.environ['KERAS_TRANSFER_DATA_DIR']}.keras"
    classifier().save(path)
    model = keras.saving.load_model(path)
    found = fit(model, data.train, data=data)
    worker = workers.this_worker()
    if worker is None or worker.index == 0:
        kt.save_classifier(model, path, data.class_names)
    return found | {"decoded": np.bincount(decoded, minlength=72).tolist()}


def own_arrays_mapped_and_weighed():
    data = Splits.from_arrays(small_numbers(60), batch_size=8)
    model = classifier()
    kt.unfreeze(model, "block2")
    train = data.train.map(lambda images, labels: (images / 2, labels))
    weights = {0: 1.0, 1: 2.0}
    return fit(model, train.prefetch(1), data=data, class_weight=weights)


def gradual():
    model = classifier()
    rates = kt.discriminative_learning_rates(model, 0.01)
    return fit(model, splits().train, rates, kt.callbacks.GradualUnfreezing(["block2"]))


def fine_tune(**arguments):
    arguments |= {"from_block": "block2", "learning_rate": 0.01, "verbose": 0}
    model = classifier()
    kt.fine_tune(model, splits(), 2, dtype="float32", **arguments)
    return learnt(model)


def features():
    keras.utils.set_random_seed(0)
    backbone = small_backbone(normalized=True)
    found = kt.extract_features(backbone, splits(), dtype="float32", verbose=False)
    return {name: getattr(found, name).features.tolist() for name in splits().counts}


def swept():
    model = classifier()
    kt.compile_classifier(model, "sgd")
    return {"loss": kt.find_learning_rate(model, splits().train, num_steps=10).losses}


def evaluated():
    model, data = classifier(), splits()
    kt.compile_classifier(model, "sgd")
    report = kt.evaluate_classifier(model, data.test, data.class_names)
    found = [model.evaluate(part, verbose=0) for part in (data.validation, data.test)]
    return {"keras": found, "ours": [report.accuracy, report.probabilities.tolist()]}


CASES = {
    "plain": plain,
    "decoded anew": decoded_anew,
    "own arrays, mapped and weighed": own_arrays_mapped_and_weighed,
    "gradual": gradual,
    "fine-tuned": lambda: fine_tune(cache_prefix=False),
    "fine-tuned from kept maps": lambda: fine_tune(cache_prefix=True),
    "features": features,
    "swept": swept,
    "evaluated": evaluated,
}


def one_left_out():
    """Return the numbers of the photos that this worker gets in each step."""
    data = splits(counts=(33, 33, 5))
    images, _ = small_numbers(71)
    strategy, found = tf.distribute.get_strategy(), []
    for _ in range(2):
        found.append([])
        for given, _ in strategy.experimental_distribute_dataset(data.train):
            given = np.asarray(strategy.experimental_local_results(given)[0])
            equal = np.all(given[:, None] == images, axis=(2, 3, 4))
            found[-1].append(equal.argmax(1).tolist())
    return found


def results():
    kt.profile("quick")
    found = {"workers": workers.this_worker()}
    for name, case in CASES.items():
        found[name] = case()
    return found | {"left out": one_left_out()}


def parts(count, batch_size, number, devices, training):
    """Return in each step which of so many photos each worker would take."""
    found = []
    for index in range(number):
        worker = Worker(index, number, devices)
        part = shares.part(worker, count, batch_size, training)
        taken = [x.tolist() for x in part.batches(np.arange(count))]
        dataset = part.batch(part.own(tf.data.Dataset.range(count)))
        assert [x.tolist() for x in dataset.as_numpy_iterator()] == taken
        assert len(taken) == part.number(count) == part.steps * devices
        found.append([taken[i : i + devices] for i in range(0, len(taken), devices)])
    # Of each step the photos of all devices.
    return [[x for each in step for x in each] for step in zip(*found, strict=True)]


@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("count", [12, 33, 35, 47, 48])
def test_a_step_of_training_weighs_the_same_on_each_device(count, devices):
    number, batch_size = 3, 12
    steps = parts(count, batch_size, number, devices, training=True)
    last = count - count % (number * devices)
    alone = [range(i, min(i + batch_size, last)) for i in range(0, last, batch_size)]
    together = [sorted(x for each in step for x in each) for step in steps]
    assert together == [[*each] for each in alone]
    assert all(len({*map(len, step)}) == 1 for step in steps)


@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("count", [6, 7, 33, 48, 61])
def test_no_photo_to_judge_stays_out_and_no_device_is_without(count, devices):
    steps = parts(count, 12, 3, devices, training=False)
    assert sorted(x for step in steps for each in step for x in each) == [*range(count)]
    sizes = [len(each) for step in steps for each in step]
    assert min(sizes) >= 1
    # A batch of so many at most, but for rounding.
    assert max(sizes) <= 12 // (3 * devices) + 1


def test_what_cannot_be_shared_out_is_said_in_words():
    worker = Worker(0, 3, 1)
    with pytest.raises(
        ValueError, match=r"a multiple of the 3 devices.*Received: batch"
    ):
        shares.part(worker, 30, 8, True)
    with pytest.raises(
        ValueError, match=r"fewer workers.*Received: a split of 2 photos"
    ):
        shares.part(worker, 2, 9, False)


def config(kind, index, **cluster):
    return json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 1),
        ("{}", 1),
        (config("worker", 0, worker=["a:1"]), 1),
        (config("worker", 0, worker=["a:1", "b:1"]), 2),
        (config("worker", 0, chief=["a:1"], worker=["b:1", "c:1"]), 3),
        # It only looks at what the others make.
        (config("evaluator", 0, worker=["a:1", "b:1"]), 1),
    ],
)
def test_workers_are_counted(monkeypatch, text, count):
    monkeypatch.setenv("TF_CONFIG", text)
    assert workers.worker_count() == count


@pytest.mark.parametrize("text", ["two", "[1]", '{"task": {"index": "first"}}'])
def test_what_is_no_configuration_is_refused(monkeypatch, text):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ValueError, match=r"TF_CONFIG must be JSON such as .*Received"):
        use_all_devices()


def test_a_worker_that_begins_too_late_is_told_so(monkeypatch):
    tf.constant(1.0) + 1.0
    monkeypatch.setenv("TF_CONFIG", config("worker", 0, worker=["a:1", "b:1"]))
    with pytest.raises(RuntimeError, match="before TensorFlow computes anything: call"):
        use_all_devices()
    assert not tf.distribute.has_strategy()


@pytest.fixture(scope="module")
def found(tmp_path_factory, request):
    folder = tmp_path_factory.mktemp("workers")
    sockets = [socket.socket() for _ in range(COUNT)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = json.dumps([each.getsockname()[1] for each in sockets])
    for each in sockets:
        each.close()
    script = RUN.format(root=str(request.config.rootpath), ports=ports)
    run = fresh_process.run(script, cwd=folder)
    assert run.returncode == 0, run.stderr[-6000:]
    return [
        json.loads((folder / f"{index}.json").read_text())
        for index in (None, *range(COUNT))
    ]


def flat(result):
    """Yield the numbers in a nested result, each with its place."""
    if isinstance(result, dict | list):
        pairs = result.items() if isinstance(result, dict) else enumerate(result)
        for name, each in pairs:
            for place, number in flat(each):
                yield f"{name}/{place}", number
    else:
        yield "", result


def difference(one, other):
    """Return how far two nested results are apart."""
    one, other = dict(flat(one)), dict(flat(other))
    assert one.keys() == other.keys()
    assert np.isfinite([*one.values()]).all()
    return max(abs(one[place] - other[place]) for place in one)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_each_worker_ends_as_one_process_does(found, case):
    one, *others = ({**each[case]} for each in found)
    for each in (one, *others):
        each.pop("decoded", None)
    for other in others:
        assert difference(one, other) < 1e-6


@pytest.mark.slow
def test_photos_that_memory_does_not_hold_are_decoded_once_in_each_pass(found):
    one, *others = (np.array(each["decoded anew"]["decoded"]) for each in found)
    # Two passes over training and validation photos, none over those to test.
    assert one.tolist() == [2] * 67 + [0] * 5
    assert np.sum(others, axis=0).tolist() == one.tolist()
    assert [int(each[:34].sum()) for each in others] == [2 * 17] * 2


@pytest.mark.slow
def test_of_33_photos_another_one_stays_out_in_each_pass(found):
    one, *others = (each["left out"] for each in found)
    left_out = []
    for number, batches in enumerate(one):
        parts = [each[number] for each in others]
        assert [[len(step) for step in part] for part in parts] == [[4] * 4] * 2
        for step, batch in enumerate(batches[:4]):
            assert sorted(parts[0][step] + parts[1][step]) == sorted(batch)
        left_out += batches[4]
    assert len({*left_out}) == 2


@pytest.mark.slow
def test_each_worker_knows_its_place(found):
    assert [each["workers"] for each in found] == [None, [0, 2, 1], [1, 2, 1]]
