"""The whole way in one call: from a folder of photos to a saved, honest classifier."""

import contextlib
import os
import pathlib
import time
from collections.abc import Iterator, Mapping, Sequence

import keras
import tensorflow as tf

from keras_transfer.backbones.build import build_backbone
from keras_transfer.classifier.head import POOLING_NAME
from keras_transfer.classifier.saved import Classifier, save_classifier
from keras_transfer.classifier.unknown import fit_unknown_detector
from keras_transfer.data.directory import load_directory
from keras_transfer.data.grouping import read_groups
from keras_transfer.data.photo_files import PhotoFile
from keras_transfer.data.photo_folders import check_kept_outside, read_layout
from keras_transfer.data.splits import Splits
from keras_transfer.diagnosis.examine import diagnose
from keras_transfer.evaluation.calibration import calibration_temperature
from keras_transfer.evaluation.evaluate import (
    calibrated,
    evaluate_classifier,
    kept_figures,
    measure,
)
from keras_transfer.evaluation.report import ClassificationReport
from keras_transfer.features.extraction import LabeledFeatures
from keras_transfer.runtime import arguments, paths
from keras_transfer.runtime.profiles import device_in_use
from keras_transfer.runtime.status_lines import say
from keras_transfer.workflow import learning
from keras_transfer.workflow.again import command_again
from keras_transfer.workflow.report import write_report
from keras_transfer.workflow.trained import TrainedClassifier

# With fewer photos, a temperature is mostly chance.
WELL_CALIBRATED = 50


def train_classifier(  # noqa: PLR0913
    folder: str | os.PathLike,
    output: str | os.PathLike | None = None,
    *,
    backbone: str = "resnet50",
    image_size: int = 224,
    fine_tune: bool = False,
    epochs: int | None = None,
    class_weight: str | Mapping | Sequence[float] | None = None,
    groups: str | os.PathLike | Mapping | None = None,
    report: str | os.PathLike | None = None,
    seed: int = 0,
) -> TrainedClassifier:
    """Train a classifier on a folder of photos, and say honestly how good it is.

    A head is trained on the features of a frozen backbone, and with `fine_tune` the
    last blocks with it, which is kept only where the validation loss falls. The
    validation photos calibrate it and fix what is none of the classes; it is evaluated
    once, on test photos that no choice saw, as it is saved: in one `.keras` file that
    `import keras` alone can load.

    A run that was interrupted or killed leaves no half file. The same call goes on
    where it stopped, and on a CPU ends with the weights of a run that was never
    stopped. Where a photo or an argument has changed, it begins anew.

    Args:
        folder: Folder with one subfolder a class, as `load_directory` takes it.
        output: Where to save, a path that ends in `.keras`. Defaults to none.
        backbone: Name of a backbone that `backbones()` lists. Defaults to
            `"resnet50"`.
        image_size: Side of the square images, in pixels. Defaults to `224`.
        fine_tune: Whether to train the last blocks as well: as many as hold a quarter
            of the weights. Defaults to `False`.
        epochs: Passes over the training photos. Defaults to `40` over the features of a
            frozen backbone; with `fine_tune`, to `6` after these.
        class_weight: Weight of each class in the loss, as in `fit_head`, or `"auto"`
            to make up for classes of few photos. Defaults to none.
        groups: What must stay in one split, as in `load_directory`.
        report: Where to write a page about all of it, which shows photos. Defaults to
            none.
        seed: Seed of the split and of everything that is drawn. It is set for Keras,
            NumPy and Python as well. Defaults to `0`.

    Returns:
        A `TrainedClassifier`.

    Raises:
        ValueError: If an argument is out of its range, or a class has too few photos.
        OSError: If there is no such folder, or nothing can be written.
        WeightsUnavailableError: If the backbone's weights cannot be had.

    Example:

    >>> import keras_transfer as kt
    >>> trained = kt.train_classifier("photos", "pets.keras")  # doctest: +SKIP
    >>> trained.test.accuracy_interval  # doctest: +SKIP
    (0.949, 0.99)
    """
    folder = _photos_path(folder)
    check_kept_outside(folder, read_layout(folder.absolute()).splits)
    read_groups(groups, folder.absolute())
    settings = {
        "folder": folder,
        "output": _written_path(folder, "output", output, (".keras",)),
        "backbone": backbone,
        "image_size": arguments.square_size("image_size", image_size),
        "fine_tune": arguments.flag("fine_tune", fine_tune),
        "epochs": _checked_epochs(epochs),
        "class_weight": class_weight,
        "groups": groups,
        "report": _written_path(folder, "report", report, (".html", ".htm")),
        "seed": arguments.whole_number("seed", seed, 0, 2**32 - 1),
    }
    seconds = {}
    say(f"Device: {device_in_use()[0]}")
    with _timed(seconds, "data"):
        keras.utils.set_random_seed(settings["seed"])
        network = build_backbone(backbone, image_size=settings["image_size"])
        splits = load_directory(
            settings["folder"],
            image_size=settings["image_size"],
            seed=settings["seed"],
            groups=groups,
        )
        names = splits.class_names
        given = {
            "epochs": settings["epochs"],
            "class_weight": _weights(class_weight, splits),
            "seed": settings["seed"],
        }
    with _timed(seconds, "training"):
        learning.remove_outdated_states()
        way = learning.train_head
        if settings["fine_tune"]:
            way = learning.train_last_blocks
        learnt = way(network, splits, **given)
    with _timed(seconds, "calibration"):
        validation = _of_groups(
            _predicted(learnt.model, learnt.features.validation, names),
            splits.photos["validation"],
        )
        temperature, notes = _temperature(validation)
        unknown = fit_unknown_detector(
            learnt.features.train, learnt.features.validation
        )
    with _timed(seconds, "test"):
        uncalibrated = _of_groups(
            evaluate_classifier(learnt.model, splits.test, names), splits.photos["test"]
        )
    about = {
        "temperature": temperature,
        "unknown": unknown,
        "trained_on": {
            split: [photo.sha256 for photo in splits.photos[split]]
            for split in ("train", "validation")
        }
        | {"left out": [photo.sha256 for photo in splits.left_out]},
        "details": {
            "backbone": backbone,
            "fine_tuned": settings["fine_tune"],
            "test": kept_figures(uncalibrated, temperature),
            "validation": kept_figures(validation, temperature),
            # The file is passed on, and folders may bear names.
            "command": command_again(settings, whole_paths=False),
        },
    }
    classifier = Classifier(learnt.model, names, splits.image_size, **about)
    with _timed(seconds, "diagnosis"):
        diagnosis = diagnose(classifier, splits, learnt.history, uncalibrated)
    path = settings["output"]
    if path is not None:
        save_classifier(learnt.model, path, names, splits.image_size, **about)
    trained = TrainedClassifier(
        classifier=classifier,
        splits=splits,
        test=calibrated(uncalibrated, temperature),
        uncalibrated=uncalibrated,
        validation=calibrated(validation, temperature),
        history=learnt.history,
        diagnosis=diagnosis,
        temperature=temperature,
        path=path,
        command=command_again(settings),
        settings=settings,
        seconds=seconds,
        notes=(*learnt.notes, *notes),
    )
    if settings["report"] is not None:
        say(f"Report: {write_report(trained, settings['report'])}")
    if learnt.state is not None:
        learnt.state.unlink(missing_ok=True)
    say(trained)
    return trained


