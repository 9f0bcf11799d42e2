"""Command line of the package: `python -m keras_transfer --help`.

Each command imports what it needs only when it runs, so that help comes at once.
"""

import argparse
import contextlib
import difflib
import json
import os
import pathlib
import sys

from keras_transfer.runtime.arguments import file_path
from keras_transfer.runtime.keras_settings import check_keras
from keras_transfer.runtime.status_lines import say

# They come with Jupyter.
LESSON_MODULES = (
    "IPython",
    "ipykernel",
    "jupyter_client",
    "nbclient",
    "nbconvert",
    "nbformat",
    "psutil",
)
IN_A_CHECKOUT = (
    "get the repository, whose notebooks the lessons are, and there run "
    '`pip install -e ".[lessons]"`'
)
# What the table of a ledger is made of.
ENTRY = {
    "lesson": str,
    "profile": str,
    "seconds": int | float,
    "peak_memory_mb": int | float,
    "passed": bool,
}


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit status.

    Args:
        arguments: The words after `python -m keras_transfer`. Defaults to `None`:
            those of the running process.

    Returns:
        0 if all went well, 1 if something failed, 2 if the arguments or the settings
        do not fit, 130 if interrupted. `diagnose` has an answer of its own: 1 for a
        serious fault of the model, 2 where it could not be examined.

    Example:

    >>> main(["lessons", "1", "--profile", "quick"])
    0
    """
    options = parse(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        if options.run not in (_ledger, _exercises):
            check_keras()
        return options.run(options)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in LESSON_MODULES:
            raise
        say(
            f"error: This command needs {error.name}, which the package alone does not "
            f"bring: {IN_A_CHECKOUT}.",
            file=sys.stderr,
        )
        return 1
    except (
        ValueError,
        FileNotFoundError,
        FileExistsError,
        NotADirectoryError,
        IsADirectoryError,
    ) as error:
        say(f"error: {error}", file=sys.stderr)
        return 2
    except (RuntimeError, OSError) as error:
        say(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        say("Interrupted.", file=sys.stderr)
        return 130
    finally:
        _flush()


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
    features.add_argument("--cache-dir", type=_path, help="default: data/features")

    lessons = command("lessons", _lessons, "Run the lessons headless and report.")
    lessons.add_argument(
        "numbers", nargs="*", type=int, metavar="NUMBER", help="default: all"
    )
    lessons.add_argument(
        "--profile", choices=("quick", "lesson", "full"), default="quick"
    )
    lessons.add_argument("--output", type=_path, help="default: build/lessons")
    lessons.add_argument("--notebooks", type=_path, help="default: notebooks")
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
    exercises.add_argument("--output", type=_path, help="default: build/exercises")
    exercises.add_argument("--notebooks", type=_path, help="default: notebooks")

    ledger = command("ledger", _ledger, "Use what a run of the lessons measured.")
    ledger.add_argument(
        "ledgers", type=_path, nargs="+", help="such as build/lessons/ledger.json"
    )
    ledger.add_argument(
        "--readme", type=_path, help="write the table between its markers"
    )
    ledger.add_argument(
        "--bands", type=_path, help="merge the accuracies into this JSON file"
    )

    diagnose = command("diagnose", _diagnose, "Look for silent failures in a model.")
    diagnose.add_argument("model", type=_path, metavar="MODEL", help="a .keras file")
    diagnose.add_argument(
        "folder", type=_path, metavar="FOLDER", help="photos, one subfolder a class"
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
    from keras_transfer.backbones import build
    from keras_transfer.backbones.weights import sources as weights

    known = build.ARCHITECTURES
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
    from keras_transfer.backbones.build import ARCHITECTURES

    name, _, size = options.backbone.partition("@")
    numbers = (options.shard or "0/1").split("/")
    if (
        not size.isdecimal()
        or len(numbers) != 2
        or not all(map(str.isdecimal, numbers))
    ):
        raise ValueError(
            "Expected NAME@SIZE such as resnet50@160, and a part such as 0/2. "
            f"Received: {options.backbone}, --shard {options.shard}"
        )
    if name not in ARCHITECTURES:
        raise ValueError(
            f"Unknown backbone. Expected one of: {', '.join(ARCHITECTURES)}. "
            f"Received: {options.backbone}"
        )
    splits = _photos(options.data, int(size))
    features = kt.extract_features(
        kt.build_backbone(name, image_size=int(size)),
        splits,
        options.cache_dir,
        dtype=options.dtype,
        shard=tuple(map(int, numbers)) if options.shard else None,
    )
    say(features.path)
    return 0


def _photos(data: str, image_size: int):
    """Load a folder of photos, or a data set by its name; a path is never a name."""
    import keras_transfer as kt

    folder = file_path("FOLDER", data)
    if folder.is_dir():
        return kt.load_directory(folder, image_size=image_size)
    # A name may hold a slash and a dot: `cifar10_corrupted/fog_1`, `mnist:3.0.1`.
    if (
        data[:1] in ("~", ".")
        or data[-1:] in ("/", os.sep)
        or "\\" in data
        or folder.is_absolute()
        or folder.exists()
        or (len(folder.parts) > 1 and folder.parent.is_dir())
    ):
        raise FileNotFoundError(_there_is_no("folder of photos", folder))
    try:
        return kt.load_dataset(data, image_size=image_size)
    except kt.DatasetUnavailableError as error:
        if _near(folder):
            missing = _there_is_no("folder of photos", folder)
            raise FileNotFoundError(f"{missing}. As a data set: {error}") from error
        raise


def _there_is_no(what: str, path: pathlib.Path) -> str:
    near = ", ".join(map(str, _near(path)))
    near = f" Near it: {near}." if near else ""
    return f"There is no {what} at this path.{near} Received: {path}"


def _near(path: pathlib.Path) -> list[pathlib.Path]:
    """Return what lies there under a similar name, for the first part that is wrong."""
    for part in (*reversed(path.parents), path):
        if not part.exists():
            try:
                there = {each.name: each for each in part.parent.iterdir()}
            except OSError:  # A file, or no right to look.
                return []
            return [there[name] for name in difflib.get_close_matches(part.name, there)]
    return []


def _lessons(options: argparse.Namespace) -> int:
    if options.exercises:
        return _check_exercises(options)
    folder = _notebooks(options)
    from keras_transfer.lessons import report
    from keras_transfer.lessons import runner as lessons
    from keras_transfer.runtime import storage

    output = options.output or storage.build_dir() / "lessons"
    chosen = lessons.find_lessons(folder, options.numbers)
    entries = lessons.run_lessons(chosen, output, options.profile, options.cell_timeout)
    index = output.absolute() / "index.html"
    say(f"\n{report.text_table(entries)}\n\n{index}")
    return 0 if all(entry["passed"] for entry in entries) else 1


def _notebooks(options: argparse.Namespace) -> pathlib.Path:
    from keras_transfer.runtime import storage

    folder = options.notebooks or storage.project_root() / "notebooks"
    if not folder.is_dir() and options.notebooks:
        raise FileNotFoundError(_there_is_no("folder of notebooks", folder))
    if not folder.is_dir():
        raise FileNotFoundError(
            "The notebooks of the lessons are not part of the installed package: "
            f"{IN_A_CHECKOUT}; or name their folder with --notebooks. "
            f"Received: {folder}, which is not there"
        )
    return folder


def _check_exercises(options: argparse.Namespace) -> int:
    from keras_transfer.runtime import storage

    folder = options.notebooks or storage.build_dir() / "exercises"
    if not folder.is_dir():
        raise FileNotFoundError(
            "There are no copies to check. `python -m keras_transfer exercises` writes "
            f"them. Received: {folder}"
        )
    from keras_transfer.lessons import grading
    from keras_transfer.lessons import runner as lessons

    outcomes = grading.check_lessons(
        lessons.find_lessons(folder, options.numbers),
        options.profile,
        options.cell_timeout,
    )
    done = sum(outcome.state == grading.DONE for outcome in outcomes)
    say(f"\n{done} of {len(outcomes)} exercises done")
    return 0 if done == len(outcomes) else 1


def _exercises(options: argparse.Namespace) -> int:
    folder = _notebooks(options)
    from keras_transfer.lessons import copies
    from keras_transfer.lessons import runner as lessons
    from keras_transfer.runtime import storage

    output = options.output or storage.build_dir() / "exercises"
    chosen = lessons.find_lessons(folder, options.numbers)
    say(*copies.write_copies(chosen, output), sep="\n")
    say(f"They lie in {output}.")
    return 0


def _ledger(options: argparse.Namespace) -> int:
    from keras_transfer.lessons import bands, report
    from keras_transfer.runtime import storage

    entries = [entry for path in options.ledgers for entry in _entries(path)]
    if options.bands and options.bands.is_file():
        _json(options.bands, dict, "file of accuracy bands")
    if options.readme and not options.readme.is_file():
        raise FileNotFoundError(_there_is_no("README", options.readme))
    for path in filter(None, (options.readme, options.bands)):
        storage.make_folder(path.absolute().parent, "another path")
    if options.readme:
        report.update_readme(entries, options.readme)
        say(f"Wrote the table of {len(entries)} lessons into {options.readme}.")
    if options.bands:
        count = bands.merge_bands(entries, options.bands)
        say(f"Wrote {count} accuracy bands into {options.bands}.")
    if not (options.readme or options.bands):
        say(report.text_table(entries))
        say(report.measured_on(entries))
    return 0


def _entries(path: pathlib.Path) -> list[dict]:
    what = "ledger of lessons"
    entries = _json(path, list, what)
    for entry in entries:
        found = entry if isinstance(entry, dict) else {}
        missing = [
            name
            for name, kind in ENTRY.items()
            if not isinstance(found.get(name), kind)
        ]
        if missing:
            raise ValueError(
                f"Expected a {what}: each entry has {', '.join(ENTRY)}. "
                f"Received: {path}, where one has no {missing[0]}"
            )
    return entries


def _json(path: pathlib.Path, kind: type, what: str):
    if not path.is_file():
        raise FileNotFoundError(_there_is_no(what, path))
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(
            f"Expected a {what}, and this file is no JSON ({error}). Received: {path}"
        ) from error
    if not isinstance(read, kind):
        raise ValueError(f"Expected a {what}. Received: {path} with other JSON")
    return read


def _diagnose(options: argparse.Namespace) -> int:
    from keras_transfer.diagnosis import examine

    if not options.model.is_file():
        raise FileNotFoundError(_there_is_no("model", options.model))
    if not options.folder.is_dir():
        raise FileNotFoundError(_there_is_no("folder of photos", options.folder))
    try:
        # What loading prints is no part of the JSON.
        with contextlib.redirect_stdout(sys.stderr):
            found = examine.diagnose_files(
                options.model, options.folder, options.image_size
            )
        if options.json:
            # Not by `say`, which would pass over JSON that could not be written.
            print(json.dumps(found.to_dict(), indent=2), flush=True)
    except ValueError:
        raise
    except Exception as error:
        # Never 1, which says that the model has a serious fault.
        reason = f"{error}" or type(error).__name__
        say(f"error: The model could not be examined: {reason}", file=sys.stderr)
        return 2
    if not options.json:
        say(found)
    if not found.examined:
        return 2
    return 1 if found.serious else 0


def _backbones(options: argparse.Namespace) -> int:
    from keras_transfer.evaluation import linear_probe

    return linear_probe.main(options.arguments) or 0


def _path(text: str) -> pathlib.Path:
    try:
        return file_path("PATH", text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _flush() -> None:
    """Write what is left; where the other end of a pipe has gone, be done with it."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        # Python would try again at its end, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
