"""Submatrices and conditional distributions: accuracy, special blocks, and many groups.

The suite of all matrix types is in test_matrices.py.
"""

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import blockmat as bm
from blockmat.exceptions import IndefiniteMatrixError, PartitionMismatchError, SingularMatrixError
from tests.cases import PARTITIONS, exact, make

EPS = np.finfo(np.float64).eps
GROUPS = 125_066  # a k x k array would have 125 GB


def graded(rng, p, orders):
    """A positive definite matrix whose rows have a range of so many orders of magnitude."""
    root = rng.standard_normal((p.n_blocks, p.n_blocks + 2))
    scale = 10.0 ** rng.uniform(-orders / 2, orders / 2, p.n_blocks)
    between = (root @ root.T) * scale * scale[:, None]
    return bm.BlockConstantMatrix(p, between, 10.0 ** rng.uniform(-orders, orders, p.n_blocks))


@given(st.sampled_from(list(PARTITIONS.values())), st.integers(0, 999), st.sampled_from([0, 8, 16]))
def test_entries_of_a_part_are_those_of_the_whole_relative_to_their_rows(p, seed, orders):
    """Four roundings: of the shares, two products and a sum; and as many of what is compared."""
    rng = np.random.default_rng(seed)
    A = graded(rng, p, orders)
    rows = rng.permutation(p.n)[: rng.integers(1, p.n + 1)]
    part, whole = A.submatrix(rows), A[np.ix_(rows, rows)]
    row = np.abs(A.toarray()).max(axis=1)[rows]
    error = np.abs(part.toarray() - whole) / np.maximum(row, row[:, None])
    assert error.max() <= 8 * EPS
    assert part.is_positive_definite() or not A.is_positive_definite()


@pytest.mark.parametrize("smallest", [1e-8, 1e-14, 1e-40])
def test_parts_near_the_edge_of_definiteness_keep_their_eigenvalues(smallest):
    """Negative correlation: the sum over all six variables has nearly no variance."""
    A = bm.BlockConstantMatrix([0] * 6 + [1] * 2, np.diag([smallest, 1.0]), [1.0, 2.0])
    np.testing.assert_allclose(A.submatrix(range(6)).between, [[smallest]], rtol=4 * EPS)
    # q M + (1 - q) d for a share q of the members
    expected = [[smallest / 2 + 0.5, 0], [0, (1 + 2) / 2]]
    np.testing.assert_allclose(A.submatrix([1, 6, 0, 4]).between, expected, rtol=4 * EPS)


ALIGNED = make(bm.Partition.from_labels([0, 1, 0, 1, 2, 1, 0, 2, 2, 3, 3]), float, True, True)


@given(st.lists(st.integers(0, 10), min_size=1, unique=True))
def test_a_part_of_aligned_blocks_is_refused_where_it_is_no_aligned_matrix(rows):
    p, D = ALIGNED.partition, ALIGNED[np.ix_(rows, rows)]
    places = {b: [p.positions[i] for i in rows if p.labels[i] == b] for b in range(3)}
    kept = list(places.values())
    exists = all(x == y or not {*x} & {*y} for x in kept for y in kept)
    if exists:
        np.testing.assert_allclose(ALIGNED.submatrix(rows).toarray(), D, atol=16 * EPS * 10)
    else:
        with pytest.raises(PartitionMismatchError, match="same members of both, in the same order"):
            ALIGNED.submatrix(rows)


def test_aligned_pairs_between_rows_and_columns_are_refused():
    rows, columns = [0, 1, 4], [2, 3, 7, 9, 10]  # the first and the second members of blocks
    part = ALIGNED.submatrix(rows, columns)
    np.testing.assert_allclose(part.toarray(), ALIGNED[np.ix_(rows, columns)], atol=16 * EPS)
    with pytest.raises(PartitionMismatchError, match="blocks 0 and 1; keep the p-th members"):
        ALIGNED.submatrix([0, 4], [1, 7])
    finest = bm.Partition.singletons(11)
    expected = ALIGNED[np.ix_([0, 4], [1, 7])]
    found = ALIGNED.refine(finest).submatrix([0, 4], [1, 7]).toarray()
    np.testing.assert_allclose(found, expected, atol=16 * EPS)


