"""The lessons' ledger: report a lesson's figures and hold them to its accuracy band.

A lesson calls `record(test_accuracy=...)` once, at its end. The figures travel in the
notebook itself, as an output of their own MIME type, so a lesson behaves the same in
JupyterLab, in a test and in the headless runner (`lessons.runner`), which collects them
into `ledger.json`.
"""

import contextlib
import json
import math
import os
import pathlib
from typing import Any

from keras_transfer.runtime import atomic_files, paths
from keras_transfer.runtime.arguments import real_number, shown, text, whole_number
from keras_transfer.runtime.status_lines import say

MIME_TYPE = "application/vnd.keras-transfer.record+json"
BANDS_FILE = "bands.json"


def record(
    lesson: str | None = None, data: Any = None, profile: Any = None, **figures: Any
) -> dict:
    """Report the figures of the running lesson and check its accuracy band.

    The figures are displayed as text for the reader and as JSON for the headless
    runner. The profile, the seed and the device are added to them. When
    `test_accuracy` is among the figures and a band is declared for the lesson,
    profile, backbone and data set (`notebooks/bands.json`), an accuracy outside of
    it is an error. `KERAS_TRANSFER_BANDS=none` turns that check off.

    Args:
        lesson: Name of the lesson's notebook without `.ipynb`. Defaults to `None`:
            the notebook's own name where the runner told it, else no band is
            looked up.
        data: The splits that the lesson trained on (anything with `name` and
            `source`), or the data set's name. Defaults to `None`.
        profile: The lesson's profile, as `keras_transfer.profile` returned it, or its
            name. Defaults to `None`: the name is read from `KERAS_TRANSFER_PROFILE`.
        **figures: What was measured, by name: numbers, text, or lists and
            dictionaries of them. `test_accuracy` lies in [0, 1]; `test_images` and
            `backbone`, a model or its name, belong with it.

    Returns:
        The recorded figures as a dictionary of plain Python values.

    Raises:
        ValueError: If a figure is not finite or no plain value, `test_accuracy` is not
            in [0, 1], or another argument is none of these.
        AssertionError: If `test_accuracy` lies outside the declared band.

    Example:

    >>> import keras_transfer as kt
    >>> figures = kt.record(test_accuracy=0.95, test_images=90, data="my_photos")
    """
    from keras_transfer.runtime import profiles

    # Not `profiles.profile()`: selecting a profile sets the seed anew.
    configured = os.environ.get("KERAS_TRANSFER_PROFILE") or profiles.NAMES[0]
    names = {
        "lesson": text("lesson", lesson) or os.environ.get("KERAS_TRANSFER_LESSON"),
        "profile": configured if profile is None else _name("profile", profile, "seed"),
        "data": _name("data", data, "source"),
        "backbone": _name("backbone", figures.get("backbone"), "layers"),
    }
    if names["profile"] not in profiles.NAMES:
        raise ValueError(
            f"A profile is one of {', '.join(profiles.NAMES)}. Pass one of these, or "
            "set KERAS_TRANSFER_PROFILE to it. "
            f"Received: profile={shown(names['profile'])}"
        )
    if figures.get("test_images") is not None:
        figures["test_images"] = whole_number("test_images", figures["test_images"], 1)
    entry = {
        "lesson": names["lesson"],
        "profile": names["profile"],
        "seed": getattr(profile, "seed", None),
        "device": getattr(profile, "device", None) or profiles.device_in_use()[0],
        "data": names["data"],
        "data_source": getattr(data, "source", None),
        **figures,
        "backbone": names["backbone"],
    }
    entry = {
        name: _plain(name, value) for name, value in entry.items() if value is not None
    }
    accuracy = entry.get("test_accuracy")
    if accuracy is not None and (
        isinstance(accuracy, bool | str | list | dict) or not 0 <= accuracy <= 1
    ):
        raise ValueError(
            f"`test_accuracy` must be a number in [0, 1]. Received: {shown(accuracy)}"
        )

    lines = [f"{name}: {_short(value)}" for name, value in entry.items()]
    band = None
    if accuracy is not None:
        band, remark = declared_band(entry)
        if band:
            entry["band"] = list(band)
        lines.append(remark)
    # The figures are shown before the band is checked: a failed lesson has them too.
    _show(entry, "\n".join(lines))
    if band and not band[0] <= accuracy <= band[1]:
        raise AssertionError(
            f"{_subject(entry)} measured a test accuracy of {accuracy:.1%}, "
            f"outside its band of {band[0]:.1%} to {band[1]:.1%}. Likely reasons: "
            "labels that no longer belong to their photos, another preprocessing "
            "than the backbone's, weights that are not the ImageNet ones, or "
            "training or test photos that changed. "
            f"Received: test_accuracy={accuracy!r}"
        )
    return entry


