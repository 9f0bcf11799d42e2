"""Grad-CAM shows where the evidence is, for any backbone and in any precision."""

import keras
import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer.backbones.registry import ARCHITECTURES
from keras_transfer.explanation.grad_cam import explainer
from tests.helpers import fresh_process
from tests.helpers.model_state import changed, state
from tests.helpers.small_networks import small_backbone, small_classifier, values

SIZE, PATCH = 48, 12
SMALLEST = {name: entry.smallest_size for name, entry in ARCHITECTURES.items()}


def planted(count, rng):
    """Return grey noise with a red patch and a blue one, and the corners of both."""
    images = rng.uniform(0.3, 0.7, (count, SIZE, SIZE, 3)).astype("float32")
    corners = np.empty((count, 2, 2), int)
    for image, (red, blue) in zip(images, corners, strict=True):
        # One on the left and one on the right, so that they do not overlap.
        red[:] = rng.integers(0, SIZE - PATCH), rng.integers(0, SIZE // 2 - PATCH)
        blue[:] = red[0], red[1] + SIZE // 2
        if rng.random() < 0.5:
            red[1], blue[1] = blue[1], red[1]
        for (y, x), color in ((red, (1, 0, 0)), (blue, (0, 0, 1))):
            image[y : y + PATCH, x : x + PATCH] = color
    return images, corners


def without(images, corners, channel):
    """Return the images with the patch of one colour painted over in grey."""
    images = images.copy()
    for image, corner in zip(images, corners[:, channel], strict=True):
        y, x = corner
        image[y : y + PATCH, x : x + PATCH] = 0.5
    return images


@pytest.fixture(scope="module", params=["softmax", "sigmoid", None])
def trained(request):
    """Return a model for which red is class 1 and blue is class 0."""
    keras.utils.set_random_seed(0)
    images, corners = planted(64, np.random.default_rng(0))
    x = np.concatenate([without(images, corners, 0), without(images, corners, 1)])
    y = np.repeat([0, 1], len(images))
    backbone = small_backbone(filters=8, size=SIZE)
    model = kt.build_classifier(backbone, 2, dropout=0.0, activation=request.param)
    for layer in model.layers:
        layer.trainable = True
    kt.compile_classifier(model, keras.optimizers.Adam(0.02))
    history = model.fit(x, y, batch_size=32, epochs=8, verbose=0).history
    assert history["accuracy"][-1] > 0.95
    for layer in model.layers:
        layer.trainable = False
    return model


def inside(maps, corners):
    """Return for each map whether its peak lies in the patch at its corner."""
    found = []
    for heat, corner in zip(maps, corners, strict=True):
        peak = np.array(np.unravel_index(heat.argmax(), heat.shape))
        # A place of the feature map is 4 pixels wide, and is drawn from its middle.
        found.append(np.all((corner - 4 <= peak) & (peak < corner + PATCH + 4)))
    return np.array(found)


def test_peaks_in_the_planted_patch(trained):
    before = values(trained)
    images, corners = planted(40, np.random.default_rng(1))
    red = kt.grad_cam(trained, images, class_index=1)
    blue = kt.grad_cam(trained, images, class_index=0)
    for maps in (red, blue):
        assert maps.shape == (40, SIZE, SIZE)
        assert maps.dtype == np.float32
        assert maps.min() >= 0
        np.testing.assert_allclose(maps.max(axis=(1, 2)), 1, atol=1e-5)
    assert inside(red, corners[:, 0]).all()
    assert inside(blue, corners[:, 1]).all()
    # With one class for each image, those of each class; and by default the predicted.
    both = kt.grad_cam(trained, images, class_index=np.arange(40) % 2)
    np.testing.assert_allclose(both[1::2], red[1::2], atol=1e-4)
    np.testing.assert_allclose(both[::2], blue[::2], atol=1e-4)
    only_red = without(images, corners, 1)
    np.testing.assert_allclose(
        kt.grad_cam(trained, only_red), kt.grad_cam(trained, only_red, 1), atol=1e-6
    )
    assert all(np.array_equal(values(trained)[path], before[path]) for path in before)


def test_a_sure_prediction_is_explained_like_any_other(trained):
    images, _ = planted(4, np.random.default_rng(2))
    expected = kt.grad_cam(trained, images, 1)
    copy = keras.models.clone_model(trained)
    *others, kernel, bias = trained.get_weights()
    copy.set_weights([*others, 1e4 * kernel, 1e4 * bias])
    # So sure that the probability is 0 or 1, and its gradient 0.
    np.testing.assert_allclose(kt.grad_cam(copy, images, 1), expected, atol=1e-3)


def test_an_earlier_layer_by_block_name_and_object(trained):
    images, _ = planted(8, np.random.default_rng(3))
    maps = kt.grad_cam(trained, images, 1, layer="block1")
    np.testing.assert_array_equal(maps, kt.grad_cam(trained, images, 1, "block1_pool"))
    layer = trained.get_layer("block1_pool")
    np.testing.assert_array_equal(maps, kt.grad_cam(trained, images, 1, layer))
    default = kt.grad_cam(trained, images, 1)
    assert np.abs(maps - default).max() > 0.01
    np.testing.assert_array_equal(default, kt.grad_cam(trained, images, 1, "block2"))


def test_nothing_speaks_for_the_class():
    model = small_classifier()
    *others, kernel, bias = model.get_weights()
    model.set_weights([*others, 0 * kernel, bias])
    images = np.random.default_rng(0).uniform(0, 255, (2, 8, 8, 3))
    assert not kt.grad_cam(model, images, class_index=1).any()
    assert kt.grad_cam(model, images[:0]).shape == (0, 8, 8)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_backbone(name):
    keras.utils.set_random_seed(0)
    size = SMALLEST[name]
    backbone = kt.build_backbone(name, None, size)
    model = kt.build_classifier(backbone, 8, share_backbone=True)
    kt.unfreeze(model, from_block=kt.block_names(model)[-1])
    image = np.random.default_rng(0).uniform(0, 255, (1, size, size, 3))
    images, classes = np.repeat(image, 8, axis=0), np.arange(8)
    found = kt.grad_cam(model, images, classes)
    assert found.shape == (8, size, size)
    assert np.isfinite(found).all()
    assert found.any()


def test_an_earlier_block_of_a_backbone():
    keras.utils.set_random_seed(0)
    model = kt.build_classifier(kt.build_backbone("vgg16", None, 32), 3)
    image = np.random.default_rng(0).uniform(0, 255, (1, 32, 32, 3))
    images, classes = np.repeat(image, 3, axis=0), np.arange(3)
    maps = kt.grad_cam(model, images, classes, layer="block2")
    assert np.isfinite(maps).all()
    # Finer than the last one, which has a single place.
    assert maps.std(axis=(1, 2)).any()


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_gives_the_maps_of_float32(policy):
    keras.utils.set_random_seed(0)
    model = small_classifier(size=16)
    keras.config.set_dtype_policy(policy)
    try:
        mixed = small_classifier(size=16)
    finally:
        keras.config.set_dtype_policy("float32")
    # So small a weight that float16 would round the gradient to 0.
    *others, kernel, bias = model.get_weights()
    model.set_weights([*others, 1e-7 * kernel, bias])
    mixed.set_weights(model.get_weights())
    images = np.random.default_rng(0).uniform(0, 255, (4, 16, 16, 3))
    expected = kt.grad_cam(model, images, [0, 1, 0, 1])
    assert expected.any()
    found = kt.grad_cam(mixed, images, [0, 1, 0, 1])
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert mixed.get_layer("block1_conv1").compute_dtype == policy.removeprefix(
        "mixed_"
    )


@pytest.mark.slow
def test_a_loaded_model_in_a_fresh_process(tmp_path):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = small_classifier(size=16)
    finally:
        keras.config.set_dtype_policy("float32")
    images = np.random.default_rng(0).uniform(0, 255, (3, 16, 16, 3))
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "images.npy", images)
    script = (
        "import keras, numpy as np, keras_transfer as kt\n"
        "model = keras.saving.load_model('model.keras')\n"
        "np.save('maps.npy', kt.grad_cam(model, np.load('images.npy'), 1))\n"
    )
    fresh_process.run(script, cwd=tmp_path).check_returncode()
    found = np.load(tmp_path / "maps.npy")
    np.testing.assert_allclose(found, kt.grad_cam(model, images, 1), atol=1e-4)


