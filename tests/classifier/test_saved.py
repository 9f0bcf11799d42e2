"""A saved classifier loads in any process, and predicts from what people pass."""

import json
import pathlib
import zipfile

import keras
import numpy as np
import pytest
from keras.src.backend.common import global_state

import keras_transfer as kt
from keras_transfer.classifier.members import MEMBER
from keras_transfer.classifier.saved import Classifier
from keras_transfer.data.decoding import RESIZE_RULE
from keras_transfer.diagnosis import examine
from keras_transfer.models.compiling import compile_for_soft_labels
from tests.helpers import fresh_process
from tests.helpers.model_state import changed, state
from tests.helpers.small_networks import (
    images_and_labels,
    small_backbone,
    small_classifier,
)

NAMES = ["cat", "dog"]


@keras.saving.register_keras_serializable("test_saved")
class OwnAdam(keras.optimizers.Adam):
    pass


@keras.saving.register_keras_serializable("test_saved")
class OwnLoss(keras.losses.Loss):
    def call(self, labels, outputs):
        return keras.losses.sparse_categorical_crossentropy(labels, outputs)


@keras.saving.register_keras_serializable("test_saved")
class OwnMetric(keras.metrics.Mean):
    def update_state(self, labels, outputs, sample_weight=None):
        super().update_state(outputs)


def own_function(labels, outputs):
    return keras.losses.sparse_categorical_crossentropy(labels, outputs)


class Silent:
    """A loss that Keras cannot even describe."""

    def __call__(self, labels, outputs):
        return own_function(labels, outputs)


STOCK = "sparse_categorical_crossentropy"
OWN = {
    "optimizer": {"optimizer": OwnAdam, "loss": STOCK},
    "loss": {"optimizer": "adam", "loss": OwnLoss()},
    "function": {"optimizer": "adam", "loss": own_function},
    "lambda": {"optimizer": "adam", "loss": lambda y, p: own_function(y, p)},
    "silent": {"optimizer": "adam", "loss": Silent()},
    "metric": {"optimizer": "adam", "loss": STOCK, "metrics": [OwnMetric()]},
    "metric in a list": {
        "optimizer": "adam",
        "loss": STOCK,
        "metrics": ["accuracy", own_function],
    },
    "weighted metric": {
        "optimizer": "adam",
        "loss": STOCK,
        "weighted_metrics": [OwnMetric()],
    },
    "loss by name": {"optimizer": "adam", "loss": {"head_predictions": OwnLoss()}},
}
KERASS = {
    "words": {"optimizer": "adam", "loss": STOCK, "metrics": ["accuracy", "acc"]},
    "objects": {
        "optimizer": lambda: keras.optimizers.SGD(
            keras.optimizers.schedules.CosineDecay(0.1, 10)
        ),
        "loss": keras.losses.SparseCategoricalCrossentropy(),
        "metrics": [keras.metrics.SparseTopKCategoricalAccuracy(2)],
        "weighted_metrics": [keras.metrics.sparse_categorical_accuracy],
    },
    "names": {"optimizer": "AdamW", "loss": {"head_predictions": STOCK}},
    "discriminative": None,
}


def compiled(**settings):
    """Return a classifier that has learnt for one step."""
    model = small_classifier(dropout=0.5)
    kt.unfreeze(model, from_block="block1")
    optimizer = settings["optimizer"]
    # An optimizer serves one model.
    made = optimizer if isinstance(optimizer, str) else optimizer()
    model.compile(**settings | {"optimizer": made})
    model.fit(*images_and_labels(), verbose=0)
    return model


def discriminative(optimizer="adamw"):
    model = small_classifier()
    kt.unfreeze(model, from_block="block1")
    kt.compile_classifier(
        model, kt.discriminative_learning_rates(model, 1e-3, optimizer=optimizer)
    )
    model.fit(*images_and_labels(), verbose=0)
    return model


def saved_as_before(model, path):
    """Save as this package did before: whatever the model was compiled with."""
    model.save(path)
    described = {"class_names": NAMES, "image_size": 8, "resize_rule": RESIZE_RULE}
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(MEMBER, json.dumps(described))
    return path


def photo(path, value=100):
    path.parent.mkdir(parents=True, exist_ok=True)
    keras.utils.save_img(path, np.full((8, 8, 3), value), scale=False)
    return path


def folder_of_photos(path):
    rng = np.random.default_rng(0)
    for label in NAMES:
        for number in range(8):
            photo(path / label / f"{number}.png")
            image = rng.integers(0, 256, (8, 8, 3))
            keras.utils.save_img(path / label / f"{number}.png", image, scale=False)


