"""Run a notebook in a kernel of the Python that is running, and show how far it is."""

import ast
import asyncio
import atexit
import contextlib
import itertools
import logging
import os
import pathlib
import re
import signal
import sys
import threading
import time
import typing
from collections.abc import Callable, Iterable, Iterator
from typing import IO

import nbformat
import psutil
from ipykernel.kernelspec import RESOURCES, get_kernel_dict
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import run_sync
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

from keras_transfer.lessons import report
from keras_transfer.runtime.processes import child_environment, peak_memory
from keras_transfer.runtime.status_lines import say

INTERRUPTED = "KeyboardInterrupt: The run was interrupted."
# Paths that a kernel, which runs in `notebooks/`, must not read relative to itself.
PATH_VARIABLES = (
    "KERAS_TRANSFER_DATA_DIR",
    "KERAS_TRANSFER_WEIGHTS_DIR",
    "TFDS_DATA_DIR",
    "KERAS_HOME",
)


class Progress:
    """Show how far a lesson is, and keep its kernel's peak memory.

    On a terminal one line is kept up to date; elsewhere there is a line at the start
    and one at the end.

    Args:
        label: What each line starts with.

    Attributes:
        cell: The cell that runs, counted from 1.
        cells: The number of cells.
        peak_memory: The most memory that the watched process held, in bytes.
    """

    def __init__(self, label: str):
        self.label, self.cell, self.cells, self.peak_memory = label, 0, 0, 0
        self.started = time.monotonic()
        self.live = getattr(sys.stdout, "isatty", bool)()
        if not self.live:
            say(f"{label}: started", flush=True)

    @contextlib.contextmanager
    def watch(self, pid: int) -> Iterator[None]:
        """Measure a process for as long as the block runs."""
        stopped = threading.Event()
        thread = threading.Thread(target=self._poll, args=(pid, stopped), daemon=True)
        thread.start()
        try:
            yield
        finally:
            stopped.set()
            thread.join()
            self._measure(pid)

    def end(self, outcome: str) -> None:
        """Print how the lesson ended."""
        # On a terminal the line replaces the one that counted the cells.
        line = f"\r{self.label}: {outcome:<60}" if self.live else None
        say(line or f"{self.label}: {outcome}", flush=True)

    def _poll(self, pid: int, stopped: threading.Event) -> None:
        while not stopped.wait(0.5):
            self._measure(pid)
            if self.live:
                seconds = time.monotonic() - self.started
                text = f"cell {self.cell} of {self.cells}, {seconds:.0f} s"
                say(f"\r{self.label}: {text}", end="", flush=True)

    def _measure(self, pid: int) -> None:
        with contextlib.suppress(psutil.Error):
            held = peak_memory(pid) or psutil.Process(pid).memory_info().rss
            self.peak_memory = max(self.peak_memory, held)


def execute(
    notebook: nbformat.NotebookNode,
    start: dict,
    cell_timeout: int,
    progress: Progress,
    manager: AsyncKernelManager | None = None,
) -> str | None:
    """Run the cells of a notebook in place, in a kernel of their own.

    Args:
        notebook: The notebook, which gets the outputs.
        start: Keyword arguments of `subprocess.Popen` for the kernel.
        cell_timeout: Seconds that one cell may take, 0 for no limit.
        progress: Told which cell runs, and which process.
        manager: The kernel, where it was started ahead of time. Defaults to `None`.

    Returns:
        What went wrong, `INTERRUPTED` among it, or `None`.
    """
    running = None

    def begin(cell: nbformat.NotebookNode, cell_index: int) -> None:
        nonlocal running
        running, progress.cell = cell, cell_index + 1
        _let_signals_end_the_run()

    client = NotebookClient(
        notebook,
        km=manager,
        timeout=cell_timeout or None,
        kernel_manager_class=_OwnKernelManager,
        on_cell_start=begin,
    )
    # An error is on the lesson's page and in the ledger: not a third time as a log.
    client.log = logging.getLogger("keras_transfer.quiet")
    client.log.setLevel(logging.CRITICAL + 1)
    try:
        setup = client.setup_kernel(cleanup_kc=True, **start)
        with setup, progress.watch(client.km.provisioner.pid):
            # Ended only when its memory has been read.
            client.execute(cleanup_kc=False)
        return None
    except CellExecutionError as failure:
        text = failure.evalue or _failed_line(failure.traceback)
        return f"{failure.ename}: {text}"
    except CellTimeoutError:
        error = f"TimeoutError: The cell took more than {cell_timeout} s."
    except DeadKernelError:
        error = "DeadKernelError: The kernel died (out of memory, or ended by force)."
    except KeyboardInterrupt:
        error = INTERRUPTED
        # At its exit Python would end the kernel once more, and say that there is none.
        atexit.unregister(client._cleanup_kernel)
    # Such an end leaves no trace in the notebook by itself: the page would hide it.
    if running is not None and running.cell_type == "code":
        running.outputs.extend(error_cell(error).outputs)
    return error


