"""Fold BatchNormalization into the convolution before it, for inference only.

Keras computes an inference BatchNormalization as separate multiplications and
additions. Both are affine, so a convolution with other weights gives the same numbers,
and TensorFlow then fuses it with its bias and ReLU.
"""

import keras
import numpy as np

FOLDABLE = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)


def fold_batch_normalization(model: keras.Model) -> keras.Model:
    """Return a copy of `model` for inference, without BatchNormalization where it can.

    A BatchNormalization is folded if it is all that follows a convolution, also in a
    model that the model holds as a single layer.
    """
    folded = _foldable(model)
    held = {layer.name: layer for layer in model.layers if _is_graph(layer)}
    inner = {name: fold_batch_normalization(layer) for name, layer in held.items()}
    inner = {name: copy for name, copy in inner.items() if copy is not held[name]}
    if not folded and not inner:
        return model
    normalizations = {batch_norm.name for batch_norm in folded.values()}

    def clone(layer):
        if layer.name in inner:
            return inner[layer.name]
        config = layer.get_config()
        if layer.name in folded:
            config["use_bias"] = True
        return layer.__class__.from_config(config)

    def call(layer, *args, **kwargs):
        if layer.name in normalizations:
            return args[0]
        return layer(*args, **kwargs)

    copy = keras.models.clone_model(model, clone_function=clone, call_function=call)
    for layer in copy.layers:
        if layer.name in inner or not layer.weights:
            continue
        original = model.get_layer(layer.name)
        if layer.name in folded:
            layer.set_weights(_folded_weights(original, folded[layer.name]))
        else:
            layer.set_weights(original.get_weights())
    return copy


def _is_graph(layer) -> bool:
    return isinstance(layer, keras.Model) and hasattr(layer, "_nodes_by_depth")


def _foldable(model: keras.Model) -> dict[str, keras.layers.BatchNormalization]:
    """Return each convolution that can be folded, with its BatchNormalization."""
    config = model.get_config()
    readers = {}
    for layer in config["layers"]:
        for node in layer["inbound_nodes"]:
            for name in _read_layers(node):
                readers.setdefault(name, []).append(layer["name"])
    for name in _outputs(config["output_layers"]):
        readers.setdefault(name, []).append(None)
    found = {}
    for layer in model.layers:
        names = readers.get(layer.name, [])
        if (
            isinstance(layer, FOLDABLE)
            and layer.activation is keras.activations.linear
            and layer.data_format == "channels_last"
            and len(names) == 1
            and names[0] is not None
        ):
            reader = model.get_layer(names[0])
            last = len(layer.kernel.shape) - 1
            if isinstance(reader, keras.layers.BatchNormalization) and reader.axis in (
                -1,
                last,
            ):
                found[layer.name] = reader
    return found


def _read_layers(node) -> list[str]:
    """Return the names of the layers whose output a saved call reads."""
    if isinstance(node, dict):
        if "keras_history" in node:
            return [node["keras_history"][0]]
        node = list(node.values())
    if isinstance(node, list | tuple):
        return [name for item in node for name in _read_layers(item)]
    return []


def _outputs(config) -> list[str]:
    # One output is stored as [name, node, tensor], several as a list or dict of them.
    if isinstance(config, dict):
        config = list(config.values())
    if config and isinstance(config[0], str):
        return [config[0]]
    return [name for item in config for name in _outputs(item)]


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
