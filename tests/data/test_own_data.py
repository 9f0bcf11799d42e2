"""Own arrays and data sets become `Splits`, in every usual form, and nothing leaks."""

import gc
import json
import warnings

import keras
import matplotlib
import numpy as np
import pytest
import tensorflow as tf

import keras_transfer as kt
from keras_transfer.comparison import store
from keras_transfer.data import loading_again, own_content
from keras_transfer.data.decoding import resize
from tests.helpers.small_networks import small_backbone, small_classifier

SIZES = {"train": 24, "validation": 9, "test": 8}
NAMES = ("cat", "dog")


def photos(count, seed, side=8, classes=2):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, side, side, 3)).astype("uint8")
    return images, np.arange(count) % classes


def given(**changed):
    return {
        split: photos(count, seed) for seed, (split, count) in enumerate(SIZES.items())
    } | changed


def slices(images, labels):
    return tf.data.Dataset.from_tensor_slices((images, labels))


def one_hot(images, labels):
    return images, np.eye(labels.max() + 1, dtype="float32")[labels]


# Of Keras: TensorFlow's own begin anew in each pass once a seed has been set.
NOISE = keras.random.SeedGenerator(0)


def augment(images, labels):
    return images + keras.random.uniform(tf.shape(images), 0, 9, seed=NOISE), labels


def arrays(**changed):
    parts = given(**changed.pop("parts", {}))
    return kt.Splits.from_arrays(**parts, **{"class_names": NAMES, **changed})


def datasets(change, **arguments):
    parts = {split: change(slices(*pair)) for split, pair in given().items()}
    return kt.Splits.from_datasets(**parts, **{"class_names": NAMES, **arguments})


def content(splits):
    """Return what is in each split, in stored order."""
    return {split: splits.arrays(split) for split in splits.counts}


def assert_same(splits, expected):
    for split, (images, labels) in content(splits).items():
        np.testing.assert_array_equal(images, expected[split][0])
        np.testing.assert_array_equal(labels, expected[split][1])


def multiset(dataset):
    return sorted(
        (image.tobytes(), int(label))
        for images, labels in dataset.as_numpy_iterator()
        for image, label in zip(images, labels, strict=True)
    )


def folder(path, count=8, side=8, classes=NAMES):
    for label, name in enumerate(classes):
        (path / name).mkdir(parents=True)
        for index in range(count):
            image = photos(1, 100 * label + index, side)[0][0]
            keras.utils.save_img(path / name / f"{index:02}.png", image, scale=False)
    return path


def test_arrays_come_back_as_they_were(capsys):
    splits = arrays()
    assert capsys.readouterr().out == (
        "Data: arrays: 41 images at 8 px (24 train, 9 validation, 8 test)\n"
    )
    assert isinstance(splits, kt.Splits) and splits.counts == SIZES
    assert splits.class_names == NAMES and splits.image_size == 8
    assert_same(splits, given())
    assert splits.arrays("test")[0].dtype == np.uint8
    for split in SIZES:
        images, labels = getattr(splits, split).element_spec
        assert images.shape.as_list() == [None, 8, 8, 3] and images.dtype == tf.float32
        assert labels.shape.as_list() == [None] and labels.dtype == tf.int32
    # Shuffled anew in each epoch, and all of it.
    first, second = (
        np.concatenate([labels for _, labels in splits.train]) for _ in range(2)
    )
    assert (first != second).any()
    expected = given()["train"]
    assert multiset(splits.train) == multiset(
        slices(expected[0].astype("float32"), expected[1]).batch(5)
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda x, y: (x.astype("float64"), y.astype("int64")),
        lambda x, y: (x.astype("float16"), y.astype("float32")),
        lambda x, y: (x.astype("int32"), y[:, None]),
        lambda x, y: (tf.constant(x), tf.constant(y)),
        lambda x, y: (x.tolist(), y.tolist()),
        lambda x, y: [x, one_hot(x, y)[1]],
        lambda x, y: (x, np.eye(2, dtype=bool)[y]),
        lambda x, y: (list(x), y.astype(bool)),
        lambda x, y: (x, np.array(NAMES)[y]),
        lambda x, y: (x, np.array(NAMES, dtype=object)[y][:, None]),
    ],
)
def test_every_form_of_an_array_is_the_same_content(change):
    parts = {split: change(*pair) for split, pair in given().items()}
    splits = kt.Splits.from_arrays(**parts, class_names=np.array(NAMES))
    assert_same(splits, given())
    assert splits.fingerprint == arrays().fingerprint


