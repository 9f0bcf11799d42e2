"""Each proof passes where its claim holds, and says in words where it does not."""

import keras
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import tensorflow as tf

import keras_transfer as kt
from keras_transfer import verify
from keras_transfer.data.splits import build_splits
from keras_transfer.verify.pixels import known_range
from tests.data.test_near_duplicates import photos
from tests.helpers.small_networks import images_and_labels, small_classifier

IMAGES, LABELS = images_and_labels(8)


def fit(model, learning_rate=0.1, compiled=False):
    if not compiled:
        kt.compile_classifier(model, keras.optimizers.SGD(learning_rate))
    model.fit(IMAGES, LABELS, verbose=0)
    return model


def classifier(**settings):
    keras.utils.set_random_seed(0)
    return small_classifier(normalized=True, **settings)


# Weights


def test_frozen_and_updated():
    model = classifier()
    before = verify.snapshot(model)
    assert sorted(path for path in before if path.startswith("block1")) == [
        "block1_bn/beta",
        "block1_bn/gamma",
        "block1_bn/moving_mean",
        "block1_bn/moving_variance",
        "block1_conv1/bias",
        "block1_conv1/kernel",
    ]
    fit(model)
    blocks = ["block1", "block2"]
    size = sum(v.size for path, v in before.items() if path.startswith("block"))
    assert verify.assert_frozen(before, model, blocks) == size
    assert verify.assert_batch_normalization_still(before, model) == 2
    moved = verify.assert_updated(before, model)
    assert list(moved) == ["head_predictions/kernel", "head_predictions/bias"]
    kernel = before["head_predictions/kernel"]
    change = np.linalg.norm(model.layers[-1].kernel.numpy() - kernel)
    assert moved["head_predictions/kernel"] == pytest.approx(
        change / np.linalg.norm(kernel), rel=1e-4
    )
    assert moved["head_predictions/bias"] == np.inf
    with pytest.raises(
        AssertionError, match=r"2 of 14 arrays.*head_predictions/kernel"
    ):
        verify.assert_frozen(before, model)
    with pytest.raises(AssertionError, match=r"of block1 is trainable.*Unfreeze"):
        verify.assert_updated(before, model, ["head", "block1"])


def test_weights_are_a_copy_of_a_part():
    model = classifier()
    part = kt.split_at_block(model, "block1")[0]
    before = verify.snapshot(part)
    before["block1_conv1/kernel"][0, 0, 0, 0] += 1
    with pytest.raises(AssertionError, match="1 of 6 arrays that should be frozen"):
        verify.assert_frozen(before, model)
    assert verify.assert_frozen(verify.snapshot(part), fit(model)) == 64


def test_a_backbone_that_was_trained_is_not_frozen():
    model = classifier()
    before = verify.snapshot(model)
    kt.unfreeze(model, from_block="block2")
    fit(model)
    assert verify.assert_frozen(before, model, ["block1"])
    assert verify.assert_updated(before, model, ["block2", "head"])
    with pytest.raises(AssertionError, match=r"block2_conv1/kernel.*kt\.freeze"):
        verify.assert_frozen(before, model, ["block1", "block2"])


def test_training_false_does_not_hold_batch_normalization():
    network = classifier()
    for layer in network.layers:
        layer.trainable = True
    inputs = keras.Input(network.input_shape[1:])
    model = keras.Model(inputs, network(inputs, training=False))
    before = verify.snapshot(model)
    model.compile(
        keras.optimizers.SGD(0.0), "sparse_categorical_crossentropy", jit_compile=False
    )
    fit(model, compiled=True)
    with pytest.raises(AssertionError, match=r"4 of 4 moving stat.*`training=False`"):
        verify.assert_batch_normalization_still(before, model)
    with pytest.raises(AssertionError, match=r"Only moving statistics.*\(4 arrays"):
        verify.assert_frozen(before, model)


