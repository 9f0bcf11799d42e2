"""Find the photos of a folder, and tell its classes and its splits by their structure.

A folder holds one subfolder a class; or one subfolder a split, each with the same class
folders in it (or, the other way round, class folders that hold the same splits). What
lies there besides is passed over, and named.
"""

import contextlib
import os
import pathlib
import re
import typing
import unicodedata
from collections.abc import Collection, Iterator

from keras_transfer.data import decoding, split_names
from keras_transfer.data.skipped import Skipped
from keras_transfer.runtime import paths

# What systems and programs leave in folders of photos, in lower case.
SYSTEM = {
    "__macosx",
    "thumbs.db",
    "ehthumbs.db",
    "ehthumbs_vista.db",
    "desktop.ini",
    "icon\r",
    "@eadir",
    "$recycle.bin",
    "system volume information",
    "lost+found",
}
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
HIDDEN = "hidden: its name begins with a dot"
OF_THE_SYSTEM = "left there by an operating system"
NO_CLASS = "not in a class folder"
NO_SPLIT = "beside the splits, without class folders of its own"


class Photo(typing.NamedTuple):
    """Name a file in a class folder: its class, and its split where one is given."""

    path: pathlib.Path
    label: int
    split: str | None


class Layout(typing.NamedTuple):
    """Say what a folder holds.

    Attributes:
        class_names: The classes, in the order of their labels.
        splits: Splits that the folder gives; none where its subfolders are classes.
        photos: All files in class folders that may be photos, in order.
        skipped: What is passed over: its path, the reason, and whether it looks like
            something that a user would miss.
    """

    class_names: tuple[str, ...]
    splits: tuple[str, ...]
    photos: list[Photo]
    skipped: list[tuple[Skipped, bool]]


def printable(text: str | os.PathLike) -> str:
    r"""Return a name in one line that every console can take.

    Bytes that are not UTF-8 become `\udcff`, the end of a line `\n`.
    """
    return _CONTROL.sub(lambda found: repr(found[0])[1:-1], well_formed(text))


def well_formed(text: str | os.PathLike) -> str:
    r"""Return a name that every program reads: bytes not UTF-8 become `\udcff`."""
    text = os.fspath(text)
    with contextlib.suppress(UnicodeEncodeError):
        # Under `LC_ALL=C` Python takes all that is not ASCII for bytes.
        escaped = "utf-8", "surrogateescape"
        text = text.encode(*escaped).decode(*escaped)
    return text.encode("utf-8", "backslashreplace").decode()


def read_layout(path: pathlib.Path, known: Collection[str] = ()) -> Layout:
    """Return what lies in a folder.

    Args:
        path: The folder, absolute.
        known: Names of classes, of which a single one is enough. Defaults to none.
    """
    outer = _subfolders(path)
    names = list(dict.fromkeys(map(_same, outer)))
    alone = len(names) == 1 and names[0] in map(normalized, known)
    if len(names) < 2 and not alone:
        inside = [name for f in outer for name in _class_folders(f)]
        hint = f"Pass {outer[0]}, which holds them. " if len(inside) > 1 else ""
        raise ValueError(
            "Expected a folder with at least two subfolders, one a class, each with "
            f"its images. {hint}Ways out: pass the folder that holds those of the "
            "classes; or sort the photos into one folder a class. "
            f"Received: path={path} with the subfolders {names}"
        )
    given = None if alone else _given_splits(path, outer)
    classes: dict[str, list[tuple[str | None, pathlib.Path]]] = {}
    for split, folders in (given or {None: _by_name(outer)}).items():
        for name, found in folders.items():
            classes.setdefault(name, []).extend((split, folder) for folder in found)
    used = [folder for found in classes.values() for _, folder in found]
    spelled = {_same(folder): folder.name for folder in reversed([*used, *outer])}
    in_order = sorted(classes, key=spelled.get)
    photos, skipped, real = [], [], path.resolve()
    for label, name in enumerate(in_order):
        for split, folder in classes[name]:
            for file, reason in _walk(folder, real):
                if reason is None:
                    photos.append(Photo(file, label, split))
                else:
                    missed = reason not in (HIDDEN, OF_THE_SYSTEM)
                    skipped.append((_skipped(path, file, reason), missed))
    photos.sort(key=lambda photo: (photo.label, photo.path))
    return Layout(
        class_names=tuple(printable(spelled[name]) for name in in_order),
        splits=tuple(name for name in split_names.FRACTIONS if name in (given or ())),
        photos=photos,
        skipped=skipped + _beside(path, {*used}),
    )


