"""Every private name of Keras and TensorFlow that this package touches, in one place.

Each function says what it gives, and in a comment which public way is missing. A new
version of Keras or TensorFlow may change any of them without notice:
tests/runtime/test_keras_internals.py tries each, and pyproject.toml admits no version
that has not passed it. tests/runtime/test_private_names.py keeps such names out of all
other modules.

Neither framework is imported with this module: whoever holds an object of it has done
so.
"""

import contextlib
import enum
import threading
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping

if typing.TYPE_CHECKING:
    import keras
    import tensorflow as tf


# Layers and variables.


def flat_layers(layer: "keras.Layer", include_self: bool = True) -> list:
    """Return the layers in a layer or model, at any depth."""
    # `Model.layers` gives one level, and other layers do not tell what they hold.
    return layer._flatten_layers(include_self=include_self)


def trainable_kind(layer: "keras.Layer") -> list:
    """Return the layer's own weights that training may change, also while frozen."""
    # `trainable_variables` is empty for a frozen layer.
    return layer._trainable_variables


def set_path(variable: "keras.Variable", path: str) -> None:
    """Give a variable the path of another one."""
    # `Variable.path` can only be read.
    variable._path = path


_BUILDING = threading.RLock()


@contextlib.contextmanager
def without_random_values() -> Iterator[None]:
    """Give new variables zeros where their layer would draw random values.

    For layers that get other values next: to draw those of a large network takes a
    good part of the time that building it does. What layers note of their initializers
    is as ever, and so are variables that other threads make meanwhile.
    """
    # An initializer is in the configuration of its layer, which is to stay.
    import keras
    from keras.src.backend.tensorflow.core import Variable
    from keras.src.initializers.random_initializers import RandomInitializer

    here, zeros = threading.get_ident(), keras.initializers.Zeros()
    # Who leaves last must put back what was there before the first: one at a time.
    with _BUILDING:
        own = Variable._initialize_with_initializer

        def initialize(variable, initializer):
            drawn = isinstance(initializer, RandomInitializer)
            # A generator of seeds is to go on as if it had drawn.
            if drawn and isinstance(initializer.seed, int):
                initializer = zeros if threading.get_ident() == here else initializer
            own(variable, initializer)

        Variable._initialize_with_initializer = initialize
        try:
            yield
        finally:
            Variable._initialize_with_initializer = own


# The graph of a functional model.


class Operation(enum.StrEnum):
    """Class names of operations of `keras.ops`, as they lie in a graph."""

    # `keras.ops` exports functions alone, so `isinstance` has no class to ask for.
    ADD = "Add"
    CAST = "Cast"
    DIVIDE = "Divide"
    EXPAND_DIMS = "ExpandDims"
    MAX = "Max"
    MEAN = "Mean"
    MULTIPLY = "Multiply"
    PAD = "Pad"
    RESHAPE = "Reshape"
    SQUEEZE = "Squeeze"
    STOP_GRADIENT = "StopGradient"
    SUBTRACT = "Subtract"
    TRUE_DIVIDE = "TrueDivide"


def operation_kind(operation: "keras.Operation") -> str:
    """Return the class name of a layer or operation."""
    # As `Operation`; also of those named as an activation is, such as `Softmax`.
    return type(operation).__name__


def nodes(graph: "keras.Function | None") -> Iterator:
    """Yield the records of calls in a graph from input to output; none of `None`."""
    # `Function.operations` lists what is called, not on what and with which arguments.
    # The record's class is not public either: `operation`, `arguments`, `is_input`,
    # `input_tensors`, `output_tensors` and `outputs` are used of it.
    by_depth = getattr(graph, "_nodes_by_depth", {})
    for depth in sorted(by_depth, reverse=True):
        yield from by_depth[depth]


def maker(tensor: "keras.KerasTensor") -> "keras.Operation":
    """Return the layer or operation that a symbolic tensor comes from."""
    # A symbolic tensor says only its shape, type and name.
    return tensor._keras_history.operation


