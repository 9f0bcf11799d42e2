"""Run a notebook's cells in a kernel of the Python that is running."""

import logging
import os
import pathlib
import re

import nbformat
from ipykernel.kernelspec import RESOURCES, get_kernel_dict
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

from keras_transfer.lessons import report
from keras_transfer.lessons.progress import Progress

INTERRUPTED = "KeyboardInterrupt: The run was interrupted."
# Paths that a kernel, which runs in `notebooks/`, must not read relative to itself.
PATH_VARIABLES = (
    "KERAS_TRANSFER_DATA_DIR",
    "KERAS_TRANSFER_WEIGHTS_DIR",
    "TFDS_DATA_DIR",
    "KERAS_HOME",
)


def execute(
    notebook: nbformat.NotebookNode,
    start: dict,
    cell_timeout: int,
    progress: Progress,
) -> str | None:
    """Run the cells of a notebook in place, in a kernel of their own.

    Args:
        notebook: The notebook, which gets the outputs.
        start: Keyword arguments of `subprocess.Popen` for the kernel.
        cell_timeout: Seconds that one cell may take, 0 for no limit.
        progress: Told which cell runs, and which process.

    Returns:
        What went wrong, `INTERRUPTED` among it, or `None`.
    """
    client = NotebookClient(
        notebook, timeout=cell_timeout or None, kernel_manager_class=_OwnKernelManager
    )
    # An error is on the lesson's page and in the ledger: not a third time as a log.
    client.log = logging.getLogger("keras_transfer.quiet")
    client.log.setLevel(logging.CRITICAL + 1)
    cell = None
    try:
        with (
            client.setup_kernel(**start),
            progress.watch(client.km.provisioner.pid),
        ):
            for index, cell in enumerate(notebook.cells):
                progress.cell = index + 1
                client.execute_cell(cell, index, client.code_cells_executed + 1)
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
    # Such an end leaves no trace in the notebook by itself: the page would hide it.
    if cell is not None and cell.cell_type == "code":
        cell.outputs.extend(error_cell(error).outputs)
    return error


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


def environment(lesson: str, output: pathlib.Path, profile: str) -> dict:
    """Return the environment variables of a lesson's kernel.

    Args:
        lesson: Name of the lesson.
        output: The folder where it saves its model.
        profile: Name of the profile.
    """
    variables = dict(os.environ)
    for name in PATH_VARIABLES:
        # An address such as `gs://...` is no path of this machine.
        if variables.get(name) and "://" not in variables[name]:
            path = pathlib.Path(variables[name]).expanduser().absolute()
            variables[name] = str(path)
    package = str(pathlib.Path(__file__).absolute().parent.parent.parent)
    search_path = [package, variables.get("PYTHONPATH", "")]
    variables.update(
        KERAS_TRANSFER_PROFILE=profile,
        KERAS_TRANSFER_LESSON=lesson,
        KERAS_TRANSFER_OUTPUT_DIR=str(output),
        PYTHONPATH=os.pathsep.join(filter(None, search_path)),
        MPLBACKEND="module://matplotlib_inline.backend_inline",
    )
    variables.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    return variables


class _OwnKernelSpecs(KernelSpecManager):
    """Answer every kernel name with the Python that is running."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:  # noqa: ARG002
        # A `python3` kernel that the user once installed may be another Python.
        return KernelSpec(resource_dir=RESOURCES, **get_kernel_dict())


class _OwnKernelManager(AsyncKernelManager):
    def __init__(self, **kwargs):
        super().__init__(kernel_spec_manager=_OwnKernelSpecs(), **kwargs)
