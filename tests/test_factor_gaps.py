"""fit_factor of samples with gaps and weights: maximum likelihood of the observed values."""

import numpy as np
import pandas as pd
import pytest
import scipy.optimize

import blockmat as bm
from blockmat.exceptions import NonFiniteError
from tests.test_fit_factor import planted, quiet_fit, samples

EPS = np.finfo(np.float64).eps


def with_gaps(A, T, seed=0, share=0.2):
    rng = np.random.default_rng(seed)
    X = samples(A, T, seed) + rng.uniform(-3, 3, A.shape[0])
    X[rng.random(X.shape) < share] = np.nan
    return X


def dense_log_likelihood(X, mean, covariance):
    """The sum over samples of the marginal density of the observed values."""
    total = 0.0
    for x in X - mean:
        o = ~np.isnan(x)
        own = covariance[np.ix_(o, o)]
        distance = x[o] @ np.linalg.solve(own, x[o])
        total -= (o.sum() * np.log(2 * np.pi) + np.linalg.slogdet(own)[1] + distance) / 2
    return total


@pytest.mark.parametrize("independent", [False, True])
@pytest.mark.parametrize("assume_centered", [False, True])
def test_the_log_likelihood_is_that_of_the_observed_values(independent, assume_centered):
    A = planted(0, [3, 1, 4])
    X = with_gaps(A, 60)
    X[7] = np.nan  # a sample without any value does not count
    options = {"independent": independent, "assume_centered": assume_centered}
    fit = quiet_fit(X, A.partition, missing="em", **options)
    assert fit.converged
    assert fit.n_samples == 59
    assert (fit.mean == 0).all() == assume_centered
    expected = dense_log_likelihood(X, fit.mean, fit.matrix.toarray())
    assert fit.log_likelihood == pytest.approx(expected, rel=1e-12)


def test_no_dense_optimizer_finds_a_higher_likelihood():
    """From elsewhere, with differences, which end earlier."""
    A = planted(1, [3, 4])
    X, labels, n, k = with_gaps(A, 100, 1), A.partition.labels, 7, 2
    lower = np.tril_indices(k, -1)
    fit = quiet_fit(X, labels, missing="em", tol=1e-7)

    def loss(x):
        s, noise, mean = x[:n], np.exp(x[n : 2 * n]), x[2 * n : 3 * n]
        root = np.eye(k)
        root[lower] = x[3 * n :]
        root /= np.linalg.norm(root, axis=1, keepdims=True)
        C = (root @ root.T)[np.ix_(labels, labels)]
        return -dense_log_likelihood(X, mean, np.diag(noise) + np.outer(s, s) * C)

    assert not fit.at_bound.any()
    start = [A.loadings, np.zeros(n), np.nanmean(X, axis=0), np.zeros(len(lower[0]))]
    options = {"maxfun": 100_000}
    found = scipy.optimize.minimize(loss, np.concatenate(start), method="L-BFGS-B", options=options)
    assert -found.fun - 1e-6 <= fit.log_likelihood <= -found.fun + 1e-3
    np.testing.assert_allclose(fit.mean, found.x[2 * n : 3 * n], atol=1e-2)


def test_the_likelihood_never_decreases():
    A = planted(2, [3, 4, 5])
    X = with_gaps(A, 100)
    steps = [quiet_fit(X, A.partition, missing="em", max_iter=m) for m in range(1, 10)]
    values = np.array([fit.log_likelihood for fit in steps])
    assert (np.diff(values) >= -1e-9).all()
    assert values[-1] > values[0]


def test_samples_without_gaps_give_the_plain_fit():
    A = planted(3, [4, 5])
    X = samples(A, 100)
    plain = bm.fit_factor(X, A.partition, full_output=True)
    fit = bm.fit_factor(X, A.partition, missing="em", full_output=True)
    assert fit.log_likelihood == plain.log_likelihood
    np.testing.assert_array_equal(fit.matrix.loadings, plain.matrix.loadings)
    np.testing.assert_allclose(plain.mean, X.mean(axis=0), atol=1e-14)
    assert fit.patterns is None
    assert not plain.mean.flags.writeable


