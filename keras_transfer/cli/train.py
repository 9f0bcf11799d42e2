"""Train a classifier on a folder of photos."""

import argparse
from collections.abc import Callable

from keras_transfer.cli.arguments import path_argument, there_is_no
from keras_transfer.workflow import recipe

STEP = 2


def add_commands(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add what can be typed here."""
    train = command("train", _train, "Train a classifier on a folder of photos.")
    train.add_argument(
        "folder",
        type=path_argument,
        metavar="FOLDER",
        help="photos, one subfolder a class, or splits that hold these",
    )
    train.add_argument(
        "--output",
        type=path_argument,
        required=True,
        metavar="MODEL.keras",
        help="where to save; an older file is replaced when the new one is whole",
    )
    train.add_argument("--backbone", default="resnet50", help="default: resnet50")
    train.add_argument("--image-size", type=int, default=224, help="default: 224")
    train.add_argument(
        "--fine-tune",
        action="store_true",
        help="train the last blocks as well, as many as hold "
        f"{100 * recipe.SHARE:.0f} %% of the weights",
    )
    train.add_argument(
        "--epochs",
        type=int,
        help=f"default: {recipe.HEAD_EPOCHS}, with --fine-tune {recipe.EPOCHS}",
    )
    train.add_argument(
        "--class-weights",
        choices=("auto",),
        help="make up for classes of few photos in the loss",
    )
    train.add_argument(
        "--groups",
        metavar="REGEX|CSV",
        help="what must stay in one split: a part of the path, such as 'patient-[0-9]+'"
        ", or a file with the columns path and group",
    )
    train.add_argument(
        "--report",
        type=path_argument,
        metavar="REPORT.html",
        help="write a page about it, which shows photos",
    )
    train.add_argument("--seed", type=int, default=0, help="default: 0")


def _train(options: argparse.Namespace) -> int:
    import keras_transfer as kt

    if not options.folder.is_dir():
        raise FileNotFoundError(there_is_no("folder of photos", options.folder))
    kt.train_classifier(
        options.folder,
        options.output,
        backbone=options.backbone,
        image_size=options.image_size,
        fine_tune=options.fine_tune,
        epochs=options.epochs,
        class_weight=options.class_weights,
        groups=options.groups,
        report=options.report,
        seed=options.seed,
    )
    return 0
