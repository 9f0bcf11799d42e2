"""Command line of the package: `python -m keras_transfer --help`.

Each command imports what it needs only when it runs, so that help comes at once. A file
of this folder with a function `add_commands` adds commands.
"""

import argparse
import importlib
import os
import pkgutil
import sys

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


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit status.

    Args:
        arguments: The words after `python -m keras_transfer`. Defaults to `None`:
            those of the running process.

    Returns:
        0 if all went well, 1 if something failed, 2 if the arguments or the settings
        do not fit, 130 if interrupted. `diagnose` has an answer of its own: 1 for a
        serious fault of the model, 2 where it could not be examined.

    Example:

    >>> main(["lessons", "1", "--profile", "quick"])
    0
    """
    options = parse(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        if options.needs_keras:
            check_keras()
        return options.run(options)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in LESSON_MODULES:
            raise
        say(
            f"error: This command needs {error.name}, which the package alone does not "
            f"bring: {IN_A_CHECKOUT}.",
            file=sys.stderr,
        )
        return 1
    except (
        ValueError,
        FileNotFoundError,
        FileExistsError,
        NotADirectoryError,
        IsADirectoryError,
    ) as error:
        say(f"error: {error}", file=sys.stderr)
        return 2
    except (RuntimeError, OSError) as error:
        say(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        say("Interrupted.", file=sys.stderr)
        return 130
    finally:
        _flush()


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line, or end the process if it does not fit."""
    top = argparse.ArgumentParser(
        prog="python -m keras_transfer",
        description="Transfer learning with Keras: weights, lessons, measurements.",
    )
    commands = top.add_subparsers(required=True, metavar="command")

    def command(name, run, text, *, needs_keras=True):
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(run=run, needs_keras=needs_keras)
        return added

    for found in pkgutil.iter_modules(cli.__path__):
        module = importlib.import_module(f"{cli.__name__}.{found.name}")
        if hasattr(module, "add_commands"):
            module.add_commands(command)

    return top.parse_args(arguments)


def _flush() -> None:
    """Write what is left; where the other end of a pipe has gone, be done with it."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        # Python would try again at its end, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
