"""The whole recipe of fine-tuning in one call."""

from collections.abc import Mapping, Sequence

import keras

from keras_transfer.backbones.blocks import block_names, check_block, split_at_block
from keras_transfer.classifier.head import fit_head, split_at_head
from keras_transfer.data import pipelines
from keras_transfer.data.augmentation import augmented, checked_augmentation
from keras_transfer.data.mixing import mix, soften
from keras_transfer.data.splits import Splits, checked_splits, train_labels
from keras_transfer.features.extraction import extract_features
from keras_transfer.features.inference import engines
from keras_transfer.features.maps import extract_feature_maps
from keras_transfer.fine_tuning.freezing import freeze, unfreeze
from keras_transfer.fine_tuning.learning_rates import discriminative_learning_rates
from keras_transfer.fine_tuning.prefix import Plan, decide
from keras_transfer.models.best_weights import BestWeights
from keras_transfer.models.blocks import pooled_features
from keras_transfer.models.compiling import (
    ModelState,
    compile_classifier,
    compile_for_soft_labels,
)
from keras_transfer.models.learner import give_back, learner_of
from keras_transfer.models.outputs import classifier_outputs
from keras_transfer.models.precision import fast_dtype
from keras_transfer.models.training_state import TrainingState
from keras_transfer.runtime import arguments
from keras_transfer.runtime.arguments import real_number, shown, whole_number
from keras_transfer.runtime.keras_internals import copy_decay_exclusions
from keras_transfer.runtime.status_lines import say

# Part of the steps in which the learning rate rises from zero.
WARMUP = 0.1
# The callbacks of Keras that set the learning rate.
RATE_CALLBACKS = (
    keras.callbacks.LearningRateScheduler,
    keras.callbacks.ReduceLROnPlateau,
)


