"""What outputs mean is one rule: no answer is misread, by any function."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import expit, softmax

import keras_transfer as kt
from keras_transfer.classifier.saved import Classifier
from keras_transfer.models.compiling import compile_for_soft_labels
from keras_transfer.models.outputs import class_probabilities, classifier_outputs

layers = keras.layers
SIZE = 4
IMAGES = np.random.default_rng(0).normal(size=(6, SIZE, SIZE, 3)).astype("float32")
LABELS = np.arange(6) % 3


def pooled():
    """Return inputs and three numbers of each image."""
    inputs = keras.Input((SIZE, SIZE, 3))
    return inputs, layers.GlobalAveragePooling2D()(inputs)


def logits_of(units=3):
    """Return what `Dense(units)` with the weights below gives."""
    return IMAGES.mean(axis=(1, 2)) @ KERNEL[:, :units]


KERNEL = np.array([[3.0, 0, 1], [0, 4, 0], [-1, 0, 5]], "float32")


def dense(units=3, activation=None):
    return layers.Dense(
        units,
        activation=activation,
        kernel_initializer=keras.initializers.Constant(KERNEL[:, :units]),
    )


def chain(*after, units=3, activation=None):
    """Return a model of a dense layer and what comes after it."""
    inputs, x = pooled()
    x = dense(units, activation)(x)
    for layer in after:
        x = layer(x)
    return keras.Model(inputs, x)


def sequential(*after):
    inputs = keras.Input((SIZE, SIZE, 3))
    return keras.Sequential([inputs, layers.GlobalAveragePooling2D(), *after])


class Subclassed(keras.Model):
    def __init__(self, units=3, activation="softmax"):
        super().__init__()
        self.pool = layers.GlobalAveragePooling2D()
        self.head = dense(units, activation)

    def call(self, images):
        return self.head(self.pool(images))


def subclassed(*arguments):
    model = Subclassed(*arguments)
    model(IMAGES[:1])
    return model


def nested(classifier):
    inputs = keras.Input((SIZE, SIZE, 3))
    return keras.Model(inputs, classifier(inputs))


def nested_head(activation="softmax"):
    """Return a model whose head is a model with two outputs, of which one is used."""
    features = keras.Input((3,))
    chosen, other = dense(3, activation)(features), layers.Dense(3, "relu")(features)
    head = keras.Model(features, [chosen, other])
    inputs, x = pooled()
    return keras.Model(inputs, head(x)[0])


def own_softmax(x):
    return keras.ops.softmax(x)


def sharpened(x):
    return 2 * x


def named(name, function):
    """Give a function the name of one of Keras's."""
    function.__name__ = name
    return function


@keras.saving.register_keras_serializable("test_outputs")
def registered_softmax(x):
    return keras.ops.softmax(x)


