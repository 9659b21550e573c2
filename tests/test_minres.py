"""fit_factor of matrices: least squares off the diagonal, compared with generic optimizers."""

import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.optimize

import blockmat as bm
from blockmat.exceptions import DtypeError, NonFiniteError, NotHermitianError, ShapeError
from blockmat.fitting.minres import OffDiagonalLoss
from tests.test_fit_factor import planted, quiet_fit, samples

EPS = np.finfo(np.float64).eps


def fit(R, labels, **options):
    return bm.fit_factor(R, labels, samples=False, **options)


def squared_errors(R, model):
    off = ~np.eye(len(R), dtype=bool)
    return (R - model)[off]


@pytest.mark.parametrize("independent", [False, True])
def test_gradient_of_the_loss(independent):
    """Central differences of step h have errors of h^2 and eps / h, relative to the loss."""
    A = planted(0, [3, 1, 4])
    p = bm.Partition(A.partition.sizes)
    order, rng, h = A.partition.order, np.random.default_rng(0), 1e-5
    R = np.corrcoef(samples(A, 30).T)[np.ix_(order, order)]
    loss, s = OffDiagonalLoss(R, p, independent), rng.uniform(0.2, 1, 8)
    value, gradient = loss(s)
    C = np.eye(3) if independent else loss.correlations(s)
    Z = s[:, None] * np.eye(3)[p.labels]
    assert value == pytest.approx((squared_errors(R, Z @ C @ Z.T) ** 2).sum(), rel=1e-12)
    for i in range(8):
        e = h * (np.arange(8) == i)
        assert gradient[i] == pytest.approx((loss(s + e)[0] - loss(s - e)[0]) / (2 * h), abs=1e-7)
    if independent:
        return
    for a, b in ((0, 1), (0, 2), (1, 2)):  # C has the smallest loss
        D = C.copy()
        D[a, b] = D[b, a] = C[a, b] + 0.01
        assert value < (squared_errors(R, Z @ D @ Z.T) ** 2).sum()


@pytest.mark.parametrize("sizes", [[5], [3, 4], [2, 3, 3, 20]])
def test_an_exact_model_is_recovered(sizes):
    """The loss is a difference of sums, so loadings have errors of about the root of eps."""
    A = planted(1, sizes)
    found = fit(A.toarray(), A.partition, full_output=True, tol=1e-10)
    np.testing.assert_allclose(found.matrix.loadings, A.loadings, rtol=1e-5)
    np.testing.assert_allclose(found.matrix.noise, A.noise, rtol=1e-5)
    np.testing.assert_allclose(found.matrix.covariance, A.covariance, atol=1e-5)
    assert found.residual < 1e-6
    assert found.converged
    assert found.log_likelihood is None


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("sizes", [[6], [3, 4], [1, 3, 4]])
def test_no_generic_optimizer_finds_a_smaller_loss(seed, sizes):
    A = planted(seed, sizes)
    R, labels, k = np.corrcoef(samples(A, 100).T), A.partition.labels, len(sizes)
    n, first, second = len(labels), *np.triu_indices(k, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        found = fit(R, labels, full_output=True, min_noise=1e-4)
    alone = np.array(sizes)[labels] == 1

    def errors(x):
        C = np.eye(k)
        C[first, second] = C[second, first] = x[n:]
        s = np.where(alone, np.sqrt(1 - 1e-4), x[:n])
        return squared_errors(R, C[np.ix_(labels, labels)] * np.outer(s, s))

    M, most = found.matrix, np.sqrt(1 - 1e-4)
    best = np.concatenate([np.clip(M.loadings, -most, most), M.covariance[first, second]])
    elsewhere = np.concatenate([np.full(n, 0.5), np.zeros(len(first))])
    bounds = np.concatenate([np.full(n, most), np.full(len(first), np.inf)])
    loss = (errors(best) ** 2).sum()
    assert found.residual == pytest.approx(np.sqrt(loss / (n * (n - 1))), rel=1e-9)
    for start in (best, elsewhere):
        other = scipy.optimize.least_squares(errors, start, bounds=(-bounds, bounds), xtol=1e-12)
        assert loss <= 2 * other.cost + 1e-9
    np.testing.assert_allclose(M.diagonal(), 1, rtol=8 * EPS)


def test_the_loss_never_increases():
    A = planted(2, [4, 5, 6])
    R = np.corrcoef(samples(A, 50).T)
    values = [quiet_fit(R, A.partition, samples=False, max_iter=m).residual for m in range(1, 10)]
    assert (np.diff(values) <= 1e-12).all()
    assert values[-1] < values[0]


def test_order_and_scale_of_the_variables_do_not_matter():
    A = planted(3, [4, 3])
    R, labels = np.corrcoef(samples(A, 100).T), A.partition.labels
    plain = fit(R, labels, tol=1e-9)
    order, scale = np.random.default_rng(0).permutation(7), 10.0 ** np.arange(-3, 4)
    other = fit((R * np.outer(scale, scale))[np.ix_(order, order)], labels[order], tol=1e-9)
    np.testing.assert_allclose(other.loadings, (plain.loadings * scale)[order], rtol=1e-6)
    np.testing.assert_allclose(other.noise, (plain.noise * scale**2)[order], rtol=1e-6)
    np.testing.assert_allclose(other.covariance, plain.covariance, atol=1e-6)


def test_single_precision_stays():
    A = planted(3, [4, 3])
    R = np.corrcoef(samples(A, 100).T)
    single = fit(R.astype(np.float32), A.partition)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single.toarray(), fit(R, A.partition).toarray(), rtol=1e-5)


