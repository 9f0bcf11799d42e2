"""A classifier on a backbone: build it, and train its head on cached features."""

import random
import typing
from collections.abc import Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from keras_transfer.data.splits import Splits
from keras_transfer.features.cache import weight_digests
from keras_transfer.features.extraction import Features, LabeledFeatures
from keras_transfer.models.best_weights import BestWeights
from keras_transfer.models.blocks import cut, map_segments, pooled_features
from keras_transfer.models.compiling import compile_classifier
from keras_transfer.models.learner import learning_alone
from keras_transfer.models.outputs import classifier_outputs
from keras_transfer.runtime import arguments, keras_internals
from keras_transfer.runtime.arguments import shown
from keras_transfer.runtime.devices import device_count

POOLING_NAME = "head_pooling"


def build_classifier(
    backbone: keras.Model,
    num_classes: int,
    *,
    hidden_units: int | None = None,
    dropout: float = 0.2,
    activation: str | None = "softmax",
    share_backbone: bool = False,
) -> keras.Model:
    """Put a classification head on a backbone, in one flat functional model.

    The head is global average pooling, dropout and a dense layer. The classifier has a
    copy of the backbone, with the same names, values and precision of all layers, so
    whatever it learns, the backbone that was given stays as it is. The copy is frozen:
    each of its layers has `trainable = False`, which also keeps BatchNormalization in
    inference mode.

    Args:
        backbone: `keras.Model` from RGB images 0-255 to a feature map.
        num_classes: Number of exclusive classes, at least 2.
        hidden_units: Units of a ReLU layer before the last one; `1024` gives the
            classic head. Defaults to none.
        dropout: Fraction of features dropped in training, 0 to below 1. Defaults to
            `0.2`.
        activation: `"softmax"` for one probability a class, `"sigmoid"` for a single
            unit (two classes only; the probability of the second one), or `None` for
            logits. Defaults to `"softmax"`.
        share_backbone: Whether to use the layers of `backbone` themselves in place of a
            copy. It spares memory and a second or so, for example for many heads on
            one frozen backbone; but then `backbone` is frozen, and what one classifier
            learns changes it and all others that share it. Defaults to `False`.

    Returns:
        An uncompiled `keras.Model` from images to predictions, float32 also under
        mixed precision.

    Raises:
        ValueError: If an argument is out of its range, or the backbone cannot be
            copied.

    Example:

    >>> import keras_transfer as kt
    >>> backbone = kt.build_backbone("vgg16", weights=None, image_size=96)
    >>> kt.build_classifier(backbone, num_classes=5).output_shape
    (None, 5)
    """
    _check_backbone(backbone)
    num_classes, hidden_units, dropout = _checked_head(
        num_classes, hidden_units, dropout, activation
    )
    # One tensor in and one out, also where they were given as a list or dict of one.
    name = backbone.name
    backbone = keras.Model(backbone.inputs[0], backbone.outputs[0], name=name)
    if not arguments.flag("share_backbone", share_backbone):
        backbone = _copy(backbone)
    for layer in backbone.layers:
        layer.trainable = False
    x = keras.layers.GlobalAveragePooling2D(name=POOLING_NAME)(backbone.output)
    if hidden_units:
        x = keras.layers.Dense(hidden_units, activation="relu", name="head_hidden")(x)
    x = keras.layers.Dropout(dropout, name="head_dropout")(x)
    units = 1 if activation == "sigmoid" else num_classes
    outputs = keras.layers.Dense(
        units, activation=activation, dtype="float32", name="head_predictions"
    )(x)
    return keras.Model(backbone.input, outputs, name=f"{name}_classifier")


