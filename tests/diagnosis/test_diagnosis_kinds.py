"""No kind of model or data ends in a check that failed, and all is left as it was."""

import random

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_transfer as kt
from keras_transfer.cli.main import main
from keras_transfer.diagnosis import examine
from keras_transfer.diagnosis.case import checked_history
from tests.helpers.small_patients import CLASS_NAMES, SIZE, data, healthy, photos

LAYERS = keras.layers
IMAGES, LABELS = photos(60, seed=3)


def batched(images=IMAGES, labels=LABELS):
    return tf.data.Dataset.from_tensor_slices((images, labels)).batch(16)


def network(convolution=None, channels=3, units=2, policy=None, size=SIZE):
    activation = "sigmoid" if units == 1 else "softmax"
    options = {} if policy is None else {"dtype": policy}
    x = inputs = keras.Input((size, size, channels))
    x = LAYERS.Rescaling(1 / 255, **options)(x)
    x = (convolution or LAYERS.Conv2D(8, 3, **options))(x)
    x = LAYERS.BatchNormalization(**options)(x)
    x = LAYERS.GlobalAveragePooling2D(**options)(x)
    return keras.Model(inputs, LAYERS.Dense(units, activation=activation, **options)(x))


def sequential():
    layers = [LAYERS.Conv2D(4, 3), LAYERS.GlobalAveragePooling2D()]
    head = LAYERS.Dense(2, activation="softmax")
    return keras.Sequential([keras.Input((SIZE, SIZE, 3)), *layers, head])


def guide():
    """Return the model of Keras's guide: the backbone as a single layer, logits."""
    inputs = keras.Input((SIZE, SIZE, 3))
    x = LAYERS.BatchNormalization()(LAYERS.Conv2D(6, 3)(inputs))
    base = keras.Model(inputs, x)
    base.trainable = False
    inputs = keras.Input((SIZE, SIZE, 3))
    x = LAYERS.RandomFlip("horizontal")(inputs)
    x = LAYERS.GlobalAveragePooling2D()(base(LAYERS.Rescaling(1 / 255)(x)))
    model = keras.Model(inputs, LAYERS.Dense(1)(LAYERS.Dropout(0.2)(x)))
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=[keras.metrics.BinaryAccuracy(threshold=0)])
    return model


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.convolution = LAYERS.Conv2D(4, 3)
        self.pooling = LAYERS.GlobalAveragePooling2D()
        self.head = LAYERS.Dense(2, activation="softmax")

    def call(self, images):
        return self.head(self.pooling(self.convolution(images)))


def shared():
    inputs, convolution = keras.Input((SIZE, SIZE, 3)), LAYERS.Conv2D(8, 3)
    x = LAYERS.Concatenate()([convolution(inputs), convolution(inputs / 2)])
    x = LAYERS.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, LAYERS.Dense(2, activation="softmax")(x))


def two_heads():
    inputs = keras.Input((SIZE, SIZE, 3))
    x = LAYERS.GlobalAveragePooling2D()(LAYERS.Conv2D(4, 3)(inputs))
    heads = [LAYERS.Dense(2, activation="softmax")(x) for _ in range(2)]
    return keras.Model(inputs, LAYERS.Average()(heads))


def named():
    """Return a model that answers with a dictionary of one output."""
    model = network()
    return keras.Model(model.input, {"p": model.output})


class Named(Subclassed):
    def call(self, images):
        return {"p": super().call(images)}


def operations():
    inputs = keras.Input((SIZE, SIZE, 3))
    x = LAYERS.GlobalAveragePooling2D()(LAYERS.Conv2D(4, 3)(inputs))
    return keras.Model(inputs, keras.ops.softmax(LAYERS.Dense(2)(x) * 2))


def dense():
    flat = LAYERS.Flatten()
    head = LAYERS.Dense(2, activation="softmax")
    return keras.Sequential([keras.Input((SIZE, SIZE, 3)), flat, head])


