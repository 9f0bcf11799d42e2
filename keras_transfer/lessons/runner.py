"""Run the numbered notebooks headless, each in a kernel of its own."""

import contextlib
import dataclasses
import datetime
import json
import os
import pathlib
import time
from collections.abc import Iterable

import junitparser
import nbformat
from jupyter_client.manager import AsyncKernelManager

from keras_transfer.lessons import kernel, ledger, pages, report
from keras_transfer.lessons.exercises import lesson_cells
from keras_transfer.runtime import atomic_files, paths
from keras_transfer.runtime.arguments import file_path, one_of, shown, whole_number
from keras_transfer.runtime.profiles import NAMES

RUN_FILES = ("ledger.json", "index.html", "junit.xml")


@dataclasses.dataclass(frozen=True)
class Lesson:
    """Name one lesson's notebook.

    Attributes:
        path: The notebook, `NN_name.ipynb`.
    """

    path: pathlib.Path

    @property
    def name(self) -> str:
        """The notebook's file name without `.ipynb`."""
        return self.path.stem

    @property
    def number(self) -> int:
        """The number that the file name starts with."""
        return int(self.name[:2])


def find_lessons(
    folder: str | os.PathLike, numbers: Iterable[int] | int = ()
) -> list[Lesson]:
    """Return the lessons of a folder, in order.

    Args:
        folder: The folder of notebooks named `NN_name.ipynb`.
        numbers: Which lessons to take, or which one. Defaults to all.

    Returns:
        A list of `Lesson`.

    Raises:
        ValueError: If the folder holds no lesson, or none with a number asked for.

    Example:

    >>> [lesson.name for lesson in find_lessons("notebooks", [1])]
    ['01_feature_extraction']
    """
    folder = file_path("folder", folder).absolute()
    numbers = _numbers(numbers)
    found = [Lesson(path) for path in sorted(folder.glob("[0-9][0-9]_*.ipynb"))]
    unknown = set(numbers) - {lesson.number for lesson in found}
    if unknown or not found:
        there = ", ".join(lesson.name for lesson in found) or "no lessons"
        raise ValueError(
            f"The folder {folder} holds {there}. "
            f"Received: lessons {sorted(unknown) if numbers else 'all'}"
        )
    return [lesson for lesson in found if not numbers or lesson.number in numbers]


def run_lessons(
    lessons: list[Lesson],
    output: str | os.PathLike,
    profile: str = "quick",
    cell_timeout: int = 3600,
) -> list[dict]:
    """Run lessons one after the other and write what they gave.

    The solutions of the exercises at its end are left out: `make test` runs them. A
    lesson that fails does not stop the others. After each lesson the folder holds
    `ledger.json`, `index.html` and `junit.xml` of the lessons that have run, and for
    each of these its executed notebook as `.ipynb` and as an HTML page.

    Args:
        lessons: What `find_lessons` returned.
        output: The folder to write to.
        profile: Name of the profile. Defaults to `"quick"`.
        cell_timeout: Seconds that one cell may take, 0 for no limit. Defaults to
            `3600`.

    Returns:
        The ledger: a dictionary for each lesson that has run.

    Raises:
        ValueError: If an argument is of no use here.
        OSError: If nothing can be written in the folder.
        KeyboardInterrupt: If interrupted, once everything is written.

    Example:

    >>> entries = run_lessons(find_lessons("notebooks"), "build/lessons")
    """
    lessons = checked_lessons(lessons)
    profile, cell_timeout = checked_run(profile, cell_timeout)
    output = file_path("output", output).absolute()
    paths.make_folder(output, "--output")
    for name in RUN_FILES:
        (output / name).unlink(missing_ok=True)
    entries = []

    def ahead(lesson: Lesson) -> AsyncKernelManager:
        _clear(lesson, output)
        with (output / f"{lesson.name}.log").open("ab") as log:
            start = kernel.start_arguments(lesson.path, output, profile, log)
            return kernel.started(read_lesson(lesson), start)

    with contextlib.closing(kernel.one_ahead(lessons, ahead)) as kernels:
        for position, (lesson, manager) in enumerate(kernels, start=1):
            progress = kernel.Progress(f"[{position}/{len(lessons)}] {lesson.name}")
            entry = run_lesson(lesson, output, profile, cell_timeout, progress, manager)
            entries.append(entry)
            progress.end(report.outcome(entry))
            _write_run(entries, output)
            if entry["error"] == kernel.INTERRUPTED:
                raise KeyboardInterrupt
    return entries


def checked_lessons(lessons: Iterable[Lesson]) -> list[Lesson]:
    """Return lessons as a list, and refuse what is none."""
    given = [lessons] if isinstance(lessons, Lesson) else lessons
    if isinstance(given, Iterable) and not isinstance(given, str | bytes):
        given = list(given)
        if all(isinstance(lesson, Lesson) for lesson in given):
            return given
    raise ValueError(
        "lessons must be what find_lessons returned. "
        f"Received: lessons={shown(lessons)}"
    )