def test_trainable_after_fit_changes_nothing():
    model = fit(classifier())
    model.get_layer("block2_conv1").trainable = True
    before = verify.snapshot(model)
    fit(model, compiled=True)
    with pytest.raises(AssertionError, match=r"1 of 2 trainable.*compile again"):
        verify.assert_updated(before, model)
    fit(model)
    assert len(verify.assert_updated(before, model)) == 4


def test_a_bias_that_nothing_moves_is_no_alarm():
    model = classifier()
    before = verify.snapshot(model)
    head = model.get_layer("head_predictions")
    head.kernel.assign(head.kernel + 1)
    moved = verify.assert_updated(before, model)
    assert moved["head_predictions/kernel"] > moved["head_predictions/bias"] == 0


def test_two_networks_with_layers_of_one_name():
    inputs = keras.Input((8, 8, 3))
    first, second = classifier(), classifier()
    second.name = "another"
    model = keras.Model(inputs, [first(inputs), second(inputs)])
    before = verify.snapshot(model)
    assert len(before) == len(model.weights) == 28
    second.get_layer("head_predictions").bias.assign([1, 1])
    with pytest.raises(AssertionError, match=r"first is head_predictions/bias \(2\)"):
        verify.assert_frozen(before, model)


@pytest.mark.parametrize(
    ("before", "blocks", "message"),
    [
        ({}, None, "Received: 0 arrays"),
        ({"conv/kernel": np.zeros(3)}, None, "1 of them not in .*first is conv/kernel"),
        ({"block1_conv1/bias": np.zeros(3)}, None, "1 of them not in"),
        ({"block1_conv1/bias": np.zeros(2)}, ["block9"], "block1, block2, head"),
        ({"block1_conv1/bias": np.zeros(2)}, ["block2"], r"blocks=\['block2'\]"),
        ({"block1_conv1/bias": np.zeros(2)}, [], r"blocks=\[\]"),
    ],
)
def test_weights_of_another_model(before, blocks, message):
    for prove in (verify.assert_frozen, verify.assert_updated):
        with pytest.raises(ValueError, match=message):
            prove(before, classifier(), blocks)


# Splits


def splits_of(**images):
    def read(name):
        pixels, labels = images[name], np.arange(len(images[name])) % 2
        return lambda start=0, stop=None: tf.data.Dataset.from_tensor_slices(
            (pixels[start:stop], labels[start:stop])
        )

    return build_splits(
        {name: read(name) for name in images},
        lambda image: image,
        counts={name: len(value) for name, value in images.items()},
        image_size=96,
        batch_size=4,
        seed=0,
        class_names=("a", "b"),
        name="drawn",
        source="drawn",
        fingerprint="drawn",
    )


def test_disjoint_splits():
    train, validation, test = np.split(photos(24), [10, 17])
    healthy = {"train": train, "validation": validation, "test": test}
    assert verify.assert_disjoint_splits(healthy) == []
    assert verify.assert_disjoint_splits(splits_of(**healthy)) == []


def test_the_same_photo_in_two_splits_is_shown():
    matplotlib.use("Agg")
    plt.close("all")
    train, validation, test = np.split(photos(24), [10, 17])
    test[5] = train[9]
    validation[2] = (0.8 * train[4, :, ::-1]).astype("uint8")
    broken = {"train": train, "validation": validation, "test": test}
    for splits in (broken, splits_of(**broken)):
        with pytest.raises(AssertionError, match="1 images pixel for pixel and 1 nea"):
            verify.assert_disjoint_splits(splits)
        axes = [axes for axes in plt.gcf().axes if axes.images]
        assert [x.get_title() for x in axes] == [
            "train 4 and validation 2",
            "train 9 and test 5",
        ]
        shown = np.asarray(axes[1].images[0].get_array())
        np.testing.assert_array_equal(shown[:, :96], train[9])
        np.testing.assert_array_equal(shown[:, -96:], test[5])
        plt.close("all")
    near, exact = verify.assert_disjoint_splits(broken, max_share=1 / 7)
    assert (near.first, near.second) == ("train", "validation")
    assert (exact.duplicate.first_index, exact.duplicate.second_index) == (9, 5)
    assert (near.duplicate.exact, exact.duplicate.exact) == (False, True)
    with pytest.raises(AssertionError, match="train 4 and validation 2; train 9 and"):
        verify.assert_disjoint_splits(broken, max_share=0.14)


