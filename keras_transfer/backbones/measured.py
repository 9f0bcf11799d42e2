"""What `python -m keras_transfer backbones` measured, kept in a file of JSON."""

import json
import pathlib

from keras_transfer.runtime import atomic_files

FILE = pathlib.Path(__file__).with_name("measured.json")
# Two measurements that agree in these are of the same thing: the later one counts.
KEY = ("backbone", "dataset", "image_size", "dtype")


def measurements(path: pathlib.Path = FILE) -> list[dict]:
    """Read measurements, by default those that come with the package.

    Raises:
        ValueError: If the file is there and holds something else.
    """
    if not path.is_file():
        return []
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, list):
            raise TypeError("no list")
        for each in found:
            float(each["accuracy"])
            _key(each)
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            "The file holds no measurements of backbones. Name another one, or remove "
            f"it. Received: {path}"
        ) from error
    return found


def add_measurements(path: pathlib.Path, new: list[dict]) -> None:
    """Write measurements into a file, in the place of earlier ones of the same thing.

    Raises:
        ValueError: If the file is there and holds something else.
    """
    kept = {_key(each): each for each in [*measurements(path), *new]}
    with atomic_files.written_whole(path) as temporary:
        text = json.dumps([*kept.values()], indent=2) + "\n"
        temporary.write_text(text, encoding="utf-8")


def _key(measurement: dict) -> tuple:
    return tuple(measurement[key] for key in KEY)
