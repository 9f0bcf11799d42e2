"""The blocks of a network: those of a known architecture, else those of its graph.

The layers that end a block of a known architecture have the same name in every process,
and everything between two of them belongs to the second one. So a model that was saved
and loaded, that has a head on top, or that holds its backbone as a single layer, still
shows its blocks, although InceptionV3's convolutions are numbered by the process. Of
any other network, the graph shows them.
"""

import re
from collections.abc import Mapping

import keras

from keras_transfer.backbones.registry import ARCHITECTURES
from keras_transfer.models.blocks import (
    cut,
    graph_blocks,
    has_weights,
    layer_calls,
    layers_in_order,
    map_segments,
    segments,
    sequence_blocks,
)
from keras_transfer.models.graph import HEAD, Call, as_graph
from keras_transfer.runtime.arguments import keras_model, reason, shown


def find_blocks(model: keras.Model) -> dict[str, Call]:
    """Return the blocks of `model`, each with the call of a layer that ends it.

    Those of a known architecture, also where the model holds it as a single layer. Of
    any other functional network, also one for sequences, those that its graph shows.
    """
    keras_model("model", model, built=False)
    built = model.built and as_graph(model) is not None
    ways = (_known_blocks, graph_blocks, sequence_blocks) if built else ()
    blocks = next((found for way in ways if (found := way(model))), {})
    if not blocks:
        raise ValueError(
            "No block of a known backbone is in this model, and no feature map by "
            "which to find blocks. Expected a functional or Sequential model from "
            "images (batch, height, width, channels) through convolutions to one "
            "output, such as build_classifier makes it, or a transformer for "
            "sequences such as BertBackbone of KerasHub, built, and not a subclass of "
            f"keras.Model. Received: model with {len(model.layers)} layers, "
            f"name={model.name}"
        )
    return blocks


def _known_blocks(model: keras.Model) -> dict[str, Call]:
    """Return the blocks of a known architecture, or none."""
    made = {call.layer.name: call for call in reversed(layer_calls(model))}
    names = list(reversed(made))

    def fit(blocks):
        return len(blocks), sum(names.index(x.layer.name) for x in blocks.values())

    named = {re.split(r"_(?:classifier|to|after)(?:_|$)", x)[0] for x in _names(model)}
    found = []
    for name, each in ARCHITECTURES.items():
        ends = {block: made[end] for block, end in each.blocks.items() if end in made}
        if "mixed0" in ends and "stem" not in ends:
            # Keras gives the second pooling of InceptionV3, where its stem ends, an
            # automatic name.
            before = [made[layer] for layer in names[: names.index("mixed0")]]
            pools = keras.layers.MaxPooling2D
            pools = [x for x in before if isinstance(x.layer, pools)]
            ends = ({"stem": pools[-1]} if pools else {}) | ends
        found.append((name in named, ends, each.blocks))
    # Relatives share names of layers. The model's own name says which one it is; of two
    # that fit alike it is that whose blocks end later, because the other one has part
    # of a block in each.
    found.sort(key=lambda x: (x[0], *fit(x[1])), reverse=True)
    for _, ends, whole in found:
        if len(ends) == len(whole) or _is_part(model, ends, whole):
            return ends
    return {}


def _names(model: keras.Model) -> list[str]:
    """Return the names of a model, and of the models in it."""
    inner = {
        outer.operation.name for call in layer_calls(model) for outer in call.outer
    }
    return [model.name, *inner]


def _is_part(model: keras.Model, ends: dict[str, Call], whole: Mapping) -> bool:
    """Tell whether some ends of an architecture are a part of it, and no coincidence.

    Other networks have layers of the same name, as Xception has poolings of VGG16's.
    """
    names, found = list(whole), list(ends)
    start = names.index(found[0]) if found else 0
    if not found or found != names[start : start + len(found)]:
        return False
    parts = segments(model)
    if not parts:  # Of several inputs or outputs: the names are all there is.
        return True
    cuts = [id(part[-1].node) for part in parts]
    if not all(id(call.node) in cuts for call in ends.values()):
        return False
    after = map_segments(model)[1 + cuts.index(id(ends[found[-1]].node)) :]
    goes_on = any(map(has_weights, after))
    if start == 0:  # What goes on after several blocks is somebody's own head.
        return len(found) > 1 or not goes_on
    cut_here = model.name.endswith(f"_after_{names[start - 1]}")
    ends_here = found[-1] == names[-1] or not goes_on
    return ends_here and (len(found) > 1 or cut_here)


