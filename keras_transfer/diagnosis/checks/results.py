"""Checks of a result: whether accuracy means what it seems to mean."""

import keras
import numpy as np
from scipy.stats import binomtest, chi2_contingency

from keras_transfer.data.near_duplicates import match
from keras_transfer.diagnosis.case import Case
from keras_transfer.diagnosis.checks.data import LEAK, Shared, shared_photos
from keras_transfer.diagnosis.findings import Check, Finding, NotExaminedError
from keras_transfer.diagnosis.labels import restored
from keras_transfer.evaluation.statistics import accuracy_interval
from keras_transfer.models.outputs import as_array, class_scores, only_output

# The most common class of at least this share makes a data set unbalanced, in units of
# what each class would have if they were equal.
UNBALANCED = 1.2
# Fewer test photos than this say nothing; half an interval of more is worth a note.
FEWEST, WIDE = 30, 0.05
SAME_LOSS, LEAST_LOSS = 1e-4, 1e-3
UNLIKELY = 1e-3


def check_imbalance(case: Case) -> list[Finding]:
    """Find accuracy that only mirrors how common the classes are."""
    split, labels = case.scored, case.labels(case.scored)
    predicted, right = case.predicted(split), case.correct(split)
    shares = np.bincount(labels) / len(labels)
    most = float(shares.max())
    if np.count_nonzero(shares) < 2 or most < UNBALANCED / case.num_classes:
        return []
    accuracy = float(right.mean())
    low, _ = accuracy_interval(right.sum(), len(right))
    # A bad model that answers all kinds of classes has another fault.
    named = float(np.mean(predicted == shares.argmax()))
    if low > most or named < (1 + most) / 2:
        return []
    common = case.name(int(shares.argmax()))
    recalls = [right[labels == label].mean() for label in np.unique(labels)]
    independent = _independent(labels, predicted)
    return [
        Finding(
            "serious" if independent else "warning",
            "Accuracy that only mirrors the imbalance of classes",
            f"{accuracy:.1%} of {len(labels):,} {split} photos are right (95 % "
            f"interval from {low:.1%}), and {most:.1%} are {common}, which is the "
            f"answer to {named:.1%}: to name always that one would be as good. The "
            f"mean over the classes is {np.mean(recalls):.1%}"
            + (", and the answers do not depend on the class." if independent else "."),
            "A high accuracy hides that the rare classes are not recognised.",
            """
report = kt.evaluate_classifier(model, splits.test, splits.class_names)
report.macro  # each class counts the same
model = kt.build_classifier(backbone, num_classes=len(splits.class_names))
features = kt.extract_features(backbone, splits)
model = kt.fit_head(model, features, class_weight="auto")
""",
            {"accuracy": accuracy, "most_common": most, "recall": np.mean(recalls)},
        )
    ]


def _independent(labels: np.ndarray, predicted: np.ndarray) -> bool:
    """Tell whether answers show no sign of depending on the labels."""
    table = np.array(
        [
            [np.sum((labels == i) & (predicted == j)) for j in np.unique(predicted)]
            for i in np.unique(labels)
        ]
    )
    return table.shape[1] < 2 or bool(chi2_contingency(table).pvalue > 0.01)