@pytest.mark.parametrize("own", OWN)
def test_what_only_this_process_knows_is_left_out(own, tmp_path, capsys):
    model = compiled(**OWN[own])
    before = state(model)
    path = kt.save_classifier(model, tmp_path / "model.keras", NAMES)
    assert not changed(before, model)
    assert "compile it again" in capsys.readouterr().out
    loaded = keras.saving.load_model(path)
    assert not loaded.compiled
    # Nor is there a state of the optimizer, which nothing could use.
    import h5py

    with zipfile.ZipFile(path) as archive, archive.open("model.weights.h5") as file:
        assert "optimizer" not in h5py.File(file)
    images, _ = images_and_labels()
    np.testing.assert_array_equal(loaded(images), model(images))


@pytest.mark.parametrize("kind", KERASS)
def test_what_keras_knows_is_kept(kind, tmp_path, capsys, recwarn):
    model = discriminative() if kind == "discriminative" else compiled(**KERASS[kind])
    before = state(model)
    path = kt.save_classifier(model, tmp_path / "model.keras", NAMES)
    assert not changed(before, model)
    assert "is saved without" not in capsys.readouterr().out
    loaded = keras.saving.load_model(path)
    assert loaded.compiled
    assert type(loaded.optimizer).__module__.startswith("keras.")
    assert int(loaded.optimizer.iterations) == 1
    assert not [w for w in recwarn if "optimizer" in str(w.message)]
    loaded.fit(*images_and_labels(), verbose=0)


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "rmsprop", "lion"])
def test_every_discriminative_optimizer_is_saved_as_a_stock_one(optimizer, tmp_path):
    model = discriminative(optimizer)
    path = kt.save_classifier(model, tmp_path / "model.keras", NAMES)
    loaded = keras.saving.load_model(path).optimizer
    assert type(loaded).__name__.lower() == optimizer
    for mine, theirs in zip(loaded.variables, model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.slow
def test_files_load_in_fresh_processes(tmp_path):
    images, _ = images_and_labels()
    np.save(tmp_path / "images.npy", images)
    soft = small_classifier()
    compile_for_soft_labels(soft, "adam", 0.1)
    # Else Keras warns, whatever it is saved by, that it has no state yet.
    soft.optimizer.build(soft.trainable_variables)
    sigmoid = small_classifier(activation="sigmoid")
    compile_for_soft_labels(sigmoid, "adam", 0.1)
    models = {
        "rates": discriminative(),
        "own": compiled(**OWN["optimizer"]),
        "metric": compiled(**OWN["metric"]),
        "soft": soft,
        "sigmoid": sigmoid,
    }
    for name, model in models.items():
        np.save(tmp_path / f"{name}.npy", model(images, training=False))
        kt.save_classifier(model, tmp_path / f"{name}.keras", NAMES)
        saved_as_before(model, tmp_path / f"{name}-before.keras")
    models["rates"].save(tmp_path / "rates-keras.keras")
    folder_of_photos(tmp_path / "photos")
    alone = (
        "import sys, warnings, keras, numpy as np\n"
        "warnings.simplefilter('error')\n"
        "images = np.load('images.npy')\n"
        f"for name in {[*models]}:\n"
        "    model = keras.saving.load_model(f'{name}.keras')\n"
        "    found = model(images, training=False)\n"
        "    np.testing.assert_allclose(found, np.load(f'{name}.npy'), atol=1e-5)\n"
        "    assert model.compiled == (name not in ('own', 'metric')), name\n"
        "assert not [m for m in sys.modules if m.startswith('keras_transfer')]\n"
    )
    package = (
        "import numpy as np, keras_transfer as kt\n"
        "from keras_transfer.diagnosis import examine as diagnosis\n"
        "images = np.load('images.npy')\n"
        f"for name in {[*models]}:\n"
        "    for path in (f'{name}.keras', f'{name}-before.keras'):\n"
        "        classifier = kt.load_classifier(path)\n"
        "        found = classifier.model(images, training=False)\n"
        "        np.testing.assert_allclose(found, np.load(f'{name}.npy'), atol=1e-5)\n"
        "        assert classifier.class_names == ('cat', 'dog')\n"
        "for path in ('rates-keras.keras', 'own-before.keras'):\n"
        "    assert diagnosis.diagnose_files(path, 'photos').checks\n"
    )
    for script in (alone, package):
        process = fresh_process.run(script, cwd=tmp_path)
        assert process.returncode == 0, process.stderr[-3000:]
    # The proof starts a process of its own.
    model = models["own"]
    before = state(model)
    path = tmp_path / "own-before.keras"
    assert kt.verify.assert_same_predictions(model, path, images) < 1e-5
    assert not changed(before, model)


def test_what_cannot_be_loaded_is_one_sentence(tmp_path):
    class Unknown(keras.layers.Layer):
        def call(self, inputs):
            return inputs

    x = inputs = keras.Input((8, 8, 3))
    for name, layer in {
        "own": Unknown(),
        "lambda": keras.layers.Lambda(lambda x: x),
    }.items():
        x = keras.layers.GlobalAveragePooling2D()(layer(inputs))
        model = keras.Model(inputs, keras.layers.Dense(2, "softmax")(x))
        path = kt.save_classifier(model, tmp_path / f"{name}.keras", NAMES)
        for load in (
            kt.load_classifier,
            lambda path: examine.diagnose_files(path, tmp_path),
        ):
            with pytest.raises(ValueError, match="Received: path=") as caught:
                load(path)
        assert ("Unknown" if name == "own" else "Lambda layer") in str(caught.value)
        assert "\n" not in str(caught.value)
    part = tmp_path / "part.keras"
    part.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ValueError, match="damaged or of another kind"):
        examine.diagnose_files(part, tmp_path)
    # What the last one offers helps.
    keras.config.enable_unsafe_deserialization()
    try:
        assert kt.load_classifier(path).class_names == ("cat", "dog")
    finally:
        global_state.set_global_attribute("safe_mode_saving", None)


