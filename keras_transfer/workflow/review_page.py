"""A page with the photos of a check, so that somebody can look and decide."""

import base64
import functools
import io
import pathlib
import typing

import jinja2

from keras_transfer.data.decoding import UnreadableImageError
from keras_transfer.data.photo_files import PhotoFile, is_readable, read_folder
from keras_transfer.runtime import atomic_files
from keras_transfer.workflow.photo_quality import small_photo
from keras_transfer.workflow.suspicions import KINDS, Suspicion

# About 8 kB each.
SIDE, QUALITY = 220, 80
MOST_PHOTOS = 300
# Of one kind, so that the others are seen as well.
MOST_OF_A_KIND = 100


def write_page(check: typing.Any, path: pathlib.Path) -> None:
    """Write what was found as one self-contained HTML page.

    Args:
        check: `FolderCheck`, which imports this.
        path: The page to write.
    """
    page = _template("review.html.j2").render(_described(check, MOST_PHOTOS))
    text = page.encode("utf-8", "backslashreplace").decode()
    atomic_files.write_whole_text(path, text)


def fragment(check: typing.Any, most_photos: int) -> str:
    """Return the same as a part of a page, with at most so many photos."""
    return _template("found.html.j2").render(_described(check, most_photos))


class _Card(typing.NamedTuple):
    """Hold what is shown of a suspicion: the one or two photos are data URIs."""

    suspicion: Suspicion
    photo: str | None
    other: str | None


def _template(name: str) -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("keras_transfer.workflow"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(name)


def _described(check: typing.Any, most_photos: int) -> dict:
    folder = read_folder(check.path)
    files = {folder.name(file): file for file in folder.files}

    @functools.cache
    def thumbnail(name):
        return _thumbnail(files[name]) if name in files else None

    left, groups = most_photos, []
    for kind, found in check.kinds.items():
        pairs, cards = set(), []
        for each in found:
            pair = frozenset((each.path, each.other))
            if each.other is not None and pair in pairs:
                continue  # Shown already, from the other side.
            pairs.add(pair)
            if len(cards) == min(MOST_OF_A_KIND, left):
                break
            cards.append(_Card(each, thumbnail(each.path), thumbnail(each.other)))
        left -= len(cards)
        groups.append((kind, KINDS[kind], cards, len(found)))
    return {
        "check": check,
        "groups": groups,
        "class_names": ", ".join(check.class_names[:20]),
    }


def _thumbnail(file: PhotoFile) -> str | None:
    """Return a small JPEG of a photo as a data URI, or `None` if there is none."""
    if not is_readable(file):
        return None
    try:
        image, _ = small_photo(file, SIDE)
    except (OSError, UnreadableImageError):  # Changed since it was looked at.
        return None
    jpeg = io.BytesIO()
    image.save(jpeg, "JPEG", quality=QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg.getvalue()).decode()}"
