"""fit_factor of samples: maximum likelihood, compared with dense arrays and with scikit-learn."""

import tracemalloc
import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.optimize
from sklearn.decomposition import FactorAnalysis

import blockmat as bm
from blockmat.exceptions import DtypeError, NonFiniteError, ShapeError, SingularMatrixError
from blockmat.fitting import factor_data, factor_errors, factor_likelihood
from blockmat.fitting.factor_data import FactorData, incomplete
from blockmat.fitting.factor_likelihood import FactorLikelihood
from blockmat.inference import log_likelihood

EPS = np.finfo(np.float64).eps


def planted(seed, sizes, independent=False):
    """A model with loadings of both signs, positive in sum, and unequal noise."""
    rng = np.random.default_rng(seed)
    k, n = len(sizes), sum(sizes)
    labels = rng.permutation(np.repeat(np.arange(k), sizes))
    loadings = rng.uniform(0.5, 1.5, n) * np.where(rng.random(n) < 0.2, -1, 1)
    signs = np.sign(np.bincount(labels, loadings))
    root = rng.standard_normal((k, k + 3)) + 1
    C = root @ root.T
    C /= np.sqrt(np.outer(np.diag(C), np.diag(C)))
    C = np.ones(k) if independent else C
    return bm.BlockFactorMatrix(labels, C, rng.uniform(0.3, 1.5, n), loadings * signs[labels])


def samples(A, T, seed=0):
    return A.colorize(np.random.default_rng(seed).standard_normal((T, A.shape[0])))


def dense_log_likelihood(X, covariance):
    T, n = X.shape
    S = np.cov(X.T, bias=True).reshape(n, n)
    logdet = np.linalg.slogdet(covariance)[1]
    return -T / 2 * (n * np.log(2 * np.pi) + logdet + np.trace(np.linalg.solve(covariance, S)))


