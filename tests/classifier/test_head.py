"""The head learns on features, the whole model predicts from images, and is saved."""

import dataclasses
import functools
import pathlib
import random
import zipfile

import keras
import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer.features.extraction import Features, LabeledFeatures
from tests.helpers import fresh_process
from tests.helpers.small_networks import small_backbone, small_classifier

HEADS = {
    "softmax": {"activation": "softmax"},
    "logits": {"activation": None},
    "sigmoid": {"activation": "sigmoid"},
    "classic": {"hidden_units": 1024},
}


@pytest.fixture(scope="module")
def splits():
    return kt.load_dataset("sample_cats_vs_dogs", image_size=96, max_images=120)


@pytest.fixture(scope="module")
def features(splits):
    return kt.extract_features(backbone(), splits)


@functools.cache
def backbone():
    return kt.build_backbone("efficientnet_lite0", image_size=96)


def build(**arguments):
    return kt.build_classifier(backbone(), **{"num_classes": 2} | arguments)


@pytest.mark.parametrize("head", HEADS)
def test_head_learns_and_the_whole_model_predicts(head, splits, features, tmp_path):
    keras.utils.set_random_seed(0)
    model = build(**HEADS[head])
    backbone_before = [v.numpy() for v in model.weights if "head_" not in v.path]
    assert model.output_shape == (None, 1 if head == "sigmoid" else 2)
    assert kt.fit_head(model, features, epochs=20) is model
    assert len(model.history.history["val_loss"]) == 20
    images, labels = splits.arrays("test")
    outputs = model(images.astype("float32"), training=False)
    probabilities = kt.class_probabilities(model, outputs)
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    accuracy = np.mean(probabilities.argmax(axis=1) == labels)
    assert accuracy > 0.75
    # The metric that the model is compiled with understands its outputs too.
    metric = model.compute_metrics(images, labels, outputs)["accuracy"]
    assert float(metric) == pytest.approx(accuracy)
    backbone_after = [v.numpy() for v in model.weights if "head_" not in v.path]
    assert all(map(np.array_equal, backbone_before, backbone_after))


def test_shuffled_labels_teach_nothing(splits, features):
    keras.utils.set_random_seed(0)
    shuffled = np.random.default_rng(0).permutation(features.train.labels)
    model = kt.fit_head(build(), (features.train.features, shuffled), epochs=20)
    images, labels = splits.arrays("test")
    outputs = model(images.astype("float32"), training=False)
    assert np.mean(np.argmax(outputs, axis=1) == labels) < 0.75


def test_only_the_head_is_trainable():
    model = build(hidden_units=16)
    assert {v.path.split("/")[0] for v in model.trainable_variables} == {
        "head_hidden",
        "head_predictions",
    }


def test_predictions_are_float32_under_mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        backbone = kt.build_backbone("vgg16", weights=None, image_size=32)
        model = kt.build_classifier(backbone, 2)
    finally:
        keras.config.set_dtype_policy("float32")
    assert model.output.dtype == "float32"


@pytest.mark.parametrize("head", ["softmax", "sigmoid"])
def test_saved_model_predicts_from_files(head, splits, features, tmp_path):
    model = kt.fit_head(build(**HEADS[head]), features, epochs=2)
    path = kt.save_classifier(model, tmp_path / "model.keras", splits.class_names)
    images, _ = splits.arrays("test")
    photo = tmp_path / "photo.png"
    keras.utils.save_img(photo, images[0], scale=False)
    classifier = kt.load_classifier(path)
    assert (classifier.class_names, classifier.image_size) == (("cat", "dog"), 96)
    prediction = classifier.predict([photo, photo])[1]
    expected = kt.class_probabilities(model, model(images[:1].astype("float32")))[0]
    np.testing.assert_allclose(prediction.probabilities, expected, atol=1e-5)
    assert prediction.class_name == ("cat", "dog")[expected.argmax()]


