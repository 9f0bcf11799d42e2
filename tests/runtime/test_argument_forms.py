"""Each form of an argument that has one meaning is taken, every other one refused."""

import decimal
import enum
import fractions
import itertools
import pathlib
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.utils.class_weight import compute_class_weight

import keras_transfer as kt
from keras_transfer.runtime import arguments
from tests.helpers.small_networks import images_and_labels, small_backbone


class Text(str):
    __slots__ = ()


class Side(enum.IntEnum):
    SMALL = 64


class Broken:
    def __repr__(self):
        raise RuntimeError("no text")


def refused(take, *values, name="size", **bounds):
    """Assert that each value gives one short line that names it."""
    for value in values:
        try:
            taken = take(name, value, **bounds)
        except ValueError as error:
            text = str(error)
            assert f"Received: {name}" in text, text
            assert "\n" not in text
            assert len(text) < 600, text
        else:
            raise AssertionError(f"{value!r} was taken as {taken!r}")


@pytest.mark.parametrize(
    "value",
    [
        64,
        64.0,
        np.int8(64),
        np.uint64(64),
        np.float16(64),
        np.array(64),
        np.array([64.0]),
        tf.constant(64),
        tf.Variable(64.0),
        keras.Variable(64.0),
        fractions.Fraction(128, 2),
        Side.SMALL,
    ],
)
def test_whole_numbers(value):
    number = arguments.whole_number("size", value, least=1, most=64)
    assert (type(number), number) == (int, 64)
    assert arguments.real_number("size", value) == 64
    side = arguments.square_size("size", value)
    assert side == 64
    assert arguments.square_size("size", (value, value)) == 64


NO_NUMBERS = [
    None,
    True,
    np.True_,
    np.array(False),
    tf.constant(True),
    "64",
    b"64",
    1 + 2j,
    np.complex64(1),
    decimal.Decimal(2),
    [64],
    np.array([1, 2]),
    np.array("64"),
    np.datetime64("2024-01-01"),
    np.int64,
    int,
    keras.Input((3,)),
    keras.layers.Dense(2),
    float("nan"),
    float("inf"),
    np.float32("-inf"),
    tf.constant(float("nan")),
    10**400,
    -fractions.Fraction(10**400),
    object(),
    Broken(),
    pathlib.Path("64"),
    "x" * 10_000,
    list(range(10_000)),
    np.zeros((2, 8, 8, 3)),
]


def test_what_is_no_number():
    refused(arguments.whole_number, *NO_NUMBERS, 1.5, np.float32(0.5))
    refused(arguments.whole_number, 0, -1, 5, least=1, most=4)
    refused(arguments.real_number, *NO_NUMBERS)
    refused(arguments.real_number, 0, 1, -1, 2.0, above=0, below=1)
    refused(arguments.real_number, -0.1, 1.1, least=0, most=1)
    refused(arguments.square_size, *NO_NUMBERS, 1.5, 0, -5, (0, 0))
    with pytest.raises(ValueError, match=r"at least 0 and at most 4294967295\. Rec"):
        arguments.whole_number("seed", -1, 0, 2**32 - 1)


def test_square_sizes_come_as_pairs_too():
    pairs = [(64, 64), [64, 64.0], np.array([64, 64]), tf.TensorShape([64, 64])]
    for pair in [*pairs, tf.constant([64, 64]), (np.int64(64), 64)]:
        assert arguments.square_size("image_size", pair) == 64
    odd = [(64, 32), (64,), (64, 64, 64), (True, True), ("64", "64"), {64: 64}]
    arrays = [
        (np.zeros(2), np.zeros(2)),
        tf.TensorShape(None),
        (None, None),
        [[64] * 2],
    ]
    refused(arguments.square_size, *odd, *arrays, name="image_size")


def test_flags():
    for value in (True, np.True_, np.array(True), tf.constant(True)):
        assert arguments.flag("verbose", value) is True
    assert arguments.flag("verbose", np.bool_(False)) is False
    odd = [None, 0, 1, "True", "", [], [True], np.array([True, False]), bool, object()]
    refused(arguments.flag, *odd, keras.Input((2,)), name="verbose")
    # The text, not the truth value.
    with pytest.raises(ValueError, match="Received: verbose='True'"):
        arguments.flag("verbose", "True")


