"""Find photos that are tiny, odd in shape, blank, blurred, too dark or too bright."""

import concurrent.futures
import contextlib
import importlib.util
import io
import os
import typing
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

from keras_transfer.data import decoding
from keras_transfer.data.photo_files import PhotoFile
from keras_transfer.runtime.progress import progress_bar

# On 501 photos of cats and dogs, each verdict was that on the whole photo.
SIDE = 256
CHUNK = 64
NARROWEST = 0.35
JUDGED = ("low_information", "dark", "light", "blurry")


class Fault(typing.NamedTuple):
    """Name a photo that is hard to see.

    Attributes:
        index: Its position among those that were looked at.
        kind: What is wrong with it.
        evidence: What was measured.
        score: How clearly, 0 to 1.
    """

    index: int
    kind: str
    evidence: str
    score: float


def can_judge() -> bool:
    """Return whether cleanvision is installed, which judges what can be seen."""
    return importlib.util.find_spec("cleanvision") is not None


def find_faults(files: Sequence[PhotoFile], image_size: int) -> list[Fault]:
    """Return the photos that are hard to see, in their order.

    Without cleanvision only those are found that are tiny or odd in shape.

    Args:
        files: Readable photos.
        image_size: Side in pixels to which they will be stretched.
    """
    sizes, faults = np.zeros((len(files), 2), int), []
    with (
        concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as threads,
        progress_bar(len(files), "quality") as bar,
    ):
        for start in range(0, len(files), CHUNK):
            chunk = files[start : start + CHUNK]
            if can_judge():
                read = list(threads.map(small_photo, chunk))
                found = _judge([image for image, _ in read])
                faults += [fault._replace(index=start + fault.index) for fault in found]
                chunk_sizes = [size for _, size in read]
            else:
                chunk_sizes = list(threads.map(_size, chunk))
            sizes[start : start + len(chunk)] = chunk_sizes
            bar.update(len(chunk))
    if files:
        faults += _by_size(sizes, image_size)
    return sorted(faults, key=lambda fault: fault.index)


def small_photo(
    file: PhotoFile, side: int = SIDE
) -> tuple[Image.Image, tuple[int, int]]:
    """Return a photo as RGB of at most `side` pixels, upright, and its whole size."""
    if file.plain:
        with decoding.open_quietly(file.path) as image:
            size = image.size
            # A JPEG comes at a half, a quarter or an eighth of its size for less.
            image.draft("RGB", (side, side))
            small = image.convert("RGB")
    else:
        small = Image.fromarray(decoding.decode(decoding.read_file(file.path)))
        size = small.size
    small.thumbnail((side, side))
    return small, size


def _size(file: PhotoFile) -> tuple[int, int]:
    with decoding.open_quietly(file.path) as image:
        return image.size


class _Images:
    """Hold images as cleanvision takes them: as a data set of Hugging Face."""

    features = ("image",)

    def __init__(self, images: list[Image.Image]):
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> dict:
        return {"image": self._images[index]}


def _judge(images: list[Image.Image]) -> Iterator[Fault]:
    from cleanvision import Imagelab

    lab = Imagelab(hf_dataset=_Images(images), image_key="image", verbose=False)
    # Its own progress bars come for every call. In this process: a copy of one that
    # runs TensorFlow may hang.
    with contextlib.redirect_stderr(io.StringIO()):
        lab.find_issues({name: {} for name in JUDGED}, n_jobs=1, verbose=False)
    for name in JUDGED:
        for index in np.flatnonzero(lab.issues[f"is_{name}_issue"]):
            score = float(lab.issues[f"{name}_score"][index])
            kind, text = _words(name, score)
            yield Fault(int(index), kind, text, 1 - score)


def _words(name: str, score: float) -> tuple[str, str]:
    return {
        "low_information": (
            "blank",
            f"there is hardly anything to see: {10 * score:.1f} bits of entropy",
        ),
        "dark": (
            "dark",
            f"99 % of its pixels have {_percent(score)} of the brightness "
            "of white, or less",
        ),
        "light": (
            "bright",
            f"95 % of its pixels have {_percent(1 - score)} of the "
            "brightness of white, or more",
        ),
        "blurry": ("blurred", f"edges are weak: {score:.2f}, usual is above 0.29"),
    }[name]


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _by_size(sizes: np.ndarray, image_size: int) -> Iterator[Fault]:
    shorter, longer = sizes.min(axis=1), sizes.max(axis=1)
    # A folder of small photos is meant so.
    least = min(image_size / 4, np.median(shorter) / 2)
    for index, (width, height) in enumerate(sizes):
        text = f"{width} x {height} pixels"
        if shorter[index] < least:
            score = 1 - shorter[index] / least
            yield Fault(index, "tiny", f"only {text}", float(score))
        ratio = shorter[index] / longer[index]
        if ratio < NARROWEST:
            text += f" are stretched to a square, {1 / ratio:.1f} times"
            yield Fault(index, "odd shape", text, float(1 - ratio))
