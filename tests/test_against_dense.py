"""Every operation against dense NumPy and SciPy, over all cases, dtype and type included."""

import numpy as np
import pytest
import scipy.linalg
from scipy.sparse.linalg import LinearOperator

import blockmat as bm
from blockmat.testing import assert_matches_dense
from tests.cases import over_cases, over_hermitian_cases, random_array

RNG = np.random.default_rng(7)


def check(result, dense, dtype, condition=1.0):
    """A structured result of the right dtype that equals the dense one."""
    assert type(result) is bm.BlockConstantMatrix
    assert result.dtype == dtype
    assert result.between.dtype == result.within.dtype == dtype
    assert_matches_dense(result, dense, condition=condition)


def check_array(result, dense, dtype, condition=1.0):
    assert type(result) is np.ndarray
    assert result.dtype == dtype
    assert_matches_dense(result, dense, condition=condition)


def real(dtype):
    return np.zeros(0, dtype).real.dtype


@over_cases
def test_values_round_trip(case):
    A = case.A
    again = bm.BlockConstantMatrix.from_values(A.partition, A.values, A.diagonal_values)
    check(again, case.dense, A.dtype)
    assert again.is_aligned == A.is_aligned
    assert A.values.dtype == A.diagonal_values.dtype == A.dtype


@over_cases
def test_toarray_is_the_canonical_formula(case):
    A = case.A
    p = A.partition
    U = p.indicator(normalized=True).toarray()
    dense = U @ A.between @ U.T
    within = A.within if A.is_aligned else np.diag(A.within)
    blocks = list(p)
    for a, b in np.argwhere(within):
        S = np.zeros(A.shape)
        S[blocks[a], blocks[b]] = 1
        dense = dense + within[a, b] * (S - np.outer(U[:, a], U[:, b]))
    check_array(A.toarray(), dense, A.dtype)
    check_array(np.asarray(A), dense, A.dtype)
    check_array(A.diagonal(), np.diagonal(dense), A.dtype)


@over_cases
@pytest.mark.parametrize("columns", [None, 1, 3])
def test_products_with_arrays(case, columns):
    A, D = case.A, case.dense
    shape = (A.shape[0],) if columns is None else (A.shape[0], columns)
    for dtype in (np.float32, np.float64, np.complex64, np.int64):
        x = random_array(RNG, shape, dtype) if dtype != np.int64 else RNG.integers(-5, 5, shape)
        expected = np.result_type(A.dtype, np.float64 if dtype == np.int64 else dtype)
        wide = x.astype(np.result_type(x, np.float64))
        scale = 10.0  # sums may cancel
        check_array(A @ x, D @ wide, expected, scale)
        check_array(A * x, D @ wide, expected, scale)
        check_array(A.dot(x), D @ wide, expected, scale)
        check_array(A.H @ x, D.conj().T @ wide, expected, scale)
        check_array(A.T @ x, D.T @ wide, expected, scale)
        check_array(x.T @ A, wide.T @ D, expected, scale)
        check_array(A.solve(x), np.linalg.solve(D, wide), expected, 10 * np.linalg.cond(D))


@over_cases
def test_products_accept_any_layout(case):
    A, D = case.A, case.dense
    n = A.shape[0]
    base = random_array(RNG, (2 * n, 6), A.dtype)
    read_only = base[:n].copy()
    read_only.flags.writeable = False
    wide = np.result_type(A.dtype, np.float64)
    for x in (
        base[::2],
        base[::-2],
        np.asfortranarray(base[:n]),
        read_only,
        base[:n, 1],
        base[::2, 0],
    ):
        check_array(A @ x, D @ x.astype(wide), A.dtype, 10.0)


