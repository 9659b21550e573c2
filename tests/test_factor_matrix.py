"""fit_factor of a matrix with its number of samples: the fit of the samples."""

import numpy as np
import pandas as pd
import pytest

import blockmat as bm
from blockmat.fitting.factor_data import from_correlation
from tests.test_fit_factor import planted, quiet_fit, samples

EPS = np.finfo(np.float64).eps


@pytest.mark.parametrize("sizes", [[5], [3, 4], [1, 3, 4], [2, 3, 20]])
@pytest.mark.parametrize("independent", [False, True])
def test_is_the_fit_of_the_samples(sizes, independent):
    """To the tolerance of the search, also if there are fewer samples than variables."""
    A = planted(0, sizes)
    for T in (18, 200):
        X = samples(A, T) + 3
        ours = quiet_fit(X, A.partition, independent=independent, tol=1e-8)
        S = np.cov(X, rowvar=False, ddof=0)
        theirs = quiet_fit(
            S, A.partition, samples=False, n_samples=T, independent=independent, tol=1e-8
        )
        assert theirs.converged
        assert theirs.n_samples == T
        assert theirs.residual is None
        assert theirs.log_likelihood == pytest.approx(ours.log_likelihood, rel=1e-10)
        for name in ("loadings", "noise", "covariance"):
            given = getattr(ours.matrix, name)
            np.testing.assert_allclose(getattr(theirs.matrix, name), given, atol=1e-5)
        np.testing.assert_array_equal(theirs.at_bound, ours.at_bound)


def test_a_correlation_matrix_gives_standardized_estimates():
    A = planted(1, [4, 5])
    X = samples(A, 300)
    R = np.corrcoef(X, rowvar=False)
    fit = bm.fit_factor(R, A.partition, samples=False, n_samples=300, full_output=True)
    ours = bm.fit_factor(X, A.partition, full_output=True)
    scale = X.std(axis=0)
    np.testing.assert_allclose(fit.matrix.loadings * scale, ours.matrix.loadings, atol=1e-5)
    np.testing.assert_allclose(fit.matrix.noise * scale**2, ours.matrix.noise, atol=1e-5)
    difference = fit.log_likelihood - 300 * np.log(scale).sum()
    assert difference == pytest.approx(ours.log_likelihood, rel=1e-10)
    for own, given, unit in zip(
        fit.standard_errors(), ours.standard_errors(), (scale, scale**2, 1), strict=True
    ):
        np.testing.assert_allclose(own * unit, given, rtol=1e-4)


def test_negative_eigenvalues_become_zero():
    """The root is that of the clipped matrix, with variances of 1."""
    R = np.array([[1, 0.9, -0.9], [0.9, 1, 0.9], [-0.9, 0.9, 1]])
    w, V = np.linalg.eigh(R)
    assert w[0] < -0.7
    clipped = V[:, 1:] * w[1:] @ V[:, 1:].T
    size = np.sqrt(np.diagonal(clipped))
    rows = from_correlation(R, np.array([0, 1, 2])).rows
    assert rows.shape == (3, 2)
    np.testing.assert_allclose(rows @ rows.T, clipped / np.outer(size, size), atol=8 * EPS)
    fit = quiet_fit(R, [0, 0, 0], samples=False, n_samples=50)
    assert fit.matrix.is_positive_definite()


def test_single_precision_and_names_stay():
    A = planted(0, [3, 4])
    names = list("abcdefg")
    R = pd.DataFrame(np.corrcoef(samples(A, 100).T).astype(np.float32), names, names)
    labels = pd.Series(A.partition.labels, index=names)[::-1]
    fit = bm.fit_factor(R, labels, samples=False, n_samples=100)
    assert fit.dtype == np.float32
    double = bm.fit_factor(R.to_numpy(np.float64), A.partition, samples=False, n_samples=100)
    np.testing.assert_allclose(fit.toarray(), double.toarray(), rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"n_samples": 2}, ValueError, "n_samples is 2; expected at least 3"),
        ({"n_samples": 2.5}, TypeError, "n_samples is 2.5; expected an integer"),
        (
            {"samples": True, "n_samples": 9},
            ValueError,
            "n_samples is 9; expected None with samples",
        ),
    ],
)
def test_numbers_of_samples_that_do_not_fit_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        bm.fit_factor(np.eye(4), [0, 0, 1, 1], **({"samples": False} | options))
    assert bm.fit_factor(np.eye(4) + 0.5, [0, 0, 1, 1], samples=False, n_samples=3)
