"""BlockCovariance with a factor for each block."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks

import blockmat as bm
from blockmat.covariance import BlockCovariance
from blockmat.fitting.eigenvalue_shrinkage import quadratic_inverse_shrinkage

LABELS = np.repeat([0, 1, 2], [5, 7, 4])


def samples(n_samples=200, seed=0):
    rng = np.random.default_rng(seed)
    factors = rng.multivariate_normal(np.zeros(3), 0.6 * np.eye(3) + 0.4, n_samples)
    return factors[:, LABELS] * rng.uniform(0.5, 1.5, 16) + rng.normal(size=(n_samples, 16)) + 3


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_without_shrinkage_it_is_the_factor_fit_with_the_variances_of_the_samples(dtype):
    X = samples().astype(dtype)
    model = BlockCovariance(LABELS, loadings=True, shrinkage=None).fit(X)
    assert type(model.operator_) is bm.BlockFactorMatrix
    assert model.operator_.dtype == model.location_.dtype == dtype
    assert (model.n_factors_, model.shrinkage_) == (0, 1)
    fit = bm.fit_factor(X.astype(float), LABELS).toarray()
    scale = np.sqrt(X.astype(float).var(0) / np.diag(fit))
    rtol = 1e-4  # of the searches: their gradients are below 1e-6
    np.testing.assert_allclose(model.covariance_, fit * np.outer(scale, scale), rtol=rtol)
    np.testing.assert_allclose(model.covariance_.diagonal(), X.var(0), rtol=1e-5)


@pytest.mark.parametrize("n_samples", [12, 200])
def test_the_default_mixes_it_with_shrunk_eigenvalues(n_samples):
    X = samples(n_samples)
    model = BlockCovariance(LABELS, loadings=True).fit(X)
    assert type(model.operator_) is bm.BlockPlusLowRank
    assert model.shrinkage_ == 0.5
    R = np.corrcoef(X, rowvar=False)
    values, vectors = np.linalg.eigh(R)
    rank = min(n_samples - 1, 16)
    shrunk = quadratic_inverse_shrinkage(values[-rank:], 16, n_samples - 1)
    full = np.append(np.full(16 - rank, shrunk.rest), shrunk.values)
    alone = BlockCovariance(LABELS, loadings=True, shrinkage=None).fit(X).covariance_
    scale = X.std(0)
    mixed = (vectors * full @ vectors.T + alone / np.outer(scale, scale)) / 2
    scale = scale / np.sqrt(np.diag(mixed))
    expected = mixed * np.outer(scale, scale)
    np.testing.assert_allclose(model.covariance_, expected, rtol=1e-9, atol=1e-9)


def test_samples_with_gaps_and_weights():
    X = samples()
    X[np.random.default_rng(1).random(X.shape) < 0.1] = np.nan
    weights = np.random.default_rng(2).integers(0, 3, len(X))
    model = BlockCovariance(LABELS, loadings=True, shrinkage=None, missing="em")
    model.fit(X, sample_weight=weights)
    fit = bm.fit_factor(X, LABELS, missing="em", sample_weight=weights, full_output=True)
    np.testing.assert_allclose(model.covariance_, fit.matrix.toarray(), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(model.location_, fit.mean, atol=1e-4)
    total = model.score(X, sample_weight=weights) * weights.sum()
    assert total == pytest.approx(fit.log_likelihood, rel=1e-6)


@pytest.mark.parametrize("shrinkage", [None, "nonlinear"])
def test_blocks_and_signs_are_found(shrinkage):
    signs = np.where(np.arange(16) % 3 == 1, -1, 1)
    X = samples(600)
    model = BlockCovariance(loadings=True, signs=True, shrinkage=shrinkage).fit(X * signs)
    np.testing.assert_array_equal(model.labels_, LABELS)
    first = signs[[0, 5, 12]][LABELS]
    np.testing.assert_array_equal(model.signs_, signs * first)
    plain = BlockCovariance(LABELS, loadings=True, shrinkage=shrinkage).fit(X)
    expected = plain.covariance_ * np.outer(signs, signs)
    np.testing.assert_allclose(model.covariance_, expected, rtol=1e-4, atol=1e-4)


def test_batches_give_the_fit_of_all_samples():
    X = samples()
    model = BlockCovariance(loadings=True)
    copy = clone(model)
    assert copy.loadings is True
    copy.partial_fit(X[:100]).partial_fit(X[100:])
    np.testing.assert_allclose(copy.covariance_, model.fit(X).covariance_, rtol=1e-4, atol=1e-4)


BAD = [
    ({"loadings": 1}, TypeError, "loadings is 1; expected True or False"),
    ({"scaled": False}, ValueError, "scaled is False with loadings=True"),
    ({"constant": "keep"}, ValueError, "constant is 'keep' with loadings=True"),
    ({"n_factors": 1}, ValueError, "n_factors is 1 with loadings=True; expected 0 or 'auto'"),
    ({"shrinkage": "cv"}, ValueError, "shrinkage is 'cv' with loadings=True"),
    ({"shrinkage": 0.5}, ValueError, "shrinkage is 0.5 with loadings=True"),
    ({"missing": "em"}, ValueError, "missing is 'em' and shrinkage 'nonlinear' with loadings=True"),
    ({"missing": "pairwise", "shrinkage": None}, ValueError, "expected 'em' and None"),
]


@pytest.mark.parametrize(("options", "error", "message"), BAD)
def test_combinations_that_make_no_sense_are_refused(options, error, message):
    model = BlockCovariance(LABELS, **{"loadings": True, **options})
    with pytest.raises(error, match=message):
        model.fit(samples())
    assert not hasattr(model, "operator_")


@parametrize_with_checks(
    [
        BlockCovariance(loadings=True),
        BlockCovariance(loadings=True, shrinkage=None, missing="em", n_blocks=1),
    ]
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
def test_scikit_learns_checks(estimator, check):
    check(estimator)
