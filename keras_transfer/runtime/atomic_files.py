"""Write files and folders so that none is ever half there."""

import contextlib
import errno
import functools
import hashlib
import os
import pathlib
import platform
import re
import shutil
import time
import uuid
from collections.abc import Iterator

from keras_transfer.runtime.arguments import file_path
from keras_transfer.runtime.paths import cannot_write, make_folder

# What is not finished yet bears the machine, the process and when that began.
_UNFINISHED = re.compile(r"\.kt-([0-9a-f]{8})-(\d+)-(\d+)-[0-9a-f]{8}-(.+)")
# Files of what an interrupted run has finished, to go on from, and for how long they
# are kept.
PROGRESS = ".progress"
_KEPT_SECONDS = 7 * 24 * 3600
# Bytes of a name's end that fit behind what says whose it is: all may have 255.
_LONGEST = 180
_FULL = (errno.ENOSPC, errno.EDQUOT)

_in_use: set[str] = set()


@contextlib.contextmanager
def written_whole(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Yield a temporary path that becomes `path` only when the block succeeds.

    The temporary name keeps the suffixes of `path`, because Keras chooses a file
    format by them. A block that raises leaves neither name behind, and an older
    file at `path` stays as it was. What a killed process has left beside it goes.
    """
    path = file_path("path", path)
    make_folder(path.parent)
    remove_abandoned(path.parent)
    with _own(path) as temporary:
        try:
            yield temporary
            _put(temporary, path)
        except OSError as error:
            if error.errno in _FULL:
                raise cannot_write(path.parent, error) from error
            raise
        finally:
            _remove(temporary)


def _put(temporary: pathlib.Path, path: pathlib.Path) -> None:
    """Rename what is whole; an older folder gives way, and comes back on an error."""
    if not (temporary.is_dir() and path.is_dir()):
        temporary.replace(path)
        return
    with _own(path) as aside:
        path.rename(aside)
        try:
            temporary.rename(path)
        except BaseException:
            aside.rename(path)
            raise
        _remove(aside)


def write_whole_text(path: str | os.PathLike, text: str) -> None:
    """Write a text as UTF-8, as `written_whole` writes a file."""
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def unfinished_folder(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yield a folder of this process alone, for what is to become `folder`.

    It holds what an interrupted run of the same name has finished, and is left for the
    next run in the same way. Anything else that a killed process has left goes, and so
    does this folder, unless the block has renamed it.
    """
    make_folder(folder.parent)
    with _own(folder) as temporary:
        left = _left_behind(folder)
        for abandoned in sorted(left, key=_size, reverse=True):
            # A rename succeeds for one process only.
            with contextlib.suppress(OSError):
                abandoned.rename(temporary)
                break
        else:
            temporary.mkdir()
        for abandoned in left:
            discard(abandoned)
        remove_abandoned(folder.parent)
        try:
            yield temporary
        except BaseException as error:
            # A refused value will be refused again.
            if isinstance(error, ValueError) or not _goes_on(temporary):
                _remove(temporary)
            if isinstance(error, OSError) and error.errno in _FULL:
                raise cannot_write(folder.parent, error) from error
            raise
        _remove(temporary)


def put_in_place(temporary: pathlib.Path, folder: pathlib.Path) -> None:
    """Rename a finished folder, unless another process was first with the same one."""
    try:
        temporary.rename(folder)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise


@contextlib.contextmanager
def scratch_folder(parent: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yield a new folder of this process alone, which goes when the block ends."""
    make_folder(parent)
    remove_abandoned(parent)
    with _own(parent / "scratch") as folder:
        folder.mkdir()
        try:
            yield folder
        finally:
            _remove(folder)


def left_bytes(folder: pathlib.Path) -> int:
    """Return the bytes that an interrupted run has left of `folder`."""
    return max(map(_size, _left_behind(folder)), default=0)


def remove_abandoned(folder: pathlib.Path) -> None:
    """Remove what processes that are gone have left unfinished in a folder.

    What a run can go on from stays for a week. What belongs to a living process, or to
    another machine that shares the folder, is never touched.
    """
    for path in _abandoned(folder):
        if not _goes_on(path):
            discard(path)


def remove_outdated(folder: pathlib.Path) -> None:
    """Remove the files of a folder that nothing has written to for a week.

    For what interrupted runs can go on from under its own name.
    """
    with contextlib.suppress(OSError):
        for path in [*folder.iterdir()]:
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > _KEPT_SECONDS:
                    discard(path)


def discard(path: pathlib.Path) -> None:
    """Remove a file or folder which another process may want, or remove, as well.

    It leaves under a name of this process first, so only one of them succeeds.
    """
    unfinished = _UNFINISHED.fullmatch(path.name)
    name = unfinished[4] if unfinished else path.name
    with _own(path.with_name(name)) as aside, contextlib.suppress(OSError):
        path.rename(aside)
        _remove(aside)


@contextlib.contextmanager
def _own(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yield a name beside `path` by which others know whose it is."""
    process = os.getpid()
    name = (
        f".kt-{_machine()}-{process}-{_started(process) or 0}-{uuid.uuid4().hex[:8]}"
        f"-{_short(path.name)}"
    )
    _in_use.add(name)
    try:
        yield path.with_name(name)
    finally:
        _in_use.discard(name)


def _short(name: str) -> str:
    """Return the end of a name, with its suffixes, or all of it."""
    while len(os.fsencode(name)) > _LONGEST:
        name = name[1:]
    return name


def _abandoned(folder: pathlib.Path) -> list[pathlib.Path]:
    try:
        return [path for path in folder.iterdir() if _is_abandoned(path.name)]
    except OSError:
        return []


def _is_abandoned(name: str) -> bool:
    parts = _UNFINISHED.fullmatch(name)
    if not parts or parts[1] != _machine():
        return False
    process, started = int(parts[2]), int(parts[3])
    if process == os.getpid() and started == (_started(process) or 0):
        return name not in _in_use
    return _is_gone(process, started)


def _is_gone(process: int, started: int) -> bool:
    if os.name != "posix":
        return False  # Windows ends the process that is asked in this way.
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    # Another process may have got the number since, or this one waits to be buried.
    return started != 0 and _started(process) != started


def _started(process: int) -> int | None:
    """Return when a process began, in ticks since the start of the machine.

    `None` for one that has ended, and where Linux's `/proc` is missing.
    """
    try:
        text = pathlib.Path(f"/proc/{process}/stat").read_text("utf-8", "replace")
    except (OSError, ValueError):
        return None
    # The name of the program, in brackets, may hold anything.
    state, *numbers = text.rpartition(")")[2].split()
    return None if state in "ZX" else int(numbers[18])


@functools.cache
def _machine() -> str:
    """Return what tells this machine, or container, from others with its folders."""
    name = platform.node()
    with contextlib.suppress(OSError):
        name += str(pathlib.Path("/proc/self/ns/pid").readlink())
    return hashlib.sha256(name.encode()).hexdigest()[:8]


def _left_behind(folder: pathlib.Path) -> list[pathlib.Path]:
    return [
        path
        for path in _abandoned(folder.parent)
        if _UNFINISHED.fullmatch(path.name)[4] == _short(folder.name) and _goes_on(path)
    ]


def _goes_on(path: pathlib.Path) -> bool:
    """Return whether a run can go on from there."""
    with contextlib.suppress(OSError):
        for progress in path.glob(f"*{PROGRESS}"):
            found = progress.stat()
            if found.st_size and time.time() - found.st_mtime < _KEPT_SECONDS:
                return True
    return False


def _size(folder: pathlib.Path) -> int:
    with contextlib.suppress(OSError):
        return sum(path.stat().st_size for path in folder.iterdir())
    return 0


def _remove(path: pathlib.Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
