"""The interval of an accuracy and the test of two models are those of the papers."""

import fractions
import math

import numpy as np
import pytest
from scipy import optimize, stats

import keras_transfer as kt
from keras_transfer.evaluation.statistics import grouped_accuracy_interval

Z = 1.959963984540054


def answers(both, only_a, only_b, neither=0):
    """Return which photos each of two models got right."""
    a = [True] * (both + only_a) + [False] * (only_b + neither)
    b = [True] * both + [False] * only_a + [True] * only_b + [False] * neither
    return np.array(a), np.array(b)


@pytest.mark.parametrize(("correct", "count"), [(0, 10), (1, 7), (40, 50), (500, 500)])
def test_accuracy_interval_is_that_of_wilson(correct, count):
    p, n, scale = correct / count, count, 1 + Z**2 / count
    middle, half = p + Z**2 / (2 * n), Z * np.sqrt(p * (1 - p) / n + (Z / n / 2) ** 2)
    found = kt.accuracy_interval(correct, count)
    assert found == pytest.approx(((middle - half) / scale, (middle + half) / scale))
    assert all(type(bound) is float for bound in found)
    # Whatever holds more often is wider.
    low, high = kt.accuracy_interval(correct, count, confidence=0.5)
    assert found[0] <= low <= high <= found[1]


def test_accuracy_interval_takes_what_counting_gives():
    right = np.array([True, True, False])
    expected = kt.accuracy_interval(2, 3)
    assert kt.accuracy_interval(right.sum(), right.size) == expected
    assert kt.accuracy_interval(np.float32(2.0), np.int8(3)) == expected


def test_without_groups_the_interval_is_that_of_wilson():
    hits = np.arange(50) % 5 > 0
    expected = kt.accuracy_interval(40, 50)
    assert grouped_accuracy_interval(hits, range(50)) == expected
    assert grouped_accuracy_interval(hits, [None] * 50) == expected
    assert grouped_accuracy_interval(hits, range(50), 0.5) < kt.accuracy_interval(
        41, 50, 0.5
    )
    # As many right in each group, as if they had been dealt out: no narrower for that.
    assert grouped_accuracy_interval(hits, np.arange(50) // 5) == pytest.approx(
        expected, abs=0.015
    )


@pytest.mark.parametrize("alike", [0.0, 0.3, 1.0])
def test_with_groups_the_interval_holds_the_truth_as_often_as_it_says(alike):
    rng, truth, runs = np.random.default_rng(0), 0.85, 800
    groups = np.repeat(np.arange(30), 8)
    held = {"grouped": 0, "single": 0}
    for _ in range(runs):
        whole = rng.random(30) < truth
        own = rng.random(240) < truth
        hits = np.where(rng.random(240) < alike, whole[groups], own)
        low, high = grouped_accuracy_interval(hits, groups)
        held["grouped"] += low <= truth <= high
        low, high = kt.accuracy_interval(hits.sum(), 240)
        held["single"] += low <= truth <= high
    assert held["grouped"] / runs > 0.93
    if alike == 1:
        assert held["single"] / runs < 0.7


