"""Accuracy bands: what a lesson must reach, declared from what was measured."""

import json
import math
import os
import pathlib

from keras_transfer.runtime import atomic_files, paths
from keras_transfer.runtime.arguments import real_number, shown, whole_number

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
    try:
        measured = real_number("measured", measured, least=0, most=1)
        test_images = whole_number("test_images", test_images, 1)
    except ValueError as error:
        raise ValueError(
            "A band needs an accuracy in [0, 1] and at least one test photo. "
            f"Received: measured={shown(measured)}, test_images={shown(test_images)}"
        ) from error
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

    Raises:
        ValueError: If the file of bands is damaged, or `KERAS_TRANSFER_BANDS` says
            something else than `none`.
    """
    switch = os.environ.get("KERAS_TRANSFER_BANDS", "").strip()
    if switch.lower() not in ("", "none"):
        raise ValueError(
            "KERAS_TRANSFER_BANDS is `none`, which turns the check of accuracy bands "
            f"off, or not set. Received: KERAS_TRANSFER_BANDS={shown(switch)}"
        )
    if switch:
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
    bands = _read_bands(path) if path.is_file() else {}
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
    with atomic_files.written_whole(path) as temporary:
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
    for folder in (pathlib.Path.cwd(), paths.project_root() / "notebooks"):
        if (folder / BANDS_FILE).is_file():
            return _read_bands(folder / BANDS_FILE)
    return {}


def _read_bands(path: pathlib.Path) -> dict:
    """Return the bands by lesson, profile and backbone."""
    try:
        bands = json.loads(path.read_text(encoding="utf-8"))
        for profiles in bands.values():
            for backbones in profiles.values():
                for band in backbones.values():
                    accuracy_band(band["test_accuracy"], band["test_images"])
                    band["data"]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            "Expected a file of accuracy bands, for each lesson, profile and backbone "
            "`data`, `test_accuracy` and `test_images`, as `keras-transfer ledger "
            "--bands` writes them. "
            f"Repair or delete it. Received: {path} ({error})"
        ) from error
    return bands
