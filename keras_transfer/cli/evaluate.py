"""Evaluate a saved model on a folder of photos."""

import argparse
import contextlib
import json
import sys
from collections.abc import Callable

from keras_transfer.cli.arguments import load_model, path_argument, there_is_no
from keras_transfer.runtime.status_lines import say

STEP = 3
STATUSES = {
    0: "there were photos to evaluate on",
    1: "none was left: the model was trained on all of them, or none can be read",
    2: "the arguments, the model or the classes of the folder do not fit",
}


def add_commands(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add what can be typed here."""
    evaluate = command(
        "evaluate",
        _evaluate,
        "Measure a model on photos that it was not trained on.",
        statuses=STATUSES,
    )
    evaluate.add_argument(
        "model",
        type=path_argument,
        metavar="MODEL",
        help="a .keras file from train or save_classifier",
    )
    evaluate.add_argument(
        "folder",
        type=path_argument,
        metavar="FOLDER",
        help="photos, one subfolder a class, also inside of splits; those that the "
        "model was trained or validated on are left out",
    )
    evaluate.add_argument("--json", action="store_true", help="print JSON, no text")


def _evaluate(options: argparse.Namespace) -> int:
    classifier = load_model(options.model)
    from keras_transfer.evaluation.files import evaluate_files

    if not options.folder.is_dir():
        raise FileNotFoundError(there_is_no("folder of photos", options.folder))
    with contextlib.redirect_stdout(sys.stderr):
        found = evaluate_files(classifier, options.folder)
    if options.json:
        # Not by `say`, which would pass over JSON that could not be written.
        print(json.dumps(found.to_dict(), indent=2), flush=True)
    else:
        say(found)
    return 0 if found.report else 1
