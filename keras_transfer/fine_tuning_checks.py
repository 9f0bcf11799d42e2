"""What `fine_tune` refuses before its first step."""

import numbers

import keras

from keras_transfer.blocks import block_names, check_block


def check_stages(
    model, splits, epochs, freeze_epochs, from_block, cache_prefix
) -> None:
    """Raise an error if stages, blocks or classes do not fit."""
    first = block_names(model)[0]
    for name, value in {"epochs": epochs, "freeze_epochs": freeze_epochs}.items():
        if not isinstance(value, int) or value < 0 or epochs + freeze_epochs == 0:
            raise ValueError(
                "epochs and freeze_epochs must be whole numbers from 0, and not both "
                f"0. Received: {name}={value}"
            )
    if from_block is not None:
        check_block(model, from_block, "from_block")
    if cache_prefix and from_block in (None, first):
        raise ValueError(
            "cache_prefix=True keeps the output of the blocks before from_block, so "
            f"from_block must be one after {first}. Received: from_block={from_block}"
        )
    classes = max(2, model.output_shape[-1])
    if len(splits.class_names) != classes:
        raise ValueError(
            f"The model has {classes} classes, the data {len(splits.class_names)}. "
            "Build the classifier with num_classes=len(splits.class_names). "
            f"Received: class_names={splits.class_names}"
        )


def check_rates(learning_rate, head_learning_rate, callbacks) -> None:
    """Raise an error if a rate is no number above 0, or a callback would set it."""
    for rate in (learning_rate, head_learning_rate):
        if not isinstance(rate, numbers.Real) or not rate > 0:
            raise ValueError(
                "Learning rates of fine_tune are numbers above 0; it makes the "
                f"schedule itself. Received: learning_rate={learning_rate}, "
                f"head_learning_rate={head_learning_rate}"
            )
    setters = (
        keras.callbacks.LearningRateScheduler,
        keras.callbacks.ReduceLROnPlateau,
    )
    for callback in callbacks or ():
        if isinstance(callback, setters):
            raise ValueError(
                "fine_tune sets the learning rate by a schedule of its own. Leave this "
                "callback out, or use unfreeze and fit. "
                f"Received: {type(callback).__name__} in callbacks"
            )


def check_mixing(mixup, cutmix, label_smoothing, cache_prefix) -> None:
    """Raise an error if photos or labels cannot be mixed like this."""
    if mixup < 0 or not 0 <= cutmix <= 1 or not 0 <= label_smoothing < 1:
        raise ValueError(
            "mixup must be at least 0, cutmix from 0 to 1, label_smoothing from 0 to "
            f"below 1. Received: mixup={mixup}, cutmix={cutmix}, "
            f"label_smoothing={label_smoothing}"
        )
    if cache_prefix and (mixup or cutmix):
        raise ValueError(
            "mixup and cutmix mix images, and cache_prefix=True trains on feature "
            f"maps. Use one or the other. Received: mixup={mixup}, cutmix={cutmix}"
        )
