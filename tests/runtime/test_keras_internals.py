"""Every private name of Keras and TensorFlow does here what the package needs of it."""

import contextlib
import itertools
import pathlib
import random
import tempfile
import threading
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_transfer.runtime import keras_internals
from keras_transfer.runtime.keras_internals import Operation, Step

TRIALS = {}


def entry(name, purpose):
    """Register a trial of an entry of keras_internals, and what that is needed for."""

    def register(trial):
        TRIALS[name] = purpose, trial
        return trial

    return register


def run(name):
    """Try one entry, and say in words what has become of it."""
    purpose, trial = TRIALS[name]
    try:
        trial()
    except Exception as error:
        pytest.fail(
            f"keras_internals.{name} does not work with Keras {keras.__version__} and "
            f"TensorFlow {tf.__version__} as it did. It is needed for {purpose}. "
            f"{type(error).__name__}: {error}"
        )


def network(compiled=True):
    """A small functional model with a model inside and two calls of one layer."""
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4, name="inner")])
    shared = keras.layers.Dense(4, name="shared")
    x = inputs = keras.Input((4,), name="given")
    x = shared(inner(shared(x)))
    x = keras.layers.BatchNormalization(name="norm")(x)
    model = keras.Model(inputs, keras.layers.Dense(1, name="last")(x))
    if compiled:
        model.compile(
            keras.optimizers.AdamW(0.01), loss="mse", metrics=["mae"], run_eagerly=False
        )
    return model


def batch(count=8):
    values = np.random.default_rng(0).normal(size=(count, 4)).astype("float32")
    return values, values.sum(1, keepdims=True)


@entry("flat_layers", "finding layers in layers: freezing, copies, files")
def flat_layers():
    model = network()
    inner = model.layers[2]
    found = keras_internals.flat_layers(model)
    assert found[0] is model
    assert {inner, *inner.layers, *model.layers} <= {*found[1:]}
    assert keras_internals.flat_layers(model, include_self=False) == found[1:]
    holder = keras.layers.TimeDistributed(keras.layers.Dense(2))
    assert holder.layer in keras_internals.flat_layers(holder)


@entry("trainable_kind", "diagnose: which weights a compiled training step leaves out")
def trainable_kind():
    layer = network().get_layer("norm")
    layer.trainable = False
    found = keras_internals.trainable_kind(layer)
    assert [v.path for v in found] == [layer.gamma.path, layer.beta.path]


@entry("set_path", "build_classifier: a copied backbone keeps the names of its weights")
def set_path():
    variable = keras.Variable(np.zeros(2), name="before")
    keras_internals.set_path(variable, "a/b")
    assert variable.path == "a/b"


@entry("without_random_values", "copies of networks, and those that load weights")
def without_random_values():
    def values(**arguments):
        layer = keras.layers.Dense(3, **arguments)
        layer.build((None, 2))
        return layer, keras.ops.convert_to_numpy(layer.kernel)

    keras.utils.set_random_seed(0)
    _, first = values()
    after, elsewhere = random.getstate(), []
    keras.utils.set_random_seed(0)
    generators = [keras.random.SeedGenerator(1) for _ in range(2)]
    with keras_internals.without_random_values():
        layer, zeros = values()
        _, ones = values(kernel_initializer="ones")
        drawing = keras.initializers.HeNormal(seed=generators[0])
        _, drawn = values(kernel_initializer=drawing)
        thread = threading.Thread(target=lambda: elsewhere.append(values()[1]))
        state = random.getstate()
        thread.start()
        thread.join()
    assert first.any() and not zeros.any() and ones.all()
    # Its configuration, and what is drawn next, are as without.
    assert layer.get_config()["kernel_initializer"]["class_name"] == "GlorotUniform"
    assert state == after
    assert elsewhere[0].any()
    drawing = keras.initializers.HeNormal(seed=generators[1])
    assert np.array_equal(drawn, values(kernel_initializer=drawing)[1])
    assert np.array_equal(*(generator.state for generator in generators))
    keras.utils.set_random_seed(0)
    assert np.array_equal(values()[1], first)


@entry("operation_kind", "reading activations and temperatures behind the last layer")
def operation_kind():
    logits = keras.KerasTensor((None, 3))
    for name, kind in {"softmax": "Softmax", "sigmoid": "Sigmoid"}.items():
        made = keras_internals.maker(getattr(keras.ops, name)(logits))
        assert keras_internals.operation_kind(made) == kind


