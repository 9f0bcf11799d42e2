"""Examine a classifier and its data for the silent failures of transfer learning."""

import dataclasses
import os
import time
from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf

from keras_transfer.classifier.members import has_members
from keras_transfer.classifier.model_files import model_path, read_model
from keras_transfer.classifier.saved import (
    LEFT_OUT,
    Classifier,
    known_photos,
    left_out_photos,
    load_classifier,
)
from keras_transfer.data.directory import load_directory
from keras_transfer.data.photo_files import (
    Folder,
    labels_by_name,
    photo_dataset,
    read_folder,
)
from keras_transfer.data.photo_folders import check_kept_outside
from keras_transfer.data.splits import Splits
from keras_transfer.diagnosis.case import SPLITS, Case, checked_model, checked_parts
from keras_transfer.diagnosis.checks import (
    data,
    inputs,
    last_layer,
    outputs,
    results,
    training,
)
from keras_transfer.diagnosis.findings import (
    NOT_EXAMINED,
    NOTHING,
    SEVERITIES,
    Diagnosis,
    NotExaminedError,
)
from keras_transfer.diagnosis.labels import restored, restored_generators
from keras_transfer.evaluation.report import ClassificationReport
from keras_transfer.models.graph import image_shape
from keras_transfer.runtime.arguments import file_path, reason
from keras_transfer.runtime.status_lines import say

CHECKS = (
    *inputs.CHECKS,
    *data.CHECKS,
    *training.CHECKS,
    *last_layer.CHECKS,
    *outputs.CHECKS,
    *results.CHECKS,
)


def diagnose(
    model: keras.Model | Classifier,
    splits: Splits | Mapping,
    history: keras.callbacks.History | Mapping | None = None,
    predictions: ClassificationReport | np.ndarray | None = None,
) -> Diagnosis:
    """Look for faults that raise no error and quietly make a model worse.

    Preprocessing that is missing or there twice, BatchNormalization that moves, frozen
    augmentation, photos in two splits, labels in another order, a head that was never
    trained, and more: each finding has its evidence, why it matters and a repair in
    code. What could not be examined is listed with the reason. A few hundred photos
    are predicted, and all are compared with those of the other splits (up to 20,000 of
    training). The model is left as it was, bit for bit, and so are the generators of
    random numbers, also where the examination is interrupted.

    Args:
        model: Any built Keras classifier of images, compiled or not, with one output
            unit a class or a single one; or what `load_classifier` returns, whose class
            names are then compared as well.
        splits: `Splits`, or a mapping with any of `"train"`, `"validation"` and
            `"test"`, each a batched `tf.data.Dataset` of images as the model takes them
            and labels, and with `"class_names"`, where there are any. `"val"` means
            `"validation"`; other names are refused.
        history: What `fit` or `fine_tune` returned, or its dictionary. Defaults to
            none.
        predictions: What is going to be reported: a report of `evaluate_classifier`, or
            predictions of the test photos in stored order, of shape `(count,)` or
            `(count, num_classes)`. Defaults to none.

    Returns:
        A `Diagnosis` with `findings`, `serious`, `examined`, `not_examined`, `checks`
        and `to_dict()` for JSON.

    Raises:
        ValueError: If this is no classifier of images with one input and one output, or
            the data, the history or the predictions do not fit it.

    Example:

    >>> import keras_transfer as kt
    >>> splits = kt.load_dataset("sample_cats_vs_dogs", image_size=64, max_images=60)
    >>> backbone = kt.build_backbone("efficientnet_lite0", image_size=64)
    >>> model = kt.build_classifier(backbone, num_classes=2)
    >>> diagnosis = kt.diagnose(model, splits)
    >>> "The head was never trained" in [found.title for found in diagnosis.serious]
    True
    """
    start = time.perf_counter()
    model, names = checked_model(model)
    parts = checked_parts(splits)
    datasets = [parts[name] for name in SPLITS if name in parts]
    findings, not_examined, checks = [], {}, []
    with restored(model), restored_generators(datasets):
        case = Case(model, splits, history, predictions, names)
        for check in CHECKS:
            result = NOTHING
            try:
                found = check.examine(case)
            except NotExaminedError as error:
                found, not_examined[check.name] = [], str(error)
                result = NOT_EXAMINED
            except Exception as error:
                # One check that a model is too unusual for must not hide the others.
                found, result = [], NOT_EXAMINED
                not_examined[check.name] = (
                    f"this check failed ({type(error).__name__}: {reason(error)})"
                )
            if found:
                result = ", ".join(each.severity for each in found)
            findings += [dataclasses.replace(x, check=check.name) for x in found]
            checks.append(
                {
                    "check": check.name,
                    "result": result,
                    "knows": check.knows,
                    "cannot_know": check.cannot_know,
                }
            )
    findings.sort(key=lambda finding: SEVERITIES.index(finding.severity))
    return Diagnosis(
        name=model.name,
        findings=tuple(findings),
        not_examined=not_examined,
        checks=tuple(checks),
        seconds=time.perf_counter() - start,
    )


def diagnose_files(
    model: str | os.PathLike, folder: str | os.PathLike, image_size: int | None = None
) -> Diagnosis:
    """Examine a saved model with a folder of photos.

    Where the model keeps checksums of the photos that it was trained and validated on,
    these are the parts, and all other photos the test. Else the folder is split here.
    Classes are those of the model by their names; some may be missing.

    Args:
        model: Path of a `.keras` file, from `save_classifier` or from Keras.
        folder: Folder of photos, one subfolder a class.
        image_size: Side of the square images. Defaults to that of the model, and to
            `224` where it takes any.

    Returns:
        A `Diagnosis`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be loaded, or photos and model do not fit.
    """
    path = model_path("model", model)
    named = has_members(path)
    loaded = load_classifier(path) if named else read_model(path)
    if image_size is None and named:
        image_size = loaded.image_size
    if image_size is None:
        image_size = (image_shape(loaded) or (None,))[0] or 224
    folder = file_path("folder", folder)
    if named:
        found = read_folder(folder, loaded.class_names, with_thumbnails=False)
        check_kept_outside(folder, found.splits)
        labels, known = labels_by_name(found, loaded.class_names), known_photos(loaded)
        # Where classes are missing, a folder's own labels are others.
        if known or len(labels) < len(loaded.class_names):
            apart = dict.fromkeys(left_out_photos(loaded), LEFT_OUT)
            parts = _parts(found, labels, apart | known, image_size)
            return diagnose(loaded, parts | {"class_names": loaded.class_names})
    return diagnose(loaded, load_directory(folder, image_size=image_size))


def _parts(
    folder: Folder, labels: list[int], known: Mapping[str, str], image_size: int
) -> dict[str, tf.data.Dataset]:
    """Return the photos of a folder in the parts that a model was trained on.

    Where it is not known on which, they are in the split that the folder gives, or all
    in the test.
    """
    parts = {name: [] for name in (*SPLITS, LEFT_OUT)}
    for file in folder.files:
        if not file.problem:
            given = (not known and file.split) or "test"
            file = file._replace(label=labels[file.label])
            parts[known.get(file.sha256, given)].append(file)
    if known:
        say(
            f"Data: the model was trained on {len(parts['train']):,} of these photos, "
            f"and validated on {len(parts['validation']):,}; these are left out of the "
            f"test, which the other {len(parts['test']):,} are"
        )
    # Shuffled by a step that the checks find, and can leave out.
    return {
        name: photo_dataset(parts[name], image_size, shuffle=name == "train")
        for name in SPLITS
        if parts[name]
    }
