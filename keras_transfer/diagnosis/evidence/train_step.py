"""Read from the training step that Keras compiled which weights it changes."""

import keras
import tensorflow as tf

from keras_transfer.diagnosis.findings import NotExaminedError
from keras_transfer.models.graph import layers_of


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
        for function in _functions(model.train_function)
        for concrete in function._list_all_concrete_functions()
        for handle in _assigned(concrete.graph)
    }
    # Moving statistics change as well, but training does not decide them.
    weights = [x for layer in layers_of(model) for x in layer._trainable_variables]
    found = {
        id(weight): weight
        for weight in weights
        if id(getattr(weight.value, "handle", None)) in handles
    }
    if not found:
        raise NotExaminedError("the compiled training step cannot be looked into")
    return found


def _functions(function) -> list:
    """Return the `tf.function` objects that a function of Keras is made of."""
    found, waiting, seen = [], [function], set()
    while waiting:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        if hasattr(each, "_list_all_concrete_functions"):
            found.append(each)
        inner = [
            cell.cell_contents for cell in getattr(each, "__closure__", None) or ()
        ]
        inner.append(getattr(each, "__wrapped__", None))
        waiting += [x for x in inner if callable(x) and not isinstance(x, keras.Model)]
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
