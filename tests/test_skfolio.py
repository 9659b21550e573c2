"""The estimators for skfolio, in skfolio."""

import inspect

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import parametrize_with_checks

import blockmat as bm
from blockmat import covariance
from blockmat.skfolio import BlockClustering, BlockCovariance

pytest.importorskip("skfolio")
from skfolio.distance import PearsonDistance
from skfolio.model_selection import covariance_forecast_evaluation
from skfolio.optimization import MeanRisk, NestedClustersOptimization
from skfolio.prior import EmpiricalPrior

LABELS = np.repeat([0, 1, 2], [5, 7, 4])
NAMES = [f"asset{i}" for i in range(16)]


def returns(n_samples=120, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_samples, 3))[:, LABELS] + rng.standard_normal((n_samples, 16))
    index = pd.date_range("2020-01-01", periods=n_samples)
    return pd.DataFrame(X * rng.uniform(0.005, 0.02, 16), index, NAMES)


@parametrize_with_checks(
    [
        BlockCovariance(),
        BlockCovariance(n_blocks=2, shrinkage="optimal", half_life=40.0),
        BlockCovariance(signs=True, shrinkage="cv", n_blocks=1),
        BlockCovariance(missing="pairwise"),
    ]
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@pytest.mark.filterwarnings("ignore:The covariance matrix is not positive definite:UserWarning")
def test_scikit_learns_checks(estimator, check):
    check(estimator)


def test_it_has_all_parameters_of_the_estimator_for_scikit_learn():
    ours = inspect.signature(BlockCovariance.__init__).parameters
    for name, parameter in inspect.signature(covariance.BlockCovariance).parameters.items():
        assert ours[name].default == parameter.default


def test_the_covariance_is_that_of_the_estimator_for_scikit_learn():
    X = returns()
    options = {"labels": dict(zip(NAMES, LABELS.tolist(), strict=True)), "shrinkage": 0.5}
    model = BlockCovariance(**options).fit(X)
    expected = covariance.BlockCovariance(**options).fit(X)
    np.testing.assert_allclose(model.covariance_, expected.covariance_)
    np.testing.assert_allclose(model.location_, expected.location_)
    assert model.score(X) == pytest.approx(expected.score(X))
    w = pd.Series(np.arange(120.0), X.index)
    weighted = BlockCovariance(**options).fit(X, sample_weight=w[::-1])
    expected = covariance.BlockCovariance(**options).fit(X, sample_weight=w)
    np.testing.assert_allclose(weighted.covariance_, expected.covariance_)


def test_it_is_a_part_of_portfolio_models():
    X = returns()
    prior = EmpiricalPrior(covariance_estimator=BlockCovariance(n_blocks=3))
    model = MeanRisk(prior_estimator=prior, min_weights=None, max_weights=None).fit(X)
    inverse = np.linalg.solve(BlockCovariance(n_blocks=3).fit(X).covariance_, np.ones(16))
    np.testing.assert_allclose(model.weights_, inverse / inverse.sum(), atol=1e-3)
    grid = {"prior_estimator__covariance_estimator__shrinkage": [None, "optimal"]}
    search = GridSearchCV(model, grid, cv=3).fit(X)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_its_forecasts_are_evaluated():
    X = returns(140)
    result = covariance_forecast_evaluation(BlockCovariance(LABELS), X, train_size=100, test_size=5)
    assert result.summary().loc["Mahalanobis ratio", "mean"] == pytest.approx(1, abs=0.25)


def test_assets_with_few_returns_are_not_listed():
    X = returns()
    X.iloc[:, 3] = np.nan
    X.iloc[:101, 7] = np.nan  # 19 returns
    X.iloc[:, 9] = 0.01
    listed = ~np.isin(np.arange(16), [3, 7, 9])
    model = BlockCovariance(dict(zip(NAMES, LABELS, strict=True)), constant="keep").fit(X)
    plain = covariance.BlockCovariance(LABELS[listed]).fit(X.loc[:, listed])
    np.testing.assert_allclose(model.covariance_[np.ix_(listed, listed)], plain.covariance_)
    np.testing.assert_allclose(model.location_[listed], plain.location_)
    assert np.isnan(model.covariance_[~listed]).all()
    assert np.isnan(model.location_[~listed]).all()
    assert np.isfinite(model.score(X))
    short = BlockCovariance(LABELS, min_observations=500).fit(returns(30))
    assert np.isfinite(short.covariance_).all()
    with pytest.raises(ValueError, match="no column of X has 20 numbers; expected one with"):
        clone(model).fit(np.full((30, 16), np.nan))
    with pytest.raises(ValueError, match="min_observations is 1; expected at least 2"):
        BlockCovariance(min_observations=1).fit(X)
    gap = returns(30)
    gap.iloc[3, 3] = np.nan
    assert np.isfinite(BlockCovariance(missing="pairwise").fit(gap).covariance_).all()
    with pytest.raises(ValueError, match="NaN"):
        BlockCovariance().fit(gap)


@pytest.mark.parametrize("n_blocks", [3, "auto"])
def test_blocks_are_clusters_of_assets(n_blocks):
    X = returns(300)
    clusters = BlockClustering(n_blocks)
    model = NestedClustersOptimization(clustering_estimator=clusters, cv="ignore")
    model.fit(X.to_numpy())
    np.testing.assert_array_equal(model.clustering_estimator_.labels_, LABELS)
    assert model.weights_.sum() == pytest.approx(1)
    distance = PearsonDistance().fit(X).distance_
    found = BlockClustering(n_blocks).fit(distance)
    assert found.partition_ == bm.find_partition(X.corr(), n_blocks)
    known = BlockClustering(n_blocks, n_samples=300).fit(distance).partition_
    assert known == bm.find_partition(X.corr(), n_blocks, n_samples=300)
    np.testing.assert_array_equal(clone(clusters).fit_predict(distance), LABELS)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.zeros((2, 3)), r"X has shape \(2, 3\); expected a square matrix of distances"),
        (np.eye(3), "X is no matrix of distances from 0 to 1"),
        (2 - 2 * np.eye(3), "X is no matrix of distances from 0 to 1"),
        (
            np.array([[0, 0.2], [0.4, 0]]),
            "X is not symmetric: mirrored entries differ by up to 0.2",
        ),
    ],
)
def test_clusters_need_distances(X, message):
    with pytest.raises((ValueError, np.linalg.LinAlgError), match=message):
        BlockClustering(1).fit(X)


