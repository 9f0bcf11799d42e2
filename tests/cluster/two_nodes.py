"""Two machines on loopback: features, maps and a comparison on them, and one that dies.

Run by test_two_nodes.py in a network namespace of its own. The last line that it prints
says in JSON how many seconds each part took.
"""

import contextlib
import json
import os
import pathlib
import signal
import sys
import threading
import time

import keras
import numpy as np
import pytest
from PIL import Image

import keras_transfer as kt
from keras_transfer.features import on_cluster
from tests.helpers.own_layers import Doubled
from tests.helpers.ray_cluster import (
    ADDRESS,
    bring_loopback_up,
    command_line,
    processes,
    ray_nodes,
)

SECONDS = {}


@contextlib.contextmanager
def timed(name):
    """Note how long a block takes."""
    start = time.perf_counter()
    yield
    SECONDS[name] = round(time.perf_counter() - start, 1)


def same(one, other):
    """Hold that pairs of outputs and labels have the same bits."""
    for split in ("train", "validation", "test"):
        for a, b in zip(one(split), other(split), strict=True):
            np.testing.assert_array_equal(a, b, strict=True)


def workers():
    """Return the numbers of the processes that hold a network."""
    return [pid for pid in processes() if "MapWorker" in command_line(pid)]


@contextlib.contextmanager
def killing(folder, kill):
    """Kill somebody as soon as one more batch is on disk, and hold that it was so."""
    killed = []

    def written():
        return sum(path.stat().st_size for path in folder.rglob("*.progress"))

    def wait(before=written()):  # noqa: B008
        while written() <= before:
            time.sleep(0.02)
        killed.append(kill())

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    yield
    thread.join(1)
    assert killed, "Nobody was killed: all was computed before."


def drawn_as_files(folder):
    """Write drawn pets as JPEG and PNG, one folder a class."""
    pets = kt.load_dataset("sample_cats_vs_dogs", image_size=96)
    for split in pets.counts:
        for number, (image, label) in enumerate(zip(*pets.arrays(split), strict=True)):
            suffix = "png" if number % 3 == 0 else "jpg"
            path = folder / pets.class_names[label] / f"{split}_{number}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
    return kt.load_directory(folder, image_size=96)


def features(folder, nodes):
    """Compute features of files while a worker is killed, and then a machine."""
    photos = drawn_as_files(folder / "photos")
    backbone = kt.build_backbone("efficientnet_lite0", image_size=96)
    one = kt.extract_features(backbone, photos, folder / "one")

    def compute():
        return kt.extract_features(backbone, photos, folder / "two", cluster=ADDRESS)

    def kill():
        # All: one alone may not have begun a row yet.
        for worker in workers():
            os.kill(worker, signal.SIGKILL)

    allowed, on_cluster.TRIES = on_cluster.TRIES, 1
    died = pytest.raises(RuntimeError, match=r"again.*Received: images \d+ to \d+ of")
    with killing(folder / "two", kill), timed("features, the workers killed"), died:
        compute()
    on_cluster.TRIES = allowed
    with killing(folder / "two", nodes[1].kill), timed("features, a machine killed"):
        two = compute()
    same(lambda split: getattr(one, split), lambda split: getattr(two, split))


def maps(folder):
    """Compute maps of records, with a layer that workers have not imported."""
    records = kt.load_dataset("sample_cats_vs_dogs", image_size=96)
    backbone = kt.build_backbone("efficientnet_lite0", image_size=96)
    first, _ = kt.split_at_block(backbone, kt.block_names(backbone)[4])
    first = keras.Model(first.input, Doubled()(first.output), name="doubled")
    one = kt.extract_feature_maps(first, records, cache_dir=folder / "maps one")
    with timed("maps"):
        two = kt.extract_feature_maps(
            first, records, cache_dir=folder / "maps two", cluster=ADDRESS
        )
    same(one.arrays, two.arrays)


def comparison(folder):
    """Make a run on the machine that is left, and another one here."""
    recipe = {"small": kt.Recipe("from_scratch", "small_convnet", epochs=2)}
    flowers = kt.load_dataset("sample_flowers", image_size=32, max_images=60)
    found = []
    for name, cluster in {"here": None, "there": ADDRESS}.items():
        os.environ["KERAS_TRANSFER_DATA_DIR"] = str(folder / name)
        with timed(f"a comparison {name}"):
            made = kt.compare(recipe, flowers, seeds=[0], cluster=cluster)
        assert made.comparable_seconds
        (path,) = (folder / name / "comparisons").glob("*.npz")
        found.append((path.name, np.load(path)["probabilities"]))
    (name, here), (same_name, there) = found
    assert name == same_name
    np.testing.assert_array_equal(here, there, strict=True)


def main(folder):
    bring_loopback_up()
    with contextlib.ExitStack() as stack:
        with timed("two machines to start"):
            nodes = stack.enter_context(ray_nodes(2))
        features(folder, nodes)
        maps(folder)
        comparison(folder)
    assert not workers(), "Workers are left."
    print(json.dumps(SECONDS))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
