"""Each repair is run as it is printed, on its patient, and then the finding is gone.

A repair speaks of `path/to/photos`, so such a folder lies where it is run. `model` is
the patient, `train`, `validation` and `test` are its data, `backbone` is a trained one,
and `splits` those of the folder. What a repair binds anew is examined.
"""

import pathlib
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_transfer as kt
from keras_transfer.diagnosis import examine
from keras_transfer.diagnosis.case import Case
from keras_transfer.diagnosis.findings import NotExaminedError
from tests.helpers.small_patients import (
    CLASS_NAMES,
    SIZE,
    data,
    healthy,
    photos,
    unfrozen,
)

LOSSES = keras.losses
SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Return a folder with photos in it, of which the names say the label."""
    path = tmp_path_factory.mktemp("place")
    images, labels = photos(400, seed=9)
    # In the alphabet blue comes before red.
    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        file = path / "path/to/photos" / CLASS_NAMES[label] / f"{index}.png"
        file.parent.mkdir(exist_ok=True, parents=True)
        keras.utils.save_img(file, image, scale=False)
    keras.utils.save_img(path / "photo.jpg", images[0], scale=False)
    return path


def body(model):
    """Return the trained backbone of a small classifier."""
    return keras.Model(model.input, model.get_layer("block2_pool").output, name="small")


def check_of(name):
    return next(check for check in examine.CHECKS if check.name == name)


def findings(check, model, splits, **given):
    try:
        return check_of(check).examine(Case(model, splits, **given))
    except NotExaminedError:
        return []


def of_folder(size=SIZE):
    return kt.load_directory("path/to/photos", image_size=size)


def repaired(finding, model, patient, **more):
    """Run a repair; return all names after it, and the splits that it leaves."""
    names = {
        "kt": kt,
        "keras": keras,
        "np": np,
        "tf": tf,
        "model": model,
        **{split: patient.get(split) for split in SPLITS},
        "splits": more.pop("splits", None) or of_folder(),
        **more,
    }
    before = dict(names)
    exec(finding.repair, names)
    if names["splits"] is not before["splits"]:
        return names, names["splits"]
    return names, {**patient, **{x: names[x] for x in SPLITS if patient.get(x)}}


def cure(check, model, splits, title=None, after=lambda names: {}, **given):
    """Plant, find, repair, and look again."""
    more = given.pop("more", {})
    found = findings(check, model, splits, **given)
    found = [x for x in found if title is None or x.title.startswith(title)]
    assert found, "the fault was not found"
    more = {"backbone": body(healthy()), **more}
    names, data_after = repaired(found[0], model, splits, **more)
    again = findings(check, names["model"], data_after, **after(names))
    assert found[0].title not in [x.title for x in again]
    return names, data_after


@pytest.fixture(autouse=True)
def there(place, monkeypatch):
    monkeypatch.chdir(place)


def batched(images, labels):
    return tf.data.Dataset.from_tensor_slices((images, labels)).batch(16)


def scaled(factor):
    return {
        **data(),
        **{x: data()[x].map(lambda a, b: (a * factor, b)) for x in SPLITS},
    }


# Pixels


def test_pixels_in_another_form():
    backbone = kt.build_backbone("efficientnet_lite0", image_size=32)
    model = kt.build_classifier(backbone, num_classes=2)
    splits = of_folder(32)
    unit = {x: getattr(splits, x).map(lambda a, b: (a / 255, b)) for x in SPLITS}
    cure("preprocessing", model, unit, more={"backbone": backbone})


def test_pixels_of_another_size_than_batch_normalization_remembers():
    model = healthy(normalized=True)
    x = inputs = keras.Input((SIZE, SIZE, 3))
    for layer in model.layers[2:]:
        x = layer(x)
    cure("preprocessing", keras.Model(inputs, x), scaled(255.0))


def test_pixel_range():
    forms = {**data(), "test": scaled(1 / 255)["test"]}
    cure("pixel range", healthy(), forms, "The splits give")
    cure("pixel range", healthy(), scaled(1 / 255), "The model expects")
    images, labels = photos(60, seed=3)
    images[5] = np.nan
    spoilt = {**data(), "test": batched(images, labels)}
    cure("pixel range", healthy(), spoilt, "Images that hold NaN")


def test_resizing_and_class_names(place):
    files = sorted(str(x) for x in (place / "path/to/photos").rglob("*.png"))[::-1]
    labels = [CLASS_NAMES.index(pathlib.Path(file).parent.name) for file in files]
    small = SIZE // 2

    def read(file, label):
        image = tf.io.decode_png(tf.io.read_file(file), channels=3)
        return tf.image.resize(image, (small, small), method="nearest"), label

    dataset = tf.data.Dataset.from_tensor_slices((files, labels)).map(read).batch(16)
    inputs = keras.Input((small, small, 3))
    x = keras.layers.GlobalAveragePooling2D()(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(x))
    title = "Photos are made smaller"
    cure("resizing", model, {"test": dataset}, title)
    names, _ = cure(
        "class names", model, {"test": dataset, "class_names": ["blue", "red"]}
    )
    assert kt.load_classifier("model.keras").class_names == names["splits"].class_names


# Data


def test_augmentation():
    plain = tf.data.Dataset.from_tensor_slices(photos(96, seed=1))
    layer = kt.build_augmentation("light", seed=0)

    def augmented(dataset):
        return dataset.map(lambda x, y: (layer(x, training=True), y))

    frozen = {**data(), "train": augmented(plain.batch(32)).cache()}
    # The repair begins with photos that nothing was done to.
    cure(
        "augmentation before cache",
        healthy(),
        frozen,
        more={"train": plain, "augmentation": layer},
    )
    changed = {**data(), "test": augmented(data()["test"])}
    found = findings("augmentation at evaluation", healthy(), changed)
    names, _ = repaired(found[0], healthy(), data(), augmentation=layer)
    # What it validates with is not what it trains with.
    kept = {**data(), "train": names["train"].map(names["augment"])}
    assert findings("augmentation at evaluation", healthy(), kept) == []


def test_photos_in_two_splits():
    images, labels = photos(60, seed=3)
    images[:6] = photos(96, seed=1)[0][:6]
    cure("photos in two splits", healthy(), {**data(), "test": batched(images, labels)})


def test_order_and_number_of_labels():
    images, labels = photos(60, seed=3)
    cure("label order", healthy(), {**data(), "test": batched(images, 1 - labels)})
    many = {**data(), "test": batched(images, labels * 4)}
    # Of these the names are known as well.
    named = types.SimpleNamespace(class_names=["red", *"abc", "blue"])
    more = {"splits": named}
    cure("label order", healthy(), many, "Labels that the model", more=more)
    below = {**data(), "test": batched(images, 2 * labels - 1)}
    cure("label order", healthy(), below, "Labels that the model")


# Weights and training


def test_head_and_backbone():
    model = healthy()
    head = model.get_layer("head_predictions")
    fresh = keras.initializers.GlorotUniform(seed=5)(head.kernel.shape)
    head.set_weights([fresh, np.zeros(2)])
    splits = of_folder()
    features = kt.extract_features(body(healthy()), splits)
    cure("head", model, data(), more={"features": features})
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(8, 3)(inputs)
    fresh = kt.build_classifier(keras.Model(inputs, x), num_classes=2)
    splits = of_folder(32)
    cure("backbone", fresh, {"test": splits.test}, more={"splits": splits})


def nested():
    base = keras.Sequential(healthy(normalized=True).layers[:-3])
    for layer in [*base.layers, base]:
        layer.trainable = True
    inputs = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.GlobalAveragePooling2D()(base(inputs, training=False))
    return keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(x))


def test_batch_normalization_that_moves():
    cure("BatchNormalization", nested(), data())


def test_trainable_after_fit():
    model = healthy()
    model.fit(data()["train"], verbose=0)
    names, _ = cure("trainable", unfrozen(model), data())
    names["model"].fit(data()["train"], verbose=0)
    assert findings("trainable", names["model"], data()) == []


def test_learning_rate():
    model = unfrozen(healthy())
    kt.compile_classifier(model, keras.optimizers.SGD(300.0))
    images, _ = photos(96, seed=1)
    labels = np.random.default_rng(0).integers(0, 2, 96)
    cure("learning rate", model, {**data(), "train": batched(images, labels)})


# Last layer, loss, outputs


def with_head(units, activation):
    model = healthy()
    x = model.get_layer("head_dropout").output
    return keras.Model(model.input, keras.layers.Dense(units, activation=activation)(x))


def one_hot(classes=2):
    images, labels = photos(60, seed=3)
    labels = labels if classes == 2 else np.arange(60) % classes
    return {**data(), "test": batched(images, np.eye(classes, dtype="float32")[labels])}


FAULTS = {
    "softmax over one": (1, "softmax", "mse", None),
    "sigmoid for classes": (3, "sigmoid", "binary_crossentropy", 3),
    "softmax as logits": (
        *(2, "softmax"),
        *(LOSSES.SparseCategoricalCrossentropy(from_logits=True), None),
    ),
    "logits as softmax": (2, None, "sparse_categorical_crossentropy", None),
    "one-hot logits": (2, None, "categorical_crossentropy", 2),
    "categorical over one": (1, "sigmoid", "categorical_crossentropy", None),
    "binary over several": (2, "softmax", "binary_crossentropy", 2),
    "sparse on one-hot": (2, "softmax", "sparse_categorical_crossentropy", 2),
    "categorical on numbers": (2, "softmax", "categorical_crossentropy", None),
    "one unit on one-hot": (1, "sigmoid", "binary_crossentropy", 2),
    "a distance read as a logit": (1, None, "mse", None),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_last_layer_and_loss(fault):
    units, activation, loss, classes = FAULTS[fault]
    model = with_head(units, activation)
    model.compile("adam", loss)
    splits = one_hot(classes) if classes else data()
    found = findings("last layer and loss", model, splits)
    backbone = body(healthy())
    own = of_folder()
    names, _ = repaired(found[0], model, splits, backbone=backbone, splits=own)
    if classes == 3:  # The photos of the folder are of two classes.
        splits = one_hot(2)
    again = findings("last layer and loss", names["model"], splits)
    assert [x.title for x in again if x.severity != "note"] == []


def test_a_metric_that_does_not_fit():
    model = healthy()
    model.compile(
        "adam", "sparse_categorical_crossentropy", metrics=["categorical_accuracy"]
    )
    cure("last layer and loss", model, data(), "A metric that")


def test_training_mode():
    model = healthy()
    x = keras.layers.Dropout(0.5)(model.get_layer("head_pooling").output, training=True)
    ill = keras.Model(model.input, model.get_layer("head_predictions")(x))
    cure("training mode", ill, data())
    # Here the caller is repaired, not the model: its answers are those of predict.
    inputs = keras.Input((SIZE, SIZE, 3))
    light = keras.layers.RandomBrightness(0.8)(inputs)
    model = keras.Model(inputs, healthy()(light))
    (finding,) = findings("training mode", model, data())
    images = photos(8, seed=3)[0]
    names, _ = repaired(finding, model, data(), images=images)
    own = model.predict(images, verbose=0)
    assert np.allclose(names["outputs"], own, atol=1e-5)


def test_outputs():
    model = healthy()
    model.get_layer("head_predictions").bias.assign([np.nan, 0.0])
    cure("outputs", model, data(), "Answers that are no numbers")
    model = healthy()
    model.get_layer("head_predictions").bias.assign([50.0, 0.0])
    cure("outputs", model, data(), "The same answer")


# Results


def test_imbalance():
    images, labels = photos(400, seed=7)
    chosen = np.concatenate(
        [np.flatnonzero(labels == 0)[:180], np.flatnonzero(labels)[:20]]
    )
    splits = {**data(), "test": batched(images[chosen], labels[chosen])}
    model = healthy()
    model.get_layer("head_predictions").bias.assign([50.0, 0.0])
    own = of_folder()
    (finding,) = findings("imbalance", model, splits)
    more = {"backbone": body(healthy()), "splits": own}
    names, _ = repaired(finding, model, splits, **more)
    # The classes of the folder are in the order of the alphabet.
    turned = {**splits, "test": batched(images[chosen], 1 - labels[chosen])}
    assert findings("imbalance", names["model"], turned) == []


def in_the_order_of_the_folder(model):
    head = model.get_layer("head_predictions")
    head.set_weights([value[..., ::-1] for value in head.get_weights()])
    return model


def test_few_photos_and_choosing_on_the_test_split():
    few = {**data(), "test": batched(*photos(20, seed=3))}
    sick = in_the_order_of_the_folder(healthy())
    names, _ = cure("size of the test split", sick, few)
    assert names["report"].accuracy > 0.9
    same = {**data(), "test": data()["validation"]}
    cure(
        "choosing on the test split",
        in_the_order_of_the_folder(healthy()),
        same,
        after=lambda names: {"history": names["history"]},
    )


def test_predictions():
    model = in_the_order_of_the_folder(healthy(dropout=0.7))
    own = of_folder()
    held = {x: getattr(own, x) for x in SPLITS}
    answers = model.predict(own.test, verbose=0)
    moved = answers[np.random.default_rng(0).permutation(len(answers))]
    images, _ = own.arrays("test")
    dropped = np.array(model(images.astype("float32"), training=True))
    # Of another number than the test photos, which these photos of noise are like.
    held["validation"] = own.validation.unbatch().take(40).batch(16)
    report = kt.evaluate_classifier(model, held["validation"], own.class_names)
    other = np.random.default_rng(0).dirichlet([1, 1], len(answers))
    still = in_the_order_of_the_folder(healthy())
    for given, title, name in (
        (moved, "Predictions in another order", "report"),
        (report, "The result is reported on validation", "report"),
        (dropped, "Predictions in training mode", "predictions"),
        (other, "Predictions that this model", "report"),
    ):
        cure(
            "predictions",
            still if given is other else model,
            held,
            title,
            after=lambda names, name=name: {"predictions": names[name]},
            predictions=given,
            more={"splits": own},
        )
