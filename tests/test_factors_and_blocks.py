"""Factors of all variables and blocks of the rest, against dense formulas."""

import numpy as np
import pytest
import scipy.optimize
from hypothesis import given
from hypothesis import strategies as st

from bench import experts
from blockmat import Partition
from blockmat.fitting.eigenvalue_shrinkage import Deviations, quadratic_inverse_shrinkage
from blockmat.fitting.factors_and_blocks import (
    factors_and_blocks,
    mix_with_samples,
    mix_with_shrunk_samples,
)
from blockmat.fitting.principal_components import principal_components
from blockmat.testing import partitions, project_dense

SHAPES = [(30, 10), (11, 10), (10, 10), (10, 30), (4, 3), (3, 1), (2, 5)]

EPS = np.finfo(np.float64).eps


def tolerance(n_samples, n, n_factors):
    """What factors leave without full rank gets eigenvalues of at least sqrt(eps) of the variances."""
    return 1e-12 if n_samples - 1 >= n + n_factors and n > n_factors else EPS**0.5


def equal_weights(number):
    return Deviations(number, number)


def centred(n_samples, n, seed=0):
    rng = np.random.default_rng(seed)
    common = rng.standard_normal((n_samples, 1))
    Z = (common + rng.standard_normal((n_samples, n))) * rng.uniform(0.5, 2, n)
    return Z - Z.mean(axis=0)


def leading(S, n_factors):
    values, vectors = np.linalg.eigh(S)
    kept = vectors[:, ::-1][:, :n_factors]
    return (kept * values[::-1][:n_factors]) @ kept.T


def dense_model(Z, p, n_factors):
    S = Z.T @ Z / len(Z)
    L = leading(S, n_factors)
    return project_dense(S - L, p) + L


def dense_shrunk(Z, n_samples):
    """The sample covariance with shrunk eigenvalues, by the dense implementation."""
    values, vectors = principal_components(Z)
    n = Z.shape[1]
    shrunk = quadratic_inverse_shrinkage(values, n, n_samples)
    return vectors * (shrunk.values - shrunk.rest) @ vectors.T + shrunk.rest * np.eye(n)


@pytest.mark.parametrize(("n_samples", "n"), SHAPES)
def test_principal_components_are_the_dense_ones(n_samples, n):
    Z = centred(n_samples, n)
    values, vectors = principal_components(Z)
    rank = min(n_samples - 1, n)
    assert vectors.shape == (n, rank)
    expected = np.linalg.eigvalsh(Z.T @ Z / n_samples)[::-1]
    np.testing.assert_allclose(values, expected[:rank], rtol=1e-10)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(rank), atol=1e-10)
    np.testing.assert_allclose(vectors * values @ vectors.T, Z.T @ Z / n_samples, atol=1e-12)


def test_samples_without_variation_have_no_principal_components():
    values, vectors = principal_components(np.zeros((4, 3)))
    assert values.shape == (0,)
    assert vectors.shape == (3, 0)
    assert quadratic_inverse_shrinkage(values, 3, 3).rest == 0


@pytest.mark.parametrize(("n_samples", "n"), SHAPES)
def test_shrunk_eigenvalues_are_those_of_the_dense_estimate(n_samples, n):
    Z = centred(n_samples, n)
    expected = experts.quadratic_inverse_shrinkage(Z) * (n_samples - 1) / n_samples
    result = dense_shrunk(Z, n_samples - 1)
    np.testing.assert_allclose(result, expected, atol=1e-12 * np.linalg.norm(expected))


@pytest.mark.parametrize("n_samples", [1.0, 2.5, 6.0, 8.0, 1e3])
@pytest.mark.parametrize("rank", [1, 5, 8])
def test_shrunk_eigenvalues_are_positive_and_keep_their_sum(n_samples, rank):
    values = np.linspace(3, 0.1, rank)
    shrunk = quadratic_inverse_shrinkage(values, 8, n_samples)
    assert shrunk.values.min() > 0
    assert shrunk.rest > 0
    total = shrunk.values.sum() + (8 - rank) * shrunk.rest
    assert total == pytest.approx(values.sum(), rel=1e-14)
    large = quadratic_inverse_shrinkage(1e9 * values, 8, n_samples)
    np.testing.assert_allclose(large.values, 1e9 * shrunk.values, rtol=1e-12)


@pytest.mark.parametrize("n_samples", [5.0, 6.0, 39.0])
def test_smaller_ranks_count_as_that_many_samples(n_samples):
    """Collinear variables have as many eigenvalues as there are independent ones."""
    values = np.array([4.0, 2.0, 1.5, 1.0, 0.3])
    expected = quadratic_inverse_shrinkage(values, 8, 5)
    for n_rows in (None, n_samples, 1e3):
        result = quadratic_inverse_shrinkage(values, 8, n_samples, n_rows)
        np.testing.assert_array_equal(result.values, expected.values)
        assert result.rest == expected.rest


