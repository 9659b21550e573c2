"""Exact inference: against dense formulas, and calibrated in simulations."""

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest, multivariate_normal

import blockmat as bm
from blockmat.inference import (
    ConfidenceIntervals,
    LikelihoodRatioResult,
    confidence_intervals,
    kl_divergence,
    likelihood_ratio_test,
    log_likelihood,
)
from blockmat.inference.divergence import _x_minus_log1p
from blockmat.testing import block_matrices, partitions
from tests.cases import exact, make
from tests.test_near_block import KINDS, example

COARSE = np.array([0, 0, 0, 0, 0, 1, 1, 1])
FINE = np.array([0, 0, 1, 1, 1, 2, 2, 3])


def truth():
    values = np.array([[0.6, 0.2], [0.2, 0.4]])
    return bm.BlockConstantMatrix.from_values(COARSE, values, [1.5, 1.0])


def draw(n_samples, seed):
    cov = truth().as_covariance()
    return multivariate_normal.rvs(cov=cov, size=n_samples, random_state=seed) + 2


@pytest.mark.parametrize("kind", KINDS)
def test_the_log_likelihood_is_that_of_scipy(kind):
    A, D = example(kind, np.float64)
    X = np.random.default_rng(0).standard_normal((5, len(D)))
    mean = np.arange(len(D)) / 10
    result = log_likelihood(X, A, mean)
    assert type(result) is float
    assert result == pytest.approx(multivariate_normal.logpdf(X, mean, D).sum())
    assert log_likelihood(X, A) == pytest.approx(multivariate_normal.logpdf(X, cov=D).sum())


def exact_divergence(a, b):
    """The divergence of mpmath's matrices, with the digits that the difference loses."""
    with mpmath.workdps(60):
        inverse = mpmath.inverse(b)
        trace = mpmath.fsum(inverse[i, j] * a[j, i] for i in range(a.rows) for j in range(a.rows))
        logs = mpmath.log(mpmath.det(b)) - mpmath.log(mpmath.det(a))
        return float((trace - a.rows + logs) / 2)


def exact_matrix(A):
    """The stored numbers of a matrix of any class, and no rounding."""
    with mpmath.workdps(60):
        if isinstance(A, bm.BlockPlusLowRank):
            V, C = mpmath.matrix(A.factor.tolist()), mpmath.matrix(A.core.tolist())
            return exact_matrix(A.base) + V * C * V.T
        if isinstance(A, bm.BlockFactorMatrix):
            C = A.covariance if A.covariance.ndim == 2 else np.diag(A.covariance)
            S = mpmath.diag(A.loadings.tolist())
            factors = S * mpmath.matrix(C[A.partition.labels][:, A.partition.labels].tolist()) * S
            return mpmath.diag(A.noise.tolist()) + factors
        if isinstance(A, bm.ScaledBlockMatrix):
            S = mpmath.diag(A.scale.tolist())
            return S * exact(A.matrix) * S
        return exact(A)


def changed(A, size, rng):
    """A matrix of the same structure whose numbers differ by about `size`."""

    def near(x):
        shift = size * rng.uniform(-1, 1, x.shape)
        return x * (1 + (shift + shift.T) / 2 if x.ndim == 2 else 1 + shift)

    return bm.BlockConstantMatrix(A.partition, near(A.between), near(A.within))


@given(
    block_matrices(definite=True, dtype=float, cond=100, max_n=8),
    st.integers(0, 2**32 - 1),
    st.sampled_from([1e-3, 1e-5, 1e-7, 1e-9, 0.0]),
    st.sampled_from(["none", "one", "two", "two that differ"]),
)
def test_the_divergence_of_almost_equal_matrices_is_exact(B, seed, size, scales):
    """Of the order of size^2, and known to a multiple of eps * condition / size."""
    rng = np.random.default_rng(seed)
    A = changed(B, size / 100, rng)  # so much less than the smallest eigenvalue
    scale = rng.uniform(0.5, 2, B.shape[0])
    if scales != "none":
        other = scale * (1 + size * rng.uniform(-1, 1, len(scale))) if "differ" in scales else scale
        A, B = bm.ScaledBlockMatrix(A, other), bm.ScaledBlockMatrix(B, scale)
    if scales == "one":  # of the same matrix, written in two ways
        scale = np.full(len(scale), 2.0)
        A = bm.ScaledBlockMatrix(A.matrix, scale)
        B = B.matrix * 4
    result = kl_divergence(A, B)
    assert type(result) is float
    assert result >= 0
    expected = exact_divergence(exact_matrix(A), exact_matrix(B))
    # Where scales differ inside aligned blocks, it is left of the difference of determinants.
    lost = isinstance(A, bm.ScaledBlockMatrix) and A.matrix.is_aligned and "differ" in scales
    rounding = np.finfo(float).eps * (1 if lost else max(size, np.finfo(float).eps))
    assert result == pytest.approx(expected, rel=1e-9, abs=100 * rounding)


