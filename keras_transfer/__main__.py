"""Command line of the package: `python -m keras_transfer --help`.

Each command imports what it needs only when it runs, so that help comes at once.
"""

import argparse
import contextlib
import json
import os
import pathlib
import sys

from keras_transfer.status_lines import say


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit status.

    Args:
        arguments: The words after `python -m keras_transfer`. Defaults to `None`:
            those of the running process.

    Returns:
        0 if all went well, 1 if something failed, 2 if the arguments do not fit, 130
        if interrupted.

    Example:

    >>> main(["lessons", "1", "--profile", "quick"])
    0
    """
    options = parse(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        return options.run(options)
    except (ValueError, FileNotFoundError) as error:
        say(f"error: {error}", file=sys.stderr)
        return 2
    except (RuntimeError, OSError) as error:
        say(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        say("Interrupted.", file=sys.stderr)
        return 130


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line, or end the process if it does not fit."""
    top = argparse.ArgumentParser(
        prog="python -m keras_transfer",
        description="Transfer learning with Keras: weights, lessons, measurements.",
    )
    commands = top.add_subparsers(required=True, metavar="command")

    def command(name: str, run, text: str, **options) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text, **options)
        added.set_defaults(run=run)
        return added

    weights = command("weights", _weights, "Fetch the ImageNet weights of backbones.")
    weights.add_argument("names", nargs="+", metavar="NAME", help="such as resnet50")

    features = command("features", _features, "Compute and keep frozen features.")
    features.add_argument("backbone", metavar="NAME@SIZE", help="such as resnet50@160")
    features.add_argument("data", help="folder of photos, or the name of a data set")
    features.add_argument(
        "--shard",
        metavar="INDEX/COUNT",
        help="compute one part of several, such as 0/2, the first one of two",
    )
    features.add_argument(
        "--dtype",
        choices=("float32", "bfloat16"),
        help="the same on all machines; default: the faster one here",
    )
    features.add_argument("--cache-dir", help="default: data/features")

    lessons = command("lessons", _lessons, "Run the lessons headless and report.")
    lessons.add_argument(
        "numbers", nargs="*", type=int, metavar="NUMBER", help="default: all"
    )
    lessons.add_argument(
        "--profile", choices=("quick", "lesson", "full"), default="quick"
    )
    lessons.add_argument("--output", help="default: build/lessons")
    lessons.add_argument("--notebooks", help="default: notebooks")
    lessons.add_argument(
        "--cell-timeout", type=int, default=3600, metavar="SECONDS", help="0: no limit"
    )
    lessons.add_argument(
        "--exercises",
        action="store_true",
        help="check the learner's copies in build/exercises; --notebooks names others",
    )

    exercises = command(
        "exercises", _exercises, "Write a copy of each lesson to work on."
    )
    exercises.add_argument(
        "numbers", nargs="*", type=int, metavar="NUMBER", help="default: all"
    )
    exercises.add_argument("--output", help="default: build/exercises")
    exercises.add_argument("--notebooks", help="default: notebooks")

    ledger = command("ledger", _ledger, "Use what a run of the lessons measured.")
    ledger.add_argument("ledgers", nargs="+", help="such as build/lessons/ledger.json")
    ledger.add_argument("--readme", help="write the table between its markers")
    ledger.add_argument("--bands", help="merge the accuracies into this JSON file")

    diagnose = command("diagnose", _diagnose, "Look for silent failures in a model.")
    diagnose.add_argument("model", metavar="MODEL", help="a .keras file")
    diagnose.add_argument(
        "folder", metavar="FOLDER", help="photos, one subfolder a class"
    )
    diagnose.add_argument("--image-size", type=int, help="default: the model's")
    diagnose.add_argument("--json", action="store_true", help="print JSON, no text")

    # Its arguments are its own: `python -m keras_transfer backbones --help`.
    command("backbones", _backbones, "Compare the backbones.", add_help=False)

    options, others = top.parse_known_args(arguments)
    if options.run is _backbones:
        options.arguments = others
    elif others:
        top.error(f"unrecognized arguments: {' '.join(others)}")
    return options


def _weights(options: argparse.Namespace) -> int:
    from keras_transfer import backbones, weights

    known = backbones.ARCHITECTURES
    unknown = [name for name in options.names if name not in known]
    if unknown:
        raise ValueError(
            f"Unknown backbone. Expected some of: {', '.join(known)}. "
            f"Received: {', '.join(unknown)}"
        )
    # All are tried, also after one that failed.
    fetched = [weights.fetch_weights(name) for name in options.names]
    return 0 if all(fetched) else 1


