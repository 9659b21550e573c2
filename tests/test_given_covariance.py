"""Inference from a covariance matrix with its number of samples, and from weighted samples."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest, ortho_group

import blockmat as bm
from blockmat.exceptions import NonFiniteError, NotHermitianError, ShapeError
from blockmat.inference import likelihood_ratio_test, log_likelihood
from blockmat.inference.spread import spread_of, spread_of_covariance
from blockmat.testing import partitions
from tests.test_inference import COARSE, FINE, draw, truth
from tests.test_near_block import KINDS, example

X = draw(40, 0)
S = np.cov(X, rowvar=False, ddof=0)
R = np.corrcoef(X, rowvar=False)
WEIGHTS = np.random.default_rng(1).integers(0, 4, 40)


@pytest.mark.parametrize("kind", KINDS)
def test_the_log_likelihood_of_a_covariance_is_that_of_the_samples(kind):
    A, D = example(kind, np.float64)
    samples = np.random.default_rng(0).standard_normal((9, len(D))) + 1
    mean = samples.mean(axis=0)
    covariance = (samples - mean).T @ (samples - mean) / 9
    result = log_likelihood(covariance, A, n_samples=9)
    assert type(result) is float
    assert result == pytest.approx(log_likelihood(samples, A, mean), rel=1e-10)


@pytest.mark.parametrize("n_samples", [300, 10**4, 10**8, 10**13, 10**20])
def test_the_correction_is_exact_for_any_number_of_samples(n_samples):
    """With its formula in 50 digits; in double precision it cancels for many samples."""
    mpmath = pytest.importorskip("mpmath")
    S = np.eye(8) + 0.3
    S[:2, :2] += 0.01
    result = likelihood_ratio_test(S, COARSE, FINE, n_samples=n_samples)
    ratio = bm.fit(S, COARSE).logdet() - bm.fit(S, FINE).logdet()
    with mpmath.workdps(50):

        def expected(labels):
            sizes, df = np.unique(labels, return_counts=True)[1].tolist(), mpmath.mpf(n_samples - 1)
            total = sum(mpmath.psi(0, (df - i) / 2) for i in range(len(sizes)))
            m = [size - 1 for size in sizes if size > 1]
            return total + sum(x * (mpmath.psi(0, df * x / 2) - mpmath.log(x)) for x in m)

        factor = result.df / float(n_samples * (expected(COARSE) - expected(FINE)))
    assert result.statistic == pytest.approx(n_samples * ratio * factor, rel=1e-9)


def test_the_test_of_a_covariance_is_that_of_the_samples():
    expected = likelihood_ratio_test(X, COARSE, FINE)
    for divisor in (1, 40 / 39, 1e-30):  # of no consequence
        result = likelihood_ratio_test(S * divisor, COARSE, FINE, n_samples=40)
        assert result.df == expected.df
        assert result.statistic == pytest.approx(expected.statistic, rel=1e-10)
    known = likelihood_ratio_test(X - 2, COARSE, FINE, assume_centered=True)
    second = (X - 2).T @ (X - 2) / 40
    result = likelihood_ratio_test(second, COARSE, FINE, n_samples=40, assume_centered=True)
    assert result.statistic == pytest.approx(known.statistic, rel=1e-10)


def test_the_test_of_correlations_is_that_of_scaled_samples():
    expected = likelihood_ratio_test(X * np.arange(1, 9), COARSE, FINE, scaled=True)
    assert expected.df == 8 - 2  # there are two more blocks, and their variances do not count
    for matrix, scaled in ((R, False), (R, True), (S, True)):
        result = likelihood_ratio_test(matrix, COARSE, FINE, n_samples=40, scaled=scaled)
        assert result.df == expected.df
        assert result.statistic == pytest.approx(expected.statistic, rel=1e-10)


@pytest.mark.parametrize("n_samples", [12, 100])
def test_p_values_of_correlations_are_nearly_uniform(n_samples):
    results = [
        likelihood_ratio_test(
            np.corrcoef(draw(n_samples, seed), rowvar=False), COARSE, FINE, n_samples=n_samples
        )
        for seed in range(400)
    ]
    assert np.mean([r.statistic for r in results]) == pytest.approx(6, abs=0.5)
    assert kstest([r.pvalue for r in results], "uniform").pvalue > 0.01


def test_frequency_weights_are_repeated_samples():
    repeated = X.repeat(WEIGHTS, axis=0)
    for scaled in (False, True):
        expected = likelihood_ratio_test(repeated, COARSE, FINE, scaled=scaled)
        result = likelihood_ratio_test(X, COARSE, FINE, sample_weight=WEIGHTS, scaled=scaled)
        assert result == pytest.approx(expected, rel=1e-9)
    A = truth()
    expected = log_likelihood(repeated, A, 1.0)
    assert log_likelihood(X, A, 1.0, sample_weight=WEIGHTS) == pytest.approx(expected, rel=1e-12)
    for p in (None, FINE):
        expected = bm.optimal_shrinkage(repeated, p)
        assert bm.optimal_shrinkage(X, p, sample_weight=WEIGHTS) == pytest.approx(expected)


def test_reliability_weights_have_no_unit_and_equal_ones_change_nothing():
    w = np.random.default_rng(0).uniform(0.5, 2, 40)
    A = truth()
    for function in (
        lambda **options: likelihood_ratio_test(X, COARSE, FINE, **options),
        lambda **options: log_likelihood(X, A, **options),
        lambda **options: bm.optimal_shrinkage(X, FINE, **options),
    ):
        options = {"weight_type": "reliability"}
        first = function(sample_weight=w, **options)
        assert function(sample_weight=1e9 * w, **options) == pytest.approx(first, rel=1e-10)
        assert first != pytest.approx(function(), rel=1e-3)
        plain = function(sample_weight=np.full(40, 7.0), **options)
        assert plain == pytest.approx(function(), rel=1e-10)
    n_effective = w.sum() ** 2 / (w**2).sum()
    total = log_likelihood(X, A, sample_weight=w) / w.sum() * n_effective
    result = log_likelihood(X, A, sample_weight=w, weight_type="reliability")
    assert result == pytest.approx(total, rel=1e-12)


@given(partitions(min_n=2, max_n=7), st.integers(0, 99), st.booleans())
def test_the_spread_is_the_gaussian_fourth_moment(p, seed, to_identity):
    """E |(x x^T)_perp|^2 from all moments E x_i x_j x_k x_l, and the rest from S."""
    rng = np.random.default_rng(seed)
    root = rng.standard_normal((p.n, p.n))
    S, n, df = root @ root.T, p.n, 9
    fourth = np.einsum("ij,kl->ijkl", S, S) + np.einsum("ik,jl->ijkl", S, S)
    fourth += np.einsum("il,jk->ijkl", S, S)
    basis = np.eye(n * n).reshape(-1, n, n)
    P = np.array([bm.fit(B + B.T, p).toarray().ravel() / 2 for B in basis])  # on symmetric matrices
    off = np.eye(n * n) - (0 if to_identity else P)
    expected = (df / (df + 2)) * np.einsum("ab,ba->", off, fourth.reshape(n * n, n * n))
    own = S - (np.trace(S) / n * np.eye(n) if to_identity else bm.fit(S, p).toarray())
    distance = (own**2).sum()
    expected -= (S**2).sum() if to_identity else distance
    spread = spread_of_covariance(S, None if to_identity else p, df)
    scale = np.trace(S) ** 2
    assert spread.noise == pytest.approx(max(expected, 0), abs=1e-12 * scale)
    assert spread.distance == pytest.approx(distance, abs=1e-12 * scale)


@pytest.mark.parametrize("centre", [False, True])
@pytest.mark.parametrize("n_samples", [5, 20])
@pytest.mark.parametrize("p", [None, bm.Partition.from_labels(FINE)])
def test_the_spread_is_expected_from_gaussian_samples_with_this_covariance(p, n_samples, centre):
    """Such samples are a random rotation of the same covariance. The mean has its standard error."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((n_samples, 8)) * np.arange(1, 9)
    df = n_samples - centre
    frame = np.linalg.qr(
        np.column_stack([np.ones(n_samples), rng.standard_normal((n_samples,) * 2)])
    )
    frame = frame[0][:, centre : centre + df] if centre else np.eye(n_samples)
    S = rows[:df].T @ rows[:df] / n_samples
    draws = [
        spread_of(frame @ ortho_group.rvs(df, random_state=rng) @ rows[:df], p) for _ in range(500)
    ]
    noise, distance = np.array(draws).T
    expected = spread_of_covariance(S, p, df)
    np.testing.assert_allclose(distance, expected.distance, rtol=1e-10)
    error = noise.std() / np.sqrt(len(noise))
    assert abs(noise.mean() - expected.noise) < 4 * error
    assert error < 0.02 * expected.noise


