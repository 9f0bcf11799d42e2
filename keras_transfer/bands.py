"""Accuracy bands: what a lesson must reach, declared from what was measured."""

import json
import math
import os
import pathlib

from keras_transfer import storage

BANDS_FILE = "bands.json"


def accuracy_band(measured: float, test_images: int) -> tuple[float, float]:
    """Return the interval of three standard errors around a measured accuracy.

    At exactly 0 or 1 the usual formula gives a width of zero, so the standard error
    is taken half a photo further inwards.

    Args:
        measured: The accuracy that was measured, in [0, 1].
        test_images: The number of photos that it was measured on.

    Returns:
        The lower and the upper end, clipped to [0, 1].

    Raises:
        ValueError: If `measured` is not in [0, 1] or `test_images` not positive.

    Example:

    >>> low, high = accuracy_band(0.9, 100)
    >>> round(low, 2), round(high, 2)
    (0.81, 0.99)
    """
    if not (0 <= measured <= 1 and test_images > 0):
        raise ValueError(
            "A band needs an accuracy in [0, 1] and at least one test photo. "
            f"Received: measured={measured}, test_images={test_images}"
        )
    half_a_photo = 1 / (2 * test_images)
    p = min(max(measured, half_a_photo), 1 - half_a_photo)
    margin = 3 * math.sqrt(p * (1 - p) / test_images)
    return max(0.0, measured - margin), min(1.0, measured + margin)


def declared_band(entry: dict) -> tuple[tuple[float, float] | None, str]:
    """Return the band declared for a lesson's figures, and a line that says so.

    Args:
        entry: Figures as `keras_transfer.record` returns them.

    Returns:
        The lower and the upper end, or `None` where nothing is declared, and the
        line to print.
    """
    if os.environ.get("KERAS_TRANSFER_BANDS", "").lower() == "none":
        return None, "Accuracy band not checked: KERAS_TRANSFER_BANDS=none."
    declared = _declared_bands()
    for key in ("lesson", "profile", "backbone"):
        declared = (declared or {}).get(entry.get(key))
    # A band belongs to its photos: your own have none, and neither has the same data
    # set with another number of them.
    same = ("data", "test_images")
    if not declared or any(declared[key] != entry.get(key) for key in same):
        return None, (
            f"No accuracy band is declared for {subject(entry)}; nothing to compare "
            "with."
        )
    low, high = accuracy_band(declared["test_accuracy"], declared["test_images"])
    return (low, high), (
        f"Accuracy band: {low:.1%} to {high:.1%} (three standard errors around the "
        f"{declared['test_accuracy']:.1%} measured on {declared['test_images']} photos)"
    )


def merge_bands(entries: list[dict], path: str | os.PathLike) -> int:
    """Write the measured accuracies of a ledger into a file of bands.

    Bands of other lessons, profiles and backbones in the file stay.

    Args:
        entries: The entries of a ledger, as in `ledger.json`.
        path: The file to write, usually `notebooks/bands.json`.

    Returns:
        How many bands were written.
    """
    path = pathlib.Path(path)
    bands = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    measured = [
        entry
        for entry in entries
        if not entry.get("error")
        and all(entry.get(key) for key in ("lesson", "data", "backbone", "test_images"))
        and entry.get("test_accuracy") is not None
    ]
    for entry in measured:
        of_profile = bands.setdefault(entry["lesson"], {}).setdefault(
            entry["profile"], {}
        )
        of_profile[entry["backbone"]] = {
            name: entry[name] for name in ("data", "test_accuracy", "test_images")
        }
    with storage.written_whole(path) as temporary:
        text = json.dumps(bands, indent=2, sort_keys=True)
        temporary.write_text(text + "\n", encoding="utf-8")
    return len(measured)


def subject(entry: dict) -> str:
    """Return the words that name what a lesson's figures are about."""
    return (
        f"lesson {entry.get('lesson')} with {entry.get('backbone')} on "
        f"{entry.get('data')} (profile {entry['profile']})"
    )


def _declared_bands() -> dict:
    for folder in (pathlib.Path.cwd(), storage.project_root() / "notebooks"):
        if (folder / BANDS_FILE).is_file():
            return json.loads((folder / BANDS_FILE).read_text(encoding="utf-8"))
    return {}