@pytest.mark.parametrize("independent", [False, True])
def test_planted_parameters_are_recovered(independent):
    """Within five standard errors each, and on average as their size says."""
    A = planted(3, [3, 6, 10], independent)
    X = with_gaps(A, 3000, share=0.3)
    fit = bm.fit_factor(X, A.partition, missing="em", independent=independent, full_output=True)
    assert fit.converged
    assert fit.patterns.shares.sum() == pytest.approx(1)
    errors = fit.standard_errors()
    off = np.triu_indices(3, 1) if not independent else ([], [])
    z = np.concatenate([
        (fit.matrix.loadings - A.loadings) / errors[0],
        (fit.matrix.noise - A.noise) / errors[1],
        [] if independent else (fit.matrix.covariance - A.covariance)[off] / errors[2][off],
    ])  # fmt: skip
    assert np.abs(z).max() < 5
    assert 0.5 < np.sqrt(np.mean(z**2)) < 1.5


def test_standard_errors_are_those_of_the_expected_information():
    """The mean over the patterns of gaps, from differences of dense marginal covariances."""
    A = planted(4, [3, 4])
    X = with_gaps(A, 40)
    fit = quiet_fit(X, A.partition, missing="em")
    M, labels, h = fit.matrix, A.partition.labels, 1e-5
    free = np.flatnonzero(~fit.at_bound)

    def dense(x):
        noise, C = M.noise.copy(), M.covariance.copy()
        noise[free] += x[7:-1]
        C[0, 1] = C[1, 0] = C[0, 1] + x[-1]
        s = M.loadings + x[:7]
        return np.diag(noise) + np.outer(s, s) * C[np.ix_(labels, labels)]

    slopes = [(dense(h * e) - dense(-h * e)) / (2 * h) for e in np.eye(8 + len(free))]
    information = np.zeros((len(slopes), len(slopes)))
    for row in ~np.isnan(X):
        own = np.ix_(row, row)
        P = np.linalg.inv(M.toarray()[own])
        parts = [P @ slope[own] for slope in slopes]
        information += [[np.trace(x @ y) / 2 for x in parts] for y in parts]
    expected = np.sqrt(np.diagonal(np.linalg.inv(information)))
    loadings, noise, covariance = fit.standard_errors()
    np.testing.assert_allclose([*loadings, *noise[free], covariance[0, 1]], expected, rtol=1e-6)


def test_values_that_are_missing_because_of_others_do_not_bias_the_mean():
    """Items of a second day are missing where the first was below its mean.

    The mean of what is observed is too high; the maximum-likelihood estimate is not.
    """
    A = bm.BlockFactorMatrix([0, 0, 0, 0], [1.0], np.full(4, 0.3))
    X = samples(A, 4000)
    X[np.ix_(X[:, 0] < 0, [2, 3])] = np.nan
    fit = bm.fit_factor(X, [0, 0, 0, 0], missing="em", full_output=True)
    assert (np.nanmean(X, axis=0)[2:] > 0.5).all()
    assert (np.abs(fit.mean) < 5 / np.sqrt(2000)).all()
    np.testing.assert_allclose(fit.matrix.toarray(), A.toarray(), atol=0.2)


def test_variables_that_are_never_observed_together():
    A = planted(0, [4, 4])
    X = samples(A, 3000)
    first, second = np.flatnonzero(A.partition.labels == 0)[:2]
    X[:1500, first] = X[1500:, second] = np.nan
    fit = bm.fit_factor(X, A.partition, missing="em", full_output=True)
    assert fit.converged
    np.testing.assert_allclose(fit.matrix.toarray(), A.toarray(), atol=0.3)


@pytest.mark.parametrize("missing", ["raise", "em"])
def test_frequency_weights_are_repeated_samples(missing):
    A = planted(4, [4, 3])
    X = with_gaps(A, 60) if missing == "em" else samples(A, 60)
    weights = np.random.default_rng(0).integers(0, 4, 60)
    options = {"missing": missing, "tol": 1e-8}
    repeated = quiet_fit(X.repeat(weights, axis=0), A.partition, **options)
    fit = quiet_fit(X, A.partition, sample_weight=weights, **options)
    assert fit.n_samples == weights.sum()
    assert fit.log_likelihood == pytest.approx(repeated.log_likelihood, rel=1e-12)
    np.testing.assert_allclose(fit.mean, repeated.mean, atol=1e-6)
    np.testing.assert_allclose(fit.matrix.toarray(), repeated.matrix.toarray(), atol=1e-5)


