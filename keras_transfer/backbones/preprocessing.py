"""What is done to raw pixels before each network, as layers of the same model."""

import keras

# Of the photos of ImageNet, in red, green and blue, from 0 to 1.
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def caffe(images):
    """Change to BGR and take the mean of ImageNet off, as ResNet50 was trained."""
    images = keras.ops.flip(images, axis=-1)
    return rescaling(1.0, [-103.939, -116.779, -123.68])(images)


def minus_one_to_one(images):
    """Bring 0 to 255 to -1 to 1."""
    return rescaling(1 / 127.5, -1.0)(images)


def lite0(images):
    """Bring 0 to 255 to about -1 to 1, as EfficientNet-Lite0 was trained."""
    return rescaling(1 / 128, -127 / 128)(images)


def torch(images):
    """Take the mean of ImageNet off, and divide by its deviation."""
    pairs = [*zip(MEAN, DEVIATION, strict=True)]
    scale = [1 / (255 * deviation) for _, deviation in pairs]
    return rescaling(scale, [-mean / deviation for mean, deviation in pairs])(images)


def efficientnet_v2_s(images):
    """Bring 0 to 255 to -1 to 1 as Keras does it for EfficientNetV2-S."""
    return rescaling(1 / 128, -1.0)(images)


def efficientnet_b0(images):
    """Do what comes before the two layers that the network has itself."""
    # keras.applications adds a third preprocessing layer (1 / sqrt(deviation),
    # TensorFlow issue 49930) only when it downloads the weights itself. This affine
    # map before its own two layers has the same effect with weights from anywhere.
    scale = [d**-0.5 for d in DEVIATION]
    offset = [255 * m * (1 - s) for m, s in zip(MEAN, scale, strict=True)]
    return rescaling(scale, offset)(images)


def none(images):
    """Leave the pixels to the network's own layers."""
    return images


def rescaling(scale, offset) -> keras.layers.Rescaling:
    """Return the layer that scales and shifts each channel."""
    # float32 also under mixed precision: 8 bits of mantissa would blur the mean.
    return keras.layers.Rescaling(
        scale, offset, dtype="float32", name="backbone_preprocessing"
    )
