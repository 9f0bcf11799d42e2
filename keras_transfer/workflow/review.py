"""`review.csv`: what is suspected of each photo, and what somebody decided about it."""

import csv
import difflib
import io
import os
import pathlib
import shutil
import typing
import unicodedata
from collections.abc import Iterable, Iterator

from keras_transfer.data.photo_files import (
    Folder,
    PhotoFile,
    is_readable,
    read_folder,
)
from keras_transfer.data.photo_folders import printable
from keras_transfer.runtime import atomic_files
from keras_transfer.runtime.arguments import file_path
from keras_transfer.runtime.csv_tables import marked, read_table
from keras_transfer.runtime.paths import outside_of
from keras_transfer.runtime.status_lines import say
from keras_transfer.workflow.suspicions import Suspicion, by_photo

COLUMNS = ("path", "class", "suspected", "evidence", "suggestion", "decision")
KEEP, DROP = "keep", "drop"
# Without these nothing can be applied.
NEEDED = ("path", "class", "decision")
SHOWN = 10


class Cleaned(typing.NamedTuple):
    """Say what a cleaned copy holds.

    Attributes:
        path: The copy.
        kept: Number of photos that stayed in their class.
        moved: Number of photos in another class than before.
        dropped: Number of photos that somebody decided to drop.
        unreadable: Paths of files that were left out because they are no photos.
        undecided: Number of photos that the review lists, that nobody decided about,
            and that stayed as they are.
    """

    path: pathlib.Path
    kept: int
    moved: int
    dropped: int
    unreadable: tuple[str, ...]
    undecided: int

    def __str__(self) -> str:
        text = (
            f"{self.path}: {self.kept + self.moved:,} photos, {self.moved:,} of them "
            f"moved to another class; {self.dropped:,} dropped"
        )
        if self.unreadable:
            text += f", {len(self.unreadable):,} left out that cannot be read"
        if self.undecided:
            text += (
                f". {self.undecided:,} suspected photos have no decision and stay as "
                "they are"
            )
        return text


def write_review(
    suspicions: Iterable[Suspicion], folder: Folder, path: pathlib.Path
) -> None:
    """Write one row for each suspected photo, the surest first.

    In UTF-8 with a mark at the beginning, by which Excel knows it. What was decided in
    a review at the same path stays, as long as the photo is where it was.

    Args:
        suspicions: In their order.
        folder: What `read_folder` returned.
        path: The file to write.
    """
    decided = {}
    if path.exists():
        names = {folder.name(file) for file in folder.files}
        for _, row in _rows(path):
            if row["decision"].strip() and row["path"] in names:
                decided[row["path"]] = row
    rows = []
    for name, found in by_photo(suspicions).items():
        kinds = "; ".join(dict.fromkeys(each.kind for each in found))
        evidence = "; ".join(each.evidence for each in found)
        decision = decided.pop(name, {"decision": ""})["decision"]
        about = found[0].class_name, kinds, evidence, found[0].suggestion
        rows.append((name, *about, decision))
    rows += [tuple(row[column] for column in COLUMNS) for row in decided.values()]
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(COLUMNS)
    writer.writerows([*map(marked, row)] for row in rows)
    with atomic_files.written_whole(path) as temporary:
        temporary.write_bytes(file.getvalue().encode("utf-8-sig", "backslashreplace"))


def apply_review(
    folder: str | os.PathLike, review: str | os.PathLike, output: str | os.PathLike
) -> Cleaned:
    """Make a cleaned copy of a folder of photos, as a review decided.

    The folder itself is never changed. The files of the copy are hard links where these
    can be made, which takes no room; a program that changes a photo in place changes
    both. Photos without a decision stay as they are. Files that cannot be read, and
    what lies in no class folder, are left out.

    Args:
        folder: Folder of photos that was checked.
        review: Its `review.csv`, with the column `decision` filled in: `keep`, `drop`,
            or the name of another class of the folder; empty is as good as `keep`.
            `keep` keeps a file that cannot be read as well. Rows may be left out and
            added.
        output: The copy; there must be nothing at this path.

    Returns:
        `Cleaned`, which says what became of the photos.

    Raises:
        ValueError: If the review is none, or does not fit the folder.
        FileExistsError: If there is something at `output`.
        OSError: If a file cannot be read or written.

    Example:

    >>> import keras_transfer as kt
    >>> folder = kt.practice_folder().path
    >>> review = kt.check_directory(folder, labels=False).write("review")
    >>> cleaned = kt.apply_review(folder, review, "clean")
    >>> cleaned.moved, len(cleaned.unreadable)
    (0, 1)
    """
    folder, review = file_path("folder", folder), file_path("review", review)
    output = file_path("output", output).absolute()
    found = read_folder(folder, with_thumbnails=False)
    if os.path.lexists(output):
        raise FileExistsError(
            "There is something at this path already. Name a new folder for the "
            f"cleaned copy. Received: output={output}"
        )
    outside_of(found.path, "output", output)
    decisions = _read_decisions(review, found)
    kept, moved, unreadable = _sorted_out(found, decisions)
    places = {file.path: file.path.relative_to(found.path) for file in kept}
    places |= _new_places(found, moved, places.values())
    if not places:
        raise ValueError(
            f"No photo would be left. Received: review={review}, folder={found.path}"
        )
    with atomic_files.unfinished_folder(output) as temporary:
        for path, place in places.items():
            (temporary / place).parent.mkdir(parents=True, exist_ok=True)
            _link_or_copy(path, temporary / place)
        temporary.rename(output)
    dropped = len(found.files) - len(places) - len(unreadable)
    undecided = sum(not decisions.get(found.name(f), KEEP) for f in kept)
    cleaned = Cleaned(output, len(kept), len(moved), dropped, unreadable, undecided)
    say(f"Cleaned copy: {cleaned}")
    return cleaned


