"""Command line of the package: `python -m keras_transfer --help`.

Each command imports what it needs only when it runs, so that help comes at once. A file
of this folder with a function `add_commands` adds commands; its number `STEP`, if it
has one, says where they stand in the help.
"""

import argparse
import errno
import importlib
import math
import os
import pkgutil
import re
import sys
import textwrap
import types
import warnings
from collections.abc import Mapping

from keras_transfer import cli
from keras_transfer.cli.arguments import IN_A_CHECKOUT
from keras_transfer.runtime.keras_settings import check_keras
from keras_transfer.runtime.status_lines import say

# Of the extra `lessons`, some by way of Jupyter.
LESSON_MODULES = (
    "IPython",
    "ipykernel",
    "junitparser",
    "jupyter_client",
    "nbclient",
    "nbconvert",
    "nbformat",
    "psutil",
)
# What is true of every command; some say it more exactly.
STATUSES = {
    0: "all went well",
    1: "something failed, or was found that should not be there",
    2: "the arguments, the settings or what they name do not fit",
    130: "interrupted",
}
WIDTH = 79
WRONG_ARGUMENTS = (
    ValueError,
    FileNotFoundError,
    FileExistsError,
    NotADirectoryError,
    IsADirectoryError,
)


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit status.

    Args:
        arguments: The words after `python -m keras_transfer`. Defaults to `None`:
            those of the running process.

    Returns:
        0 if all went well, 1 if something failed, 2 if the arguments or the settings
        do not fit, 130 if interrupted. The help of a command says it more exactly.

    Example:

    >>> main(["lessons", "1", "--profile", "quick"])
    0
    """
    options = parse(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        if options.needs_keras:
            check_keras()
        with warnings.catch_warnings():
            warnings.showwarning = _warn
            return options.run(options)
    except ModuleNotFoundError as error:
        if error.name is None:  # What this package says of Ray, in a sentence.
            say(f"error: {error}", file=sys.stderr)
            return 1
        if (error.name or "").partition(".")[0] not in LESSON_MODULES:
            raise
        say(
            f"error: This command needs {error.name}, which the package alone does not "
            f"bring: {IN_A_CHECKOUT}.",
            file=sys.stderr,
        )
        return 1
    except WRONG_ARGUMENTS as error:
        say(f"error: {_sentence(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        say("Interrupted.", file=sys.stderr)
        return 130
    except Exception as error:
        # What TensorFlow makes of an interruption that comes inside of its C++.
        if isinstance(error, RuntimeError) and "KeyboardInterrupt" in str(error):
            say("Interrupted.", file=sys.stderr)
            return 130
        known = (RuntimeError, OSError, MemoryError, *_tensorflow())
        if not isinstance(error, known):
            raise  # A fault of ours.
        say(f"error: {_sentence(error)}", file=sys.stderr)
        return 1
    finally:
        _flush()


def _warn(message, *_) -> None:
    """Print a warning without the line of code that it comes from."""
    say(f"warning: {message}", file=sys.stderr)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line, or end the process if it does not fit."""
    return parser().parse_args(arguments)


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands, in the order in which they are needed."""
    top = argparse.ArgumentParser(
        prog="python -m keras_transfer",
        description="From a folder of photos to a model that can be trusted, and the "
        "lessons that teach it.",
        epilog=f"{_table(STATUSES)}\n\nMore on each: python -m keras_transfer COMMAND "
        "--help",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(required=True, title="commands", metavar="COMMAND")

    def command(
        name, run, text, *, description=None, statuses=None, needs_keras=True
    ) -> argparse.ArgumentParser:
        added = commands.add_parser(
            name,
            help=text,
            description=textwrap.fill(description or text, WIDTH),
            epilog=_table(STATUSES | (statuses or {})),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        added.set_defaults(run=run, needs_keras=needs_keras)
        return added

    for module in sorted(_modules(), key=lambda each: getattr(each, "STEP", math.inf)):
        module.add_commands(command)
    return top


def _modules() -> list[types.ModuleType]:
    """Return the modules of this folder that add commands, by their names."""
    names = [found.name for found in pkgutil.iter_modules(cli.__path__)]
    modules = [importlib.import_module(f"{cli.__name__}.{name}") for name in names]
    return [module for module in modules if hasattr(module, "add_commands")]


def _table(statuses: Mapping[int, str]) -> str:
    """Return what each exit status means, for the end of a help."""
    lines = [
        textwrap.fill(
            text, WIDTH, initial_indent=f"  {status:<5}", subsequent_indent=" " * 7
        )
        for status, text in sorted(statuses.items())
    ]
    return "\n".join(["exit status:", *lines])


def _sentence(error: Exception) -> str:
    """Return what an error says in one line, also one of the operating system's."""
    where = getattr(error, "filename", None)
    where = "" if where is None else f" Received: path={where}"
    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) and where:
        return f"The disk is full. Make room, and run the same command again.{where}"
    if getattr(error, "strerror", None):
        return f"{error.strerror}.{where}"
    if isinstance(error, MemoryError):
        return "There is not enough memory. Make room, or use smaller photos."
    if isinstance(error, _tensorflow()):
        # The first line, without the names of operations; the rest is a traceback.
        line = re.sub(r"\{\{.*?\}\}|\[Op:.*", "", str(error)).strip().partition("\n")[0]
        return re.sub(r"^\w+Error: ", "", line) or type(error).__name__
    return str(error) or type(error).__name__


def _tensorflow() -> tuple[type, ...]:
    """Return what TensorFlow raises, where it has been imported."""
    found = sys.modules.get("tensorflow")
    return (found.errors.OpError,) if found else ()


def _flush() -> None:
    """Write what is left; where the other end of a pipe has gone, be done with it."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        # Python would try again at its end, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
