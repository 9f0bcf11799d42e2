"""Each block takes a step of its own length, weight decay included."""

import json
import zipfile

import keras
import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer.runtime.keras_internals import concrete_functions
from tests.helpers import fresh_process
from tests.helpers.small_networks import images_and_labels, small_classifier, values

BLOCKS = ("block1", "block2", "head")


def network():
    model = small_classifier()
    kt.unfreeze(model, from_block="block1")
    return model


def gradients(model, images, labels):
    import tensorflow as tf

    with tf.GradientTape() as tape:
        outputs = model(images, training=True)
        loss = model.compute_loss(images, labels, outputs)
    found = tape.gradient(loss, [v.value for v in model.trainable_variables])
    paths = [v.path for v in model.trainable_variables]
    return {p: np.array(g, "float64") for p, g in zip(paths, found, strict=True)}


def rate_of(path, rates):
    return next(rate for block, rate in rates.items() if path.startswith(block))


def adamw_step(value, gradient, rate, step, moments, decay=0.004):
    moments[0] = 0.9 * moments[0] + 0.1 * gradient
    moments[1] = 0.999 * moments[1] + 0.001 * gradient**2
    mean, square = moments[0] / (1 - 0.9**step), moments[1] / (1 - 0.999**step)
    # Keras adds epsilon to the root before the correction of the second moment.
    epsilon = 1e-7 / np.sqrt(1 - 0.999**step)
    return value * (1 - rate * decay) - rate * mean / (np.sqrt(square) + epsilon)


@pytest.mark.parametrize("as_mapping", [False, True])
def test_adamw_steps_as_computed_by_hand(as_mapping):
    keras.utils.set_random_seed(0)
    model = network()
    rates = {"head": 0.08, "block2": 0.02, "block1": 0.005}
    if as_mapping:
        optimizer = kt.discriminative_learning_rates(model, rates)
    else:
        optimizer = kt.discriminative_learning_rates(model, 0.08, layer_decay=0.25)
    kt.compile_classifier(model, optimizer)
    images, labels = images_and_labels()
    moments = {path: [0.0, 0.0] for path in values(model)}
    for step in (1, 2, 3):
        before, gradient = values(model), gradients(model, images, labels)
        model.fit(images, labels, batch_size=8, shuffle=False, verbose=0)
        for path, value in values(model).items():
            expected = adamw_step(
                before[path],
                gradient[path],
                rate_of(path, rates),
                step,
                moments[path],
            )
            np.testing.assert_allclose(value, expected, atol=2e-6, err_msg=path)


@pytest.mark.parametrize("name", ["adam", "sgd", "rmsprop", "lion"])
def test_a_rate_of_its_own_equals_a_stock_optimizer_at_that_rate(name):
    """Where only one block differs from a stock optimizer's rate, only it differs."""
    images, labels = images_and_labels()
    found = {}
    for kind, rate in {"blocks": None, 0.02: 0.02, 0.01: 0.01}.items():
        keras.utils.set_random_seed(0)
        model = network()
        if rate is None:
            optimizer = kt.discriminative_learning_rates(
                model, {"head": 0.02, "block2": 0.01, "block1": 0.01}, optimizer=name
            )
        else:
            optimizer = keras.optimizers.get(name)
            optimizer.learning_rate = rate
        kt.compile_classifier(model, optimizer)
        model.fit(images, labels, batch_size=8, verbose=0)
        found[kind] = values(model)
    for path, value in found["blocks"].items():
        same = 0.02 if path.startswith("head") else 0.01
        np.testing.assert_allclose(value, found[same][path], atol=1e-7, err_msg=path)