def test_choices():
    for value in ("pca", Text("pca"), np.str_("pca")):
        assert arguments.one_of("method", value, ("pca", "tsne")) == "pca"
    assert arguments.one_of("method", None, ("pca", None)) is None
    odd = [None, "PCA", "", b"pca", ["pca"], {"pca"}, {}, np.array(["pca"]), str, 0]
    refused(arguments.one_of, *odd, name="method", choices=("pca", "tsne"))


def test_paths(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for value in ("~/a.keras", Text("~/a.keras"), pathlib.Path("~/a.keras")):
        assert arguments.file_path("path", value) == tmp_path / "a.keras"
    assert arguments.file_path("path", pathlib.Path()) == pathlib.Path()

    class Bytes:
        def __fspath__(self):
            return b"bytes"

    odd = [None, "", " ", "a\0b", b"a", 3, ["a"], Bytes(), pathlib.Path, object()]
    refused(arguments.file_path, *odd, "~nobody-has-this-name/a", name="path")


def test_texts():
    given = [
        ["cat", "dog"],
        ("cat", "dog"),
        np.array(["cat", "dog"]),
        iter(["cat", "dog"]),
    ]
    for value in (*given, {"cat": 0, "dog": 1}.keys(), [Text("cat"), "dog"]):
        names = arguments.texts("class_names", value)
        assert names == ("cat", "dog")
        assert {type(name) for name in names} == {str}
    assert arguments.texts("class_names", []) == ()
    odd = [None, "cat", b"cat", {"cat": 0}, {"cat", "dog"}, [1], ["cat", None], 3]
    tensors = [np.array("cat"), tf.constant(["cat"]), tf.constant("cat")]
    endless = tf.data.Dataset.from_tensors(1).repeat()
    more = [keras.Input((2,)), endless, list, [["cat"], ["dog"]], [b"cat"]]
    refused(arguments.texts, *odd, *tensors, *more, name="class_names")
    refused(arguments.texts, [], ["cat"], name="class_names", least=2)


def test_titles():
    assert arguments.text("title", None) is None
    assert arguments.text("title", "Cats") == "Cats"
    refused(arguments.text, 5, True, ["Cats"], b"Cats", {}, name="title")


def test_number_arrays():
    tensors = [
        tf.constant([1, 2]),
        tf.cast([1, 2], "bfloat16"),
        keras.Variable([1.0, 2]),
    ]
    for value in ([1, 2], (1.0, 2), range(1, 3), np.array([1, 2], "uint8"), *tensors):
        np.testing.assert_array_equal(arguments.number_array("labels", value), [1, 2])
    odd = [
        None,
        "12",
        b"12",
        {},
        {1: 2},
        {1, 2},
        ["1"],
        [None],
        [[1], [1, 2]],
        object(),
    ]
    endless = tf.data.Dataset.from_tensors(1).repeat()
    more = [keras.Input((2,)), (n for n in range(2)), endless, np.int64, [1j], Broken()]
    refused(arguments.number_array, *odd, *more, name="labels")


def test_models():
    model = small_backbone()
    assert arguments.keras_model("model", model) is model
    unbuilt = keras.Sequential([keras.layers.Dense(2)])
    layer = keras.layers.Dense(2)
    odd = [None, unbuilt, layer, keras.Model, "vgg16", model.output, [model], 3]
    refused(arguments.keras_model, *odd, pathlib.Path("a.keras"), name="model")


def test_callbacks():
    stop = keras.callbacks.EarlyStopping()
    for value in (stop, [stop], (stop,), {stop}, iter([stop])):
        assert arguments.callback_list(value) == [stop]
    assert stop in arguments.callback_list(keras.callbacks.CallbackList([stop]))
    for value in (None, [], ()):
        assert arguments.callback_list(value) == []

    def take(name, value):
        return arguments.callback_list(value)

    endless = tf.data.Dataset.from_tensors(1).repeat()
    odd = ["EarlyStopping", keras.callbacks.EarlyStopping, [stop, None], {"stop": stop}]
    more = [3, True, print, endless, np.zeros(()), [[stop]], keras.callbacks]
    refused(take, *odd, *more, name="callbacks")


def test_paths_of_callbacks(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    given = [
        keras.callbacks.BackupAndRestore(pathlib.Path("~/backup")),
        keras.callbacks.ModelCheckpoint("~/{epoch}.keras"),
        keras.callbacks.CSVLogger(pathlib.Path("~/log.csv")),
        keras.callbacks.TensorBoard("~/board"),
    ]
    backup, checkpoint, log, board = arguments.callback_list(given)
    paths = [path for path in vars(backup).values() if "backup" in str(path)]
    assert len(paths) == 5
    assert all(path.startswith(f"{tmp_path}/backup") for path in paths)
    assert checkpoint.filepath == f"{tmp_path}/{{epoch}}.keras"
    assert log.filename == f"{tmp_path}/log.csv"
    assert board.log_dir == f"{tmp_path}/board"
    for kept in ("backup", "gs://bucket/backup", "./~/backup"):
        backup = keras.callbacks.BackupAndRestore(kept)
        assert arguments.callback_list(backup)[0].backup_dir == kept
    with pytest.raises(ValueError, match=r"Received: CSVLogger\.filename="):
        arguments.callback_list(keras.callbacks.CSVLogger("~nobody-has-this-name/a"))


def test_image_layers():
    flip = keras.layers.RandomFlip()
    assert arguments.image_layer("augmentation", None) is None
    for value in (flip, [flip], (flip,)):
        assert arguments.image_layer("augmentation", value) is flip
    both = arguments.image_layer("augmentation", [flip, keras.layers.RandomZoom(0.1)])
    assert [type(layer).__name__ for layer in both.layers] == [
        "RandomFlip",
        "RandomZoom",
    ]
    odd = [[], "strong", keras.layers.RandomFlip, [flip, flip], [flip, None], {}, print]
    refused(arguments.image_layer, *odd, name="augmentation")


def test_datasets():
    images, labels = images_and_labels(4)
    single = tf.data.Dataset.from_tensor_slices((images, labels))
    batched = single.batch(2)
    assert arguments.batched_dataset("dataset", batched) is batched
    alone = tf.data.Dataset.from_tensor_slices(images).batch(2)
    assert arguments.batched_dataset("dataset", alone, labeled=False) is alone
    odd = [
        None,
        single,
        alone,
        batched.repeat(),
        (images, labels),
        images,
        "test",
        iter,
    ]
    more = [batched.map(lambda x, y: {"x": x}), batched.map(lambda x, y: (x, y, y))]
    refused(arguments.batched_dataset, *odd, *more, name="dataset")


def test_class_weights():
    def take(value, **names):
        return arguments.class_weights(value, 2, **names)

    assert take(None) is None
    expected = {0: 1.0, 1: 2.0}
    for value in (
        {0: 1, 1: 2},
        [1, 2],
        (1, 2.0),
        np.array([1, 2]),
        tf.constant([1, 2]),
    ):
        assert take(value) == expected
    assert take({np.int64(1): np.float32(2)}) == {1: 2.0}
    assert take({"dog": 2}, class_names=("cat", "dog")) == {1: 2.0}
    given = {"class_names": ("cat", "dog")}
    twice = {0: 1, "cat": 2}
    odd = [{"bird": 1}, twice, {2: 1}, {-1: 1}, {0.5: 1}, {True: 1}, {0: -1}, {0: None}]
    more = [[1], [1, 2, 3], "balanced", 2, {0: float("nan")}, {0: 10**400}, np.eye(2)]
    for value in (*odd, *more, object(), {0: "1"}, {(0,): 1}, [True, 1]):
        with pytest.raises(ValueError, match="Received: class_weight="):
            take(value, **given)


def test_classes_weigh_the_same_in_all():
    labels = np.repeat([0, 2, 1], [6, 1, 3])
    found = arguments.class_weights("auto", 4, labels=lambda: labels)
    # As scikit-learn does; a class that is not there has no weight of its own.
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    assert found == pytest.approx(dict(enumerate(expected)))
    assert arguments.class_weights({0: 2}, 4, labels=None) == {0: 2.0}
    for value, given in (("auto", None), ("balanced", lambda: labels)):
        with pytest.raises(ValueError, match=f"Received: class_weight={value}"):
            arguments.class_weights(value, 4, labels=given)


def test_what_was_received_is_one_short_line():
    assert arguments.shown("wild") == "wild"
    for text in ("None", "True", "nan", "inf", "two words", "", "64", "a\nb"):
        assert arguments.shown(text) == repr(text)
    assert arguments.shown(Broken()) == "<Broken>"
    for value in (
        "x" * 999,
        [*range(999)],
        np.zeros((99, 9)),
        {n: n for n in range(99)},
    ):
        assert len(arguments.shown(value)) <= 200
        assert "\n" not in arguments.shown(value)


def test_errors_of_public_functions_name_the_argument():
    for value in itertools.chain(NO_NUMBERS[1:8], [-1]):
        with pytest.raises(ValueError, match=re.escape("Received: seed=")):
            kt.build_augmentation(seed=value)
