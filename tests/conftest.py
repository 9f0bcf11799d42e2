"""Give every test, and the kernel of every notebook, the same environment.

pytest reads this file before it collects anything, and the kernels inherit what is
set here: no test sees or harms the data, weights and settings of the machine.
"""

import collections
import contextlib
import gc
import os
import pathlib
import shutil
import subprocess
import sys
import time

import pytest

from tests.helpers.slow_cells import SLOW_CELLS

BUILD = pathlib.Path(__file__).absolute().parent.parent / "build" / "test"

for name in [*os.environ]:
    if name.startswith("KERAS_TRANSFER_") or name in ("TFDS_DATA_DIR", "KERAS_BACKEND"):
        del os.environ[name]

os.environ.update(
    KERAS_TRANSFER_PROFILE="quick",
    # Kept from run to run, because data sets and features need making only once.
    KERAS_TRANSFER_DATA_DIR=str(BUILD / "data"),
    # Without any backbone's, and no network: the fallback backbone has to do.
    KERAS_TRANSFER_WEIGHTS_DIR=str(BUILD / "weights"),
    KERAS_HOME=str(BUILD / "keras-home"),
    KERAS_TRANSFER_DOWNLOAD="none",
    # Which TensorFlow Datasets would ask for names that it does not know, for 25 s.
    HF_HUB_OFFLINE="1",
    # Not build/lessons: a test must not replace a model that `make lessons` saved.
    KERAS_TRANSFER_OUTPUT_DIR=str(BUILD / "lessons"),
    TF_CPP_MIN_LOG_LEVEL="3",
    # Its threads wait for each other in a busy loop, and two processes share the cores:
    # a logistic regression on 300 photos took 19 times the processor time.
    OPENBLAS_NUM_THREADS="1",
    # Tests and kernels share a GPU where there is one.
    TF_FORCE_GPU_ALLOW_GROWTH="true",
)
for name in ("KERAS_TRANSFER_DATA_DIR", "KERAS_TRANSFER_WEIGHTS_DIR", "KERAS_HOME"):
    pathlib.Path(os.environ[name]).mkdir(parents=True, exist_ok=True)


def pytest_configure(config):
    """Have what lessons 9 and 10 cannot do without, once for all runs.

    It comes from the project's own folder of weights, else from the packages. Without
    either, the tests that need it fail and say so.
    """
    if hasattr(config, "workerinput"):
        return  # The process that has started this one has done it.
    config.pluginmanager.register(FailuresAtOnce(config))
    target = pathlib.Path(os.environ["KERAS_TRANSFER_WEIGHTS_DIR"])
    for name in ("minilm", "speech_embedding"):
        kept = BUILD.parent.parent / "data" / "weights" / name
        if not (target / name).is_dir():
            with contextlib.suppress(OSError):
                shutil.copytree(kept, target / name)
        if not (target / name).is_dir():
            subprocess.run(
                [sys.executable, "-m", "keras_transfer", "weights", name],
                cwd=BUILD.parent.parent,
                env={**os.environ, "KERAS_TRANSFER_DOWNLOAD": ""},
                check=False,
            )


class FailuresAtOnce:
    """Print a failure when it happens: a run that is ended gets to no summary."""

    def __init__(self, config):
        self._config = config

    def pytest_runtest_logreport(self, report):
        """Print the end of what a failed test has to say."""
        terminal = self._config.pluginmanager.get_plugin("terminalreporter")
        if report.failed and terminal is not None:
            terminal.write_line(f"\nFAILED {report.nodeid} ({report.when})")
            terminal.write_line(report.longreprtext[-2000:])


def pytest_collection_finish():
    """Let the collector of garbage pass over what was imported, which stays.

    Building and tracing networks makes it start often: an eighth of a test's time.
    """
    global least_seconds
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)
    # A third of what all imports have taken here: processors differ by more than two.
    least_seconds = max(least_seconds, 0.35 * time.process_time())


# Importing Keras and TensorFlow alone takes more.
least_seconds = 4.5


def _drawn() -> set[str]:
    """Return the names of the sample data sets that are there."""
    folder = pathlib.Path(os.environ["KERAS_TRANSFER_DATA_DIR"], "tfds")
    return {path.name for path in folder.glob("sample_*")}


def _seconds_of_processes() -> float:
    """Return the processor time of all processes that this one started and awaited."""
    try:
        import resource
    except ImportError:  # Windows.
        return 0.0
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.fixture(autouse=True)
def marked_slow_where_a_process_imports_tensorflow(request):
    """Hold that a test which starts such a process of its own is marked so."""
    before, drawn = _seconds_of_processes(), _drawn()
    yield
    seconds = _seconds_of_processes() - before
    # Whichever test is the first has sample pictures drawn, by a process without it.
    if request.node.get_closest_marker("slow") is None and drawn == _drawn():
        told = f"Mark this test with @pytest.mark.slow: {seconds:.0f} s"
        assert seconds < least_seconds, told


@pytest.fixture(autouse=True)
def registered_backbones_go_with_the_test():
    """Take what a test, or an example in it, has registered out of the table."""
    yield
    registry = sys.modules.get("keras_transfer.backbones.registry")
    table = registry.ARCHITECTURES if registry else {}
    for name in [name for name, entry in table.items() if entry.origin is not None]:
        del table[name]


# What comes before a cell, and leaves no names that a lesson might forget to import.
BEFORE = """\
__import__("gc").set_threshold(20_000, 10, 10)
if "keras" in __import__("sys").modules:
    __import__("keras").config.set_max_epochs({most})
"""


def _with_epochs(cell, most):
    """Return a cell in which each training gets so many epochs at most."""
    import nbformat

    return nbformat.v4.new_code_cell(BEFORE.format(most=most) + cell.source)


def pytest_collection_modifyitems(items):
    """Run each cell of a lesson twice in place, and ask checks about wrong answers.

    Learners run cells again, so no cell may spoil what it needs itself. That takes no
    training to its end, so before a cell is run as it is, trainings in it get a single
    epoch, if nothing is asserted in it. The checks of exercises then meet wrong answers
    in the same kernel, where lesson and solution have run.
    """
    import nbformat

    from keras_transfer.lessons.exercises import find_exercises

    twice = bool(os.environ.get("EVERY_CELL_TWICE"))
    for item in [item for item in items if hasattr(item, "cell")]:
        cell = item.cell
        once = cell.id in SLOW_CELLS.get(item.path.stem, ()) and not twice
        more = [] if once else [("again", _with_epochs(cell, None))]
        for exercise in find_exercises(item.parent.nb):
            if exercise.check is cell:
                more += [
                    (f"refuses: {what}", nbformat.v4.new_code_cell(code))
                    for what, code in exercise.refusals().items()
                ]
        if once:
            item.cell = _with_epochs(cell, None)
        elif "assert" not in cell.source:
            item.cell = _with_epochs(cell, 1)
        position = items.index(item) + 1
        items[position:position] = [
            type(item).from_parent(
                item.parent,
                name=f"{item.name} {what}",
                cell_num=item.cell_num,
                cell=cell,
                options=item.options,
            )
            for what, cell in more
        ]
    _longest_first(items)


def _longest_first(items):
    """Put files first that take long: one that begins last lets a worker wait for it.

    Lessons take longest, and then what starts processes.
    """
    weights = collections.Counter()
    for item in items:
        slow = item.get_closest_marker("slow") is not None
        weights[item.path] += 100 if hasattr(item, "cell") else 30 if slow else 1
    items.sort(key=lambda item: (-weights[item.path], item.path))
