"""Sums whose base is nearly singular where the sum is not, against dense matrices.

The base of `BlockCovariance` is nearly singular if its factors explain a combination of variables.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import blockmat as bm
from blockmat.covariance import BlockCovariance
from blockmat.matrices.raised_base import LowRankSum, with_raised_base

# The inverse of the base is at most 2**4 times as large as that of the sum, and its product with n
# numbers is rounded a few times.
FACTOR = 4 * 2**4


def check_with_dense(A, is_scaled):
    """Compare with dense results if the condition number is moderate, up to a multiple of its rounding.

    With scales on both sides the condition is that of the correlations.
    """
    D = A.astype(np.float64).toarray()
    scale = np.sqrt(np.diag(D)) if is_scaled else np.ones(len(D))
    R = D / np.outer(scale, scale)
    condition, eps = np.linalg.cond(R), np.finfo(A.dtype).eps
    if condition > 1e6 or condition * eps > 1e-3:
        return
    inverse, tolerance = np.linalg.inv(R), FACTOR * eps * condition
    b = np.random.default_rng(0).standard_normal(len(D)).astype(A.dtype)
    found = A.inv()
    assert found.dtype == A.dtype
    for result, expected, times in [
        (found.toarray() * np.outer(scale, scale), inverse, 1),
        (A.solve(b * scale.astype(A.dtype)) * scale, inverse @ b, condition),
        (found.inv().toarray() / np.outer(scale, scale), R, condition),
    ]:
        largest = np.linalg.norm(expected)
        assert np.linalg.norm(result - expected) <= times * tolerance * largest
    logdet = np.linalg.slogdet(D)[1]
    assert abs(A.logdet() - logdet) <= tolerance * (len(D) + abs(logdet))
    C = A.astype(np.float64)
    assert C.is_positive_definite()
    root = C.whiten(np.diag(scale)).T  # W S, and W^T W is the inverse
    rounding = FACTOR * np.finfo(float).eps * condition
    assert np.linalg.norm(root.T @ root - inverse) <= rounding * np.linalg.norm(inverse)
    root = C.colorize(np.eye(len(D))).T / scale[:, None]
    assert np.linalg.norm(root @ root.T - R) <= rounding * np.linalg.norm(R)


CASES = [
    (6, 6, 1, 200),
    (6, 6, 5, 200),
    (6, 3, 2, 200),
    (5, 4, 2, 50),
    (100, 6, 2, 8),
    (2, 1, 1, 9),
]


@pytest.mark.parametrize(("n", "k", "n_factors", "n_samples"), CASES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shrinkage", [None, 0.2, 0.5, 0.8, "nonlinear"])
@pytest.mark.parametrize("is_scaled", [False, True])
def test_covariances_with_factors_are_inverted(
    n, k, n_factors, n_samples, dtype, shrinkage, is_scaled
):
    X = np.random.default_rng(0).standard_normal((n_samples, n)).astype(dtype)
    model = BlockCovariance(
        np.arange(n) % k, n_factors=n_factors, shrinkage=shrinkage, scaled=is_scaled
    )
    check_with_dense(model.fit(X).operator_, is_scaled)


@given(st.data(), st.integers(0, 10**6), st.integers(2, 20), st.integers(4, 50))
def test_all_covariances_are_inverted(data, seed, n, n_samples):
    rng = np.random.default_rng(seed)
    shrinkage = data.draw(st.sampled_from([None, 0.02, 0.5, "nonlinear"]))
    k = data.draw(st.integers(1, min(n, n_samples - 1)))
    n_factors = data.draw(st.integers(0, min(n - 1, n_samples - 1)))
    is_scaled = data.draw(st.booleans())
    X = rng.standard_normal((n_samples, n)) + rng.standard_normal((n_samples, 1))
    X = (X * np.exp(rng.standard_normal(n))).astype(data.draw(st.sampled_from(["f4", "f8"])))
    labels = rng.permutation(np.arange(n) % k)
    model = BlockCovariance(labels, n_factors=n_factors, shrinkage=shrinkage, scaled=is_scaled)
    check_with_dense(model.fit(X).operator_, is_scaled)


def test_a_score_of_float32_is_that_of_the_dense_matrix():
    X = np.random.default_rng(0).standard_normal((200, 6))
    X[::7, 2] = np.nan
    complete = X[~np.isnan(X).any(axis=1)].astype(np.float32)
    model = BlockCovariance(range(6), n_factors=1, shrinkage=None, missing="em").fit(complete)
    D = model.covariance_.astype(np.float64)
    for x in X[[0, 1]]:
        seen = ~np.isnan(x)
        R, z = D[np.ix_(seen, seen)], (x - model.location_)[seen]
        expected = -0.5 * (
            seen.sum() * np.log(2 * np.pi) + np.linalg.slogdet(R)[1] + z @ np.linalg.solve(R, z)
        )
        # location_ is rounded to float32
        assert model.score(x[None]) == pytest.approx(expected, rel=1e-6)


SMALL = [1e-9, 0.0, -1e-9]


def nearly_singular(small, is_independent, is_scaled):
    """A base with small eigenvalues between and within blocks, and columns that make up for them."""
    rng = np.random.default_rng(0)
    p = bm.Partition.from_labels([0, 1, 1, 1, 2, 0, 2, 2, 2, 0])
    own = np.array([small, 2.0, 3.0])
    E = np.eye(3) if is_independent else np.linalg.qr(rng.standard_normal((3, 3)))[0]
    M = own if is_independent else (E * own) @ E.T
    base = bm.BlockConstantMatrix(p, M, [0.5, small, 1.0])
    mean = (E[:, 0] / np.sqrt(p.sizes))[p.labels]
    deviations = np.zeros((10, 2))
    deviations[p.labels == 1] = [[1.0, 1.0], [-1.0, 1.0], [0.0, -2.0]]
    V = np.column_stack([mean, deviations, rng.standard_normal(10)])
    scale = np.exp(rng.standard_normal(10))
    if is_scaled:
        return bm.ScaledBlockMatrix(base, scale), V * scale[:, None]
    return base, V


@pytest.mark.parametrize("small", SMALL)
@pytest.mark.parametrize("is_independent", [False, True])
@pytest.mark.parametrize("is_scaled", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_small_eigenvalues_of_the_base_are_raised(small, is_independent, is_scaled, dtype):
    base, V = nearly_singular(small, is_independent, is_scaled)
    A = bm.BlockPlusLowRank(base, V).astype(dtype)
    check_with_dense(A, is_scaled)
    given = LowRankSum(A.base, A.factor.astype(float), A.core.astype(float))
    raised = with_raised_base(given)
    assert raised.core.shape == (7, 7)  # one mean and two deviations more
    matrix = raised.base.matrix if is_scaled else raised.base
    values = matrix.eigvalsh()[0]
    # variances of blocks are at most 4.5 and at least 1, so units change eigenvalues by a factor
    assert values.min() > 0.1
    expected = A.astype(float).toarray()
    result = raised.base.toarray() + raised.factor @ raised.core @ raised.factor.T
    np.testing.assert_allclose(result, expected, atol=1e-14 * np.abs(expected).max())


def test_sums_that_are_nearly_singular_keep_their_base():
    """Raising would round what is left of such a sum."""
    base, V = nearly_singular(1e-9, False, False)
    for factor in (V[:, :2], V[:, 1:3], V[:, 3:], 1e-5 * V):
        given = LowRankSum(base, factor, np.eye(factor.shape[1]))
        assert with_raised_base(given) is given


def test_other_bases_stay():
    aligned = bm.BlockConstantMatrix([0, 0, 1, 1], np.eye(2), np.eye(2))
    factor = bm.BlockFactorMatrix([0, 0, 1, 1], np.eye(2), noise=1.0)
    for base in (aligned, factor, bm.BlockConstantMatrix([0, 0, 1, 1], np.eye(2), [2.0, 1.0])):
        given = LowRankSum(base, np.ones((4, 1)), np.ones((1, 1)))
        assert with_raised_base(given) is given


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shrinkage", [None, 0.5, "nonlinear"])
@pytest.mark.parametrize("n_factors", [1, 3, 5])
def test_covariances_are_conditioned(dtype, shrinkage, n_factors):
    X = np.random.default_rng(0).standard_normal((200, 6)).astype(dtype)
    A = BlockCovariance(range(6), n_factors=n_factors, shrinkage=shrinkage).fit(X).operator_
    D = A.astype(np.float64).toarray()
    seen, rest = np.array([0, 2, 3]), np.array([1, 4, 5])
    values = np.array([1.0, -0.5, 2.0])
    gain = D[np.ix_(rest, seen)] @ np.linalg.inv(D[np.ix_(seen, seen)])
    mean, covariance = A.condition(seen, values)
    tolerance = FACTOR * np.finfo(dtype).eps * np.linalg.cond(D) * np.linalg.norm(D)
    np.testing.assert_allclose(mean, gain @ values, atol=3 * tolerance)
    expected = D[np.ix_(rest, rest)] - gain @ D[np.ix_(seen, rest)]
    np.testing.assert_allclose(covariance.toarray(), expected, atol=tolerance)


def test_eigenvalues_that_the_sum_has_too_are_not_raised():
    E = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]
    p = bm.Partition.from_labels([0, 0, 1, 1, 2, 2])
    base = bm.BlockConstantMatrix(p, (E * [1e-3, 2.0, 3.0]) @ E.T, np.ones(3))
    given = LowRankSum(base, np.array([[1.0, -1.0, 0, 0, 0, 0]]).T, np.eye(1))
    assert with_raised_base(given) is given
    tiny = bm.BlockConstantMatrix(p, (E * [1e-12, 2.0, 3.0]) @ E.T, [1.0, 1e-9, 1.0])
    given = LowRankSum(tiny, (E[:, :1] / np.sqrt(2))[p.labels], np.eye(1))
    assert with_raised_base(given) is given


def test_more_small_eigenvalues_than_directions_are_not_raised():
    """Their Rayleigh quotients in the sum may be large, but one of the sum is small."""
    p = bm.Partition.from_labels([0, 0, 1, 1, 2, 2])
    base = bm.BlockConstantMatrix(p, np.diag([1e-6, 1e-6, 3.0]), np.ones(3))
    given = LowRankSum(base, np.array([[1.0, 1, 1, 1, 0, 0]]).T, np.eye(1))
    assert with_raised_base(given) is given


@pytest.mark.parametrize("number", [-3.0, -1.0, 1e308])
def test_sums_without_positive_finite_variances_keep_their_base(number):
    base = bm.BlockConstantMatrix.identity([0, 1, 1])
    given = LowRankSum(base, np.array([[1.0, 0, 0], [1.0, 0, 0]]).T, np.diag([number, number]))
    with np.errstate(invalid="raise", divide="raise", over="ignore"):
        assert with_raised_base(given) is given


def test_blocks_of_one_variable_have_no_small_deviations():
    base = bm.BlockConstantMatrix([0, 1, 2], np.diag([1.0, 2.0, 3.0]) + 0.1)
    given = LowRankSum(base, np.ones((3, 1)), np.eye(1))
    assert with_raised_base(given) is given


@pytest.mark.parametrize("seed", range(60))
def test_indefinite_sums_on_nearly_singular_bases_are_the_dense_ones(seed):
    """Also on bases that are exactly singular; sums whose condition is above 1e5 are left out."""
    rng = np.random.default_rng(seed)
    n, k = int(rng.integers(2, 14)), int(rng.integers(1, 5))
    labels = rng.integers(0, k, n)
    p = bm.Partition.from_labels(labels)
    M = rng.normal(size=(p.n_blocks, p.n_blocks))
    d = rng.uniform(0.5, 2, p.n_blocks) * 10.0 ** -rng.integers(0, 22, p.n_blocks)
    d *= rng.choice([0, 1, 1, -1], p.n_blocks) * (p.sizes > 1)
    V = rng.normal(size=(n, int(rng.integers(1, n + 1))))
    C = np.diag(rng.choice([-1.0, 1.0], V.shape[1]))
    A = bm.BlockPlusLowRank(bm.BlockConstantMatrix(p, M @ M.T, d), V, C)
    D = A.toarray()
    condition = np.linalg.cond(D)
    if condition > 1e5:
        return
    # Parts of the size of the sum's largest eigenvalue, whose roundings the condition multiplies.
    tolerance = 4096 * np.finfo(float).eps * condition
    inverse, b = np.linalg.inv(D), rng.normal(size=n)
    size = np.abs(inverse).max()
    np.testing.assert_allclose(A.inv().toarray(), inverse, atol=tolerance * size)
    x = np.linalg.solve(D, b)
    np.testing.assert_allclose(A.solve(b), x, atol=tolerance * np.abs(x).max())
    sign, logdet = np.linalg.slogdet(D)
    assert A.slogdet()[0] == sign
    assert A.slogdet()[1] == pytest.approx(logdet, abs=tolerance * n)