@pytest.mark.parametrize(
    "change",
    [
        lambda ds: ds,
        lambda ds: ds.batch(3),
        lambda ds: ds.batch(5, drop_remainder=True).prefetch(1),
        lambda ds: ds.shuffle(100).batch(7, drop_remainder=True),
        lambda ds: ds.cache().shuffle(100).map(lambda x, y: (tf.cast(x, "float64"), y)),
        lambda ds: ds.map(lambda x, y: (x, tf.one_hot(y, 2))).batch(4),
        lambda ds: ds.map(lambda x, y: (x, tf.one_hot(y, 2, dtype="uint8"))),
        lambda ds: ds.map(lambda x, y: (x, tf.cast(y, "float32")[None])).batch(4),
        lambda ds: ds.map(lambda x, y: {"label": y, "image": x, "id": y}),
        lambda ds: ds.batch(4).unbatch().batch(9),
        lambda ds: ds.batch(4).rebatch(3),
        lambda ds: ds.map(lambda x, y: (x, tf.one_hot(y, 2) > 0)).batch(5),
        lambda ds: ds.map(lambda x, y: (tf.cast(x, "bfloat16"), y)).batch(5),
        lambda ds: ds.filter(lambda x, y: y >= 0).batch(5),
        lambda ds: ds.apply(tf.data.experimental.assert_cardinality(len(ds))).batch(2),
        lambda ds: ds.shuffle(9).batch(6, num_parallel_calls=2).repeat(1),
        lambda ds: ds.take(-1).batch(6),
        lambda ds: tf.data.Dataset.zip(ds.map(lambda x, y: x), ds.map(lambda x, y: y)),
        lambda ds: ds.map(
            lambda x, y: tf.numpy_function(lambda *z: z, [x, y], ["uint8", "int64"])
        ),
    ],
)
def test_every_form_of_a_data_set_is_the_same_content(change):
    splits = datasets(change)
    assert_same(splits, given())
    assert splits.fingerprint == arrays().fingerprint
    images, labels = splits.train.element_spec
    assert images.shape.as_list()[1:] == [8, 8, 3] and images.dtype == tf.float32
    assert labels.shape.rank == 1 and labels.dtype == tf.int32


def test_fingerprints_tell_contents_apart():
    (images, labels), seen = given()["test"], {arrays().fingerprint}
    pixel, label = images.copy(), labels.copy()
    pixel[3, 2, 1, 0] ^= 1
    label[0] = 1
    for changed in ((pixel, labels), (images, label), (images[:-1], labels[:-1])):
        seen.add(arrays(parts={"test": changed}).fingerprint)
    with pytest.warns(UserWarning, match="in two splits"):
        seen.add(arrays(parts={"validation": given()["test"]}).fingerprint)
    seen.add(arrays(class_names=("a", "b")).fingerprint)
    seen.add(arrays(image_size=9).fingerprint)
    assert len(seen) == 7
    assert arrays(batch_size=5, seed=3).fingerprint in seen


