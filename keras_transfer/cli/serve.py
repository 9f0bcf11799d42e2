"""Serve a model on a port, with a page to try it on."""

import argparse
import os
from collections.abc import Callable

from keras_transfer.cli.arguments import path_argument, there_is_no

STEP = 6
TOKEN = "KERAS_TRANSFER_TOKEN"
# Of the extra `serve`.
MODULES = ("fastapi", "prometheus_client", "python_multipart", "starlette", "uvicorn")
STATUSES = {
    0: "it was told to end, and has answered what it had taken",
    1: "something that it needs is not installed, or failed",
    2: "the arguments, the address or the model do not fit",
}


def add_commands(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add what can be typed here."""
    serve = command(
        "serve",
        _serve,
        "Answer for photos over HTTP, with a page to try it on.",
        statuses=STATUSES,
    )
    serve.add_argument(
        "model",
        type=path_argument,
        metavar="MODEL",
        help="a .keras file from train or save_classifier, or a folder from export",
    )
    serve.add_argument(
        "--port",
        type=_port,
        default=8000,
        help="0 for one that is free, which the first line tells (default: "
        "%(default)s)",
    )
    serve.add_argument(
        "--host",
        default="127.0.0.1",
        help="address that it can be reached at (default: %(default)s, from this "
        "machine alone)",
    )
    serve.add_argument(
        "--token",
        help="what clients must send along, needed where others can reach the address; "
        f"better set in {TOKEN}, which other users of this machine do not see",
    )
    serve.add_argument(
        "--queue",
        type=_count,
        default=64,
        metavar="PHOTOS",
        help="that are taken at once, before others are refused (default: %(default)s)",
    )
    serve.add_argument(
        "--wait",
        type=_seconds,
        default=10.0,
        metavar="SECONDS",
        help="that a photo may wait for its answer (default: %(default)g)",
    )
    serve.add_argument(
        "--read",
        type=_seconds,
        default=30.0,
        metavar="SECONDS",
        help="that an upload may take (default: %(default)g)",
    )


def _serve(options: argparse.Namespace) -> int:
    if not options.model.exists():
        raise FileNotFoundError(there_is_no("model", options.model))
    token = options.token if options.token is not None else os.environ.get(TOKEN)
    if token is not None:
        token = _checked(token)
    try:
        from keras_transfer.serving.limits import Limits
        from keras_transfer.serving.run import serve
    except ModuleNotFoundError as error:
        name = (error.name or "").partition(".")[0]
        if name not in MODULES:
            raise
        raise RuntimeError(
            f'{name} is not installed: pip install "keras-transfer[serve]"'
        ) from error
    limits = Limits(queue=options.queue, wait=options.wait, read=options.read)
    serve(options.model, options.host, options.port, token, limits)
    return 0


def _checked(token: str) -> str:
    # Clients cannot send white space at its ends, such as the end of a file's line.
    token = token.strip()
    if not (token and token.isascii() and token.isprintable()):
        raise ValueError(
            "The token must be some printable ASCII characters, such as those that "
            "python -c 'import secrets; print(secrets.token_urlsafe())' prints. "
            "Received: one that is empty or holds others"
        )
    return token


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 65535: {text!r}")
    return int(text)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1: {text!r}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 3600:
        raise argparse.ArgumentTypeError(f"expected seconds from 0 to 3600: {text!r}")
    return seconds
