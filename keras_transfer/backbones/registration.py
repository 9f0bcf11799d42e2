"""Add a backbone from outside of the package to the registry."""

import dataclasses
import inspect
import os
import re
from collections.abc import Callable, Mapping

import keras

from keras_transfer.backbones import preprocessing
from keras_transfer.backbones.fingerprint import FILTERS, colour_sums
from keras_transfer.backbones.keras_networks import of_keras
from keras_transfer.backbones.registry import ARCHITECTURES, Architecture
from keras_transfer.backbones.weights.files import load_weights_file
from keras_transfer.models.blocks import graph_blocks, segments
from keras_transfer.models.graph import HEAD, first_convolutions
from keras_transfer.runtime.arguments import file_path, reason, shown, square_size


def register_backbone(
    name: str,
    network: Callable,
    blocks: Mapping[str, str] | None = None,
    preprocess: Callable | None = None,
    image_size: int | tuple[int, int] = 224,
    smallest_size: int | tuple[int, int] = 32,
    weights: str | os.PathLike | None = None,
) -> None:
    """Add a backbone, so that all functions of the package know it by its name.

    It is known in this process only. `compare` trains in processes of its own: there,
    a recipe that is a function of a module can register it.

    Args:
        name: New name, of letters, digits and `_`, beginning with a letter. A function
            that is defined anew, as in a cell that is run again, replaces the first.
        network: Function from preprocessed images to a feature map, or to a
            `keras.Model` that ends in one; or a function with the signature of those
            in `keras.applications`, such as `keras.applications.VGG19`, which is asked
            for a network without its classifier.
        blocks: Dictionary of blocks from input to output, each with the name of its
            last layer. These layers need names of their own, because automatic ones
            differ from model to model. The last one makes the output. Defaults to what
            `block_names` finds in the graph.
        preprocess: Function from raw RGB images, 0 to 255, to what `network` expects,
            of the same shape, made of layers or `keras.ops`. Defaults to the raw
            images.
        image_size: Side in pixels of the square images that it was trained with.
            Defaults to `224`.
        smallest_size: Side of the smallest images that it takes. Defaults to `32`.
        weights: Path of a file by `save_weights()` of the network, which
            `build_backbone` loads as `weights="imagenet"`. Defaults to
            `<name>.weights.h5` in `KERAS_TRANSFER_WEIGHTS_DIR`, and for a network of
            `keras.applications` to what Keras downloads.

    Raises:
        ValueError: If the name is taken, the network cannot be built, is not a
            feature map at its end, has no such blocks, or does not fit the weights.

    Example:

    >>> import keras, keras_transfer as kt
    >>> def two_convolutions(images):
    ...     x = keras.layers.Conv2D(8, 3, strides=2, name="first")(images)
    ...     return keras.layers.Conv2D(16, 3, strides=2, name="second")(x)
    >>> kt.register_backbone(
    ...     "two_convolutions",
    ...     two_convolutions,
    ...     blocks={"block1": "first", "block2": "second"},
    ...     preprocess=lambda images: images / 255,
    ...     image_size=64,
    ... )
    >>> backbone = kt.build_backbone("two_convolutions", weights=None)
    >>> backbone.output_shape, kt.block_names(backbone)
    ((None, 15, 15, 16), ['block1', 'block2'])
    """
    _check_name(name, network)
    if preprocess is not None and not callable(preprocess):
        raise ValueError(
            "preprocess must be a function from raw images to preprocessed ones, or "
            f"None. Received: preprocess={shown(preprocess)}"
        )
    smallest = square_size("smallest_size", smallest_size)
    entry = Architecture(
        network=_as_network(network),
        preprocess=preprocess or preprocessing.none,
        blocks={} if blocks is None else _checked_blocks(blocks),
        parameters=0,
        paper=("", ""),
        good_for="Registered by you.",
        image_size=square_size("image_size", image_size, smallest),
        smallest_size=smallest,
        application=network if _is_application(network) else None,
        weights_file=None if weights is None else file_path("weights", weights),
        origin=network,
    )
    # Twice, because the second one shows which names are automatic.
    _built(name, entry)
    model = _built(name, entry)
    if blocks is None:
        _check_has_blocks(model, network)
    else:
        _check_ends(model, entry.blocks)
    sums = None
    if entry.weights_file is not None:
        load_weights_file(model, name, entry.weights_file)
        sums = _colour_sums(model)
    parameters = model.count_params()
    ARCHITECTURES[name] = dataclasses.replace(
        entry,
        parameters=parameters,
        colour_sums=sums,
        signature=frozenset(entry.blocks.values()),
    )


def _check_name(name, network) -> None:
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII):
        raise ValueError(
            "The name of a backbone is of letters, digits and _, and begins with a "
            f"letter. Received: name={shown(name)}"
        )
    # A model is callable, too, but has its input already.
    if not callable(network) or isinstance(network, keras.layers.Layer):
        raise ValueError(
            "network must be a function from images to a feature map, or one like "
            f"those of keras.applications. Received: network={shown(network)}"
        )
    if name in ARCHITECTURES and not _is_again(ARCHITECTURES[name].origin, network):
        raise ValueError(
            "There is a backbone of this name already. Choose another one than: "
            f"{', '.join(ARCHITECTURES)}. Received: name={name}"
        )