def check_kept_outside(
    folder: pathlib.Path, splits: Collection[str], cache_dir: pathlib.Path | None = None
) -> None:
    """Refuse a folder of photos in which features and networks would be kept.

    They would be one more class of it: the next call would fail. Beside folders of
    splits they do no harm.

    Args:
        folder: The folder of photos.
        splits: Splits that it gives.
        cache_dir: Where they are kept. Defaults to the folder of all that is.
    """
    way = "KERAS_TRANSFER_DATA_DIR" if cache_dir is None else "--cache-dir"
    kept, place = (cache_dir or paths.data_dir()).resolve(), folder.resolve()
    if kept.is_relative_to(place) and not (splits and kept.parent == place):
        raise ValueError(
            "What is kept by itself, such as features, would lie in the folder of "
            "photos and be taken for a class. Change into another folder, or name one "
            f"outside of it with {way}; if what is named here is there already, move "
            f"it away. Received: folder={folder}, kept in {kept}"
        )


def photos_below(folder: pathlib.Path) -> Iterator[tuple[pathlib.Path, str | None]]:
    """Yield the photos at any depth of a folder, and what cannot be looked into.

    A file is a photo by its ending or by its first bytes. What is hidden, belongs to
    the operating system or is no photo is passed over.

    Args:
        folder: The folder.

    Yields:
        Pairs of a path and `None`, or the reason why nothing was found there.
    """
    for path, reason in _walk(folder):
        if reason in (HIDDEN, OF_THE_SYSTEM):
            continue
        if (
            reason
            or path.suffix.lower() in decoding.SUFFIXES
            or decoding.is_image(path)
        ):
            yield path, reason


def _passed_over(name: str) -> str | None:
    if name.startswith("."):
        return HIDDEN
    return OF_THE_SYSTEM if name.lower() in SYSTEM else None


def normalized(name: str) -> str:
    """Return a name as it is compared, whichever system wrote it."""
    # macOS writes an accent as a letter of its own: the same name in other bytes.
    return unicodedata.normalize("NFC", name)


def _same(folder: pathlib.Path) -> str:
    return normalized(folder.name)


def _subfolders(folder: pathlib.Path) -> list[pathlib.Path]:
    try:
        return sorted(
            each
            for each in folder.iterdir()
            if not _passed_over(each.name) and each.is_dir()
        )
    except OSError as error:
        raise cannot_open(folder, error) from error


def cannot_open(folder: pathlib.Path, error: OSError) -> OSError:
    """Return the error that says so in one sentence, of the same kind."""
    return type(error)(
        f"This folder cannot be opened ({error.strerror or error}). Give yourself the "
        f"right to read it, or copy it. Received: path={folder}"
    )


def _by_name(folders: list[pathlib.Path]) -> dict[str, list[pathlib.Path]]:
    found = {}
    for folder in folders:
        found.setdefault(_same(folder), []).append(folder)
    return found


def _class_folders(folder: pathlib.Path) -> dict[str, list[pathlib.Path]]:
    """Return the folders in one, or in the lone folder that an archive put into it."""
    for _ in range(8):
        try:
            entries = [x for x in folder.iterdir() if not _passed_over(x.name)]
        except OSError:
            return {}
        if len(entries) != 1 or not _is_folder(entries[0]) or _has_photos(entries[0]):
            break  # A lone folder of photos is the one class that is there.
        folder = entries[0]
    return _by_name(sorted(filter(_is_folder, entries)))


