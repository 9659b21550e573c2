"""Operations of matrices of several types, and of matrices with arrays of SciPy and NumPy."""

import itertools
import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

import blockmat as bm
from blockmat.matrices.low_rank_spectrum import reduced
from blockmat.matrices.whitening import whitened, whitened_adjoint
from tests.cases import PARTITIONS, core, pair
from tests.test_near_block import KINDS, example

EPS = np.finfo(float).eps


@given(
    st.sampled_from(list(PARTITIONS.values())),
    st.sampled_from(["plain", "aligned", "scaled", "factor"]),
    st.sampled_from([-1.0, 0.0, 1.0]),
    st.integers(1, 12),
    st.integers(0, 999),
)
def test_definiteness_of_a_sum_is_that_of_the_dense_one(p, kind, smallest, rank, seed):
    """Whatever the base: definite, singular or indefinite."""
    rng = np.random.default_rng(seed)
    k, n = p.n_blocks, p.n
    M = core(rng, k, float, True)
    M -= (np.linalg.eigvalsh(M)[0] - smallest) * np.eye(k)  # to the smallest eigenvalue
    d = rng.uniform(0.5, 2, k)
    if kind == "aligned":
        d = np.diag(d)
    elif rng.random() < 0.3:
        d[rng.integers(k)] = smallest
    base = bm.BlockConstantMatrix(p, M, d)
    if kind == "scaled":
        base = bm.ScaledBlockMatrix(base, rng.uniform(0.5, 2, n))
    if kind == "factor":
        base = bm.BlockFactorMatrix(p, M, rng.uniform(0.5, 2, n), rng.uniform(-2, 2, n))
    A = base.add_low_rank(2 * rng.standard_normal((n, rank)), core(rng, rank, float, True))
    values = np.linalg.eigvalsh(A.toarray())
    # A singular sum has an eigenvalue of rounding, about eps |A|, and no other is near that.
    assert A.is_positive_definite() is bool(values[0] > 1e-10 * values[-1])
    assert (A.add_low_rank(np.eye(n), -values[-1] * np.eye(n))).is_positive_definite() is False


def test_definiteness_with_a_base_that_is_not_definite():
    """One column lifts one direction, and by as much as it has beside the scale of the base."""
    column = np.array([[1.0], [-1.0], [0.0]])
    for d, expected in ((-1.0, False), (0.0, False), (1.0, True)):
        A = bm.BlockConstantMatrix([0, 0, 0], [[2.0]], [d]).add_low_rank(5 * column)
        assert A.is_positive_definite() is expected
    inner = bm.BlockConstantMatrix([0, 1, 2], np.diag([1.0, -1.0, 1.0]))
    scaled = bm.ScaledBlockMatrix(inner, [1.0, 10.0, 1.0])
    for size, expected in ((9.0, False), (11.0, True)):
        assert scaled.add_low_rank(size * np.eye(3)[:, 1:2]).is_positive_definite() is expected


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "low rank" in kind or kind == "wide"])
def test_the_adjoint_of_whitening(kind):
    A, D = example(kind, np.float64)
    eye = np.eye(len(D))
    W = whitened(A, eye)
    np.testing.assert_allclose(whitened_adjoint(A, eye), W.T, atol=1e-12)
    np.testing.assert_allclose(W.T @ W, np.linalg.inv(D), atol=1e-12)


@pytest.mark.parametrize(
    ("within", "n_rows"), [([1.0, 1.0, 1.0], 3 + 2), ([1.0, 2.0, 1.0], 3 + 4), ([1, 2, 3], 3 + 6)]
)
def test_blocks_with_equal_within_values_share_columns(within, n_rows):
    p = bm.Partition.uniform(3, 50)
    base = bm.BlockConstantMatrix(p, np.diag([5.0, 6.0, 7.0]), within)
    V = np.random.default_rng(0).standard_normal((150, 2))
    small = reduced(base, V, np.eye(2))
    assert len(small.matrix) == n_rows
    assert len(small.matrix) + small.multiplicities.sum() == 150
    values, multiplicities = base.add_low_rank(V).eigvalsh()
    expected = np.linalg.eigvalsh(base.toarray() + V @ V.T)
    assert len(values) == n_rows + len(set(within))
    # Backward stable: eigenvalues of a matrix at a distance of a few eps |A|.
    np.testing.assert_allclose(
        np.repeat(values, multiplicities), expected, rtol=0, atol=50 * EPS * expected[-1]
    )


@pytest.mark.parametrize("constant", [1.0, 1e-9])
def test_eigenvalues_where_columns_hardly_vary_in_blocks(constant):
    """A basis of their deviations is orthogonal to the indicators, although these are rounding."""
    p = bm.Partition.from_sizes([40, 30])
    base = bm.BlockConstantMatrix(p, [[5.0, 1.0], [1.0, 4.0]], [1.0, 2.0])
    V = 100 * np.ones((70, 2)) + constant * np.random.default_rng(0).standard_normal((70, 2))
    V[:, 1] = 3.0
    expected = np.linalg.eigvalsh(base.toarray() + V @ V.T)
    result = np.repeat(*base.add_low_rank(V).eigvalsh())
    np.testing.assert_allclose(result, expected, rtol=0, atol=50 * EPS * expected[-1])


