"""Blocks of samples with missing values and weights, and the correlations in which they are found."""

import re

import numpy as np
import pandas as pd
import pytest

import blockmat as bm
from blockmat.exceptions import NonFiniteError, ShapeError
from blockmat.finding.correlations.expected_correlation import ExpectedCorrelation, ExpectedRows
from blockmat.finding.correlations.gaps import Blocks, find_with_gaps
from blockmat.finding.correlations.given_correlation import GivenCorrelation
from blockmat.finding.correlations.leading_spectrum import leading_spectrum
from blockmat.finding.correlations.similarity import Correlation
from blockmat.finding.problems.read_problem import Request, correlation_of, solve
from blockmat.finding.problems.read_samples import SampleOptions
from blockmat.finding.resampling.agreement import adjusted_rand
from blockmat.finding.resampling.resamples import RowResamples
from blockmat.fitting.gapped_rows import GappedRows
from blockmat.sources.gapped_samples import GappedSamples
from blockmat.sources.weighted_samples import WeightedSamples
from blockmat.sources.weights import as_weights

LABELS = np.repeat([0, 1, 2], [5, 7, 4])
P = bm.Partition.from_labels(LABELS)
REVERSED = np.where(np.isin(np.arange(16), [2, 5, 6, 13]), -1, 1)
FINDERS = (bm.find_partition, bm.partition_path, bm.partition_stability)