@pytest.mark.slow
def test_saved_model_loads_with_keras_alone(features, tmp_path):
    model = kt.fit_head(build(), features, epochs=1)
    kt.save_classifier(model, tmp_path / "model.keras", ["cat", "dog"])
    images = np.random.default_rng(0).uniform(0, 255, (2, 96, 96, 3)).astype("float32")
    np.save(tmp_path / "images.npy", images)
    script = (
        "import sys, warnings, keras, numpy as np\n"
        "warnings.simplefilter('error')\n"
        "model = keras.saving.load_model('model.keras')\n"
        "np.save('out.npy', model(np.load('images.npy'), training=False).numpy())\n"
        "assert not [m for m in sys.modules if m.startswith('keras_transfer')]\n"
    )
    fresh_process.run(script, cwd=tmp_path).check_returncode()
    np.testing.assert_allclose(
        np.load(tmp_path / "out.npy"), model(images), rtol=1e-4, atol=1e-5
    )


def test_a_failed_save_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "model.keras"
    path.write_bytes(b"the old one")
    monkeypatch.setattr(zipfile.ZipFile, "writestr", lambda *a: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        kt.save_classifier(build(), path, ["cat", "dog"])
    assert path.read_bytes() == b"the old one"
    assert [file.name for file in tmp_path.iterdir()] == ["model.keras"]


def test_loading_checks_what_was_saved(tmp_path):
    path = tmp_path / "model.keras"
    with pytest.raises(FileNotFoundError, match="Received: path="):
        kt.load_classifier(path)
    path.write_bytes(b"no archive")
    with pytest.raises(ValueError, match="damaged"):
        kt.load_classifier(path)
    build().save(path)
    with pytest.raises(ValueError, match="without its class names"):
        kt.load_classifier(path)
    with pytest.raises(ValueError, match=r"2 classes.*class_names=\['cat'\]"):
        kt.save_classifier(build(), path, ["cat"])
    with pytest.raises(ValueError, match=r"must end in \.keras"):
        kt.save_classifier(build(), tmp_path / "model.h5", ["cat", "dog"])
    monkeypatch = pytest.MonkeyPatch()
    with monkeypatch.context() as patch:
        patch.setattr("keras_transfer.classifier.members.RESIZE_RULE", "crop")
        kt.save_classifier(build(), path, ["cat", "dog"])
    with pytest.raises(ValueError, match="resize_rule=crop"):
        kt.load_classifier(path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": 1}, "num_classes=1"),
        ({"num_classes": 3, "activation": "sigmoid"}, "num_classes=3"),
        ({"activation": "relu"}, "activation=relu"),
        ({"dropout": 1.0}, r"dropout=1\.0"),
        ({"hidden_units": 0}, "hidden_units=0"),
    ],
)
def test_wrong_heads(arguments, message):
    with pytest.raises(ValueError, match=message):
        build(**arguments)


def test_wrong_features(features):
    good = np.zeros((4, 1280), "float32")
    for wrong, message in [
        ((np.zeros((4, 7), "float32"), np.zeros(4, int)), r"\(count, 1280\)"),
        ((good, np.array([0, 1, 2, 0])), "from 0 to 2"),
        ((good, np.zeros(3, int)), "one integer label"),
        ((good[:0], np.zeros(0, int)), "one integer label"),
    ]:
        with pytest.raises(ValueError, match=message):
            kt.fit_head(build(), wrong)
    with pytest.raises(ValueError, match="learning_rate=0"):
        kt.fit_head(build(), features, learning_rate=0)
    with pytest.raises(ValueError, match="epochs=0"):
        kt.fit_head(build(), features, epochs=0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match="build_classifier"):
        kt.fit_head(model, features)


def small_features(count=12, channels=2, **changed):
    rng = np.random.default_rng(0)
    part = LabeledFeatures(
        rng.normal(size=(count, channels)).astype("float32"), np.arange(count) % 2
    )
    given = {"class_names": ("red", "blue"), "path": pathlib.Path("kept")} | changed
    return Features(part, part, part, **given)