def making_node(tensor: "keras.KerasTensor"):
    """Return the record of the call that a symbolic tensor comes from."""
    # As `maker`; `Operation.output` knows the first call only.
    history = tensor._keras_history
    return history.operation._inbound_nodes[history.node_index]


def output_index(tensor: "keras.KerasTensor") -> int:
    """Return which output of its call a symbolic tensor is."""
    # As `maker`.
    return tensor._keras_history.tensor_index


def sequential_graph(model: "keras.Sequential") -> "keras.Function | None":
    """Return the graph that a `Sequential` model holds, `None` before it is built."""
    # `Sequential` shows inputs and outputs, and not the calls between them.
    return model._functional


# What `compile` and `fit` note in a model.

COMPILED = (
    "compiled",
    "optimizer",
    "loss",
    "_jit_compile",
    "_run_eagerly",
    "steps_per_execution",
    "stop_training",
    "history",
    "train_function",
    "test_function",
    "predict_function",
    "_compile_config",
    "_compile_loss",
    "_compile_metrics",
    "_compiled_trainable_state",
    "_loss_tracker",
)


def compiled_state(model: "keras.Model") -> dict[str, typing.Any]:
    """Return all that `compile` and `fit` have set in a model."""
    # `compile` again would make a new state, and cannot take one back.
    attributes = vars(model)
    return {name: attributes[name] for name in COMPILED if name in attributes}


def put_back_compiled_state(model: "keras.Model", state: Mapping) -> None:
    """Make a model compiled as it was when `compiled_state` was called."""
    attributes = vars(model)
    for name in COMPILED:
        attributes.pop(name, None)
    # Past Keras's own bookkeeping, which would list the metrics a second time.
    attributes.update(state)


def forget_metrics(model: "keras.Model") -> None:
    """Make the next `compile` without metrics be one without metrics."""
    # Keras keeps the metrics of before where it gets none.
    vars(model)["_compile_metrics"] = None


def compile_arguments(model: "keras.Model") -> dict[str, typing.Any]:
    """Return the arguments of `compile` as objects; none where it noted none."""
    # `get_compile_config` gives them serialized, which not each object can be. A
    # `compile` of one's own need not note them.
    return getattr(getattr(model, "_compile_config", None), "config", {})


def loss_state(model: "keras.Model") -> dict[str, typing.Any] | None:
    """Return what the compiled loss knows of labels, to change it, if there is one."""
    # The loss notes the shape of the first labels, and `Model.loss` is another object.
    loss = getattr(model, "_compile_loss", None)
    return None if loss is None else vars(loss)


def concrete_functions(train_function: Callable) -> list:
    """Return the traced TensorFlow functions that a training function is made of."""
    # `get_concrete_function` wants the arguments, and what `make_train_function` gives
    # is a plain function around the `tf.function` objects.
    import keras

    found, waiting, seen = [], [train_function], set()
    while waiting:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        if hasattr(each, "_list_all_concrete_functions"):
            found += each._list_all_concrete_functions()
        cells = getattr(each, "__closure__", None) or ()
        inner = [cell.cell_contents for cell in cells]
        inner.append(getattr(each, "__wrapped__", None))
        waiting += [x for x in inner if callable(x) and not isinstance(x, keras.Model)]
    return found


# Training on several devices.


def replace_symbolic_build(build: Callable) -> None:
    """Let `build(model, iterator, data_batch)` make metrics and loss before a `fit`."""
    # No argument of `fit` keeps Keras from taking a batch out of the data for it.
    import keras

    keras.Model._maybe_symbolic_build = build


def replace_reduction(reduce: Callable) -> None:
    """Let `reduce(values, strategy, reduction, own)` put together what devices return.

    `own` is what Keras does otherwise.
    """
    # No method of a model or of a strategy can be overridden for it.
    from keras.src.backend.tensorflow import trainer

    own = trainer.reduce_per_replica
    trainer.reduce_per_replica = lambda values, strategy, reduction: reduce(
        values, strategy, reduction, own
    )