@given(block_matrices(definite=True, dtype=float, cond=100, max_n=8), st.data())
def test_the_divergence_is_the_dense_one(A, data):
    """Whatever the classes and the partitions, aligned or not."""
    n = A.shape[0]
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    B = make(
        data.draw(partitions(min_n=n, max_n=n)), float, data.draw(st.booleans()), hermitian=True
    )
    pair = [A, B]
    for i in (0, 1):
        kind = data.draw(st.sampled_from(["", "scaled", "factor", "independent"]))
        kind += data.draw(st.sampled_from(["", " low rank"]))
        if "scaled" in kind:
            pair[i] = bm.ScaledBlockMatrix(pair[i], rng.uniform(0.5, 2, n))
        if "factor" in kind or "independent" in kind:
            p = pair[i].partition
            C = (pair[i] @ np.eye(n))[np.ix_(p.order[p.offsets[:-1]], p.order[p.offsets[:-1]])]
            C = np.diagonal(C) if "independent" in kind else (C + C.T) / 2
            loadings = rng.uniform(-1, 1, n)
            pair[i] = bm.BlockFactorMatrix(p, C, rng.uniform(0.5, 2, n), loadings)
        if "low rank" in kind:
            pair[i] = bm.BlockPlusLowRank(pair[i], rng.standard_normal((n, 2)))
    A, B = pair
    result = kl_divergence(A, B)
    assert type(result) is float
    assert result >= 0
    expected = exact_divergence(exact_matrix(A), exact_matrix(B))
    assert result == pytest.approx(expected, rel=1e-10, abs=1e-11)
    assert kl_divergence(A, A) == pytest.approx(0, abs=1e-11)
    if not isinstance(A, bm.BlockPlusLowRank | bm.BlockFactorMatrix):
        assert kl_divergence(A, A) == 0


@pytest.mark.parametrize("rho", [0.5, 1 - 1e-9, 1 - 1e-13])
@pytest.mark.parametrize("labels", [[0] * 1000, [0] * 600 + [1] * 400])
def test_the_divergence_of_ill_conditioned_matrices_keeps_its_digits(rho, labels):
    B = bm.BlockConstantMatrix([0] * 1000, [[1 + 999 * rho]], [1 - rho])
    A = bm.BlockConstantMatrix(B.partition, B.between, B.within * 1.000001)
    with mpmath.workdps(40):  # of the stored numbers
        x = mpmath.mpf(float(A.within[0])) / mpmath.mpf(float(B.within[0])) - 1
        expected = float(999 * (x - mpmath.log1p(x)) / 2)
    # The difference of the two within numbers is exact, so all that follows is, to rounding.
    assert kl_divergence(A, B) == pytest.approx(expected, rel=1e-14)
    same = bm.ScaledBlockMatrix(A, np.ones(1000))
    assert kl_divergence(same, B) == pytest.approx(expected, rel=1e-14)
    if rho == 0.5:  # otherwise one eigenvalue of the finer matrix is rounding
        assert kl_divergence(A.refine(labels), B) == pytest.approx(expected, rel=1e-6)


@given(st.floats(-1 + 1e-9, 1e3) | st.floats(-1e-3, 1e-3) | st.floats(-1e-12, 1e-12))
def test_what_an_eigenvalue_adds_is_known_to_rounding(x):
    with mpmath.workdps(60 + 2 * 330):
        expected = float(mpmath.mpf(x) - mpmath.log1p(mpmath.mpf(x)))
    tiny = np.finfo(float).tiny
    assert _x_minus_log1p(np.array([x]))[0] == pytest.approx(expected, rel=3e-15, abs=tiny)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("wrong", ["A", "B"])
