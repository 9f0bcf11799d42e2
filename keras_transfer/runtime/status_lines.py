"""Print what a run does, without ever ending it."""

import contextlib
import sys
import typing


def say(
    *values: object,
    sep: str = " ",
    end: str = "\n",
    file: typing.TextIO | None = None,
    flush: bool = False,
) -> None:
    """Print as `print` does, also where the console cannot.

    Folders and classes have names in every language, and many a console (cp1252 on
    Windows, ASCII under `LC_ALL=C`) cannot show them: it then shows `?` in their place.
    A status line that reaches nobody, because the other end of a pipe has gone, is no
    reason to stop what it reports on.

    Args:
        *values: What to print.
        sep: Between two values. Defaults to a space.
        end: After the last one. Defaults to a new line.
        file: Where to. Defaults to standard output as it is now.
        flush: Whether it must be seen at once. Defaults to `False`.
    """
    file = sys.stdout if file is None else file
    with contextlib.suppress(OSError, ValueError):
        try:
            print(*values, sep=sep, end=end, file=file, flush=flush)
        except UnicodeEncodeError:
            text = sep.join(map(str, values))
            encoding = getattr(file, "encoding", None) or "ascii"
            plain = text.encode(encoding, "replace").decode(encoding)
            print(plain, end=end, file=file, flush=flush)
