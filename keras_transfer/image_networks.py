"""What a network from images to one output is made of, however it was built."""

from collections.abc import Iterator

import keras

from keras_transfer.runtime.arguments import reason, shown


def as_graph(model: keras.Model) -> keras.Model | None:
    """Return the graph of layers that a model is, or `None` where Keras has none.

    A `Sequential` model holds its graph. A subclass has one only if what it computes
    is the graph that it was made of.
    """
    graph = getattr(model, "_functional", model) if _is_sequential(model) else model
    functional = next(
        (each for each in type(graph).__mro__ if each.__name__ == "Functional"), None
    )
    if functional is None or type(graph).call is not functional.call:
        return None
    return graph


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
        layers = operation._flatten_layers()  # A layer may hold others.
    return any(
        isinstance(each, keras.layers.Lambda)
        or not _is_of_keras(type(each))
        or not _is_of_keras(getattr(each, "activation", None) or type(each))
        for each in layers
    )


def _is_of_keras(code) -> bool:
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
    structure = getattr(as_graph(model), "_inputs_struct", None)
    if isinstance(structure, list | tuple | dict):
        images = keras.tree.pack_sequence_as(structure, [images])
    (outputs,) = keras.tree.flatten(model(images, training=False))
    return outputs