def test_a_resized_photo_in_two_splits_is_shown():
    matplotlib.use("Agg")
    plt.close("all")
    train, test = np.split(photos(24), [16])
    small = tf.image.resize(np.stack([train[3], *test]), (64, 64), antialias=True)
    broken = {"train": train, "test": small.numpy()}
    with pytest.raises(AssertionError, match="1 nearly, for example train 3 and test"):
        verify.assert_disjoint_splits(broken)
    (axes,) = [axes for axes in plt.gcf().axes if axes.images]
    shown = np.asarray(axes.images[0].get_array()).astype(float)
    np.testing.assert_array_equal(shown[:, :96], train[3])
    assert np.abs(shown[:, :96] - shown[:, -96:]).mean() < 10
    plt.close("all")


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ({"train": np.zeros((2, 8, 8, 3))}, "two splits.*{'train': 2}"),
        ({"a": np.ones((2, 8, 8, 3)), "b": np.ones((0, 8, 8, 3))}, "'b': 0"),
        ({"a": np.ones((2, 8)), "b": np.ones((2, 8))}, r"splits\['a'\] of shape"),
    ],
)
def test_splits_without_images(splits, message):
    with pytest.raises(ValueError, match=message):
        verify.assert_disjoint_splits(splits)


# Pipelines

PHOTOS = photos(12)[:, :32, :32].astype("float32")


def dataset(*steps, count=12):
    made = tf.data.Dataset.from_tensor_slices((PHOTOS[:count], range(count)))
    for step in steps:
        made = step(made)
    return made.batch(5)


def augment(made):
    layer = kt.build_augmentation("light", seed=0)
    return made.map(lambda x, y: (layer(x, training=True), y))


def brighten(made):
    keras.utils.set_random_seed(0)
    return made.map(lambda x, y: (tf.image.random_brightness(x, 20), y))


def test_augmentation_varies():
    healthy = augment(dataset(tf.data.Dataset.cache, lambda x: x.shuffle(12)))
    assert verify.assert_augmentation_varies(healthy) == 1
    mirror = keras.layers.RandomFlip("horizontal", seed=0)
    mirrored = dataset().map(lambda x, y: (mirror(x, training=True), y))
    assert 0.1 < verify.assert_augmentation_varies(mirrored) < 1


@pytest.mark.parametrize(
    "broken",
    [
        augment(dataset()).cache(),
        dataset(tf.data.Dataset.cache, lambda x: x.shuffle(12)),
        brighten(dataset()),
    ],
    ids=["before cache", "none", "same seed"],
)
def test_augmentation_that_never_varies(broken):
    with pytest.raises(AssertionError, match=r"12 of 12 images.*before `cache\(\)`"):
        verify.assert_augmentation_varies(broken)


def test_augmentation_layers():
    layer = kt.build_augmentation("standard", seed=0)
    assert verify.assert_augmentation_varies(layer, PHOTOS) == 1
    assert verify.assert_augmentation_rests(layer, PHOTOS) == 12
    still = keras.layers.RandomContrast(0.0)
    with pytest.raises(AssertionError, match=r"12 of 12 images.*check its factors"):
        verify.assert_augmentation_varies(still, PHOTOS)

    class Restless(keras.layers.Layer):
        def call(self, images, training=None):
            return images + 1

    with pytest.raises(AssertionError, match="12 of 12 images come out changed"):
        verify.assert_augmentation_rests(Restless(), PHOTOS)
    with pytest.raises(ValueError, match="images=None"):
        verify.assert_augmentation_varies(layer)