@entry("Operation", "reading the activation of a model through operations of keras.ops")
def operation():
    x = keras.KerasTensor((None, 1, 3))
    made = {
        Operation.ADD: keras.ops.add(x, 1.0),
        Operation.CAST: keras.ops.cast(x, "float16"),
        Operation.DIVIDE: keras.ops.divide(x, 2.0),
        Operation.EXPAND_DIMS: keras.ops.expand_dims(x, 1),
        Operation.MAX: keras.ops.max(x, axis=1),
        Operation.MEAN: keras.ops.mean(x, axis=1),
        Operation.MULTIPLY: keras.ops.multiply(x, 2.0),
        Operation.PAD: keras.ops.pad(x, 1),
        Operation.RESHAPE: keras.ops.reshape(x, (-1, 3)),
        Operation.SQUEEZE: keras.ops.squeeze(x, 1),
        Operation.STOP_GRADIENT: keras.ops.stop_gradient(x),
        Operation.SUBTRACT: keras.ops.subtract(x, 1.0),
        Operation.TRUE_DIVIDE: keras.ops.true_divide(x, 2.0),
    }
    found = {
        name: keras_internals.operation_kind(keras_internals.maker(tensor))
        for name, tensor in made.items()
    }
    assert found == {name: str(name) for name in Operation}


@entry("nodes", "walking through a network: blocks, folding, Grad-CAM, kept features")
def nodes():
    model = network()
    called = [*keras_internals.nodes(model)]
    names = [node.operation.name for node in called]
    inner = model.layers[2].name
    assert names == ["given", "shared", inner, "shared", "norm", "last"]
    assert [node.is_input for node in called] == [True] + 5 * [False]
    for before, after in itertools.pairwise(called):
        assert after.input_tensors[0] is before.output_tensors[0]
        assert before.outputs[0] is before.output_tensors[0]
    x = keras.KerasTensor((None, 4))
    dropped = keras.layers.Dropout(0.5)(x, training=True)
    node = keras_internals.making_node(dropped)
    assert node.arguments.kwargs["training"] is True
    assert node.arguments.args[0] is x
    assert [*keras_internals.nodes(None)] == []


@entry("maker", "copying the inputs of a backbone")
def maker():
    model = network()
    assert keras_internals.maker(model.outputs[0]) is model.get_layer("last")
    assert keras_internals.maker(model.inputs[0]) is model.get_layer("given")


@entry("making_node", "following a network back from its output: activations, Grad-CAM")
def making_node():
    model = network()
    called = [*keras_internals.nodes(model)]
    for node in called:
        assert keras_internals.making_node(node.outputs[0]) is node


@entry("output_index", "following a network into models with outputs")
def output_index():
    x = keras.KerasTensor((None, 4))
    parts = keras.ops.split(x, 2, axis=1)
    assert [keras_internals.output_index(part) for part in parts] == [0, 1]


@entry("sequential_graph", "looking into Sequential models")
def sequential_graph():
    layer = keras.layers.Dense(2)
    model = keras.Sequential([layer])
    assert keras_internals.sequential_graph(model) is None
    model.build((None, 3))
    graph = keras_internals.sequential_graph(model)
    assert isinstance(graph, keras.Function)
    assert graph.inputs[0] is model.inputs[0]
    assert layer in graph.operations


@entry("COMPILED", "putting back all that `compile` and `fit` set, and no less")
@entry("compiled_state", "LearningRateFinder and fine_tune, to undo")
def compiled_state():
    fresh = network(compiled=False)
    fresh(batch()[0])
    before = {**vars(fresh)}
    fresh.compile("adam", "mse", metrics=["mae"])
    fresh.fit(*batch(), verbose=0)
    # Nothing that `compile` or `fit` sets is missed.
    set_since = {k for k, v in vars(fresh).items() if v is not before.get(k)}
    assert set_since <= {*keras_internals.COMPILED}
    state = keras_internals.compiled_state(fresh)
    # And none of the names is one that Keras no longer sets.
    assert {*state} == {*keras_internals.COMPILED}


