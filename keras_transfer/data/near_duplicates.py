"""Find images that are in two sets, pixel for pixel or nearly so."""

import dataclasses
import hashlib
from collections.abc import Iterable

import numpy as np
import tensorflow as tf

SIDE = 32
CELLS = 8
# Measured on 4,118 photos of cats, dogs and flowers, and their mirror images. Of 9
# million pairs 6,500 have hashes this near, of 112 bits. Those among them that do not
# show the same scene differ by 0.48 or more.
MAX_DISTANCE = 28
MAX_DIFFERENCE = 0.4
# A cell has details if they are more than this share of what cells have on average.
FAINT = 0.1
# Less, as a share of the brightest value, is noise of the arithmetic.
FLAT = 1e-3
# In a night sky with a moon, only so many cells are compared; one alone says little.
LEAST_CELLS = 8
# What is in memory at once: pairs of hashes, and pairs of thumbnails.
HASH_PAIRS = 2**22
PIXEL_PAIRS = 2**10


@dataclasses.dataclass(frozen=True)
class Duplicate:
    """Name one image of each set that show the same.

    Attributes:
        first_index: Position in the first set, from 0.
        second_index: Position in the second set, from 0.
        exact: Whether both are of one size and every pixel is the same.
        difference: 1 minus the mean correlation of the details of both in the cells of
            a grid, from thumbnails of 32 x 32 pixels: 0 for copies, about 1 for images
            that have nothing in common. It does not change with brightness or contrast.
    """

    first_index: int
    second_index: int
    exact: bool
    difference: float


@dataclasses.dataclass(frozen=True)
class Fingerprints:
    """Hold what is compared of each image in a set, 6 kB in place of all pixels.

    Attributes:
        digests: List of one checksum of all pixels for each image.
        thumbnails: float16 array of shape `(count, 32, 32, 3)`.
    """

    digests: list[bytes]
    thumbnails: np.ndarray


def fingerprints(batches: Iterable[np.ndarray]) -> Fingerprints:
    """Return the fingerprints of images that come in batches, in their order."""
    digests, thumbnails = [], [np.zeros((0, SIDE, SIDE, 3), "float16")]
    for batch in batches:
        if np.ndim(batch) != 4 or np.shape(batch)[-1] != 3:
            raise ValueError(
                "Expected images of shape (count, height, width, 3). "
                f"Received: images of shape {np.shape(batch)}"
            )
        for start in range(0, len(batch), 64):
            images = np.asarray(batch[start : start + 64], "float32")
            digests += map(digest, images)
            small = tf.image.resize(images, (SIDE, SIDE), antialias=True)
            thumbnails.append(small.numpy().astype("float16"))
    return Fingerprints(digests, np.concatenate(thumbnails))


def digest(image: np.ndarray) -> bytes:
    """Return a checksum that only images of the same shape and pixels share."""
    pixels = np.ascontiguousarray(image, "float32")
    return hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).digest()


def match(first: Fingerprints, second: Fingerprints) -> list[Duplicate]:
    """Find the images of one set that are in another one too, exactly or nearly.

    Exact copies are found by a checksum of their pixels. Near ones are first looked
    for by a perceptual hash: where in an 8 x 8 grid it gets brighter to the right and
    downwards. Many different photos agree in that, so a hit counts only if the details
    inside the cells, which the hash has not seen, correlate as well.

    Found are copies that were resized, saved again as JPEG, mirrored, made brighter,
    darker or grey, turned by a degree, or cropped by up to 4 %; and photos taken in one
    series, if nothing moved much. Not found are copies that were turned, cropped or
    edited more.

    Args:
        first: Fingerprints of a set of RGB images, 0 to 255.
        second: The same; its images may be of another size.

    Returns:
        List of at most one `Duplicate` for each image in `second`, that of the image
        in `first` nearest to it: exact ones first, then by their difference.

    Reference:

    - [Zauner, 2010](https://phash.org/docs/pubs/thesis_zauner.pdf), perceptual hashes
    """
    found = _near(first.thumbnails, second.thumbnails)
    # Backwards, so that of several copies the first one stays.
    known = {value: i for i, value in reversed([*enumerate(first.digests)])}
    for index, value in enumerate(second.digests):
        if value in known:
            found[index] = Duplicate(known[value], index, True, 0.0)
    return sorted(
        found.values(), key=lambda x: (not x.exact, x.difference, x.second_index)
    )


