"""Checks of the data: augmentation, shared photos, the order of labels and answers."""

import typing

import numpy as np
from scipy.optimize import linear_sum_assignment

from keras_transfer.data import pipelines
from keras_transfer.data.near_duplicates import match
from keras_transfer.diagnosis.case import Case, Photos
from keras_transfer.diagnosis.evidence.weights import is_fresh
from keras_transfer.diagnosis.findings import Check, Finding, NotExaminedError
from keras_transfer.diagnosis.labels import whole_labels
from keras_transfer.evaluation.statistics import accuracy_interval
from keras_transfer.models import graph

# From this share of its photos on, a leak changes what a split says. Real data sets
# hold a few photos of one scene: tf_flowers 1 %.
LEAK = 0.02
SHOWN_PAIRS = 4
# What repairs labels below 0, such as -1 and 1, and too many labels for the outputs.
NUMBERED = """
train, validation, test = (  # labels are the whole numbers from 0 on
    dataset.map(lambda image, label: (image, (label + 1) // 2))
    for dataset in (train, validation, test)
)
"""
ONE_EACH = "model = kt.build_classifier(backbone, num_classes=len(splits.class_names))"
# A model that is right this often in another order of the classes has learnt them.
LEARNT, GAIN = 0.8, 0.2


def check_cached_augmentation(case: Case) -> list[Finding]:
    """Find augmentation before `cache()`, whose first result is kept for good."""
    dataset = case.dataset("train")
    kinds = [pipelines.kind(step) for step in pipelines.steps(dataset)]
    caches = [i for i, kind in enumerate(kinds) if kind in pipelines.CACHES]
    frozen = [
        step for step in case.random_maps("train") if caches and step.index < caches[-1]
    ]
    if not frozen:
        _seen(case, "train")
        return []
    change = max(step.change for step in frozen)
    return [
        Finding(
            "serious",
            "Augmentation before cache(), so it never varies",
            f"A step of the training pipeline makes other pixels of the same photo "
            f"each time it is called (by {change:.1%} of their range on average), and "
            "`cache()` after it keeps what the first epoch made.",
            "Every epoch sees the same photos. The model learns them by heart as "
            "without augmentation, and some of them only in their changed form.",
            """
train = train.cache()  # first what is always the same,
train = train.shuffle(1000).batch(32)
train = train.map(lambda x, y: (augmentation(x, training=True), y))  # then chance
""",
            {"change": change},
        )
    ]


def check_augmented_evaluation(case: Case) -> list[Finding]:
    """Find validation or test photos that are changed at random."""
    held_out = [split for split in ("validation", "test") if split in case.datasets]
    if not held_out:
        raise NotExaminedError("no validation or test split was given")
    changes = {
        split: max(step.change for step in case.random_maps(split))
        for split in held_out
        if case.random_maps(split)
    }
    if not changes:
        for split in held_out:
            _seen(case, split)
        return []
    return [
        Finding(
            "serious" if "test" in changes else "warning",
            "Photos for evaluation are augmented",
            "; ".join(
                f"the same {split} photo comes with other pixels each time (by "
                f"{change:.1%} of their range on average)"
                for split, change in changes.items()
            )
            + ".",
            "The result is that of changed photos, mostly too low, and another one "
            "each time. Epochs cannot be compared by it.",
            """
augment = lambda x, y: (augmentation(x, training=True), y)
model.fit(train.map(augment), validation_data=validation)  # the training part alone
""",
            changes,
        )
    ]


def _seen(case: Case, split: str) -> None:
    """Raise an error if what happens to images is out of sight."""
    if pipelines.made_in_python(case.dataset(split)):
        raise NotExaminedError(f"a Python generator makes the {split} images")


def check_leaks(case: Case) -> list[Finding]:
    """Find photos that are in the training split and in another one."""
    train = case.photos("train")
    findings, size = [], case.image_size
    for split in ("test", "validation"):
        if split not in case.datasets:
            continue
        photos = case.photos(split)
        found = match(train.prints, photos.prints)
        if found:
            findings.append(_leak(split, train, photos, found, size))
    if findings or len(case.datasets) > 1:
        return findings
    raise NotExaminedError("no other split than the training one was given")


class Shared(typing.NamedTuple):
    """Say which share of a split's photos another split holds as well.

    Attributes:
        share: That share, 0 to 1; an estimate where not all photos were looked at.
        low: Lower end of its 95 % interval; `share` where all were.
        high: Upper end.
        known: Whether all photos were looked at.
        text: What was found, without a full stop.
    """

    share: float
    low: float
    high: float
    known: bool
    text: str


def shared_photos(found: int, first: Photos, second: Photos, words: str) -> Shared:
    """Return which share of the second split is in the first one, too.

    Args:
        found: How many that were looked at are in both.
        first: Photos of the first split. Of those in both, as many were found as
            photos of the first split were looked at.
        second: Photos of the second split.
        words: What the photos found are, such as "test photos are among ... training
            photos", with places for two numbers.
    """
    count, share = len(second.images), found / len(second.images)
    text = words.format(f"{found:,} of {count:,}", f"{len(first.images):,}")
    if first.share == second.share == 1:
        return Shared(share, share, share, True, f"{text} ({share:.1%})")
    low, high = accuracy_interval(found, count)
    if first.share is None:
        # Of how many, nobody knows: there may be any number more.
        return Shared(share, low, 1.0, False, f"{text}, at least {low:.1%} of them")
    share, low, high = (min(1.0, x / first.share) for x in (share, low, high))
    return Shared(
        share,
        low,
        high,
        False,
        f"{text}. Not all photos were looked at, so this is an estimate: about "
        f"{share:.1%} are in both (95 % interval {low:.1%} to {high:.1%})",
    )


