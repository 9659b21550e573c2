"""Whitening, colouring, and scipy.stats."""

import numpy as np
import pytest
from scipy.stats import Covariance, multivariate_normal

from blockmat.exceptions import (
    DtypeError,
    IndefiniteMatrixError,
    NotHermitianError,
    ShapeError,
)
from tests.matrix_suite.base import (
    UNITS,
    MatrixType,
    close,
    operation,
)


class Covariances(MatrixType):
    @operation("whiten", "colorize", examples=20)
    def test_whitening_and_colouring(self, case):
        A, D, n, dtype = case.A, case.D, len(case.D), case.dtype
        if np.dtype(dtype).kind == "c":
            for f in (A.whiten, A.colorize, *(B.whiten for B in self.negative(A))):
                with pytest.raises(DtypeError, match="must be real"):
                    f(np.ones(n))
            return
        if not case.is_definite:
            for f in (A.whiten, A.colorize):
                with pytest.raises((NotHermitianError, IndefiniteMatrixError)):
                    f(np.ones(n))
            return
        for negative in self.negative(A):
            with pytest.raises(IndefiniteMatrixError, match="positive definite"):
                negative.whiten(np.ones(n))
        W, C = A.whiten(np.eye(n, dtype=dtype)).T, A.colorize(np.eye(n, dtype=dtype)).T
        assert W.dtype == C.dtype == dtype
        wide = W.astype(float), C.astype(float)
        close((wide[0] @ D @ wide[0].T).astype(dtype), np.eye(n), None, case.condition)
        close((wide[1] @ wide[1].T).astype(dtype), D, case.size, case.condition)
        close((wide[0] @ wide[1]).astype(dtype), np.eye(n), None, case.condition)
        batch = case.rng.standard_normal((2, 3, n)).astype(dtype)
        for f, name, matrix in ((A.whiten, "x", W), (A.colorize, "z", C)):
            result, size = f(batch), np.linalg.norm(matrix) * np.linalg.norm(batch)
            assert result.shape == batch.shape
            assert result.dtype == dtype
            close(result, batch @ matrix.T, size, case.condition)
            close(f(batch[1, 2].tolist()).astype(dtype), result[1, 2], size, case.condition)
            with pytest.raises(ShapeError, match=f"{name} has shape"):
                f(np.ones(n + 1))
            with pytest.raises(DtypeError, match=f"{name} has dtype complex128"):
                f(np.ones(n, complex))

    @operation("as_covariance")
    def test_a_covariance_for_scipy(self, case):
        A, D, n = case.A, case.D, len(case.D)
        if not case.is_definite or A.dtype.kind == "c":
            with pytest.raises((DtypeError, NotHermitianError, IndefiniteMatrixError)):
                A.as_covariance()
            return
        for negative in self.negative(A):
            with pytest.raises(IndefiniteMatrixError):
                negative.as_covariance()
        cov = A.as_covariance()
        assert isinstance(cov, Covariance)
        assert cov.rank == n
        assert cov.shape == A.shape
        close(cov.covariance, A.toarray(), 0)
        x = case.rng.standard_normal((4, n))
        ours, theirs = multivariate_normal(x[0], cov), multivariate_normal(x[0], D)
        # Distances and log-determinants of stored numbers, in the precision of the matrix.
        rtol = UNITS * n * np.finfo(case.dtype).eps * case.condition
        for result, expected in (
            (ours.logpdf(x), theirs.logpdf(x)), (ours.logpdf(x[1]), theirs.logpdf(x[1])),
            (ours.entropy(), theirs.entropy()), (cov.log_pdet, np.linalg.slogdet(D)[1]),
        ):  # fmt: skip
            np.testing.assert_allclose(result, expected, rtol=rtol, atol=rtol * n)
        W = cov.whiten(np.eye(n)).T
        close((W.T @ W).astype(case.dtype), case.inverse, None, case.condition)
        white = cov.whiten(cov.colorize(x))
        np.testing.assert_allclose(white, x, rtol=rtol, atol=rtol)
