"""Find the images whose features point the same way as those of a query."""

import typing

import numpy as np

from keras_transfer.features.extraction import LabeledFeatures
from keras_transfer.runtime.arguments import number_array, shown, whole_number

# What is in memory at once: numbers of features, and similarities to them.
FEATURES_AT_ONCE = 2**22
SIMILARITIES_AT_ONCE = 2**22


class SimilarImages(typing.NamedTuple):
    """Hold the rows that are most similar to each query, best first.

    Attributes:
        indices: int64 array of row numbers, from 0.
        similarities: float32 array of their cosine similarities, from -1 to 1.
    """

    indices: np.ndarray
    similarities: np.ndarray


def similar_images(
    features: np.ndarray | LabeledFeatures,
    query: np.ndarray | LabeledFeatures,
    k: int = 5,
) -> SimilarImages:
    """Find the `k` rows of `features` with the highest cosine similarity to a query.

    Nothing is left to chance: every row is compared, and the result does not depend
    on how many queries come together or on the order of sums. Rows whose similarity
    is the same float32 number are ordered by their index. A row of zeros has no
    direction: it is similar to nothing, with a similarity of 0.

    Features are read in blocks, so that beside them memory stays flat, also for a
    million rows of a file that `numpy.load(..., mmap_mode="r")` opened. Each call reads
    all of them once: ask several queries together. Where that takes too long, an
    approximate index such as Faiss answers sooner and misses some.

    Args:
        features: Array of shape `(count, channels)`, such as `features.train.features`
            or `features.train` of what `extract_features` returns.
        query: Array of shape `(channels,)`, or `(queries, channels)` for several.
        k: How many rows to return for each query, from 1 to `count`. A query that is
            one of the rows finds itself first: ask for one more. Defaults to `5`.

    Returns:
        `SimilarImages`, which unpacks into indices and similarities, both of shape
        `(k,)` for one query and `(queries, k)` for several.

    Raises:
        ValueError: If a number is not finite, the channels of both differ, a query is
            all zeros, or `k` is more than there are rows.

    Example:

    >>> import numpy as np, keras_transfer as kt
    >>> features = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 2.0], [-3.0, 0.0]])
    >>> indices, similarities = kt.similar_images(features, [2.0, 1.0], k=2)
    >>> indices
    array([1, 0])
    >>> similarities.round(3)
    array([0.949, 0.894], dtype=float32)
    """
    rows = _rows("features", features)
    queries = _rows("query", query, single=True)
    if rows.shape[1] != queries.shape[-1]:
        raise ValueError(
            "query must have as many channels as features: compute both with one "
            f"network. Received: query of shape {queries.shape}, features of shape "
            f"{rows.shape}"
        )
    k = whole_number("k", k, 1, len(rows))
    wanted = np.atleast_2d(queries).astype("float64")
    _check_finite("query", wanted)
    wanted = _scaled(wanted)
    lengths = _lengths(wanted)
    if not lengths.all():
        raise ValueError(
            "query must not be all zeros: these are similar to nothing. "
            f"Received: query with zeros in row {int(lengths.argmin())}"
        )
    found = _search(rows, wanted / lengths, k)
    return found if queries.ndim == 2 else SimilarImages(*(each[0] for each in found))


def _rows(name: str, value: typing.Any, single: bool = False) -> np.ndarray:
    """Return features as an array, of `LabeledFeatures` as well."""
    given = value.features if isinstance(value, LabeledFeatures) else value
    if hasattr(given, "train") and hasattr(given, "class_names"):
        raise ValueError(
            f"{name} must be the features of one split, such as features.train. "
            f"Received: {name}={shown(given)}"
        )
    array = number_array(name, given)
    axes = (1, 2) if single else (2,)
    if array.ndim not in axes or not array.size:
        shape = "(channels,) or (queries, channels)" if single else "(count, channels)"
        raise ValueError(
            f"{name} must be an array of numbers of shape {shape}. "
            f"Received: {name} of shape {array.shape}"
        )
    return array