def test_callbacks_and_schedules_move_all_blocks_together():
    images, labels = images_and_labels()
    model = network()
    optimizer = kt.discriminative_learning_rates(model, 0.1, layer_decay=0.5)
    kt.compile_classifier(model, optimizer)
    halve = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)
    plateau = keras.callbacks.ReduceLROnPlateau(monitor="loss", patience=99)
    model.fit(images, labels, epochs=2, callbacks=[halve, plateau], verbose=0)
    rates = {r["block"]: r["learning_rate"] for r in kt.trainable_summary(model).rows}
    assert rates == pytest.approx({"head": 0.025, "block2": 0.0125, "block1": 0.00625})

    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([1], [0.1, 0.0])
    kt.compile_classifier(model, kt.discriminative_learning_rates(model, schedule))
    start = values(model)
    model.fit(images, labels, batch_size=8, verbose=0)
    moved = values(model)
    assert all(np.any(moved[path] != start[path]) for path in start)
    model.fit(images, labels, batch_size=8, verbose=0)  # Step 1 and later: rate 0.
    model.fit(images, labels, batch_size=8, verbose=0)
    again = values(model)
    model.fit(images, labels, batch_size=8, verbose=0)
    assert all(np.array_equal(values(model)[path], again[path]) for path in again)


def test_mixed_precision():
    images, labels = images_and_labels()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = network()
        optimizer = kt.discriminative_learning_rates(model, 0.1)
        kt.compile_classifier(model, optimizer)
        assert model.optimizer.inner_optimizer is optimizer
        start = values(model)
        model.fit(images, labels, batch_size=8, verbose=0)
    finally:
        keras.config.set_dtype_policy("float32")
    # Adam's first step is as long as its rate, whatever the gradient.
    longest = {
        block: max(
            np.abs(values(model)[path] - start[path]).max()
            for path in start
            if path.startswith(block)
        )
        for block in BLOCKS
    }
    assert longest == pytest.approx(
        {"head": 0.1, "block2": 0.05, "block1": 0.025}, rel=0.02
    )


def test_settings_of_an_optimizer_are_taken_over_and_survive_a_recompile():
    model = network()
    stock = keras.optimizers.AdamW(1.0, weight_decay=0.3, beta_2=0.99, clipnorm=2.0)
    optimizer = kt.discriminative_learning_rates(model, 0.1, 0.5, stock)
    kt.compile_classifier(model, optimizer)
    kt.freeze(model)
    kt.unfreeze(model, from_block="block2")
    config = model.optimizer.get_config()
    assert type(model.optimizer) is type(optimizer)
    assert config["weight_decay"] == 0.3
    assert (config["beta_2"], config["clipnorm"]) == (0.99, 2.0)
    rows = kt.trainable_summary(model).rows
    assert [row["learning_rate"] for row in rows] == pytest.approx([None, 0.05, 0.1])


def saved_in(folder):
    """Save models that are compiled with it, each in another way; return the last."""
    model = network()
    kt.compile_classifier(model, kt.discriminative_learning_rates(model, 0.1))
    model.save(folder / "before a step.keras")
    checkpoint = keras.callbacks.ModelCheckpoint(folder / "checkpoint.keras")
    model.fit(*images_and_labels(), verbose=0, callbacks=[checkpoint])
    plain = network()
    plain.compile(
        kt.discriminative_learning_rates(plain, 0.1, optimizer="sgd"),
        "sparse_categorical_crossentropy",
    )
    kt.freeze(plain)
    plain.fit(*images_and_labels(), verbose=0)
    plain.save(folder / "compiled by Keras, then frozen.keras")
    keras.config.set_dtype_policy("mixed_float16")
    try:
        mixed = network()
        kt.compile_classifier(mixed, kt.discriminative_learning_rates(mixed, 0.1))
        mixed.fit(*images_and_labels(), verbose=0)
        mixed.save(folder / "mixed precision.keras")
    finally:
        keras.config.set_dtype_policy("float32")
    return model


LOAD = """
import glob, sys, warnings, keras, numpy as np
warnings.simplefilter("error")
for path in sorted(glob.glob("*.keras")):
    model = keras.saving.load_model(path)
    steps = 0 if "before" in path else 1
    assert int(model.optimizer.iterations) == steps, path
    assert type(model.optimizer).__module__.startswith("keras."), path
    model.fit(np.zeros((8, 8, 8, 3)), np.arange(8) % 2, verbose=0)
assert not [m for m in sys.modules if m.startswith("keras_transfer")]
"""