def block_layers(model: keras.Model) -> dict[str, list[keras.layers.Layer]]:
    """Return the layers of each block from input to output, and last those of `head`.

    All that a block computes passes through its last layer, and Keras keeps a model's
    layers in order of depth: so a block is what lies between two ends.
    """
    operations = layers_in_order(model)
    places = {id(operation): place for place, operation in enumerate(operations)}
    blocks, start = {}, 0
    for block, end in find_blocks(model).items():
        stop = places[id(end.layer)] + 1
        blocks[block], start = operations[start:stop], stop
    blocks[HEAD] = operations[start:]
    return {
        block: [x for x in found if isinstance(x, keras.layers.Layer)]
        for block, found in blocks.items()
    }


def check_block(model: keras.Model, block: str, argument: str = "block") -> None:
    """Raise an error that lists the blocks, if `block` is none of them."""
    blocks = find_blocks(model)
    if not isinstance(block, str) or block not in blocks:
        raise ValueError(
            f"This model has the blocks {', '.join(blocks)}. "
            f"Received: {argument}={shown(block)}"
        )


def block_output(model: keras.Model, block: str) -> keras.KerasTensor:
    """Return what the last layer of a block makes in this flat model."""
    return find_blocks(model)[block].node.output_tensors[0]


def block_names(model: keras.Model) -> list[str]:
    """List the blocks of a network, from input to output.

    A network of `build_backbone` has the blocks that its authors gave it, also inside
    of another model. Any other functional network has one for each size of its feature
    maps, named `block1`, `block2` and so on: a block ends before the layers that halve
    height and width, or behind the pooling that does. What comes before the first
    convolution, such as preprocessing, belongs to the first block, and what comes after
    the last feature map is the head. Models in the model are looked into.

    A transformer for sequences, such as `keras_hub.models.BertBackbone` or a classifier
    with one in it, has the block `embeddings` and one for each of its layers with an
    attention, `block1` and so on.

    Args:
        model: Any functional or `Sequential` `keras.Model` from images to a feature map
            or to predictions, also one that holds its backbone as a single layer, as in
            Keras's guide of transfer learning, and one that was saved and loaded.

    Returns:
        List of block names, the same in every process.

    Raises:
        ValueError: If Keras knows no graph of the model, as of a subclassed one, or it
            has several inputs or outputs, or no feature map that was learnt.

    Example:

    >>> import keras, keras_transfer as kt
    >>> kt.block_names(kt.build_backbone("vgg16", weights=None))
    ['block1', 'block2', 'block3', 'block4', 'block5']
    >>> layers = keras.layers
    >>> convolutions = [layers.Conv2D(8, 3), layers.MaxPooling2D(), layers.Conv2D(8, 3)]
    >>> network = keras.Sequential([keras.Input((64, 64, 3)), *convolutions])
    >>> kt.block_names(network)
    ['block1', 'block2']
    """
    return list(find_blocks(model))


def split_at_block(model: keras.Model, block: str) -> tuple[keras.Model, keras.Model]:
    """Cut a model behind a block into two models that share its layers.

    Args:
        model: Whole functional `keras.Model`, with or without a head, not a part that
            was cut before.
        block: Last block of the first part, one of `block_names(model)`.

    Returns:
        The part from images to the output of `block`, and the part that goes on from
        there. What the parts learn, `model` has learnt.

    Raises:
        ValueError: If there is no such block, or the model is a part itself, or cannot
            be cut there because layers go around the block.

    Example:

    >>> import keras_transfer as kt
    >>> backbone = kt.build_backbone("vgg16", weights=None, image_size=96)
    >>> first, last = kt.split_at_block(backbone, "block4")
    >>> first.output_shape, last.output_shape
    ((None, 6, 6, 512), (None, 3, 3, 512))
    """
    check_block(model, block)
    if "_after_" in model.name:
        raise ValueError(
            "A part that was cut before cannot be cut again. Cut the whole model. "
            f"Received: model with name={model.name}"
        )
    # The same with and without a head, so that what is kept on disk is found again.
    name = model.name.removesuffix("_classifier")
    names = f"{name}_to_{block}", f"{name}_after_{block}"
    try:
        return cut(model, find_blocks(model)[block], names)
    except ValueError as error:
        raise ValueError(
            f"This model cannot be cut behind {block}, because what comes after it "
            f"needs more than its output ({reason(error)}). "
            f"Received: block={block}, model with name={model.name}"
        ) from error
