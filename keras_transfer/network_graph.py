"""Look into any Keras classifier: its layers, their calls, and what reaches them."""

import typing
from collections.abc import Iterator

import keras
import numpy as np

from keras_transfer.image_networks import as_graph
from keras_transfer.runtime.arguments import shown


class Call(typing.NamedTuple):
    """Hold one call of a layer in a functional graph.

    Attributes:
        layer: The layer, or operation of `keras.ops`.
        node: Keras's record of the call.
        outer: Nodes of the models in the model that it lies in, the outermost first.
    """

    layer: keras.Operation
    node: typing.Any
    outer: tuple

    def training(self) -> bool | None:
        """Return `training` as it is written in this call or one around it."""
        for node in (self.node, *reversed(self.outer)):
            value = node.arguments.kwargs.get("training")
            if value is not None:
                return bool(value)
        return None


def layers_of(model: keras.Model) -> list[keras.layers.Layer]:
    """Return all layers, also of models in the model, but none of these themselves."""
    layers = model._flatten_layers(include_self=False)
    return [layer for layer in layers if not isinstance(layer, keras.Model)]


def calls(model: keras.Model, outer: tuple = ()) -> Iterator[Call]:
    """Yield the calls of a functional model from input to output.

    A model in the model comes before its own layers. A subclassed model, which Keras
    cannot look into, yields nothing.
    """
    by_depth = getattr(as_graph(model), "_nodes_by_depth", {})
    for depth in sorted(by_depth, reverse=True):
        for node in by_depth[depth]:
            if node.is_input:
                continue
            yield Call(node.operation, node, outer)
            if isinstance(node.operation, keras.Model):
                yield from calls(node.operation, (*outer, node))


def source(tensor, outer: tuple) -> tuple[typing.Any, tuple]:
    """Return where a tensor comes from, also out of the model that it is the input of.

    Args:
        tensor: Symbolic tensor of the innermost graph.
        outer: Nodes of the models in the model around it, the outermost first.

    Returns:
        The tensor of the graph that it is made in, and the nodes around that one.
    """
    while outer and _node(tensor).is_input:
        *rest, around = outer
        inputs = as_graph(around.operation).inputs
        place = next(i for i, given in enumerate(inputs) if given is tensor)
        tensor, outer = around.input_tensors[place], tuple(rest)
    return tensor, outer


def calls_back(model: keras.Model) -> Iterator[Call]:
    """Yield the calls that the only output is made by, from the last one on.

    Nothing is yielded past a call with several inputs, nor of what is inside of a
    subclassed model. Models in the model are looked into, and not yielded themselves.
    """
    tensors = getattr(as_graph(model), "outputs", None) or ()
    outer = ()
    while len(tensors) == 1:
        tensor, outer = source(tensors[0], outer)
        node = _node(tensor)
        if node.is_input:
            return
        inner = isinstance(node.operation, keras.Model) and as_graph(node.operation)
        if inner and getattr(inner, "outputs", None):
            outer = (*outer, node)
            tensors = [inner.outputs[tensor._keras_history.tensor_index]]
        else:
            yield Call(node.operation, node, outer)
            tensors = node.input_tensors


def image_shape(model: keras.Model) -> tuple[int | None, ...] | None:
    """Return height, width and channels of the images that a model takes.

    Each is `None` where any will do, and all of it for a subclassed model, of which
    Keras does not know.

    Raises:
        ValueError: If the model takes anything but one batch of images.
    """
    inputs = getattr(as_graph(model), "inputs", None)
    if inputs is None:
        return None
    shapes = [tuple(each.shape) for each in inputs]
    if len(shapes) != 1 or len(shapes[0]) != 4:
        raise ValueError(
            "Expected a model with one input, of images (batch, height, width, "
            f"channels). Received: model={shown(model)}, with inputs of shape "
            f"{', '.join(map(str, shapes))}"
        )
    return shapes[0][1:]


def _node(tensor):
    history = tensor._keras_history
    return history.operation._inbound_nodes[history.node_index]


def classifying_layer(model: keras.Model, units: int) -> keras.layers.Dense | None:
    """Return the dense layer that makes the outputs, so many, or `None`."""
    dense = [x.layer for x in calls(model) if isinstance(x.layer, keras.layers.Dense)]
    if dense and dense[-1].units == units:
        return dense[-1]
    return None


class _ReachedError(BaseException):
    # No Exception: Keras catches those and adds words to them.
    pass


class Arrival(typing.NamedTuple):
    """Hold what reaches the first layer of a kind.

    Attributes:
        layer: That layer.
        inputs: float32 array of what it is called with.
    """

    layer: keras.layers.Layer
    inputs: np.ndarray


def arrival(
    model: keras.Model, layers: list[keras.layers.Layer], images: np.ndarray
) -> Arrival | None:
    """Run a model on images up to the first call of one of `layers`.

    Watched where it is called: a graph up to there cannot be cut out of a model that
    holds its backbone as a single layer, or is subclassed.
    """
    if not layers:
        return None
    seen = []

    def watched(layer):
        def call(inputs, *_, **__):
            seen.append((layer, inputs))
            raise _ReachedError

        return call

    # Where somebody put a `call` of their own on a layer, it stays there.
    own = [(layer, vars(layer).get("call")) for layer in layers]
    try:
        for layer in layers:
            layer.call = watched(layer)
        model(images, training=False)
    except _ReachedError:
        layer, inputs = seen[0]
        values = keras.ops.convert_to_numpy(keras.ops.cast(inputs, "float32"))
        return Arrival(layer, values)
    finally:
        for layer, call in own:
            vars(layer).pop("call", None)
            if call is not None:
                layer.call = call
    return None


def first_convolutions(model: keras.Model) -> list[keras.layers.Conv2D]:
    """Return the convolutions that take three channels, among them the first one."""
    return [
        layer
        for layer in layers_of(model)
        if isinstance(layer, keras.layers.Conv2D)
        and layer.built
        and layer.kernel.shape[2] == 3
    ]


def batch_normalizations(model: keras.Model) -> list[keras.layers.Layer]:
    """Return the BatchNormalization layers, in no particular order."""
    kind = keras.layers.BatchNormalization
    return [x for x in layers_of(model) if isinstance(x, kind) and x.built]