def test_other_models():
    layers = keras.layers
    images = np.random.default_rng(0).uniform(0, 255, (2, 16, 16, 3))
    flat = keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            layers.Conv2D(4, 3, name="conv"),
            layers.GlobalAveragePooling2D(keepdims=True),
            layers.Flatten(),
            layers.Dense(2),
            layers.Softmax(),
        ]
    )
    maps = kt.grad_cam(flat, images, 1)
    np.testing.assert_array_equal(maps, kt.grad_cam(flat, images, 1, layer="conv"))
    inputs = keras.Input((16, 16, 3))
    x = layers.GlobalMaxPooling2D()(small_backbone(size=16)(inputs))
    nested = keras.Model(inputs, layers.Dense(2, activation="softmax")(x))
    assert kt.grad_cam(nested, images, [0, 1]).shape == (2, 16, 16)
    # The backbone, and what is in it, by name.
    maps = kt.grad_cam(nested, images, layer="small")
    np.testing.assert_array_equal(maps, kt.grad_cam(nested, images))
    np.testing.assert_array_equal(maps, kt.grad_cam(nested, images, layer="block2"))
    assert np.abs(maps - kt.grad_cam(nested, images, layer="block1_conv1")).max() > 0
    inputs = keras.Input((16, 16, 3))
    dense = keras.Model(inputs, layers.Dense(2)(layers.Flatten()(inputs)))
    with pytest.raises(ValueError, match="name a layer"):
        kt.grad_cam(dense, images)
    with pytest.raises(ValueError, match="Expected a functional model"):
        kt.grad_cam(small_backbone(size=16), images)
    with pytest.raises(ValueError, match="Expected a functional model"):
        kt.grad_cam(keras.Sequential([layers.Dense(2)]), images)
    with pytest.raises(ValueError, match="ends in flatten"):
        x = layers.Conv2D(2, 15)(inputs)
        kt.grad_cam(keras.Model(inputs, layers.Flatten(name="flatten")(x)), images)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"images": np.zeros((8, 8, 3))}, "images of shape"),
        ({"images": np.zeros((1, 9, 9, 3))}, r"images of shape \(1, 9, 9, 3\)"),
        ({"class_index": 2}, "from 0 to 1.*Received: class_index=2"),
        ({"class_index": -1}, "Received: class_index=-1"),
        ({"class_index": [0]}, "one for each of the 2 images"),
        ({"class_index": 0.5}, "Received: class_index=0.5"),
        ({"layer": "block9"}, "block1, block2. Received: layer=block9"),
        ({"layer": "head_dropout"}, "Received: layer=head_dropout"),
        ({"layer": 3}, "Received: layer=3"),
        ({"layer": ["block1"]}, "Received: layer="),
        ({"layer": keras.layers.ReLU(name="other")}, "Received: layer=other"),
        ({"images": [np.zeros((8, 8, 3)), np.zeros((9, 9, 3))]}, "images of shape"),
        ({"images": "photo.png"}, "images of shape"),
        ({"images": np.zeros((2, 8, 8, 1))}, "images of shape"),
        ({"images": np.full((2, 8, 8, 3), "a")}, "images of shape"),
        ({"images": None}, "images of shape"),
        ({"class_index": "cat"}, "Received: class_index=cat"),
        ({"class_index": [[0], [0, 1]]}, "Received: class_index="),
        ({"class_index": True}, "Received: class_index=True"),
        ({"model": None}, "Received: model="),
        ({"model": "vgg16"}, "Received: model=vgg16"),
    ],
)
def test_errors(arguments, message):
    images = np.zeros((2, 8, 8, 3))
    with pytest.raises(ValueError, match=message):
        kt.grad_cam(**{"model": small_classifier(), "images": images} | arguments)


