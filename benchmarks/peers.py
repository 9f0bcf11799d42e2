"""Other frameworks that compute the same network, each with its best settings.

Each peer is a function of a Keras network, batches of images and a precision. It
returns its ways by name: functions of batches that return what runs these batches and
gives their features. A precision that a framework does not compute in has no ways.
Where a framework is not installed, it raises `ModuleNotFoundError`.
"""

import concurrent.futures
import importlib.metadata
import os
import pathlib
import tempfile
from collections.abc import Callable, Sequence

import keras
import numpy as np

from measuring import fastest
from openvino_network import openvino_ways
from subjects import build_network, pooled


def keras_ways(network: keras.Model, batches: Sequence, dtype: str) -> dict:  # noqa: ARG001
    """Return plain Keras, under its own policy for the precision."""
    policies = {"float32": "float32", "bfloat16": "mixed_bfloat16"}
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policies[dtype])
    try:
        plain = pooled(build_network(network.name, network.input_shape[1]))
    finally:
        keras.config.set_dtype_policy(before)
    plain.set_weights(network.get_weights())
    return {"Keras": _one_by_one(plain.predict_on_batch)}


def torch_ways(network: keras.Model, batches: Sequence, dtype: str) -> dict:  # noqa: ARG001
    """Return PyTorch: as in its tutorials, in its faster layout, and compiled.

    Compiled, its weights become constants, as PyTorch advises for processors. In
    bfloat16 its automatic mixed precision is on, which was faster here than a network
    that is bfloat16 throughout.
    """
    import torch

    from torch_network import torch_network

    torch.set_num_threads(os.cpu_count())
    low = dtype == "bfloat16"

    def way(module, layout):
        def run(tensor) -> np.ndarray:
            with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=low):
                return module(tensor).float().numpy()

        def prepared(batch):
            images = torch.from_numpy(batch).permute(0, 3, 1, 2)
            return images.contiguous(memory_format=layout)

        return _one_by_one(run, prepared)

    ways = {}
    if not low:
        plain = torch_network(network)
        ways["PyTorch as in its tutorials"] = way(plain, torch.contiguous_format)
    last = torch.channels_last
    module = torch_network(network).to(memory_format=last)
    ways["PyTorch channels_last"] = way(module, last)
    compiled = torch.compile(module, dynamic=False, options={"freezing": True})
    ways["PyTorch compiled"] = way(compiled, last)
    return ways


def onnx_ways(network: keras.Model, batches: Sequence, dtype: str) -> dict:
    """Return ONNX Runtime, which computes in float32 only, for one size of batch.

    Two plans are tried and the faster one here is taken: all cores on one batch, or a
    batch on each core. PyTorch writes the file.
    """
    import onnxruntime
    import torch

    from torch_network import torch_network

    if dtype != "float32":
        return {}
    cores = os.cpu_count()
    example = torch.from_numpy(batches[0]).permute(0, 3, 1, 2).contiguous()
    plans = []
    with tempfile.TemporaryDirectory() as folder:
        path = str(pathlib.Path(folder, "network.onnx"))
        torch.onnx.export(torch_network(network), (example,), path, verbose=False)
        for threads in (1, cores):
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = threads
            # Threads that wait busily take time from what is measured next.
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
            session = onnxruntime.InferenceSession(
                path, options, providers=["CPUExecutionProvider"]
            )
            plans.append(_in_threads(session, cores // threads))
    return {"ONNX Runtime": plans[fastest(plan(batches[:2]) for plan in plans)]}


def _in_threads(session, workers: int) -> Callable:
    pool = concurrent.futures.ThreadPoolExecutor(workers)
    name = session.get_inputs()[0].name

    def over(batches):
        arrays = [
            np.ascontiguousarray(batch.transpose(0, 3, 1, 2)) for batch in batches
        ]
        return lambda: list(
            pool.map(lambda array: session.run(None, {name: array})[0], arrays)
        )

    return over


def _one_by_one(run: Callable, prepared: Callable = np.asarray) -> Callable:
    """Return a way that runs a batch after the other; preparing takes no time."""

    def over(batches):
        inputs = list(map(prepared, batches))
        return lambda: [run(each) for each in inputs]

    return over


PEERS = {
    "keras": keras_ways,
    "openvino": openvino_ways,
    "onnxruntime": onnx_ways,
    "torch": torch_ways,
}
# What the report says of each.
SETTINGS = {
    "keras": "predict_on_batch",
    "openvino": "fixed batch, the faster one of LATENCY and THROUGHPUT, queue",
    "onnxruntime": "all optimizations, the faster one of all cores on a batch and a "
    "batch on each",
    "torch": "no_grad, bfloat16 by autocast; compiled: channels_last, torch.compile "
    "with freezing",
}


def described(names: Sequence[str]) -> str:
    """Return versions and settings of peers, for the report."""
    each = [
        f"{name} {importlib.metadata.version(name)}: {SETTINGS[name]}" for name in names
    ]
    return f"Peers with {os.cpu_count()} threads: {'. '.join(each)}."


def check(way: str, found: np.ndarray, expected: np.ndarray, dtype: str) -> None:
    """Raise an error where a way computes something else than the network does.

    Args:
        way: Its name.
        found: Its features.
        expected: Those of the network in float32.
        dtype: Precision of the way.
    """
    if dtype == "float32":
        off = np.abs(found - expected).max() / np.abs(expected).max()
        if not off < 1e-4:
            raise ValueError(f"{way} is off by {off:.2g} of the largest feature.")
        return
    lengths = [np.linalg.norm(each, axis=1) for each in (found, expected)]
    cosine = ((found * expected).sum(1) / (lengths[0] * lengths[1])).min()
    if not cosine > 0.99:
        raise ValueError(f"{way} has features at a cosine of {cosine:.4f} to float32.")