def _near(first: np.ndarray, second: np.ndarray) -> dict[int, Duplicate]:
    """Return the near duplicates of thumbnails, by their index in `second`."""
    found = {}
    if not len(first):
        return found
    known = hashes(first)
    step = max(1, HASH_PAIRS // len(first))
    for start in range(0, len(second), step):
        part = second[start : start + step]
        for turned in (part, part[:, :, ::-1]):
            # Of numbers 1 and -1, the product is the bits less twice the distance.
            agreement = known @ hashes(turned).T
            pairs = np.argwhere(agreement >= known.shape[1] - 2 * MAX_DISTANCE)
            for begin in range(0, len(pairs), PIXEL_PAIRS):
                i, j = pairs[begin : begin + PIXEL_PAIRS].T
                differences = _differences(first[i], turned[j])
                for hit in np.flatnonzero(differences <= MAX_DIFFERENCE):
                    index, difference = int(start + j[hit]), float(differences[hit])
                    best = found.get(index)
                    if best is None or difference < best.difference:
                        found[index] = Duplicate(int(i[hit]), index, False, difference)
    return found


def hashes(thumbnails: np.ndarray) -> np.ndarray:
    """Return 112 bits each: 1 where it gets brighter to the right or down, else -1."""
    cells = _cells(thumbnails.mean(axis=-1, keepdims=True, dtype="float32"))
    cells = cells.mean(axis=(2, 4, 5))
    brighter = [np.diff(cells, axis=axis) > 0 for axis in (1, 2)]
    bits = np.concatenate([x.reshape(len(cells), -1) for x in brighter], axis=1)
    return np.where(bits, 1, -1).astype("float32")


def _differences(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return 1 minus the mean correlation of the cells of each pair of thumbnails."""
    first, second = details(first), details(second)
    # A cell that is empty in both says nothing, in one of them it speaks against.
    compared = (first.any(axis=2) | second.any(axis=2)).sum(axis=1)
    correlations = (first * second).sum(axis=(1, 2))
    return 1 - correlations / np.maximum(compared, LEAST_CELLS)


def details(thumbnails: np.ndarray, flat: float = FLAT) -> np.ndarray:
    """Return how the pixels in each cell differ from its mean, with length 1 or 0.

    Of one length, so that a frame, which many photos share, counts no more than the
    rest. What differs less than `flat`, a share of the brightest value, is noise.
    """
    cells = _cells(thumbnails.astype("float32"))
    inside = (cells - cells.mean(axis=(2, 4), keepdims=True)).swapaxes(2, 3)
    inside = inside.reshape(len(cells), CELLS**2, -1)
    lengths = np.linalg.norm(inside, axis=2, keepdims=True)
    usual = np.sqrt(np.mean(lengths**2, axis=1, keepdims=True))
    brightest = np.abs(cells).max(axis=(1, 2, 3, 4, 5))[:, None, None]
    least = np.maximum(FAINT * usual, flat * brightest * np.sqrt(inside.shape[-1]))
    return np.where(lengths > least, inside / np.maximum(lengths, 1e-12), 0)


def _cells(thumbnails: np.ndarray) -> np.ndarray:
    """Return a view of shape `(count, cell, row, cell, column, channel)`."""
    width = SIDE // CELLS
    return thumbnails.reshape(
        len(thumbnails), CELLS, width, CELLS, width, thumbnails.shape[-1]
    )
