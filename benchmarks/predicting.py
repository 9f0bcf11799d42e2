"""Measure images per second and memory of `predict_stream`, from JPEG files.

    python benchmarks/predicting.py [--backbone NAME] [--files N] [--none-of-these]

The bare network, folded and compiled in the same precision, runs on as many images that
are tensors in memory already. Each number of files is predicted in a process of its
own, whose peak memory is compared. Few photos, again and again, stand for many.
"""

import itertools
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np
import tensorflow as tf

import keras_transfer as kt
from keras_transfer.classifier.saved import Classifier
from keras_transfer.features import cache
from keras_transfer.models.precision import fast_copy, fast_dtype
from keras_transfer.runtime.processes import child_environment, peak_memory
from measuring import Measurement, interleaved, parse, parser, ratio
from subjects import build_network, kind_of_photos, write_photos

UNIT = "images per second"
BATCH = 32
DIFFERENT = 512


def main() -> None:
    made = parser(__doc__, rounds=3)
    made.add_argument("--backbone", default="resnet50")
    made.add_argument("--image-size", type=int, default=224)
    made.add_argument("--files", type=int, default=512, help="timed each round")
    made.add_argument("--few", type=int, default=1_000, help="files, for memory")
    made.add_argument("--many", type=int, default=10_000, help="files, for memory")
    made.add_argument("--none-of-these", action="store_true", help="with a detector")
    made.add_argument("--child", nargs=2, help="used by this program itself")
    toy = {"backbone": "efficientnet_lite0", "image_size": 64, "files": 128}
    options = parse(made, **toy, few=100, many=400)
    if options.child:
        child(pathlib.Path(options.child[0]), int(options.child[1]), options)
        return
    measurement = Measurement(
        "predicting",
        options,
        kind_of_photos(),
        {"pixels": options.image_size, "files": options.files, "batch": BATCH},
    )
    with tempfile.TemporaryDirectory() as folder:
        photos = pathlib.Path(folder, "photos")
        write_photos(photos, DIFFERENT)
        compare_speed(measurement, photos, options)
        compare_memory(measurement, photos, options)
    measurement.keep()


def compare_speed(measurement, photos: pathlib.Path, options) -> None:
    """Compare files with tensors in memory, in the precision chosen."""
    classifier = made_classifier(options)
    model, files = classifier.model, some(photos, options.files)
    dtype = fast_dtype(model, frozen=True)
    run = cache.compiled(fast_copy(model, dtype, frozen=True), tf.float32)
    chunk = [kt.load_image(path, options.image_size) for path in files[:BATCH]]
    tensors = [tf.constant(np.stack(chunk))] * (options.files // BATCH)
    seconds = {"setting up": []}

    def stream() -> None:
        start = time.perf_counter()
        found = classifier.predict_stream(iter(files))
        seconds["setting up"].append(time.perf_counter() - start)
        assert not any(each.error for each in found)

    ways = {
        f"JPEG files, predict_stream, {dtype}": stream,
        f"tensors, bare network, {dtype}": lambda: [
            np.asarray(run(images)) for images in tensors
        ],
    }
    for way in ways.values():
        way()
    seconds["setting up"].clear()
    taken = interleaved(ways, options.rounds)
    from_files, from_tensors = taken.values()
    # What it takes to make the graph does not grow with the number of files.
    from_files = [
        whole - set_up
        for whole, set_up in zip(from_files, seconds["setting up"], strict=True)
    ]
    group = f"{options.backbone}, {options.files} photos"
    for way, values in zip(ways, (from_files, from_tensors), strict=True):
        measurement.add(group, way, [options.files / x for x in values], UNIT)
    measurement.add(group, "setting up", seconds["setting up"], "seconds")
    measurement.target(
        f"{options.backbone}: JPEG files of tensors, {dtype}",
        ratio(from_tensors, from_files),
        at_least=0.9,
    )


def compare_memory(measurement, photos: pathlib.Path, options) -> None:
    """Compare the peak memory of processes that predict few and many files."""
    peaks = {}
    for count in (options.few, options.many):
        command = [sys.executable, __file__, "--child", str(photos), str(count)]
        for name in ("backbone", "image_size"):
            command += [f"--{name.replace('_', '-')}", str(getattr(options, name))]
        if options.none_of_these:
            command.append("--none-of-these")
        printed = subprocess.run(
            command,
            env=child_environment(),
            check=True,
            capture_output=True,
            encoding="utf-8",
        ).stdout
        peaks[count] = int(printed.split()[-1]) / 2**20
        measurement.add("peak memory", f"{count:,} files", [peaks[count]], "MiB")
    measurement.target(
        f"peak memory of {options.many:,} files and of {options.few:,}",
        peaks[options.many] / peaks[options.few],
        at_most=1.05,
    )


def child(photos: pathlib.Path, count: int, options) -> None:
    """Predict so many files, and print the most memory that it took."""
    found = made_classifier(options).predict_stream(some(photos, count))
    assert sum(each.error is None for each in found) == count
    print(peak_memory())


def made_classifier(options) -> Classifier:
    """Return a classifier, with a detector of 4,096 features if it is asked for."""
    network = build_network(options.backbone, options.image_size)
    model = kt.build_classifier(network, 2, share_backbone=True)
    unknown = None
    if options.none_of_these:
        features = np.random.default_rng(0).random((4396, network.output_shape[-1]))
        unknown = kt.fit_unknown_detector(features[300:], features[:300])
    return Classifier(model, ("cat", "dog"), options.image_size, unknown=unknown)


def some(photos: pathlib.Path, count: int) -> list[pathlib.Path]:
    files = sorted(path for path in photos.rglob("*") if path.is_file())
    return [*itertools.islice(itertools.cycle(files), count)]


if __name__ == "__main__":
    main()
