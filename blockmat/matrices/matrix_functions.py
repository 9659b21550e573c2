"""MatrixFunctions: inverse, powers and other functions of a direct sum of cores."""

import numbers
from collections.abc import Callable
from typing import Any, Self

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.cores import factors, functions, inverses
from blockmat.matrices.spectrum import Spectrum


class MatrixFunctions(Spectrum):
    """Base class with the methods; each is that function of every core (:ref:`theory-functions`)."""

    def inv(self) -> Self:
        """Invert.

        Returns
        -------
        BlockConstantMatrix
            The inverse.

        Raises
        ------
        SingularMatrixError
            If the matrix is singular to working precision; names the core or block.

        Examples
        --------
        >>> import blockmat as bm
        >>> bm.BlockConstantMatrix([0, 0], [[4.0]], [2.0]).inv().between
        array([[0.25]])
        """
        return self._apply_to_cores(factors.inv)

    def pinv(self, rtol: float | None = None) -> Self:
        """Take the Moore-Penrose pseudo-inverse.

        Parameters
        ----------
        rtol : float, optional
            Singular values up to `rtol` times the largest count as zero. By default the rule of
            `matrix_rank` decides.

        Returns
        -------
        BlockConstantMatrix
            The pseudo-inverse.

        Raises
        ------
        ValueError
            If `rtol` is negative.

        Examples
        --------
        >>> import blockmat as bm
        >>> bm.BlockConstantMatrix([0, 0], [[4.0]]).pinv().toarray()
        array([[0.125, 0.125],
               [0.125, 0.125]])
        """
        cutoff = None
        if rtol is not None:
            if not rtol >= 0:
                raise ValueError(f"rtol is {rtol!r}; expected 0 or more")
            cutoff = rtol * float(self.norm(2))
        return self._apply_to_cores(lambda core: inverses.pinv(core, cutoff))

    def powm(self, p: float) -> Self:
        """Raise to a real power.

        Parameters
        ----------
        p : float
            The exponent. A negative exponent inverts.

        Returns
        -------
        BlockConstantMatrix
            The principal power, real for a real matrix.

        Raises
        ------
        TypeError
            If `p` is not a real number.
        SingularMatrixError
            If `p` is negative and the matrix singular.
        IndefiniteMatrixError
            If `p` is not an integer, and the power of a real matrix is not real.

        Examples
        --------
        >>> import blockmat as bm
        >>> bm.BlockConstantMatrix([0, 0], [[4.0]], [9.0]).powm(1.5).within
        array([27.])
        """
        return self._power(p, f"powm({p!r})")

    def sqrtm(self) -> Self:
        """Take the principal square root.

        Returns
        -------
        BlockConstantMatrix
            The square root, real for a real matrix.

        Raises
        ------
        IndefiniteMatrixError
            If the square root of a real matrix is not real.

        Examples
        --------
        >>> import blockmat as bm
        >>> bm.BlockConstantMatrix([0, 0], [[4.0]], [9.0]).sqrtm().within
        array([3.])
        """
        return self._power(0.5, "sqrtm")

    def invsqrtm(self) -> Self:
        """Take the inverse of the principal square root.

        Returns
        -------
        BlockConstantMatrix
            ``A ** -0.5``, which whitens samples with covariance A.

        Raises
        ------
        SingularMatrixError
            If the matrix is singular to working precision.
        IndefiniteMatrixError
            If the result for a real matrix is not real.

        Examples
        --------
        >>> import blockmat as bm
        >>> bm.BlockConstantMatrix([0, 0], [[4.0]], [16.0]).invsqrtm().within
        array([0.25])
        """
        return self._power(-0.5, "invsqrtm")

    def _power(self, p: float, operation: str) -> Self:
        if not isinstance(p, numbers.Real) or not np.isfinite(p):
            raise TypeError(f"the exponent is {p!r}; expected a finite real number")
        return self._apply_to_cores(lambda core: functions.power(core, float(p), operation))

    def expm(self) -> Self:
        """Take the matrix exponential.

        Returns
        -------
        BlockConstantMatrix
            The exponential.

        Raises
        ------
        NonFiniteError
            If it overflows.

        Examples
        --------
        >>> import blockmat as bm
        >>> bm.BlockConstantMatrix([0, 0], [[0.0]], [0.0]).expm().toarray()
        array([[1., 0.],
               [0., 1.]])
        """
        return self._apply_to_cores(functions.exp)

    def logm(self) -> Self:
        """Take the principal matrix logarithm.

        Returns
        -------
        BlockConstantMatrix
            The logarithm, real for a real matrix.

        Raises
        ------
        SingularMatrixError
            If the matrix is singular.
        IndefiniteMatrixError
            If the logarithm of a real matrix is not real.

        Examples
        --------
        >>> import blockmat as bm
        >>> bm.BlockConstantMatrix.identity([0, 0]).logm().toarray()
        array([[0., 0.],
               [0., 0.]])
        """
        return self._apply_to_cores(functions.log)

    def funm(self, f: Callable[[Array], Any]) -> Self:
        """Apply a scalar function to the spectrum.

        Parameters
        ----------
        f : callable
            Takes an array of eigenvalues, which are real if the matrix is Hermitian, and returns
            an array of the same shape.

        Returns
        -------
        BlockConstantMatrix
            ``f(A)``; complex if `f` returns complex numbers.

        Raises
        ------
        ShapeError
            If `f` returns another shape.
        NonFiniteError
            If `f` is not finite on the spectrum.

        Warns
        -----
        scipy.linalg.LinAlgWarning
            If a matrix that is not Hermitian has eigenvalues so close together that the result
            may be inaccurate.

        Examples
        --------
        >>> import numpy as np
        >>> import blockmat as bm
        >>> bm.BlockConstantMatrix([0, 0], [[0.0]], [np.pi]).funm(np.cos).within
        array([-1.])
        """
        return self._apply_to_cores(lambda core: functions.funm(core, f))

    def nearest_psd(self, min_eigenvalue: float = 0.0) -> Self:
        """Find the closest positive semi-definite matrix in the Frobenius norm.

        Parameters
        ----------
        min_eigenvalue : float, default 0.0
            The smallest eigenvalue that the result may have.

        Returns
        -------
        BlockConstantMatrix
            The Hermitian part with its small eigenvalues raised. No other such matrix, of any
            structure, is closer [1]_.

        Raises
        ------
        ValueError
            If `min_eigenvalue` is negative or not finite.

        References
        ----------
        .. [1] N. J. Higham, "Computing a nearest symmetric positive semidefinite
           matrix", Linear Algebra and its Applications 103, 1988.

        Examples
        --------
        >>> import blockmat as bm
        >>> bm.BlockConstantMatrix([0, 0], [[-1.0]], [2.0]).nearest_psd().between
        array([[0.]])
        """
        if not 0 <= min_eigenvalue < np.inf:
            raise ValueError(f"min_eigenvalue is {min_eigenvalue!r}; expected 0 or more")
        return self._apply_to_cores(lambda core: functions.clip(core, min_eigenvalue))

    def __pow__(self, p: Any) -> Self:
        return self.powm(p)