def test_layers_that_a_file_needs_are_named(tmp_path, capsys):
    @keras.saving.register_keras_serializable("test_saved")
    class Named(keras.layers.Layer):
        def call(self, inputs):
            return inputs

    inputs = keras.Input((8, 8, 3))
    x = keras.layers.GlobalAveragePooling2D()(Named()(inputs))
    model = keras.Model(inputs, keras.layers.Dense(2, "softmax")(x))
    path = kt.save_classifier(model, tmp_path / "model.keras", NAMES)
    assert "loads only where Named can be found" in capsys.readouterr().out
    assert kt.load_classifier(path).image_size == 8


@keras.saving.register_keras_serializable("test_saved")
class Subclassed(keras.Model):
    def __init__(self, **settings):
        super().__init__(**settings)
        self.pool = keras.layers.GlobalAveragePooling2D()
        self.head = keras.layers.Dense(2, activation="softmax")

    def call(self, images):
        return self.head(self.pool(images))


def test_models_without_a_size_of_their_own(tmp_path):
    images, _ = images_and_labels()
    subclassed = Subclassed()
    subclassed(images)
    any_size = kt.build_classifier(small_backbone(size=None), 2)
    for model in (subclassed, any_size):
        with pytest.raises(ValueError, match=r"pass image_size=.*Received: image_size"):
            kt.save_classifier(model, tmp_path / "model.keras", NAMES)
        path = kt.save_classifier(model, tmp_path / "model.keras", NAMES, image_size=8)
        classifier = kt.load_classifier(path)
        assert classifier.image_size == 8
        (found,) = classifier.predict(photo(tmp_path / "photo.png"))
        expected = model(np.full((1, 8, 8, 3), 100.0), training=False)[0]
        np.testing.assert_allclose(found.probabilities, expected, atol=1e-5)


def other(shape, units=2, activation="softmax"):
    inputs = keras.Input(shape)
    x = keras.layers.GlobalAveragePooling2D()(inputs)
    return keras.Model(inputs, keras.layers.Dense(units, activation=activation)(x))


def two_inputs():
    inputs = [keras.Input((8, 8, 3), name=name) for name in ("left", "right")]
    pooled = [keras.layers.GlobalAveragePooling2D()(each) for each in inputs]
    x = keras.layers.Concatenate()(pooled)
    return keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(x))


def two_outputs():
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.GlobalAveragePooling2D()(inputs)
    heads = [keras.layers.Dense(2, activation="softmax")(x) for _ in range(2)]
    return keras.Model(inputs, heads)


