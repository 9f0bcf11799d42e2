"""Compile a model again when the set of its trainable layers changes.

Keras takes note of `trainable` when it compiles and when it traces the training step. A
change after that is ignored without a word, or ends in `Unknown variable`.
"""

import warnings

import keras


def recompile(model: keras.Model, config: dict | None) -> None:
    """Compile `model` from what `compile_settings` returned, if it was compiled.

    The optimizer keeps its settings and starts with an empty state.
    """
    if config is not None:
        model.compile(**config)
        model.optimizer.build(model.trainable_variables)


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
        settings = keras.saving.deserialize_keras_object(config)
        keep_exclusions(model.optimizer, settings["optimizer"])
        return settings
    except (TypeError, ValueError) as error:
        raise ValueError(
            "This model is compiled with a loss, metric or optimizer that Keras cannot "
            "rebuild, so it cannot be compiled again. Change what is trainable before "
            "`compile`, or decorate that object with "
            "keras.saving.register_keras_serializable. "
            f"Received: loss={model.loss}, optimizer={model.optimizer}"
        ) from error


def build_optimizer(model: keras.Model, variables: list) -> None:
    """Make the optimizer know all of `variables`, and keep what it has learnt.

    An optimizer can be built only once, so one that knows fewer variables makes room
    for a new one with the same settings and the same state.
    """
    old = model.optimizer
    if not old.built:
        old.build(variables)
        return
    new = old.__class__.from_config(old.get_config())
    keep_exclusions(old, new)
    new.build(variables)
    values = {variable.path: variable for variable in old.variables}
    for variable in new.variables:
        if variable.path in values:
            variable.assign(values[variable.path])
    model.optimizer = new
    # What Keras saves, and compiles again from, is the optimizer noted here.
    model._compile_config.config["optimizer"] = getattr(new, "inner_optimizer", new)


def keep_exclusions(
    old: keras.optimizers.Optimizer, new: keras.optimizers.Optimizer
) -> None:
    """Copy what was excluded from weight decay, which no configuration holds."""
    old = getattr(old, "inner_optimizer", old)
    new = getattr(new, "inner_optimizer", new)
    for name in ("_exclude_from_weight_decay", "_exclude_from_weight_decay_pattern"):
        if hasattr(old, name):
            setattr(new, name, getattr(old, name))


def check_loss(model: keras.Model, user: str) -> None:
    """Raise an error if `model` is not ready to be trained."""
    loss = "the model is not compiled"
    if model.compiled:
        # Not `model.loss`, which keeps the loss of an earlier `compile`.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Keras warns of functions it must save.
            loss = model.get_compile_config().get("loss")
        if loss is not None:
            return
    raise ValueError(
        f"{user} needs a model that is compiled with a loss, for example by "
        f"compile_classifier(model, optimizer). Received: loss={loss}"
    )