@pytest.mark.slow
def test_compare_hands_own_data_over(monkeypatch, tmp_path):
    """The other process makes the fingerprint anew, and refuses another one."""
    monkeypatch.setenv("KERAS_TRANSFER_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("COMPARISON_NOTES", str(tmp_path / "notes"))
    splits = datasets(lambda ds: ds.map(lambda x, y: (x, tf.one_hot(y, 2))).batch(4))
    experiment = {"good": "tests.helpers.comparison_functions:good"}
    comparison = kt.compare(experiment, splits, seeds=[0], verbose=False)
    assert comparison.test_images == SIZES["test"]
    # Its files have gone; what it found stays, for these data only.
    assert not [*(tmp_path / "own_data").iterdir()]
    assert kt.compare(experiment, splits, [0], verbose=False).rows == comparison.rows
    assert (tmp_path / "notes").read_text() == "good 0\n"
    path = store.run_path(experiment["good"], splits, 0)
    assert path.is_file()
    other = arrays(parts={"test": photos(8, 9)})
    assert store.run_path(experiment["good"], other, 0) != path
    with loading_again.handed_over(other) as loader:
        loader = json.loads(json.dumps(loader))
        again = loading_again.load_again(loader, other.fingerprint)
        assert_same(again, content(other))
        assert again.class_names == NAMES
        with pytest.raises(ValueError, match="The data changed"):
            loading_again.load_again(loader, splits.fingerprint)
    # As on a machine that does not see the folder of data.
    with pytest.raises(FileNotFoundError, match=r"All machines.*Received: folder="):
        loading_again.load_again(loader, other.fingerprint)
    monkeypatch.setattr(own_content.paths, "check_room", no_room)
    with pytest.raises(OSError, match="enough room"):
        kt.compare(experiment, other, seeds=[0], verbose=False)


def cut(**arguments):
    return kt.Splits.from_arrays(photos(60, 5, classes=3), **arguments)


def test_missing_splits_are_cut_by_class_and_by_the_seed():
    splits = cut()
    assert splits.counts == {"train": 42, "validation": 9, "test": 9}
    assert splits.class_names == ("0", "1", "2")
    for split, count in splits.counts.items():
        assert np.bincount(splits.arrays(split)[1]).tolist() == [count // 3] * 3
    assert kt.verify.assert_disjoint_splits(splits) == []
    assert cut().fingerprint == splits.fingerprint != cut(seed=1).fingerprint
    # In the order in which they were given.
    images, _ = photos(60, 5, classes=3)
    place = {image.tobytes(): index for index, image in enumerate(images)}
    for split in splits.counts:
        places = [place[image.tobytes()] for image in splits.arrays(split)[0]]
        assert places == sorted(places)
    halves = cut(fractions={"validation": 0.25, "test": 0.25})
    assert halves.counts == {"train": 30, "validation": 15, "test": 15}
    assert cut(fractions=(0.5, 0.25, 0.25)).fingerprint == halves.fingerprint
    assert cut(fractions={"test": 0.25}).counts["validation"] == 9
    # Only what is missing.
    splits = arrays(parts={"validation": None})
    assert splits.counts == {"train": 20, "validation": 4, "test": 8}
    same = datasets(lambda ds: ds.batch(4))
    parts = {"train": slices(*given()["train"]), "test": slices(*given()["test"])}
    same = kt.Splits.from_datasets(**parts, class_names=NAMES)
    assert same.fingerprint == splits.fingerprint
    assert multiset(same.train) == multiset(splits.train)
    with pytest.raises(ValueError, match="Leave test out of fractions"):
        arrays(parts={"validation": None}, fractions={"test": 0.2})
    # Rare classes are in each split, or it is said that they cannot be.
    labels = np.array([0] * 30 + [1] * 3)
    splits = kt.Splits.from_arrays((photos(33, 1)[0], labels))
    assert all({*splits.arrays(split)[1]} == {0, 1} for split in splits.counts)
    with pytest.raises(
        ValueError, match=r"at least 3 different .* 2 different .* of 1"
    ):
        kt.Splits.from_arrays((photos(32, 1)[0], labels[:32]))


def test_copies_of_an_image_stay_in_one_split():
    images, labels = photos(30, 2)
    images = np.concatenate([images, images, images])
    splits = kt.Splits.from_arrays((images, np.tile(labels, 3)))
    assert sum(splits.counts.values()) == 90
    seen = [{image.tobytes() for image in splits.arrays(x)[0]} for x in splits.counts]
    assert not seen[0] & seen[1] and not seen[0] & seen[2] and not seen[1] & seen[2]
    with pytest.warns(UserWarning, match="30 images are there with two labels"):
        kt.Splits.from_arrays((images, np.r_[labels, labels, 1 - labels]))
    with (
        pytest.raises(ValueError, match="1 different images of 0"),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        kt.Splits.from_arrays((np.zeros((30, 8, 8, 3)), labels))


def test_training_data_stay_as_given_and_everything_else_is_read_in_order():
    def pipeline(ds):
        return ds.batch(6).map(lambda x, y: (tf.cast(x, "float32"), y)).map(augment)

    parts = {split: slices(*pair).batch(4) for split, pair in given().items()}
    parts["train"] = pipeline(slices(*given()["train"]).cache().shuffle(24))
    splits = kt.Splits.from_datasets(**parts, class_names=NAMES)
    assert_same(splits, given())
    assert splits.fingerprint == arrays().fingerprint
    assert kt.verify.assert_augmentation_varies(splits.train) == 1.0
    assert kt.verify.assert_order_kept(splits.ordered("train")) == 24
    assert len(splits.train) == 4
    # Frozen by a cache it is frozen for fit, and left out for the rest.
    parts["train"] = pipeline(slices(*given()["train"])).cache()
    splits = kt.Splits.from_datasets(**parts, class_names=NAMES)
    assert_same(splits, given())
    with pytest.raises(AssertionError, match="every epoch sees the same"):
        kt.verify.assert_augmentation_varies(splits.train)
    with pytest.raises(ValueError, match="train changes its images at random, so test"):
        kt.Splits.from_datasets(**parts | {"test": None})
    parts["train"] = slices(*given()["train"]).map(
        lambda x, y: (augment(tf.cast(x, "float32"), y)[0] / 255, y)
    )
    with pytest.raises(ValueError, match="their range as well"):
        kt.Splits.from_datasets(**parts)
    crop = keras.layers.RandomCrop(6, 6)
    parts["train"] = slices(*given()["train"]).batch(4)
    parts["train"] = parts["train"].map(lambda x, y: (crop(x, training=True), y))
    with pytest.raises(ValueError, match="their size or labels as well"):
        kt.Splits.from_datasets(**parts)


def generated(images, labels, draw=None):
    rng = np.random.default_rng(0)

    def generate():
        for index in rng.permutation(len(images)):
            yield (
                (images[index] if draw is None else draw(images[index])),
                labels[index],
            )

    return tf.data.Dataset.from_generator(
        generate,
        output_signature=(
            tf.TensorSpec((8, 8, 3), images.dtype),
            tf.TensorSpec((), "int32"),
        ),
    )


def test_what_a_generator_shuffles_gets_an_order_that_holds():
    parts = {split: slices(*pair) for split, pair in given().items()}
    made = [
        kt.Splits.from_datasets(
            **parts | {"train": generated(*given()["train"]).batch(size)}
        )
        for size in (4, 7)
    ]
    assert made[0].fingerprint == made[1].fingerprint
    assert [len(splits.train) for splits in made] == [6, 4]
    assert kt.verify.assert_order_kept(made[0].ordered("train")) == 24
    for a, b in zip(*(splits.arrays("train") for splits in made), strict=True):
        np.testing.assert_array_equal(a, b)
    rng = np.random.default_rng(1)
    noisy = generated(
        *given()["train"], lambda x: x + rng.integers(1, 9, dtype="uint8")
    )
    with pytest.raises(ValueError, match="Two passes over train give other images"):
        kt.Splits.from_datasets(**parts | {"train": noisy.batch(4)})
    inside = slices(*given()["train"]).map(
        lambda x, y: augment(tf.cast(x, "float32"), y)
    )
    with pytest.raises(ValueError, match="Two passes over train give other images"):
        kt.Splits.from_datasets(**parts | {"train": inside.take(20).batch(4)})


def test_parts_of_a_data_set_that_reshuffles_are_refused():
    whole = slices(*photos(60, 0)).shuffle(60)
    for batched in (whole, whole.batch(4)):
        with pytest.raises(ValueError, match="takes or skips a part"):
            kt.Splits.from_datasets(batched.take(5), batched.skip(5))
    with pytest.raises(ValueError, match="takes or skips a part"):
        kt.Splits.from_datasets(
            slices(*photos(40, 1)), whole.shard(2, 0), whole.shard(2, 1)
        )
    # The tutorials' way to say it right.
    whole = slices(*photos(60, 0)).shuffle(60, seed=1, reshuffle_each_iteration=False)
    splits = kt.Splits.from_datasets(
        whole.take(40), whole.skip(40).take(10), whole.skip(50)
    )
    assert splits.counts == {"train": 40, "validation": 10, "test": 10}
    assert kt.verify.assert_disjoint_splits(splits) == []
    assert kt.verify.assert_order_kept(splits.ordered("train")) == 40


@pytest.mark.parametrize("mode", ["int", "categorical", "binary"])
def test_keras_s_own_loader(tmp_path, mode):
    for split in ("train", "test"):
        folder(tmp_path / split, 8 if split == "train" else 4)

    def load(split, **arguments):
        return keras.utils.image_dataset_from_directory(
            tmp_path / split,
            image_size=(8, 8),
            batch_size=3,
            label_mode=mode,
            verbose=False,
            **arguments,
        )

    layer = keras.layers.RandomFlip()
    with pytest.warns(UserWarning, match="in two splits"):
        made = [
            kt.Splits.from_datasets(
                change(load("train", shuffle=shuffle)),
                load("test"),
                load("test", shuffle=shuffle),
            )
            for shuffle in (True, False)
            for change in (
                lambda ds: ds,
                lambda ds: (
                    ds.cache()
                    .map(lambda x, y: (layer(x, training=True), y))
                    .prefetch(1)
                ),
            )
        ]
    assert len({splits.fingerprint for splits in made}) == 1
    assert made[0].class_names == NAMES
    images, labels = made[0].arrays("train")
    np.testing.assert_array_equal(images[0], photos(1, 0)[0][0])
    assert labels.tolist() == [0] * 8 + [1] * 8


def test_keras_s_own_loader_is_read_twice_where_a_pass_may_differ(tmp_path):
    """Files are known, but not what a step between makes of them."""

    def load(path):
        dataset = keras.utils.image_dataset_from_directory(
            path, image_size=(8, 8), batch_size=3, verbose=False
        )
        names = dataset.class_names
        dataset = dataset.map(augment).filter(lambda x, y: tf.shape(x)[0] > 0)
        dataset.class_names = names
        return dataset

    with pytest.raises(ValueError, match="Two passes over train give other images"):
        kt.Splits.from_datasets(
            load(folder(tmp_path / "a")), load(tmp_path / "a"), load(tmp_path / "a")
        )


def test_class_names_must_be_those_of_all_parts(tmp_path):
    def load(name, classes):
        return keras.utils.image_dataset_from_directory(
            folder(tmp_path / name, classes=classes),
            class_names=classes,
            image_size=(8, 8),
            verbose=False,
        )

    train, other = load("a", ["cat", "dog"]), load("b", ["dog", "cat"])
    with pytest.raises(ValueError, match="same order everywhere"):
        kt.Splits.from_datasets(train, other)
    with pytest.raises(ValueError, match="same order everywhere"):
        kt.Splits.from_datasets(train, class_names=["dog", "cat"])
    splits = kt.Splits.from_datasets(train, class_names=["Felis", "Canis"])
    assert splits.class_names == ("Felis", "Canis")


def test_images_of_different_sizes_are_stretched_or_refused():
    rng = np.random.default_rng(0)
    many = [
        rng.integers(0, 256, (rng.integers(9, 20), 12, 3)).astype("uint8")
        for _ in range(30)
    ]
    labels = np.arange(30) % 2
    dataset = tf.data.Dataset.from_generator(
        lambda: zip(many, labels, strict=True),
        output_signature=(
            tf.TensorSpec((None, None, 3), "uint8"),
            tf.TensorSpec((), "int64"),
        ),
    )
    with pytest.raises(ValueError, match=r"square. Pass image_size="):
        kt.Splits.from_datasets(dataset)
    with pytest.raises(ValueError, match=r"square. Pass image_size="):
        kt.Splits.from_arrays((many, labels))
    by_list = kt.Splits.from_arrays((many, labels), image_size=np.int64(8))
    by_data = kt.Splits.from_datasets(dataset, image_size=(8, 8))
    assert by_list.fingerprint == by_data.fingerprint
    for image in by_data.arrays("test")[0]:
        assert any((image == resize(each, 8)).numpy().all() for each in many)
    # The same with all three given, where training data stay a pipeline.
    splits = kt.Splits.from_datasets(
        dataset.skip(9).shuffle(21),
        dataset.take(4),
        dataset.skip(4).take(5),
        image_size=8,
    )
    assert splits.train.element_spec[0].shape.as_list() == [None, 8, 8, 3]
    assert multiset(splits.train) == multiset(splits.ordered("train"))
    squares = [image[:9, :9] for image in many]
    squares[7] = many[7][:8, :8]
    with pytest.raises(ValueError, match=r"must be of one size. Pass image_size"):
        kt.Splits.from_arrays((squares, labels))
    with pytest.raises(ValueError, match=r"must be of one size. Pass image_size"):
        arrays(parts={"test": photos(8, 1, side=9)})


def test_pixels_that_are_no_photos_are_kept_and_said():
    images, labels = given()["train"]
    scaled = (images / 255, labels)
    with pytest.warns(UserWarning, match="from 0 to 1, .*take RGB from 0 to 255"):
        splits = kt.Splits.from_arrays(scaled)
    found, order = splits.arrays("train"), splits.counts["train"]
    assert found[0].dtype == np.float32 and len(found[0]) == order
    assert {x.tobytes() for x in found[0]} <= {
        x.tobytes() for x in scaled[0].astype("float32")
    }
    with pytest.warns(UserWarning, match="from -1 to 1"):
        kt.Splits.from_datasets(slices(images / np.float32(127.5) - 1, labels).batch(4))
    with pytest.warns(UserWarning, match="to 65535"):
        kt.Splits.from_arrays((images.astype("uint16") * 257, labels))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kt.Splits.from_arrays((images + 0.25 * (images < 255), labels))
    # What preprocess_input does to float arrays afterwards changes nothing.
    own = images + np.float32(0.25) * (images < 255)
    splits = kt.Splits.from_arrays((own, labels))
    before = splits.arrays("test")[0]
    own /= 255
    np.testing.assert_array_equal(splits.arrays("test")[0], before)


def test_grey_images_become_rgb():
    images, labels = photos(30, 4)
    grey = images[..., :1]
    expected = kt.Splits.from_arrays((np.repeat(grey, 3, -1), labels))
    for changed in (grey, grey[..., 0]):
        found = kt.Splits.from_arrays((changed, labels))
        assert found.fingerprint == expected.fingerprint
    for dataset in (slices(grey, labels), slices(grey, labels).batch(4)):
        parts = [dataset, slices(*photos(4, 5)), slices(*photos(4, 6))]
        splits = kt.Splits.from_datasets(*parts)
        assert splits.train.element_spec[0].shape.as_list()[1:] == [8, 8, 3]
        np.testing.assert_array_equal(
            splits.arrays("train")[0], np.repeat(grey, 3, axis=-1)
        )


X, Y = photos(24, 0)


@pytest.mark.parametrize(
    ("train", "message"),
    [
        (None, "must be a pair of arrays"),
        (X, r"train=\(images, labels\)"),
        ([], "must be a pair of arrays"),
        ((X, Y, Y), "must be a pair of arrays"),
        ({"images": X, "labels": Y}, "must be a pair of arrays"),
        ("photos", "kt.load_directory"),
        (slices(X, Y), "kt.Splits.from_datasets"),
        ((X, Y[:-1]), "one label for each image"),
        ((X, None), "one label for each image"),
        ((X, 3), "one label for each image"),
        ((None, Y), "must be an array of numbers"),
        ((["a.png"] * 24, Y), "RGB"),
        ((X[0], Y), "must be RGB"),
        ((X[:0], Y[:0]), "no image"),
        ((X[:, :, :0], Y), "with pixels"),
        ((np.zeros((24, 8, 8, 4), "uint8"), Y), r"images\[\.\.\., :3\]"),
        ((np.zeros((24, 3, 8, 8), "uint8"), Y), "np.moveaxis"),
        ((np.zeros((24, 8, 9, 3), "uint8"), Y), "Pass image_size=9"),
        ((X.astype("complex64"), Y), "numbers"),
        ((X.astype(str), Y), "RGB"),
        ((np.full(X.shape, np.nan), Y), "finite"),
        ((X, Y - 1), "from 0"),
        ((X, Y + 0.5), "whole numbers"),
        ((X, Y + 1), "Labels begin at 0"),
        ((X, np.full(24, np.nan)), "whole numbers"),
        ((X, Y * 0), "at least two"),
        ((X, np.eye(2)[Y] * 0.8 + 0.1), "label_smoothing"),
        ((X, np.ones((24, 2))), "one-hot"),
        ((X, np.zeros((24, 2, 2))), "one-hot"),
        ((5, Y), "no image"),
        ((X, np.array(["cat", 1] * 12, dtype=object)), "whole numbers"),
        ((X, [b"cat", b"dog"] * 12), "whole numbers"),
        ((X, 2 * Y), "none of class 1"),
        # As names of all classes they would fill the memory, or be kept as 0 and 1.
        ((X, (2**31 - 1) * Y.astype("int64")), r"none of class 1 \(1\), 2 \(2\)"),
        ((X, 2**32 + Y.astype("int64")), "such as 4294967296"),
    ],
)
def test_arrays_without_one_meaning_are_refused(train, message):
    with pytest.raises(ValueError, match=message) as error:
        kt.Splits.from_arrays(train)
    assert "Received: " in str(error.value)


def first(ds, **signature):
    return ds


@pytest.mark.parametrize(
    ("train", "message"),
    [
        (None, "must be a tf.data.Dataset"),
        ((X, Y), "kt.Splits.from_arrays"),
        (X, "kt.Splits.from_arrays"),
        ("photos", "kt.load_directory"),
        ({"train": slices(X, Y)}, "one by one"),
        ([slices(X, Y), slices(X, Y)], "one by one"),
        (slices(X, Y).map(lambda x, y: x), "of .images, labels."),
        (slices(X, Y).map(lambda x, y: (x, y, 1.0)).batch(4), "weights"),
        (slices(X, Y).map(lambda x, y: {"pixels": x, "label": y}), "map other"),
        (slices(X, Y).map(lambda x, y: ((x, x), y)), "map other"),
        (slices(X, Y).batch(4).batch(2), "height, width, 3"),
        (slices(X[:, 0], Y), "height, width, 3"),
        (slices(X[..., :2], Y), "RGB"),
        (slices(X, Y).repeat(), "must end"),
        (slices(X, Y).repeat().shuffle(9).batch(4), "must end"),
        (slices(X, Y).take(0), "no image"),
        (slices(X, Y).filter(lambda x, y: y > 5).batch(4), "no image"),
        (slices(X, Y).map(lambda x, y: ("a.png", y)), "decode them"),
        (slices(X, Y).map(lambda x, y: (x, "cat")), "whole numbers"),
        (slices(X, Y).map(lambda x, y: (x, [0.1, 0.9])), "label_smoothing"),
        (slices(X, Y).map(lambda x, y: (x, y - 1)), "from 0"),
        (slices(X, Y).map(lambda x, y: (x[:, :5], y)), "square"),
        (slices(X, Y).map(lambda x, y: (tf.transpose(x, (2, 0, 1)), y)), "moveaxis"),
        (
            slices(X, Y)
            .ragged_batch(5)
            .map(lambda x, y: (tf.RaggedTensor.from_tensor(x), y)),
            "image_size",
        ),
        (
            slices(X, Y).map(
                lambda x, y: (
                    tf.debugging.check_numerics(tf.cast(x, "float32") / 0, "bad"),
                    y,
                )
            ),
            "cannot be read",
        ),
    ],
)
def test_data_sets_without_one_meaning_are_refused(train, message):
    with pytest.raises(ValueError, match=message) as error:
        kt.Splits.from_datasets(train)
    assert "Received: " in str(error.value)


def test_endless_generators_are_refused():
    def generate():
        while True:
            yield X[:16], Y[:16]

    endless = tf.data.Dataset.from_generator(
        generate,
        output_signature=(
            tf.TensorSpec((None, 8, 8, 3), "uint8"),
            tf.TensorSpec((None,), "int64"),
        ),
    )
    with pytest.raises(ValueError, match="over and over"):
        kt.Splits.from_datasets(endless)


def test_labels_mixed_for_training_are_refused():
    mix = keras.layers.MixUp(seed=0)

    def mixed(images, labels):
        both = mix({"images": images, "labels": labels}, training=True)
        return both["images"], both["labels"]

    def hot(images, labels):
        return tf.cast(images, "float32"), tf.one_hot(labels, 2)

    parts = {split: slices(*pair).batch(8) for split, pair in given().items()}
    for change in (
        lambda ds: ds.map(lambda x, y: mixed(*hot(x, y))),
        lambda ds: ds.map(hot).map(mixed),
    ):
        with pytest.raises(ValueError, match="mixup"):
            kt.Splits.from_datasets(**parts | {"train": change(parts["train"])})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"class_names": ["cat"]}, "class_names"),
        ({"class_names": "cat"}, "class_names"),
        ({"class_names": ["cat", "dog", "cow"]}, "labels from 0 to 1"),
        ({"class_names": ["cat", "cat"]}, "different name"),
        ({"class_names": [0, 1]}, "class_names"),
        ({"class_names": {"cat": 0, "dog": 1}}, "class_names"),
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": "8"}, "batch_size"),
        ({"seed": -1}, "seed"),
        ({"seed": None}, "seed"),
        ({"name": 3}, "name"),
        ({"name": "two\nlines"}, "name"),
        ({"image_size": (8, 9)}, "image_size"),
        ({"image_size": 0}, "image_size"),
        ({"image_size": "8"}, "image_size"),
        ({"fractions": 0.3}, "fractions"),
        ({"fractions": (0.5, 0.5)}, "fractions"),
        ({"fractions": (0.5, 0.5, 0.5)}, "1 together"),
        ({"fractions": (1, 0, 0)}, "fractions"),
        ({"fractions": {"train": 0.9, "test": 0.2}}, "1 together"),
        ({"fractions": {"test": 0.9}}, "1 together"),
        ({"fractions": {"train": 0.9}}, "fractions"),
        ({"fractions": {"test": True}}, "fractions"),
        ({"fractions": {"train": 0.8, "val": 0.1, "test": 0.1}}, "fractions"),
        ({"fractions": "0.7"}, "fractions"),
    ],
)
def test_settings_without_one_meaning_are_refused(arguments, message):
    for make in (
        lambda **given: kt.Splits.from_arrays((X, Y), **given),
        lambda **given: kt.Splits.from_datasets(slices(X, Y), **given),
    ):
        with pytest.raises(ValueError, match=message) as error:
            make(**arguments)
        assert "Received: " in str(error.value)


