"""The blocks of any functional network, found by its graph.

A network is a line of calls that fork and join again. Where only one tensor is alive,
the line can be cut: all that follows is computed from that tensor. A block is what lies
between two such cuts. It ends

- before the layers that halve height and width, if these have weights (a strided
  convolution, a residual block that begins with one), or
- behind the pooling that halves them, which has none.

So the blocks are those of the usual networks: one for each size of the feature map.
What comes before the first convolution belongs to the first block, and what comes after
the last feature map is the head. Models in the model are looked into. Nothing depends
on names, sizes or numbers of automatic names, so a network that was saved and loaded
again, or is built for images of another size, has the same blocks.

A transformer for sequences, such as a BERT of KerasHub, has no maps and often several
inputs. There, each layer that holds an attention is a block.
"""

import itertools
import re
from collections.abc import Iterator, Sequence

import keras

from keras_transfer.models.graph import Call, as_graph, calls, operations, source
from keras_transfer.runtime import keras_internals

# Layers and operations that leave one number a channel: with them a head begins.
_GLOBAL_POOLING = {
    "GlobalAveragePooling2D",
    "GlobalMaxPooling2D",
    keras_internals.Operation.MAX,
    keras_internals.Operation.MEAN,
}
# A block ends before them: a margin of zeros is for what comes next.
_PADDING = {keras_internals.Operation.PAD, "ZeroPadding2D"}
_UPWARDS = (keras.layers.Conv2DTranspose,)


def layer_calls(model: keras.Model) -> list[Call]:
    """Return the calls of all layers and operations, not of the models around them."""
    return [call for call in calls(model) if not _is_graph(call.layer)]


def layers_in_order(model: keras.Model) -> list[keras.Operation]:
    """Return each layer and operation once, in the order of their first calls.

    Those of models in the model are among them, and these themselves are not.
    """
    own, found = {id(layer) for layer in model.layers}, {}
    for operation in operations(model):
        inner = isinstance(operation, keras.layers.InputLayer)
        if not inner or id(operation) in own:
            found[id(operation)] = operation
    return list(found.values())


def segments(model: keras.Model) -> list[list[Call]]:
    """Return the calls in parts, of each of which one tensor goes into the next.

    Empty where the model has several inputs or outputs. After the last part the line
    does not join again.
    """
    graph = as_graph(model)
    if graph is None or len(graph.inputs) != 1 or len(graph.outputs) != 1:
        return []
    steps, last_use = layer_calls(model), {}
    for number, call in enumerate(steps):
        for tensor in call.node.input_tensors:
            last_use[_origin(tensor, call.outer)] = number
    needed = last_use.get(_origin(graph.inputs[0], ()), -1)
    found, start = [], 0
    for number, call in enumerate(steps):
        if number >= needed and len(call.node.output_tensors) == 1:
            found.append(steps[start : number + 1])
            start = number + 1
        for tensor in call.node.output_tensors:
            needed = max(needed, last_use.get(_origin(tensor, call.outer), -1))
    return found


def graph_blocks(model: keras.Model) -> dict[str, Call]:
    """Return the blocks of a network, each with the call that ends it.

    Empty where it has no feature map that was learnt, or goes on with sequences, as a
    vision transformer does.
    """
    ends, end, learns, before = [], None, False, None
    for part in map_segments(model):
        smaller, weighted = _is_smaller(part, before), has_weights(part)
        if smaller and weighted and learns:
            ends.append(end)
            learns = False
        before, learns = part[-1], learns or weighted
        if end is None or keras_internals.operation_kind(before.layer) not in _PADDING:
            end = before
        if smaller and not weighted and learns:
            ends.append(end)
            learns = False
    if learns:
        ends.append(end)
    elif ends:
        ends[-1] = end
    first = _first_number(model)
    return {f"block{number}": call for number, call in enumerate(ends, first)}


def sequence_blocks(model: keras.Model) -> dict[str, Call]:
    """Return the blocks of a transformer for sequences, each with its last call.

    `embeddings` is what comes before the first layer that holds an attention, such as
    `TransformerEncoder` of KerasHub, and each of these is a block: `block1`, `block2`
    and so on. What comes after the last one is the head. Empty for any other network,
    and for one that takes images.
    """
    graph = as_graph(model)
    if graph is None or any(len(each.shape) > 3 for each in graph.inputs):
        return {}
    steps = layer_calls(model)
    attending = [call for call in steps if _holds_attention(call.layer)]
    if not attending:
        return {}
    first = attending[0]
    tensor, _ = source(first.node.input_tensors[0], first.outer)
    before = keras_internals.making_node(tensor)
    named = [("embeddings", call) for call in steps if call.node is before]
    named += [(f"block{n}", call) for n, call in enumerate(attending, 1)]
    return dict(named)


def map_segments(model: keras.Model) -> list[list[Call]]:
    """Return the segments that end in a feature map, up to the head."""
    parts = segments(model)
    if not parts or len(as_graph(model).inputs[0].shape) != 4:
        return []
    maps = list(itertools.takewhile(_makes_map, parts))
    # Of a sequence of patches, nobody knows here what is backbone and what is head.
    if any(len(_output(part[-1]).shape) == 3 for part in parts[len(maps) :]):
        return []
    return maps


