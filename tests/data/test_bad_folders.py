"""Whatever lies in a folder of photos is handled, or refused in one sentence."""

import contextlib
import errno
import os
import pathlib
import re
import struct
import subprocess
import sys
import tempfile
import unicodedata
import warnings
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import keras_transfer as kt
from keras_transfer.data import decoding
from keras_transfer.runtime.processes import peak_memory

SIZE = 16
UPRIGHT = np.kron(
    np.random.default_rng(0).integers(0, 256, (3, 4, 3)), np.ones((16, 16, 1))
).astype("uint8")
TURNED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.fixture(autouse=True)
def data_of_its_own(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("data")
    monkeypatch.setenv("KERAS_TRANSFER_DATA_DIR", str(folder))
    return folder


def noise(seed, side=8):
    return Image.fromarray(
        np.random.default_rng(seed).integers(0, 256, (side, side, 3), "uint8")
    )


def make(folder, counts):
    for number, (name, count) in enumerate(counts.items()):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            noise((number, index)).save(folder / name / f"{index}.png")
    return folder


def load(folder, **settings):
    """Load a folder; return the splits and what was warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        splits = kt.load_directory(folder, image_size=SIZE, **settings)
    return splits, "\n".join(str(each.message) for each in caught)


def refused(folder, error=ValueError):
    """Return the sentence with which a folder is refused."""
    with warnings.catch_warnings(), pytest.raises(error) as caught:
        warnings.simplefilter("ignore")
        kt.load_directory(folder, image_size=SIZE)
    assert "Received: path=" in str(caught.value)
    return str(caught.value)


def pixels(splits):
    """Return the pixels of each photo that is in a split, by its path."""
    found = {}
    for name, photos in splits.photos.items():
        images = splits.arrays(name)[0]
        found |= {p.path: image for p, image in zip(photos, images, strict=True)}
    return found


def test_an_empty_class(tmp_path):
    folder = make(tmp_path, {"a": 3, "nothing": 0})
    assert "0 readable image(s) of nothing" in refused(folder)


def test_one_class(tmp_path):
    assert "at least two subfolders" in refused(make(tmp_path, {"a": 5}))


def test_one_photo_in_a_class(tmp_path):
    said = refused(make(tmp_path, {"a": 3, "lonely": 1}))
    assert "three readable images a class" in said
    assert "1 readable image(s) of lonely" in said


def test_damaged_files(tmp_path):
    folder = make(tmp_path, {"a": 3, "b": 3})
    noise(9, 64).save(tmp_path / "whole.jpg")
    whole = (tmp_path / "whole.jpg").read_bytes()
    (folder / "a" / "empty.jpg").write_bytes(b"")
    (folder / "a" / "half.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "a" / "header.jpg").write_bytes(whole[:10])
    (folder / "b" / "text.jpg").write_text("no photo at all")
    splits, said = load(folder)
    assert sum(splits.counts.values()) == 6
    for part in (
        "empty.jpg: empty (zero bytes)",
        "half.jpg: truncated or damaged",
        "header.jpg: truncated or damaged",
        "text.jpg: not one of the image formats that are read",
    ):
        assert part in said


def wide(channels):
    values = np.random.default_rng(4).integers(0, 65536, (48, 64, channels), "uint16")
    return tf.io.encode_png(values).numpy()


def of_each_format():
    """Yield names, images and how they are saved; bytes where Pillow cannot."""
    image, clear = Image.fromarray(UPRIGHT), Image.fromarray(UPRIGHT)
    clear.putalpha(
        Image.fromarray(np.where(UPRIGHT[..., 0] > 127, 255, 0).astype("u1"))
    )
    best = {"quality": 100, "subsampling": "4:4:4"}
    yield "a.gif", image, {"format": "GIF"}
    yield "a.webp", image, {"format": "WEBP", "lossless": True}
    yield "a.tif", image, {"format": "TIFF"}
    yield "lzw.tif", image, {"format": "TIFF", "compression": "tiff_lzw"}
    grey = np.random.default_rng(5).integers(0, 65536, (48, 64), "uint16")
    yield "16-bit.tif", Image.fromarray(grey), {"format": "TIFF"}
    yield "a.mpo", image, {"format": "MPO", "quality": 95}
    yield "cmyk.jpg", image.convert("CMYK"), {"format": "JPEG", "quality": 95}
    yield "cmyk.tif", image.convert("CMYK"), {"format": "TIFF"}
    yield "alpha.png", clear, {"format": "PNG"}
    yield "alpha.webp", clear, {"format": "WEBP", "lossless": True}
    yield "alpha.tif", clear, {"format": "TIFF"}
    yield "palette.png", image.quantize(8), {"format": "PNG"}
    yield "16-bit.png", wide(3), {}
    yield "16-bit grey.png", wide(1), {}
    if "AVIF" in decoding.FORMATS:
        yield "a.avif", image, {"format": "AVIF", **best}
        yield "alpha.avif", clear, {"format": "AVIF", **best}
    if "HEIF" in decoding.FORMATS:
        yield "a.heic", image, {"format": "HEIF", "quality": 95}


def test_each_format_is_read_alike_in_training_and_prediction(tmp_path):
    folder = make(tmp_path, {"a": 3, "b": 3})
    for name, image, settings in of_each_format():
        if isinstance(image, bytes):
            (folder / "a" / name).write_bytes(image)
        else:
            image.save(folder / "a" / name, **settings)
    splits, said = load(folder, keep_copies_together=False)
    found = pixels(splits)
    names = {path.name for path in found}
    for name, *_ in of_each_format():
        # Losslessly saved, some are copies of pixels, but none is one of bytes.
        assert name in names, said
    for path, image in found.items():
        assert np.array_equal(kt.load_image(path, SIZE), image.astype("float32"))
    assert splits.skipped == ()
    expected = decoding.resize(UPRIGHT, SIZE).numpy().astype(int)
    for name in ("a.gif", "a.webp", "a.tif", "a.avif", "a.heic", "a.mpo", "cmyk.tif"):
        if name in names:
            assert np.abs(found[folder / "a" / name] - expected).mean() < 12, name


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF", "HEIF"])
def test_exif_1_to_8(tmp_path, kind):
    if kind not in decoding.FORMATS:
        pytest.skip(f"{kind} is not read here")
    settings = {"quality": 95} if kind in ("JPEG", "AVIF", "HEIF") else {}
    folder = make(tmp_path, {"a": 3, "b": 3})
    for number, turned in TURNED.items():
        stored, exif = Image.fromarray(UPRIGHT), Image.Exif()
        if turned is not None:
            stored = stored.transpose(turned)
        exif[0x0112] = number
        path = folder / "a" / f"exif {number}.{kind.lower()}"
        stored.save(path, kind, exif=exif.tobytes(), **settings)
    found = pixels(load(folder, keep_copies_together=False)[0])
    expected = decoding.resize(UPRIGHT, SIZE).numpy().astype(int)
    turned = [path for path in found if path.name.startswith("exif")]
    assert len(turned) == 8
    for path in turned:
        assert np.abs(found[path] - expected).mean() < 12, path.name
        assert np.array_equal(kt.load_image(path, SIZE), found[path])


def test_heic_without_its_reader(tmp_path, monkeypatch):
    pytest.importorskip("pillow_heif")
    folder = make(tmp_path, {"a": 3, "b": 3})
    Image.fromarray(UPRIGHT).save(folder / "a" / "phone.heic", "HEIF")
    monkeypatch.setattr(decoding, "pillow_heif", None)
    without = tuple(name for name in decoding.FORMATS if name != "HEIF")
    monkeypatch.setattr(decoding, "FORMATS", without)
    said = load(folder)[1]
    assert (
        'phone.heic: a HEIC image, which needs pip install "keras-transfer[heif]"'
        in (said)
    )
    with pytest.raises(decoding.UnreadableImageError, match="needs pip install"):
        kt.load_image(folder / "a" / "phone.heic", SIZE)


def large_png(side):
    """Return a black PNG, a bit a pixel, that was never in memory."""
    packed, row = zlib.compressobj(1), bytes(1 + (side + 7) // 8)
    data = b"".join(packed.compress(row) for _ in range(side)) + packed.flush()

    def chunk(kind, body):
        checksum = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)

    header = struct.pack(">2I5B", side, side, 1, 0, 0, 0, 0)
    ends = chunk(b"IHDR", header), chunk(b"IDAT", data), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(ends)


def test_very_large_images(tmp_path):
    folder = make(tmp_path, {"a": 3, "b": 3})
    (folder / "a" / "refused.png").write_bytes(large_png(20_000))
    (folder / "a" / "large.png").write_bytes(large_png(13_000))
    Image.new("L", (13_000, 13_000), 99).save(folder / "b" / "large.jpg", quality=50)
    before = peak_memory()
    splits, said = load(folder)
    found = pixels(splits)
    assert "refused.png: too many pixels" in said
    assert "1 file(s)" in said
    assert np.all(found[folder / "a" / "large.png"] == 0)
    assert np.all(np.abs(found[folder / "b" / "large.jpg"].astype(int) - 99) <= 1)
    for path in (folder / "a" / "large.png", folder / "b" / "large.jpg"):
        assert np.array_equal(kt.load_image(path, SIZE), found[path])
    # In full, one of them in 8-bit colour takes 0.5 GB, and Pillow makes copies.
    if before is not None:
        assert peak_memory() - before < 0.9e9


NAMES = (
    "two words.png",
    "it's.png",
    'a "quote".png',
    "new\nline.png",
    "tab\tin it.png",
    "Grüße-日本-🐶.png",
    "-rf.png",
    "%s {0} $HOME *.png",
    "a" * 200 + ".png",
)


def test_odd_names(tmp_path):
    folder = make(tmp_path, {'it\'s a\n"cat"': 3, "狗 dog": 3})
    for index, name in enumerate(NAMES):
        noise((7, index)).save(folder / "狗 dog" / name)
    (folder / "狗 dog" / "text\nin two lines.png").write_text("no photo")
    splits, said = load(folder)
    assert splits.class_names == ('it\'s a\\n"cat"', "狗 dog")
    assert {path.name for path in pixels(splits)} >= {*NAMES}
    assert "狗 dog/text\\nin two lines.png: not one of the" in said
    assert all(name.isprintable() for name in (splits.source, *splits.class_names))


def test_names_in_nfc_and_nfd(tmp_path):
    composed, apart = (unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))
    folder = make(tmp_path, {f"caf{composed}": 2, f"caf{apart}": 2, "b": 3})
    noise(20).save(folder / "b" / f"{composed}.png")
    noise(21).save(folder / "b" / f"{apart}.png")
    splits, _ = load(folder)
    assert len(splits.class_names) == 2
    assert len(pixels(splits)) == 4 + 5


def test_names_that_differ_by_case(tmp_path):
    if (make(tmp_path, {"cat": 3}) / "CAT").exists():
        pytest.skip("This file system takes them for the same.")
    folder = make(tmp_path, {"cat": 3, "Cat": 3, "dog": 3})
    for index, name in enumerate(("a.png", "A.png", "a.PNG")):
        noise((8, index)).save(folder / "dog" / name)
    splits, said = load(folder)
    assert splits.class_names == ("Cat", "cat", "dog")
    assert "Cat and cat" in said
    assert sum(splits.counts.values()) == 12


def test_what_systems_leave_behind(tmp_path):
    folder = make(tmp_path, {"a": 3, "b": 3, "__MACOSX/a": 3, ".hidden": 3})
    (folder / "__MACOSX" / "._a").write_bytes(b"x")
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "._0.png", ".hidden.png"):
        (folder / "a" / name).write_bytes(b"x")
    (folder / "a" / "__MACOSX").mkdir()
    noise(1).save(folder / "a" / "__MACOSX" / "._x.png")
    splits, said = load(folder)
    assert splits.class_names == ("a", "b")
    assert sum(splits.counts.values()) == 6
    assert said == ""


def test_nested_folders(tmp_path):
    folder = make(tmp_path, {"a/2023/may": 2, "a/2024": 2, "b": 3})
    noise((9, 9)).save(folder / "a" / "top.png")
    splits, said = load(folder)
    assert splits.class_names == ("a", "b")
    assert sum(splits.counts.values()) == 8
    assert said == ""


def test_links_in_a_loop(tmp_path):
    folder = make(tmp_path, {"a": 3, "b": 3})
    (folder / "a" / "up").symlink_to(folder)
    (folder / "b" / "itself").symlink_to(folder / "b" / "itself")
    (folder / "b" / "one").symlink_to(folder / "b" / "two")
    (folder / "b" / "two").symlink_to(folder / "b" / "one")
    splits, said = load(folder)
    assert sum(splits.counts.values()) == 6
    assert "a/up: a link to a folder that it lies in" in said
    assert "b/itself: a link to nothing" in said
    assert "b/one: a link to nothing" in said


@contextlib.contextmanager
def without_rights():
    """Run as a user whom permissions bind; root reads everything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.skipif(os.name != "posix", reason="Windows has other permissions")
def test_without_permission(data_of_its_own, monkeypatch):
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        # Not the folder of pytest, into which no other user may look.
        root = pathlib.Path(name)
        root.chmod(0o777)
        monkeypatch.setenv("KERAS_TRANSFER_DATA_DIR", str(root / "data"))
        folder = make(root / "photos", {"a": 4, "b": 4, "c": 3})
        closed = [folder / "a" / "0.png", folder / "b" / "shut", folder / "b" / "list"]
        for each in closed[1:]:
            each.mkdir()
            noise(1).save(each / "inside.png")
        for path, mode in zip(closed, (0, 0, 0o444), strict=True):
            path.chmod(mode)
            stack.callback(path.chmod, 0o755)
        with without_rights():
            splits, said = load(folder)
        assert sum(splits.counts.values()) == 10
        assert "a/0.png: cannot be read (Permission denied)" in said
        assert "b/shut: cannot be opened (Permission denied)" in said
        assert "b/list/inside.png: cannot be opened (Permission denied)" in said
        (folder / "c").chmod(0)
        stack.callback((folder / "c").chmod, 0o755)
        with without_rights():
            assert "0 readable image(s) of c" in refused(folder)
        for mode in (0, 0o444):
            folder.chmod(mode)
            stack.callback(folder.chmod, 0o755)
            with without_rights():
                said = refused(folder, PermissionError)
            assert "cannot be opened (Permission denied)" in said


def test_the_same_photo_in_two_classes(tmp_path):
    folder = make(tmp_path, {"a": 4, "b": 4})
    copy = folder / "b" / "copy.png"
    copy.write_bytes((folder / "a" / "0.png").read_bytes())
    splits, said = load(folder)
    assert dict(splits.skipped) == {
        "a/0.png": "in two classes, also as b/copy.png",
        "b/copy.png": "in two classes, also as a/0.png",
    }
    assert sum(splits.counts.values()) == 7
    assert "delete the one whose class is wrong" in said


def test_a_thousand_classes(tmp_path):
    names = [f"class {number:03}" for number in range(1000)]
    pictures = np.random.default_rng(0).integers(0, 256, (1000, 3, 8, 8, 3), "uint8")
    for name, photos in zip(names, pictures, strict=True):
        (tmp_path / name).mkdir()
        for index, photo in enumerate(photos):
            Image.fromarray(photo).save(tmp_path / name / f"{index}.bmp")
    splits, said = load(tmp_path)
    assert said == ""
    assert splits.class_names == tuple(names)
    assert splits.counts == {"train": 1000, "validation": 1000, "test": 1000}
    for photos in splits.photos.values():
        assert sorted(photo.label for photo in photos) == [*range(1000)]


@contextlib.contextmanager
def full_disk(folder):
    """Let nothing more be written into a folder: on a small disk, or by a limit."""
    command = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(folder)]
    mounted = sys.platform == "linux" and os.geteuid() == 0
    if mounted and subprocess.run(command, capture_output=True).returncode == 0:
        try:
            with contextlib.suppress(OSError):
                (folder / "filler").write_bytes(bytes(12 * 1024))
            yield
        finally:
            subprocess.run(["umount", str(folder)], check=True)
        return
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such limit")
def test_a_full_disk(tmp_path, data_of_its_own, capsys):
    folder = make(tmp_path, {"a": 20, "b": 20})
    with full_disk(data_of_its_own):
        splits, _ = load(folder)
        left = [path.name for path in data_of_its_own.iterdir()]
    assert sum(splits.counts.values()) == 40
    said = capsys.readouterr().out
    reason = "|".join(os.strerror(code) for code in (errno.ENOSPC, errno.EFBIG))
    assert re.search(
        f"could not be kept in .*({reason}).*KERAS_TRANSFER_DATA_DIR", said
    )
    assert {*left} <= {"filler"}
