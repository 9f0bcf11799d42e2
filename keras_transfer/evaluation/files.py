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
from keras_transfer.data.photo_files import Folder, PhotoFile, read_folder
from keras_transfer.data.photo_folders import normalized
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
        calibrated: Whether the model keeps a temperature.
    """

    report: ClassificationReport | None
    saved_test: dict | None
    left_out: dict[str, int]
    notes: tuple[str, ...]
    calibrated: bool

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
        rows = [
            ("", "here", "saved test"),
            *(
                (label, show(here.get(key)), show(saved.get(key)))
                for label, key, show in (
                    ("photos", "images", _count),
                    ("accuracy", "accuracy", _percent),
                    ("95% interval", "accuracy_interval", _interval),
                    (f"log loss, {kind}", "log_loss", _number),
                    ("calibration error", "expected_calibration_error", _number),
                )
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
    labels = _labels_by_name(found, classifier)
    files, left_out, notes = _chosen(found, classifier)
    report = None
    if files:
        report, unread = _measured(classifier, files, labels)
        left_out[UNUSABLE] += unread
    if report is None:
        notes = [NOTHING, *notes]
    return FilesEvaluation(
        report=report,
        saved_test=(classifier.details or {}).get("test"),
        left_out={why: count for why, count in left_out.items() if count},
        notes=tuple(notes),
        calibrated=classifier.temperature is not None,
    )


def _labels_by_name(folder: Folder, classifier: Classifier) -> list[int]:
    """Return the label that the model gives each class of a folder."""
    known = {normalized(name): i for i, name in enumerate(classifier.class_names)}
    names = [*map(normalized, folder.class_names)]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(
            "Each subfolder must have the name of a class of the model: "
            f"{', '.join(classifier.class_names)}. Rename, or move away, the others. "
            f"Received: folder={folder.path} with {', '.join(unknown[:10])}"
        )
    return [known[name] for name in names]


def _chosen(
    folder: Folder, classifier: Classifier
) -> tuple[list[PhotoFile], collections.Counter, list[str]]:
    """Return the files to evaluate on, how many are not, by reason, and notes."""
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
    true, probabilities = [], []
    # Figures are the same on every machine.
    stream = classifier.predict_stream((x.path for x in files), dtype="float32")
    with progress_bar(len(files), "evaluate") as bar:
        for file, predicted in zip(files, stream, strict=True):
            bar.update()
            if predicted.error is None:
                true.append(labels[file.label])
                probabilities.append(predicted.probabilities)
    if not true:
        return None, len(files)
    report = measure(np.array(true), np.stack(probabilities), classifier.class_names)
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
