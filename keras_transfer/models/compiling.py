"""Compile a classifier, and again when the set of its trainable layers changes.

Keras takes note of `trainable` when it compiles and when it traces the training step. A
change after that is ignored without a word, or ends in `Unknown variable`.
"""

import contextlib
import warnings
from collections.abc import Iterator

import keras

from keras_transfer.models.outputs import classifier_outputs
from keras_transfer.runtime import keras_internals
from keras_transfer.runtime.arguments import keras_model, shown


class ModelState:
    """Hold how a model is compiled and what is trainable in it, to put it back.

    Args:
        model: The model.
    """

    def __init__(self, model: keras.Model):
        self._model = model
        self._compiled = keras_internals.compiled_state(model)
        # A model comes before its layers, which it would overrule.
        self._trainable = [(x, x.trainable) for x in keras_internals.flat_layers(model)]

    def put_back(self) -> None:
        """Make all of it as it was."""
        self.put_back_trainable()
        keras_internals.put_back_compiled_state(self._model, self._compiled)

    def put_back_trainable(self) -> None:
        """Make trainable and frozen what was."""
        for layer, trainable in self._trainable:
            layer.trainable = trainable


@contextlib.contextmanager
def recompiled(model: keras.Model) -> Iterator[None]:
    """Compile `model` again, if it was compiled, after what is trainable has changed.

    The optimizer keeps its settings and starts with an empty state. Where that fails,
    the model is left as it was.
    """
    settings, before = compile_settings(model), ModelState(model)
    try:
        yield
        if settings is not None:
            compile_built(model, **settings)
    except BaseException:
        before.put_back()
        raise


def compile_classifier(
    model: keras.Model, optimizer: keras.optimizers.Optimizer | str
) -> None:
    """Compile with the loss and the accuracy that fit the model's last layer.

    Args:
        model: Classifier with one sigmoid unit, softmax or logits, for integer labels.
        optimizer: A Keras optimizer or its name.

    Raises:
        ValueError: If the model ends in another way, or the optimizer is none, or one
            that knows another model. The model is left as it was.

    Example:

    >>> import keras, keras_transfer as kt
    >>> backbone = kt.build_backbone("vgg16", weights=None, image_size=96)
    >>> model = kt.build_classifier(backbone, num_classes=2, activation=None)
    >>> kt.compile_classifier(model, keras.optimizers.Adam(1e-3))
    """
    optimizer = checked_optimizer(optimizer)
    outputs = classifier_outputs(keras_model("model", model), known=True)
    if outputs.units == 1:
        loss = keras.losses.BinaryCrossentropy(from_logits=outputs.logits)
        accuracy = keras.metrics.BinaryAccuracy(
            name="accuracy", threshold=0.0 if outputs.logits else 0.5
        )
    else:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=outputs.logits)
        accuracy = keras.metrics.SparseCategoricalAccuracy(name="accuracy")
    # XLA takes seconds to compile and, on a CPU, gains nothing for these models.
    compile_built(model, optimizer, loss=loss, metrics=[accuracy], jit_compile=False)


def compile_for_soft_labels(
    model: keras.Model, optimizer: keras.optimizers.Optimizer, label_smoothing: float
) -> None:
    """Compile for the labels that `soften` makes.

    Accuracy counts the class with the largest share of a label as the right one.
    """
    outputs = classifier_outputs(model, known=True)
    if outputs.units == 1:
        loss = keras.losses.BinaryCrossentropy(
            from_logits=outputs.logits, label_smoothing=label_smoothing
        )
        accuracy = SoftBinaryAccuracy(
            name="accuracy", threshold=0.0 if outputs.logits else 0.5
        )
    else:
        loss = keras.losses.CategoricalCrossentropy(
            from_logits=outputs.logits, label_smoothing=label_smoothing
        )
        accuracy = keras.metrics.CategoricalAccuracy(name="accuracy")
    compile_built(model, optimizer, loss=loss, metrics=[accuracy], jit_compile=False)


