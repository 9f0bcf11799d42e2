"""A page with the photos of a check, so that somebody can look and decide."""

import functools
import pathlib
import shlex
import typing

from keras_transfer.data.photo_files import read_folder
from keras_transfer.workflow import pages
from keras_transfer.workflow.suspicions import KINDS, Kind, Suspicion

MOST_PHOTOS = 300
# Of one kind, so that the others are seen as well.
MOST_OF_A_KIND = 100


def write_page(check: typing.Any, path: pathlib.Path) -> None:
    """Write what was found as one self-contained HTML page.

    Args:
        check: `FolderCheck`, which imports this.
        path: The page to write.
    """
    pages.write_page("review.html.j2", path, **_described(check, MOST_PHOTOS))


def fragment(check: typing.Any, most_photos: int) -> str:
    """Return the same as a part of a page, with at most so many photos."""
    return pages.render("notebook.html.j2", **_described(check, most_photos))


class _Card(typing.NamedTuple):
    """Hold what is shown of a suspicion: the one or two photos are data URIs."""

    suspicion: Suspicion
    photo: str | None
    other: str | None


class _Group(typing.NamedTuple):
    """Hold what is shown of a kind of suspicion, which may not be all of it."""

    kind: str
    about: Kind
    cards: list[_Card]
    number: int
    whole: bool


def _described(check: typing.Any, most_photos: int) -> dict:
    folder = read_folder(check.path)
    files = {folder.name(file): file for file in folder.files}

    @functools.cache
    def thumbnail(name):
        return pages.photo(files[name]) if name in files else None

    left, groups = most_photos, []
    for kind, found in check.kinds.items():
        pairs, cards, whole = set(), [], True
        for each in found:
            pair = frozenset((each.path, each.other))
            if each.other is not None and pair in pairs:
                continue  # Shown already, from the other side.
            pairs.add(pair)
            if len(cards) == min(MOST_OF_A_KIND, left):
                whole = False
                break
            cards.append(_Card(each, thumbnail(each.path), thumbnail(each.other)))
        left -= len(cards)
        groups.append(_Group(kind, KINDS[kind], cards, len(found), whole))
    return {
        "check": check,
        "groups": groups,
        "folder": shlex.quote(str(check.path)),
        "class_names": check.class_names[:20],
    }