def samples(n_samples=200, share=0.2, seed=0, noise=0.8):
    """Samples with a factor for each block, scales of their own, a mean and gaps."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_samples, 3))[:, LABELS]
    X = (X + noise * rng.standard_normal((n_samples, 16))) * rng.uniform(0.5, 2, 16) + 3
    X[rng.random(X.shape) < share] = np.nan
    return X


# Correlations, compared with a dense matrix R


def of_samples(T):
    X = samples(T, 0)
    return Correlation(X), np.corrcoef(X, rowvar=False)


def of_weighted_samples(T):
    X, w = samples(T, 0), np.random.default_rng(1).integers(1, 4, T)
    return correlation_of(WeightedSamples.checked(X, w, "frequency", None)), np.corrcoef(
        np.repeat(X, w, axis=0), rowvar=False
    )


def given(T):
    R = np.corrcoef(samples(T, 0), rowvar=False)
    return GivenCorrelation(R, leading_spectrum(R), T), R


def expected(T):
    rng = np.random.default_rng(0)
    D, lost = (
        rng.standard_normal((T, 16)),
        bm.fit_samples(rng.standard_normal((20, 16)), LABELS % 2),
    )
    S = D.T @ D / T + lost.toarray()
    return ExpectedCorrelation(ExpectedRows(D, lost, 7)), S / np.sqrt(
        np.outer(np.diag(S), np.diag(S))
    )


@pytest.mark.parametrize("T", [9, 60])
@pytest.mark.parametrize("make", [of_samples, of_weighted_samples, given, expected])
@pytest.mark.parametrize("signs", [np.ones(16, int), REVERSED])
def test_sums_of_correlations_are_the_dense_ones(make, T, signs):
    """Fewer and more samples than variables."""
    correlations, R = make(T)
    correlations, R = correlations.with_signs(signs), R * np.outer(signs, signs)
    w = np.random.default_rng(2).random(16)
    v = w * np.random.default_rng(3).choice([-1, 1], 16)  # only squared norms need weights >= 0
    np.testing.assert_array_equal(correlations.diagonal, 1)
    for p in (P, bm.Partition.from_labels(np.arange(16) % 5), bm.Partition.singletons(16)):
        np.testing.assert_allclose(correlations.row_sums(p), p.block_sums(R, axis=1), atol=1e-12)
        weighted = p.block_sums(R * v, axis=1)
        np.testing.assert_allclose(correlations.row_sums(p, v), weighted, atol=1e-12)
    assert correlations.squared_norm(w) == pytest.approx(w @ R**2 @ w, rel=1e-12)


def test_expected_correlations_without_gaps_are_those_of_the_samples():
    Z = samples(120, 0)
    Z = (Z - Z.mean(axis=0)) / Z.std(axis=0)
    nothing = 0 * bm.BlockConstantMatrix.identity(P)
    similarity, plain = ExpectedCorrelation(ExpectedRows(Z, nothing, 120)), Correlation(Z)
    np.testing.assert_allclose(similarity.row_sums(P), plain.row_sums(P), atol=1e-12)
    points, others = (x.points(5, np.random.default_rng(0)) for x in (similarity, plain))
    np.testing.assert_allclose(points**2, others**2, atol=1e-9)


# Gaps


@pytest.mark.parametrize(
    ("missing", "options"),
    [
        ("pairwise", {}), ("em", {}), ("em", {"loadings": False}), ("pairwise", {"signs": True}),
        ("em", {"criterion": "bic"}), ("pairwise", {"criterion": "cv"}),
    ],
)  # fmt: skip
def test_without_gaps_nothing_changes(missing, options):
    X = samples(share=0)
    plain = bm.partition_path(X, samples=True, **options)
    path = bm.partition_path(X, samples=True, missing=missing, **options)
    np.testing.assert_array_equal(path.criterion, plain.criterion)
    np.testing.assert_array_equal(path.loss, plain.loss)
    assert path.partitions == plain.partitions


@pytest.mark.parametrize("missing", ["pairwise", "em"])
@pytest.mark.parametrize("share", [0.05, 0.4])
@pytest.mark.parametrize("loadings", [True, False])
@pytest.mark.parametrize("signs", [True, False])
def test_planted_blocks_are_found_in_spite_of_gaps(missing, share, loadings, signs):
    X = samples(share=share) * (REVERSED if signs else 1)
    X[:140, 7] = np.nan  # a late listing
    X[3] = np.nan
    options = {"samples": True, "missing": missing, "loadings": loadings, "signs": signs}
    for found in (bm.find_partition(X, 3, **options), bm.find_partition(X, **options)):
        if signs:
            found, found_signs = found
            np.testing.assert_array_equal(found_signs, REVERSED * REVERSED[[0, 5, 12]][LABELS])
        np.testing.assert_array_equal(found.labels, LABELS)
    path = bm.partition_path(X, **options)
    assert path.best == P
    assert path.tree.cut(3) == P


@pytest.mark.parametrize("missing", ["pairwise", "em"])
def test_blocks_of_weak_correlations_are_about_those_without_gaps(missing):
    """Means for missing values would lower the correlations of variables with many gaps."""
    full, X = samples(400, 0, noise=2), samples(400, 0, noise=2)
    rng = np.random.default_rng(1)
    X[rng.random(X.shape) < np.where(np.arange(16) % 2, 0.5, 0)] = np.nan
    assert bm.find_partition(full, 3, samples=True) == P
    assert adjusted_rand(bm.find_partition(X, 3, samples=True, missing=missing), P) > 0.8


def test_many_gaps_do_not_hide_weak_blocks():
    """They are found about as well as in as many complete samples as there are pairs of values."""
    indices, labels = [], np.repeat(np.arange(5), 5)
    for seed in range(3):
        rng = np.random.default_rng(seed)
        loadings = rng.uniform(0.3, 0.8, 25)
        factors = rng.multivariate_normal(np.zeros(5), 0.7 * np.eye(5) + 0.3, size=500)
        X = factors[:, labels] * loadings
        X += np.sqrt(1 - loadings**2) * rng.standard_normal(X.shape)
        X[rng.random(X.shape) < 0.4] = np.nan
        found = bm.find_partition(X, samples=True, missing="em")
        indices.append(adjusted_rand(found, bm.Partition.from_labels(labels)))
    assert np.mean(indices) > 0.85


def test_the_criterion_counts_samples_in_which_two_variables_are_observed():
    X, w = samples(150, 0.3), np.random.default_rng(0).random(150)
    X[5] = np.nan
    for weights, kind in ((None, "frequency"), (10 * w, "frequency"), (w, "reliability")):
        values = np.ones(150) if weights is None else weights
        squares = values if kind == "frequency" else values**2
        seen = ~np.isnan(X)
        pairs = (seen.T * values) @ seen / values[seen.any(axis=1)].sum()
        some = seen.any(axis=1)
        n_effective = values[some].sum() ** 2 / squares[some].sum()
        gapped = GappedSamples(X, as_weights(weights, 150, kind))
        assert gapped.n_joint == int(n_effective * pairs.mean())


# Weights


@pytest.mark.parametrize("share", [0, 0.2])
@pytest.mark.parametrize("loadings", [True, False])
@pytest.mark.parametrize("signs", [True, False])
def test_integer_weights_are_repeated_rows(share, loadings, signs):
    X = samples(100, share) * (REVERSED if signs else 1)
    w = np.random.default_rng(0).integers(0, 4, 100)
    options = {"samples": True, "missing": "em", "loadings": loadings, "signs": signs}
    weighted = bm.partition_path(X, sample_weight=w, max_blocks=6, **options)
    repeated = bm.partition_path(np.repeat(X, w, axis=0), max_blocks=6, **options)
    assert weighted.partitions == repeated.partitions
    np.testing.assert_allclose(weighted.criterion, repeated.criterion, rtol=1e-6)
    np.testing.assert_allclose(weighted.loss, repeated.loss, rtol=1e-6, atol=1e-8)
    given = bm.find_partition(X, 3, sample_weight=w, **options)
    assert (given[0] if signs else given) == P


def test_reliabilities_do_not_depend_on_their_unit():
    X, w = samples(80, 0), np.random.default_rng(0).random(80) + 0.1
    options = {"samples": True, "weight_type": "reliability"}
    a, b = (bm.partition_path(X, sample_weight=c * w, **options) for c in (1, 7))
    np.testing.assert_allclose(a.criterion, b.criterion, rtol=1e-9)
    assert a.n_blocks[-1] <= w.sum() ** 2 / (w**2).sum() - 2


def test_weights_of_a_series_are_matched_by_name():
    X, w = pd.DataFrame(samples(60, 0)), np.arange(60.0)
    X.index = [f"p{i}" for i in range(60)]
    shuffled = pd.Series(w, X.index).sample(frac=1, random_state=0)
    a = bm.partition_path(X, samples=True, sample_weight=shuffled)
    b = bm.partition_path(X, samples=True, sample_weight=w)
    np.testing.assert_array_equal(a.criterion, b.criterion)


def test_samples_of_weight_zero_may_be_anything_finite_or_missing():
    X, w = samples(60, 0), np.r_[np.zeros(2), np.ones(58)]
    X[0], X[1] = np.nan, 1e6
    a = bm.partition_path(X, samples=True, sample_weight=w, missing="pairwise")
    b = bm.partition_path(X[2:], samples=True)
    np.testing.assert_allclose(a.criterion, b.criterion, rtol=1e-9)


# Stability


@pytest.mark.parametrize("missing", ["pairwise", "em"])
@pytest.mark.parametrize("method", ["bootstrap", "subsample"])
@pytest.mark.parametrize("weighted", [True, False])
def test_clear_blocks_with_gaps_are_stable(missing, method, weighted):
    X = pd.DataFrame(samples(150, 0.1), columns=[f"v{i}" for i in range(16)])
    w = np.random.default_rng(0).integers(0, 3, 150) if weighted else None
    result = bm.partition_stability(
        X, samples=True, missing=missing, sample_weight=w, method=method, n_resamples=4, max_blocks=5,
        random_state=0,
    )  # fmt: skip
    assert result.partition == P
    assert result.of_block.min() > 0.8
    assert result.names == tuple(X.columns)


def test_resamples_keep_weights_and_gaps():
    X, w = samples(30, 0.2), np.arange(30.0)
    X[4] = np.nan
    drawn = RowResamples(GappedSamples(X, as_weights(w, 30)), 28, replace=True).draw(
        np.random.default_rng(0)
    )
    rows = drawn.source.weights.values.astype(int)
    assert 0 not in rows
    assert 4 not in rows
    assert len(rows) == 28
    np.testing.assert_array_equal(drawn.source.X, X[rows])


def test_resamples_without_values_in_a_column_are_drawn_again():
    X = samples(20, 0)
    X[4:, 2] = np.nan
    resamples = RowResamples(GappedSamples(X, as_weights(None, 20)), 20, replace=True)
    rng = np.random.default_rng(0)
    for _ in range(50):
        drawn = resamples.draw(rng).source.X[:, 2]
        assert np.nanmin(drawn) < np.nanmax(drawn)
    X[1:, 2] = np.nan
    with pytest.raises(ValueError, match="column 2 of source is constant in 100 resamples"):
        resamples.draw(rng)


# Bad input


def changed(X, rows, columns, value):
    X = X.copy()
    X[rows, columns] = value
    return X


@pytest.mark.parametrize("find", FINDERS)
@pytest.mark.parametrize(
    ("error", "message", "X", "options"),
    [
        (NonFiniteError, "X contains nan", samples(40), {"missing": "raise"}),
        (ValueError, "missing is 'mean'; expected", samples(40), {"missing": "mean"}),
        (NonFiniteError, "X contains infinity", changed(samples(40), 3, 4, np.inf), {}),
        (NonFiniteError, "X contains", changed(samples(40, 0), 3, 4, np.inf), {}),
        (ValueError, "X has no value in 2 of its columns: 2, 5; expected",
         changed(samples(40), slice(None), [2, 5], np.nan), {}),
        (ValueError, "X is constant in 1 of its columns: 2", changed(samples(40), slice(None), 2, 1.0), {}),
        (ValueError, "two columns of X have values in 2 of the same samples on average",
         samples(12, 0.65), {}),
        (ValueError, "X has 2 rows; expected at least 3 samples",
         changed(samples(5), slice(2, 5), slice(None), np.nan), {}),
        (ValueError, "X has 2 rows; expected at least 3 samples", samples(4, 0),
         {"sample_weight": [0, 0, 3, 3]}),
        (ValueError, "the weights of X count as 1 samples; expected at least 3", samples(40),
         {"sample_weight": np.full(40, 1 / 40)}),
        (ShapeError, "sample_weight has length 3; expected 40", samples(40),
         {"sample_weight": np.ones(3)}),
        (ValueError, "sample_weight is -1", samples(40), {"sample_weight": -np.ones(40)}),
        (ValueError, "weight_type is 'x'; expected", samples(40), {"weight_type": "x"}),
    ],
)  # fmt: skip
def test_bad_samples_are_refused(find, error, message, X, options):
    with pytest.raises(error, match=re.escape(message)):
        find(X, samples=True, **({"missing": "pairwise"} | options))


@pytest.mark.parametrize("find", FINDERS)
@pytest.mark.parametrize(
    ("name", "value"), [("missing", "em"), ("sample_weight", np.ones(16)), ("weight_type", "x")]
)
def test_a_matrix_has_no_gaps_or_weights(find, name, value):
    message = f"{name} is given for a matrix; expected it only with samples=True"
    with pytest.raises(ValueError, match=message):
        find(np.eye(16) + 0.1, n_samples=50, **{name: value})


@pytest.mark.parametrize("find", [bm.find_partition, bm.partition_path])
def test_cross_validation_needs_samples_without_gaps_and_weights(find):
    options = {"samples": True, "criterion": "cv", "missing": "em"}
    with pytest.raises(ValueError, match="'cv' and the samples have missing values; expected"):
        find(samples(40), **options)
    with pytest.raises(ValueError, match="'cv' and the samples have weights; expected"):
        find(samples(40, 0), sample_weight=np.ones(40), **options)


@pytest.mark.parametrize("find", FINDERS)
def test_columns_without_values_are_named(find):
    df = pd.DataFrame(samples(40), columns=[f"v{i}" for i in range(16)])
    df["v3"] = np.nan
    with pytest.raises(ValueError, match="no value in 1 of its columns: 'v3'; expected"):
        find(df, samples=True, missing="em")


@pytest.mark.parametrize("loadings", [True, False])
@pytest.mark.parametrize("seed", range(6))
def test_integer_weights_are_repeated_rows_of_few_different_samples(seed, loadings):
    """Twelve different rows of 24 variables: their number, not their weights, limits the blocks."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(12, 3))[:, rng.integers(0, 3, 24)] + rng.normal(size=(12, 24))
    w = rng.integers(0, 4, 12)
    repeated = np.repeat(X, w, axis=0)
    for n_blocks in (3, "auto"):
        options = {"n_blocks": n_blocks, "samples": True, "loadings": loadings}
        weighted = bm.find_partition(X, sample_weight=w, **options)
        assert weighted == bm.find_partition(repeated, **options)
    bound = np.count_nonzero(w) - 2
    for Y, weight in ((X, w), (repeated, None)):
        with pytest.raises(ValueError, match=f"n_blocks is {bound + 1}; expected at most {bound}"):
            bm.find_partition(Y, bound + 1, samples=True, loadings=loadings, sample_weight=weight)


