"""Unconstrained parameters of covariance and correlation matrices, for NumPy and PyTorch."""

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import blockmat as bm
from blockmat.cores import log_correlation as log_correlation_core
from blockmat.inference import (
    from_log_cholesky,
    from_log_correlation,
    log_cholesky,
    log_correlation,
)

EPS = np.finfo(np.float64).eps
PARTITIONS = {
    "mixed": bm.Partition.from_labels(list("abacbbdb")),
    "one block": bm.Partition.trivial(4),
    "one variable": bm.Partition.trivial(1),
    "singletons": bm.Partition.singletons(5),
    "large": bm.Partition.from_sizes([1000, 1, 3, 1_000_000]),
}
SMALL = [p for p in PARTITIONS.values() if p.n < 10]
over_partitions = pytest.mark.parametrize("p", PARTITIONS.values(), ids=list(PARTITIONS))
over_small = pytest.mark.parametrize("p", SMALL, ids=str)


def n_covariance(p):
    return p.n_blocks * (p.n_blocks + 1) // 2 + int((p.sizes > 1).sum())


def n_correlation(p):
    return p.n_blocks * (p.n_blocks + 1) // 2 - int((p.sizes == 1).sum())


def random(count, seed=0, scale=1.0):
    return np.random.default_rng(seed).normal(scale=scale, size=count)


# Covariance matrices


@over_partitions
def test_every_vector_is_a_positive_definite_matrix_and_comes_back(p):
    x = random(n_covariance(p))
    A = from_log_cholesky(p, x)
    assert A.is_positive_definite()
    assert A.partition is p
    # An error of eps in M is one of eps cond(M) in the log-diagonal; cond(M) is below 1e4 here.
    np.testing.assert_allclose(log_cholesky(A), x, rtol=0, atol=1e5 * EPS)


