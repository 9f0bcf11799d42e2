"""Everything of a model that a user can see, to compare before and after."""

import random

import keras
import numpy as np
from keras.src.random.seed_generator import global_seed_generator

import keras_transfer.classifier.model_files  # noqa: F401  It registers what the package has.


def state(model):
    """Return a flat dictionary of values that can be compared."""
    seed = global_seed_generator().state  # Its first call draws a number.
    layers = [model, *model._flatten_layers(include_self=False)]
    seen = {
        "compiled": model.compiled,
        "loss": id(getattr(model, "loss", None)),
        "optimizer": id(getattr(model, "optimizer", None)),
        "history": id(getattr(model, "history", None)),
        "stop_training": getattr(model, "stop_training", None),
        "run_eagerly": model.run_eagerly,
        "jit_compile": model.jit_compile,
        "metrics": [id(metric) for metric in model.metrics],
        "functions": [
            id(getattr(model, f"{name}_function", None))
            for name in ("train", "test", "predict")
        ],
        "weights": [weight.path for weight in model.weights],
        "trained": [weight.path for weight in model.trainable_weights],
        "layers": [layer.name for layer in layers],
        "policies": [layer.dtype_policy.name for layer in layers],
        "activations": [id(getattr(layer, "activation", None)) for layer in layers],
        # A second call of a layer in a graph would take its `input` away.
        "nodes": [len(layer._inbound_nodes) for layer in layers],
        "attributes": [sorted(vars(layer)) for layer in layers],
        "tracked": [len(layer._layers) for layer in layers],
        "random": repr((random.getstate(), np.random.get_state())),
        "policy": keras.config.dtype_policy().name,
        "custom": sorted(keras.saving.get_custom_objects()),
    }
    variables = [*model.variables, *model.metrics_variables]
    optimizer = getattr(model, "optimizer", None)
    if optimizer is not None:
        variables += optimizer.variables
        seen["learning_rate"] = float(optimizer.learning_rate)
    variables.append(seed)
    for number, variable in enumerate(variables):
        seen[f"{number} {variable.path}"] = np.array(variable.value).tobytes()
        seen[f"{number} id"] = id(variable)
    for layer in layers:
        seen[f"trainable {layer.name}"] = layer.trainable
    return seen


def changed(before, model):
    """Return the names of what is no longer as it was."""
    after = state(model)
    return {name for name in before | after if before.get(name) != after.get(name)}