@pytest.mark.parametrize(
    ("n_samples", "n_rows"), [(1, 2), (2.5, 8), (7, 7.5), (8, 40), (9, 40), (30, 1e9)]
)
@pytest.mark.parametrize("rank", [1, 5, 8])
def test_eigenvalues_of_weighted_samples_are_positive_and_keep_their_sum(n_samples, n_rows, rank):
    for values in (np.linspace(3, 0.1, rank), 0.01 ** np.arange(rank)):
        shrunk = quadratic_inverse_shrinkage(values, 8, n_samples, n_rows)
        assert shrunk.values.min() > 0
        assert shrunk.rest > 0
        total = shrunk.values.sum() + (8 - rank) * shrunk.rest
        assert total == pytest.approx(values.sum(), rel=1e-14)
        if n_rows < 1.5 * n_samples:
            continue
        if n_samples < 8:
            kept = max(int(min(n_samples, rank)), 1)
            np.testing.assert_array_equal(shrunk.values[kept:], shrunk.rest)
        elif rank == 8:
            assert shrunk.rest == shrunk.values.min()


@pytest.mark.parametrize(("n_samples", "rank"), [(60, 8), (8, 8), (7, 7), (5, 5)])
def test_nearly_equal_weights_have_nearly_the_result_of_equal_ones(n_samples, rank):
    values = np.linspace(3, 0.5, rank)
    equal = quadratic_inverse_shrinkage(values, 8, n_samples)
    for excess in (1e-9, 1e-3):
        nearly = quadratic_inverse_shrinkage(values, 8, n_samples, n_samples * (1 + excess))
        np.testing.assert_allclose(nearly.values, equal.values, rtol=20 * excess)
        assert nearly.rest == pytest.approx(equal.rest, rel=20 * excess)
    at, beyond = (
        quadratic_inverse_shrinkage(values, 8, n_samples, r * n_samples) for r in (1.5 - 1e-9, 1.5)
    )
    np.testing.assert_allclose(at.values, beyond.values, rtol=1e-6)


@pytest.mark.parametrize(("n_samples", "n_rows"), [(50, 80), (60, 90), (45, 400)])
def test_weighted_eigenvalues_solve_the_equation_of_the_weights(n_samples, n_rows):
    """``sum_t w_t q / (1 + w_t q) = n s`` for q = n Theta, with many weights that decay evenly."""
    n, many = 40, 10**6
    decay = scipy.optimize.brentq(lambda a: a / 2 / np.tanh(a / 2) - n_rows / n_samples, 1e-3, 1e3)
    weights = np.exp(-decay * (np.arange(many) + 0.5) / many)
    weights /= weights.mean() * n_rows
    X = np.random.default_rng(0).standard_normal((n_rows, n))
    X *= np.exp(-decay / 2 * np.arange(n_rows) / n_rows)[:, None]
    values = np.linalg.svd(X, compute_uv=False) ** 2
    shrunk = quadratic_inverse_shrinkage(values, n, n_samples, n_rows)
    y, h = 1 / values, n**-0.5
    found = []
    for x in y:
        theta = np.mean(y / (y - x - 1j * h * y))
        s = 1 - theta.conjugate()
        E = np.exp(decay * n * s / n_rows)
        q = (E - 1) / (weights[0] * (1 - E * np.exp(-decay)))
        terms = np.mean(weights * q / (1 + weights * q)) * n_rows
        assert abs(terms - n * s) < 1e-4 * n * abs(s)
        found.append(q.imag / s.imag / x)
    expected = np.array(found) * values.sum() / np.sum(found)
    np.testing.assert_allclose(shrunk.values, expected, rtol=1e-5)


def test_weighted_eigenvalues_below_the_number_of_variables_descend():
    values = np.array([9.0, 3.0, 2.9, 1.2, 1.1, 0.4, 0.05, 0.01])
    shrunk = quadratic_inverse_shrinkage(values, 8, 6, 30).values
    assert np.diff(shrunk).max() <= 1e-15 * shrunk[0]


