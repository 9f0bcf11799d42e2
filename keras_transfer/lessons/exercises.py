"""Exercises at the end of a lesson, whose solutions and checks are run as tests.

The tags of its cells make an exercise. After the Markdown cell with the task come

- `exercise`: the worked solution, in one code cell or several. Comment lines at its
  start are the hint, which a learner keeps.
- `check`: a code cell whose asserts say in words what is missing. The names that the
  solution sets and the check reads are the learner's to set.
- `wrong`: raw cells, which no notebook runs, any number of them. Each is code that sets
  some of these names to what the check must refuse; its first line is a comment that
  says what is wrong.
"""

from __future__ import annotations

import ast
import dataclasses
import typing
from collections.abc import Mapping

if typing.TYPE_CHECKING:
    # A kernel that asks about wrong answers need not wait for its import.
    import nbformat

ANSWER, CHECK, WRONG = "exercise", "check", "wrong"
SCOPES = (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


@dataclasses.dataclass(frozen=True)
class Exercise:
    """Hold the cells of one exercise.

    Attributes:
        title: First line of the task.
        answers: The code cells with the solution, or with what a learner wrote.
        check: The code cell that judges it.
        wrong: Sources of wrong answers.
    """

    title: str
    answers: tuple[nbformat.NotebookNode, ...]
    check: nbformat.NotebookNode
    wrong: tuple[str, ...]

    @property
    def source(self) -> str:
        """The code of the answer."""
        return "\n\n".join(cell.source for cell in self.answers)

    def names(self) -> list[str]:
        """Return the names that the answer sets and the check reads, in order."""
        tree = ast.parse(self.check.source)
        used = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
        own = {name.id for name in used if isinstance(name.ctx, ast.Store)}
        read = {name.id for name in used} - own
        return [name for name in assigned(self.source) if name in read]

    def stub(self) -> str:
        """Return what a learner begins with: the hint, and `...` for each name."""
        lines = self.source.splitlines()
        code = next((i for i, line in enumerate(lines) if line[:1] != "#"), len(lines))
        functions = {
            node.name: f"def {node.name}({ast.unparse(node.args)}):\n    ...\n\n"
            for node in ast.parse(self.source).body
            if isinstance(node, ast.FunctionDef)
        }
        answers = [functions.get(name, f"{name} = ...") for name in self.names()]
        return "\n".join([*lines[:code], *answers]).rstrip()

    def refusals(self) -> dict[str, str]:
        """Return, by what is wrong, code that has each wrong answer refused.

        The first of them is the stub. The code needs the kernel in which the solution
        and the lesson have run.
        """
        answers = {"nothing is answered": self.stub()}
        answers |= {wrong.partition("\n")[0].strip("# "): wrong for wrong in self.wrong}
        return {
            what: "from keras_transfer.lessons.exercises import assert_refused\n"
            f"print(assert_refused({answer!r}, {self.check.source!r}, globals()))"
            for what, answer in answers.items()
        }


def find_exercises(notebook: nbformat.NotebookNode) -> list[Exercise]:
    """Return the exercises of a lesson, or of a learner's copy of it, in order.

    Raises:
        ValueError: If an exercise has no task or no check, or a cell with one of the
            tags is not where it belongs.
    """
    found, task, answers = [], None, []
    for cell in notebook.cells:
        tag = exercise_tag(cell)
        if tag == ANSWER and cell.cell_type == "code" and task:
            answers.append(cell)
        elif tag == CHECK and cell.cell_type == "code" and answers:
            found.append(Exercise(task, tuple(answers), cell, ()))
            task, answers = None, []
        elif tag == WRONG and cell.cell_type == "raw" and found and not answers:
            wrong = (*found[-1].wrong, cell.source)
            found[-1] = dataclasses.replace(found[-1], wrong=wrong)
        elif tag:
            raise ValueError(
                "Expected a Markdown cell with a heading, then code cells tagged "
                f"{ANSWER}, one tagged {CHECK}, and raw cells tagged {WRONG}. "
                f"Received: a {cell.cell_type} cell tagged {tag}, out of place: "
                f"{cell.source[:60]!r}"
            )
        elif cell.cell_type == "markdown" and cell.source[:1] == "#" and not answers:
            task = cell.source.partition("\n")[0].strip("# ")
    if answers:
        raise ValueError(
            f"The exercise {task!r} has no check. Received: "
            f"{answers[0].source[:60]!r} with no cell tagged {CHECK} after it"
        )
    return found


def lesson_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """Return the cells of a lesson that its run needs: the tasks, not their answers."""
    return [cell for cell in notebook.cells if not exercise_tag(cell)]


def exercise_tag(cell: nbformat.NotebookNode) -> str | None:
    """Return which part of an exercise a cell is, or `None`."""
    tags = cell.metadata.get("tags", [])
    return next((tag for tag in (ANSWER, CHECK, WRONG) if tag in tags), None)


def assigned(source: str) -> list[str]:
    """Return the names that code sets for all later cells, in order of appearance."""
    names = {}

    def visit(node):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names[node.name] = True
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names[node.id] = True
        elif not isinstance(node, SCOPES):
            for child in ast.iter_child_nodes(node):
                visit(child)

    visit(ast.parse(source))
    return list(names)


def assert_refused(answer: str, check: str, names: Mapping) -> str:
    """Run a wrong answer and its check beside the names of a lesson; return the words.

    The names are copied, so that what the answer sets is gone afterwards.

    Raises:
        AssertionError: If the check accepts the answer, or refuses it without words.
    """
    names = dict(names)
    exec(answer, names)
    try:
        exec(check, names)
    except AssertionError as refusal:
        assert str(refusal).strip(), f"The check refuses without a word:\n{answer}"
        return str(refusal)
    raise AssertionError(f"The check accepts a wrong answer:\n{answer}")
