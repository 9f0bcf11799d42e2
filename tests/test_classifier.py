"""The head learns on features, the whole model predicts from images, and is saved."""

import functools
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest

import keras_transfer as kt

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
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)
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
        patch.setattr("keras_transfer.prediction.RESIZE_RULE", "crop")
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
