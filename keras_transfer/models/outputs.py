"""What the outputs of a classifier mean: one rule, for everything that reads them.

| units | last activation | meaning |
| --- | --- | --- |
| one | sigmoid | the probability of the second of two classes |
| one | none | its logit |
| one a class | softmax | one probability a class |
| one a class | none | their logits |

Everything else is refused: softmax over a single unit is always 1, and a sigmoid for
each of several classes answers as many questions of yes or no, which are no
probabilities of classes that exclude each other. Where the last activation cannot be
read from the graph, as in a subclassed model, outputs are taken only if they are
probabilities as they stand. Logits that are scaled, as by a temperature, are logits.
"""

import typing
from collections.abc import Callable, Mapping

import keras
import numpy as np
import tensorflow as tf

from keras_transfer.models.graph import Call, calls_back, is_of_keras
from keras_transfer.runtime.arguments import keras_model, reason, shown, texts
from keras_transfer.runtime.keras_internals import Operation, operation_kind

# Layers and operations that change no number, or none in prediction.
PASSING = {
    "ActivityRegularization",
    "AlphaDropout",
    Operation.CAST,
    "Dropout",
    Operation.EXPAND_DIMS,
    "Flatten",
    "GaussianDropout",
    "GaussianNoise",
    "Identity",
    Operation.RESHAPE,
    "SpatialDropout1D",
    "SpatialDropout2D",
    Operation.SQUEEZE,
    Operation.STOP_GRADIENT,
}
# Those that scale, shift or average, such as a temperature does: logits remain logits.
SCALING = {
    Operation.ADD,
    Operation.DIVIDE,
    "GlobalAveragePooling2D",
    Operation.MEAN,
    Operation.MULTIPLY,
    "Rescaling",
    Operation.SUBTRACT,
    Operation.TRUE_DIVIDE,
}
# How far the sum of probabilities in half precision may be from 1.
ROUNDING = 1e-2


class Outputs(typing.NamedTuple):
    """Say what a classifier answers.

    Attributes:
        units: Number of its outputs: one a class, or a single one for two classes.
        activation: `"softmax"`, `"sigmoid"`, `"linear"` (logits), or `None` where it
            cannot be read from the graph.
    """

    units: int
    activation: str | None

    @property
    def num_classes(self) -> int:
        """Number of classes that the outputs tell apart."""
        return max(2, self.units)

    @property
    def logits(self) -> bool:
        """Whether the outputs are logits."""
        return self.activation == "linear"


def classifier_outputs(
    model: keras.Model, units: int | None = None, *, known: bool = False
) -> Outputs:
    """Return what a classifier of exclusive classes answers, or refuse the model.

    Args:
        model: Classifier with one output of shape `(batch, units)`.
        units: Number of its outputs, for a subclassed model, whose shapes Keras does
            not know. Defaults to that of the model.
        known: Whether the last activation must be known. Defaults to `False`.

    Raises:
        ValueError: If the outputs have none of the meanings above.
    """
    keras_model("model", model)
    if units is None:
        shape = getattr(model, "output_shape", None)
        if not isinstance(shape, tuple) or len(shape) != 2 or shape[-1] is None:
            raise ValueError(
                "Expected a classifier with one output of shape (batch, classes), as "
                "build_classifier makes it. "
                f"Received: model={shown(model)} with output_shape={shape}"
            )
        units = shape[-1]
    activation = output_activation(model)
    if activation is None and not known:
        return Outputs(units, None)
    if activation not in ("linear", "sigmoid" if units == 1 else "softmax"):
        why = {
            "sigmoid": "A sigmoid for each of several classes answers yes or no to "
            "each of them, and its outputs do not sum to 1. ",
            "softmax": "Softmax over a single unit is always 1. ",
            None: "The last activation cannot be read from the graph of this model. ",
        }.get(activation, "")
        raise ValueError(
            "Expected a classifier that ends in one sigmoid unit, softmax or logits, "
            f"for classes that exclude each other, as build_classifier makes it. {why}"
            f"Received: {units} units, activation={activation}"
        )
    return Outputs(units, activation)


def knows_shapes(model: keras.Model) -> bool:
    """Return whether Keras knows the shapes of a model, as of no subclassed one."""
    return getattr(model, "output_shape", None) is not None


def asked_outputs(
    model: keras.Model, ask: Callable[[], typing.Any], received: str
) -> Outputs:
    """Return what a classifier answers; one of unknown shapes is asked.

    Args:
        model: As in `classifier_outputs`.
        ask: Calls the model, and returns its outputs or what is known of them.
        received: What it is called on, for the error.

    Raises:
        ValueError: If it cannot be called, or its outputs have none of the meanings.
    """
    if knows_shapes(model):
        return classifier_outputs(model)
    try:
        outputs = ask()
    except Exception as error:
        raise ValueError(
            f"The model cannot be called on such images ({reason(error)}). "
            f"Received: model={shown(model)}, {received}"
        ) from error
    shape = tf.TensorShape(only_output(outputs).shape)
    if shape.rank != 2:
        raise ValueError(
            "Expected a classifier with one output of shape (batch, classes). "
            f"Received: model={shown(model)}, with outputs of shape {shape}"
        )
    return classifier_outputs(model, shape[-1])


def checked_class_names(
    class_names: typing.Any, num_classes: int, name: str = "class_names"
) -> tuple[str, ...]:
    """Return one name for each class, all of them different, as a tuple."""
    names = texts(name, class_names)
    if len(names) != num_classes:
        raise ValueError(
            f"The model has {num_classes} classes, so as many class names are needed. "
            f"Received: {name}={shown(list(names))}"
        )
    if len(set(names)) < len(names):
        raise ValueError(
            "Each class needs a name of its own, because predictions name it. "
            f"Received: {name}={shown(list(names))}"
        )
    return names


