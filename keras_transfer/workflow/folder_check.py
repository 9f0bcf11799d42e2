"""`FolderCheck`: what was found in a folder of photos, to read, to show and to keep."""

import collections
import dataclasses
import os
import pathlib

from keras_transfer.data.photo_files import Folder, read_folder
from keras_transfer.runtime.arguments import file_path
from keras_transfer.runtime.paths import make_folder, outside_of
from keras_transfer.runtime.tables import text_table
from keras_transfer.workflow import review, review_page
from keras_transfer.workflow.suspicions import KINDS, Suspicion, by_photo

SHOWN = 3
# In a notebook, where each photo is kept with its page.
SHOWN_PHOTOS = 24


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class FolderCheck:
    """Hold what `check_directory` found; prints as text, shows as a page.

    Attributes:
        path: The folder, absolute.
        class_names: The classes, in the order of their labels.
        splits: Splits that the folder gives; none where its subfolders are classes.
        counts: Number of readable photos of each class, by its name.
        suspicions: Tuple of `Suspicion`, the most serious kinds first, and of one kind
            the surest first.
        not_examined: Dict from what could not be looked for to the reason.
        folder: What the folder held then, or `None`, and it is read again.
    """

    path: pathlib.Path
    class_names: tuple[str, ...]
    splits: tuple[str, ...]
    counts: dict[str, int]
    suspicions: tuple[Suspicion, ...]
    not_examined: dict[str, str]
    folder: Folder | None = None

    @property
    def serious(self) -> tuple[Suspicion, ...]:
        """The suspicions that make a model, or what is measured of it, wrong."""
        return tuple(x for x in self.suspicions if KINDS[x.kind].serious)

    @property
    def kinds(self) -> dict[str, list[Suspicion]]:
        """The suspicions of each kind that was found."""
        found = {}
        for each in self.suspicions:
            found.setdefault(each.kind, []).append(each)
        return found

    def to_dict(self) -> dict:
        """Return all of it as plain values for JSON."""
        return {
            "folder": review.printable(self.path),
            "class_names": list(self.class_names),
            "splits": list(self.splits),
            "counts": dict(self.counts),
            "suspicions": [
                each._asdict()
                | {"serious": KINDS[each.kind].serious, "score": float(each.score)}
                for each in self.suspicions
            ],
            "not_examined": dict(self.not_examined),
        }

    def write(self, output: str | os.PathLike) -> pathlib.Path:
        """Write `review.csv`, to fill in, and `review.html` with the photos.

        What was decided in a `review.csv` that lies there stays.

        Args:
            output: Folder for both, outside of the photos.

        Returns:
            Path of `review.csv`.
        """
        output = outside_of(self.path, "output", file_path("output", output))
        make_folder(output, "output")
        review.write_review(self.suspicions, self.photos, output / "review.csv")
        review_page.write_page(self, output / "review.html")
        return output / "review.csv"

    @property
    def photos(self) -> Folder:
        """The folder as it was checked."""
        return self.folder or read_folder(self.path, with_thumbnails=False)

    def __str__(self) -> str:
        parts = [self.headline]
        if self.suspicions:
            parts.append(text_table(self.table, words=(0, 2), rule=True))
        for kind, found in self.kinds.items():
            lines = [f"{kind}: {KINDS[kind].advice}"]
            lines += [f"  {_described(each)}" for each in found[:SHOWN]]
            if len(found) > SHOWN:
                lines.append(f"  and {len(found) - SHOWN:,} more")
            parts.append("\n".join(lines))
        if self.not_examined:
            reasons = [f"  {name}: {why}" for name, why in self.not_examined.items()]
            parts.append("\n".join(["Not examined:", *reasons]))
        return "\n\n".join(parts)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return review_page.fragment(self, SHOWN_PHOTOS)

    @property
    def headline(self) -> str:
        """One line: how many photos, and how many of them are suspected."""
        count, suspected = sum(self.counts.values()), len(by_photo(self.suspicions))
        return (
            f"{review.printable(self.path.name)}: {count:,} readable photos of "
            f"{len(self.class_names)} classes; {suspected:,} to look at, "
            f"{len(self.serious):,} serious"
        )

    @property
    def table(self) -> list[tuple[str, ...]]:
        """Rows of printable cells: each kind that was found, and how often."""
        numbers = collections.Counter(each.kind for each in self.suspicions)
        rows = [
            (kind, f"{numbers[kind]:,}", "serious" if about.serious else "")
            for kind, about in KINDS.items()
            if kind in numbers
        ]
        return [("suspected", "number", ""), *rows]


def _described(suspicion: Suspicion) -> str:
    name = suspicion.path or suspicion.class_name
    return f"{name}: {suspicion.evidence}"
