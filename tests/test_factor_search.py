"""The parts of the searches for factor models: starts, signs, and the minimum within bounds."""

import numpy as np
import pytest

import blockmat as bm
from blockmat.fitting.bounded_minimum import bounded_minimum
from blockmat.fitting.factor_estimate import FactorEstimate, oriented
from blockmat.fitting.factor_start import loadings_of_block

EPS = np.finfo(np.float64).eps


def test_a_block_starts_from_its_leading_eigenvector():
    """Power iteration reduces other eigenvectors by the ratio of eigenvalues at each of ten steps."""
    s = np.array([0.9, 0.8, -0.7, 0.6, 0.5])
    R = np.outer(s, s) + np.diag(1 - s * s)
    w, V = np.linalg.eigh(R)
    found = loadings_of_block(lambda x: R @ x, R[0])
    direction = found / np.linalg.norm(found)
    assert 1 - abs(direction @ V[:, -1]) < (w[-2] / w[-1]) ** 20
    off = ~np.eye(5, dtype=bool)
    error = [(((R - c * np.outer(found, found))[off]) ** 2).sum() for c in (0.99, 1, 1.01)]
    assert error[1] < min(error[0], error[2])
    np.testing.assert_allclose(found, s * np.sign(found[0]), atol=0.1)


def test_starts_of_equal_variables_are_exact():
    R = np.full((6, 6), 0.36) + 0.64 * np.eye(6)
    np.testing.assert_allclose(loadings_of_block(lambda x: R @ x, np.ones(6)), 0.6, rtol=1e-12)
    for r in (0.5, -0.5):
        pair = np.array([[1, r], [r, 1]])
        expected = np.sqrt(0.5) * np.array([1, np.sign(r)])
        found = loadings_of_block(lambda x, pair=pair: pair @ x, pair[0])
        np.testing.assert_allclose(found, expected, rtol=4 * EPS)


def test_starts_are_not_extreme():
    assert loadings_of_block(lambda x: x, np.ones(1)) == 1
    none = loadings_of_block(lambda x: x, np.ones(3))  # without any correlation
    np.testing.assert_allclose(none, np.sqrt(0.001 / 3), rtol=1e-12)
    one = np.ones((4, 4))
    np.testing.assert_allclose(loadings_of_block(lambda x: one @ x, one[0]), 0.95, rtol=1e-12)


@pytest.mark.parametrize(
    ("loadings", "expected"),
    [
        ([0.1, 0.2, -0.5, 0.5, 0.3], [1, 1]),
        ([0.1, -0.2, -0.5, 0.5, -0.3], [-1, -1]),
        ([-0.5, 0.5, 0.0, -0.4, 0.4], [-1, -1]),  # sums of zero: the first that is not zero
        ([-0.5, 0.5 + 1e-9, 0.0, 0.4, -0.4 - 1e-9], [-1, 1]),
        ([0.0, 0.0, 0.1, 0.1, 0.1], [1, 1]),
    ],
)
def test_signs_of_factors(loadings, expected):
    p = bm.Partition.from_labels([1, 0, 1, 0, 1])  # sorted by block: variables 1, 3, 0, 2, 4
    s, noise = np.array(loadings), np.arange(5.0)
    C = np.array([[1, 0.5], [0.5, 1]])
    result = oriented(p, FactorEstimate(s, noise, C, None))
    np.testing.assert_array_equal(result.loadings[p.order], s * np.repeat(expected, [2, 3]))
    np.testing.assert_array_equal(result.noise[p.order], noise)
    np.testing.assert_array_equal(result.covariance, C * np.outer(expected, expected) ** (C < 1))


def test_the_minimum_within_bounds():
    def bowl(x):
        return float(((x - [3, -1]) ** 2).sum()), 2 * (x - [3, -1])

    infinite = np.full(2, np.inf)
    found = bounded_minimum(bowl, np.zeros(2), np.zeros(2), infinite, 1e-10, 50)
    np.testing.assert_allclose(found.x, [3, 0], atol=1e-10)
    assert found.converged
    assert found.value == pytest.approx(1)
    assert found.n_iter >= 1
    assert not bounded_minimum(
        lambda x: (float(x @ x), -2 * x), np.ones(2), -infinite, infinite, 1e-10, 50
    ).converged  # the gradient is wrong, and the line search fails