def quiet_fit(*arguments, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return bm.fit_factor(*arguments, full_output=True, **options)


GAPS = ["none", "few patterns", "each its own"]


def data_with_gaps(gaps, rng, T=30, n=7):
    """Samples of unit squares, which values are observed, weights, and the data of the likelihood."""
    X = rng.standard_normal((T, n))
    X /= np.sqrt((X * X).mean(axis=0))
    if gaps == "none":
        return X, np.ones((T, n), bool), np.full(T, 1 / T), from_rows(X.T / np.sqrt(T))
    observed = rng.random((T if gaps == "each its own" else 4, n)) < 0.7
    observed[:, 0] |= ~observed.any(axis=1)
    observed = observed[rng.integers(0, len(observed), T)]
    weights = rng.uniform(0.5, 2, T)
    return (
        X,
        observed,
        weights / weights.sum(),
        incomplete(X * observed, observed, weights, np.arange(n)),
    )


def from_rows(rows):
    """The data of a likelihood without gaps and weights."""
    n, T = rows.shape
    ones = np.ones((1, n))
    return FactorData(
        np.ascontiguousarray(rows), np.full(T, T**-0.5), ones, np.ones(1), np.array([T])
    )


@pytest.mark.parametrize("gaps", GAPS)
@pytest.mark.parametrize("correlated", [True, False])
@pytest.mark.parametrize("free_mean", [True, False])
def test_gradient_of_the_likelihood(gaps, correlated, free_mean):
    """Of the observed values. Central differences of step h have errors of h^2 and eps / h."""
    rng = np.random.default_rng(0)
    X, observed, weights, data = data_with_gaps(gaps, rng)
    offsets = np.array([0, 3, 4, 7])
    loss = FactorLikelihood(data, offsets)
    s, noise = rng.uniform(-1, 1, 7), rng.uniform(0.2, 2, 7)
    root = np.tril(rng.standard_normal((3, 3))) if correlated else None
    mean = rng.uniform(-1, 1, 7) if free_mean else None
    value, gradient = loss(s, noise, root, mean)
    C = np.eye(3) if root is None else root @ root.T
    labels = np.repeat([0, 1, 2], np.diff(offsets))
    dense = np.diag(noise) + np.outer(s, s) * C[np.ix_(labels, labels)]
    expected = 0.0
    for x, o, w in zip(X - (mean if free_mean else 0), observed, weights, strict=True):
        own = dense[np.ix_(o, o)]
        expected += w * (np.linalg.slogdet(own)[1] + x[o] @ np.linalg.solve(own, x[o]))
    assert value == pytest.approx(expected / 2, rel=100 * EPS)
    h = 1e-5

    def slope(up, down):
        return pytest.approx((loss(*up)[0] - loss(*down)[0]) / (2 * h), abs=1e-8)

    for i in range(7):
        e = h * (np.arange(7) == i)
        assert gradient.loadings[i] == slope((s + e, noise, root, mean), (s - e, noise, root, mean))
        ups = (s, noise * np.exp(e), root, mean), (s, noise * np.exp(-e), root, mean)
        assert gradient.log_noise[i] == slope(*ups)
        if free_mean:
            ups = (s, noise, root, mean + e), (s, noise, root, mean - e)
            assert gradient.mean[i] == slope(*ups)
    assert (gradient.mean is None) == (not free_mean)
    if root is None:
        assert gradient.root is None
        return
    for i, j in zip(*np.tril_indices(3), strict=True):
        e = np.zeros((3, 3))
        e[i, j] = h
        assert gradient.root[i, j] == slope((s, noise, root + e, mean), (s, noise, root - e, mean))


def test_batches_of_patterns_change_nothing(monkeypatch):
    rng = np.random.default_rng(1)
    data = data_with_gaps("each its own", rng)[-1]
    arguments = np.ones(7), np.ones(7), np.eye(3), np.zeros(7)
    value, gradient = FactorLikelihood(data, np.array([0, 3, 4, 7]))(*arguments)
    monkeypatch.setattr(factor_likelihood, "_AT_A_TIME", 2 * 9)
    other, one_by_one = FactorLikelihood(data, np.array([0, 3, 4, 7]))(*arguments)
    assert other == pytest.approx(value, rel=100 * EPS)
    for x, y in zip(gradient, one_by_one, strict=True):
        np.testing.assert_allclose(x, y, atol=1e3 * EPS)


@pytest.mark.parametrize("seed", range(3))
def test_is_factor_analysis_if_there_is_one_block(seed):
    A = planted(seed, [8])
    X = samples(A, 200)
    fit = bm.fit_factor(X, np.zeros(8), min_noise=1e-6, full_output=True)
    reference = FactorAnalysis(1, tol=1e-12, max_iter=20_000, svd_method="lapack").fit(X)
    theirs = reference.components_[0] * np.sign(reference.components_.sum())
    np.testing.assert_allclose(fit.matrix.loadings, theirs, atol=1e-4)
    np.testing.assert_allclose(fit.matrix.noise, reference.noise_variance_, atol=1e-4)
    assert fit.log_likelihood == pytest.approx(reference.score(X) * len(X), rel=1e-6)


@pytest.mark.parametrize("sizes", [[3, 4], [3, 1, 3], [2, 3, 4]])
def test_no_dense_optimizer_finds_a_higher_likelihood(sizes):
    """From the fit and from elsewhere; it finds the same likelihood to 1e-6."""
    A = planted(1, sizes)
    X, labels, n, k = samples(A, 60), A.partition.labels, A.shape[0], len(sizes)
    variance, lower = X.var(axis=0), np.tril_indices(k, -1)
    fit = bm.fit_factor(X, labels, full_output=True)
    is_alone = np.array(sizes)[labels] == 1

    def loss(x):
        s, noise = x[:n], np.where(is_alone, 0.005, np.exp(x[n : 2 * n])) * variance
        root = np.eye(k)
        root[lower] = x[2 * n :]
        root /= np.linalg.norm(root, axis=1, keepdims=True)
        C = (root @ root.T)[np.ix_(labels, labels)]
        return -dense_log_likelihood(X, np.diag(noise) + np.outer(s, s) * C)

    M = fit.matrix
    root = np.linalg.cholesky(M.covariance)
    root /= np.diagonal(root)[:, None]
    best = np.concatenate([M.loadings, np.log(M.noise / variance), root[lower]])
    assert loss(best) == pytest.approx(-fit.log_likelihood, rel=1e-12)
    elsewhere = np.concatenate([A.loadings, np.full(n, np.log(0.5)), np.zeros(len(lower[0]))])
    bounds = [(None, None)] * n + [(np.log(0.005), None)] * n + [(None, None)] * len(lower[0])
    for start in (best, elsewhere):
        found = scipy.optimize.minimize(loss, start, bounds=bounds, options={"maxfun": 100_000})
        assert fit.log_likelihood >= -found.fun - 1e-6
    assert fit.log_likelihood == pytest.approx(-found.fun, abs=1e-3)  # differences end earlier


def test_the_likelihood_never_decreases():
    A = planted(2, [3, 4, 5])
    X, labels = samples(A, 100), A.partition.labels
    steps = [quiet_fit(X, labels, max_iter=m) for m in range(1, 15)]
    values = np.array([fit.log_likelihood for fit in steps])
    assert [fit.n_iter for fit in steps[:5]] == [1, 2, 3, 4, 5]
    assert (np.diff(values) >= -1e-9).all()
    assert values[-1] > values[0]
    assert not steps[0].converged


@pytest.mark.parametrize("independent", [False, True])
def test_planted_parameters_are_recovered(independent):
    """Within five standard errors each, and on average as their size says."""
    A = planted(3, [3, 6, 1, 10], independent)
    X = samples(A, 5000)
    fit = bm.fit_factor(X, A.partition, independent=independent, full_output=True)
    assert fit.converged
    assert not fit.at_bound.any()
    assert fit.log_likelihood == pytest.approx(
        log_likelihood(X, fit.matrix, X.mean(axis=0)), rel=1e-12
    )
    several = A.partition.sizes[A.partition.labels] > 1
    errors = fit.standard_errors()
    standardized = [
        ((fit.matrix.loadings - A.loadings) / errors[0])[several],
        ((fit.matrix.noise - A.noise)[several] / errors[1][several]),
    ]
    assert (errors[1][~several] == 0).all()
    assert fit.matrix.covariance.shape == errors[2].shape == A.covariance.shape
    if independent:
        assert (fit.matrix.covariance == 1).all()
    else:  # the factor of a single variable has noise of its own, which is not known
        kept = np.ix_(*[[0, 1, 3]] * 2)
        off = np.triu_indices(3, 1)
        difference = (fit.matrix.covariance - A.covariance)[kept][off]
        standardized.append(difference / errors[2][kept][off])
        assert (np.diagonal(fit.matrix.covariance) == 1).all()
    z = np.concatenate(standardized)
    assert np.abs(z).max() < 5
    assert 0.5 < np.sqrt(np.mean(z**2)) < 1.5


def test_standard_errors_are_those_of_the_expected_information():
    A = planted(4, [3, 4, 1])
    C, labels, n, k = A.covariance, A.partition.labels, A.shape[0], 3
    pairs = list(zip(*np.triu_indices(k, 1), strict=True))
    free = np.flatnonzero(A.partition.sizes[labels] > 1)[1:]  # the first is at its bound

    def dense(x):
        s, noise, D = A.loadings + x[:n], A.noise.copy(), C.copy()
        noise[free] += x[n : n + len(free)]
        for (a, b), c in zip(pairs, x[n + len(free) :], strict=True):
            D[a, b] += c
            D[b, a] += c
        return np.diag(noise) + np.outer(s, s) * D[np.ix_(labels, labels)]

    m, h, P = n + len(free) + len(pairs), 1e-5, np.linalg.inv(A.toarray())
    slopes = [P @ (dense(h * e) - dense(-h * e)) / (2 * h) for e in np.eye(m)]
    information = 50 * np.array([[np.trace(x @ y) / 2 for x in slopes] for y in slopes])
    expected = np.sqrt(np.diagonal(np.linalg.inv(information)))
    at_bound = (A.partition.sizes[labels] > 1) & ~np.isin(np.arange(n), free)
    loadings, noise, covariance = factor_errors.standard_errors(A, at_bound, 50)
    found = [*loadings, *noise[free], *(covariance[pair] for pair in pairs)]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert np.count_nonzero(noise) == len(free)


def test_standard_errors_that_do_not_exist(monkeypatch):
    X = samples(planted(0, [2, 3]), 100)
    fit = bm.fit_factor(X, planted(0, [2, 3]).partition, independent=True, full_output=True)
    with pytest.raises(SingularMatrixError, match="not identified"):
        fit.standard_errors()
    monkeypatch.setattr(factor_errors, "MAX_PARAMETERS", 9)
    with pytest.raises(ValueError, match="has 10 parameters; expected at most 9"):
        fit.standard_errors()


def test_order_and_scale_of_the_variables_do_not_matter():
    """To the tolerance of the search: an entry of the gradient is an error of about its size."""
    A = planted(5, [4, 3, 5])
    X, labels = samples(A, 300), A.partition.labels
    plain = bm.fit_factor(X, labels)
    rng = np.random.default_rng(0)
    order, scale = rng.permutation(A.shape[0]), 10.0 ** rng.uniform(-6, 6, A.shape[0])
    other = bm.fit_factor((X * scale)[:, order] + 3 * scale[order], labels[order])
    for name, unit in (("loadings", scale), ("noise", scale**2)):
        given = (getattr(plain, name) * unit)[order]
        np.testing.assert_allclose(getattr(other, name), given, rtol=1e-4)
    np.testing.assert_allclose(other.covariance, plain.covariance, atol=1e-5)
    flipped = bm.fit_factor(-X, labels)
    np.testing.assert_allclose(flipped.loadings, plain.loadings, atol=1e-5)
    np.testing.assert_allclose(flipped.covariance, plain.covariance, atol=1e-5)


def test_the_sum_of_standardized_loadings_is_positive():
    A = planted(6, [3, 4, 5])
    X, labels = samples(A, 300), A.partition.labels
    signs = np.random.default_rng(0).choice([-1, 1], A.shape[0])
    fit = bm.fit_factor(X * signs, labels)
    assert (np.bincount(labels, fit.loadings / X.std(axis=0)) > 0).all()
    plain = bm.fit_factor(X, labels)
    turned = np.sign(np.bincount(labels, plain.loadings * fit.loadings * signs))
    np.testing.assert_allclose(fit.loadings * signs, plain.loadings * turned[labels], atol=1e-5)
    expected = plain.covariance * np.outer(turned, turned)
    np.testing.assert_allclose(fit.covariance, expected, atol=1e-5)


def test_single_precision_stays():
    A = planted(0, [3, 4])
    X = samples(A, 200).astype(np.float32)
    fit = bm.fit_factor(X, A.partition, full_output=True)
    double = bm.fit_factor(X.astype(np.float64), A.partition, full_output=True)
    assert fit.matrix.dtype == np.float32
    assert fit.log_likelihood == pytest.approx(double.log_likelihood, rel=1e-14)
    np.testing.assert_allclose(fit.matrix.toarray(), double.matrix.toarray(), rtol=1e-6)
    assert bm.fit_factor(np.rint(10 * X).astype(int), A.partition).dtype == np.float64


def test_a_block_of_one_variable_gets_the_smallest_noise():
    A = planted(1, [1, 4])
    X = samples(A, 100)
    for independent in (False, True):
        fit = bm.fit_factor(
            X, A.partition, min_noise=0.01, independent=independent, full_output=True
        )
        i = np.flatnonzero(A.partition.labels == 0)
        np.testing.assert_allclose(fit.matrix.noise[i], 0.01 * X.var(axis=0)[i], rtol=1e-12)
        np.testing.assert_allclose(fit.matrix.diagonal()[i], X.var(axis=0)[i], rtol=1e-4)
        assert not fit.at_bound.any()


@pytest.mark.parametrize("sign", [1, -1])
def test_a_pair_on_its_own_gets_equal_standardized_loadings(sign):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((50, 1)) * [1, sign] + rng.standard_normal((50, 2))
    r = np.corrcoef(X.T)[0, 1]
    A = bm.fit_factor(X, [0, 0])
    expected = np.sqrt(abs(r)) * X.std(axis=0) * [1, sign]
    np.testing.assert_allclose(A.loadings, expected, rtol=1e-6)
    np.testing.assert_allclose(A.toarray(), np.cov(X.T, bias=True), rtol=1e-6)


def test_noise_at_its_bound_is_reported():
    """The third correlation of three variables is smaller than the product of the others."""
    rng = np.random.default_rng(0)
    R = np.array([[1, 0.8, 0.8], [0.8, 1, 0.4], [0.8, 0.4, 1]])
    X = rng.standard_normal((100, 3))
    X = (X - X.mean(axis=0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(X.T))).T
    X = X @ np.linalg.cholesky(R).T
    fit = bm.fit_factor(X, [0, 0, 0], full_output=True, min_noise=0.02)
    assert fit.at_bound.tolist() == [True, False, False]
    assert not fit.at_bound.flags.writeable
    assert fit.matrix.noise[0] == pytest.approx(0.02 * X[:, 0].var())
    assert fit.standard_errors()[1][0] == 0
    with pytest.warns(RuntimeWarning, match=r"\(min_noise\) for 1 of 3 variables: 0\. "):
        bm.fit_factor(X, [0, 0, 0])


def test_two_blocks_with_the_same_factor():
    """The search starts from definite correlations, also if the weighted means are the same."""
    A = planted(0, [4])
    X = samples(A, 100)
    fit = quiet_fit(np.hstack([X, -X]), np.repeat([0, 1], 4))
    assert fit.matrix.covariance[0, 1] < -0.99
    assert fit.matrix.is_positive_definite()


def test_a_search_that_ends_too_early_warns():
    A = planted(0, [5, 5])
    with pytest.warns(RuntimeWarning, match="did not converge in 2 steps; expected more"):
        bm.fit_factor(samples(A, 100), A.partition, max_iter=2)


def test_the_mean_can_be_known():
    A = planted(0, [4, 4])
    X = samples(A, 100) + 0.1
    fit = bm.fit_factor(X, A.partition, assume_centered=True, full_output=True)
    assert fit.log_likelihood == pytest.approx(log_likelihood(X, fit.matrix), rel=1e-12)
    both = np.vstack([X, -X])  # has the mean zero
    np.testing.assert_allclose(bm.fit_factor(both, A.partition), fit.matrix, rtol=1e-4)


def test_many_samples_are_compressed(monkeypatch):
    A = planted(0, [4, 4])
    X = samples(A, 500)
    compressed = bm.fit_factor(X, A.partition)
    monkeypatch.setattr(factor_data, "_COMPRESSED_UP_TO", 0)
    np.testing.assert_allclose(bm.fit_factor(X, A.partition), compressed, rtol=1e-5)


def test_independent_blocks_are_fitted_one_by_one():
    A = planted(0, [3, 4, 5])
    X, labels = samples(A, 100), A.partition.labels
    fit = quiet_fit(X, labels, independent=True).matrix
    assert fit.covariance.tolist() == [1, 1, 1]
    for b in range(3):
        own = quiet_fit(X[:, labels == b], np.zeros(3 + b)).matrix
        np.testing.assert_allclose(fit.loadings[labels == b], own.loadings, atol=1e-5)
        np.testing.assert_allclose(fit.noise[labels == b], own.noise, atol=1e-5)


def test_many_independent_blocks_need_no_square_array():
    k = 6000
    X = np.random.default_rng(0).standard_normal((5, k)).repeat(2, axis=1)
    X += np.random.default_rng(1).standard_normal(X.shape)
    tracemalloc.start()
    A = quiet_fit(X, np.arange(k).repeat(2), independent=True, max_iter=1).matrix
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < k * k  # bytes, as many as a mask of (k, k) has
    assert A.nbytes < 100 * k


def test_labels_by_name():
    A = planted(0, [3, 4])
    frame = pd.DataFrame(samples(A, 50), columns=list("abcdefg"))
    labels = pd.Series(A.partition.labels, index=frame.columns)
    by_name = bm.fit_factor(frame, labels[::-1])
    np.testing.assert_array_equal(by_name.loadings, bm.fit_factor(frame, labels.array).loadings)
    assert by_name.partition.labels.tolist() == A.partition.labels.tolist()


X = np.random.default_rng(0).standard_normal((10, 4))
CONSTANT, MISSING = X.copy(), X.copy()
CONSTANT[:, 2], MISSING[3, 1] = 1.5, np.nan


@pytest.mark.parametrize(
    ("source", "labels", "options", "error", "message"),
    [
        (CONSTANT, [0, 0, 1, 1], {}, ValueError, "X is constant in 1 of its columns: 2"),
        (MISSING, [0, 0, 1, 1], {}, NonFiniteError, r"X contains nan at index \(3, 1\)"),
        (X[:2], [0, 0, 0, 0], {}, ValueError, "X has 2 rows; expected at least 3 samples"),
        (X[:4], [0, 1, 2, 3], {}, ValueError, "4 rows; expected at least 5 samples for 4 factors"),
        (X[:3], range(4), {"assume_centered": True}, ValueError, "at least 4 samples for 4"),
        (X + 1j, [0, 0, 1, 1], {}, DtypeError, "X has dtype complex128; expected real"),
        (X, [0, 0, 1], {}, ShapeError, "partition has 3 labels; expected 4"),
        (X[0], [0, 0, 1, 1], {}, ShapeError, "X is 1-d"),
        (X.T @ X, [0, 0, 1, 1], {}, ValueError, "X is a symmetric matrix"),
        (X, [0, 0, 1, 1], {"min_noise": 0}, ValueError, "min_noise is 0; expected a number"),
        (X, [0, 0, 1, 1], {"min_noise": 1.0}, ValueError, "min_noise is 1.0; expected a number"),
        (X, [0, 0, 1, 1], {"tol": -1.0}, ValueError, "tol is -1.0; expected a number"),
        (X, [0, 0, 1, 1], {"max_iter": 0}, ValueError, "max_iter is 0; expected at least 1"),
        (X, [0, 0, 1, 1], {"max_iter": 1.5}, TypeError, "max_iter is 1.5; expected an integer"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(source, labels, options, error, message):
    with pytest.raises(error, match=message):
        bm.fit_factor(source, labels, **options)
