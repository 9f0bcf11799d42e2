"""What machines of a cluster compute is what one process does, also if some die."""

import json

import pytest

from tests.helpers.ray_cluster import run_unshared, unshared


@pytest.mark.slow
def test_two_machines_of_which_one_dies(tmp_path):
    pytest.importorskip("ray", reason="Without Ray: pip install ray[data,train]")
    if unshared() is None:
        pytest.skip("This user may make no network namespace (unshare --net).")
    printed = run_unshared("tests.cluster.two_nodes", str(tmp_path), timeout=1500)
    seconds = json.loads(printed.splitlines()[-1])
    assert len(seconds) == 6, printed