def checked_run(profile: str, cell_timeout: int) -> tuple[str, int]:
    """Return how lessons are to be run, and refuse what no run understands."""
    return (
        one_of("profile", profile, NAMES),
        whole_number("cell_timeout", cell_timeout, 0),
    )


def run_lesson(
    lesson: Lesson,
    output: pathlib.Path,
    profile: str,
    cell_timeout: int,
    progress: kernel.Progress,
    manager: AsyncKernelManager | None = None,
) -> dict:
    """Run one lesson, write its pages and return its entry of the ledger."""
    if manager is None:
        _clear(lesson, output)
    notebook = nbformat.v4.new_notebook()
    started = time.monotonic()
    try:
        notebook = read_lesson(lesson)
        progress.cells = len(notebook.cells)
        # What the kernel says outside of cells matters only where a lesson failed.
        with (output / f"{lesson.name}.log").open("ab") as log:
            start = kernel.start_arguments(lesson.path, output, profile, log)
            error = kernel.execute(notebook, start, cell_timeout, progress, manager)
    # Whatever is wrong with one lesson, the others run.
    except Exception as failure:
        error = f"{type(failure).__name__}: {failure}"
        notebook.cells.append(kernel.error_cell(error))
    pages.drop_framework_log(notebook)
    if error is None:
        (output / f"{lesson.name}.log").unlink()
    entry = {
        "profile": profile,
        **_recorded(notebook),
        "lesson": lesson.name,
        "notebook": lesson.path.name,
        "title": _title(notebook) or lesson.name,
        "machine": report.machine(),
        "date": datetime.date.today().isoformat(),
        "seconds": round(time.monotonic() - started, 1),
        "peak_memory_mb": round(progress.peak_memory / 1e6),
        "passed": error is None,
        "error": error,
    }
    write_notebook(notebook, output / lesson.path.name)
    pages.write_page(notebook, entry, output / f"{lesson.name}.html")
    return entry


def _clear(lesson: Lesson, output: pathlib.Path) -> None:
    """Remove what an earlier run left, which must not pass for the result of this."""
    for suffix in (".keras", ".html", ".ipynb", ".log"):
        (output / f"{lesson.name}{suffix}").unlink(missing_ok=True)


def read_lesson(lesson: Lesson) -> nbformat.NotebookNode:
    """Return the cells that a run of a lesson needs, without outputs."""
    notebook = nbformat.read(lesson.path, as_version=4)
    notebook.cells = lesson_cells(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return notebook


def write_notebook(notebook: nbformat.NotebookNode, path: pathlib.Path) -> None:
    """Write a notebook, whole or not at all."""
    with atomic_files.written_whole(path) as temporary:
        nbformat.write(notebook, temporary)


def _numbers(numbers) -> list[int]:
    try:
        if numbers is None or isinstance(numbers, Iterable):
            return [whole_number("numbers", number) for number in numbers or ()]
        return [whole_number("numbers", numbers)]
    except (TypeError, ValueError) as error:
        raise ValueError(
            "numbers must be whole numbers of lessons, such as [1, 3]. "
            f"Received: numbers={shown(numbers)}"
        ) from error


def _recorded(notebook: nbformat.NotebookNode) -> dict:
    """Return the figures that `keras_transfer.record` put into the outputs."""
    figures = {}
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            figures.update(output.get("data", {}).get(ledger.MIME_TYPE, {}))
    return figures


def _title(notebook: nbformat.NotebookNode) -> str | None:
    lines = (
        line
        for cell in notebook.cells
        if cell.cell_type == "markdown"
        for line in cell.source.splitlines()
    )
    return next((line[2:].strip() for line in lines if line.startswith("# ")), None)


def _write_run(entries: list[dict], output: pathlib.Path) -> None:
    """Write `ledger.json`, `index.html` and `junit.xml` of a run."""
    figures = {}
    for entry in entries:
        notebook = nbformat.read(output / entry["notebook"], as_version=4)
        if figure := pages.first_figure(notebook):
            figures[entry["lesson"]] = figure
    rows, about = report.table_rows(entries), report.measured_on(entries)
    texts = {
        "ledger.json": json.dumps(entries, indent=2, ensure_ascii=False) + "\n",
        "index.html": pages.index_page(entries, rows, report.COLUMNS, about, figures),
    }
    for name, text in texts.items():
        atomic_files.write_whole_text(output / name, text)
    with atomic_files.written_whole(output / "junit.xml") as temporary:
        _junit(entries).write(str(temporary), pretty=True)


def _junit(entries: list[dict]) -> junitparser.TestSuite:
    suite = junitparser.TestSuite("lessons")
    for entry in entries:
        case = junitparser.TestCase(
            entry["lesson"], f"lessons.{entry['profile']}", entry["seconds"]
        )
        if not entry["passed"]:
            failure = junitparser.Failure(report.first_line(entry["error"]))
            failure.text = report.plain_text(entry["error"])
            case.result = failure
        suite.add_testcase(case)
    return suite
