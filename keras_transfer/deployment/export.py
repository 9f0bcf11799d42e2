"""Export a classifier to another runtime, and see that it says what it said before."""

import dataclasses
import importlib
import importlib.metadata
import inspect
import json
import os
import pathlib
import typing

import numpy as np

from keras_transfer.classifier.model_files import model_path
from keras_transfer.classifier.saved import (
    Classifier,
    known_photos,
    load_classifier,
    today,
    versions,
)
from keras_transfer.data import decoding
from keras_transfer.data.photo_files import (
    Folder,
    is_readable,
    labels_by_name,
    read_folder,
)
from keras_transfer.data.photo_folders import check_kept_outside
from keras_transfer.deployment import client
from keras_transfer.deployment.agreement import (
    COUNT,
    Agreement,
    check_limits,
    measure_agreement,
    measure_loss,
)
from keras_transfer.deployment.converting import PRECISIONS, convert, network_of
from keras_transfer.deployment.exported import (
    CLIENT,
    DESCRIPTION,
    FEATURES,
    MODELS,
    PACKAGES,
    load_exported,
)
from keras_transfer.evaluation.files import NOT_KNOWN, test_files
from keras_transfer.evaluation.statistics import PairedTest
from keras_transfer.runtime import atomic_files, paths
from keras_transfer.runtime.arguments import file_path, one_of
from keras_transfer.runtime.sampling import in_turn

# So many training photos tell the ranges of whole numbers.
CALIBRATED_ON = 200
# What an export writes, and what Python may leave beside its client.
WRITTEN = {DESCRIPTION, CLIENT, FEATURES, *MODELS.values(), "model.bin", "__pycache__"}
NO_PHOTOS = "not run, because no photos were given"
NO_TEST_PHOTOS = "not run, because the model was trained or validated on all photos"


@dataclasses.dataclass(frozen=True)
class Export:
    """Say what `export_classifier` wrote; prints as text.

    Attributes:
        path: The folder.
        format: `"onnx"`, `"litert"`, `"openvino"` or `"savedmodel"`.
        precision: `"float32"`, `"float16"` or `"int8"`.
        size: Bytes of the network's files.
        agreement: `Agreement` with the original.
    """

    path: pathlib.Path
    format: str
    precision: str
    size: int
    agreement: Agreement

    def __str__(self) -> str:
        return (
            f"{self.path}: {self.format}, {self.precision}, {self.size / 1e6:.1f} MB\n"
            f"{self.agreement}"
        )


def export_classifier(
    model: str | os.PathLike | Classifier,
    output: str | os.PathLike,
    format: str = "onnx",
    precision: str = "float32",
    photos: str | os.PathLike | None = None,
) -> Export:
    """Export a saved classifier into a folder that another runtime can use.

    The folder holds the network, `classifier.json`, which says what it is, and a
    `client.py` that predicts from photos with NumPy, Pillow and the runtime alone. It
    is kept only if its client says what the original says about 64 images, from their
    bytes: in float32, probabilities within 0.001, and the distance by which it tells
    "none of these"; in float16, the same class in 99 %; in `"int8"`, in 98 %. On the
    photos that the original was neither trained nor validated on, if there are any, a
    paired test must find no loss.

    Args:
        model: Path of a `.keras` file from `save_classifier`, or what `load_classifier`
            returns. Of mixed precision, its copy in float32 is exported.
        output: Path of the folder to write. An older export is replaced when the new
            one is whole; where anything else lies there, nothing is.
        format: `"onnx"`, `"litert"`, `"openvino"` or `"savedmodel"`. Defaults to
            `"onnx"`.
        precision: `"float32"`; but for `"savedmodel"`, also `"float16"`, of half the
            size, and `"int8"`, of a quarter of it, which is fitted to training photos.
            Defaults to `"float32"`.
        photos: Folder of photos, one subfolder a class, as `evaluate_files` takes it.
            `"int8"` needs it, with photos that the model was trained on. Defaults to
            none: images are drawn, and the paired test is not run.

    Returns:
        An `Export` with `path`, `size` in bytes and `agreement`.

    Raises:
        FileNotFoundError: If there is no such model or folder.
        FileExistsError: If something else than an export lies at `output`.
        ValueError: If an argument is wrong, what converts is not installed, or the
            model cannot be converted.
        RuntimeError: If the export does not agree with the original. It is not kept.

    Example:

    >>> import keras, keras_transfer as kt
    >>> model = keras.Sequential(
    ...     [
    ...         keras.Input((32, 32, 3)),
    ...         keras.layers.GlobalAveragePooling2D(),
    ...         keras.layers.Dense(2, "softmax"),
    ...     ]
    ... )
    >>> path = kt.save_classifier(model, "model.keras", ["cat", "dog"])
    >>> found = kt.export_classifier(path, "exported")
    >>> found.agreement.probability_difference < 0.001
    True
    """
    kind = one_of("format", format, MODELS)
    precision = one_of("precision", precision, PRECISIONS)
    if kind == "savedmodel" and precision != "float32":
        raise ValueError(
            "A savedmodel is exported in float32 only; of the other formats there are "
            f"smaller ones. Received: format={kind}, precision={precision}"
        )
    path, folder = _checked_output(output), None
    if photos is not None:
        folder = file_path("photos", photos)
    elif precision == "int8":
        raise ValueError(
            "int8 is fitted to photos that the model was trained on: pass their folder "
            f"as photos. Received: precision={precision}, photos={photos}"
        )
    classifier = model
    if not isinstance(model, Classifier):
        classifier = load_classifier(model_path("model", model))
    found = None
    if folder is not None:
        found = read_folder(folder, classifier.class_names, with_thumbnails=False)
        check_kept_outside(folder, found.splits)
        paths.outside_of(folder, "output", path)
    calibration = None
    if precision == "int8":
        calibration = _training_photos(classifier, found)
    network = network_of(classifier)
    with atomic_files.written_whole(path) as temporary:
        temporary.mkdir()
        convert(network, kind, precision, temporary, calibration)
        size = sum(x.stat().st_size for x in temporary.rglob("*") if x.is_file())
        described = _description(classifier, kind, precision)
        _write(temporary, classifier, described)
        photos = _photos(classifier, found)
        agreement = measure_agreement(classifier, temporary, photos.compared)
        check_limits(agreement, kind, precision)
        test, note = _loss(classifier, temporary, photos), photos.note
        agreement = dataclasses.replace(agreement, test=test, note=note)
        check_limits(agreement, kind, precision)
        _write(temporary, classifier, described | {"agreement": agreement.to_dict()})
    return Export(path, kind, precision, size, agreement)