def test_the_shrinkage_of_a_covariance_is_near_that_of_gaussian_samples():
    for p in (None, FINE):
        many = draw(2000, 3) * np.arange(1, 9)
        expected = bm.optimal_shrinkage(many, p)
        S = np.cov(many, rowvar=False)
        result = bm.optimal_shrinkage(S, p, n_samples=2000)
        assert type(result) is float
        assert result == pytest.approx(expected, rel=0.1)
        assert bm.optimal_shrinkage(1e-200 * S, p, n_samples=2000) == pytest.approx(result)
        assert bm.optimal_shrinkage(S, p, n_samples=2000, assume_centered=True) == pytest.approx(
            result, rel=1e-3
        )
    assert bm.optimal_shrinkage(truth().toarray(), COARSE, n_samples=9) == 1
    assert bm.optimal_shrinkage(np.eye(4), n_samples=9) == 0


@pytest.mark.parametrize("assume_centered", [False, True])
def test_the_shrinkage_counts_the_mean_as_a_degree_of_freedom(assume_centered):
    spread = spread_of_covariance(S, bm.Partition.from_labels(FINE), 40 - (not assume_centered))
    result = bm.optimal_shrinkage(S, FINE, n_samples=40, assume_centered=assume_centered)
    assert result == pytest.approx(spread.noise / 40 / spread.distance, rel=1e-12)
    assert result < 1