def fine_tune(  # noqa: PLR0913
    model: keras.Model,
    splits: Splits,
    epochs: int = 5,
    *,
    freeze_epochs: int = 1,
    from_block: str | None = None,
    learning_rate: float = 1e-4,
    schedule: keras.optimizers.schedules.LearningRateSchedule | str | None = None,
    layer_decay: float = 0.5,
    head_learning_rate: float = 1e-3,
    optimizer: str | keras.optimizers.Optimizer = "adamw",
    augmentation: keras.layers.Layer | None = None,
    mixup: float = 0.0,
    cutmix: float = 0.0,
    label_smoothing: float = 0.0,
    class_weight: Mapping | Sequence[float] | str | None = None,
    train_batch_normalization: bool = False,
    cache_prefix: bool | str = "auto",
    augmented_copies: int = 2,
    dtype: str | None = None,
    engine: str = "auto",
    callbacks: list[keras.callbacks.Callback] | None = None,
    verbose: int | str = "auto",
) -> keras.callbacks.History:
    """Train the head on cached features, then unfreeze and train with falling rates.

    The first stage keeps the backbone frozen and costs one pass over the photos. In
    the second the learning rate warms up over a tenth of the steps, then falls to zero
    along a cosine, and is smaller the nearer a block is to the input. At the end the
    model has the weights of the epoch with the lowest validation loss, those before
    the second stage included.

    After an interruption or an error, the model keeps the weights of the last step.
    What was trainable and how it was compiled is as before the call; a model that was
    not compiled is compiled with a stock optimizer.

    Args:
        model: `keras.Model` from `build_classifier`, or any other functional
            classifier, also one that holds its backbone as a single layer; with one
            sigmoid unit, softmax or logits. It is trained in place, and left compiled
            with a stock optimizer.
        splits: `Splits` with images of the model's input size.
        epochs: Passes over the training photos after those of `freeze_epochs`, from 0.
            Defaults to `5`.
        freeze_epochs: Passes over the cached features before, from 0, which `None` is
            too. Defaults to `1`.
        from_block: First block to train, one of `block_names(model)`. Defaults to all
            blocks.
        learning_rate: Highest rate of the head in the second stage, above 0. With a
            `LearningRateScheduler` or `ReduceLROnPlateau` among the callbacks the rate
            is this one from the first step on, until the callback changes it. Defaults
            to `1e-4`.
        schedule: Keras schedule of the head's rate over the steps of the second stage,
            in place of the warm-up and the cosine up to `learning_rate`. Or
            `"constant"`: the rate is `learning_rate` from the first step on, and
            callbacks of your own may set it. Defaults to none.
        layer_decay: Factor of the rate from each block to the one before it, above 0
            and at most 1. Defaults to `0.5`.
        head_learning_rate: Rate of the first stage (Adam), above 0. Defaults to `1e-3`.
        optimizer: As in `discriminative_learning_rates`. Defaults to `"adamw"`.
        augmentation: Layer from `build_augmentation`, or a list of layers, used in the
            second stage. Defaults to none.
        mixup: Alpha of `keras.layers.MixUp`, or 0 for none. Defaults to `0.0`.
        cutmix: Factor of `keras.layers.CutMix`, or 0 for none. Defaults to `0.0`.
        label_smoothing: Part of each label that is spread over all classes, 0 to below
            1. Defaults to `0.0`.
        class_weight: Weight of each class in the loss, as in `fit_head`; `"auto"` goes
            by the training photos.
        train_batch_normalization: As in `unfreeze`. Defaults to `False`.
        cache_prefix: Whether the blocks before `from_block` are run once and their
            output kept on disk, so that an epoch computes only what is trained.
            `"auto"`: where that saves time and changes no more than an order of
            shuffling, which is then the same in every call, and rounding, of bfloat16
            where `dtype` is that; one line says what was decided, and why. So not with
            augmentation, mixup, cutmix or other random numbers before `from_block`,
            with callbacks that look at the model or save it, with a `splits.train` of
            your own, where it takes over half of the free disk, or where so few epochs
            do not pay. Defaults to `"auto"`.
        augmented_copies: With `cache_prefix=True` and `augmentation`, the number of
            changed versions of each training photo. Defaults to `2`.
        dtype: Precision of what is computed from kept features or maps, as in
            `extract_features`. The precision of the model and of its weights stays.
        engine: What features and maps are computed by, as in `extract_features`.
            Defaults to `"auto"`.
        callbacks: One Keras callback or a list, for the second stage. With
            `cache_prefix=True` their model is the part that is trained, from
            `from_block` on. With `keras.callbacks.BackupAndRestore` a run that was
            killed goes on after its last whole epoch, and ends with the best weights of
            all its epochs, which are kept beside the backup.
        verbose: As in `keras.Model.fit`. Defaults to `"auto"`.

    Returns:
        One `keras.callbacks.History` of both stages. Its `history["stage"]` names the
        stage of each epoch: `"head"` or `"fine-tuning"`.

    Raises:
        ValueError: If an argument is out of its range, or model and data do not fit.

    Example:

    >>> import keras_transfer as kt
    >>> splits = kt.load_dataset("sample_cats_vs_dogs", image_size=64, max_images=36)
    >>> backbone = kt.build_backbone("efficientnet_lite0", image_size=64)
    >>> model = kt.build_classifier(backbone, num_classes=2)
    >>> history = kt.fine_tune(model, splits, epochs=1, from_block="top", verbose=0)
    >>> history.history["stage"]
    ['head', 'fine-tuning']

    Reference:

    - [Howard and Ruder, 2018](https://arxiv.org/abs/1801.06146) (rates by depth)
    - [Loshchilov and Hutter, 2016](https://arxiv.org/abs/1608.03983) (cosine decay)
    - [Zhang et al., 2017](https://arxiv.org/abs/1710.09412) (mixup)
    """
    splits = checked_splits(splits)
    epochs, freeze_epochs = _checked_epochs(epochs, freeze_epochs)
    cache_prefix = _checked_prefix(cache_prefix)
    augmented_copies = arguments.whole_number("augmented_copies", augmented_copies, 1)
    train_batch_normalization = arguments.flag(
        "train_batch_normalization", train_batch_normalization
    )
    _check_stages(
        arguments.keras_model("model", model), splits, from_block, cache_prefix
    )
    mixing = _checked_mixing(mixup, cutmix, label_smoothing, cache_prefix)
    callbacks = arguments.callback_list(callbacks)
    _check_state(callbacks, *mixing[:2])
    learning_rate, head_learning_rate = _checked_rates(
        learning_rate, head_learning_rate, schedule, callbacks
    )
    augmentation = checked_augmentation(augmentation, splits)
    class_weight = arguments.class_weights(
        class_weight,
        len(splits.class_names),
        splits.class_names,
        lambda: train_labels(splits),
    )
    verbose = arguments.verbosity(verbose)
    engines(model, engine)
    # Made before they are needed, because they check rates, optimizer and head.
    _check_parts(model, dtype, (learning_rate, layer_decay, optimizer))
    blocks = block_names(model)
    from_block = from_block or blocks[0]
    if cache_prefix == "auto":
        draws = _draws(*mixing[:2], augmentation, augmented_copies)
        plan = Plan(from_block, epochs, freeze_epochs, callbacks, dtype, draws, engine)
        cache_prefix = decide(model, splits, plan, bool(verbose))
    network, data, histories = model, splits, {}
    before = ModelState(model)
    try:
        freeze(model)
        backbone, _ = split_at_head(model)
        if cache_prefix:
            network, backbone, data = _run_once(
                model,
                blocks[blocks.index(from_block) - 1],
                splits,
                augmentation=augmentation,
                augmented_copies=augmented_copies,
                dtype=dtype,
                engine=engine,
                verbose=bool(verbose),
            )
        if freeze_epochs:
            histories["head"] = _train_head(
                model,
                backbone,
                data,
                settings={"epochs": freeze_epochs, "class_weight": class_weight},
                learning_rate=head_learning_rate,
                dtype=dtype,
                engine=engine,
                verbose=bool(verbose),
            )
        unfreeze(model, from_block, train_batch_normalization=train_batch_normalization)
        if epochs:
            learner = learner_of(network, dtype) if cache_prefix else network
            train = data.train if cache_prefix else augmented(data.train, augmentation)
            rate = _rate(learning_rate, schedule, callbacks, epochs * len(train))
            rates = discriminative_learning_rates(learner, rate, layer_decay, optimizer)
            train, validation = _compiled_for(
                learner, rates, train, data.validation, *mixing
            )
            try:
                histories["fine-tuning"] = _fit_and_keep_best(
                    learner,
                    train,
                    validation,
                    initial_epoch=freeze_epochs,
                    epochs=freeze_epochs + epochs,
                    class_weight=class_weight,
                    callbacks=callbacks,
                    verbose=verbose,
                    drawn=(data.passes, augmentation),
                )
            finally:
                # Also after an interruption, what was learnt so far is in the model.
                give_back(learner, network)
        _compile_with_stock(model, optimizer, learning_rate)
    except BaseException:
        before.put_back()
        if not model.compiled:
            _compile_with_stock(model, optimizer, learning_rate)
        raise
    model.history = _joined(histories)
    return model.history


