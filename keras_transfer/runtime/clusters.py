"""Ray, where it is installed: the cluster that work is given to, and its machines."""

import contextlib
import importlib
import importlib.util
import os
import pathlib
import re
import socket
import sys
import types
import typing
from collections.abc import Iterator

from keras_transfer.runtime.arguments import shown, whole_number
from keras_transfer.runtime.software import check_software, software

# What is handed on of the surroundings of whoever asks.
_ROUNDING = "TF_ENABLE_ONEDNN_OPTS"
_HANDED_ON = ("KERAS_TRANSFER_", "KERAS_HOME", "TFDS_DATA_DIR", _ROUNDING)
# Of these, what is of a service, and no worker's business.
_KEPT_BACK = "KERAS_TRANSFER_TOKEN"

_ADDRESS = re.compile(r"auto|local|[\w.-]+:\d+")


class Workers(typing.NamedTuple):
    """Say which workers of which cluster are asked for.

    Attributes:
        cluster: Address of the cluster, as `ray.init` takes it.
        count: Number of workers, or `None` for one a machine, or as many as the GPUs
            are enough for.
        gpus: GPUs that each of them gets.
    """

    cluster: str
    count: int | None
    gpus: int


def asked_workers(
    cluster: typing.Any, workers: typing.Any = None, gpus_per_worker: typing.Any = 0
) -> Workers | None:
    """Return what was asked for, or `None` where `cluster` is.

    Raises:
        ValueError: If an argument is wrong.
        ModuleNotFoundError: If Ray is not installed.
    """
    gpus = whole_number("gpus_per_worker", gpus_per_worker, 0)
    count = None if workers is None else whole_number("workers", workers, 1)
    if cluster is None:
        if count is not None or gpus:
            raise ValueError(
                "workers and gpus_per_worker are of a cluster: pass cluster='auto' or "
                "its address as well, or leave them out. "
                f"Received: cluster=None, workers={count}, gpus_per_worker={gpus}"
            )
        return None
    if not isinstance(cluster, str) or not _ADDRESS.fullmatch(cluster):
        raise ValueError(
            "cluster must be 'auto' for the cluster that this machine is in, the "
            "address of one such as '10.0.0.1:6379', or 'local' for this machine "
            f"alone. Received: cluster={shown(cluster)}"
        )
    if importlib.util.find_spec("ray") is None:
        raise ModuleNotFoundError(
            'Clusters need Ray: python -m pip install "keras-transfer[cluster]". Or '
            "leave cluster out, and everything is computed here. "
            f"Received: cluster={cluster}"
        )
    return Workers(cluster, count, gpus)


@contextlib.contextmanager
def connected(workers: Workers) -> Iterator[types.ModuleType]:
    """Yield Ray, connected to the cluster; who was connected before stays so.

    Raises:
        ConnectionError: If there is no such cluster.
        ValueError: If it cannot give what is asked for.
    """
    _show_token()
    ray = importlib.import_module("ray")
    if ray.is_initialized():
        _check_address(ray, workers)
        _check_room(ray, workers)
        yield ray
        return
    # Else Ray's own code in C++ prints what only its developers can make use of.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        _check_answer(workers.cluster)
        ray.init(workers.cluster, log_to_driver=False, logging_level="ERROR")
    except Exception as error:
        raise ConnectionError(
            "There is no cluster to be reached. Start one with `ray start --head` on "
            "one machine and `ray start --address=IP:6379`, with the IP that the first "
            "one prints, on the others; or pass cluster='local' to use this machine "
            f"alone ({type(error).__name__}: {error}). "
            f"Received: cluster={workers.cluster}"
        ) from error
    try:
        _check_room(ray, workers)
        yield ray
    finally:
        ray.shutdown()


