"""A page about a trained classifier: how good it is, and what that rests on."""

import collections
import datetime
import importlib.metadata
import os
import pathlib
import platform
import typing
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np

from keras_transfer import plots
from keras_transfer.classifier.unknown import refusals
from keras_transfer.data.decoding import load_image
from keras_transfer.data.photo_folders import printable
from keras_transfer.evaluation.report import ClassificationReport
from keras_transfer.evaluation.statistics import grouped_accuracy_interval
from keras_transfer.explanation.grad_cam import grad_cam
from keras_transfer.plots.images import overlay
from keras_transfer.runtime.arguments import file_path, reason
from keras_transfer.workflow.pages import drawing, photo, picture, write_page
from keras_transfer.workflow.trained import TrainedClassifier

SPLITS = ("train", "validation", "test")
# Of more classes only the rarest, or the worst, are shown at once.
MANY_CLASSES = 30
FEW = 15
# Of fewer test photos of a class, a share says next to nothing.
FEWEST_IMAGES = 10
# A wider table of all confusions cannot be taken in.
WIDEST_MATRIX = 20
SAMPLES, MISTAKES, EXPLAINED, SKIPPED = 24, 12, 4, 50


def write_report(trained: TrainedClassifier, path: str | os.PathLike) -> pathlib.Path:
    """Write one page about a trained classifier that needs nothing but a browser.

    Photos are within the page as small thumbnails: do not publish it where the photos
    must not be.

    Args:
        trained: `TrainedClassifier` from `train_classifier`.
        path: Where to write, such as `"report.html"`. An older file is replaced only
            when the new one is whole.

    Returns:
        The path.

    Raises:
        ValueError: If the path is none.
        OSError: If nothing can be written there.
    """
    path = file_path("path", path)
    splits, test = trained.splits, trained.test
    names = [printable(name) for name in test.class_names]
    wrong = test.mistakes(len(test.labels))
    return write_page(
        "report.html.j2",
        path,
        trained=trained,
        test=test,
        names=names,
        date=datetime.datetime.now().astimezone().strftime("%d %B %Y, %H:%M"),
        duration=_duration(sum(trained.seconds.values())),
        answer=_answer(test, names),
        classes=_rows_of_classes(test, names),
        balance=_balance(splits, names),
        samples=_samples(splits, names),
        curves=_curves(trained.history),
        matrix=_matrix(test),
        pairs=_confused(test, names),
        wrong=len(wrong),
        mistakes=[_mistake(splits, each) for each in wrong[:MISTAKES]],
        explained=_explained(trained, wrong),
        calibration=_calibration(trained),
        unknown=_unknown(trained),
        picture=picture,
        skipped=splits.skipped[:SKIPPED],
        reasons=_reasons(splits.skipped),
        settings=_settings(trained.settings),
        seconds={name: _duration(value) for name, value in trained.seconds.items()},
        versions=_versions(),
    )


def _answer(test: ClassificationReport, names: Sequence[str]) -> dict:
    """Return what the first lines say: the accuracy, and what it means."""
    count, right = len(test.labels), int((test.predicted == test.labels).sum())
    common = np.bincount(test.labels, minlength=len(names))
    low, high = test.accuracy_interval
    found = [row for row in test.classes if row["images"] >= FEWEST_IMAGES]
    weakest = min(found, key=lambda row: row["recall"], default=None)
    return {
        "count": count,
        "groups": test.num_groups,
        "right": right,
        "low": low,
        "high": high,
        # One wrong answer in so many.
        "one_in": round(count / (count - right)) if right < count else None,
        "common": names[common.argmax()],
        "chance": common.max() / count,
        "no_better": low <= common.max() / count,
        "wide": high - low > 0.1,
        "weakest": weakest if found and weakest["recall"] < test.accuracy else None,
    }


def _rows_of_classes(test: ClassificationReport, names: Sequence[str]) -> dict:
    """Return the figures of each class, and the worst ones where there are many."""
    rows = []
    groups = np.arange(len(test.labels)) if test.groups is None else test.groups
    for label, (name, row) in enumerate(zip(names, test.classes, strict=True)):
        found, chosen = int(test.confusion_matrix[label, label]), test.labels == label
        interval = None
        if chosen.any():
            hits = test.predicted[chosen] == label
            interval = grouped_accuracy_interval(hits, groups[chosen])
        rows.append(row | {"class": name, "found": found, "interval": interval})
    worst = []
    if len(rows) > MANY_CLASSES:
        tested = [row for row in rows if row["images"]]
        worst = sorted(tested, key=lambda row: row["f1"])[:FEW]
    return {"all": rows, "worst": worst}


