"""What was left out of a data set."""

import typing


class _PathAndReason(typing.NamedTuple):
    path: str
    reason: str


class Skipped(_PathAndReason):
    """Name what was left out of a data set, and why.

    Attributes:
        path: Path of a photo relative to its folder; of a prepared data set, the
            slice of its records.
        reason: Why it is in no split.
        kind: The same without the name of another photo, where `reason` has one: to
            count by. Not one of the pair, which it is.
    """

    kind: str | None = None

    def __new__(cls, path: str, reason: str, kind: str | None = None):
        """Make a pair with a kind."""
        made = super().__new__(cls, path, reason)
        made.kind = kind
        return made
