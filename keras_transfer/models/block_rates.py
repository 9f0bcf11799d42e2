"""Keras's optimizers with a learning rate for each variable, saved as Keras's own."""

import keras

from keras_transfer.runtime import keras_internals


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
        super().update_step(gradient, variable, learning_rate)


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
