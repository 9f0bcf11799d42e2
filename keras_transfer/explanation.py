"""Show which part of an image speaks for a class: Grad-CAM."""

from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from keras_transfer.blocks import block_ends
from keras_transfer.classifier import POOLING_NAME
from keras_transfer.precision import float32_copy

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
            loaded, or any other functional classifier that ends in a dense or an
            activation layer.
        images: Images of shape `(count, height, width, 3)`, RGB, 0 to 255, of the
            model's input size.
        class_index: Class to explain, from 0, for all images or one for each. With one
            sigmoid unit, `1` is the class that it gives the probability of, and `0`
            the other one. Defaults to the predicted class of each image.
        layer: Block of `block_names(model)` or layer, or its name, whose output is the
            feature map. An earlier one is finer and knows less of the class. Defaults
            to the last feature map, which the head averages.

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
    _check_model(model)
    images = np.asarray(images)
    _check_images(model, images)
    classes = _classes(class_index, len(images), max(2, model.output_shape[-1]))
    explain = _compiled(model, _feature_map(model, layer), images.shape[1:])
    maps = np.zeros(images.shape[:3], "float32")
    for start in range(0, len(images), BATCH_SIZE):
        part = slice(start, start + BATCH_SIZE)
        maps[part] = explain(images[part].astype("float32"), classes[part])
    return maps


def _compiled(model, feature_map, image_shape: tuple[int, int, int]) -> Callable:
    """Return a function from images and their classes to maps, as one graph.

    A graph frees what no gradient needs while it runs: all of the backbone before the
    feature map.
    """
    before, logits_of = _logits(model)
    network = float32_copy(keras.Model(model.inputs[0], [feature_map, before]))

    @tf.function(
        input_signature=[
            tf.TensorSpec((None, *image_shape), tf.float32),
            tf.TensorSpec((None,), tf.int32),
        ]
    )
    def explain(images, classes):
        features, before = network(images, training=False)
        logits = logits_of(before)
        if logits.shape[-1] == 1:
            logits = tf.concat([-logits, logits], axis=-1)
        predicted = tf.argmax(logits, axis=-1, output_type=tf.int32)
        classes = tf.where(classes == PREDICTED, predicted, classes)
        score = tf.reduce_sum(tf.gather(logits, classes, axis=1, batch_dims=1))
        # Not a GradientTape, which follows nothing when all variables are frozen.
        (gradient,) = tf.gradients(score, features)
        weights = tf.reduce_mean(gradient, axis=(1, 2), keepdims=True)
        maps = tf.nn.relu(tf.reduce_sum(weights * features, axis=-1, keepdims=True))
        maps = tf.image.resize(maps, image_shape[:2])
        peaks = tf.reduce_max(maps, axis=(1, 2, 3), keepdims=True)
        return tf.math.divide_no_nan(maps, peaks)[..., 0]

    return explain


def _logits(model: keras.Model) -> tuple[keras.KerasTensor, Callable]:
    """Return what goes into the last layer, and how logits are made of it.

    The probability of a sure prediction hardly changes, so its gradient is next to
    nothing; that of the logit is not.
    """
    last = model.layers[-1]
    if isinstance(last, keras.layers.Dense):

        def dense(inputs):
            logits = tf.matmul(inputs, tf.cast(last.kernel, tf.float32))
            return logits + tf.cast(last.bias, tf.float32) if last.use_bias else logits

        return last.input, dense
    if isinstance(last, keras.layers.Activation | keras.layers.Softmax):
        return last.input, tf.identity
    raise ValueError(
        "Expected a model that ends in a dense or an activation layer, whose logits "
        f"are known. Received: model with name={model.name}, which ends in {last.name}"
    )


def _feature_map(
    model: keras.Model, layer: str | keras.layers.Layer | None
) -> keras.KerasTensor:
    """Return the tensor in the graph of `model` that the maps are made of."""
    layers = {each.name: each for each in model.layers}
    if layer is None and POOLING_NAME in layers:
        return layers[POOLING_NAME].input
    if layer is None:
        # Taken where it is read: of a model in the model, `output` is not in the graph.
        for each in reversed(model.layers[1:]):
            tensor = each.input
            # Pooled to one place, as some heads do it, it says nothing of where.
            if (
                _is_feature_map(tensor)
                and tuple(tensor.shape[1:3]) != (1, 1)
                and tensor is not model.inputs[0]
            ):
                return tensor
        raise ValueError(
            "Expected a model with a feature map (batch, height, width, channels) of "
            "more than one place. Build it with larger images, or name a layer. "
            f"Received: model with name={model.name}"
        )
    try:
        blocks = block_ends(model)
    except ValueError:
        blocks = {}
    name = getattr(layer, "name", layer)
    found = layers.get(blocks.get(name, name))
    # A model in the model is a layer too, but its own layers are not in this graph.
    if isinstance(found, keras.Model) or not _is_feature_map(found and found.output):
        maps = [each.name for each in model.layers if _is_feature_map(each.output)]
        raise ValueError(
            "layer must be a block or a layer of this model with a feature map "
            "(batch, height, width, channels) as its output, for example one of: "
            f"{', '.join([*blocks] or maps[-5:])}. Received: layer={name}"
        )
    return found.output


def _is_feature_map(tensor) -> bool:
    return len(getattr(tensor, "shape", ())) == 4


def _check_model(model: keras.Model) -> None:
    # A subclassed model, and a Sequential one before its first call, have none.
    inputs = getattr(model, "inputs", None) or []
    outputs = getattr(model, "outputs", None) or []
    if [len(x.shape) for x in inputs] != [4] or [len(x.shape) for x in outputs] != [2]:
        raise ValueError(
            "Expected a functional model from images (batch, height, width, channels) "
            "to one output a class (batch, classes), as build_classifier makes it. "
            f"Received: model with name={model.name}, inputs={inputs}, "
            f"outputs={outputs}"
        )


def _check_images(model: keras.Model, images: np.ndarray) -> None:
    expected = model.inputs[0].shape[1:]
    if images.ndim != 4 or any(
        side not in (None, given)
        for side, given in zip(expected, images.shape[1:], strict=True)
    ):
        raise ValueError(
            "Expected images of shape (count, height, width, channels) with "
            f"{expected} after the count; a single one goes in as images[None]. "
            f"Received: images of shape {images.shape}"
        )


def _classes(class_index, count: int, num_classes: int) -> np.ndarray:
    """Return the class to explain for each image."""
    if class_index is None:
        return np.full(count, PREDICTED, "int32")
    classes = np.asarray(class_index)
    if (
        classes.dtype.kind not in "iu"
        or classes.shape not in ((), (count,))
        or np.any((classes < 0) | (classes >= num_classes))
    ):
        raise ValueError(
            f"class_index must be an integer from 0 to {num_classes - 1}, or one for "
            f"each of the {count} images. Received: class_index={class_index}"
        )
    return np.broadcast_to(classes, count).astype("int32")