def test_images_and_classes_of_one_meaning():
    model = small_classifier()
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3)).astype("uint8")
    expected = kt.grad_cam(model, images, 1)
    for given in (images.astype("float64"), [*images], images.tolist()):
        np.testing.assert_array_equal(kt.grad_cam(model, given, 1), expected)
    for chosen in (np.int64(1), np.uint8(1), [1, 1], np.array([1, 1])):
        np.testing.assert_array_equal(kt.grad_cam(model, images, chosen), expected)


def guide(base, *before):
    """Return the model of Keras's guide: the backbone is one layer."""
    inputs = keras.Input((16, 16, 3))
    x = inputs
    for layer in before:
        x = layer(x)
    x = keras.layers.GlobalAveragePooling2D()(base(x, training=False))
    return keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(x))


def flat_and_nested():
    """Return the same classifier twice: flat, and with its backbone as a layer."""
    keras.utils.set_random_seed(0)
    flat = kt.build_classifier(small_backbone(size=16), 3, dropout=0.0)
    nested = guide(small_backbone(size=16))
    deeper = guide(guide_backbone(small_backbone(size=16)))
    for model in (nested, deeper):
        model.set_weights(flat.get_weights())
    return flat, nested, deeper


def guide_backbone(base):
    inputs = keras.Input((16, 16, 3))
    return keras.Model(inputs, base(inputs), name="around")


@pytest.mark.parametrize("layer", [None, "block1", "block1_conv1", "block2_pool"])
def test_a_nested_backbone_is_explained_like_a_flat_one(layer):
    images = np.random.default_rng(0).uniform(0, 255, (3, 16, 16, 3))
    flat, *others = flat_and_nested()
    expected = kt.grad_cam(flat, images, [0, 1, 2], layer)
    assert expected.any()
    for model in others:
        before = state(model)
        found = kt.grad_cam(model, images, [0, 1, 2], layer)
        np.testing.assert_allclose(found, expected, atol=1e-5)
        assert not changed(before, model)