S = softmax
# Kind: a model, and what its logits mean as probabilities; or why it is refused.
UNREADABLE = "cannot be read from the graph"
MEANINGS = {
    "logits": (lambda: chain(), lambda z: S(z, 1)),
    "softmax": (lambda: chain(activation="softmax"), lambda z: S(z, 1)),
    "softmax, a layer": (lambda: chain(layers.Softmax()), lambda z: S(z, 1)),
    "softmax, an activation": (
        lambda: chain(layers.Activation("softmax", dtype="float32")),
        lambda z: S(z, 1),
    ),
    "softmax, an operation": (lambda: chain(keras.ops.softmax), lambda z: S(z, 1)),
    "softmax, a layer as activation": (
        lambda: chain(activation=layers.Softmax()),
        lambda z: S(z, 1),
    ),
    "softmax of TensorFlow": (
        lambda: chain(activation=tf.nn.softmax),
        lambda z: S(z, 1),
    ),
    "float32 at the end": (
        lambda: chain(
            layers.Activation("linear", dtype="float32"), activation="softmax"
        ),
        lambda z: S(z, 1),
    ),
    "float32 after logits": (
        lambda: chain(layers.Activation("linear", dtype="float32")),
        lambda z: S(z, 1),
    ),
    "cast at the end": (
        lambda: chain(keras.ops.softmax, lambda x: keras.ops.cast(x, "float32")),
        lambda z: S(z, 1),
    ),
    "dropout, then reshaped": (
        lambda: chain(
            layers.Dropout(0.5),
            layers.Reshape((1, 3)),
            layers.Flatten(),
            activation="softmax",
        ),
        lambda z: S(z, 1),
    ),
    "noise": (
        lambda: chain(layers.GaussianNoise(1.0), activation="softmax"),
        lambda z: S(z, 1),
    ),
    "temperature, then softmax": (
        lambda: chain(lambda x: x / 2.5, keras.ops.softmax),
        lambda z: S(z / 2.5, 1),
    ),
    "temperature, a layer": (
        lambda: chain(layers.Rescaling(0.4), layers.Softmax()),
        lambda z: S(z * 0.4, 1),
    ),
    "logits of a temperature": (
        lambda: chain(lambda x: x / 2.5),
        lambda z: S(z / 2.5, 1),
    ),
    "logits * 2": (lambda: chain(lambda x: x * 2), lambda z: S(2 * z, 1)),
    "averaged logits of each place": (
        lambda: keras.Sequential(
            [
                keras.Input((SIZE, SIZE, 3)),
                layers.Conv2D(
                    3, 1, kernel_initializer=keras.initializers.Constant(KERNEL)
                ),
                layers.GlobalAveragePooling2D(),
            ]
        ),
        lambda z: S(z, 1),
    ),
    "nested": (lambda: nested(chain(activation="softmax")), lambda z: S(z, 1)),
    "nested twice": (lambda: nested(nested(chain())), lambda z: S(z, 1)),
    "nested, scaled outside": (
        lambda: keras.Sequential(
            [keras.Input((SIZE, SIZE, 3)), chain(), layers.Softmax()]
        ),
        lambda z: S(z, 1),
    ),
    "one of two outputs of a head": (nested_head, lambda z: S(z, 1)),
    "Sequential": (lambda: sequential(dense(3, "softmax")), lambda z: S(z, 1)),
    "Sequential logits": (lambda: sequential(dense(3)), lambda z: S(z, 1)),
    "subclassed softmax": (subclassed, lambda z: S(z, 1)),
    "lambda of softmax": (
        lambda: chain(layers.Lambda(lambda x: x), activation="softmax"),
        lambda z: S(z, 1),
    ),
    "a function of one's own": (
        lambda: chain(activation=own_softmax),
        lambda z: S(z, 1),
    ),
    "a registered function": (
        lambda: chain(activation=registered_softmax),
        lambda z: S(z, 1),
    ),
    "one sigmoid unit": (
        lambda: chain(units=1, activation="sigmoid"),
        lambda z: np.concatenate([1 - expit(z), expit(z)], 1),
    ),
    "one sigmoid, an operation": (
        lambda: chain(keras.ops.sigmoid, units=1),
        lambda z: np.concatenate([1 - expit(z), expit(z)], 1),
    ),
    "one logit": (
        lambda: chain(units=1),
        lambda z: np.concatenate([1 - expit(z), expit(z)], 1),
    ),
    "one subclassed sigmoid": (
        lambda: subclassed(1, "sigmoid"),
        lambda z: np.concatenate([1 - expit(z), expit(z)], 1),
    ),
    "sigmoid per class": (lambda: chain(activation="sigmoid"), "yes or no"),
    "sigmoid per class, nested": (
        lambda: nested(chain(activation="sigmoid")),
        "yes or no",
    ),
    "sigmoid per class, a layer": (
        lambda: chain(layers.Activation("sigmoid")),
        "yes or no",
    ),
    "sigmoid per class, an operation": (lambda: chain(keras.ops.sigmoid), "yes or no"),
    "sigmoid per class, subclassed": (lambda: subclassed(3, "sigmoid"), UNREADABLE),
    "softmax over one unit": (
        lambda: chain(units=1, activation="softmax"),
        "always 1",
    ),
    "relu": (lambda: chain(activation="relu"), "activation=relu"),
    "relu, a layer": (lambda: chain(layers.ReLU()), "activation=relu"),
    "tanh": (lambda: chain(activation="tanh"), "activation=tanh"),
    "tanh, an operation": (lambda: chain(keras.ops.tanh), "activation=tanh"),
    "softmax twice as much": (
        lambda: chain(lambda x: x * 2, activation="softmax"),
        UNREADABLE,
    ),
    "lambda of logits": (lambda: chain(layers.Lambda(lambda x: x)), UNREADABLE),
    "normalized logits": (lambda: chain(layers.BatchNormalization()), UNREADABLE),
    "own function": (lambda: chain(activation=sharpened), UNREADABLE),
    "own function called softmax": (
        lambda: chain(activation=named("softmax", lambda x: 2 * x)),
        UNREADABLE,
    ),
    "subclassed logits": (lambda: subclassed(3, None), UNREADABLE),
    "nested subclassed logits": (lambda: nested(subclassed(3, None)), UNREADABLE),
}


@pytest.fixture(scope="module", params=MEANINGS)
def kind(request):
    make, meaning = MEANINGS[request.param]
    return make(), meaning


def dataset(images=IMAGES, count=3):
    labels = LABELS % count
    return tf.data.Dataset.from_tensor_slices((images, labels)).batch(4)


def classes_of(model):
    return max(2, model(IMAGES[:1], training=False).shape[-1])


def photo_probabilities(model, folder):
    """Return what `Classifier.predict` answers about a photo file."""
    path = folder / "photo.png"
    pixels = np.random.default_rng(1).integers(0, 256, (SIZE, SIZE, 3))
    keras.utils.save_img(path, pixels, scale=False)
    names = [f"class {i}" for i in range(classes_of(model))]
    (found,) = Classifier(model, names, SIZE).predict(path)
    return found.probabilities, pixels[None].mean(axis=(1, 2)) @ KERNEL


