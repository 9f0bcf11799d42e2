"""Let the doctor examine the models of all lessons: how often it accuses the healthy.

    python benchmarks/examinations.py [LESSON ...] [--profile quick|lesson|full]

Each lesson runs headless, as in `make lessons`, with one more cell at its end that
calls `kt.diagnose` on its model, splits, history and predictions. The folder then holds
each diagnosis as JSON, and the executed notebooks, which show it. Lesson 6 is left out:
its patients are ill on purpose. The exit status is 1 if a lesson failed, or if anything
more than a note was found.
"""

import argparse
import json
import pathlib
import sys

import nbformat

from keras_transfer.diagnosis.findings import NOT_EXAMINED
from keras_transfer.lessons import kernel, runner
from keras_transfer.lessons.report import machine
from keras_transfer.runtime.atomic_files import write_whole_text
from keras_transfer.runtime.paths import build_dir, project_root
from keras_transfer.runtime.tables import markdown_table

# What each lesson calls its model, its history and its predictions; the splits are
# `splits` in all of them.
REPORT = "kt.evaluate_classifier({}, splits.test, splits.class_names)"
EXAMINED = {
    1: ("model", "model.history", "report"),
    2: ("tuned", "history", REPORT.format("tuned")),
    3: ("model", "history", "predicted"),
    4: ('models["gradual"]', "None", REPORT.format('models["gradual"]')),
    5: ("model", "model.history", "report"),
}
CELL = """
import json, pathlib
import keras_transfer as kt
diagnosis = kt.diagnose({}, splits, {}, {})
text = json.dumps(diagnosis.to_dict(), indent=2)
pathlib.Path({!r}).write_text(text, encoding="utf-8")
diagnosis
"""
COUNTED = {"serious": "serious", "warning": "warnings", "note": "notes"}


def main() -> int:
    made = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    made.add_argument(
        "lessons", nargs="*", type=int, metavar="LESSON", help="by their numbers"
    )
    made.add_argument("--profile", choices=("quick", "lesson", "full"), default="quick")
    made.add_argument("--output", type=pathlib.Path, help="folder of the results")
    made.set_defaults(lessons=[*EXAMINED], output=build_dir() / "examinations")
    options = made.parse_args()
    unknown = {*options.lessons} - {*EXAMINED}
    if unknown:
        made.error(f"expected some of: {[*EXAMINED]}. Received: {sorted(unknown)}")
    output = options.output.absolute() / options.profile
    output.mkdir(parents=True, exist_ok=True)
    found, failed = {}, False
    for lesson in runner.find_lessons(project_root() / "notebooks", options.lessons):
        error = examine(lesson, output, options.profile)
        if error is None:
            text = (output / f"{lesson.name}.json").read_text(encoding="utf-8")
            found[lesson.name] = json.loads(text)
        failed |= error is not None
        # After each one: what an interrupted run has found stays.
        text = report(found, options.profile)
        write_whole_text(output / "report.md", text + "\n")
    print(f"\n{text}\n\n{output}")
    severities = {x["severity"] for each in found.values() for x in each["findings"]}
    return 1 if failed or severities - {"note"} else 0


def examine(lesson: runner.Lesson, output: pathlib.Path, profile: str) -> str | None:
    """Run a lesson and examine its model; return what went wrong, or `None`."""
    written = output / f"{lesson.name}.json"
    written.unlink(missing_ok=True)
    notebook = runner.read_lesson(lesson)
    cell = CELL.strip().format(*EXAMINED[lesson.number], str(written))
    notebook.cells.append(nbformat.v4.new_code_cell(cell))
    progress = kernel.Progress(lesson.name)
    progress.cells = len(notebook.cells)
    with (output / f"{lesson.name}.log").open("wb") as log:
        start = kernel.start_arguments(lesson.path, output, profile, log)
        error = kernel.execute(notebook, start, 3600, progress)
    runner.write_notebook(notebook, output / lesson.path.name)
    progress.end(error or "examined")
    return error


def report(found: dict[str, dict], profile: str) -> str:
    """Return the Markdown table of all diagnoses, and every finding below it."""
    header = ("lesson", *COUNTED.values(), "checks made", "seconds")
    rows = [header]
    remarks = []
    for name, diagnosis in found.items():
        findings, checks = diagnosis["findings"], diagnosis["checks"]
        counts = [
            sum(finding["severity"] == severity for finding in findings)
            for severity in COUNTED
        ]
        made = sum(check["result"] != NOT_EXAMINED for check in checks)
        seconds = f"{diagnosis['seconds']:.0f}"
        rows.append([name, *map(str, counts), f"{made} of {len(checks)}", seconds])
        remarks += [
            f"- {name}, {x['severity']}: {x['title']}. {x['evidence']}"
            for x in findings
        ]
        remarks += [
            f"- {name}, {check} was not examined: {reason}."
            for check, reason in diagnosis["not_examined"].items()
        ]
    remarks.append(f"\nProfile {profile}. Measured on {machine()}.")
    return f"{markdown_table(rows)}\n\n" + "\n".join(remarks)


if __name__ == "__main__":
    sys.exit(main())
