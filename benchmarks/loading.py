"""Processor seconds of `load_directory` for 1,000 PNGs, beside Keras's loader.

`python benchmarks/loading.py` draws the folder, loads it twice in a data folder of its
own, and prints a line each. Keras's loader only lists files: one pass decodes them.
"""

import contextlib
import io
import os
import pathlib
import sys
import tempfile
import time

import keras
import numpy as np
from PIL import Image

import keras_transfer as kt


def draw(folder: pathlib.Path, count: int) -> None:
    """Write smooth noise as PNGs of 500 x 375 pixels, half of them in each class."""
    rng = np.random.default_rng(0)
    for index in range(count):
        target = folder / ("a" if index % 2 else "b") / f"{index}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(rng.integers(0, 256, (75, 100, 3), "uint8"))
        coarse.resize((500, 375), Image.Resampling.BICUBIC).save(target)


def processor_seconds(run) -> float:
    """Return what a call costs, without what it prints."""
    start = time.process_time()
    with contextlib.redirect_stdout(io.StringIO()):
        run()
    return time.process_time() - start


def main(count: int) -> None:
    """Print what each way costs."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        os.environ["KERAS_TRANSFER_DATA_DIR"] = str(folder / "data")
        draw(folder / "photos", count)
        for what in ("first call", "second call"):
            seconds = processor_seconds(lambda: kt.load_directory(folder / "photos"))
            print(f"load_directory, {count:,} PNGs, {what}: {seconds:.2f} s")

        def with_keras():
            load = keras.utils.image_dataset_from_directory
            for _ in load(folder / "photos", image_size=(224, 224)):
                pass

        print(f"Keras's loader with one pass: {processor_seconds(with_keras):.2f} s")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
