"""The blocks of a network, recognised from its graph.

The layers that end a block have the same name in every process, and everything between
two of them belongs to the second one. So a model that was saved and loaded, or that has
a head on top, still shows its blocks, although InceptionV3's convolutions are numbered
by the process.
"""

import keras

from keras_transfer.models.graph import HEAD, as_graph
from keras_transfer.runtime.arguments import keras_model, shown
from keras_transfer.runtime.keras_internals import nodes

_EFFICIENTNET = {
    "stem": "stem_activation",
    "block1": "block1a_project_bn",
    "block2": "block2b_add",
    "block3": "block3b_add",
    "block4": "block4c_add",
    "block5": "block5c_add",
    "block6": "block6d_add",
    "block7": "block7a_project_bn",
    "top": "top_activation",
}
_MOBILENET_ADDS = {2, 4, 5, 7, 8, 9, 11, 12, 14, 15}

# For each architecture: its blocks from input to output, each with its last layer.
ARCHITECTURES = (
    {
        "conv1": "pool1_pool",
        "conv2": "conv2_block3_out",
        "conv3": "conv3_block4_out",
        "conv4": "conv4_block6_out",
        "conv5": "conv5_block3_out",
    },
    {f"block{n}": f"block{n}_pool" for n in range(1, 6)},
    _EFFICIENTNET,
    {"stem": "stem_pool", **{f"mixed{n}": f"mixed{n}" for n in range(11)}},
    {
        "conv1": "Conv1_relu",
        "expanded_conv": "expanded_conv_project_BN",
        **{
            f"block_{n}": f"block_{n}_{'add' if n in _MOBILENET_ADDS else 'project_BN'}"
            for n in range(1, 17)
        },
        "conv_last": "out_relu",
    },
)


def block_ends(model: keras.Model) -> dict[str, str]:
    """Return the blocks of `model`, each with the name of its last layer."""
    keras_model("model", model, built=False)
    built = model.built and as_graph(model)
    names = [layer.name for layer in model.layers] if built else []
    found = [
        {block: end for block, end in blocks.items() if end in names}
        for blocks in ARCHITECTURES
    ]
    ends = max(found, key=len)
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
