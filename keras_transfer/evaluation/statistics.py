"""How sure an accuracy is, and what the same photos say about two models."""

import dataclasses
import itertools
import typing
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import optimize, stats

from keras_transfer.runtime.arguments import (
    number_array,
    real_number,
    shown,
    whole_number,
)

RESAMPLES = 9_999
# Chance of calling a difference clear where there is none, over all pairs.
LEVEL = 0.05


def accuracy_interval(
    correct: int, count: int, confidence: float = 0.95
) -> tuple[float, float]:
    """Return between which bounds the accuracy lies on photos that nobody has tested.

    The test photos are a sample; others would have given another accuracy. This is
    Wilson's interval, which also holds where nearly all answers are right.

    Args:
        correct: Number of right answers, from 0 to `count`.
        count: Number of test photos, at least 1.
        confidence: How often such an interval is to hold the truth, above 0 and below
            1. Defaults to `0.95`.

    Returns:
        Tuple `(low, high)` of accuracies, 0 to 1.

    Raises:
        ValueError: If these are no such numbers.

    Example:

    >>> import keras_transfer as kt
    >>> low, high = kt.accuracy_interval(95, 100)
    >>> print(f"95 of 100 right: {low:.1%} to {high:.1%}")
    95 of 100 right: 88.8% to 97.8%

    Reference:

    - [Wilson, 1927](https://doi.org/10.1080/01621459.1927.10502953)
    """
    count = whole_number("count", count, 1)
    confidence = real_number("confidence", confidence, above=0, below=1)
    try:
        correct = whole_number("correct", correct, 0, count)
    except ValueError as error:
        raise ValueError(
            "correct must be how many answers are right, a whole number from 0 to "
            "count: not their share, but np.sum(predicted == labels). "
            f"Received: correct={shown(correct)}, count={count}"
        ) from error
    found = stats.binomtest(correct, count).proportion_ci(confidence, "wilson")
    return float(found.low), float(found.high)


def grouped_accuracy_interval(
    hits: np.ndarray, groups: Sequence[int | None], confidence: float = 0.95
) -> tuple[float, float]:
    """Return the interval of an accuracy on photos some of which belong together.

    Ten photos of one patient say less than ten of ten patients. How much less is seen
    in the answers: where whole groups are right or wrong, the accuracy varies more than
    that of single photos. It counts as that of as many single photos as vary alike,
    never more than there are, and fewer where there are few groups to see it in. Where
    all answers are right, or all wrong, nothing is seen, and each group counts as if
    its photos were one.

    Args:
        hits: Truth values of shape `(count,)`: which photos are named right.
        groups: For each photo what it belongs to, `None` for one that is alone.
        confidence: As in `accuracy_interval`. Defaults to `0.95`.

    Returns:
        Tuple `(low, high)` of accuracies, 0 to 1; without groups that of
        `accuracy_interval`.

    Reference:

    - [Korn and Graubard, 1998](https://www150.statcan.gc.ca/n1/en/catalogue/12-001-X19980024356)
    """
    hits = np.asarray(hits, bool)
    units = group_numbers(groups)
    count, num_groups = len(hits), units.max() + 1
    if num_groups == count:
        return accuracy_interval(int(hits.sum()), count, confidence)
    effective, accuracy = 1.0, hits.mean()
    sizes = np.bincount(units)
    if accuracy in (0, 1):
        effective = count**2 / np.sum(sizes**2)
    elif num_groups > 1:
        off = np.bincount(units, weights=hits - accuracy)
        variance = num_groups / (num_groups - 1) * np.sum(off**2) / count**2
        effective = accuracy * (1 - accuracy) / max(variance, 1e-12)
        upper = (1 + confidence) / 2
        few = stats.t.ppf(upper, count - 1) / stats.t.ppf(upper, num_groups - 1)
        effective *= few**2
    return _wilson(accuracy, np.clip(effective, 1, count), confidence)


def group_numbers(groups: Sequence[int | None]) -> np.ndarray:
    """Return the number of each photo's group, where one without is a group alone."""
    numbers = {}
    return np.array(
        [
            numbers.setdefault(("alone", i) if group is None else group, len(numbers))
            for i, group in enumerate(groups)
        ]
    )


def _wilson(share: float, count: float, confidence: float) -> tuple[float, float]:
    """Return Wilson's interval of a share of photos, which need be no whole number."""
    z = stats.norm.ppf((1 + confidence) / 2)
    middle = share + z**2 / (2 * count)
    reach = z * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    low, high = ((middle + x) / (1 + z**2 / count) for x in (-reach, reach))
    return float(max(0, low)), float(min(1, high))