def test_every_reader_says_the_same(kind, tmp_path):
    model, meaning = kind
    outputs = model(IMAGES, training=False)
    names = [f"class {i}" for i in range(classes_of(model))]
    if isinstance(meaning, str):
        for read in (
            lambda: kt.class_probabilities(model, outputs),
            lambda: kt.evaluate_classifier(model, dataset(count=len(names)), names),
            lambda: photo_probabilities(model, tmp_path),
        ):
            with pytest.raises(ValueError, match=meaning) as caught:
                read()
            assert "Received: " in str(caught.value)
        return
    expected = meaning(logits_of(outputs.shape[-1]))
    found = kt.class_probabilities(model, outputs)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    report = kt.evaluate_classifier(model, dataset(count=len(names)), names)
    np.testing.assert_allclose(report.probabilities, expected, atol=1e-5)
    found, logits = photo_probabilities(model, tmp_path)
    expected = meaning(logits[:, : outputs.shape[-1]])[0]
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_what_is_trained_is_read_from_the_graph(kind):
    model, _ = kind
    activation = classifier_outputs_or_none(model)
    for compile_model in (
        lambda: kt.compile_classifier(model, "sgd"),
        lambda: compile_for_soft_labels(model, "sgd", 0.0),
    ):
        if activation is None:
            with pytest.raises(ValueError, match=r"activation=|output_shape"):
                compile_model()
            continue
        compile_model()
        config = model.get_compile_config()["loss"]["config"]
        assert config["from_logits"] == (activation == "linear")


def classifier_outputs_or_none(model):
    try:
        return classifier_outputs(model, known=True).activation
    except ValueError:
        return None


def test_three_sigmoids_are_never_taken_for_logits():
    model = chain(activation="sigmoid")
    with pytest.raises(ValueError, match="3 units, activation=sigmoid"):
        class_probabilities(model, np.array([[0, 0, 0.997]]))


def test_numbers_are_judged_over_all_images():
    # Logits of one unit, which lie between 0 and 1 for some images only.
    images = np.concatenate([0 * IMAGES + 0.1, 5 + 0 * IMAGES])
    model = subclassed(1, None)
    labels = np.zeros(12, int)
    pairs = tf.data.Dataset.from_tensor_slices((images, labels)).batch(6)
    with pytest.raises(ValueError, match=UNREADABLE):
        kt.evaluate_classifier(model, pairs, ["no", "yes"])


def test_numbers_that_are_not_finite_are_somebody_elses():
    outputs = np.array([[0.25, 0.75], [np.nan, 1]])
    model = subclassed(2)
    found = class_probabilities(model, outputs)
    assert np.isnan(found[1]).any()
    np.testing.assert_array_equal(found[0], [0.25, 0.75])
    images = IMAGES.copy()
    images[3] = np.nan
    with pytest.raises(ValueError, match="for 1 of 6 images, first at index 3"):
        kt.evaluate_classifier(subclassed(3), dataset(images), ["a", "b", "c"])


WRONG_OUTPUTS = {
    "one row": np.zeros(3),
    "too wide": np.zeros((2, 4)),
    "one too few": np.zeros((2, 2)),
    "a map": np.zeros((2, 1, 1, 3)),
    "a number": 0.5,
    "nothing": None,
    "text": "cat",
    "texts": [["cat", "dog", "fox"]],
    "rows of different lengths": [[0.1, 0.2, 0.7], [1.0]],
    "two outputs": {"a": np.zeros((2, 3)), "b": np.zeros((2, 3))},
}


@pytest.mark.parametrize("wrong", WRONG_OUTPUTS)
def test_wrong_outputs(wrong):
    with pytest.raises(ValueError, match=r"shape \(count, .*Received: outputs"):
        kt.class_probabilities(chain(activation="softmax"), WRONG_OUTPUTS[wrong])


def test_outputs_in_every_form():
    model = chain(activation="softmax")
    expected = np.float32([[0.2, 0.3, 0.5]])
    for outputs in (
        expected,
        expected.tolist(),
        tf.constant(expected),
        keras.ops.cast(expected, "float16"),
        keras.ops.cast(expected, "bfloat16"),
        {"head": expected},
    ):
        found = kt.class_probabilities(model, outputs)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=2e-3)
    assert kt.class_probabilities(model, expected[:0]).shape == (0, 3)


class Holder:
    model = None


def test_models_that_are_none():
    holder = Holder()
    holder.model = chain()
    for wrong in (None, "model", 3, holder, keras.Sequential([layers.Dense(2)])):
        with pytest.raises(ValueError, match="Received: model=") as caught:
            kt.class_probabilities(wrong, np.zeros((1, 3)))
        assert ("classifier.model" in str(caught.value)) == (wrong is holder)
    for several in ([1, 2], {"a": 1, "b": 2}):
        inputs, x = pooled()
        heads = keras.tree.map_structure(lambda _, x=x: layers.Dense(3)(x), several)
        with pytest.raises(ValueError, match="output_shape"):
            classifier_outputs(keras.Model(inputs, heads))
    inputs, x = pooled()
    alone = keras.Model(inputs, {"head": layers.Dense(3)(x)})
    assert classifier_outputs(alone).activation == "linear"
