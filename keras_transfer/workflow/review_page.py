"""A page with the photos of a check, so that somebody can look and decide."""

import contextlib
import functools
import html
import pathlib
import re
import shlex
import typing

from keras_transfer.data.photo_folders import printable
from keras_transfer.workflow import pages
from keras_transfer.workflow.suspicions import KINDS, Suspicion

MOST_CARDS = 300
# Of one kind, so that the others are seen as well.
MOST_OF_A_KIND = 100


class Card(typing.NamedTuple):
    """Hold what is shown of a suspicion: the one or two photos are data URIs.

    `other` is what is suspected of the other photo, where anything is.
    """

    suspicion: Suspicion
    photo: str | None
    other: Suspicion | None
    other_photo: str | None


def write_page(check: typing.Any, path: pathlib.Path) -> None:
    """Write what was found as one self-contained HTML page.

    Args:
        check: `FolderCheck`, which imports this.
        path: The page to write.
    """
    place = printable(check.path.resolve())
    shown = described(check, MOST_CARDS)
    pages.write_page("review.html.j2", path, place=place, **shown)


def is_of_another_folder(page: pathlib.Path, folder: pathlib.Path) -> bool:
    """Return whether a page of `write_page` says that it is of another folder."""
    with contextlib.suppress(OSError, ValueError):
        head = page.read_text(encoding="utf-8").partition("</head>")[0]
        found = re.search(r'<meta name="folder" content="(.*)">', head)
        return bool(found) and html.unescape(found[1]) != printable(folder.resolve())
    return False


def fragment(check: typing.Any, most_cards: int) -> str:
    """Return the same for a notebook, with at most so many cards."""
    return pages.filled_in("review_cell.html.j2", **described(check, most_cards))


def described(check: typing.Any, most_cards: int) -> dict:
    """Return what the templates show."""
    folder = check.photos
    files = {folder.name(file): file for file in folder.files}

    @functools.cache
    def photo(name):
        return pages.photo(files[name]) if name in files else None

    left, groups = most_cards, []
    for kind, found in check.kinds.items():
        pairs, cards = set(), []
        by_path = {each.path: each for each in found}
        for each in found:
            pair = frozenset((each.path, each.other))
            if each.path is None or (each.other is not None and pair in pairs):
                continue  # No photo, or shown already from the other side.
            pairs.add(pair)
            if len(cards) == min(MOST_OF_A_KIND, left):
                break
            other = by_path.get(each.other)
            cards.append(Card(each, photo(each.path), other, photo(each.other)))
        left -= len(cards)
        groups.append((kind, KINDS[kind], cards, found))
    return {"check": check, "groups": groups, "folder": shlex.quote(str(check.path))}
