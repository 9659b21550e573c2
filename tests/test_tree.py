"""Nested partitions: the rise of the loss against the loss of merged blocks, and the tree."""

import itertools

import numpy as np
import pytest
from scipy.cluster.hierarchy import cut_tree, dendrogram, is_valid_linkage

import blockmat as bm
from blockmat.finding.correlations.similarity import Correlation, SymmetricMatrix
from blockmat.finding.networks.degree_loss import DegreeLoss
from blockmat.finding.networks.network import Network
from blockmat.finding.search.kmeans import in_order
from blockmat.finding.search.objectives import FrobeniusLoss, GaussianLoss, block_statistics

LABELS = np.array([0, 1, 2, 0, 3, 1, 1, 4, 2, 2, 0, 2, 3, 1])  # block 4 has one variable
EPS = np.finfo(np.float64).eps


def problem(kind, seed=0):
    """A matrix or samples of 14 variables in five blocks, and the objective."""
    rng = np.random.default_rng(seed)
    n = len(LABELS)
    X = rng.standard_normal((40, 5))[:, LABELS] + rng.standard_normal((40, n)) + 0.3 * rng.random(n)
    if kind == "samples":
        return Correlation(X), GaussianLoss(40)
    if kind == "network":
        edges = np.triu(rng.integers(0, 4, (n, n)))  # with loops, which do not count
        network = Network(edges + edges.T)
        return network, DegreeLoss(network.degrees, network.squared_norm)
    A = np.cov(X, rowvar=False) * 50
    similarity = SymmetricMatrix(A)
    return similarity, FrobeniusLoss(similarity.squared_norm, n, similarity.exponent)


def loss(similarity, objective, labels):
    p = in_order(labels)
    return objective.loss(block_statistics(similarity, p.labels, p.n_blocks))


@pytest.mark.parametrize(
    ("kind", "sign"),
    [("matrix", 1), ("matrix", -1), ("samples", 1), ("samples", -1), ("network", 1)],
)
def test_the_rise_of_the_loss_is_that_of_the_merged_blocks(kind, sign):
    similarity, objective = problem(kind)
    signs = np.ones(len(LABELS))
    labels = LABELS.copy()
    merges = objective.merges(block_statistics(similarity, labels, 5))
    for step in range(4):
        names = np.unique(labels)
        before = loss(similarity if sign > 0 else similarity.with_signs(signs), objective, labels)
        found = merges.increases(sign)
        size = 10 * len(LABELS) if kind == "samples" else similarity.squared_norm
        for a, b in itertools.combinations(range(5 - step), 2):
            merged = np.where(labels == names[b], names[a], labels)
            changed = np.where(labels == names[b], sign * signs, signs)
            signed = similarity if sign > 0 else similarity.with_signs(changed)
            after = loss(signed, objective, merged)
            # sums over n^2 entries, and a few subtractions of terms of the size of the loss
            assert found[a, b] == pytest.approx(after - before, rel=0, abs=1000 * EPS * size)
        a, b = sorted(np.random.default_rng(step).choice(5 - step, 2, replace=False).tolist())
        merges.merge(a, b, sign)
        signs[labels == names[b]] *= sign
        labels[labels == names[b]] = names[a]


def test_the_numbers_of_blocks_in_another_order_do_not_matter():
    similarity, objective = problem("samples")
    renamed = np.array([3, 0, 4, 1, 2])[LABELS]
    a, b = (objective.merges(block_statistics(similarity, x, 5)) for x in (LABELS, renamed))
    np.testing.assert_allclose(a.increases(), b.increases(), rtol=0, atol=100 * EPS)


