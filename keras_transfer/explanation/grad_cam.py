"""Show which part of an image speaks for a class: Grad-CAM."""

import contextlib
import random
import typing
from collections.abc import Callable, Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf

from keras_transfer.backbones.blocks import find_blocks
from keras_transfer.classifier.head import POOLING_NAME
from keras_transfer.models.graph import (
    Call,
    as_graph,
    calls,
    calls_back,
    image_shape,
    source,
)
from keras_transfer.models.outputs import (
    classifier_outputs,
    only_output,
    output_activation,
    passes,
)
from keras_transfer.models.precision import float32_copy
from keras_transfer.runtime.arguments import keras_model, shown
from keras_transfer.runtime.keras_internals import maker

# As many took 0.3 to 0.65 GiB with ResNet50 and VGG16 at 224 px.
BATCH_SIZE = 16
PREDICTED = -1


def grad_cam(
    model: keras.Model,
    images: np.ndarray,
    class_index: int | Sequence[int] | None = None,
    layer: str | keras.layers.Layer | None = None,
) -> np.ndarray:
    """Map how much each part of an image speaks for a class.

    The channels of a feature map are added up, each weighted with the mean gradient of
    the class's logit with respect to it. What speaks against the class counts as
    nothing. Each map is divided by its own peak, so two maps show where the evidence
    is, not which image has more of it.

    The model is not changed, and layers may be frozen. Models of mixed precision are
    explained in float32, in which small gradients do not vanish.

    Args:
        model: `keras.Model` from `build_classifier`, also one that was fine-tuned or
            loaded, or any other functional classifier that ends in softmax, one sigmoid
            unit or logits, also one that holds its backbone as a single layer.
        images: Images of shape `(count, height, width, 3)`, RGB, 0 to 255, of the
            model's input size.
        class_index: Class to explain, from 0, for all images or one for each. With one
            sigmoid unit, `1` is the class that it gives the probability of, and `0`
            the other one. Defaults to the predicted class of each image.
        layer: Block of `block_names(model)` or layer, or its name, whose output is the
            feature map; also of a model in the model. An earlier one is finer and
            knows less of the class. Defaults to the last feature map, which the head
            averages.

    Returns:
        float32 array of shape `(count, height, width)`, 0 to 1; all zeros where
        nothing in an image speaks for the class.

    Raises:
        ValueError: If the model is no classifier of images or has no such layer, or
            the images or classes do not fit it.

    Example:

    >>> import numpy as np, keras_transfer as kt
    >>> backbone = kt.build_backbone("vgg16", weights=None, image_size=64)
    >>> model = kt.build_classifier(backbone, num_classes=2)
    >>> kt.grad_cam(model, np.zeros((3, 64, 64, 3)), class_index=1).shape
    (3, 64, 64)

    Reference:

    - [Selvaraju et al., 2016](https://arxiv.org/abs/1610.02391)
    """
    num_classes = _checked_classes(model)
    images = _checked_images(model, images)
    classes = _classes(class_index, len(images), num_classes)
    explain = explainer(model, images.shape[1:], layer)
    maps = np.zeros(images.shape[:3], "float32")
    for start in range(0, len(images), BATCH_SIZE):
        part = slice(start, start + BATCH_SIZE)
        maps[part] = explain(images[part].astype("float32"), classes[part])
    return maps


def explainer(
    model: keras.Model,
    shape: tuple[int, int, int],
    layer: str | keras.layers.Layer | None = None,
) -> Callable:
    """Return what `grad_cam` runs, for those who explain many times.

    Args:
        model: A model that `grad_cam` takes.
        shape: Shape of an image.
        layer: As in `grad_cam`. Defaults to the last feature map.

    Returns:
        A function from float32 images and the int32 class of each to a tensor of maps.

    Raises:
        ValueError: If the model is no classifier of images or has no such layer.
    """
    _checked_classes(model)
    return _compiled(model, _feature_map(model, layer), shape)


class _Place(typing.NamedTuple):
    """Name a tensor of a graph: what goes into a layer, or comes out of it.

    Attributes:
        path: Names of the models in the model that hold the layer, and its own.
        incoming: Whether it is the layer's input.
    """

    path: tuple[str, ...]
    incoming: bool = False


