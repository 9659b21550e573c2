"""The matrix in SciPy's solvers, and as a scipy.stats.Covariance."""

import tracemalloc

import numpy as np
import pytest
import scipy.linalg
import scipy.sparse as sp
import scipy.sparse.linalg as sla
from scipy.stats import multivariate_normal

import blockmat as bm
from blockmat.testing import assert_matches_dense
from tests.cases import make

RNG = np.random.default_rng(11)
P = bm.Partition.from_labels(RNG.integers(0, 5, 60))
A = make(P, np.float64, aligned=False, hermitian=True)
G = make(P, np.float64, aligned=True, hermitian=False)
SCALED = bm.ScaledBlockMatrix(A, RNG.uniform(0.5, 2, 60))
FACTOR = bm.BlockFactorMatrix(P, A.values, RNG.uniform(0.5, 2, 60), RNG.uniform(0.5, 2, 60))
V = RNG.standard_normal((60, 2))
DEFINITE = {
    "block-constant": A, "scaled": SCALED, "factor": FACTOR, "low rank": A.add_low_rank(V),
    "low rank on scaled": SCALED.add_low_rank(V), "low rank on factor": FACTOR.add_low_rank(V),
}  # fmt: skip
every_type = pytest.mark.parametrize("matrix", DEFINITE.values(), ids=DEFINITE)


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


@every_type
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_solvers_take_every_type(matrix, dtype):
    matrix, b = matrix.astype(dtype), RNG.standard_normal(60).astype(dtype)
    D = matrix.toarray().astype(float)
    for solver in (sla.cg, sla.minres, sla.gmres):
        x, info = solver(matrix, b, rtol=1e-5, maxiter=1000)
        assert info == 0
        # cg and gmres stop at rtol |b|, minres at rtol times an estimate of |A|, times |x|
        size = np.linalg.norm(b) + np.linalg.norm(D) * np.linalg.norm(x)
        assert np.linalg.norm(D @ x - b) <= 2e-5 * size
        x, info = solver(sla.aslinearoperator(D), b.astype(float), M=matrix.inv(), maxiter=3)
        assert info == 0  # the exact inverse as preconditioner needs an iteration or two


@every_type
def test_eigenvalues_and_singular_values_of_every_type(matrix):
    exact = np.linalg.eigvalsh(matrix.toarray())
    largest = sla.eigsh(matrix, k=3, return_eigenvectors=False)
    np.testing.assert_allclose(np.sort(largest), exact[-3:], rtol=1e-8)
    values = sla.svds(matrix, k=3, return_singular_vectors=False)
    np.testing.assert_allclose(np.sort(values), exact[-3:], rtol=1e-8)
    inverse = sla.eigsh(matrix.inv(), k=1, return_eigenvectors=False)
    np.testing.assert_allclose(1 / inverse, exact[:1], rtol=1e-8)
    near = sla.eigsh(matrix, k=1, sigma=0, OPinv=matrix.inv(), return_eigenvectors=False)
    np.testing.assert_allclose(near, exact[:1], rtol=1e-8)


def test_singular_values_of_a_rectangular_matrix():
    B = bm.BlockRectangularMatrix(P, np.arange(30) % 4, RNG.standard_normal((5, 4)))
    exact = np.linalg.svd(B.toarray(), compute_uv=False)[:2]
    values = sla.svds(B, k=2, return_singular_vectors=False)
    np.testing.assert_allclose(np.sort(values)[::-1], exact, rtol=1e-8)


@every_type
def test_the_distribution_of_every_type_is_the_dense_one(matrix):
    D, mean = matrix.toarray(), RNG.standard_normal(60)
    ours = multivariate_normal(mean, matrix.as_covariance())
    theirs = multivariate_normal(mean, D)
    x = RNG.standard_normal((3, 60))
    np.testing.assert_allclose(ours.logpdf(x), theirs.logpdf(x), rtol=1e-10)
    np.testing.assert_allclose(ours.entropy(), theirs.entropy(), rtol=1e-12)
    draws = ours.rvs(20_000, random_state=0)
    scale = np.sqrt(np.outer(np.diag(D), np.diag(D)))
    # Five standard errors of a correlation from 20,000 samples.
    np.testing.assert_allclose(np.cov(draws, rowvar=False) / scale, D / scale, atol=0.05)


