"""What is typed into a command line: paths, photos, backbones and their sizes."""

import argparse
import contextlib
import difflib
import os
import pathlib
import sys

from keras_transfer.runtime.arguments import file_path

IN_A_CHECKOUT = (
    "get the repository, whose notebooks the lessons are, and there run "
    '`pip install -e ".[lessons]"`'
)


def path_argument(text: str) -> pathlib.Path:
    """Return a path that was typed, or say to argparse why it is none."""
    try:
        return file_path("PATH", text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def load_photos(data: str, image_size: int):
    """Load a folder of photos, or a data set by its name; a path is never a name."""
    import keras_transfer as kt

    folder = file_path("FOLDER", data)
    if folder.is_dir():
        return kt.load_directory(folder, image_size=image_size)
    # A name may hold a slash and a dot: `cifar10_corrupted/fog_1`, `mnist:3.0.1`.
    if (
        data[:1] in ("~", ".")
        or data[-1:] in ("/", os.sep)
        or "\\" in data
        or folder.is_absolute()
        or folder.exists()
        or (len(folder.parts) > 1 and folder.parent.is_dir())
    ):
        raise FileNotFoundError(there_is_no("folder of photos", folder))
    try:
        return kt.load_dataset(data, image_size=image_size)
    except kt.DatasetUnavailableError as error:
        if _near(folder):
            missing = there_is_no("folder of photos", folder)
            raise FileNotFoundError(f"{missing}. As a data set: {error}") from error
        raise


def load_model(path: pathlib.Path):
    """Load the classifier of a `.keras` file that was typed."""
    if not path.is_file():
        raise FileNotFoundError(there_is_no("model", path))
    import keras_transfer as kt

    # What loading prints is no part of what a command answers.
    with contextlib.redirect_stdout(sys.stderr):
        return kt.load_classifier(path)


def load_model_or_export(path: pathlib.Path):
    """Load the classifier of a `.keras` file, or of the folder of an export."""
    # Without the public name, which would ask how Keras is set.
    from keras_transfer.deployment.exported import DESCRIPTION, load_exported

    if (path / DESCRIPTION).is_file():
        return load_exported(path)
    return load_model(path)


def notebooks_folder(options: argparse.Namespace) -> pathlib.Path:
    """Return the folder of the lessons, or say how to get one."""
    from keras_transfer.runtime import paths

    folder = options.notebooks or paths.project_root() / "notebooks"
    if not folder.is_dir() and options.notebooks:
        raise FileNotFoundError(there_is_no("folder of notebooks", folder))
    if not folder.is_dir():
        raise FileNotFoundError(
            "The notebooks of the lessons are not part of the installed package: "
            f"{IN_A_CHECKOUT}; or name their folder with --notebooks. "
            f"Received: {folder}, which is not there"
        )
    return folder


def there_is_no(what: str, path: pathlib.Path) -> str:
    """Return the words for a path that is not there, with what is near it."""
    near = ", ".join(map(str, _near(path)))
    near = f" Near it: {near}." if near else ""
    return f"There is no {what} at this path.{near} Received: {path}"


def _near(path: pathlib.Path) -> list[pathlib.Path]:
    """Return what lies there under a similar name, for the first part that is wrong."""
    for part in (*reversed(path.parents), path):
        if not part.exists():
            try:
                there = {each.name: each for each in part.parent.iterdir()}
            except OSError:  # A file, or no right to look.
                return []
            return [there[name] for name in difflib.get_close_matches(part.name, there)]
    return []


def backbone_at_size(text: str) -> tuple[str, int]:
    """Read NAME@SIZE, such as resnet50@160."""
    from keras_transfer.backbones.registry import ARCHITECTURES

    name, _, size = text.partition("@")
    if name not in ARCHITECTURES or not size.isdecimal():
        raise ValueError(
            "Unknown backbone or size. Expected NAME@SIZE, such as resnet50@160, of: "
            f"{', '.join(ARCHITECTURES)}. Received: {text}"
        )
    return name, int(size)