@over_small
def test_the_parameters_are_the_cholesky_factor_and_log_within(p):
    x = random(n_covariance(p), 1)
    A = from_log_cholesky(p, x)
    L = np.zeros((p.n_blocks, p.n_blocks))
    L[np.tril_indices(p.n_blocks)] = x[: len(x) - (p.sizes > 1).sum()]
    L[np.diag_indices(p.n_blocks)] = np.exp(np.diagonal(L))
    np.testing.assert_allclose(A.between, L @ L.T, rtol=0, atol=64 * EPS * np.abs(L).max() ** 2)
    np.testing.assert_allclose(
        A.within[p.sizes > 1], np.exp(x[p.n_blocks * (p.n_blocks + 1) // 2 :]), rtol=4 * EPS
    )
    assert (A.within[p.sizes == 1] == 0).all()


@given(arrays(np.float64, n_covariance(PARTITIONS["mixed"]), elements=st.floats(-2, 2)))
def test_any_vector_of_a_covariance_comes_back(x):
    # The log-diagonal is at least -2, and the entries are at most e^2: cond(L)^2 is below 1e7.
    A = from_log_cholesky(PARTITIONS["mixed"], x)
    np.testing.assert_allclose(log_cholesky(A), x, rtol=0, atol=1e-7)


# Correlation matrices


@over_partitions
def test_every_vector_is_a_correlation_matrix_and_comes_back(p):
    x = random(n_correlation(p))
    C = from_log_correlation(p, x)
    assert C.is_positive_definite()
    # Eight times the residual at which the iteration stops.
    np.testing.assert_allclose(C.diagonal_values, 1, rtol=0, atol=1000 * EPS)
    np.testing.assert_allclose(log_correlation(C), x, rtol=0, atol=1e-10)


@over_small
def test_the_parameters_are_the_scaled_numbers_of_the_logarithm(p):
    C = from_log_correlation(p, random(n_correlation(p), 2))
    logarithm = scipy.linalg.logm(C.toarray())
    expected = []
    for a in range(p.n_blocks):
        for b in range(a + 1):
            block = logarithm[np.ix_(p.labels == a, p.labels == b)]
            entries = block[~np.eye(len(block), dtype=bool)] if a == b else block.ravel()
            if entries.size:
                np.testing.assert_allclose(entries, entries[0], rtol=0, atol=1e-13)
                expected.append(entries[0] * np.sqrt(p.sizes[a] * p.sizes[b]))
    np.testing.assert_allclose(log_correlation(C), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("rho", [-0.9, 0.0, 0.5, 0.999])
def test_one_correlation_has_fishers_parameter(rho):
    C = bm.BlockConstantMatrix.from_values([0, 1], [[1, rho], [rho, 1]])
    # An error of eps in rho is one of eps / (1 - rho^2) in artanh.
    bound = 16 * EPS / (1 - rho**2)
    np.testing.assert_allclose(log_correlation(C), [np.arctanh(rho)], rtol=0, atol=bound)
    np.testing.assert_allclose(
        from_log_correlation([0, 1], [np.arctanh(rho)]).values, C.values, rtol=0, atol=16 * EPS
    )


@given(arrays(np.float64, n_correlation(PARTITIONS["mixed"]), elements=st.floats(-10, 10)))
def test_entries_up_to_ten_give_a_correlation_matrix(x):
    C = from_log_correlation(PARTITIONS["mixed"], x)
    # The logarithm has a norm of at most 10 k + |y|, below 200; see `Logarithm.rounding`.
    np.testing.assert_allclose(C.diagonal_values, 1, rtol=0, atol=1e4 * EPS)
    assert np.linalg.eigvalsh(C.between)[0] >= -64 * EPS * C.partition.n_blocks


@pytest.mark.parametrize("k", [20, 60])
@pytest.mark.parametrize("scale", [0.3, 10.0])
def test_many_blocks_and_large_entries_converge(k, scale):
    rng = np.random.default_rng(k)
    p = bm.Partition.from_sizes(rng.integers(1, 1000, k))
    x = rng.uniform(-scale, scale, n_correlation(p))
    C = from_log_correlation(p, x)
    np.testing.assert_allclose(C.diagonal_values, 1, rtol=0, atol=1e-10)
    if scale < 1:
        # The eigenvalues of M are between exp(-8) and exp(8): log has errors of about eps exp(16).
        np.testing.assert_allclose(log_correlation(C), x, rtol=0, atol=1e-8)


def test_a_diagonal_that_underflows_at_first_is_found():
    # The blocks are independent. At the start, exp of the second is exp(-2000) times the first.
    C = from_log_correlation([0, 0, 1, 1], [2000.0, 0.0, 1.0])
    np.testing.assert_allclose(C.diagonal_values, 1, rtol=0, atol=1e-10)
    np.testing.assert_allclose(C.values, [[1, 0], [0, np.tanh(0.5)]], rtol=0, atol=1e-10)


def test_single_precision_stays():
    p = PARTITIONS["mixed"]
    for to, back, count in (
        (from_log_cholesky, log_cholesky, n_covariance(p)),
        (from_log_correlation, log_correlation, n_correlation(p)),
    ):
        x = random(count, scale=0.5).astype(np.float32)
        A = to(p, x)
        assert A.dtype == np.float32
        assert back(A).dtype == np.float32
        np.testing.assert_allclose(back(A), x, rtol=0, atol=1e-4)
        np.testing.assert_allclose(A.between, to(p, x.astype(float)).between, rtol=1e-6, atol=1e-6)


# Errors


def matrix(**changes):
    return bm.BlockConstantMatrix(**{
        "partition": [0, 0, 1], "between": np.eye(2), "within": np.ones(2), **changes
    })  # fmt: skip


@pytest.mark.parametrize("function", [log_cholesky, log_correlation])
@pytest.mark.parametrize(
    ("A", "error", "message"),
    [
        (np.eye(3), TypeError, "is a ndarray; expected a BlockConstantMatrix"),
        (matrix(between=1j * np.eye(2)), TypeError, "complex128; expected real numbers"),
        (matrix(between=[[1, 0.5], [0, 1]]), np.linalg.LinAlgError, "is not symmetric"),
        (
            bm.BlockConstantMatrix([0, 1, 0, 1], np.eye(2), np.eye(2)),
            ValueError,
            "has aligned blocks",
        ),
        (
            bm.BlockConstantMatrix.from_values([0, 0, 1], [[1, 0], [0, 1]], [1, 1]),
            np.linalg.LinAlgError,
            "is not positive definite",
        ),
    ],
)
def test_wrong_matrices_are_refused(function, A, error, message):
    with pytest.raises(error, match=message):
        function(A)


def test_a_covariance_is_not_a_correlation():
    with pytest.raises(ValueError, match=r"C has 2.0 on the diagonal of block 1; expected 1"):
        log_correlation(matrix(between=np.diag([1.0, 2.0])))


@pytest.mark.parametrize(("function", "count"), [(from_log_cholesky, 4), (from_log_correlation, 2)])
def test_wrong_parameters_are_refused(function, count):
    p = [0, 0, 1]
    with pytest.raises(bm.exceptions.ShapeError, match=rf"length 9; expected {count} for 2 blocks"):
        function(p, np.zeros(9))
    with pytest.raises(bm.exceptions.ShapeError, match="parameters is 2-d"):
        function(p, np.zeros((1, count)))
    with pytest.raises(TypeError, match="complex128; expected real"):
        function(p, 1j * np.ones(count))
    with pytest.raises(np.linalg.LinAlgError, match="parameters contains nan"):
        function(p, np.full(count, np.nan))


def test_exp_of_large_parameters_overflows():
    with pytest.raises(bm.exceptions.NonFiniteError, match="the result overflows"):
        from_log_cholesky([0, 0], [400.0, 0.0])


@pytest.mark.parametrize("size", [1e10, 1e300])
def test_a_logarithm_that_is_not_found_is_an_error(size):
    with pytest.raises(bm.exceptions.SingularMatrixError, match=r"numbers up to .*; expected"):
        from_log_correlation([0, 1, 2], [size, -size, size])


def test_an_iteration_that_takes_too_long_is_an_error(monkeypatch):
    monkeypatch.setattr(log_correlation_core, "_MAX_ITERATIONS", 1)
    with pytest.raises(bm.exceptions.SingularMatrixError, match=r"numbers up to 100; expected"):
        from_log_correlation([0, 1, 2], [100.0, -100.0, 100.0])
