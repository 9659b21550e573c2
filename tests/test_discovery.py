"""Finding blocks: the objectives against dense formulas, and what find_partition promises."""

import itertools
import math
import sys

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

import blockmat as bm
from blockmat.finding import partition_path
from blockmat.finding.correlations import similarity
from blockmat.finding.correlations.similarity import Correlation, SymmetricMatrix
from blockmat.finding.criteria import criteria
from blockmat.finding.search import search, starts
from blockmat.finding.search.kmeans import cheapest_intervals, refine
from blockmat.finding.search.objectives import FrobeniusLoss, GaussianLoss, block_statistics
from blockmat.finding.search.starts import ChangePoints, WardTree
from blockmat.sources.standardize import compress_rows


def symmetric(n, seed=0):
    A = np.random.default_rng(seed).standard_normal((n, n))
    return A + A.T


def planted_samples(n_samples=100, sizes=(12, 8, 20, 5), seed=0):
    """Samples whose variables share one factor per block, in a random order; and their labels."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    factors = rng.standard_normal((n_samples, len(sizes)))
    return factors[:, labels] + 0.7 * rng.standard_normal((n_samples, len(labels))), labels


def planted_matrix(sizes=(12, 8, 20, 5), seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    values = 3 * symmetric(len(sizes), seed)
    return values[labels][:, labels] + 0.1 * symmetric(len(labels), seed + 1), labels


def same(labels, others):
    """Whether the blocks are the same, whatever their numbers."""
    pairs = set(zip(labels.tolist(), others.tolist(), strict=True))
    return len(pairs) == len(set(labels.tolist())) == len(set(others.tolist()))


@st.composite
def labellings(draw, max_n=9):
    """Labels in which every one of k blocks occurs."""
    n = draw(st.integers(1, max_n))
    k = draw(st.integers(1, n))
    labels = list(range(k)) + draw(st.lists(st.integers(0, k - 1), min_size=n - k, max_size=n - k))
    return np.array(draw(st.permutations(labels))), k


@given(labellings(), st.integers(0, 100))
def test_the_frobenius_loss_is_the_distance_to_the_fit(labelling, seed):
    labels, k = labelling
    A = symmetric(len(labels), seed)
    similarity = SymmetricMatrix(A)
    blocks = block_statistics(similarity, labels, k)
    expected = np.linalg.norm(A - bm.fit(A, labels).toarray()) ** 2
    loss = FrobeniusLoss(similarity.squared_norm, similarity.n).loss(blocks)
    np.testing.assert_allclose(loss, expected, atol=1e-9)


@given(labellings(), st.integers(0, 100))
def test_a_frobenius_cost_is_the_loss_of_moving_one_variable(labelling, seed):
    labels, k = labelling
    n = len(labels)
    A = symmetric(n, seed)
    similarity = SymmetricMatrix(A)
    blocks = block_statistics(similarity, labels, k)

    def loss(z):
        off = (A - blocks.values[z][:, z])[~np.eye(n, dtype=bool)]
        return (off**2).sum() + ((A.diagonal() - blocks.diagonal_values[z]) ** 2).sum()

    costs = FrobeniusLoss(similarity.squared_norm, similarity.n).costs(blocks)
    for i in range(n):
        for b in range(k):
            moved = labels.copy()
            moved[i] = b
            change = loss(moved) - loss(labels)
            np.testing.assert_allclose(costs[i, b] - costs[i, labels[i]], change, atol=1e-9)


@given(labellings(), st.integers(0, 100))
def test_the_gaussian_loss_is_the_log_determinant_of_the_fit(labelling, seed):
    labels, k = labelling
    X = np.random.default_rng(seed).standard_normal((len(labels) + 5, len(labels)))
    blocks = block_statistics(Correlation(X), labels, k)
    correlation = np.atleast_2d(np.corrcoef(X, rowvar=False))
    expected = bm.fit(correlation, labels).logdet()
    np.testing.assert_allclose(GaussianLoss(len(X)).loss(blocks), expected, atol=1e-8)


def test_the_gaussian_loss_is_exact_for_blocks_of_almost_equal_variables():
    X, labels = planted_samples(sizes=(4, 3, 1))
    X = np.random.default_rng(1).standard_normal((100, 3))[:, labels] + 1e-4 * X
    correlation = np.corrcoef(X, rowvar=False)  # 1 - 1e-8 in a block: 1e-8 known to 1e-8
    loss = GaussianLoss(100).loss(block_statistics(Correlation(X), labels, 3))
    np.testing.assert_allclose(loss, bm.fit(correlation, labels).logdet(), rtol=1e-6)


@pytest.mark.parametrize("noise", [1.0, 0.05])
def test_a_gaussian_cost_is_the_likelihood_given_the_block_means(noise):
    """Down to a variance of 2e-3 that the block means leave, just above the floor of 1e-3."""
    X, labels = planted_samples(sizes=(4, 3, 1))
    X = noise * X + (1 - noise) * np.random.default_rng(1).standard_normal((100, 3))[:, labels]
    k, n_samples = 3, len(X)
    blocks = block_statistics(Correlation(X), labels, k)
    costs = GaussianLoss(n_samples).costs(blocks)
    Z = (X - X.mean(0)) / X.std(0)
    C, own = blocks.values, np.diag(blocks.values)
    V = C + np.diag((1 - own) / blocks.sizes)
    for i in range(len(labels)):
        others = np.arange(len(labels)) != i
        members = [Z[:, others & (labels == b)] for b in range(k)]
        products = np.array([(x.T @ Z[:, i]).mean() / n_samples if x.size else own[b]
                             for b, x in enumerate(members)])  # fmt: skip
        for b in range(k):
            beta = np.linalg.solve(V, C[b])
            left = max(1 - C[b] @ beta, 1e-3)
            error = 1 - 2 * products @ beta + beta @ V @ beta
            np.testing.assert_allclose(costs[i, b], np.log(left) + error / left)


@pytest.mark.parametrize("samples", [False, True])
@given(st.integers(0, 1000), st.integers(2, 6))
@settings(max_examples=25)
@example(seed=15, k=2)  # where moving on would end higher
@example(seed=188, k=5)
def test_refinement_never_raises_the_loss_and_empties_no_block(samples, seed, k):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((9, 14))
    similarity = Correlation(X) if samples else SymmetricMatrix(X.T @ X)
    objective = GaussianLoss(9) if samples else FrobeniusLoss(similarity.squared_norm, similarity.n)
    labels = rng.permutation(np.arange(14) % k)
    start = objective.loss(block_statistics(similarity, labels, k))
    blocks, _, loss = refine(similarity, labels, k, objective)
    assert objective.loss(blocks) == loss <= start
    assert sorted(set(blocks.labels)) == list(range(k))


@pytest.mark.parametrize("n_blocks", [None, 4])
def test_planted_blocks_of_samples_are_found(n_blocks):
    X, labels = planted_samples()
    p = bm.find_partition(X, n_blocks, samples=True)
    assert type(p) is bm.Partition
    assert same(p.labels, labels)


@pytest.mark.parametrize("n_blocks", [None, 4])
@pytest.mark.parametrize("make", [np.array, sp.csr_array, sp.coo_matrix, np.float32])
def test_planted_blocks_of_a_matrix_are_found(n_blocks, make):
    A, labels = planted_matrix()
    p = bm.find_partition(make(A), n_blocks)
    assert same(p.labels, labels)


def test_moves_mend_what_the_clustering_got_wrong():
    X, labels = planted_samples(60, (30, 30, 30, 30), seed=3)
    X += np.random.default_rng(0).standard_normal(X.shape)
    similarity, objective = Correlation(X), GaussianLoss(len(X))
    start = np.where(np.arange(120) % 5 == 0, (labels + 1) % 4, labels)
    blocks = refine(similarity, start, 4, objective).blocks
    wrong = (blocks.labels != labels).sum()
    assert (start != labels).sum() == 24
    assert wrong <= 2


@pytest.mark.parametrize("samples", [False, True])
def test_there_are_as_many_blocks_as_asked_for(samples):
    X = np.random.default_rng(0).standard_normal((12, 10))
    X[:, 5:] = X[:, :5]  # every variable twice
    source = X if samples else np.corrcoef(X, rowvar=False)
    for k in range(1, 11):
        p = bm.find_partition(source, k, samples=samples)
        assert (p.n, p.n_blocks) == (10, k)
    twins = bm.find_partition(source, 5, samples=samples).labels
    assert twins[:5].tolist() == twins[5:].tolist()


@pytest.mark.parametrize("samples", [False, True])
def test_the_order_of_the_variables_does_not_matter(samples):
    source, _ = planted_samples(seed=5) if samples else planted_matrix(seed=5)
    order = np.random.default_rng(1).permutation(source.shape[1])
    shuffled = source[:, order] if samples else source[order][:, order]
    p = bm.find_partition(source, 6, samples=samples)
    q = bm.find_partition(shuffled, 6, samples=samples)
    assert same(q.labels, p.labels[order])


def test_a_block_of_one_is_as_alike_as_the_others():
    A = symmetric(5)
    blocks = block_statistics(SymmetricMatrix(A), np.array([0, 0, 1, 2, 2]), 3)
    assert blocks.values[0, 0] == A[0, 1]
    np.testing.assert_allclose(blocks.values[1, 1], (A[0, 1] + A[3, 4]) / 2)
    assert (np.diag(block_statistics(SymmetricMatrix(A), np.arange(5), 5).values) == 0).all()


def test_blocks_are_numbered_by_their_first_variables():
    A, _ = planted_matrix(seed=2)
    assert bm.find_partition(A, 4).labels[0] == 0


@pytest.mark.parametrize("factor", [1e-8, 1e8])
def test_the_unit_of_the_matrix_does_not_matter(factor):
    A, _ = planted_matrix()
    assert bm.find_partition(factor * A, max_blocks=8) == bm.find_partition(A, max_blocks=8)


@pytest.mark.parametrize("samples", [False, True])
def test_a_given_number_of_blocks_is_the_point_of_the_path(samples):
    X = np.random.default_rng(0).standard_normal((30, 40))
    source = X if samples else X.T @ X
    path = bm.partition_path(source, samples=samples, max_blocks=8)
    around = np.abs(path.n_blocks - path.best.n_blocks) <= 1  # others are not searched thoroughly
    for k, p in zip(path.n_blocks[around], np.array(path.partitions)[around], strict=True):
        assert bm.find_partition(source, int(k), samples=samples) == p
    similarity = Correlation(X) if samples else SymmetricMatrix(source)
    start = WardTree(similarity.points(20, np.random.default_rng()), 8, None).cut(8)
    assert not same(start, path.partitions[-1].labels)


def test_a_number_of_blocks_between_those_tried_first_is_found():
    assert 11 not in partition_path.spaced_numbers(30)
    A, labels = planted_matrix((9,) * 11)
    assert same(bm.find_partition(A, max_blocks=30).labels, labels)
    assert {12, 14} <= set(partition_path.spaced_numbers(30))
    assert not {11, 13} & set(partition_path.spaced_numbers(30))
    A, _ = planted_matrix((9,) * 12)
    path = bm.partition_path(A, max_blocks=30)
    assert path.best.n_blocks == 12
    assert {11, 13} <= set(path.n_blocks.tolist())


def test_each_number_of_blocks_is_searched_once(monkeypatch):
    numbers, find = [], search.PartitionSearch.find
    monkeypatch.setattr(
        search.PartitionSearch, "find", lambda self, k: numbers.append(k) or find(self, k)
    )
    A, _ = planted_matrix((9,) * 12)
    path = bm.partition_path(A, max_blocks=30)
    assert sorted(numbers) == path.n_blocks.tolist()


def test_many_variables_are_condensed_and_the_seed_decides():
    sizes = (700, 900, 600)
    X, labels = planted_samples(20, sizes, seed=1)
    assert len(labels) > starts._MAX_LEAVES
    p = bm.find_partition(X, 3, samples=True, random_state=0)
    assert (np.array(p.sizes) > 500).all()
    assert p == bm.find_partition(X, 3, samples=True, random_state=0)
    noise = np.random.default_rng(0).standard_normal((8, 2100))
    first, again = (bm.find_partition(noise, 3, samples=True, random_state=4) for _ in range(2))
    assert first == again
    assert first != bm.find_partition(noise, 3, samples=True, random_state=5)
    values = 5 * symmetric(3)
    A = values[labels][:, labels] + 0.1 * symmetric(len(labels))
    q = bm.find_partition(A, 3, random_state=0)
    assert same(q.labels, labels)


def block_constant(labels, k, seed):
    """A matrix with exactly one number per block, all of them different."""
    values = symmetric(k, seed)
    return values[labels][:, labels]


@st.composite
def many_variables(draw):
    """Labels of 2001 to 4000 variables, in blocks of any sizes."""
    k = draw(st.integers(1, 8))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    shares = rng.dirichlet(np.full(k, draw(st.sampled_from([0.2, 1, 5]))))
    others = rng.choice(k, draw(st.integers(2001, 4000)) - k, p=shares)
    return rng.permutation(np.concatenate([np.arange(k), others])), k


@given(many_variables(), st.integers(0, 999))
@settings(max_examples=8)
@example((np.repeat([0, 1, 2], 700), 3), 0)
def test_blocks_of_a_block_constant_matrix_of_many_variables_are_found(labelling, seed):
    labels, k = labelling
    A = block_constant(labels, k, seed)
    assert same(bm.find_partition(A, k, random_state=seed).labels, labels)
    assert same(bm.find_partition(A, random_state=seed).labels, labels)
    rows, cols, loss = bm.cocluster(A[:, ::5], k, 1, random_state=seed)
    assert same(rows.labels, labels)
    assert cols.n_blocks == 1
    assert loss >= 0


def test_one_variable_of_another_size_does_not_hide_the_blocks_of_the_others():
    labels = np.arange(2400) % 3
    A = block_constant(labels, 3, 0)
    A[7] *= 1e12
    A[:, 7] *= 1e12
    start = WardTree(A @ np.random.default_rng(0).standard_normal((2400, 64)), 4, None).cut(4)
    labels[7] = 3
    assert same(start, labels)


@given(labellings(60), st.integers(0, 100), st.data())
def test_there_are_as_many_blocks_as_asked_for_with_fewer_different_rows(labelling, seed, data):
    labels, k = labelling
    asked = data.draw(st.integers(1, len(labels)))
    A = block_constant(labels, k, seed)
    X = np.random.default_rng(seed).standard_normal((len(labels) + 3, k))[:, labels]
    with pytest.MonkeyPatch.context() as monkeypatch:  # as if there were thousands
        for name, value in (("_MAX_LEAVES", 12), ("_N_GROUPS", 6)):
            monkeypatch.setattr(starts, name, value)
        monkeypatch.setattr(similarity, "_EXACT_UP_TO", 5)
        assert bm.find_partition(A, asked).n_blocks == asked
        assert bm.find_partition(A, asked, signs=True)[0].n_blocks == asked
        assert bm.find_partition(X, asked, samples=True).n_blocks == asked
        rows, cols, _ = bm.cocluster(A, asked, asked)
        assert rows.n_blocks == cols.n_blocks == asked


@given(
    st.integers(2, 600), st.integers(1, 6), st.integers(0, 999), st.sampled_from([0.0, 1e-3, 1e3])
)
def test_what_is_left_of_a_block_constant_matrix_is_rounding_for_every_finer_partition(
    n, k, seed, own
):
    k = min(n, k)
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % k)
    A = block_constant(labels, k, seed) + own * np.eye(n)
    similarity = SymmetricMatrix(A)
    objective = FrobeniusLoss(similarity.squared_norm, n)
    exact = objective.deviance(block_statistics(similarity, labels, k))
    finer = np.unique(3 * labels + rng.integers(0, 3, n), return_inverse=True)[1]
    assert objective.deviance(block_statistics(similarity, finer, finer.max() + 1)) == exact


@st.composite
def tall_samples(draw):
    """More samples than variables, of any rank and in units of any size."""
    n = draw(st.integers(1, 30))
    n_samples, rank = n + draw(st.integers(1, 90)), draw(st.integers(1, n))
    rng = np.random.default_rng(draw(st.integers(0, 9999)))
    Z = rng.standard_normal((n_samples, rank)) @ rng.standard_normal((rank, n))
    Z[:, rng.random(n) < 0.1] = 0
    return Z * 10.0 ** rng.integers(-80, 80, n)


@given(tall_samples())
def test_few_rows_have_the_products_of_many(Z):
    n = Z.shape[1]
    few = compress_rows(Z)
    assert few.shape == (n, n)
    units = np.abs(Z).max(axis=0)
    units[units == 0] = 1
    exact = (Z / units).T @ (Z / units)
    size = np.sqrt(np.outer(exact.diagonal(), exact.diagonal()))
    error = np.abs((few / units).T @ (few / units) - exact)
    # Sums of T products on both sides, and n steps of a pivoted Cholesky decomposition.
    assert (error <= (2 * len(Z) + n**2) * np.finfo(float).eps * size).all()
    assert compress_rows(Z.T.copy()).shape == Z.T.shape
    single = compress_rows((Z / units).astype(np.float32))
    assert single.dtype == np.float32


@given(st.integers(3, 40), st.integers(2, 20), st.integers(1, 20), st.integers(0, 999))
def test_points_are_principal_components_whichever_side_is_smaller(n_samples, n, rank, seed):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_samples, rank := min(rank, n))) @ rng.standard_normal((rank, n))
    points = Correlation(X).points(5, None)
    Z = (X - X.mean(0)) / X.std(0) / np.sqrt(n_samples)
    values, vectors = np.linalg.eigh(Z @ Z.T)  # T x T
    noise = np.median(values[-min(n_samples - 1, n) :])
    kept = np.sqrt(np.maximum(1 - noise / np.maximum(values[-5:], noise), 0))
    expected = (Z.T @ vectors[:, -5:]) * kept
    np.testing.assert_allclose(points @ points.T, expected @ expected.T, atol=1e-9)


@pytest.mark.parametrize("criterion", ["icl", "cv"])
def test_nothing_of_size_t_by_t_is_formed(criterion):
    n_samples = 60_000  # squared, these are 27 GiB
    labels = np.array([0, 0, 0, 1, 1, 1, 2, 2])
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_samples, 3))[:, labels] + rng.standard_normal((n_samples, 8))
    p = bm.find_partition(X, samples=True, criterion=criterion)
    np.testing.assert_array_equal(p.labels, labels)


def test_a_path_has_every_number_around_its_best():
    A, _ = planted_matrix()
    path = bm.partition_path(A, max_blocks=20)
    numbers = path.n_blocks.tolist()
    assert type(path) is bm.PartitionPath
    assert numbers == sorted(set(numbers))
    assert numbers[0] == 1
    assert numbers[-1] == 20
    assert {3, 4, 5} <= set(numbers)
    assert path.best.n_blocks == 4 == numbers[int(np.argmin(path.criterion))]
    assert [p.n_blocks for p in path.partitions] == numbers
    for loss, p in zip(path.loss, path.partitions, strict=True):
        np.testing.assert_allclose(loss, np.linalg.norm(A - bm.fit(A, p).toarray()) ** 2)
    assert path.best == bm.find_partition(A, max_blocks=20)


@given(st.integers(1, 8), st.data())
def test_the_cheapest_intervals_are_the_cheapest_of_all(n, data):
    k = data.draw(st.integers(1, n))
    costs = np.random.default_rng(data.draw(st.integers(0, 999))).standard_normal((n, k))
    labels = cheapest_intervals(costs)

    def cost(labels):
        return costs[np.arange(n), labels].sum()

    every = [
        np.repeat(np.arange(k), np.diff([0, *ends, n]))
        for ends in itertools.combinations(range(1, n), k - 1)
    ]
    assert labels.tolist() in [each.tolist() for each in every]
    np.testing.assert_allclose(cost(labels), min(map(cost, every)))


@pytest.mark.parametrize("n_blocks", [None, 4])
@pytest.mark.parametrize("samples", [False, True])
def test_contiguous_blocks_are_found(samples, n_blocks):
    expected = np.repeat(range(4), (12, 8, 20, 5))
    source, labels = planted_samples() if samples else planted_matrix()
    order = np.argsort(labels, kind="stable")
    source = source[:, order] if samples else source[order][:, order]
    p = bm.find_partition(source, n_blocks, samples=samples, contiguous=True)
    assert p.is_contiguous
    np.testing.assert_array_equal(p.labels, expected)


def test_contiguous_blocks_are_better_than_change_points_alone():
    X, labels = planted_samples(40, (30, 30, 30, 30), seed=1)
    X = X[:, np.argsort(labels)] + 4 * np.random.default_rng(0).standard_normal(X.shape)
    similarity, objective = Correlation(X), GaussianLoss(40)
    start = ChangePoints(similarity.points(20, None)).cut(4)
    p = bm.find_partition(X, 4, samples=True, contiguous=True, loadings=False)
    loss = objective.loss(block_statistics(similarity, p.labels.astype(int), 4))
    assert p.is_contiguous
    assert loss < objective.loss(block_statistics(similarity, start, 4))


@pytest.mark.parametrize("samples", [False, True])
def test_contiguous_blocks_of_any_number(samples):
    X = np.random.default_rng(0).standard_normal((14, 10))
    source = X if samples else X.T @ X
    for k in range(1, 11):
        p = bm.find_partition(source, k, samples, True)
        assert p.is_contiguous
        assert p.n_blocks == k
    path = bm.partition_path(source, samples, True)
    assert all(p.is_contiguous for p in path.partitions)


def test_ruptures_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "ruptures", None)
    with pytest.raises(ImportError, match=r"ruptures, which is not .*blockmat\[discover\]"):
        bm.find_partition(np.eye(3), contiguous=True)


def signed(source, samples, seed=0):
    signs = np.random.default_rng(seed).choice([-1, 1], source.shape[1])
    return (source * signs if samples else source * signs * signs[:, None]), signs


@pytest.mark.parametrize("n_blocks", [None, 4])
@pytest.mark.parametrize(
    ("samples", "make"), [(False, np.array), (False, sp.csr_array), (True, np.array)]
)
def test_signs_are_found_with_the_blocks(samples, make, n_blocks):
    source, labels = planted_samples(200) if samples else planted_matrix()
    source, truth = signed(source, samples)
    p, signs = bm.find_partition(make(source), n_blocks, samples, signs=True)
    assert same(p.labels, labels)
    assert type(p) is bm.Partition
    assert signs.dtype == np.intp
    first = {b: truth[np.flatnonzero(p.labels == b)[0]] for b in range(4)}
    np.testing.assert_array_equal(signs, truth * [first[b] for b in p.labels])
    with pytest.raises(ValueError, match="read-only"):
        signs[0] = 1


def test_signs_turn_while_variables_move():
    X, labels = planted_samples(100)
    similarity, objective = Correlation(X), GaussianLoss(100)
    wrong = np.where(np.arange(45) % 6 == 0, -1.0, 1.0)
    found = refine(similarity, labels, 4, objective, signs=wrong)
    p = bm.Partition.from_labels(labels)
    turned = found.signs * p.expand(found.signs[p.order[p.offsets[:-1]]])
    assert (turned == 1).all()
    assert similarity.with_signs(wrong).factor[0, 0] == -similarity.factor[0, 0]


def test_points_without_signs_keep_the_angles_but_for_their_signs():
    points = np.random.default_rng(0).standard_normal((6, 4))
    products = starts.sign_free_points(points)
    np.testing.assert_allclose(products, starts.sign_free_points(-points))
    lengths = np.linalg.norm(points, axis=1)
    expected = (points @ points.T) ** 2 / np.outer(lengths, lengths)
    np.testing.assert_allclose(products @ products.T, expected)
    long = np.random.default_rng(0).standard_normal((50, 2)) @ np.random.default_rng(
        1
    ).standard_normal((2, 30))
    products = starts.sign_free_points(long)
    lengths = np.linalg.norm(long, axis=1)
    np.testing.assert_allclose(
        products @ products.T, (long @ long.T) ** 2 / np.outer(lengths, lengths)
    )


def test_signs_begin_along_the_leading_direction_of_each_block():
    rng = np.random.default_rng(0)
    labels, truth = np.arange(40) % 3, rng.choice([-1.0, 1.0], 40)
    points = truth[:, None] * (
        rng.standard_normal((3, 5))[labels] + 0.1 * rng.standard_normal((40, 5))
    )
    signs = starts.leading_signs(points, labels)
    for b in range(3):
        assert abs((signs * truth)[labels == b].sum()) == (labels == b).sum()


def test_a_path_with_signs_has_them_for_each_partition():
    source, _ = signed(planted_samples(200)[0], True)
    path = bm.partition_path(source, samples=True, signs=True, max_blocks=5)
    assert path.best.n_blocks == 4
    assert len(path.signs) == len(path.partitions) == 5
    p, signs = bm.find_partition(source, 3, samples=True, signs=True)
    assert p == path.partitions[2]
    np.testing.assert_array_equal(signs, path.signs[2])
    assert bm.partition_path(source, samples=True, max_blocks=2).signs is None


@pytest.mark.parametrize("contiguous", [False, True])
@pytest.mark.parametrize("samples", [False, True])
def test_signs_never_make_the_loss_larger(samples, contiguous):
    from sklearn.datasets import load_wine

    X = np.log(load_wine().data)
    source = X if samples else 2 * np.corrcoef(X, rowvar=False)  # not of correlations
    options = {"loadings": False, "max_blocks": 8}
    plain = bm.partition_path(source, samples, contiguous, **options)
    turned = bm.partition_path(source, samples, contiguous, signs=True, **options)
    assert (turned.loss <= plain.loss).all()
    assert (turned.loss[1:4] < plain.loss[1:4]).any()


@pytest.mark.parametrize(
    ("loadings", "criterion"),
    [
        *((False, name) for name in ("icl", "bic", "cv")),
        *((True, name) for name in ("misfit", "icl", "cv")),
    ],
)
@pytest.mark.parametrize("options", [{}, {"signs": True}, {"contiguous": True}])
def test_every_criterion_finds_the_number_of_blocks(loadings, criterion, options):
    X, labels = planted_samples(150, (12, 8, 20, 9))
    X = X[:, np.argsort(labels, kind="stable")]
    options = {"loadings": loadings, "criterion": criterion, "max_blocks": 8, **options}
    path = bm.partition_path(X, True, **options)
    assert path.best.n_blocks == 4
    assert np.isfinite(path.criterion).all()


def test_criteria_are_their_formulas():
    X, _ = planted_samples(50)
    R = np.corrcoef(X, rowvar=False)
    options = {"loadings": False, "max_blocks": 6}
    kinds = {name: bm.partition_path(X, True, criterion=name, **options) for name in ("bic", "icl")}
    kinds["intervals"] = bm.partition_path(X, True, True, **options)
    for name, path in kinds.items():
        for k, p, value in zip(path.n_blocks, path.partitions, path.criterion, strict=True):
            numbers = k * (k + 1) / 2 + (p.sizes > 1).sum()
            m = p.sizes[p.sizes > 1] - 1
            new = 50**2 * k / (48 - k) + sum(50**2 * i**2 / (49 * i - 2) for i in m) - 50 * 45
            expected = 50 * bm.fit(R, p).logdet() + np.log(50) * numbers + new - 2 * numbers
            if name == "icl":
                expected += 2 * (p.sizes * np.log(45 / p.sizes)).sum()
            if name == "intervals":
                expected += 2 * np.log(math.comb(44, k - 1))
            np.testing.assert_allclose(value, expected)


def test_what_few_samples_promise_too_much_is_what_new_ones_lack():
    rng, T, p = np.random.default_rng(0), 12, bm.Partition.from_sizes([1, 4, 2])
    A = np.array([[2, 0.5, 0], [0.5, 1, 0.3], [0, 0.3, 1]])[np.ix_(p.labels, p.labels)] + np.eye(7)
    lacks = []
    for _ in range(4000):
        Z = rng.multivariate_normal(np.zeros(7), A, size=T)
        fitted = bm.fit_samples(Z, p, ddof=0)
        lacks.append(T * ((fitted.inv() @ A).trace() - 7))  # 7 is the trace for the own samples
    error = np.std(lacks) / len(lacks) ** 0.5
    assert abs(np.mean(lacks) - criteria.optimism(p, T)) < 4 * error


@pytest.mark.parametrize("n_images", [100, 300])
def test_hardly_more_samples_than_blocks_do_not_make_many_blocks(n_images):
    from sklearn.datasets import load_digits

    images = load_digits().data
    X = images[:n_images, images.std(axis=0) > 0.5].T  # 52 samples
    X = X - X.mean(axis=1, keepdims=True)
    for loadings, criterion in ((False, "icl"), (False, "bic"), (True, "misfit")):
        path = bm.partition_path(X, True, loadings=loadings, criterion=criterion)
        assert path.best.n_blocks < 30


@pytest.mark.parametrize("with_signs", [False, True])
def test_the_held_out_criterion_is_the_likelihood_of_samples_held_out(with_signs):
    X, _ = planted_samples(60)
    if with_signs:
        X, _ = signed(X, True)
    path = bm.partition_path(
        X, True, loadings=False, criterion="cv", max_blocks=5, signs=with_signs
    )
    for k, value in zip(path.n_blocks, path.criterion, strict=True):
        expected = 0
        for fold in np.array_split(np.arange(60), 5):
            rest = np.delete(X, fold, axis=0)
            p, turn = bm.find_partition(rest, int(k), samples=True, signs=True, loadings=False)
            if not with_signs:
                p, turn = bm.find_partition(rest, int(k), samples=True, loadings=False), 1
            Z, new = (turn * (x - rest.mean(0)) / rest.std(0) for x in (rest, X[fold]))
            D = bm.fit_samples(Z, p, ddof=0).toarray()
            logpdf = multivariate_normal.logpdf(new, cov=D) + 45 / 2 * np.log(2 * np.pi)
            expected -= 2 * logpdf.sum()
        np.testing.assert_allclose(value, expected)


def test_threads_change_nothing():
    X, _ = planted_samples(60)
    path, other = (
        bm.partition_path(X, True, criterion="cv", max_blocks=5, n_jobs=n) for n in (None, 2)
    )
    assert other.partitions == path.partitions
    np.testing.assert_array_equal(other.criterion, path.criterion)
    assert bm.find_partition(X, samples=True, criterion="cv", n_jobs=-1).n_blocks == 4


def test_joblib_is_named_where_it_is_missing(monkeypatch):
    X, _ = planted_samples(60)
    monkeypatch.setitem(sys.modules, "joblib", None)
    with pytest.raises(ImportError, match=r"joblib, which is not .*blockmat\[sklearn\]"):
        bm.partition_path(X, True, criterion="cv", n_jobs=2)


def test_singular_models_are_not_chosen_by_held_out_samples():
    rng = np.random.default_rng(0)
    X = np.repeat(rng.standard_normal((30, 2)), 3, axis=1)
    X[:, 0] += 1e-3 * rng.standard_normal(30)
    path = bm.partition_path(X, True, criterion="cv", max_blocks=4, loadings=False)
    assert np.isinf(path.criterion).any()
    assert np.isfinite(path.criterion.min())
    assert bm.partition_path(rng.standard_normal((6, 9)), True, criterion="cv").n_blocks.max() == 2


def test_equal_numbers_are_one_block_and_no_correlation_is_one_block():
    assert bm.find_partition(np.ones((6, 6))).n_blocks == 1
    assert bm.find_partition(np.zeros((6, 6))).n_blocks == 1
    assert bm.find_partition([[2.0]]).n_blocks == 1
    noise = np.random.default_rng(0).standard_normal((500, 10))
    assert bm.find_partition(noise, samples=True).n_blocks == 1


def test_few_samples_limit_the_number_of_blocks():
    X = np.random.default_rng(0).standard_normal((6, 30))
    assert bm.partition_path(X, samples=True).n_blocks.max() == 4
    with pytest.raises(ValueError, match="n_blocks is 5; expected at most 4: the smaller of"):
        bm.find_partition(X, 5, samples=True)


def test_perfectly_collinear_variables_are_one_block():
    x = np.random.default_rng(0).standard_normal(20)
    y = np.random.default_rng(1).standard_normal(20)
    X = np.stack([x, 2 * x, y, 3 * x, -y + 2 * y, x - 1], axis=1)
    assert bm.find_partition(X, 2, samples=True).labels.tolist() == [0, 0, 1, 0, 1, 0]


def test_components_of_no_variance_are_no_warning():
    X = np.array([[1.0, 2, -1], [-1, -2, 1], [0, 0, 0], [0, 0, 0]])
    assert Correlation(X).points(2, None).shape == (3, 2)
    similarity = Correlation(X)
    similarity.factor = np.zeros_like(similarity.factor)
    assert (similarity.points(2, None) == 0).all()


MATRIX = np.eye(4)
BAD = [
    ({"source": np.ones((2, 3))}, bm.exceptions.ShapeError, r"source has shape \(2, 3\)"),
    ({"source": np.ones(3)}, bm.exceptions.ShapeError, "1-d"),
    ({"source": [[1.0, 2.0], [0.0, 1.0]]}, np.linalg.LinAlgError, "not symmetric"),
    ({"source": sp.csr_array([[1.0, 2.0], [0.0, 1.0]])}, np.linalg.LinAlgError, "not symmetric"),
    ({"source": [[1.0, np.nan], [np.nan, 1.0]]}, np.linalg.LinAlgError, "source contains nan"),
    ({"source": sp.csr_array([[np.inf]])}, np.linalg.LinAlgError, "source contains inf"),
    ({"source": np.eye(2) * 1j}, TypeError, "complex128; expected real"),
    ({"source": [["a"]]}, TypeError, "dtype"),
    ({"source": bm.fit(MATRIX, [0, 0, 1, 1])}, TypeError, "LinearOperator; expected an array"),
    ({"source": np.ones((0, 0))}, ValueError, "no variables"),
    ({"source": MATRIX, "n_blocks": 0}, ValueError, "n_blocks is 0; expected at least 1"),
    ({"source": MATRIX, "n_blocks": 5}, ValueError, "n_blocks is 5; expected at most 4"),
    ({"source": MATRIX, "n_blocks": 1.5}, TypeError, "n_blocks is 1.5; expected an integer"),
    (
        {"source": MATRIX, "criterion": "aic"},
        ValueError,
        "criterion is 'aic'; expected 'misfit', 'icl', 'bic'",
    ),
    ({"source": 2 * MATRIX, "criterion": "misfit"}, ValueError, "'misfit', which expects blocks"),
    (
        {"source": MATRIX, "loadings": True, "criterion": "bic"},
        ValueError,
        "expected n_samples too",
    ),
    (
        {"source": MATRIX, "loadings": True, "degrees": True},
        ValueError,
        "loadings is True with deg",
    ),
    ({"source": MATRIX, "loadings": 1}, TypeError, "loadings is 1; expected True or False"),
    ({"source": MATRIX, "criterion": "cv", "n_blocks": 2}, ValueError, "'cv' with samples=False"),
    (
        {"source": np.random.default_rng(0).random((5, 3)), "samples": True, "criterion": "cv"},
        ValueError,
        "source has 5 rows; criterion is 'cv', which expects at least 6",
    ),
    ({"source": MATRIX, "max_blocks": 9}, ValueError, "max_blocks is 9; expected at most 4"),
    ({"source": np.ones((1, 3)), "samples": True}, ValueError, "X has 1 rows; expected at least 3"),
    ({"source": np.ones((0, 3)), "samples": True}, ValueError, "X has no rows"),
    (
        {"source": np.ones((9, 2)), "samples": True},
        ValueError,
        "X is constant in 2 of its columns: 0",
    ),
    ({"source": sp.csr_array(MATRIX), "samples": True}, TypeError, "X is a sparse matrix"),
    ({"source": MATRIX * 1j, "samples": True}, TypeError, "expected real numbers"),
    ({"source": np.full((4, 2), np.nan), "samples": True}, np.linalg.LinAlgError, "X contains nan"),
]


@pytest.mark.parametrize(("arguments", "error", "message"), BAD)
def test_bad_input_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        bm.find_partition(**arguments)


def test_a_column_that_is_constant_but_for_rounding_is_constant():
    X = np.random.default_rng(0).standard_normal((50, 3))
    X[:, 1] = 0.1 + 0.2
    X[::2, 1] = 0.3
    with pytest.raises(ValueError, match="X is constant in 1 of its columns: 1"):
        bm.find_partition(X, samples=True)


def test_an_empty_sparse_matrix_has_one_block():
    assert bm.find_partition(sp.csr_array((5, 5))).n_blocks == 1
    assert bm.find_partition(sp.csr_array((5, 5)), 2).n_blocks == 2


def test_few_samples_more_than_blocks_have_a_finite_criterion():
    p = bm.Partition.uniform(3, 4)
    assert np.isinf(criteria.optimism(p, 5))
    assert np.isfinite(criteria.optimism(p, 6))


@pytest.mark.parametrize("n_samples", [50, 1000])
def test_equal_variables_are_one_block(n_samples):
    X = np.repeat(np.random.default_rng(0).standard_normal((n_samples, 2)), 5, axis=1)
    assert bm.find_partition(X, samples=True).labels.tolist() == [0] * 5 + [1] * 5
