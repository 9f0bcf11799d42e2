"""Measure what an export costs and gains, by format and precision, beside Keras.

    python benchmarks/export.py [--model FILE --photos FOLDER] [--rounds N]

Without a model, one is trained: EfficientNet-Lite0 on photos of cats and dogs. Each way
and round is a process of its own, in turn: from its start to the first answer, and the
memory until then; then one photo at a time, and many. Keras computes with TensorFlow in
float32 here, layer by layer for one photo and in a graph for many.
"""

import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import keras_transfer as kt
from keras_transfer.deployment.converting import PRECISIONS
from keras_transfer.deployment.exported import MODELS
from keras_transfer.runtime.processes import child_environment
from keras_transfer.runtime.tables import markdown_table
from measuring import Measurement, parse, parser, ratio
from subjects import kind_of_photos, write_photos

KERAS = "Keras"
SECONDS, BYTES = 2.0, 500e6
# Without Keras and TensorFlow, where the way does without.
SCRIPT = """
import itertools, json, pathlib, statistics, sys, time
from keras_transfer.runtime.processes import peak_memory
path, many, *photos = sys.argv[1:]
if path.endswith(".keras"):
    from keras_transfer.classifier.saved import load_classifier as load
    how = {"dtype": "float32", "engine": "tensorflow"}
else:
    from keras_transfer.deployment.exported import load_exported as load
    how = {}
loaded = load(path)
loaded.predict(photos[0])
print(peak_memory(), flush=True)
seconds = []
for photo in photos[:32]:
    start = time.perf_counter()
    loaded.predict(photo)
    seconds.append(time.perf_counter() - start)
files = itertools.islice(itertools.cycle(photos), int(many) + 32)
stream = loaded.predict_stream(files, **how)
for _ in range(32):
    next(stream)
start = time.perf_counter()
count = sum(1 for _ in stream)
taken = time.perf_counter() - start
print(json.dumps([statistics.median(seconds), count / taken]))
"""


def main() -> None:
    made = parser(__doc__, rounds=5)
    made.add_argument("--model", type=pathlib.Path, help="a .keras file")
    made.add_argument("--photos", type=pathlib.Path, help="those it was trained on")
    made.add_argument("--image-size", type=int, default=160, help="of one to train")
    made.add_argument("--count", type=int, default=400, help="photos to train on")
    made.add_argument("--many", type=int, default=512, help="photos, predicted")
    options = parse(made, image_size=64, count=60, many=64, rounds=1)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        model, photos, data = subject(folder, options)
        settings = {"photos a round": options.many}
        measurement = Measurement("export", options, data, settings)
        exports = made_exports(measurement, model, photos, folder)
        compare(measurement, model, photos, exports)
    measurement.keep()


def subject(folder: pathlib.Path, options) -> tuple[pathlib.Path, pathlib.Path, str]:
    """Return a model, the photos that it was trained on, and what they are."""
    if options.model and options.photos:
        return options.model, options.photos, f"Photos of {options.photos.name}"
    write_photos(folder / "photos", options.count)
    kt.train_classifier(
        folder / "photos",
        folder / "model.keras",
        backbone="efficientnet_lite0",
        image_size=options.image_size,
    )
    return folder / "model.keras", folder / "photos", kind_of_photos()


def made_exports(measurement, model, photos, folder) -> dict:
    """Return what was exported, by format and precision."""
    classifier, found = kt.load_classifier(model), {}
    for kind in MODELS:
        for precision in PRECISIONS if kind != "savedmodel" else ("float32",):
            way = f"{kind} {precision}"
            try:
                found[way] = kt.export_classifier(
                    classifier, folder / way, kind, precision, photos
                )
            except RuntimeError as error:  # It does not agree.
                measurement.remarks.append(f"{way}: {error}")
    return found


def compare(measurement, model, photos, exports) -> None:
    """Measure each way in turn, and print all of it as one table."""
    paths = {KERAS: model} | {way: each.path for way, each in exports.items()}
    files = sorted(path for path in photos.rglob("*") if path.is_file())[:64]
    ways = {way: [] for way in paths}
    for _ in range(measurement.options.rounds):
        for way, path in paths.items():
            ways[way].append(measured(path, files, measurement.options.many))
    sizes = {KERAS: model.stat().st_size}
    sizes |= {way: each.size for way, each in exports.items()}
    rows = [["", "MB", "first answer", "one photo", "photos a second", "memory"]]
    rows[0] += ["probability off", "same class", "loss"]
    for way, runs in ways.items():
        ready, memory, one, many = map(list, zip(*runs, strict=True))
        measurement.add("size", way, [sizes[way] / 1e6], "MB")
        measurement.add("start to first answer", way, ready, "seconds")
        measurement.add("memory until then", way, [x / 1e6 for x in memory], "MB")
        measurement.add("one photo", way, [1000 * x for x in one], "ms")
        measurement.add("many photos", way, many, "photos per second")
        middle = [statistics.median(x) for x in (ready, one, many, memory)]
        agreement = ["-", "-", "-"]
        if way in exports:
            agreement = cells(exports[way].agreement)
            measurement.target(
                f"{way}: memory of Keras's", ratio(memory, [x[1] for x in ways[KERAS]])
            )
        rows.append(
            [
                *(way, f"{sizes[way] / 1e6:.1f}", f"{middle[0]:.2f} s"),
                *(f"{1000 * middle[1]:.1f} ms", f"{middle[2]:.0f}"),
                *(f"{middle[3] / 1e6:.0f} MB", *agreement),
            ]
        )
        if way.split()[0] in ("onnx", "litert", "openvino"):
            measurement.target(
                f"{way}: seconds to the first answer", middle[0], at_most=SECONDS
            )
            measurement.target(f"{way}: bytes until then", middle[3], at_most=BYTES)
    print(f"\n{markdown_table(rows)}\n")


def cells(agreement) -> list[str]:
    """Return what the table says of an agreement."""
    test = agreement.test
    lost = "not tested"
    if test:
        lost = f"{test.only_a} lost, {test.only_b} won of {test.count}"
    return [
        f"{agreement.probability_difference:.1g}",
        f"{agreement.same_class:.1%} of {agreement.images}",
        lost,
    ]


def measured(path: pathlib.Path, files: list, many: int) -> tuple[float, ...]:
    """Return seconds to the first answer, bytes, seconds of one, photos a second."""
    words = [sys.executable, "-c", SCRIPT, path, many, *files]
    start = time.perf_counter()
    with subprocess.Popen(
        [*map(str, words)],
        env=child_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        encoding="utf-8",
    ) as process:
        memory = int(process.stdout.readline())
        ready = time.perf_counter() - start
        one, per_second = json.loads(process.stdout.readline())
    return ready, memory, one, per_second


if __name__ == "__main__":
    main()
