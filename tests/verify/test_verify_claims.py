"""A proof claims no more than it looked at, and refuses what it cannot look at."""

import keras
import matplotlib
import numpy as np
import pytest
import tensorflow as tf

import keras_transfer as kt
from keras_transfer import verify
from tests.data.test_near_duplicates import photos
from tests.helpers.small_networks import (
    images_and_labels,
    small_backbone,
    small_classifier,
)

COUNT = 40
PHOTOS = np.random.default_rng(0).uniform(0, 255, (COUNT, 8, 8, 3)).astype("float32")


def slices(count=COUNT):
    return tf.data.Dataset.from_tensor_slices((PHOTOS[:count], range(count)))


def generated(count=COUNT):
    """Return images of a source that shuffles by itself."""
    rng = np.random.default_rng(0)

    def draw():
        for index in rng.permutation(count):
            yield PHOTOS[index], index

    spec = tf.TensorSpec((8, 8, 3)), tf.TensorSpec((), tf.int64)
    return tf.data.Dataset.from_generator(draw, output_signature=spec)


def augment(dataset):
    layer = kt.build_augmentation("light", seed=0)
    return dataset.map(lambda x, y: (layer(x, training=True), y))


def mirror(dataset):
    layer = keras.layers.RandomFlip("horizontal", seed=0)
    return dataset.map(lambda x, y: (layer(x, training=True), y))


def same(dataset):
    return dataset


# What is done to 40 photos before, and after, the augmentation and the cache.
PARTS = {
    "drop_remainder": (
        lambda x: x.shuffle(COUNT),
        lambda x: x.batch(32, drop_remainder=True),
    ),
    "take photos": (lambda x: x.shuffle(COUNT), lambda x: x.take(32).batch(16)),
    "take batches": (lambda x: x.shuffle(COUNT), lambda x: x.batch(16).take(2)),
    "repeat and take": (
        lambda x: x.shuffle(COUNT),
        lambda x: x.batch(7).repeat(2).take(9),
    ),
    "shard": (lambda x: x.shuffle(COUNT), lambda x: x.shard(2, 0).batch(8)),
    "skip": (lambda x: x.shuffle(COUNT), lambda x: x.skip(10).batch(8)),
    "filter": (
        lambda x: x.shuffle(COUNT),
        lambda x: x.filter(lambda _, y: y < 30).batch(8),
    ),
    "not in order": (same, lambda x: x.batch(7)),
    "tiny": (lambda x: x.shuffle(COUNT), lambda x: x.take(2).batch(2)),
}


@pytest.mark.parametrize(
    ("part", "source"),
    [*((part, slices) for part in PARTS), ("drop_remainder", generated)],
)
def test_photos_are_matched_in_whatever_part_of_them_comes(part, source):
    before, after = PARTS[part]
    frozen = [
        after(before(source())),
        after(before(source().cache())),
        after(before(augment(source()).cache())),
        after(augment(source()).cache().shuffle(COUNT)),
    ]
    for dataset in frozen:
        with pytest.raises(AssertionError, match="gave the same pixels for"):
            verify.assert_augmentation_varies(dataset)
    for change in (augment, mirror):
        # With two photos, chance may mirror neither of them, a few times.
        varied = after(change(before(source().cache())))
        assert verify.assert_augmentation_varies(varied) > 0.1
        batches = change(after(before(source().cache())))
        assert verify.assert_augmentation_varies(batches) > 0.1


def test_photos_of_a_generator_that_augments_or_shares_nothing():
    rng = np.random.default_rng(0)

    def brightened():
        for index in rng.permutation(COUNT):
            yield PHOTOS[index] + rng.uniform(0, 50), index

    def anew():
        for _ in range(8):
            yield rng.uniform(0, 255, (8, 8, 3)), 0

    spec = tf.TensorSpec((8, 8, 3)), tf.TensorSpec((), tf.int64)
    make = tf.data.Dataset.from_generator
    healthy = make(brightened, output_signature=spec).batch(16)
    assert verify.assert_augmentation_varies(healthy) > 0.1
    with pytest.raises(ValueError, match="passes that share images"):
        verify.assert_augmentation_varies(make(anew, output_signature=spec).batch(4))


def test_photos_of_one_channel_and_without_labels():
    grey = slices().map(lambda x, y: x[..., :1]).batch(16)
    with pytest.raises(AssertionError, match="40 of 40"):
        verify.assert_augmentation_varies(grey)


def test_a_few_photos_in_the_same_order_by_chance():
    for count in (2, 3):
        with pytest.raises(AssertionError, match="shuffles"):
            verify.assert_order_kept(slices(count).shuffle(count).batch(2))
        assert verify.assert_order_kept(slices(count).batch(2)) == count
    assert verify.assert_order_kept(slices(1).shuffle(3).batch(2)) == 1
    for part in (lambda x: x.take(6), lambda x: x.shard(4, 1)):
        with pytest.raises(AssertionError, match="shuffles"):
            verify.assert_order_kept(part(slices().shuffle(COUNT)).batch(4))
        assert verify.assert_order_kept(part(slices()).batch(4))


