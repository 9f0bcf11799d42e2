"""The processes of `compare`, as the one that starts them sees them."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator

# Lines of a failed process that are shown: the error, and where it was raised.
SHOWN_LINES = 15
# Imports keep one core busy for seconds, so two processes import side by side.
AT_ONCE = 2


def ready_processes(count: int) -> Iterator["RecipeProcess"]:
    """Yield `count` processes whose imports are done, each for one task.

    None of them imports while the task of another one runs.
    """
    for start in range(0, count, AT_ONCE):
        with contextlib.ExitStack() as stack:
            processes = [
                stack.enter_context(RecipeProcess())
                for _ in range(start, min(start + AT_ONCE, count))
            ]
            for process in processes:
                process.wait_until_ready()
            yield from processes


class RecipeProcess:
    """A process of `comparison_worker`, which waits for its task.

    Attributes:
        failure: How it ended and the last that it wrote, if it failed, else `None`.
    """

    def __init__(self):
        self.failure = None
        self._open = contextlib.ExitStack()
        self._log = self._open.enter_context(
            tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        )
        # The process finds the modules that can be imported here.
        search_path = os.pathsep.join(filter(None, map(str, sys.path)))
        variables = os.environ | {"PYTHONPATH": search_path}
        # What was switched on with `-X utf8` stands in no variable.
        variables["PYTHONUTF8"] = str(sys.flags.utf8_mode)
        variables.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        variables.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
        self._process = self._open.enter_context(
            subprocess.Popen(
                [sys.executable, "-m", "keras_transfer.comparison_worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                encoding="utf-8",
                env=variables,
            )
        )

    def __enter__(self) -> "RecipeProcess":
        return self

    def __exit__(self, *_) -> None:
        self._process.kill()  # It does nothing to one that ended.
        self._open.close()

    def wait_until_ready(self) -> None:
        """Wait until it says so, or has ended."""
        # What Python itself runs at its start may have written something before.
        while self._process.stdout.readline() not in ("ready\n", ""):
            pass

    def run(self, task: dict) -> Iterator[int]:
        """Hand over the task, and yield each number that it writes."""
        with contextlib.suppress(BrokenPipeError), self._process.stdin as words:
            words.write(json.dumps(task, default=lambda value: value.item()))
        for line in self._process.stdout:
            yield int(line)
        code = self._process.wait()
        if code:
            self._log.seek(0)
            end = "".join(self._log.readlines()[-SHOWN_LINES:])
            how = f"ended with the exit code {code}"
            if code < 0:
                how = f"was ended by signal {-code}, as happens where memory runs out"
            self.failure = f"{how}. The last that it wrote:\n{end}"