@pytest.mark.slow
def test_files_load_and_compile_with_keras_alone(tmp_path):
    model = saved_in(tmp_path)
    assert len(list(tmp_path.iterdir())) == 4
    fresh_process.run(LOAD, cwd=tmp_path).check_returncode()
    # What is in the file is the stock optimizer, with all that it has learnt.
    loaded = keras.saving.load_model(tmp_path / "checkpoint.keras")
    assert type(loaded.optimizer) is keras.optimizers.AdamW
    for one, other in zip(
        model.optimizer.variables, loaded.optimizer.variables, strict=True
    ):
        assert one.path == other.path
        assert np.array_equal(one.numpy(), other.numpy())
    # Here it has its rates by depth, also when it is compiled again.
    rates = [row["learning_rate"] for row in kt.trainable_summary(model).rows]
    assert rates == pytest.approx([0.025, 0.05, 0.1])
    kt.unfreeze(model, "block2")
    rates = [row["learning_rate"] for row in kt.trainable_summary(model).rows]
    assert rates == pytest.approx([None, 0.05, 0.1])
    # And from a file one goes on with them.
    rates = kt.discriminative_learning_rates(loaded, 0.1, optimizer=loaded.optimizer)
    kt.compile_classifier(loaded, rates)
    kt.freeze(loaded)
    assert kt.trainable_summary(loaded).rows[-1]["learning_rate"] == pytest.approx(0.1)


def test_a_file_of_an_earlier_version_loads_with_its_rates(tmp_path):
    model = network()
    rates = kt.discriminative_learning_rates(model, 0.1)
    kt.compile_classifier(model, rates)
    model.save(tmp_path / "new.keras")
    with (
        zipfile.ZipFile(tmp_path / "new.keras") as new,
        zipfile.ZipFile(tmp_path / "old.keras", "w") as old,
    ):
        for name in new.namelist():
            content = new.read(name)
            if name == "config.json":
                config = json.loads(content)
                written = config["compile_config"]["optimizer"]
                written["module"] = "keras_transfer.fine_tuning.learning_rates"
                written["class_name"] = "BlockLearningRatesAdamW"
                written["registered_name"] = "keras_transfer>BlockLearningRatesAdamW"
                written["config"]["learning_rate_scales"] = rates.learning_rate_scales
                content = json.dumps(config)
            old.writestr(name, content)
    loaded = keras.saving.load_model(tmp_path / "old.keras")
    rows = kt.trainable_summary(loaded).rows
    assert [row["learning_rate"] for row in rows] == pytest.approx([0.025, 0.05, 0.1])
    for each in (model, loaded):
        each.fit(*images_and_labels(), verbose=0, shuffle=False)
    for path, value in values(model).items():
        assert np.array_equal(value, values(loaded)[path])


def test_rates_that_do_not_fit_change_nothing():
    model = network()
    kt.unfreeze(model, "block2")
    rates = kt.discriminative_learning_rates(model, {"head": 0.1, "block2": 0.1})
    kt.compile_classifier(model, rates)
    model.fit(*images_and_labels(), verbose=0)
    before = {name: vars(model)[name] for name in ("optimizer", "train_function")}
    history, trainable = model.history, [layer.trainable for layer in model.layers]
    metrics = model.metrics
    with pytest.raises(ValueError, match="no learning rate"):
        kt.unfreeze(model, "block1")
    assert all(vars(model)[name] is value for name, value in before.items())
    assert model.history is history and model.metrics == metrics
    assert [layer.trainable for layer in model.layers] == trainable
    model.fit(*images_and_labels(), verbose=0)
    uncompiled = network()
    with pytest.raises(ValueError, match="no learning rate"):
        kt.compile_classifier(
            uncompiled, kt.discriminative_learning_rates(model, {"head": 1.0})
        )
    assert not uncompiled.compiled


