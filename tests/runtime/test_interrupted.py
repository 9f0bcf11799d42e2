"""What was stopped goes on where it was; what was killed leaves nothing behind."""

import dataclasses
import errno
import os
import pathlib
import signal
import threading
import time

import keras
import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer.features import array_files, cache, inference
from keras_transfer.runtime import atomic_files, paths
from tests.helpers import fresh_process
from tests.helpers.small_networks import small_backbone
from tests.models.test_precision import small_splits


@pytest.fixture(scope="module")
def splits():
    return small_splits()


@pytest.fixture(autouse=True)
def batch_by_batch(monkeypatch):
    """Let TensorFlow compute, which has one batch at a time on its way."""
    monkeypatch.setattr(inference, "is_installed", lambda: False)


def network():
    keras.utils.set_random_seed(0)
    return small_backbone(normalized=True)


def watched(splits, stop_after=None, how=None):
    """Return splits that count the batches they give, and stop after so many."""
    given = []

    def watch(part):
        def ordered(start, stop):
            for batch in splits._ordered[part](start, stop):
                if len(given) == stop_after:
                    how()
                given.append(part)
                yield batch

        return ordered

    parts = {part: watch(part) for part in splits.counts}
    return dataclasses.replace(splits, _ordered=parts), given


def interrupt():
    raise KeyboardInterrupt


def same(one, other):
    return all(
        np.array_equal(getattr(one, part)[i], getattr(other, part)[i])
        for part in ("train", "validation", "test")
        for i in (0, 1)
    )


