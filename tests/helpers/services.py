"""A service in a process of its own, on a port that is free."""

import contextlib
import dataclasses
import io
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import httpx
import numpy as np
from PIL import Image

from keras_transfer.runtime.processes import child_environment

# Loading Keras and compiling a network takes some of them.
PATIENCE = 120


@dataclasses.dataclass
class Running:
    """Name a service that runs.

    Attributes:
        url: Its address.
        port: The port of it.
        process: The process.
        lines: What it has printed so far.
    """

    url: str
    port: int
    process: subprocess.Popen
    lines: list[str]

    def file(self, name: str) -> pathlib.Path:
        """Return what Linux tells of the process under a name."""
        return pathlib.Path(f"/proc/{self.process.pid}/{name}")

    def memory(self) -> int:
        """Return the bytes of memory that it holds now."""
        status = self.file("status").read_text("utf-8")
        return int(status.split("VmRSS:")[1].split()[0]) * 1024

    def wait(self, seconds: float = PATIENCE) -> None:
        """Return when it is ready."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            assert self.process.poll() is None, "\n".join(self.lines)
            if httpx.get(f"{self.url}/readyz").status_code == 200:
                return
            time.sleep(0.1)
        raise AssertionError("\n".join(self.lines))

    def stop(self, sign: int = signal.SIGTERM) -> int:
        """Tell it to end, and return its status."""
        self.process.send_signal(sign)
        return self.process.wait(PATIENCE)


@contextlib.contextmanager
def serving(model: str | os.PathLike, *options: str, ready=True, **variables: str):
    """Run `serve MODEL --port 0` with these options while the block runs."""
    words = [sys.executable, "-m", "keras_transfer", "serve", str(model)]
    process = subprocess.Popen(
        [*words, "--port", "0", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=child_environment(PYTHONUNBUFFERED="1", **variables),
    )
    lines = []
    try:
        for line in process.stdout:
            lines.append(line.rstrip())
            if line.startswith("Serving "):
                break
        assert lines and lines[-1].startswith("Serving "), (lines, process.wait(9))
        # Read on, or it waits for somebody to do so.
        reader = threading.Thread(target=_read, args=(process.stdout, lines))
        reader.start()
        url = lines[-1].split()[-1]
        running = Running(url, int(url.rpartition(":")[2]), process, lines)
        if ready:
            running.wait()
        yield running
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _read(stream, lines: list[str]) -> None:
    for line in stream:
        lines.append(line.rstrip())


def photo(seed: int = 0, side: int = 48) -> bytes:
    """Return a JPEG of noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), "uint8")
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


def form(*photos: bytes) -> list[tuple]:
    """Return photos as httpx sends them."""
    return [("images", (f"{i}.jpg", data)) for i, data in enumerate(photos)]


def as_sent(service: Running, *photos: bytes, token: str | None = None) -> bytes:
    """Return the bytes that a client sends for some photos."""
    request = httpx.Request("POST", f"{service.url}/predict", files=form(*photos))
    if token is not None:
        request.headers["authorization"] = f"Bearer {token}"
    head = "".join(f"{name}: {each}\r\n" for name, each in request.headers.items())
    return f"POST /predict HTTP/1.1\r\n{head}\r\n".encode() + request.read()


def detail(answer: httpx.Response, status: int) -> str:
    """Return the one sentence of an error, which names nothing of the server."""
    assert answer.status_code == status, answer.text
    said = answer.json()
    assert [*said] == ["detail"]
    assert "/" not in said["detail"].replace("multipart/form-data", "")
    assert said["detail"].endswith(".")
    return said["detail"]


def number(service: Running, name: str, headers: dict | None = None) -> float:
    """Return a number of `/metrics`, 0 where it has not been counted yet."""
    text = httpx.get(f"{service.url}/metrics", headers=headers).text
    lines = (line.rpartition(" ") for line in text.splitlines())
    return sum(float(value) for key, _, value in lines if key == name)
