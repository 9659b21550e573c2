"""BlockCovariance of samples with missing values, against dense formulas."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
from scipy.stats import multivariate_normal
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import parametrize_with_checks

import blockmat as bm
from blockmat.covariance import BlockCovariance
from blockmat.sources.standardize_observed import standardize_observed
from blockmat.sources.weights import as_weights
from blockmat.testing import project_dense

Blocks = partial(BlockCovariance, shrinkage=None)  # without factors
LABELS = np.repeat([0, 1, 2], [5, 7, 4])
P = bm.Partition.from_labels(LABELS)
REVERSED = np.where(np.isin(np.arange(16), [2, 5, 6, 13]), -1, 1)


def samples(n_samples=120, seed=0, share=0.2, noise=0.8):
    """Samples with a factor for each block, scales of their own, a mean and gaps."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_samples, 3))[:, LABELS]
    X = (X + noise * rng.standard_normal((n_samples, 16))) * rng.uniform(0.5, 2, 16) + 3
    X[rng.random(X.shape) < share] = np.nan
    return X


def standardized(X, scaled=True, centre=True, w=None):
    w = as_weights(w, len(X))
    s = standardize_observed(X, w, centre, scaled)
    return s.with_gaps(), s.location, s.scale


@parametrize_with_checks(
    [
        BlockCovariance(missing="pairwise"),
        BlockCovariance(missing="em", n_blocks=2, scaled=False, shrinkage=None),
        BlockCovariance(missing="em", n_factors=1, shrinkage=0.5),
        BlockCovariance(missing="pairwise", constant="keep", half_life=30.0, shrinkage=0.5),
    ],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
def test_scikit_learns_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("missing", ["pairwise", "em"])
@pytest.mark.parametrize("options", [{}, {"shrinkage": "cv"}, {"half_life": 20}, {"signs": True}])
def test_without_gaps_nothing_changes(missing, options):
    X = samples(share=0)
    plain = Blocks(**options).fit(X)
    model = Blocks(missing=missing, **options).fit(X)
    np.testing.assert_array_equal(model.covariance_, plain.covariance_)
    np.testing.assert_array_equal(model.location_, plain.location_)
    assert model.score(X) == plain.score(X)


@pytest.mark.parametrize("missing", ["pairwise", "em"])
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("assume_centered", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_model_is_the_fit_of_standardized_samples(missing, scaled, assume_centered, dtype):
    X = samples().astype(dtype)
    if assume_centered:
        X -= 3
    model = Blocks(LABELS, scaled=scaled, missing=missing, assume_centered=assume_centered)
    model.fit(X)
    Z, location, scale = standardized(X, scaled, not assume_centered)
    centred = assume_centered or missing == "pairwise"
    fit = bm.fit_samples(Z, LABELS, ddof=0, assume_centered=centred, missing=missing)
    expected = fit.toarray() * np.outer(scale, scale)
    rtol = 1e-5 if dtype == np.float32 else 1e-9
    assert model.covariance_.dtype == model.location_.dtype == dtype
    assert type(model.operator_) is (bm.ScaledBlockMatrix if scaled else bm.BlockConstantMatrix)
    np.testing.assert_allclose(model.covariance_, expected, rtol=rtol, atol=rtol)
    if missing == "pairwise":
        np.testing.assert_allclose(model.location_, location, rtol=rtol, atol=rtol)
    if assume_centered:
        np.testing.assert_array_equal(model.location_, 0)


def test_the_mean_of_em_is_the_most_likely_one():
    """At a maximum the mean equals that of the samples whose gaps have conditional means."""
    X = samples()
    X[:, 0] = np.where(X[:, 1] > 3, np.nan, X[:, 0])  # so observed values are too low
    model = Blocks(LABELS, missing="em").fit(X)
    filled = dense_fill(X, model.location_, model.covariance_)[0]
    np.testing.assert_allclose(model.location_, filled.mean(axis=0), rtol=1e-4)
    assert model.location_[0] > np.nanmean(X[:, 0]) + 0.1


def dense_fill(X, mean, covariance):
    """Return conditional means of the samples, and the sum of conditional covariances."""
    filled, lost = X.copy(), np.zeros_like(covariance)
    for x in filled:
        gone = np.isnan(x)
        if not gone.any():
            continue
        weights = np.linalg.solve(
            covariance[np.ix_(~gone, ~gone)], covariance[np.ix_(~gone, gone)]
        ).T
        x[gone] = mean[gone] + weights @ (x - mean)[~gone]
        rest = covariance[np.ix_(gone, gone)] - weights @ covariance[np.ix_(~gone, gone)]
        lost[np.ix_(gone, gone)] += rest
    return filled, lost


@pytest.mark.parametrize("missing", ["pairwise", "em"])
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_shrinkage_mixes_the_fit_with_the_expected_sample_covariance(missing, scaled, weighted):
    X = samples()
    w = np.random.default_rng(0).integers(0, 4, len(X)) if weighted else np.ones(len(X), int)
    options = {"scaled": scaled, "missing": missing}
    fit = Blocks(LABELS, **options).fit(X, sample_weight=w)
    model = Blocks(LABELS, shrinkage=0.3, **options).fit(X, sample_weight=w)
    filled, lost = dense_fill(np.repeat(X, w, axis=0), fit.location_, fit.covariance_)
    s = standardized(X, scaled, True, w)[2]
    D = (filled - fit.location_) / s
    S = (D.T @ D + project_dense(lost / np.outer(s, s), P)) / len(D)
    expected = (0.3 * project_dense(S, P) + 0.7 * S) * np.outer(s, s)
    np.testing.assert_allclose(model.covariance_, expected, rtol=1e-8, atol=1e-8)
    assert isinstance(model.operator_, bm.BlockPlusLowRank)
    assert model.operator_.is_positive_definite()


@pytest.mark.parametrize("missing", ["pairwise", "em"])
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("options", [{"n_factors": 2}, {"shrinkage": "nonlinear"}])
def test_factors_are_those_of_the_expected_sample_covariance(missing, scaled, options):
    """Few gaps change the estimate little, and all of it is positive definite."""
    full = BlockCovariance(LABELS, scaled=scaled, **({"shrinkage": None} | options))
    model = clone(full).set_params(missing=missing).fit(samples(400, share=0.02))
    full.fit(samples(400, share=0))
    size = np.abs(full.covariance_).max()
    np.testing.assert_allclose(model.covariance_, full.covariance_, atol=0.1 * size)
    assert model.operator_.is_positive_definite()
    assert model.n_factors_ == full.n_factors_
    if scaled:
        s = standardized(samples(400, share=0.02))[2]
        np.testing.assert_allclose(model.covariance_.diagonal(), s**2)


@pytest.mark.parametrize("kind", ["optimal", "cv"])
@pytest.mark.parametrize("labels", [None, LABELS])
def test_an_estimated_shrinkage_is_about_that_without_gaps(labels, kind):
    X = samples(200, noise=1.5)
    full = samples(200, noise=1.5, share=0)
    extra = np.random.default_rng(1).standard_normal((200, 1))
    X[:, ::2] += extra
    full[:, ::2] += extra
    plain = Blocks(labels, n_blocks=3, shrinkage=kind).fit(full)
    for missing in ("pairwise", "em"):
        options = {"n_blocks": 3, "shrinkage": kind, "missing": missing}
        model = Blocks(labels, **options).fit(X)
        assert model.shrinkage_ == pytest.approx(plain.shrinkage_, abs=0.15)


@pytest.mark.parametrize("missing", ["pairwise", "em"])
@pytest.mark.parametrize("options", [{}, {"shrinkage": 0.5}, {"signs": True}, {"scaled": False}])
@pytest.mark.parametrize("labels", [None, LABELS])
def test_integer_weights_are_repeated_rows(labels, options, missing):
    X = samples(150)
    X[4] = np.nan
    w = np.random.default_rng(0).integers(0, 4, len(X))
    model = Blocks(labels, missing=missing, n_blocks=3, **options)
    repeated = clone(model).fit(np.repeat(X, w, axis=0))
    model.fit(X, sample_weight=w)
    np.testing.assert_array_equal(model.labels_, LABELS)
    np.testing.assert_array_equal(model.labels_, repeated.labels_)
    np.testing.assert_allclose(model.location_, repeated.location_, rtol=1e-6)
    np.testing.assert_allclose(model.covariance_, repeated.covariance_, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("missing", ["pairwise", "em"])
@pytest.mark.parametrize("kind", [None, 0.5, "cv"])
@pytest.mark.parametrize("labels", [None, LABELS])
def test_reversed_variables_get_the_covariance_of_the_others(labels, kind, missing):
    X = samples(200)
    options = {"n_blocks": 3, "shrinkage": kind, "missing": missing, "signs": True}
    plain = Blocks(labels, **options).fit(X)
    model = Blocks(labels, **options).fit(X * REVERSED)
    np.testing.assert_array_equal(plain.signs_, 1)
    np.testing.assert_array_equal(model.labels_, LABELS)
    np.testing.assert_array_equal(model.signs_, REVERSED * REVERSED[[0, 5, 12]][LABELS])
    expected = plain.covariance_ * np.outer(REVERSED, REVERSED)
    np.testing.assert_allclose(model.covariance_, expected, rtol=1e-8, atol=1e-9)


def test_constant_columns_may_have_gaps():
    X = np.insert(samples(), [0, 7], [[0.5, -2.0]], axis=1)
    X[3:9, [0, 8]] = np.nan
    model = Blocks(missing="pairwise", constant="keep", n_blocks=3).fit(X)
    assert np.flatnonzero(model.constant_).tolist() == [0, 8]
    np.testing.assert_array_equal(model.location_[[0, 8]], [0.5, -2])
    rest = Blocks(missing="pairwise", n_blocks=3).fit(samples())
    varying = ~model.constant_
    np.testing.assert_allclose(model.covariance_[np.ix_(varying, varying)], rest.covariance_)
    assert model.score(X) == pytest.approx(rest.score(samples()))
    with pytest.raises(ValueError, match="X is constant in 2 of its columns: 0, 8"):
        Blocks(missing="pairwise").fit(X)


@pytest.mark.parametrize("missing", ["pairwise", "em"])
def test_blocks_are_found_in_spite_of_gaps(missing):
    X = samples(200, share=0.3)
    X[:140, 7] = np.nan  # a late listing
    model = Blocks(missing=missing).fit(X)
    np.testing.assert_array_equal(model.labels_, LABELS)


# Densities of what is observed


@pytest.mark.parametrize("options", [{}, {"shrinkage": 0.5}, {"scaled": False}, {"signs": True}])
def test_likelihoods_and_distances_are_those_of_the_observed_values(options):
    model = Blocks(LABELS, missing="pairwise", **options).fit(samples())
    new = samples(25, seed=1)
    new[3], new[5] = new[4], np.nan
    new[7, 3:] = new[9, 1:12] = np.nan  # more than half of the variables
    densities, distances = [], []
    for x in new:
        seen = ~np.isnan(x)
        if not seen.any():
            distances.append(np.nan)
            continue
        S, d = model.covariance_[np.ix_(seen, seen)], (x - model.location_)[seen]
        densities.append(multivariate_normal(cov=S).logpdf(d))
        distances.append(d @ np.linalg.solve(S, d))
    assert model.score(new) == pytest.approx(np.mean(densities))
    np.testing.assert_allclose(model.mahalanobis(new), distances)
    w = np.random.default_rng(0).integers(0, 3, 25)
    expected = np.average(densities, weights=np.delete(w, 5))
    assert model.score(new, sample_weight=w) == pytest.approx(expected)


def test_the_number_of_blocks_is_chosen_by_the_likelihood_of_observed_values():
    X = samples(150)
    grid = {"n_blocks": [1, 3], "shrinkage": [None, 0.5], "missing": ["pairwise", "em"]}
    search = GridSearchCV(Blocks(), grid).fit(X)
    assert search.best_params_["n_blocks"] == 3
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


# Bad input


def changed(X, rows, columns, value):
    X = X.copy()
    X[rows, columns] = value
    return X


@pytest.mark.parametrize(
    ("options", "X", "message"),
    [
        ({"missing": "raise"}, samples(), "NaN"),
        ({"missing": "mean"}, samples(), "missing is 'mean'; expected 'raise', 'pairwise' or 'em'"),
        (
            {},
            changed(samples(), slice(None), [2, 5], np.nan),
            "no value in 2 .* columns: 2, 5; exp",
        ),
        ({"constant": "keep"}, changed(samples(), slice(None), 2, np.nan), "columns: 2; expected"),
        ({}, np.full((5, 3), np.nan), "X has 0 rows; expected at least 2 samples"),
        ({}, changed(samples(), 3, 4, np.inf), "infinity"),
        (
            {},
            np.vstack([np.arange(3.0), np.full((5, 3), np.nan)]),
            "1 rows; expected at least 2",
        ),
        (
            {"labels": np.arange(16)},
            changed(samples(), slice(12, None), slice(None), np.nan),
            "X has 12 samples, too few for 16 blocks",
        ),
        (
            {},
            samples(12, share=0.6),
            "two columns of X have values in . of the same samples on a",
        ),
    ],
)
def test_bad_input_is_refused(options, X, message):
    model = Blocks(**({"missing": "pairwise"} | options))
    with pytest.raises(ValueError, match=message):
        model.fit(X)
    assert not any(name.endswith("_") for name in vars(model) if name != "n_features_in_")


def test_columns_without_values_are_named():
    df = pd.DataFrame(samples(), columns=[f"v{i}" for i in range(16)])
    df["v3"] = np.nan
    with pytest.raises(ValueError, match="no value in 1 of its columns: 'v3'; expected"):
        Blocks(missing="em").fit(df)
    df["v0"] = 1.0
    with pytest.raises(ValueError, match="no value in 1 of its columns: 'v3'; expected"):
        Blocks(missing="em", constant="keep").fit(df)


def test_samples_without_values_have_no_likelihood():
    model = Blocks(LABELS, missing="pairwise").fit(samples())
    with pytest.raises(ValueError, match="X has no values; expected at least one sample"):
        model.score(np.full((3, 16), np.nan))
    assert np.isnan(model.mahalanobis(np.full((3, 16), np.nan))).all()
    strict = Blocks(LABELS).fit(samples(share=0))
    for method in (strict.score, strict.mahalanobis):
        with pytest.raises(ValueError, match="NaN"):
            method(samples())


def test_a_stream_has_no_gaps():
    with pytest.raises(AttributeError) as info:
        Blocks(missing="em").partial_fit(samples())
    assert "missing is 'em'; partial_fit expects 'raise'" in str(info.value.__cause__)


@pytest.mark.parametrize("missing", ["pairwise", "em"])
def test_rows_without_a_value_count_for_nothing(missing):
    X = samples()
    w = np.random.default_rng(0).uniform(0.5, 2, 120)
    X[:30] = np.nan
    model = Blocks(LABELS, missing=missing, weight_type="reliability").fit(X, sample_weight=w)
    assert model.n_effective_ == pytest.approx(w[30:].sum() ** 2 / (w[30:] ** 2).sum())
    with pytest.raises(
        ValueError, match=r"the weights of X count as 2\.5 samples; expected at least"
    ):
        Blocks(missing=missing).fit(X, sample_weight=np.repeat([1, 2.5 / 90], [30, 90]))
    few = np.random.default_rng(0).standard_normal((4, 16))
    few[0] = np.nan
    with pytest.raises(ValueError, match="X has 2 rows; expected at least 3 samples"):
        Blocks(missing=missing, signs=True).fit(few, sample_weight=[1, 1, 1, 0])
