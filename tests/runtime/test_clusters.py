"""Which cluster is asked for, and whether its machines have the same software."""

import importlib.util
import os
import socket
import sys
import time
import types

import pytest

from keras_transfer.runtime import clusters
from keras_transfer.runtime.software import check_software, software


@pytest.mark.parametrize(
    ("arguments", "received"),
    [
        (("here",), "cluster=here"),
        (("ray://10.0.0.1:10001",), "cluster='ray:"),
        ((["auto"],), "cluster="),
        ((None, 2), "workers=2"),
        ((None, None, 1), "gpus_per_worker=1"),
        (("auto", 0), "workers=0"),
        (("auto", None, -1), "gpus_per_worker=-1"),
    ],
)
def test_what_is_no_cluster_is_refused(arguments, received):
    with pytest.raises(ValueError, match=rf"Received: .*{received}"):
        clusters.asked_workers(*arguments)


def test_without_ray_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install .*\[cluster\]"):
        clusters.asked_workers("auto")
    assert clusters.asked_workers(None) is None


@pytest.mark.parametrize("by", ["argument", "RAY_ADDRESS", "file"])
def test_where_nobody_answers_it_is_said_at_once(by, monkeypatch, tmp_path):
    pytest.importorskip("ray", reason="Ray is not installed")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    if by == "RAY_ADDRESS":
        monkeypatch.setenv(by, address)
    elif by == "file":
        (tmp_path / "ray").mkdir()
        (tmp_path / "ray" / "ray_current_cluster").write_text(address + "\n")
    workers = clusters.asked_workers(address if by == "argument" else "auto")
    start = time.perf_counter()
    answer = rf"answers at {address}.*Received"
    with pytest.raises(ConnectionError, match=answer), clusters.connected(workers):
        pass
    assert time.perf_counter() - start < 30


def cluster(*nodes):
    """Stand in for a Ray of machines with so many CPUs and GPUs."""
    there = [{"CPU": float(cpus), "GPU": float(gpus)} for cpus, gpus in nodes]
    total = {kind: sum(each[kind] for each in there) for kind in ("CPU", "GPU")}
    return types.SimpleNamespace(
        nodes=lambda: [{"Alive": True, "Resources": each} for each in there],
        cluster_resources=lambda: total,
    )


@pytest.mark.parametrize(
    ("nodes", "count", "gpus"),
    [
        ([(4, 1), (4, 1)], None, 2),  # Two GPUs, and no machine has both.
        ([(4, 3), (4, 3)], 3, 2),
        ([(0, 8), (4, 0)], None, 1),  # The one with GPUs computes nothing.
        ([(2, 0), (2, 0)], 5, 0),
    ],
)
def test_what_fits_on_no_machine_is_refused_and_not_waited_for(nodes, count, gpus):
    workers = clusters.Workers("auto", count, gpus)
    with pytest.raises(ValueError, match=f"Received: workers={count}, .*={gpus}"):
        clusters._check_room(cluster(*nodes), workers)


@pytest.mark.parametrize(
    ("nodes", "gpus", "count"),
    [([(4, 3), (4, 3)], 2, 2), ([(4, 2), (1, 2)], 1, 3), ([(4, 0), (2, 0)], 0, 2)],
)
def test_there_are_as_many_workers_as_fit(nodes, gpus, count):
    ray, workers = cluster(*nodes), clusters.Workers("auto", None, gpus)
    clusters._check_room(ray, workers)
    assert clusters.worker_count(ray, workers) == count


def test_another_machine_with_other_software_is_refused():
    check_software(software())
    other = {**software(), "keras": "3.0", "keras_transfer": "0"}
    with pytest.raises(RuntimeError, match=r"Received: keras .* and 3.0 there; keras_"):
        check_software(other)


def test_a_worker_takes_over_variables_and_folders_of_modules(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_TRANSFER_OWN", "1")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    there = clusters.surroundings()
    monkeypatch.delenv("KERAS_TRANSFER_OWN")
    monkeypatch.setattr(sys, "path", sys.path[:-1])
    monkeypatch.setenv("TF_FORCE_GPU_ALLOW_GROWTH", "false")
    clusters.take_over(there)
    assert os.environ["KERAS_TRANSFER_OWN"] == "1"
    assert sys.path[-1] == str(tmp_path)
    assert not any(name.startswith("PATH") for name in there.variables)


def test_a_worker_finds_the_same_folders_and_rounds_in_the_same_way(
    monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    given = {"KERAS_TRANSFER_DATA_DIR": "data", "KERAS_HOME": "~/keras"}
    given["TFDS_DATA_DIR"] = "gs://somebody/data"
    for name, value in {**given, "KERAS_TRANSFER_TOKEN": "secret"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TF_FORCE_GPU_ALLOW_GROWTH", "false")
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    there = clusters.surroundings()
    folder = str(tmp_path / "data")
    assert given | {"KERAS_TRANSFER_DATA_DIR": folder} == {
        name: there.variables[name] for name in given
    }
    assert "secret" not in there.variables.values()
    # As the machine of the worker has it.
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    clusters.take_over(there)
    assert "TF_ENABLE_ONEDNN_OPTS" not in os.environ


@pytest.mark.parametrize("kept", [True, False])
def test_the_token_of_this_user_is_shown_to_a_cluster(kept, monkeypatch, tmp_path):
    pytest.importorskip("ray", reason="Ray is not installed: pip install ray")
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.setenv(name, "")  # So that what is set here is taken back.
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    if kept:
        (tmp_path / ".ray").mkdir()
        (tmp_path / ".ray/auth_token").write_text("a" * 64)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{nobody.getsockname()[1]}"
        workers = clusters.asked_workers(address)
        with pytest.raises(ConnectionError), clusters.connected(workers):
            pass
    assert os.environ.get("RAY_AUTH_MODE") == ("token" if kept else None)
