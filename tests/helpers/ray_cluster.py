"""A cluster of Ray on this machine, for tests, which nobody outside can reach.

Ray replaces 127.0.0.1 by an address of the machine, and listens on all of them. So the
tests of clusters run in a network namespace of their own, which has loopback alone, and
each node has another address of it. All processes are ended by their numbers.
"""

import contextlib
import ctypes
import fcntl
import os
import pathlib
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

ADDRESS = "127.0.0.2:6379"
# First on the path of all processes of a cluster.
QUICK_START = pathlib.Path(__file__).absolute().parent / "quick_start"
# Ray gives the parts of a node 15 seconds to start, which a busy machine may not need.
TRIES = 3
# What Ray takes in shared memory, of each node: enough for a test.
STORE_BYTES = 200 * 1024**2
_STARTED = "Ray runtime started"


def unshared(*command: str) -> list[str] | None:
    """Return a command that runs another one in a network namespace of its own.

    `None` where this system makes none for this user.
    """
    for options in (["--net"], ["--net", "--map-root-user"]):
        prefix = ["unshare", *options]
        with contextlib.suppress(OSError):
            if not subprocess.run([*prefix, "true"], capture_output=True).returncode:
                return [*prefix, *command]
    return None


def run_unshared(module: str, *arguments: str, timeout: float) -> str:
    """Run a module in a network namespace of its own, and return what it prints."""
    command = unshared(sys.executable, "-m", module, *arguments)
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        start_new_session=True,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, [str(QUICK_START), *sys.path])),
            "RAY_USAGE_STATS_ENABLED": "0",
            # Ray asks for a token where one lies in the home folder, as it does once
            # Ray was started there by `ray.init`, and half of a node does not have it.
            "RAY_AUTH_MODE": "disabled",
            # Which Ray sets to 15, so that other tests would go first.
            "RAY_worker_niceness": "0",
        },
    )
    try:
        printed, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        printed, _ = process.communicate()
        raise AssertionError(f"Not ready after {timeout} s:\n{printed}") from None
    assert process.returncode == 0, printed
    return printed


def bring_loopback_up() -> None:
    """Switch on the loopback interface of a new network namespace."""
    get_flags, set_flags, is_up = 0x8913, 0x8914, 1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sh", b"lo", 0)
        found = fcntl.ioctl(any_socket, get_flags, request)
        flags = struct.unpack("16sh", found)[1] | is_up
        fcntl.ioctl(any_socket, set_flags, struct.pack("16sh", b"lo", flags))


class Node:
    """Hold the processes of one node.

    Args:
        number: Its number, from 0 for the head of the cluster.
        num_cpus: How many CPUs it says that it has.
        folder: Where it writes.

    Attributes:
        address: Its address.
    """

    def __init__(self, number: int, num_cpus: int, folder: pathlib.Path):
        self.address = f"127.0.0.{number + 2}"
        where = ["--head", "--port=6379", "--include-dashboard=false"]
        where += [f"--temp-dir={folder / 'ray'}"]
        if number:
            where = [f"--address={ADDRESS}"]
        self._command = [
            *(sys.executable, "-m", "ray.scripts.scripts", "start", "--block"),
            *where,
            f"--node-ip-address={self.address}",
            f"--num-cpus={num_cpus}",
            f"--object-store-memory={STORE_BYTES}",
            "--disable-usage-stats",
        ]
        self._log = folder / f"node-{number}.log"
        for left in reversed(range(TRIES)):
            if self._starts(60):
                break
            self.kill()
            assert left, f"Ray did not start:\n{self._log.read_text()}"

    def _starts(self, seconds: float) -> bool:
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                self._command,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )
        end = time.monotonic() + seconds
        while self._process.poll() is None and time.monotonic() < end:
            if _STARTED in self._log.read_text():
                return True
            time.sleep(0.1)
        return False

    def kill(self) -> None:
        """End all of its processes at once, as if its power had gone."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


@contextlib.contextmanager
def ray_nodes(count: int, num_cpus: int = 1) -> Iterator[list[Node]]:
    """Yield the nodes of a cluster at `ADDRESS`, which end with the block."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="kt-ray-", dir="/tmp"))
    nodes = []
    try:
        for number in range(count):
            nodes.append(Node(number, num_cpus, folder))
        yield nodes
    finally:
        for node in reversed(nodes):
            node.kill()
        shutil.rmtree(folder, ignore_errors=True)


def processes() -> list[int]:
    """Return the numbers of all processes."""
    return [int(path.name) for path in pathlib.Path("/proc").glob("[0-9]*")]


def command_line(pid: int) -> str:
    """Return the name and arguments of a process, `""` once it has gone."""
    with contextlib.suppress(OSError):
        return (
            pathlib.Path(f"/proc/{pid}/cmdline")
            .read_bytes()
            .decode()
            .replace("\0", " ")
        )
    return ""


def _end_with_parent() -> None:
    set_death_signal = 1
    ctypes.CDLL(None).prctl(set_death_signal, signal.SIGKILL)
