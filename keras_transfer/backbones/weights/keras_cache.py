"""ImageNet weights from Keras's own cache or download, made quick to give up.

The same weights come from every source, whatever the size of the images: those of the
one file that Keras takes for this constructor at 224 px, without its top. That matters
for MobileNetV2, of which Keras has files of several widths and of five sizes.
"""

import contextlib
import hashlib
import os
import pathlib
import socket
import sys
from collections.abc import Iterator

import keras

from keras_transfer.backbones.registry import Architecture
from keras_transfer.backbones.weights.files import first_line
from keras_transfer.backbones.weights.package_fetch import (
    STALL_SECONDS,
    WeightsUnavailableError,
)
from keras_transfer.runtime.status_lines import say

# Convolutions have the same weights at every size; MobileNetV2's file goes by it.
INPUT_SHAPE = (224, 224, 3)


class DamagedFileError(WeightsUnavailableError):
    """The file in Keras's cache is damaged, or of another network."""


def network_allowed() -> bool:
    """Say whether weights may be fetched: not with `KERAS_TRANSFER_DOWNLOAD=none`."""
    return os.environ.get("KERAS_TRANSFER_DOWNLOAD", "").lower() != "none"


def imagenet_application(entry: Architecture) -> keras.Model:
    """Build a `keras.applications` model without its top, with ImageNet weights.

    Args:
        entry: Entry of a backbone that Keras has.

    Returns:
        The model for images of 224 px, with weights from Keras's cache or download.

    Raises:
        DamagedFileError: If the file in the cache is damaged or of another network, and
            Keras would not fetch it anew.
        WeightsUnavailableError: If the cache does not hold the file and the network may
            not be used.
        Exception: Whatever Keras raises when its download fails.
    """
    cached = cached_file(entry)
    if cached is not None:
        try:
            return _from_cache(entry, cached)
        except DamagedFileError as error:
            # Without a checksum Keras would take it as it is.
            if not network_allowed() or entry.keras_file.checksum is None:
                raise DamagedFileError(f"{error}; remove it") from error
            say(f"{error}: Keras fetches it anew.")
    elif not network_allowed():
        name = entry.keras_file.name if entry.keras_file else "its file"
        raise WeightsUnavailableError(
            f"{name} is not in {_cache_folder()}, and KERAS_TRANSFER_DOWNLOAD is none"
        )
    with _giving_up_early(), _quiet_until_connected():
        return entry.application(
            include_top=False, weights="imagenet", input_shape=INPUT_SHAPE
        )


def cached_file(entry: Architecture) -> pathlib.Path | None:
    """Return the file that Keras has kept for this backbone, if any."""
    if entry.keras_file is None:
        return None
    path = _cache_folder() / entry.keras_file.name
    return path if path.is_file() else None


def _from_cache(entry: Architecture, path: pathlib.Path) -> keras.Model:
    expected = entry.keras_file.checksum
    # Keras as well tells by the length which of the two it is.
    kind = "SHA-256" if len(expected or "") == 64 else "MD5"
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, kind.replace("-", "").lower())
        if expected not in (None, digest.hexdigest()):
            raise ValueError(f"its {kind} sum is not the one that Keras names")
        return entry.application(
            include_top=False, weights=path, input_shape=INPUT_SHAPE
        )
    except Exception as error:  # HDF5 has many ways to say so.
        raise DamagedFileError(
            f"{path} is damaged or of another network ({first_line(error)}), so it "
            "was passed over"
        ) from error


def _cache_folder() -> pathlib.Path:
    home = os.environ.get("KERAS_HOME") or "~/.keras"
    return pathlib.Path(home).expanduser() / "models"


@contextlib.contextmanager
def _giving_up_early() -> Iterator[None]:
    """Let a connection fail that gives nothing for a while; Keras would wait on."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(STALL_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


class _HeldBack:
    """A standard output that keeps its first line until something follows it.

    Keras announces a download before it has a connection. Where there is none, that
    line would only alarm.
    """

    def __init__(self, stream):
        self._stream = stream
        self._held: str | None = ""

    def write(self, text: str) -> int:
        if self._held is None:
            return self._stream.write(text)
        if self._held.endswith("\n"):
            self._stream.write(self._held + text)
            self._held = None
        else:
            self._held += text
        return len(text)

    def __getattr__(self, name):
        return getattr(self._stream, name)


def _quiet_until_connected() -> contextlib.AbstractContextManager:
    return contextlib.redirect_stdout(_HeldBack(sys.stdout))