def test_one_hot_labels_say_how_many_classes_there_are():
    hot = np.eye(3, dtype="float32")
    with pytest.raises(ValueError, match="one-hot labels of 3"):
        kt.Splits.from_arrays((X, hot[Y]), class_names=NAMES)
    with pytest.raises(ValueError, match=r"none of class 2 \(2\)"):
        kt.Splits.from_arrays((X, hot[Y]))
    with pytest.raises(ValueError, match="one width"):
        arrays(parts={"train": (X, hot[Y]), "test": (X[:8], np.eye(2)[Y[:8]])})
    with pytest.raises(ValueError, match="labels from 0 to 4"):
        arrays(parts={"test": (X[:8], Y[:8] * 4)})
    # Splits to measure on may lack a class.
    with pytest.warns(UserWarning, match="in two splits"):
        assert arrays(parts={"test": (X[::2], Y[::2])}).counts["test"] == 12


@pytest.mark.parametrize("made", [arrays, lambda: datasets(lambda ds: ds.batch(4))])
def test_parts_of_splits_are_asked_for_plainly(made):
    splits = made()
    expected = given()["test"][0][2:5]
    for start, stop in ((2, 5), (np.int64(2), np.int32(5)), (2.0, 5.0)):
        (images, _), *_ = splits.ordered("test", start, stop)
        np.testing.assert_array_equal(images, expected)
    assert len(splits.ordered("test", 5)) == 1
    for split in ("val", 0, None, ["test"], np.array(["test"])):
        with pytest.raises(ValueError, match="Received: split="):
            splits.ordered(split)
        with pytest.raises(ValueError, match="Received: split="):
            splits.arrays(split)
    for bounds in ((True, 5), (2.5, 5), ("2", 5), (0, 9), (-1, 3), (3, 3), (None, 3)):
        with pytest.raises(ValueError, match="Received: st"):
            splits.ordered("test", *bounds)