def only_output(outputs: typing.Any) -> typing.Any:
    """Return the one tensor that a model answered with, also out of a list or dict."""
    tensors = keras.tree.flatten(outputs)
    if len(tensors) != 1:
        raise ValueError(
            "Expected a model with one output of shape (batch, classes), as "
            f"build_classifier makes it. Received: {len(tensors)} outputs"
        )
    return tensors[0]


def class_probabilities(model: keras.Model, outputs: np.ndarray) -> np.ndarray:
    """Turn a classifier's outputs into one probability a class.

    Args:
        model: Classifier that ends in one sigmoid unit, softmax or logits.
        outputs: Its outputs, of shape `(count, units)`.

    Returns:
        float32 array of shape `(count, num_classes)`; the rows sum to 1.

    Raises:
        ValueError: If the model answers in another way, such as by a sigmoid for each
            of several classes, or the outputs are not of its shape.

    Example:

    >>> import numpy as np, keras_transfer as kt
    >>> backbone = kt.build_backbone("vgg16", weights=None, image_size=64)
    >>> model = kt.build_classifier(backbone, num_classes=2, activation="sigmoid")
    >>> kt.class_probabilities(model, np.array([[0.25]]))
    array([[0.75, 0.25]], dtype=float32)
    """
    keras_model("model", model)
    try:
        if isinstance(outputs, Mapping):
            outputs = only_output(outputs)
        values = as_array(outputs)
    except Exception as error:  # Of text, it is one of TensorFlow's own.
        raise ValueError(
            "Expected outputs of shape (count, units), as model.predict returns them. "
            f"Received: outputs={shown(outputs)}"
        ) from error
    shape = getattr(model, "output_shape", None)
    units = shape[-1] if isinstance(shape, tuple) and shape else None
    if values.ndim != 2 or units not in (None, values.shape[1]):
        raise ValueError(
            f"Expected outputs of shape (count, {units or 'units'}), as model.predict "
            f"returns them. Received: outputs of shape {values.shape}"
        )
    meaning = classifier_outputs(model, values.shape[1])
    if meaning.activation is None and not _are_probabilities(values):
        raise ValueError(
            "The last activation cannot be read from the graph of this model, and its "
            "outputs are no probabilities that sum to 1. End it with a layer such as "
            "Dense(classes, activation='softmax') or keras.layers.Softmax(). "
            f"Received: model={shown(model)}, outputs from {values.min():.4g} to "
            f"{values.max():.4g}"
        )
    # Where it is not known, the numbers have just been found to be probabilities.
    return class_scores(values, meaning.activation or "softmax")


def class_scores(outputs: np.ndarray, activation: str | None) -> np.ndarray:
    """Return outputs with one column a class; probabilities, where they can be."""
    logits = activation == "linear"
    if activation is None:
        # Then the numbers must tell whether they are probabilities.
        logits = not np.all((outputs >= 0) & (outputs <= 1))
    if outputs.shape[1] == 1:
        second = outputs
        if logits:
            second = as_array(keras.ops.sigmoid(outputs))
        return np.concatenate([1 - second, second], axis=1)
    if logits:
        return as_array(keras.ops.softmax(outputs))
    return outputs


def as_array(tensor) -> np.ndarray:
    """Return a float32 array."""
    return keras.ops.convert_to_numpy(keras.ops.cast(tensor, "float32"))


def output_activation(model: keras.Model) -> str | None:
    """Return the activation of the last layer, or `None` where it cannot be known.

    One of `"softmax"`, `"sigmoid"`, `"linear"` or the name of another one.
    """
    scaled = False
    for call in calls_back(model):
        if passes(call):
            continue
        name = operation_kind(call.layer)
        if name in SCALING and is_of_keras(call.layer):
            scaled = True
            continue
        activation = activation_name(call.layer)
        # Of anything but logits, what was scaled is no longer what it was.
        return activation if not scaled or activation == "linear" else None
    return None


def passes(call: Call) -> bool:
    """Return whether a call changes no number in prediction."""
    layer = call.layer
    if isinstance(layer, keras.layers.Activation):
        # Such as the float32 activation that ends a model of mixed precision.
        return activation_name(layer) == "linear"
    # Where places are flattened together, there is not one number a class.
    places = call.node.input_tensors[0].shape[1:-1]
    known = operation_kind(layer) in PASSING and is_of_keras(layer)
    return known and all(side == 1 for side in places)


def activation_name(layer: keras.Operation) -> str | None:
    """Return the activation at the end of one layer or operation, where it is known."""
    if isinstance(layer, keras.Model):
        return None
    if hasattr(layer, "activation"):
        activation = layer.activation
        if isinstance(activation, keras.layers.Layer):
            return activation_name(activation)
        # A function of one's own may have the name of Keras's and do something else.
        if not is_of_keras(activation):
            return None
        return getattr(activation, "__name__", None)
    # A layer of its own, or an operation such as keras.ops.softmax.
    name = operation_kind(layer).lower()
    return name if hasattr(keras.activations, name) and is_of_keras(layer) else None


def _are_probabilities(values: np.ndarray) -> bool:
    # What is not finite is for somebody else to say.
    values = values[np.isfinite(values).all(axis=1)]
    within = np.all((values >= 0) & (values <= 1))
    sums = values.sum(axis=1)
    return bool(within and (values.shape[1] == 1 or np.allclose(sums, 1, 0, ROUNDING)))
