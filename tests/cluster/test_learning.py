"""A worker that is killed costs an epoch, and the result is that of one process."""

import json

import pytest

from tests.helpers.ray_cluster import run_unshared, unshared


@pytest.mark.slow
def test_two_workers_of_which_one_dies(tmp_path):
    pytest.importorskip("ray", reason="Without Ray: pip install ray[data,train]")
    if unshared() is None:
        pytest.skip("This user may make no network namespace (unshare --net).")
    printed = run_unshared("tests.cluster.learning", str(tmp_path), "0", timeout=1000)
    assert len(json.loads(printed.splitlines()[-1])) == 1, printed
