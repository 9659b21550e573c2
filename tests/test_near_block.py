"""Square matrices that are not block-constant: samples, fits, errors, and what is refused."""

import mpmath
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse.linalg import aslinearoperator
from scipy.stats import multivariate_normal

import blockmat as bm
from blockmat.fitting import approximation as approximation_module
from blockmat.testing import assert_matches_dense, block_matrices, partitions, project_dense
from tests.cases import PARTITIONS, exact, make

KINDS = (
    "scaled", "scaled aligned", "factor", "factor independent", "low rank", "low rank on scaled",
    "low rank on factor", "inverse low rank", "wide",
)  # fmt: skip
DTYPES = (np.float32, np.float64)


def example(kind, dtype, partition="shuffled", seed=0):
    """A positive definite matrix of each kind, and the dense one in double precision."""
    rng = np.random.default_rng(seed)
    p = PARTITIONS[partition]
    B = make(p, dtype, aligned="aligned" in kind, hermitian=True, seed=seed)
    dense = B.astype(np.float64).toarray()
    scale = (0.5 + rng.random(p.n)).astype(dtype)
    if "scaled" in kind:
        scale *= rng.choice([-1, 1], p.n)
        B = bm.ScaledBlockMatrix(B, scale)
        dense = dense * scale[:, None].astype(float) * scale.astype(float)
    if "factor" in kind:
        covariance = dense[np.ix_(p.order[p.offsets[:-1]], p.order[p.offsets[:-1]])].astype(dtype)
        if "independent" in kind:
            covariance = np.diagonal(covariance)
        noise = (0.5 + rng.random(p.n)).astype(dtype)
        B = bm.BlockFactorMatrix(p, covariance, noise, scale)
        C = covariance if covariance.ndim == 2 else np.diag(covariance)
        dense = np.diag(noise.astype(float)) + C.astype(float)[p.labels][:, p.labels] * np.outer(
            scale.astype(float), scale
        )
    if not kind.startswith(("low", "inverse", "wide")):
        return B, dense
    rank = p.n + 2 if kind == "wide" else 3
    factor = rng.standard_normal((p.n, rank)).astype(dtype)
    root = rng.standard_normal((rank, rank)) / rank
    core = (root @ root.T + np.eye(rank)).astype(dtype)
    A = bm.BlockPlusLowRank(B, factor, core)
    dense = dense + factor.astype(float) @ core.astype(float) @ factor.T.astype(float)
    return (A.inv(), np.linalg.inv(dense)) if kind == "inverse low rank" else (A, dense)


@pytest.mark.parametrize("kind", KINDS)
def test_samples_have_the_covariance(kind):
    A, D = example(kind, np.float64)
    draws = multivariate_normal.rvs(cov=A.as_covariance(), size=40_000, random_state=0)
    scale = np.sqrt(np.outer(np.diag(D), np.diag(D)))
    # Four standard errors of a correlation from 40,000 samples.
    np.testing.assert_allclose(np.cov(draws, rowvar=False) / scale, D / scale, atol=0.03)


FITS = [{"numbers": 1}, {"numbers": 2}, {"aligned": True}]


@given(
    st.sampled_from(KINDS),
    st.sampled_from(DTYPES),
    st.sampled_from([name for name in PARTITIONS if name != "singletons"]),
    st.integers(0, 99),
    st.sampled_from(FITS),
    st.data(),
)
def test_fits_and_errors_are_those_of_the_dense_matrix(kind, dtype, partition, seed, fit, data):
    """On any partition, without anything random: to rounding, as the matrix itself is known."""
    S, D = example(kind, dtype, partition, seed)
    if kind == "inverse low rank":
        D = S.astype(np.float64).toarray()
    q = data.draw(partitions(min_n=len(D), max_n=len(D)))
    A, stderr = bm.fit(S, q, **fit, return_stderr=True)
    tolerance = 100 * np.finfo(dtype).eps
    assert A.dtype == dtype
    assert_matches_dense(A, project_dense(D, q, **fit), rtol=tolerance)
    assert (stderr == 0).all()
    np.testing.assert_array_equal(A.within, bm.fit(S, q, **fit, n_probes=1).within)
    B = make(q, dtype, aligned=data.draw(st.booleans()), hermitian=data.draw(st.booleans()))
    for approximation in (A, B, 0 * A):
        difference = D - approximation.astype(np.float64).toarray()
        expected = np.linalg.norm(difference) / np.linalg.norm(D)
        error = bm.approximation_error(S, approximation)
        assert error == pytest.approx(expected, rel=1e-10, abs=1e-7)


