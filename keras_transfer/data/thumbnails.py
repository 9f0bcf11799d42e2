"""Small grey pictures of photos, kept from one call to the next by their content."""

import pathlib
from collections.abc import Collection, Mapping

import numpy as np
from PIL import Image, ImageOps

from keras_transfer.data import decoding
from keras_transfer.runtime import atomic_files, paths

NAME = "photo_thumbnails.npy"
SIDE = 32
# What has fewer pixels has no details by which to tell it from others.
LEAST_SIDE = 16
# Of a photo that resembles nothing.
BLANK = bytes(SIDE * SIDE)
# 1 kB a photo and no more: found in colour are the same copies.
_RECORD = np.dtype([("sha256", "S32"), ("pixels", "u1", (SIDE, SIDE))])


def thumbnail(data: bytes) -> bytes:
    """Return the 32 x 32 grey pixels of an image file, upright.

    Of a JPEG, the fewest pixels are made from which it can be drawn smoothly; of an
    image below 16 pixels `BLANK`.

    Raises:
        UnreadableImageError: If the bytes are no whole image.
    """
    with decoding.opened(data) as image:
        if min(image.size) < LEAST_SIDE:
            return BLANK
        if image.format not in ("JPEG", "MPO"):
            image = Image.fromarray(decoding.decode(data))
        image.draft("L", (2 * SIDE, 2 * SIDE))
        try:
            ImageOps.exif_transpose(image, in_place=True)
            grey = image.convert("L")
        except OSError as error:
            raise decoding.UnreadableImageError("truncated or damaged") from error
    return grey.resize((SIDE, SIDE), Image.Resampling.BILINEAR).tobytes()


def pixels(thumbnails: Collection[bytes]) -> np.ndarray:
    """Return thumbnails as a uint8 array of shape `(count, 32, 32, 1)`."""
    joined = np.frombuffer(b"".join(thumbnails), "uint8")
    return joined.reshape(-1, SIDE, SIDE, 1)


def read_kept(wanted: Collection[str]) -> dict[str, bytes]:
    """Return the thumbnails that were kept of photos with these checksums."""
    try:
        kept = np.load(paths.data_dir() / NAME, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return {}
    if kept.dtype != _RECORD or kept.ndim != 1:
        return {}
    known = {bytes.fromhex(sha256): sha256 for sha256 in wanted}
    # NumPy drops zeros at the end of a text.
    numbers = [number.ljust(32, b"\0") for number in kept["sha256"].tolist()]
    return {
        known[number]: kept["pixels"][index].tobytes()
        for index, number in enumerate(numbers)
        if number in known
    }


def keep(thumbnails: Mapping[str, bytes]) -> pathlib.Path:
    """Write thumbnails by the checksum of their photo, in place of all before."""
    records = np.zeros(len(thumbnails), _RECORD)
    records["sha256"] = [bytes.fromhex(sha256) for sha256 in thumbnails]
    records["pixels"] = pixels(thumbnails.values())[..., 0]
    path = paths.data_dir() / NAME
    with atomic_files.written_whole(path) as temporary:
        np.save(temporary, records)
    return path