def fit_head(  # noqa: PLR0913
    model: keras.Model,
    features: Features | LabeledFeatures,
    *,
    epochs: int = 30,
    learning_rate: float = 1e-3,
    batch_size: int = 32,
    class_weight: Mapping | Sequence[float] | str | None = None,
    callbacks: list[keras.callbacks.Callback] | None = None,
    verbose: int | str = 0,
) -> keras.Model:
    """Train the head of a classifier on cached features.

    An epoch takes a moment, because no image passes through the backbone. Where there
    are validation features, the head of the epoch with the lowest validation loss is
    kept. After an interruption the head keeps what it has learnt so far, and the model
    is compiled: as it was before, if it was.

    Args:
        model: `keras.Model` from `build_classifier`, or another functional classifier
            whose head begins with global average pooling, on the backbone that the
            features come from, with the weights that it had then. In a model that
            holds its backbone as a single layer, that is all before the pooling:
            `split_at_block(model, block_names(model)[-1])[0]`.
        features: `Features` from `extract_features`, or a pair of features
            `(count, channels)` and labels to train on all of them: integers
            `(count,)`, also in a column, or one-hot.
        epochs: Passes over the features. Defaults to `30`.
        learning_rate: Of the Adam optimizer, above 0. Defaults to `1e-3`.
        batch_size: Feature vectors in a step. Defaults to `32`.
        class_weight: Weight of each class in the loss: a dict by label, or by class
            name for `Features`, in which classes left out weigh 1; or a list or array
            of one weight a class; or `"auto"`: the training features, divided by the
            classes times the features of this class, so that each class counts the
            same, as scikit-learn's `"balanced"`. A rare class is then found more
            often, and the probabilities no longer follow how common the classes are.
            Defaults to none.
        callbacks: One Keras callback or a list, added to those that this function uses.
            With `keras.callbacks.BackupAndRestore` a run that was killed goes on after
            its last whole epoch, and the best head of all its epochs is kept.
        verbose: As in `keras.Model.fit`. Defaults to `0`.

    Returns:
        The same `model`, compiled, which now predicts from images. Its `history`
        attribute holds the `keras.callbacks.History` of the head.

    Raises:
        ValueError: If the features do not fit the head, or were made by other weights
            than the backbone has now, if a label has no output, or an argument is out
            of its range.

    Example:

    >>> import numpy as np, keras_transfer as kt
    >>> backbone = kt.build_backbone("vgg16", weights=None, image_size=64)
    >>> model = kt.build_classifier(backbone, num_classes=2)
    >>> x, y = np.eye(8, 512, dtype="float32"), np.arange(8) % 2
    >>> model = kt.fit_head(model, (x, y), epochs=2)
    >>> len(model.history.history["loss"])
    2
    """
    head = _head(arguments.keras_model("model", model))
    epochs = arguments.whole_number("epochs", epochs, 1)
    batch_size = arguments.whole_number("batch_size", batch_size, 1)
    learning_rate = arguments.real_number("learning_rate", learning_rate, above=0)
    callbacks = arguments.callback_list(callbacks)
    verbose = arguments.verbosity(verbose)
    num_classes = classifier_outputs(model).num_classes
    parts = {
        name: _checked_features(head, part, num_classes)
        for name, part in _parts(features).items()
    }
    class_weight = arguments.class_weights(
        class_weight,
        num_classes,
        getattr(features, "class_names", None),
        lambda: parts["train"][1],
    )
    if isinstance(features, Features):
        _check_made_by(model, features)
    if not head.trainable_variables:
        raise ValueError(
            "The head is frozen, so nothing can be learnt. Set trainable = True for "
            f"the model and its last layers. Received: model with name={model.name}"
        )
    settings = {"class_weight": class_weight, "callbacks": callbacks}
    settings |= {"epochs": epochs, "verbose": verbose}
    was_compiled, done = model.compiled, False
    learner = head
    try:
        with learning_alone(head) as learner:
            compile_classifier(learner, keras.optimizers.Adam(learning_rate))
            _train(learner, parts, batch_size, **settings)
        done = True
    finally:
        # The head's layers are the model's own, so the model has learnt with it.
        if done or not was_compiled:
            compile_classifier(model, keras.optimizers.Adam(learning_rate))
            model.history = getattr(learner, "history", None)
    return model


