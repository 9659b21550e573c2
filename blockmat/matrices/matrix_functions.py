"""Inverses, powers and other functions of a matrix that is a direct sum of cores."""

import numbers as abc_numbers
from collections.abc import Callable
from typing import Any, Self

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.cores import factors, functions, inverses
from blockmat.matrices.spectrum import Spectrum


class MatrixFunctions(Spectrum):
    """The methods; each is that function of every core."""

    def inv(self) -> Self:
        """Invert.

        Returns
        -------
        BlockConstantMatrix
            The inverse, at the cost of one k x k LU factorisation.

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
        return self._map(factors.inv)

    def pinv(self, rtol: float | None = None) -> Self:
        """Take the Moore-Penrose pseudo-inverse.

        Parameters
        ----------
        rtol : float, optional
            Singular values up to `rtol` times the largest count as zero. By default those
            do that `matrix_rank` does not count.

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
        return self._map(lambda core: inverses.pinv(core, cutoff))

    def powm(self, p: float) -> Self:
        """Raise to a real power.

        Parameters
        ----------
        p : float
            The exponent; a negative one inverts.

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
            If `p` is not an integer, the matrix is real, and its power is not.

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
            If the matrix is real and its square root is not.

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
            If the matrix is real and the result is not.

        Examples
        --------
        >>> import blockmat as bm
        >>> bm.BlockConstantMatrix([0, 0], [[4.0]], [16.0]).invsqrtm().within
        array([0.25])
        """
        return self._power(-0.5, "invsqrtm")

    def _power(self, p: float, operation: str) -> Self:
        if not isinstance(p, abc_numbers.Real) or not np.isfinite(p):
            raise TypeError(f"the exponent is {p!r}; expected a finite real number")
        return self._map(lambda core: functions.power(core, float(p), operation))

    def expm(self) -> Self:
        """Take the matrix exponential.

        Returns
        -------
        BlockConstantMatrix
            The exponential.

        Examples
        --------
        >>> import blockmat as bm
        >>> bm.BlockConstantMatrix([0, 0], [[0.0]], [0.0]).expm().toarray()
        array([[1., 0.],
               [0., 1.]])
        """
        return self._map(functions.exp)

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
            If the matrix is real and its logarithm is not.

        Examples
        --------
        >>> import blockmat as bm
        >>> bm.BlockConstantMatrix.identity([0, 0]).logm().toarray()
        array([[0., 0.],
               [0., 0.]])
        """
        return self._map(functions.log)

    def funm(self, f: Callable[[Array], Any]) -> Self:
        """Apply a scalar function to the spectrum.

        Parameters
        ----------
        f : callable
            Takes an array of eigenvalues and returns an array of the same shape.
            The eigenvalues are real if the matrix is Hermitian.

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
            If the matrix is not Hermitian and its eigenvalues lie so close together
            that the result may be inaccurate.

        Examples
        --------
        >>> import numpy as np
        >>> import blockmat as bm
        >>> bm.BlockConstantMatrix([0, 0], [[0.0]], [np.pi]).funm(np.cos).within
        array([-1.])
        """
        return self._map(lambda core: functions.funm(core, f))

    def nearest_psd(self, min_eigenvalue: float = 0.0) -> Self:
        """Find the closest positive semi-definite matrix in the Frobenius norm.

        Parameters
        ----------
        min_eigenvalue : float, default 0.0
            Raise all eigenvalues to at least this.

        Returns
        -------
        BlockConstantMatrix
            The Hermitian part with its small eigenvalues raised, which is the
            closest such matrix also among all matrices [1]_.

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
        return self._map(lambda core: functions.clip(core, min_eigenvalue))

    def __pow__(self, p: Any) -> Self:
        return self.powm(p)
