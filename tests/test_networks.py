"""Blocks of networks with degrees corrected: the loss against dense formulas, and what is found."""

import math

import networkx as nx
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from sklearn.metrics import adjusted_rand_score

import blockmat as bm
from blockmat.finding.networks import network as networks
from blockmat.finding.networks.degree_loss import DegreeLoss
from blockmat.finding.networks.network import Network
from blockmat.finding.networks.network_search import NetworkSearch
from blockmat.finding.search.objectives import block_statistics
from blockmat.finding.search.search import SearchOptions


def random_network(n, seed, density=0.5):
    rng = np.random.default_rng(seed)
    A = np.triu(rng.poisson(density, (n, n)), 1).astype(float)
    A[0, 1:] += A[0, 1:].sum() == 0  # no network without edges
    return A + A.T


def planted(n=240, k=4, degree=16, seed=0):
    """A network of k communities whose nodes have very different degrees, and the communities."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, k, n)
    size = np.minimum(rng.pareto(2.5, n) + 0.5, 8)
    means = np.outer(size, size) * (0.2 + 2 * (labels[:, None] == labels))
    A = np.triu(rng.poisson(means * n * degree / means.sum()), 1) > 0
    return (A + A.T).astype(float), labels


@st.composite
def partitioned(draw, max_n=9):
    n = draw(st.integers(2, max_n))
    k = draw(st.integers(1, n))
    labels = list(range(k)) + draw(st.lists(st.integers(0, k - 1), min_size=n - k, max_size=n - k))
    return np.array(draw(st.permutations(labels))), k


def dense_parts(A, labels, k):
    """The normalized network without loops, the loadings, and the values of least squares."""
    A = A - np.diag(A.diagonal())
    d = A.sum(axis=1)
    scale = np.sqrt(np.where(d > 0, d, 1))
    N, off = A / np.outer(scale, scale), ~np.eye(len(A), dtype=bool)
    load = np.sqrt(np.outer(d, d))
    B = np.zeros((k, k))
    for b in range(k):
        for c in range(k):
            where = np.outer(labels == b, labels == c) & off
            if (load[where] > 0).any():
                B[b, c] = (N * load)[where].sum() / (load[where] ** 2).sum()
    return N, load, B, off


@given(partitioned(), st.integers(0, 99))
@settings(max_examples=60)
def test_the_loss_is_the_distance_to_blocks_with_loadings(case, seed):
    labels, k = case
    A = random_network(len(labels), seed) + np.diag(np.arange(len(labels)) % 3)
    network = Network(A)
    N, load, B, off = dense_parts(A, labels, k)
    expected = ((N - load * B[labels][:, labels])[off] ** 2).sum()
    objective = DegreeLoss(network.degrees, network.squared_norm)
    found = objective.loss(block_statistics(network, labels, k))
    np.testing.assert_allclose(found, expected, atol=1e-12)


@given(partitioned(), st.integers(0, 99))
@settings(max_examples=40)
def test_a_cost_is_the_loss_of_moving_one_node(case, seed):
    labels, k = case
    A = random_network(len(labels), seed)
    network = Network(A)
    N, load, B, off = dense_parts(A, labels, k)

    def loss(z):
        return ((N - load * B[z][:, z])[off] ** 2).sum()

    objective = DegreeLoss(network.degrees, network.squared_norm)
    costs = objective.costs(block_statistics(network, labels, k))
    for i in range(len(labels)):
        for b in range(k):
            moved = labels.copy()
            moved[i] = b
            change = loss(moved) - loss(labels)
            np.testing.assert_allclose(costs[i, b] - costs[i, labels[i]], change, atol=1e-12)


def test_the_deviance_is_the_integrated_likelihood():
    A, labels = random_network(7, 3), np.array([0, 1, 2, 0, 1, 0, 0])
    network, d = Network(A), A.sum(axis=1)

    def log_likelihood(labels, k):
        total = 0.0
        for b in range(k):
            for c in range(b, k):
                pairs = [(i, j) for i in range(7) for j in range(7)
                         if labels[i] == b and labels[j] == c and (b < c or i < j)]  # fmt: skip
                edges = sum(A[i, j] for i, j in pairs)
                mean = d[labels == b].sum() * d[labels == c].sum() / d.sum() / (1 + (b == c))
                integral, _ = quad(lambda t, e=edges, x=mean: t**e * math.exp(-t * (x + 1)), 0, 60)
                total += math.log(integral)
        return total

    objective = DegreeLoss(network.degrees, network.squared_norm)
    one = objective.deviance(block_statistics(network, np.zeros(7, dtype=int), 1))
    three = objective.deviance(block_statistics(network, labels, 3))
    expected = -2 * (log_likelihood(labels, 3) - log_likelihood(np.zeros(7, dtype=int), 1))
    np.testing.assert_allclose(three - one, expected, rtol=1e-6)


@pytest.mark.parametrize("make", [np.array, sp.csr_array, sp.coo_array, np.float32])
@pytest.mark.parametrize("n_blocks", [None, 4])
def test_communities_are_found_whatever_the_degrees(make, n_blocks):
    A, labels = planted()
    p = bm.find_partition(make(A), n_blocks, degrees=True)
    assert type(p) is bm.Partition
    assert adjusted_rand_score(labels, p.labels) > 0.9
    assert adjusted_rand_score(labels, bm.find_partition(A, 4).labels) < 0.6


def test_a_random_network_is_one_block():
    for seed in range(3):
        A = np.triu(np.random.default_rng(seed).random((150, 150)) < 0.08, 1).astype(float)
        assert bm.find_partition(A + A.T, degrees=True).n_blocks == 1


def test_the_two_halves_of_a_split_club_are_found():
    A = nx.to_numpy_array(nx.karate_club_graph(), weight=None)
    club = np.array([d["club"] == "Officer" for _, d in nx.karate_club_graph().nodes(data=True)])
    found = bm.find_partition(A, 2, degrees=True)
    assert adjusted_rand_score(club, found.labels) > 0.75


def test_a_path_has_the_criterion_of_its_partitions():
    A, _ = planted(120, 3)
    path = bm.partition_path(A, degrees=True, max_blocks=6)
    bic = bm.partition_path(A, degrees=True, max_blocks=6, criterion="bic")
    assert path.best.n_blocks == 3
    assert bm.find_partition(A, max_blocks=6, degrees=True) == path.best
    network = Network(A)
    objective = DegreeLoss(network.degrees, network.squared_norm)
    for k, p, loss, value, without in zip(
        path.n_blocks, path.partitions, path.loss, path.criterion, bic.criterion, strict=True
    ):
        blocks = block_statistics(network, p.labels.astype(int), int(k))
        np.testing.assert_allclose(loss, objective.loss(blocks))
        labels = 2 * (p.sizes * np.log(120 / p.sizes)).sum()
        np.testing.assert_allclose(value, objective.deviance(blocks) + labels)
        np.testing.assert_allclose(without, objective.deviance(blocks))
        assert bm.find_partition(A, int(k), degrees=True) == p


@pytest.mark.parametrize("seed", range(4))
def test_nodes_without_edges_join_the_largest_block(seed):
    A, _ = planted(seed=seed)
    before = bm.find_partition(A, 4, degrees=True)
    wider = np.zeros((247, 247))
    rows = np.delete(np.arange(247), [0, 5, 60, 100, 101, 200, 246])
    wider[np.ix_(rows, rows)] = A
    p = bm.find_partition(wider, 4, degrees=True)
    assert adjusted_rand_score(before.labels, p.labels[rows]) == 1
    others = np.delete(p.labels, rows)
    assert (others == np.bincount(p.labels[rows]).argmax()).all()


def test_there_are_at_most_as_many_blocks_as_nodes_with_edges():
    small = np.zeros((5, 5))
    small[1, 3] = small[3, 1] = 1
    assert bm.find_partition(small, 2, degrees=True).n_blocks == 2
    with pytest.raises(ValueError, match="n_blocks is 3; expected at most 2: the number of nodes"):
        bm.find_partition(small, 3, degrees=True)


def test_blocks_can_be_intervals_of_nodes():
    A, labels = planted()
    order = np.argsort(labels, kind="stable")
    p = bm.find_partition(A[order][:, order], 4, contiguous=True, degrees=True)
    assert p.is_contiguous
    assert adjusted_rand_score(labels[order], p.labels) > 0.95
    wider = np.zeros((250, 250))
    rows = np.setdiff1d(np.arange(250), [0, 1, 20, 100, 130, 150, 200, 210, 248, 249])
    wider[np.ix_(rows, rows)] = A[order][:, order]
    q = bm.find_partition(wider, 4, contiguous=True, degrees=True)
    assert q.is_contiguous
    np.testing.assert_array_equal(q.labels[rows], p.labels)


def test_many_nodes_need_only_the_largest_eigenvalues(monkeypatch):
    A, _ = planted()
    exact = Network(A).points(20, np.random.default_rng(0))
    monkeypatch.setattr(networks, "_EXACT_UP_TO", 100)
    for make in (np.array, sp.csr_array):
        points = Network(make(A)).points(20, np.random.default_rng(0))
        np.testing.assert_allclose(points @ points.T, exact @ exact.T, atol=1e-9)
    path = bm.partition_path(A, degrees=True, random_state=0)
    again = bm.partition_path(A, degrees=True, random_state=0)
    assert path.partitions == again.partitions


def test_noise_is_removed_from_points():
    A = np.triu(np.random.default_rng(0).random((300, 300)) < 0.1, 1).astype(float)
    points = Network(A + A.T).points(20, np.random.default_rng(0))
    assert (np.linalg.norm(points, axis=0) > 1e-12).sum() <= 2 + 1
    points = Network(planted(300, 4, 20)[0]).points(20, np.random.default_rng(0))
    assert 4 <= (np.linalg.norm(points, axis=0) > 1e-12).sum() <= 8


def test_the_better_of_two_starts_is_kept():
    A, _ = planted(seed=3)
    network = Network(A)
    objective = DegreeLoss(network.degrees, network.squared_norm)
    search = NetworkSearch(network, objective, 6, SearchOptions(False, False, 0))
    both = search.find(6).loss
    starts = search.starts
    losses = []
    for start in starts:
        search.starts = [start]
        losses.append(search.find(6).loss)
    assert both == min(losses) < max(losses)


BAD = {
    "samples": ({"samples": True}, "samples is True with degrees=True; expected a network"),
    "n_samples": ({"n_samples": 50}, "n_samples is 50 with degrees=True"),
    "signs": ({"signs": True}, "signs is True with degrees=True"),
    "held out": ({"criterion": "cv"}, "criterion is 'cv' with samples=False"),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("find", [bm.find_partition, bm.partition_path])
def test_what_a_network_has_not_is_refused(case, find):
    options, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        find(random_network(6, 0), degrees=True, **options)


@pytest.mark.parametrize("make", [np.array, sp.csr_array])
def test_what_is_no_network_is_refused(make):
    with pytest.raises(ValueError, match=r"source has the negative entry -2\.0; expected numbers"):
        bm.find_partition(make(np.array([[0, -2.0], [-2, 0]])), degrees=True)
    with pytest.raises(ValueError, match="source has no edges; expected a network"):
        bm.find_partition(make(np.eye(3)), degrees=True)
    with pytest.raises(ValueError, match="source has no edges; expected a network"):
        bm.find_partition(np.zeros((0, 0)), degrees=True)