def _sorted_out(
    folder: Folder, decisions: dict[str, str]
) -> tuple[list[PhotoFile], dict[PhotoFile, int], tuple[str, ...]]:
    """Return what stays, what moves to which label, and what cannot be read."""
    kept, moved, unreadable = [], {}, []
    for file in folder.files:
        decision = decisions.get(folder.name(file), "")
        if not decision and not is_readable(file):
            unreadable.append(folder.name(file))
        elif decision in ("", KEEP, folder.class_names[file.label]):
            kept.append(file)
        elif decision != DROP:
            moved[file] = folder.class_names.index(decision)
    return kept, moved, tuple(unreadable)


def _new_places(
    folder: Folder, moved: dict[PhotoFile, int], taken: Iterable[pathlib.Path]
) -> dict[pathlib.Path, pathlib.Path]:
    """Return where moved photos go, so that none takes the place of another."""
    within = {file: _class_folder(folder, file) for file in folder.files}
    class_folders = {(file.label, file.split): path for file, path in within.items()}
    taken, places = {_alike(place) for place in taken}, {}
    for file, label in moved.items():
        there = within[file].with_name(folder.class_names[label])
        there = class_folders.get((label, file.split), there)
        place = there / file.path.relative_to(folder.path / within[file])
        wanted, number = place, 1
        while _alike(place) in taken:
            number += 1
            place = wanted.with_name(f"{wanted.stem}-{number}{wanted.suffix}")
        taken.add(_alike(place))
        places[file.path] = place
    return places


def _class_folder(folder: Folder, file: PhotoFile) -> pathlib.Path:
    """Return the folder of a photo's class, relative to the whole folder."""
    parts = file.path.relative_to(folder.path).parts
    names = [_composed(printable(part)) for part in parts]
    name = _composed(folder.class_names[file.label])
    # A split may bear the name of a class.
    start = 1 if folder.splits and names[1] == name else 0
    return pathlib.Path(*parts[: names.index(name, start) + 1])


def _alike(place: pathlib.Path) -> str:
    # Many a disk takes names for one that differ by case, or in how accents are made.
    return _composed(str(place)).casefold()


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _link_or_copy(path: pathlib.Path, target: pathlib.Path) -> None:
    try:
        os.link(path.resolve(), target)
    except OSError:
        # To another disk, or on one without links.
        shutil.copy2(path, target)


def _read_decisions(path: pathlib.Path, folder: Folder) -> dict[str, str]:
    """Return what was decided of each photo that is listed, `""` for nothing."""
    class_of = {folder.name(f): folder.class_names[f.label] for f in folder.files}
    decisions = {}
    for line, row in _rows(path):
        name, decision = row["path"], row["decision"]
        received = f"Received: review={path}, line={line}, path={name}"
        if name not in class_of:
            raise ValueError(
                "There is no such photo in the folder. Expected the review of this "
                f"folder, with paths relative to it. {received}, folder={folder.path}"
            )
        if row["class"] and row["class"] != class_of[name]:
            raise ValueError(
                f"This photo is in the class {class_of[name]} and not in "
                f"{row['class']}: the review is of another folder. {received}"
            )
        if not decision.strip():
            decisions.setdefault(name, "")
            continue
        decision = _checked(decision, folder.class_names, received)
        if decisions.get(name, "") not in ("", decision):
            raise ValueError(f"Two decisions are about one photo. {received}")
        decisions[name] = decision
    return decisions


def _checked(typed: str, class_names: tuple[str, ...], received: str) -> str:
    """Return a decision as it is meant, or refuse it."""
    decision = _composed(typed.strip())
    received += f", decision={decision}"
    # Spaces around a cell are no part of it, but the name of a folder may have some.
    meant = [name for name in class_names if name.strip() == decision]
    word = decision.lower()
    if word in (KEEP, DROP) and meant:
        raise ValueError(
            f"A class has the name {decision}, so it cannot be told whether the photo "
            f"shall be there. Rename the folder of the class. {received}"
        )
    if word in (KEEP, DROP):
        return word
    exact = [name for name in class_names if name == _composed(typed)]
    if len(exact or meant) == 1:
        return (exact or meant)[0]
    known = {each.casefold(): each for each in (KEEP, DROP, *class_names)}
    near = difflib.get_close_matches(decision.casefold(), known, 1)
    raise ValueError(
        "Expected keep, drop or a class of the folder: "
        f"{', '.join(class_names[:SHOWN])}{', ...' * (len(class_names) > SHOWN)}. "
        + (f"Did you mean {known[near[0]]}? " if near else "")
        + "For a new class make a folder of its name beside those of the others. "
        + received
    )


def _rows(path: pathlib.Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the number of the line, and the cells by their column."""
    if not path.is_file():
        raise FileNotFoundError(
            "There is no review at this path. Make one with check FOLDER. "
            f"Received: review={path}"
        )
    for line, row in read_table(path, NEEDED, "The review", f"review={path}"):
        if row["path"]:
            yield line, dict.fromkeys(COLUMNS, "") | row
