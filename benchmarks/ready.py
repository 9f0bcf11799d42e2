"""Measure how long a frozen network takes to be ready, in a first and a second process.

    python benchmarks/ready.py [--backbones NAME ...]

Each round begins with nothing kept on disk. A first process makes the network ready for
its first batch, and keeps it; a second one, and TensorFlow beside them, do so again.
Not counted are imports and building the network from its weights.
"""

import json
import os
import subprocess
import sys
import tempfile

from measuring import Measurement, parse, parser, ratio

FIRST, SECOND, OTHER = "first process", "second process", "TensorFlow"
OF_FIRST = 1 / 3
# With the same weights in each process.
SCRIPT = """
import json, sys, time
import keras
import keras_transfer as kt
from keras_transfer.features.inference import frozen_network
name, size, engine = sys.argv[1], int(sys.argv[2]), sys.argv[3]
keras.utils.set_random_seed(0)
backbone = kt.build_backbone(name, None, image_size=size)
start = time.perf_counter()
network = frozen_network(backbone, (size, size, 3), "float32", engine, pooled=True)
print(json.dumps([network.engine, time.perf_counter() - start]))
"""


def main() -> None:
    made = parser(__doc__, rounds=3)
    names = ["resnet50", "vgg16", "efficientnet_lite0"]
    made.add_argument("--backbones", nargs="+", default=names)
    made.add_argument("--image-size", type=int, default=224)
    options = parse(made, backbones=["efficientnet_lite0"], image_size=64, rounds=1)
    measurement = Measurement("ready", options, "No photos; random weights", {})
    for name in options.backbones:
        clock = {way: [] for way in (FIRST, SECOND, OTHER)}
        for _ in range(options.rounds):
            with tempfile.TemporaryDirectory() as folder:
                for way in clock:
                    engine = "tensorflow" if way == OTHER else "auto"
                    clock[way].append(seconds(name, options, engine, folder))
        for way, taken in clock.items():
            measurement.add(name, way, taken, "seconds until ready")
        measurement.target(
            f"{name}: second process of the first",
            ratio(clock[SECOND], clock[FIRST]),
            at_most=OF_FIRST,
        )
    measurement.keep()


def seconds(name: str, options, engine: str, folder: str) -> float:
    """Return the seconds of a process of its own, with `folder` as its `data/`."""
    words = [sys.executable, "-c", SCRIPT, name, str(options.image_size), engine]
    run = subprocess.run(
        words,
        check=True,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        env=os.environ | {"KERAS_TRANSFER_DATA_DIR": folder},
    )
    used, clock = json.loads(run.stdout.splitlines()[-1])
    print(f"{name}: {clock:.2f} s by {used}", flush=True)
    return clock


if __name__ == "__main__":
    main()
