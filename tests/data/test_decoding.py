"""Every kind of image file arrives as the RGB that a person sees."""

import io
import warnings
import zlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_transfer.data import decoding

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
    decoded = decoding.decode(encoded(Image.fromarray(PIXELS), file_format, **options))
    assert decoded.dtype == np.uint8
    assert np.abs(decoded.astype(int) - PIXELS).max() <= tolerance


def test_first_frame_of_an_animation():
    frames = [Image.fromarray(PIXELS), Image.fromarray(255 - PIXELS)]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert np.abs(decoding.decode(data).astype(int) - PIXELS).max() <= 2


def test_grayscale_and_palette():
    gray = Image.fromarray(PIXELS).convert("L")
    decoded = decoding.decode(encoded(gray, "PNG"))
    assert np.array_equal(decoded, np.repeat(np.array(gray)[..., None], 3, -1))
    palette = Image.fromarray(PIXELS).quantize(64)
    assert np.array_equal(
        decoding.decode(encoded(palette, "PNG")), np.array(palette.convert("RGB"))
    )


def test_cmyk_jpeg():
    data = encoded(Image.fromarray(PIXELS).convert("CMYK"), "JPEG", quality=100)
    assert not decoding.inspect(data)
    assert np.abs(decoding.decode(data).astype(int) - PIXELS).max() <= 4


@pytest.mark.parametrize("channels", [1, 3])
def test_16_bit_is_scaled_by_one_257th(channels):
    wide = np.random.default_rng(1).integers(0, 65536, (9, 9, channels), "uint16")
    decoded = decoding.decode(tf.io.encode_png(wide).numpy())
    expected = np.round(wide / 257).astype("uint8")
    assert np.array_equal(decoded, np.broadcast_to(expected, (9, 9, 3)))


def test_transparent_pixels_are_shown_on_white():
    image = Image.fromarray(PIXELS)
    image.putalpha(Image.fromarray(np.where(PIXELS[..., 0] > 127, 255, 0).astype("u1")))
    decoded = decoding.decode(encoded(image, "PNG"))
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
    assert decoding.inspect(data) == (orientation == 1)
    assert np.abs(decoding.decode(data).astype(int) - PIXELS).max() <= 4


def test_tensorflow_and_pillow_decode_to_the_same_pixels():
    data = encoded(Image.fromarray(PIXELS), "JPEG", quality=80)
    assert decoding.inspect(data)
    assert np.array_equal(decoding.decode_tensor(data).numpy(), decoding.decode(data))


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "BMP", "GIF", "WEBP"])
def test_truncated(file_format):
    data = encoded(Image.fromarray(PIXELS), file_format)
    for keep in (0.9, 0.5):
        with pytest.raises(decoding.UnreadableImageError, match=r"truncated|not one"):
            decoding.inspect(data[: int(len(data) * keep)])


@pytest.mark.parametrize("data", [b"", b"not an image", b"\x89PNG\r\n\x1a\n"])
def test_no_image(data):
    with pytest.raises(decoding.UnreadableImageError):
        decoding.inspect(data)


def test_resize_is_antialiased_and_whole_numbered():
    checkers = np.indices((64, 64)).sum(0)[..., None] % 2 * 255
    small = decoding.resize(np.repeat(checkers, 3, -1).astype("uint8"), 16).numpy()
    assert small.dtype == np.uint8
    # Without antialiasing, pixels would be picked: all 0 or 255.
    assert np.abs(small[1:-1, 1:-1].astype(int) - 127.5).max() < 10


def test_load_image_reads_what_training_reads(tmp_path):
    path = tmp_path / "photo.jpg"
    Image.fromarray(PIXELS).save(path)
    loaded = decoding.load_image(path, 32)
    in_pipeline = decoding.resize(decoding.decode_tensor(path.read_bytes()), 32)
    assert loaded.dtype == np.float32
    assert loaded.max() > 1
    assert np.array_equal(loaded, keras.ops.convert_to_numpy(in_pipeline))


def test_load_image_names_the_file(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("no image")
    with pytest.raises(decoding.UnreadableImageError, match=r"Received: path=.*notes"):
        decoding.load_image(path, 32)


def test_damaged_16_bit_png_is_unreadable():
    data = bytearray(tf.io.encode_png(np.zeros((9, 9, 3), "uint16")).numpy())
    data[data.index(b"IDAT") + 8] ^= 255
    with pytest.raises(decoding.UnreadableImageError):
        decoding.inspect(bytes(data))


def test_16_bit_png_keeps_its_exif_rotation():
    exif = Image.Exif()
    exif[0x0112] = 6
    wide = Image.fromarray(np.zeros((12, 24), "uint16"))
    assert decoding.decode(encoded(wide, "PNG", exif=exif)).shape == (24, 12, 3)


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
        iter(tf.data.Dataset.from_tensors(data).map(decoding.decode_any_tensor))
    )
    assert np.array_equal(in_pipeline.numpy(), decoding.decode(data))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_a_png_is_checked_without_being_decoded(monkeypatch, mode):
    image = Image.fromarray(PIXELS).convert(mode.split(";")[0])
    if mode == "I;16":
        image = Image.fromarray(np.zeros((9, 9), "uint16"))
    data = encoded(image, "PNG")
    monkeypatch.setattr(decoding, "decode", lambda data: pytest.fail("decoded"))
    assert decoding.inspect(data) is False


@pytest.mark.parametrize("file_format", ["JPEG", "MPO"])
def test_a_turned_jpeg_is_not_decoded_in_full(monkeypatch, file_format):
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(Image.fromarray(PIXELS), file_format, exif=exif)
    monkeypatch.setattr(decoding, "decode", lambda data: pytest.fail("decoded"))
    assert decoding.inspect(data) is False


