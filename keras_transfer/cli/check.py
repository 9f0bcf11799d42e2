"""Check a folder of photos before training, and make a cleaned copy of it."""

import argparse
import contextlib
import json
import sys
from collections.abc import Callable

from keras_transfer.cli.arguments import path_argument, there_is_no
from keras_transfer.runtime.status_lines import say

STEP = 1
STATUSES = {
    0: "nothing serious was found, or the cleaned copy was made",
    1: "there is something serious to look at, such as labels that look wrong; "
    "with --apply: the copy could not be written",
    2: "the arguments do not fit, or the folder could not be examined",
}


def add_commands(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add what can be typed here."""
    check = command(
        "check",
        _check,
        "Look for what is wrong with a folder of photos.",
        statuses=STATUSES,
    )
    check.add_argument(
        "folder",
        type=path_argument,
        metavar="FOLDER",
        help="photos, one subfolder a class; it is never changed",
    )
    check.add_argument(
        "--output",
        type=path_argument,
        metavar="DIR",
        help="folder for review.csv, in which earlier decisions stay, and review.html "
        "(default: build/check/NAME); with --apply the cleaned copy",
    )
    check.add_argument(
        "--apply",
        type=path_argument,
        metavar="REVIEW.csv",
        help="make a cleaned copy by the decisions in this review",
    )
    check.add_argument("--json", action="store_true", help="print JSON, no text")
    check.add_argument(
        "--backbone",
        default="efficientnet_lite0",
        metavar="NAME",
        help="network whose features tell wrong labels (default: %(default)s)",
    )
    check.add_argument(
        "--image-size", type=int, default=224, help="in pixels (default: %(default)s)"
    )
    check.add_argument(
        "--no-labels", action="store_true", help="do not look for wrong labels"
    )
    check.add_argument(
        "--groups",
        metavar="REGEX|CSV",
        help="what names the group of each photo, such as a patient: searched in its "
        "path, or a file with the columns path and group",
    )


def _check(options: argparse.Namespace) -> int:
    if not options.folder.is_dir():
        raise FileNotFoundError(there_is_no("folder of photos", options.folder))
    if options.apply:
        return _apply(options)
    import tensorflow as tf

    import keras_transfer as kt
    from keras_transfer.runtime import paths
    from keras_transfer.workflow.review_page import is_of_another_folder

    name = options.folder.absolute().name or "photos"
    output = options.output or paths.build_dir() / "check" / name
    # Said before the work, not after it.
    paths.outside_of(options.folder, "output", output)
    # Its decisions would be taken for those of photos of the same names here.
    if not options.output and is_of_another_folder(
        output / "review.html", options.folder
    ):
        raise FileExistsError(
            "The review of another folder of this name lies where this one would be "
            "written. Name a folder for this one with --output. "
            f"Received: folder={options.folder}, review={output / 'review.csv'}"
        )
    try:
        paths.make_folder(paths.existing_parent(output), "--output")
        # What is said meanwhile is no part of the JSON.
        with contextlib.redirect_stdout(sys.stderr):
            found = kt.check_directory(
                options.folder,
                backbone=options.backbone,
                image_size=options.image_size,
                labels=not options.no_labels,
                groups=options.groups,
            )
            written = found.write(output)
    except ValueError:
        raise
    except (RuntimeError, OSError, MemoryError, tf.errors.OpError) as error:
        # Never 1, which says that there is something to look at. All else is a fault of
        # ours, and shown as one.
        reason = f"{error}" or type(error).__name__
        say(f"error: The folder could not be examined: {reason}", file=sys.stderr)
        return 2
    if options.json:
        # Not by `say`, which would pass over JSON that could not be written.
        print(json.dumps(found.to_dict(), indent=2), flush=True)
    else:
        say(found)
    say(
        f"\nWritten: {written}, to fill in, and review.html beside it, with the photos",
        file=sys.stderr if options.json else None,
    )
    return 1 if found.serious else 0


def _apply(options: argparse.Namespace) -> int:
    from keras_transfer.workflow.review import apply_review

    if options.output is None:
        raise ValueError(
            "Expected --output, the cleaned copy, beside --apply: check FOLDER --apply "
            f"REVIEW.csv --output CLEAN. Received: --apply {options.apply}"
        )
    with contextlib.redirect_stdout(sys.stderr if options.json else sys.stdout):
        cleaned = apply_review(options.folder, options.apply, options.output)
    if options.json:
        print(json.dumps(cleaned._asdict(), indent=2, default=str), flush=True)
    return 0