@given(st.one_of(block_matrices(dtype=complex), block_matrices(dtype=float)), st.integers(0, 99))
def test_the_fit_of_any_scaled_matrix_is_exact(B, seed):
    rng = np.random.default_rng(seed)
    S = bm.ScaledBlockMatrix(B, rng.uniform(0.1, 10, B.shape[0]))
    labels = rng.integers(0, 3, B.shape[0])
    A = bm.fit(S, labels)
    assert_matches_dense(A, project_dense(S.toarray(), labels), rtol=1e-12)
    norm = np.linalg.norm(S.toarray())
    expected = np.linalg.norm(S.toarray() - A.toarray()) / norm
    # What the diagonal would be without its own number is subtracted, in squares.
    taken = np.linalg.norm(S.scale**2 * B.values.diagonal()[B.partition.labels]) / norm
    slack = np.sqrt(30 * np.finfo(float).eps) * (1 + taken)
    assert bm.approximation_error(S, A) == pytest.approx(expected, rel=1e-9, abs=slack)


@pytest.mark.parametrize("size", [1e-2, 1e-4, 1e-6])
@pytest.mark.parametrize("low_rank", [False, True])
def test_small_errors_of_structured_matrices_keep_their_digits(size, low_rank):
    """What makes the matrix other than block-constant is small, and the error exact beside it.

    The squares that cancel, those of the diagonal, are at most of the size of the result, so
    it is known to a multiple of eps / size.
    """
    rng = np.random.default_rng(0)
    p = bm.Partition.from_sizes([5, 7, 1])
    B = make(p, np.float64, aligned=False, hermitian=True)
    scale = 1 + size * rng.standard_normal(p.n)
    S = bm.ScaledBlockMatrix(B, scale)
    if low_rank:
        S = bm.BlockPlusLowRank(S, np.sqrt(size) * rng.standard_normal((p.n, 2)))
    A = bm.fit(S, p)
    with mpmath.workdps(40):
        # The stored numbers, exactly, and no rounding but that of the result.
        dense = exact(B)
        dense = mpmath.matrix(
            [[scale[i] * dense[i, j] * scale[j] for j in range(p.n)] for i in range(p.n)]
        )
        if low_rank:
            V = mpmath.matrix(S.factor.tolist())
            dense += V * V.T
        expected = mpmath.norm(dense - exact(A), 2) / mpmath.norm(dense, 2)
    error = bm.approximation_error(S, A)
    assert error == pytest.approx(float(expected), rel=100 * np.finfo(float).eps / size)
    assert expected < 10 * size


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_structured_matrix_that_is_block_constant_has_no_error(dtype):
    B = make(PARTITIONS["shuffled"], dtype, aligned=True, hermitian=True)
    S = bm.ScaledBlockMatrix(B, np.full(B.shape[0], 2, dtype))
    C = bm.BlockPlusLowRank(B, np.ones((B.shape[0], 1), dtype))
    for source in (S, C, B):
        A = bm.fit(source, B.partition, aligned=True)
        assert bm.approximation_error(source, A) < 10 * np.finfo(dtype).eps


def test_a_diagonal_overflows_only_where_an_entry_does():
    B = bm.BlockConstantMatrix.from_values([0, 0], [[0.5e-110]], [1e-110])
    for factor, entry in ((1e200, 1e290), (1e-80, 1e-270)):
        A = bm.ScaledBlockMatrix(B, [factor, factor])
        np.testing.assert_allclose(A.diagonal(), entry, rtol=1e-14)
        np.testing.assert_allclose(A.toarray().diagonal(), A.diagonal(), rtol=1e-14)
        np.testing.assert_allclose(bm.fit(A, [0, 0]).diagonal(), entry, rtol=1e-14)


