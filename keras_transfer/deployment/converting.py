"""From a classifier to the file of a runtime, by Keras's own `model.export`."""

import contextlib
import functools
import io
import logging
import pathlib
import warnings
from collections.abc import Callable, Iterator

import keras
import numpy as np

from keras_transfer.classifier.network import parts
from keras_transfer.classifier.saved import Classifier
from keras_transfer.deployment.exported import MODELS, load_network
from keras_transfer.models.folding import fold_batch_normalization
from keras_transfer.models.outputs import only_output, output_activation
from keras_transfer.models.precision import float32_copy
from keras_transfer.runtime.arguments import reason, shown
from keras_transfer.runtime.openvino import nncf, openvino

PRECISIONS = ("float32", "float16", "int8")
# What `model.export` calls them.
_KERAS_NAMES = {"savedmodel": "tf_saved_model"}


def network_of(classifier: Classifier) -> keras.Model:
    """Return the network that is exported, from images to named outputs, in float32.

    It gives one probability for each class, whatever the classifier ends in, and the
    pooled features where there is a detector that needs them.
    """
    model = classifier.model
    try:
        first, last = parts(float32_copy(model))
        size = classifier.image_size
        x = images = keras.Input((size, size, 3), name="image")
        outputs = {}
        # Without BatchNormalization, converting takes half the time.
        if first is None:
            last = fold_batch_normalization(last)
        else:
            x = fold_batch_normalization(first)(images, training=False)
        if classifier.unknown is not None:
            outputs["features"] = x
        outputs["probabilities"] = _probabilities(
            model, only_output(last(x, training=False))
        )
        network = keras.Model(images, outputs, name="exported")
        network(np.zeros((1, size, size, 3), "float32"))  # Keras exports what ran.
    except Exception as error:  # Layers of one's own may raise anything.
        raise ValueError(
            f"This model cannot be put into one graph in float32 ({reason(error)}). "
            "Build it of Keras's own layers. "
            f"Received: model={shown(model)}"
        ) from error
    return network


def _probabilities(model: keras.Model, outputs):
    """Return one probability a class, as `class_probabilities` makes them."""
    logits = output_activation(model) == "linear"
    if outputs.shape[-1] == 1:
        second = keras.ops.sigmoid(outputs) if logits else outputs
        return keras.ops.concatenate([1 - second, second], axis=-1)
    return keras.ops.softmax(outputs) if logits else outputs


def convert(
    network: keras.Model,
    kind: str,
    precision: str,
    folder: pathlib.Path,
    photos: np.ndarray | None,
) -> None:
    """Write a network into a folder as the file of a runtime.

    Args:
        network: Of `network_of`.
        kind: One of `MODELS`.
        precision: One of `PRECISIONS`.
        folder: Where to write.
        photos: Training photos to find the ranges of whole numbers by, for `"int8"`.

    Raises:
        ValueError: If what converts is not installed, or cannot.
    """
    path = folder / MODELS[kind]
    keywords, after = _ways(kind, precision, photos)
    try:
        with _quiet():
            if kind == "openvino":
                openvino()
            network.export(
                str(path),
                format=_KERAS_NAMES.get(kind, kind),
                verbose=False,
                **keywords(),
            )
            after(path)
    except ImportError as error:
        raise ValueError(
            f"To export to {kind} in {precision}, more is needed: pip install "
            f'"keras-transfer[export]" ({reason(error)}). '
            f"Received: format={kind}, precision={precision}"
        ) from error
    except Exception as error:  # Each converter raises errors of its own.
        raise ValueError(
            f"This model cannot be converted ({reason(error)}). Try another format, or "
            f"build it of Keras's own layers. Received: format={kind}, "
            f"precision={precision}"
        ) from error
    try:
        load_network(kind, path)
    except ValueError as error:
        if isinstance(error.__cause__, ImportError):
            raise
        raise ValueError(
            f"The runtime of {kind} refuses the converted model "
            f"({reason(error.__cause__)}). Try another format. "
            f"Received: format={kind}, precision={precision}"
        ) from error


def _ways(
    kind: str, precision: str, photos: np.ndarray | None
) -> tuple[Callable[[], dict], Callable[[pathlib.Path], None]]:
    """Return what gives Keras's keywords, and what is done to the file after."""

    def nothing(*_) -> dict:
        return {}

    given = {
        ("litert", "float16"): _litert_float16,
        ("litert", "int8"): functools.partial(_litert_int8, photos),
    }
    done = {
        ("onnx", "float16"): _onnx_float16,
        ("onnx", "int8"): functools.partial(_onnx_int8, photos),
        ("openvino", "float16"): _openvino_float16,
        ("openvino", "int8"): functools.partial(_openvino_int8, photos),
    }
    return given.get((kind, precision), nothing), done.get((kind, precision), nothing)


def _one_by_one(photos: np.ndarray) -> Iterator[dict[str, np.ndarray]]:
    for photo in photos:
        yield {"image": photo[None].astype("float32")}


def _litert_float16() -> dict:
    import tensorflow as tf

    return {
        "optimizations": [tf.lite.Optimize.DEFAULT],
        "target_spec": {"supported_types": [tf.float16]},
    }


def _litert_int8(photos: np.ndarray) -> dict:
    import tensorflow as tf

    return {
        "optimizations": [tf.lite.Optimize.DEFAULT],
        "representative_dataset": functools.partial(_one_by_one, photos),
    }


def _onnx_float16(path: pathlib.Path) -> None:
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    onnx.save(convert_float_to_float16(onnx.load(path), keep_io_types=True), path)


def _onnx_int8(photos: np.ndarray, path: pathlib.Path) -> None:
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Photos(quantization.CalibrationDataReader):
        def __init__(self):
            self.left = _one_by_one(photos)

        def get_next(self):
            return next(self.left, None)

    quant_pre_process(path, path, skip_symbolic_shape=True)
    quantization.quantize_static(
        path,
        path,
        Photos(),
        quant_format=quantization.QuantFormat.QDQ,
        per_channel=True,
        # With signed weights, as processors multiply fastest. Those of 8 bits overflow
        # in sums of 16 on a processor without VNNI; of 7 they are the same on all.
        reduce_range=True,
        activation_type=quantization.QuantType.QUInt8,
    )


def _openvino_float16(path: pathlib.Path) -> None:
    _openvino_rewritten(path, lambda model: model, compress_to_fp16=True)


def _openvino_int8(photos: np.ndarray, path: pathlib.Path) -> None:
    quantizer = nncf()
    data = quantizer.Dataset([*_one_by_one(photos)])

    def quantized(model):
        convolutions = [
            each.get_friendly_name()
            for each in model.get_ordered_ops()
            if each.get_type_name() == "Convolution"
        ]
        return quantizer.quantize(
            model,
            data,
            subset_size=len(photos),
            preset=quantizer.QuantizationPreset.MIXED,
            # On photos of three flowers EfficientNet-Lite0 was then off by 0.010 on
            # average, and by 0.013 as it is usual, for next to no bytes.
            ignored_scope=quantizer.IgnoredScope(names=convolutions[:1]),
        )

    _openvino_rewritten(path, quantized, compress_to_fp16=False)


def _openvino_rewritten(path: pathlib.Path, change: Callable, **keywords) -> None:
    library = openvino()
    changed = change(library.Core().read_model(path))
    # Not in place: the weights are read while they are written.
    other = path.with_name(f"changed{path.suffix}")
    library.save_model(changed, other, **keywords)
    del changed
    for suffix in (".bin", path.suffix):
        other.with_suffix(suffix).replace(path.with_suffix(suffix))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep to themselves what converters print, log and warn of as they work."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
