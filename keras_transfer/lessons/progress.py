"""Show how far a running lesson is, and measure its kernel's memory."""

import contextlib
import pathlib
import sys
import threading
import time

import psutil

from keras_transfer.runtime.status_lines import say


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
    def watch(self, pid: int):
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
        with contextlib.suppress(psutil.Error, OSError, LookupError):
            held = psutil.Process(pid).memory_info().rss
            self.peak_memory = max(self.peak_memory, held)
            # Linux itself keeps the highest value, also between two looks.
            status = pathlib.Path(f"/proc/{pid}/status")
            if status.is_file():
                peak = status.read_text(encoding="utf-8").split("VmHWM:")[1].split()[0]
                self.peak_memory = max(self.peak_memory, int(peak) * 1024)