@dataclasses.dataclass(frozen=True, repr=False)
class PairedTest:
    """Hold what `paired_test` found; prints in words.

    Attributes:
        count: Number of test photos.
        only_a: Number of photos that only the first model got right.
        only_b: Number of photos that only the second model got right.
        difference: Accuracy of the first model minus that of the second, -1 to 1.
        interval: Its 95 % interval: lowest and highest.
        p_value: How often chance alone makes the counts of two equally good models as
            uneven, 0 to 1.
    """

    count: int
    only_a: int
    only_b: int
    difference: float
    interval: tuple[float, float]
    p_value: float

    def __str__(self) -> str:
        low, high = (f"{100 * bound:+.1f}" for bound in self.interval)
        verdict = "more than chance" if self.p_value < LEVEL else "may be chance"
        return (
            f"of {self.count:,} photos {self.only_a:,} right by the first only, "
            f"{self.only_b:,} by the second only: {100 * self.difference:+.1f} points "
            f"(95 % interval {low} to {high}), p = {self.p_value:.2g}, {verdict}"
        )

    __repr__ = __str__


def paired_test(correct_a: np.ndarray, correct_b: np.ndarray) -> PairedTest:
    """Test whether one of two models is better, on the same test photos.

    It is McNemar's exact test: photos that both got right, or both wrong, say nothing
    about the difference, and of the others each of two equally good models would get
    about half. That tells differences apart which two intervals of accuracies, as if
    other photos had been tested, do not.

    Args:
        correct_a: Boolean array `(count,)`: whether the first model was right about
            each photo, such as `report.predicted == report.labels`.
        correct_b: The same of the second model, on the same photos in the same order.

    Returns:
        A `PairedTest` with `difference`, `interval`, `only_a`, `only_b`, `count` and
        `p_value`. The interval is Tango's, and for large counts only: where few photos
        differ, trust the p-value.

    Raises:
        ValueError: If these are no truth values, or not of the same photos.

    Example:

    >>> import numpy as np, keras_transfer as kt
    >>> tuned = np.array([True] * 9 + [False] * 1 + [True] * 90)
    >>> frozen = np.array([False] * 9 + [True] * 1 + [True] * 90)
    >>> found = kt.paired_test(tuned, frozen)
    >>> found.only_a, found.only_b, round(found.p_value, 3)
    (9, 1, 0.021)

    Reference:

    - [McNemar, 1947](https://doi.org/10.1007/BF02295996)
    - [Tango, 1998](https://pubmed.ncbi.nlm.nih.gov/9595618/), the interval
    """
    a, b = _answers("correct_a", correct_a), _answers("correct_b", correct_b)
    if len(a) != len(b):
        raise ValueError(
            "correct_a and correct_b must be of the same test photos, in the same "
            f"order. Received: {len(a)} and {len(b)} photos"
        )
    count, only_a, only_b = len(a), int((a & ~b).sum()), int((b & ~a).sum())
    return PairedTest(
        count=count,
        only_a=only_a,
        only_b=only_b,
        difference=(only_a - only_b) / count,
        interval=(
            _lowest_difference(only_a, only_b, count),
            -_lowest_difference(only_b, only_a, count),
        ),
        p_value=_exact_p_value(only_a, only_b),
    )


def _answers(name: str, value: typing.Any) -> np.ndarray:
    try:
        found = number_array(name, value)
    except ValueError:
        found = np.empty(0)
    # Numbers 0 and 1 are refused: they may be classes.
    if found.dtype != bool or found.ndim != 1 or not len(found):
        raise ValueError(
            f"{name} must be a boolean array that says of each test photo whether the "
            "model was right, such as report.predicted == report.labels. "
            f"Received: {name}={shown(value)}"
        )
    return found


def _lowest_difference(only_a: int, only_b: int, count: int) -> float:
    """Return the lower end of Tango's 95 % interval of a paired difference.

    It is the lowest difference that the score test does not refuse; for a difference
    of 0, that test is McNemar's without its correction.
    """
    if only_b == count:
        return -1.0
    z = stats.norm.ppf(0.975)

    def excess(difference):
        # The likeliest share of photos that only b gets right, given the difference.
        linear = (2 * count - only_a + only_b) * difference - only_a - only_b
        root = linear**2 + 8 * count * only_b * difference * (1 - difference)
        share = (np.sqrt(max(root, 0)) - linear) / (4 * count)
        variance = count * (2 * share + difference * (1 - difference))
        return only_a - only_b - count * difference - z * np.sqrt(max(variance, 0))

    # Short of the difference that was found, at which the variance may be 0.
    return optimize.brentq(excess, -1, (only_a - only_b) / count - 1e-9)