def _train(head, parts, batch_size, *, epochs, callbacks, **settings) -> None:
    """Train a compiled head; where there are validation features, keep the best."""
    train, validation = parts["train"], parts.get("validation")
    steps = -(-len(train[0]) // batch_size)
    if device_count() == 1:
        # A step is so small that starting it costs more than computing it. On several
        # devices Keras cannot run more than one at a time.
        head.steps_per_execution = steps
    best = None
    if validation is not None and any(
        isinstance(callback, keras.callbacks.BackupAndRestore) for callback in callbacks
    ):
        # Keras's own memory of the best epoch is lost over a restart.
        best = BestWeights(np.inf, head.get_weights(), callbacks)
        callbacks.insert(0, best)
    elif validation is not None:
        callbacks.append(
            keras.callbacks.EarlyStopping(
                monitor="val_loss", patience=epochs, restore_best_weights=True
            )
        )
    if validation is not None:
        validation = tf.data.Dataset.from_tensor_slices(validation).batch(batch_size)
    head.fit(
        _shuffled(*train, batch_size),
        validation_data=validation,
        epochs=epochs,
        steps_per_epoch=steps,
        shuffle=False,  # The data set shuffles itself.
        callbacks=callbacks,
        **settings,
    )
    if best is not None and best.trained:
        head.set_weights(best.weights)


def _shuffled(features: np.ndarray, labels: np.ndarray, batch_size: int):
    """Return pass after pass over the features, each in an order of its own.

    Of arrays Keras makes data sets that start anew twice in each epoch: 25 ms, which is
    most of what an epoch of a small head takes.
    """
    count = len(features)
    features, labels = tf.convert_to_tensor(features), tf.convert_to_tensor(labels)

    def rows(chosen):
        taken = tf.gather(features, chosen)
        if taken.dtype.is_floating:
            taken = tf.cast(taken, keras.config.floatx())
        return taken, tf.gather(labels, chosen)

    return (
        tf.data.Dataset.range(count).shuffle(count).batch(batch_size).map(rows).repeat()
    )


def backbone_of(model: keras.Model) -> keras.Model:
    """Return the part before the head as a model that shares its layers."""
    return split_at_head(model)[0]


def split_at_head(model: keras.Model) -> tuple[keras.Model, keras.Model]:
    """Cut a classifier behind its last feature map into backbone and head."""
    maps, name = map_segments(model), model.name.removesuffix("_classifier")
    if not maps and pooled_features(model) is not None:
        # What it takes are feature maps already, so it is head from its input on.
        images = model.inputs[0]
        head = keras.Model(images, model.outputs[0], name=f"{name}_head")
        return keras.Model(images, images, name=name), head
    if not maps:
        raise ValueError(
            "Expected a classifier made with build_classifier, or another functional "
            "one with a head behind a feature map (batch, height, width, channels). "
            f"Received: model with name={model.name}"
        )
    return cut(model, maps[-1][-1], (name, f"{name}_head"))


def _head(model: keras.Model) -> keras.Model:
    """Return the part after the pooling as a model that shares its layers."""
    pooling = pooled_features(model)
    if pooling is None:
        raise ValueError(
            "Expected a classifier made with build_classifier, or another functional "
            "one whose head begins with GlobalAveragePooling2D. "
            f"Received: model with name={model.name}"
        )
    return cut(model, pooling, ("pooled", f"{model.name}_head"))[1]


def _copy(network: keras.Model) -> keras.Model:
    """Return a network with layers of its own, and the same values in them."""
    copies, rebuilt = {}, []

    def clone(layer):
        if id(layer) not in copies:
            if isinstance(layer, keras.Sequential):
                new = keras.models.clone_model(layer, clone_function=clone)
            elif isinstance(layer, keras.Model) and getattr(layer, "inputs", None):
                inputs = keras.tree.map_structure(_same_input, layer.input)
                new = keras.models.clone_model(layer, inputs, clone)
            else:
                new = layer.__class__.from_config(layer.get_config())
                rebuilt.append((layer, new))
            copies[id(layer)] = new
        return copies[id(layer)]

    # Whoever sets the seed before gets the same head with and without a copy.
    drawn = random.getstate()
    try:
        with keras_internals.without_random_values():
            copy = clone(network)
        for layer, new in rebuilt:
            if isinstance(layer, keras.Layer):  # Not an operation of keras.ops.
                _copy_values(layer, new)
    except Exception as error:  # A layer's own code may fail in any way.
        raise ValueError(
            "This backbone cannot be copied, because Keras cannot make one of its "
            "layers anew from its get_config. Pass share_backbone=True to use its "
            "layers themselves: then whatever the classifier learns, this backbone "
            f"has learnt. Received: backbone={network.name} ({arguments.reason(error)})"
        ) from error
    finally:
        random.setstate(drawn)
    return copy


def _same_input(tensor):
    """Return an input like this one; Keras copies no more than its shape and type."""
    layer = keras_internals.maker(tensor)
    new = keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=layer.name)
    keras_internals.maker(new).dtype_policy = layer.dtype_policy
    return new


def _copy_values(layer: keras.Layer, new: keras.Layer) -> None:
    for variable, value in zip(new.variables, layer.variables, strict=True):
        variable.assign(value)
        # The name by which snapshots of weights are compared, which also depends on
        # what was around the layer when it was built.
        keras_internals.set_path(variable, value.path)
    for part in keras_internals.flat_layers(new):
        # Such as Normalization's, which computes with what it has noted of its weights.
        if hasattr(part, "finalize_state"):
            part.finalize_state()