def check_test_size(case: Case) -> list[Finding]:
    """Find a test split of so few images that an accuracy means little."""
    split = case.scored
    right, count = case.correct(split), case.size(split)
    if count is None:
        raise NotExaminedError(f"how many {split} photos there are is not known")
    # Of those that were measured: how many more there are makes it no surer.
    measured = len(right)
    accuracy, chance = float(right.mean()), 1 / case.num_classes
    low, high = accuracy_interval(right.sum(), measured)
    # An accuracy far below chance is no chance either: labels are in another order.
    below = binomtest(int(right.sum()), measured, chance, "less").pvalue < UNLIKELY
    reaches = low <= chance and not below
    # What only some were looked at for is no fault of the data.
    narrow = measured < count or (high - low) / 2 <= WIDE
    if count >= FEWEST and not reaches and narrow:
        return []
    part = f" that were looked at (there are {count:,})" if measured < count else ""
    return [
        Finding(
            "serious" if count < FEWEST or reaches else "note",
            "Accuracy that may be chance"
            if measured < count
            else "Few photos for a claim",
            f"{accuracy:.1%} of {measured:,} {split} photos{part} are right, so the "
            f"95 % interval is {low:.1%} to {high:.1%}.",
            "An interval as wide as this holds the true accuracy; to halve it takes "
            f"four times as many photos. Chance would be {chance:.1%}.",
            f"""
# Of more photos; 15 % of them are held out:
splits = kt.load_directory("path/to/photos", image_size={case.image_size})
report = kt.evaluate_classifier(model, splits.test, splits.class_names)
report.accuracy_interval  # report it with the accuracy
""",
            {"photos": measured, "low": low, "high": high},
        )
    ]


def check_chosen_on_test(case: Case) -> list[Finding]:
    """Find a test split that training looked at to choose."""
    if "test" not in case.datasets:
        raise NotExaminedError("no test split was given")
    history, findings, missing = case.history or {}, [], None
    if "validation" in case.datasets:
        first, second = case.photos("validation"), case.photos("test")
        found = match(first.prints, second.prints)
        if found:
            words = "{} test photos are among {} validation photos"
            shared = shared_photos(len(found), first, second, words)
            findings.append(_shared(shared, history))
    if case.history is None:
        missing = "no history was given"
    elif {"val_accuracy", "val_loss"} <= {*history}:
        if not case.model.compiled:
            missing = "the model is not compiled, so it has no loss to compare"
        elif case.every("test") > 1:
            missing = "too many test photos to compute the loss of all of them"
        else:
            findings += _same_numbers(case, history)
    if missing and not findings:
        raise NotExaminedError(missing)
    return findings


def _shared(shared: Shared, history) -> Finding:
    watched = sum(name.startswith("val_") for name in history)
    evidence = shared.text
    if watched:
        evidence += f"; training was watched on these ({watched} metrics of `history`)"
    severity = "serious" if watched else "warning"
    found = severity if shared.share >= LEAK else "note"
    return _chosen(found, evidence, shared.share)


def _same_numbers(case: Case, history: dict) -> list[Finding]:
    """Find a history whose validation figures are those of the test split."""
    accuracy, loss = _figures(case, "test")
    # Where there is next to no loss, all splits look the same.
    epochs = [
        epoch
        for epoch, values in enumerate(
            zip(history["val_accuracy"], history["val_loss"], strict=False)
        )
        if abs(values[0] - accuracy) < 1e-6 and abs(values[1] - loss) < SAME_LOSS * loss
    ]
    if not epochs or loss < LEAST_LOSS:
        return []
    if "validation" in case.datasets:
        other, other_loss = _figures(case, "validation")
        if other == accuracy and abs(other_loss - loss) < SAME_LOSS * loss:
            return []
    return [
        _chosen(
            "serious",
            f"Epoch {epochs[0] + 1} of `history` has the validation accuracy "
            f"{accuracy:.4f} and the validation loss {loss:.4f}, and these are the "
            "figures of this model on the test split: it was passed as validation_data",
            accuracy,
        )
    ]


def _figures(case: Case, split: str) -> tuple[float, float]:
    outputs, sample = case.outputs(split), case.sample(split)
    # In the form that the model answers in, such as a dictionary of one output.
    form = case.model(sample.images[:1], training=False)
    answers = keras.tree.map_structure(lambda _: outputs, form)
    loss = case.model.compute_loss(None, sample.targets, answers, training=False)
    return float(case.correct(split).mean()), float(loss)


