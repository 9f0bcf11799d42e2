"""A service in a process of its own, on a port that is free."""

import contextlib
import dataclasses
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import httpx

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

    def memory(self) -> int:
        """Return the bytes of memory that it holds now (Linux)."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text("utf-8")
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
