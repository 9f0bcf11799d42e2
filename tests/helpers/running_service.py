"""Start the service as a user does, and wait until it answers."""

import contextlib
import pathlib
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

LONGEST = 120


@contextlib.contextmanager
def running_service(model: pathlib.Path, *words: str) -> Iterator[str]:
    """Serve a model from a process of its own within a `with` block.

    Args:
        model: What is served.
        *words: More of the command line.

    Returns:
        The address, such as `"http://127.0.0.1:8000"`.
    """
    command = ["-m", "keras_transfer", "serve", str(model), "--port", "0", *words]
    process = subprocess.Popen(
        [sys.executable, *command], stdout=subprocess.PIPE, encoding="utf-8"
    )
    try:
        address = process.stdout.readline().split()[-1]
        _wait_until_ready(address, process)
        yield address
    finally:
        process.terminate()
        process.communicate(timeout=LONGEST)


def _wait_until_ready(address: str, process: subprocess.Popen) -> None:
    end = time.monotonic() + LONGEST
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError, urllib.error.HTTPError):
            urllib.request.urlopen(f"{address}/readyz", timeout=5).close()
            return
        time.sleep(0.1)
    raise RuntimeError(f"No service at {address}: its status is {process.poll()}")