def _place(call: Call, *, incoming: bool = False) -> _Place:
    models = tuple(node.operation.name for node in call.outer)
    return _Place((*models, call.layer.name), incoming)


def _compiled(model, place: _Place, image_size: tuple[int, int, int]) -> Callable:
    """Return a function from images and their classes to maps, as one graph.

    A graph frees what no gradient needs while it runs: all of the backbone before the
    feature map.
    """
    drawn = random.getstate()
    network = float32_copy(model)
    random.setstate(drawn)  # Of a layer such as dropout, a copy draws a seed.

    @tf.function(
        input_signature=[
            tf.TensorSpec((None, *image_size), tf.float32),
            tf.TensorSpec((None,), tf.int32),
        ],
        autograph=False,
    )
    def explain(images, classes):
        # Watched while the graph is made, and never again: what lies inside of a model
        # in the model cannot be an output of another `keras.Model`.
        with _watched(network, place) as features, _answering_logits(network):
            logits = only_output(network(images, training=False))
        if logits.shape[-1] == 1:
            logits = tf.concat([-logits, logits], axis=-1)
        predicted = tf.argmax(logits, axis=-1, output_type=tf.int32)
        classes = tf.where(classes == PREDICTED, predicted, classes)
        score = tf.reduce_sum(tf.gather(logits, classes, axis=1, batch_dims=1))
        # Not a GradientTape, which follows nothing when all variables are frozen.
        (gradient,) = tf.gradients(score, features[-1])
        if gradient is None:
            raise ValueError(
                "The classes do not depend on this layer, so it explains none of them. "
                f"Name one that leads to the output. Received: layer={place.path[-1]}"
            )
        weights = tf.reduce_mean(gradient, axis=(1, 2), keepdims=True)
        maps = tf.reduce_sum(weights * features[-1], axis=-1, keepdims=True)
        maps = tf.image.resize(tf.nn.relu(maps), image_size[:2])
        peaks = tf.reduce_max(maps, axis=(1, 2, 3), keepdims=True)
        return tf.math.divide_no_nan(maps, peaks)[..., 0]

    return explain


@contextlib.contextmanager
def _watched(model: keras.Model, place: _Place) -> Iterator[list]:
    """Yield a list that gets the tensor at a place at each call of its layer."""
    layer = model
    for name in place.path:
        layer = next(x for x in as_graph(layer).operations if x.name == name)
    call, seen = layer.call, []

    def watched(*args, **kwargs):
        outputs = call(*args, **kwargs)
        tensors = keras.tree.flatten((args, kwargs) if place.incoming else outputs)
        seen.append(tensors[0])
        return outputs

    layer.call = watched
    try:
        yield seen
    finally:
        del layer.call


@contextlib.contextmanager
def _answering_logits(model: keras.Model) -> Iterator[None]:
    """Leave out the last activation while the block runs.

    The probability of a sure prediction hardly changes, so its gradient is next to
    nothing; that of the logit is not.
    """
    if output_activation(model) == "linear":
        yield
        return
    layer = next(call.layer for call in calls_back(model) if not passes(call))
    # Past Keras's own way of setting attributes, which takes note of layers.
    attributes, before = vars(layer), dict(vars(layer))
    if "activation" in attributes:
        attributes["activation"] = keras.activations.linear
    else:
        attributes["call"] = lambda inputs, *_, **__: inputs
    try:
        yield
    finally:
        for name in ("activation", "call"):
            attributes.pop(name, None)
            if name in before:
                attributes[name] = before[name]