def test_an_indefinite_factor_matrix_as_base_of_full_rank_is_inverted():
    base = bm.BlockFactorMatrix([0, 0, 1], [-3.0, 1.0], 1.0)
    V = np.random.default_rng(0).standard_normal((3, 4))
    A = base.add_low_rank(V)
    assert not base.is_positive_definite()
    inverse = A.inv()
    assert type(inverse) is bm.BlockPlusLowRank
    np.testing.assert_allclose(inverse.toarray(), np.linalg.inv(A.toarray()), rtol=1e-12)


def test_an_inverse_by_eigenvectors_stays_in_single_precision():
    base = bm.BlockConstantMatrix([0, 0, 1], [-3.0, 2.0], [1.0, 0.0]).astype(np.float32)
    A = base.add_low_rank(np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32))
    inverse = A.inv()
    assert inverse.dtype == inverse.base.dtype == np.float32
    product = A.toarray().astype(float) @ inverse.toarray()
    allowed = 64 * np.finfo(np.float32).eps * np.linalg.cond(A.toarray().astype(float))
    np.testing.assert_allclose(product, np.eye(3), atol=allowed)


def families(p, rng):
    """A matrix of each square type on the blocks."""
    k, n = p.n_blocks, p.n
    B = bm.BlockConstantMatrix(p, core(rng, k, float, True), rng.uniform(1, 2, k))
    yield B
    yield bm.BlockConstantMatrix(p, *pair(rng, p, float, True, True))
    yield bm.ScaledBlockMatrix(B, rng.uniform(1, 2, n))
    yield bm.BlockFactorMatrix(
        p, core(rng, k, float, True), rng.uniform(1, 2, n), rng.uniform(1, 2, n)
    )
    yield bm.BlockFactorMatrix(p, rng.uniform(1, 2, k), rng.uniform(1, 2, k))
    yield B.add_low_rank(rng.standard_normal((n, 2)))