class Subclassed(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.convolution = keras.layers.Conv2D(2, 3, name="inner")

    def call(self, inputs):
        return self.convolution(inputs)


def own_backbones():
    """Yield backbones of every kind, each with the size of its images."""
    layers = keras.layers
    yield small_backbone(normalized=True)
    yield keras.Sequential(
        [keras.Input((8, 8, 3)), layers.Rescaling(1 / 255), layers.Conv2D(4, 3)]
    )
    yield keras.Sequential(
        [keras.Input((8, 8, 3)), layers.RandomFlip(), small_backbone(normalized=True)]
    )
    inputs = keras.Input((8, 8, 3))
    x = small_backbone()(keras.ops.flip(inputs, -1) * 2 + 1)
    x = layers.Conv2D(3, 1, dtype="mixed_bfloat16")(x)
    yield keras.Model([inputs], [keras.ops.clip(x, 0, 5)[:, 1:]])
    inputs = keras.Input((None, None, 3))
    yield keras.Model(inputs, layers.Conv2D(2, 3)(inputs))
    statistics = layers.Normalization()
    statistics.adapt(np.random.default_rng(0).normal(5, 3, (9, 8, 8, 3)))
    inputs = keras.Input((8, 8, 3))
    yield keras.Model(inputs, layers.Conv2D(2, 3)(statistics(inputs)))
    twice = layers.Conv2D(3, 3, padding="same")
    yield keras.Model(inputs, twice(twice(inputs)))
    yield keras.Model(inputs, Subclassed()(inputs))
    renamed = small_backbone()
    renamed.layers[1].name = "another_name"
    yield renamed
    for policy in ("mixed_float16", "float16", "float64"):
        keras.config.set_dtype_policy(policy)
        try:
            backbone = small_backbone(normalized=True)
        finally:
            keras.config.set_dtype_policy("float32")
        yield backbone


@pytest.mark.parametrize("number", range(12))
def test_a_classifier_has_a_backbone_of_its_own(number):
    backbone = list(own_backbones())[number]
    for variable in backbone.weights:  # Statistics too are copied, not made anew.
        if "moving" in variable.path:
            variable.assign(np.arange(2) + 1)
    before = kt.verify.snapshot(backbone)
    drawn = random.getstate()
    model = kt.build_classifier(backbone, 2)
    of_head = [x for x in model.layers if x.name.startswith("head_")]
    own = keras.Model(model.input, of_head[0].input)
    assert {id(x) for x in backbone.variables}.isdisjoint(map(id, model.variables))
    assert [x.path for x in own.weights] == [x.path for x in backbone.weights]
    every = [m._flatten_layers(include_self=False) for m in (backbone, own)]
    found = [[(x.name, x.dtype_policy.name) for x in layers] for layers in every]
    assert found[0] == found[1]
    images = np.random.default_rng(1).uniform(0, 255, (2, 8, 8, 3)).astype("float32")
    for network in (backbone, own):
        network(images, training=False)
    expected, outputs = backbone(images, training=False), own(images, training=False)
    expected = expected[0] if isinstance(expected, list) else expected
    assert outputs.dtype == expected.dtype
    np.testing.assert_array_equal(*(np.asarray(x) for x in (expected, outputs)))
    # Neither its weights nor what is trainable in it is changed, by any training.
    assert all(layer.trainable for layer in backbone.layers)
    assert not any(layer.trainable for layer in own.layers)
    for layer in model.layers:
        layer.trainable = True
    model.compile("sgd", "sparse_categorical_crossentropy", jit_compile=False)
    model.fit(images, np.array([0, 1]), verbose=0)
    after = kt.verify.snapshot(backbone)
    assert all(np.array_equal(before[path], after[path]) for path in before)
    # The head is drawn as it would be without a copy.
    random.setstate(drawn)
    again = kt.build_classifier(backbone, 2, share_backbone=True)
    assert again.get_layer("head_predictions").kernel_initializer.seed == (
        of_head[-1].kernel_initializer.seed
    )
    assert not any(layer.trainable for layer in backbone.layers)


def test_what_cannot_be_copied_can_be_shared():
    inputs = keras.Input((8, 8, 3))
    doubled = keras.layers.Lambda(lambda x: 2 * x)(inputs)
    backbone = keras.Model(inputs, keras.layers.Conv2D(2, 3)(doubled))
    with pytest.raises(ValueError, match="share_backbone=True"):
        kt.build_classifier(backbone, 2)
    model = kt.build_classifier(backbone, 2, share_backbone=True)
    assert model.get_layer(backbone.layers[-1].name) is backbone.layers[-1]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: None, "keras.Model.*Received: backbone=None"),
        (lambda: "resnet50", "Received: backbone=resnet50"),
        (lambda: keras.Sequential([keras.layers.Conv2D(2, 3)]), "must be built"),
        (
            lambda: keras.Model(
                two := [keras.Input((8, 8, 3)), keras.Input((8, 8, 3))],
                keras.layers.Add()(two),
            ),
            "2 inputs",
        ),
        (
            lambda: keras.Model(x := keras.Input((8, 8, 3)), [x, x * 2]),
            "2 outputs",
        ),
        (
            lambda: keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()]),
            r"include_top=False.*output_shape=\(None, 192\)",
        ),
    ],
)
def test_wrong_backbones(make, message):
    with pytest.raises(ValueError, match=message):
        kt.build_classifier(make(), 2)


