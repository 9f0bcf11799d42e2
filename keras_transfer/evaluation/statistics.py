"""What the same test photos say about the difference between two recipes."""

import itertools
from collections.abc import Mapping

import numpy as np
from scipy import stats

RESAMPLES = 9_999
# Chance of calling a difference clear where there is none, over all pairs.
LEVEL = 0.05


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

    Reference:

    - [Wilson, 1927](https://doi.org/10.1080/01621459.1927.10502953)
    """
    photos = right.shape[1]
    count = round(float(right.mean()) * photos)
    interval = stats.binomtest(count, photos).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


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
        only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
        discordant = only_a + only_b
        return float(stats.binomtest(only_a, discordant).pvalue) if discordant else 1.0
    by_photo = a.mean(axis=0) - b.mean(axis=0)
    by_photo = by_photo[by_photo != 0]
    if not len(by_photo):
        return 1.0
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
