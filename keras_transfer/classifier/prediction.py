"""From the paths of photos to predictions, in order, whatever the files hold.

Neither Keras nor TensorFlow is imported here: an exported classifier answers without.
"""

import collections
import concurrent.futures
import dataclasses
import itertools
import os
import pathlib
import stat
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np

from keras_transfer.classifier.unknown import UnknownDetector
from keras_transfer.runtime.arguments import file_path, shown

BATCH_SIZE = 32
# Batches that are decoded while the network works on one.
AHEAD = 2
# For fewer photos than this, a graph takes longer to make than it saves.
FEW = 128


@dataclasses.dataclass(frozen=True)
class Prediction:
    """Name the predicted class of one image.

    Of a file that could not be read, with `errors="return"`, all but `path` and `error`
    is `None`.

    Attributes:
        class_name: The class with the highest probability.
        probability: Its probability, 0 to 1.
        probabilities: float array of shape `(num_classes,)`.
        path: The path, as it was given.
        unknown: Whether the image is of none of the classes; `None` where the
            classifier has no detector for that.
        distance: What `unknown` was decided by; `None` likewise.
        error: Why the file could not be read, or `None`.
    """

    class_name: str | None
    probability: float | None
    probabilities: np.ndarray | None
    path: str | os.PathLike | None = None
    unknown: bool | None = None
    distance: float | None = None
    error: str | None = None


class Photo(typing.NamedTuple):
    """Hold what was read from a path: pixels, or else an error."""

    path: str | os.PathLike
    pixels: np.ndarray | None
    error: Exception | None


class Run(typing.Protocol):
    """Run a network, such as `network.Run` does."""

    def stream(self, items: Iterable) -> Iterator[tuple]:
        """Yield outputs, features or `None`, and what came with each batch."""


class Meaning(typing.NamedTuple):
    """Say what the numbers that a network gives for photos mean.

    Attributes:
        class_names: Tuple of names in the order of the outputs.
        probabilities: Function from the outputs to one probability a class.
        unknown: Detector for what is of none of the classes, or `None`.
    """

    class_names: tuple[str, ...]
    probabilities: Callable[[np.ndarray], np.ndarray]
    unknown: UnknownDetector | None


def predictions(
    photos: Iterator[Photo], run: Run, meaning: Meaning, batch_size: int
) -> Iterator[Prediction]:
    """Yield one prediction a photo, in order, and an error where there are no pixels.

    The photos are closed with this generator.
    """

    def batches():
        while batch := [*itertools.islice(photos, batch_size)]:
            pixels = [photo.pixels for photo in batch if photo.error is None]
            yield (np.stack(pixels) if pixels else np.empty(0, "uint8")), batch

    try:
        for outputs, features, batch in run.stream(batches()):
            readable = any(photo.error is None for photo in batch)
            answers = iter(answered(outputs, features, meaning) if readable else ())
            for photo in batch:
                if photo.error is None:
                    yield dataclasses.replace(next(answers), path=photo.path)
                else:
                    error = str(photo.error) or type(photo.error).__name__
                    yield Prediction(None, None, None, photo.path, error=error)
    finally:
        photos.close()


def read_photos(
    paths: Iterable,
    load: Callable[[pathlib.Path], np.ndarray],
    ahead: int,
    raises: bool,
) -> Iterator[Photo]:
    """Yield the photos at some paths, in order, read by threads ahead of time.

    Args:
        paths: Any number of paths; no more than are read ahead are asked for.
        load: Reads a file as the pixels that the network sees.
        ahead: How many are read before they are asked for.
        raises: Whether a file that cannot be read is an error at its place.
    """
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as threads:
        pending = collections.deque()

        def next_one() -> Photo:
            photo = pending.popleft().result()
            if raises and photo.error is not None:
                raise photo.error
            return photo

        try:
            for path in paths:
                check_path(path)
                pending.append(threads.submit(_read, path, load))
                if len(pending) > ahead:
                    yield next_one()
            while pending:
                yield next_one()
        finally:
            for each in pending:
                each.cancel()


def path_iterator(paths: typing.Any) -> Iterator:
    """Return the paths of photos one by one, of a single path or of several."""
    if isinstance(paths, str | os.PathLike):
        paths = [paths]
    is_data = isinstance(paths, bytes | Mapping) or hasattr(paths, "element_spec")
    try:
        return iter(None if is_data else paths)
    except Exception as error:  # An array of no axes, a tensor of a graph.
        raise ValueError(
            "paths must be the path of a photo, or hold paths; of images in memory, "
            "class_probabilities(model, model.predict(images)) makes answers. "
            f"Received: paths={shown(paths)}"
        ) from error


def check_path(path: typing.Any) -> None:
    """Raise a `ValueError` if this is no path at all, of whatever file."""
    if not isinstance(path, str | os.PathLike):
        raise ValueError(
            "paths must be the path of a photo, or hold paths; of images in memory, "
            "class_probabilities(model, model.predict(images)) makes answers. "
            f"Received: paths=[{shown(path)}, ...]"
        )


def _read(path: str | os.PathLike, load: Callable) -> Photo:
    try:
        return Photo(path, load(_checked_file(path)), None)
    except Exception as error:
        # Whatever a file does to those who read it, the other files are not to blame.
        return Photo(path, None, error)


def _checked_file(path: str | os.PathLike) -> pathlib.Path:
    file = file_path("paths", path)
    try:
        mode = file.stat().st_mode
    except OSError:  # Whoever opens it says why.
        return file
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(
            "Expected the file of an image, but this is a folder; list what is in it: "
            f"sorted(pathlib.Path({str(file)!r}).iterdir()). Received: path={file}"
        )
    if not stat.S_ISREG(mode):
        # Whoever reads from a pipe waits for ever.
        raise OSError(
            "Expected the file of an image, but this is no regular file. "
            f"Received: path={file}"
        )
    return file


def answered(
    outputs: np.ndarray, features: np.ndarray | None, meaning: Meaning
) -> list[Prediction]:
    """Return the predictions that a network's numbers for some photos mean.

    Raises:
        ValueError: If a probability is not finite.
    """
    rows = meaning.probabilities(outputs)
    if not np.isfinite(rows).all():
        raise ValueError(
            "The model's predictions are not finite. A likely reason: a learning rate "
            f"so high that training diverged. Received: outputs={shown(outputs)}"
        )
    far = [(None, None)] * len(rows)
    if meaning.unknown is not None:
        distances = meaning.unknown.distances(features)
        far = [(bool(x > meaning.unknown.threshold), float(x)) for x in distances]
    found = []
    for row, (unknown, distance) in zip(rows, far, strict=True):
        best = int(row.argmax())
        name, probability = meaning.class_names[best], float(row[best])
        found.append(
            Prediction(name, probability, row, unknown=unknown, distance=distance)
        )
    return found
