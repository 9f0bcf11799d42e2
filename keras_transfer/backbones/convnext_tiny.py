"""ConvNeXt-Tiny of standard layers in one flat graph.

`keras.applications.ConvNeXtTiny` holds nested models, and a layer of its own that
`import keras` alone cannot load. This one has the same weights in the same order.
"""

import keras
from keras import layers

# One row a stage: blocks and channels.
STAGES = ((3, 96), (3, 192), (9, 384), (3, 768))
LAYER_SCALE = 1e-6


def build_convnext_tiny(input_tensor) -> keras.Model:
    """Build ConvNeXt-Tiny without its classifier, as one flat graph.

    Layers are named as in `keras.applications.ConvNeXtTiny`, without `convnext_tiny_`.

    Args:
        input_tensor: Keras tensor of RGB images, already preprocessed: less the mean
            of ImageNet, by its deviation, at least 32 pixels high and wide.

    Returns:
        A `keras.Model` from the source input of `input_tensor` to the last feature
        map: 768 channels, at a 32nd of the image size.

    Example:

    ```python
    backbone = build_convnext_tiny(keras.Input((160, 160, 3)))
    backbone.output_shape  # (None, 5, 5, 768)
    ```
    """
    x = input_tensor
    for stage, (repeats, channels) in enumerate(STAGES):
        if stage == 0:
            x = layers.Conv2D(channels, 4, strides=4, name="stem_conv")(x)
            x = _normalize(x, "stem_layernorm")
        else:
            x = _normalize(x, f"downsampling_layernorm_{stage - 1}")
            x = layers.Conv2D(
                channels, 2, strides=2, name=f"downsampling_conv_{stage - 1}"
            )(x)
        for repeat in range(repeats):
            x = _block(x, channels, f"stage_{stage}_block_{repeat}_")
    x = _normalize(x, "layernorm")
    return keras.Model(
        keras.utils.get_source_inputs(input_tensor), x, name="convnext_tiny"
    )


def _block(x, channels: int, name: str):
    """Look around in each channel, mix the channels, and add what came in."""
    block_input = x
    x = layers.Conv2D(
        channels, 7, padding="same", groups=channels, name=f"{name}depthwise_conv"
    )(x)
    x = _normalize(x, f"{name}layernorm")
    x = layers.Dense(4 * channels, name=f"{name}pointwise_conv_1")(x)
    x = layers.Activation("gelu", name=f"{name}gelu")(x)
    x = layers.Dense(channels, name=f"{name}pointwise_conv_2")(x)
    # A learnt factor for each channel, which no layer of Keras is made for.
    x = layers.EinsumDense(
        "abcd,d->abcd",
        output_shape=x.shape[1:],
        kernel_initializer=keras.initializers.Constant(LAYER_SCALE),
        name=f"{name}layer_scale",
    )(x)
    return layers.Add(name=f"{name}add")([block_input, x])


def _normalize(x, name: str):
    return layers.LayerNormalization(epsilon=1e-6, name=name)(x)
