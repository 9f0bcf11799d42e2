"""Where files lie, and how they are written so that none is ever half there."""

import contextlib
import os
import pathlib
import shutil
import tempfile
import uuid
from collections.abc import Iterator


def project_root() -> pathlib.Path:
    """Return the checkout that holds the current folder, else the current folder."""
    here = pathlib.Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "keras_transfer" / "storage.py").is_file() and (
            folder / "notebooks"
        ).is_dir():
            return folder
    return here


def data_dir() -> pathlib.Path:
    """Return the folder of data sets, weights and caches.

    `KERAS_TRANSFER_DATA_DIR` names it; without it, `data/` in the project.
    """
    configured = os.environ.get("KERAS_TRANSFER_DATA_DIR")
    folder = pathlib.Path(configured) if configured else project_root() / "data"
    return folder.expanduser().absolute()


def weights_dir() -> pathlib.Path:
    """Return the folder of `<backbone>.weights.h5` files.

    `KERAS_TRANSFER_WEIGHTS_DIR` names it; without it, `weights/` in `data_dir()`.
    """
    configured = os.environ.get("KERAS_TRANSFER_WEIGHTS_DIR")
    folder = pathlib.Path(configured) if configured else data_dir() / "weights"
    return folder.expanduser().absolute()


def build_dir() -> pathlib.Path:
    """Return the folder of everything that a run makes, `build/` in the project."""
    return project_root() / "build"


@contextlib.contextmanager
def written_whole(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Yield a temporary path that becomes `path` only when the block succeeds.

    The temporary name keeps the suffixes of `path`, because Keras chooses a file
    format by them. A block that raises leaves neither name behind, and an older
    file at `path` stays as it was.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid.uuid4().hex[:8]}-{path.name}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)


def existing_parent(path: str | os.PathLike) -> pathlib.Path:
    """Return the innermost folder of `path` that is there already."""
    path = pathlib.Path(path).absolute()
    while not path.exists():
        path = path.parent
    return path


def made_folder(path: str | os.PathLike, instead: str) -> pathlib.Path:
    """Make a folder in which files can be made, with those around it.

    Args:
        path: The folder.
        instead: How to name another one, for the error.

    Raises:
        OSError: If it cannot be made, or nothing can be written in it.
    """
    path = pathlib.Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise type(error)(
            f"Nothing can be written in this folder ({error.strerror}). Name another "
            f"one with {instead}, or ask for the right to write. Received: {path}"
        ) from error
    return path


def check_room(folder: str | os.PathLike, size: int) -> int:
    """Return the free bytes where `folder` lies; raise `OSError` if not even `size`.

    Writing into a mapped file on a full disk ends the process without a word, so this
    is asked first.
    """
    free = shutil.disk_usage(existing_parent(folder)).free
    if size > free:
        raise OSError(
            f"There is not enough room: {size / 1e6:,.0f} MB needed, "
            f"{free / 1e6:,.0f} MB free. Make room, or name another folder. "
            f"Received: {folder}"
        )
    return free