def test_all_pairs_of_types_are_compared_like_arrays():
    rng = np.random.default_rng(0)
    p, q = PARTITIONS["shuffled"], bm.Partition.from_labels(np.arange(11) // 4)
    matrices = [*families(p, rng), *families(q, rng)]
    for A, B in itertools.product(matrices, repeat=2):
        D, E = A.toarray(), B.toarray()
        needed = (np.abs(D - E) - 0.1 * np.abs(E)).max()  # the absolute tolerance that is enough
        for atol in (needed * (1 + 1e-9), needed * (1 - 1e-9)):
            if needed > 1e-9:
                expected = np.allclose(D, E, rtol=0.1, atol=atol)
                assert A.allclose(B, 0.1, atol) is A.allclose(E, 0.1, atol) is expected
        assert A.allclose(B) is (A is B)


@pytest.mark.parametrize("place", [(0, 0), (0, 1), (0, 2), (3, 3), (9, 10)])
def test_one_entry_that_differs_is_found(place):
    """Also if it is the only one of its pair of blocks, on or off the diagonal."""
    p = bm.Partition.from_sizes([2, 1, 6, 2])
    change = np.zeros((11, 11))
    change[place] = change[place[::-1]] = 1.0
    for A in families(p, np.random.default_rng(0)):
        values, vectors = np.linalg.eigh(change)
        B = A.add_low_rank(vectors[:, [0, -1]], np.diag(values[[0, -1]]))
        assert not A.allclose(B)
        assert not B.allclose(A)
        assert A.allclose(B, atol=1.001)
        assert not A.allclose(A.toarray() + change)


def test_a_finite_number_is_not_close_to_infinity():
    A = bm.BlockConstantMatrix.identity([0, 0, 1])
    for entry in (np.inf, -np.inf, np.nan):
        dense = A.toarray()
        dense[0, 1] = entry
        assert not A.allclose(dense)
    infinite = bm.BlockConstantMatrix([0, 1], [np.inf, 1.0], check_finite=False)
    assert not bm.BlockConstantMatrix.identity([0, 1]).allclose(infinite)


def test_independent_groups_are_compared_without_pairs_of_groups():
    k = 60_000
    p = bm.Partition.uniform(k, 2)
    q = bm.Partition.from_labels(np.arange(2 * k) // 3)
    A = bm.BlockFactorMatrix(p, np.ones(k), np.arange(1.0, 2 * k + 1))
    B = bm.BlockFactorMatrix(q, np.ones(q.n_blocks), A.noise)
    tracemalloc.start()
    assert A.allclose(A)
    assert not A.allclose(B)
    assert A.allclose(B, atol=1.0)
    assert not A.allclose(A.add_diagonal(np.eye(1, 2 * k, k)[0]))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 64 * 8 * 2 * k  # 64 arrays of n numbers


def test_large_matrices_are_compared_with_little_memory():
    p, n = bm.Partition.uniform(4, 2000), 8000
    rng = np.random.default_rng(0)
    A = bm.BlockConstantMatrix(p, core(rng, 4, float, True), np.ones(4))
    B = bm.ScaledBlockMatrix(A, 1 + 1e-9 * rng.standard_normal(n))
    tracemalloc.start()
    assert A.allclose(B)
    assert not A.allclose(bm.ScaledBlockMatrix(A, np.where(np.arange(n) == n - 1, 1.1, 1.0)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < n * n * 8 / 4  # at most 16 arrays of 2**20 numbers at a time


def test_dense_arrays_of_large_matrices_are_made_only_if_asked_for():
    n = 20_000
    A = bm.BlockConstantMatrix.identity(np.zeros(n, int))
    S = sp.eye_array(2, n, format="csr")
    message = r"takes 2.98 GiB; use toarray\(\) .* A.rdot\(x\)"
    for f in (lambda: np.asarray(A), lambda: np.linalg.inv(A), lambda: S @ A):
        with pytest.raises(MemoryError, match=message):
            f()
    np.testing.assert_array_equal(A.rdot(S)[:, :3], np.eye(2, 3))


def test_questions_about_the_shape_and_the_dtype_make_no_dense_array():
    n = 20_000
    p = np.zeros(n, int)
    A, C = bm.BlockConstantMatrix.identity(p), bm.BlockConstantMatrix.identity(p, np.complex64)
    assert (np.shape(A), np.ndim(A), np.size(A), np.size(A, 1)) == ((n, n), 2, n * n, n)
    assert (np.isrealobj(A), np.iscomplexobj(A)) == (True, False)
    assert (np.isrealobj(C), np.iscomplexobj(C)) == (False, True)
    assert np.result_type(C, A, np.float32) == np.complex128


def test_the_entry_of_a_block_of_one_is_shared_with_noise():
    A = bm.BlockConstantMatrix.from_values(
        [0, 0, 1, 2], np.full((3, 3), 0.5) + np.eye(3), [2, 2, 2]
    )
    for d in ([1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 0.0, -0.5], [-0.1, 0.0, 0.0, 0.0]):
        total = A + sp.diags_array(d)
        assert type(total) is bm.BlockFactorMatrix
        np.testing.assert_allclose(total.toarray(), A.toarray() + np.diag(d), rtol=4 * EPS)
        assert total.is_positive_definite()
    lazy = A + sp.diags_array([1.0, 2.0, -3.0, 0.0])
    assert not isinstance(lazy, bm.BlockFactorMatrix)
    np.testing.assert_allclose(lazy @ np.ones(4), (A @ np.ones(4)) + [1, 2, -3, 0])


def test_sums_of_low_rank_and_what_is_no_base_are_lazy():
    A = bm.BlockConstantMatrix.identity([0, 0, 1]).add_low_rank(np.ones((3, 1)))
    for B in (
        bm.BlockConstantMatrix([0, 0, 1], [[1.0, 2.0], [0.0, 1.0]]),
        bm.BlockConstantMatrix([0, 0, 1], [[1.0, 1j], [-1j, 1.0]]),
    ):
        for total in (A + B, B + A):
            assert not isinstance(total, bm.BlockPlusLowRank)
            np.testing.assert_allclose(total @ np.eye(3), A.toarray() + B.toarray())


def test_numbers_of_single_precision_are_not_rounded_in_sums_with_double_precision():
    A = bm.BlockConstantMatrix([0, 0, 0, 1], [[1.1, 0.3], [0.3, 0.7]], [0.9, 0]).astype(np.float32)
    d = np.array([1.0, 2.0, 3.0, 4.0])
    total = A + sp.diags_array(d)
    assert total.dtype == np.float64
    exact = A.astype(np.float64).toarray() + np.diag(d)  # of the stored numbers
    np.testing.assert_allclose(total.toarray(), exact, rtol=8 * EPS)


def test_matrices_with_the_same_scale_are_added_without_losing_it():
    p, scale = PARTITIONS["uniform"], np.arange(1.0, 10)
    B = bm.BlockConstantMatrix(p, np.eye(3) + 1, np.ones(3))
    A = bm.ScaledBlockMatrix(B, scale)
    for result, expected in (
        (A + A, 2 * A.toarray()), (A - 0.5 * A, 0.5 * A.toarray()),
    ):  # fmt: skip
        assert type(result) is bm.ScaledBlockMatrix
        np.testing.assert_allclose(result.toarray(), expected, rtol=4 * EPS)
    other = bm.ScaledBlockMatrix(B.refine(np.arange(9)), scale)
    assert not isinstance(A + other, bm.ScaledBlockMatrix)
