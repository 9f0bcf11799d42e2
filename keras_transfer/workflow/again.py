"""What makes a trained classifier again: a command, or a call from Python."""

import os
import pathlib
import shlex
import subprocess
import typing
from collections.abc import Mapping

OPTIONS = ("output", "backbone", "image_size", "epochs", "groups", "report")
# What is longer is not printed in a call.
LONGEST = 200


def command_again(
    settings: Mapping[str, typing.Any], *, whole_paths: bool = True
) -> str:
    """Return what is typed to do the same again.

    Args:
        settings: Arguments of `train_classifier` by name.
        whole_paths: Whether folders and files are named with where they lie. Defaults
            to `True`.
    """
    typed = settings["output"] is not None and _has_words(settings)
    if not whole_paths:
        settings = {name: _last_part(value) for name, value in settings.items()}
    if not typed:
        return _call(settings)
    folder = str(settings["folder"])
    # What begins with a dash is taken for an option.
    folder = f".{os.sep}{folder}" if folder.startswith("-") else folder
    words = ["python", "-m", "keras_transfer", "train", folder]
    for name in OPTIONS:
        option, value = f"--{name.replace('_', '-')}", str(settings[name])
        if settings[name] is not None:
            dashed = value.startswith("-")
            words += [f"{option}={value}"] if dashed else [option, value]
    if settings["fine_tune"]:
        words.append("--fine-tune")
    if settings["class_weight"] is not None:
        words += ["--class-weights", settings["class_weight"]]
    words += ["--seed", str(settings["seed"])]
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)


def _has_words(settings: Mapping[str, typing.Any]) -> bool:
    """Return whether the command line takes these values."""
    weight = settings["class_weight"]
    return not isinstance(settings["groups"], Mapping) and (
        weight is None or (isinstance(weight, str) and weight == "auto")
    )


def _call(settings: Mapping[str, typing.Any]) -> str:
    given = [_as_text(settings["folder"])]
    given += [
        f"{name}={_as_text(value)}"
        for name, value in settings.items()
        if name != "folder" and value is not None and value is not False
    ]
    return f"kt.train_classifier({', '.join(given)})"


def _as_text(value: typing.Any) -> str:
    text = repr(str(value) if isinstance(value, os.PathLike) else value)
    return "..." if value is ... or len(text) > LONGEST else text


def _last_part(value: typing.Any) -> typing.Any:
    """Return the name alone of a file or folder, and no group of a mapping."""
    if isinstance(value, os.PathLike):
        return pathlib.Path(value).absolute().name
    if isinstance(value, str) and value.lower().endswith(".csv"):
        return pathlib.Path(value).name
    return ... if isinstance(value, Mapping) else value
