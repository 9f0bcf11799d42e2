"""A classifier on a backbone: build it, and train its head on cached features."""

import keras
import numpy as np

from keras_transfer.devices import device_count
from keras_transfer.features import Features, LabeledFeatures
from keras_transfer.outputs import classifier_outputs

POOLING_NAME = "head_pooling"


def build_classifier(
    backbone: keras.Model,
    num_classes: int,
    *,
    hidden_units: int | None = None,
    dropout: float = 0.2,
    activation: str | None = "softmax",
) -> keras.Model:
    """Put a classification head on a backbone, in one flat functional model.

    The head is global average pooling, dropout and a dense layer. The backbone is
    frozen: each of its layers has `trainable = False`, which also keeps
    BatchNormalization in inference mode.

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

    Returns:
        An uncompiled `keras.Model` from images to predictions, float32 also under
        mixed precision.

    Raises:
        ValueError: If an argument is out of its range.

    Example:

    >>> import keras_transfer as kt
    >>> backbone = kt.build_backbone("vgg16", weights=None, image_size=96)
    >>> kt.build_classifier(backbone, num_classes=5).output_shape
    (None, 5)
    """
    _check(backbone, num_classes, hidden_units, dropout, activation)
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
    return keras.Model(backbone.input, outputs, name=f"{backbone.name}_classifier")


def compile_classifier(
    model: keras.Model, optimizer: keras.optimizers.Optimizer | str
) -> None:
    """Compile with the loss and the accuracy that fit the model's last layer.

    Args:
        model: Classifier with one sigmoid unit, softmax or logits, for integer labels.
        optimizer: A Keras optimizer or its name.

    Example:

    >>> import keras, keras_transfer as kt
    >>> backbone = kt.build_backbone("vgg16", weights=None, image_size=96)
    >>> model = kt.build_classifier(backbone, num_classes=2, activation=None)
    >>> kt.compile_classifier(model, keras.optimizers.Adam(1e-3))
    """
    outputs = classifier_outputs(model, known=True)
    if outputs.units == 1:
        loss = keras.losses.BinaryCrossentropy(from_logits=outputs.logits)
        accuracy = keras.metrics.BinaryAccuracy(
            name="accuracy", threshold=0.0 if outputs.logits else 0.5
        )
    else:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=outputs.logits)
        accuracy = keras.metrics.SparseCategoricalAccuracy(name="accuracy")
    # XLA takes seconds to compile and, on a CPU, gains nothing for these models.
    model.compile(optimizer=optimizer, loss=loss, metrics=[accuracy], jit_compile=False)
    # Built here, so that a model saved before its first step loads without a warning.
    model.optimizer.build(model.trainable_variables)


