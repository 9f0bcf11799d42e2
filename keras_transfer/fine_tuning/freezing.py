"""Freeze and unfreeze the blocks of a backbone, in a way that Keras cannot ignore."""

import keras

from keras_transfer.backbones.blocks import block_layers, block_names, check_block
from keras_transfer.models.compiling import recompiled
from keras_transfer.models.graph import HEAD
from keras_transfer.runtime import keras_internals
from keras_transfer.runtime.arguments import flag, keras_model, shown, whole_number


def freeze(model: keras.Model) -> None:
    """Freeze the backbone of a model, and leave its head as it is.

    A compiled model is compiled again with the same settings of optimizer, loss and
    metrics, because Keras ignores a change after the first `fit`. The state of the
    optimizer (momentum, step count) starts anew.

    Args:
        model: Functional `keras.Model` with a backbone and a head, also one that holds
            the backbone as a single layer; compiled or not, before or after `fit`, also
            one that was saved and loaded.

    Raises:
        ValueError: If the model has no blocks, or cannot be compiled again.

    Example:

    >>> import keras_transfer as kt
    >>> backbone = kt.build_backbone("vgg16", weights=None, image_size=64)
    >>> model = kt.build_classifier(backbone, num_classes=2)
    >>> kt.freeze(model)
    >>> [variable.path for variable in model.trainable_variables]
    ['head_predictions/kernel', 'head_predictions/bias']
    """
    layers = _backbone_layers(keras_model("model", model, built=False))
    with recompiled(model):
        let_layers_decide(model)
        for layer in layers:
            layer.trainable = False


def unfreeze(
    model: keras.Model,
    from_block: str | None = None,
    num_layers: int | None = None,
    *,
    train_batch_normalization: bool = False,
) -> None:
    """Make the last part of a backbone trainable, and freeze the part before it.

    Exactly one of `from_block` and `num_layers` says where it begins. As with
    `freeze`, a compiled model is compiled again with the same settings, and the state
    of its optimizer starts anew.

    Args:
        model: Functional `keras.Model` with a backbone, as in `freeze`.
        from_block: First block to train, one of `block_names(model)`.
        num_layers: Number of layers to train, counted from the backbone's output;
            only layers that hold weights count, and BatchNormalization only where it
            is trained.
        train_batch_normalization: Whether BatchNormalization is trained too. Frozen,
            it also stays in inference mode: few photos in a batch are a poor estimate
            of the statistics that it learnt from millions. Defaults to `False`.

    Raises:
        ValueError: If not exactly one of the two is given, there is no such block or
            number of layers, or the model cannot be compiled again.

    Example:

    >>> import keras_transfer as kt
    >>> backbone = kt.build_backbone("vgg16", weights=None, image_size=64)
    >>> model = kt.build_classifier(backbone, num_classes=2)
    >>> kt.unfreeze(model, from_block="block5")
    >>> len(model.trainable_variables)
    8

    Reference:

    - [Yosinski et al., 2014](https://arxiv.org/abs/1411.1792)
    """
    if (from_block is None) == (num_layers is None):
        raise ValueError(
            "Pass exactly one of from_block and num_layers. "
            f"Received: from_block={shown(from_block)}, num_layers={shown(num_layers)}"
        )
    names = block_names(keras_model("model", model, built=False))
    train_batch_normalization = flag(
        "train_batch_normalization", train_batch_normalization
    )
    if from_block is not None:
        check_block(model, from_block, "from_block")
        names = names[names.index(from_block) :]
    blocks = block_layers(model)
    still = _still(train_batch_normalization)
    chosen = [x for block in names for x in blocks[block] if not isinstance(x, still)]
    if num_layers is not None:
        weighted = [layer for layer in chosen if layer.weights]
        try:
            num_layers = whole_number("num_layers", num_layers, 1, len(weighted))
        except ValueError as error:
            raise ValueError(
                f"num_layers must be a whole number from 1 to {len(weighted)}. "
                f"Received: num_layers={shown(num_layers)}"
            ) from error
        chosen = weighted[-num_layers:]
    with recompiled(model):
        let_layers_decide(model)
        for layer in _backbone_layers(model):
            layer.trainable = False
        for layer in chosen:
            train(layer, train_batch_normalization)


def train(layer: keras.layers.Layer, train_batch_normalization: bool = False) -> None:
    """Make a layer of a backbone trainable, but not what is to stand still in it."""
    still = _still(train_batch_normalization)
    # A layer comes before those that it holds, which it would overrule.
    for part in keras_internals.flat_layers(layer):
        part.trainable = not isinstance(part, still)


def let_layers_decide(model: keras.Model) -> None:
    """Undo `trainable = False` of a model or one in it, which overrules its layers."""
    layers = [(layer, layer.trainable) for layer in keras_internals.flat_layers(model)]
    if all(on for layer, on in layers if isinstance(layer, keras.Model)):
        return
    for layer, on in layers:
        layer.trainable = on or isinstance(layer, keras.Model)


def _still(train_batch_normalization: bool) -> tuple[type, ...]:
    # The statistics of a Normalization layer are preprocessing, never trained.
    still = (keras.layers.Normalization,)
    if not train_batch_normalization:
        still += (keras.layers.BatchNormalization,)
    return still


def _backbone_layers(model: keras.Model) -> list[keras.layers.Layer]:
    blocks = block_layers(model)
    return [layer for block in blocks if block != HEAD for layer in blocks[block]]