def test_names_stay_with_their_blocks():
    p = bm.Partition.from_labels(["z", "x", "y", "x"])
    A = make(p, np.float32, False, True)
    assert A.submatrix([3, 0]).partition.names == ("x", "z")
    part = A.submatrix([3, 0], [1, 2])
    assert part.row_partition.names == ("x", "z")
    assert part.col_partition.names == ("x", "y")


@pytest.mark.parametrize("covariance", [[1.0, 2.0, 3.0], np.eye(3) + 0.5])
def test_a_block_whose_loadings_are_zero_in_the_part(covariance):
    loadings = [0, 1.0, 2.0, 0, 0, 3.0]
    A = bm.BlockFactorMatrix([0, 0, 1, 1, 1, 2], covariance, np.arange(1.0, 7.0), loadings)
    rows = [0, 4, 3, 5]
    part = A.submatrix(rows)
    np.testing.assert_array_equal(part.toarray(), A.toarray()[np.ix_(rows, rows)])
    np.testing.assert_allclose(part.inv().toarray(), np.linalg.inv(part.toarray()), rtol=8 * EPS)
    columns = [1, 2]
    cross = A.submatrix(rows, columns)
    np.testing.assert_array_equal(cross.toarray(), A.toarray()[np.ix_(rows, columns)])


def test_parts_of_many_independent_groups_need_no_square_array():
    A = bm.BlockFactorMatrix(np.repeat(np.arange(GROUPS), 2), np.full(GROUPS, 0.5), 1.0)
    part = A.submatrix(np.arange(0, 2 * GROUPS, 4)[::-1])
    assert part.partition.n_blocks == GROUPS // 2
    assert (part.diagonal() == 1.5).all()
    assert A[3, 2] == 0.5
    assert A[3, 1] == 0
    cross = A.submatrix([0, 2], slice(None, 2 * GROUPS - 10, -1))
    assert cross.shape == (2, 9)


# Conditional distributions


def dense(A):
    """The dense matrix of the stored numbers, as mpmath has them."""
    if isinstance(A, bm.BlockConstantMatrix):
        return exact(A)
    n = range(A.shape[0])
    if isinstance(A, bm.ScaledBlockMatrix):
        D, s = exact(A.matrix), [mpmath.mpf(float(x)) for x in A.scale]
        return mpmath.matrix([[s[i] * D[i, j] * s[j] for j in n] for i in n])
    if isinstance(A, bm.BlockPlusLowRank):
        V = mpmath.matrix(A.factor.tolist())
        return dense(A.base) + V * mpmath.matrix(A.core.tolist()) * V.T
    C = A.covariance if A.covariance.ndim == 2 else np.diag(A.covariance)
    Z = np.eye(A.partition.n_blocks)[A.partition.labels]
    S = mpmath.diag(A.loadings.tolist())
    effects = S * mpmath.matrix((Z @ C @ Z.T).tolist()) * S  # Z picks entries, which rounds nothing
    return effects + mpmath.diag(A.noise.tolist())


def part_of(D, rows, columns):
    return mpmath.matrix([[D[int(i), int(j)] for j in columns] for i in rows])


def backward_errors(A, index, values):
    """The errors of mean and covariance, in units of what a change of A by eps makes of them.

    Let every entry of A change by eps times the roots of the variances of its row and column, and
    let G be the matrix of regression. Then entry (i, j) of the conditional covariance changes by at
    most ``eps u_i u_j``, where u_i is the root of the variance of i plus the sum of the roots of the
    variances of the observed variables times ``|G_ij|``. For the mean see the code.
    """
    with mpmath.workdps(60):
        D = dense(A)
        rest = np.setdiff1d(np.arange(A.shape[0]), index)
        inverse, y = part_of(D, index, index) ** -1, mpmath.matrix(values.tolist())
        G = part_of(D, rest, index) * inverse
        expected_mean, weights = G * y, inverse * y
        expected = part_of(D, rest, rest) - G * part_of(D, index, rest)
        mean, covariance = A.condition(index, values)
        found, q, m = dense(covariance), range(len(rest)), range(len(index))
        root = [mpmath.sqrt(D[i, i]) for i in range(A.shape[0])]
        u = [root[rest[i]] + sum(abs(G[i, j]) * root[index[j]] for j in m) for i in q]
        total = sum(root[index[j]] * abs(weights[j]) for j in m)
        rounded = [sum(abs(G[i, j] * y[j]) for j in m) for i in q]
        of_mean = [abs(float(mean[i]) - expected_mean[i]) / (u[i] * total + rounded[i]) for i in q]
        of_covariance = [abs(found[i, j] - expected[i, j]) / (u[i] * u[j]) for i in q for j in q]
        return float(max(of_mean)) / EPS, float(max(of_covariance)) / EPS


