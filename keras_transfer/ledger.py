"""The lessons' ledger: report a lesson's figures and hold them to its accuracy band.

A lesson calls `record(test_accuracy=...)` once, at its end. The figures travel in the
notebook itself, as an output of their own MIME type, so a lesson behaves the same in
JupyterLab, in a test and in the headless runner (`keras_transfer.lessons`), which
collects them into `ledger.json`.
"""

import math
import os
import pathlib
from typing import Any

from keras_transfer import bands, storage
from keras_transfer.status_lines import say

MIME_TYPE = "application/vnd.keras-transfer.record+json"


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
        profile: The lesson's profile, as `keras_transfer.profile` returned it.
            Defaults to `None`: its name is read from `KERAS_TRANSFER_PROFILE`.
        **figures: What was measured, by name: numbers, text, or lists and
            dictionaries of them. `test_accuracy` lies in [0, 1]; `test_images` and
            `backbone` belong with it.

    Returns:
        The recorded figures as a dictionary of plain Python values.

    Raises:
        ValueError: If a figure is not finite, or `test_accuracy` not in [0, 1].
        TypeError: If a figure is not a plain value.
        AssertionError: If `test_accuracy` lies outside the declared band.

    Example:

    >>> import keras_transfer as kt
    >>> figures = kt.record(test_accuracy=0.95, test_images=90, data="my_photos")
    """
    from keras_transfer import profiles

    # Not `profiles.profile()`: selecting a profile sets the seed anew.
    configured = os.environ.get("KERAS_TRANSFER_PROFILE") or profiles.NAMES[0]
    figures["backbone"] = getattr(
        figures.get("backbone"), "name", figures.get("backbone")
    )
    entry = {
        "lesson": lesson or os.environ.get("KERAS_TRANSFER_LESSON"),
        "profile": getattr(profile, "name", configured),
        "seed": getattr(profile, "seed", None),
        "device": getattr(profile, "device", None) or profiles._device()[0],
        "data": getattr(data, "name", data),
        "data_source": getattr(data, "source", None),
        **figures,
    }
    entry = {
        name: _plain(name, value) for name, value in entry.items() if value is not None
    }
    accuracy = entry.get("test_accuracy")
    if accuracy is not None and (
        isinstance(accuracy, bool | str | list | dict) or not 0 <= accuracy <= 1
    ):
        raise ValueError(
            f"`test_accuracy` must be a number in [0, 1]. Received: {accuracy!r}"
        )

    lines = [f"{name}: {_short(value)}" for name, value in entry.items()]
    band = None
    if accuracy is not None:
        band, remark = bands.declared_band(entry)
        if band:
            entry["band"] = list(band)
        lines.append(remark)
    # The figures are shown before the band is checked: a failed lesson has them too.
    _show(entry, "\n".join(lines))
    if band and not band[0] <= accuracy <= band[1]:
        raise AssertionError(
            f"{bands.subject(entry)} measured a test accuracy of {accuracy:.1%}, "
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

    Example:

    >>> import keras_transfer as kt
    >>> kt.output_dir().is_dir()
    True
    """
    configured = os.environ.get("KERAS_TRANSFER_OUTPUT_DIR")
    folder = pathlib.Path(configured or storage.build_dir() / "lessons")
    folder = folder.expanduser().absolute()
    return storage.made_folder(folder, "KERAS_TRANSFER_OUTPUT_DIR")


def _plain(name: str, value: Any) -> Any:
    """Return a figure as JSON can hold it, NumPy's and Keras's scalars as numbers."""
    if isinstance(value, dict):
        return {str(key): _plain(f"{name}[{key!r}]", v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(f"{name}[{i}]", v) for i, v in enumerate(value)]
    if hasattr(value, "tolist"):
        return _plain(name, value.tolist())
    if hasattr(value, "numpy"):
        return _plain(name, value.numpy())
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"The figure `{name}` must be finite. Received: {value}")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(
        f"The figure `{name}` must be a number, text, or a list or dictionary of "
        f"them. Received: {value!r} of type {type(value).__name__}"
    )


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _show(entry: dict, text: str) -> None:
    # Lessons run where IPython is; a plain script must not need it.
    try:
        from IPython import get_ipython
    except ImportError:
        shell = None
    else:
        shell = get_ipython()
    if shell is None:
        say(text)
        return
    from IPython.display import display

    display({MIME_TYPE: entry, "text/plain": text}, raw=True)