def fit_head(
    model: keras.Model,
    features: Features | LabeledFeatures,
    *,
    epochs: int = 30,
    learning_rate: float = 1e-3,
    batch_size: int = 32,
    class_weight: dict[int, float] | None = None,
    callbacks: list[keras.callbacks.Callback] | None = None,
    verbose: int | str = 0,
) -> keras.Model:
    """Train the head of a classifier on cached features.

    An epoch takes a moment, because no image passes through the backbone. Where there
    are validation features, the head of the epoch with the lowest validation loss is
    kept.

    Args:
        model: `keras.Model` from `build_classifier`, on the backbone that the features
            come from.
        features: `Features` from `extract_features`, or a pair of features
            `(count, channels)` and integer labels `(count,)` to train on all of them.
        epochs: Passes over the features. Defaults to `30`.
        learning_rate: Of the Adam optimizer, above 0. Defaults to `1e-3`.
        batch_size: Feature vectors in a step. Defaults to `32`.
        class_weight: Weight of each label in the loss, as in `keras.Model.fit`.
        callbacks: Keras callbacks, added to those that this function uses.
        verbose: As in `keras.Model.fit`. Defaults to `0`.

    Returns:
        The same `model`, compiled, which now predicts from images. Its `history`
        attribute holds the `keras.callbacks.History` of the head.

    Raises:
        ValueError: If the features do not fit the head, a label has no output, or a
            number is out of its range.

    Example:

    >>> import numpy as np, keras_transfer as kt
    >>> backbone = kt.build_backbone("vgg16", weights=None, image_size=64)
    >>> model = kt.build_classifier(backbone, num_classes=2)
    >>> x, y = np.eye(8, 512, dtype="float32"), np.arange(8) % 2
    >>> model = kt.fit_head(model, (x, y), epochs=2)
    >>> len(model.history.history["loss"])
    2
    """
    for name, value in {"epochs": epochs, "batch_size": batch_size}.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1. Received: {name}={value}")
    if learning_rate <= 0:
        raise ValueError(
            f"learning_rate must be above 0. Received: learning_rate={learning_rate}"
        )
    head = _head(model)
    parts = {"train": features}
    if isinstance(features, Features):
        parts = {"train": features.train, "validation": features.validation}
    for part in parts.values():
        _check_features(head, *part)
    train, validation = parts["train"], parts.get("validation")
    compile_classifier(head, keras.optimizers.Adam(learning_rate))
    if device_count() == 1:
        # A step is so small that starting it costs more than computing it. On several
        # devices Keras cannot run more than one at a time.
        head.steps_per_execution = -(-len(train[0]) // batch_size)
    callbacks = list(callbacks or [])
    if validation is not None:
        callbacks.append(
            keras.callbacks.EarlyStopping(
                monitor="val_loss", patience=epochs, restore_best_weights=True
            )
        )
    history = head.fit(
        np.asarray(train[0]),
        np.asarray(train[1]),
        validation_data=validation and tuple(np.asarray(a) for a in validation),
        epochs=epochs,
        batch_size=batch_size,
        class_weight=class_weight,
        callbacks=callbacks,
        verbose=verbose,
    )
    # The head's layers are the model's own, so the model has learnt with it.
    compile_classifier(model, keras.optimizers.Adam(learning_rate))
    model.history = history
    return model


def backbone_of(model: keras.Model) -> keras.Model:
    """Return the part before the head as a model that shares its layers."""
    _head(model)
    output = model.get_layer(POOLING_NAME).input
    name = model.name.removesuffix("_classifier")
    return keras.Model(model.input, output, name=name)


def _head(model: keras.Model) -> keras.Model:
    """Return the part after the pooling as a model that shares its layers."""
    if POOLING_NAME not in {layer.name for layer in model.layers}:
        raise ValueError(
            "Expected a classifier made with build_classifier. "
            f"Received: model with name={model.name}"
        )
    return keras.Model(model.get_layer(POOLING_NAME).output, model.output)


def _check(backbone, num_classes, hidden_units, dropout, activation) -> None:
    if len(backbone.output_shape) != 4:
        raise ValueError(
            "Expected a backbone whose output is a feature map. "
            f"Received: output_shape={backbone.output_shape}"
        )
    if activation not in ("softmax", "sigmoid", None):
        raise ValueError(
            "activation must be softmax, sigmoid or None. "
            f"Received: activation={activation}"
        )
    if num_classes < 2 or (activation == "sigmoid" and num_classes != 2):
        raise ValueError(
            "num_classes must be at least 2, and exactly 2 with one sigmoid unit. "
            f"Received: num_classes={num_classes}, activation={activation}"
        )
    if hidden_units is not None and hidden_units < 1:
        raise ValueError(
            "hidden_units must be at least 1, or None for no hidden layer. "
            f"Received: hidden_units={hidden_units}"
        )
    if not 0 <= dropout < 1:
        raise ValueError(
            f"dropout must be from 0 to below 1. Received: dropout={dropout}"
        )


def _check_features(head, features, labels) -> None:
    if np.ndim(features) != 2 or np.shape(features)[1] != head.input_shape[-1]:
        raise ValueError(
            f"The head takes features of shape (count, {head.input_shape[-1]}), from "
            "extract_features with the same backbone. "
            f"Received: features of shape {np.shape(features)}"
        )
    if len(features) == 0 or np.shape(labels) != (len(features),):
        raise ValueError(
            "Expected one integer label for each of at least one feature vector. "
            f"Received: {len(features)} features, labels of shape {np.shape(labels)}"
        )
    num_classes = max(2, head.output_shape[-1])
    if np.min(labels) < 0 or np.max(labels) >= num_classes:
        raise ValueError(
            f"Labels must be integers from 0 to {num_classes - 1}. "
            f"Received: labels from {np.min(labels)} to {np.max(labels)}"
        )
