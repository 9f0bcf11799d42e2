"""Check predictions that were made elsewhere: of which photos, order and mode."""

import numpy as np

from keras_transfer.examination import Case
from keras_transfer.findings import Check, Finding, NotExaminedError
from keras_transfer.model_arrays import restored
from keras_transfer.models.outputs import as_array, class_scores, only_output

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
        "predictions",
        check_predictions,
        "predictions or report that were given, beside the model's own",
        "How predictions of another model or of other photos came about.",
    ),
)
