"""Measure what this package adds to `import keras`.

    python benchmarks/start_up.py

A process each, in turn: one imports Keras alone; the others also import the package,
ask for a profile, and look up each public name that a first use calls, once for a
folder of photos and once for a data set of TFDS. Counted is processor time, which other
processes disturb less than the clock.
"""

import os
import statistics
import subprocess
import sys

from measuring import Measurement, interleaved, parse, parser

SECONDS = 0.3
# Each is brought in by what first needs it.
LATE = "sklearn", "scipy", "matplotlib", "tensorflow_datasets"
KERAS = "import keras"
OURS = f"""
{KERAS}
import keras_transfer as kt
kt.profile("quick")
for name in "%s build_backbone extract_features build_classifier fit_head".split():
    getattr(kt, name)
import sys
print(*[name for name in {LATE} if name in sys.modules])
"""
FOLDER = "ours, a folder"
SCRIPTS = {
    "Keras alone": KERAS,
    FOLDER: OURS % "load_directory",
    "ours, a data set": OURS % "load_dataset",
}


def main() -> None:
    options = parse(parser(__doc__, rounds=9), rounds=3)
    measurement = Measurement("start_up", options, "No photos", {})
    processor, printed = {way: [] for way in SCRIPTS}, {}

    def run(way):
        before = children_seconds()
        words = [sys.executable, "-c", SCRIPTS[way]]
        printed[way] = subprocess.run(
            words, check=True, stdout=subprocess.PIPE, encoding="utf-8"
        ).stdout
        processor[way].append(children_seconds() - before)

    ways = {way: lambda way=way: run(way) for way in SCRIPTS}
    elapsed = interleaved(ways, options.rounds)
    for group, seconds in {"processor time": processor, "clock": elapsed}.items():
        for way, taken in seconds.items():
            measurement.add(group, way, taken, "seconds")
    medians = {way: statistics.median(taken) for way, taken in processor.items()}
    for way in list(SCRIPTS)[1:]:
        measurement.target(
            f"processor seconds added to those of Keras: {way}",
            medians[way] - medians["Keras alone"],
            at_most=SECONDS if way == FOLDER else None,
        )
        late = printed[way].splitlines()[-1] or "none"
        measurement.remarks.append(f"Of {', '.join(LATE)}, {way} loads: {late}.")
    measurement.keep()


def children_seconds() -> float:
    """Return the processor time of all processes that were started and have ended."""
    times = os.times()
    return times.children_user + times.children_system


if __name__ == "__main__":
    main()
