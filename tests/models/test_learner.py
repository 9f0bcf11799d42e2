"""What learns in place of a model learns the same, and is the same in a file."""

import keras
import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer.models.learner import give_back, learner_of
from keras_transfer.models.precision import same_copy
from keras_transfer.runtime.keras_internals import concrete_functions
from tests.helpers.small_networks import small_classifier, values

layers = keras.layers


def randomize(model):
    # A fresh BatchNormalization has 1, 0, 0, 1, which would hide a wrong fold.
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            randomize(layer)
        elif isinstance(layer, layers.BatchNormalization):
            layer.trainable = False
            for weight in layer.weights:
                low = 0.5 if weight.path.endswith(("gamma", "variance")) else -0.5
                weight.assign(rng.uniform(low, low + 1, weight.shape))


def network(held=False):
    """Return a classifier with every kind of convolution that can be folded."""
    inputs = keras.Input((12, 12, 3))
    x = layers.Conv2D(8, 3, name="block1_conv1")(inputs)
    x = layers.ReLU()(layers.BatchNormalization(name="block1_bn1")(x))
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization(scale=False)(x))
    x = layers.Conv2D(8, 3, 2, "same", dilation_rate=1, use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization(center=False, epsilon=0.1)(x))
    if held:
        x = keras.Model(inputs, x)(inputs)
    x = layers.Dropout(0.2, seed=1)(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(inputs, layers.Dense(2, name="head_predictions")(x))
    randomize(model)
    return model


def photos(count=16, size=12):
    rng = np.random.default_rng(1)
    images = rng.normal(0, 1, (count, size, size, 3)).astype("float32")
    return images, np.arange(count) % 2


def compiled(model):
    # Of a size that all of the weights change by a few percent.
    kt.compile_classifier(model, keras.optimizers.AdamW(0.003))
    return model


def fitted(model, epochs=4, **settings):
    settings = {"batch_size": 8, "shuffle": False, "verbose": 0} | settings
    history = compiled(model).fit(
        *photos(), epochs=epochs, validation_data=photos(8), **settings
    )
    return history.history


@pytest.mark.parametrize("held", [False, True])
def test_losses_and_weights_are_those_of_the_model_itself(held):
    model = network(held)
    itself, learner = same_copy(model), learner_of(model, "float32")
    assert learner is not model
    before = values(model)
    expected, found = fitted(itself), fitted(learner)
    for name in ("loss", "val_loss"):
        assert found[name] == pytest.approx(expected[name], rel=1e-4)
    for one, other in zip(learner.get_weights(), itself.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)
    # The model itself has learnt nothing until it is told.
    assert all(np.array_equal(before[k], v) for k, v in values(model).items())
    give_back(learner, model)
    outputs = [each.predict(photos()[0], verbose=0) for each in (model, itself)]
    np.testing.assert_allclose(*outputs, rtol=1e-3, atol=1e-4)


def gradients(model):
    import tensorflow as tf

    images, labels = photos()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    with tf.GradientTape() as tape:
        value = loss(labels, model(images, training=True))
    return tape.gradient(value, [v.value for v in model.trainable_variables])


def test_gradients_pass_through_the_fold():
    model = network()
    itself, learner = same_copy(model), learner_of(model, "float32")
    paths = [variable.path for variable in learner.trainable_variables]
    assert [path.split("/")[-1] for path in paths].count("bias") == 2
    expected, found = gradients(itself), gradients(learner)
    for one, other in zip(found, expected, strict=True):
        size = np.abs(other).max()
        assert size > 0
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5 * size)


def test_one_bias_an_output_is_all_that_is_added():
    learner = learner_of(network(), "float32")
    fitted(learner, 1)
    graph = concrete_functions(learner.train_function)[0].graph
    forward = [op.type for op in graph.get_operations() if "gradient" not in op.name]
    assert forward.count("BiasAdd") == 4  # Three convolutions and the head.


def test_bfloat16_is_close():
    model = network()
    itself, learner = same_copy(model), learner_of(model, "bfloat16")
    assert learner.layers[1].compute_dtype == "bfloat16"
    expected, found = fitted(itself), fitted(learner)
    assert found["loss"] == pytest.approx(expected["loss"], rel=0.02)
    assert {weight.dtype for weight in learner.weights} == {"float32"}