@pytest.mark.parametrize("scaled", [False, True])
def test_the_divergence_of_an_indefinite_matrix_is_refused_whatever_its_determinant(
    dtype, wrong, scaled
):
    good = bm.BlockConstantMatrix.identity([0, 0, 0, 1]).astype(dtype)
    for between, within, error in (
        ([[-1, 0], [0, 1]], [1, 0], bm.exceptions.IndefiniteMatrixError),
        ([[1, 0], [0, 1]], [-1, 0], bm.exceptions.IndefiniteMatrixError),  # twice: determinant 1
        ([[-1, 0], [0, -1]], [1, 0], bm.exceptions.IndefiniteMatrixError),  # determinant 1
        ([[1, 1], [1, 1]], [1, 0], bm.exceptions.SingularMatrixError),
        ([[1, 0], [0, 1]], [0, 0], bm.exceptions.SingularMatrixError),
    ):
        bad = bm.BlockConstantMatrix([0, 0, 0, 1], between, within).astype(dtype)
        if scaled:
            bad = bm.ScaledBlockMatrix(bad, np.arange(1, 5, dtype=dtype))
        with pytest.raises(error, match=f"^{wrong} (is singular|has negative)"):
            kl_divergence(*((bad, good) if wrong == "A" else (good, bad)))
    low_rank = bm.BlockPlusLowRank(good, np.ones((4, 1), dtype), -np.ones((1, 1), dtype))
    with pytest.raises(bm.exceptions.IndefiniteMatrixError):
        kl_divergence(*((low_rank, good) if wrong == "A" else (good, low_rank)))


def test_intervals_for_the_fit_of_a_correlation_matrix_are_too_long():
    """As their documentation says: almost every interval contains the truth, not 95 %."""
    values = [[0.6, 0.2], [0.2, 0.4]]
    truth = bm.BlockConstantMatrix.from_values(COARSE, values, [1, 1])
    cov, rng, inside = truth.as_covariance(), np.random.default_rng(0), []
    for _ in range(500):
        X = cov.colorize(rng.standard_normal((100, 8)))
        fit = bm.fit_samples((X - X.mean(0)) / X.std(0), COARSE, ddof=0, assume_centered=True)
        low, high = np.moveaxis(confidence_intervals(fit, 99).values, -1, 0)
        inside.append((low <= values) & (values <= high))
    assert (np.diag(np.mean(inside, axis=0)) > 0.985).all()


@pytest.mark.parametrize("assume_centered", [False, True])
@pytest.mark.parametrize("n_samples", [7, 40])
def test_p_values_are_uniform_if_the_coarse_partition_is_true(n_samples, assume_centered):
    shift = 2 if assume_centered else 0
    results = [
        likelihood_ratio_test(
            draw(n_samples, seed) - shift, COARSE, FINE, assume_centered=assume_centered
        )
        for seed in range(400)
    ]
    assert {r.df for r in results} == {13 - 5}
    assert type(results[0]) is LikelihoodRatioResult
    assert type(results[0].pvalue) is float
    assert np.mean([r.statistic for r in results]) == pytest.approx(8, abs=0.5)
    assert kstest([r.pvalue for r in results], "uniform").pvalue > 0.02


def test_the_statistic_is_the_likelihood_ratio_times_a_factor_of_sizes_only():
    factors = []
    for seed in range(3):
        X = draw(30, seed)
        best = [log_likelihood(X, bm.fit_samples(X, p, ddof=0), X.mean(0)) for p in (COARSE, FINE)]
        factors.append(likelihood_ratio_test(X, COARSE, FINE).statistic / (2 * (best[1] - best[0])))
    np.testing.assert_allclose(factors, factors[0])
    assert 0.8 < factors[0] < 1


def test_a_false_coarse_partition_is_rejected():
    X = draw(60, 0)
    X[:, :2] *= 2
    assert likelihood_ratio_test(X, COARSE, FINE).pvalue < 1e-6


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_intervals_contain_the_truth_as_often_as_they_say(level):
    A, cov, rng = truth(), truth().as_covariance(), np.random.default_rng(0)
    n = 1000
    inside = {"values": 0, "between": 0, "within": 0}
    for _ in range(n):
        X = cov.colorize(rng.standard_normal((31, 8)))
        intervals = confidence_intervals(bm.fit_samples(X, COARSE), 30, level)
        for name in inside:
            low, high = np.moveaxis(getattr(intervals, name), -1, 0)
            inside[name] = inside[name] + ((low <= getattr(A, name)) & (getattr(A, name) <= high))
    assert type(intervals) is ConfidenceIntervals
    for name in inside:
        np.testing.assert_allclose(inside[name] / n, level, atol=0.035, err_msg=name)


