"""Run the checks of learners' copies, and say in words what is done and missing."""

import ast
import dataclasses
import pathlib
import tempfile

import nbformat

from keras_transfer.lessons import kernel, report
from keras_transfer.lessons.copies import RUN_ON
from keras_transfer.lessons.exercises import Exercise, find_exercises
from keras_transfer.lessons.runner import Lesson, checked_lessons, checked_run
from keras_transfer.runtime.status_lines import say

DONE, NOT_YET, NOT_BEGUN = "done", "not yet", "not begun"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """Say how far one exercise is.

    Attributes:
        lesson: Name of the lesson.
        title: First line of the task.
        state: `"done"`, `"not yet"` or `"not begun"`.
        words: What is missing, else empty.
    """

    lesson: str
    title: str
    state: str
    words: str = ""

    def __str__(self) -> str:
        lines = [f"{self.state:>9}  {self.title}"]
        lines += [" " * 11 + line for line in self.words.splitlines()]
        return "\n".join(lines)


def check_lessons(
    lessons: list[Lesson], profile: str = "quick", cell_timeout: int = 3600
) -> list[Outcome]:
    """Run learners' copies of lessons, and return how far each exercise is.

    A lesson in which nothing is answered yet is not run.

    Args:
        lessons: What `find_lessons` returned for the folder of copies.
        profile: Name of the profile. Defaults to `"quick"`.
        cell_timeout: Seconds that one cell may take, 0 for no limit. Defaults to
            `3600`.

    Returns:
        An `Outcome` for each exercise.

    Raises:
        ValueError: If an argument is of no use here.
        KeyboardInterrupt: If interrupted.

    Example:

    >>> outcomes = check_lessons(find_lessons("build/exercises"))
    """
    lessons = checked_lessons(lessons)
    profile, cell_timeout = checked_run(profile, cell_timeout)
    outcomes = []
    for position, lesson in enumerate(lessons, start=1):
        progress = kernel.Progress(f"[{position}/{len(lessons)}] {lesson.name}")
        try:
            found = _check_lesson(lesson, profile, cell_timeout, progress)
        # Whatever is wrong with one copy, the others are checked.
        except Exception as error:
            words = f"{type(error).__name__}: {error}"
            found = [Outcome(lesson.name, "the whole copy", NOT_YET, words)]
        done = sum(outcome.state == DONE for outcome in found)
        progress.end(f"{done} of {len(found)} exercises done")
        for outcome in found:
            say(outcome, flush=True)
        outcomes += found
    return outcomes


def _check_lesson(lesson, profile, cell_timeout, progress) -> list[Outcome]:
    notebook = nbformat.read(lesson.path, as_version=4)
    exercises = find_exercises(notebook)
    begun = [exercise for exercise in exercises if is_begun(exercise)]
    error = None
    if begun:
        _prepare(notebook, exercises, begun)
        progress.cells = len(notebook.cells)
        error = _run(lesson, notebook, profile, cell_timeout, progress)
    outcomes = []
    for exercise in exercises:
        state, words = NOT_BEGUN, ""
        if exercise in begun:
            words = _what_is_missing(exercise, error)
            state = NOT_YET if words else DONE
        outcomes.append(Outcome(lesson.name, exercise.title, state, words))
    return outcomes


def is_begun(exercise: Exercise) -> bool:
    """Return whether anything but `...` was written into an answer."""
    try:
        lines = ast.parse(exercise.source).body
    except SyntaxError:
        return True
    return not all(map(_is_open, lines))


def _is_open(line: ast.stmt) -> bool:
    if isinstance(line, ast.FunctionDef):
        return all(map(_is_open, line.body))
    return (
        isinstance(line, ast.Assign | ast.Expr)
        and isinstance(line.value, ast.Constant)
        and line.value.value is ...
    )


def _prepare(notebook, exercises: list[Exercise], begun: list[Exercise]) -> None:
    """Leave out what is not begun, and let the others go on after one that fails."""
    idle = [
        cell
        for each in exercises
        if each not in begun
        for cell in (*each.answers, each.check)
    ]
    in_exercises = False
    for cell in notebook.cells:
        in_exercises = in_exercises or cell is exercises[0].answers[0]
        if cell.cell_type == "code":
            # What an earlier run left must not pass for what this one says.
            cell.outputs, cell.execution_count = [], None
            if in_exercises:
                cell.metadata.tags = [*cell.metadata.get("tags", []), RUN_ON]
    notebook.cells = [cell for cell in notebook.cells if cell not in idle]


def _run(lesson, notebook, profile, cell_timeout, progress) -> str | None:
    # What the lesson saves is not to replace what a run of the lessons measured.
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as log:
        output = pathlib.Path(folder)
        start = kernel.start_arguments(lesson.path, output, profile, log)
        error = kernel.execute(notebook, start, cell_timeout, progress)
    if error == kernel.INTERRUPTED:
        raise KeyboardInterrupt
    return error


def _what_is_missing(exercise: Exercise, error: str | None) -> str:
    """Return the words for a learner; none if the check has passed."""
    for cell in (*exercise.answers, exercise.check):
        for shown in cell.outputs:
            if shown.output_type == "error":
                text = report.plain_text(shown.evalue).strip()
                if cell is exercise.check and shown.ename == "AssertionError":
                    return text or "The check says no more than that."
                where = "check" if cell is exercise.check else "answer"
                return f"The {where} stopped with {shown.ename}: {text}"
    if exercise.check.execution_count is None:
        return f"The lesson stopped before the check: {error}"
    return ""