def _checked_output(output: typing.Any) -> pathlib.Path:
    # Where a link leads to: what follows another link to it finds the new export too.
    path = file_path("output", output).resolve()
    names = {each.name for each in path.iterdir()} if path.is_dir() else set()
    others = sorted(names - WRITTEN)
    if others or (path.exists() and not path.is_dir()):
        raise FileExistsError(
            "Something else than an export lies at this path"
            f"{': ' + others[0] if others else ''}. Name a folder that is not there "
            f"yet, or move away what is no part of an export. Received: output={path}"
        )
    return path


def _training_photos(classifier: Classifier, folder: Folder) -> np.ndarray:
    """Return photos that the classifier was trained on, as many of each class."""
    known = known_photos(classifier)
    files = [
        file
        for file in folder.files
        if not file.problem and known.get(file.sha256) == "train"
    ]
    if not files:
        why = "None of these photos is one of them"
        if not known:
            why = "This model does not say which ones those were"
        raise ValueError(
            f"int8 is fitted to photos that the model was trained on. {why}. Train it "
            "with the train command, pass the folder that it was trained on, or take "
            f"float16. Received: photos={folder.path}"
        )
    chosen = in_turn(np.array([file.label for file in files]), CALIBRATED_ON)
    size = classifier.image_size
    return np.stack([decoding.load_pixels(files[i].path, size) for i in chosen])


def _description(classifier: Classifier, kind: str, precision: str) -> dict:
    details, detector = classifier.details or {}, classifier.unknown
    unknown = None
    if detector is not None:
        unknown = {
            "neighbors": detector.neighbors,
            "threshold": detector.threshold,
            "refused": detector.refused,
            "validation_images": detector.validation_images,
        }
    return {
        "format": kind,
        "precision": precision,
        "model": MODELS[kind],
        "class_names": list(classifier.class_names),
        "image_size": classifier.image_size,
        "resize_rule": decoding.RESIZE_RULE,
        "temperature": classifier.temperature,
        "unknown": unknown,
        "backbone": details.get("backbone"),
        "test": details.get("test"),
        "agreement": None,
        "versions": versions()
        | {PACKAGES[kind]: importlib.metadata.version(PACKAGES[kind])},
        "exported": today(),
    }


def _write(folder: pathlib.Path, classifier: Classifier, described: dict) -> None:
    text = json.dumps(described, indent=2, ensure_ascii=False)
    (folder / DESCRIPTION).write_text(text + "\n", encoding="utf-8")
    (folder / CLIENT).write_text(client_text(described["format"]), encoding="utf-8")
    if classifier.unknown is not None:
        np.save(folder / FEATURES, classifier.unknown.features)


def client_text(kind: str) -> str:
    """Return the client with the one runtime that it needs in place of an import."""
    runtime = importlib.import_module(f"keras_transfer.deployment.runtimes.{kind}")
    function = inspect.getsource(runtime.network).replace("\n\n", "\n")
    line = "from keras_transfer.deployment.runtimes.onnx import network\n"
    return inspect.getsource(client).replace(line, f"\n{function}")


class _Photos(typing.NamedTuple):
    """Say on which photos an export is compared with the original.

    Attributes:
        compared: Paths of those that are compared from their bytes.
        tested: Paths of those that the original was neither trained nor validated on.
        labels: Their labels, as the classifier counts them.
        note: Why there are none, or what must be known of them, or `""`.
    """

    compared: list[pathlib.Path]
    tested: list[pathlib.Path]
    labels: list[int]
    note: str


def _photos(classifier: Classifier, folder: Folder | None) -> _Photos:
    if folder is None:
        return _Photos([], [], [], NO_PHOTOS)
    files, _, _ = test_files(folder, classifier)
    tested = [file.path for file in files]
    numbers = labels_by_name(folder, classifier.class_names)
    labels = [numbers[file.label] for file in files]
    note = "" if known_photos(classifier) else NOT_KNOWN
    if not files:
        note = NO_TEST_PHOTOS
        files = [file for file in folder.files if is_readable(file)]
    chosen = in_turn(np.array([file.label for file in files]), COUNT)
    return _Photos([files[index].path for index in chosen], tested, labels, note)


def _loss(
    classifier: Classifier, folder: pathlib.Path, photos: _Photos
) -> PairedTest | None:
    if not photos.tested:
        return None
    exported = load_exported(folder)
    return measure_loss(classifier, exported, photos.tested, photos.labels)
