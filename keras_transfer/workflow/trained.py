"""`TrainedClassifier`: what a training made, and all that a report shows of it."""

import dataclasses
import pathlib
import typing

from keras_transfer.classifier.saved import Classifier
from keras_transfer.data.splits import Splits
from keras_transfer.diagnosis.findings import Diagnosis
from keras_transfer.evaluation.report import ClassificationReport


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class TrainedClassifier:
    """Hold what `train_classifier` made, and all that a report needs to show it.

    Attributes:
        classifier: The `Classifier`, as it is saved.
        splits: The `Splits` of the folder; `splits.photos` names the files.
        test: `ClassificationReport` of the test photos, in stored order, with
            calibrated probabilities.
        uncalibrated: The same photos before calibration.
        validation: The same of the validation photos, calibrated on these.
        history: Dict of lists, one entry an epoch; `"stage"` names its stage, `"head"`
            or `"fine-tuning"`.
        diagnosis: What `diagnose` found.
        temperature: What the logits are divided by, or `None` if nothing could be
            calibrated.
        path: Where it was saved, or `None`.
        command: What makes it again: as it is typed, or as Python where the command
            line has no words for it.
        settings: Arguments by name.
        seconds: Seconds of each stage, by its name.
        notes: What was skipped, and why.
    """

    classifier: Classifier
    splits: Splits
    test: ClassificationReport
    uncalibrated: ClassificationReport
    validation: ClassificationReport
    history: dict[str, list]
    diagnosis: Diagnosis
    temperature: float | None
    path: pathlib.Path | None
    command: str
    settings: dict[str, typing.Any]
    seconds: dict[str, float]
    notes: tuple[str, ...]

    def __str__(self) -> str:
        low, high = self.test.accuracy_interval
        photos = f"{len(self.test.labels):,} test photos"
        if self.test.num_groups:
            photos += f" of {self.test.num_groups:,} groups"
        lines = [
            f"Accuracy: {self.test.accuracy:.1%} ({low:.1%} to {high:.1%}) on {photos} "
            "that no choice saw",
            f"Confidence: {self._confidence()}",
            str(self.classifier.unknown),
            *self.notes,
        ]
        if self.path:
            lines.append(f"Saved: {self.path}")
        return "\n".join(lines)

    __repr__ = __str__

    def _confidence(self) -> str:
        before, after = (
            f"{report.probabilities.max(axis=1).mean():.1%}"
            for report in (self.uncalibrated, self.test)
        )
        if self.temperature is None:
            return f"{after} on average, not calibrated"
        return (
            f"{after} on average, calibrated with temperature {self.temperature:.2f} "
            f"(before: {before})"
        )
