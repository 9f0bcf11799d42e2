"""A Keras network in OpenVINO, the fastest other way that we know on a processor."""

import importlib.util
import pathlib
import tempfile
import time
from collections.abc import Callable

import keras
import numpy as np


def is_installed() -> bool:
    """Return whether OpenVINO can be imported: `pip install -e ".[bench]"`."""
    return importlib.util.find_spec("openvino") is not None


def openvino_runs(
    network: keras.Model, batches: list[np.ndarray], dtypes: list[str]
) -> dict[str, Callable[[], None]]:
    """Return for each precision what runs `network` over `batches` in OpenVINO.

    OpenVINO has two plans: all cores on one batch, or several batches at a time. Both
    are tried, and the faster one here is taken.
    """
    import openvino

    core = openvino.Core()
    with tempfile.TemporaryDirectory() as folder:
        path = str(pathlib.Path(folder, "network.xml"))
        network.export(path, format="openvino", verbose=False)
        # Its weights are read now, for the files go.
        model = core.read_model(path, config={"ENABLE_MMAP": False})
    # A fixed size lets it plan ahead, as `compiled` does for no size.
    model.reshape(list(batches[0].shape))
    runs = {}
    for dtype in dtypes:
        precision = {"float32": "f32", "bfloat16": "bf16"}[dtype]
        plans = []
        for hint in ("LATENCY", "THROUGHPUT"):
            compiled = core.compile_model(
                model,
                "CPU",
                {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": hint},
            )
            plans.append(_queued(openvino.AsyncInferQueue(compiled), batches))
        runs[dtype] = min(plans, key=_seconds)
    return runs


def _queued(queue, batches: list[np.ndarray]) -> Callable[[], None]:
    def run() -> None:
        for batch in batches:
            queue.start_async({0: batch}, share_inputs=True)
        queue.wait_all()

    return run


def _seconds(run: Callable[[], None]) -> float:
    run()  # The first pass sets up what the others reuse.
    start = time.perf_counter()
    run()
    return time.perf_counter() - start
