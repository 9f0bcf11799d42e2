"""Evaluate a saved classifier on a folder of photos that it was not trained on."""

import collections
import dataclasses
import html
import os
import typing

import numpy as np

from keras_transfer.classifier.model_files import model_path
from keras_transfer.classifier.saved import (
    Classifier,
    known_photos,
    left_out_photos,
    load_classifier,
)
from keras_transfer.data.photo_files import (
    Folder,
    PhotoFile,
    labels_by_name,
    read_folder,
)
from keras_transfer.data.photo_folders import check_kept_outside
from keras_transfer.evaluation.evaluate import measure
from keras_transfer.evaluation.report import ClassificationReport
from keras_transfer.runtime.arguments import file_path
from keras_transfer.runtime.progress import progress_bar
from keras_transfer.runtime.tables import html_table, text_table

NOT_KNOWN = (
    "This model does not say which photos it was trained on. If any of them are here, "
    "the figures are too good."
)
APART = "nearly the same as a photo of the test, or of its group"
UNUSABLE = "unreadable, copied or in two classes"
NEAR = "Left out are the same files only: copies in another size or format are not."
INDEPENDENT = (
    "The interval here takes each photo for one of its own, and is too narrow where "
    "photos belong together; the saved one counts groups."
)
OTHER = (
    "The saved test does not say that it was calibrated as the model is, so its log "
    "loss and calibration error are left out: save what kt.kept_figures(report, "
    "temperature) returns."
)
NOTHING = (
    "Nothing is left to evaluate on. Take photos that the model was not trained on; "
    "how it did on its own test photos is saved with it."
)


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class FilesEvaluation:
    """Hold what `evaluate_files` measured; prints as text, shows as tables.

    Attributes:
        report: `ClassificationReport` of the photos that are left, with the saved
            temperature applied; `None` where none is left.
        saved_test: Figures of the test that were saved with the model, or `None`.
        left_out: Dict of how many photos were left out, by the reason.
        notes: Tuple of sentences that a reader of the figures must know.
        temperature: What the model keeps to calibrate by, or `None`.
    """

    report: ClassificationReport | None
    saved_test: dict | None
    left_out: dict[str, int]
    notes: tuple[str, ...]
    temperature: float | None

    @property
    def calibrated(self) -> bool:
        """Whether the model keeps a temperature."""
        return self.temperature is not None

    def to_dict(self) -> dict:
        """Return all of it as plain values for JSON."""
        return {
            "report": self.report.to_dict() if self.report else None,
            "saved_test": self.saved_test,
            "left_out": dict(self.left_out),
            "notes": list(self.notes),
            "calibrated": self.calibrated,
        }

    def __str__(self) -> str:
        parts = [text_table(self._rows()), "\n".join(self.notes)]
        if self.report:
            parts.append(str(self.report))
        return "\n\n".join(filter(None, parts))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        notes = "".join(f"<p>{html.escape(note)}</p>" for note in self.notes)
        report = self.report._repr_html_() if self.report else ""
        return html_table(self._rows()) + notes + report

    def _rows(self) -> list[tuple[str, str, str]]:
        """Return the figures of here and of the test that was saved, side by side."""
        here = self.report.to_dict() if self.report else {}
        saved = self.saved_test or {}
        kind = "calibrated" if self.calibrated else "not calibrated"
        # Of figures that were made with another temperature nothing is to be learnt.
        alike = saved if saved.get("temperature") == self.temperature else {}
        rows = [
            ("", "here", "saved test"),
            *(
                (label, show(here.get(key)), show(beside.get(key)))
                for label, key, show, beside in (
                    ("photos", "images", _count, saved),
                    ("groups of photos", "groups", _count, saved),
                    ("accuracy", "accuracy", _percent, saved),
                    ("95% interval", "accuracy_interval", _interval, saved),
                    (f"log loss, {kind}", "log_loss", _number, alike),
                    ("calibration error", "expected_calibration_error", _number, alike),
                )
                if key != "groups" or here.get(key) or saved.get(key)
            ),
        ]
        out = [(f"left out: {why}", _count(n), "") for why, n in self.left_out.items()]
        return rows + out


