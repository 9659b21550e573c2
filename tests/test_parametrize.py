"""Unconstrained parameters of covariance and correlation matrices, for NumPy and PyTorch."""

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch.nn.utils import parametrize

import blockmat as bm
import blockmat.torch as bmt
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


@pytest.mark.parametrize("spread", [0.0, 1e-6, 1e-3, 1e-2, 3.0])
def test_the_derivative_of_the_diagonal_is_that_of_the_exponential(spread):
    rng = np.random.default_rng(0)
    sizes, y = np.array([3.0, 1.0, 2.0, 5.0]), spread * rng.normal(size=4)
    free = spread * rng.normal(size=(4, 4))
    free += free.T
    eigenvalues, vectors = np.linalg.eigh(free + np.diag(y))
    at = log_correlation_core.Logarithm(y, eigenvalues, vectors, y)
    expected = np.diag((sizes - 1) * np.exp(y))
    for b in range(4):
        change = np.diag(np.eye(4)[b])
        expected[:, b] += np.diagonal(
            scipy.linalg.expm_frechet(free + np.diag(y), change, compute_expm=False)
        )
    expected /= (expected @ np.ones(4))[:, None]  # the derivative along 1 is the diagonal
    # A divided difference of eigenvalues 2e-3 apart has the rounding 1e3 eps.
    found = log_correlation_core.jacobian(at, sizes)
    np.testing.assert_allclose(found, expected, rtol=0, atol=4e3 * EPS)


@pytest.mark.parametrize("size", [1e10, 1e300])
def test_a_logarithm_that_is_not_found_is_an_error(size):
    with pytest.raises(bm.exceptions.SingularMatrixError, match=r"numbers up to .*; expected"):
        from_log_correlation([0, 1, 2], [size, -size, size])


def test_an_iteration_that_takes_too_long_is_an_error(monkeypatch):
    monkeypatch.setattr(log_correlation_core, "_MAX_ITERATIONS", 1)
    with pytest.raises(bm.exceptions.SingularMatrixError, match=r"numbers up to 100; expected"):
        from_log_correlation([0, 1, 2], [100.0, -100.0, 100.0])


# PyTorch

MODULES = {
    "covariance": (bmt.LogCholesky, from_log_cholesky, n_covariance),
    "correlation": (bmt.LogCorrelation, from_log_correlation, n_correlation),
}
over_modules = pytest.mark.parametrize(
    ("module", "function", "count"), MODULES.values(), ids=list(MODULES)
)


@over_modules
@over_partitions
def test_modules_give_the_matrices_of_numpy_and_their_parameters(module, function, count, p):
    parametrization = module(p)
    assert parametrization.n_parameters == count(p)
    x = np.stack([random(count(p), seed) for seed in range(6)]).reshape(2, 3, -1)
    A = parametrization(torch.tensor(x))
    assert A.batch_shape == (2, 3)
    assert A.dtype == torch.float64
    for index in np.ndindex(2, 3):
        expected = function(p, x[index])
        bound = 1e4 * EPS * np.abs(expected.between).max()
        np.testing.assert_allclose(A.between[index], expected.between, rtol=0, atol=bound)
        several = p.sizes > 1
        np.testing.assert_allclose(
            A.within[index][several], expected.within[several], rtol=1e4 * EPS
        )
    np.testing.assert_allclose(parametrization.right_inverse(A), x, rtol=0, atol=1e-10)


@over_modules
@over_small
def test_first_and_second_derivatives(module, function, count, p):
    parametrization = module(p)
    x = torch.tensor(random(2 * count(p), 3, 0.7).reshape(2, -1), requires_grad=True)
    several = torch.tensor(p.sizes > 1)

    def numbers(x):
        A = parametrization(x)
        return A.between, torch.where(several, A.within, 0)

    assert torch.autograd.gradcheck(numbers, x)
    assert torch.autograd.gradgradcheck(numbers, x)


def test_the_gradient_of_the_log_determinant_is_minus_the_correlation():
    # d log det C = tr d(log C), and the diagonal of log C changes so that that of C stays.
    x = torch.tensor([1.0, -0.5], dtype=torch.float64, requires_grad=True)
    C = bmt.LogCorrelation(["a", "a", "b"])(x)
    C.logdet().backward()
    dense = C.to_dense().detach()
    expected = [-dense[0, 1], -2 * 2**0.5 * dense[0, 2]]
    np.testing.assert_allclose(x.grad, expected, rtol=0, atol=64 * EPS)


def test_derivatives_where_eigenvalues_are_equal():
    parametrization = bmt.LogCorrelation([0, 0, 1, 1, 2, 2])
    x = torch.zeros(6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: parametrization(x).between, x)
    assert torch.autograd.gradgradcheck(lambda x: parametrization(x).between, x)


@over_modules
def test_modules_keep_single_precision(module, function, count):
    p = PARTITIONS["mixed"]
    x = torch.tensor(random(count(p)), dtype=torch.float32, requires_grad=True)
    A = module(p)(x)
    assert A.dtype == torch.float32
    assert module(p).right_inverse(A).dtype == torch.float32
    A.logdet().backward()
    assert x.grad.dtype == torch.float32
    np.testing.assert_allclose(module(p).right_inverse(A), x.detach(), rtol=0, atol=1e-3)