MODELS = {
    **{f"{n} filters": lambda n=n: network(LAYERS.Conv2D(n, 3)) for n in (1, 2, 5, 7)},
    "grey": lambda: network(channels=1),
    "depthwise": lambda: network(LAYERS.DepthwiseConv2D(3)),
    "separable": lambda: network(LAYERS.SeparableConv2D(4, 3)),
    "groups": lambda: network(LAYERS.Conv2D(6, 3, groups=3)),
    "transposed": lambda: network(LAYERS.Conv2DTranspose(4, 3)),
    "sequential": sequential,
    "guide": guide,
    "subclassed": Subclassed,
    "any size": lambda: network(size=None),
    "shared": shared,
    "two heads": two_heads,
    "operations": operations,
    "named": named,
    "named, subclassed": Named,
    "dense": dense,
    "one unit": lambda: network(units=1),
    **{
        policy: lambda policy=policy: network(policy=policy)
        for policy in ("mixed_float16", "mixed_bfloat16", "float64", "float16")
    },
}


def failed(found):
    return {k: v for k, v in found.not_examined.items() if "failed" in v}


@pytest.mark.parametrize("kind", MODELS)
def test_no_check_fails_on_a_kind_of_model(kind):
    model = MODELS[kind]()
    images = IMAGES[..., :1] if kind == "grey" else IMAGES
    if not model.compiled:
        kind_of_loss = "binary" if kind == "one unit" else "sparse_categorical"
        model.compile("adam", f"{kind_of_loss}_crossentropy", metrics=["accuracy"])
    splits = {name: batched(images) for name in ("train", "validation", "test")}
    model.fit(splits["train"], validation_data=splits["test"], verbose=0)
    history = model.history
    found = kt.diagnose(model, splits, history, model.predict(images, verbose=0))
    assert failed(found) == {}
    assert found.examined


@pytest.mark.parametrize(
    ("images", "labels", "loss"),
    [
        (IMAGES.astype("uint8"), LABELS, "sparse_categorical_crossentropy"),
        (IMAGES.astype("float64"), LABELS, "sparse_categorical_crossentropy"),
        (IMAGES.astype("float16"), LABELS, "sparse_categorical_crossentropy"),
        (IMAGES, np.eye(2)[LABELS], "categorical_crossentropy"),
        (IMAGES, LABELS[:, None], "sparse_categorical_crossentropy"),
        (IMAGES, LABELS[:, None].astype("float32"), "sparse_categorical_crossentropy"),
        (IMAGES[:1], LABELS[:1], "sparse_categorical_crossentropy"),
        (IMAGES[::2], LABELS[::2], "sparse_categorical_crossentropy"),
    ],
    ids=[
        "uint8",
        "float64",
        "float16",
        "one-hot",
        "column",
        "float-column",
        "one-photo",
        "one-class",
    ],
)
def test_no_check_fails_on_a_kind_of_data(images, labels, loss):
    model = network()
    model.compile("adam", loss, run_eagerly=True)
    model.fit(batched(images, labels), epochs=1, verbose=0)
    splits = {name: batched(images, labels) for name in ("train", "val", "test")}
    assert failed(kt.diagnose(model, splits, model.history)) == {}


def test_weighted_photos_a_loader_of_keras_and_an_empty_split():
    model = healthy()
    weighted = batched().map(lambda x, y: (x, y, tf.ones_like(y)))
    assert failed(kt.diagnose(model, {"test": weighted})) == {}
    empty = kt.diagnose(model, {"train": batched(), "test": batched().take(0)})
    assert failed(empty) == {}
    assert empty.not_examined["outputs"] == "the test split has no images"


def test_two_inputs_or_outputs_are_refused_in_one_sentence():
    first, second = keras.Input((SIZE, SIZE, 3)), keras.Input((SIZE, SIZE, 3))
    x = LAYERS.GlobalAveragePooling2D()(first + second)
    outputs = LAYERS.Dense(2)(x)
    for model in (
        keras.Model([first, second], outputs),
        keras.Model({"a": first, "b": second}, outputs),
        keras.Model([first, second], [outputs, x]),
    ):
        with pytest.raises(ValueError, match="with one input and one output"):
            kt.diagnose(model, data())

    class Two(keras.Model):
        def call(self, images):
            return images[0] + images["b"]

    model = Two()
    model.built = True
    with pytest.raises(ValueError, match="with one input and one output"):
        kt.diagnose(model, data())


# Arguments


@pytest.mark.parametrize(
    "model", [None, "model.keras", 3, data(), keras.layers.Dense(2)]
)
def test_models_that_are_none(model):
    with pytest.raises(ValueError, match="Received: model="):
        kt.diagnose(model, data())