def _chosen(severity: str, evidence: str, number: float) -> Finding:
    return Finding(
        severity,
        "The test split was used to choose",
        f"{evidence}.",
        "The best of many epochs or settings is partly luck on these photos. Reported "
        "on the same ones, the luck is reported too.",
        """
# Split by file, once:
splits = kt.load_directory("path/to/photos", image_size=model.input_shape[1])
# To choose epochs and settings,
history = model.fit(splits.train, validation_data=splits.validation)
report = kt.evaluate_classifier(model, splits.test, splits.class_names)  # once
""",
        {"share": number},
    )


# Answers that differ by less, on average, are the same but for their precision; rows in
# another order are the same numbers.
SAME, EQUAL = 0.02, 1e-3


def check_predictions(case: Case) -> list[Finding]:
    """Find predictions in another order, of another split, or in training mode."""
    if case.given is None:
        raise NotExaminedError("no predictions were given")
    labels, given = case.given
    lost = float(np.mean(~np.isfinite(given)))
    if lost:
        return [_unknown(f"{lost:.1%} of the predictions given are NaN or infinite")]
    given, split = _scores(case, given), case.scored
    held_out = [split, *(x for x in ("validation", "test") if x in case.datasets)]
    for other in held_out:
        if len(given) != _count(case, other):
            continue
        rows, own = _rows(case, other, given)
        # A report has taken labels and answers from one pass, in whatever order.
        if _same(rows, own) or (labels is not None and _same_set(rows, own)):
            return [] if other == split else [_of_validation(case, other, len(given))]
    if len(given) != _count(case, split):
        return [
            _unknown(
                f"{len(given):,} predictions were given for {_count(case, split):,} "
                f"{split} photos"
            )
        ]
    rows, own = _rows(case, split, given)
    if case.every(split) == 1 and _same_set(rows, own):
        return [_other_order(case, split, rows, own)]
    return [_mode(case, split, rows, own)]


def _count(case: Case, split: str) -> int:
    return case.size(split) or len(case.sample(split).images)


def _scores(case: Case, given: np.ndarray) -> np.ndarray:
    """Return given predictions with one column a class, or as class numbers."""
    whole = given.dtype.kind in "iu" or (
        # Numbers of classes that were read as floats; of two, they are probabilities.
        given.max() > 1 and bool(np.all(given == given.round()))
    )
    if whole and given.size == len(given):
        given = given.reshape(-1).astype("int64")
        if given.min(initial=0) < 0 or given.max(initial=0) >= case.num_classes:
            raise NotExaminedError(
                f"the predictions are no numbers of {case.num_classes} classes"
            )
        return given
    given = given.reshape(len(given), -1)
    given = class_scores(given, None)
    if given.shape[1] != case.num_classes:
        raise NotExaminedError(
            f"the predictions have {given.shape[1]} columns for "
            f"{case.num_classes} classes"
        )
    return given


