"""From uploads to pixels, in threads, and a plain answer where there are none."""

import asyncio
import concurrent.futures
import logging
import os

import numpy as np
from PIL import Image

from keras_transfer.data.decoding import READ, UnreadableImageError, opened
from keras_transfer.serving.limits import Limits, RefusedError
from keras_transfer.serving.served import Served
from keras_transfer.serving.uploads import Upload, called

_LOG = logging.getLogger(__name__)
# Photos with more pixels take much memory, and are decoded one at a time.
_LARGE = 12_000_000
# What a scan of a JPEG begins with; in pixels, these two bytes do not come together.
_JPEG, _SCAN = b"\xff\xd8", b"\xff\xda"


class Decoder:
    """Decode photos as `served` does, as many at once as there are cores."""

    def __init__(self, served: Served, limits: Limits):
        self._served, self._limits = served, limits
        self._threads = concurrent.futures.ThreadPoolExecutor(os.cpu_count())
        self._one = concurrent.futures.ThreadPoolExecutor(1)

    async def decode(self, upload: Upload) -> np.ndarray:
        """Return the pixels of a photo, in uint8.

        Raises:
            RefusedError: If it is no photo that can be read, or too large.
        """
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._threads, self._small, upload)
        if found is not None:
            return found
        return await loop.run_in_executor(self._one, self._pixels, upload)

    async def draw(self, function, *arguments):
        """Run a short function on the threads that decode."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, function, *arguments)

    def close(self) -> None:
        for threads in (self._threads, self._one):
            threads.shutdown(wait=False, cancel_futures=True)

    def _small(self, upload: Upload) -> np.ndarray | None:
        """Return the pixels of a photo, or `None` if it is a large one."""
        return None if self._pixel_count(upload) > _LARGE else self._pixels(upload)

    def _pixel_count(self, upload: Upload) -> int:
        try:
            with opened(upload.data) as image:
                count, side = image.width * image.height, max(image.size)
        except UnreadableImageError as error:
            if isinstance(error.__cause__, Image.DecompressionBombError):
                raise self._too_large(upload) from error
            raise _no_image(upload, error) from error
        if count > self._limits.pixels:
            raise self._too_large(upload)
        if side > self._limits.side:
            raise RefusedError(
                413,
                "too large",
                f"{called(upload)} is more than {self._limits.side:,} pixels long: "
                "make it smaller.",
            )
        scans = upload.data.count(_SCAN) if upload.data.startswith(_JPEG) else 1
        if scans > self._limits.scans:
            raise RefusedError(
                413,
                "too large",
                f"{called(upload)} has more than {self._limits.scans} scans: save it "
                "as a plain JPEG.",
            )
        return count

    def _pixels(self, upload: Upload) -> np.ndarray:
        try:
            return self._served.decode(upload.data)
        except UnreadableImageError as error:
            raise _damaged(upload) from error
        except Exception as error:
            # Whatever bytes do to those who read them, the service goes on.
            _LOG.warning("A photo was not decoded", exc_info=True)
            raise _damaged(upload) from error

    def _too_large(self, upload: Upload) -> RefusedError:
        return RefusedError(
            413,
            "too large",
            f"{called(upload)} has more than {self._limits.pixels:,} pixels: make it "
            "smaller.",
        )


def _damaged(upload: Upload) -> RefusedError:
    return RefusedError(
        422, "damaged", f"{called(upload)} is truncated or damaged: send it again."
    )


def _no_image(upload: Upload, error: UnreadableImageError) -> RefusedError:
    if not upload.data:
        return RefusedError(422, "damaged", f"{called(upload)} is empty.")
    if "damaged" in str(error):
        return _damaged(upload)
    return RefusedError(
        415, "no image", f"{called(upload)} is {error}: {READ} are read."
    )