def test_a_classifier_from_a_file(tmp_path):
    path = kt.save_classifier(healthy(), tmp_path / "model.keras", CLASS_NAMES)
    found = kt.diagnose(kt.load_classifier(path), data())
    assert not found.serious and failed(found) == {}
    with pytest.raises(ValueError, match=r"kt\.load_classifier\(path\)"):
        kt.diagnose(path, data())


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        (None, "Received: splits=None"),
        ("photos", r"kt\.load_directory\(path\).*Received: splits=photos"),
        (batched(), r'pass \{"test": dataset\}'),
        ([batched()], "Received: splits="),
        ({"test": batched(), "tets": batched()}, "keys test, tets"),
        ({"val": batched(), "validation": batched()}, "each once"),
        ({"test": None}, "Received: no split"),
        ({}, "Received: no split"),
        ({"test": (IMAGES, LABELS)}, "Each split must be a batched"),
        ({"test": batched().map(lambda x, y: x)}, "of images and labels"),
        ({"test": batched(labels=LABELS.astype(str))}, "of images and labels"),
        ({"test": batched(), "class_names": "ab"}, "Received: class_names=ab"),
        ({"test": batched(), "counts": 60}, "Received: counts=60"),
        ({"test": batched(), "counts": {"test": "x"}}, "whole number"),
    ],
)
def test_splits_that_are_none(splits, message):
    with pytest.raises(ValueError, match=message):
        kt.diagnose(healthy(), splits)


def test_splits_from_code_of_ones_own():
    class Own:
        train, test = data()["train"], data()["test"]

    reasons = kt.diagnose(healthy(), Own()).not_examined.values()
    assert not any("split was given" in reason for reason in reasons)
    with_none = {"val": data()["validation"], "test": None, "class_names": None}
    assert kt.diagnose(healthy(), with_none).examined


@pytest.mark.parametrize(
    "history",
    [
        *("history.json", [0.1, 0.2], {"loss": 0.1}, {"loss": ["a"]}, 3),
        {"f1_score": [np.float32([0.5, 0.6])]},
    ],
)
def test_histories_that_are_none(history):
    with pytest.raises(ValueError, match="Received: history="):
        kt.diagnose(healthy(), data(), history)


def test_a_history_with_one_number_a_class():
    model = healthy()
    one_hot = batched(labels=np.eye(2, dtype="float32")[LABELS])
    model.compile(
        "adam", "categorical_crossentropy", metrics=["acc", keras.metrics.F1Score()]
    )
    history = model.fit(one_hot, validation_data=one_hot, verbose=0)
    assert np.shape(history.history["f1_score"]) == (1, 2)
    assert {*checked_history(history)} == {"acc", "loss", "val_acc", "val_loss"}
    assert failed(kt.diagnose(model, {"test": one_hot}, history)) == {}


@pytest.mark.parametrize(
    ("labels", "shown"),
    [
        (2 * LABELS - 1, "label -1,"),
        (2.0 * LABELS[:, None] - 1, "label -1,"),
        (-1 - LABELS, "labels -2, -1,"),
        (LABELS + 1, "label 2,"),
        (LABELS + 0.5, "labels 0.5, 1.5,"),
    ],
)
def test_labels_without_an_output_are_named_once(labels, shown):
    found = kt.diagnose(network(), {"test": batched(labels=labels)})
    title = "Labels that the model has no output for"
    (finding,) = [x for x in found.serious if x.title == title]
    assert shown in finding.evidence
    assert failed(found) == {}
    if labels.min() < 0:
        for check in ("outputs", "imbalance", "size of the test split"):
            assert found.not_examined[check] == "there are labels below 0"


@pytest.mark.parametrize(
    "predictions", ["a.npy", [], [[0.1], [0.2, 0.3]], ["a", "b"], np.ones((2, 2, 2))]
)
def test_predictions_that_are_none(predictions):
    with pytest.raises(ValueError, match="Received: predictions"):
        kt.diagnose(healthy(), data(), predictions=predictions)


def test_predictions_as_a_list_a_tensor_a_column_or_with_nan():
    model, test = healthy(), data()["test"]
    own = model.predict(test, verbose=0)
    numbers = own.argmax(axis=1)
    for given in (own.tolist(), tf.constant(own), numbers[:, None], tuple(numbers)):
        found = kt.diagnose(model, data(), predictions=given)
        assert [x for x in found.findings if x.check == "predictions"] == []
        assert "predictions" not in found.not_examined
    own[3] = np.nan
    found = kt.diagnose(model, data(), predictions=own)
    (finding,) = [x for x in found.findings if x.check == "predictions"]
    assert "NaN" in finding.evidence


