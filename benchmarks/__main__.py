"""Run the benchmarks that are named, or all, each in a process of its own.

    python benchmarks [NAME ...] [--quick] [--readme FILE]

What was finished is kept in build/bench/report.json, so a part can be run at a time.
"""

import argparse
import pathlib
import subprocess
import sys

import report
from keras_transfer.runtime.paths import build_dir

# The shorter ones first: their results are there early.
NAMES = (
    "start_up",
    "cache",
    "ready",
    "fine_tuning_epoch",
    "growth",
    "lessons",
    "extraction",
    "scale",
    "training",
    "time_to_accuracy",
)


def main() -> int:
    """Run them and return 0 if all went well, else 1."""
    made = argparse.ArgumentParser(
        prog="python benchmarks", description=__doc__.splitlines()[0]
    )
    made.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    made.add_argument("--quick", action="store_true", help="toy sizes: a try-out only")
    made.add_argument(
        "--readme",
        type=pathlib.Path,
        metavar="FILE",
        help="run none; write what is kept into this file and benchmarks/bench.png",
    )
    options = made.parse_args()
    output = build_dir() / ("bench/quick" if options.quick else "bench")
    if options.readme:
        report.into_readme(output, options.readme)
        return 0
    for name in options.names:
        if name not in NAMES:
            made.error(f"expected some of: {', '.join(NAMES)}. Received: {name}")
    folder, failed = pathlib.Path(__file__).parent, []
    for name in options.names or NAMES:
        print(f"Benchmark {name}", flush=True)
        words = [sys.executable, str(folder / f"{name}.py")]
        # One that fails does not cost what the others measure.
        if subprocess.run(words + ["--quick"] * options.quick).returncode:
            failed.append(name)
    print(report.markdown(report.read(output)))
    print(f"\n{output / 'report.md'}")
    if failed:
        print(f"Failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