@over_modules
def test_torch_parametrizes_a_module(module, function, count):
    p = PARTITIONS["mixed"]
    model = torch.nn.Module()
    model.matrix = torch.nn.Parameter(torch.tensor(random(count(p))))
    parametrize.register_parametrization(model, "matrix", module(p), unsafe=True)
    (original,) = model.parameters()
    np.testing.assert_array_equal(original.detach(), random(count(p)))
    model.matrix.logdet().backward()
    assert torch.isfinite(original.grad).all()

    new = random(count(p), 1)
    model.matrix = bmt.BlockConstantMatrix.from_numpy(function(p, new))
    np.testing.assert_allclose(original.detach(), new, rtol=0, atol=1e-10)
    names = {"parametrizations.matrix.original", "parametrizations.matrix.0._extra_state"}
    assert set(model.state_dict()) == names
    assert "n_parameters" in repr(model)


@over_modules
def test_independent_blocks_have_parameters(module, function, count):
    A = bmt.BlockConstantMatrix([0, 0, 1], torch.ones(2), torch.tensor([1.0, 0.0]))
    np.testing.assert_array_equal(module([0, 0, 1]).right_inverse(A), np.zeros(count(A.partition)))


@over_modules
def test_modules_refuse_wrong_parameters(module, function, count):
    parametrization = module([0, 0, 1])
    n = count(parametrization.partition)
    with pytest.raises(bm.exceptions.ShapeError, match=rf"expected \(\.\.\., {n}\) for 2 blocks"):
        parametrization(torch.zeros(9))
    with pytest.raises(bm.exceptions.ShapeError, match=r"parameters has shape \(\)"):
        parametrization(torch.tensor(1.0))
    with pytest.raises(TypeError, match="parameters is a ndarray"):
        parametrization(np.zeros(n))
    with pytest.raises(bm.exceptions.DtypeError, match=r"torch.int64"):
        parametrization(torch.zeros(n, dtype=torch.int64))
    with pytest.raises(bm.exceptions.NonFiniteError, match="parameters contains NaN"):
        parametrization(torch.full((n,), torch.nan))


@over_modules
def test_modules_refuse_wrong_matrices(module, function, count):
    def matrix(between, within):
        return bmt.BlockConstantMatrix([0, 0, 1], torch.tensor(between), torch.tensor(within))

    inverse = module([0, 0, 1]).right_inverse
    with pytest.raises(TypeError, match=r"matrix is a ndarray; expected a blockmat\.torch\.Block"):
        inverse(np.eye(3))
    with pytest.raises(bm.exceptions.PartitionMismatchError, match="matrix has 2 blocks of 4"):
        inverse(bmt.BlockConstantMatrix([0, 0, 1, 1], torch.eye(2), torch.ones(2)))
    with pytest.raises(bm.exceptions.NotHermitianError):
        inverse(matrix([[1.0, 0.5], [0.0, 1.0]], [1.0, 1.0]))
    for between, within in (([[1.0, 2.0], [2.0, 1.0]], 1.0), ([[1.0, 0.0], [0.0, 1.0]], 0.0)):
        with pytest.raises(bm.exceptions.IndefiniteMatrixError):
            inverse(matrix(between, [within, 1.0]))


def test_a_module_refuses_a_covariance_that_is_no_correlation():
    A = bmt.BlockConstantMatrix([0, 0, 1], torch.diag(torch.tensor([1.0, 2.0])), torch.ones(2))
    with pytest.raises(
        ValueError, match=r"matrix has 2 on the diagonal at index \(1,\); expected 1"
    ):
        bmt.LogCorrelation([0, 0, 1]).right_inverse(A)


def test_modules_refuse_parameters_of_which_a_matrix_is_not_found():
    with pytest.raises(bm.exceptions.NonFiniteError, match="between contains NaN or infinity"):
        bmt.LogCholesky([0, 0])(torch.tensor([400.0, 0.0], dtype=torch.float64))
    with pytest.raises(bm.exceptions.SingularMatrixError, match=r"numbers up to 1e\+10; expected"):
        bmt.LogCorrelation([0, 1, 2])(torch.full((3,), 1e10, dtype=torch.float64))


@over_small
def test_independent_blocks_have_the_parameters_of_the_same_matrix(p):
    own = np.linspace(0.5, 2, p.n_blocks)
    A, same = (
        bm.BlockConstantMatrix(p, between, np.ones(p.n_blocks)) for between in (own, np.diag(own))
    )
    np.testing.assert_array_equal(log_cholesky(A), log_cholesky(same))
    C = bm.BlockConstantMatrix.identity(p)
    np.testing.assert_array_equal(log_correlation(C), np.zeros(n_correlation(p)))


def test_the_state_has_the_blocks_and_other_blocks_are_refused():
    p = PARTITIONS["mixed"]
    for kind in (bmt.LogCholesky, bmt.LogCorrelation):
        saved = kind(p).state_dict()
        kind(p.labels.tolist()).load_state_dict(saved)
        other = kind(list("aabbbbcd"))
        with pytest.raises(
            bm.exceptions.PartitionMismatchError, match="parameters for other blocks"
        ):
            other.load_state_dict(saved)
