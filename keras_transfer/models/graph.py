"""Look into any Keras classifier: its layers, their calls, and what reaches them."""

import typing
from collections.abc import Iterator

import keras
import numpy as np

from keras_transfer.runtime import keras_internals
from keras_transfer.runtime.arguments import reason, shown

# With this word the names of the layers of a head begin.
HEAD = "head"


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
    layers = keras_internals.flat_layers(model, include_self=False)
    return [layer for layer in layers if not isinstance(layer, keras.Model)]


def calls(model: keras.Model, outer: tuple = ()) -> Iterator[Call]:
    """Yield the calls of a functional model from input to output.

    A model in the model comes before its own layers. A subclassed model, which Keras
    cannot look into, yields nothing.
    """
    for node in keras_internals.nodes(as_graph(model)):
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
    while outer and keras_internals.making_node(tensor).is_input:
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
        node = keras_internals.making_node(tensor)
        if node.is_input:
            return
        inner = isinstance(node.operation, keras.Model) and as_graph(node.operation)
        if inner and getattr(inner, "outputs", None):
            outer = (*outer, node)
            tensors = [inner.outputs[keras_internals.output_index(tensor)]]
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


def as_graph(model: keras.Model) -> keras.Model | None:
    """Return the graph of layers that a model is, or `None` where Keras has none.

    A `Sequential` model holds its graph. A subclass has one only if what it computes
    is the graph that it was made of.
    """
    graph = keras_internals.sequential_graph(model) if _is_sequential(model) else model
    # Keras's class of functional models is the first that is a model and a graph.
    kinds = [
        each
        for each in type(graph).__mro__
        if issubclass(each, keras.Model) and issubclass(each, keras.Function)
    ]
    return graph if kinds and type(graph).call is kinds[-1].call else None


def _is_sequential(model) -> bool:
    # Another `call` computes something else.
    return (
        isinstance(model, keras.Sequential)
        and type(model).call is keras.Sequential.call
    )


def operations(model: keras.Model) -> Iterator:
    """Yield the layers and operations of a model, also those of models in it.

    Of a model without a graph, the model itself.
    """
    graph = as_graph(model)
    if graph is None:
        yield model
        return
    for operation in graph.operations:
        if isinstance(operation, keras.Model):
            yield from operations(operation)
        else:
            yield operation


def own_parts(model: keras.Model) -> list[str]:
    """Return the names of the parts of a model that are not Keras's own code.

    What they compute is known to nobody but them: not to their configuration, and a
    copy need not be the same.
    """
    return [each.name for each in operations(model) if _is_own(each)]


def _is_own(operation) -> bool:
    layers = [operation]
    if isinstance(operation, keras.layers.Layer):
        layers = keras_internals.flat_layers(operation)  # It may hold others.
    return any(
        isinstance(each, keras.layers.Lambda)
        or not is_of_keras(type(each))
        or not is_of_keras(getattr(each, "activation", None) or type(each))
        for each in layers
    )


def is_of_keras(code) -> bool:
    """Return whether a function, a class or the class of an object is Keras's own."""
    code = code if hasattr(code, "__qualname__") else type(code)
    return (getattr(code, "__module__", None) or "").split(".")[0] == "keras"


def input_shape(model: keras.Model) -> tuple | None:
    """Return the shape of a model's single input, or `None` if it takes any.

    Raises:
        ValueError: If it has several inputs.
    """
    inputs = getattr(model, "inputs", None)
    if not inputs:
        return None
    if len(inputs) > 1:
        raise ValueError(
            "Expected a network with one input, the images, as build_backbone makes "
            f"it. Received: model={shown(model)} with {len(inputs)} inputs"
        )
    return tuple(inputs[0].shape)


def output_shape(model: keras.Model, image_shape: tuple) -> tuple:
    """Return the shape of what a model makes of images of `image_shape`.

    Raises:
        ValueError: If it has several outputs, or takes no such images.
    """
    outputs = getattr(model, "outputs", None) or [None]
    if len(outputs) == 1 and (outputs[0] is None or None in outputs[0].shape[1:]):
        images = keras.KerasTensor((None, *image_shape), "float32")
        try:
            outputs = keras.tree.flatten(model.compute_output_spec(images))
        except Exception as error:
            raise ValueError(
                f"The network does not take images of shape {tuple(image_shape)} "
                f"({reason(error)}). Received: model={shown(model)}"
            ) from error
    if len(outputs) != 1:
        raise ValueError(
            "Expected a network with one output; cut one out with "
            "keras.Model(model.inputs, model.outputs[0]). "
            f"Received: model={shown(model)} with {len(outputs)} outputs"
        )
    return tuple(outputs[0].shape)


def single_output(model: keras.Model, images):
    """Call a model with one input and one output, in inference."""
    # Keras warns where a model was made of [input] or {name: input}.
    structure = getattr(as_graph(model), "input", None)
    if isinstance(structure, list | tuple | dict):
        images = keras.tree.pack_sequence_as(structure, [images])
    (outputs,) = keras.tree.flatten(model(images, training=False))
    return outputs
