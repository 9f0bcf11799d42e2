"""Splits for another process, which loads them again."""

import contextlib
import pathlib
import platform
from collections.abc import Iterator

from keras_transfer.data.directory import load_directory
from keras_transfer.data.own_content import Content, own_data_dir
from keras_transfer.data.own_data import OwnData, fingerprint
from keras_transfer.data.splits import OWN, Splits, own_splits
from keras_transfer.data.tfds import load_dataset
from keras_transfer.runtime import atomic_files


@contextlib.contextmanager
def handed_over(splits: Splits) -> Iterator[dict]:
    """Yield the loader of splits for another process.

    Own data have none that could read them again: they lie in files meanwhile.
    """
    if splits.loader["function"] != OWN:
        yield splits.loader
        return
    with atomic_files.scratch_folder(own_data_dir()) as folder:
        splits._content.save(folder / splits.fingerprint)
        arguments = {
            "folder": str(folder / splits.fingerprint),
            "class_names": splits.class_names,
            "name": splits.name,
        }
        yield {"function": OWN, "arguments": arguments | splits.loader["arguments"]}


def load_again(loader: dict, expected: str) -> Splits:
    """Load splits by their loader, and raise an error if they are not the same.

    Args:
        loader: As `handed_over` gives it.
        expected: Fingerprint of the splits.
    """
    splits = _LOAD[loader["function"]](**loader["arguments"])
    if splits.fingerprint != expected:
        raise ValueError(
            "The data changed since the splits were loaded, so a process of its own "
            "finds others. Load the splits again, and compare on those. "
            f"Received: splits.fingerprint={expected}, found {splits.fingerprint}"
        )
    return splits


def _read(folder, class_names, name, batch_size, seed) -> Splits:
    if not pathlib.Path(folder).is_dir():
        raise FileNotFoundError(
            "Own arrays and data sets wait in files for the process that loads them "
            "again, and it does not see them. All machines of a cluster must see the "
            "folder of data under the same path; KERAS_TRANSFER_DATA_DIR names another "
            f"one. Received: folder={folder}, on {platform.node()}"
        )
    content = Content.read(pathlib.Path(folder))
    data = OwnData(content, tuple(class_names), fingerprint(content, class_names))
    return own_splits(data, name, batch_size, seed)


_LOAD = {
    "load_directory": load_directory,
    "load_dataset": load_dataset,
    OWN: _read,
}
