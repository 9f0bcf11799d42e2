"""Export a model to another runtime."""

import argparse
import contextlib
import sys
from collections.abc import Callable

from keras_transfer.cli.arguments import load_model, path_argument
from keras_transfer.runtime.status_lines import say

STEP = 5
# As keras_transfer.deployment has them, which the help does not wait for.
FORMATS = ("onnx", "litert", "openvino", "savedmodel")
PRECISIONS = ("float32", "float16", "int8")
STATUSES = {
    0: "the folder is written, and its client agrees with the model",
    1: "it does not agree, and nothing is left behind",
    2: "the arguments, the model or the photos do not fit",
}


def add_commands(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add what can be typed here."""
    export = command(
        "export",
        _export,
        "Export a model to a runtime that needs no Keras, and check that it agrees.",
        statuses=STATUSES,
    )
    export.add_argument(
        "model",
        type=path_argument,
        metavar="MODEL",
        help="a .keras file from train or save_classifier",
    )
    export.add_argument(
        "--output",
        type=path_argument,
        required=True,
        metavar="DIR",
        help="the folder to write; an older export there is replaced",
    )
    export.add_argument(
        "--format", choices=FORMATS, default="onnx", help="onnx is the default"
    )
    export.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="float32",
        help="float16 halves the size, int8 quarters it, and is fitted to the training "
        "photos in --photos (default: float32)",
    )
    export.add_argument(
        "--photos",
        type=path_argument,
        metavar="FOLDER",
        help="photos, one subfolder a class, also inside of splits; on those that the "
        "model was not trained on, no accuracy may be lost",
    )


def _export(options: argparse.Namespace) -> int:
    classifier = load_model(options.model)
    from keras_transfer.deployment.export import export_classifier

    with contextlib.redirect_stdout(sys.stderr):
        found = export_classifier(
            classifier,
            options.output,
            options.format,
            options.precision,
            options.photos,
        )
    say(found)
    return 0