def test_a_nested_backbone_of_mixed_precision():
    images = np.random.default_rng(0).uniform(0, 255, (3, 16, 16, 3))
    flat, nested, _ = flat_and_nested()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        mixed = guide(small_backbone(size=16), keras.layers.Dropout(0.5))
    finally:
        keras.config.set_dtype_policy("float32")
    mixed.set_weights([*mixed.get_weights()[:-4], *nested.get_weights()[-4:]])
    mixed.set_weights(nested.get_weights())
    before = state(mixed)
    found = kt.grad_cam(mixed, images, 1, "block1")
    np.testing.assert_allclose(found, kt.grad_cam(flat, images, 1, "block1"), atol=1e-4)
    assert not changed(before, mixed)


@pytest.mark.parametrize(
    ("activation", "after"),
    [
        ("softmax", [keras.layers.Activation("linear", dtype="float32")]),
        (None, [keras.layers.Softmax()]),
        (None, [keras.layers.Activation("softmax", dtype="float32")]),
        (None, [keras.ops.softmax]),
        (None, [lambda x: x / 1.0, keras.ops.softmax]),
        (keras.layers.Softmax(), []),
        ("softmax", [keras.layers.Dropout(0.5), keras.layers.Reshape((3,))]),
    ],
)
def test_the_logits_are_found_behind_every_last_layer(activation, after):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(4, 3, name="conv")(inputs)
    x = keras.layers.GlobalAveragePooling2D()(x)
    plain = keras.Model(inputs, keras.layers.Dense(3)(x))
    y = keras.layers.Dense(3, activation=activation, name="head")(x)
    for layer in after:
        y = layer(y)
    model = keras.Model(inputs, y)
    # So sure that every probability is 0 or 1, and its gradient 0.
    for each in (plain, model):
        each.set_weights(
            [*plain.get_weights()[:2], 1e5 * plain.get_weights()[2], np.zeros(3)]
        )
    images = np.random.default_rng(0).uniform(0, 255, (3, 16, 16, 3))
    before = state(model)
    found = kt.grad_cam(model, images, [0, 1, 2])
    assert not changed(before, model)
    np.testing.assert_allclose(found, kt.grad_cam(plain, images, [0, 1, 2]), atol=1e-4)
    assert found.any()


def test_a_layer_that_is_called_twice():
    inputs = keras.Input((16, 16, 3))
    shared = keras.layers.Conv2D(3, 3, padding="same", name="shared")
    x = shared(shared(inputs))
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, keras.layers.Dense(2)(x))
    images = np.random.default_rng(0).uniform(0, 255, (2, 16, 16, 3))
    # The last call counts.
    np.testing.assert_array_equal(
        kt.grad_cam(model, images, 1, "shared"), kt.grad_cam(model, images, 1)
    )


def test_images_of_any_size_and_a_branch_that_leads_nowhere():
    model = kt.build_classifier(small_backbone(size=None), 2)
    assert kt.grad_cam(model, np.ones((1, 12, 20, 3)), 1).shape == (1, 12, 20)
    inputs = keras.Input((None, None, None))
    x = keras.layers.Lambda(lambda x: x, output_shape=(None, None, 3))(inputs)
    x = keras.layers.Conv2D(2, 3, name="conv")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, keras.layers.Dense(2)(x))
    assert kt.grad_cam(model, np.ones((1, 8, 8, 3)), 1).shape == (1, 8, 8)
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(2, 3, name="before")(inputs)
    shape = keras.ops.shape(x)[0]
    assert shape is None
    y = keras.layers.GlobalAveragePooling2D()(keras.ops.stop_gradient(x))
    model = keras.Model(inputs, keras.layers.Dense(2)(y))
    with pytest.raises(ValueError, match=r"do not depend.*Received: layer=before"):
        kt.grad_cam(model, np.ones((1, 8, 8, 3)), layer="before")


def test_the_model_is_left_as_it_was():
    model = small_classifier(dropout=0.5, activation="sigmoid")
    kt.compile_classifier(model, "adam")
    model.fit(*[np.ones((2, 8, 8, 3)), np.arange(2)], verbose=0)
    before = state(model)
    kt.grad_cam(model, np.ones((2, 8, 8, 3)))
    with pytest.raises(ValueError, match="Received: layer=none"):
        kt.grad_cam(model, np.ones((2, 8, 8, 3)), layer="none")
    assert not changed(before, model)
    model.fit(*[np.ones((2, 8, 8, 3)), np.arange(2)], verbose=0)


def test_who_explains_many_times_makes_the_graph_once():
    model = small_classifier()
    images = np.random.default_rng(0).uniform(0, 255, (3, 8, 8, 3)).astype("float32")
    explain = explainer(model, (8, 8, 3))
    for count in (1, 3):
        classes = np.arange(count, dtype="int32") % 2
        found = explain(images[:count], classes).numpy()
        np.testing.assert_array_equal(
            found, kt.grad_cam(model, images[:count], classes)
        )
    assert explain.experimental_get_tracing_count() == 1
