"""One run of scale.py, in a process of its own: a driver with a cluster of its own.

python benchmarks/scale_run.py photos 10000
"""

import json
import pathlib
import pickle
import sys
import tempfile
import threading
import time

import keras
import numpy as np
import psutil
import ray
import tensorflow as tf

import keras_transfer as kt
from keras_transfer.data.photo_files import PhotoFile
from keras_transfer.data.splits import Splits
from keras_transfer.features import on_cluster
from keras_transfer.features.cluster_entry import Extractor
from keras_transfer.features.ranges import Range
from keras_transfer.runtime.processes import peak_memory
from subjects import build_network, write_photos

WORKERS = 2
# The features of EfficientNet-Lite0.
CHANNELS = 1280
BATCH = 32
SMALL_ROW = 64
EVERY = 0.5


class Zeros(Extractor):
    """Answer rows of photos with zeros in place of features, and compute nothing."""

    def __init__(self, references, begun):
        # Not that of `Extractor`, which prepares the network.
        self._ray, self._begun, self._error = ray, begun, None
        self._run = self.answer
        (self._job,) = ray.get(references)

    def answer(self, row: dict) -> dict:
        _, labels = pickle.loads(row["files"])
        values = np.zeros((len(labels), CHANNELS), "float32")
        return {
            "part": row["part"],
            "shape": [*values.shape],
            "dtype": values.dtype.name,
            "values": values.tobytes(),
            "labels": labels.astype("int32").tobytes(),
        }


class Timed(Extractor):
    """Note the processor seconds of a worker once it is ready, and with its first row.

    A class attribute `folder` says where.
    """

    folder: str

    def __init__(self, references, begun):
        super().__init__(references, begun)
        self._note("ready")

    def __call__(self, row: dict) -> dict:
        made = super().__call__(row)
        self._note("first")
        return made

    def _note(self, name: str) -> None:
        place = pathlib.Path(self.folder, name)
        if not place.exists():
            place.write_text(str(time.process_time()), encoding="utf-8")


class Watch:
    """Watch the processes of Ray that this process has started, until a block ends."""

    def __enter__(self):
        self._ended, self._seconds, self.most = threading.Event(), {}, 0
        self._thread = threading.Thread(target=self.watch, daemon=True)
        self._look()
        self._before = sum(self._seconds.values())
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        self._thread.join()
        self._look()

    @property
    def seconds(self) -> float:
        """Processor seconds of all that are no workers."""
        return sum(self._seconds.values()) - self._before

    def watch(self):
        while not self._ended.wait(EVERY):
            self._look()

    def _look(self):
        for process in psutil.Process().children(recursive=True):
            try:
                name, times = process.cmdline()[0], process.cpu_times()
            except (psutil.Error, IndexError):  # It has ended.
                continue
            if name.startswith("ray::"):
                self.most = max(self.most, peak_memory(process.pid) or 0)
            else:
                self._seconds[process.pid] = times.user + times.system


def made_up(count: int) -> Splits:
    """Return splits of photos that are nowhere: only their rows are made."""
    photos = tuple(
        PhotoFile(
            path=pathlib.Path(f"/photos/class_{i % 1000:03}/{i:09}.jpg"),
            label=i % 1000,
            split=None,
            sha256=f"{i:064x}",
            number=i * 2654435761 % 2**62,
            plain=True,
            problem=None,
        )
        for i in range(count)
    )
    batch = tf.data.Dataset.from_tensors(
        (tf.zeros((BATCH, 32, 32, 3)), tf.zeros(BATCH, tf.int32))
    )
    counts = {"train": count - 2, "validation": 1, "test": 1}
    return Splits(
        train=batch,
        validation=batch,
        test=batch,
        class_names=tuple(f"class_{i:03}" for i in range(1000)),
        counts=counts,
        name="made up",
        source="made up",
        fingerprint="made up",
        image_size=32,
        _ordered={split: lambda *_: batch for split in counts},
        loader={"function": "load_directory", "arguments": {}},
        photos={
            "train": photos[:-2],
            "validation": photos[-2:-1],
            "test": photos[-1:],
        },
    )


def photos(count: int, images: int = on_cluster.IMAGES) -> dict:
    """Return what extraction costs beside computing, in rows of so many images."""
    before = peak_memory()
    splits = made_up(count)
    held = peak_memory() - before
    layers = [keras.Input((32, 32, 3)), keras.layers.Conv2D(CHANNELS, 1)]
    on_cluster.Extractor, on_cluster.IMAGES = Zeros, images
    start, train = time.perf_counter(), Range("train", 0, count - 2)
    rows = on_cluster._rows(splits, [train], [(0, 0)], WORKERS, BATCH)
    sizes = [len(row["files"]) for row in rows]
    made = time.perf_counter() - start
    with Watch() as watch, tempfile.TemporaryDirectory() as folder:
        clock, processor = time.perf_counter(), time.process_time()
        kt.extract_features(
            keras.Sequential(layers),
            splits,
            folder,
            dtype="float32",
            engine="tensorflow",
            cluster="auto",
            workers=WORKERS,
        )
        clock = time.perf_counter() - clock
        processor = time.process_time() - processor
    return {
        "photos": count,
        "rows": len(sizes),
        "bytes of rows": sum(sizes),
        "bytes of photos": held,
        "rows made": made,
        "clock": clock,
        "driver": processor,
        "ray": watch.seconds,
        "driver peak": peak_memory(),
        "worker peak": watch.most,
    }


def small_rows(count: int) -> dict:
    """Return the same with more rows, each with fewer photos."""
    return photos(count, SMALL_ROW)


def worker(count: int) -> dict:
    """Return the processor seconds that a worker with a network takes to be ready."""
    with tempfile.TemporaryDirectory() as folder:
        Timed.folder, on_cluster.Extractor = folder, Timed
        files = pathlib.Path(folder, "photos")
        write_photos(files, count)
        with Watch() as watch:
            kt.extract_features(
                build_network("efficientnet_lite0", 224),
                kt.load_directory(files, image_size=224),
                pathlib.Path(folder, "features"),
                engine="tensorflow",
                cluster="auto",
                workers=WORKERS,
            )
        noted = {
            name: float(pathlib.Path(folder, name).read_text(encoding="utf-8"))
            for name in ("ready", "first")
        }
    return {**noted, "worker peak": watch.most}


KINDS = {"photos": photos, "small_rows": small_rows, "worker": worker}


def main(kind: str, count: str) -> None:
    # In a folder of its own: in the usual one it would be the cluster that others find.
    with tempfile.TemporaryDirectory(prefix="kt-ray-") as folder:
        ray.init(
            "local",
            num_cpus=WORKERS,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
            _temp_dir=folder,
        )
        try:
            found = KINDS[kind](int(count))
        finally:
            ray.shutdown()
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