def chunks(data):
    """Split a PNG into its signature and its chunks."""
    parts, start = [data[:8]], 8
    while start < len(data):
        length = 12 + int.from_bytes(data[start : start + 4])
        parts.append(data[start : start + length])
        start += length
    return parts


def chunk(kind, body):
    return len(body).to_bytes(4) + kind + body + zlib.crc32(kind + body).to_bytes(4)


def damaged_pngs():
    noise = np.random.default_rng(2).integers(0, 256, (200, 200, 3), "uint8")
    data = encoded(Image.fromarray(noise), "PNG")
    first, header, *body, end = chunks(data)
    assert len(body) > 1
    pixels = zlib.decompress(b"".join(each[8:-4] for each in body))
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 1
    return {
        "a bit of it": bytes(flipped),
        "a missing piece": first + header + b"".join([*body[:1], *body[2:]]) + end,
        "no pixels": first + header + end,
        "no end": data[: -len(end)],
        "an end too early": first + header + body[0] + end,
        "rows missing": (
            first + header + chunk(b"IDAT", zlib.compress(pixels[:-7000])) + end
        ),
    }


@pytest.mark.parametrize("damage", damaged_pngs())
def test_damaged_pngs_are_found(damage):
    data = damaged_pngs()[damage]
    try:
        decoding.decode(data)
    except decoding.UnreadableImageError:
        with pytest.raises(decoding.UnreadableImageError):
            decoding.inspect(data)
    else:
        # What Pillow reads all the same stays readable, as before.
        assert decoding.inspect(data) is False


@pytest.mark.parametrize("size", [(64, 64), 64.0, np.int64(64), np.array(64)])
def test_load_image_takes_a_size_in_other_forms(tmp_path, monkeypatch, size):
    Image.fromarray(PIXELS).save(tmp_path / "photo.png")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert decoding.load_image("~/photo.png", size).shape == (64, 64, 3)


@pytest.mark.parametrize("size", [0, -5, "64", 6.5, None, (64, 32), True, [64]])
def test_load_image_refuses_other_sizes(tmp_path, size):
    Image.fromarray(PIXELS).save(tmp_path / "photo.png")
    with pytest.raises(ValueError, match="Received: image_size="):
        decoding.load_image(tmp_path / "photo.png", size)


@pytest.mark.parametrize("path", [None, 5, "", b"photo.png", ["photo.png"]])
def test_load_image_refuses_what_is_no_path(path):
    with pytest.raises(ValueError, match="Received: path="):
        decoding.load_image(path, 64)


def test_load_image_names_a_file_that_is_not_there(tmp_path):
    for path, error in (("none.jpg", FileNotFoundError), (".", IsADirectoryError)):
        with pytest.raises(error, match=r"Expected the file of an image.*Received: "):
            decoding.load_image(tmp_path / path, 64)


def test_there_is_one_list_of_formats():
    """What a docstring names is what is read."""
    assert decoding.READ in " ".join(decoding.load_image.__doc__.split())
    listed = decoding.READ.upper().replace("HEIC", "HEIF")
    assert all(name in listed for name in decoding.FORMATS)


@pytest.mark.parametrize("mode", ["I", "F"])
def test_numbers_that_do_not_say_what_is_white_are_refused(mode):
    data = encoded(Image.new(mode, (9, 9), 1), "TIFF")
    with pytest.raises(decoding.UnreadableImageError, match="no colours from black"):
        decoding.decode(data)


def test_16_bit_tiff_is_scaled_by_one_257th():
    wide = np.random.default_rng(1).integers(0, 65536, (300, 9), "uint16")
    decoded = decoding.decode(encoded(Image.fromarray(wide), "TIFF"))
    expected = np.round(wide / 257).astype("uint8")[..., None]
    assert np.array_equal(decoded, np.broadcast_to(expected, (300, 9, 3)))


@pytest.mark.parametrize("file_format", ["TIFF", "AVIF", "HEIF", "WEBP"])
def test_a_damaged_file_is_called_so(file_format):
    if file_format not in decoding.FORMATS:
        pytest.skip(f"{file_format} is not read here")
    data = encoded(Image.fromarray(PIXELS), file_format)
    for keep in (0.9, 0.5, 0.1):
        with pytest.raises(decoding.UnreadableImageError, match="truncated or damaged"):
            decoding.inspect(data[: int(len(data) * keep)])


def test_only_what_is_opened_here_is_without_warning(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    file = io.BytesIO()
    Image.new("RGB", (12, 12)).save(file, "PNG")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decoding.decode(file.getvalue()).shape == (12, 12, 3)
    assert Image.MAX_IMAGE_PIXELS == 100
    hidden = [f for f in warnings.filters if f[2] is Image.DecompressionBombWarning]
    assert not hidden
    with pytest.warns(Image.DecompressionBombWarning):
        Image.open(file)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG"])
def test_very_large_images_are_made_smaller_at_once(monkeypatch, file_format):
    smooth = Image.fromarray(PIXELS).resize((640, 480), Image.Resampling.BICUBIC)
    data = encoded(smooth, file_format)
    whole = decoding.decode(data).astype(int)
    monkeypatch.setattr(decoding, "LARGE", 1000)
    monkeypatch.setattr(decoding, "_LEAST_SIDE", 120)
    reduced = decoding.decode(data)
    assert reduced.shape == (120, 160, 3)
    assert not decoding.inspect(data)
    a, b = (decoding.resize(x.astype("uint8"), 32).numpy() for x in (whole, reduced))
    assert np.abs(a.astype(int) - b).mean() < 3
