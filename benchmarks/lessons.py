"""Measure where the time of each lesson goes.

    python benchmarks/lessons.py [--lessons 1 2]

Each lesson runs in a kernel of its own, as `python -m keras_transfer lessons` runs it;
a cell before its first one starts the watch, and a cell after its last one stops it.
"""

import datetime
import json
import os
import pathlib
import tempfile
import time

import nbformat

import lesson_phases
from keras_transfer.lessons import kernel
from keras_transfer.lessons.runner import find_lessons, read_lesson
from keras_transfer.runtime.paths import weights_dir
from keras_transfer.runtime.profiles import NAMES
from measuring import Measurement, parse, parser

HERE = pathlib.Path(__file__).absolute().parent
# What the first six are to take together, and one of them at most.
TOGETHER, EACH, FIRST_FIGURE = 240, 50, 20
START = "the kernel's start and end"
BEGIN = f"""
import sys
sys.path.append({str(HERE)!r})
import lesson_phases
sys.path.pop()
_watch = lesson_phases.Watch()
"""
PHASES = (START, *lesson_phases.PHASES, lesson_phases.REST, lesson_phases.IDLE)


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--lessons", type=int, nargs="+", default=[1, 2, 3, 4, 5, 6, 7])
    made.add_argument("--profile", choices=NAMES, default="quick")
    made.add_argument(
        "--stacks", type=pathlib.Path, help="folder to write for flame graphs into"
    )
    options = parse(made, lessons=[1])
    data = {"quick": "Drawn photos"}.get(options.profile, "Real photos")
    measurement = Measurement("lessons", options, data, {"profile": options.profile})
    lessons, together = find_lessons(HERE.parent / "notebooks", options.lessons), {}
    # As in a fresh checkout: one lesson finds the features that one before it kept.
    with tempfile.TemporaryDirectory() as folder:
        os.environ["KERAS_TRANSFER_WEIGHTS_DIR"] = str(weights_dir())
        os.environ["KERAS_TRANSFER_DATA_DIR"] = folder
        runs = {lesson: measured(lesson, options) for lesson in lessons}
    for lesson, (seconds, first_figure) in runs.items():
        for phase in PHASES:
            clock, processor = seconds.get(phase, (0.0, 0.0))
            measurement.add(lesson.name, phase, [clock], "seconds")
            measurement.add(lesson.name, phase, [processor], "processor seconds")
        total, processor = map(sum, zip(*seconds.values(), strict=True))
        measurement.add(lesson.name, "all of it", [total], "seconds")
        measurement.add(lesson.name, "all of it", [processor], "processor seconds")
        together[lesson.number] = total
        most = EACH if lesson.number < 7 else None
        measurement.target(f"{lesson.name}, seconds", total, at_most=most)
        if lesson.number == 1:
            measurement.target(
                "lesson 1, seconds to its first figure",
                first_figure,
                at_most=FIRST_FIGURE,
            )
    if {*range(1, 7)} <= together.keys():
        total = sum(together[number] for number in range(1, 7))
        measurement.target("lessons 1 to 6, seconds", total, at_most=TOGETHER)
    measurement.keep()


def measured(lesson, options) -> tuple[dict[str, list[float]], float | None]:
    """Run a lesson; return the seconds of each phase, and those to its first figure."""
    notebook = read_lesson(lesson)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        notebook.cells = [
            nbformat.v4.new_code_cell(BEGIN),
            *notebook.cells,
            nbformat.v4.new_code_cell(f"_watch.stop({str(folder / 'noted')!r})"),
        ]
        progress = kernel.Progress(lesson.name)
        with (folder / "log").open("wb") as log:
            start = kernel.start_arguments(lesson.path, folder, options.profile, log)
            before, began = (time.perf_counter(), processor_seconds()), time.time()
            error = kernel.execute(notebook, start, 0, progress)
            after = time.perf_counter(), processor_seconds()
        if error is not None:
            raise RuntimeError(f"{lesson.name} failed: {error}")
        noted = json.loads((folder / "noted").read_text("utf-8"))
    progress.end(f"{after[0] - before[0]:.0f} s")
    if options.stacks:
        options.stacks.mkdir(parents=True, exist_ok=True)
        lines = (f"{k} {round(1e3 * v)}\n" for k, v in noted["stacks"].items())
        (options.stacks / f"{lesson.name}.txt").write_text("".join(lines), "utf-8")
    seconds = noted["seconds"]
    watched = [sum(kind) for kind in zip(*seconds.values(), strict=True)]
    # What the kernel took before and after: that of processes that it started as well.
    seconds[START] = [after[kind] - before[kind] - watched[kind] for kind in range(2)]
    return seconds, first_figure(notebook, began)


def processor_seconds() -> float:
    """Return the processor time of all processes that were started and have ended."""
    times = os.times()
    return times.children_user + times.children_system


def first_figure(notebook: nbformat.NotebookNode, began: float) -> float | None:
    """Return the seconds from the start to the end of the first cell with a figure."""
    for cell in notebook.cells:
        if any(
            "image/png" in output.get("data", {}) for output in cell.get("outputs", [])
        ):
            ended = cell.metadata["execution"]["iopub.status.idle"]
            return datetime.datetime.fromisoformat(ended).timestamp() - began
    return None


if __name__ == "__main__":
    main()
