"""From the bytes of an image file to the pixels that a network sees.

One rule for every image, in training, evaluation and prediction: decode to upright
8-bit RGB, stretch to the square with bilinear interpolation and antialiasing, round
to whole numbers. JPEG is decoded with the accurate integer transform, so TensorFlow
and Pillow give the same pixels.
"""

import contextlib
import functools
import io
import os
import pathlib
import re
import struct
import threading
import typing
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageOps, features

from keras_transfer.runtime.arguments import file_path, square_size

try:
    import pillow_heif
except ImportError:  # The extra `heif`.
    pillow_heif = None
else:
    pillow_heif.register_heif_opener()

RESIZE_RULE = "rgb-stretch-bilinear-antialias-round"
ORIENTATION = 0x0112
# The one list of what is read, for people; AVIF and HEIC where Pillow can.
READ = "JPEG, MPO, PNG, BMP, GIF, WebP, TIFF, AVIF and HEIC"
# What says by its name that it is such an image, whatever it holds.
SUFFIXES = {
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".bmp", ".gif", ".webp"),
    *(".tif", ".tiff", ".avif", ".heic", ".heif"),
}
_HAS_AVIF = "avif" in features.modules and features.check("avif")
FORMATS = (
    *("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF"),
    *(("AVIF",) if _HAS_AVIF else ()),
    *(("HEIF",) if pillow_heif else ()),
)
# How a file begins that is an image of these, if a damaged one.
_SIGNATURE = re.compile(
    rb"\xff\xd8\xff|\x89PNG|GIF8|RIFF....WEBP|II\*\0|MM\0\*|....ftyp(avi|hei|hev|mif)",
    re.DOTALL,
)
# What follows the first eight bytes of HEIC and AVIF.
_HEIC = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_AVIF = {b"avif", b"avis"}
# Their numbers do not say which one is white.
_NO_WHITE = ("I", "F", "LAB", "HSV")
# From here on Pillow warns. Two photos of this size, decoded at once, take 2 GB: they
# are decoded one at a time, and made smaller at once by whole numbers.
LARGE = 89_478_485
MOST_PIXELS = 2 * LARGE
_LEAST_SIDE = 1024
_one_large, _one_opened = threading.Lock(), threading.Lock()
# Rows at a time of what is computed in floats.
_ROWS = 256
CHANGED = (
    "This photo was changed or damaged after its folder was loaded. Load the folder "
    "again. Received: path="
)


class UnreadableImageError(ValueError):
    """Says that a file holds no image that can be read."""


def decode(data: bytes) -> np.ndarray:
    """Decode an image file's bytes to upright 8-bit RGB.

    Grayscale, CMYK, palette and 16-bit images become RGB (16-bit values are scaled by
    1/257; of a 16-bit TIFF in colour the upper 8 bits are taken), transparent pixels
    are shown on white, an EXIF rotation is applied, and of an animation, or of a file
    with several pages, the first one is taken. An image of more than 89 million pixels
    is made smaller by a whole number, at most 8.

    Args:
        data: Bytes of an image file, of a format that `READ` names.

    Returns:
        uint8 array of shape `(height, width, 3)`.

    Raises:
        UnreadableImageError: If the bytes are no such image, or only a part of one.
    """
    with opened(data) as image:
        try:
            large = image.width * image.height > LARGE
            with _one_large if large else contextlib.nullcontext():
                return _pixels(image, data, large)
        except UnreadableImageError:
            raise
        except MemoryError as error:
            raise UnreadableImageError("too large for the free memory") from error
        except Exception as error:  # Each decoder raises errors of its own.
            raise UnreadableImageError("truncated or damaged") from error


def opened(data: bytes) -> Image.Image:
    """Open the bytes of an image file with Pillow, which reads the header alone.

    Raises:
        UnreadableImageError: If they do not begin as an image that is read here.
    """
    try:
        return open_quietly(io.BytesIO(data))
    except Image.DecompressionBombError as error:
        raise UnreadableImageError(
            f"too many pixels (more than {MOST_PIXELS:,}): make it smaller"
        ) from error
    except Exception as error:  # As above.
        raise UnreadableImageError(_reason(data, error)) from error


def open_quietly(file: pathlib.Path | typing.BinaryIO) -> Image.Image:
    """Open an image file with Pillow, which warns of fewer pixels than are read here.

    Not by a filter of warnings, which would hold for the whole process.

    Raises:
        PIL.Image.DecompressionBombError: If it has more pixels than are read.
    """
    with _one_opened:
        usual, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            image = Image.open(file, formats=FORMATS)
        finally:
            Image.MAX_IMAGE_PIXELS = usual
    if image.width * image.height > MOST_PIXELS:
        raise Image.DecompressionBombError
    return image