def output_dir() -> pathlib.Path:
    """Return the folder where a lesson saves its final model, and make it.

    The headless runner and the tests name it with `KERAS_TRANSFER_OUTPUT_DIR`, so
    that neither overwrites what the other measured; without that it is
    `build/lessons/` in the project.

    Returns:
        The folder, which exists.

    Raises:
        OSError: If it cannot be made.

    Example:

    >>> import keras_transfer as kt
    >>> kt.output_dir().is_dir()
    True
    """
    configured = os.environ.get("KERAS_TRANSFER_OUTPUT_DIR")
    folder = pathlib.Path(configured or paths.build_dir() / "lessons")
    folder = folder.expanduser().absolute()
    return paths.make_folder(folder, "KERAS_TRANSFER_OUTPUT_DIR")


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
            f"No accuracy band is declared for {_subject(entry)}; nothing to compare "
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
    atomic_files.write_whole_text(
        path, json.dumps(bands, indent=2, sort_keys=True) + "\n"
    )
    return len(measured)


def _subject(entry: dict) -> str:
    """Return the words that name what a lesson's figures are about."""
    return (
        f"lesson {entry.get('lesson')} with {entry.get('backbone')} on "
        f"{entry.get('data')} (profile {entry['profile']})"
    )


class NotPlainError(ValueError, TypeError):
    """Says that a figure is no plain value; a `TypeError` as well, as it once was."""


def _name(argument: str, value: Any, beside: str) -> str | None:
    """Return a text, or the name of a thing that also has the attribute `beside`."""
    if value is None or isinstance(value, str):
        return value
    name = getattr(value, "name", None)
    if not isinstance(name, str) or not hasattr(value, beside):
        raise ValueError(
            f"{argument} must be a text, or have a name as what keras_transfer makes. "
            f"Received: {argument}={shown(value)}"
        )
    return name


def _plain(name: str, value: Any) -> Any:
    """Return a figure as JSON can hold it, NumPy's and Keras's scalars as numbers."""
    if isinstance(value, dict):
        return {str(key): _plain(f"{name}[{key!r}]", v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(f"{name}[{i}]", v) for i, v in enumerate(value)]
    with contextlib.suppress(Exception):  # A class, a tensor of a graph.
        value = value.numpy() if hasattr(value, "numpy") else value
        value = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(value, list):
        return _plain(name, value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"The figure `{name}` must be finite. Received: {value}")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise NotPlainError(
        f"The figure `{name}` must be a number, text, or a list or dictionary of "
        f"them. Received: {shown(value)} of type {type(value).__name__}"
    )


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _show(entry: dict, words: str) -> None:
    # Lessons run where IPython is; a plain script must not need it.
    try:
        from IPython import get_ipython
    except ImportError:
        shell = None
    else:
        shell = get_ipython()
    if shell is None:
        say(words)
        return
    from IPython.display import display

    display({MIME_TYPE: entry, "text/plain": words}, raw=True)


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