def test_order_kept():
    assert verify.assert_order_kept(dataset()) == 12
    seeded = dataset(lambda x: x.shuffle(12, seed=0, reshuffle_each_iteration=False))
    assert verify.assert_order_kept(seeded) == 12
    with pytest.raises(AssertionError, match=r"of 12 positions.*shuffles"):
        verify.assert_order_kept(dataset(lambda x: x.shuffle(12)))


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (dataset().unbatch(), "batched"),
        (dataset().repeat(), r"Leave out \.repeat\(\)"),
        (dataset().take(0), "an empty dataset"),
    ],
)
def test_data_sets_that_cannot_be_read(broken, message):
    for prove in (verify.assert_order_kept, verify.assert_augmentation_varies):
        with pytest.raises(ValueError, match=message):
            prove(broken)


# Pixels


def batched(images):
    return tf.data.Dataset.from_tensor_slices((images, range(len(images)))).batch(8)


def caffe(images):
    return keras.applications.resnet50.preprocess_input(np.array(images))


SPREAD = np.random.default_rng(0).uniform(0, 255, (8, 32, 32, 3)).astype("float32")


@pytest.fixture(scope="module")
def plain():
    """Return VGG16 as keras.applications makes it, without preprocessing."""
    return keras.applications.VGG16(False, weights=None, input_shape=(32, 32, 3))


@pytest.fixture(scope="module")
def own():
    return kt.build_backbone("vgg16", weights=None, image_size=32)


def test_pixels_as_the_weights_were_trained(plain, own):
    low, high = verify.assert_pixel_range(batched(SPREAD), own)
    assert (low, high) == (pytest.approx(-123.6, abs=1), pytest.approx(151, abs=1))
    assert verify.assert_pixel_range(batched(caffe(SPREAD)), plain) == (
        pytest.approx((low, high), abs=1e-3)
    )
    # Neither is the model another one afterwards.
    assert "call" not in vars(own.get_layer("block1_conv1"))


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda x: x / 255, "from .* to 1; the weights of vgg16"),
        (lambda x: x, "about -123.7 to 151.1. The data set gives"),
        (lambda x: x / 127.5 - 1, "preprocessing of this network, once"),
        (lambda x: caffe(caffe(x)), "preprocessing of this network, once"),
        (lambda x: np.full_like(x, np.nan), "from nan to nan"),
    ],
    ids=["/ 255", "none", "-1 to 1", "twice", "nan"],
)
def test_other_preprocessing(plain, prepare, message):
    nested = keras.Sequential([keras.Input((32, 32, 3)), plain])
    for model in (plain, nested):
        with pytest.raises(AssertionError, match=message):
            verify.assert_pixel_range(batched(prepare(SPREAD)), model)


def test_own_preprocessing_is_not_applied_twice(own):
    for prepared in (SPREAD / 255, caffe(SPREAD)):
        with pytest.raises(AssertionError, match=r"kt.build_backbone holds it"):
            verify.assert_pixel_range(batched(prepared), own)
    rescaled = keras.Sequential(
        [keras.Input((32, 32, 3)), keras.layers.Rescaling(1 / 255), own]
    )
    with pytest.raises(AssertionError, match=r"The data set gives .* to 255"):
        verify.assert_pixel_range(batched(SPREAD), rescaled)


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("resnet50", -123.7, 151.1),
        ("efficientnet_lite0", -127 / 128, 1),
        ("inception_v3", -1, 1),
        ("mobilenet_v2", -1, 1),
    ],
)
def test_ranges_that_are_known(name, low, high):
    backbone = kt.build_backbone(name, weights=None, image_size=75)
    found, lows, highs = known_range(backbone)
    assert found == name
    assert (min(lows), max(highs)) == pytest.approx((low, high), abs=0.1)


def test_ranges_that_are_not_known():
    relative = kt.build_backbone("efficientnet_b0", weights=None, image_size=32)
    relatives = [relative, keras.applications.ResNet50V2(False, None)]
    for model in [*relatives, classifier()]:
        with pytest.raises(ValueError, match=r"expected=\(low, high\)"):
            verify.assert_pixel_range(batched(IMAGES), model)
    found = verify.assert_pixel_range(batched(IMAGES), classifier(), expected=(0, 1))
    assert found == (IMAGES.min(), IMAGES.max())
    with pytest.raises(AssertionError, match="small_classifier were trained with"):
        verify.assert_pixel_range(batched(255 * IMAGES), classifier(), (0, 1))
    head = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match="has a convolution"):
        verify.assert_pixel_range(batched(IMAGES), head, (0, 1))