def test_names_of_a_matrix():
    names = list("abcdefgh")
    frame = pd.DataFrame(S, names, names)
    labels = pd.Series(FINE, index=names)[::-1]
    expected = likelihood_ratio_test(S, COARSE, FINE, n_samples=40)
    result = likelihood_ratio_test(frame, COARSE, labels, n_samples=40)
    assert result == pytest.approx(expected, rel=1e-10)
    with pytest.raises(ValueError, match="names in another order"):
        likelihood_ratio_test(frame[names[::-1]], COARSE, FINE, n_samples=40)


A8 = truth()
SKEW, MISSING, ZERO = S.copy(), S.copy(), S.copy()
SKEW[0, 1], MISSING[0, 1], ZERO[2, 2] = 9, np.nan, 0
CALLS = [
    lambda S, **options: likelihood_ratio_test(S, COARSE, FINE, **options),
    lambda S, **options: log_likelihood(S, A8, **options),
    lambda S, **options: bm.optimal_shrinkage(S, FINE, **options),
]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("matrix", "options", "error", "message"),
    [
        (X, {}, ShapeError, r"X has shape \(40, 8\); expected a square matrix \(for samples leave"),
        (SKEW, {}, NotHermitianError, "X is not symmetric"),
        (MISSING, {}, NonFiniteError, "X contains nan"),
        (ZERO, {}, ValueError, "X has the variance 0.0 at index 2"),
        (S, {"n_samples": 0}, ValueError, "n_samples is 0; expected at least"),
        (S, {"n_samples": 9.5}, TypeError, "n_samples is 9.5; expected an integer"),
        (S, {"sample_weight": WEIGHTS}, ValueError, "sample_weight is given with n_samples"),
        (X, {"n_samples": None, "sample_weight": [1]}, ShapeError, "sample_weight has length 1"),
    ],
)
def test_matrices_that_do_not_fit_are_refused(call, matrix, options, error, message):
    with pytest.raises(error, match=message):
        call(matrix, **({"n_samples": 40} | options))


@pytest.mark.parametrize(
    ("weights", "kind"),
    [([0, 1, 0], "frequency"), ([0.6, 0.6, 0.6], "frequency"), ([0, 5, 1], "reliability")],
)
def test_the_shrinkage_needs_two_samples_by_their_weights(weights, kind):
    with pytest.raises(ValueError, match=r"X counts as 1.* samples by its weights; expected at le"):
        bm.optimal_shrinkage(X[:3], FINE, sample_weight=weights, weight_type=kind)
    for enough in ([0.3, 0, 0.3], [5, 5, 2]):
        assert (
            0
            <= bm.optimal_shrinkage(X[:3], FINE, sample_weight=enough, weight_type="reliability")
            <= 1
        )


def test_arguments_that_do_not_go_together_are_refused():
    with pytest.raises(ValueError, match="X has 4 samples, too few for 4 blocks"):
        likelihood_ratio_test(S, COARSE, FINE, n_samples=4)
    with pytest.raises(ValueError, match="X has 4 samples, too few for 4 blocks"):
        likelihood_ratio_test(X, COARSE, FINE, sample_weight=np.arange(40) < 4)
    with pytest.raises(ValueError, match="X has 4 samples, too few for 4 blocks"):  # distinct ones
        likelihood_ratio_test(X, COARSE, FINE, sample_weight=10 * (np.arange(40) < 4))
    uneven = 10.0 ** -np.arange(40)  # worth 1.2 samples
    with pytest.raises(ValueError, match="X has 1 samples, too few for 4 blocks"):
        likelihood_ratio_test(X, COARSE, FINE, sample_weight=uneven, weight_type="reliability")
    with pytest.raises(ValueError, match="X is constant in 1 of its columns: 0"):
        likelihood_ratio_test(X * (np.arange(8) > 0), COARSE, FINE, scaled=True)
    with pytest.raises(ValueError, match="mean is 1; expected 0 with n_samples"):
        log_likelihood(S, A8, 1, n_samples=40)
    with pytest.raises(ShapeError, match="X has 2 columns; expected 8, as the covariance"):
        log_likelihood(np.eye(2), A8, n_samples=40)
    with pytest.raises(bm.exceptions.PartitionMismatchError, match="have the same correlations"):
        likelihood_ratio_test(R[:2, :2], [0, 0], [0, 1], n_samples=40)
