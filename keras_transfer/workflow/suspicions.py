"""What can be wrong with the photos of a folder, and what is to be done about it."""

import typing
from collections.abc import Iterable


class Kind(typing.NamedTuple):
    """Say what a kind of suspicion means.

    Attributes:
        serious: Whether a model, or what is measured of it, is wrong because of it.
        advice: What to do, as a sentence.
    """

    serious: bool
    advice: str


# In the order in which they are shown.
KINDS = {
    "too few photos": Kind(
        True, "Add photos, or move the folder of the class away: it cannot be split."
    ),
    "unreadable": Kind(
        True, "Copy or export the file again; a clean copy leaves it out."
    ),
    "in two classes": Kind(
        True, "Keep the photo whose class is right, and drop the other one."
    ),
    "near copy in another class": Kind(
        True, "Look at both: one of the labels is probably wrong."
    ),
    "in two splits": Kind(
        True, "Drop the one in train: a model is not tested on what it has seen."
    ),
    "wrong label": Kind(
        True, "Look at it: write the right class, drop it, or keep it as it is."
    ),
    "blank": Kind(False, "Drop it if there is nothing to be seen."),
    "dark": Kind(False, "Drop it if you cannot tell what it shows."),
    "bright": Kind(False, "Drop it if you cannot tell what it shows."),
    "blurred": Kind(False, "Drop it if you cannot tell what it shows."),
    "tiny": Kind(False, "Look for the original, or drop it."),
    "odd shape": Kind(False, "Crop it: stretched to a square it is distorted."),
    "copy": Kind(False, "Drop it: the same photo twice counts twice."),
    "near copy": Kind(
        False, "Keep both, or drop one: they must not be in two different splits."
    ),
    "few photos": Kind(
        False, "Add photos: what is measured on few is not much more than chance."
    ),
    "imbalance": Kind(
        False, "Add photos to the rare classes, or weight them while training."
    ),
    "passed over": Kind(
        False, "Move it into a class folder if it is a photo, else out of the way."
    ),
}


class Suspicion(typing.NamedTuple):
    """Say what may be wrong with a photo, or with a class.

    Attributes:
        path: Of the photo in the folder, or `None` if a class as a whole is meant.
        class_name: The class that it lies in, or `None` outside of all.
        kind: What is suspected, one of `KINDS`.
        evidence: What was found, in words, with numbers.
        suggestion: What to decide: `"keep"`, `"drop"`, a class, or `"look"`.
        other: Path of the other photo, where there are two.
        score: How sure that is, 0 to 1.
    """

    path: str | None
    class_name: str | None
    kind: str
    evidence: str
    suggestion: str
    other: str | None = None
    score: float = 1.0


def ordered(suspicions: Iterable[Suspicion]) -> tuple[Suspicion, ...]:
    """Return suspicions by their kinds, and of one kind the surest first."""
    place = {kind: number for number, kind in enumerate(KINDS)}
    return tuple(sorted(suspicions, key=lambda x: (place[x.kind], -x.score)))


def by_photo(suspicions: Iterable[Suspicion]) -> dict[str, list[Suspicion]]:
    """Return the suspicions of each photo in a class folder, in their order."""
    found = {}
    for each in suspicions:
        if each.path is not None and each.class_name is not None:
            found.setdefault(each.path, []).append(each)
    return found
