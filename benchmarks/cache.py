"""Measure how long features that are on disk take to come back.

    python benchmarks/cache.py [--max-images COUNT]

Two calls of `extract_features` in turn: the first one finds an empty folder, the second
one what the first has left there. Building the backbone and listing the photos are
outside of both.
"""

import pathlib
import tempfile
import time

import numpy as np

import keras_transfer as kt
from measuring import Measurement, parse, parser
from subjects import build_network, kind_of_photos, write_photos

SECONDS = 1.0


def main() -> None:
    made = parser(__doc__, rounds=5)
    made.add_argument("--backbone", default="resnet50")
    made.add_argument("--image-size", type=int, default=224)
    made.add_argument("--max-images", type=int, default=2000)
    toy = {"image_size": 64, "max_images": 60, "rounds": 3}
    options = parse(made, backbone="efficientnet_lite0", **toy)
    seconds, same = {"ours, first": [], "ours, second": []}, True
    with tempfile.TemporaryDirectory() as folder:
        photos = pathlib.Path(folder, "photos")
        write_photos(photos, options.max_images)
        splits = kt.load_directory(photos, image_size=options.image_size)
        network = build_network(options.backbone, options.image_size)
        for _ in range(options.rounds):
            cold, found = tempfile.mkdtemp(dir=folder), []
            for taken in seconds.values():
                start = time.perf_counter()
                features = kt.extract_features(network, splits, cold, verbose=False)
                taken.append(time.perf_counter() - start)
                found.append(features.train.features)
            same = same and np.array_equal(*found)
    measurement = Measurement(
        "cache",
        options,
        kind_of_photos(),
        {"photos": sum(splits.counts.values()), "pixels": options.image_size},
    )
    for way, taken in seconds.items():
        measurement.add(options.backbone, way, taken, "seconds")
    measurement.target(
        f"{options.backbone}: seconds of the second extraction",
        float(np.median(seconds["ours, second"])),
        at_most=SECONDS,
    )
    measurement.remarks.append(f"Features the same in both: {'yes' if same else 'no'}.")
    measurement.keep()


if __name__ == "__main__":
    main()
