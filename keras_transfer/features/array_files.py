"""Arrays that are written batch by batch, and go on where a killed run stopped."""

import contextlib
import io
import math
import os
import pathlib
import time
import typing
import zlib
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from keras_transfer.features.inference import Network
from keras_transfer.runtime import atomic_files
from keras_transfer.runtime.arguments import shown


class Outputs(typing.NamedTuple):
    """Say what is to be written, and where.

    Attributes:
        outputs: Path of the file of outputs.
        labels: Path of the file of labels.
        shape: Shape of all outputs together.
        dtype: What they are kept as.
    """

    outputs: pathlib.Path
    labels: pathlib.Path
    shape: tuple[int, ...]
    dtype: type


class Computed(typing.NamedTuple):
    """Hold what was made of some images that follow each other.

    Attributes:
        part: Number of the part that they belong to.
        values: What the network made of them.
        labels: Their integer labels.
        images: The images, where they are at hand. Defaults to `None`.
    """

    part: int
    values: np.ndarray
    labels: np.ndarray
    images: np.ndarray | None = None


# For each part that is not whole, its number and that of its first missing image; what
# is yielded begins there and leaves nothing out.
Compute = Callable[[list[tuple[int, int]]], Iterable[Computed]]


def batch_by_batch(network: Network, batches: Sequence[Callable]) -> Compute:
    """Return what runs a network on the batches of parts, one part behind another.

    Args:
        network: What runs the batches.
        batches: For each part, a function from the number of the first image to batches
            of images and integer labels from there on.
    """

    def compute(missing):
        def items():
            for part, done in missing:
                for images, labels in batches[part](done):
                    yield images, (part, np.asarray(labels), images)

        for values, (part, labels, images) in network.stream(items()):
            yield Computed(part, values, labels, images)

    return compute


def write_outputs(compute: Compute, parts: Sequence[Outputs]) -> float:
    """Write what is computed of parts into files, and their labels into others.

    Written as it comes, so memory does not grow with the number of images. What an
    interrupted run has finished of both files is kept, if it is whole.

    Args:
        compute: What computes it, those of one part behind those of another.
        parts: What is to be written.

    Returns:
        Seconds that the parts cost which were there already.
    """
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(_Pair(part)) for part in parts]
        spared = sum(pair.seconds for pair in files)
        missing = [
            (number, pair.done)
            for number, pair in enumerate(files)
            if pair.done < parts[number].shape[0]
        ]
        begun = time.perf_counter()
        for number, values, labels, images in compute(missing) if missing else ():
            with np.errstate(over="ignore"):  # Which is looked for.
                values = values.astype(parts[number].dtype, copy=False)
            if not np.isfinite(values).all():
                raise _not_finite(values, images)
            files[number].append(values, labels, begun)
            begun = time.perf_counter()
        for part, pair in zip(parts, files, strict=True):
            if pair.done != part.shape[0]:
                raise ValueError(
                    f"Expected {part.shape[0]} images, as counted before. "
                    f"Received: {pair.done}"
                )
        return spared


def _not_finite(values: np.ndarray, images: np.ndarray | None) -> ValueError:
    received = f"outputs {shown(values)}"
    if images is not None:
        received = f"images from {np.min(images)} to {np.max(images)}"
    return ValueError(
        "The network made numbers that are not finite, or that "
        f"{values.dtype.name} cannot hold. Check its weights and its precision, and "
        f"that its images are RGB from 0 to 255. Received: {received}"
    )


class _Pair:
    """Hold two files that grow together, and a record of what of them is whole.

    The record is a file of lines, one a batch: how many images until there, the seconds
    that they took, and checksums of both files. Only these make a line trusted, so it
    does not matter what of it all has reached the disk when a machine stops.
    """

    def __init__(self, part: Outputs):
        self.part, shape = part, part.shape
        self._shape = shape
        self._dtypes = np.dtype(part.dtype), np.dtype(np.int32)
        self._headers = _header(shape, part.dtype), _header(shape[:1], np.int32)
        record = part.outputs.with_suffix(atomic_files.PROGRESS)
        self._paths = part.outputs, part.labels, record
        self.done, self.seconds = 0, 0.0

    def __enter__(self) -> "_Pair":
        for path in self._paths:
            path.touch()
        *self._files, self._record = (path.open("r+b") for path in self._paths)
        self._sums = [zlib.crc32(header) for header in self._headers]
        kept = self._find_whole()
        sizes = self._sizes(self.done)
        for file, header, size in zip(self._files, self._headers, sizes, strict=True):
            file.seek(0)
            file.write(header)
            file.seek(len(header) + size)
            file.truncate()
        self._record.seek(kept)
        self._record.truncate()
        return self

    def _find_whole(self) -> int:
        """Set `done` to what is whole, and return the length of its record."""
        kept = 0
        for file, header in zip(self._files, self._headers, strict=True):
            if file.read(len(header)) != header:
                return kept
        for line in self._record:
            done, seconds = _numbers(line)
            if not self.done < done <= self._shape[0]:
                break
            sizes = self._sizes(done - self.done)
            sums = [
                zlib.crc32(file.read(size), before)
                for file, size, before in zip(
                    self._files, sizes, self._sums, strict=True
                )
            ]
            if line != _line(done, seconds, sums):
                break
            self._sums, self.done, self.seconds = sums, done, seconds
            kept += len(line)
        return kept

    def append(self, outputs: np.ndarray, labels: np.ndarray, begun: float) -> None:
        """Add what was computed from the time `begun` until now."""
        count = len(labels)
        if outputs.shape != (count, *self._shape[1:]):
            raise ValueError(
                f"Expected outputs of shape {(count, *self._shape[1:])} for "
                f"{count} images. Received: outputs of shape {outputs.shape}"
            )
        if labels.ndim != 1 or labels.dtype.kind not in "iub":
            raise ValueError(
                "Expected one integer label for each image. "
                f"Received: labels={shown(labels)}"
            )
        if self.done + count > self._shape[0]:
            raise ValueError(
                f"Expected {self._shape[0]} images, as counted before. "
                f"Received: at least {self.done + count}"
            )
        for place, values in enumerate((outputs, labels)):
            data = np.ascontiguousarray(values, self._dtypes[place]).data.cast("B")
            self._files[place].write(data)
            self._files[place].flush()
            self._sums[place] = zlib.crc32(data, self._sums[place])
        self.done += count
        self.seconds += time.perf_counter() - begun
        self._record.write(_line(self.done, self.seconds, self._sums))
        self._record.flush()

    def __exit__(self, kind, error, trace) -> None:
        try:
            if error is None:
                for file in self._files:
                    os.fsync(file.fileno())
        finally:
            for file in (*self._files, self._record):
                with contextlib.suppress(OSError):  # A full disk, which was said.
                    file.close()

    def _sizes(self, count: int) -> tuple[int, int]:
        outputs, labels = (dtype.itemsize for dtype in self._dtypes)
        return count * math.prod(self._shape[1:]) * outputs, count * labels


def _header(shape: tuple[int, ...], dtype: type) -> bytes:
    """Return how a `.npy` file of such an array begins."""
    described = np.lib.format.dtype_to_descr(np.dtype(dtype))
    header = {"descr": described, "fortran_order": False, "shape": tuple(shape)}
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue()


def _line(done: int, seconds: float, sums: list[int]) -> bytes:
    return f"{done} {seconds:.3f} {' '.join(map(str, sums))}\n".encode()


def _numbers(line: bytes) -> tuple[int, float]:
    try:
        done, seconds, *_ = line.split()
        return int(done), float(seconds)
    except ValueError:  # Torn.
        return 0, 0.0
