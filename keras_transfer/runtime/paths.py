"""Where files lie: the folders of a run, and whether there is room in them."""

import os
import pathlib
import shutil
import tempfile

from keras_transfer.runtime.arguments import file_path


def project_root() -> pathlib.Path:
    """Return the checkout that holds the current folder, else the current folder."""
    here = pathlib.Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "keras_transfer" / "runtime" / "paths.py").is_file() and (
            folder / "notebooks"
        ).is_dir():
            return folder
    return here


def data_dir() -> pathlib.Path:
    """Return the folder of data sets, weights and caches.

    Returns:
        The folder that `KERAS_TRANSFER_DATA_DIR` names; without it, `data/` in the
        project. It is not made.

    Raises:
        ValueError: If the variable holds no path.

    Example:

    >>> import keras_transfer as kt
    >>> kt.data_dir().is_absolute()
    True
    """
    return _named("KERAS_TRANSFER_DATA_DIR") or (project_root() / "data").absolute()


def weights_dir() -> pathlib.Path:
    """Return the folder of `<backbone>.weights.h5` files.

    `KERAS_TRANSFER_WEIGHTS_DIR` names it; without it, `weights/` in `data_dir()`.
    """
    return _named("KERAS_TRANSFER_WEIGHTS_DIR") or data_dir() / "weights"


def _named(variable: str) -> pathlib.Path | None:
    configured = os.environ.get(variable)
    return file_path(variable, configured).absolute() if configured else None


def build_dir() -> pathlib.Path:
    """Return the folder of everything that a run makes, `build/` in the project."""
    return project_root() / "build"


def make_folder(folder: pathlib.Path, instead: str | None = None) -> pathlib.Path:
    """Make a folder for files, or say in one sentence that none can be written.

    Args:
        folder: The folder; those around it are made as well.
        instead: How another one is named, for the error. Defaults to the variable of
            what is kept by itself, else to nothing in particular.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise cannot_write(folder, error, instead) from error
    return folder


def cannot_write(
    folder: pathlib.Path, error: OSError, instead: str | None = None
) -> OSError:
    """Return the error that says so in one sentence, of the same kind."""
    why = error.strerror or str(error)
    kind = type(error) if type(error).__module__ == "builtins" else OSError
    if instead is None and folder.absolute().is_relative_to(data_dir()):
        instead = "KERAS_TRANSFER_DATA_DIR"
    way = f"name another one with {instead}"
    if instead is None:
        way = (
            "write into another one; KERAS_TRANSFER_DATA_DIR names the one of all that "
            "is kept by itself"
        )
    said = kind(
        f"Nothing can be written in this folder ({why}). Make room, or {way}. "
        f"Received: folder={folder}"
    )
    said.errno = error.errno
    return said


def outside_of(folder: pathlib.Path, name: str, path: pathlib.Path) -> pathlib.Path:
    """Return an absolute path, and refuse one that lies in a folder of photos.

    Args:
        folder: The folder, which nothing is written into.
        name: Name of the argument, for the error.
        path: Its value.
    """
    path = path.absolute()
    if path.resolve().is_relative_to(folder.resolve()):
        raise ValueError(
            f"{name} must lie outside of the folder of photos, which is not changed. "
            f"Received: {name}={path}, folder={folder}"
        )
    return path


def existing_parent(path: str | os.PathLike) -> pathlib.Path:
    """Return the innermost folder of `path` that is there already."""
    path = pathlib.Path(path).absolute()
    while not path.exists():
        path = path.parent
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