def _feature_map(model: keras.Model, layer: str | keras.layers.Layer | None) -> _Place:
    """Return the place in the graph of `model` that the maps are made of."""
    # Names of the outermost graph come first.
    made = sorted(calls(model), key=lambda call: len(call.outer))
    if layer is None:
        return _last_feature_map(model)
    found = {}
    for call in made:
        tensors = call.node.output_tensors
        if len(tensors) == 1 and _is_feature_map(tensors[0]):
            found.setdefault(call.layer.name, _place(call))
            if call.layer is layer:
                return _place(call)
    blocks = {}
    with contextlib.suppress(ValueError):
        blocks = {block: _place(call) for block, call in find_blocks(model).items()}
    name = getattr(layer, "name", layer)
    if not isinstance(name, str) or name not in blocks | found:
        raise ValueError(
            "layer must be a block or a layer of this model with a feature map "
            "(batch, height, width, channels) as its output, for example one of: "
            f"{', '.join([*blocks] or [*found][-5:])}. Received: layer={shown(name)}"
        )
    return (found | blocks)[name]


def _last_feature_map(model: keras.Model) -> _Place:
    made = [x for x in calls(model) if not isinstance(x.layer, keras.Model)]
    for call in made:
        if call.layer.name == POOLING_NAME:
            return _place(call, incoming=True)
    for call in reversed(made):
        tensor, outer = source(call.node.input_tensors[0], call.outer)
        # Pooled to one place, as some heads do it, it says nothing of where.
        if (
            _is_feature_map(tensor)
            and tuple(tensor.shape[1:3]) != (1, 1)
            and not (outer == () and tensor is as_graph(model).inputs[0])
        ):
            return _place(call, incoming=True)
    raise ValueError(
        "Expected a model with a feature map (batch, height, width, channels) of "
        "more than one place. Build it with larger images, or name a layer. "
        f"Received: model with name={model.name}"
    )


def _is_feature_map(tensor) -> bool:
    return len(getattr(tensor, "shape", ())) == 4


def _checked_classes(model: keras.Model) -> int:
    """Return the number of classes, if the graph says what is asked of it."""
    # A subclassed model, and a Sequential one before its first call, have none.
    graph = as_graph(model) if isinstance(model, keras.Model) else None
    inputs, outputs = (getattr(graph, name, None) for name in ("inputs", "outputs"))
    if isinstance(model, keras.Model) and (
        [len(x.shape) for x in inputs or ()] != [4]
        or [len(x.shape) for x in outputs or ()] != [2]
    ):
        raise ValueError(
            "Expected a functional model from images (batch, height, width, channels) "
            "to one output a class (batch, classes), as build_classifier makes it. "
            f"Received: model with name={model.name}, inputs={inputs}, "
            f"outputs={outputs}"
        )
    units = keras_model("model", model).output_shape[-1]
    if output_activation(model) is None:
        raise ValueError(
            "Expected a model that ends in a dense or an activation layer, whose "
            f"logits are known. Received: model with name={model.name}, which ends in "
            f"{maker(outputs[0]).name}"
        )
    return classifier_outputs(model, units, known=True).num_classes


def _checked_images(model: keras.Model, images) -> np.ndarray:
    expected = image_shape(model)
    try:
        images = np.asarray(images)
        shape = images.shape
    except (TypeError, ValueError):  # Images of different sizes.
        shape = shown(images)
    if (
        not isinstance(shape, tuple)
        or images.dtype.kind not in "biuf"
        or images.ndim != 4
        or any(
            side not in (None, given)
            for side, given in zip(expected, shape[1:], strict=True)
        )
    ):
        raise ValueError(
            "Expected images of shape (count, height, width, channels) with "
            f"{expected} after the count; a single one goes in as images[None]. "
            f"Received: images of shape {shape}"
        )
    return images


def _classes(class_index, count: int, num_classes: int) -> np.ndarray:
    """Return the class to explain for each image."""
    if class_index is None:
        return np.full(count, PREDICTED, "int32")
    try:
        classes = np.asarray(class_index)
    except ValueError:  # Rows of different lengths.
        classes = np.asarray(None)
    if (
        classes.dtype.kind not in "iu"
        or classes.shape not in ((), (count,))
        or np.any((classes < 0) | (classes >= num_classes))
    ):
        raise ValueError(
            f"class_index must be an integer from 0 to {num_classes - 1}, or one for "
            f"each of the {count} images. Received: class_index={shown(class_index)}"
        )
    return np.broadcast_to(classes, count).astype("int32")
