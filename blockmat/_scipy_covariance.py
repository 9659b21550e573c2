"""Block-constant matrices, and those near them, as a scipy.stats.Covariance."""

from functools import cached_property

import numpy as np
from scipy.stats import Covariance

from blockmat import functions
from blockmat._validation import Array
from blockmat._whitening import WhiteningOperator
from blockmat.exceptions import DtypeError, IndefiniteMatrixError, NotHermitianError
from blockmat.functions import Core
from blockmat.matrix import BlockConstantMatrix

__all__ = ["BlockConstantCovariance", "WhiteningCovariance"]


class BlockConstantCovariance(Covariance):  # type: ignore[misc]
    """What scipy.stats needs of a covariance, at O(n) per vector.

    Whitening multiplies by the inverse square root and colouring by the square
    root. Eigenvalues that are zero to rounding are left out of both, and of the
    rank and the pseudo-determinant, as `scipy.stats` does for singular matrices.

    Parameters
    ----------
    matrix : BlockConstantMatrix
        A real symmetric matrix without negative eigenvalues.
    """

    def __init__(self, matrix: BlockConstantMatrix) -> None:
        if matrix.dtype.kind == "c":
            raise DtypeError(f"a covariance must be real, and the matrix has dtype {matrix.dtype}")
        if not matrix.is_hermitian:
            raise NotHermitianError("a covariance must be symmetric, and the matrix is not")
        values, multiplicities = matrix.eigvalsh()
        cutoff = matrix._rank_cutoff(None, "rtol")
        if values[0] < -cutoff:
            raise IndefiniteMatrixError(
                f"a covariance cannot have negative eigenvalues, and the smallest is {values[0]:.3g}"
            )
        positive = values > cutoff
        self._matrix = matrix
        self._log_pdet = float(
            np.sum(multiplicities[positive] * np.log(values[positive].astype(np.float64)))
        )
        self._rank = int(multiplicities[positive].sum())
        self._shape = matrix.shape
        self._allow_singular = True
        self._cutoff = cutoff

    # Each on first use: densities need only the second, samples only the first.

    @cached_property
    def _root(self) -> BlockConstantMatrix:
        return self._power(0.5)

    @cached_property
    def _inverse_root(self) -> BlockConstantMatrix:
        return self._power(-0.5)

    @cached_property
    def _projector(self) -> BlockConstantMatrix:
        return self._power(0.0)

    def _power(self, p: float) -> BlockConstantMatrix:
        return self._matrix._map(lambda core: _power_on_support(core, p, self._cutoff))

    @cached_property
    def _covariance(self) -> Array:
        return self._matrix.toarray()

    def _whiten(self, x: Array) -> Array:
        return _apply_to_last_axis(self._inverse_root, x)

    def _colorize(self, x: Array) -> Array:
        return _apply_to_last_axis(self._root, x)

    def _support_mask(self, x: Array) -> Array:
        """Whether x lies in the range of the matrix, to rounding."""
        outside = x - _apply_to_last_axis(self._projector, x)
        tolerance = 1e3 * np.finfo(self._matrix.dtype).eps * np.linalg.norm(x, axis=-1)
        mask: Array = np.linalg.norm(outside, axis=-1) <= tolerance
        return mask


def _power_on_support(core: Core, p: float, cutoff: float) -> Array:
    """Return the p-th power, with eigenvalues up to the cutoff taken to zero."""

    def f(w: Array) -> Array:
        result: Array = np.where(w > cutoff, np.maximum(w, cutoff) ** p, 0.0)
        return result

    with np.errstate(divide="ignore"):
        return functions.funm(core, f)


def _apply_to_last_axis(A: BlockConstantMatrix, x: Array) -> Array:
    rows = x.reshape(-1, x.shape[-1])
    result: Array = A.dot(rows.T).T.reshape(x.shape)
    return result


class WhiteningCovariance(Covariance):  # type: ignore[misc]
    """What scipy.stats needs of a positive definite covariance.

    Parameters
    ----------
    matrix : WhiteningOperator
        A real symmetric positive definite matrix.
    """

    def __init__(self, matrix: WhiteningOperator) -> None:
        matrix.whiten(np.zeros(matrix.shape[0]))  # refuses other matrices
        self._matrix = matrix
        self._log_pdet = float(matrix.logdet())
        self._rank = matrix.shape[0]
        self._shape = matrix.shape
        self._allow_singular = False

    @cached_property
    def _covariance(self) -> Array:
        return self._matrix.toarray()

    def _whiten(self, x: Array) -> Array:
        return self._matrix.whiten(x)

    def _colorize(self, x: Array) -> Array:
        return self._matrix.colorize(x)
