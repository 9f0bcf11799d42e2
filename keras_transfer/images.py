"""From the bytes of an image file to the pixels that a network sees.

One rule for every image, in training, evaluation and prediction: decode to upright
8-bit RGB, stretch to the square with bilinear interpolation and antialiasing, round
to whole numbers. JPEG is decoded with the accurate integer transform, so TensorFlow
and Pillow give the same pixels.
"""

import io
import os
import pathlib
import struct

import numpy as np
from PIL import Image, ImageOps

RESIZE_RULE = "rgb-stretch-bilinear-antialias-round"
_ORIENTATION = 0x0112
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP")


class UnreadableImageError(ValueError):
    """Says that a file holds no image that can be read."""


def decode(data: bytes) -> np.ndarray:
    """Decode an image file's bytes to upright 8-bit RGB.

    Grayscale, CMYK, palette and 16-bit images become RGB (16-bit values are scaled by
    1/257), transparent pixels are shown on white, an EXIF rotation is applied, and of
    an animation the first frame is taken.

    Args:
        data: Bytes of a JPEG, PNG, BMP, GIF or WebP file.

    Returns:
        uint8 array of shape `(height, width, 3)`.

    Raises:
        UnreadableImageError: If the bytes are no such image, or only a part of one.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if _is_16_bit_png(data):
                image.load()  # Raises for a truncated file, as below.
                exif = image.getexif()
                image = _reduce_16_bit(data)
                image.getexif().update(exif)
            image = ImageOps.exif_transpose(image)
            if image.has_transparency_data:
                image = image.convert("RGBA")
                white = Image.new("RGBA", image.size, "white")
                image = Image.alpha_composite(white, image)
            return np.asarray(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError, struct.error) as error:
        raise UnreadableImageError(_reason(data, error)) from error
    except Image.DecompressionBombError as error:
        raise UnreadableImageError(f"too many pixels ({error})") from error


def load_image(path: str | os.PathLike, image_size: int) -> np.ndarray:
    """Read one image file as the network sees it.

    Args:
        path: Path of a JPEG, PNG, BMP, GIF or WebP file.
        image_size: Side of the square result, in pixels.

    Returns:
        float32 array of shape `(image_size, image_size, 3)`, RGB, 0 to 255.

    Raises:
        UnreadableImageError: If the file is no such image.
        OSError: If the file cannot be opened.

    Example:

    >>> import keras, keras_transfer as kt
    >>> keras.utils.save_img("gray.png", [[[128]] * 8] * 8, scale=False)
    >>> kt.load_image("gray.png", image_size=32).shape
    (32, 32, 3)
    """
    data = pathlib.Path(path).read_bytes()
    try:
        pixels = decode(data)
    except UnreadableImageError as error:
        raise UnreadableImageError(
            f"Expected a JPEG, PNG, BMP, GIF or WebP image, but this file is "
            f"{error}. Convert it to JPEG or PNG. Received: path={path}"
        ) from error
    return resize(pixels, image_size).numpy().astype("float32")


def inspect(data: bytes) -> bool:
    """Tell whether TensorFlow's own, faster decoder gives what `decode` gives.

    Args:
        data: Bytes of an image file. All of them are looked at.

    Returns:
        `True` for an upright RGB or grayscale JPEG, else `False`.

    Raises:
        UnreadableImageError: If the bytes are no whole image.
    """
    import tensorflow as tf

    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            plain = _is_plain(image)
        if plain:
            # An eighth of the size reads every byte and saves most of the arithmetic.
            tf.io.decode_jpeg(data, ratio=8)
            return True
    except Exception:  # Whatever is wrong, decode says it in our words.
        pass
    decode(data)
    return False


def decode_tensor(data):
    """Decode a scalar string tensor of a plain JPEG inside a `tf.data` pipeline."""
    import tensorflow as tf

    return tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE")


def decode_any_tensor(data):
    """Decode a scalar string tensor of any image inside a `tf.data` pipeline."""
    import tensorflow as tf

    def is_plain(data):
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return np.bool_(_is_plain(image))

    image = tf.cond(
        tf.numpy_function(is_plain, [data], tf.bool),
        lambda: decode_tensor(data),
        lambda: tf.numpy_function(decode, [data], tf.uint8),
    )
    return tf.ensure_shape(image, (None, None, 3))


def _is_plain(image: Image.Image) -> bool:
    upright = image.getexif().get(_ORIENTATION, 1) == 1
    return upright and image.format == "JPEG" and image.mode in ("RGB", "L")


def resize(image, image_size: int):
    """Stretch an RGB image tensor to the square and round to uint8."""
    import tensorflow as tf

    resized = tf.image.resize(image, (image_size, image_size), antialias=True)
    return tf.cast(tf.clip_by_value(tf.round(resized), 0, 255), tf.uint8)


def _is_16_bit_png(data: bytes) -> bool:
    return data[:8] == b"\x89PNG\r\n\x1a\n" and len(data) > 24 and data[24] == 16


def _reduce_16_bit(data: bytes) -> Image.Image:
    # Pillow keeps the high byte of 16-bit colour and clips 16-bit grey: both differ
    # from scaling by 1/257, which maps 65535 to 255 and 0 to 0.
    import tensorflow as tf

    try:
        pixels = tf.io.decode_png(data, dtype=tf.uint16).numpy()
    except tf.errors.InvalidArgumentError as error:
        raise OSError("broken PNG file") from error
    pixels = np.round(pixels / 257).astype("uint8")
    mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[pixels.shape[-1]]
    return Image.fromarray(pixels.squeeze(-1) if mode == "L" else pixels, mode)


def _reason(data: bytes, error: Exception) -> str:
    if not data:
        return "empty (zero bytes)"
    if "truncated" in str(error) or "broken" in str(error):
        return "truncated or damaged"
    return "not one of the image formats that are read here"
