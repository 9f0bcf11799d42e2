"""Measure how well `check` finds labels that were changed on purpose.

    python benchmarks/checking.py [--datasets NAME ...] [--seeds SEED ...]

The photos of a prepared data set are written out as a folder; of a copy, 5 % of the
labels are changed at random, for each seed others. How many of these are listed as
wrong, and how much of the list are they? What was wrong in the data set before counts
as a mistake of the list.
"""

import os
import pathlib
import tempfile
import time

import numpy as np

import keras_transfer as kt
from folders import write_folder
from keras_transfer.runtime.paths import build_dir
from measuring import Measurement, parse, parser

TARGETS = {"cats_vs_dogs": {"recall": 0.8, "precision": 0.7}}


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--datasets", nargs="+", default=["cats_vs_dogs", "tf_flowers"])
    made.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    made.add_argument("--share", type=float, default=0.05, help="of labels changed")
    made.add_argument("--backbone", default="efficientnet_lite0")
    made.add_argument("--image-size", type=int, default=224)
    options = parse(made, datasets=["cats_vs_dogs"], seeds=[0])
    settings = {"backbone": options.backbone, "pixels": options.image_size}
    measurement = Measurement(
        "checking", options, "photos of prepared data sets", settings
    )
    for dataset in options.datasets:
        folder = write_folder(dataset, build_dir() / "bench" / "folders" / dataset)
        found = [measure(folder, seed, options) for seed in options.seeds]
        for name in ("recall", "precision", "listed", "seconds"):
            values = [each[name] for each in found]
            unit = {"listed": "photos", "seconds": "s"}.get(name, "")
            measurement.add(dataset, name, values, unit)
            least = TARGETS.get(dataset, {}).get(name)
            if name in ("recall", "precision"):
                what = f"{dataset}: {name}, least of {len(values)} seeds"
                measurement.target(what, min(values), at_least=least)
        nothing = measure(folder, None, options)["listed"]
        measurement.add(dataset, "listed with no label changed", [nothing], "photos")
    measurement.keep()


def measure(folder: pathlib.Path, seed: int | None, options) -> dict[str, float]:
    """Return what is found in a copy of a folder with changed labels.

    Args:
        folder: Folder with one subfolder a class.
        seed: Seed of the change, or `None` for none.
        options: Share, backbone and image size.
    """
    photos = sorted(folder.glob("*/*"))
    names = sorted({photo.parent.name for photo in photos})
    generator = np.random.default_rng(seed or 0)
    count = 0 if seed is None else round(options.share * len(photos))
    chosen = {*generator.choice(len(photos), count, replace=False).tolist()}
    changed = set()
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        for index, photo in enumerate(photos):
            name = photo.parent.name
            if index in chosen:
                others = [each for each in names if each != name]
                name = str(generator.choice(others))
                changed.add(f"{name}/{photo.name}")
            target = pathlib.Path(scratch, name, photo.name)
            target.parent.mkdir(exist_ok=True)
            os.link(photo, target)
        start = time.perf_counter()
        check = kt.check_directory(
            scratch, backbone=options.backbone, image_size=options.image_size
        )
        seconds = time.perf_counter() - start
    listed = {each.path for each in check.kinds.get("wrong label", [])}
    right = len(listed & changed)
    return {
        "recall": right / max(1, count),
        "precision": right / max(1, len(listed)),
        "listed": len(listed),
        "seconds": seconds,
    }


if __name__ == "__main__":
    main()
