"""OpenVINO as another engine for frozen networks on a processor."""

import importlib.util
import pathlib
import tempfile
from collections.abc import Callable

import keras
import numpy as np

from keras_transfer.models.graph import as_graph
from keras_transfer.models.precision import compute_dtype, own_dtype

PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}


def check_openvino(model: keras.Model) -> None:
    """Raise an error if OpenVINO is not there, or does not take such a model."""
    if as_graph(model) is None or own_dtype(model):
        raise ValueError(
            "engine='openvino' takes a functional or Sequential network of float32, "
            "whose precision it changes itself. Build it under "
            "keras.config.set_dtype_policy('float32'), or leave engine out. "
            f"Received: engine=openvino, {model.name} of {compute_dtype(model)}"
        )
    if importlib.util.find_spec("openvino") is None:
        raise ValueError(
            "OpenVINO is not installed: python -m pip install openvino. Or leave "
            "engine out: TensorFlow computes the same. Received: engine=openvino"
        )


def openvino_network(model: keras.Model, dtype: str, image_shape: tuple) -> Callable:
    """Return a function from images to pooled features, as OpenVINO computes them.

    Keras itself exports the model; OpenVINO folds BatchNormalization.

    Args:
        model: Frozen float32 network from images to a feature map.
        dtype: Precision of the computation.
        image_shape: Shape of an image.
    """
    import openvino

    images = keras.Input(image_shape)
    pooling = keras.layers.GlobalAveragePooling2D()
    model = keras.Model(images, pooling(model(images)))
    core = openvino.Core()
    with tempfile.TemporaryDirectory() as folder:
        path = str(pathlib.Path(folder, "network.xml"))
        model.export(path, format="openvino", verbose=False)
        # Read whole, for the folder goes.
        network = core.read_model(path, config={"ENABLE_MMAP": False})
    compiled = core.compile_model(
        network,
        "CPU",
        {
            "INFERENCE_PRECISION_HINT": PRECISIONS[dtype],
            "PERFORMANCE_HINT": "LATENCY",  # All cores on one batch.
        },
    )
    return lambda images: compiled([np.asarray(images)])[0]
