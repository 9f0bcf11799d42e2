"""Every kind of image file arrives as the RGB that a person sees."""

import io

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_transfer import images

PIXELS = np.kron(
    np.random.default_rng(0).integers(0, 256, (6, 8, 3)), np.ones((10, 10, 1))
).astype("uint8")


def encoded(image, file_format, **options):
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("file_format", "options", "tolerance"),
    [
        ("PNG", {}, 0),
        ("BMP", {}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("GIF", {}, 0),
        ("JPEG", {"quality": 100, "subsampling": 0}, 4),
    ],
)
def test_formats(file_format, options, tolerance):
    decoded = images.decode(encoded(Image.fromarray(PIXELS), file_format, **options))
    assert decoded.dtype == np.uint8
    assert np.abs(decoded.astype(int) - PIXELS).max() <= tolerance


def test_first_frame_of_an_animation():
    frames = [Image.fromarray(PIXELS), Image.fromarray(255 - PIXELS)]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert np.abs(images.decode(data).astype(int) - PIXELS).max() <= 2


def test_grayscale_and_palette():
    gray = Image.fromarray(PIXELS).convert("L")
    decoded = images.decode(encoded(gray, "PNG"))
    assert np.array_equal(decoded, np.repeat(np.array(gray)[..., None], 3, -1))
    palette = Image.fromarray(PIXELS).quantize(64)
    assert np.array_equal(
        images.decode(encoded(palette, "PNG")), np.array(palette.convert("RGB"))
    )


def test_cmyk_jpeg():
    data = encoded(Image.fromarray(PIXELS).convert("CMYK"), "JPEG", quality=100)
    assert not images.inspect(data)
    assert np.abs(images.decode(data).astype(int) - PIXELS).max() <= 4


@pytest.mark.parametrize("channels", [1, 3])
def test_16_bit_is_scaled_by_one_257th(channels):
    wide = np.random.default_rng(1).integers(0, 65536, (9, 9, channels), "uint16")
    decoded = images.decode(tf.io.encode_png(wide).numpy())
    expected = np.round(wide / 257).astype("uint8")
    assert np.array_equal(decoded, np.broadcast_to(expected, (9, 9, 3)))


def test_transparent_pixels_are_shown_on_white():
    image = Image.fromarray(PIXELS)
    image.putalpha(Image.fromarray(np.where(PIXELS[..., 0] > 127, 255, 0).astype("u1")))
    decoded = images.decode(encoded(image, "PNG"))
    solid = PIXELS[..., 0] > 127
    assert np.array_equal(decoded[solid], PIXELS[solid])
    assert np.all(decoded[~solid] == 255)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation(orientation):
    turned = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    image = Image.fromarray(PIXELS)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = image if turned is None else image.transpose(turned)
    data = encoded(stored, "JPEG", quality=100, subsampling=0, exif=exif)
    assert images.inspect(data) == (orientation == 1)
    assert np.abs(images.decode(data).astype(int) - PIXELS).max() <= 4


def test_tensorflow_and_pillow_decode_to_the_same_pixels():
    data = encoded(Image.fromarray(PIXELS), "JPEG", quality=80)
    assert images.inspect(data)
    assert np.array_equal(images.decode_tensor(data).numpy(), images.decode(data))


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "BMP", "GIF", "WEBP"])
def test_truncated(file_format):
    data = encoded(Image.fromarray(PIXELS), file_format)
    for keep in (0.9, 0.5):
        with pytest.raises(images.UnreadableImageError, match=r"truncated|not one"):
            images.inspect(data[: int(len(data) * keep)])


@pytest.mark.parametrize("data", [b"", b"not an image", b"\x89PNG\r\n\x1a\n"])
def test_no_image(data):
    with pytest.raises(images.UnreadableImageError):
        images.inspect(data)


def test_resize_is_antialiased_and_whole_numbered():
    checkers = np.indices((64, 64)).sum(0)[..., None] % 2 * 255
    small = images.resize(np.repeat(checkers, 3, -1).astype("uint8"), 16).numpy()
    assert small.dtype == np.uint8
    # Without antialiasing, pixels would be picked: all 0 or 255.
    assert np.abs(small[1:-1, 1:-1].astype(int) - 127.5).max() < 10


def test_load_image_reads_what_training_reads(tmp_path):
    path = tmp_path / "photo.jpg"
    Image.fromarray(PIXELS).save(path)
    loaded = images.load_image(path, 32)
    in_pipeline = images.resize(images.decode_tensor(path.read_bytes()), 32)
    assert loaded.dtype == np.float32
    assert loaded.max() > 1
    assert np.array_equal(loaded, keras.ops.convert_to_numpy(in_pipeline))


def test_load_image_names_the_file(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("no image")
    with pytest.raises(images.UnreadableImageError, match=r"Received: path=.*notes"):
        images.load_image(path, 32)


def test_damaged_16_bit_png_is_unreadable():
    data = bytearray(tf.io.encode_png(np.zeros((9, 9, 3), "uint16")).numpy())
    data[data.index(b"IDAT") + 8] ^= 255
    with pytest.raises(images.UnreadableImageError):
        images.inspect(bytes(data))


def test_16_bit_png_keeps_its_exif_rotation():
    exif = Image.Exif()
    exif[0x0112] = 6
    wide = Image.fromarray(np.zeros((12, 24), "uint16"))
    assert images.decode(encoded(wide, "PNG", exif=exif)).shape == (24, 12, 3)


@pytest.mark.parametrize("kind", ["rotated", "transparent", "plain", "gray"])
def test_training_and_prediction_see_the_same_pixels(kind):
    image, options = Image.fromarray(PIXELS), {"format": "JPEG"}
    if kind == "rotated":
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = 6
    if kind == "transparent":
        image.putalpha(100)
        options["format"] = "PNG"
    if kind == "gray":
        image = image.convert("L")
    buffer = io.BytesIO()
    image.save(buffer, **options)
    data = buffer.getvalue()
    in_pipeline = next(
        iter(tf.data.Dataset.from_tensors(data).map(images.decode_any_tensor))
    )
    assert np.array_equal(in_pipeline.numpy(), images.decode(data))
