"""Correlations of samples with gaps and weights, compared with a dense matrix of pairwise means."""

import numpy as np
import pytest

import blockmat as bm
from blockmat.finding.kmeans import in_order
from blockmat.finding.objectives import GaussianLoss
from blockmat.finding.observed_correlation import ObservedCorrelation
from blockmat.finding.search import PartitionSearch
from blockmat.finding.similarity import Correlation
from blockmat.sources.weights import as_weights

LABELS = np.repeat(np.arange(4), [8, 6, 4, 3])
RNG = np.random.default_rng(7)


def gappy(T, share=0.1):
    X = RNG.standard_normal((T, 4))[:, LABELS] + RNG.standard_normal((T, len(LABELS)))
    X[RNG.random(X.shape) < share] = np.nan
    return 3 + 2 * X


def dense(X, w):
    """The sums of weighted products, and of weights, for each pair of variables."""
    mean = [np.average(x[~np.isnan(x)], weights=w[~np.isnan(x)]) for x in X.T]
    seen, Z = ~np.isnan(X), np.nan_to_num(X - mean)
    Z /= np.sqrt(w @ Z**2 / (w @ seen))
    return (Z.T * w) @ Z, (seen.T * w) @ seen.astype(float)


@pytest.mark.parametrize("T", [15, 60])
def test_row_sums_pool_the_observed_pairs(T):
    X, w = gappy(T), RNG.integers(0, 3, T)
    X[:, 0] = np.where(np.isnan(X[:, 1]), X[:, 0], np.nan)  # variables 0 and 1 never meet
    similarity = ObservedCorrelation(X, as_weights(w, T))
    products, counts = dense(X, w)
    for p in (
        bm.Partition.from_labels(LABELS),
        bm.Partition.singletons(21),
        bm.Partition.trivial(21),
    ):
        sums = similarity.row_sums(p)
        for i in range(21):
            for b in range(p.n_blocks):
                others = np.flatnonzero((p.labels == b) & (np.arange(21) != i))
                n_pairs, expected = counts[i, others].sum(), float(p.labels[i] == b)
                if n_pairs:
                    expected += len(others) * products[i, others].sum() / n_pairs
                assert sums[i, b] == pytest.approx(expected, abs=1e-12)
    off = ~np.eye(21, dtype=bool)
    assert similarity.n_samples == round(counts[off].mean())


def test_reliabilities_have_an_effective_number_of_samples():
    X, w = gappy(40, 0), RNG.random(40) + 0.1
    similarity = ObservedCorrelation(X, as_weights(w, 40, "reliability"))
    assert similarity.n_samples == round(w.sum() ** 2 / (w**2).sum())


@pytest.mark.parametrize("T", [15, 60])
def test_complete_samples_are_those_of_before(T):
    X = gappy(T, 0)
    similarity, expected = ObservedCorrelation(X, as_weights(None, T)), Correlation(X)
    p = bm.Partition.from_labels(LABELS)
    np.testing.assert_allclose(similarity.row_sums(p), expected.row_sums(p), atol=1e-12)
    points, others = (s.points(4, RNG) for s in (similarity, expected))
    np.testing.assert_allclose(points @ points.T, others @ others.T, atol=1e-12)
    assert (similarity.n, similarity.n_samples) == (expected.n, expected.n_samples)
    np.testing.assert_allclose(similarity.scale, expected.scale)


@pytest.mark.parametrize("T", [15, 60])
def test_signs_are_those_of_the_samples(T):
    X, signs = gappy(T), RNG.choice([-1.0, 1.0], 21)
    weights, p = as_weights(None, T), bm.Partition.from_labels(LABELS)
    flipped = ObservedCorrelation(X, weights).with_signs(signs)
    expected = ObservedCorrelation(X * signs, weights)
    np.testing.assert_allclose(flipped.row_sums(p), expected.row_sums(p), atol=1e-12)
    np.testing.assert_allclose(
        np.abs(flipped.factor.T @ flipped.factor),
        np.abs(expected.factor.T @ expected.factor),
        atol=1e-12,
    )


@pytest.mark.parametrize(("T", "share"), [(60, 0.05), (120, 0.3), (18, 0.1)])
def test_blocks_are_found_in_spite_of_gaps(T, share):
    similarity = ObservedCorrelation(gappy(T, share), as_weights(None, T))
    search = PartitionSearch(similarity, GaussianLoss(similarity.n_samples), 4, False, False, 0)
    found = in_order(search.find(4).blocks.labels)
    pairs = (found.labels[:, None] == found.labels) == (LABELS[:, None] == LABELS)
    assert pairs.mean() > (0.99 if T > 18 else 0.85)


def test_too_few_pairs_are_refused():
    X = np.where(np.arange(12)[:, None] % 6 == np.arange(6), RNG.standard_normal((12, 6)), np.nan)
    X[:2] = RNG.standard_normal((2, 6))
    with pytest.raises(ValueError, match="two columns of X have 2 samples in common on average"):
        ObservedCorrelation(X, as_weights(None, 12))