def _train_head(model, backbone, data, *, settings, learning_rate, **run):
    """Train the head on what a frozen backbone makes of the photos, computed once."""
    if pooled_features(model):
        features = extract_features(backbone, data, **run)
        fit_head(model, features, learning_rate=learning_rate, **settings)
        return model.history
    # A head that takes whole feature maps, such as one that begins with Flatten.
    maps = extract_feature_maps(backbone, data, **run)
    _, head = split_at_head(model)
    compile_classifier(head, keras.optimizers.Adam(learning_rate))
    settings |= {"callbacks": [], "verbose": 0}
    return _fit_and_keep_best(head, maps.train, maps.validation, **settings)


def _run_once(model, last_frozen, splits, **settings):
    """Return what comes after a block as a model, its backbone, and its data."""
    frozen, backbone = split_at_block(split_at_head(model)[0], last_frozen)
    network = split_at_block(model, last_frozen)[1]
    if batch_size := pipelines.batch_size(splits.train):
        settings["batch_size"] = batch_size
    return network, backbone, extract_feature_maps(frozen, splits, **settings)


def _draws(mixup, cutmix, augmentation, augmented_copies) -> str:
    """Return in words what changes the photos anew in each epoch, or nothing."""
    if mixup or cutmix:
        return "mixup and cutmix mix the photos of each batch"
    if augmentation is None:
        return ""
    return (
        "augmentation changes each photo anew in each epoch; cache_prefix=True trains "
        f"on augmented_copies={augmented_copies} changed versions that are kept"
    )


def _rate(learning_rate, schedule, callbacks, steps):
    """Return the rate of the head in the second stage: a number or a schedule."""
    if isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
        return schedule
    sets_rate = any(isinstance(callback, RATE_CALLBACKS) for callback in callbacks)
    if schedule == "constant" or sets_rate:
        return learning_rate
    return _schedule(learning_rate, steps)


