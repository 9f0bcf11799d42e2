"""The doctor finds what is wrong with the pipeline, without training on it."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_transfer as kt
from keras_transfer.data import pipelines
from keras_transfer.diagnosis import case
from keras_transfer.diagnosis.checks.data import (
    check_augmented_evaluation,
    check_cached_augmentation,
    check_leaks,
)
from tests.helpers.small_patients import (
    data,
    dataset,
    found,
    healthy,
    not_examined,
    one,
    photos,
)


def augmented(dataset, training=True, **options):
    # Its own layer, because Keras builds it for single images or for batches.
    layer = kt.build_augmentation("light", seed=0)
    return dataset.map(lambda x, y: (layer(x, training=training), y), **options)


def slices(seed=1, count=96):
    return tf.data.Dataset.from_tensor_slices(photos(count, seed))


@pytest.mark.parametrize(
    "frozen",
    [
        lambda x: augmented(x).cache().shuffle(96).batch(16),
        lambda x: augmented(x.batch(16)).cache().prefetch(1),
        lambda x: augmented(x.shuffle(96).batch(16), num_parallel_calls=2).cache(),
        lambda x: (
            x.map(lambda a, b: (tf.image.random_brightness(a, 40), b)).cache().batch(16)
        ),
    ],
    ids=["single", "batches", "parallel", "tf.image"],
)
def test_augmentation_before_cache(frozen):
    finding = one(check_cached_augmentation, splits=data(train=frozen(slices())))
    assert finding.severity == "serious"
    assert finding.numbers["change"] > 0


@pytest.mark.parametrize(
    "varying",
    [
        lambda x: augmented(x.cache().shuffle(96).batch(16)),
        lambda x: augmented(x.cache()).batch(16),
        lambda x: x.shuffle(96).cache().batch(16),
        lambda x: augmented(x).batch(16),
        lambda x: x.map(lambda a, b: (a / 255, b)).cache().shuffle(96).batch(16),
    ],
    ids=["after", "single", "none", "no cache", "not random"],
)
def test_augmentation_that_varies_is_not_accused(varying):
    assert found(check_cached_augmentation, splits=data(train=varying(slices()))) == []


def test_validation_and_test_photos_that_are_augmented():
    assert found(check_augmented_evaluation) == []
    finding = one(
        check_augmented_evaluation,
        splits=data(validation=augmented(dataset(40, seed=2))),
    )
    assert finding.severity == "warning"
    assert "validation" in finding.evidence
    finding = one(
        check_augmented_evaluation, splits=data(test=augmented(dataset(60, 3)))
    )
    assert finding.severity == "serious"
    # Shuffling is another thing.
    splits = data(test=slices(3, 60).shuffle(60).batch(16))
    assert found(check_augmented_evaluation, splits=splits) == []
    splits = data(test=augmented(dataset(60, 3), training=False))
    assert found(check_augmented_evaluation, splits=splits) == []


def test_photos_that_are_in_two_splits():
    assert found(check_leaks) == []
    images, labels = photos(60, seed=3)
    train_images, _ = photos(96, seed=1)
    images[:2] = train_images[[5, 90]]
    images[2] = np.clip(train_images[7] * 0.9 + 10, 0, 255)
    test = tf.data.Dataset.from_tensor_slices((images, labels)).batch(16)
    finding = one(check_leaks, splits=data(test=test))
    assert finding.severity == "serious"
    assert finding.numbers == {"photos": 3, "exact": 2, "share": 0.05}
    assert finding.picture.shape == (2 * 16, 3 * 16, 3)
    assert np.array_equal(finding.picture[:16], finding.picture[16:]) is False
    assert np.array_equal(finding.picture[:16, :32], finding.picture[16:, :32])
    finding = one(check_leaks, splits=data(validation=test))
    assert finding.severity == "warning"
    images[1:3] = photos(2, seed=8)[0]
    single = tf.data.Dataset.from_tensor_slices((images, labels)).batch(16)
    finding = one(check_leaks, splits=data(test=single))
    assert finding.severity == "note"
    assert "by at most 1.7 points" in finding.evidence


def test_leaks_are_seen_through_shuffling_augmentation_and_rescaling():
    images, labels = photos(60, seed=3)
    images[:6] = photos(96, seed=1)[0][:6]

    def prepared(x):
        return x.map(lambda a, b: (a / 255, b))

    train = prepared(augmented(slices().shuffle(96).batch(16)))
    test = prepared(tf.data.Dataset.from_tensor_slices((images, labels)).batch(16))
    finding = one(check_leaks, splits=data(train=train, test=test))
    assert finding.numbers["photos"] == 6


def test_take_and_skip_of_what_is_shuffled_each_time():
    # The leak of a well-known tutorial.
    everything = slices(count=120).shuffle(120, seed=0)
    splits = data(
        train=everything.take(80).batch(16),
        test=everything.skip(80).batch(16),
    )
    assert one(check_leaks, splits=splits).severity == "serious"
    fixed = slices(count=120).shuffle(120, seed=0, reshuffle_each_iteration=False)
    splits = data(train=fixed.take(80).batch(16), test=fixed.skip(80).batch(16))
    assert found(check_leaks, splits=splits) == []


def test_order_and_pixels_of_a_pipeline_without_its_shuffling():
    images, labels = photos(96, seed=1)
    train = slices().cache().shuffle(96).repeat(3).batch(10)
    train = augmented(train).prefetch(2)
    (random,) = pipelines.random_maps(train)
    read, read_labels = pipelines.read(
        pipelines.in_order(train, [random.index]), limit=1000
    )
    assert np.array_equal(read, images)
    assert np.array_equal(read_labels, labels)
    assert not np.array_equal(
        pipelines.read(pipelines.in_order(train), 1000)[0], images
    )
    read, _ = pipelines.read(pipelines.in_order(train, [random.index], every=5), 1000)
    assert np.array_equal(read, images[::5])
    assert pipelines.spacing(train, limit=30) == 4


def test_a_cache_is_neither_filled_nor_thrown_away():
    drawn = []

    def count(image, label):
        tf.py_function(lambda: drawn.append(1), [], [])
        return image, label

    train = slices().map(count).cache().shuffle(96, seed=0).batch(16)
    first = [labels.numpy() for _, labels in train]
    before = len(drawn)
    assert found(check_leaks, healthy(), data(train=train)) == []
    drawn.clear()
    second = [labels.numpy() for _, labels in train]
    assert not drawn and before >= 96
    assert sorted(np.concatenate(first)) == sorted(np.concatenate(second))


def test_without_other_splits_there_is_nothing_to_share():
    splits = {"train": data()["train"]}
    assert "no other split" in not_examined(check_leaks, splits=splits)
    assert "no validation or test" in not_examined(
        check_augmented_evaluation, splits=splits
    )
    splits = {"test": data()["test"]}
    assert "no train split" in not_examined(check_cached_augmentation, splits=splits)


def generated(count):
    images, labels = photos(count, seed=3)
    spec = tf.TensorSpec((None, 16, 16, 3)), tf.TensorSpec((None,), tf.int32)

    def batches():
        for start in range(0, count, 16):
            yield images[start : start + 16], labels[start : start + 16]

    return tf.data.Dataset.from_generator(batches, output_signature=spec)


def test_a_generator_is_read_as_it_is_and_not_looked_into():
    splits = data(test=generated(60))
    assert found(check_leaks, splits=splits) == []
    reason = "a Python generator makes the test images"
    assert not_examined(check_augmented_evaluation, splits=splits) == reason
    reason = not_examined(check_cached_augmentation, splits={"train": generated(60)})
    assert "Python generator" in reason
    # What tf.data does with them is seen.
    splits = data(test=augmented(generated(60)))
    assert one(check_augmented_evaluation, splits=splits).severity == "serious"


def test_steps_before_a_part_was_taken_are_seen():
    everything = augmented(slices(count=120)).cache()
    train = everything.take(80).batch(16)
    assert one(check_cached_augmentation, splits=data(train=train)).numbers["change"]
    test = augmented(slices(3, 60)).shard(2, 0).batch(16)
    finding = one(check_augmented_evaluation, splits=data(test=test))
    assert "test" in finding.evidence
    train = augmented(slices(count=120).cache().skip(40)).batch(16)
    assert found(check_cached_augmentation, splits=data(train=train)) == []


def test_how_many_images_there_are():
    def counted(*change, count=96):
        train = slices(count=count)
        for step in change:
            train = step(train)
        return pipelines.count(train)

    def batch(x):
        return x.batch(10)

    assert counted(lambda x: x.cache().shuffle(96).repeat(3), batch) == 96
    assert counted(lambda x: x.take(80).map(lambda a, b: (a / 255, b)), batch) == 80
    assert counted(batch, lambda x: x.take(2)) is None
    assert pipelines.count(generated(32)) is None


def test_order_after_a_part_was_taken():
    images, _ = photos(96, seed=1)
    train = slices().skip(6).shuffle(90).batch(10)
    read, _ = pipelines.read(pipelines.in_order(train), 1000)
    assert np.array_equal(read, images[6:])
    read, _ = pipelines.read(pipelines.in_order(train, every=9), 1000)
    assert np.array_equal(read, images[6::9])


def leaking(train=3000, test=400, share=0.2):
    images, labels = photos(test, seed=3)
    leaked = int(share * test)
    # From all over the training split.
    images[:leaked] = photos(train, seed=1)[0][:: train // leaked][:leaked]
    order = np.random.default_rng(0).permutation(test)
    test = tf.data.Dataset.from_tensor_slices((images[order], labels[order]))
    return data(train=dataset(train, seed=1), test=test.batch(16))


def test_all_photos_are_compared():
    finding = one(check_leaks, splits=leaking())
    assert finding.numbers == {"photos": 80, "exact": 80, "share": 0.2}
    assert "80 of 400 test photos are among 3,000 training photos" in finding.evidence
    assert "at most 20.0 points" in finding.evidence


@pytest.mark.parametrize("limit", ["photos", "time"])
def test_where_not_all_photos_can_be_compared_the_share_is_estimated(
    limit, monkeypatch
):
    if limit == "photos":
        limits = {"train": 1000, "validation": 100, "test": 200}
        monkeypatch.setattr(case, "PHOTO_LIMITS", limits)
    else:
        monkeypatch.setitem(case.SECONDS, "train", 0.05)
    finding = one(check_leaks, splits=leaking())
    assert "this is an estimate" in finding.evidence
    low, high = finding.numbers["low"], finding.numbers["high"]
    assert low <= 0.2 <= high
    assert low <= finding.numbers["share"] <= high
    assert f"at most {100 * high:.1f} points" in finding.evidence
    # What was looked at says it would be fewer.
    assert finding.numbers["photos"] < 80


def test_a_leak_among_photos_whose_number_is_not_known(monkeypatch):
    monkeypatch.setattr(
        case, "PHOTO_LIMITS", dict.fromkeys(("train", "validation", "test"), 48)
    )
    images, labels = photos(60, seed=3)
    images[:6] = photos(96, seed=1)[0][:6]
    test = tf.data.Dataset.from_tensor_slices((images, labels)).batch(16)
    train = slices().filter(lambda x, y: y >= 0).batch(16)
    finding = one(check_leaks, splits=data(train=train, test=test))
    assert "at least" in finding.evidence
    assert finding.numbers["high"] == 1


def test_grey_photos_in_two_splits():
    images, labels = photos(60, seed=3)
    images[:6] = photos(96, seed=1)[0][:6]
    test = tf.data.Dataset.from_tensor_slices((images, labels)).batch(16)
    grey = {
        name: part.map(lambda x, y: (x[..., :1], y))
        for name, part in (("train", data()["train"]), ("test", test))
    }
    x = inputs = keras.Input((16, 16, 1))
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(x))
    assert one(check_leaks, model, grey).numbers["photos"] == 6
