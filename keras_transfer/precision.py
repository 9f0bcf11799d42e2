"""The precision in which kept features, and what is trained on them, are computed."""

import pathlib
import platform
from collections.abc import Callable

import keras

from keras_transfer.blocks import HEAD
from keras_transfer.network_graph import layers_of

DTYPES = ("float32", "bfloat16")


def fast_copy(
    model: keras.Model, dtype: str | None = None, *, frozen: bool = False
) -> keras.Model:
    """Return a copy of `model` that computes as fast as is safe here.

    bfloat16 takes half to two thirds of the time of float32 where the processor
    computes with it, and costs no accuracy that we could measure. Depthwise
    convolutions gain nothing as long as each has a BatchNormalization behind it, so a
    network of them stays in float32 unless it is `frozen`, and will be folded. A model
    of mixed precision stays as it is. Variables stay float32, and so does the head.
    """
    dtype = fast_dtype(model, dtype, frozen=frozen)
    if dtype in ("float32", compute_dtype(model)):
        return model

    # Pixels keep their 8 bits until the preprocessing has centred them.
    pixels = keras.layers.Rescaling | keras.layers.Normalization
    return _copy(
        model,
        "mixed_bfloat16",
        kept=lambda x: isinstance(x, pixels) or x.name.startswith(HEAD),
    )


def fast_dtype(
    model: keras.Model, dtype: str | None = None, *, frozen: bool = False
) -> str:
    """Return the name of the precision that `fast_copy` computes in."""
    if dtype not in (*DTYPES, None):
        raise ValueError(
            f"dtype must be one of {', '.join(DTYPES)}, or None for the faster one "
            f"of them on this machine. Received: dtype={dtype}"
        )
    layers = layers_of(model)
    if any(layer.compute_dtype != layer.variable_dtype for layer in layers):
        return compute_dtype(model)
    slow = not frozen and any(
        isinstance(layer, keras.layers.DepthwiseConv2D) for layer in layers
    )
    if dtype is None:
        dtype = "bfloat16" if has_native_bfloat16() and not slow else "float32"
    return dtype


def float32_copy(model: keras.Model) -> keras.Model:
    """Return a copy of `model` that computes in float32, or `model` if it does."""
    if all(layer.compute_dtype == "float32" for layer in layers_of(model)):
        return model
    return _copy(model, "float32")


def _copy(model: keras.Model, dtype: str, kept: Callable | None = None) -> keras.Model:
    """Return a copy of `model` with the precision `dtype` in all layers but `kept`."""

    def clone(layer):
        config = layer.get_config()
        if isinstance(layer, keras.layers.Layer) and not (kept and kept(layer)):
            config["dtype"] = dtype
        return layer.__class__.from_config(config)

    # Recursive, because a model keeps the precision of its layers in theirs.
    copy = keras.models.clone_model(model, clone_function=clone, recursive=True)
    copy.set_weights(model.get_weights())
    return copy


def compute_dtype(model: keras.Model) -> str:
    """Return the name of the precision that `model` computes in."""
    last = model.layers[-1]
    return compute_dtype(last) if isinstance(last, keras.Model) else last.compute_dtype


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