def _check_backbone(backbone) -> None:
    arguments.keras_model("backbone", backbone)
    inputs = getattr(backbone, "inputs", None) or ()
    outputs = getattr(backbone, "outputs", None) or ()
    if len(inputs) != 1 or len(outputs) != 1:
        raise ValueError(
            "Expected a backbone with one input and one output, built of Keras layers "
            "as a functional or Sequential model. "
            f"Received: backbone={shown(backbone)} with {len(inputs)} inputs and "
            f"{len(outputs)} outputs that Keras can see"
        )
    shape = outputs[0].shape
    if len(shape) != 4:
        raise ValueError(
            "Expected a backbone whose output is a feature map (batch, height, width, "
            "channels): end it before its pooling and classifying layers, as "
            f"include_top=False does. Received: output_shape={shape}"
        )


def _checked_head(num_classes, hidden_units, dropout, activation) -> tuple:
    arguments.one_of("activation", activation, ("softmax", "sigmoid", None))
    try:
        most = 2 if activation == "sigmoid" else None
        num_classes = arguments.whole_number("num_classes", num_classes, 2, most)
    except ValueError as error:
        raise ValueError(
            "num_classes must be a whole number of at least 2, and exactly 2 with one "
            f"sigmoid unit. Received: num_classes={shown(num_classes)}, "
            f"activation={activation}"
        ) from error
    if hidden_units is not None:
        hidden_units = arguments.whole_number("hidden_units", hidden_units, 1)
    dropout = arguments.real_number("dropout", dropout, least=0, below=1)
    return num_classes, hidden_units, dropout


def _parts(features) -> dict[str, typing.Any]:
    if isinstance(features, Features):
        parts = {"train": features.train, "validation": features.validation}
        return {name: part for name, part in parts.items() if part is not None}
    if isinstance(features, list | tuple) and len(features) == 2:
        return {"train": features}
    hint = ""
    if isinstance(features, Splits):
        hint = " Of Splits, make them: extract_features(backbone, splits)."
    raise ValueError(
        "features must be Features, as extract_features returns them, or a pair of "
        f"arrays (features, labels).{hint} Received: features={shown(features)}"
    )


def _checked_features(head, part, num_classes) -> tuple[np.ndarray, np.ndarray]:
    features, labels = (_array(each) for each in part)
    channels = head.input_shape[-1]
    if (
        features.ndim != 2
        or features.shape[1] != channels
        or features.dtype.kind not in "fiu"
    ):
        raise ValueError(
            f"The head takes features of shape (count, {channels}), from "
            "extract_features with the same backbone. "
            f"Received: features of shape {features.shape}, dtype={features.dtype}"
        )
    found = _integer_labels(labels, num_classes)
    if len(features) == 0 or found is None or found.shape != (len(features),):
        raise ValueError(
            "Expected one integer label for each of at least one feature vector. "
            f"Received: {len(features)} features, labels of shape {labels.shape}, "
            f"dtype={labels.dtype}"
        )
    if np.min(found) < 0 or np.max(found) >= num_classes:
        raise ValueError(
            f"Labels must be integers from 0 to {num_classes - 1}. "
            f"Received: labels from {np.min(found)} to {np.max(found)}"
        )
    return features, found


def _array(values) -> np.ndarray:
    try:
        array = np.asarray(values)
    except (TypeError, ValueError):
        # Such as rows of different lengths.
        array = np.asarray(None)
    # bfloat16, which NumPy does not know for a number.
    return array.astype("float32") if array.dtype.name == "bfloat16" else array


def _integer_labels(labels: np.ndarray, num_classes: int) -> np.ndarray | None:
    """Return labels as whole numbers `(count,)`, or `None` where they are none."""
    if labels.dtype.kind not in "biuf":
        return None
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    elif labels.ndim == 2 and labels.shape[1] == num_classes:
        one_hot = np.isin(labels, (0, 1)).all() and (labels.sum(axis=1) == 1).all()
        return labels.argmax(axis=1) if one_hot else None
    whole = labels.ndim == 1 and np.all(labels == np.floor(labels))
    return labels.astype("int64") if whole else None


def _check_made_by(model: keras.Model, features: Features) -> None:
    if features.made_by is None:
        return
    present = weight_digests(backbone_of(model))
    # A classifier of what the first layers made has only the weights that came after.
    whole = model.input_shape[-1] == 3
    fits = present == features.made_by if whole else present <= features.made_by
    if not fits:
        raise ValueError(
            "These features were made by other weights than the backbone of this "
            "classifier has now: it was fine-tuned since, or they come from another "
            "backbone. Extract them again, with backbone = keras.Model(model.input, "
            f'model.get_layer("{POOLING_NAME}").input). '
            f"Received: features in {features.path}, model with name={model.name}"
        )