def files(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.npy")}


@pytest.mark.parametrize("batches", [1, 3])
@pytest.mark.parametrize("shard", [None, (1, 2)])
def test_features_go_on_where_they_stopped(splits, tmp_path, batches, shard):
    alone = kt.extract_features(network(), splits, tmp_path / "alone", shard=shard)
    stopping, _ = watched(splits, batches, interrupt)
    with pytest.raises(KeyboardInterrupt):
        kt.extract_features(network(), stopping, tmp_path / "kept", shard=shard)
    (left,) = (tmp_path / "kept").iterdir()
    assert left.name.startswith(".kt-")
    going_on, given = watched(splits)
    features = kt.extract_features(network(), going_on, tmp_path / "kept", shard=shard)
    total = sum(-(-len(getattr(alone, p).labels) // 4) for p in splits.counts)
    assert len(given) == total - batches
    assert same(features, alone)
    assert files(features.path) == files(alone.path)
    assert [path.name for path in (tmp_path / "kept").iterdir()] == [alone.path.name]
    names = {path.name for path in features.path.iterdir()}
    assert names == {path.name for path in alone.path.iterdir()}


def test_features_by_openvino_go_on_too(splits, tmp_path, monkeypatch):
    pytest.importorskip("openvino")
    monkeypatch.undo()
    monkeypatch.setattr(inference, "BATCH", 4)
    monkeypatch.setenv("KERAS_TRANSFER_DATA_DIR", str(tmp_path))
    alone = kt.extract_features(network(), splits, tmp_path / "alone")
    stopping, _ = watched(splits, 5, interrupt)
    with pytest.raises(KeyboardInterrupt):
        kt.extract_features(network(), stopping, tmp_path / "kept")
    going_on, given = watched(splits)
    features = kt.extract_features(network(), going_on, tmp_path / "kept")
    # What was on its way is computed again: here two batches and the one behind them.
    assert 8 - 5 <= len(given) <= 8 - 5 + 3
    assert same(features, alone)
    assert files(features.path) == files(alone.path)


def test_the_seconds_of_each_part_are_its_own(splits, tmp_path):
    def slow(part):
        def ordered(start, stop):
            time.sleep(0.4)
            yield from splits._ordered[part](start, stop)

        return ordered

    parts = {part: slow(part) for part in splits.counts}
    slowly = dataclasses.replace(splits, _ordered=parts)
    with pytest.raises(KeyboardInterrupt):
        kt.extract_features(network(), watched(slowly, 7, interrupt)[0], tmp_path)
    with cache.spared_seconds() as spared:
        features = kt.extract_features(network(), splits, tmp_path)
    # Not the first part's again in the second, and both again in the third.
    assert 1.2 <= spared[features.path] < 1.9


def test_maps_go_on_with_the_same_random_numbers(splits, tmp_path, monkeypatch):
    def extract(data, folder):
        return kt.extract_feature_maps(
            network(),
            data,
            augmentation=keras.layers.RandomBrightness(0.3, seed=1),
            augmented_copies=1,
            cache_dir=folder,
        )

    extract(splits, tmp_path / "alone")
    runs, stopped = [], tmp_path / "stopped"
    write = array_files._Pair.append

    def append(self, outputs, labels, begun):
        runs.append(1)
        if len(runs) == 11:  # In the middle of the augmented copy.
            raise KeyboardInterrupt
        write(self, outputs, labels, begun)

    monkeypatch.setattr(array_files._Pair, "append", append)
    with pytest.raises(KeyboardInterrupt):
        extract(splits, stopped)
    extract(splits, stopped)
    assert len(runs) == 11 + 2
    assert len(list((tmp_path / "alone").iterdir())) == 4  # One of each part.
    for folder in (tmp_path / "alone").iterdir():
        assert files(folder) == files(stopped / folder.name)


@pytest.mark.parametrize("damage", ["data", "record", "short", "header"])
def test_what_is_not_whole_is_computed_again(splits, tmp_path, damage):
    alone = kt.extract_features(network(), splits, tmp_path / "alone")
    kept = tmp_path / "kept"
    stopping, _ = watched(splits, 3, interrupt)
    with pytest.raises(KeyboardInterrupt):
        kt.extract_features(network(), stopping, kept)
    (left,) = kept.iterdir()
    file, record = left / "train_features.npy", left / "train_features.progress"
    data, lines = file.read_bytes(), record.read_bytes()
    if damage == "record":
        record.write_bytes(lines[:-7])
    elif damage == "short":
        file.write_bytes(data[:-1])
    else:
        place = -1 if damage == "data" else 70
        changed = bytearray(data)
        changed[place] ^= 1
        file.write_bytes(changed)
    going_on, given = watched(splits)
    features = kt.extract_features(network(), going_on, kept)
    assert len(given) == 4 + 2 + 2 - (0 if damage == "header" else 2)
    assert same(features, alone)


def test_other_weights_do_not_go_on(splits, tmp_path):
    stopping, _ = watched(splits, 3, interrupt)
    with pytest.raises(KeyboardInterrupt):
        kt.extract_features(network(), stopping, tmp_path)
    other = network()
    other.layers[1].kernel.assign(other.layers[1].kernel + 1)
    going_on, given = watched(splits)
    kt.extract_features(other, going_on, tmp_path)
    assert len(given) == 8
    # The first one can still go on.
    assert len(list(tmp_path.glob(".kt-*"))) == 1
    for path in tmp_path.glob(".kt-*/*"):
        os.utime(path, (0, 0))
    kt.extract_features(network(), splits, tmp_path, shard=(0, 2))
    assert not list(tmp_path.glob(".kt-*"))


def test_a_refused_value_is_not_kept(splits, tmp_path):
    broken = network()
    kernel = broken.layers[1].kernel
    kernel.assign(kernel * np.inf)
    with pytest.raises(ValueError, match=r"not finite.*Received: images from"):
        kt.extract_features(broken, splits, tmp_path)
    assert not list(tmp_path.iterdir())


def test_more_or_fewer_images_than_counted(splits, tmp_path):
    for count in (7, 9):
        counts = splits.counts | {"validation": count}
        parts = splits._ordered | {
            "validation": lambda start, stop: splits._ordered["validation"](start, 8)
        }
        other = dataclasses.replace(splits, counts=counts, _ordered=parts)
        with pytest.raises(ValueError, match=f"Expected {count} images.*Received"):
            kt.extract_features(network(), other, tmp_path)
    assert not list(tmp_path.iterdir())


KILLED = """
import os, pathlib, signal, sys
sys.path.insert(0, {root!r})
import keras_transfer as kt
from keras_transfer.runtime import atomic_files, paths
from keras_transfer.samples import builders
from tests.runtime.test_interrupted import network, small_splits, watched

folder = pathlib.Path(sys.argv[1])
with atomic_files.written_whole(folder / "files" / "model.keras") as path:
    path.write_text("half")
    with atomic_files.unfinished_folder(folder / "files" / "data") as other:
        (other / "half").write_text("half")
        stop = lambda: os.kill(os.getpid(), signal.SIGKILL)
        stopping, _ = watched(small_splits(), 3, stop)
        path = folder / "features"
        kt.extract_features(network(), stopping, path, engine="tensorflow")
"""


@pytest.mark.skipif(os.name != "posix", reason="processes are not asked on Windows")
@pytest.mark.slow
def test_a_killed_process(splits, tmp_path, request):
    killed = fresh_process.run(
        KILLED.format(root=str(request.config.rootpath)), tmp_path
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-2000:]
    beside = tmp_path / "files"
    assert len(list(beside.iterdir())) == 2
    (left,) = (tmp_path / "features").iterdir()
    going_on, given = watched(splits)
    features = kt.extract_features(network(), going_on, tmp_path / "features")
    assert len(given) == 8 - 3
    assert same(features, kt.extract_features(network(), splits, tmp_path / "alone"))
    assert list((tmp_path / "features").iterdir()) == [features.path]
    # What others have there is not touched.
    machine, *_ = left.name.removeprefix(".kt-").split("-")
    others = [
        f".kt-{'0' * 8}-1-1-{'0' * 8}-x",
        f".kt-{machine}-{os.getpid()}-{atomic_files._started(os.getpid())}",
        f".kt-{machine}-1-{atomic_files._started(1) or 0}-{'0' * 8}-x",
        ".own-12345678",
    ]
    for name in others:
        (beside / name).touch()
    with atomic_files.written_whole(beside / "model.keras") as path:
        path.write_text("whole")
    names = {path.name for path in beside.iterdir()}
    assert names == {"model.keras", *others}


def test_two_threads_at_once_spoil_nothing(splits, tmp_path):
    stopping, _ = watched(splits, 3, interrupt)
    with pytest.raises(KeyboardInterrupt):
        kt.extract_features(network(), stopping, tmp_path)
    model, found = network(), []

    def slowly(batches):
        def ordered(start, stop):
            for batch in batches(start, stop):
                time.sleep(0.02)
                yield batch

        return ordered

    parts = {part: slowly(splits._ordered[part]) for part in splits.counts}
    slow = dataclasses.replace(splits, _ordered=parts)

    def extract():
        found.append(kt.extract_features(model, slow, tmp_path))

    threads = [threading.Thread(target=extract) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3
    assert same(found[0], found[1])
    assert same(found[0], found[2])
    assert list(tmp_path.iterdir()) == [found[0].path]


def below_a_file(tmp_path):
    file = tmp_path / "file"
    file.touch()
    return file / "below"


def test_no_access_names_the_way_out(splits, tmp_path, monkeypatch):
    folder = below_a_file(tmp_path)
    message = r"Nothing can be written.*KERAS_TRANSFER_DATA_DIR.*Received: folder="

    def save(path):
        with atomic_files.written_whole(path):
            raise AssertionError("not reached")

    ways = [
        lambda: kt.extract_features(network(), splits, folder),
        lambda: kt.extract_feature_maps(network(), splits, cache_dir=folder),
        lambda: save(folder / "model.keras"),
    ]
    monkeypatch.setenv("KERAS_TRANSFER_DATA_DIR", str(folder))
    ways.append(lambda: kt.extract_features(network(), splits))
    for way in ways:
        with pytest.raises(OSError, match=message):
            way()

    def refuse(self, *_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(pathlib.Path, "mkdir", refuse)
    message = r"\(Permission denied\).*KERAS_TRANSFER_DATA_DIR.*Received: folder="
    with pytest.raises(PermissionError, match=message):
        kt.extract_features(network(), splits, tmp_path / "denied")


def test_a_disk_that_fills_up(splits, tmp_path, monkeypatch):
    def fill(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", fill)
        with pytest.raises(
            OSError, match=r"No space left.*Make room.*Received: folder"
        ):
            kt.extract_features(network(), splits, tmp_path)
    # Once there is room, it goes on: all had been written when the disk was asked.
    going_on, given = watched(splits)
    kt.extract_features(network(), going_on, tmp_path)
    assert not given
    with (
        pytest.raises(OSError, match=r"No space left.*Make room.*Received: folder"),
        atomic_files.written_whole(tmp_path / "file"),
    ):
        fill()
    assert len(list(tmp_path.iterdir())) == 1


def test_folders_with_a_tilde(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for variable, folder in {
        "KERAS_TRANSFER_DATA_DIR": paths.data_dir,
        "KERAS_TRANSFER_WEIGHTS_DIR": paths.weights_dir,
    }.items():
        monkeypatch.setenv(variable, "~/kept")
        assert folder() == tmp_path / "kept"
        monkeypatch.setenv(variable, "~nobody-of-this-name/kept")
        with pytest.raises(ValueError, match=f"{variable} must be a path"):
            folder()
    with atomic_files.written_whole("~/new/file.txt") as path:
        path.write_text("whole")
    assert (tmp_path / "new" / "file.txt").read_text() == "whole"


def test_the_seconds_of_both_runs_count(splits, tmp_path):
    from keras_transfer.features import cache

    def stop():
        time.sleep(0.5)
        raise KeyboardInterrupt

    stopping, _ = watched(splits, 3, stop)
    with pytest.raises(KeyboardInterrupt):
        kt.extract_features(network(), stopping, tmp_path)
    with cache.spared_seconds() as spared:
        features = kt.extract_features(network(), splits, tmp_path)
    assert spared[features.path] > 0
    with cache.spared_seconds() as both:
        kt.extract_features(network(), splits, tmp_path)
    assert both[features.path] > spared[features.path]


@pytest.mark.parametrize("name", ["n" * 249 + ".keras", "字" * 83], ids=len)
def test_a_name_may_be_as_long_as_the_disk_allows(tmp_path, name):
    with atomic_files.written_whole(tmp_path / name) as temporary:
        assert temporary.suffix == (tmp_path / name).suffix
        temporary.touch()
    with atomic_files.unfinished_folder(tmp_path / name) as temporary:
        assert temporary.is_dir()
    assert [*tmp_path.iterdir()] == [tmp_path / name]