def _pixels(image: Image.Image, data: bytes, large: bool) -> np.ndarray:
    if image.mode in _NO_WHITE:
        raise UnreadableImageError(
            f"of a kind whose numbers are no colours from black to white ({image.mode})"
        )
    times = max(1, min(8, min(image.size) // _LEAST_SIDE)) if large else 1
    if times > 1:  # JPEG alone can be decoded so.
        width, height = image.size
        image.draft("RGB", (width // times, height // times))
        times = max(1, min(times, image.width * times // width))
    if _is_16_bit_png(data):
        image.load()  # Raises for a truncated file, as below.
        exif = image.getexif()
        image = _reduce_16_bit(image, data)
        image.getexif().update(exif)
    elif image.mode.startswith("I;16"):
        image = Image.fromarray(_to_8_bit(np.asarray(image)))
    # In place, for a copy of a large image is large.
    ImageOps.exif_transpose(image, in_place=True)
    if image.has_transparency_data:
        image = image.convert("RGBA")
    elif image.mode not in ("L", "RGB"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    if times > 1:
        image = image.reduce(times)
    if image.mode == "RGBA":
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def load_image(path: str | os.PathLike, image_size: int) -> np.ndarray:
    """Read one image file as the network sees it.

    Args:
        path: Path of an image file: JPEG, MPO, PNG, BMP, GIF, WebP, TIFF, AVIF and HEIC
            are read; HEIC needs `pip install "keras-transfer[heif]"`.
        image_size: Side of the square result, in pixels.

    Returns:
        float32 array of shape `(image_size, image_size, 3)`, RGB, 0 to 255.

    Raises:
        UnreadableImageError: If the file is no such image.
        OSError: If the file cannot be opened.
        ValueError: If an argument is wrong.

    Example:

    >>> import keras, keras_transfer as kt
    >>> keras.utils.save_img("gray.png", [[[128]] * 8] * 8, scale=False)
    >>> kt.load_image("gray.png", image_size=32).shape
    (32, 32, 3)
    """
    path = file_path("path", path)
    image_size = square_size("image_size", image_size)
    return load_pixels(path, image_size).astype("float32")


def load_pixels(path: pathlib.Path, image_size: int) -> np.ndarray:
    """Return what `load_image` does as uint8, which is what it is made of."""
    data = read_file(path)
    with named_in_errors(path):
        return pixels(data, image_size)


def pixels(data: bytes, image_size: int) -> np.ndarray:
    """Return the bytes of an image file as the network sees it, in uint8.

    A plain JPEG is left to TensorFlow, which takes less time and holds no lock.

    Raises:
        UnreadableImageError: If they are no such image.
    """
    import tensorflow as tf

    try:
        if _is_plain_jpeg(data):
            return _plain_pixels(image_size)(data).numpy()
    except tf.errors.InvalidArgumentError:
        pass  # What is wrong, decode says in our words.
    return resize(decode(data), image_size).numpy()


@contextlib.contextmanager
def named_in_errors(path: pathlib.Path) -> Iterator[None]:
    """Say of what `decode` cannot read which file it is, and what to do."""
    try:
        yield
    except UnreadableImageError as error:
        raise UnreadableImageError(
            f"Expected an image ({READ} are read), but this file is {error}. Convert "
            f"it to JPEG or PNG. Received: path={path}"
        ) from error


def _is_plain_jpeg(data: bytes) -> bool:
    try:
        with opened(data) as image:
            return _is_plain(image)
    except Exception:  # Whatever is wrong, decode says it in our words.
        return False


@functools.lru_cache(maxsize=8)
def _plain_pixels(image_size: int):
    """Return a graph from the bytes of a plain JPEG to its pixels, resized."""
    import tensorflow as tf

    return tf.function(
        lambda data: resize(decode_tensor(data), image_size),
        input_signature=[tf.TensorSpec((), tf.string)],
    )


def read_file(path: pathlib.Path) -> bytes:
    """Return the bytes of a file, or raise an `OSError` that names it plainly."""
    try:
        return path.read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        raise type(error)(
            f"Expected the file of an image, but this one cannot be read ({reason}). "
            f"Received: path={path}"
        ) from error


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
        with opened(data) as image:
            file_format, plain = image.format, _is_plain(image)
        if file_format in ("JPEG", "MPO"):
            # An eighth of the size reads every byte and saves most of the arithmetic.
            tf.io.decode_jpeg(data, ratio=8)
            return plain
        if file_format == "PNG" and _is_whole_png(data):
            return False
    except Exception:  # Whatever is wrong, decode says it in our words.
        pass
    decode(data)
    return False


def _is_whole_png(data: bytes) -> bool:
    """Tell by its checksums whether all of a PNG is there, without making pixels."""
    width, height, depth, colour, *_, interlaced = struct.unpack_from(">2I5B", data, 16)
    if interlaced:
        return False  # Not to be told so simply.
    row = 1 + (width * depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour] + 7) // 8
    missing, stream, start, kind = height * row, zlib.decompressobj(), 8, b""
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", data, start)
        body = data[start + 8 : start + 8 + length]
        (checksum,) = struct.unpack_from(">I", data, start + 8 + length)
        if zlib.crc32(body, zlib.crc32(kind)) != checksum:
            return False
        if kind == b"IDAT":
            # Not a byte more than there should be, which may be very many, and few of
            # them in memory at once.
            while body and missing >= 0:
                missing -= len(stream.decompress(body, min(missing + 1, 2**20)))
                body = stream.unconsumed_tail
        start += 12 + length
    return missing == 0 and stream.eof


def is_image(path: pathlib.Path) -> bool:
    """Tell by the first bytes of a file whether it is an image that is read here."""
    try:
        with path.open("rb") as file, open_quietly(file):
            return True
    except Exception:  # Each reader of a format raises errors of its own.
        return False


def fingerprint(data: bytes) -> int:
    """Return the number by which `decode_file_tensor` knows the bytes of a file."""
    return int(_number(data))


def _number(data):
    import tensorflow as tf

    return tf.strings.to_hash_bucket_fast(data, 2**63 - 1)


def decode_file_tensor(path, number):
    """Read and decode the file of a plain JPEG inside a `tf.data` pipeline.

    Args:
        path: Scalar string tensor.
        number: Scalar integer tensor: `fingerprint` of the file when it was loaded.
    """
    import tensorflow as tf

    data = tf.io.read_file(path)
    same = tf.equal(_number(data), number)
    with tf.control_dependencies([tf.debugging.Assert(same, [CHANGED, path])]):
        return decode_tensor(tf.identity(data))


def decode_tensor(data):
    """Decode a scalar string tensor of a plain JPEG inside a `tf.data` pipeline."""
    import tensorflow as tf

    return tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE")


def decode_any_tensor(data):
    """Decode a scalar string tensor of any image inside a `tf.data` pipeline."""
    import tensorflow as tf

    def is_plain(data):
        with opened(data) as image:
            return np.bool_(_is_plain(image))

    image = tf.cond(
        tf.numpy_function(is_plain, [data], tf.bool),
        lambda: decode_tensor(data),
        lambda: tf.numpy_function(decode, [data], tf.uint8),
    )
    return tf.ensure_shape(image, (None, None, 3))


def _is_plain(image: Image.Image) -> bool:
    if image.format != "JPEG" or image.mode not in ("RGB", "L"):
        return False
    if image.width * image.height > LARGE:
        return False
    # Asked last: to look for it, Pillow decodes all of a PNG.
    return image.getexif().get(ORIENTATION, 1) == 1


def resize(image, image_size: int):
    """Stretch an RGB image tensor to the square and round to uint8."""
    import tensorflow as tf

    resized = tf.image.resize(image, (image_size, image_size), antialias=True)
    return tf.cast(tf.clip_by_value(tf.round(resized), 0, 255), tf.uint8)


def _is_16_bit_png(data: bytes) -> bool:
    return data[:8] == b"\x89PNG\r\n\x1a\n" and len(data) > 24 and data[24] == 16


def _reduce_16_bit(image: Image.Image, data: bytes) -> Image.Image:
    """Return a 16-bit PNG that Pillow has read, scaled by 1/257, which keeps white."""
    high = np.asarray(image)
    if high.ndim == 2:
        return Image.fromarray(_to_8_bit(high))
    # Of colour Pillow keeps the high bytes. Those of another order of bytes are the low
    # ones; of gray with transparency all four bytes of a pixel are read, as if RGBA.
    with opened(data) as other:
        gray = other.tile[0][3] == "LA;16B"
        raw = "RGBA" if gray else f"{image.mode};16L"
        other.tile = [(*tile[:3], raw) for tile in other.tile]
        low = np.asarray(other)
    if gray:
        high, low = low[..., ::2], low[..., 1::2]
    pixels = np.empty(high.shape, "uint8")
    for start in range(0, len(pixels), _ROWS):
        rows = slice(start, start + _ROWS)
        pixels[rows] = _to_8_bit(high[rows].astype("uint16") << 8 | low[rows])
    return Image.fromarray(pixels)


def _to_8_bit(pixels: np.ndarray) -> np.ndarray:
    """Return 16-bit values scaled by 1/257 and rounded, a few rows at a time."""
    scaled = np.empty(pixels.shape, "uint8")
    for start in range(0, len(pixels), _ROWS):
        rows = slice(start, start + _ROWS)
        scaled[rows] = np.round(pixels[rows] / 257)
    return scaled


def _reason(data: bytes, error: Exception) -> str:
    if not data:
        return "empty (zero bytes)"
    brands = {data[start : start + 4] for start in range(8, 40, 4)}
    if data[4:8] == b"ftyp" and brands & _AVIF and not _HAS_AVIF:
        return "an AVIF image, which needs Pillow 11.3 or newer: pip install -U Pillow"
    if data[4:8] == b"ftyp" and brands & _HEIC and not pillow_heif:
        return 'a HEIC image, which needs pip install "keras-transfer[heif]"'
    if _SIGNATURE.match(data) or "truncated" in str(error) or "broken" in str(error):
        return "truncated or damaged"
    return "not one of the image formats that are read here"