def spread(kind, rng, orders):
    """A covariance of 12 variables, with noise and loadings over so many orders of magnitude."""
    n, k = 12, 3
    p = bm.Partition.from_labels(np.concatenate([np.arange(k), rng.integers(0, k, n - k)]))
    root = rng.standard_normal((k, k + 1))
    C = root @ root.T

    def powers(lowest, size):
        return 10.0 ** rng.uniform(lowest, 0, size)

    if kind.startswith("factor"):
        covariance = np.diagonal(C) if kind == "factor, independent" else C
        loadings = rng.choice([-1, 1], n) * powers(-orders / 2, n)
        return bm.BlockFactorMatrix(p, covariance, powers(-orders, n), loadings)
    scale, within = powers(-orders / 2, k), powers(-orders, k)
    if kind == "negative":  # negative correlation in the blocks
        return bm.BlockConstantMatrix(p, C * scale * scale[:, None], 1 / within)
    A = bm.BlockConstantMatrix(p, C * scale * scale[:, None] + np.diag(within), within)
    if kind == "scaled":
        return bm.ScaledBlockMatrix(A, powers(-orders / 2, n))
    return bm.BlockPlusLowRank(A, rng.standard_normal((n, 2))) if kind == "low rank" else A


@pytest.mark.parametrize(
    ("kind", "orders"),
    [
        (kind, orders)
        for kind in ("pair", "negative", "scaled", "factor", "factor, independent", "low rank")
        for orders in (0, 6, 12)
        if kind != "low rank" or orders == 0
    ],
)
@pytest.mark.parametrize("seed", range(6))
def test_conditioning_is_backward_stable(kind, orders, seed):
    """Sums of up to 12 numbers, and one factorisation of a core of 3 rows."""
    rng = np.random.default_rng(seed)
    A = spread(kind, rng, orders)
    index, values = rng.permutation(12)[:6], rng.standard_normal(6)
    of_mean, of_covariance = backward_errors(A, index, values)
    assert of_mean <= 4
    assert of_covariance <= 4


@pytest.mark.parametrize("seed", range(4))
def test_little_noise_keeps_its_digits(seed):
    """What is left of effects that are known but for the noise is as small as the noise.

    As a difference of covariances it would have errors of eps times the effects, which are 1e12
    times as large. The core of three rows has a condition of at most 1e3 here.
    """
    rng = np.random.default_rng(seed)
    p = bm.Partition.uniform(3, 6)
    root = rng.standard_normal((3, 6))
    A = bm.BlockFactorMatrix(p, root @ root.T, 1e-12 * rng.uniform(0.5, 2, 18))
    index = np.flatnonzero(p.positions < 3)
    B = bm.BlockConstantMatrix.from_values(p, root @ root.T, np.diag(root @ root.T) + 1e-12)
    for matrix in (A, B):
        found = matrix.condition(index, np.ones(9))[1]
        with mpmath.workdps(60):
            D, rest = dense(matrix), np.flatnonzero(p.positions >= 3)
            G = part_of(D, rest, index) * part_of(D, index, index) ** -1
            expected = part_of(D, rest, rest) - G * part_of(D, index, rest)
            error = mpmath.mnorm(dense(found) - expected, "f") / mpmath.mnorm(expected, "f")
        assert error <= 1e3 * EPS
        assert found.is_positive_definite()