def _is_folder(path: pathlib.Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # What it is cannot be told without the right to enter.
        return False


def _has_photos(folder: pathlib.Path) -> bool:
    try:
        files = (each for each in folder.iterdir() if not _passed_over(each.name))
        return any(_is_photo(each) for each in files)
    except OSError:
        return False


def _is_photo(path: pathlib.Path) -> bool:
    # Whoever opens a pipe waits for ever.
    return path.is_file() and decoding.is_image(path)


def _given_splits(
    path: pathlib.Path, outer: list[pathlib.Path]
) -> dict[str, dict[str, list[pathlib.Path]]] | None:
    """Return for each split its class folders, or `None` if these are classes."""
    inside = {folder: _class_folders(folder) for folder in outer}
    meaning = split_names.meanings(folder.name for folder in outer)
    parts = {folder: meaning[folder.name] for folder in outer}
    known = [folder for folder in outer if parts[folder] and len(inside[folder]) >= 2]
    common = set.intersection(*({*inside[folder]} for folder in known or outer))
    alike = len(common) >= 2 and all({*inside[f]} == common for f in outer)
    # Named so, although not all of them hold the same.
    named = "train" in map(parts.get, known) and (
        all(parts.values()) or (len(known) > 1 and bool(common))
    )
    if not (alike or named) or all(map(_has_photos, outer)):
        return None
    received = f"Received: path={path} with the subfolders {[f.name for f in outer]}"
    every = dict.fromkeys(name for folder in known for name in inside[folder])
    unknown = [
        folder.name
        for folder in outer
        if not parts[folder] and (alike or len({*inside[folder]} & {*every}) >= 2)
    ]
    if not known:
        within = [*inside[outer[0]]]
        inner = split_names.meanings(within)
        if "train" in inner.values() and None not in inner.values():
            _check_one_each([*inner.values()], received)
            return {
                inner[name]: {_same(folder): inside[folder][name] for folder in outer}
                for name in within
            }
        if any(map(_has_photos, outer)):
            return None
    if unknown:
        raise ValueError(
            "These subfolders hold the same folders, so they are splits of a data set, "
            f"but it cannot be told of which kind {', '.join(unknown[:10])} is. Rename "
            f"them: {split_names.UNDERSTOOD}, are understood. If they are classes, put "
            f"their photos right into them. {received}"
        )
    _check_one_each([parts[folder] for folder in outer if parts[folder]], received)
    for folder in outer:
        missing = [name for name in every if name not in inside[folder]]
        if parts[folder] and missing:
            raise ValueError(
                "These subfolders are splits of a data set, so each of them must hold "
                f"the same class folders, but {folder.name} has none of the name "
                f"{', '.join(missing[:10])}. Add it with its photos, or move "
                f"{folder.name} away: validation and test photos that are missing are "
                f"taken from train. {received}"
            )
    return {parts[folder]: inside[folder] for folder in outer if parts[folder]}


def _check_one_each(parts: list[str], received: str) -> None:
    if "train" not in parts or len({*parts}) < len(parts):
        raise ValueError(
            "These subfolders are splits of a data set: expected one for train, and at "
            f"most one each for validation and test; {split_names.UNDERSTOOD}, are "
            f"understood. Rename them, or put two into one. {received}"
        )


def _walk(
    folder: pathlib.Path, *above: pathlib.Path
) -> Iterator[tuple[pathlib.Path, str | None]]:
    """Yield all files below a folder, and what is passed over with the reason.

    Links are followed, but none that leads back to a folder above it.
    """
    try:
        real = folder.resolve(strict=True)
        if any(each.is_relative_to(real) for each in above):
            yield folder, "a link to a folder that it lies in"
            return
        entries = sorted(folder.iterdir())
    except (OSError, RuntimeError) as error:
        yield folder, f"cannot be opened ({getattr(error, 'strerror', error)})"
        return
    for entry in entries:
        reason = _passed_over(entry.name)
        if reason is None and _is_folder(entry):
            yield from _walk(entry, *above, real)
        else:
            yield entry, reason or _no_file(entry)


def _no_file(path: pathlib.Path) -> str | None:
    """Return why what is no folder is no file either, or `None` for a file."""
    try:
        if path.is_file():
            return None
        lost = path.is_symlink() and not path.exists()
    except OSError as error:
        return f"cannot be opened ({error.strerror or error})"
    return "a link to nothing" if lost else "no regular file"


def _beside(path: pathlib.Path, used: set[pathlib.Path]) -> list[tuple[Skipped, bool]]:
    """Return what lies outside all class folders."""
    found, above = [], {parent for folder in used for parent in folder.parents}
    folders = [path]
    while folders:
        for entry in sorted(folders.pop().iterdir()):
            reason = _passed_over(entry.name)
            if entry in used:
                continue
            if reason is None and entry in above:
                folders.append(entry)
            elif reason is not None:
                found.append((_skipped(path, entry, reason), False))
            elif _is_folder(entry):
                found.append((_skipped(path, entry, NO_SPLIT), True))
            else:
                # A list or a licence often lies there; a photo by mistake.
                missed = entry.is_symlink() and not entry.exists()
                missed = missed or _is_photo(entry)
                found.append((_skipped(path, entry, NO_CLASS), missed))
    return found


def _skipped(path: pathlib.Path, file: pathlib.Path, reason: str) -> Skipped:
    return Skipped(printable(file.relative_to(path).as_posix()), reason)
