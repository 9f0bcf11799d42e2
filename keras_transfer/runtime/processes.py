"""What the processes that are started here have in common: surroundings and memory."""

import os
import pathlib
import platform
import sys
from collections.abc import Iterable


def child_environment(
    search_path: Iterable[str | os.PathLike] | None = None, **variables: str
) -> dict[str, str]:
    """Return the environment variables for another process of this Python.

    Args:
        search_path: Folders in which it finds modules. Defaults to `None`: all in
            which they are found here.
        **variables: What is set beside, or instead of, what is set here.

    Returns:
        All variables, as `subprocess` takes them.
    """
    folders = map(str, sys.path if search_path is None else search_path)
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_FORCE_GPU_ALLOW_GROWTH": "true"}
    return {
        **quiet,
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, folders)),
        # What was switched on with `-X utf8` stands in no variable.
        "PYTHONUTF8": str(sys.flags.utf8_mode),
        **variables,
    }


def peak_memory(pid: int | None = None) -> int | None:
    """Return the most memory that a process has held so far, in bytes.

    Args:
        pid: Number of the process. Defaults to `None`: this one.

    Returns:
        The bytes, or `None` where the system does not keep them: for this process on
        Windows, for another one everywhere but on Linux, and for one that has ended.
    """
    try:
        status = pathlib.Path(f"/proc/{pid or 'self'}/status")
        # Not from getrusage, which on Linux begins with what the process that started
        # this one held.
        return int(status.read_text("utf-8").split("VmHWM:")[1].split()[0]) * 1024
    except (OSError, IndexError):
        if pid is not None:
            return None
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def machine_kind() -> str:
    """Return the processor of this machine and its number of cores."""
    name = platform.processor() or platform.machine()
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        (name, *_) = (x.split(":")[1].strip() for x in lines if "model name" in x)
    except (OSError, ValueError):  # Not Linux, or a processor that does not say it.
        pass
    return f"{name}, {os.cpu_count()} cores"