I2 = bm.BlockConstantMatrix.identity([0, 0])
I3 = bm.BlockConstantMatrix.identity([0, 0, 1])
ONES = np.ones((3, 1))
COMPLEX = I3.astype(complex)
BAD = [
    (lambda: bm.ScaledBlockMatrix(np.eye(3), [1, 1, 1]), TypeError, "matrix is a ndarray"),
    (lambda: bm.ScaledBlockMatrix(I3, [1, 1]), ValueError, "scale has length 2; expected 3"),
    (lambda: bm.ScaledBlockMatrix(I3, [1, 0, 1]), ValueError, "scale is 0.* at index 1"),
    (lambda: bm.ScaledBlockMatrix(I3, [1, np.nan, 1]), np.linalg.LinAlgError, "scale contains nan"),
    (lambda: bm.ScaledBlockMatrix(I3, [1j, 1, 1]), TypeError, "scale has dtype complex128"),
    (lambda: bm.ScaledBlockMatrix(COMPLEX, ONES[:, 0]).whiten([1, 1, 1]), TypeError, "must be real"),
    (lambda: bm.ScaledBlockMatrix(COMPLEX, ONES[:, 0]).as_covariance(), TypeError, "must be real"),
    (lambda: bm.ScaledBlockMatrix(I3, ONES[:, 0]).whiten([1, 1]), ValueError, r"x has shape \(2,\)"),
    (lambda: bm.ScaledBlockMatrix(I3, ONES[:, 0]).whiten([1j, 1, 1]), TypeError, "x has dtype"),
    (lambda: bm.ScaledBlockMatrix(0 * I3, ONES[:, 0]).inv(), np.linalg.LinAlgError, "singular"),
    (lambda: bm.ScaledBlockMatrix(-I2, [1, 1]).as_covariance(), np.linalg.LinAlgError,
     "positive"),
    (lambda: bm.ScaledBlockMatrix(bm.BlockConstantMatrix([0, 1], [[1, 2], [0, 1]]), [1, 1])
     .whiten([1, 1]), np.linalg.LinAlgError, "not symmetric"),
    (lambda: bm.BlockPlusLowRank(np.eye(3), ONES), TypeError, "base is a ndarray"),
    (lambda: bm.BlockPlusLowRank(I3, np.ones((2, 1))), ValueError, r"expected \(3, r\)"),
    (lambda: bm.BlockPlusLowRank(I3, np.ones((3, 0))), ValueError, "r >= 1"),
    (lambda: bm.BlockPlusLowRank(I3, ONES, np.eye(2)), ValueError, r"core has shape \(2, 2\)"),
    (lambda: bm.BlockPlusLowRank(COMPLEX, ONES), TypeError, "base has dtype complex128"),
    (lambda: bm.BlockPlusLowRank(I3, 1j * ONES), TypeError, "factor has dtype complex128"),
    (lambda: bm.BlockPlusLowRank(I3, ONES * np.inf), np.linalg.LinAlgError, "factor contains inf"),
    (lambda: bm.BlockPlusLowRank(I3, ONES, [[np.nan]]), np.linalg.LinAlgError, "core contains nan"),
    (lambda: bm.BlockPlusLowRank(I3, np.ones((3, 2)), [[1, 2], [0, 1]]), np.linalg.LinAlgError,
     "core is not symmetric"),
    (lambda: bm.BlockPlusLowRank(bm.BlockConstantMatrix([0, 1], [[1, 2], [0, 1]]), np.ones((2, 1))),
     np.linalg.LinAlgError, "base is not symmetric"),
    (lambda: bm.BlockPlusLowRank(I3, ONES, [[-1 / 3]]).solve([1, 1, 1]), np.linalg.LinAlgError,
     "singular to working precision"),
    (lambda: bm.BlockPlusLowRank(I3, ONES, [[-1]]).whiten([1, 1, 1]), np.linalg.LinAlgError,
     "not positive definite"),
    (lambda: bm.BlockPlusLowRank(I3, ONES, [[-1]]).logdet(), np.linalg.LinAlgError, "its sign is -1"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "message"), BAD)
def test_bad_input_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_error_of_an_approximation_of_any_class_is_the_dense_one(kind, dtype, monkeypatch):
    """To the rounding of the dtype; an exact approximation has the error of rounding only."""
    monkeypatch.setattr(approximation_module, "_AT_A_TIME", 20)  # some rows at a time
    A, D = example(kind, dtype)
    rng = np.random.default_rng(0)
    S = D + rng.standard_normal(D.shape)
    exact = np.linalg.norm(S - D) / np.linalg.norm(S)
    eps = float(np.finfo(dtype).eps)
    for source in (S, sp.csr_array(S), np.asfortranarray(S)):
        error = bm.approximation_error(source, A)
        assert type(error) is float
        assert error == pytest.approx(exact, rel=10 * eps)
    assert bm.approximation_error(A.toarray(), A) <= 10 * eps
    assert bm.approximation_error(A, A) == 0
    for unit in (1e-200, 1e200):
        if dtype == np.float64:
            assert bm.approximation_error(S * unit, A * unit) == pytest.approx(exact, rel=1e-13)
    other, E = example("scaled", dtype)
    if E.shape == D.shape:
        expected = np.linalg.norm(D - E) / np.linalg.norm(D)
        assert bm.approximation_error(A, other) == pytest.approx(expected, rel=100 * eps)
    estimate = bm.approximation_error(aslinearoperator(S), A, n_probes=400, random_state=0)
    assert estimate == pytest.approx(exact, rel=0.1)
