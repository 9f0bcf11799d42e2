"""Examine a saved model with a folder of photos."""

import argparse
import contextlib
import json
import sys
from collections.abc import Callable

from keras_transfer.cli.arguments import path_argument, there_is_no
from keras_transfer.runtime.status_lines import say

STEP = 5
STATUSES = {
    0: "no serious fault was found",
    1: "a serious fault was found",
    2: "the arguments do not fit, or the model could not be examined",
}


def add_commands(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add what can be typed here."""
    diagnose = command(
        "diagnose",
        _diagnose,
        "Look for silent failures in a model.",
        statuses=STATUSES,
    )
    diagnose.add_argument(
        "model", type=path_argument, metavar="MODEL", help="a .keras file"
    )
    diagnose.add_argument(
        "folder",
        type=path_argument,
        metavar="FOLDER",
        help="photos, one subfolder a class; those that the model says it was trained "
        "on are the training photos, and the others the test",
    )
    diagnose.add_argument("--image-size", type=int, help="default: the model's")
    diagnose.add_argument("--json", action="store_true", help="print JSON, no text")


def _diagnose(options: argparse.Namespace) -> int:
    from keras_transfer.diagnosis import examine

    if not options.model.is_file():
        raise FileNotFoundError(there_is_no("model", options.model))
    if not options.folder.is_dir():
        raise FileNotFoundError(there_is_no("folder of photos", options.folder))
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