@over_cases
def test_algebra(case):
    A, D = case.A, case.dense
    B = bm.BlockConstantMatrix(A.partition, A.between[::-1], A.within * 2)
    E = B.toarray().astype(D.dtype)
    check(A + B, D + E, A.dtype, 10)
    check(A - B, D - E, A.dtype, 10)
    check(A @ B, D @ E, A.dtype, 10)
    check(A.dot(B), D @ E, A.dtype, 10)
    check(-A, -D, A.dtype)
    check(+A, D, A.dtype)
    check(2 * A, 2 * D, A.dtype)
    check(A * 2, 2 * D, A.dtype)
    check(A * 0.5, 0.5 * D, A.dtype)
    check(A / 4, D / 4, A.dtype)
    check(0 + A, D, A.dtype)
    check(A - 0, D, A.dtype)
    check(0 - A, -D, A.dtype)
    check(sum([A, A]), 2 * D, A.dtype)
    check(A.T, D.T, A.dtype)
    check(A.H, D.conj().T, A.dtype)
    check(A.conj(), D.conj(), A.dtype)
    check(A.adjoint(), D.conj().T, A.dtype)
    check(1j * A, 1j * D, np.result_type(A.dtype, np.complex64))
    check(A**3, D @ D @ D, A.dtype, 100)
    check(A**0, np.eye(len(D)), A.dtype)
    check(A**-2, np.linalg.matrix_power(np.linalg.inv(D), 2), A.dtype, 10 * np.linalg.cond(D) ** 2)


@over_cases
def test_mixed_within_kinds_and_dtypes(case):
    A, D = case.A, case.dense
    identity = bm.BlockConstantMatrix.identity(A.partition, dtype=np.float64)
    dtype = np.result_type(A.dtype, np.float64)
    check(A + identity, D + np.eye(len(D)), dtype)
    check(identity + A, D + np.eye(len(D)), dtype)
    doubled = bm.BlockConstantMatrix(A.partition, 2 * identity.between, 3 * identity.within)
    expected = doubled.toarray()
    check(doubled @ A, expected @ D, dtype)
    check(A @ doubled, D @ expected, dtype)


@over_cases
def test_inverse(case):
    A, D = case.A, case.dense
    check(A.inv(), np.linalg.inv(D), A.dtype, np.linalg.cond(D))
    check(A @ A.inv(), np.eye(len(D)), A.dtype, 10 * np.linalg.cond(D))