def _leak(split: str, train: Photos, photos: Photos, found, size: int) -> Finding:
    exact = sum(each.exact for each in found)
    words = f"{{}} {split} photos are among {{}} training photos"
    shared = shared_photos(len(found), train, photos, words)
    grave = "serious" if split == "test" else "warning"
    numbers = {"photos": len(found), "exact": exact, "share": shared.share}
    if not shared.known:
        numbers |= {"low": shared.low, "high": shared.high}
    return Finding(
        grave if shared.share >= LEAK else "note",
        f"The same photo in training and in {split}",
        f"{shared.text}: {exact} pixel for pixel, {len(found) - exact} nearly. "
        f"Accuracy there can be too high by at most {100 * shared.high:.1f} points.",
        "The model may have learnt these by heart. What it scores on them says nothing "
        "about new photos.",
        f"""
# Split once, by file, before anything is shuffled; keep series of one scene together.
splits = kt.load_directory("path/to/photos", image_size={size})  # skips exact copies
kt.verify.assert_disjoint_splits(splits)  # names pairs that are left
""",
        numbers,
        _side_by_side(train.images, photos.images, found[:SHOWN_PAIRS]),
    )


def _side_by_side(first: np.ndarray, second: np.ndarray, pairs) -> np.ndarray | None:
    # Of a large split they are kept smaller.
    larger = max(1, round(second.shape[1] / first.shape[1]))
    second = second[:, ::larger, ::larger]
    larger = max(1, round(first.shape[1] / second.shape[1]))
    first = first[:, ::larger, ::larger]
    columns = [
        np.concatenate([first[pair.first_index], second[pair.second_index]])
        for pair in pairs
        if first.shape[1:] == second.shape[1:]
    ]
    return np.concatenate(columns, axis=1) if columns else None


def check_label_order(case: Case) -> list[Finding]:
    """Find labels that are numbered in another order than the outputs."""
    split, classes = case.scored, case.num_classes
    outside = _without_output(case)
    if len(outside):
        return [_no_output(case, outside, classes)]
    labels, predicted = case.labels(split), case.predicted(split)
    head = graph.classifying_layer(case.model, case.units)
    if head is not None and is_fresh(head):
        raise NotExaminedError("a head that was never trained has no order")
    counts = np.zeros((classes, classes), int)
    np.add.at(counts, (labels, predicted), 1)
    true, taken = linear_sum_assignment(-counts)
    right, best = counts.trace() / len(labels), counts[true, taken].sum() / len(labels)
    moved = [(i, j) for i, j in zip(true, taken, strict=True) if i != j]
    moved = [(i, j) for i, j in moved if counts[i, j] > counts[i].sum() / 2]
    if not moved or best < LEARNT or best - right < GAIN:
        return []
    shown = [f"{case.name(i)} is answered as {case.name(j)}" for i, j in moved[:4]]
    return [
        Finding(
            "serious",
            "Labels in another order than the model's outputs",
            f"{right:.1%} of {len(labels):,} {split} photos are right as they are "
            f"numbered, {best:.1%} if the classes change places: {', '.join(shown)}.",
            "The model knows the classes and is marked wrong, because a number means "
            "one class in training and another one here.",
            f"""
splits = kt.load_directory("path/to/photos", image_size={case.image_size})  # one order
model = kt.build_classifier(backbone, num_classes=len(splits.class_names))
model = kt.fit_head(model, kt.extract_features(backbone, splits))
# In Keras, pass class_names=[...] to each image_dataset_from_directory.
""",
            {"accuracy": right, "accuracy_in_other_order": best},
        )
    ]


def _without_output(case: Case) -> np.ndarray:
    """Return the labels, each once, that are no number of a class."""
    sample = case.sample(case.scored)
    known = np.unique(sample.labels)
    if not whole_labels(sample.targets):
        known = np.unique(sample.targets)
        if case.units == 1 and known[0] >= 0 and known[-1] <= 1:
            return known[:0]  # Probabilities of the second class, as smoothing makes.
    elif case.signed:
        return known[:0]
    return known[(known < 0) | (known >= case.num_classes) | (known != np.round(known))]


def _no_output(case: Case, labels: np.ndarray, classes: int) -> Finding:
    shown = ", ".join(f"{label:g}" for label in labels[:4])
    others = f" and {len(labels) - 4} others" if len(labels) > 4 else ""
    return Finding(
        "serious",
        "Labels that the model has no output for",
        f"There {'is a label' if len(labels) == 1 else 'are the labels'} {shown}"
        f"{others}, and the outputs tell {classes} classes apart ({case.units} "
        f"{'unit' if case.units == 1 else 'units'}): 0 to {classes - 1}.",
        "Photos with these labels can never be right.",
        NUMBERED if labels[0] < 0 else ONE_EACH,
        {
            "lowest_label": float(labels[0]),
            "highest_label": float(labels[-1]),
            "classes": classes,
        },
    )


CHECKS = (
    Check(
        "augmentation before cache",
        check_cached_augmentation,
        "each step of the training pipeline, called several times on one photo",
        "What is done to images outside of tf.data.",
    ),
    Check(
        "augmentation at evaluation",
        check_augmented_evaluation,
        "each step of the validation and test pipelines, called several times",
        "What is done to images outside of tf.data.",
    ),
    Check(
        "photos in two splits",
        check_leaks,
        "all photos, up to 20,000 for training and 5,000 of each other split; of more, "
        "or where reading is slow, as many from all over the split",
        "Other photos of the same thing, and copies that were turned or much cropped.",
    ),
    Check(
        "label order",
        check_label_order,
        "which class is answered for each class of the labels",
        "Names that are wrong for the labels and for the outputs alike.",
    ),
)
