"""Search by cosine similarity: exact, and the same however the work is cut."""

import tracemalloc

import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer.features import similar
from keras_transfer.features.extraction import LabeledFeatures

RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(300, 24)).astype("float32")
QUERIES = RNG.normal(size=(17, 24)).astype("float32")


def by_hand(features, queries, k):
    """Return what a plain computation in float64 finds, of rows that are not zero."""
    features, queries = (
        x / np.linalg.norm(x, axis=1, keepdims=True)
        for x in (np.asarray(features, "float64"), np.asarray(queries, "float64"))
    )
    similarities = (queries @ features.T).astype("float32")
    order = np.argsort(-similarities, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(similarities, order, axis=1)


def test_finds_what_a_plain_computation_finds():
    found = kt.similar_images(FEATURES, QUERIES, 9)
    indices, similarities = by_hand(FEATURES, QUERIES, 9)
    np.testing.assert_array_equal(found.indices, indices)
    np.testing.assert_allclose(found.similarities, similarities, atol=1e-7)
    assert found.similarities.dtype == np.float32
    assert found.indices.dtype == np.int64


@pytest.mark.parametrize("numbers", [1, 100, 24 * 299])
@pytest.mark.parametrize("k", [5, 300])
def test_the_size_of_blocks_changes_nothing(monkeypatch, numbers, k):
    # Copies, multiples, near copies and zeros: whatever makes ties.
    features = np.concatenate([FEATURES[:100], FEATURES[:100], 3 * FEATURES[:100]])
    features[::7] += 1e-7
    features[::11] = 0
    whole = kt.similar_images(features, QUERIES, k)
    monkeypatch.setattr(similar, "FEATURES_AT_ONCE", numbers)
    monkeypatch.setattr(similar, "SIMILARITIES_AT_ONCE", numbers)
    cut = kt.similar_images(features, QUERIES, k)
    np.testing.assert_array_equal(whole.indices, cut.indices)
    np.testing.assert_array_equal(whole.similarities, cut.similarities)
    for row, query in enumerate(QUERIES):
        alone = kt.similar_images(features, query, k)
        np.testing.assert_array_equal(alone.indices, whole.indices[row])
        np.testing.assert_array_equal(alone.similarities, whole.similarities[row])


def test_of_equals_the_first_comes_first():
    features = np.array([[0, 1], [2, 0], [1, 0], [0, 0], [-5, 0], [4, 0]])
    indices, similarities = kt.similar_images(features, [1, 0], k=6)
    assert indices.tolist() == [1, 2, 5, 0, 3, 4]
    assert similarities.tolist() == [1, 1, 1, 0, 0, -1]
    everywhere = kt.similar_images(np.ones((1000, 3)), np.ones(3), k=4)
    assert everywhere.indices.tolist() == [0, 1, 2, 3]


def test_equal_rows_are_compared_once_not_for_each_query(monkeypatch):
    """A million black photos have the same features: they must not take minutes."""
    exactly, scaled = [], similar._scaled

    def counted(rows):
        exactly.extend([len(rows)] if rows.dtype == "float64" else [])
        return scaled(rows)

    monkeypatch.setattr(similar, "_scaled", counted)
    monkeypatch.setattr(similar, "FEATURES_AT_ONCE", 24 * 1000)
    features = np.tile(FEATURES[:1], (4000, 1))
    features[[7, 2500]] = FEATURES[1:3]
    found = kt.similar_images(features, QUERIES, 5)
    np.testing.assert_array_equal(found.indices, by_hand(features, QUERIES, 5)[0])
    assert sum(exactly) < 100


def test_the_order_of_numbers_in_memory_does_not_count(tmp_path):
    expected = kt.similar_images(FEATURES, QUERIES, 300)
    np.save(tmp_path / "features.npy", np.asfortranarray(FEATURES))
    file = np.load(tmp_path / "features.npy", mmap_mode="r")
    assert file.flags.f_contiguous
    for features in (
        file,
        np.repeat(FEATURES, 2, axis=1)[:, ::2],
        FEATURES.astype("f8"),
    ):
        found = kt.similar_images(features, np.asfortranarray(QUERIES), 300)
        np.testing.assert_array_equal(found.indices, expected.indices)
        np.testing.assert_array_equal(found.similarities, expected.similarities)


def test_one_query_gives_one_row_and_a_list_is_a_query():
    one = kt.similar_images(FEATURES, QUERIES[0].tolist(), 3)
    several = kt.similar_images(FEATURES, QUERIES[:1], 3)
    assert one.indices.shape == (3,)
    assert several.indices.shape == several.similarities.shape == (1, 3)
    np.testing.assert_array_equal(one.indices, several.indices[0])


def test_length_does_not_count_however_long():
    expected = kt.similar_images(FEATURES, QUERIES, 5).indices
    lengths = 10.0 ** RNG.integers(-150, 150, size=(len(FEATURES), 1))
    found = kt.similar_images(FEATURES * lengths, 1e-200 * QUERIES.astype("float64"), 5)
    np.testing.assert_array_equal(found.indices, expected)
    # Their squares are beyond float32.
    huge = kt.similar_images(FEATURES * np.float32(1e30), QUERIES, 5)
    np.testing.assert_array_equal(huge.indices, expected)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "bool"])
