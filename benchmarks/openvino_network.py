"""A Keras network in OpenVINO, apart from what the package itself does with it."""

import pathlib
import tempfile
from collections.abc import Callable, Sequence

import keras
import numpy as np

from measuring import fastest
from subjects import pooled


def openvino_ways(network: keras.Model, batches: Sequence, dtype: str) -> dict:
    """Return OpenVINO, for one size of batch.

    It has two plans: all cores on one batch, or several batches at a time. Both are
    tried, and the faster one here is taken.
    """
    import openvino

    core = openvino.Core()
    with tempfile.TemporaryDirectory() as folder:
        path = str(pathlib.Path(folder, "network.xml"))
        pooled(network).export(path, format="openvino", verbose=False)
        # Its weights are read now, for the files go.
        model = core.read_model(path, config={"ENABLE_MMAP": False})
    # A fixed size lets it plan ahead.
    model.reshape(list(batches[0].shape))
    precision = {"float32": "f32", "bfloat16": "bf16"}[dtype]
    plans = []
    for hint in ("LATENCY", "THROUGHPUT"):
        compiled = core.compile_model(
            model,
            "CPU",
            {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": hint},
        )
        plans.append(_queued(openvino.AsyncInferQueue(compiled)))
    return {"OpenVINO": plans[fastest(plan(batches[:2]) for plan in plans)]}


def _queued(queue) -> Callable:
    def over(batches: Sequence[np.ndarray]) -> Callable[[], list[np.ndarray]]:
        def run() -> list[np.ndarray]:
            outputs = [np.empty(0)] * len(batches)

            def keep(request, index: int) -> None:
                # A copy, because the next batch is written into the same place.
                outputs[index] = request.get_output_tensor().data.copy()

            queue.set_callback(keep)
            for index, batch in enumerate(batches):
                queue.start_async({0: batch}, index, share_inputs=True)
            queue.wait_all()
            return outputs

        return run

    return over
