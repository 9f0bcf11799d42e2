"""A process that is started here finds the same modules, and says what it held."""

import os
import subprocess
import sys

import pytest

from keras_transfer.runtime.processes import child_environment, peak_memory

linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux keeps it by process")


def test_a_child_finds_what_is_found_here(tmp_path, monkeypatch):
    (tmp_path / "only_here.py").write_text("word = 'found'")
    monkeypatch.syspath_prepend(str(tmp_path))
    script = "import only_here; print(only_here.word)"
    ended = subprocess.run(
        [sys.executable, "-c", script],
        env=child_environment(),
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    assert ended.stdout == "found\n"


def test_what_is_set_here_is_kept_and_what_is_named_goes_before(monkeypatch):
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    monkeypatch.setenv("MPLBACKEND", "svg")
    monkeypatch.delenv("TF_FORCE_GPU_ALLOW_GROWTH", raising=False)
    variables = child_environment(["a", "", "b"], MPLBACKEND="agg")
    assert variables["PYTHONPATH"] == os.pathsep.join(["a", "b"])
    assert variables["TF_CPP_MIN_LOG_LEVEL"] == "0"
    assert variables["TF_FORCE_GPU_ALLOW_GROWTH"] == "true"
    assert variables["MPLBACKEND"] == "agg"
    assert "TF_FORCE_GPU_ALLOW_GROWTH" not in os.environ


def held_by(megabytes: int) -> subprocess.Popen:
    """Start a process that held so much, has given it back, and waits."""
    script = f"x = b'1' * ({megabytes} << 20); del x; print(flush=True); input()"
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    process.stdout.readline()
    return process


@linux
def test_peak_memory_of_another_process_is_what_it_once_held():
    with held_by(100) as process:
        peak = peak_memory(process.pid)
        process.communicate(b"\n")
    assert 100 << 20 < peak < 200 << 20
    assert peak_memory(process.pid) is None


@linux
def test_peak_memory_of_this_process():
    script = (
        "from keras_transfer.runtime.processes import peak_memory\n"
        "x = b'1' * (100 << 20); del x; print(peak_memory())"
    )
    peak = subprocess.run(
        [sys.executable, "-c", script],
        env=child_environment(),
        capture_output=True,
        encoding="utf-8",
        check=True,
    ).stdout
    # What this process holds, much more after other tests, is not in it.
    assert 100 << 20 < int(peak) < 200 << 20
