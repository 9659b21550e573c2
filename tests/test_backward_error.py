"""Backward errors of solve and of products, whatever the condition number.

For every type, dtype, number of variables and ratio of within to between,
``|A x - b| <= c eps (|A| |x| + |b|)`` and ``|y - A x| <= c eps |A| |x|``, with the c stated here.
"""

import itertools

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import blockmat as bm
from tests.extended import backward_error, equicorrelated, error_of_product, norm

# Each number of a result is rounded a few times, and sums over blocks are pairwise, whose
# rounding grows with log2(n): 17 for 100,000.
C_PAIR = 16
# Whitening, a product with orthonormal directions and one step of refinement.
C_LOW_RANK = 32

DTYPES = (np.float32, np.float64)


def right_hand_sides(n, rng):
    noise = rng.standard_normal(n)
    yield np.ones(n)
    yield np.full(n, 1 / 3)
    yield noise
    yield noise - noise.mean()
    yield noise + 1e4
    yield np.eye(1, n)[0]  # the largest deviation is where a centre is looked for
    yield np.arange(n) / n
    yield rng.standard_t(1, n)


PARTITIONS = {
    "one block": lambda n: bm.Partition.trivial(n),
    "labelled": lambda n: bm.Partition.from_labels(np.arange(n) * 7919 % 5 % 3),
    "with a single variable": lambda n: bm.Partition.from_sizes([1, n - 1]),
    "equal": lambda n: bm.Partition.uniform(4, n // 4),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", PARTITIONS)
@pytest.mark.parametrize("n", [12, 1000, 10**5])
def test_solve_and_products_are_backward_stable_for_any_ratio(dtype, kind, n):
    p = PARTITIONS[kind](n)
    rng = np.random.default_rng(n)
    is_long = n == 10**5  # a few of the cases, which take seconds each in extended precision
    for within in (1e-12,) if is_long else (0.5, 1e-4, 1e-8, 1e-12):
        for aligned in (False,) if is_long else (False, True):
            A = equicorrelated(p, within, dtype, aligned)
            for b in itertools.islice(right_hand_sides(n, rng), 0, None, 2 if is_long else 1):
                b = b.astype(dtype)
                x = A.solve(b)
                assert x.dtype == dtype
                assert backward_error(A, x, b) <= C_PAIR
                assert error_of_product(A, b, A @ b) <= C_PAIR


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
@given(data=st.data())
def test_solve_is_backward_stable_for_any_pair(dtype, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    k = data.draw(st.integers(1, 4))
    sizes = data.draw(st.lists(st.integers(1, 60), min_size=k, max_size=k))
    p = bm.Partition.from_labels(rng.permutation(np.repeat(np.arange(k), sizes)))
    exponents = data.draw(st.lists(st.integers(-12, 12), min_size=k, max_size=k))
    core = rng.standard_normal((k, k)) + 1j * rng.standard_normal((k, k))
    core = core if dtype == np.complex128 else core.real
    if data.draw(st.booleans()):
        core = core @ core.conj().T + np.eye(k)
    A = bm.BlockConstantMatrix(p, core.astype(dtype), (10.0 ** np.array(exponents)).astype(dtype))
    offset = 10.0 ** data.draw(st.integers(-3, 6))
    b = (rng.standard_normal((p.n, 5)) + offset).astype(dtype)
    X = A.solve(b)
    # a core of condition c is solved with a residual of a few eps: LU with partial pivoting
    wide = np.clongdouble
    for column in range(5):
        x = X[:, column]
        if dtype == np.complex128:
            means = np.array([x[block].astype(wide).mean() for block in p])
            root = np.sqrt(p.sizes)
            y = A.within.astype(wide)[p.labels] * (x - means[p.labels])
            y = y + ((A.between.astype(wide) @ (means * root)) / root)[p.labels]
            residual = np.linalg.norm((y - b[:, column]).astype(complex))
            size = float(A.norm(2)) * np.linalg.norm(x) + np.linalg.norm(b[:, column])
            assert residual <= C_PAIR * np.finfo(dtype).eps * size
        else:
            assert backward_error(A, x, b[:, column]) <= C_PAIR
    # the layout of the right-hand sides changes the order of sums, by no more than rounding
    for layout, columns in (
        (np.asfortranarray(b), slice(0, 5)), (b[:, ::2], slice(0, 5, 2)), (b[:, :2].copy(), slice(0, 2)),
    ):  # fmt: skip
        difference = A.solve(layout) - X[:, columns]
        largest = np.abs(X).max() * float(A.cond())
        assert np.abs(difference).max() <= 1e3 * np.finfo(dtype).eps * largest


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", [1.0, 1e2, 1e3, 1e5, 1e7])
@pytest.mark.parametrize("within", [1.0, 1e-6])
@pytest.mark.parametrize("scaled", [False, True])
def test_solve_with_a_low_rank_part_is_backward_stable(dtype, scale, within, scaled):
    rng = np.random.default_rng(0)
    n, r = 120, 3
    p = bm.Partition.from_labels(np.arange(n) * 7919 % 5 % 3)
    base = equicorrelated(p, within, np.float64, False)
    if scaled:
        base = bm.ScaledBlockMatrix(base, np.exp(rng.standard_normal(n)))
    V = scale * rng.standard_normal((n, r))
    A = bm.BlockPlusLowRank(base, V).astype(dtype)
    D = A.astype(np.float64).toarray().astype(np.longdouble)
    largest = np.linalg.norm(D.astype(float), 2)
    b = np.stack([rng.standard_normal(n), np.ones(n), V[:, 0] / scale], axis=1).astype(dtype)
    X = A.solve(b)
    assert X.dtype == dtype
    for x, y in zip(X.T, b.T, strict=True):
        size = largest * norm(x) + norm(y)
        assert norm(D @ x - y) <= C_LOW_RANK * np.finfo(dtype).eps * size
    # b^T A^-1 b for a column of V is 1 / (1 + 1 / (v^T B^-1 v)) or less, and never negative
    v = A.factor[:, 0].astype(float)
    quadratic = float(v @ A.astype(np.float64).solve(v))
    assert 0 < quadratic <= 1 + 1e-8


@pytest.mark.parametrize("scale", [1.0, 1e3, 1e7])
@pytest.mark.parametrize("definite", [True, False])
def test_the_determinant_with_a_low_rank_part_is_accurate(scale, definite):
    rng = np.random.default_rng(0)
    base = equicorrelated(bm.Partition.uniform(3, 4), 1e-3, np.float64, False)
    factor = scale * rng.standard_normal((12, 2))
    A = bm.BlockPlusLowRank(base, factor, [[1.0, 0.0], [0.0, 1.0 if definite else -1.0]])
    with mpmath.workdps(60):
        dense = mpmath.matrix(base.toarray().tolist())
        V, C = mpmath.matrix(factor.tolist()), mpmath.matrix(A.core.tolist())
        det = mpmath.det(dense + V * C * V.T)
        sign, logdet = A.slogdet()
        assert sign == mpmath.sign(det) == (1 if definite else -1)
        # the base, of condition 1e3, is rounded in toarray
        assert abs(logdet - mpmath.log(abs(det))) <= 1e-11


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", [1.0, 1e2, 1e4])
def test_the_inverse_with_a_low_rank_part_is_accurate(dtype, scale):
    rng = np.random.default_rng(0)
    n = 60
    p = bm.Partition.uniform(3, 20)
    base = bm.BlockConstantMatrix(p, np.eye(3) + 0.2, [0.5, 1.0, 2.0])
    A = bm.BlockPlusLowRank(base, scale * rng.standard_normal((n, 4))).astype(dtype)
    # an oracle that does not subtract large numbers: Woodbury in extended precision
    D = A.astype(np.float64)
    V = D.factor.astype(np.longdouble)
    inverse = D.base.inv().toarray().astype(np.longdouble)
    small = np.eye(4) + V.T @ inverse @ V
    middle = np.linalg.inv(small.astype(float)).astype(np.longdouble)
    middle = middle @ (2 * np.eye(4) - small @ middle)  # to extended precision
    exact = (inverse - inverse @ V @ middle @ V.T @ inverse).astype(float)
    error = np.linalg.norm(A.inv().astype(np.float64).toarray() - exact, 2)
    # float64 factors of the oracle's base leave 1e-16 s^2 of it
    tolerance = 50 * np.finfo(dtype).eps * np.linalg.norm(exact, 2)
    assert error <= tolerance
    assert A.inv().dtype == dtype


def test_a_matrix_near_the_edge_of_definiteness_is_definite():
    base = bm.BlockConstantMatrix.identity(bm.Partition.trivial(4))
    e = np.eye(4)[:, :1]
    for left in (5e-3, 1e-6, 1e-12):
        A = bm.BlockPlusLowRank(base, e, [[-1 + left]])
        np.testing.assert_allclose(A.whiten(np.eye(4))[0, 0], left**-0.5, rtol=1e-3)
        np.testing.assert_allclose(A.solve(e[:, 0])[0], 1 / left, rtol=1e-3)
    for left in (0.0, -1e-6):
        with pytest.raises(np.linalg.LinAlgError, match="not positive definite"):
            bm.BlockPlusLowRank(base, e, [[-1 + left]]).whiten(np.ones(4))


def test_factors_are_kept_and_never_change():
    A = equicorrelated(bm.Partition.uniform(3, 4), 0.3, np.float64, False)
    b = np.random.default_rng(0).standard_normal(12)
    first, inverse = A.solve(b), A.inv()
    np.testing.assert_array_equal(A.solve(b), first)
    np.testing.assert_array_equal(A.inv().between, inverse.between)
    np.testing.assert_allclose(inverse @ b, first)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("definite", [True, False])
@pytest.mark.parametrize("scale", [1.0, 1e4, 1e8])
def test_a_part_of_full_rank_is_solved_and_inverted(rank, definite, scale):
    """With as many directions as variables nothing is left of the base, whatever its signs."""
    rng = np.random.default_rng(rank)
    base = bm.BlockConstantMatrix([0, 0], [[1.0 if definite else -1.0]], [2.0])
    A = bm.BlockPlusLowRank(base, scale * rng.standard_normal((2, rank)))
    D = A.toarray()
    condition = np.linalg.cond(D)
    b = rng.standard_normal(2)
    x = A.solve(b)
    size = np.linalg.norm(D, 2) * norm(x) + norm(b)
    assert norm(D @ x - b) <= C_LOW_RANK * np.finfo(float).eps * size
    if rank > 1:
        with mpmath.workdps(60):
            exact = np.array((mpmath.matrix(D.tolist()) ** -1).tolist(), dtype=float)
        tolerance = 100 * np.finfo(float).eps * condition * np.abs(exact).max()
        np.testing.assert_allclose(A.inv().toarray(), exact, atol=tolerance)
    if condition < 1e10:  # for the oracle
        np.testing.assert_allclose(A.slogdet()[1], np.linalg.slogdet(D)[1], rtol=1e-5)
        assert A.slogdet()[0] == np.linalg.slogdet(D)[0]