@given(st.integers(0, 999), st.booleans())
def test_observations_one_after_the_other_are_the_same_as_together(seed, independent):
    rng = np.random.default_rng(seed)
    A = spread("factor, independent" if independent else "factor", rng, 2)
    order, values, mean = rng.permutation(12), rng.standard_normal(8), rng.standard_normal(12)
    first, second = order[:5], order[5:8]
    left = np.setdiff1d(np.arange(12), first)
    means, B = A.condition(first, values[:5], mean)
    result = B.condition(np.searchsorted(left, second), values[5:], means)
    expected = A.condition(order[:8], values, mean)
    condition = np.linalg.cond(A.toarray())
    np.testing.assert_allclose(result[0], expected[0], atol=100 * EPS * condition)
    np.testing.assert_allclose(
        result[1].toarray(), expected[1].toarray(), atol=100 * EPS * condition
    )


def test_many_independent_groups_are_conditioned_without_a_square_array():
    """Given one of two members, the other has the mean y / 3 and the variance 4 / 3."""
    A = bm.BlockFactorMatrix(np.repeat(np.arange(GROUPS), 2), np.full(GROUPS, 0.5), 1.0)
    y = np.random.default_rng(0).standard_normal(GROUPS)
    mean, B = A.condition(slice(0, None, 2), y)
    np.testing.assert_allclose(mean, y / 3, rtol=8 * EPS)
    np.testing.assert_allclose(B.diagonal(), 4 / 3, rtol=8 * EPS)
    assert B.covariance.shape == (GROUPS,)


