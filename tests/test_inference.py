"""Exact inference: against dense formulas, and calibrated in simulations."""

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
from blockmat.testing import block_matrices
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


@given(block_matrices(definite=True, dtype=float, cond=100), st.data())
def test_the_divergence_is_the_dense_one(A, data):
    n = A.shape[0]
    labels = data.draw(st.lists(st.integers(0, 2), min_size=n, max_size=n))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    X = rng.standard_normal((n + 9, n))
    B = bm.fit_samples(X, labels)
    if data.draw(st.booleans()):
        A = bm.ScaledBlockMatrix(A, rng.uniform(0.5, 2, n))
    if data.draw(st.booleans()):
        B = bm.ScaledBlockMatrix(B, rng.uniform(0.5, 2, n))
    if (A if isinstance(A, bm.BlockConstantMatrix) else A.matrix).is_aligned:
        return
    a, b = A.toarray(), B.toarray()
    expected = np.trace(np.linalg.solve(b, a)) - n + np.linalg.slogdet(b)[1]
    expected = (expected - np.linalg.slogdet(a)[1]) / 2
    result = kl_divergence(A, B)
    assert type(result) is float
    assert result == pytest.approx(expected, rel=1e-6, abs=1e-6)
    assert kl_divergence(A, A) == pytest.approx(0, abs=1e-9)


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
    (lambda: likelihood_ratio_test(X5, FINE, COARSE), ValueError, "not a refinement"),
    (lambda: likelihood_ratio_test(X5, FINE, FINE), ValueError, "not a refinement"),
    (lambda: likelihood_ratio_test(X5[:4], COARSE, FINE), ValueError, "X has 4 rows, too few for 4"),
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