def _let_signals_end_the_run() -> None:
    """Undo that nbclient, at a signal, ends the kernel and lets the program go on."""
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows
            asyncio.get_running_loop().remove_signal_handler(number)


def _failed_line(traceback: str) -> str:
    """Return the line of the cell that raised: a bare `assert` says nothing else."""
    lines = re.findall(r"^-+> \d+ (.*)", report.plain_text(traceback), re.M)
    return lines[0].strip() if lines else ""


def error_cell(error: str) -> nbformat.NotebookNode:
    """Return a cell that shows an error which no cell has shown."""
    name, _, text = error.partition(": ")
    shown = nbformat.v4.new_output(
        "error", ename=name, evalue=text, traceback=error.splitlines()
    )
    return nbformat.v4.new_code_cell("# The lesson stopped here.", outputs=[shown])


def start_arguments(
    path: pathlib.Path, output: pathlib.Path, profile: str, log: IO[bytes]
) -> dict:
    """Return how the kernel of a lesson is started, as `execute` takes it.

    Args:
        path: The lesson's notebook, in whose folder it runs.
        output: The folder where it saves its model.
        profile: Name of the profile.
        log: File for what the kernel says outside of cells.
    """
    return {
        "cwd": str(path.parent),
        "env": environment(path.stem, output, profile),
        "stdout": log,
        "stderr": log,
    }


def environment(lesson: str, output: pathlib.Path, profile: str) -> dict[str, str]:
    """Return the environment variables of a lesson's kernel.

    Args:
        lesson: Name of the lesson.
        output: The folder where it saves its model.
        profile: Name of the profile.
    """
    package = pathlib.Path(__file__).absolute().parent.parent.parent
    absolute = {
        name: str(pathlib.Path(path).expanduser().absolute())
        for name in PATH_VARIABLES
        # An address such as `gs://...` is no path of this machine.
        if (path := os.environ.get(name)) and "://" not in path
    }
    return child_environment(
        [package, os.environ.get("PYTHONPATH", "")],
        KERAS_TRANSFER_PROFILE=profile,
        KERAS_TRANSFER_LESSON=lesson,
        KERAS_TRANSFER_OUTPUT_DIR=str(output),
        MPLBACKEND="module://matplotlib_inline.backend_inline",
        # For a linear probe its threads wait for each other longer than they multiply.
        OPENBLAS_NUM_THREADS=os.environ.get("OPENBLAS_NUM_THREADS", "1"),
        **absolute,
    )


def one_ahead(
    lessons: Iterable, start: Callable[[typing.Any], AsyncKernelManager]
) -> Iterator[tuple[typing.Any, AsyncKernelManager | None]]:
    """Yield each lesson with its kernel, or `None` where `execute` is to start one.

    The kernel of the next lesson starts while one runs: a core is idle in much of it,
    and what every lesson imports takes 8 s of a core.

    Args:
        lessons: Whatever `start` is called with.
        start: Starts the kernel of one.
    """
    ready = waiting = None
    try:
        for lesson, following in itertools.pairwise([*lessons, None]):
            ready, waiting = waiting, None
            if following is not None:
                # What is wrong with it is said when its turn comes.
                with contextlib.suppress(Exception):
                    waiting = start(following)
            yield lesson, ready
    finally:
        if waiting is not None:
            # Not by the loop of events, in which an interrupted notebook would go on.
            psutil.Process(waiting.provisioner.pid).kill()
            waiting.cleanup_connection_file()


def started(notebook: nbformat.NotebookNode, start: dict) -> AsyncKernelManager:
    """Start a kernel that imports what a notebook will, and has no name of it.

    Args:
        notebook: The notebook.
        start: As in `execute`.
    """
    manager = _OwnKernelManager()
    line = f"exec({_imports(notebook)!r}, {{}})"
    run_sync(manager.start_kernel)(
        extra_arguments=[
            "--HistoryManager.hist_file=:memory:",  # As nbclient starts one.
            f"--InteractiveShellApp.exec_lines={line}",
        ],
        **start,
    )
    return manager


def _imports(notebook: nbformat.NotebookNode) -> str:
    """Return the lines of a notebook that import something."""
    lines = []
    for cell in notebook.cells:
        if cell.cell_type == "code":
            with contextlib.suppress(SyntaxError):  # `%pip` is no Python.
                lines += [
                    ast.unparse(line)
                    for line in ast.parse(cell.source).body
                    if isinstance(line, ast.Import | ast.ImportFrom)
                ]
    return "\n".join(lines)


class _OwnKernelSpecs(KernelSpecManager):
    """Answer every kernel name with the Python that is running."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:  # noqa: ARG002
        # A `python3` kernel that the user once installed may be another Python.
        return KernelSpec(resource_dir=RESOURCES, **get_kernel_dict())


class _OwnKernelManager(AsyncKernelManager):
    def __init__(self, **kwargs):
        super().__init__(kernel_spec_manager=_OwnKernelSpecs(), **kwargs)