class SoftBinaryAccuracy(keras.metrics.BinaryAccuracy):
    """Count an output as right on the side of the larger share of its label.

    What is saved is Keras's own accuracy, which says the same of labels that are 0 or
    1: a file is to load with Keras alone.
    """

    # The class that Keras writes into a file.
    __class__ = keras.metrics.BinaryAccuracy

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Take in one batch."""
        labels = keras.ops.cast(keras.ops.convert_to_tensor(y_true) > 0.5, "float32")
        return super().update_state(labels, y_pred, sample_weight)


@keras.saving.register_keras_serializable("keras_transfer")
def soft_binary_accuracy(labels, outputs, threshold: float):
    """Return 1 where an output is on the side of the larger share of its label.

    Files of earlier versions name it.
    """
    return keras.ops.cast((labels > 0.5) == (outputs > threshold), "float32")


def compile_built(
    model: keras.Model, optimizer: keras.optimizers.Optimizer | None, **settings
) -> None:
    """Compile `model` with an optimizer that knows its variables already.

    A model that is saved before its first step then loads without a warning. What does
    not fit is refused before anything is changed.
    """
    if optimizer is not None:
        optimizer = checked_optimizer(optimizer)
        _check_known(optimizer, model.trainable_variables)
        scaling = keras.optimizers.LossScaleOptimizer
        mixed = model.dtype_policy.name == "mixed_float16"
        if mixed and not isinstance(optimizer, scaling):
            # As Keras does, but so that it is in the file: a process with another
            # policy would not do it, and so not read the state.
            optimizer = scaling(optimizer, name="loss_scale_optimizer")
        if not optimizer.built:
            optimizer.build(model.trainable_variables)
    model.compile(optimizer=optimizer, **settings)


def compile_for_sweep(model: keras.Model) -> None:
    """Compile with a copy of the optimizer and without metrics, to train and undo.

    What this replaces is untouched, so `ModelState` puts it back as it was.
    """
    noted, optimizer = keras_internals.compile_arguments(model), model.optimizer
    if optimizer.built:
        optimizer = copied_optimizer(optimizer, model.trainable_variables)
    else:
        optimizer = fresh_optimizer(optimizer)
    keras_internals.forget_metrics(model)
    kept = ("loss", "loss_weights", "run_eagerly", "steps_per_execution")
    settings = {name: noted[name] for name in kept}
    keras.Model.compile(model, optimizer, jit_compile=noted["jit_compile"], **settings)


def compile_settings(model: keras.Model) -> dict | None:
    """Return fresh arguments of `compile`, or `None` for an uncompiled model.

    Called before anything is changed, so a model that cannot be compiled again is
    refused as it is.
    """
    if not model.compiled:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Keras warns of functions it must save.
            config = model.get_compile_config()
        # Not what a file would say of it, which is less than it is.
        config.pop("optimizer")
        settings = keras.saving.deserialize_keras_object(config)
        noted = keras_internals.compile_arguments(model)
        return settings | {"optimizer": fresh_optimizer(noted["optimizer"])}
    except (KeyError, TypeError, ValueError, NotImplementedError) as error:
        raise ValueError(
            "This model is compiled with a loss, metric or optimizer that Keras cannot "
            "rebuild, so it cannot be compiled again. Change what is trainable before "
            "`compile`, or decorate that object with "
            "keras.saving.register_keras_serializable. "
            f"Received: loss={model.loss}, optimizer={model.optimizer}"
        ) from error


def fresh_optimizer(
    old: keras.optimizers.Optimizer | None,
) -> keras.optimizers.Optimizer | None:
    """Return an optimizer with the settings of `old` and an empty state."""
    if old is None:
        return None
    config = old.get_config()
    if isinstance(old, keras.optimizers.LossScaleOptimizer):
        inner = fresh_optimizer(old.inner_optimizer)
        return type(old)(**config | {"inner_optimizer": inner})
    # What no configuration holds: the rates by depth, because a file is to load with
    # Keras alone, and what is excluded from weight decay.
    scales = getattr(old, "learning_rate_scales", None)
    if scales is not None:
        config["learning_rate_scales"] = dict(scales)
    new = type(old).from_config(config)
    keras_internals.copy_decay_exclusions(old, new)
    return new


def copied_optimizer(
    old: keras.optimizers.Optimizer, variables: list
) -> keras.optimizers.Optimizer:
    """Return an optimizer for `variables` with the settings and the state of `old`."""
    new = fresh_optimizer(old)
    new.build(variables)
    values = {variable.path: variable for variable in old.variables}
    for variable in new.variables:
        if variable.path in values:
            variable.assign(values[variable.path])
    return new


def build_optimizer(model: keras.Model, variables: list) -> None:
    """Make the optimizer know all of `variables`, and keep what it has learnt.

    An optimizer can be built only once, so one that knows fewer variables makes room
    for a new one with the same settings and the same state.
    """
    old = model.optimizer
    if not old.built:
        old.build(variables)
        return
    new = copied_optimizer(old, variables)
    # What Keras saves, and compiles again from, is the optimizer noted there: without
    # the one for mixed precision that `compile` has put around it.
    noted = keras_internals.compile_arguments(model)
    noted["optimizer"] = new if noted["optimizer"] is old else new.inner_optimizer
    model.optimizer = new


def checked_optimizer(optimizer) -> keras.optimizers.Optimizer:
    """Return a Keras optimizer, which may also be given by its name."""
    try:
        found = keras.optimizers.get(optimizer)
    except (TypeError, ValueError, KeyError, AttributeError):
        found = None
    if found is None:
        raise ValueError(
            "optimizer must be a Keras optimizer, such as keras.optimizers.Adam(1e-3), "
            "or the name of one, such as adam; of a class, pass an instance. "
            f"Received: optimizer={shown(optimizer)}"
        )
    return found


def check_loss(model: keras.Model, user: str) -> None:
    """Raise an error if `model` is not ready to be trained."""
    loss = "the model is not compiled"
    if model.compiled:
        # Not `model.loss`, which keeps the loss of an earlier `compile`.
        loss = keras_internals.compile_arguments(model).get("loss")
        if loss is not None and model.optimizer is not None:
            return
    raise ValueError(
        f"{user} needs a model that is compiled with a loss, for example by "
        f"compile_classifier(model, optimizer). Received: loss={loss}"
    )


def _check_known(optimizer, variables) -> None:
    unknown = keras_internals.unknown_variables(optimizer, variables)
    if unknown:
        raise ValueError(
            "This optimizer has been used for another model, or before more layers "
            "became trainable. Pass a new one, such as keras.optimizers.Adam(1e-3). "
            f"Received: optimizer={optimizer.name}, which does not know "
            f"{[variable.path for variable in unknown[:3]]}"
        )