@entry("put_back_compiled_state", "LearningRateFinder and fine_tune, to undo")
def put_back_compiled_state():
    model = network()
    model.fit(*batch(), verbose=0)
    state, metrics = keras_internals.compiled_state(model), model.metrics
    optimizer = model.optimizer
    model.compile("sgd", "mae")
    keras_internals.put_back_compiled_state(model, state)
    assert keras_internals.compiled_state(model) == state
    assert model.optimizer is optimizer
    assert [*map(id, model.metrics)] == [*map(id, metrics)]
    model.fit(*batch(), verbose=0)
    assert int(optimizer.iterations) == 2


@entry("forget_metrics", "LearningRateFinder: a sweep without metrics")
def forget_metrics():
    model = network()
    model.fit(*batch(), verbose=0)
    assert {metric.name for metric in model.metrics} == {"loss", "compile_metrics"}
    keras_internals.forget_metrics(model)
    model.compile("sgd", "mse")
    model.fit(*batch(), verbose=0)
    assert {metric.name for metric in model.metrics} == {"loss"}


@entry("compile_arguments", "compiling again when trainable changes")
def compile_arguments():
    model = network()
    noted = keras_internals.compile_arguments(model)
    assert noted["optimizer"] is model.optimizer
    assert noted["loss"] == "mse"
    wanted = {"loss_weights", "run_eagerly", "steps_per_execution", "jit_compile"}
    assert wanted <= {*noted}
    # What is noted is what Keras saves and compiles again from.
    noted["optimizer"] = keras.optimizers.SGD(0.5)
    assert model.get_compile_config()["optimizer"]["class_name"] == "SGD"
    assert keras_internals.compile_arguments(network(compiled=False)) == {}


@entry("loss_state", "diagnose: a loss that has seen our labels forgets them")
def loss_state():
    model = network()
    state = keras_internals.loss_state(model)
    before = dict(state)
    model.evaluate(*batch(), verbose=0)
    assert dict(state) != before
    state.clear()
    state.update(before)
    # It takes labels of another form, as a loss that has seen none.
    images, labels = batch()
    model.fit(images, labels[:, 0], verbose=0)
    assert keras_internals.loss_state(network(compiled=False)) is None


@entry("concrete_functions", "diagnose: which weights a compiled training step changes")
def concrete_functions():
    model = network()
    model.fit(*batch(), verbose=0)
    found = keras_internals.concrete_functions(model.train_function)
    types = {o.type for each in found for o in each.graph.get_operations()}
    assert any(each.startswith("Assign") for each in types)
    captured = {id(outside) for each in found for outside, _ in each.graph.captures}
    assert {id(v.value.handle) for v in model.trainable_variables} <= captured


@entry("element_spec", "use_all_devices: what a batch will look like")
@entry("replace_symbolic_build", "use_all_devices: a fit takes no batch before")
def replace_symbolic_build():
    before, seen = keras.Model._maybe_symbolic_build, []
    try:
        keras_internals.replace_symbolic_build(
            lambda model, iterator=None, data_batch=None: seen.append(
                keras_internals.element_spec(iterator)
            )
        )
        network().fit(*batch(), verbose=0)
    finally:
        keras.Model._maybe_symbolic_build = before
    ((images, labels),) = seen
    assert tuple(images.shape)[1:] == (4,)
    assert tuple(labels.shape)[1:] == (1,)


@entry("replace_reduction", "use_all_devices: what the steps of several workers return")
def replace_reduction():
    from keras.src.backend.tensorflow import trainer

    before, seen = trainer.reduce_per_replica, []

    def reduce(values, strategy, reduction, own):
        assert own is before
        seen.append(reduction)
        return own(values, strategy, reduction)

    try:
        keras_internals.replace_reduction(reduce)
        model = network()
        model.fit(*batch(), verbose=0)
        model.predict(batch()[0], verbose=0)
    finally:
        trainer.reduce_per_replica = before
    assert {*seen} == {"auto", "concat"}


@entry("set_steps", "use_all_devices: how many steps of several devices a pass has")
def set_steps():
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    batches = tf.data.Dataset.from_tensor_slices(batch()).batch(2)
    made = strategy.distribute_datasets_from_function(lambda _: batches)
    assert made.cardinality == 4
    keras_internals.set_steps(made, 3)
    assert made.cardinality == 3
    with strategy.scope():
        model = network()
    seen = []
    note = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(batch)
    )
    model.fit(made, callbacks=[note], verbose=0, shuffle=False)
    assert seen == [0, 1, 2]


