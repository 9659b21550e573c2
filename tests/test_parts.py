"""Submatrices and conditional distributions: accuracy, special blocks, and many groups.

The suite of all matrix types is in test_matrices.py.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import blockmat as bm
from blockmat.exceptions import PartitionMismatchError
from tests.cases import PARTITIONS, make

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
    assert part.is_positive_definite()


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