def planted(signs=False, seed=0):
    """Samples of 24 variables in 6 blocks; pairs of blocks are correlated, and their labels."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(6), 4))
    pairs, single = rng.standard_normal((500, 3)), rng.standard_normal((500, 6))
    X = pairs[:, labels // 2] + 0.7 * single[:, labels] + 0.5 * rng.standard_normal((500, 24))
    flips = rng.choice([-1, 1], size=24) if signs else np.ones(24, int)
    return X * flips, labels, flips


@pytest.mark.parametrize("signs", [False, True])
@pytest.mark.parametrize("kind", ["matrix", "samples"])
def test_correlated_blocks_are_merged_first(kind, signs):
    X, labels, flips = planted(signs)
    source = X if kind == "samples" else np.cov(X, rowvar=False)
    path = bm.partition_path(source, kind == "samples", signs=signs, max_blocks=6)
    tree = path.tree
    assert tree.partition is path.best
    k = path.best.n_blocks
    assert k == 6
    assert is_valid_linkage(tree.links)
    assert not tree.links.flags.writeable
    expected = in_order(labels // 2)
    assert tree.cut(3).labels.tolist() == expected.labels.tolist()
    assert tree.cut(6) == path.best
    assert tree.cut(1).n_blocks == 1
    if signs:
        for members in tree.cut(3):
            assert abs((tree.signs * flips)[members].sum()) == 8
        np.testing.assert_array_equal(path.best_signs, path.signs[int(np.argmin(path.criterion))])
    else:
        assert tree.signs is None
        assert path.best_signs is None


def test_scipy_cuts_and_draws_the_tree():
    X, _, _ = planted()
    tree = bm.partition_path(X, True).tree
    for k in range(1, tree.partition.n_blocks + 1):
        cut = cut_tree(tree.links, k)[:, 0][tree.partition.labels]
        assert in_order(cut) == tree.cut(k)
    leaves = dendrogram(tree.links, no_plot=True)["leaves"]
    assert sorted(leaves) == list(range(tree.partition.n_blocks))


def test_heights_are_the_rise_of_the_loss_in_the_units_of_the_source():
    X, _, _ = planted()
    for unit in (1.0, 1e-150, 1e150):
        A = np.cov(X, rowvar=False) * unit
        tree = bm.partition_path(A).tree
        similarity = SymmetricMatrix(np.cov(X, rowvar=False))
        objective = FrobeniusLoss(similarity.squared_norm, 24, similarity.exponent)
        scale = 4.0**similarity.exponent
        for step, row in enumerate(tree.links):
            p = tree.cut(tree.partition.n_blocks - step - 1)
            rise = loss(similarity, objective, p.labels)
            rise -= loss(similarity, objective, tree.partition.labels)
            expected = rise * scale * unit * unit
            assert row[2] == pytest.approx(expected, rel=1e-8)


def test_intervals_stay_intervals():
    pytest.importorskip("ruptures")
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(5), 4)
    X = rng.standard_normal((300, 3))[:, [0, 1, 0, 2, 1]][:, labels] + rng.standard_normal(
        (300, 20)
    )
    path = bm.partition_path(X, True, contiguous=True)
    assert path.best.labels.tolist() == labels.tolist()
    for k in range(1, 6):
        assert (np.diff(path.tree.cut(k).labels) >= 0).all()
    free = bm.partition_path(X, True)
    assert free.tree.cut(3).labels.tolist() == np.array([0, 1, 0, 2, 1])[labels].tolist() or (
        free.best.n_blocks == 3
    )


def test_one_block_is_a_tree_without_merges():
    tree = bm.partition_path(np.ones((3, 3))).tree
    assert tree.links.shape == (0, 4)
    assert tree.cut(1).labels.tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match="n_blocks is 2; expected at most 1, the number of blocks"):
        tree.cut(2)
    with pytest.raises(ValueError, match="n_blocks is 0"):
        tree.cut(0)
    with pytest.raises(TypeError, match="n_blocks is 1"):
        tree.cut(1.5)


def test_correlations_without_their_number_of_samples_have_a_tree_too():
    X, labels, _ = planted()
    R = np.corrcoef(X, rowvar=False)
    for n_samples in (None, 500):
        tree = bm.partition_path(R, n_samples=n_samples, max_blocks=6).tree
        assert tree.cut(3).labels.tolist() == in_order(labels // 2).labels.tolist()
    same = bm.partition_path(X, True, max_blocks=6).tree
    np.testing.assert_allclose(tree.links, same.links, rtol=1e-9)


def test_communities_of_a_network_are_merged_whatever_their_degrees():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 15)
    rates = np.full((4, 4), 0.02) + np.kron(np.eye(2), np.full((2, 2), 0.1)) + 0.5 * np.eye(4)
    popular = rng.uniform(0.5, 1.5, 60)
    edges = np.triu(rng.poisson(rates[labels][:, labels] * np.outer(popular, popular)), 1)
    path = bm.partition_path(edges + edges.T, degrees=True)
    assert path.best.labels.tolist() == labels.tolist()
    assert path.tree.cut(2).labels.tolist() == (labels // 2).tolist()
    start = path.loss[path.n_blocks == 4]
    assert path.tree.links[-1, 2] == pytest.approx(path.loss[0] - start, rel=1e-10)
