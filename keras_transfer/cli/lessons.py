"""Run lessons, write copies of them, and check what learners wrote."""

import argparse
from collections.abc import Callable

from keras_transfer.cli.arguments import notebooks_folder, path_argument
from keras_transfer.runtime.status_lines import say


def add_commands(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add what can be typed here."""
    lessons = command("lessons", _lessons, "Run the lessons headless and report.")
    lessons.add_argument(
        "numbers", nargs="*", type=int, metavar="NUMBER", help="default: all"
    )
    lessons.add_argument(
        "--profile", choices=("quick", "lesson", "full"), default="quick"
    )
    lessons.add_argument("--output", type=path_argument, help="default: build/lessons")
    lessons.add_argument("--notebooks", type=path_argument, help="default: notebooks")
    lessons.add_argument(
        "--cell-timeout", type=int, default=3600, metavar="SECONDS", help="0: no limit"
    )
    lessons.add_argument(
        "--exercises",
        action="store_true",
        help="check the learner's copies in build/exercises; --notebooks names others",
    )

    exercises = command(
        "exercises",
        _exercises,
        "Write a copy of each lesson to work on.",
        needs_keras=False,
    )
    exercises.add_argument(
        "numbers", nargs="*", type=int, metavar="NUMBER", help="default: all"
    )
    exercises.add_argument(
        "--output", type=path_argument, help="default: build/exercises"
    )
    exercises.add_argument("--notebooks", type=path_argument, help="default: notebooks")


def _lessons(options: argparse.Namespace) -> int:
    if options.exercises:
        return _check_exercises(options)
    folder = notebooks_folder(options)
    from keras_transfer.lessons import report, runner
    from keras_transfer.runtime import paths

    output = options.output or paths.build_dir() / "lessons"
    chosen = runner.find_lessons(folder, options.numbers)
    entries = runner.run_lessons(chosen, output, options.profile, options.cell_timeout)
    index = output.absolute() / "index.html"
    say(f"\n{report.text_table(entries)}\n\n{index}")
    return 0 if all(entry["passed"] for entry in entries) else 1


def _check_exercises(options: argparse.Namespace) -> int:
    from keras_transfer.runtime import paths

    folder = options.notebooks or paths.build_dir() / "exercises"
    if not folder.is_dir():
        raise FileNotFoundError(
            "There are no copies to check. `python -m keras_transfer exercises` writes "
            f"them. Received: {folder}"
        )
    from keras_transfer.lessons import grading, runner

    outcomes = grading.check_lessons(
        runner.find_lessons(folder, options.numbers),
        options.profile,
        options.cell_timeout,
    )
    done = sum(outcome.state == grading.DONE for outcome in outcomes)
    say(f"\n{done} of {len(outcomes)} exercises done")
    return 0 if done == len(outcomes) else 1


def _exercises(options: argparse.Namespace) -> int:
    folder = notebooks_folder(options)
    from keras_transfer.lessons import copies, runner
    from keras_transfer.runtime import paths

    output = options.output or paths.build_dir() / "exercises"
    chosen = runner.find_lessons(folder, options.numbers)
    say(*copies.write_copies(chosen, output), sep="\n")
    say(f"They lie in {output}.")
    return 0