def test_heads_of_numbers_that_have_one_meaning():
    backbone = small_backbone()
    for given in (2.0, np.int64(2), np.array(2)):
        assert kt.build_classifier(backbone, given).output_shape == (None, 2)
    for name, value in [
        ("num_classes", "2"),
        ("num_classes", 2.5),
        ("num_classes", None),
        ("dropout", "0.5"),
        ("dropout", None),
        ("hidden_units", 1.5),
        ("share_backbone", "yes"),
        ("activation", ["softmax"]),
    ]:
        with pytest.raises(ValueError, match=f"Received: {name}="):
            kt.build_classifier(backbone, **{"num_classes": 2} | {name: value})


def test_a_head_on_kept_maps_alone():
    splits = kt.load_dataset("sample_cats_vs_dogs", image_size=32, max_images=36)
    backbone = small_backbone(blocks=3, size=32)
    first, last = kt.split_at_block(backbone, "block2")
    maps = kt.extract_feature_maps(first, splits, verbose=False)
    handed_on = keras.Model(last.input, last.input, name="block2")
    features = kt.extract_features(handed_on, maps, verbose=False)
    model = kt.fit_head(kt.build_classifier(handed_on, 2), features, epochs=1)
    assert len(model.history.history["val_loss"]) == 1


def test_features_of_other_weights_are_refused():
    splits = kt.load_dataset("sample_cats_vs_dogs", image_size=32, max_images=36)
    backbone = small_backbone(blocks=3, size=32)
    features = kt.extract_features(backbone, splits, verbose=False)
    model = kt.fit_head(kt.build_classifier(backbone, 2), features, epochs=1)
    # In any order: what was fine-tuned is the first model's alone.
    kt.fine_tune(model, splits, 1, from_block="block2", learning_rate=0.1, verbose=0)
    kt.unfreeze(model, "block2")
    model.fit(splits.train, verbose=0)
    second = kt.fit_head(kt.build_classifier(backbone, 2), features, epochs=1)
    assert len(second.history.history["val_loss"]) == 1
    with pytest.raises(ValueError, match=r"other weights.*Extract them again") as info:
        kt.fit_head(model, features, epochs=1)
    assert "Received: features in" in str(info.value)
    # What the error offers.
    tuned = keras.Model(model.input, model.get_layer("head_pooling").input)
    kt.fit_head(model, kt.extract_features(tuned, splits, verbose=False), epochs=1)
    with pytest.raises(ValueError, match="other weights"):
        kt.fit_head(second, kt.extract_features(tuned, splits, verbose=False), epochs=1)
    # An earlier block has features of the same shape, and some of the weights.
    first, last = kt.split_at_block(backbone, "block2")
    with pytest.raises(ValueError, match="other weights"):
        kt.fit_head(kt.build_classifier(first, 2), features, epochs=1)
    # The last blocks, on the maps that the first ones made.
    maps = kt.extract_feature_maps(first, splits, verbose=False)
    kept = kt.extract_features(last, maps, verbose=False)
    part = kt.build_classifier(last, 2)
    kt.fit_head(part, kept, epochs=1)
    part.layers[1].kernel.assign_add(0.1 * np.ones(part.layers[1].kernel.shape))
    with pytest.raises(ValueError, match="other weights"):
        kt.fit_head(part, kept, epochs=1)


