"""What every benchmark does: time ways in turn, and keep figures and targets."""

import argparse
import dataclasses
import datetime
import math
import pathlib
import statistics
import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

import keras

import report
from keras_transfer.lessons.report import machine
from keras_transfer.runtime.paths import build_dir


@dataclasses.dataclass
class Measurement:
    """Collect what one benchmark measures.

    Attributes:
        name: Name of the benchmark.
        options: What `parse` returned.
        data: One printable line: the photos that are measured on.
        settings: Sizes and counts, by name.
    """

    name: str
    options: argparse.Namespace
    data: str
    settings: dict
    figures: list[dict] = dataclasses.field(default_factory=list)
    targets: list[dict] = dataclasses.field(default_factory=list)
    remarks: list[str] = dataclasses.field(default_factory=list)

    def add(
        self,
        group: str,
        way: str,
        values: Sequence[float],
        unit: str,
        remark: str = "not measured",
    ) -> None:
        """Add what the runs of one way gave, or with no values the reason."""
        figure = {"group": group, "way": way, "unit": unit, "remark": remark}
        self.figures.append(figure | {"values": [float(value) for value in values]})
        shown = f"{statistics.median(values):.4g} {unit}" if len(values) else remark
        print(f"{group}: {way}: {shown}", flush=True)

    def target(
        self,
        what: str,
        measured: float | None,
        *,
        at_least: float | None = None,
        at_most: float | None = None,
    ) -> None:
        """Add a result, with the bound that it is held to if there is one."""
        bounded = measured is not None and (at_least, at_most) != (None, None)
        reached = None
        if bounded:
            low = at_least is None or measured >= at_least
            reached = bool(low and (at_most is None or measured <= at_most))
        self.targets.append(
            {
                "what": what,
                "measured": None if measured is None else float(measured),
                "at_least": at_least,
                "at_most": at_most,
                "reached": reached,
            }
        )

    def keep(self) -> None:
        """Write all of it into the report, and print it."""
        today = datetime.date.today().isoformat()
        if self.options.quick:
            self.remarks.append("Toy sizes, which say nothing of the real ones.")
        entry = {
            "data": self.data,
            "settings": self.settings,
            "figures": self.figures,
            "targets": self.targets,
            "remarks": self.remarks,
            "measured_on": f"Measured on {machine()}, {today}.",
        }
        report.keep(self.options.output, self.name, entry)
        print(f"\n{report.markdown({self.name: entry})}\n")


class Clock(keras.callbacks.Callback):
    """Note seconds and test accuracy of each epoch; the clock stands still for it.

    Training ends with the first epoch whose test accuracy is what is needed.
    """

    def __init__(self, test, needed: float = math.inf):
        super().__init__()
        self.test, self.needed, self.reached = test, needed, False
        self.seconds, self.accuracies = [], []
        self.start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        now = time.perf_counter()
        self.seconds.append(now - self.start)
        self.accuracies.append(self.model.evaluate(self.test, verbose=0)[1])
        self.reached = self.accuracies[-1] >= self.needed
        self.model.stop_training |= self.reached
        self.start += time.perf_counter() - now


def interleaved(
    ways: Mapping[Hashable, Callable[[], object]], rounds: int
) -> dict[Hashable, list[float]]:
    """Return the seconds of each way, timed in turn: A B A B, not A A B B.

    What else the machine does then falls on all ways alike.
    """
    seconds = {name: [] for name in ways}
    for _ in range(rounds):
        for name, run in ways.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def fastest(ways: Iterable[Callable[[], object]]) -> int:
    """Return the index of the way whose second run takes least.

    The first run sets up what later ones reuse.
    """
    ways = list(ways)
    for run in ways:
        run()
    seconds = interleaved(dict(enumerate(ways)), 1)
    return min(seconds, key=seconds.get)


def ratio(numerator: Sequence[float], denominator: Sequence[float]) -> float | None:
    """Return the ratio of two medians, or `None` where one was not measured."""
    if not (len(numerator) and len(denominator)):
        return None
    return statistics.median(numerator) / statistics.median(denominator)


def parser(description: str, rounds: int | None = None) -> argparse.ArgumentParser:
    """Return the command line that all benchmarks have in common."""
    made = argparse.ArgumentParser(
        description=description.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    if rounds:
        made.add_argument("--rounds", type=int, default=rounds, help="runs of each way")
    made.add_argument("--quick", action="store_true", help="toy sizes: a try-out only")
    made.add_argument("--output", type=pathlib.Path, help="folder of the report")
    return made


def parse(made: argparse.ArgumentParser, **quick) -> argparse.Namespace:
    """Parse the command line; `quick` holds the sizes that `--quick` stands for."""
    options = made.parse_args()
    if options.quick:
        # Defaults only, so that a size that is named stays as it is.
        made.set_defaults(**quick)
        options = made.parse_args()
    folder = build_dir() / ("bench/quick" if options.quick else "bench")
    options.output = options.output or folder
    return options
