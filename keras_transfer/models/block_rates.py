"""Keras's optimizers with a learning rate for each variable, saved as Keras's own."""

import keras
import tensorflow as tf

from keras_transfer.runtime import keras_internals

# Weights in a variable from which on passes over memory take most of a step's time.
MANY = 2**16


class BlockLearningRates(keras_internals.OwnWeightDecay):
    """Scale each variable's step. Mixed into a Keras optimizer, in front of it.

    What is saved is the stock optimizer of the same kind, with the same state: a file
    is to load with Keras alone.
    """

    def __init__(self, *args, learning_rate_scales: dict[str, float], **kwargs):
        super().__init__(*args, **kwargs)
        self.learning_rate_scales = dict(learning_rate_scales)

    def build(self, variables):
        if self.built:
            return
        unknown = [v.path for v in variables if v.path not in self.learning_rate_scales]
        if unknown:
            raise ValueError(
                "This optimizer has no learning rate for some variables: it was made "
                "for another model, or for a mapping without their block. Make it with "
                "discriminative_learning_rates for this model. "
                f"Received: variables={unknown[:3]}"
            )
        self._scales = [self.learning_rate_scales[v.path] for v in variables]
        super().build(variables)

    def update_step(self, gradient, variable, learning_rate):
        # The step itself is scaled. Adam divides by the size of the gradients, so
        # scaling those would change nothing.
        scale = self._scales[keras_internals.variable_index(self, variable)]
        learning_rate = keras.ops.cast(learning_rate, variable.dtype) * scale
        # With the learning rate of the block, which Keras's own decay does not know.
        if self.weight_decay is not None and keras_internals.decays(self, variable):
            decay = keras.ops.cast(self.weight_decay, variable.dtype) * learning_rate
            self.assign_sub(variable, variable * decay)
        if _is_adam_of_many(self, gradient):
            _step_of_adam(self, gradient, variable, learning_rate)
        else:
            super().update_step(gradient, variable, learning_rate)


def _is_adam_of_many(optimizer, gradient) -> bool:
    adam = optimizer.__class__ in (keras.optimizers.Adam, keras.optimizers.AdamW)
    many = isinstance(gradient, tf.Tensor) and (gradient.shape.num_elements() or 0)
    if not adam or many < MANY:
        return False
    return not (optimizer.amsgrad or tf.distribute.has_strategy())


def _step_of_adam(optimizer, gradient, variable, learning_rate) -> None:
    """Do what Keras's Adam does in one pass over memory, where it makes a dozen.

    TensorFlow rounds `1 - beta_2` after the subtraction and Keras before, so a step
    differs in the sixth digit.
    """
    momentum, velocity = keras_internals.adam_moments(optimizer, variable)
    step = tf.cast(optimizer.iterations.value + 1, variable.dtype)
    beta_1, beta_2 = (
        tf.cast(beta, variable.dtype) for beta in (optimizer.beta_1, optimizer.beta_2)
    )
    tf.raw_ops.ResourceApplyAdam(
        var=variable.handle,
        m=momentum.value.handle,
        v=velocity.value.handle,
        beta1_power=beta_1**step,
        beta2_power=beta_2**step,
        lr=learning_rate,
        beta1=beta_1,
        beta2=beta_2,
        epsilon=tf.cast(optimizer.epsilon, variable.dtype),
        grad=tf.cast(gradient, variable.dtype),
    )


def _with_block_rates(optimizer: type) -> type:
    name = f"BlockLearningRates{optimizer.__name__}"
    # `__class__` is the class that Keras writes into a file.
    said = {"__module__": __name__, "__class__": optimizer}
    scaled = type(name, (BlockLearningRates, optimizer), said)
    # Registered for the files of earlier versions, which hold these classes.
    return keras.saving.register_keras_serializable("keras_transfer")(scaled)


WITH_BLOCK_RATES = {
    optimizer: _with_block_rates(optimizer)
    for optimizer in (
        keras.optimizers.AdamW,
        keras.optimizers.Adam,
        keras.optimizers.SGD,
        keras.optimizers.RMSprop,
        keras.optimizers.Lion,
    )
}