@entry("is_distributed", "use_all_devices: models of one device are left as they are")
def is_distributed():
    assert not keras_internals.is_distributed(network())
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        assert keras_internals.is_distributed(network())


@entry("symbolic_build", "use_all_devices: a fit takes no batch before")
def symbolic_build():
    model = network()
    specs = tf.TensorSpec((None, 4)), tf.TensorSpec((None, 1)), None
    keras_internals.symbolic_build(model, specs)
    assert model.metrics[1].built
    assert model.optimizer.built
    assert int(model.optimizer.iterations) == 0


class Undecayed(keras_internals.OwnWeightDecay, keras.optimizers.AdamW):
    """An optimizer that leaves the decay of weights out."""


@entry("OwnWeightDecay", "discriminative_learning_rates: no weight decays twice")
def own_weight_decay():
    variable = keras.Variable(np.ones(2))
    optimizer = Undecayed(0.1, weight_decay=0.5)
    optimizer.apply([np.zeros(2, "float32")], [variable])
    assert np.allclose(variable, 1)
    keras.optimizers.AdamW(0.1, weight_decay=0.5).apply([np.zeros(2)], [variable])
    assert np.allclose(variable, 0.95)


@entry("learning_rate_given", "LearningRateFinder, which takes no schedule")
def learning_rate_given():
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 10)
    given = keras_internals.learning_rate_given
    assert given(keras.optimizers.SGD(schedule)) is schedule
    assert not callable(given(keras.optimizers.SGD(0.1)))
    assert float(given(keras.optimizers.SGD(0.25))) == 0.25


@entry("unknown_variables", "refusing an optimizer that was built for another model")
def unknown_variables():
    first, second = keras.Variable(np.ones(2)), keras.Variable(np.ones(2))
    optimizer = keras.optimizers.SGD(0.1)
    unknown = keras_internals.unknown_variables
    assert unknown(optimizer, [first]) == []
    optimizer.build([first])
    assert [id(v) for v in unknown(optimizer, [first, second])] == [id(second)]


@entry("adam_moments", "fine_tune: one pass over memory for each large kernel")
def adam_moments():
    variables = [keras.Variable([1.0]), keras.Variable([2.0])]
    optimizer = keras.optimizers.Adam(0.1)
    optimizer.build(variables)
    gradients = [keras.ops.array([1.0]), keras.ops.array([3.0])]
    optimizer.apply(gradients, variables)
    pairs = [keras_internals.adam_moments(optimizer, v) for v in variables]
    found = np.array([[float(x[0]) for x in pair] for pair in pairs])
    np.testing.assert_allclose(found, [[0.1, 0.001], [0.3, 0.009]], rtol=1e-5)


@entry("variable_index", "discriminative_learning_rates: whose rate it is")
def variable_index():
    variables = [keras.Variable(np.ones(2)) for _ in range(3)]
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.build(variables)
    found = [keras_internals.variable_index(optimizer, v) for v in variables]
    assert found == [0, 1, 2]


@entry("decays", "discriminative_learning_rates: exclusions from weight decay hold")
def decays():
    kernel, bias = (keras.Variable(np.ones(2), name=n) for n in ("kernel", "bias"))
    optimizer = keras.optimizers.AdamW(0.1)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    optimizer.build([kernel, bias])
    assert keras_internals.decays(optimizer, kernel)
    assert not keras_internals.decays(optimizer, bias)


@entry("copy_decay_exclusions", "compiling again when trainable changes")
def copy_decay_exclusions():
    kernel, bias = (keras.Variable(np.ones(2), name=n) for n in ("kernel", "bias"))
    for given in ({"var_names": ["bias"]}, {"var_list": [bias]}):
        old, new = keras.optimizers.AdamW(0.1), keras.optimizers.AdamW(0.1)
        old.exclude_from_weight_decay(**given)
        keras_internals.copy_decay_exclusions(old, new)
        new.build([kernel, bias])
        assert keras_internals.decays(new, kernel)
        assert not keras_internals.decays(new, bias)


@entry("global_seed_generator", "diagnose: it changes no draw after it")
def global_seed_generator():
    keras.utils.set_random_seed(0)
    keras.random.normal(())
    state = keras_internals.global_seed_generator().state
    before = keras.ops.convert_to_numpy(state).copy()
    first = float(keras.random.normal(()))
    state.assign(before)
    assert float(keras.random.normal(())) == first