def _search(rows: np.ndarray, queries: np.ndarray, k: int) -> SimilarImages:
    """Return the best `k` of all rows for each of `queries`, float64 of length 1."""
    nothing = np.zeros((len(queries), 0))
    best = SimilarImages(nothing.astype("int64"), nothing.astype("float32"))
    at_once = max(1, FEATURES_AT_ONCE // rows.shape[1])
    for start in range(0, len(rows), at_once):
        block = rows[start : start + at_once]
        _check_finite("features", block, start)
        units = _scaled(block).astype("float32")
        units /= _lengths(units, zero=1)
        step = max(1, SIMILARITIES_AT_ONCE // len(block))
        parts = [
            _better(
                SimilarImages(*(each[i : i + step] for each in best)),
                queries[i : i + step],
                (block, units, start),
                k,
            )
            for i in range(0, len(queries), step)
        ]
        best = SimilarImages(*map(np.concatenate, zip(*parts, strict=True)))
    return best


def _better(
    best: SimilarImages, queries: np.ndarray, rows: tuple, k: int
) -> SimilarImages:
    """Return the best `k` of what was found before and a block of rows.

    A product of matrices is fast, but its last digits depend on the shapes. It only
    chooses who is compared; what counts is then computed pair by pair in float64, which
    is the same whatever else is in the block.
    """
    block, units, start = rows
    rough = queries.astype("float32") @ units.T
    known = np.concatenate([best.similarities, rough], axis=1)
    kept = min(k, known.shape[1])
    # What two rough similarities can be off: the usual bound on sums of products, of
    # two lengths and of the product itself.
    margin = (block.shape[1] + 16) * 2.0**-22
    least = np.partition(known, -kept, axis=1)[:, [-kept]] - margin
    close = rough >= least
    needed = np.flatnonzero(close.any(axis=0))
    # Of rows that are all the same, such as those of black photos, the first win.
    same = (block[needed] == block[needed[:1]]).all(axis=1)
    needed = np.delete(needed, np.flatnonzero(same)[k:])
    exact = _scaled(block[needed].astype("float64"))
    exact /= _lengths(exact, zero=1)
    of, row = np.nonzero(close[:, needed])
    similarity = np.empty(len(of), "float32")
    step = max(1, FEATURES_AT_ONCE // (4 * block.shape[1]))
    for i in range(0, len(of), step):
        pairs = queries[of[i : i + step]] * exact[row[i : i + step]]
        similarity[i : i + step] = pairs.sum(axis=1)
    before = best.indices.shape[1]
    of = np.concatenate([np.repeat(np.arange(len(queries)), before), of])
    index = np.concatenate([best.indices.ravel(), start + needed[row]])
    similarity = np.concatenate([best.similarities.ravel(), similarity.clip(-1, 1)])
    # The sort is stable, and what was found before stands first, as its indices do.
    order = np.lexsort((-similarity, of))
    first = np.searchsorted(of[order], np.arange(len(queries)))
    chosen = order[first[:, None] + np.arange(kept)]
    return SimilarImages(index[chosen], similarity[chosen])


def _check_finite(name: str, rows: np.ndarray, start: int = 0) -> None:
    finite = np.isfinite(rows).all(axis=1)
    if not finite.all():
        raise ValueError(
            f"{name} must be finite numbers: look at these images, and at what the "
            f"network makes of them. Received: {name} with nan or inf in row "
            f"{start + int(finite.argmin())}"
        )


def _scaled(rows: np.ndarray) -> np.ndarray:
    """Return rows divided by their largest number: their squares stay in range."""
    rows = rows if rows.dtype == "float32" else rows.astype("float64")
    largest = np.maximum(rows.max(axis=1), -rows.min(axis=1))[:, None]
    return rows / np.where(largest == 0, 1, largest)


def _lengths(rows: np.ndarray, zero: float = 0) -> np.ndarray:
    """Return the length of each row in a column, and `zero` for rows of zeros."""
    lengths = np.sqrt((rows * rows).sum(axis=1, keepdims=True))
    return np.where(lengths == 0, zero, lengths).astype(rows.dtype)
