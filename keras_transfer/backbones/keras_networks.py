"""Networks of `keras.applications` as functions from preprocessed images.

Some of their layers have automatic names, which differ from model to model in one
process. Where such a layer ends a block, it gets a name here.
"""

from collections.abc import Callable

import keras


def of_keras(
    application: Callable[..., keras.Model],
    name_layers: Callable[[keras.Model], None] | None = None,
    **arguments,
) -> dict[str, Callable]:
    """Return what an entry of the registry says of a network of Keras.

    Args:
        application: Function of `keras.applications`.
        name_layers: Function that names layers of the network.
        **arguments: More arguments of `application`.
    """

    def network(images) -> keras.Model:
        model = application(
            include_top=False, weights=None, input_tensor=images, **arguments
        )
        if name_layers is not None:
            name_layers(model)
        return model

    return {"application": application, "network": network}


def name_inception_stem(model: keras.Model) -> None:
    """Name the second pooling of InceptionV3, where its stem ends."""
    names = [layer.name for layer in model.layers]
    before = model.layers[: names.index("mixed0")]
    pools = [x for x in before if isinstance(x, keras.layers.MaxPooling2D)]
    pools[-1].name = "stem_pool"


def name_xception_adds(model: keras.Model) -> None:
    """Name the additions at the end of Xception's blocks 2 to 13."""
    adds = [x for x in model.layers if isinstance(x, keras.layers.Add)]
    for block, layer in enumerate(adds, start=2):
        layer.name = f"block{block}_add"


def name_mobilenet_activations(model: keras.Model) -> None:
    """Name the first and the last activation of MobileNetV3."""
    activations = [x for x in model.layers if isinstance(x, keras.layers.Activation)]
    activations[0].name = "conv_activation"
    activations[-1].name = "conv_1_activation"