def _exact_p_value(only_a: int, only_b: int) -> float:
    differ = only_a + only_b
    return float(stats.binomtest(only_a, differ).pvalue) if differ else 1.0


def compare_pairs(right: Mapping[str, np.ndarray]) -> tuple[dict, ...]:
    """Compare every two recipes, photo by photo.

    Args:
        right: For each recipe a boolean array `(seeds, photos)`: whether it was right
            about each test photo.

    Returns:
        For each pair a dict, the one that was right more often first: `better`,
        `worse`, `difference` of the mean accuracies, its 95 % `interval`, `p_value`
        (corrected by Holm's method for the number of pairs), and whether the
        difference is `clear`: the interval leaves out 0, and the p-value is below 0.05.

    Reference:

    - [McNemar, 1947](https://doi.org/10.1007/BF02295996)
    - [Holm, 1979](https://www.jstor.org/stable/4615733)
    """
    pairs = []
    for a, b in itertools.combinations(right, 2):
        better, worse = (a, b) if right[a].mean() >= right[b].mean() else (b, a)
        pairs.append(
            {
                "better": better,
                "worse": worse,
                "difference": float(right[better].mean() - right[worse].mean()),
                "interval": list(bootstrap_interval(right[better], right[worse])),
                "p_value": paired_p_value(right[better], right[worse]),
            }
        )
    corrected = _holm([pair["p_value"] for pair in pairs])
    for pair, p_value in zip(pairs, corrected, strict=True):
        pair["p_value"] = float(p_value)
        pair["clear"] = bool(pair["interval"][0] > 0 and p_value < LEVEL)
    return tuple(pairs)


def wilson_interval(right: np.ndarray) -> tuple[float, float]:
    """Return the 95 % interval of an accuracy that one model has on as many photos.

    Over several seeds the mean accuracy is taken. Seeds see the same photos, so they
    make the interval no narrower.
    """
    return _wilson(float(right.mean()), right.shape[1], 0.95)


def bootstrap_interval(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Return the 95 % interval of the difference of the mean accuracies.

    Photos are drawn anew, the same for both recipes, and so are the seeds of each.

    Reference:

    - [Efron and Tibshirani, 1993](https://doi.org/10.1201/9780429246593)
    """
    rng = np.random.default_rng(0)

    def mean_of_drawn_seeds(by_seed):
        seeds = by_seed.shape[1]
        weights = rng.multinomial(seeds, [1 / seeds] * seeds, len(by_seed)) / seeds
        return (by_seed * weights).sum(axis=1)

    differences = []
    photos = a.shape[1]
    for _ in range(10):  # In parts: all drawings of thousands of photos are large.
        drawn = rng.multinomial(photos, [1 / photos] * photos, RESAMPLES // 10) / photos
        differences.append(
            mean_of_drawn_seeds(drawn @ a.T) - mean_of_drawn_seeds(drawn @ b.T)
        )
    low, high = np.quantile(np.concatenate(differences), [0.025, 0.975])
    return float(low), float(high)


def paired_p_value(a: np.ndarray, b: np.ndarray) -> float:
    """Return how often chance alone makes a difference as large as this one.

    With one seed it is McNemar's exact test: of the photos that only one recipe got
    right, half would go to each. With several seeds the recipes change places at
    random, photo by photo, which is the same test for mean answers.
    """
    if len(a) == len(b) == 1:
        return _exact_p_value(int((a & ~b).sum()), int((b & ~a).sum()))
    by_photo = a.mean(axis=0) - b.mean(axis=0)
    by_photo = by_photo[by_photo != 0]
    if len(by_photo) < 2:
        return 1.0  # One photo alone is as likely to be to either's advantage.
    test = stats.permutation_test(
        (by_photo,),
        np.sum,
        permutation_type="samples",
        n_resamples=RESAMPLES,
        batch=1_000,
        rng=np.random.default_rng(0),
    )
    return float(test.pvalue)


def _holm(p_values: list[float]) -> np.ndarray:
    p_values = np.array(p_values)
    order = np.argsort(p_values)
    scaled = p_values[order] * np.arange(len(p_values), 0, -1)
    corrected = np.empty_like(p_values)
    corrected[order] = np.maximum.accumulate(scaled).clip(max=1)
    return corrected