@entry("forget_global_seed_generator", "diagnose: it changes no draw after it")
def forget_global_seed_generator():
    keras.random.normal(())
    keras_internals.forget_global_seed_generator()
    assert keras_internals.global_seed_generator() is None
    keras.utils.set_random_seed(0)
    first = float(keras.random.normal(()))
    keras_internals.forget_global_seed_generator()
    keras.utils.set_random_seed(0)
    assert float(keras.random.normal(())) == first


@entry("name_numbers", "diagnose: it changes no name after it")
def name_numbers():
    keras.layers.Dense(1)
    names = keras_internals.name_numbers()
    before = dict(names)
    first = keras.layers.Dense(1).name
    names.clear()
    names.update(before)
    assert keras.layers.Dense(1).name == first


@entry("CALLBACK_PATHS", "fit_head and fine_tune: `~` in the paths of callbacks")
def callback_paths():
    made = {
        "BackupAndRestore": keras.callbacks.BackupAndRestore("~/made"),
        "ModelCheckpoint": keras.callbacks.ModelCheckpoint("~/made/a.keras"),
        "CSVLogger": keras.callbacks.CSVLogger("~/made/a.csv"),
        "TensorBoard": keras.callbacks.TensorBoard("~/made"),
    }
    assert {*made} == {*keras_internals.CALLBACK_PATHS}
    for kind, callback in made.items():
        paths = {k for k, v in vars(callback).items() if str(v).startswith("~")}
        assert paths == {*keras_internals.CALLBACK_PATHS[kind]}, kind


@entry("BACKUP_FILES", "fine_tune: whether a training goes on that was interrupted")
def backup_files():
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            raise KeyboardInterrupt

    with tempfile.TemporaryDirectory() as folder:
        backup = keras.callbacks.BackupAndRestore(folder)
        with contextlib.suppress(KeyboardInterrupt):
            network().fit(*batch(), verbose=0, callbacks=[backup, Stop()])
        assert [*pathlib.Path(folder).glob(keras_internals.BACKUP_FILES)]


@entry("KERAS_MEMBERS", "load_classifier: telling a model of Keras from another file")
def keras_members():
    with tempfile.TemporaryDirectory() as folder:
        network().save(f"{folder}/model.keras")
        with zipfile.ZipFile(f"{folder}/model.keras") as archive:
            assert {*archive.namelist()} >= keras_internals.KERAS_MEMBERS


def numbers(count=6):
    return tf.data.Dataset.from_tensor_slices(np.arange(count, dtype="float32"))


def doubled(value):
    return 2 * value


@entry("Step", "own data sets and diagnose: reading a pipeline step by step")
def step():
    data, options = numbers(), tf.data.Options()
    made = {
        Step.ASSERT_CARDINALITY: data.apply(tf.data.experimental.assert_cardinality(6)),
        Step.BATCH: data.batch(2),
        Step.CACHE: data.cache(),
        Step.CONCATENATE: data.concatenate(data),
        Step.FILTER: data.filter(lambda x: x > 1),
        Step.IGNORE_ERRORS: data.ignore_errors(),
        Step.MAP: data.map(doubled),
        Step.OPTIONS: data.with_options(options),
        Step.PARALLEL_BATCH: data.batch(2, num_parallel_calls=2),
        Step.PARALLEL_MAP: data.map(doubled, num_parallel_calls=2),
        Step.PREFETCH: data.prefetch(1),
        Step.RANGE: tf.data.Dataset.range(3),
        Step.REPEAT: data.repeat(2),
        Step.SHARD: data.shard(2, 1),
        Step.SHUFFLE: data.shuffle(2),
        Step.SKIP: data.skip(1),
        Step.TAKE: data.take(1),
        Step.TENSOR: tf.data.Dataset.from_tensors(1),
        Step.TENSOR_SLICE: data,
        Step.UNBATCH: data.batch(2).unbatch(),
        Step.ZIP: tf.data.Dataset.zip((data, data)),
    }
    found = {name: type(dataset).__name__ for name, dataset in made.items()}
    assert found == {name: str(name) for name in Step}


@entry("made_of", "own data sets and diagnose: reading a pipeline step by step")
def made_of():
    first, second = numbers(), numbers()
    assert keras_internals.made_of(first.map(doubled)) == [first]
    assert keras_internals.made_of(first.concatenate(second)) == [first, second]
    assert [*keras_internals.made_of(first)] == []