@pytest.mark.skipif(not hasattr(multivariate_normal, "marginal"), reason="new in SciPy 1.15")
@every_type
def test_marginal_distributions(matrix):
    ours = multivariate_normal(np.arange(60), matrix.as_covariance())
    marginal = ours.marginal([7, 3, 30])
    np.testing.assert_array_equal(marginal.mean, [7, 3, 30])
    kept = matrix.toarray()[np.ix_([7, 3, 30], [7, 3, 30])]
    np.testing.assert_allclose(marginal.cov, kept, rtol=1e-14)
    x = RNG.standard_normal(3)
    np.testing.assert_allclose(
        marginal.logpdf(x), multivariate_normal([7, 3, 30], kept).logpdf(x), rtol=1e-12
    )


@every_type
@pytest.mark.parametrize(
    "form", ["dia_array", "dia_matrix", "csr_array", "csc_matrix", "coo_array"]
)
def test_sums_with_sparse_matrices_of_every_form(matrix, form):
    D, d = matrix.toarray(), RNG.uniform(1, 2, 60)
    S = getattr(sp, form)(sp.diags_array(d))
    for total in (matrix + S, S + matrix):
        assert type(total) in (bm.BlockFactorMatrix, bm.BlockPlusLowRank)
        assert_matches_dense(total, D + np.diag(d))
        assert_matches_dense(total.solve(d), np.linalg.solve(D + np.diag(d), d), condition=1e3)
    full = sp.diags_array([d[:55], d, d[:58]], offsets=[-5, 0, 2])
    x = RNG.standard_normal(60)
    T = getattr(sp, form)(full)
    for lazy, dense in (
        (matrix + T, D + full), (T + matrix, D + full), (matrix - T, D - full),
        (T - matrix, full - D), (matrix @ T, D @ full), (matrix.rdot(T), full @ D),
    ):  # fmt: skip
        assert isinstance(lazy, sla.LinearOperator)
        assert not hasattr(lazy, "partition")
        assert_matches_dense(lazy @ x, dense @ x, condition=1e3)


def test_stored_zeros_off_the_diagonal_do_not_matter():
    zeros = np.zeros(4)
    rows, columns = np.arange(4), np.array([1, 0, 3, 2])
    S = sp.coo_array((zeros, (rows, columns)), shape=(60, 60)) + sp.eye_array(60)
    T = sp.dia_array((np.array([np.ones(60), np.zeros(60)]), [0, 1]), shape=(60, 60))
    for diagonal in (S, T):
        assert type(A + diagonal) is bm.BlockConstantMatrix
    duplicates = sp.coo_array((np.ones(120), (np.tile(np.arange(60), 2),) * 2), shape=(60, 60))
    assert_matches_dense(A + duplicates, A.toarray() + 2 * np.eye(60))


def test_sums_and_products_with_sparse_matrices_make_no_dense_matrix():
    n = 100_000
    big = bm.BlockConstantMatrix(bm.Partition.uniform(20, n // 20), np.eye(20) + 0.1, np.ones(20))
    S = sp.diags_array([np.ones(n - 1), np.ones(n)], offsets=[1, 0], format="csr")
    noise = sp.diags_array(np.linspace(1, 2, n))
    few = sp.csr_array(np.eye(n, 3))
    x = RNG.standard_normal(n)
    tracemalloc.start()
    total, products = big + noise, (big @ S, big.rdot(S), big + S, S - big)
    for lazy in products:
        lazy @ x
    total.solve(x), big @ few, big.rdot(few.T), sla.cg(total, x, rtol=1e-3)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert type(total) is bm.BlockFactorMatrix
    assert peak < 64 * n * 8


def test_kronecker_products_of_scipy_need_dense_arrays():
    small = bm.BlockConstantMatrix.identity([0, 0, 1])
    assert_matches_dense(sp.kron(small, np.eye(2)).toarray(), np.eye(6))
    big = bm.BlockConstantMatrix.identity(np.zeros(20_000, int))
    for f in (lambda: sp.kron(big, big), lambda: sp.kron(sp.eye_array(2), big)):
        with pytest.raises(MemoryError, match=r"takes 2\.98 GiB"):
            f()
    with pytest.raises(TypeError, match=r"np\.kron would make a dense array"):
        np.kron(big, big)
    X = RNG.standard_normal((3, 2))
    B = bm.BlockConstantMatrix([0, 0], [[3.0]], [1.0])  # as the message says
    expected = np.kron(small.toarray(), B.toarray()) @ X.ravel()
    assert_matches_dense((small @ X @ B.T).ravel(), expected)
