"""Small products of matrices are computed in one thread, and others as before."""

import threadpoolctl

from keras_transfer.runtime.threads import one_blas_thread


def threads():
    found = threadpoolctl.threadpool_info()
    return {each["num_threads"] for each in found if each["user_api"] == "blas"}


def test_one_thread_within_and_as_many_as_before_after_it():
    import numpy as np

    np.ones((2, 2)) @ np.ones((2, 2))
    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        assert threads() == {2}
        with one_blas_thread():
            assert threads() == {1}
        assert threads() == {2}
