"""ImageNet weights from Keras's own cache or download, made quick to give up."""

import contextlib
import os
import pathlib
import re
import socket
import sys
from collections.abc import Callable, Iterator

import keras

from keras_transfer.package_fetch import STALL_SECONDS, WeightsUnavailableError


def network_allowed() -> bool:
    """Say whether weights may be fetched: not with `KERAS_TRANSFER_DOWNLOAD=none`."""
    return os.environ.get("KERAS_TRANSFER_DOWNLOAD", "").lower() != "none"


def imagenet_application(
    application: Callable[..., keras.Model], input_shape: tuple | None = None
) -> keras.Model:
    """Build a `keras.applications` model without its top, with ImageNet weights.

    Args:
        application: For example `keras.applications.ResNet50`.
        input_shape: Shape of one image. Defaults to any size.

    Returns:
        The model, with weights from Keras's cache or download.

    Raises:
        WeightsUnavailableError: If the network may not be used and the cache does not
            hold the file.
        Exception: Whatever Keras raises when its download fails.
    """
    if network_allowed():
        with _giving_up_early(), _quiet_until_connected():
            return application(
                include_top=False, weights="imagenet", input_shape=input_shape
            )
    cached = _cached_file(application)
    if cached is None:
        raise WeightsUnavailableError(
            f"not in {_cache_folder()}, and KERAS_TRANSFER_DOWNLOAD is none"
        )
    return application(include_top=False, weights=cached, input_shape=input_shape)


def _cache_folder() -> pathlib.Path:
    home = os.environ.get("KERAS_HOME", "~/.keras")
    return pathlib.Path(home).expanduser() / "models"


def _cached_file(application: Callable) -> pathlib.Path | None:
    """Return the file that Keras has kept for this application, if any."""
    # "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5", "efficientnetb0_notop.h5"
    name = re.compile(rf"{application.__name__.lower()}(weights.*)?notop\.h5")
    if not _cache_folder().is_dir():
        return None
    return next(
        (
            path
            for path in sorted(_cache_folder().iterdir())
            if name.fullmatch(path.name.lower().replace("_", ""))
        ),
        None,
    )


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
