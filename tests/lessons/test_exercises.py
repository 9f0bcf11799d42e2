"""Exercises and solutions do not drift apart, and a learner's answers are not lost.

The solutions, their checks and the wrong answers are run with the notebooks: see
conftest.py. Here is what can be said without running a lesson.
"""

import ast
import pathlib
import shutil
import subprocess
import sys

import nbformat
import pytest

from keras_transfer.cli import main as command_line
from keras_transfer.lessons import exercises, grading, runner
from keras_transfer.lessons.copies import learner_copy, write_copies

FOLDER = pathlib.Path(__file__).parent.parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("[0-9][0-9]_*.ipynb"))
LESSON = "bricks = 3"
SOLUTION = "# Hint: walls have\n# four corners.\nheight = bricks * 2\nwalls = 4"
CHECK = """\
assert walls != ..., "Count the `walls`."
assert walls == 4, f"A house has four walls, not {walls}."
assert height == bricks * 2, "Two of each: `height`."
"""
WRONG = "# Five of them\nwalls = 5"
STUB = "# Hint: walls have\n# four corners.\nheight = ...\nwalls = ..."


def cell(source, tag=None, kind="code"):
    new = getattr(nbformat.v4, f"new_{kind}_cell")
    return new(source, metadata={"tags": [tag]} if tag else {})


def exercise(number, solution=SOLUTION, check=CHECK, wrong=WRONG):
    return [
        cell(f"### {number}. Build\n\nBuild it.", kind="markdown"),
        cell(solution, "exercise"),
        cell(check, "check"),
        cell(wrong, "wrong", "raw"),
    ]


def notebook(*parts, lesson=LESSON):
    title = cell("# A lesson", kind="markdown")
    return nbformat.v4.new_notebook(
        cells=[title, cell(lesson), *(c for part in parts for c in part)]
    )


def write(folder, name, *parts, lesson=LESSON):
    folder.mkdir(exist_ok=True)
    nbformat.write(notebook(*parts, lesson=lesson), folder / f"{name}.ipynb")
    return folder


def copies(folder, output):
    return write_copies(runner.find_lessons(folder), output)


def answer(path, *sources):
    """Write into the answer cells of a copy; `None` leaves one as it is."""
    copy = nbformat.read(path, 4)
    found = exercises.find_exercises(copy)
    for each, source in zip(found, sources, strict=True):
        if source is not None:
            each.answers[0].source = source
    nbformat.write(copy, path)


def read_names(source):
    """Return the names that code needs from elsewhere, in order to run."""
    tree = ast.parse(source)
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    stored = {name.id for name in names if not isinstance(name.ctx, ast.Load)}
    stored |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    return {name.id for name in names} - stored


def test_there_are_lessons():
    # What goes through no notebook would pass without a word.
    assert len(NOTEBOOKS) >= 7


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_exercises_of_a_lesson_stand_on_their_own(path):
    read = nbformat.read(path, 4)
    found = exercises.find_exercises(read)
    assert 3 <= len(found) <= 5
    code = [c.source for c in exercises.lesson_cells(read) if c.cell_type == "code"]
    # A line such as `%pip install` is Jupyter's, not Python's.
    lines = "\n".join(code).replace("%pip", "0 #")
    taken = dict.fromkeys(exercises.assigned(lines), "the lesson")
    for each in found:
        assert each.names(), f"{each.title}: the check reads nothing of the answer"
        assert each.source.startswith("# Hint: "), each.title
        of_check = exercises.assigned(each.check.source)
        for name in exercises.assigned(each.source):
            assert name not in taken, f"{each.title}: {taken.get(name)} has {name} too"
            assert name not in of_check, f"{each.title}: the check sets {name} anew"
        for name in of_check:
            assert taken.get(name) != "the lesson", f"{each.title}: {name} is taken"
        needed = read_names(each.source) | read_names(each.check.source)
        foreign = {name: taken[name] for name in needed if name in taken}
        foreign = {k: v for k, v in foreign.items() if v != "the lesson"}
        assert not foreign, f"{each.title}: works only after {foreign}"
        taken |= dict.fromkeys(exercises.assigned(each.source), each.title)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_wrong_answers_say_what_is_wrong(path):
    for each in exercises.find_exercises(nbformat.read(path, 4)):
        assert len(each.wrong) >= 2
        assert len(each.refusals()) == 1 + len(each.wrong)
        for wrong in each.wrong:
            assert wrong.startswith("# ")
            assert len(wrong.splitlines()) <= 25
            assert set(exercises.assigned(wrong)) & set(each.names()), wrong


def test_stub_has_the_hint_and_the_names_that_the_check_reads():
    (found,) = exercises.find_exercises(notebook(exercise(1)))
    assert found.title == "1. Build"
    assert found.stub() == STUB
    # A loop of the check's own, and a name of an inner function, are not asked for.
    solution = "def roof(tiles):\n    inner = tiles\n    return inner\nlength, i = 1, 2"
    check = "for i in range(roof(3)):\n    assert length, inner"
    parts = exercise(1, solution, check)
    (found,) = exercises.find_exercises(notebook(parts))
    assert found.names() == ["roof", "length"]
    assert found.stub() == "def roof(tiles):\n    ...\n\n\nlength = ..."


