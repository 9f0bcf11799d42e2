"""`ClassificationReport`: how well a classifier does, to read, to show and to keep."""

import dataclasses
import html

import numpy as np

from keras_transfer.runtime.arguments import whole_number
from keras_transfer.runtime.tables import html_table, text_table

# A wider confusion matrix fits no terminal.
WIDEST_MATRIX = 12
CLASS_HEADER = {
    "class": "class",
    "images": "images",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "roc_auc": "ROC-AUC",
    "average_precision": "average precision",
}


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class ClassificationReport:
    """Hold what `evaluate_classifier` measured; prints as text, shows as tables.

    What is undefined is `None`: all figures of a class without images, and what ranks
    images (ROC-AUC, average precision) where there is only one class.

    Attributes:
        class_names: Tuple of names in the order of the model's outputs.
        labels: True integer labels of shape `(count,)`, in the order of the one pass
            over the data.
        probabilities: float32 array of shape `(count, num_classes)`, in the same order.
        accuracy: Share of right answers, 0 to 1.
        accuracy_interval: Its 95 % interval by Wilson, lowest and highest; wider where
            images belong together.
        classes: Tuple with one dict for each class: `class`, `images`, `precision`,
            `recall`, `f1`, `roc_auc` and `average_precision`, this class against the
            others. Precision and F1 of a class that was never predicted are 0.
        macro: Dict of `precision`, `recall` and `f1`, the mean over the classes that
            have images.
        roc_auc: Of the second class, if there are two; else the mean over the classes
            that have images, each against the others.
        mean_average_precision: The mean over the classes that have images.
        log_loss: Mean negative logarithm of the true class's probability.
        expected_calibration_error: Of 15 bins, as `kt.expected_calibration_error`.
        confusion_matrix: Array of shape `(num_classes, num_classes)`: in row `i` and
            column `j` the images of class `i` that were taken for class `j`.
        groups: The number of what each image belongs to, of shape `(count,)`, or `None`
            where that is not known.
    """

    class_names: tuple[str, ...]
    labels: np.ndarray
    probabilities: np.ndarray
    accuracy: float
    accuracy_interval: tuple[float, float]
    classes: tuple[dict, ...]
    macro: dict[str, float]
    roc_auc: float | None
    mean_average_precision: float | None
    log_loss: float
    expected_calibration_error: float
    confusion_matrix: np.ndarray
    groups: np.ndarray | None = None

    @property
    def num_groups(self) -> int | None:
        """How many groups the images are of; `None` where each one is alone."""
        if self.groups is None or len(np.unique(self.groups)) == len(self.labels):
            return None
        return len(np.unique(self.groups))

    @property
    def predicted(self) -> np.ndarray:
        """The predicted integer labels, of shape `(count,)`."""
        return self.probabilities.argmax(axis=1)

    def mistakes(self, count: int = 10) -> list[dict]:
        """Return the mistakes that the classifier was most sure of.

        Args:
            count: How many at most. Defaults to `10`.

        Returns:
            One dict for each: `index` (position of the image in the pass over the
            data, from 0), `true` and `predicted` (class names) and `probability` (of
            the predicted class), the surest first.
        """
        count = whole_number("count", count, least=0)
        predicted, surest = self.predicted, self.probabilities.max(axis=1)
        wrong = np.flatnonzero(predicted != self.labels)
        wrong = wrong[np.argsort(-surest[wrong], kind="stable")][:count]
        return [
            {
                "index": int(i),
                "true": self.class_names[self.labels[i]],
                "predicted": self.class_names[predicted[i]],
                "probability": float(surest[i]),
            }
            for i in wrong
        ]

    def to_dict(self) -> dict:
        """Return all figures as plain values for JSON.

        Labels and probabilities of the single images are left out; of the mistakes,
        the ten surest are there.
        """
        figures = {
            field.name: getattr(self, field.name) for field in dataclasses.fields(self)
        }
        del figures["labels"], figures["probabilities"]
        return figures | {
            "class_names": list(self.class_names),
            "images": len(self.labels),
            "groups": self.num_groups,
            "accuracy_interval": list(self.accuracy_interval),
            "classes": [dict(row) for row in self.classes],
            "macro": dict(self.macro),
            "confusion_matrix": self.confusion_matrix.tolist(),
            "mistakes": self.mistakes(),
        }

    def __str__(self) -> str:
        tables = [text_table(rows, words) for rows, words in self._tables()]
        return "\n\n".join([*tables, "\n".join(self._notes())])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        tables = [html_table(rows) for rows, _ in self._tables()]
        notes = [f"<small>{html.escape(note)}</small>" for note in self._notes()]
        return "".join(tables) + "<br>".join(notes)

    def _tables(self) -> list[tuple[list, tuple]]:
        """Return the cells of each table, and its columns of words."""
        tables = [(self._overall(), (0,)), (self._by_class(), (0,))]
        if len(self.class_names) <= WIDEST_MATRIX:
            header = ["true, predicted as", *self.class_names]
            counts = zip(self.class_names, self.confusion_matrix, strict=True)
            rows = [[name, *map(str, row)] for name, row in counts]
            tables.append(([header, *rows], (0,)))
        rows = [
            [str(m["index"]), m["true"], m["predicted"], _cell(m["probability"])]
            for m in self.mistakes()
        ]
        if rows:
            header = ["mistake at", "true", "predicted", "probability"]
            tables.append(([header, *rows], (1, 2)))
        return tables

    def _overall(self) -> list:
        low, high = self.accuracy_interval
        images = f"{len(self.labels):,}"
        if self.num_groups:
            images += f" of {self.num_groups:,} groups"
        area = "ROC-AUC" if len(self.class_names) == 2 else "ROC-AUC, one-vs-rest"
        return [
            ("metric", "value"),
            ("images", images),
            ("accuracy", f"{self.accuracy:.1%}"),
            ("95% interval", f"{low:.1%} to {high:.1%}"),
            (area, _cell(self.roc_auc)),
            ("mean average precision", _cell(self.mean_average_precision)),
            ("log loss", _cell(self.log_loss)),
            ("expected calibration error", _cell(self.expected_calibration_error)),
        ]

    def _by_class(self) -> list:
        mean = self.macro | {
            "class": "mean",
            "images": len(self.labels),
            "roc_auc": self.roc_auc,
            "average_precision": self.mean_average_precision,
        }
        rows = [[_cell(row[key]) for key in CLASS_HEADER] for row in self.classes]
        return [
            list(CLASS_HEADER.values()),
            *rows,
            [_cell(mean[key]) for key in CLASS_HEADER],
        ]

    def _notes(self) -> list[str]:
        present = sum(row["images"] > 0 for row in self.classes)
        notes = [f"mean: over the {present} classes that have images here (macro)."]
        if present == 1:
            notes = ["All images are of one class: nothing can be ranked."]
        if len(self.class_names) > WIDEST_MATRIX:
            notes.append(
                "Confusion matrix: plots.show_confusion_matrix(report.labels, "
                "report.predicted, report.class_names)."
            )
        if not np.array_equal(self.predicted, self.labels):
            notes.append(
                "mistake at: position in this pass; if the data set shuffles, another "
                "image is there in the next."
            )
        return notes


def _cell(value: str | float | None) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) else value