def test_photos_of_few_groups_say_little():
    hits = np.arange(100) % 10 > 0
    assert np.ptp(grouped_accuracy_interval(hits, [0] * 100)) > 0.7
    # Nothing is wrong, so nothing tells whether photos of a group go together.
    found = grouped_accuracy_interval(np.ones(100, bool), np.arange(100) // 10)
    assert found == pytest.approx(kt.accuracy_interval(10, 10))
    mixed = grouped_accuracy_interval(np.ones(12, bool), [7, 7, *[None] * 10])
    assert kt.accuracy_interval(10, 10)[0] < mixed[0] < kt.accuracy_interval(12, 12)[0]


@pytest.mark.parametrize(
    ("changes", "received"),
    [
        ({"correct": 0.9}, "correct=0.9, count=10"),
        ({"correct": 11}, "correct=11, count=10"),
        ({"correct": -1}, "correct=-1, count=10"),
        ({"correct": True}, "correct=True, count=10"),
        ({"count": 0}, "count=0"),
        ({"count": True}, "count=True"),
        ({"confidence": 0}, "confidence=0"),
        ({"confidence": 1}, "confidence=1"),
        ({"confidence": 95}, "confidence=95"),
        ({"confidence": math.nan}, "confidence=nan"),
    ],
)
def test_accuracy_interval_refuses_what_is_no_count(changes, received):
    given = {"correct": 9, "count": 10} | changes
    with pytest.raises(ValueError, match=f"Received: {received}$"):
        kt.accuracy_interval(**given)


@pytest.mark.parametrize(
    ("only_a", "only_b"), [(9, 2), (2, 9), (7, 7), (1, 0), (0, 0), (40, 3)]
)
def test_paired_test_is_mcnemar_s_exact_test(only_a, only_b):
    found = kt.paired_test(*answers(30, only_a, only_b, 5))
    assert (found.only_a, found.only_b) == (only_a, only_b)
    assert found.count == 35 + only_a + only_b
    assert found.difference == pytest.approx((only_a - only_b) / found.count)
    # As often as a coin falls as unevenly, or more so.
    differ, least = only_a + only_b, min(only_a, only_b)
    tail = sum(math.comb(differ, k) for k in range(least + 1))
    expected = min(1, fractions.Fraction(2 * tail, 2**differ))
    assert found.p_value == pytest.approx(float(expected))


@pytest.mark.parametrize(
    ("only_a", "only_b"), [(9, 2), (0, 4), (7, 7), (1, 0), (40, 3)]
)
def test_interval_of_a_difference_holds_what_the_score_test_does_not_refuse(
    only_a, only_b
):
    a, b = answers(30, only_a, only_b, 5)
    found = kt.paired_test(a, b)
    low, high = found.interval
    assert low < found.difference < high
    for bound in found.interval:
        # The likeliest shares for which this is the difference, found by search.
        def unlikely(only_b_share, bound=bound):
            only_a_share = only_b_share + bound
            equal = 1 - only_a_share - only_b_share
            shares = np.maximum([only_a_share, only_b_share, equal], 1e-300)
            return -np.sum([only_a, only_b, 35] * np.log(shares))

        share = optimize.minimize_scalar(
            unlikely,
            bounds=(max(0, -bound), (1 - bound) / 2),
            method="bounded",
            options={"xatol": 1e-12},
        ).x
        variance = found.count * (2 * share + bound - bound**2)
        score = (only_a - only_b - found.count * bound) / np.sqrt(variance)
        assert abs(score) == pytest.approx(Z, rel=1e-4)
    mirrored = kt.paired_test(b, a).interval
    assert mirrored == pytest.approx((-high, -low))


def test_equal_answers_leave_room_for_a_difference():
    low, high = kt.paired_test(*answers(100, 0, 0)).interval
    assert high == pytest.approx(Z**2 / (100 + Z**2), rel=1e-6)
    assert low == -high
    low, high = kt.paired_test(*answers(0, 20, 0)).interval
    assert (low, high) == pytest.approx(((20 - Z**2) / (20 + Z**2), 1))


def test_interval_of_a_difference_holds_95_times_in_100():
    rng = np.random.default_rng(0)
    held, shares = [], (0.80, 0.12, 0.04, 0.04)
    for _ in range(1000):
        found = kt.paired_test(*answers(*rng.multinomial(200, shares)))
        low, high = found.interval
        held.append(low <= shares[1] - shares[2] <= high)
    assert stats.binomtest(sum(held), 1000, 0.95).pvalue > 0.01


def test_paired_test_says_in_words_what_it_found():
    clear = kt.paired_test(*answers(1171, 20, 4, 5))
    assert str(clear) == repr(clear)
    assert str(clear) == (
        "of 1,200 photos 20 right by the first only, 4 by the second only: +1.3 points "
        "(95 % interval +0.6 to +2.3), p = 0.0015, more than chance"
    )
    assert str(kt.paired_test(*answers(96, 1, 3))).endswith("p = 0.62, may be chance")


@pytest.mark.parametrize(
    "odd",
    [
        np.array([0, 1, 1]),  # These may be classes.
        np.array([0.9, 0.1, 1.0]),
        np.array([], bool),
        np.ones((3, 1), bool),
        "right",
    ],
)
def test_paired_test_refuses_what_says_not_who_was_right(odd):
    good = np.array([True, False, True])
    with pytest.raises(ValueError, match=r"predicted == report\.labels\. Received: c"):
        kt.paired_test(odd, good)
    with pytest.raises(ValueError, match="Received: correct_b="):
        kt.paired_test(good, odd)


def test_paired_test_wants_the_same_photos():
    with pytest.raises(ValueError, match="Received: 3 and 2 photos"):
        kt.paired_test([True] * 3, [True] * 2)