# Predictions


@pytest.mark.slow
def test_same_predictions_in_a_new_process(tmp_path):
    model = fit(classifier(dropout=0.5))
    path = kt.save_classifier(model, tmp_path / "model.keras", ["cat", "dog"])
    assert verify.assert_same_predictions(model, path, IMAGES) <= 1e-6
    fit(model, learning_rate=1.0)
    with pytest.raises(AssertionError, match=r"predicts otherwise.*after it was saved"):
        verify.assert_same_predictions(model, path, IMAGES)


@pytest.mark.slow
def test_a_file_that_needs_more_than_keras(tmp_path):
    @keras.saving.register_keras_serializable("test_verify")
    class Twice(keras.layers.Layer):
        def call(self, images):
            return 2 * images

    model = keras.Sequential([keras.Input((8, 8, 3)), Twice()])
    model.save(tmp_path / "model.keras")
    with pytest.raises(AssertionError, match=r"`import keras` alone \(.*Twice"):
        verify.assert_same_predictions(model, tmp_path / "model.keras", IMAGES)
    with pytest.raises(FileNotFoundError, match="no model at this path"):
        verify.assert_same_predictions(model, tmp_path / "none.keras", IMAGES)


NAMES = ["cat", "dog", "fox", "owl"]


def answers(order, share=0.8, count=400):
    """Return labels, and predictions that name `order[label]` for most images."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, len(order), count)
    sure = rng.uniform(size=count) < share
    guesses = rng.integers(0, len(order), count)
    return labels, np.where(sure, np.array(order)[labels], guesses)


def test_label_order():
    found = verify.assert_label_order(*answers([0, 1, 2, 3]), NAMES)
    assert list(found) == NAMES
    assert all(0.7 < share < 1 for share in found.values())


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ([0, 2, 1, 3], "^2 classes .* images of dog with fox, of fox with dog. The"),
        ([1, 2, 3, 0], "^4 classes .* of owl with cat"),
    ],
)
def test_labels_in_another_order(order, message):
    with pytest.raises(AssertionError, match=message):
        verify.assert_label_order(*answers(order), NAMES)


@pytest.mark.parametrize(
    ("labels", "predicted"),
    [
        answers([0, 1, 2, 3], share=0),
        answers([0, 0, 0, 0], share=1),
        # Wrong about one class, whose images are all taken for another one.
        answers([0, 2, 2, 3], share=0.9),
        answers([1, 2, 2, 3], share=0.9),
        # Too few to know.
        ([0, 1, 0, 1, 2], [1, 0, 1, 0, 2]),
    ],
    ids=["chance", "constant", "mistaken", "chain", "few"],
)
def test_mistakes_are_no_order(labels, predicted):
    verify.assert_label_order(labels, predicted, NAMES)


@pytest.mark.parametrize(
    ("labels", "predicted"),
    [([0, 1], [0]), ([0, 4], [0, 0]), ([[0]], [[0]]), ([], [])],
)
def test_labels_that_do_not_fit(labels, predicted):
    with pytest.raises(ValueError, match=r"integers from 0 to 3. Received: labels of"):
        verify.assert_label_order(labels, predicted, NAMES)


def test_reproducible():
    def train():
        model = fit(classifier(dropout=0.5))
        return {"model": model, "history": model.history, "loss": float("nan")}

    assert isinstance(verify.assert_reproducible(train)["model"], keras.Model)

    def train_without_seed():
        return fit(small_classifier(dropout=0.5))

    with pytest.raises(AssertionError, match=r"4 of 6 results.*set_random_seed"):
        verify.assert_reproducible(train_without_seed)


@pytest.mark.parametrize("result", [None, [], object()])
def test_nothing_to_compare(result):
    with pytest.raises(ValueError, match="which returned"):
        verify.assert_reproducible(lambda: result)