@entry("map_function", "own data sets and diagnose: images as training sees them")
def map_function():
    state = tf.Variable(2.0)
    for calls in (None, 2):
        mapped = numbers().map(lambda x: state * x, num_parallel_calls=calls)
        function = keras_internals.map_function(mapped)
        assert [*map(float, function(tf.constant(3.0)))] == [6.0]
        assert [v is state for v in function.variables] == [True]
        assert {o.type for o in function.graph.get_operations()} >= {"Mul"}
    assert keras_internals.map_function(numbers()) is None
    # By its operation a source that is made in Python is told.
    made = tf.data.Dataset.from_generator(
        lambda: iter([1]), output_signature=tf.TensorSpec(())
    )
    graph = keras_internals.map_function(made).graph
    assert "GeneratorDataset" in {o.type for o in graph.get_operations()}


@entry("step_function", "own data sets, and data that several workers share out")
def step_function():
    mapped = numbers().map(lambda x: {"twice": 2 * x, "once": x})
    made = keras_internals.step_function(mapped)(tf.constant(3.0))
    assert {name: float(x) for name, x in made.items()} == {"twice": 6, "once": 3}


@entry("predicate", "diagnose: a filtered pipeline in one order")
def predicate():
    function = keras_internals.predicate(numbers().filter(lambda x: x > 1))
    assert [bool(function(tf.constant(x))[0]) for x in (0.0, 2.0)] == [False, True]
    assert keras_internals.predicate(numbers()) is None


@entry("batch_size", "own data sets keep their batch size")
@entry("drop_remainder", "own data sets: images that training leaves out")
def batches():
    for calls, dropped in itertools.product((None, 2), (False, True)):
        made = numbers().batch(4, dropped, num_parallel_calls=calls)
        assert int(keras_internals.batch_size(made)) == 4
        assert bool(keras_internals.drop_remainder(made)) is dropped


@entry("count", "diagnose: `take` and `skip` of a pipeline in one order")
def count():
    assert int(keras_internals.count(numbers().take(3))) == 3
    assert int(keras_internals.count(numbers().skip(2))) == 2


@entry("shard", "diagnose: `shard` of a pipeline in one order")
def shard():
    assert [*map(int, keras_internals.shard(numbers().shard(3, 1)))] == [3, 1]


@entry("is_nondeterministic", "own data sets: images that change places between passes")
def is_nondeterministic():
    for given in (None, True, False):
        made = numbers().map(doubled, num_parallel_calls=2, deterministic=given)
        assert keras_internals.is_nondeterministic(made) is (given is False)
    assert not keras_internals.is_nondeterministic(numbers())


@entry("reshuffles", "own data sets: validation images that change between passes")
def reshuffles():
    for given in (True, False):
        made = numbers().shuffle(6, reshuffle_each_iteration=given)
        assert keras_internals.reshuffles(made) is given
    assert keras_internals.reshuffles(numbers().shuffle(6))


@pytest.mark.parametrize("name", TRIALS)
def test_private_names_do_what_they_did(name):
    run(name)


def test_each_entry_is_tried():
    entries = {
        name
        for name, value in vars(keras_internals).items()
        if not name.startswith("_")
        and (
            name.isupper()
            or getattr(value, "__module__", "") == keras_internals.__name__
        )
    }
    assert {*TRIALS} == entries


def test_the_one_that_broke_is_named_with_what_it_is_needed_for(monkeypatch):
    monkeypatch.delattr(keras.layers.Layer, "_flatten_layers")
    with pytest.raises(pytest.fail.Exception) as failure:
        run("flat_layers")
    words = str(failure.value)
    assert "keras_internals.flat_layers does not work with Keras" in words
    assert "needed for finding layers in layers: freezing" in words
    assert "_flatten_layers" in words


def test_two_threads_that_build_leave_nothing_behind():
    from keras.src.backend.tensorflow.core import Variable

    own = Variable._initialize_with_initializer
    inside, left = threading.Event(), threading.Event()

    def first():
        with keras_internals.without_random_values():
            inside.set()
            left.wait(0.3)
        left.set()

    def second():
        inside.wait()
        with keras_internals.without_random_values():
            left.wait(5)  # The first one leaves before.

    threads = [threading.Thread(target=each) for each in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Variable._initialize_with_initializer is own
