"""Draw pictures as PNG files, on all cores.

    python -m keras_transfer.samples.encoding MODULE NAME SEED START STOP STEP

writes those of a part of the indices to the standard output. Drawing is Python, of
which one process does one thing at a time; one more takes 0.3 s to start, because it
imports no TensorFlow.
"""

import contextlib
import importlib
import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import IO

from keras_transfer.runtime.processes import child_environment

# For fewer pictures, another process does not pay.
FEWEST = 50
# The length of a file, before it: as many bytes, the lowest first.
LENGTH = 4


def drawn(
    draw: Callable, num_images: int, seed: int
) -> Iterator[tuple[int, int, bytes]]:
    """Yield index, label and PNG file of each picture, in any order of the indices.

    Args:
        draw: Function of a module that returns picture and label of an index and a
            seed. In place of a picture it may return a file, which is yielded as it is.
        num_images: Number of pictures.
        seed: Seed of the generator.
    """
    count = max(1, min(os.cpu_count() or 1, num_images // FEWEST))
    own, *parts = [range(start, num_images, count) for start in range(count)]
    with contextlib.ExitStack() as stack:
        begun = [
            (part, stack.enter_context(_begun(draw, seed, part))) for part in parts
        ]
        for index in own:
            yield index, *_encoded(draw, index, seed)
        for part, read in begun:
            written = read()
            for index in part:
                # What another process could not draw is drawn here.
                yield index, *(next(written, None) or _encoded(draw, index, seed))


@contextlib.contextmanager
def _begun(draw: Callable, seed: int, part: range) -> Iterator[Callable]:
    """Let another process draw; yield a function that waits for what it has drawn."""
    words = [draw.__module__, draw.__name__, seed, part.start, part.stop, part.step]
    with tempfile.TemporaryFile() as file:
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", __name__, *map(str, words)],
                env=child_environment(),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.DEVNULL,
            )
        except OSError:  # Where no process may be started.
            yield lambda: iter(())
            return

        def read() -> Iterator[tuple[int, bytes]]:
            process.wait()
            file.seek(0)
            return _read(file)

        try:
            yield read
        finally:
            process.kill()
            process.wait()


def _read(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield label and PNG file of each picture that was written whole."""
    while head := file.read(1 + LENGTH):
        length = int.from_bytes(head[1:], "little")
        png = file.read(length)
        if len(head) <= LENGTH or len(png) < length:
            return
        yield head[0], png


def _encoded(draw: Callable, index: int, seed: int) -> tuple[int, bytes]:
    image, label = draw(index, seed)
    if isinstance(image, bytes):
        return label, image
    file = io.BytesIO()
    image.save(file, "png", compress_level=1)
    return label, file.getvalue()


def main(module: str, name: str, *numbers: str) -> None:
    """Write the pictures of a part of the indices to the standard output."""
    seed, *part = map(int, numbers)
    draw = getattr(importlib.import_module(module), name)
    for index in range(*part):
        label, png = _encoded(draw, index, seed)
        head = bytes([label]) + len(png).to_bytes(LENGTH, "little")
        sys.stdout.buffer.write(head + png)


if __name__ == "__main__":
    main(*sys.argv[1:])