def test_several_optimizers_have_no_rate_in_common():
    model = network()
    sgd, adam = keras.optimizers.SGD(), keras.optimizers.Adam()
    rates = keras.optimizers.OptimizerMap(sgd, {"head.*": adam})
    kt.compile_classifier(model, keras.optimizers.MultiOptimizer(rates))
    rows = kt.trainable_summary(model).rows
    assert {row["learning_rate"] for row in rows} == {None}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"learning_rate": 0.0}, "learning_rate=0.0"),
        ({"learning_rate": -1e-3}, "above 0. Received: learning_rate=-0.001"),
        ({"learning_rate": 0.1, "layer_decay": 1.5}, "layer_decay=1.5"),
        ({"learning_rate": 0.1, "layer_decay": 0}, "layer_decay=0"),
        ({"learning_rate": {"head": 0.1, "conv5": 0.1}}, "block1, block2, head"),
        ({"learning_rate": {"block2": 0.1}}, "head always"),
        ({"learning_rate": {"head": 0.1, "block2": -1}}, r"\['block2'\]=-1"),
        ({"learning_rate": 0.1, "optimizer": "ftrl"}, "adamw, adam, .*optimizer=ftrl"),
        ({"learning_rate": "0.1"}, "learning_rate='0.1'"),
        ({"learning_rate": np.nan}, "learning_rate=nan"),
        ({"learning_rate": None}, "learning_rate=None"),
        ({"learning_rate": keras.optimizers.schedules.CosineDecay}, "learning_rate=<"),
        ({"learning_rate": {"head": "1"}}, r"\['head'\]='1'"),
        ({"learning_rate": 0.1, "layer_decay": "0.5"}, "layer_decay='0.5'"),
        ({"learning_rate": 0.1, "layer_decay": None}, "layer_decay=None"),
        (
            {
                "learning_rate": 0.1,
                "optimizer": keras.optimizers.AdamW(
                    keras.optimizers.schedules.ExponentialDecay(0.1, 9, 0.5)
                ),
            },
            "learning_rate= of.*schedule= of.*optimizer=AdamW with.*ExponentialDecay",
        ),
        (
            {"learning_rate": 0.1, "optimizer": keras.optimizers.SGD(lambda: 0.1)},
            "Received: optimizer=SGD with",
        ),
        ({"learning_rate": 0.1, "optimizer": None}, "optimizer=None"),
        ({"learning_rate": 0.1, "optimizer": 5}, "optimizer=5"),
        ({"learning_rate": 0.1, "optimizer": "nope"}, "optimizer=nope"),
        ({"learning_rate": 0.1, "optimizer": keras.optimizers.SGD}, "an instance"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        kt.discriminative_learning_rates(network(), **arguments)


def test_numbers_that_have_one_meaning():
    for rate, decay in [(1, np.float64(0.5)), (np.float32(1), np.array(0.5))]:
        rates = kt.discriminative_learning_rates(network(), rate, decay)
        assert float(rates.learning_rate) == 1.0
        assert rates.learning_rate_scales["block2_conv1/kernel"] == 0.5
    with pytest.raises(ValueError, match="model=None"):
        kt.discriminative_learning_rates(None, 0.1)


def test_a_block_without_a_rate_is_named():
    model = network()
    optimizer = kt.discriminative_learning_rates(model, {"head": 0.1, "block2": 0.1})
    with pytest.raises(ValueError, match=r"no learning rate .*block1_conv1/kernel"):
        kt.compile_classifier(model, optimizer)


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_a_large_variable_steps_as_a_stock_optimizer_steps(name):
    """In one pass over memory, which rounds in another place than Keras."""
    images, labels = images_and_labels()
    found = []
    for by_blocks in (True, False):
        keras.utils.set_random_seed(0)
        backbone = keras.Sequential(
            [keras.Input((8, 8, 3)), keras.layers.Conv2D(2500, 3, name="block1_conv1")]
        )
        model = kt.build_classifier(backbone, num_classes=2)
        kt.unfreeze(model, from_block="block1")
        optimizer = keras.optimizers.get(name)
        optimizer.learning_rate = 0.01
        if by_blocks:
            optimizer = kt.discriminative_learning_rates(model, 0.01, 1.0, optimizer)
        kt.compile_classifier(model, optimizer)
        before = model.get_weights()
        model.fit(images, labels, 4, epochs=4, shuffle=False, verbose=0)
        graphs = [each.graph for each in concrete_functions(model.train_function)]
        kinds = [op.type for graph in graphs for op in graph.get_operations()]
        assert kinds.count("ResourceApplyAdam") == by_blocks  # Of the kernel alone.
        after = model.get_weights()
        found.append([new - old for new, old in zip(after, before, strict=True)])
    for change, expected in zip(*found, strict=True):
        size = np.abs(expected).max()
        assert size > 0.001
        np.testing.assert_allclose(change, expected, atol=1e-4 * size)
