"""Compare backbones by a probe of their frozen features."""

import argparse
from collections.abc import Callable

from keras_transfer.cli.arguments import backbone_at_size, path_argument
from keras_transfer.runtime.status_lines import say

DEFAULT = ("efficientnet_lite0@160", "resnet50@160", "resnet50@224", "vgg16@160")
DATASET = "cats_vs_dogs"
# What --samples has no use for, and what it is where nobody has typed it.
IGNORED = {"backbones": DEFAULT, "dataset": DATASET, "dtype": None, "output": None}


def add_commands(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add what can be typed here."""
    backbones = command(
        "backbones",
        _backbones,
        "Compare backbones by what their features are worth.",
        description="Logistic regression on pooled frozen features, 5-fold "
        "cross-validated, on all images of a data set.",
    )
    backbones.add_argument(
        "backbones",
        nargs="*",
        default=DEFAULT,
        metavar="NAME@SIZE",
        help=f"default: {' '.join(DEFAULT)}",
    )
    backbones.add_argument("--dataset", default=DATASET)
    backbones.add_argument(
        "--dtype",
        choices=("float32", "bfloat16"),
        help="default: the faster one here",
    )
    backbones.add_argument(
        "--samples",
        action="store_true",
        help="measure raw pixels and efficientnet_lite0@128 on drawn cats and dogs",
    )
    backbones.add_argument(
        "--output",
        type=path_argument,
        metavar="FILE",
        help="keep what was measured in this file of JSON, beside what is there",
    )


def _backbones(options: argparse.Namespace) -> int:
    specs = [backbone_at_size(text) for text in options.backbones]
    if options.samples:
        typed = [
            name
            for name, value in vars(options).items()
            if name in IGNORED and value != IGNORED[name]
        ]
        if typed:
            raise ValueError(
                "--samples measures the same each time. Leave it out to measure what "
                "else is named, or leave that out. "
                f"Received: --samples and {typed[0]}={vars(options)[typed[0]]}"
            )
        return _samples()
    from keras_transfer.backbones.measured import add_measurements, measurements
    from keras_transfer.backbones.weights.sources import WeightsUnavailableError
    from keras_transfer.evaluation.linear_probe import measure_backbone
    from keras_transfer.runtime.tables import text_table

    if options.output is not None:
        measurements(options.output)  # Not after minutes, if it is another file.
    rows, status = [("backbone", "image size", "accuracy")], 0
    for name, size in specs:
        try:
            found = measure_backbone(name, options.dataset, size, options.dtype)
        except WeightsUnavailableError as error:
            accuracy, status = str(error).splitlines()[0], 1
        else:
            # What is kept and what is printed is one number: 0.79375 would be cut to
            # 0.7937 in the one and to 79.38 % in the other.
            found["accuracy"] = round(found["accuracy"], 4)
            accuracy = f"{found['accuracy']:.2%}"
            if options.output is not None:
                add_measurements(options.output, [found])
        rows.append((name, f"{size} px", accuracy))
    say(f"\nLinear probe on {options.dataset}, 5-fold cross-validated:")
    say(text_table(rows, words=(0, 2)))
    return status


def _samples() -> int:
    from keras_transfer.evaluation.linear_probe import probe_samples

    for seed in (0, 1, 2):
        for what, accuracy in probe_samples(seed).items():
            say(f"generator seed {seed}  {what:28s} {accuracy:6.1%}", flush=True)
    return 0
