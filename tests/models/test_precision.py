"""The whole path, in every precision that Keras builds a model in."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_transfer as kt
from keras_transfer.data.splits import build_splits
from keras_transfer.models.precision import fast_copy, fast_dtype, float32_copy
from tests.helpers.small_networks import small_backbone, values

POLICIES = ("float32", "mixed_float16", "mixed_bfloat16", "float64", "float16")
# How far features may be from those of float32, of the largest.
CLOSE = {"float32": 1e-5, "float64": 1e-5, "mixed_bfloat16": 0.03}
NAMES = ("dark", "light")


def small_splits(size=8):
    """Return photos that are dark or light, so that two classes can be learnt."""
    rng = np.random.default_rng(0)
    labels = np.arange(32) % 2
    images = (
        rng.uniform(0, 100, (32, size, size, 3)).round()
        + 155 * labels[:, None, None, None]
    )
    parts = {"train": slice(16), "validation": slice(16, 24), "test": slice(24, 30)}

    def read(part):
        images_of_part = images[part].astype("uint8")
        return lambda start=0, stop=None: tf.data.Dataset.from_tensor_slices(
            (images_of_part[start:stop], labels[part][start:stop])
        )

    return build_splits(
        {name: read(part) for name, part in parts.items()},
        lambda image: image,
        counts={"train": 16, "validation": 8, "test": 6},
        image_size=size,
        batch_size=4,
        seed=0,
        class_names=NAMES,
        name="brightness",
        source="brightness",
        fingerprint=f"brightness at {size} px",
    )


@pytest.fixture(autouse=True)
def own_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_TRANSFER_DATA_DIR", str(tmp_path / "data"))


@pytest.fixture(params=POLICIES)
def policy(request):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy(before)


@pytest.fixture(scope="module")
def splits():
    return small_splits()


def backbone(blocks=2, **arguments):
    """Return a small network with preprocessing, as build_backbone makes it."""
    keras.utils.set_random_seed(0)
    images = keras.Input((8, 8, 3))
    scaled = keras.layers.Rescaling(1 / 127.5, -1, dtype="float32")(images)
    network = small_backbone(blocks, normalized=True, filters=4, **arguments)
    # One flat graph, by calling its layers again.
    x = scaled
    for layer in network.layers[1:]:
        x = layer(x)
    return keras.Model(images, x, name="small")


def classifier(**head):
    return kt.build_classifier(backbone(), num_classes=2, dropout=0.1, **head)


def reference():
    """Return the same network in float32."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        return backbone()
    finally:
        keras.config.set_dtype_policy(policy)


def close(found, expected, policy):
    bound = CLOSE.get(policy, 5e-3) * np.abs(expected).max()
    return found.dtype == "float32" and np.abs(found - expected).max() <= bound


def test_features_and_maps(policy, splits, capsys):
    network = backbone()
    plain = reference()
    plain.set_weights(network.get_weights())
    expected = kt.extract_features(plain, splits, dtype="float32").test
    capsys.readouterr()
    features = kt.extract_features(network, splits, dtype="float32")
    said = "the precision of the network" in capsys.readouterr().out
    assert said == (policy != "float32")
    assert close(features.test.features, expected.features, policy)
    # What is given out is taken in again.
    given = fast_dtype(network, frozen=True)
    assert fast_dtype(network, given, frozen=True) == given
    if policy != "float32":
        assert given == policy.removeprefix("mixed_")
        assert kt.extract_features(network, splits).path == features.path
    first, last = kt.split_at_block(network, "block1")
    maps = kt.extract_feature_maps(
        first,
        splits,
        dtype="float32",
        # In the precision of the policy, unlike those of build_augmentation.
        augmentation=[keras.layers.RandomFlip(seed=1)],
        augmented_copies=1,
    )
    assert maps.arrays("test")[0].dtype == "float32"
    joined = kt.extract_features(last, maps, dtype=given)
    difference = np.abs(joined.test.features - expected.features).max()
    assert difference <= 0.03 * np.abs(expected.features).max()
    assert joined.made_by == features.made_by


def test_precisions_by_every_name():
    network = small_backbone()
    for name in ("float32", "bfloat16"):
        forms = [name, getattr(tf, name), keras.DTypePolicy(name)]
        forms.append(tf.as_dtype(name).as_numpy_dtype)
        assert {fast_dtype(network, form) for form in forms} == {name}
    assert fast_dtype(network, keras.DTypePolicy("mixed_bfloat16")) == "bfloat16"
    for wrong in ("float16", "single", 5, True, np.int32, [], object()):
        with pytest.raises(ValueError, match=r"float32, bfloat16.*Received: dtype="):
            fast_dtype(network, wrong)


def learns(model, splits):
    report = kt.evaluate_classifier(model, splits.train, NAMES)
    assert np.isfinite(report.log_loss)
    assert all(np.isfinite(w.astype("float64")).all() for w in model.get_weights())
    return report.accuracy


