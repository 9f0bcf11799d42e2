"""A learning rate for each block: smaller steps for what every image needs."""

from collections.abc import Mapping

import keras

from keras_transfer.backbones.blocks import block_layers
from keras_transfer.models.block_rates import WITH_BLOCK_RATES
from keras_transfer.models.compiling import checked_optimizer
from keras_transfer.models.graph import HEAD
from keras_transfer.runtime import keras_internals
from keras_transfer.runtime.arguments import keras_model, real_number, shown


def discriminative_learning_rates(
    model: keras.Model,
    learning_rate: float | keras.optimizers.schedules.LearningRateSchedule | Mapping,
    layer_decay: float = 0.5,
    optimizer: str | keras.optimizers.Optimizer = "adamw",
) -> keras.optimizers.Optimizer:
    """Make an optimizer whose learning rate falls from the head to the input.

    The head learns with `learning_rate`, the last block with `layer_decay` times that,
    the block before it with `layer_decay` squared, and so on. What is scaled is the
    whole step, weight decay included. `optimizer.learning_rate` is the head's, so
    `LearningRateScheduler`, `ReduceLROnPlateau` and Keras's schedules move all blocks
    together.

    A file of a model compiled with it, by `save` or `ModelCheckpoint`, loads with Keras
    alone: it holds the stock optimizer of the same kind and state. To go on from there
    with rates by depth, compile the loaded model with them anew.

    Args:
        model: Functional `keras.Model` with a backbone and a head, as in `freeze`.
        learning_rate: Of the head: a float above 0 or a Keras schedule. Or a mapping
            with a rate for `"head"` and for each block that is to be trained.
        layer_decay: Factor from each block to the one before it, above 0 and at most 1.
            Not used with a mapping. Defaults to `0.5`.
        optimizer: `"adamw"`, `"adam"`, `"sgd"`, `"rmsprop"`, `"lion"`, or such an
            optimizer, whose other settings are taken over; its own learning rate must
            be a number, which is not used. Defaults to `"adamw"`.

    Returns:
        A Keras optimizer, to compile the model with.

    Raises:
        ValueError: If a rate is out of its range, a block is unknown, or the optimizer
            is none of these or has a schedule of its own.

    Example:

    >>> import keras_transfer as kt
    >>> backbone = kt.build_backbone("vgg16", weights=None, image_size=64)
    >>> model = kt.build_classifier(backbone, num_classes=2)
    >>> kt.unfreeze(model, from_block="block5")
    >>> optimizer = kt.discriminative_learning_rates(model, 1e-3, layer_decay=0.1)
    >>> kt.compile_classifier(model, optimizer)

    Reference:

    - [Howard and Ruder, 2018](https://arxiv.org/abs/1801.06146)
    """
    blocks = block_layers(keras_model("model", model, built=False))
    if isinstance(learning_rate, Mapping):
        rates = _checked_mapping(learning_rate, list(blocks))
        learning_rate = rates[HEAD]
        scales = {block: rate / learning_rate for block, rate in rates.items()}
    else:
        learning_rate = _checked_rate(learning_rate)
        layer_decay = _checked_decay(layer_decay)
        depths = range(len(blocks) - 1, -1, -1)
        scales = {
            block: layer_decay**depth
            for block, depth in zip(blocks, depths, strict=True)
        }
    stock = checked_optimizer(optimizer)
    # Also of one with rates by depth: its `__class__` is the stock one.
    if stock.__class__ not in WITH_BLOCK_RATES:
        names = ", ".join(known.__name__.lower() for known in WITH_BLOCK_RATES)
        raise ValueError(
            f"optimizer must be one of {names}, by name or as a Keras optimizer. "
            f"Received: optimizer={shown(optimizer)}"
        )
    given = keras_internals.learning_rate_given(stock)
    if callable(given):
        raise ValueError(
            "optimizer must be made with a number, because its learning rate is not "
            "used: pass the schedule as learning_rate= of "
            "discriminative_learning_rates, or as schedule= of fine_tune. Received: "
            f"optimizer={stock.__class__.__name__} with "
            f"learning_rate={shown(given)}"
        )
    config = stock.get_config() | {"name": stock.name, "learning_rate": learning_rate}
    scaled = WITH_BLOCK_RATES[stock.__class__](
        learning_rate_scales={
            weight.path: scales[block]
            for block in scales
            for layer in blocks[block]
            for weight in layer.weights
        },
        **config,
    )
    keras_internals.copy_decay_exclusions(stock, scaled)
    return scaled


def block_learning_rates(model: keras.Model) -> dict[str, float | None]:
    """Return the current learning rate of each block, `None` if not compiled."""
    blocks = block_layers(keras_model("model", model, built=False))
    optimizer = model.optimizer if model.compiled else None
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    if optimizer is None or isinstance(optimizer, keras.optimizers.MultiOptimizer):
        # Several optimizers have no learning rate in common.
        return dict.fromkeys(blocks)
    rate = float(keras.ops.convert_to_numpy(optimizer.learning_rate))
    scales = getattr(optimizer, "learning_rate_scales", None)
    if scales is None:
        return dict.fromkeys(blocks, rate)
    found = {}
    for block, layers in blocks.items():
        paths = [weight.path for layer in layers for weight in layer.weights]
        scale = next((scales[path] for path in paths if path in scales), None)
        found[block] = scale and rate * scale
    return found


def _checked_rate(learning_rate):
    if isinstance(learning_rate, keras.optimizers.schedules.LearningRateSchedule):
        return learning_rate
    return real_number("learning_rate", learning_rate, above=0)


def _checked_decay(layer_decay) -> float:
    try:
        return real_number("layer_decay", layer_decay, above=0, most=1)
    except ValueError as error:
        raise ValueError(
            "layer_decay must be a number above 0 and at most 1, because earlier "
            f"blocks take smaller steps. Received: layer_decay={shown(layer_decay)}"
        ) from error


def _checked_mapping(rates: Mapping, blocks: list[str]) -> dict[str, float]:
    unknown = [block for block in rates if block not in blocks]
    if unknown or HEAD not in rates:
        raise ValueError(
            f"A mapping of learning rates names blocks of {', '.join(blocks)}, and "
            f"{HEAD} always. Received: learning_rate={dict(rates)}"
        )
    found = {}
    for block, rate in rates.items():
        try:
            found[block] = real_number("learning_rate", rate, above=0)
        except ValueError as error:
            raise ValueError(
                "Each learning rate must be a number above 0; leave a block out to "
                f"keep it frozen. Received: learning_rate[{block!r}]={shown(rate)}"
            ) from error
    return found