def test_bits_are_cut_after_the_fold(monkeypatch):
    """Kernels that differ by less than bfloat16 tells apart must differ once scaled."""
    model = network()
    learner = learner_of(model, "bfloat16")
    convolution, normalization = learner.layers[1:3]
    seen = []
    monkeypatch.setattr(keras.ops, "conv", lambda x, kernel, **_: seen.append(kernel))
    with pytest.raises(Exception, match="None"):
        convolution(photos()[0])
    kernel, *_ = (np.asarray(weight) for weight in convolution.weights)
    gamma, _, _, variance = (np.asarray(weight) for weight in normalization.weights)
    exact = kernel * gamma / np.sqrt(variance + normalization.epsilon)
    rounded = np.asarray(keras.ops.cast(exact, "bfloat16")).astype("float32")
    found = np.asarray(keras.ops.cast(seen[0], "float32"))
    assert (found == rounded).mean() > 0.99


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_file_of_it_computes_the_same_without_it(dtype, tmp_path):
    learner = learner_of(network(), dtype)
    path = tmp_path / "epoch{epoch}.keras"
    fitted(learner, 2, callbacks=[keras.callbacks.ModelCheckpoint(path)])
    loaded = keras.models.load_model(tmp_path / "epoch2.keras")
    assert not any("call" in vars(layer) for layer in loaded.layers)
    assert [type(x) for x in loaded.layers] == [type(x) for x in learner.layers]
    assert [w.path for w in loaded.weights] == [w.path for w in learner.weights]
    outputs = [each.predict(photos()[0], verbose=0) for each in (loaded, learner)]
    tolerance = 1e-5 if dtype == "float32" else 0.02
    np.testing.assert_allclose(*outputs, rtol=tolerance, atol=tolerance)
    assert loaded.optimizer.iterations == learner.optimizer.iterations
    losses = [each.evaluate(*photos(), verbose=0)[0] for each in (loaded, learner)]
    assert losses[0] == pytest.approx(losses[1], rel=tolerance)


@pytest.mark.parametrize("train_batch_normalization", [False, True])
def test_what_becomes_trainable_within_a_fit_is_no_longer_folded(
    train_batch_normalization,
):
    model = small_classifier(3, normalized=True, size=16)
    randomize(model)
    found = []
    for each in (same_copy(model), learner_of(model, "float32")):
        schedule = kt.callbacks.GradualUnfreezing(
            ["block2", "block3"], train_batch_normalization=train_batch_normalization
        )
        compiled(each)
        rates = kt.discriminative_learning_rates(each, 0.01)
        kt.compile_classifier(each, rates)
        images, labels = photos(size=16)
        history = each.fit(
            images * 50, labels, 8, 4, callbacks=[schedule], shuffle=False, verbose=0
        )
        found.append((history.history["loss"], values(each)))
    (expected, after), (losses, folded_after) = found
    assert losses == pytest.approx(expected, rel=1e-4)
    before = values(model)
    moved = {
        k for k in after if "moving" in k and not np.array_equal(after[k], before[k])
    }
    assert {k.split("_")[0] for k in moved} == (
        {"block2", "block3"} if train_batch_normalization else set()
    )
    for path, value in after.items():
        # Adam makes steps of what is rounding alone, such as a bias before it.
        np.testing.assert_allclose(folded_after[path], value, rtol=1e-3, atol=2e-3)


class Doubled(layers.Conv2D):
    def call(self, inputs):
        return 2 * super().call(inputs)


def test_what_need_not_be_the_same_learns_itself():
    inputs = keras.Input((12, 12, 3))
    x = layers.BatchNormalization()(Doubled(4, 3)(inputs))
    own = keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x)))
    assert learner_of(own, "float32") is own
    plain = small_classifier()
    assert learner_of(plain, "float32") is plain  # There is nothing to fold.
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        half = network()
        assert learner_of(half, "float16") is half
    finally:
        keras.config.set_dtype_policy(before)


def test_what_is_drawn_goes_on_where_the_model_was():
    model = network()
    learner = learner_of(model, "float32")
    fitted(learner, 1)
    give_back(learner, model)
    ends = [each(photos()[0], training=True).numpy() for each in (model, learner)]
    np.testing.assert_allclose(*ends, rtol=1e-4, atol=1e-5)
