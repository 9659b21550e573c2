"""Determinants, norms, ranks, eigenvalues and eigenvectors, singular values and vectors."""

import numpy as np
import pytest
import scipy.sparse.linalg as sla

from blockmat.exceptions import (
    IndefiniteMatrixError,
    NotHermitianError,
)
from tests.cases import random_array
from tests.matrix_suite.base import (
    NORMS,
    MatrixType,
    close,
    expanded,
    operation,
    real,
)


class Spectra(MatrixType):
    @operation("slogdet", "logdet", examples=20)
    def test_determinant(self, case):
        A = case.A
        sign, logdet = A.slogdet()
        expected_sign, expected = np.linalg.slogdet(case.D)
        size = len(case.D) * (1 + np.abs(np.log(case.size)))
        assert sign.dtype == case.dtype
        assert logdet.dtype == real(case.dtype)
        close(sign, expected_sign, size, case.condition)
        close(logdet, expected, size, case.condition)
        if case.is_definite:
            assert A.logdet() == logdet
        for negative in self.negative(A):
            opposite = negative.slogdet()[0]
            close(opposite, expected_sign * (-1) ** len(case.D), size, case.condition)
            if len(case.D) % 2 and case.is_definite:
                with pytest.raises(IndefiniteMatrixError, match="needs a positive determinant"):
                    negative.logdet()
        if "inv" not in self.lacks:
            close(A.inv().slogdet()[1], -expected, size, case.condition)

    @operation("norm")
    def test_norms(self, case):
        for ord in NORMS:
            if ord in self.norms:
                result = case.A.norm(ord)
                assert result.dtype == real(case.dtype)
                size = case.size * np.sqrt(max(case.D.shape))
                close(result, np.linalg.norm(case.D, ord or "fro"), size)
        for ord in {*NORMS, 3, "x"}.difference(self.norms):
            with pytest.raises(ValueError, match="ord is"):
                case.A.norm(ord)

    @operation("cond", "matrix_rank")
    def test_condition_and_rank(self, case):
        for p in (*NORMS[1:], None):
            result = case.A.cond(p)
            assert result.dtype == real(case.dtype)
            size = case.condition * max(case.D.shape)
            close(result, np.linalg.cond(case.D, p), size, case.condition)
        assert case.A.matrix_rank() == len(case.D)
        assert (0 * case.A).matrix_rank() == 0
        assert (0 * case.A).cond() == np.inf
        with pytest.raises(ValueError, match="is 3; expected None"):
            case.A.cond(3)
        with pytest.raises(ValueError, match="tol is"):
            case.A.matrix_rank(-1)

    @operation("eigvals", "svdvals", examples=12)
    def test_spectra(self, case):
        A, D = case.A, case.D
        singular = expanded(A.svdvals())
        assert singular.dtype == real(case.dtype)
        close(singular, np.linalg.svd(D, compute_uv=False), case.size)
        values = expanded(A.eigvals())
        assert values.dtype == np.result_type(case.dtype, np.complex64)
        # Computed eigenvalues are those of a matrix that is eps |A| away, so their power sums
        # are near traces of powers, whatever the condition of the eigenvalues.
        for p in (1, 2, 3):
            power = np.linalg.matrix_power(D, p)
            close((values.astype(complex) ** p).sum().astype(values.dtype), np.trace(power),
                  p * len(D) * case.size**p)  # fmt: skip

    @operation("eigvalsh", examples=20)
    def test_eigenvalues_of_hermitian_matrices(self, case):
        A, D = case.A, case.D
        if case.is_hermitian and self.has_eigenvalues:
            values = expanded(A.eigvalsh())
            assert values.dtype == real(case.dtype)
            assert (np.diff(values) >= 0).all()
            close(values, np.linalg.eigvalsh(D), case.size)
        else:
            with pytest.raises((NotHermitianError, TypeError), match="eigvalsh needs a"):
                A.eigvalsh()

    @operation("eigh", examples=12)
    def test_eigenvectors(self, case):
        A, D, dtype = case.A, case.D, case.dtype
        if not case.is_hermitian:
            with pytest.raises(NotHermitianError, match="eigh needs a Hermitian matrix"):
                A.eigh()
            return
        values, multiplicities, V = A.eigh()
        assert isinstance(V, sla.LinearOperator)
        assert values.dtype == real(dtype)
        values, dense = expanded((values, multiplicities)), V.toarray()
        assert V.dtype == dense.dtype == dtype
        close(dense.conj().T @ dense, np.eye(len(D)))
        close((dense * values) @ dense.conj().T, D, case.size)
        x = random_array(case.rng, (len(D), 2), dtype)
        size = np.linalg.norm(dense) * np.linalg.norm(x)
        for variant, matrix in (
            (V, dense), (V.H, dense.conj().T), (V.T, dense.T), (V.H.T, dense.conj()),
        ):  # fmt: skip
            for y in (x, x[:, 0]):
                result = variant @ y
                assert result.dtype == dtype
                close(result, matrix @ y, size)

    @operation("svd")
    def test_singular_vectors(self, case):
        D, dtype = case.D, case.dtype
        U, s, Vh = case.A.svd()
        rank = len(s)
        assert U.dtype == Vh.dtype == dtype
        assert s.dtype == real(dtype)
        assert U.shape == (D.shape[0], rank)
        assert Vh.shape == (rank, D.shape[1])
        close((U * s) @ Vh, D, case.size)
        close(U.conj().T @ U, np.eye(rank))
        close(Vh @ Vh.conj().T, np.eye(rank))
        exact = np.linalg.svd(D, compute_uv=False)
        close(s, exact[:rank], case.size)
        assert np.abs(exact[rank:]).max(initial=0) < 1e-12 * case.size
