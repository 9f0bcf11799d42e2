"""EfficientNet-Lite0: EfficientNet-B0 for devices without squeeze-and-excite."""

import keras
from keras import layers

# One row a stage: repeats, kernel size, first stride, expansion, filters. These are
# EfficientNet-B0's; "lite" only takes out squeeze-and-excite and swaps swish for ReLU6.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
BATCH_NORMALIZATION_EPSILON = 1e-3


def build_efficientnet_lite0(input_tensor) -> keras.Model:
    """Build EfficientNet-Lite0 without its classifier, as one flat graph.

    Layers are named as in `keras.applications.EfficientNetB0`. The weights are
    random until `keras_transfer.backbones.weights.sources` loads some.

    Args:
        input_tensor: Keras tensor of RGB images, already preprocessed as
            `(x - 127) / 128`, at least 32 pixels high and wide.

    Returns:
        A `keras.Model` from the source input of `input_tensor` to the last feature
        map: 1280 channels, at a 32nd of the image size.

    Example:

    ```python
    images = keras.Input((160, 160, 3))
    scaled = keras.layers.Rescaling(1 / 128, offset=-127 / 128)(images)
    backbone = build_efficientnet_lite0(scaled)
    backbone.output_shape  # (None, 5, 5, 1280)
    ```
    """
    x = layers.Conv2D(
        32, 3, strides=2, padding="same", use_bias=False, name="stem_conv"
    )(input_tensor)
    x = _normalize(x, "stem_bn")
    x = layers.ReLU(6.0, name="stem_activation")(x)

    for stage, (repeats, kernel_size, stride, expansion, filters) in enumerate(
        STAGES, start=1
    ):
        for repeat in range(repeats):
            x = _inverted_residual(
                x,
                filters,
                kernel_size,
                stride if repeat == 0 else 1,
                expansion,
                name=f"block{stage}{'abcd'[repeat]}_",
            )

    x = layers.Conv2D(1280, 1, padding="same", use_bias=False, name="top_conv")(x)
    x = _normalize(x, "top_bn")
    x = layers.ReLU(6.0, name="top_activation")(x)
    return keras.Model(
        keras.utils.get_source_inputs(input_tensor), x, name="efficientnet_lite0"
    )


def _normalize(x, name: str):
    return layers.BatchNormalization(epsilon=BATCH_NORMALIZATION_EPSILON, name=name)(x)


def _inverted_residual(x, filters, kernel_size, stride, expansion, name):
    """Widen, filter each channel on its own, and narrow again; add what came in."""
    block_input = x
    if expansion != 1:
        x = layers.Conv2D(
            x.shape[-1] * expansion,
            1,
            padding="same",
            use_bias=False,
            name=f"{name}expand_conv",
        )(x)
        x = _normalize(x, f"{name}expand_bn")
        x = layers.ReLU(6.0, name=f"{name}expand_activation")(x)
    x = layers.DepthwiseConv2D(
        kernel_size,
        strides=stride,
        padding="same",
        use_bias=False,
        name=f"{name}dwconv",
    )(x)
    x = _normalize(x, f"{name}bn")
    x = layers.ReLU(6.0, name=f"{name}activation")(x)
    x = layers.Conv2D(
        filters, 1, padding="same", use_bias=False, name=f"{name}project_conv"
    )(x)
    x = _normalize(x, f"{name}project_bn")
    if stride == 1 and block_input.shape[-1] == filters:
        x = layers.Add(name=f"{name}add")([x, block_input])
    return x