def test_augmentation_in_half_precision_rests_and_a_restless_one_is_caught():
    half = keras.layers.RandomBrightness(0.2, dtype="mixed_float16")
    assert verify.assert_augmentation_rests(half, PHOTOS) == COUNT

    class Now(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.flip = keras.layers.RandomFlip("horizontal")

        def call(self, images):
            return self.flip(images, training=True)

    with pytest.raises(AssertionError, match="come out changed"):
        verify.assert_augmentation_rests(Now(), PHOTOS[:2])


def test_the_share_is_that_of_the_split_that_is_scored():
    matplotlib.use("Agg")
    pictures = photos(24)
    train, test = pictures[:20], np.concatenate([pictures[20:], pictures[:1]])
    for splits in ({"train": train, "test": test}, {"test": test, "train": train}):
        with pytest.raises(AssertionError, match="train 0 and test 4"):
            verify.assert_disjoint_splits(splits, max_share=0.1)
        assert len(verify.assert_disjoint_splits(splits, max_share=0.2)) == 1
    # One in training and another one in validation are two of five.
    more = {"train": train, "validation": pictures[20:22], "test": test}
    with pytest.raises(AssertionError, match="Found in two splits: 3"):
        verify.assert_disjoint_splits(more, max_share=0.25)


@pytest.mark.parametrize("share", ["0.1", float("nan"), -0.1, 1.5, None, True])
def test_a_share_that_is_none(share):
    two = {"a": photos(2), "b": photos(4)[2:]}
    with pytest.raises(ValueError, match="Received: max_share="):
        verify.assert_disjoint_splits(two, max_share=share)


@pytest.mark.parametrize(
    "splits",
    [
        *(None, "photos", [1], slices().batch(4), {"a": "x", "b": [[1], [1, 2]]}),
        {"a": slices().batch(4), "b": PHOTOS},
        {"a": np.full((2, 8, 8, 3), "x")},
    ],
)
def test_splits_that_are_none(splits):
    with pytest.raises(ValueError, match="Received: splits"):
        verify.assert_disjoint_splits(splits)


def test_weights_that_nothing_is_known_of():
    model = small_classifier(normalized=True)
    before = verify.snapshot(model)
    head = {k: v for k, v in before.items() if k.startswith("head")}
    with pytest.raises(ValueError, match="none of them a moving mean"):
        verify.assert_batch_normalization_still(head, model)
    plain = small_classifier()
    assert verify.assert_batch_normalization_still(verify.snapshot(plain), plain) == 0
    # One name has one meaning.
    assert verify.assert_frozen(before, model, "block1") > 0
    model.layers[-1].set_weights([np.full((2, 2), np.nan), np.ones(2)])
    with pytest.raises(AssertionError, match="hold NaN"):
        verify.assert_updated(before, model, "head")
    held = kt.Classifier(model, ("a", "b")) if hasattr(kt, "Classifier") else None
    if held is not None:
        assert verify.snapshot(held).keys() == before.keys()


@pytest.mark.parametrize("blocks", ["conv9", 3, [3], [None], b"block1", [[]]])
def test_blocks_that_are_none(blocks):
    model = small_classifier()
    for prove in (verify.assert_frozen, verify.assert_updated):
        with pytest.raises(ValueError, match="Received: blocks="):
            prove(verify.snapshot(model), model, blocks)


class Unbuilt(keras.Model):
    pass


@pytest.mark.parametrize("model", [None, "model.keras", Unbuilt(), slices()])
def test_models_that_are_none(model):
    before = verify.snapshot(small_classifier())
    calls = [
        lambda: verify.snapshot(model),
        lambda: verify.assert_frozen(before, model),
        lambda: verify.assert_updated(before, model),
        lambda: verify.assert_batch_normalization_still(before, model),
        lambda: verify.assert_pixel_range(slices().batch(4), model, (0, 255)),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="Received: model="):
            call()


@pytest.mark.parametrize("before", [None, "x", [1], 3])
def test_snapshots_that_are_none(before):
    model = small_classifier()
    for prove in (
        verify.assert_frozen,
        verify.assert_updated,
        verify.assert_batch_normalization_still,
    ):
        with pytest.raises(ValueError, match="Received: before="):
            prove(before, model)
        with pytest.raises(ValueError, match="Received: before="):
            prove(model, model)


def test_a_dark_batch_is_not_the_range_of_a_data_set():
    bright = np.random.default_rng(0).uniform(0, 255, (64, 8, 8, 3)).astype("float32")
    bright[:8] *= 0.1
    model = small_backbone()
    for dataset in (
        tf.data.Dataset.from_tensor_slices(bright).batch(8),
        tf.data.Dataset.from_tensor_slices((bright, range(64))).batch(8).cache(),
    ):
        low, high = verify.assert_pixel_range(dataset, model, (0, 255))
        assert low < 10 and high > 245
    bright[40] = np.nan
    spoilt = tf.data.Dataset.from_tensor_slices(bright).batch(8)
    with pytest.raises(AssertionError, match="from nan"):
        verify.assert_pixel_range(spoilt, model, (0, 255))


@pytest.mark.parametrize(
    "expected", [(1,), (0, 1, 2), "ab", 3, (1, 0), (0, np.nan), ("a", "b"), ([1, 2], 3)]
)
def test_ranges_that_are_none(expected):
    with pytest.raises(ValueError, match="Received: expected="):
        verify.assert_pixel_range(slices().batch(4), small_backbone(), expected)


@pytest.mark.parametrize(
    "dataset", [None, "x", PHOTOS, slices(), slices().batch(4).take(0), [1]]
)
def test_data_sets_that_are_none(dataset):
    calls = [
        lambda: verify.assert_order_kept(dataset),
        lambda: verify.assert_augmentation_varies(dataset),
        lambda: verify.assert_pixel_range(dataset, small_backbone(), (0, 255)),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="Received"):
            call()


@pytest.mark.parametrize("images", [None, "x", [], PHOTOS[0], [[1], [1, 2]]])
def test_images_that_are_none(images):
    layer = keras.layers.RandomFlip()
    for prove in (verify.assert_augmentation_varies, verify.assert_augmentation_rests):
        with pytest.raises(ValueError, match=r"Received: .*images="):
            prove(layer, images)
    with pytest.raises(ValueError, match="Received: augmentation="):
        verify.assert_augmentation_rests(None, PHOTOS)


def test_few_images_of_each_class_are_evidence_together():
    labels = np.repeat([0, 1], 8)
    with pytest.raises(AssertionError, match="2 classes take each other's place"):
        verify.assert_label_order(labels, 1 - labels, ["cat", "dog"])
    few = np.repeat([0, 1], 4)
    verify.assert_label_order(few, 1 - few, ["cat", "dog"])


@pytest.mark.parametrize(
    ("labels", "predicted", "names"),
    [
        ("ab", "ab", ["a", "b"]),
        ([None], [None], ["a"]),
        ([[0], [1, 1]], [0, 1], ["a", "b"]),
        (["a"], ["a"], ["a"]),
        ([0], [0], "a"),
        ([0], [0], None),
    ],
)
def test_labels_that_are_none(labels, predicted, names):
    with pytest.raises(ValueError, match="Received: "):
        verify.assert_label_order(labels, predicted, names)


@pytest.mark.parametrize(
    "result", [None, "done", [None, 1.0], {"a": object()}, {1}, ["a", "b"]]
)
def test_results_that_cannot_be_compared(result):
    with pytest.raises(ValueError, match="which returned"):
        verify.assert_reproducible(lambda: result)


@pytest.mark.parametrize("function", [None, 3, "train", PHOTOS])
def test_functions_that_are_none(function):
    with pytest.raises(ValueError, match="Received: function="):
        verify.assert_reproducible(function)


def test_one_model_that_two_calls_train_on_is_not_reproducible():
    model = small_classifier()
    kt.compile_classifier(model, keras.optimizers.SGD(0.1))
    images, labels = images_and_labels()

    def train():
        model.fit(images, labels, verbose=0)
        return model

    with pytest.raises(AssertionError, match="Two calls differ"):
        verify.assert_reproducible(train)
    assert verify.assert_reproducible(lambda: {"name": "x", "loss": 1.0})["loss"] == 1


def test_outputs_that_prove_nothing(tmp_path):
    model = small_classifier()
    path = tmp_path / "model.keras"
    model.save(path)
    images, _ = images_and_labels()
    model.layers[-1].set_weights([np.zeros((2, 2)), np.zeros(2)])
    with pytest.raises(AssertionError, match="the same outputs"):
        verify.assert_same_predictions(model, path, images)
    model.layers[-1].set_weights([np.full((2, 2), np.nan), np.zeros(2)])
    with pytest.raises(AssertionError, match="NaN says nothing"):
        verify.assert_same_predictions(model, path, images)


@pytest.mark.parametrize("part", ["photos", "batches"])
def test_a_part_of_a_source_that_shuffles_is_no_augmentation(part):
    dataset = generated()
    whole = dataset.take(30).batch(8) if part == "photos" else dataset.batch(8).take(4)
    with pytest.raises(AssertionError, match="Two passes gave the same pixels"):
        verify.assert_augmentation_varies(whole)


def test_what_a_source_augments_beyond_likeness_is_seen():
    rng = np.random.default_rng(0)

    def draw():
        for index in range(COUNT):
            photo = PHOTOS[index]
            yield (photo[::-1] if rng.random() < 0.5 else photo), index

    spec = tf.TensorSpec((8, 8, 3)), tf.TensorSpec((), tf.int64)
    dataset = tf.data.Dataset.from_generator(draw, output_signature=spec)
    for whole in (dataset.batch(16), dataset.take(30).batch(16)):
        assert 0.2 < verify.assert_augmentation_varies(whole) < 0.8
