"""Fold BatchNormalization into the convolution before it, for inference only.

Keras computes an inference BatchNormalization as separate multiplications and
additions. Both are affine, so a convolution with other weights gives the same numbers,
and TensorFlow then fuses it with its bias and ReLU.
"""

import keras
import numpy as np

from keras_transfer.models.graph import as_graph, own_parts
from keras_transfer.runtime.keras_internals import nodes, without_random_values

FOLDABLE = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)


def fold_batch_normalization(model: keras.Model) -> keras.Model:
    """Return a copy of `model` for inference, without BatchNormalization where it can.

    A BatchNormalization is folded if it is all that follows a convolution, also in a
    model that the model holds as a single layer. A model that Keras has no graph of, or
    that holds code of one's own, stays as it is: a copy need not be the same.
    """
    if as_graph(model) is None or own_parts(model):
        return model
    try:
        return _folded(model)
    except Exception:  # A model in it that cannot be copied: then only speed is lost.
        return model


def _folded(model: keras.Model) -> keras.Model:
    graph = as_graph(model)
    folded = _foldable(graph)
    inner = _folded_inner(graph)
    if not folded and not inner:
        return model
    normalizations = {id(batch_norm) for batch_norm in folded.values()}
    copies, originals = {}, {}

    def clone(operation):
        copy = inner.get(id(operation))
        if copy is None:
            config = operation.get_config()
            if id(operation) in folded:
                config["use_bias"] = True
            copy = operation.__class__.from_config(config)
            copies[id(operation)] = copy
        originals[id(copy)] = operation
        return copy

    def call(operation, *args, **kwargs):
        if id(originals[id(operation)]) in normalizations:
            return keras.tree.flatten((args, kwargs))[0]
        return operation(*args, **kwargs)

    with without_random_values():
        copy = keras.models.clone_model(graph, clone_function=clone, call_function=call)
    for layer in graph.layers:
        if id(layer) not in copies or not copies[id(layer)].weights:
            continue
        weights = layer.get_weights()
        if id(layer) in folded:
            weights = _folded_weights(layer, folded[id(layer)])
        copies[id(layer)].set_weights(weights)
    return copy


def _folded_inner(graph: keras.Model) -> dict[int, keras.Model]:
    """Return the folded copies of the models that a model holds as layers, by `id`."""
    inner = {}
    for layer in graph.layers:
        if isinstance(layer, keras.Model) and not _trains(graph, layer):
            copy = _folded(layer)
            if copy is not layer:
                inner[id(layer)] = copy
    return inner


def _foldable(graph: keras.Model) -> dict[int, keras.layers.BatchNormalization]:
    """Return the BatchNormalization of each convolution that can be folded, by `id`."""
    calls, readers = {}, {}
    for node in nodes(graph):
        calls.setdefault(id(node.operation), []).append(node)
        for tensor in node.input_tensors:
            readers.setdefault(id(tensor), []).append(node)
    outputs = {id(tensor) for tensor in graph.outputs}
    found = {}
    for layer in graph.layers:
        made = calls.get(id(layer), [])
        # A layer that is called twice has one set of weights for both.
        if len(made) != 1 or not _is_plain_convolution(layer):
            continue
        (tensor,) = made[0].output_tensors
        reading = readers.get(id(tensor), [])
        if len(reading) != 1 or id(tensor) in outputs:
            continue
        reader = reading[0].operation
        if (
            type(reader) is keras.layers.BatchNormalization
            and len(calls[id(reader)]) == 1
            and reader.compute_dtype == layer.compute_dtype
            and not _trains(graph, reader)
            and reader.axis in (-1, len(tensor.shape) - 1)
        ):
            found[id(layer)] = reader
    return found


def _is_plain_convolution(layer) -> bool:
    # Of a subclass, nobody knows what else it does.
    return (
        type(layer) in FOLDABLE
        and layer.activation is keras.activations.linear
        and layer.data_format == "channels_last"
        and len(layer.weights) == 1 + layer.use_bias  # None of a low-rank update.
    )


def _trains(graph: keras.Model, layer: keras.layers.Layer) -> bool:
    """Return whether a call in the graph says `training=True`, also in inference."""
    return any(
        node.arguments.kwargs.get("training")
        for node in nodes(graph)
        if node.operation is layer
    )


def _folded_weights(layer, batch_norm) -> list[np.ndarray]:
    kernel, *bias = (np.asarray(w, "float64") for w in layer.get_weights())
    variance = np.asarray(batch_norm.moving_variance, "float64")
    mean = np.asarray(batch_norm.moving_mean, "float64")
    scale = 1 / np.sqrt(variance + batch_norm.epsilon)
    if batch_norm.scale:
        scale = scale * np.asarray(batch_norm.gamma, "float64")
    shift = np.asarray(batch_norm.beta, "float64") if batch_norm.center else 0.0
    bias = shift + (sum(bias) - mean) * scale
    # A depthwise kernel ends with (channels, multiplier), which the outputs follow.
    depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
    factor = scale.reshape(kernel.shape[-2:]) if depthwise else scale
    return [kernel * factor, bias]