@pytest.mark.parametrize("missing", ["raise", "em"])
def test_reliability_weights_have_no_unit(missing):
    A = planted(4, [4, 3])
    X = with_gaps(A, 60) if missing == "em" else samples(A, 60)
    weights = np.random.default_rng(0).uniform(0.5, 2, 60)
    options = {"missing": missing, "weight_type": "reliability", "tol": 1e-8}
    fit, other = (
        quiet_fit(X, A.partition, sample_weight=c * weights, **options) for c in (1, 1e-8)
    )
    assert fit.n_samples == pytest.approx(weights.sum() ** 2 / (weights**2).sum())
    assert other.log_likelihood == pytest.approx(fit.log_likelihood, rel=1e-10)
    frequency = quiet_fit(X, A.partition, sample_weight=weights, missing=missing, tol=1e-8)
    np.testing.assert_allclose(frequency.matrix.toarray(), fit.matrix.toarray(), atol=1e-8)
    np.testing.assert_allclose(other.matrix.toarray(), fit.matrix.toarray(), atol=1e-6)


def test_units_and_single_precision():
    A = planted(5, [4, 3])
    X = with_gaps(A, 200)
    scale = 10.0 ** np.arange(-150, 200, 50)
    plain = bm.fit_factor(X, A.partition, missing="em", full_output=True)
    other = bm.fit_factor(X * scale, A.partition, missing="em", full_output=True)
    np.testing.assert_allclose(other.matrix.loadings, plain.matrix.loadings * scale, rtol=1e-4)
    np.testing.assert_allclose(other.mean, plain.mean * scale, rtol=1e-4)
    single = bm.fit_factor(X.astype(np.float32), A.partition, missing="em")
    assert single.dtype == np.float32
    np.testing.assert_allclose(single.toarray(), plain.matrix.toarray(), rtol=1e-4)


X = np.random.default_rng(0).standard_normal((20, 4))
NEVER, INFINITE, CONSTANT, GAPS = X.copy(), X.copy(), X.copy(), X.copy()
NEVER[:, 2], INFINITE[3, 1], CONSTANT[:, 2], GAPS[3:9, 1] = np.nan, -np.inf, 1.5, np.nan
CONSTANT[0, 2] = INFINITE[0, 0] = np.nan
NAMED = pd.DataFrame(NEVER, columns=list("abcd"))


@pytest.mark.parametrize(
    ("source", "options", "error", "message"),
    [
        (NEVER, {}, ValueError, "X has no value in 1 of its columns: 2; expected"),
        (NAMED, {}, ValueError, "X has no value in 1 of its columns: 'c'; expected"),
        (X * np.nan, {}, ValueError, "X has no value in 4 of its columns: 0, 1, 2, ...; expected"),
        (np.where(X > 2, np.inf, X + np.inf), {}, NonFiniteError, "X contains inf"),
        (INFINITE, {}, NonFiniteError, "X contains infinity in row 3 and column 1"),
        (CONSTANT, {}, ValueError, "X is constant in 1 of its columns: 2"),
        (X + 1j, {}, TypeError, "X has dtype complex128; expected real"),
        (GAPS, {"missing": "raise"}, NonFiniteError, r"X contains nan at index \(3, 1\)"),
        (GAPS, {"missing": "pairwise"}, ValueError, "missing is 'pairwise'; expected 'raise' or 'em'"),
        (GAPS[3:6], {}, ValueError, "X has no value in 1 of its columns: 1"),
        (GAPS, {"sample_weight": [1, 2]}, ValueError, "sample_weight has length 2; expected 20"),
        (GAPS, {"sample_weight": np.eye(20)[0]}, ValueError, "X has only one value in 4 of its columns: 0"),
        (np.eye(4), {"samples": False}, ValueError, "missing is given for a matrix"),
        (np.eye(4), {"samples": False, "missing": "raise", "sample_weight": [1]}, ValueError,
         "sample_weight is given for a matrix"),
    ],
)  # fmt: skip
def test_arguments_that_do_not_fit_are_refused(source, options, error, message):
    with pytest.raises(error, match=message):
        bm.fit_factor(source, [0, 0, 1, 1], **({"missing": "em"} | options))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("dtype", "exponent"), [(np.float64, 600), (np.float32, 80)])
@pytest.mark.parametrize("missing", ["raise", "em"])
def test_variances_out_of_range_are_refused(dtype, exponent, missing):
    X = samples(planted(0, [3, 4]), 60, 0).astype(dtype)
    if missing == "em":
        X[3, 2] = np.nan
    labels = planted(0, [3, 4]).partition
    with pytest.raises(NonFiniteError, match=f"the result overflows; .* the largest {X.dtype}"):
        bm.fit_factor(X * dtype(2.0**exponent), labels, missing=missing)
    with pytest.raises(ValueError, match=f"column 0 is below the range of {X.dtype}; expected lar"):
        bm.fit_factor(X * dtype(2.0**-exponent), labels, missing=missing)
