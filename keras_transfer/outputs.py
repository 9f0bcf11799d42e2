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
probabilities as they stand.
"""

import typing

import keras
import numpy as np

from keras_transfer.arguments import shown
from keras_transfer.network_graph import calls

# Layers that change no number, or none in prediction.
PASSING = (
    keras.layers.Identity,
    keras.layers.Flatten,
    keras.layers.Reshape,
    keras.layers.Dropout,
)
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
        raise ValueError(
            "Expected a classifier that ends in one sigmoid unit, softmax or logits, "
            "for classes that exclude each other, as build_classifier makes it. "
            f"Received: {units} units, activation={activation}"
        )
    return Outputs(units, activation)


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
    try:
        values = as_array(outputs)
    except (TypeError, ValueError) as error:
        raise ValueError(
            "Expected outputs of shape (count, units), as model.predict returns them. "
            f"Received: outputs={shown(outputs)}"
        ) from error
    units = (getattr(model, "output_shape", None) or values.shape)[-1]
    if values.ndim != 2 or values.shape[1] != units:
        raise ValueError(
            f"Expected outputs of shape (count, {units}), as model.predict returns "
            f"them. Received: outputs of shape {values.shape}"
        )
    meaning = classifier_outputs(model, units)
    if meaning.activation is None and not _are_probabilities(values):
        raise ValueError(
            "The last activation cannot be read from the graph of this model, and its "
            "outputs are no probabilities that sum to 1. End it with a layer such as "
            "Dense(classes, activation='softmax') or keras.layers.Softmax(). "
            f"Received: model={shown(model)}, outputs from {values.min():.4g} to "
            f"{values.max():.4g}"
        )
    return class_scores(values, meaning.activation)


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
    for call in reversed([*calls(model)]):
        layer = call.layer
        if isinstance(layer, (keras.Model, *PASSING)):
            continue
        if isinstance(layer, keras.layers.Activation | keras.layers.Softmax):
            # Such as the float32 activation that ends a model of mixed precision.
            name = _activation(layer)
            if name != "linear":
                return name
            continue
        return _activation(layer)
    return None


def _activation(layer) -> str | None:
    if hasattr(layer, "activation"):
        try:
            name = keras.activations.serialize(layer.activation)
        except ValueError:  # A function of one's own, which nothing is known of.
            return None
        return name if isinstance(name, str) else None
    # A layer, or an operation such as keras.ops.softmax.
    name = type(layer).__name__.lower()
    return name if name in ("softmax", "sigmoid") else None


def _are_probabilities(values: np.ndarray) -> bool:
    within = np.all((values >= 0) & (values <= 1))
    sums = values.sum(axis=1)
    return bool(within and (values.shape[1] == 1 or np.allclose(sums, 1, 0, ROUNDING)))