def _compiled_for(learner, rates, train, validation, mixup, cutmix, label_smoothing):
    """Compile for the labels that are needed, and return the data with them."""
    if not (mixup or cutmix or label_smoothing):
        compile_classifier(learner, rates)
        return train, validation
    compile_for_soft_labels(learner, rates, label_smoothing)
    units = learner.output_shape[-1]
    return mix(soften(train, units), mixup, cutmix), soften(validation, units)


def _compile_with_stock(model, optimizer, learning_rate) -> None:
    stock = keras.optimizers.get(optimizer)
    config = stock.get_config() | {"learning_rate": learning_rate}
    # The class of a file, which has no rates by depth.
    fresh = stock.__class__.from_config(config)
    copy_decay_exclusions(stock, fresh)
    compile_classifier(model, fresh)


def _schedule(learning_rate: float, steps: int):
    warmup = max(1, round(WARMUP * steps))
    return keras.optimizers.schedules.CosineDecay(
        0.0,
        decay_steps=max(1, steps - warmup),
        warmup_target=learning_rate,
        warmup_steps=warmup,
    )


def _fit_and_keep_best(
    model, train, validation, *, callbacks, verbose, drawn=(), **settings
):
    before = model.evaluate(validation, verbose=0)[0]
    best = BestWeights(before, model.get_weights(), callbacks)
    for state in callbacks:
        if isinstance(state, TrainingState):
            first = state.begin(model, best, *drawn)
            settings["initial_epoch"] = first or settings["initial_epoch"]
    try:
        history = model.fit(
            train,
            validation_data=validation,
            callbacks=[best, *callbacks],
            verbose=verbose,
            shuffle=False,  # The data set shuffles itself.
            **settings,
        )
    except TypeError as error:
        # What Keras says where `optimizer.learning_rate` is set beside a schedule.
        if "created with a `LearningRateSchedule`" not in str(error):
            raise
        names = [type(callback).__name__ for callback in callbacks]
        raise ValueError(
            "A callback sets the learning rate, which follows a schedule. Pass "
            'schedule="constant": the rate is then learning_rate until a callback sets '
            f"it. Received: callbacks={shown(names)}"
        ) from error
    model.set_weights(best.weights)
    if verbose and not best.trained:
        say(
            "No epoch of fine-tuning has a lower validation loss than the model had "
            "before, so it has its earlier weights again."
        )
    return history


def _joined(histories: dict) -> keras.callbacks.History:
    joined = keras.callbacks.History()
    joined.history = {"stage": []}
    for stage, history in histories.items():
        joined.history["stage"] += [stage] * len(history.epoch)
        for name, values in history.history.items():
            joined.history.setdefault(name, []).extend(values)
    joined.epoch = list(range(len(joined.history["stage"])))
    return joined


def _checked_prefix(cache_prefix) -> bool | str:
    if isinstance(cache_prefix, str) and cache_prefix == "auto":
        return cache_prefix
    try:
        return arguments.flag("cache_prefix", cache_prefix)
    except ValueError as error:
        raise ValueError(
            'cache_prefix must be True, False or "auto". '
            f"Received: cache_prefix={shown(cache_prefix)}"
        ) from error


def _checked_epochs(epochs, freeze_epochs) -> tuple[int, int]:
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


def _check_stages(model, splits, from_block, cache_prefix) -> None:
    """Raise an error if blocks, classes or images do not fit."""
    first = block_names(model)[0]
    if from_block is not None:
        check_block(model, from_block, "from_block")
    if cache_prefix is True and from_block in (None, first):
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


def _check_parts(model, dtype, rates: tuple) -> None:
    """Raise an error if precision, optimizer or head do not fit the model."""
    fast_dtype(model, dtype)
    discriminative_learning_rates(model, *rates)
    split_at_head(model)


def _checked_rates(
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


def _check_state(callbacks, mixup, cutmix) -> None:
    """Refuse to go on later with what is drawn by layers that are not kept."""
    if (mixup or cutmix) and any(isinstance(x, TrainingState) for x in callbacks):
        raise ValueError(
            "With a TrainingState, mixup and cutmix must be 0: how they have mixed "
            f"cannot be had again. Received: mixup={mixup}, cutmix={cutmix}"
        )


def _checked_mixing(mixup, cutmix, label_smoothing, cache_prefix) -> tuple:
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
    if cache_prefix is True and (found[0] or found[1]):
        raise ValueError(
            "mixup and cutmix mix images, and cache_prefix=True trains on feature "
            f"maps. Use one or the other. Received: mixup={mixup}, cutmix={cutmix}"
        )
    return found