class Interrupt(keras.callbacks.Callback):
    def __init__(self, error=KeyboardInterrupt):
        super().__init__()
        self.error = error

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1:
            raise self.error


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_an_interrupted_head_is_ready_to_use(error):
    model = small_classifier()
    before = model.get_layer("head_predictions").get_weights()
    with pytest.raises(error):
        kt.fit_head(model, small_features(), callbacks=Interrupt(error))
    after = model.get_layer("head_predictions").get_weights()
    assert not np.array_equal(before[0], after[0])
    images = np.zeros((4, 8, 8, 3), "float32")
    assert len(model.evaluate(images, np.arange(4) % 2, verbose=0)) == 2
    assert len(model.history.history["loss"]) == 1
    # One that was compiled stays as it was, to the state of its optimizer.
    model.fit(images, np.arange(4) % 2, verbose=0)
    optimizer, step = model.optimizer, model.train_function
    with pytest.raises(error):
        kt.fit_head(model, small_features(), callbacks=[Interrupt(error)])
    assert model.optimizer is optimizer and model.train_function is step
    assert int(optimizer.iterations) == 1


class Worsen(keras.callbacks.Callback):
    """Note the weights of one epoch, and destroy the head before the next one."""

    def __init__(self, epoch, stop=None):
        super().__init__()
        self.epoch, self.stop, self.kept = epoch, stop, None

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch + 1:
            self.model.set_weights([1e4 * (1 + w) for w in self.kept])

    def on_epoch_end(self, epoch, logs=None):
        if epoch == self.epoch:
            self.kept = self.model.get_weights()
        if epoch == self.stop:
            raise KeyboardInterrupt


@pytest.mark.parametrize("finished", [False, True])
def test_a_head_keeps_its_best_epoch_over_a_restart(tmp_path, finished):
    def fit(*callbacks):
        backup = keras.callbacks.BackupAndRestore(
            tmp_path / "backup", delete_checkpoint=not finished
        )
        keras.utils.set_random_seed(0)
        model = small_classifier()
        given = {"epochs": 5, "learning_rate": 0.01}
        kt.fit_head(model, small_features(), callbacks=[*callbacks, backup], **given)
        return model

    worsen = Worsen(1, stop=None if finished else 3)
    if finished:
        fit(worsen)
    else:
        with pytest.raises(KeyboardInterrupt):
            fit(worsen)
    again = fit()
    assert len(again.history.epoch) == (0 if finished else 2)
    found = again.get_layer("head_predictions").get_weights()
    assert all(map(np.array_equal, worsen.kept, found))
    assert (tmp_path / "backup").exists() == finished


def test_features_and_labels_that_have_one_meaning():
    x, y = small_features().train
    outputs = []
    for pair in [
        (x, y),
        [x.tolist(), y[:, None]],
        (x.astype("float64"), np.eye(2)[y]),
        (x, list(y.astype("float64"))),
    ]:
        keras.utils.set_random_seed(0)
        model = small_classifier()
        kt.fit_head(model, pair, epochs=2.0, batch_size=np.int64(4))
        outputs.append(model.get_layer("head_predictions").get_weights()[0])
    assert all(np.allclose(outputs[0], output) for output in outputs)


def test_classes_weigh_by_label_by_name_and_in_order():
    features = small_features()
    found = []
    for weight in (
        {np.int64(0): 1, 1: np.float32(9)},
        {"blue": 9},
        np.array([1.0, 9.0]),
        None,
    ):
        keras.utils.set_random_seed(0)
        model = small_classifier()
        kt.fit_head(model, features, epochs=2, class_weight=weight)
        found.append(model.history.history["loss"])
    assert found[0] == found[1] == found[2]
    assert not np.allclose(found[0], found[3])