@pytest.mark.parametrize(
    ("source", "begun"),
    [
        (STUB, False),
        ("def roof(tiles):\n    ...\n\n\nlength = ...", False),
        ("# My thoughts.", False),
        ("def roof(tiles):\n    return 3\n\n\nlength = ...", True),
        ("walls = 4\nheight = ...", True),
        ("walls = (4", True),
    ],
)
def test_begun_is_what_has_more_than_the_stub(source, begun):
    task, _, *rest = exercise(1)
    written = [task, cell(source, "exercise"), *rest]
    (found,) = exercises.find_exercises(notebook(written))
    assert grading.is_begun(found) is begun


def test_a_solution_may_take_several_cells():
    task, solution, check, wrong = exercise(1)
    more = cell("doors = 1", "exercise")
    (found,) = exercises.find_exercises(notebook([task, solution, more, check, wrong]))
    assert found.source == f"{SOLUTION}\n\ndoors = 1"
    copy = learner_copy(notebook([task, solution, more, check, wrong]))
    assert [c.source for c in copy.cells if exercises.exercise_tag(c)] == [STUB, CHECK]


@pytest.mark.parametrize(
    "order", [(0, 2), (0, 1), (0, 1, 3, 2), (3, 0, 1, 2), (0, 1, 2, 5, 6)]
)
def test_exercise_in_disorder_is_an_error(order):
    parts = [*exercise(1), *exercise(2)]
    with pytest.raises(ValueError, match="Received: "):
        exercises.find_exercises(notebook([parts[i] for i in order]))


def test_wrong_answer_that_is_accepted_is_an_error():
    names = {"walls": 4, "height": 6, "bricks": 3}
    assert exercises.assert_refused(WRONG, CHECK, names).endswith("not 5.")
    assert names["walls"] == 4, "the answer stays in its copy of the names"
    with pytest.raises(AssertionError, match="accepts a wrong answer"):
        exercises.assert_refused("walls = 4.0", CHECK, names)
    with pytest.raises(AssertionError, match="without a word"):
        exercises.assert_refused("walls = 5", "assert walls == 4", names)
    with pytest.raises(NameError):
        exercises.assert_refused("walls = nothing", CHECK, names)


@pytest.mark.slow
def test_notebook_run_asks_each_check_about_wrong_answers(tmp_path):
    """The hook in conftest.py: nbval alone would know nothing of wrong answers."""
    careless = CHECK.replace("assert walls == 4", "assert walls >= 4")
    write(tmp_path, "01_a", exercise(1), exercise(2, check=careless))
    tests = pathlib.Path(__file__).parent.parent
    (tmp_path / "tests/helpers").mkdir(parents=True)
    for name in ("conftest.py", "helpers/slow_cells.py"):
        shutil.copy(tests / name, tmp_path / "tests" / name)
    options = ["--nbval-lax", "--nbval-current-env", "-p", "no:cacheprovider", "-v"]
    command = [sys.executable, "-m", "pytest", "tests", "01_a.ipynb", *options]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    # The lesson, and for each exercise: answer, check, both again, one wrong answer.
    assert "13 passed" in ended.stdout, ended.stderr
    assert "1 failed" in ended.stdout
    assert "Cell 4 refuses: Five of them FAILED" in ended.stdout
    assert "The check accepts a wrong answer" in ended.stdout


def test_run_of_a_lesson_leaves_the_solutions_out(tmp_path, capsys):
    folder = write(
        tmp_path / "notebooks", "01_a", exercise(1, solution="secret = 1 / 0")
    )
    options = ["--notebooks", str(folder), "--output", str(tmp_path / "out")]
    assert command_line.main(["lessons", *options]) == 0
    page = (tmp_path / "out" / "01_a.html").read_text()
    assert "Build it." in page
    assert "secret" not in page
    assert "Five of them" not in page


def test_copy_has_the_task_and_not_the_solution(tmp_path):
    write(tmp_path, "01_a", exercise(1))
    (said,) = copies(tmp_path, tmp_path / "out")
    assert said == "01_a.ipynb: written."
    text = (tmp_path / "out" / "01_a.ipynb").read_text()
    assert "bricks * 2\\nwalls" not in text
    assert "Five of them" not in text
    copy = nbformat.read(tmp_path / "out" / "01_a.ipynb", 4)
    nbformat.validate(copy)
    *_, task, stub, check = copy.cells
    assert task.source == "### 1. Build\n\nBuild it."
    assert stub.source == STUB
    assert check.source == CHECK
    assert check.metadata.editable is check.metadata.deletable is False
    # "Run all" goes on after a check that fails.
    assert "raises-exception" in stub.metadata.tags
    assert "raises-exception" in check.metadata.tags
    assert not list((tmp_path / "out").glob(".*")), "temporary files"


