"""Copies are found though they were changed; alike hashes alone are no copies."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_transfer.data.near_duplicates import Fingerprints, fingerprints, match

SIZE = 96


def resized(images, size):
    return np.array(tf.image.resize(images, (size, size), antialias=True))


def photos(count, seed=0):
    """Return images that have, like photos, more of coarse than of fine structure."""
    rng = np.random.default_rng(seed)
    images = np.full((count, SIZE, SIZE, 3), 128.0)
    for cells, strength in ((4, 50), (12, 30), (24, 20), (48, 10)):
        noise = rng.normal(0, strength, (count, cells, cells, 1))
        noise = noise + rng.normal(0, strength / 3, (count, cells, cells, 3))
        images += tf.image.resize(noise, (SIZE, SIZE), "bicubic").numpy()
    return images.clip(0, 255).astype("uint8")


def saved_as_jpeg(images, quality):
    return np.stack(
        [tf.io.decode_jpeg(tf.io.encode_jpeg(x, quality=quality)) for x in images]
    )


def cropped(images, share):
    edge = round(SIZE * share / 2)
    return resized(images[:, edge : SIZE - edge, edge : SIZE - edge], SIZE)


def find_duplicates(first, second):
    return match(fingerprints([first]), fingerprints([second]))


PHOTOS = photos(40)


def test_different_photos_are_no_duplicates():
    assert find_duplicates(PHOTOS, photos(30, seed=1)) == []


def test_exact_copies_come_first_and_once():
    second = np.concatenate([photos(2, seed=1), PHOTOS[[7, 3]], PHOTOS[[5]] * 0.9])
    first = np.concatenate([PHOTOS, PHOTOS])
    found = find_duplicates(first, second)
    assert [(x.first_index, x.second_index, x.exact) for x in found] == [
        (7, 2, True),
        (3, 3, True),
        (5, 4, False),
    ]
    assert [x.difference for x in found[:2]] == [0, 0]
    assert 0 <= found[2].difference < 0.01


def test_integers_and_floats_of_the_same_pixels_are_exact():
    (found,) = find_duplicates(PHOTOS, PHOTOS[[9]].astype("float32"))
    assert found.exact
    turned = PHOTOS[[9], :, ::-1]
    (found,) = find_duplicates(PHOTOS, turned)
    assert not found.exact


@pytest.mark.parametrize(
    "change",
    [
        lambda x: saved_as_jpeg(x, 30),
        lambda x: resized(x, 40),
        lambda x: x[:, :, ::-1],
        lambda x: saved_as_jpeg(x[:, :, ::-1], 60),
        lambda x: x * 0.5 + 20,
        lambda x: np.clip(x * 1.2, 0, 255),
        lambda x: x.mean(axis=-1, keepdims=True).repeat(3, axis=-1),
        lambda x: cropped(x, 0.04),
        lambda x: x / 255,
    ],
    ids=["jpeg", "smaller", "mirrored", "both", "dim", "bright", "grey", "crop", "0-1"],
)
def test_changed_copies_are_found(change):
    copies = change(PHOTOS[:10])
    found = find_duplicates(PHOTOS, copies)
    assert sorted((x.first_index, x.second_index) for x in found) == [
        (i, i) for i in range(10)
    ]
    assert not any(x.exact for x in found)


def test_a_hash_alone_is_no_proof(monkeypatch):
    """Two images of the same cells have one hash, and need not be the same."""
    rng = np.random.default_rng(0)
    cells = rng.uniform(90, 160, (8, 1, 8, 1, 3))
    details = rng.normal(0, 20, (2, 8, 4, 8, 4, 3))
    images = cells + details - details.mean(axis=(2, 4), keepdims=True)
    first, second = images.reshape(2, 1, 32, 32, 3)
    assert find_duplicates(first, second) == []
    (found,) = find_duplicates(first, 0.9 * first)
    assert found.difference < 0.01
    # It is the pixels that speak against them, not the hash.
    monkeypatch.setattr("keras_transfer.data.near_duplicates.MAX_DIFFERENCE", 2)
    (found,) = find_duplicates(first, second)
    assert found.difference > 0.8


def test_the_nearest_of_several_is_named():
    first = np.concatenate([saved_as_jpeg(PHOTOS[:1], 10), PHOTOS[:1] * 0.99])
    (found,) = find_duplicates(first, PHOTOS[:1])
    assert found.first_index == 1


def test_flat_images_are_alike_only_if_they_are_the_same():
    flat = np.ones((3, 16, 16, 3)) * np.array([0, 80, 81])[:, None, None, None]
    found = find_duplicates(flat, flat[1:])
    assert [(x.first_index, x.exact) for x in found] == [(1, True), (2, True)]
    assert find_duplicates(flat[:1], flat[1:]) == []


def test_batches_and_blocks_change_nothing(monkeypatch):
    first, second = fingerprints([PHOTOS]), fingerprints([PHOTOS[::-1] * 0.9])
    expected = match(first, second)
    assert len(expected) == 40
    monkeypatch.setattr("keras_transfer.data.near_duplicates.HASH_PAIRS", 100)
    monkeypatch.setattr("keras_transfer.data.near_duplicates.PIXEL_PAIRS", 1)
    parts = fingerprints(np.split(PHOTOS, 8))
    assert parts.digests == first.digests
    again = match(parts, second)
    assert {x.second_index: x.first_index for x in again} == {
        x.second_index: x.first_index for x in expected
    }


def test_nothing_in_nothing():
    nothing = np.zeros((0, 8, 8, 3))
    assert find_duplicates(nothing, PHOTOS) == []
    assert find_duplicates(PHOTOS, nothing) == []
    assert isinstance(fingerprints([]), Fingerprints)


@pytest.mark.parametrize("shape", [(8, 8, 3), (2, 8, 8, 1), (2, 8, 8)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match=r"height, width, 3.*Received: images of sha"):
        find_duplicates(PHOTOS, np.zeros(shape))


def test_small_images():
    """Also those of the tests: 8 x 8 pixels."""
    images = keras.random.uniform((20, 8, 8, 3), maxval=255, seed=0)
    images = keras.ops.convert_to_numpy(images)
    assert find_duplicates(images[:10], images[10:]) == []
    assert len(find_duplicates(images, images[:5] * 0.9)) == 5
