"""Functions of matrices that tests/matrix_suite.py does not draw: singular, indefinite, large."""

import numpy as np
import pytest
import scipy.linalg

import blockmat as bm
from blockmat.testing import assert_matches_dense
from tests.cases import DTYPES, PARTITIONS, make


def check(result, dense, dtype, condition=1.0):
    """A structured result of the right dtype that equals the dense one."""
    assert type(result) is bm.BlockConstantMatrix
    assert result.dtype == result.between.dtype == result.within.dtype == dtype
    assert_matches_dense(result, dense, condition=condition)


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("partition", PARTITIONS)
def test_pseudo_inverse_and_rank_of_singular_matrices(partition, dtype, aligned):
    for hermitian in (True, False):
        A = make(PARTITIONS[partition], dtype, aligned, hermitian)
        k = A.partition.n_blocks
        lowered = A.between.copy()
        lowered[0] = lowered[:, 0] = 0
        within = A.within.copy()
        within[..., : k // 2] = 0
        within[: k // 2] = 0
        S = bm.BlockConstantMatrix(A.partition, lowered, within)
        D = S.astype(np.result_type(dtype, np.float64)).toarray()
        check(S.pinv(), np.linalg.pinv(D, rcond=1e-4), A.dtype, 100)
        assert S.matrix_rank() == np.linalg.matrix_rank(D, tol=1e-4)


def test_indefinite_hermitian_powers_over_the_complex_numbers():
    A = bm.BlockConstantMatrix([0, 0, 1, 1], [[1.0, 2.0], [2.0, 1.0]], [-4.0, 9.0]).astype(complex)
    D = A.toarray()
    check(A.sqrtm(), scipy.linalg.sqrtm(D), np.complex128)
    check(A.sqrtm() @ A.sqrtm(), D, np.complex128)
    check(A.logm(), scipy.linalg.logm(D), np.complex128)
    check(A.invsqrtm(), np.linalg.inv(scipy.linalg.sqrtm(D)), np.complex128)


def test_funm_may_return_complex_numbers():
    A = bm.BlockConstantMatrix([0, 0, 1], np.eye(2, dtype=np.float32), np.float32([2, 0]))
    result = A.funm(lambda w: np.exp(1j * w))
    check(result, scipy.linalg.expm(1j * A.toarray()), np.complex64, 10)


def test_funm_never_sees_the_numbers_of_singletons():
    seen = []
    bm.BlockConstantMatrix.identity([0, 1, 2]).funm(lambda w: seen.extend(w) or w)
    assert seen == [1, 1, 1]


def test_integers_are_promoted_to_float64():
    A = bm.BlockConstantMatrix([0, 0], [[2]], [1])
    assert A.dtype == np.float64
    assert (A @ np.ones(2, dtype=int)).dtype == np.float64


def test_large_matrix_needs_no_dense_array():
    n = 10**6
    A = bm.BlockConstantMatrix(bm.Partition.uniform(10, n // 10), np.eye(10) * 4, np.full(10, 9.0))
    x = np.ones(n)
    np.testing.assert_allclose(A.invsqrtm() @ x, x / 2)
    np.testing.assert_allclose(A.logdet(), 10 * np.log(4) + (n - 10) * np.log(9))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_result_that_overflows_is_an_error(dtype):
    largest = float(np.log(np.finfo(dtype).max))
    A = bm.BlockConstantMatrix.identity([0, 0, 1], dtype=dtype)
    assert np.isfinite((A * (0.9 * largest)).expm().values).all()
    for f in (
        lambda: (A * (1.1 * largest)).expm(),
        lambda: (A * 10) ** 400,
        lambda: (A * 10) ** 400.5,
    ):
        with pytest.raises(bm.exceptions.NonFiniteError, match="the result overflows"):
            f()


def test_a_function_cannot_change_the_matrix():
    A = bm.fit(np.diag([1.0, 2, 3, 4]) + 0.1, [0, 0, 1, 1])
    before = A.eigvalsh()[0]
    A.funm(lambda w: np.exp(w, out=w))
    np.testing.assert_array_equal(A.eigvalsh()[0], before)


@pytest.mark.parametrize("seed", range(5))
def test_inverses_of_indefinite_hermitian_matrices_are_hermitian(seed):
    Q = np.linalg.qr(np.random.default_rng(seed).normal(size=(6, 6)))[0]
    M = (Q * np.array([1e-6, -1e-3, 1, -2, 3, 1e3])) @ Q.T
    A = bm.BlockConstantMatrix(range(6), (M + M.T) / 2)
    for inverse in (A.inv(), A.pinv()):
        np.testing.assert_array_equal(inverse.between, inverse.between.T)