def set_steps(distributed: "tf.distribute.DistributedDataset", steps: int) -> None:
    """Say in how many steps a data set that is made a worker gives all of it."""
    # TensorFlow counts the batches of all devices, of which a step takes one each.
    distributed._cardinality = steps


def is_distributed(model: "keras.Model") -> bool:
    """Tell whether a model was made under a distribution strategy."""
    # `distribute_strategy` gives the present one where there was none.
    return model._distribute_strategy is not None


def symbolic_build(model: "keras.Model", data_batch) -> None:
    """Make metrics and loss for data of such a specification."""
    # The first `fit` does it, of a batch that it takes out of the data.
    model._symbolic_build(data_batch=data_batch)


def element_spec(iterator):
    """Return the specification of the data that `fit` hands to a symbolic build."""
    # Neither the iterator nor its adapter is public.
    return iterator.data_adapter.get_tf_dataset().element_spec


# Optimizers.


class OwnWeightDecay:
    """Mixed into an optimizer that decays weights in its own `update_step`."""

    # Without `weight_decay`, which would switch it off, the optimizer had no number.
    def _apply_weight_decay(self, variables):
        """Do nothing."""


def learning_rate_given(optimizer: "keras.optimizers.Optimizer"):
    """Return the variable, schedule or function that the learning rate comes from."""
    # `learning_rate` gives the present value.
    return optimizer._learning_rate


def unknown_variables(
    optimizer: "keras.optimizers.Optimizer", variables: Iterable
) -> list:
    """Return the variables that a built optimizer was not built for."""
    # Only `apply` says so, in the middle of a training step.
    known = getattr(optimizer, "_trainable_variables_indices", None)
    if not optimizer.built or not known:
        return []
    return [v for v in variables if optimizer._var_key(v) not in known]


def variable_index(optimizer: "keras.optimizers.Optimizer", variable) -> int:
    """Return the position of a variable among those the optimizer was built for."""
    # `update_step` gets the variable alone.
    return optimizer._get_variable_index(variable)


def adam_moments(optimizer: "keras.optimizers.Adam", variable) -> tuple:
    """Return the two moving averages that Adam keeps for a variable."""
    # `variables` lists them without a word on which belongs to what.
    index = optimizer._get_variable_index(variable)
    return optimizer._momentums[index], optimizer._velocities[index]


def decays(optimizer: "keras.optimizers.Optimizer", variable) -> bool:
    """Tell whether a variable was not excluded from weight decay."""
    # `exclude_from_weight_decay` can be called, and not asked.
    return optimizer._use_weight_decay(variable)


def copy_decay_exclusions(
    old: "keras.optimizers.Optimizer", new: "keras.optimizers.Optimizer"
) -> None:
    """Exclude from weight decay in `new` what is excluded in `old`."""
    # No configuration holds it.
    for name in ("_exclude_from_weight_decay", "_exclude_from_weight_decay_pattern"):
        if hasattr(old, name):
            setattr(new, name, getattr(old, name))


# Keras's own random numbers and names.


def global_seed_generator() -> "keras.random.SeedGenerator | None":
    """Return the generator behind random operations without a seed, if there is one."""
    # `keras.utils.set_random_seed` sets a state, and none can be read.
    from keras.src.backend.common import global_state

    return global_state.get_global_attribute("global_seed_generator")


def forget_global_seed_generator() -> None:
    """Let Keras make a new generator, as in a process that has drawn nothing."""
    # `keras.utils.clear_session` would clear much more.
    from keras.src.backend.common import global_state

    global_state.set_global_attribute("global_seed_generator", None)


def name_numbers() -> dict[str, int] | None:
    """Return Keras's counts of automatic names, to change them, once there are any."""
    # `keras.utils.clear_session` sets them to zero, and none can be read.
    from keras.src.backend.common import global_state

    return global_state.get_global_attribute("object_name_uids")


# Callbacks and files.

