"""Tell from the files of a few photos what a pipeline does to them."""

import os
import pathlib
import typing

import numpy as np
import tensorflow as tf
from PIL import ExifTags

from keras_transfer.data import decoding, pipelines
from keras_transfer.diagnosis.case import Case
from keras_transfer.diagnosis.evidence import pixel_forms
from keras_transfer.diagnosis.findings import NotExaminedError

PHOTOS = 24
# So many of them tell how all are resized.
FITTED = 12
# Of each photo, every so manieth pixel is compared.
STEP = 7
# So many values of pixels are resized in one call, or those of one photo.
TOGETHER = 2**22
# Levels of 255. Decoders and rounding differ by up to one; other resizing by more.
EXPLAINED, CLEARLY = 3.0, 1.0
# Photos that differ less from grey than this say nothing about the order of channels.
COLOURED = 3.0


class Photo(typing.NamedTuple):
    """Hold one photo as its file has it, and as the pipeline gives it.

    Attributes:
        upright: uint8 RGB array, turned as its EXIF data says.
        stored: The same as it is stored; not there where both are one.
        given: float32 array that the pipeline makes of it.
    """

    upright: np.ndarray
    stored: np.ndarray | None
    given: np.ndarray


class Match(typing.NamedTuple):
    """Say how a pipeline resizes photos, and in which form it gives their pixels.

    Attributes:
        way: Key of `WAYS`.
        levels: For each way how far its pixels are from those given, in levels.
        form: The `Affine` from RGB to what is given.
        coloured: Whether the photos show the order of the channels.
        shrunk: How many times the photos are smaller than their files, the median.
        photos: Number of photos that were compared.
        turned: Number of them that EXIF data says to turn.
        not_turned: How many of them are given as they are stored.
    """

    way: str
    levels: dict[str, float]
    form: pixel_forms.Affine
    coloured: bool
    shrunk: float
    photos: int
    turned: int
    not_turned: int


def match(case: Case, split: str) -> Match:
    """Compare the photos of a split with their files."""
    return case.once(_match, split)


def _match(case: Case, split: str) -> Match:
    photos = _photos(case, split)
    plain = [photo for photo in photos if photo.stored is None]
    if not plain:
        raise NotExaminedError("no file of a photo that is stored upright was found")
    fits = {way: _fit(plain[:FITTED], way) for way in WAYS}
    levels = {way: level for way, (_, level) in fits.items()}
    way = min(levels, key=levels.get)
    if levels[way] > EXPLAINED:
        raise NotExaminedError(
            f"its images differ from their files by {levels[way]:.0f} levels of 255, "
            "however they are resized"
        )
    form, turned = fits[way][0], [x for x in photos if x.stored is not None]
    colours = np.concatenate([_pixels(x.upright) for x in plain]).astype("float32")
    sizes = [np.divide(x.upright.shape[:2], x.given.shape[:2]).min() for x in plain]
    return Match(
        way,
        levels,
        form,
        float(np.std(colours[:, 0] - colours[:, 2])) > COLOURED,
        float(np.median(sizes)),
        len(photos),
        len(turned),
        sum(_is_stored(photo, way, form) for photo in turned),
    )


def path_of(file: bytes) -> pathlib.Path | None:
    """Return what is a path to a file, and no file itself, as a path."""
    path = pathlib.Path(os.fsdecode(file)) if len(file) < 4096 else None
    return path if path and path.is_file() else None


def _photos(case: Case, split: str) -> list[Photo]:
    dataset = case.dataset(split)
    random = [step.index for step in case.random_maps(split)]
    if not all(pipelines.keeps_shape(dataset, index) for index in random):
        raise NotExaminedError("its images are cut out at random")
    files = pipelines.encoded(dataset, PHOTOS)
    if not files:
        raise NotExaminedError("its pipeline begins with images, not with files")
    given, _ = pipelines.read(pipelines.in_order(dataset, {*random}), len(files))
    photos = []
    for file, image in zip(files, given.astype("float32"), strict=True):
        path = path_of(file)
        data = path.read_bytes() if path else file
        try:
            upright = decoding.decode(data)
        except decoding.UnreadableImageError:
            continue
        with decoding.opened(data) as opened:
            is_turned = opened.getexif().get(ExifTags.Base.Orientation, 1) != 1
            stored = np.asarray(opened.convert("RGB")) if is_turned else None
        photos.append(Photo(upright, stored, image))
    return photos


def _fit(photos: list[Photo], way: str) -> tuple[pixel_forms.Affine, float]:
    resized, given = [], []
    for alike in _of_one_size(photos):
        images = np.stack([photo.upright for photo in alike])
        resized += map(_pixels, _resized(images, alike[0].given, way))
        given += [_pixels(photo.given) for photo in alike]
    return pixel_forms.fit(np.concatenate(resized), np.concatenate(given))


def _of_one_size(photos: list[Photo]) -> list[list[Photo]]:
    """Part photos so that a call resizes several: with small ones it is what costs."""
    parts = {}
    for photo in photos:
        together = max(1, TOGETHER // photo.upright.size)
        sizes = photo.upright.shape, photo.given.shape
        same = parts.setdefault(sizes, [[]])
        if len(same[-1]) == together:
            same.append([])
        same[-1].append(photo)
    return [part for same in parts.values() for part in same]


def _is_stored(photo: Photo, way: str, form: pixel_forms.Affine) -> bool:
    """Tell whether a photo was given without being turned."""
    upright, stored = (
        np.abs(form.apply(_resized(x, photo.given, way)) - photo.given).mean()
        for x in (photo.upright, photo.stored)
    )
    return bool(stored < upright / 2)


def _pixels(image: np.ndarray) -> np.ndarray:
    return image.reshape(-1, 3)[::STEP]


def _resized(image: np.ndarray, given: np.ndarray, way: str) -> np.ndarray:
    fit, options = WAYS[way]
    return fit(image, given.shape[:2], **options).numpy().astype("float32")


def _cropped(image: np.ndarray, size: tuple[int, int], **options) -> tf.Tensor:
    height, width = image.shape[-3:-1]
    inner = min(height, width * size[0] // size[1])
    across = min(width, height * size[1] // size[0])
    top, left = (height - inner) // 2, (width - across) // 2
    middle = image[..., top : top + inner, left : left + across, :]
    return tf.image.resize(middle, size, **options)


def _padded(image: np.ndarray, size: tuple[int, int], **options) -> tf.Tensor:
    return tf.image.resize_with_pad(image, *size, **options)


SMOOTH = "with antialiasing"
FITS = {"stretched": tf.image.resize, "cropped": _cropped, "padded": _padded}
FILTERS = {
    SMOOTH: {"antialias": True},
    f"{SMOOTH} (bicubic)": {"method": "bicubic", "antialias": True},
    f"{SMOOTH} (lanczos)": {"method": "lanczos3", "antialias": True},
    f"{SMOOTH} (area)": {"method": "area"},
    "without antialiasing": {},
    "without antialiasing (bicubic)": {"method": "bicubic"},
    "without antialiasing (nearest pixel)": {"method": "nearest"},
}
WAYS = {
    f"{fit}, {name}": (function, options)
    for fit, function in FITS.items()
    for name, options in FILTERS.items()
}