def _features(options: argparse.Namespace) -> int:
    import keras_transfer as kt

    name, _, size = options.backbone.partition("@")
    numbers = (options.shard or "0/1").split("/")
    if not size.isdigit() or len(numbers) != 2 or not all(map(str.isdigit, numbers)):
        raise ValueError(
            "Expected NAME@SIZE such as resnet50@160, and a part such as 0/2. "
            f"Received: {options.backbone}, --shard {options.shard}"
        )
    load = kt.load_directory if pathlib.Path(options.data).is_dir() else kt.load_dataset
    splits = load(options.data, image_size=int(size))
    features = kt.extract_features(
        kt.build_backbone(name, image_size=int(size)),
        splits,
        options.cache_dir,
        dtype=options.dtype,
        shard=tuple(map(int, numbers)) if options.shard else None,
    )
    say(features.path)
    return 0


def _lessons(options: argparse.Namespace) -> int:
    from keras_transfer import lesson_report, lessons, storage

    if options.exercises:
        return _check_exercises(options)
    output = pathlib.Path(options.output or storage.build_dir() / "lessons").absolute()
    folder = options.notebooks or storage.project_root() / "notebooks"
    chosen = lessons.find_lessons(folder, options.numbers)
    entries = lessons.run_lessons(chosen, output, options.profile, options.cell_timeout)
    say(f"\n{lesson_report.text_table(entries)}\n\n{output / 'index.html'}")
    return 0 if all(entry["passed"] for entry in entries) else 1


def _check_exercises(options: argparse.Namespace) -> int:
    from keras_transfer import exercise_checks, lessons, storage

    folder = pathlib.Path(options.notebooks or storage.build_dir() / "exercises")
    if not folder.is_dir():
        raise FileNotFoundError(
            "There are no copies to check. `python -m keras_transfer exercises` writes "
            f"them. Received: {folder}"
        )
    outcomes = exercise_checks.check_lessons(
        lessons.find_lessons(folder, options.numbers),
        options.profile,
        options.cell_timeout,
    )
    done = sum(outcome.state == exercise_checks.DONE for outcome in outcomes)
    say(f"\n{done} of {len(outcomes)} exercises done")
    return 0 if done == len(outcomes) else 1


def _exercises(options: argparse.Namespace) -> int:
    from keras_transfer import exercise_copies, lessons, storage

    output = pathlib.Path(options.output or storage.build_dir() / "exercises")
    folder = options.notebooks or storage.project_root() / "notebooks"
    chosen = lessons.find_lessons(folder, options.numbers)
    say(*exercise_copies.write_copies(chosen, output), sep="\n")
    say(f"They lie in {output}.")
    return 0


def _ledger(options: argparse.Namespace) -> int:
    from keras_transfer import bands, lesson_report

    entries = [
        entry
        for path in options.ledgers
        for entry in json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    ]
    if options.readme:
        lesson_report.update_readme(entries, options.readme)
        say(f"Wrote the table of {len(entries)} lessons into {options.readme}.")
    if options.bands:
        count = bands.merge_bands(entries, options.bands)
        say(f"Wrote {count} accuracy bands into {options.bands}.")
    if not (options.readme or options.bands):
        say(lesson_report.text_table(entries))
        say(lesson_report.measured_on(entries))
    return 0


def _diagnose(options: argparse.Namespace) -> int:
    from keras_transfer import diagnosis

    try:
        # What loading prints is no part of the JSON.
        with contextlib.redirect_stdout(sys.stderr):
            found = diagnosis.diagnose_files(
                options.model, options.folder, options.image_size
            )
    except (RuntimeError, OSError) as error:
        # Not 1, which says that the model has a serious fault.
        say(f"error: {error}", file=sys.stderr)
        return 2
    if options.json:
        # Not by `say`, which would pass over JSON that could not be written.
        print(json.dumps(found.to_dict(), indent=2))
    else:
        say(found)
    if not found.examined:
        return 2
    return 1 if found.serious else 0


def _backbones(options: argparse.Namespace) -> int:
    from keras_transfer import probe

    return probe.main(options.arguments) or 0


if __name__ == "__main__":
    sys.exit(main())