def test_a_block_of_one_has_no_interval_inside():
    X = draw(50, 0)
    A = bm.fit_samples(X, FINE)
    intervals = confidence_intervals(A, 49)
    k = 4
    assert [x.shape for x in intervals] == [(k, k, 2), (k, k, 2), (k, 2)]
    assert np.isnan(intervals.within[3]).all()
    assert np.isnan(intervals.values[3, 3]).all()
    assert np.isfinite(np.delete(intervals.within, 3, axis=0)).all()
    assert np.isfinite(intervals.between).all()
    np.testing.assert_allclose(intervals.values, intervals.values.swapaxes(0, 1))
    ends = intervals.values[~np.isnan(intervals.values).any(-1)]
    assert (ends[:, 0] < ends[:, 1]).all()


def test_more_samples_give_shorter_intervals():
    A = truth()
    wide, short = (np.ptp(confidence_intervals(A, df).values, axis=-1) for df in (20, 2000))
    assert (short < wide / 8).all()


I3 = bm.BlockConstantMatrix.identity([0, 0, 1])
SKEW = bm.BlockConstantMatrix([0, 1, 1], [[1, 2], [0, 1]], [0, 1])
X5 = draw(5, 0)
BAD = [
    (lambda: log_likelihood(np.ones((2, 2)), I3), ValueError, "X has 2 columns; expected 3"),
    (lambda: log_likelihood(np.ones((2, 3)), I3, [1, 2]), ValueError, r"mean has shape \(2,\)"),
    (lambda: log_likelihood(np.ones((2, 3)) * 1j, I3), TypeError, "X has dtype complex128"),
    (lambda: log_likelihood(np.ones((2, 3)), I3, np.nan), np.linalg.LinAlgError, "mean contains"),
    (lambda: log_likelihood(np.ones((2, 3)), 0 * I3), np.linalg.LinAlgError, "determinant is zero"),
    (lambda: kl_divergence(I3, truth()), ValueError, r"B has shape \(8, 8\); expected \(3, 3\)"),
    (lambda: kl_divergence(1j * I3, I3), TypeError, "A has dtype complex128"),
    (lambda: kl_divergence(I3, SKEW), np.linalg.LinAlgError, "B is not symmetric"),
    (lambda: kl_divergence(0 * I3, I3), np.linalg.LinAlgError, "determinant is zero"),
    (lambda: kl_divergence(np.eye(3), I3), TypeError, "A is a ndarray of shape .*; expected a square"),
    (lambda: log_likelihood(np.ones((2, 3)), np.eye(3)), TypeError, "covariance is a ndarray"),
    (lambda: likelihood_ratio_test(X5, FINE, COARSE), ValueError, "not a refinement"),
    (lambda: likelihood_ratio_test(X5, FINE, FINE), ValueError, "not a refinement"),
    (lambda: likelihood_ratio_test(X5[:4], COARSE, FINE), ValueError, "X has 4 samples, too few for 4"),
    (lambda: likelihood_ratio_test(X5, [0], FINE), ValueError, "coarse has 1 labels"),
    (lambda: confidence_intervals(np.eye(2), 9), TypeError, "A is a ndarray"),
    (lambda: confidence_intervals(1j * I3, 9), TypeError, "A has dtype complex128"),
    (lambda: confidence_intervals(SKEW, 9), np.linalg.LinAlgError, "A is not symmetric"),
    (lambda: confidence_intervals(I3, 0), ValueError, "df is 0; expected at least 1"),
    (lambda: confidence_intervals(I3, 9, 1.0), ValueError, "level is 1.0"),
    (lambda: confidence_intervals(bm.BlockConstantMatrix([0, 0], [[1]], [[1]]), 9), ValueError,
     "aligned"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "message"), BAD)
def test_bad_input_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_five_samples_are_enough_for_four_blocks():
    assert 0 <= likelihood_ratio_test(X5, COARSE, FINE).pvalue <= 1
