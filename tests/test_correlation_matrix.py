"""A correlation or covariance matrix that is given: what is accepted, and what is refused."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from blockmat.exceptions import DtypeError, NonFiniteError, NotHermitianError, ShapeError
from blockmat.sources.correlation_matrix import as_correlation


def covariance(n=5, seed=0):
    X = np.random.default_rng(seed).standard_normal((n + 3, n))
    return X.T @ X


@given(st.integers(1, 300), st.integers(0, 99), st.sampled_from([1e-150, 1e-3, 1.0, 1e150]))
def test_a_covariance_matrix_is_standardized(n, seed, unit):
    scale = unit * np.random.default_rng(seed).uniform(0.1, 10, n)
    expected = np.corrcoef(np.random.default_rng(seed).standard_normal((5, n)), rowvar=False)
    expected = np.atleast_2d(expected)
    C, found = as_correlation(expected * np.outer(scale, scale), "R")
    np.testing.assert_allclose(C, expected, atol=8 * np.finfo(float).eps)
    np.testing.assert_allclose(found, scale, rtol=4 * np.finfo(float).eps)
    assert (C.diagonal() == 1).all()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_correlations_stay_what_they_are(dtype):
    R = np.corrcoef(covariance(), rowvar=False).astype(dtype)
    C, scale = as_correlation(R, "R")
    assert C is R
    assert (scale == 1).all()
    again, _ = as_correlation(4 * R, "R")
    assert again.dtype == dtype


def test_correlations_beyond_one_by_rounding_of_single_precision_are_accepted():
    R = np.array([[1, 1 + 2.0**-22], [1 + 2.0**-22, 1 + 2.0**-23]])
    C, _ = as_correlation(R, "R")
    assert C is R


def test_integers_are_numbers():
    C, scale = as_correlation([[4, 2], [2, 4]], "R")
    np.testing.assert_array_equal(C, [[1, 0.5], [0.5, 1]])
    np.testing.assert_array_equal(scale, [2, 2])


BAD = {
    "shape": (np.ones((2, 3)), ShapeError, r"R has shape \(2, 3\); expected a square matrix"),
    "empty": (np.ones((0, 0)), ShapeError, "R has no variables"),
    "1-d": (np.ones(3), ShapeError, "R is 1-d"),
    "complex": (np.eye(2) * 1j, DtypeError, "expected real numbers"),
    "sparse": (sp.eye_array(3), DtypeError, "R is a sparse matrix"),
    "text": (np.array([["a"]]), DtypeError, "R has dtype"),
    "NaN": (np.array([[1, np.nan], [np.nan, 1]]), NonFiniteError, r"R contains nan at index \(0, 1"),
    "infinite": (np.diag([1, np.inf]), NonFiniteError, r"R contains inf at index \(1, 1"),
    "asymmetric": (np.array([[1, 0.5], [0.4, 1]]), NotHermitianError, "R is not symmetric"),
    "zero": (np.diag([1.0, 0]), ValueError, r"R has the variance 0.0 at index 1; expected positive"),
    "negative": (np.diag([-1.0, 1]), ValueError, r"R has the variance -1.0 at index 0"),
    "beyond 1": (np.array([[1, 1.2], [1.2, 1]]), ValueError,
                 r"R has ones on its diagonal and 1.2 at index \(0, 1\); expected correlations"),
    "below -1": (np.array([[1, -1.2], [-1.2, 1]]), ValueError, r"and -1.2 at index \(0, 1\)"),
    "covariance": (np.array([[4, 3], [3, 2.0]]), ValueError, r"R has the correlation 1.06.* \(0, 1\)"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_correlation_matrix_is_refused(case):
    R, error, message = BAD[case]
    with pytest.raises(error, match=message):
        as_correlation(R, "R")


def test_the_first_entry_beyond_one_is_named_in_a_large_matrix():
    R = np.eye(600)
    R[400, 590] = R[590, 400] = 1.5
    with pytest.raises(ValueError, match=r"1.5 at index \(400, 590\)"):
        as_correlation(R, "R")
