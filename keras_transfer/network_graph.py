"""Look into any Keras classifier: its layers, their calls, and what reaches them."""

import typing
from collections.abc import Iterator

import keras
import numpy as np


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
    graph = model._functional if isinstance(model, keras.Sequential) else model
    by_depth = getattr(graph, "_nodes_by_depth", {})
    for depth in sorted(by_depth, reverse=True):
        for node in by_depth[depth]:
            if node.is_input:
                continue
            yield Call(node.operation, node, outer)
            if isinstance(node.operation, keras.Model):
                yield from calls(node.operation, (*outer, node))


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
