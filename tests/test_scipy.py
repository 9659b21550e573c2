"""The matrix in SciPy's solvers, and as a scipy.stats.Covariance."""

import tracemalloc

import numpy as np
import pytest
import scipy.linalg
import scipy.sparse.linalg as sla
from scipy.stats import multivariate_normal

import blockmat as bm
from blockmat.testing import assert_matches_dense
from tests.cases import make

RNG = np.random.default_rng(11)
P = bm.Partition.from_labels(RNG.integers(0, 5, 60))
A = make(P, np.float64, aligned=False, hermitian=True)
G = make(P, np.float64, aligned=True, hermitian=False)


def test_batches_of_vectors():
    X = RNG.standard_normal((2, 3, 60))
    result = A._matvec(X)
    assert result.shape == X.shape
    assert_matches_dense(result, X @ A.toarray().T)


def test_expressions_with_eigenvectors_and_operators_without_a_dtype_are_lazy():
    D, x = A.toarray(), RNG.standard_normal(60)
    V = A.eigh().vectors
    identity = sla.LinearOperator((60, 60), matvec=lambda x: x)
    for lazy, dense in (
        (A + identity, D + np.eye(60)), (A @ V, D @ V.toarray()), (V.H @ A, V.toarray().T @ D),
        (2 * V, 2 * V.toarray()),
    ):  # fmt: skip
        assert isinstance(lazy, sla.LinearOperator)
        assert_matches_dense(lazy @ x, dense @ x, condition=100)


@pytest.mark.parametrize("solver", ["cg", "minres", "gmres", "bicgstab"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_iterative_solvers(solver, dtype):
    b = RNG.standard_normal(60).astype(dtype)
    matrix = A.astype(dtype)
    x, info = getattr(sla, solver)(matrix, b, rtol=1e-5)
    assert info == 0
    assert_matches_dense(x, A.solve(b.astype(float)), rtol=1e-3)
    x, info = getattr(sla, solver)(
        A.toarray().astype(dtype), b, rtol=1e-5, M=matrix.inv(), maxiter=3
    )
    assert info == 0  # the exact inverse as preconditioner needs an iteration or two
    assert_matches_dense(x, A.solve(b.astype(float)), rtol=1e-3)


def test_eigenvalue_solvers():
    D = A.toarray()
    exact = np.linalg.eigvalsh(D)
    np.testing.assert_allclose(sla.eigsh(A, k=3, return_eigenvectors=False), exact[-3:], rtol=1e-8)
    np.testing.assert_allclose(np.sort(sla.svds(G, k=3, return_singular_vectors=False)),
                               np.sort(np.linalg.svd(G.toarray(), compute_uv=False))[-3:], rtol=1e-8)  # fmt: skip
    start = RNG.standard_normal((60, 3))
    values, _ = sla.lobpcg(A, start, M=A.inv(), largest=False, tol=1e-6, maxiter=200)
    np.testing.assert_allclose(np.sort(values), exact[:3], rtol=1e-6)


def test_expm_multiply_and_onenormest():
    x = RNG.standard_normal(60)
    result = sla.expm_multiply(A, x, traceA=A.trace())
    assert_matches_dense(result, scipy.linalg.expm(A.toarray()) @ x, rtol=1e-9)
    assert 0.5 * A.norm(1) <= sla.onenormest(A) <= A.norm(1) * (1 + 1e-12)


def test_samples_have_the_covariance():
    small = bm.BlockConstantMatrix([0, 0, 1], [[2.0, 0.5], [0.5, 1.0]], [0.5, 0.0])
    samples = multivariate_normal(cov=small.as_covariance()).rvs(200_000, random_state=1)
    np.testing.assert_allclose(np.cov(samples, rowvar=False), small.toarray(), atol=0.02)


def test_singular_covariance_like_scipy():
    singular = bm.BlockConstantMatrix([0, 0, 0, 1], [[2.0, 0.5], [0.5, 1.0]], [0.0, 0.0])
    D = singular.toarray()
    ours = multivariate_normal(cov=singular.as_covariance())
    theirs = multivariate_normal(cov=D, allow_singular=True)
    inside, outside = D @ np.ones(4), np.array([1.0, -1.0, 0.0, 0.0])
    np.testing.assert_allclose(ours.logpdf([inside, outside]), theirs.logpdf([inside, outside]))
    assert ours.logpdf(outside) == -np.inf
    np.testing.assert_allclose(ours.entropy(), theirs.entropy())
    assert singular.as_covariance().rank == 2


def test_a_hundred_thousand_variables_without_a_dense_array():
    n = 100_000
    big = bm.BlockConstantMatrix(
        bm.Partition.uniform(20, n // 20), np.eye(20) + 0.1, np.full(20, 2.0)
    )
    tracemalloc.start()
    normal = multivariate_normal(cov=big.as_covariance())
    x = normal.rvs(random_state=0).ravel()
    density, entropy = normal.logpdf(x), normal.entropy()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100 * n * 8
    logdet = np.linalg.slogdet(big.between)[1] + (n - 20) * np.log(2)
    np.testing.assert_allclose(entropy, 0.5 * (n * (1 + np.log(2 * np.pi)) + logdet), rtol=1e-12)
    distance = x @ big.solve(x)
    np.testing.assert_allclose(
        density, -0.5 * (n * np.log(2 * np.pi) + logdet + distance), rtol=1e-12
    )


@pytest.mark.parametrize(
    ("matrix", "error", "message"),
    [
        (A.astype(complex), TypeError, "complex128"),
        (G, np.linalg.LinAlgError, "symmetric"),
        (-A, np.linalg.LinAlgError, "negative eigenvalues"),
    ],
)
def test_what_is_no_covariance(matrix, error, message):
    with pytest.raises(error, match=message):
        matrix.as_covariance()
