"""Learners' copies of the lessons, in which the exercises wait for an answer."""

import copy
import hashlib
import json
import os
import pathlib

import nbformat

from keras_transfer.lessons.exercises import ANSWER, CHECK, exercise_tag, find_exercises
from keras_transfer.lessons.runner import Lesson, checked_lessons, write_notebook
from keras_transfer.runtime import paths
from keras_transfer.runtime.arguments import file_path

# A failed check, or an answer that stops, does not keep "Run all" from the others.
RUN_ON = "raises-exception"
# The notebook's own metadata, which Jupyter keeps.
MARK = "keras_transfer"


def write_copies(lessons: list[Lesson], output: str | os.PathLike) -> list[str]:
    """Write the learners' copies of lessons, and keep those that hold answers.

    Args:
        lessons: What `find_lessons` returned.
        output: The folder to write to.

    Returns:
        A sentence for each lesson that says what was done.

    Raises:
        ValueError: If the cells of an exercise are not in order, or a notebook is none.
        OSError: If nothing can be written in the folder.

    Example:

    >>> said = write_copies(find_lessons("notebooks"), "build/exercises")
    """
    lessons = checked_lessons(lessons)
    output = file_path("output", output).absolute()
    copies = [learner_copy(_read(lesson)) for lesson in lessons]
    paths.make_folder(output, "--output")
    return [
        _write(fresh, output / lesson.path.name)
        for lesson, fresh in zip(lessons, copies, strict=True)
    ]


def _read(lesson: Lesson) -> nbformat.NotebookNode:
    try:
        notebook = nbformat.read(lesson.path, as_version=4)
        nbformat.validate(notebook)
    except OSError:
        raise
    except Exception as error:  # nbformat has many ways to say so.
        raise ValueError(
            f"This is no notebook that can be read ({type(error).__name__}). "
            f"Received: {lesson.path}"
        ) from error
    return notebook


def learner_copy(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return a copy of a lesson with `...` and the hint where its solutions were.

    The checks can be neither changed nor deleted by mistake.
    """
    notebook = copy.deepcopy(notebook)
    try:
        exercises = find_exercises(notebook)
    except ValueError as error:
        raise ValueError(f"{_title(notebook)}: {error}") from error
    cells = {}
    for exercise in exercises:
        first = exercise.answers[0]
        first.source = exercise.stub()
        first.metadata = _metadata(ANSWER, deletable=False)
        exercise.check.metadata = _metadata(CHECK, deletable=False, editable=False)
        cells |= {id(first): first, id(exercise.check): exercise.check}
    notebook.cells = [
        cell for cell in notebook.cells if not exercise_tag(cell) or id(cell) in cells
    ]
    notebook.metadata[MARK] = {"digest": digest(notebook)}
    return notebook


def digest(notebook: nbformat.NotebookNode) -> str:
    """Return what changes when a cell is written, and not when one is run."""
    # Jupyter adds an empty cell where the last one is run.
    sources = [cell.source for cell in notebook.cells if cell.source.strip()]
    return hashlib.sha256(json.dumps(sources).encode()).hexdigest()


def _write(fresh: nbformat.NotebookNode, path: pathlib.Path) -> str:
    new = path.with_name(f"new_{path.name}")
    there, beside = _state(path, fresh), _state(new, fresh)
    if there == "same":
        return f"{path.name}: is there already, and kept as it is."
    if there != "edited":
        write_notebook(fresh, path)
        return f"{path.name}: {'written' if there == 'none' else 'written anew'}."
    kept = f"{path.name}: holds what you wrote, and is kept. The lesson has changed"
    if beside == "edited":
        return f"{kept}, and {new.name} is kept as well: move one of them away."
    if beside != "same":
        write_notebook(fresh, new)
    return f"{kept}: the new copy is {new.name}."


def _state(path: pathlib.Path, fresh: nbformat.NotebookNode) -> str:
    """Say whether a copy is there, and if so, whether it may be overwritten."""
    if not path.exists():
        return "none"
    try:
        there = nbformat.read(path, as_version=4)
        written = there.metadata[MARK]["digest"]
    # Whatever lies there is somebody's.
    except Exception:
        return "edited"
    if written == fresh.metadata[MARK]["digest"]:
        return "same"
    return "untouched" if written == digest(there) else "edited"


def _metadata(tag: str, **permissions: bool) -> nbformat.NotebookNode:
    return nbformat.from_dict({"tags": [tag, RUN_ON], **permissions})


def _title(notebook: nbformat.NotebookNode) -> str:
    return notebook.cells[0].source.partition("\n")[0].strip("# ")
