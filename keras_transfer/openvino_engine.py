"""OpenVINO as another engine for frozen networks on a processor."""

import importlib.util
import pathlib
import tempfile
from collections.abc import Callable

import keras
import numpy as np

PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}


def check_openvino() -> None:
    """Raise an error that says how to install OpenVINO, if it is not there."""
    if importlib.util.find_spec("openvino") is None:
        raise ValueError(
            "OpenVINO is not installed: python -m pip install openvino. Or leave "
            "engine out: TensorFlow computes the same. Received: engine=openvino"
        )


def openvino_network(model: keras.Model, dtype: str) -> Callable:
    """Return a frozen float32 `model` as OpenVINO runs it, in precision `dtype`.

    Keras itself exports the model; OpenVINO folds BatchNormalization.
    """
    check_openvino()
    import openvino

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
