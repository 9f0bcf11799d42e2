"""Measure what a cluster costs beside computing, and reckon from it for many photos.

    python benchmarks/scale.py [--counts COUNT ...]
    python benchmarks/scale.py --page docs/several_machines.md

Each run is a process of its own that starts a Ray cluster of this machine alone. Rows
of photos that are nowhere go the whole way of `extract_features(cluster=...)`, and
workers answer them with zeros. So what is measured is what the driver does, the process
that asks. Two workers with a real network say what one costs until it is ready.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

import large_folder
from keras_transfer.lessons.report import machine, write_between
from keras_transfer.runtime.atomic_files import write_whole_text
from keras_transfer.runtime.processes import child_environment
from keras_transfer.runtime.tables import markdown_table
from measuring import Measurement, parse, parser

# The table is for so many photos, on so many workers.
PHOTOS = (1_000_000, 100_000_000)
WORKERS = (1, 8, 64)
# A feature vector of EfficientNet-Lite0, in float32.
FEATURE_BYTES = 4 * 1280
# What jsonschema imports in each process of Ray, where Jupyter has brought it.
GRAMMAR = "rfc3987_syntax.py"
FIGURES = {
    "rows made": "seconds",
    "clock": "seconds",
    "driver": "processor seconds",
    "ray": "processor seconds",
    "driver peak": "bytes",
    "worker peak": "bytes",
}


def main() -> None:
    made = parser(__doc__)
    made.add_argument(
        "--counts",
        nargs="+",
        type=int,
        default=[10_000, 100_000, 1_000_000],
        help="photos whose rows are made",
    )
    made.add_argument(
        "--listed", type=int, default=10_000, help="photos that are listed"
    )
    made.add_argument(
        "--rate", type=float, default=1000, help="photos a second of a GPU: assumed"
    )
    made.add_argument(
        "--memory", type=float, default=64, help="GB of the driver's machine: assumed"
    )
    made.add_argument(
        "--page", type=pathlib.Path, help="measure nothing; write the table into it"
    )
    options = parse(made, counts=[1000, 10_000], listed=100)
    kept = options.output / "scale.json"
    if not options.page:
        found = measure(options)
        write_whole_text(kept, json.dumps(found, indent=2) + "\n")
        print(page(found, options))
        return
    found = json.loads(kept.read_text(encoding="utf-8"))
    write_between(options.page, "scale", page(found, options))


def measure(options: argparse.Namespace) -> dict:
    """Run all of it, keep what was measured, and return what it comes to."""
    with tempfile.TemporaryDirectory() as folder:
        place = pathlib.Path(folder)
        (place / GRAMMAR).write_text('raise ImportError("Left out.")\n', "utf-8")
        worker = run_apart("worker", 64)
        light = run_apart("worker", 64, place)
        listing = listed(options.listed, place)
        runs = [run_apart("photos", count, place) for count in options.counts]
        small = run_apart("small_rows", options.counts[-2], place)
    measurement = Measurement("scale", options, "Photos that are nowhere", {})
    for name, unit in FIGURES.items():
        for run in runs:
            way = f"ours, {run['photos']:,} photos"
            measurement.add(name, way, [run[name]], unit)
    for way, run in {"beside Jupyter": worker, "without": light}.items():
        for when in ("ready", "first"):
            group = f"a worker, {when}"
            measurement.add(group, f"ours, {way}", [run[when]], "processor seconds")
    found = reckoned(runs, small)
    found |= {"listing": listing, "worker": light["ready"]}
    for what in ("photo", "row", "memory", "row bytes"):
        measurement.target(f"{what}, of the driver", found[what])
    measurement.keep()
    return {**found, "machine": machine(), "most": options.counts[-1]}


def listed(count: int, place: pathlib.Path) -> float:
    """Return the seconds that `load_directory` takes for one more photo."""
    counts, seconds = (count // 10, count), []
    for number in counts:
        photos = large_folder.draw(place / f"photos-{number}", number)
        words = [sys.executable, "-c", large_folder.LOAD, str(photos)]
        taken, _, status = large_folder.measure(words, place / "data")
        if status:
            raise RuntimeError(f"load_directory failed. Received: status={status}")
        seconds.append(taken)
    print(f"listing {counts} photos: {seconds} s", flush=True)
    return (seconds[1] - seconds[0]) / (counts[1] - counts[0])


def run_apart(kind: str, count: int, *first: pathlib.Path) -> dict:
    """Return what a process of its own measures, with `first` before other modules."""
    script = pathlib.Path(__file__).with_name("scale_run.py")
    output = subprocess.run(
        [sys.executable, str(script), kind, str(count)],
        check=True,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        env=child_environment(
            [*map(str, first), *sys.path],
            RAY_USAGE_STATS_ENABLED="0",
            # Which Ray sets to 15, so that others would go first.
            RAY_worker_niceness="0",
        ),
    ).stdout
    found = json.loads(output.splitlines()[-1])
    print(f"{kind}, {count:,}: {found}", flush=True)
    return found


def reckoned(runs: list[dict], small: dict) -> dict:
    """Return what one more photo, and one more row, costs the driver.

    Args:
        runs: What was measured of more and more photos.
        small: What was measured of as many as in the last but one, in smaller rows.
    """
    counts = [run["photos"] for run in runs]

    def line(name):
        slope, start = np.polyfit(counts, [run[name] for run in runs], 1)
        return float(slope), float(start)

    rows = small["rows"] - runs[-2]["rows"]
    memory, base = line("driver peak")
    return {
        "photo": line("driver")[0],
        "row": (small["driver"] - runs[-2]["driver"]) / rows,
        "making": line("rows made")[0],
        "row bytes": runs[-1]["bytes of rows"] / counts[-1],
        "ray": line("ray")[0],
        "memory": memory,
        "memory at first": base,
        "photos in memory": runs[-1]["bytes of photos"] / counts[-1],
    }


def page(found: dict, options: argparse.Namespace) -> str:
    """Return what was found, and the table that is reckoned from it."""
    fastest = 1 / found["photo"]
    measured = (
        f"Measured with up to {found['most']:,} photos on {found['machine']}: a photo "
        f"costs the driver {1e6 * found['photo']:.0f} microseconds of processor time, "
        f"of which {1e6 * found['making']:.1f} make its row, and "
        f"{found['memory']:,.0f} bytes of memory, of which "
        f"{found['photos in memory']:,.0f} are what `load_directory` knows of it and "
        f"{found['row bytes']:.0f} its row. A row more costs "
        f"{1e3 * found['row']:.1f} milliseconds, and Ray's own processes "
        f"{1e6 * found['ray']:.0f} microseconds a photo. A worker is ready after "
        f"{found['worker']:.0f} seconds of processor time. So a driver keeps up with "
        f"{fastest:,.0f} photos a second."
    )
    assumed = (
        f"Reckoned, not run: each worker has a GPU that takes {options.rate:,.0f} "
        "photos a second, and its machine reads and decodes them as fast; the driver's "
        f"machine has {options.memory:g} GB. Both are assumptions. Features are "
        f"{FEATURE_BYTES:,} bytes a photo."
    )
    return f"{measured}\n\n{assumed}\n\n{markdown_table(rows(found, options))}"


def rows(found: dict, options: argparse.Namespace) -> list[tuple[str, ...]]:
    """Return the rows of the table, the header first."""
    head = ("photos", "workers", "listing, before", "computing", "driver", "in all")
    made = [(*head, "driver's memory", "written", "what gives out first")]
    for photos in PHOTOS:
        for workers in WORKERS:
            computing = photos / (workers * options.rate) + found["worker"]
            driver = photos * found["photo"]
            # It makes all rows before the first one is computed.
            making = photos * found["making"]
            whole = making + max(computing, driver - making)
            memory = found["memory at first"] + photos * found["memory"]
            limit = "nothing: the GPUs set the time"
            if driver > computing:
                limit = "the driver, which is one process"
            if memory > 1e9 * options.memory:
                limit = "the driver's memory"
            rate = photos * FEATURE_BYTES / whole / 1e6
            made.append(
                (
                    f"{photos:,}",
                    str(workers),
                    *map(hours, (photos * found["listing"], computing, driver, whole)),
                    f"{memory / 1e9:.1f} GB",
                    f"{photos * FEATURE_BYTES / 1e9:,.0f} GB, {rate:,.0f} MB/s",
                    limit,
                )
            )
    return made


def hours(seconds: float) -> str:
    """Return seconds as a reader of a table wants them."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main()