# What a user can see


def state(model, layer, random_numbers=True):
    """Return all that a user can see of a model, and which numbers come next."""
    variables = [*model.variables, *model.optimizer.variables, *layer.variables]
    seen = {
        "variables": [keras.ops.convert_to_numpy(v).tobytes() for v in variables],
        "metrics": [np.array(v).tobytes() for v in model.metrics_variables],
        "trainable": [x.trainable for x in model._flatten_layers()],
        "attributes": [sorted(vars(x)) for x in model._flatten_layers()],
        "compiled": (model.compiled, model.optimizer, model.loss),
        "loss": {k: id(v) for k, v in vars(model._compile_loss).items()},
        "functions": (model.train_function, model.test_function),
        "stop_training": model.stop_training,
        "history": dict(model.history.history),
    }
    if random_numbers:
        python, numpy = random.getstate(), np.random.get_state()
        seen["next"] = (random.random(), np.random.random())
        random.setstate(python)
        np.random.set_state(numpy)
    return seen


def patient():
    keras.utils.set_random_seed(0)
    model = healthy(normalized=True, dropout=0.5)
    for layer in model.layers:
        layer.trainable = True
    metrics = ["accuracy", keras.metrics.AUC()]
    model.compile(
        keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy", metrics=["acc"]
    )
    layer = kt.build_augmentation("light", seed=0)
    train = data()["train"].map(lambda x, y: (layer(x, training=True), y))
    model.fit(train, epochs=1, verbose=0)
    model.stop_training = True
    own = model.get_layer("block1_conv1")
    own.call = own.call  # As tools that look into a model put it there.
    return model, layer, data(train=train), metrics


def test_everything_is_as_it_was():
    model, layer, splits, _ = patient()
    name = keras.layers.Dense(1).name
    keras.utils.set_random_seed(0)
    first = keras.random.uniform((3,))
    keras.utils.set_random_seed(0)
    before = state(model, layer)
    kt.diagnose(model, splits, model.history)
    assert state(model, layer) == before
    assert np.array_equal(keras.random.uniform((3,)), first)
    index = int(name.rpartition("_")[2]) if "_" in name else 0
    assert keras.layers.Dense(1).name == f"dense_{index + 1}"


def test_an_interrupted_examination_leaves_everything_as_it_was(monkeypatch):
    model, layer, splits, _ = patient()
    before = state(model, layer)
    check = examine.CHECKS[0]

    def interrupted(case):
        # In the middle of what changes most.
        case.model(case.some("train", 8), training=True)
        case.random_maps("train")
        case.model.compute_loss(None, np.zeros(1, int), np.ones((1, 2)) / 2)
        random.random(), np.random.random()
        raise KeyboardInterrupt

    checks = [*examine.CHECKS[1:], check._replace(examine=interrupted)]
    monkeypatch.setattr(examine, "CHECKS", checks)
    with pytest.raises(KeyboardInterrupt):
        kt.diagnose(model, splits)
    assert state(model, layer) == before


def test_a_loss_that_was_not_used_yet_is_not_used():
    model = healthy(compiled=False)
    model.compile("adam", "crossentropy")
    assert not model._compile_loss.built
    kt.diagnose(model, data())
    assert not model._compile_loss.built
    one_hot = data()["train"].map(lambda x, y: (x, tf.one_hot(y, 2)))
    assert np.isfinite(model.fit(one_hot, verbose=0).history["loss"][0])


def test_nothing_examined_ends_the_command_with_2(tmp_path, monkeypatch, capsys):
    for index in range(12):
        for name in CLASS_NAMES:
            (tmp_path / name).mkdir(exist_ok=True)
            pixels = photos(2, index)[0][CLASS_NAMES.index(name)]
            keras.utils.save_img(tmp_path / name / f"{index}.png", pixels, scale=False)
    path = tmp_path / "model.keras"
    healthy().save(path)
    # The checks that such a call can never make.
    checks = [x for x in examine.CHECKS if x.name in ("predictions", "trainable")]
    monkeypatch.setattr(examine, "CHECKS", checks)
    assert main(["diagnose", str(path), str(tmp_path)]) == 2
    assert "Not examined" in capsys.readouterr().out
