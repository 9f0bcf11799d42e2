"""Keras's model files: written to load elsewhere, and read wherever they can be.

A `.keras` file also holds how its model was compiled. One optimizer, loss or metric
that is not Keras's own, and the whole file loads only in a process that knows it.
"""

import contextlib
import os
import pathlib
import re
import warnings
import zipfile
from collections.abc import Iterator

import keras

# Both are imported because they register classes that files may hold.
from keras_transfer.models import block_rates, compiling  # noqa: F401
from keras_transfer.models.graph import is_of_keras
from keras_transfer.runtime.arguments import file_path, reason, shown
from keras_transfer.runtime.keras_internals import flat_layers
from keras_transfer.runtime.status_lines import say

# `compile` knows these words; every other text is the name of a function or class.
WORDS = ("accuracy", "acc", "crossentropy", "ce")
NAMED = ("optimizer", "loss", "metrics", "weighted_metrics")
OURS = "keras_transfer>BlockLearningRates"


def model_path(name: str, value: str | os.PathLike) -> pathlib.Path:
    """Return the path of a file to read, `~` resolved, or raise `FileNotFoundError`."""
    path = file_path(name, value)
    if not path.is_file():
        found = "a folder is no model file" if path.is_dir() else "no such file"
        raise FileNotFoundError(
            f"There is no model at this path ({found}). Received: {name}={path}"
        )
    return path


def write_model(model: keras.Model, path: pathlib.Path) -> None:
    """Save a model as a file that `import keras` alone can load, where that can be.

    The optimizers of `discriminative_learning_rates` are saved as the stock ones that
    they are made of. Where the optimizer, the loss or a metric is not Keras's own, the
    file holds an uncompiled model. What else it needs is said.
    """
    config = _compile_config(model)
    if model.compiled and not config:
        say(
            f"{model.name} is saved without optimizer, loss and metrics, because not "
            "all of them are Keras's own; to train it after loading, compile it again."
        )
    foreign = sorted(
        {
            type(layer).__name__
            for layer in flat_layers(model)
            if not is_of_keras(type(layer)) or isinstance(layer, keras.layers.Lambda)
        }
    )
    if foreign:
        say(
            f"{model.name} loads only where {', '.join(foreign)} can be found: "
            "decorated with keras.saving.register_keras_serializable() and imported; a "
            "Lambda, after keras.config.enable_unsafe_deserialization()."
        )
    try:
        with _compiled_as(model, config):
            model.save(path)
    except (AttributeError, NotImplementedError, TypeError, ValueError) as error:
        raise ValueError(
            f"Keras cannot save this model ({reason(error)}). Build it of Keras's "
            "own layers, or give its classes get_config(). "
            f"Received: model={shown(model)}"
        ) from error


def read_model(path: pathlib.Path) -> keras.Model:
    """Load a model; uncompiled, where its optimizer, loss or metrics cannot be found.

    Raises:
        ValueError: If it cannot be loaded so either.
    """
    try:
        return keras.saving.load_model(path)
    except Exception as error:
        first = error
    try:
        model = keras.saving.load_model(path, compile=False)
    except Exception as error:
        raise ValueError(_why_not(path, error)) from error
    say(
        f"{path.name} is loaded without its optimizer, loss and metrics, which need "
        f"more than Keras ({reason(first)})"
    )
    return model


def _why_not(path: pathlib.Path, error: Exception) -> str:
    if path.suffix == ".keras" and not zipfile.is_zipfile(path):
        return (
            "This file is damaged or of another kind. Expected a whole .keras file "
            f"from save_classifier or from Keras's model.save. Received: path={path}"
        )
    text = str(error)
    found = re.search(r"Could not (?:locate|deserialize) \w+ '([^']+)'", text)
    if found:
        return (
            f"This model holds {found[1]}, which is not Keras's own. Import the module "
            "that defines it, decorated with "
            "keras.saving.register_keras_serializable(), and load it again. "
            f"Received: path={path}"
        )
    if "Lambda" in text or "lambda" in text:
        return (
            "This model holds a Lambda layer, whose Python code Keras runs only where "
            "that is allowed. If you trust the file, call "
            "keras.config.enable_unsafe_deserialization() and load it again. "
            f"Received: path={path}"
        )
    return (
        f"This model cannot be loaded ({reason(error)}). Expected a whole file "
        f"from save_classifier or from Keras's model.save. Received: path={path}"
    )


@contextlib.contextmanager
def _compiled_as(model: keras.Model, config: dict) -> Iterator[None]:
    """Let Keras save another compile configuration, or none, while the block runs."""
    optimizer = getattr(model, "optimizer", None)
    # The state of an optimizer that is not saved is of no use.
    hidden = optimizer is not None and not config
    model.get_compile_config = lambda: config
    try:
        if hidden:
            model.optimizer = None
        yield
    finally:
        if hidden:
            model.optimizer = optimizer
        del model.get_compile_config


def _compile_config(model: keras.Model) -> dict:
    """Return what can be saved of how a model is compiled; empty, if not all can be."""
    if not model.compiled:
        return {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Keras warns of functions that it saves.
            config = _stock(model.get_compile_config())
    except Exception:  # An object of the user's own that says nothing of itself.
        return {}
    named = [config.get(key) for key in NAMED]
    return config if _is_kerass(named) else {}


def _stock(config):
    """Return a configuration with Keras's optimizers in place of ours, at any depth."""
    if isinstance(config, list | tuple):
        return [_stock(part) for part in config]
    if not isinstance(config, dict):
        return config
    config = {key: _stock(part) for key, part in config.items()}
    name = config.get("registered_name")
    if isinstance(name, str) and name.startswith(OURS):
        kept = dict(config["config"])
        kept.pop("learning_rate_scales", None)
        config |= {
            "module": "keras.optimizers",
            "class_name": name.removeprefix(OURS),
            "registered_name": None,
            "config": kept,
        }
    return config


def _is_kerass(config, words: bool = True) -> bool:
    """Tell whether a serialized object can be made anew by Keras alone.

    Args:
        config: What `serialize_keras_object` made.
        words: Whether a text in it is the name of an object.
    """
    if isinstance(config, list | tuple):
        return all(_is_kerass(part, words) for part in config)
    if isinstance(config, str):
        return not words or config in WORDS or _is_known(config)
    if not isinstance(config, dict):
        return True
    if config.get("class_name") == "function":
        return _is_known(config["config"])
    if "class_name" not in config or "items" in config:
        return all(_is_kerass(part, words) for part in config.values())
    module = config.get("module")
    if module is None or module.split(".")[0] != "keras":
        return False
    return _is_kerass(config.get("config"), words=False)


def _is_known(name: str) -> bool:
    """Tell whether Keras has a loss, a metric or an optimizer of this name."""
    if name in keras.saving.get_custom_objects():
        return False
    for known in (keras.losses, keras.metrics, keras.optimizers):
        with contextlib.suppress(ValueError, TypeError):
            known.get(name)
            return True
    return False
