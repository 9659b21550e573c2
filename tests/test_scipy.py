"""The matrix as a LinearOperator and as a scipy.stats.Covariance."""

import tracemalloc

import numpy as np
import pytest
import scipy.linalg
import scipy.sparse as sp
import scipy.sparse.linalg as sla
from scipy.stats import multivariate_normal

import blockmat as bm
from blockmat.testing import assert_matches_dense
from tests.cases import make, over_cases, random_array

RNG = np.random.default_rng(11)
P = bm.Partition.from_labels(RNG.integers(0, 5, 60))
A = make(P, np.float64, aligned=False, hermitian=True)
G = make(P, np.float64, aligned=True, hermitian=False)


@over_cases
@pytest.mark.filterwarnings("ignore:Calling `r?matvec` on 'column vectors':FutureWarning")
def test_linear_operator_protocol(case):
    A, D = case.A, case.dense
    n = A.shape[0]
    assert isinstance(A, sla.LinearOperator)
    assert sla.aslinearoperator(A) is A
    x, X = random_array(RNG, n, A.dtype), random_array(RNG, (n, 3), A.dtype)
    for result, expected in (
        (A.matvec(x), D @ x),
        (A.matvec(x[:, None]), D @ x[:, None]),
        (A.matmat(X), D @ X),
        (A.rmatvec(x), D.conj().T @ x),
        (A.rmatvec(x[:, None]), D.conj().T @ x[:, None]),
        (A.rmatmat(X), D.conj().T @ X),
        (A(x), D @ x),
        (A @ x[:, None], D @ x[:, None]),
    ):
        assert result.dtype == A.dtype
        assert_matches_dense(result, expected, condition=10)


def test_batches_of_vectors():
    X = RNG.standard_normal((2, 3, 60))
    result = A._matvec(X)
    assert result.shape == X.shape
    assert_matches_dense(result, X @ A.toarray().T)


def test_mixed_expressions_with_other_operators_stay_lazy():
    S = RNG.standard_normal((60, 60))
    L = sla.aslinearoperator(S)
    D = A.toarray()
    x = RNG.standard_normal(60)
    V = A.eigh().vectors
    for lazy, dense in (
        (A + L, D + S), (L + A, S + D), (A - L, D - S), (L - A, S - D),
        (A @ L, D @ S), (L @ A, S @ D), (A * L, D @ S), (A + sla.LinearOperator((60, 60), matvec=lambda x: x), D + np.eye(60)),
        (A @ V, D @ V.toarray()), (V.H @ A, V.toarray().T @ D), (2 * V, 2 * V.toarray()),
    ):  # fmt: skip
        assert isinstance(lazy, sla.LinearOperator)
        assert_matches_dense(lazy @ x, dense @ x, condition=100)


def test_products_with_sparse_matrices_are_dense():
    S = sp.random_array((60, 4), density=0.2, rng=1)
    for sparse in (S.tocsr(), S.tocsc(), S.tocoo()):
        result = A @ sparse
        assert type(result) is np.ndarray
        assert_matches_dense(result, A.toarray() @ S.toarray())


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


def test_dense_conversion():
    assert np.asarray(A).shape == (60, 60)
    assert np.array(A, dtype=np.float32).dtype == np.float32
    assert_matches_dense(np.linalg.inv(A), A.inv().toarray())
    with pytest.raises(ValueError, match="without a copy"):
        A.__array__(copy=False)


# scipy.stats


@pytest.mark.parametrize("aligned", [False, True])
def test_covariance_against_dense(aligned):
    matrix = make(P, np.float64, aligned=aligned, hermitian=True)
    D = matrix.toarray()
    cov = matrix.as_covariance()
    mean = RNG.standard_normal(60)
    x = RNG.standard_normal((4, 60))
    ours, theirs = multivariate_normal(mean, cov), multivariate_normal(mean, D)
    np.testing.assert_allclose(ours.logpdf(x), theirs.logpdf(x), rtol=1e-10)
    np.testing.assert_allclose(ours.logpdf(x[0]), theirs.logpdf(x[0]), rtol=1e-10)
    np.testing.assert_allclose(ours.entropy(), theirs.entropy(), rtol=1e-10)
    np.testing.assert_allclose(cov.log_pdet, np.linalg.slogdet(D)[1], rtol=1e-10)
    assert cov.rank == 60
    assert cov.shape == (60, 60)
    np.testing.assert_allclose(cov.covariance, D)
    np.testing.assert_allclose(cov.whiten(cov.colorize(x)), x, rtol=1e-9)
    white = cov.whiten(np.eye(60))
    np.testing.assert_allclose(white.T @ white, np.linalg.inv(D), atol=1e-10)


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
