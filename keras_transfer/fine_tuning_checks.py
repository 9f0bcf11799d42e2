"""What `fine_tune` refuses before its first step."""

import keras

from keras_transfer.backbones.blocks import block_names, check_block
from keras_transfer.models.outputs import classifier_outputs
from keras_transfer.runtime.arguments import real_number, shown, whole_number

# The callbacks of Keras that set the learning rate.
RATE_CALLBACKS = (
    keras.callbacks.LearningRateScheduler,
    keras.callbacks.ReduceLROnPlateau,
)


def checked_epochs(epochs, freeze_epochs) -> tuple[int, int]:
    """Return both numbers of epochs; `None` is none."""
    found = {}
    for name, value in {"epochs": epochs, "freeze_epochs": freeze_epochs}.items():
        try:
            found[name] = 0 if value is None else whole_number(name, value, 0)
        except ValueError as error:
            raise ValueError(
                "epochs and freeze_epochs must be whole numbers from 0, and not both "
                f"0. Received: {name}={shown(value)}"
            ) from error
    if not any(found.values()):
        raise ValueError(
            "epochs and freeze_epochs must be whole numbers from 0, and not both 0. "
            f"Received: epochs={epochs}, freeze_epochs={freeze_epochs}"
        )
    return found["epochs"], found["freeze_epochs"]


def check_stages(model, splits, from_block, cache_prefix) -> None:
    """Raise an error if blocks, classes or images do not fit."""
    first = block_names(model)[0]
    if from_block is not None:
        check_block(model, from_block, "from_block")
    if cache_prefix and from_block in (None, first):
        raise ValueError(
            "cache_prefix=True keeps the output of the blocks before from_block, so "
            f"from_block must be one after {first}. Received: from_block={from_block}"
        )
    classes = classifier_outputs(model, known=True).num_classes
    if len(splits.class_names) != classes:
        raise ValueError(
            f"The model has {classes} classes, the data {len(splits.class_names)}. "
            "Build the classifier with num_classes=len(splits.class_names). "
            f"Received: class_names={splits.class_names}"
        )
    images = splits.train.element_spec[0].shape
    if not images.is_compatible_with(model.input_shape):
        raise ValueError(
            f"The images are of shape {tuple(images[1:])}, the model takes another "
            f"one. Build its backbone with image_size={images[1]}. "
            f"Received: input_shape={model.input_shape}"
        )


def checked_rates(
    learning_rate, head_learning_rate, schedule, callbacks
) -> tuple[float, float]:
    """Return both rates, if only one thing sets the rate of the second stage."""
    schedules = keras.optimizers.schedules.LearningRateSchedule
    found = {}
    rates = {"learning_rate": learning_rate, "head_learning_rate": head_learning_rate}
    for name, rate in rates.items():
        try:
            found[name] = real_number(name, rate, above=0)
        except ValueError as error:
            raise ValueError(
                "Learning rates of fine_tune are numbers above 0; a Keras schedule is "
                f"passed as schedule. Received: {name}={shown(rate)}"
            ) from error
    constant = isinstance(schedule, str) and schedule == "constant"
    if schedule is not None and not constant and not isinstance(schedule, schedules):
        raise ValueError(
            "schedule must be a Keras schedule, such as "
            "keras.optimizers.schedules.ExponentialDecay(1e-4, 100, 0.9), "
            '"constant", or None. For a function of the epoch, pass callbacks='
            "keras.callbacks.LearningRateScheduler(function). "
            f"Received: schedule={shown(schedule)}"
        )
    setters = [type(x).__name__ for x in callbacks if isinstance(x, RATE_CALLBACKS)]
    if isinstance(schedule, schedules) and setters:
        raise ValueError(
            "Both schedule and a callback would set the learning rate. Leave one out. "
            f"Received: schedule={type(schedule).__name__}, {setters[0]} in callbacks"
        )
    return found["learning_rate"], found["head_learning_rate"]


def checked_mixing(mixup, cutmix, label_smoothing, cache_prefix) -> tuple:
    """Return how photos and labels are mixed, if they can be mixed like this."""
    try:
        found = (
            real_number("mixup", mixup, least=0),
            real_number("cutmix", cutmix, least=0, most=1),
            real_number("label_smoothing", label_smoothing, least=0, below=1),
        )
    except ValueError as error:
        raise ValueError(
            "mixup must be at least 0, cutmix from 0 to 1, label_smoothing from 0 to "
            f"below 1. Received: mixup={shown(mixup)}, cutmix={shown(cutmix)}, "
            f"label_smoothing={shown(label_smoothing)}"
        ) from error
    if cache_prefix and (found[0] or found[1]):
        raise ValueError(
            "mixup and cutmix mix images, and cache_prefix=True trains on feature "
            f"maps. Use one or the other. Received: mixup={mixup}, cutmix={cutmix}"
        )
    return found
