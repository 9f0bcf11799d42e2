"""Measure how time and memory grow with the number of photos.

    python benchmarks/growth.py [--counts COUNT ...]

For each number of JPEG files: list them, extract features, train a head. Every run is a
process of its own, because a process never shows less than its peak memory; imports,
the building of the backbone and its weights are outside of the clock, tracing is not.
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np

import keras_transfer as kt
from keras_transfer.runtime.processes import peak_memory
from measuring import Measurement, parse, parser
from subjects import build_network, kind_of_photos, write_photos


def main() -> None:
    made = parser(__doc__, rounds=3)
    made.add_argument("--backbone", default="resnet50")
    made.add_argument("--image-size", type=int, default=224)
    made.add_argument(
        "--counts", nargs="+", type=int, default=[250, 500, 1000, 2000], help="photos"
    )
    made.add_argument("--photos", type=pathlib.Path, help="measure one run on a folder")
    toy = {"image_size": 64, "counts": [20, 60], "rounds": 1}
    options = parse(made, backbone="efficientnet_lite0", **toy)
    if options.photos:
        print(json.dumps(run_once(options)))
        return
    runs = {count: [] for count in options.counts}
    with tempfile.TemporaryDirectory() as folder:
        for count in options.counts:
            write_photos(pathlib.Path(folder, str(count)), count)
        for _ in range(options.rounds):
            for count, results in runs.items():
                results.append(run_apart(options, pathlib.Path(folder, str(count))))
    measurement = Measurement(
        "growth",
        options,
        kind_of_photos(),
        {"backbone": options.backbone, "pixels": options.image_size},
    )
    slopes = {}
    for index, unit in enumerate(("seconds", "peak GB")):
        for count, results in runs.items():
            values = [result[index] for result in results]
            measurement.add(options.backbone, f"ours, {count:,} photos", values, unit)
        medians = [np.median([r[index] for r in results]) for results in runs.values()]
        slopes[unit] = 1000 * np.polyfit(options.counts, medians, 1)[0]
        if unit == "seconds":
            power = np.polyfit(np.log(options.counts), np.log(medians), 1)[0]
    for unit, slope in slopes.items():
        measurement.target(f"{options.backbone}: {unit} per 1,000 more photos", slope)
    measurement.target(
        f"{options.backbone}: seconds grow as photos to the power", power
    )
    measurement.keep()


def run_apart(options, photos: pathlib.Path) -> list[float]:
    """Return what a process of its own measures on one folder of photos."""
    words = ["--photos", photos, "--backbone", options.backbone]
    words += ["--image-size", str(options.image_size)]
    output = subprocess.run(
        [sys.executable, __file__, *words],
        check=True,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    ).stdout
    return json.loads(output.splitlines()[-1])


def run_once(options) -> list[float]:
    """Return seconds and peak memory in GB, from a folder to a trained head."""
    network = build_network(options.backbone, options.image_size)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        splits = kt.load_directory(options.photos, image_size=options.image_size)
        features = kt.extract_features(network, splits, folder)
        model = kt.build_classifier(network, num_classes=2, share_backbone=True)
        kt.fit_head(model, features)
        seconds = time.perf_counter() - start
    return [seconds, peak_memory() / 1e9]


if __name__ == "__main__":
    main()
