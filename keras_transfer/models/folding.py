"""Fold BatchNormalization into the convolution before it.

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


def fold_while_training(model: keras.Model) -> None:
    """Let a model compute as if folded, with the layers and weights that it has.

    Gradients pass through the fold to the kernel and the bias. The classes, the order
    of the weights and what a file of it holds stay the same. A BatchNormalization that
    is trainable when a step is traced is computed as ever, so that what becomes
    trainable within a `fit` may do so.

    Args:
        model: A copy that nobody else holds, because its layers get a `call` of their
            own. What cannot be folded in it stays as it is.
    """
    graph = as_graph(model)
    if graph is None:
        return
    folded = foldable(graph)
    for layer in graph.layers:
        if id(layer) in folded:
            _fold_calls(layer, folded[id(layer)])
        elif isinstance(layer, keras.Model) and not _trains(graph, layer):
            fold_while_training(layer)


def _fold_calls(layer, batch_norm) -> None:
    convolve, normalize = layer.call, batch_norm.call
    weights = _tensors(layer, batch_norm)

    def call(inputs):
        if batch_norm.trainable:
            return convolve(inputs)
        kernel, bias = _folded_tensors(layer, batch_norm, weights)
        return keras.ops.add(_convolved(layer, inputs, kernel), bias)

    def call_normalization(inputs, **arguments):
        return normalize(inputs, **arguments) if batch_norm.trainable else inputs

    layer.call, batch_norm.call = call, call_normalization


def _tensors(layer, batch_norm) -> dict:
    """Return the weights of both, which mixed precision does not cast to fewer bits.

    Inside of `call`, Keras would cast those of the convolution.
    """
    return {
        "kernel": layer.kernel.value,
        "bias": layer.bias.value if layer.use_bias else 0.0,
        "gamma": batch_norm.gamma.value if batch_norm.scale else 1.0,
        "beta": batch_norm.beta.value if batch_norm.center else 0.0,
        "mean": batch_norm.moving_mean.value,
        "variance": batch_norm.moving_variance.value,
    }


def _folded_tensors(layer, batch_norm, weights: dict) -> tuple:
    """Return kernel and bias as `_folded_weights` does, for gradients to pass."""
    ops = keras.ops
    precise = keras.backend.result_type(layer.variable_dtype, "float32")
    found = {name: ops.cast(value, precise) for name, value in weights.items()}
    scale = ops.rsqrt(found["variance"] + batch_norm.epsilon) * found["gamma"]
    bias = found["beta"] + (found["bias"] - found["mean"]) * scale
    kernel = found["kernel"] * ops.reshape(scale, _factor_shape(layer))
    # Bits are cut but once, after the multiplication.
    return tuple(ops.cast(each, layer.compute_dtype) for each in (kernel, bias))


def _convolved(layer, inputs, kernel):
    depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
    convolve = keras.ops.depthwise_conv if depthwise else keras.ops.conv
    return convolve(
        inputs,
        kernel,
        strides=layer.strides,
        padding=layer.padding,
        data_format=layer.data_format,
        dilation_rate=layer.dilation_rate,
    )


def _factor_shape(layer) -> tuple[int, ...]:
    # A depthwise kernel ends with (channels, multiplier), which the outputs follow.
    depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
    return tuple(layer.kernel.shape[-2:] if depthwise else layer.kernel.shape[-1:])


def _folded(model: keras.Model) -> keras.Model:
    graph = as_graph(model)
    folded = foldable(graph)
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


def foldable(graph: keras.Model) -> dict[int, keras.layers.BatchNormalization]:
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
    return [kernel * scale.reshape(_factor_shape(layer)), bias]
