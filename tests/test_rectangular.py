import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse.linalg import aslinearoperator, lsqr

import blockmat as bm
from blockmat import BlockRectangularMatrix
from blockmat.testing import assert_matches_dense, partitions
from tests.cases import DTYPES, in_small_parts, random_array

RNG = np.random.default_rng(2)


@st.composite
def rectangles(draw):
    rows, cols = draw(partitions(max_n=8)), draw(partitions(max_n=8))
    dtype = draw(st.sampled_from(DTYPES))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return rows, cols, random_array(rng, (rows.n, cols.n), dtype)


def means(S, rows, cols):
    result = np.empty(S.shape, np.result_type(S.dtype, float))
    for a in rows:
        for b in cols:
            result[np.ix_(a, b)] = S[np.ix_(a, b)].astype(result.dtype).mean()
    return result


@given(rectangles())
def test_fit_is_the_mean_of_every_block(case):
    rows, cols, S = case
    expected = means(S, rows, cols)
    for source in (S, np.asfortranarray(S), sp.csr_array(S), sp.coo_array(S), aslinearoperator(S)):
        B = BlockRectangularMatrix.fit(source, rows, cols)
        assert type(B) is BlockRectangularMatrix
        assert B.dtype == S.dtype
        assert B.shape == S.shape
        cancellation = np.abs(S).max() / np.abs(expected).max()
        assert_matches_dense(B, expected, condition=cancellation)
    assert_matches_dense(BlockRectangularMatrix.from_values(rows, cols, B.values), expected)


def test_products_of_matrices_on_several_partitions_keep_the_type():
    p, q, r = (
        bm.Partition.uniform(2, 2),
        bm.Partition.from_labels([1, 0, 1]),
        bm.Partition.trivial(2),
    )
    B = BlockRectangularMatrix.fit(RNG.standard_normal((4, 3)), p, q)
    C = BlockRectangularMatrix.fit(RNG.standard_normal((3, 2)), q, r)
    A = bm.fit(RNG.standard_normal((4, 4)), p)
    E = bm.fit(RNG.standard_normal((3, 3)), q, aligned=True)
    b, c, a, e = (matrix.toarray() for matrix in (B, C, A, E))
    for result, expected in (
        (B @ C, b @ c), (A @ B, a @ b), (B @ E, b @ e), (A @ B @ E @ C, a @ b @ e @ c),
        (A.inv() @ B, np.linalg.inv(a) @ b),
    ):  # fmt: skip
        assert type(result) is BlockRectangularMatrix
        assert_matches_dense(result, expected, rtol=1e-12)
    for mismatch in (lambda: B @ C.T, lambda: E @ B, lambda: B @ A, lambda: B + B.T):
        with pytest.raises(bm.BlockmatError, match="different partitions"):
            mismatch()


def test_display_and_least_squares():
    rows, cols = bm.Partition.from_labels(list("abab")), bm.Partition.from_sizes([2, 1])
    B = BlockRectangularMatrix.fit(RNG.standard_normal((4, 3)), rows, cols)
    assert repr(B) == "<4x3 BlockRectangularMatrix of 2x2 blocks, dtype=float64>"
    assert B.nbytes == 4 * 8 + (2 * 8 + 4 * 4) + 2 * 8
    y = RNG.standard_normal(4)
    assert_matches_dense(lsqr(B, y, atol=1e-14, btol=1e-14)[0], B.pinv() @ y, rtol=1e-8)


def test_operator_in_blocks_of_columns(monkeypatch):
    in_small_parts(monkeypatch, 8 * 5)
    S = RNG.standard_normal((4, 5))
    B = BlockRectangularMatrix.fit(aslinearoperator(S), [0, 0, 1, 1], [0, 1, 2, 1, 0])
    assert_matches_dense(B, means(S, B.row_partition, B.col_partition))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: BlockRectangularMatrix([0], [0, 1], [[1]]), ValueError, r"between has shape \(1, 1\)"),
        (lambda: BlockRectangularMatrix([0], [0], [[np.nan]]), np.linalg.LinAlgError, "between contains nan"),
        (lambda: BlockRectangularMatrix.from_values([0], [0], [1]), ValueError, "values is 1-d"),
        (lambda: BlockRectangularMatrix.from_values([0], [0], [[1, 2]]), ValueError, "values has shape"),
        (lambda: BlockRectangularMatrix.fit(np.ones(3), [0], [0]), ValueError, "source is 1-d"),
        (lambda: BlockRectangularMatrix.fit(np.ones((2, 3)), [0], [0, 0, 0]), ValueError, "row_partition has 1 labels"),
        (lambda: BlockRectangularMatrix.fit(np.ones((1, 3)), [0], [0]), ValueError, "col_partition has 1 labels"),
        (lambda: BlockRectangularMatrix.fit([[np.inf, 1]], ["r"], ["c", "d"]), ValueError, r"block \('r', 'c'\)"),
        (lambda: BlockRectangularMatrix([0], [0], [[1]]).pinv(-1), ValueError, "rtol is -1"),
        (lambda: BlockRectangularMatrix([0], [0], [[1]]).norm("x"), ValueError, "ord is 'x'"),
        (lambda: BlockRectangularMatrix([0], [0, 1], [[1, 2]]) @ [1, 2, 3], ValueError, r"expected \(2,\)"),
    ],
)  # fmt: skip
def test_bad_input(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_nan_can_be_let_through():
    B = BlockRectangularMatrix.fit([[np.nan, 1]], [0], [0, 1], check_finite=False)
    np.testing.assert_array_equal(B.values, [[np.nan, 1]])


def test_a_pseudo_inverse_with_no_tolerance_keeps_every_singular_value():
    B = BlockRectangularMatrix([0, 1], [0, 1], np.diag([1.0, 1e-18]))
    np.testing.assert_allclose(np.diagonal(B.pinv(0).between), [1, 1e18])
    np.testing.assert_allclose(np.diagonal(B.pinv(0.0).between), [1, 1e18])
    np.testing.assert_allclose(np.diagonal(B.pinv(1e-6).between), [1, 0])