WEIGHTS = {
    "decay": lambda m, rng: np.exp(-2 * np.arange(10 * m) / m),
    "exponential": lambda m, rng: rng.exponential(size=2 * m),
    "uniform": lambda m, rng: rng.uniform(size=4 * m // 3),
}


def loss(Z, covariance, n_samples, n_rows):
    """The Kullback-Leibler divergence for each variable of normal distributions."""
    values, vectors = principal_components(Z)
    n = len(covariance)
    shrunk = quadratic_inverse_shrinkage(values, n, n_samples, n_rows)
    Q = vectors * (shrunk.values - shrunk.rest) @ vectors.T + shrunk.rest * np.eye(n)
    product = np.linalg.solve(Q, covariance)
    return (np.trace(product) - np.linalg.slogdet(product)[1] - n) / (2 * n)


@pytest.mark.parametrize("weights", list(WEIGHTS))
@pytest.mark.parametrize("m", [12, 40, 75, 95, 160])
@pytest.mark.parametrize("model", ["identity", "factors", "spikes", "near ones"])
def test_weighted_samples_are_as_good_as_so_many_samples(weights, m, model):
    """The largest measured difference is 0.12; by the rule for equal weights it is 500."""
    n, rng = 80, np.random.default_rng(m)
    loadings = rng.standard_normal((n, 3))
    covariance = {
        "identity": np.eye(n),
        "factors": loadings @ loadings.T + np.diag(rng.uniform(0.5, 1.5, n)),
        "spikes": np.diag(np.append([40.0, 10.0, 5.0], np.ones(n - 3))),
        "near ones": 0.7 ** np.abs(np.subtract.outer(np.arange(n), np.arange(n))),
    }[model]
    root = np.linalg.cholesky(covariance)
    losses, expected = [], []
    for _ in range(3):
        w = WEIGHTS[weights](m, rng)
        w /= w.mean()
        effective = w.sum() ** 2 / (w @ w)
        X = rng.standard_normal((len(w), n)) @ root.T
        Z = (X - np.average(X, axis=0, weights=w)) * np.sqrt(w)[:, None]
        losses.append(loss(Z, covariance, effective - 1, len(w) - 1))
        X = rng.standard_normal((round(effective), n)) @ root.T
        number = len(X) - 1
        expected.append(loss(X - X.mean(axis=0), covariance, number, number))
    assert np.mean(losses) <= np.mean(expected) + 0.15


def test_many_samples_leave_the_eigenvalues_as_they_are():
    values = np.array([9.0, 4.0, 1.0, 0.2])
    shrunk = quadratic_inverse_shrinkage(values, 4, 1e7)
    np.testing.assert_allclose(shrunk.values, values, rtol=1e-3)


@given(partitions(min_n=1, max_n=8), st.sampled_from([3, 20]), st.integers(0, 3))
def test_the_model_is_the_dense_one(p, n_samples, n_factors):
    Z = centred(n_samples, p.n, seed=p.n)
    result = factors_and_blocks(Z, p, n_factors)
    expected = dense_model(Z, p, n_factors)
    atol = tolerance(n_samples, p.n, n_factors) * np.linalg.norm(Z.T @ Z / n_samples)
    np.testing.assert_allclose(result.matrix().toarray(), expected, atol=atol)
    np.testing.assert_allclose(result.diagonal(), np.diag(expected), atol=atol)


@given(partitions(min_n=1, max_n=8), st.sampled_from([3, 20]), st.integers(0, 3))
def test_mixtures_are_the_dense_ones(p, n_samples, n_factors):
    Z = centred(n_samples, p.n, seed=p.n)
    S, model = Z.T @ Z / n_samples, dense_model(Z, p, n_factors)
    atol = tolerance(n_samples, p.n, n_factors) * np.linalg.norm(S)
    mixed = mix_with_samples(Z, p, n_factors, 0.3)
    np.testing.assert_allclose(mixed.matrix().toarray(), 0.3 * model + 0.7 * S, atol=atol)
    shrunk = mix_with_shrunk_samples(Z, p, n_factors, 0.3, equal_weights(n_samples - 1)).matrix()
    expected = 0.3 * model + 0.7 * dense_shrunk(Z, n_samples - 1)
    np.testing.assert_allclose(shrunk.toarray(), expected, atol=atol)
    assert shrunk.is_positive_definite()
    np.testing.assert_allclose(shrunk.inv().toarray() @ expected, np.eye(p.n), atol=1e-7)


def test_scales_are_on_both_sides():
    p = partition_of_two_blocks()
    Z, scale = centred(5, 6), np.arange(1.0, 7.0)
    for n_factors, weight in ((0, 1.0), (1, 1.0), (1, 0.4)):
        mixed = mix_with_samples(Z, p, n_factors, weight)
        expected = mixed.matrix().toarray() * np.outer(scale, scale)
        np.testing.assert_allclose(mixed.scaled(scale).toarray(), expected, rtol=1e-12)


def test_equal_variables_do_not_disturb_the_shrinkage():
    """Columns that are there twice lower the rank below the number of samples."""
    Z = centred(40, 5)[:, [0, 1, 2, 3, 4, 0, 1, 2]]
    p = partition_of_two_blocks(8)
    matrix = mix_with_shrunk_samples(Z, p, 1, 0.5, equal_weights(39)).matrix()
    assert matrix.is_positive_definite()
    assert np.trace(matrix.toarray()) == pytest.approx((Z**2).sum() / 40, rel=1e-12)


def partition_of_two_blocks(n=6):
    return Partition.from_labels([0, 0] + [1] * (n - 2))
