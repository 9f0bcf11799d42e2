"""Measure memory and time of a folder of many small photos.

    python benchmarks/large_folder.py --count 100000

Draws the photos once, 64 pixels wide, in two classes, and runs each part in a process
of its own with a folder of data that is empty at first: `load_directory` twice, the
second time with what the first one kept, then the commands `check` and `train`.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np
from PIL import Image, ImageDraw

from keras_transfer.runtime import atomic_files
from keras_transfer.runtime.paths import build_dir
from keras_transfer.runtime.processes import child_environment, peak_memory

SIZE = 64
CLASSES = ("round", "square")
LOAD = "import sys, keras_transfer as kt; kt.load_directory(sys.argv[1], image_size=64)"
COMMAND = [sys.executable, "-m", "keras_transfer"]
EVERY = 0.2


def draw(folder: pathlib.Path, count: int) -> pathlib.Path:
    """Draw a circle or a square before a clouded ground on each of `count` photos."""
    if folder.is_dir():
        return folder
    rng = np.random.default_rng(0)
    with atomic_files.unfinished_folder(folder) as temporary:
        for name in CLASSES:
            (temporary / name).mkdir()
        for number in range(count):
            clouds = rng.integers(0, 256, (9, 9, 3), "uint8")
            photo = Image.fromarray(clouds).resize(
                (SIZE, SIZE), Image.Resampling.BICUBIC
            )
            pen, name = ImageDraw.Draw(photo), CLASSES[number % 2]
            left, top, side = rng.integers(2, 30, 3)
            shape = pen.ellipse if name == "round" else pen.rectangle
            box = [left, top, left + side + 4, top + side + 4]
            shape([int(each) for each in box], tuple(rng.integers(0, 256, 3).tolist()))
            photo.save(temporary / name / f"{number:06}.jpg", quality=90)
        atomic_files.put_in_place(temporary, folder)
    return folder


def measure(words: list[str], data: pathlib.Path) -> tuple[float, int | None, int]:
    """Run a command, and return its seconds, the most bytes held, and its status.

    The bytes are those of the process alone, and `None` where the system does not say.
    """
    environment = child_environment(KERAS_TRANSFER_DATA_DIR=str(data))
    start, most = time.perf_counter(), None
    process = subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        most = peak_memory(process.pid) or most
        time.sleep(EVERY)
    return time.perf_counter() - start, most, process.returncode


def main() -> None:
    """Print a line for each part."""
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    made.add_argument("--count", type=int, default=10_000, help="photos")
    made.add_argument(
        "--parts",
        nargs="*",
        default=["load", "again", "check", "train"],
        metavar="PART",
    )
    made.add_argument(
        "--backbone", default="efficientnet_lite0", help="of the commands"
    )
    options = made.parse_args()
    start = time.perf_counter()
    folder = draw(build_dir() / f"large_folder/{options.count}", options.count)
    print(f"{options.count:,} photos, drawn in {time.perf_counter() - start:.0f} s")
    usual = ["--image-size", str(SIZE), "--backbone", options.backbone]
    with tempfile.TemporaryDirectory() as name:
        place = pathlib.Path(name)
        parts = {
            "load": [sys.executable, "-c", LOAD, str(folder)],
            "again": [sys.executable, "-c", LOAD, str(folder)],
            "check": [*COMMAND, "check", str(folder), "--output", name, *usual],
            "train": [
                *(*COMMAND, "train", str(folder), *usual),
                *("--output", str(place / "model.keras")),
            ],
        }
        for part in options.parts:
            seconds, most, status = measure(parts[part], place / "data")
            memory = "memory not known" if most is None else f"{most / 1e9:.2f} GB"
            print(
                f"{part}: {seconds:.0f} s, {seconds * 1000 / options.count:.2f} s for "
                f"1,000 photos, {memory}, exit status {status}",
                flush=True,
            )


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main()
