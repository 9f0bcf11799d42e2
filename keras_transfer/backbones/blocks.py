"""The blocks of a network, recognised from its graph.

The layers that end a block have the same name in every process, and everything between
two of them belongs to the second one. So a model that was saved and loaded, or that has
a head on top, still shows its blocks, although InceptionV3's convolutions are numbered
by the process.
"""

import keras

from keras_transfer.backbones.registry import ARCHITECTURES
from keras_transfer.models.graph import HEAD, as_graph
from keras_transfer.runtime.arguments import keras_model, shown
from keras_transfer.runtime.keras_internals import nodes


def block_ends(model: keras.Model) -> dict[str, str]:
    """Return the blocks of `model`, each with the name of its last layer."""
    keras_model("model", model, built=False)
    built = model.built and as_graph(model)
    names = [layer.name for layer in model.layers] if built else []
    found = [
        {block: end for block, end in each.blocks.items() if end in names}
        for each in ARCHITECTURES.values()
    ]
    # Relatives share names: of two that fit alike, that whose blocks end later, because
    # the other has part of a block in each.
    ends = max(found, key=lambda x: (len(x), sum(map(names.index, x.values()))))
    if not ends:
        raise ValueError(
            "No block of a known backbone is in this model. Expected a flat model made "
            "with build_backbone or build_classifier, not one that holds the backbone "
            "as a single layer, such as model.get_layer(name), and not a subclass of "
            f"keras.Model. Received: model with {len(model.layers)} layers, "
            f"name={model.name}"
        )
    if "mixed0" in ends and "stem" not in ends:
        # Keras gives the second pooling of InceptionV3, where its stem ends, an
        # automatic name.
        before = model.layers[: names.index("mixed0")]
        pools = [x.name for x in before if isinstance(x, keras.layers.MaxPooling2D)]
        ends = ({"stem": pools[-1]} if pools else {}) | ends
    return ends


def block_layers(model: keras.Model) -> dict[str, list[keras.layers.Layer]]:
    """Return the layers of each block from input to output, and last those of `head`.

    All that a block computes passes through its last layer, and Keras keeps a model's
    layers in order of depth: so a block is what lies between two ends.
    """
    layers = model.layers
    names = [layer.name for layer in layers]
    blocks, start = {}, 0
    for block, end in block_ends(model).items():
        stop = names.index(end) + 1
        blocks[block], start = layers[start:stop], stop
    return blocks | {HEAD: layers[start:]}


def check_block(model: keras.Model, block: str, argument: str = "block") -> None:
    """Raise an error that lists the blocks, if `block` is none of them."""
    ends = block_ends(model)
    if not isinstance(block, str) or block not in ends:
        raise ValueError(
            f"This model has the blocks {', '.join(ends)}. "
            f"Received: {argument}={shown(block)}"
        )


def block_output(model: keras.Model, block: str) -> keras.KerasTensor:
    """Return what the last layer of a block makes in this model."""
    layer = model.get_layer(block_ends(model)[block])
    # Not `layer.output`, which may belong to another model that called it first.
    made = [
        node.output_tensors[0]
        for node in nodes(as_graph(model))
        if node.operation is layer
    ]
    return made[0]


def block_names(model: keras.Model) -> list[str]:
    """List the blocks of a backbone, or of a classifier made from one.

    Args:
        model: A `keras.Model` from `build_backbone` or `build_classifier`, also one
            that was saved and loaded again.

    Returns:
        List of block names, from input to output.

    Raises:
        ValueError: If the model holds no block of a known backbone.

    Example:

    >>> import keras_transfer as kt
    >>> kt.block_names(kt.build_backbone("vgg16", weights=None))
    ['block1', 'block2', 'block3', 'block4', 'block5']
    """
    return list(block_ends(model))


def split_at_block(model: keras.Model, block: str) -> tuple[keras.Model, keras.Model]:
    """Cut a model behind a block into two models that share its layers.

    Args:
        model: Whole `keras.Model` from `build_backbone` or `build_classifier`, not a
            part that was cut before.
        block: Last block of the first part, one of `block_names(model)`.

    Returns:
        The part from images to the output of `block`, and the part that goes on from
        there. What the parts learn, `model` has learnt.

    Raises:
        ValueError: If there is no such block, or the model is a part itself.

    Example:

    >>> import keras_transfer as kt
    >>> backbone = kt.build_backbone("vgg16", weights=None, image_size=96)
    >>> first, last = kt.split_at_block(backbone, "block4")
    >>> first.output_shape, last.output_shape
    ((None, 6, 6, 512), (None, 3, 3, 512))
    """
    check_block(model, block)
    output = block_output(model, block)
    if "_after_" in model.name:
        raise ValueError(
            "A part that was cut before cannot be cut again. Cut the whole model. "
            f"Received: model with name={model.name}"
        )
    # The same with and without a head, so that what is kept on disk is found again.
    name = model.name.removesuffix("_classifier")
    return (
        keras.Model(model.inputs[0], output, name=f"{name}_to_{block}"),
        keras.Model(output, model.outputs[0], name=f"{name}_after_{block}"),
    )