def test_fine_tuning_from_kept_maps(policy, splits):
    model = classifier()
    history = kt.fine_tune(
        model,
        splits,
        2,
        freeze_epochs=20,
        from_block="block2",
        learning_rate=1e-2,
        head_learning_rate=0.1,
        cache_prefix=True,
        augmentation=keras.layers.RandomFlip(seed=0),
        augmented_copies=1,
        dtype="float32",
        verbose=0,
    )
    assert np.isfinite(history.history["val_loss"]).all()
    assert learns(model, splits) >= 0.9


def test_fine_tuning_from_mixed_photos(policy, splits):
    model = classifier(activation="sigmoid")
    history = kt.fine_tune(
        model,
        splits,
        2,
        freeze_epochs=20,
        learning_rate=1e-3,
        head_learning_rate=0.1,
        optimizer="sgd",
        augmentation=keras.layers.RandomFlip(seed=0),
        mixup=0.2,
        label_smoothing=0.1,
        verbose=0,
    )
    assert np.isfinite(history.history["val_loss"]).all()
    assert learns(model, splits) >= 0.9


def test_training_by_hand(policy, splits):
    model = classifier()
    features = kt.extract_features(backbone(), splits)
    kt.fit_head(model, features, epochs=20, learning_rate=0.1)
    assert learns(model, splits) >= 0.9
    kt.unfreeze(model, "block2")
    rates = kt.discriminative_learning_rates(model, 1e-3, layer_decay=0.5)
    kt.compile_classifier(model, rates)
    rows = {row["block"]: row for row in kt.trainable_summary(model).rows}
    assert np.isclose(rows["block2"]["learning_rate"], 5e-4, rtol=1e-2)
    before = values(model)
    finder = kt.find_learning_rate(model, splits.train, num_steps=10)
    assert np.isfinite(finder.losses).all()
    after = values(model)
    assert all(np.array_equal(before[path], after[path]) for path in before)
    model.fit(
        splits.train,
        epochs=2,
        verbose=0,
        callbacks=[kt.callbacks.GradualUnfreezing(["block2"])],
    )
    after = values(model)
    changed = {p.split("/")[0] for p in before if (before[p] != after[p]).any()}
    assert changed == {"block2_conv1", "head_predictions"}
    kt.freeze(model)
    assert {v.path.split("/")[0] for v in model.trainable_variables} == {
        "head_predictions"
    }
    assert learns(model, splits) >= 0.9


def test_what_comes_after(policy, splits, tmp_path):
    model = classifier()
    kt.fit_head(model, kt.extract_features(backbone(), splits), learning_rate=0.1)
    images, labels = splits.arrays("test")
    path = kt.save_classifier(model, tmp_path / "model.keras", NAMES)
    loaded = kt.load_classifier(path)
    expected = np.asarray(model.predict(images.astype("float32"), verbose=0))
    found = np.asarray(loaded.model.predict(images.astype("float32"), verbose=0))
    assert np.array_equal(found, expected)
    photo = tmp_path / "photo.png"
    keras.utils.save_img(photo, images[0], scale=False)
    (prediction,) = loaded.predict([photo])
    assert prediction.class_name == NAMES[labels[0]]
    maps = kt.grad_cam(model, images)
    assert maps.shape == (6, 8, 8)
    assert np.isfinite(maps).all()
    assert maps.max() == 1
    kt.verify.assert_frozen(kt.verify.snapshot(model), model)
    report = kt.evaluate_classifier(model, splits.test, NAMES)
    assert report.accuracy == 1


def test_the_doctor(policy, splits):
    model = classifier()
    kt.fit_head(model, kt.extract_features(backbone(), splits), learning_rate=0.1)
    found = kt.diagnose(model, splits)
    serious = {each.check for each in found.findings if each.severity == "serious"}
    # Both are true of six photos and a backbone that was never trained.
    assert serious == {"size of the test split", "backbone"}


@pytest.fixture(scope="module")
def drawn():
    """Return photos that are read where all tests have them."""
    return kt.load_dataset("sample_cats_vs_dogs", image_size=32, max_images=20)


def test_a_real_backbone_in_mixed_float16(drawn, capsys):
    before, splits = keras.config.dtype_policy(), drawn
    plain = kt.build_backbone("efficientnet_lite0", image_size=32)
    expected = kt.extract_features(plain, splits, dtype="float32").test.features
    keras.config.set_dtype_policy("mixed_float16")
    try:
        mixed = kt.build_backbone("efficientnet_lite0", image_size=32)
        found = kt.extract_features(mixed, splits).test.features
    finally:
        keras.config.set_dtype_policy(before)
    assert (
        "computed in float16, the precision of the network" in capsys.readouterr().out
    )
    assert 0 < np.abs(found - expected).max() < 0.02 * np.abs(expected).max()


def test_a_copy_in_float32(policy):
    model = classifier()
    copy = float32_copy(model)
    assert {layer.compute_dtype for layer in copy.layers[1:]} == {"float32"}
    assert (fast_copy(model, "bfloat16") is model) == (policy != "float32")