REFUSED = {
    "grayscale": (lambda: other((8, 8, 1)), "square RGB images"),
    "not square": (lambda: other((8, 16, 3)), "square RGB images"),
    "two inputs": (two_inputs, "one input, of images"),
    "vectors": (
        lambda: keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]),
        "one input, of images",
    ),
    "two outputs": (two_outputs, "one output of shape"),
    "a map": (lambda: small_backbone(), "one output of shape"),
    "sigmoid per class": (lambda: other((8, 8, 3), 2, "sigmoid"), "activation=sigmoid"),
    "unbuilt": (lambda: keras.Sequential([keras.layers.Dense(2)]), "must be built"),
    "subclassed, unbuilt": (Subclassed, "must be built"),
    "text": (lambda: "model.keras", "must be a keras.Model"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_models_that_no_photo_goes_into(kind, tmp_path):
    make, message = REFUSED[kind]
    model = make()
    for call in (
        lambda: kt.save_classifier(model, tmp_path / "model.keras", NAMES),
        lambda: Classifier(model, NAMES, 8),
    ):
        with pytest.raises(ValueError, match=message) as caught:
            call()
        assert "Received: " in str(caught.value)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("model", r"must end in \.keras"),
        ("model.KERAS", r"in small letters.*Received: path=.*model\.KERAS"),
        ("model.h5", r"must end in \.keras"),
        ("folder.keras", "must be that of a file"),
        ("file.txt/model.keras", "must be that of a file"),
    ],
)
def test_paths_that_no_model_is_saved_at(name, message, tmp_path):
    (tmp_path / "folder.keras").mkdir()
    (tmp_path / "file.txt").write_text("")
    with pytest.raises(ValueError, match=message):
        kt.save_classifier(small_classifier(), tmp_path / name, NAMES)
    for path in (None, 3, "", b"model.keras", ["model.keras"]):
        with pytest.raises(ValueError, match=r"Received: path="):
            kt.save_classifier(small_classifier(), path, NAMES)
    assert sorted(x.name for x in tmp_path.iterdir()) == ["file.txt", "folder.keras"]


def test_home_and_new_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    model = small_classifier()
    path = kt.save_classifier(model, "~/new/folder/model.keras", NAMES)
    assert path == tmp_path / "new" / "folder" / "model.keras"
    classifier = kt.load_classifier("~/new/folder/model.keras")
    photo(tmp_path / "photo.png")
    assert len(classifier.predict("~/photo.png")) == 1
    assert len(classifier.predict(["~/photo.png"])) == 1
    folder_of_photos(tmp_path / "photos")
    assert examine.diagnose_files(path, "~/photos").checks
    with pytest.raises(FileNotFoundError, match=r"no such file.*Received: path="):
        kt.verify.assert_same_predictions(model, "~/none.keras", np.zeros((1, 8, 8, 3)))


@pytest.fixture(scope="module")
def classifier():
    return Classifier(small_classifier(), NAMES, 8)


def test_photos_in_every_form(classifier, tmp_path):
    path = photo(tmp_path / "photo.png")
    (expected,) = classifier.predict([path])
    for paths in (
        path,
        str(path),
        (path,),
        {path},
        np.array([str(path)]),
        (each for each in [path]),
        iter([path]),
        tmp_path.glob("*.png"),
    ):
        (found,) = classifier.predict(paths)
        np.testing.assert_array_equal(found.probabilities, expected.probabilities)
        assert found.class_name == expected.class_name
    assert classifier.predict([]) == []
    assert classifier.predict(iter(())) == []
    # More than one batch, in order.
    many = [photo(tmp_path / "many" / f"{n}.png", 5 * n) for n in range(40)]
    found = [x.probability for x in classifier.predict(many)]
    assert found == pytest.approx(
        [classifier.predict(path)[0].probability for path in many], abs=1e-6
    )


