"""The images of a data set of one's own, read once and kept as they were."""

import contextlib
import hashlib
import pathlib
import weakref

import numpy as np

from keras_transfer.runtime import atomic_files, paths

# More than this is kept on disk in place of memory.
MEMORY_BYTES = 2 * 1024**3
# What is kept in one array, or in one file.
BLOCK_BYTES = 64 * 1024**2


class Content:
    """Images of one size and their labels, with a checksum of each.

    Whole numbers from 0 to 255 are kept as uint8, all others as float32: in memory up
    to `MEMORY_BYTES`, from there on in files that go with this object.

    Attributes:
        blocks: List of arrays `(count, side, side, 3)`, which follow each other.
        digests: List of a checksum of each image.
        labels: Integer label of each image.
        parts: For each split, the numbers of its images, in stored order.
        low: Lowest of all pixels.
        high: Highest of all pixels.
    """

    def __init__(self):
        self.blocks = []
        self.digests = []
        self.labels = np.zeros(0, "int32")
        self.parts = {}
        self.low, self.high = np.inf, -np.inf
        self._starts = [0]
        self._pending = []
        self._folder = None

    @property
    def side(self) -> int | None:
        """Side of the images in pixels, as soon as there is one."""
        for images in (*self.blocks, *self._pending):
            return images.shape[1]
        return None

    def add(self, images: np.ndarray) -> None:
        """Add a batch of images of shape `(count, side, side, 3)`, any numbers."""
        if not len(images):
            return
        images = compact(images)
        self.low = min(self.low, float(images.min()))
        self.high = max(self.high, float(images.max()))
        self.digests += map(digest, images)
        if self._pending and self._pending[0].dtype != images.dtype:
            self.flush()
        self._pending.append(images)
        if sum(each.nbytes for each in self._pending) >= BLOCK_BYTES:
            self.flush()

    def refer_to(self, images: np.ndarray) -> None:
        """Add a whole uint8 array without making a copy of it."""
        self.flush()
        for start in range(0, len(images), 64):
            part = images[start : start + 64]
            self.low = min(self.low, float(part.min()))
            self.high = max(self.high, float(part.max()))
            self.digests += map(digest, part)
        self._append(images)

    def flush(self) -> None:
        """Make a block of what was added."""
        if not self._pending:
            return
        block, self._pending = np.concatenate(self._pending), []
        held = sum(x.nbytes for x in self.blocks if not isinstance(x, np.memmap))
        if held + block.nbytes > MEMORY_BYTES:
            block = self._on_disk(block)
        self._append(block)

    def images(self, chosen: np.ndarray) -> np.ndarray:
        """Return the images of the numbers given, as float32."""
        side = self.blocks[0].shape[1]
        found = np.empty((len(chosen), side, side, 3), "float32")
        blocks = np.searchsorted(self._starts, chosen, side="right") - 1
        for row, (block, index) in enumerate(zip(blocks, chosen, strict=True)):
            found[row] = self.blocks[block][index - self._starts[block]]
        return found

    def save(self, folder: pathlib.Path) -> None:
        """Write all of it into a new folder, whole or not at all."""
        paths.check_room(folder, sum(block.nbytes for block in self.blocks))
        with atomic_files.written_whole(folder) as temporary:
            temporary.mkdir()
            for index, block in enumerate(self.blocks):
                np.save(temporary / f"images-{index:05}.npy", block)
            np.savez(temporary / "labels.npz", labels=self.labels, **self.parts)

    @classmethod
    def read(cls, folder: pathlib.Path) -> "Content":
        """Return what `save` wrote; images stay on disk."""
        content = cls()
        for path in sorted(folder.glob("images-*.npy")):
            block = np.load(path, mmap_mode="r")
            content.digests += map(digest, block)
            content._append(block)
        with np.load(folder / "labels.npz") as kept:
            content.labels = kept["labels"]
            content.parts = {x: kept[x] for x in kept.files if x != "labels"}
        return content

    def _append(self, block: np.ndarray) -> None:
        self.blocks.append(block)
        self._starts.append(self._starts[-1] + len(block))

    def _on_disk(self, block: np.ndarray) -> np.ndarray:
        if self._folder is None:
            # It goes with the data set, at the latest with the process.
            scratch = contextlib.ExitStack()
            weakref.finalize(self, scratch.close)
            self._folder = scratch.enter_context(
                atomic_files.scratch_folder(own_data_dir())
            )
        paths.check_room(self._folder, block.nbytes)
        path = self._folder / f"{len(self.blocks):05}.npy"
        np.save(path, block)
        return np.load(path, mmap_mode="r")


def own_data_dir() -> pathlib.Path:
    """Return where own data lie that are too large for memory, or on their way."""
    return paths.data_dir() / "own_data"


def compact(images: np.ndarray) -> np.ndarray:
    """Return images as uint8 where they are whole numbers from 0 to 255, else float32.

    Raises:
        ValueError: If a number is not finite.
    """
    if images.dtype == np.uint8:
        return images
    if images.dtype.kind in "fc" and not np.isfinite(images).all():
        raise ValueError(
            "Images must be finite numbers. Look for a division by zero where they "
            "are made. Received: images with NaN or infinity"
        )
    if images.min() >= 0 and images.max() <= 255:
        whole = images.astype("uint8")
        if images.dtype.kind in "iub" or np.array_equal(whole, images):
            return whole
    return images.astype("float32")


def digest(image: np.ndarray) -> bytes:
    """Return a checksum that only images of the same pixels share."""
    image = np.ascontiguousarray(compact(image))
    described = repr((image.shape, image.dtype.kind)).encode()
    return hashlib.sha256(described + image.tobytes()).digest()