def evaluate_files(
    model: str | os.PathLike | Classifier, folder: str | os.PathLike
) -> FilesEvaluation:
    """Evaluate a saved classifier on a folder of photos.

    Photos that the model was trained or validated on, by the checksums that it keeps,
    are left out: of them a model knows the answers. So are those that were kept out as
    near copies of photos in another split: they would count twice. All others count,
    whichever splits the folder has. Where the model keeps no checksums, only the test
    split counts, if there is one. Classes are those of the model by their names; some
    may be missing.

    Args:
        model: Path of a `.keras` file from `save_classifier`, or what
            `load_classifier` returns.
        folder: Folder of photos, one subfolder a class, also inside of splits.

    Returns:
        A `FilesEvaluation` with `report`, `saved_test`, `left_out` and `to_dict()`.

    Raises:
        FileNotFoundError: If there is no such model or folder.
        ValueError: If the model cannot be loaded, or the folder has a class that is
            none of the model's.

    Example:

    >>> import keras_transfer as kt
    >>> found = kt.evaluate_files("pets.keras", "photos")  # doctest: +SKIP
    >>> found.left_out  # doctest: +SKIP
    {'trained on': 1051, 'validated on': 225}
    """
    classifier = model
    if not isinstance(model, Classifier):
        classifier = load_classifier(model_path("model", model))
    path = file_path("folder", folder)
    found = read_folder(path, classifier.class_names, with_thumbnails=False)
    check_kept_outside(path, found.splits)
    labels = labels_by_name(found, classifier.class_names)
    files, left_out, notes = test_files(found, classifier)
    report = None
    if files:
        report, unread = _measured(classifier, files, labels)
        left_out[UNUSABLE] += unread
    if report is None:
        notes = [NOTHING, *notes]
    saved = (classifier.details or {}).get("test")
    if saved and saved.get("temperature") != classifier.temperature:
        notes.append(OTHER)
    if report is not None and (saved or {}).get("groups"):
        notes.append(INDEPENDENT)
    return FilesEvaluation(
        report=report,
        saved_test=saved,
        left_out={why: count for why, count in left_out.items() if count},
        notes=tuple(notes),
        temperature=classifier.temperature,
    )


def test_files(
    folder: Folder, classifier: Classifier
) -> tuple[list[PhotoFile], collections.Counter, list[str]]:
    """Return the files to evaluate a classifier on, and why others are not.

    Returns:
        The files, how many are left out by reason, and notes on both.
    """
    known, apart = known_photos(classifier), left_out_photos(classifier)
    chosen = []
    only_test = not known and "test" in folder.splits
    left_out = collections.Counter()
    for file in folder.files:
        split = known.get(file.sha256)
        if file.problem:  # Of a copy, the other one counts.
            left_out[UNUSABLE] += 1
        elif split is not None:
            left_out["trained on" if split == "train" else "validated on"] += 1
        elif file.sha256 in apart:
            left_out[APART] += 1
        elif only_test and file.split != "test":
            left_out[f"in {file.split}"] += 1
        else:
            chosen.append(file)
    notes = [NEAR] if left_out["trained on"] + left_out["validated on"] else []
    if folder.splits and known:
        notes.append(
            f"The folder has splits ({', '.join(folder.splits)}): all of them count, "
            "but for the photos that are left out."
        )
    if not known:
        notes.append(NOT_KNOWN)
    return chosen, left_out, notes


def _measured(
    classifier: Classifier, files: list[PhotoFile], labels: list[int]
) -> tuple[ClassificationReport | None, int]:
    """Return the report of some files, and how many of them could not be read."""
    true, probabilities, groups = [], [], []
    # Figures are the same on every machine.
    stream = classifier.predict_stream((x.path for x in files), dtype="float32")
    with progress_bar(len(files), "evaluate") as bar:
        for file, predicted in zip(files, stream, strict=True):
            bar.update()
            if predicted.error is None:
                true.append(labels[file.label])
                groups.append(file.group)
                probabilities.append(predicted.probabilities)
    if not true:
        return None, len(files)
    report = measure(
        np.array(true), np.stack(probabilities), classifier.class_names, groups
    )
    return report, len(files) - len(true)


def _percent(value: typing.Any) -> str:
    return f"{value:.1%}" if isinstance(value, int | float) else "-"


def _number(value: typing.Any) -> str:
    return f"{value:.3f}" if isinstance(value, int | float) else "-"


def _count(value: typing.Any) -> str:
    return f"{value:,}" if isinstance(value, int) else "-"


def _interval(value: typing.Any) -> str:
    if not isinstance(value, list | tuple) or len(value) != 2:
        return "-"
    return " to ".join(map(_percent, value))