@over_cases
def test_pinv(case):
    A = case.A
    k = A.partition.n_blocks
    lowered = A.between.copy()
    lowered[0] = lowered[:, 0] = 0
    within = A.within.copy()
    within[..., : k // 2] = 0
    within[: k // 2] = 0
    S = bm.BlockConstantMatrix(A.partition, lowered, within)
    D = S.toarray().astype(case.dense.dtype)
    dense = np.linalg.pinv(D, rcond=1e-4)
    check(S.pinv(), dense, A.dtype, 100)
    assert S.matrix_rank() == np.linalg.matrix_rank(D, tol=1e-4)


@over_cases
def test_functions(case):
    A, D = case.A, case.dense
    condition = 30 * np.linalg.cond(D) ** 2
    root = scipy.linalg.sqrtm(D)
    check(A.sqrtm(), root, A.dtype, condition)
    check(A.invsqrtm(), np.linalg.inv(root), A.dtype, condition)
    check(A.powm(1.5), D @ root, A.dtype, condition)
    check(A.powm(-0.25), scipy.linalg.fractional_matrix_power(D, -0.25), A.dtype, condition)
    check(A**0.5, root, A.dtype, condition)
    check(A.expm(), scipy.linalg.expm(D), A.dtype, condition)
    check(A.logm(), scipy.linalg.logm(D), A.dtype, condition)
    check(A.funm(np.exp), scipy.linalg.expm(D), A.dtype, 1e3 * condition)


@over_cases
def test_nearest_psd(case):
    A, D = (
        case.A - 1.5 * bm.BlockConstantMatrix.identity(case.A.partition, case.A.dtype),
        case.dense,
    )
    D = D - 1.5 * np.eye(len(D))
    w, v = np.linalg.eigh((D + D.conj().T) / 2)
    nearest = (v * np.maximum(w, 0)) @ v.conj().T
    check(
        A.nearest_psd(), nearest, A.dtype, 1e1 * np.abs(D).max() / max(np.abs(nearest).max(), 1e-3)
    )
    check(A.nearest_psd(0.25), (v * np.maximum(w, 0.25)) @ v.conj().T, A.dtype, 100)


def expanded(spectrum):
    values, multiplicities = spectrum
    assert multiplicities.dtype.kind == "i"
    assert (multiplicities > 0).all()
    return np.repeat(values, multiplicities)


@over_hermitian_cases
def test_eigvalsh(case):
    A, D = case.A, case.dense
    values, _ = A.eigvalsh()
    assert values.dtype == real(A.dtype)
    assert (np.diff(values) >= 0).all()
    assert_matches_dense(expanded(A.eigvalsh()), np.linalg.eigvalsh(D))


@over_hermitian_cases
def test_eigh(case):
    A, D = case.A, case.dense
    n = len(D)
    values, multiplicities, V = A.eigh()
    assert isinstance(V, LinearOperator)
    assert V.dtype == A.dtype
    assert values.dtype == real(A.dtype)
    dense = V.toarray()
    check_array(dense.conj().T @ dense, np.eye(n), A.dtype)
    check_array((dense * np.repeat(values, multiplicities)) @ dense.conj().T, D, A.dtype)
    x = random_array(RNG, (n, 2), A.dtype)
    for variant, matrix in (
        (V, dense),
        (V.H, dense.conj().T),
        (V.T, dense.T),
        (V.H.T, dense.conj()),
    ):
        check_array(variant @ x, matrix @ x, A.dtype, 10)
        check_array(variant @ x[:, 0], matrix @ x[:, 0], A.dtype, 10)


@over_cases
def test_eigvals(case):
    values = expanded(case.A.eigvals())
    assert values.dtype == np.result_type(case.A.dtype, np.complex64)
    dense = np.linalg.eigvals(case.dense)
    for value in dense:
        assert np.abs(values - value).min() < 1e-3
    assert_matches_dense(values.sum(), dense.sum(), rtol=1e-4)


@over_cases
def test_svdvals_and_norms(case):
    A, D = case.A, case.dense
    assert_matches_dense(expanded(A.svdvals()), np.linalg.svd(D, compute_uv=False))
    for ord in (None, "fro", "nuc", 2, -2, 1, -1, np.inf, -np.inf):
        result = A.norm(ord)
        assert result.dtype == real(A.dtype)
        assert_matches_dense(result, np.linalg.norm(D, ord), condition=10)
    for p in (None, 2, -2, "fro", "nuc", 1, -1, np.inf, -np.inf):
        result = A.cond(p)
        assert result.dtype == real(A.dtype)
        assert_matches_dense(result, np.linalg.cond(D, p), condition=10 * np.linalg.cond(D))


@over_cases
def test_scalars(case):
    A, D = case.A, case.dense
    assert A.trace().dtype == A.dtype
    assert_matches_dense(A.trace(), np.trace(D))
    sign, logdet = A.slogdet()
    dense_sign, dense_logdet = np.linalg.slogdet(D)
    assert sign.dtype == A.dtype
    assert logdet.dtype == real(A.dtype)
    assert_matches_dense(sign, dense_sign)
    np.testing.assert_allclose(logdet, dense_logdet, rtol=1e-4, atol=1e-5)
    assert A.matrix_rank() == len(D)


@over_cases
def test_questions(case):
    A, D = case.A, case.dense
    assert A.is_hermitian == np.allclose(D, D.conj().T)
    assert A.is_positive_definite() == np.allclose(D, D.conj().T)
    assert not (-A).is_positive_definite()
    if case.hermitian:
        np.testing.assert_allclose(
            A.logdet(), np.linalg.slogdet(case.dense)[1], rtol=1e-4, atol=1e-5
        )
        assert A.logdet().dtype == real(A.dtype)


@over_cases
def test_astype(case):
    A = case.A
    for dtype in (np.float32, np.float64, np.complex64, np.complex128):
        if A.dtype.kind == "c" and np.dtype(dtype).kind != "c":
            with pytest.raises(bm.BlockmatError, match="converts only to complex"):
                A.astype(dtype)
        else:
            check(A.astype(dtype), case.dense, dtype)


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


def test_numpy_scalars_keep_the_type():
    A = bm.BlockConstantMatrix.identity([0, 0, 1], dtype=np.float32)
    for scalar in (np.float32(2), np.int64(2), np.bool_(True), np.float64(2), np.array(2.0)):
        assert type(scalar * A) is bm.BlockConstantMatrix
        assert type(A * scalar) is bm.BlockConstantMatrix
    assert (np.float32(2) * A).dtype == np.float32


def test_large_matrix_needs_no_dense_array():
    n = 10**6
    A = bm.BlockConstantMatrix(bm.Partition.uniform(10, n // 10), np.eye(10) * 4, np.full(10, 9.0))
    x = np.ones(n)
    np.testing.assert_allclose(A.invsqrtm() @ x, x / 2)
    np.testing.assert_allclose(A.logdet(), 10 * np.log(4) + (n - 10) * np.log(9))