def _rows(case: Case, split: str, given: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what was given for the photos looked at, and the own probabilities."""
    own = case.probabilities(split)
    return given[:: case.every(split)][: len(own)], own


def _apart(given: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Return for each photo how far two answers differ, 0 to 1."""
    if given.ndim == 1:
        # Rounding may tip the balance where two classes are nearly as likely.
        return own.max(axis=1) - np.take_along_axis(own, given[:, None], 1)[:, 0]
    return np.abs(given - own).max(axis=1)


def _same(given: np.ndarray, own: np.ndarray) -> bool:
    return float(_apart(given, own).mean()) <= SAME


def _same_set(given: np.ndarray, own: np.ndarray) -> bool:
    """Tell whether both hold the same rows, in whatever order."""
    if given.ndim == 1:
        # As many of each class, and as often right as those drawn by lot would be.
        classes = own.argmax(axis=1)
        shares = np.bincount(classes) / len(classes)
        by_lot = abs(np.mean(given == classes) - np.sum(shares**2)) <= 0.15
        return bool(by_lot and np.array_equal(np.sort(given), np.sort(classes)))
    return float(np.abs(np.sort(given, axis=0) - np.sort(own, axis=0)).max()) <= EQUAL


def _right(case: Case, split: str, answers: np.ndarray) -> float:
    answers = answers.argmax(axis=1) if answers.ndim == 2 else answers
    return float(np.mean(answers == case.sample(split).labels))


def _other_order(case: Case, split: str, given, own) -> Finding:
    moved = int(np.sum(_apart(given, own) > SAME))
    return Finding(
        "serious",
        "Predictions in another order than the photos",
        f"The predictions given are those of this model on the {split} photos, but "
        f"{moved} of {len(own):,} stand beside another photo. Read by position, "
        f"{_right(case, split, given):.1%} are right; in the order of the photos, "
        f"{_right(case, split, own):.1%}.",
        "A data set that shuffles gives another order in each pass, so predictions of "
        "one pass do not belong to labels or file names of another one.",
        """
report = kt.evaluate_classifier(model, splits.test, splits.class_names)  # one pass
# Or with a data set that keeps its order, as splits.test does:
# test = keras.utils.image_dataset_from_directory("photos/test", shuffle=False)
""",
        {"moved": moved},
    )


def _of_validation(case: Case, split: str, count: int) -> Finding:
    watched = [name for name in case.history or {} if name.startswith("val_")]
    evidence = (
        f"The {count:,} predictions given are those of this model on the {split} "
        f"photos, not on the {case.scored} photos"
    )
    if watched:
        evidence += f". `history` shows that training was watched on them: {watched[0]}"
    return Finding(
        "serious" if watched else "warning",
        "The result is reported on validation photos",
        f"{evidence}.",
        "Epochs and settings were chosen by these photos, so the figure is partly "
        "luck and mostly too high.",
        "report = kt.evaluate_classifier(model, splits.test, splits.class_names)",
        {"photos": count},
    )


def _mode(case: Case, split: str, given, own) -> Finding:
    """Compare with what training mode makes of the same photos."""
    apart = _apart(given, own)
    images = case.some(split, 32)
    with restored(case.model):
        inference, training = (
            class_scores(as_array(only_output(answers)), case.activation)
            for answers in (case.model(images, training=x) for x in (False, True))
        )
    change = float(_apart(training, inference).mean())
    evidence = (
        f"The predictions given differ from those of this model by {apart.mean():.3g} "
        f"on average ({np.mean(apart > SAME):.0%} of the photos)"
    )
    if given.ndim == 2 and change > SAME / 2 and 1 / 4 < apart.mean() / change < 4:
        return Finding(
            "serious",
            "Predictions in training mode",
            f"{evidence}; with training=True the model's own answers change by "
            f"{change:.3g}.",
            "Dropout then throws away features in use, and BatchNormalization takes a "
            "few photos for all.",
            "predictions = model.predict(splits.test)  # or model(x, training=False)",
            {"difference": apart.mean(), "training_mode": change},
        )
    return _unknown(evidence)


def _unknown(evidence: str) -> Finding:
    return Finding(
        "warning",
        "Predictions that this model does not make of this data",
        f"{evidence}.",
        "Whatever is computed from them is not the result of this model.",
        "report = kt.evaluate_classifier(model, splits.test, splits.class_names)",
    )


CHECKS = (
    Check(
        "imbalance",
        check_imbalance,
        "accuracy beside the share of the most common class",
        "Which mistakes matter to you.",
    ),
    Check(
        "size of the test split",
        check_test_size,
        "the 95 % interval (Wilson) of the accuracy",
        "Whether the photos are a fair sample of those to come.",
    ),
    Check(
        "choosing on the test split",
        check_chosen_on_test,
        "photos that validation and test share, and figures of `history`",
        "How often you looked at the test split yourself.",
    ),
    Check(
        "predictions",
        check_predictions,
        "predictions or report that were given, beside the model's own",
        "How predictions of another model or of other photos came about.",
    ),
)