@pytest.mark.parametrize("n_blocks", [None, "x"])
def test_the_number_of_clusters_is_a_number_or_auto(n_blocks):
    with pytest.raises(
        ValueError, match=f"n_blocks is {n_blocks!r}; expected an integer or 'auto'"
    ):
        BlockClustering(n_blocks).fit(0.5 - 0.5 * np.eye(3))


def test_distances_may_differ_by_rounding():
    """A distance of 1e-8 is that of a correlation of 1 - eps."""
    distance = PearsonDistance().fit(returns().to_numpy()[:, [0, 0, 1, 5, 6]]).distance_.copy()
    distance[0, 1] = distance[1, 0] + 1e-8
    assert len(BlockClustering(2).fit(distance).labels_) == 5


FOUND = {"names": NAMES, "numbers": list(range(16)), "years": list(range(2000, 2016))}


@pytest.mark.parametrize("kind", FOUND)
def test_blocks_and_messages_name_the_assets(kind):
    """By the names of the columns, also numbers, or by the numbers of all columns."""
    X, names = returns(), FOUND[kind]
    X.iloc[:, 3] = np.nan
    X.iloc[:, 9] = 0.01
    X.columns = names
    given = X.to_numpy() if kind == "numbers" else X
    w = pd.Series(np.linspace(1, 2, 120), X.index)
    model = BlockCovariance(LABELS, constant="keep").fit(given, sample_weight=w)
    np.testing.assert_array_equal(model.listed_, np.arange(16) != 3)
    np.testing.assert_array_equal(model.labels_[model.listed_], model.estimator_.labels_)
    assert model.labels_[3] == -1
    assert model.groups_ == model.estimator_.groups_
    assert model.groups_ == {
        b: [names[i] for i in np.flatnonzero(model.labels_ == b)] for b in range(4)
    }  # the constant asset is alone
    if kind == "names":
        assert list(model.estimator_.feature_names_in_) == names[:3] + names[4:]
    with pytest.raises(ValueError, match=f"constant in 1 of its columns: {names[9]!r}"):
        BlockCovariance(LABELS).fit(given)


def test_an_error_leaves_the_estimators_as_they_were():
    X = returns()
    model, clusters = BlockCovariance(LABELS).fit(X), BlockClustering(3)
    clusters.fit(PearsonDistance().fit(X).distance_)
    for fitted, bad in ((model, X.iloc[:, :3]), (clusters, 2 - 2 * np.eye(3))):
        before = {name: repr(value) for name, value in vars(fitted).items()}
        with pytest.raises(ValueError, match=r"labels|X is no matrix"):
            fitted.fit(bad)
        assert {name: repr(value) for name, value in vars(fitted).items()} == before
    assert np.isfinite(model.score(X))


def test_masked_arrays_are_refused():
    masked = np.ma.masked_array(returns().to_numpy(), returns().to_numpy() > 0)
    for method in (BlockCovariance(LABELS).fit, BlockClustering(3).fit):
        with pytest.raises(TypeError, match="X is a masked array; expected one without a mask"):
            method(masked)


def test_an_asset_with_half_of_few_returns_is_listed():
    """With 30 rows it takes 15 returns, not 20; with 29 also 15."""
    for n_rows in (30, 29):
        X = returns(n_rows)
        X.iloc[:-15, 3] = np.nan
        X.iloc[:-14, 7] = np.nan
        model = BlockCovariance(LABELS, missing="pairwise").fit(X)
        np.testing.assert_array_equal(np.isnan(model.location_), np.arange(16) == 7)