def scripted(*numbers):
    """A search that finds blocks of the first variables, as many as the next of some numbers."""
    left = list(numbers)

    def find(correlations, k=None):
        chosen = left.pop(0)
        return Blocks(bm.Partition.from_labels(np.minimum(np.arange(16), chosen - 1)), None)

    return find, left


@pytest.mark.parametrize(
    ("chosen", "as_many"),
    [
        ([3, 3], [3]),  # blocks stay, and so does their number
        ([3, 4, 4], [3, 4]),  # the number is chosen again, and is another
        ([3, 5, 5], [4, 4, 5]),
        ([2, 9], [3, 4, 5, 6]),  # the last round chooses the number
        ([3, 3], None),
        ([3, 4, 5, 6, 7, 8], None),
    ],
)
def test_rounds_end_when_the_blocks_and_their_number_stay(chosen, as_many):
    X = samples(40)
    X[::3, 2] = np.nan
    rows = GappedRows.of(GappedSamples(X, as_weights(None, 40)).standardize(True, True))
    find, left = scripted(*chosen)
    again, left_again = (None, []) if as_many is None else scripted(*as_many)
    found = find_with_gaps(rows, 30, "pairwise", find, again)
    assert found.best.n_blocks == chosen[-1]
    assert left == left_again == []


def test_a_round_searches_no_more_blocks_than_gaps_allow():
    """Mean-filled samples count all rows, and the next rounds only those with both values."""
    X = samples(14, 0.35)
    most, asked = GappedSamples(X, as_weights(None, 14)).n_joint - 2, []

    def of(k):
        return Blocks(bm.Partition.from_labels(np.minimum(np.arange(16), k - 1)), None)

    def find_as_many(question, k):
        asked.append(k)
        return of(k)

    request = Request(samples=True, of_samples=SampleOptions("pairwise"))
    solve(X, request, lambda question: of(10), find_as_many)
    assert most < 10
    assert asked[0] == most
