"""CovarianceRoots: whitening, colouring and scipy.stats by the roots of a direct sum of cores."""

from functools import cached_property
from typing import TYPE_CHECKING, Self

import numpy as np

from blockmat.blocks.checks import Array, accumulator_dtype, in_precision_of
from blockmat.cores import functions
from blockmat.exceptions import IndefiniteMatrixError, NotHermitianError
from blockmat.matrices.matrix_functions import MatrixFunctions

if TYPE_CHECKING:
    from scipy.stats import Covariance


class CovarianceRoots(MatrixFunctions):
    """Base class with the methods; whitening multiplies by the inverse square root."""

    def as_covariance(self) -> "Covariance":
        """View a real positive semi-definite matrix as a covariance for scipy.stats.

        Returns
        -------
        scipy.stats.Covariance
            For `scipy.stats.multivariate_normal`: logpdf, rvs and entropy at O(n)
            for each vector, without any n x n array.

        Raises
        ------
        DtypeError
            If the matrix is complex.
        NotHermitianError
            If it is not symmetric.
        IndefiniteMatrixError
            If it has negative eigenvalues.

        Examples
        --------
        >>> from scipy.stats import multivariate_normal
        >>> import blockmat as bm
        >>> cov = bm.BlockConstantMatrix.identity([0, 0, 1]).as_covariance()
        >>> round(float(multivariate_normal.logpdf([0, 0, 0], cov=cov)), 4)
        -2.7568
        """
        from blockmat.matrices.scipy_covariance import SingularCovariance

        self._require_real()
        if self.is_positive_definite():
            return super().as_covariance()
        return SingularCovariance(
            self,
            self._cores,
            lambda p: self._apply_to_cores(
                lambda core: functions.power_of_positive_part(core, p).power
            ),
        )

    @cached_property
    def _root(self) -> Self:
        """The square root of a positive definite matrix, in double precision."""
        return self._positive_definite.sqrtm()

    @cached_property
    def _inverse_root(self) -> Self:
        return self._positive_definite.invsqrtm()

    @property
    def _positive_definite(self) -> Self:
        """The matrix in double precision, if it is positive definite."""
        if not self.is_hermitian:
            raise NotHermitianError("the matrix is not symmetric; expected a covariance matrix")
        if not self.is_positive_definite():
            raise IndefiniteMatrixError(
                "the matrix is not positive definite; expected a covariance matrix of full rank"
            )
        return self.astype(accumulator_dtype(self.dtype))

    def _whitened(self, x: Array) -> Array:
        return in_precision_of(self._inverse_root.dot(x), np.result_type(self.dtype, x.dtype))

    def _whitened_adjoint(self, x: Array) -> Array:
        return self._whitened(x)

    def _colorized(self, x: Array) -> Array:
        return in_precision_of(self._root.dot(x), np.result_type(self.dtype, x.dtype))
