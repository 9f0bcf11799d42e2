"""What was found out about files of photos, kept from one call to the next."""

import concurrent.futures
import hashlib
import json
import os
import pathlib
import typing
from collections.abc import Sequence

from keras_transfer.data import decoding
from keras_transfer.runtime import atomic_files, paths
from keras_transfer.runtime.status_lines import say

NAME = "checked_photos.json"
# Counted up when the same file would be judged in another way than before.
VERSION = 1
# About 150 bytes each.
MOST_FILES = 100_000


class Checked(typing.NamedTuple):
    """Say what a file holds.

    Attributes:
        sha256: Checksum of its bytes, or `""` where they could not be read.
        number: What `images.fingerprint` makes of the same bytes.
        plain: Whether TensorFlow's own decoder may read it.
        problem: Why it is no image that can be used, or `None`.
    """

    sha256: str
    number: int
    plain: bool
    problem: str | None


def check_files(paths: Sequence[pathlib.Path], near: pathlib.Path) -> list[Checked]:
    """Return what each file holds; only what is new, or has changed, is read.

    Args:
        paths: Absolute paths.
        near: Folder that is examined; nothing is written into it.
    """
    kept = _read()
    states = [_state(path) for path in paths]
    found = [
        _kept(kept, path, state) for path, state in zip(paths, states, strict=True)
    ]
    new = [index for index, checked in enumerate(found) if checked is None]
    if not new:
        return found
    # Pillow and zlib let go of the interpreter's lock, so threads do help.
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as threads:
        for index, checked in zip(
            new, threads.map(_check, [paths[i] for i in new]), strict=True
        ):
            found[index] = checked
    _write(kept, paths, states, found, near)
    return found


def _check(path: pathlib.Path) -> Checked:
    try:
        data = path.read_bytes()
    except OSError as error:
        return Checked("", 0, False, f"cannot be read ({error.strerror or error})")
    sha256, number = hashlib.sha256(data).hexdigest(), decoding.fingerprint(data)
    try:
        return Checked(sha256, number, decoding.inspect(data), None)
    except decoding.UnreadableImageError as error:
        return Checked(sha256, number, False, str(error))


def _state(path: pathlib.Path) -> list[int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    # The second time cannot be set by hand, as copying programs do with the first.
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _kept(kept: dict, path: pathlib.Path, state: list | None) -> Checked | None:
    try:
        size_and_times, *checked = kept[str(path.parent)][path.name]
        checked = Checked(*checked)
    except (KeyError, TypeError, ValueError):
        return None
    wanted = (str, int, bool, str | None)
    whole = all(map(isinstance, checked, wanted))
    return checked if whole and state and size_and_times == state else None


def _read() -> dict:
    try:
        kept = json.loads((paths.data_dir() / NAME).read_bytes())
        folders = kept["folders"] if kept["version"] == VERSION else {}
        return {k: v for k, v in folders.items() if isinstance(v, dict)}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}


def _write(kept: dict, photos, states, found, near: pathlib.Path) -> None:
    """Keep what was found, the folders of this call last, up to `MOST_FILES`."""
    folder = paths.data_dir()
    if folder.is_relative_to(near):
        # It would be found there as one more file, or as a class.
        return
    new = {}
    for path, state, checked in zip(photos, states, found, strict=True):
        if state and checked.sha256:  # A file that could not be read may be next time.
            new.setdefault(str(path.parent), {})[path.name] = [state, *checked]
    others = {
        name: files
        for name, files in kept.items()
        if name not in new and pathlib.Path(name).is_dir()
    }
    room, chosen = MOST_FILES, []
    for name, files in reversed([*others.items(), *new.items()]):
        room -= len(files)
        if room < 0:
            break
        chosen.append((name, files))
    text = json.dumps({"version": VERSION, "folders": dict(reversed(chosen))})
    try:
        atomic_files.write_whole_text(folder / NAME, text)
    except OSError as error:
        say(
            f"What was found out about {len(photos):,} photos could not be kept in "
            f"{folder} ({error.strerror or error}), so each call reads them all. Set "
            "KERAS_TRANSFER_DATA_DIR to a folder that can be written."
        )