def test_large_content_goes_to_disk_and_leaves_with_the_splits(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_TRANSFER_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(own_content, "MEMORY_BYTES", 2000)
    monkeypatch.setattr(own_content, "BLOCK_BYTES", 800)
    splits = datasets(lambda ds: ds.batch(3))
    assert_same(splits, given())
    assert splits.fingerprint == arrays().fingerprint
    files = [*(tmp_path / "own_data").rglob("*.npy")]
    assert len(files) > 4
    del splits
    gc.collect()
    assert not [*(tmp_path / "own_data").iterdir()]
    monkeypatch.setattr(own_content.paths, "check_room", no_room)
    with pytest.raises(OSError, match="enough room"):
        datasets(lambda ds: ds.batch(3))


def no_room(folder, size):
    raise OSError(f"There is not enough room: {size} in {folder}")


def test_feature_maps_are_made_in_their_own_way():
    maps = kt.extract_feature_maps(small_backbone(), arrays(), verbose=False)
    for make in (type(maps).from_arrays, maps.from_arrays, maps.from_datasets):
        with pytest.raises(ValueError, match="extract_feature_maps"):
            make((X, Y))


def doors(tmp_path):
    """Return the same content by every door."""
    pairs = given()
    for split, (images, labels) in pairs.items():
        for index, (image, label) in enumerate(zip(images, labels, strict=True)):
            path = tmp_path / split / NAMES[label] / f"{index:02}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            keras.utils.save_img(path, image, scale=False)
    # As Keras lists files: by class.
    pairs = {
        split: (images[np.argsort(labels, kind="stable")], np.sort(labels))
        for split, (images, labels) in pairs.items()
    }

    def load(split):
        return keras.utils.image_dataset_from_directory(
            tmp_path / split, image_size=(8, 8), batch_size=5, verbose=False
        )

    def made(change):
        return kt.Splits.from_datasets(
            **{split: change(slices(*pair)) for split, pair in pairs.items()},
            class_names=NAMES,
        )

    return {
        "arrays": kt.Splits.from_arrays(**pairs, class_names=NAMES),
        "batched, one-hot": made(
            lambda ds: ds.batch(4).map(lambda x, y: (x, tf.one_hot(y, 2)))
        ),
        "unbatched, integer": made(lambda ds: ds.shuffle(24, seed=0)),
        "Keras's own": kt.Splits.from_datasets(**{x: load(x) for x in pairs}),
    }


def test_all_functions_take_own_data_by_every_door(tmp_path):
    matplotlib.use("Agg")
    keras.utils.set_random_seed(0)
    backbone = small_backbone(normalized=True)
    found = {}
    for index, (door, splits) in enumerate(doors(tmp_path).items()):
        cache = tmp_path / f"cache{index}"
        features = kt.extract_features(backbone, splits, cache, verbose=False)
        augmentation = keras.layers.RandomFlip(seed=1)
        maps = kt.extract_feature_maps(
            backbone,
            splits,
            augmentation=augmentation,
            cache_dir=cache,
            verbose=False,
        )
        parts = [*features.train, *features.test, *maps.arrays("validation")]
        parts += [each for _ in range(3) for x in maps.train for each in x]
        found[door] = parts, splits.fingerprint
        keras.utils.set_random_seed(1)
        model = small_classifier(normalized=True)
        history = kt.fine_tune(
            model,
            splits,
            epochs=1,
            freeze_epochs=0,
            from_block="block2",
            class_weight={0: 1.0, 1: 2.0},
            augmentation=augmentation,
            verbose=0,
        )
        assert history.history["stage"] == ["fine-tuning"]
        report = kt.evaluate_classifier(model, splits.test, splits.class_names)
        np.testing.assert_array_equal(report.labels, splits.arrays("test")[1])
        kt.diagnose(model, splits, history, report)
        assert kt.verify.assert_disjoint_splits(splits) == []
        assert kt.plots.show_class_balance(splits)
        assert kt.find_learning_rate(model, splits.train, num_steps=10) is not None
        image = splits.arrays("test")[0][:1].astype("float32")
        kt.grad_cam(model, image)
    kt.fine_tune(
        model, splits, epochs=1, from_block="block2", cache_prefix=True, verbose=0
    )
    features, fingerprint = found.pop("arrays")
    for door, (others, signed) in found.items():
        assert signed == fingerprint, door
        for one, other in zip(features, others, strict=True):
            np.testing.assert_array_equal(one, other, err_msg=door)