def test_independent_factors():
    A = planted(3, [4, 3, 1], independent=True)
    found = fit(A.toarray(), A.partition, independent=True, tol=1e-10)
    assert found.covariance.tolist() == [1, 1, 1]
    several = A.partition.sizes[A.partition.labels] > 1
    np.testing.assert_allclose(found.loadings[several], A.loadings[several], rtol=1e-5)


def test_blocks_of_one_variable_have_nothing_to_search_for():
    R = np.array([[4.0, 1.0], [1.0, 1.0]])
    found = fit(R, [1, 0], full_output=True, min_noise=0.01)
    assert found.n_iter == 0
    assert found.converged
    np.testing.assert_allclose(found.matrix.toarray(), R, rtol=1e-12)
    np.testing.assert_allclose(found.matrix.noise, [0.04, 0.01], rtol=1e-12)


def test_noise_at_its_bound_is_reported():
    R = np.array([[1, 0.8, 0.8], [0.8, 1, 0.4], [0.8, 0.4, 1]])
    found = fit(R, [0, 0, 0], full_output=True)
    assert found.at_bound.tolist() == [True, False, False]
    assert found.matrix.noise[0] == pytest.approx(0.005)
    with pytest.warns(RuntimeWarning, match="at its bound"):
        fit(R, [0, 0, 0])
    for k, names in ((3, r"0, 3, 6\. "), (4, r"0, 3, 6, \.\.\.\. ")):
        with pytest.warns(RuntimeWarning, match=rf"for {k} of {3 * k} variables: {names}"):
            fit(np.kron(np.eye(k), R), np.arange(k).repeat(3), independent=True)
    with pytest.raises(ValueError, match="without a number of samples; expected n_samples"):
        found.standard_errors()


def test_correlations_of_factors_that_no_factors_have_warn():
    R = np.eye(6) * 0.5 + 0.5 * np.repeat(np.repeat(np.eye(3), 2, 0), 2, 1)
    C = np.array([[1, 0.9, -0.9], [0.9, 1, 0.9], [-0.9, 0.9, 1]])
    R += 0.5 * np.repeat(np.repeat(C - np.eye(3), 2, 0), 2, 1)
    with pytest.warns(RuntimeWarning, match=r"negative eigenvalue -0\.8"):
        fit(R, [0, 0, 1, 1, 2, 2])


def test_names_of_rows_and_columns():
    A = planted(0, [3, 4])
    names = list("abcdefg")
    frame = pd.DataFrame(A.toarray(), names, names)
    labels = pd.Series(A.partition.labels, index=names)
    assert fit(frame, labels[::-1]).partition.labels.tolist() == A.partition.labels.tolist()
    with pytest.raises(ValueError, match="names in another order"):
        fit(frame[names[::-1]], labels)


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        (np.ones((3, 2)), ShapeError, r"square matrix \(for samples give samples=True\)"),
        ([[1, 0.5], [0.4, 1]], NotHermitianError, "source is not symmetric: mirrored entries"),
        ([[1, 0.5], [0.5, 0]], ValueError, "source has the variance 0.0 at index 1; expected pos"),
        ([[1, np.nan], [np.nan, 1]], NonFiniteError, r"source contains nan at index \(0, 1\)"),
        (np.eye(2) * 1j, DtypeError, "source has dtype complex128; expected real"),
        (np.eye(3), ShapeError, "partition has 2 labels; expected 3"),
    ],
)
def test_matrices_that_do_not_fit_are_refused(source, error, message):
    with pytest.raises(error, match=message):
        fit(source, [0, 0])
