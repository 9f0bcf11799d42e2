"""Labels that are more than one class: mixed photos and label smoothing.

Keras's sparse loss knows no smoothing, and its MixUp and CutMix refuse integers. So the
training pipeline, and nothing before it, turns labels into one number for each output.
"""

import keras
import tensorflow as tf

from keras_transfer.models.compiling import compile_built
from keras_transfer.models.outputs import classifier_outputs


def soften(dataset: tf.data.Dataset, units: int) -> tf.data.Dataset:
    """Turn integer labels into float32 ones of shape `(batch, units)`."""

    def one_hot(images, labels):
        if units == 1:
            return images, tf.cast(labels, tf.float32)[:, None]
        return images, tf.one_hot(labels, units)

    return dataset.map(one_hot)


def mix(dataset: tf.data.Dataset, mixup: float, cutmix: float) -> tf.data.Dataset:
    """Mix the images of each batch in pairs, and their labels with them."""
    layers = []
    if mixup:
        layers.append(keras.layers.MixUp(alpha=mixup, dtype="float32"))
    if cutmix:
        layers.append(keras.layers.CutMix(factor=cutmix, dtype="float32"))
    for layer in layers:

        def mixed(images, labels, layer=layer):
            both = layer({"images": images, "labels": labels}, training=True)
            return both["images"], both["labels"]

        dataset = dataset.map(mixed)
    return dataset


class SoftBinaryAccuracy(keras.metrics.BinaryAccuracy):
    """Count an output as right on the side of the larger share of its label.

    What is saved is Keras's own accuracy, which says the same of labels that are 0 or
    1: a file is to load with Keras alone.
    """

    # The class that Keras writes into a file.
    __class__ = keras.metrics.BinaryAccuracy

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Take in one batch."""
        labels = keras.ops.cast(keras.ops.convert_to_tensor(y_true) > 0.5, "float32")
        return super().update_state(labels, y_pred, sample_weight)


@keras.saving.register_keras_serializable("keras_transfer")
def soft_binary_accuracy(labels, outputs, threshold: float):
    """Return 1 where an output is on the side of the larger share of its label.

    Files of earlier versions name it.
    """
    return keras.ops.cast((labels > 0.5) == (outputs > threshold), "float32")


def compile_for_soft_labels(
    model: keras.Model, optimizer: keras.optimizers.Optimizer, label_smoothing: float
) -> None:
    """Compile for the labels that `soften` makes.

    Accuracy counts the class with the largest share of a label as the right one.
    """
    outputs = classifier_outputs(model, known=True)
    if outputs.units == 1:
        loss = keras.losses.BinaryCrossentropy(
            from_logits=outputs.logits, label_smoothing=label_smoothing
        )
        accuracy = SoftBinaryAccuracy(
            name="accuracy", threshold=0.0 if outputs.logits else 0.5
        )
    else:
        loss = keras.losses.CategoricalCrossentropy(
            from_logits=outputs.logits, label_smoothing=label_smoothing
        )
        accuracy = keras.metrics.CategoricalAccuracy(name="accuracy")
    compile_built(model, optimizer, loss=loss, metrics=[accuracy], jit_compile=False)