@pytest.mark.parametrize("pair", [False, True])
def test_classes_weigh_the_same_in_all(pair):
    kept = small_features(count=12)
    train = kept.train._replace(labels=np.repeat([0, 1], [9, 3]))
    features = tuple(train) if pair else dataclasses.replace(kept, train=train)
    found = []
    for weight in ("auto", {0: 12 / 18, 1: 2.0}, None):
        keras.utils.set_random_seed(0)
        model = small_classifier()
        kt.fit_head(model, features, epochs=2, class_weight=weight)
        found.append(model.history.history["loss"])
    assert found[0] == found[1]
    assert not np.allclose(found[0], found[2])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epochs": "3"}, "epochs='3'"),
        ({"epochs": -1}, "epochs=-1"),
        ({"epochs": None}, "epochs=None"),
        ({"epochs": 2.5}, "epochs=2.5"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"learning_rate": "0.1"}, "learning_rate='0.1'"),
        ({"learning_rate": np.nan}, "learning_rate=nan"),
        (
            {"learning_rate": keras.optimizers.schedules.CosineDecay(0.1, 9)},
            "learning_rate must be a number",
        ),
        ({"callbacks": keras.callbacks.EarlyStopping}, "instance"),
        ({"callbacks": [5]}, r"callbacks=\[5\]"),
        ({"class_weight": {"green": 2.0}}, "red, blue.*'green': 2.0"),
        ({"class_weight": {7: 2.0}}, r"class_weight=\{7: 2.0\}"),
        ({"class_weight": [1, 2, 3]}, r"a list of 2.*\[1, 2, 3\]"),
        ({"class_weight": "balanced"}, "class_weight=balanced"),
        ({"verbose": "loud"}, "verbose=loud"),
        ({"features": None}, "features=None"),
        ({"features": {"x": 1}}, "pair of arrays"),
        ({"features": np.zeros((4, 2))}, "pair of arrays"),
        ({"features": (np.zeros((4, 2)), None)}, "one integer label"),
        ({"features": (np.zeros((4, 2)), ["red"] * 4)}, "one integer label"),
        ({"features": (np.zeros((4, 2)), np.full(4, 0.5))}, "one integer label"),
        ({"features": (np.zeros((4, 2)), np.full((4, 2), 1))}, "one integer label"),
        ({"features": ([["a", "b"]], [0])}, "dtype=<U1"),
        ({"model": None}, "model=None"),
        ({"model": keras.Sequential([keras.layers.Dense(2)])}, "must be built"),
    ],
)
def test_wrong_arguments_of_fit_head(arguments, message):
    given = {"model": small_classifier(), "features": small_features()} | arguments
    model, features = given.pop("model"), given.pop("features")
    with pytest.raises(ValueError, match=message):
        kt.fit_head(model, features, **given)


def test_splits_are_no_features():
    splits = kt.load_dataset("sample_cats_vs_dogs", image_size=32, max_images=36)
    for wrong, message in [
        (splits, r"extract_features\(backbone, splits\)"),
        (splits.train, "pair of arrays"),
    ]:
        with pytest.raises(ValueError, match=message):
            kt.fit_head(small_classifier(), wrong)


@pytest.mark.parametrize(
    "optimizer", [None, 5, "nope", keras.optimizers.Adam, {"a": 1}, []]
)
def test_wrong_optimizers_change_nothing(optimizer):
    model = small_classifier()
    with pytest.raises(ValueError, match=r"Keras optimizer.*Received: optimizer="):
        kt.compile_classifier(model, optimizer)
    assert not model.compiled
    used = keras.optimizers.Adam()
    kt.compile_classifier(small_classifier(), used)
    with pytest.raises(ValueError, match="used for another model"):
        kt.compile_classifier(model, used)
    assert not model.compiled
    with pytest.raises(ValueError, match="model=None"):
        kt.compile_classifier(None, "adam")