@pytest.mark.parametrize(
    "paths",
    [
        None,
        3,
        b"photo.png",
        [b"photo.png"],
        [None],
        [""],
        {"photo.png": 1},
        [["photo.png"]],
        np.zeros((2, 8, 8, 3), "uint8"),
        [np.zeros((8, 8, 3), "uint8")],
        kt,
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_is_no_photo(paths, classifier):
    with pytest.raises(ValueError, match="Received: paths="):
        classifier.predict(paths)


def test_files_that_are_no_photo_are_named(classifier, tmp_path):
    with pytest.raises(ValueError, match=r"not their folder.*iterdir") as caught:
        classifier.predict(tmp_path)
    assert str(tmp_path) in str(caught.value)
    gone = tmp_path / "gone.png"
    with pytest.raises(FileNotFoundError, match=r"gone\.png"):
        classifier.predict([photo(tmp_path / "photo.png"), gone])
    gone.write_bytes(b"no photo")
    with pytest.raises(kt.UnreadableImageError, match=r"gone\.png"):
        classifier.predict(gone)


@pytest.mark.parametrize("names", [np.array(NAMES), (*NAMES,), iter(NAMES)])
def test_class_names_in_every_form(names, tmp_path):
    path = kt.save_classifier(small_classifier(), tmp_path / "model.keras", names)
    assert kt.load_classifier(path).class_names == ("cat", "dog")
    assert all(type(name) is str for name in kt.load_classifier(path).class_names)


WRONG_NAMES = ["ab", ["cat"], ["cat", "cat"], [1, 2], None, {"cat": 0, "dog": 1}, 2]


@pytest.mark.parametrize("names", WRONG_NAMES, ids=str)
def test_class_names_that_are_none(names, tmp_path):
    for call in (
        lambda: kt.save_classifier(small_classifier(), tmp_path / "a.keras", names),
        lambda: Classifier(small_classifier(), names, 8),
    ):
        with pytest.raises(ValueError, match="Received: class_names="):
            call()


@pytest.mark.parametrize("size", [9, "8", 0, None, 8.5, (8, 9), True])
def test_a_classifier_by_hand_with_another_size(size):
    if size is None:
        assert Classifier(small_classifier(), NAMES, None).image_size == 8
        return
    with pytest.raises(ValueError, match="Received: image_size="):
        Classifier(small_classifier(), NAMES, size)


def test_sizes_of_one_meaning():
    for size in (np.int64(8), 8.0, (8, 8)):
        assert Classifier(small_classifier(), NAMES, size).image_size == 8


def test_files_that_are_no_classifier(tmp_path):
    path = tmp_path / "model.keras"

    def refused(message):
        with pytest.raises(ValueError, match=message) as caught:
            kt.load_classifier(path)
        assert "Received: " in str(caught.value)
        assert f"path={path}" in str(caught.value)

    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("word/document.xml", "")
    refused("of another kind")
    for described in ("[]", "{}", "{", "3", b"\xff\xfe"):
        small_classifier().save(path)
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(MEMBER, described)
        refused("damaged")
    saved_as_before(small_classifier(), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    refused("damaged")
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("config.json", "model.weights.h5"):
            archive.writestr(name, "nothing")
        archive.writestr(
            MEMBER,
            json.dumps(
                {"class_names": NAMES, "image_size": 8, "resize_rule": RESIZE_RULE}
            ),
        )
    refused("cannot be loaded")
    saved_as_before(other((8, 8, 3), 5), path)
    refused("do not fit together.*5 classes")
    for wrong in (None, 3, ["model.keras"]):
        with pytest.raises(ValueError, match="Received: path="):
            kt.load_classifier(wrong)
    with pytest.raises(FileNotFoundError, match="a folder"):
        kt.load_classifier(tmp_path)


def test_saving_is_whole_or_nothing_where_keras_cannot_save(tmp_path):
    class Stubborn(keras.layers.Layer):
        def __init__(self, path):
            super().__init__()
            self.path_of_something = path

        def call(self, inputs):
            return inputs

        def get_config(self):
            raise NotImplementedError("not today")

    inputs = keras.Input((8, 8, 3))
    x = keras.layers.GlobalAveragePooling2D()(Stubborn(pathlib.Path())(inputs))
    model = keras.Model(inputs, keras.layers.Dense(2, "softmax")(x))
    model.compile(OwnAdam(), OwnLoss())
    before = state(model)
    path = tmp_path / "model.keras"
    path.write_bytes(b"the old one")
    with pytest.raises(ValueError, match=r"cannot save this model \(not today\)"):
        kt.save_classifier(model, path, NAMES)
    assert path.read_bytes() == b"the old one"
    assert [x.name for x in tmp_path.iterdir()] == ["model.keras"]
    assert not changed(before, model)


@pytest.mark.parametrize(
    "images",
    [
        None,
        "photo.png",
        np.zeros((0, 8, 8, 3)),
        np.zeros((1, 9, 9, 1)),
        [[1], [2, 3]],
        3,
    ],
    ids=lambda value: str(value)[:12],
)
def test_the_proof_of_saving_says_what_it_needs(images, tmp_path):
    model = small_classifier()
    path = kt.save_classifier(model, tmp_path / "model.keras", NAMES)
    with pytest.raises(ValueError, match="Received: images="):
        kt.verify.assert_same_predictions(model, path, images)
    with pytest.raises(ValueError, match="Received: images="):
        kt.verify.assert_same_predictions(two_outputs(), path, np.zeros((1, 8, 8, 3)))