def test_other_kinds_of_numbers_are_summed_in_full(dtype):
    features = (20 * FEATURES).clip(-127, 127).astype(dtype)
    features[:, 0] = 1
    found = kt.similar_images(features, QUERIES, 5)
    indices, similarities = by_hand(features, QUERIES, 5)
    np.testing.assert_array_equal(found.indices, indices)
    np.testing.assert_allclose(found.similarities, similarities, atol=1e-7)


def test_features_of_a_split_are_taken_as_they_are():
    train = LabeledFeatures(FEATURES, np.zeros(len(FEATURES), int))
    test = LabeledFeatures(QUERIES, np.zeros(len(QUERIES), int))
    found = kt.similar_images(train, test, 2)
    np.testing.assert_array_equal(
        found.indices, kt.similar_images(FEATURES, QUERIES, 2).indices
    )


def with_row(array, row, value):
    array = array.copy()
    array[row] = value
    return array


@pytest.mark.parametrize(
    ("features", "query", "k", "message"),
    [
        (FEATURES, QUERIES[0], 301, r"k must be .* at most 300\. Received: k=301"),
        (FEATURES, QUERIES[0], 0, r"at least 1"),
        (FEATURES, QUERIES[0, :5], 1, r"as many channels.*query of shape \(5,\)"),
        (FEATURES[0], QUERIES[0], 1, r"features must be .* shape \(count, channels\)"),
        (FEATURES[:0], QUERIES[0], 1, r"features must be .*shape \(0, 24\)"),
        (FEATURES, QUERIES[None], 1, r"query must be .*\(channels,\) or"),
        (FEATURES, QUERIES[0] * 0, 1, r"query must not be all zeros"),
        (FEATURES, with_row(QUERIES, 3, 0), 1, r"zeros in row 3$"),
        (FEATURES, with_row(QUERIES, 2, np.nan), 1, r"query with nan .* row 2$"),
        (with_row(FEATURES, 7, np.inf), QUERIES, 1, r"features with nan .* row 7$"),
        (["a"], QUERIES, 1, r"features must be an array of numbers"),
    ],
)
def test_what_has_no_answer_is_refused(monkeypatch, features, query, k, message):
    monkeypatch.setattr(similar, "FEATURES_AT_ONCE", 24 * 5)
    with pytest.raises(ValueError, match=f"(?s){message}"):
        kt.similar_images(features, query, k)


def test_features_of_all_splits_are_refused_by_name():
    class Features:
        train, class_names = FEATURES, ("a",)

    with pytest.raises(ValueError, match=r"such as features\.train\. Received"):
        kt.similar_images(Features(), QUERIES)


def test_memory_stays_flat(tmp_path):
    """A file of 256 MB is searched in a fraction of that."""
    path = tmp_path / "features.npy"
    file = np.lib.format.open_memmap(path, "w+", "float32", (1_000_000, 64))
    file[:2] = 1
    file[[654_321, 54_321]] = np.tri(2, 64)
    del file
    features = np.load(path, mmap_mode="r")
    tracemalloc.start()
    found = kt.similar_images(features, np.tile(np.tri(1, 64), (20, 1)), 3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.indices.tolist() == [[654_321, 54_321, 0]] * 20
    assert peak < 200e6
