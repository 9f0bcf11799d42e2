"""Small grey pictures of photos, kept from one call to the next by their content."""

import hashlib
import os
import pathlib
from collections.abc import Collection, Mapping

import numpy as np
from PIL import Image, ImageOps

from keras_transfer.data import decoding
from keras_transfer.runtime import atomic_files, paths

NAME = "photo_thumbnails"
# Of all folders of photos together, besides the last one.
MOST_BYTES = 2**28
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


def kept_at(folder: pathlib.Path) -> pathlib.Path:
    """Return where the thumbnails of a folder of photos are kept."""
    key = hashlib.sha256(os.fsencode(folder)).hexdigest()[:32]
    return paths.data_dir() / NAME / f"{key}.npy"


def read_kept(folder: pathlib.Path, wanted: Collection[str]) -> dict[str, bytes]:
    """Return the thumbnails that were kept of photos with these checksums.

    Args:
        folder: The folder of photos, absolute.
        wanted: Checksums.
    """
    try:
        kept = np.load(kept_at(folder), mmap_mode="r", allow_pickle=False)
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


def keep(folder: pathlib.Path, thumbnails: Mapping[str, bytes]) -> None:
    """Write the thumbnails of a folder by checksum, in place of those before.

    Of the folders that were written least lately, some are forgotten.
    """
    records = np.zeros(len(thumbnails), _RECORD)
    records["sha256"] = [bytes.fromhex(sha256) for sha256 in thumbnails]
    records["pixels"] = pixels(thumbnails.values())[..., 0]
    path = kept_at(folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_files.written_whole(path) as temporary:
        np.save(temporary, records)
    states = [(each, each.stat()) for each in path.parent.glob("*.npy")]
    states.sort(key=lambda each: (each[0] == path, each[1].st_mtime_ns))
    size = sum(state.st_size for _, state in states)
    for each, state in states[:-1]:
        if size <= MOST_BYTES:
            break
        each.unlink(missing_ok=True)
        size -= state.st_size