def has_weights(part: list[Call]) -> bool:
    """Tell whether a segment has weights that can be learnt."""
    layers = [x.layer for x in part if isinstance(x.layer, keras.layers.Layer)]
    # The statistics of a Normalization layer are preprocessing.
    still = keras.layers.Normalization
    return any(layer.weights and not isinstance(layer, still) for layer in layers)


def head_layers(model: keras.Model) -> list[keras.Operation]:
    """Return what comes after the last feature map, if there is one."""
    maps = map_segments(model)
    head = segments(model)[len(maps) :] if maps else []
    return [call.layer for part in head for call in part]


def pooled_features(model: keras.Model) -> Call | None:
    """Return the global average pooling with which the head begins, or `None`."""
    head = segments(model)[len(map_segments(model)) :]
    call = head[0][-1] if head else None
    average = call and type(call.layer) is keras.layers.GlobalAveragePooling2D
    return call if average and len(_output(call).shape) == 2 else None


def cut(
    model: keras.Model, call: Call, names: Sequence[str]
) -> tuple[keras.Model, keras.Model]:
    """Cut a model behind a call into two models that share its layers.

    A model in the model that is cut is a layer of both parts, with the part of it that
    belongs there.

    Args:
        model: Functional model with one input and one output.
        call: Last call of one of `segments`.
        names: Names of both parts.

    Raises:
        ValueError: If more than the output of `call` goes on from there.
    """
    tensor, outer = _output(call), call.outer
    # What ends a model in the model is what that model makes.
    while outer and tensor is as_graph(outer[-1].operation).outputs[0]:
        tensor, outer = outer[-1].output_tensors[0], outer[:-1]
    return _cut(as_graph(model), tensor, outer, names)


def _cut(graph, tensor, outer: tuple, names: Sequence[str]):
    images, outputs = graph.inputs[0], graph.outputs[0]
    if not outer:
        return (
            keras.Model(images, tensor, name=names[0]),
            keras.Model(tensor, outputs, name=names[1]),
        )
    around, *inner = outer
    name, within = around.operation.name, as_graph(around.operation)
    if len(within.inputs) != 1 or len(within.outputs) != 1:
        raise ValueError(f"{name} has several inputs or outputs")
    first, last = _cut(within, tensor, inner, (name, name))
    # As the model that is cut is called, for example in inference.
    how = {k: v for k, v in around.arguments.kwargs.items() if k == "training"}
    inputs = keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype)
    x, made = last(inputs, **how), around.output_tensors[0]
    if made is not outputs:
        x = keras.Model(made, outputs, name=f"after_{name}")(x)
    return (
        keras.Model(images, first(around.input_tensors[0], **how), name=names[0]),
        keras.Model(inputs, x, name=names[1]),
    )


def _holds_attention(layer) -> bool:
    if not isinstance(layer, keras.layers.Layer):
        return False
    parts = keras_internals.flat_layers(layer, include_self=False)
    return any(isinstance(part, keras.layers.MultiHeadAttention) for part in parts)


def _is_graph(layer) -> bool:
    return isinstance(layer, keras.Model) and as_graph(layer) is not None


def _origin(tensor, outer: tuple) -> tuple[int, ...]:
    """Name the tensor that a layer has made, seen through the models in the model."""
    while True:
        tensor, outer = source(tensor, outer)
        node = keras_internals.making_node(tensor)
        if not _is_graph(node.operation):
            return (id(tensor), *map(id, outer))
        place = keras_internals.output_index(tensor)
        tensor, outer = as_graph(node.operation).outputs[place], (*outer, node)


def _output(call: Call):
    return call.node.output_tensors[0]


def _makes_map(part: list[Call]) -> bool:
    pooled = keras_internals.operation_kind(part[-1].layer) in _GLOBAL_POOLING
    return not pooled and len(_output(part[-1]).shape) == 4


def _is_smaller(part: list[Call], before: Call | None) -> bool:
    """Tell whether height and width are halved, or more, in a part."""
    strides = [stride for call in part for stride in _strides(call.layer)]
    if strides:
        return max(strides) > 1
    if before is None:
        return False
    # An operation that does not say, such as one that takes every second place.
    old, new = (_output(call).shape[1:3] for call in (before, part[-1]))
    return None not in (*old, *new) and any(
        n < o and 2 * n <= o + 1 for n, o in zip(new, old, strict=True)
    )


def _strides(layer) -> Iterator[int]:
    parts = [layer]
    if isinstance(layer, keras.layers.Layer):
        parts = keras_internals.flat_layers(layer)  # A layer may hold others.
    for each in parts:
        strides = getattr(each, "strides", None)
        if strides is not None and not isinstance(each, _UPWARDS):
            yield from [strides] if isinstance(strides, int) else strides


def _first_number(model: keras.Model) -> int:
    """Return the number of the first block: of the last part of a cut, not 1."""
    found = re.search(r"_after_block(\d+)$", model.name)
    return 1 + int(found[1]) if found else 1