@contextlib.contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[stage] = time.perf_counter() - start


def _photos_path(folder) -> pathlib.Path:
    # Told before a backbone is built or fetched.
    folder = arguments.file_path("folder", folder)
    if not folder.is_dir():
        raise NotADirectoryError(
            "There is no folder of photos here. Expected one with a subfolder a class. "
            f"Received: folder={folder}"
        )
    return folder


def _written_path(
    folder: pathlib.Path, name: str, value, suffixes: tuple[str, ...]
) -> pathlib.Path | None:
    """Return where a file is to be written, or refuse what cannot be.

    By its ending, a report takes the place of no model, and neither that of a photo.
    """
    if value is None:
        return None
    path = arguments.file_path(name, value)
    if path.is_dir() or path.suffix not in suffixes:
        raise ValueError(
            f"{name} must be the path of a file that ends in {' or '.join(suffixes)}, "
            f"in small letters, and no folder. Received: {name}={path}"
        )
    paths.outside_of(folder, name, path)
    paths.make_folder(paths.existing_parent(path.parent), name)
    return path


def _checked_epochs(epochs) -> int | None:
    return None if epochs is None else arguments.whole_number("epochs", epochs, 1)


def _weights(class_weight, splits: Splits) -> dict[int, float] | None:
    """Return the weight of each class, refused before anything is computed."""
    names = splits.class_names
    return arguments.class_weights(
        class_weight,
        len(names),
        names,
        lambda: [photo.label for photo in splits.photos["train"]],
    )


def _predicted(
    model: keras.Model, part: LabeledFeatures, class_names: Sequence[str]
) -> ClassificationReport:
    """Return what a model makes of kept features."""
    head = keras.Model(model.get_layer(POOLING_NAME).output, model.output)
    dataset = tf.data.Dataset.from_tensor_slices(tuple(part)).batch(256)
    return evaluate_classifier(head, dataset, class_names)


def _of_groups(
    report: ClassificationReport, photos: Sequence[PhotoFile]
) -> ClassificationReport:
    """Return a report that knows which of its photos belong together."""
    groups = [photo.group for photo in photos]
    return measure(report.labels, report.probabilities, report.class_names, groups)


def _temperature(
    validation: ClassificationReport,
) -> tuple[float | None, tuple[str, ...]]:
    """Return the temperature that fits the validation photos, or a note why not."""
    found = calibration_temperature(validation.labels, validation.probabilities)
    count = len(validation.labels)
    if found is not None and count >= WELL_CALIBRATED:
        return found, ()
    if found is not None:
        return found, (
            f"Calibrated on {count:,} validation photos only, so how sure an answer is "
            "says little: with more photos it says more.",
        )
    return None, (
        f"Not calibrated: all of the {count:,} validation photos are right, so nothing "
        "tells how sure is too sure.",
    )