def _is_again(first: Callable | None, network: Callable) -> bool:
    """Tell whether a function is the first one, defined anew."""
    places = [
        (getattr(each, "__module__", None), getattr(each, "__qualname__", None))
        for each in (first, network)
    ]
    return first is network or (first is not None and places[0] == places[1])


def _checked_blocks(blocks) -> dict[str, str]:
    fits = isinstance(blocks, Mapping) and len(blocks) > 0
    fits = fits and all(
        isinstance(each, str) and each for pair in blocks.items() for each in pair
    )
    if not fits or HEAD in blocks or len({*blocks.values()}) < len(blocks):
        raise ValueError(
            "blocks must be a dictionary of blocks from input to output, each with the "
            f"name of its last layer; {HEAD} is what a classifier has after them. "
            f"Received: blocks={shown(blocks)}"
        )
    return dict(blocks)


def _is_application(network: Callable) -> bool:
    try:
        names = inspect.signature(network).parameters
    except (TypeError, ValueError):  # Of a function that is not written in Python.
        return False
    return {"include_top", "weights", "input_tensor"} <= {*names}


def _as_network(network: Callable) -> Callable[..., keras.Model]:
    if _is_application(network):
        return of_keras(network)["network"]

    def build(images) -> keras.Model:
        made = network(images)
        if isinstance(made, keras.Model):
            return made
        return keras.Model(keras.utils.get_source_inputs(images), made)

    return build


def _built(name: str, entry: Architecture) -> keras.Model:
    """Build the network as small as it may be, with random weights."""
    size = entry.smallest_size
    inputs = keras.Input((size, size, 3), name="image")
    try:
        images = entry.preprocess(inputs)
        shape = tuple(images.shape)
    except Exception as error:  # Whatever happens in code of one's own.
        raise ValueError(
            f"preprocess fails on images of {size} px ({reason(error)}). Received: "
            f"preprocess={shown(entry.preprocess)}"
        ) from error
    if shape != (None, size, size, 3):
        raise ValueError(
            f"preprocess must keep the shape of images, (None, {size}, {size}, 3), and "
            f"gives {shape}. Received: preprocess={shown(entry.preprocess)}"
        )
    try:
        model = keras.Model(inputs, entry.network(images).output, name=name)
        shape = tuple(model.output.shape)
    except Exception as error:
        raise ValueError(
            f"network cannot be built on images of {size} px ({reason(error)}). It "
            "gets a Keras tensor, and returns one that was computed from it, or a "
            f"model that ends in one. Received: network={shown(entry.origin)}, "
            f"smallest_size={size}"
        ) from error
    if len(shape) != 4:
        raise ValueError(
            "network must end in a feature map (batch, height, width, channels), "
            f"without pooling or classifier, and ends in one of shape {shape}. "
            f"Received: network={shown(entry.origin)}"
        )
    return model


def _check_has_blocks(model: keras.Model, network: Callable) -> None:
    if not graph_blocks(model):
        raise ValueError(
            "network has no block that its graph shows: no feature map that comes from "
            "layers with weights. Name its blocks with blocks=, if it has some. "
            f"Received: network={shown(network)}"
        )


def _check_ends(model: keras.Model, blocks: dict[str, str]) -> None:
    names = [layer.name for layer in model.layers]
    missing = [end for end in blocks.values() if end not in names]
    if missing:
        raise ValueError(
            f"blocks must name layers of the network, with names of their own: "
            f"{', '.join(missing)} is not in each network that is built. Its layers "
            f"are {shown(names)}. Received: blocks={blocks}"
        )
    places = [names.index(end) for end in blocks.values()]
    if places != sorted(places):
        raise ValueError(
            "blocks must go from input to output. In the network, their last layers "
            f"come in this order: {', '.join(names[x] for x in sorted(places))}. "
            f"Received: blocks={blocks}"
        )
    ends = {part[-1].layer.name for part in segments(model)}
    if beside := [end for end in blocks.values() if end not in ends]:
        raise ValueError(
            "A block ends where all that follows comes from one layer, and other "
            f"layers go around {', '.join(beside)}. Ends could be "
            f"{shown([name for name in names if name in ends])}. "
            f"Received: blocks={blocks}"
        )
    last = model.get_layer([*blocks.values()][-1])
    if last.output is not model.output:
        raise ValueError(
            "The last block must end with the layer that makes the output, which is "
            f"{names[-1]}. Received: blocks={blocks}"
        )


def _colour_sums(model: keras.Model) -> tuple[tuple[float, ...], ...] | None:
    """Return what the doctor knows the weights by."""
    for layer in first_convolutions(model):
        if layer.kernel.shape[-1] >= FILTERS:
            kernel = keras.ops.convert_to_numpy(layer.kernel)
            return tuple(map(tuple, colour_sums(kernel)))
    return None
