"""The table of backbones: what is published of each, and what was measured here."""

import dataclasses
import html

from keras_transfer.backbones.measured import measurements
from keras_transfer.backbones.registry import ARCHITECTURES, Architecture
from keras_transfer.runtime.tables import html_table, text_table

HEADER = ("backbone", "parameters", "weights", "image size", "ImageNet")
# Bytes of a weight in float32.
WEIGHT_SIZE = 4


@dataclasses.dataclass(frozen=True, repr=False)
class Backbones:
    """Hold one row for each backbone; prints as text, shows as a table in a notebook.

    Attributes:
        rows: Tuple of dicts with `backbone`, `parameters` (without the classifier),
            `megabytes` (of these in float32), `image_size` (that of its training, in
            pixels), `imagenet` (published accuracy, 0 to 1, or `None`),
            `imagenet_source`, `good_for`, `paper`, and `measured` (tuple of dicts, one
            for each measurement by `python -m keras_transfer backbones`).
    """

    rows: tuple[dict, ...]

    def __str__(self) -> str:
        return "\n".join([text_table(self._table()), *self._notes()])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        notes = "<br>".join(map(html.escape, self._notes()))
        return f"{html_table(self._table())}<p>{notes}</p>"

    def _table(self) -> list[tuple[str, ...]]:
        datasets = _datasets(self.rows)
        return [
            (*HEADER, *datasets),
            *(
                (*_cells(row), *(_best(row, each) for each in datasets))
                for row in self.rows
            ),
        ]

    def _notes(self) -> list[str]:
        sources: dict[str, list[str]] = {}
        for row in self.rows:
            if row["imagenet"] is not None:
                sources.setdefault(row["imagenet_source"], []).append(row["backbone"])
        notes = [
            "ImageNet: published top-1 accuracy with the network's own classifier, "
            "by "
            + "; ".join(
                f"{source} ({', '.join(names)})" for source, names in sources.items()
            )
            + "."
        ]
        photos = {
            each["dataset"]: each["photos"]
            for row in self.rows
            for each in row["measured"]
        }
        if photos:
            named = [f"{name} ({count:,} photos)" for name, count in photos.items()]
            notes.append(
                f"{', '.join(named)}: 5-fold cross-validated accuracy of a logistic "
                "regression on frozen features, measured by `python -m keras_transfer "
                "backbones`."
            )
        return notes


def backbones() -> Backbones:
    """List all backbones with their size, their accuracy, and what was measured here.

    Returns:
        A `Backbones`, which prints as a table; its `rows` are dicts.

    Example:

    >>> import keras_transfer as kt
    >>> [row["parameters"] for row in kt.backbones().rows if row["backbone"] == "vgg16"]
    [14714688]
    """
    measured = measurements()
    return Backbones(
        tuple(_row(name, entry, measured) for name, entry in ARCHITECTURES.items())
    )


def _row(name: str, entry: Architecture, measured: list[dict]) -> dict:
    accuracy, source = entry.accuracy or (None, None)
    return {
        "backbone": name,
        "parameters": entry.parameters,
        "megabytes": WEIGHT_SIZE * entry.parameters / 1e6,
        "image_size": entry.image_size,
        "imagenet": accuracy,
        "imagenet_source": source,
        "good_for": entry.good_for,
        "paper": entry.paper,
        "measured": tuple(each for each in measured if each["backbone"] == name),
    }


def _datasets(rows: tuple[dict, ...]) -> list[str]:
    return sorted({each["dataset"] for row in rows for each in row["measured"]})


def _cells(row: dict) -> tuple[str, ...]:
    accuracy = row["imagenet"]
    return (
        row["backbone"],
        f"{row['parameters']:,}",
        f"{row['megabytes']:.0f} MB",
        f"{row['image_size']} px",
        "" if accuracy is None else f"{accuracy:.1%}",
    )


def _best(row: dict, dataset: str) -> str:
    found = [each for each in row["measured"] if each["dataset"] == dataset]
    if not found:
        return ""
    best = max(found, key=lambda each: each["accuracy"])
    return f"{best['accuracy']:.1%} at {best['image_size']} px"