def _show_token() -> None:
    """Have Ray show its token to the cluster, where this user has one.

    `ray start --head` asks everybody for it as soon as there is one, which `ray.init`
    makes for a cluster of this machine alone. But by itself Ray shows it only to a
    cluster that it has found by "auto". One that asks for none does not mind. Ray reads
    the variable when it is imported.
    """
    kept = pathlib.Path.home() / ".ray/auth_token"
    named = {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & os.environ.keys()
    if named or kept.is_file():
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def _check_answer(cluster: str) -> None:
    """Raise an error if nobody answers at an address: Ray would try for minutes."""
    if cluster == "auto":
        # As Ray finds it. What it has noted may be of a cluster that has gone.
        noted = pathlib.Path(os.environ.get("RAY_TMPDIR", "/tmp"), "ray")
        noted /= "ray_current_cluster"
        cluster = os.environ.get("RAY_ADDRESS", "")
        if not cluster and noted.is_file():
            cluster = noted.read_text("utf-8").strip()
    host, _, port = cluster.rpartition(":")
    if host and port.isdecimal() and "/" not in host:
        try:
            socket.create_connection((host, int(port)), timeout=10).close()
        except OSError as error:
            raise ConnectionError(f"nobody answers at {cluster}: {error}") from error


def _check_address(ray, workers: Workers) -> None:
    here = ray.get_runtime_context().gcs_address
    if workers.cluster not in ("auto", "local", here):
        raise ValueError(
            "This process is connected to a cluster already. Pass cluster='auto', or "
            f"leave that one first with ray.shutdown(). Received: "
            f"cluster={workers.cluster}, connected to {here}"
        )


def _check_room(ray, workers: Workers) -> None:
    """Refuse what the cluster does not have: Ray would wait for it for ever."""
    if (workers.count or 1) > _room(ray, workers.gpus):
        there = ray.cluster_resources()
        cpus, gpus = int(there.get("CPU", 0)), int(there.get("GPU", 0))
        raise ValueError(
            f"The cluster has {cpus} CPUs and {gpus} GPUs on {len(machines(ray))} "
            "machine(s), and each worker takes a CPU and its GPUs of one of them. Ask "
            "for fewer, or add machines. "
            f"Received: workers={workers.count}, gpus_per_worker={workers.gpus}"
        )


def _room(ray, gpus: int) -> int:
    """Return for how many workers there is room, each of them on one machine."""
    found = 0
    for machine in machines(ray):
        there = machine["Resources"]
        cpus = int(there["CPU"])
        found += min(cpus, int(there.get("GPU", 0)) // gpus) if gpus else cpus
    return found


def machines(ray: types.ModuleType) -> list[dict]:
    """Return what Ray says of each machine that is there and computes."""
    return [
        node
        for node in ray.nodes()
        if node["Alive"] and node["Resources"].get("CPU", 0) >= 1
    ]


def worker_count(ray: types.ModuleType, workers: Workers) -> int:
    """Return how many workers there are to be."""
    if workers.count:
        return workers.count
    if workers.gpus:
        return _room(ray, workers.gpus)
    # One a machine: a frozen network uses all of its cores.
    return len(machines(ray))


def last_line(error: Exception) -> str:
    """Return the end of what Ray says, which begins with where it was raised."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()


class Surroundings(typing.NamedTuple):
    """Hold what a worker needs in order to find and do what is found and done here.

    Attributes:
        variables: Of the environment.
        search_path: Folders in which modules are found.
        software: What is installed.
    """

    variables: dict[str, str]
    search_path: list[str]
    software: dict[str, str]


def surroundings() -> Surroundings:
    """Return those of this process."""
    variables = {
        name: _absolute(value) if name.endswith(("_DIR", "_HOME")) else value
        for name, value in os.environ.items()
        if name.startswith(_HANDED_ON) and name != _KEPT_BACK
    }
    variables = {"TF_FORCE_GPU_ALLOW_GROWTH": "true", **variables}
    folders = [str(pathlib.Path(folder).absolute()) for folder in sys.path]
    return Surroundings(variables, folders, software())


def _absolute(folder: str) -> str:
    """Return a folder as a process sees it that was started in another one."""
    elsewhere = not folder or folder.startswith("~") or "://" in folder
    return folder if elsewhere else str(pathlib.Path(folder).absolute())


def take_over(there: Surroundings) -> None:
    """Take over, in a worker, the surroundings of whoever asks.

    Raises:
        RuntimeError: If other software is installed here.
    """
    # Where whoever asks has not set it, this machine's own would round otherwise.
    os.environ.pop(_ROUNDING, None)
    os.environ.update(there.variables)
    sys.path += [folder for folder in there.search_path if folder not in sys.path]
    check_software(there.software)