def test_answers_are_never_overwritten(tmp_path):
    write(tmp_path, "01_a", exercise(1))
    output = tmp_path / "out"
    mine, new = output / "01_a.ipynb", output / "new_01_a.ipynb"
    copies(tmp_path, output)
    assert copies(tmp_path, output) == [
        "01_a.ipynb: is there already, and kept as it is."
    ]
    # Nobody has written into it: it follows the lesson.
    write(tmp_path, "01_a", exercise(1), lesson="bricks = 4")
    assert copies(tmp_path, output) == ["01_a.ipynb: written anew."]
    assert "bricks = 4" in mine.read_text()
    answer(mine, "walls = 4")
    written = mine.read_bytes()
    assert "kept" in copies(tmp_path, output)[0]
    assert not new.exists()
    for bricks in (5, 6):
        write(tmp_path, "01_a", exercise(1), lesson=f"bricks = {bricks}")
        (said,) = copies(tmp_path, output)
        assert said.endswith("The lesson has changed: the new copy is new_01_a.ipynb.")
        assert f"bricks = {bricks}" in new.read_text()
    answer(new, "walls = 3")
    newer = new.read_bytes()
    write(tmp_path, "01_a", exercise(1), lesson="bricks = 7")
    assert copies(tmp_path, output)[0].endswith("move one of them away.")
    assert (mine.read_bytes(), new.read_bytes()) == (written, newer)


def test_what_is_no_copy_of_ours_is_kept(tmp_path):
    write(tmp_path, "01_a", exercise(1))
    output = tmp_path / "out"
    output.mkdir()
    for theirs in ("no notebook", nbformat.writes(notebook(exercise(1)))):
        (output / "01_a.ipynb").write_text(theirs)
        copies(tmp_path, output)
        assert (output / "01_a.ipynb").read_text() == theirs


def test_running_a_copy_is_no_edit(tmp_path):
    write(tmp_path, "01_a", exercise(1))
    copies(tmp_path, tmp_path / "out")
    path = tmp_path / "out" / "01_a.ipynb"
    ran = nbformat.read(path, 4)
    ran.cells[1].outputs = [nbformat.v4.new_output("stream", text="3")]
    ran.cells.append(cell(""))  # Jupyter adds one where the last cell is run.
    nbformat.write(ran, path)
    write(tmp_path, "01_a", exercise(1), lesson="bricks = 4")
    assert copies(tmp_path, tmp_path / "out") == ["01_a.ipynb: written anew."]


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    """One check of copies that are answered in every way."""
    root = tmp_path_factory.mktemp("learner")
    parts = [exercise(n) for n in range(1, 6)]
    write(root, "01_some", *parts)
    write(root, "02_idle", exercise(1), lesson="1 / 0")
    write(root, "03_stops", exercise(1), lesson="1 / 0")
    write(root, "04_done", exercise(1))
    output = root / "out"
    assert command_line.main(
        ["exercises", "--notebooks", str(root), "--output", str(output)]
    ) == 0  # fmt: skip
    some = ["walls = 1 / 0", SOLUTION, None, "height = 6\nwalls = ...", "walls = (4"]
    answer(output / "01_some.ipynb", *some)
    answer(output / "03_stops.ipynb", SOLUTION)
    answer(output / "04_done.ipynb", "%time height = bricks * 2\nwalls = 4")
    # A cell of the learner's own, which fails, and the words of an earlier run.
    copy = nbformat.read(output / "01_some.ipynb", 4)
    copy.cells.insert(4, cell("1 / 0"))
    first = exercises.find_exercises(copy)[1]
    first.check.outputs = [nbformat.v4.new_output("error", ename="Old", evalue="old")]
    nbformat.write(copy, output / "01_some.ipynb")
    (output / "05_broken.ipynb").write_text("{")
    return output


def check_copies(output, *numbers):
    words = ["lessons", *map(str, numbers), "--exercises", "--notebooks", str(output)]
    return command_line.main(words)


def test_says_what_is_done_and_what_is_missing(checked, capsys):
    assert check_copies(checked) == 1
    said = capsys.readouterr().out
    assert "2 of 9 exercises done" in said
    lines = said[said.index("01_some: 1 of 5") :].splitlines()[1:8]
    assert [line.strip() for line in lines] == [
        "not yet  1. Build",
        "The answer stopped with ZeroDivisionError: division by zero",
        "done  2. Build",
        "not begun  3. Build",
        "not yet  4. Build",
        "Count the `walls`.",
        "not yet  5. Build",
    ]
    assert "SyntaxError" in said
    assert "02_idle: 0 of 1 exercises done\nnot begun  1. Build" in said
    assert "The lesson stopped before the check: ZeroDivisionError" in said
    assert "04_done: 1 of 1 exercises done\n     done  1. Build" in said
    assert "NotJSONError" in said


def test_status_is_0_when_all_is_done(checked):
    assert check_copies(checked, 4) == 0


def test_without_copies_it_says_how_to_get_them(tmp_path, capsys):
    assert check_copies(tmp_path / "nowhere") == 2
    assert "python -m keras_transfer exercises" in capsys.readouterr().err
