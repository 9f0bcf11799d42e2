"""Runs of a comparison on the machines of a cluster, each a task of Ray."""

import contextlib
import pathlib
import types
import typing
from collections.abc import Iterator, Mapping

from keras_transfer.comparison import cluster_entry
from keras_transfer.comparison.store import save_run
from keras_transfer.runtime.clusters import (
    Workers,
    connected,
    last_line,
    machines,
    surroundings,
)

# How often a run is made again whose worker or machine has died.
RETRIES = 2


class RunFailedError(RuntimeError):
    """Says the name of an experiment, and how its process ended."""


class Machines(typing.NamedTuple):
    """Hold the machines that make runs.

    Attributes:
        ray: Ray, connected.
        options: What each task takes of a machine.
        computed_by: What `computed_here` returns there.
        alone: Whether each run has a machine for itself.
    """

    ray: types.ModuleType
    options: dict
    computed_by: dict[str, str]
    alone: bool


@contextlib.contextmanager
def machines_of(workers: Workers, engine: str, shared: bool) -> Iterator[Machines]:
    """Yield the machines of a cluster for runs.

    Args:
        workers: The cluster.
        engine: What features and maps are computed by.
        shared: Whether several runs share a machine.

    Raises:
        RuntimeError: If a machine has other software, or cannot make runs.
    """
    with connected(workers) as ray:
        there = machines(ray)
        cpus, gpus = (
            [int(each["Resources"].get(kind, 0)) for each in there]
            for kind in ("CPU", "GPU")
        )
        options = {"num_cpus": min(cpus), "num_gpus": min(gpus)}
        if shared:
            options = {"num_cpus": 1, "num_gpus": min(1, *gpus)}
        # Two nodes of one machine, or machines that the smallest leaves a part of.
        hosts = {each["NodeManagerHostname"] for each in there}
        alone = not shared and len(hosts) == len(there)
        alone = alone and len({*cpus}) == len({*gpus}) == 1
        ask = ray.remote(max_calls=1, **options)(cluster_entry.computed_there)
        try:
            by = ray.get(ask.remote(engine, surroundings()))
        except ray.exceptions.RayError as error:
            raise RuntimeError(
                "A machine of the cluster could not say how it computes a run. Look "
                "for the reason there, or leave cluster out to compare here. "
                f"Received from Ray: {last_line(error)}"
            ) from error
        yield Machines(ray, options, by, alone)


def run_on_cluster(
    machines: Machines, tasks: Mapping[str, dict]
) -> Iterator[tuple[str, int]]:
    """Yield each name and seed as soon as its run is kept.

    Args:
        machines: The machines.
        tasks: For each name the task of `comparison.worker`.
    """
    ray = machines.ray
    options = {"max_calls": 1, "max_retries": RETRIES, **machines.options}
    run = ray.remote(**options)(cluster_entry.run_there)
    here, waiting = surroundings(), {}
    for name, task in tasks.items():
        for seed, path in task["runs"]:
            to_come = run.remote(task, seed, machines.computed_by, here)
            waiting[to_come] = name, seed, pathlib.Path(path)
    try:
        while waiting:
            (finished,), _ = ray.wait([*waiting])
            name, seed, path = waiting.pop(finished)
            try:
                made = ray.get(finished)
            except ray.exceptions.RayError as error:
                raise RunFailedError(
                    name, f"failed on the cluster:\n{error}"
                ) from error
            made.figures["alone"] = machines.alone
            save_run(path, made)
            yield name, seed
    finally:
        for left in waiting:
            ray.cancel(left, force=True)
