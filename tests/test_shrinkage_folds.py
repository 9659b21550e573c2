"""The folds of an estimated shrinkage, with weights of samples."""

import numpy as np
import pytest
from sklearn.base import clone

import blockmat as bm
from blockmat.covariance import BlockCovariance
from blockmat.fitting.held_out import test_rows as rows_of_folds
from blockmat.fitting.held_out import test_rows_by_weight as rows_by_weight
from blockmat.inference.shrinkage import cross_fitted_shrinkage
from blockmat.sources.standardize import Standardized
from blockmat.sources.weighted_samples import WeightedSamples
from blockmat.sources.weights import as_weights
from blockmat.testing import project_dense

LABELS = np.repeat([0, 1, 2], 4)
KINDS = ["cv", "optimal"]
OF_BLOCKS = [None, LABELS]


def samples(n_samples, seed=0, labels=LABELS, common=0.5):
    """Samples with a factor for each block, and one that every second variable has."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_samples, 3))[:, labels] + rng.standard_normal((n_samples, 12))
    X[:, ::2] += common * rng.standard_normal((n_samples, 1))
    return X


# Choosing folds


@pytest.mark.parametrize("n_samples", [4, 5, 9, 10, 37, 100])
@pytest.mark.parametrize("kind", ["frequency", "reliability"])
def test_equal_weights_have_the_folds_of_rows(n_samples, kind):
    for w in (1.0, 0.1, 3.0):
        folds = rows_by_weight(as_weights(np.full(n_samples, w), n_samples, kind))
        if w > 1 and kind == "frequency":
            continue  # the folds of three times as many rows
        assert [x.tolist() for x in folds] == [x.tolist() for x in rows_of_folds(n_samples)]


@pytest.mark.parametrize("seed", range(20))
def test_folds_are_consecutive_and_of_about_equal_weight(seed):
    rng = np.random.default_rng(seed)
    w = rng.exponential(size=rng.integers(4, 60)) ** rng.integers(1, 4)
    weights = as_weights(w, len(w), "reliability")
    folds = rows_by_weight(weights)
    np.testing.assert_array_equal(np.concatenate(folds), np.arange(len(w)))
    n_folds = max(2, min(5, int(weights.n_effective) // 2))
    assert len(folds) <= n_folds
    # A share is that of array_split, which is at most one of n_effective // 1 samples above the mean;
    # each end of a fold is up to half of a weight away from its place.
    n_counted = max(int(weights.n_effective), 4)
    for rows in folds:
        assert w[rows].sum() <= w.sum() * -(-n_counted // n_folds) / n_counted + w.max() * (
            1 + 1e-9
        )


# Weights that divide into folds of twelve samples, with other numbers of rows in each
WHOLE = np.array(
    [1] * 12 + [2] * 6 + [3, 3, 1, 1, 1, 1, 1, 1] + [4, 4, 4] + [1, 5, 1, 1, 1, 1, 1, 1]
)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("labels", OF_BLOCKS)
@pytest.mark.parametrize("options", [{}, {"signs": True}, {"scaled": False}, {"n_factors": 1}])
def test_integer_weights_are_repeated_rows(labels, kind, options):
    """The search of "cv" ends within 1e-5 of the minimum; else the difference is rounding."""
    X = samples(len(WHOLE), seed=3)
    model = BlockCovariance(labels, n_blocks=3, shrinkage=kind, **options)
    repeated = clone(model).fit(np.repeat(X, WHOLE, axis=0))
    model.fit(X, sample_weight=WHOLE)
    assert 0.02 < repeated.shrinkage_ < 0.98
    rel, absolute = (0, 3e-5) if kind == "cv" else (1e-9, 0)
    assert model.shrinkage_ == pytest.approx(repeated.shrinkage_, rel=rel, abs=absolute)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("labels", OF_BLOCKS)
@pytest.mark.parametrize("weight_type", ["frequency", "reliability"])
def test_rows_of_tiny_weight_change_nothing(labels, kind, weight_type):
    """The first 400 rows have another structure. Their share of the weight is 4 times that of one.

    The rest of the result changes by the order of this share, and "cv" ends within 1e-5.
    """
    old = 3 * samples(400, seed=1, labels=LABELS[::-1].reshape(3, 4).T.ravel())
    new = samples(100, seed=2)
    model = BlockCovariance(labels, n_blocks=3, shrinkage=kind, weight_type=weight_type)
    expected = clone(model).fit(new).shrinkage_
    assert 0.05 < expected < 0.98
    for tiny in (1e-5, 1e-9, 1e-30):
        w = np.repeat([tiny, 1.0], [400, 100])
        found = clone(model).fit(np.vstack([old, new]), sample_weight=w).shrinkage_
        assert found == pytest.approx(expected, abs=3e-5 + 4e3 * tiny)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("labels", OF_BLOCKS)
def test_decayed_rows_change_nothing(labels, kind):
    """Rows before 30 half-lives have 1e-9 of the weight."""
    old, new = 3 * samples(400, seed=1, labels=LABELS[::-1]), samples(330, seed=2)
    model = BlockCovariance(labels, n_blocks=3, shrinkage=kind, half_life=11.0)
    expected = clone(model).fit(new).shrinkage_
    found = clone(model).fit(np.vstack([old, new])).shrinkage_
    assert found == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_folds_without_enough_samples_are_left_out(kind):
    """One row has most of the weight; without it few samples are left."""
    X = samples(40)
    w = np.where(np.arange(40) == 39, 100.0, 1e-9)
    for labels in OF_BLOCKS:
        model = BlockCovariance(labels, n_blocks=1, shrinkage=kind)
        if labels is not None:
            assert 0 < model.fit(X, sample_weight=w).shrinkage_ <= 1
        else:
            with pytest.raises(
                ValueError, match="the weights of X count as too few samples without"
            ):
                model.fit(X, sample_weight=w)
    w[:20] = 1.0
    model = BlockCovariance(n_blocks=2, shrinkage=kind).fit(X, sample_weight=w)
    assert 0 <= model.shrinkage_ <= 1


def test_a_fold_without_enough_rows_for_the_blocks_is_left_out():
    """The newest two rows have half of the weight, and are too few for three blocks."""
    model = BlockCovariance(LABELS, shrinkage="cv", half_life=1.5).fit(samples(100))
    assert 0 < model.shrinkage_ <= 1


@pytest.mark.parametrize("w", [None, np.random.default_rng(0).exponential(size=23)])
def test_the_optimal_shrinkage_is_the_mean_over_folds_by_their_weights(w):
    """The oracle computes the norms of single samples as dense matrices; 1e-10 covers rounding."""
    X = samples(23, common=3)
    X -= np.average(X, axis=0, weights=w)
    p = bm.Partition.from_labels(LABELS)
    values = np.ones(23) if w is None else w
    weights = None if w is None else as_weights(w, 23, "reliability")
    folds = rows_of_folds(23) if w is None else rows_by_weight(weights)
    assert len({round(values[rows].sum(), 9) for rows in folds}) > 1

    def off(C):
        return C - project_dense(C, p)

    noise = signal = 0.0
    for rows in folds:
        each = [off(np.outer(x, x)) for x in X[rows]]
        S = np.average(each, axis=0, weights=values[rows])
        spread = np.average([((C - S) ** 2).sum() for C in each], weights=values[rows])
        share = values[rows].sum() / values.sum()
        n_effective = values[rows].sum() ** 2 / (values[rows] ** 2).sum()
        noise += share * spread
        signal += share * ((S**2).sum() - spread / n_effective)
    noise *= (values**2).sum() / values.sum() ** 2
    data = WeightedSamples(X, weights)
    deviations = X * np.sqrt(values / values.mean())[:, None]
    standardized = Standardized(deviations, np.zeros(12), np.ones(12))
    found = cross_fitted_shrinkage(
        data, standardized, lambda train: (standardized, p), lambda train: True
    )
    assert signal > 0
    assert found == pytest.approx(noise / (noise + signal), rel=1e-10)
