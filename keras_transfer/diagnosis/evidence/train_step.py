"""Read from the training step that Keras compiled which weights it changes."""

import keras
import tensorflow as tf

from keras_transfer.diagnosis.findings import NotExaminedError
from keras_transfer.models.graph import layers_of
from keras_transfer.runtime import keras_internals


def updated_weights(model: keras.Model) -> dict[int, keras.Variable]:
    """Return the trainable kind of weights that the compiled training step changes.

    Keras decides it when it traces the step. What `trainable` says afterwards is
    without effect, so only the graph knows.

    Args:
        model: Model after `fit`.

    Returns:
        Dict from `id` of each weight to the weight.

    Raises:
        NotExaminedError: If there is no such graph, as with `run_eagerly=True`.
    """
    handles = {
        id(handle)
        for concrete in keras_internals.concrete_functions(model.train_function)
        for handle in _assigned(concrete.graph)
    }
    # Moving statistics change as well, but training does not decide them.
    weights = [
        weight
        for layer in layers_of(model)
        for weight in keras_internals.trainable_kind(layer)
    ]
    found = {
        id(weight): weight
        for weight in weights
        if id(getattr(weight.value, "handle", None)) in handles
    }
    if not found:
        raise NotExaminedError("the compiled training step cannot be looked into")
    return found


def _assigned(graph: tf.Graph) -> list:
    """Return the resources that operations of a graph assign to."""
    captured = {id(inside): outside for outside, inside in graph.captures}
    return [
        captured[id(operation.inputs[0])]
        for operation in graph.get_operations()
        if operation.type.startswith(("Assign", "ResourceApply"))
        and id(operation.inputs[0]) in captured
    ]