def test_numbers_of_short_types_choose_entries_of_large_matrices():
    A = bm.BlockConstantMatrix.from_values(np.arange(300) // 150, [[1, 2], [2, 5]], [4, 6])
    D = A.toarray()
    for key in (
        np.array([3, 200], np.uint8), (np.int8(3), np.int8(-1)),
        (np.array([-3, 100], np.int8), slice(0, 2)),
    ):  # fmt: skip
        np.testing.assert_array_equal(A[key], D[key])


@pytest.mark.parametrize("unit", [2.0**-700, 2.0**-1000, 2.0**700, 2.0**1000])
@pytest.mark.parametrize("between", [[3.0, 5.0], [[3.0, 1.0], [1.0, 5.0]]])
def test_conditions_in_any_unit(unit, between):
    """A power of two changes the exponents only."""
    A = bm.BlockConstantMatrix([0, 0, 0, 1, 1], between, [1.0, 2.0])
    (mean, B), (scaled_mean, C) = (x.condition([0, 3], [1.0, 2.0]) for x in (A, unit * A))
    np.testing.assert_allclose(scaled_mean, mean, rtol=8 * EPS)
    np.testing.assert_allclose(C.toarray() / unit, B.toarray(), rtol=8 * EPS)


def test_two_thousand_variables_are_those_of_the_dense_matrix():
    rng = np.random.default_rng(0)
    n, k = 2000, 20
    p = bm.Partition.from_labels(rng.integers(0, k, n))
    root = rng.standard_normal((k, k + 5)) / 5
    A = bm.BlockConstantMatrix.from_values(p, root @ root.T, np.diag(root @ root.T) + 1)
    F = bm.BlockFactorMatrix(p, root @ root.T, rng.uniform(0.5, 2, n), rng.uniform(0.5, 2, n))
    index, values = rng.permutation(n)[:200], rng.standard_normal((2, 200))
    rest = np.setdiff1d(np.arange(n), index)
    low = bm.BlockPlusLowRank(A, rng.standard_normal((n, 3)))
    for matrix in (A, bm.ScaledBlockMatrix(A, rng.uniform(0.5, 2, n)), F, low):
        D = matrix.toarray()
        gain = np.linalg.solve(D[np.ix_(index, index)], D[np.ix_(index, rest)]).T
        mean, covariance = matrix.condition(index, values)
        np.testing.assert_allclose(mean, values @ gain.T, atol=1e-10)
        expected = D[np.ix_(rest, rest)] - gain @ D[np.ix_(index, rest)]
        np.testing.assert_allclose(covariance.toarray(), expected, atol=1e-10)


def test_blocks_without_deviations_and_of_one_member():
    """The members of the first block are equal; so what is known of one is known of all."""
    p = bm.Partition.from_labels([0, 0, 0, 1, 2, 2])
    A = bm.BlockConstantMatrix.from_values(p, [[2, 1, 1], [1, 3, 1], [1, 1, 4]], [2, 3, 5])
    mean, B = A.condition([1, 3], [4.0, 1.0])
    np.testing.assert_allclose(mean[:2], [4, 4], rtol=8 * EPS)
    np.testing.assert_allclose(B[:2], 0, atol=8 * EPS)
    D = A.toarray()
    index, rest = [1, 3], [0, 2, 4, 5]
    gain = np.linalg.solve(D[np.ix_(index, index)], D[np.ix_(index, rest)]).T
    np.testing.assert_allclose(mean, gain @ [4.0, 1.0], atol=32 * EPS)
    expected = D[np.ix_(rest, rest)] - gain @ D[np.ix_(index, rest)]
    np.testing.assert_allclose(B.toarray(), expected, atol=64 * EPS)
    with pytest.raises(SingularMatrixError, match="observed variables is singular"):
        A.condition([0, 1], [4.0, 4.0])


def test_only_the_observed_part_has_to_be_positive_definite():
    A = bm.BlockConstantMatrix.from_values([0, 0, 1, 1], [[1, 0], [0, -1]], [2, 1])
    mean, B = A.condition([0], [1.0])
    np.testing.assert_allclose(mean, [0.5, 0, 0], atol=EPS)
    assert not B.is_positive_definite()
    with pytest.raises(IndefiniteMatrixError, match="observed variables is not positive definite"):
        (-A).condition([0], [1.0])
    negative = bm.BlockFactorMatrix([0, 0, 1], [-0.6, 1.0], 1.0)
    assert negative.condition([0, 2], [1.0, 1.0])[0] == pytest.approx([-1.5])
    with pytest.raises(IndefiniteMatrixError, match="observed variables is not positive definite"):
        negative.condition([0, 1], [1.0, 1.0])
    low = bm.BlockPlusLowRank(bm.BlockConstantMatrix.identity([0, 0]), [[1.0], [0.0]], [[-2.0]])
    assert low.condition([1], [1.0])[0] == [0]
    with pytest.raises(IndefiniteMatrixError, match="observed variables is not positive definite"):
        low.condition([0], [1.0])


def test_aligned_blocks_are_conditioned_if_mates_are_observed_together():
    index = [0, 1, 4, 9]  # the first members of all blocks of three
    rest, D = [2, 3, 5, 6, 7, 8, 10], ALIGNED.toarray()
    gain = np.linalg.solve(D[np.ix_(index, index)], D[np.ix_(index, rest)]).T
    mean, covariance = ALIGNED.condition(index, [1.0, 2.0, 3.0, 4.0])
    assert covariance.is_aligned
    np.testing.assert_allclose(mean, gain @ [1, 2, 3, 4], atol=64 * EPS)
    expected = D[np.ix_(rest, rest)] - gain @ D[np.ix_(index, rest)]
    np.testing.assert_allclose(covariance.toarray(), expected, atol=64 * EPS)
    for index in ([0], [0, 3, 7]):
        with pytest.raises(PartitionMismatchError, match="breaks up the p <-> p pairs"):
            ALIGNED.condition(index, np.ones(len(index)))


def test_a_variable_without_loading_tells_nothing():
    A = bm.BlockFactorMatrix([0, 0, 0, 1], np.eye(2), [1.0, 1.0, 2.0, 3.0], [0, 1.0, 2.0, 1.0])
    mean, B = A.condition([0], [5.0])
    np.testing.assert_array_equal(mean, 0)
    np.testing.assert_array_equal(B.toarray(), A.toarray()[1:, 1:])
    mean, B = A.condition([0, 1], [5.0, 2.0])
    np.testing.assert_allclose(mean, [2, 0], rtol=4 * EPS)
    np.testing.assert_allclose(B.toarray(), [[4, 0], [0, 4]], rtol=4 * EPS)
    mean, B = A.condition([1, 2, 3], [1.0, 1.0, 1.0])  # what is left has no loading
    np.testing.assert_array_equal(mean, 0)
    np.testing.assert_array_equal(B.toarray(), [[1.0]])
