"""A layer of a user's own, in a file that only who asks has imported."""

import keras


@keras.saving.register_keras_serializable("tests")
class Doubled(keras.layers.Layer):
    """Double what comes in."""

    def call(self, inputs):
        return 2 * inputs
