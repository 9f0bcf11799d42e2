"""The precision in which kept features, and what is trained on them, are computed."""

import collections
import pathlib
import platform
import typing
from collections.abc import Callable

import keras

from keras_transfer.models.blocks import head_layers
from keras_transfer.models.graph import HEAD, layers_of, own_parts
from keras_transfer.runtime.arguments import shown
from keras_transfer.runtime.keras_internals import without_random_values

DTYPES = ("float32", "bfloat16")
_FLOATS = ("float16", "bfloat16", "float64")
# Pixels keep their 8 bits until the preprocessing has centred them.
_PIXELS = (keras.layers.Rescaling, keras.layers.Normalization)


def fast_copy(
    model: keras.Model, dtype: typing.Any = None, *, frozen: bool = False
) -> keras.Model:
    """Return `model`, or a copy of it that computes as fast as is safe here.

    bfloat16 takes half to two thirds of the time of float32 where the processor
    computes with it, and costs no accuracy that we could measure. Depthwise
    convolutions gain nothing as long as each has a BatchNormalization behind it, so a
    network of them stays in float32 unless it is `frozen`, and will be folded. A model
    that is not plain float32 stays as it is. Variables stay float32, and so does the
    head.
    """
    dtype = fast_dtype(model, dtype, frozen=frozen)
    if own_dtype(model) or dtype == "float32":
        return model
    head = {id(layer) for layer in head_layers(model)}

    def kept(layer):
        own = layer.name.startswith(HEAD) or id(layer) in head
        return own or isinstance(layer, _PIXELS)

    try:
        return _copy(model, "mixed_bfloat16", kept)
    except Exception as error:
        raise ValueError(
            "This network cannot be copied into bfloat16, because of "
            f"{', '.join(own_parts(model)[:3]) or 'one of its layers'}. Leave dtype "
            "out, or build it under keras.config.set_dtype_policy('mixed_bfloat16'). "
            f"Received: dtype={dtype}"
        ) from error


def fast_dtype(
    model: keras.Model, dtype: typing.Any = None, *, frozen: bool = False
) -> str:
    """Return the name of the precision that `fast_copy` computes in."""
    chosen, own = _name(dtype), own_dtype(model)
    if chosen not in (*DTYPES, own, None):
        raise ValueError(
            f"dtype must be one of {', '.join(DTYPES)}, or None for the faster one "
            f"of them on this machine. Received: dtype={shown(dtype)}"
        )
    if own:
        return own
    if chosen:
        return chosen
    slow = not frozen and any(
        isinstance(layer, keras.layers.DepthwiseConv2D) for layer in layers_of(model)
    )
    if not has_native_bfloat16() or slow or own_parts(model):
        return "float32"
    return "bfloat16"


def own_dtype(model: keras.Model) -> str | None:
    """Return the precision that a model was built in, or `None` for plain float32."""
    layers = [
        layer
        for layer in layers_of(model)
        if not isinstance(layer, _PIXELS) and not layer.name.startswith(HEAD)
    ]
    found = collections.Counter(
        layer.compute_dtype for layer in layers if layer.compute_dtype in _FLOATS
    )
    if found:
        return found.most_common(1)[0][0]
    # Of integers, as in a quantized model, a copy in another precision has none.
    quantized = any(getattr(layer, "quantization_mode", None) for layer in layers)
    return "float32" if quantized else None


def described(model: keras.Model, dtype: str) -> str:
    """Return a precision as a status line names it."""
    return f"{dtype}, the precision of the network" if own_dtype(model) else dtype


def float32_copy(model: keras.Model) -> keras.Model:
    """Return a copy of `model` that computes in float32, or `model` if it does."""
    if all(layer.compute_dtype == "float32" for layer in layers_of(model)):
        return model
    return _copy(model, "float32")


def same_copy(model: keras.Model) -> keras.Model:
    """Return a copy of `model` that computes in the same precision."""
    return _copy(model)


def _name(dtype: typing.Any) -> str | None:
    """Return the name of a precision: of a text, a type, or a policy of Keras."""
    if dtype is None:
        return None
    name = getattr(dtype, "compute_dtype", None) or dtype
    if isinstance(name, str):
        # A policy of mixed precision, by its name, computes in the second one.
        return name.removeprefix("mixed_")
    try:
        return keras.backend.standardize_dtype(name)
    except (AttributeError, TypeError, ValueError):
        return "none"


def _copy(
    model: keras.Model, dtype: str | None = None, kept: Callable | None = None
) -> keras.Model:
    """Return a copy of `model` with the precision `dtype` in all layers but `kept`."""

    def clone(layer):
        config = layer.get_config()
        changed = dtype and not (kept and kept(layer))
        if isinstance(layer, keras.layers.Layer) and changed:
            config["dtype"] = dtype
        return layer.__class__.from_config(config)

    # Recursive, because a model keeps the precision of its layers in theirs.
    with without_random_values():
        copy = keras.models.clone_model(model, clone_function=clone, recursive=True)
    copy.set_weights(model.get_weights())
    return copy


def compute_dtype(model: keras.Model) -> str:
    """Return the name of the precision that `model` computes in."""
    return own_dtype(model) or "float32"


def has_native_bfloat16() -> bool:
    """Return whether the device computes with bfloat16 itself."""
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        details = tf.config.experimental.get_device_details(gpus[0])
        return details.get("compute_capability", (0, 0)) >= (8, 0)
    if platform.system() != "Linux":
        return False
    try:
        flags = pathlib.Path("/proc/cpuinfo").read_text("utf-8", "replace")
    except OSError:
        return False
    return any(flag in flags for flag in ("avx512_bf16", "amx_bf16", " bf16"))