def _balance(splits, names: Sequence[str]) -> dict:
    """Return how many photos each class has in each split."""
    labels = [[file.label for file in splits.photos[split]] for split in SPLITS]
    counts = np.stack([np.bincount(each, minlength=len(names)) for each in labels], 1)
    totals = counts.sum(axis=1)
    rows = [
        {
            "class": name,
            "counts": row.tolist(),
            "total": int(total),
            "share": total / totals.max(),
        }
        for name, row, total in zip(names, counts, totals, strict=True)
    ]
    rarest = []
    if len(rows) > MANY_CLASSES:
        rarest = sorted(rows, key=lambda row: row["total"])[:FEW]
    return {
        "all": rows,
        "rarest": rarest,
        "totals": [*counts.sum(axis=0).tolist(), int(totals.sum())],
    }


def _samples(splits, names: Sequence[str]) -> list[dict]:
    """Return some training photos, as many of each class."""
    by_class = collections.defaultdict(list)
    for file in splits.photos["train"]:
        by_class[file.label].append(file)
    labels = sorted(by_class)
    each = max(1, min(6, SAMPLES // len(labels)))
    # Of very many classes, some from the first to the last.
    labels = [labels[i] for i in _spread(len(labels), SAMPLES)]
    return [
        {"class": names[label], "picture": photo(file), "path": file.path.name}
        for label in labels
        for file in (by_class[label][i] for i in _spread(len(by_class[label]), each))
    ]


def _spread(count: int, most: int) -> list[int]:
    """Return at most so many positions, at equal distances."""
    return [i * count // min(count, most) for i in range(min(count, most))]


def _curves(history: Mapping[str, Sequence]) -> list[dict]:
    """Return loss and accuracy, each as a figure of its own that fits a phone."""
    drawn = []
    for metric in ("loss", "accuracy"):
        lines = {"training": metric, "validation": f"val_{metric}"}
        last = [
            f"{name} {float(history[key][-1]):.3f}"
            for name, key in lines.items()
            if len(history.get(key, ()))
        ]
        if not last:
            continue
        figure = plots.show_training_history(history, title="")
        axes, other = figure.axes if metric == "loss" else figure.axes[::-1]
        other.remove()
        axes.set_subplotspec(figure.add_gridspec(1, 1)[0])
        axes.legend(frameon=False)
        figure.set_size_inches(4, 3)
        alt = f"{metric} in each epoch; at the end {' and '.join(last)}"
        drawn.append({"picture": drawing(figure), "alt": alt})
    return drawn


def _matrix(test: ClassificationReport) -> list[list[dict]] | None:
    """Return the confusion matrix with the colour of each cell, if it is small."""
    if len(test.class_names) > WIDEST_MATRIX:
        return None
    totals = test.confusion_matrix.sum(axis=1, keepdims=True)
    shares = test.confusion_matrix / np.maximum(1, totals)
    return [
        [
            {
                "count": int(test.confusion_matrix[true, named]),
                "share": float(shares[true, named]),
                "right": true == named,
            }
            for named in range(len(totals))
        ]
        for true in range(len(totals))
    ]


def _confused(test: ClassificationReport, names: Sequence[str]) -> list[dict]:
    """Return which class was taken for which other one, the most frequent first."""
    counts = test.confusion_matrix.copy()
    totals = counts.sum(axis=1)
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")
    # A small matrix shows them all.
    most = FEW if len(names) > WIDEST_MATRIX else 6
    return [
        {
            "true": names[i],
            "predicted": names[j],
            "count": int(counts[i, j]),
            "share": counts[i, j] / totals[i],
        }
        for i, j in zip(*np.unravel_index(order[:most], counts.shape), strict=True)
        if counts[i, j]
    ]


def _mistake(splits, found: dict) -> dict:
    file = splits.photos["test"][found["index"]]
    return found | {"picture": photo(file), "path": _shown_path(file.path)}


def _shown_path(path: pathlib.Path) -> str:
    """Return the name of a photo with its class folder."""
    return printable("/".join(path.parts[-2:]))


def _explained(trained: TrainedClassifier, wrong: list[dict]) -> dict:
    """Return what the model looked at, for some wrong answers and some right ones."""
    test, splits = trained.test, trained.splits
    chosen = [mistake["index"] for mistake in wrong[:EXPLAINED]] + _surest_right(test)
    images, shown = [], []
    for index in chosen:
        path = splits.photos["test"][index].path
        try:
            images.append(load_image(path, trained.classifier.image_size))
            shown.append((index, path))
        except (OSError, ValueError):  # Moved or changed since.
            continue
    if not images:
        return {"cards": [], "problem": "None of the photos can be read any more."}
    predicted = [int(test.predicted[index]) for index, _ in shown]
    try:
        maps = grad_cam(trained.classifier.model, np.stack(images), predicted)
    except ValueError as error:  # A network without a feature map of its own.
        return {"cards": [], "problem": f"{reason(error)}."}
    return {
        "problem": None,
        "cards": [
            {
                "picture": picture(image),
                "overlay": picture(overlay(image, heat)),
                "true": test.class_names[test.labels[index]],
                "predicted": test.class_names[label],
                "probability": float(test.probabilities[index, label]),
                "path": _shown_path(path),
                "nothing": not heat.any(),
                "right": label == test.labels[index],
                "wrong": label != test.labels[index],
            }
            for image, heat, label, (index, path) in zip(
                images, maps, predicted, shown, strict=True
            )
        ],
    }


def _surest_right(test: ClassificationReport) -> list[int]:
    """Return where the surest right answers are, of different classes first."""
    surest = np.argsort(-test.probabilities.max(axis=1), kind="stable")
    ranks, ranked = collections.Counter(), []
    for index in surest[test.predicted[surest] == test.labels[surest]].tolist():
        label = int(test.labels[index])
        ranked.append((ranks[label], index))
        ranks[label] += 1
    # Sorted by rank alone: of one rank, the surest stays the first.
    return [index for _, index in sorted(ranked, key=lambda each: each[0])][:EXPLAINED]


def _calibration(trained: TrainedClassifier) -> dict:
    """Return how sure the answers are and how often right, before and after."""
    before, after = trained.uncalibrated, trained.test
    cards = []
    shown = {"before calibration": before, "after calibration": after}
    if trained.temperature is None:
        shown = {"not calibrated": after}
    for title, report in shown.items():
        figure, axes = plt.subplots(figsize=(4, 4.4), layout="constrained")
        plots.show_reliability_diagram(
            report.labels, report.probabilities, title="", axes=axes
        )
        legend = axes.get_legend()
        for words in (*legend.get_texts(), legend.get_title()):
            words.set_fontsize(9.5)
        legend.set_bbox_to_anchor((0.5, -0.14))
        error = report.expected_calibration_error
        cards.append(
            {
                "picture": drawing(figure),
                "title": title,
                "confidence": float(report.probabilities.max(axis=1).mean()),
                "error": error,
                "log_loss": report.log_loss,
            }
        )
    return {"cards": cards, "temperature": trained.temperature}


def _unknown(trained: TrainedClassifier) -> dict:
    """Return when "none of these" is answered, and for how many that belong here."""
    detector = trained.classifier.unknown
    return {
        "threshold": detector.threshold,
        "nearest": _ordinal(detector.neighbors),
        "images": detector.validation_images,
        "refused": refusals(detector.validation_images, detector.refused),
        "allowed": detector.refused,
        "promised": detector.promised,
    }


def _ordinal(number: int) -> str:
    """Return a number in words of order: 1st, 2nd, 3rd, 4th, ..., 11th, ..., 21st."""
    endings = {1: "st", 2: "nd", 3: "rd"}
    teens = number % 100 in (11, 12, 13)
    return f"{number}{'th' if teens else endings.get(number % 10, 'th')}"


def _reasons(skipped: Sequence) -> list[tuple[str, int]]:
    """Return how many files were left out for each kind of reason."""
    # Without the name of another photo, which some reasons have.
    kinds = collections.Counter(each.kind or each.reason for each in skipped)
    return kinds.most_common(8)


def _settings(settings: Mapping[str, typing.Any]) -> list[tuple[str, str]]:
    words = {"None": "–", "True": "yes", "False": "no"}
    return [
        (name.replace("_", " "), words.get(str(value), str(value)))
        for name, value in settings.items()
    ]


def _versions() -> dict[str, str]:
    names = ("keras-transfer", "keras", "tensorflow", "numpy", "pillow")
    versions = {"Python": platform.python_version()}
    for name in names:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _duration(seconds: float) -> str:
    """Return seconds as people say them."""
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 1 else "under 1 s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