# Where callbacks hold paths: no argument of theirs can be read, and Keras takes `~` for
# the name of a folder.
CALLBACK_PATHS = {
    "BackupAndRestore": (
        "backup_dir",
        "_weights_path",
        "_training_metadata_path",
        "_prev_weights_path",
        "_prev_training_metadata_path",
    ),
    "ModelCheckpoint": ("filepath",),
    "CSVLogger": ("filename",),
    "TensorBoard": ("log_dir",),
}

# What `BackupAndRestore` leaves in its folder once there is a backup: it tells nobody
# whether it will begin anew.
BACKUP_FILES = "*.weights.h5"

# What every `.keras` file holds. Whether it is one, Keras tells by loading it.
KERAS_MEMBERS = {"config.json", "model.weights.h5"}


# Pipelines of tf.data. A data set shows `element_spec` and `cardinality`, and none of
# the steps that it was made of: neither their kinds nor their settings.


class Step(enum.StrEnum):
    """Class names of data sets, which say by which step they were made."""

    ASSERT_CARDINALITY = "_AssertCardinalityDataset"
    BATCH = "_BatchDataset"
    CACHE = "CacheDataset"
    CONCATENATE = "_ConcatenateDataset"
    FILTER = "_FilterDataset"
    IGNORE_ERRORS = "_IgnoreErrorsDataset"
    MAP = "_MapDataset"
    OPTIONS = "_OptionsDataset"
    PARALLEL_BATCH = "_ParallelBatchDataset"
    PARALLEL_MAP = "_ParallelMapDataset"
    PREFETCH = "_PrefetchDataset"
    RANGE = "_RangeDataset"
    REPEAT = "_RepeatDataset"
    SHARD = "_ShardDataset"
    SHUFFLE = "_ShuffleDataset"
    SKIP = "_SkipDataset"
    TAKE = "_TakeDataset"
    TENSOR = "_TensorDataset"
    TENSOR_SLICE = "_TensorSliceDataset"
    UNBATCH = "_UnbatchDataset"
    ZIP = "_ZipDataset"


def made_of(dataset: "tf.data.Dataset") -> list:
    """Return the data sets that a data set was made of by its last step."""
    return dataset._inputs()


def map_function(dataset: "tf.data.Dataset"):
    """Return the traced function that a step applies, or `None` if it has none."""
    return getattr(getattr(dataset, "_map_func", None), "function", None)


def step_function(dataset: "tf.data.Dataset") -> Callable:
    """Return a function of an element that does what the step of a `map` does."""
    import tensorflow as tf

    # The traced function: the Python one may have changed what it refers to.
    function = map_function(dataset)

    def apply(*element):
        outputs = function(*tf.nest.flatten(element))
        return tf.nest.pack_sequence_as(dataset.element_spec, outputs)

    return apply


def predicate(dataset: "tf.data.Dataset"):
    """Return the traced function that `filter` asks, or `None` of another step."""
    return getattr(getattr(dataset, "_predicate", None), "function", None)


def batch_size(batch: "tf.data.Dataset") -> "tf.Tensor":
    """Return the size that `batch` was called with."""
    return batch._batch_size


def drop_remainder(batch: "tf.data.Dataset") -> "tf.Tensor":
    """Return whether `batch` leaves out a last batch that is not full."""
    return batch._drop_remainder


def count(take: "tf.data.Dataset") -> "tf.Tensor":
    """Return the number that `take` or `skip` was called with."""
    return take._count


def shard(dataset: "tf.data.Dataset") -> tuple:
    """Return number and index that `shard` was called with."""
    return dataset._num_shards, dataset._index


def is_nondeterministic(dataset: "tf.data.Dataset") -> bool:
    """Tell whether a parallel step may give its elements in another order."""
    return getattr(dataset, "_deterministic", None) == "false"


def reshuffles(shuffle: "tf.data.Dataset") -> bool:
    """Tell whether `shuffle` gives another order in each pass."""
    return bool(getattr(shuffle, "_reshuffle_each_iteration", True))
