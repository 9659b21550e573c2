"""Spectrum: eigenvalues, singular values, and what follows from them."""

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np

from blockmat.blocks.checks import Array, accumulator_dtype, real_dtype
from blockmat.cores import factors, rank, spectrum
from blockmat.cores.core import Core, require_hermitian
from blockmat.matrices.direct_sum import DirectSum
from blockmat.matrices.eigenvectors import BlockEigh, decompose


class Spectrum(DirectSum):
    """Base class with the methods; each joins the spectra of the cores (:ref:`theory-pair`)."""

    @property
    def is_hermitian(self) -> bool:
        """Whether the matrix equals its conjugate transpose, to rounding.

        Entries (a, b) and (b, a) of a core may differ by ``8 sqrt(k) eps`` times the smaller of
        two magnitudes: the largest in row and column a, and in row and column b
        (:ref:`theory-rank`).
        """
        return all(core.is_hermitian for core in self._unchecked_cores)

    def eigvalsh(self) -> tuple[Array, Array]:
        """Return the eigenvalues of a Hermitian matrix.

        Returns
        -------
        values : ndarray, shape (r,)
            The eigenvalues, ascending. Equal eigenvalues of different cores stay separate.
        multiplicities : ndarray of int, shape (r,)
            How often each occurs. Their sum is n.

        Raises
        ------
        NotHermitianError
            If the matrix is not Hermitian.

        Examples
        --------
        >>> import blockmat as bm
        >>> bm.BlockConstantMatrix([0, 0, 0], [[4.0]], [2.0]).eigvalsh()
        (array([2., 4.]), array([2, 1]))
        """
        for core in self._cores:
            require_hermitian(core, "eigvalsh")
        values, multiplicities = self._joined(spectrum.eigvalsh)
        ascending = np.argsort(values, kind="stable")
        return values[ascending], multiplicities[ascending]

    def eigvals(self) -> tuple[Array, Array]:
        """Return the eigenvalues of any matrix.

        Returns
        -------
        values : ndarray, shape (r,)
            The eigenvalues, in no particular order.
        multiplicities : ndarray of int, shape (r,)
            How often each occurs. Their sum is n.

        Examples
        --------
        >>> import blockmat as bm
        >>> bm.BlockConstantMatrix([0, 0, 0], [[4.0]], [2.0]).eigvals()
        (array([4.+0.j, 2.+0.j]), array([1, 2]))
        """
        return self._joined(spectrum.eigvals)

    def svdvals(self) -> tuple[Array, Array]:
        """Return the singular values.

        Returns
        -------
        values : ndarray, shape (r,)
            The singular values, descending.
        multiplicities : ndarray of int, shape (r,)
            How often each occurs. Their sum is n.

        Examples
        --------
        >>> import blockmat as bm
        >>> bm.BlockConstantMatrix([0, 0, 0], [[-4.0]], [2.0]).svdvals()
        (array([4., 2.]), array([1, 2]))
        """
        values, multiplicities = self._joined(spectrum.svdvals)
        descending = np.argsort(-values, kind="stable")
        return values[descending], multiplicities[descending]

    def _joined(self, values_of: Callable[[Core], Array]) -> tuple[Array, Array]:
        """Return eigenvalues or singular values of all cores, and their multiplicities."""
        values = np.concatenate([values_of(core) for core in self._cores])
        dtype = self.dtype
        if values.dtype.kind == "c":
            dtype = np.result_type(dtype, np.complex64)
        elif dtype.kind == "c":
            dtype = real_dtype(dtype)
        return values.astype(dtype), np.concatenate([core.multiplicity for core in self._cores])

    def eigh(self) -> BlockEigh:
        """Decompose a Hermitian matrix without storing its eigenvectors.

        Returns
        -------
        BlockEigh
            With ``values``, ``multiplicities`` and ``vectors``, a unitary LinearOperator V
            with ``A = V diag(repeat(values, multiplicities)) V^H``.

        Raises
        ------
        NotHermitianError
            If the matrix is not Hermitian.

        Examples
        --------
        >>> import numpy as np
        >>> import blockmat as bm
        >>> A = bm.BlockConstantMatrix([0, 0, 0], [[4.0]], [2.0])
        >>> values, multiplicities, V = A.eigh()
        >>> x = np.array([1.0, 2.0, 6.0])
        >>> y = V @ (np.repeat(values, multiplicities) * (V.H @ x))
        >>> bool(np.allclose(y, A @ x))
        True
        """
        return decompose(self.partition, self._cores, self.dtype)

    def slogdet(self) -> tuple[Any, Any]:
        """Return the sign and the logarithm of the absolute determinant.

        Returns
        -------
        sign : scalar
            1, 0 or -1 for a real matrix. For a complex one 0, or a number of modulus 1.
        logabsdet : scalar
            The natural logarithm; minus infinity for a singular matrix.

        Examples
        --------
        >>> import blockmat as bm
        >>> bm.BlockConstantMatrix([0, 0], [[-1.0]], [1.0]).slogdet()
        (np.float64(-1.0), np.float64(0.0))
        """
        parts = [factors.slogdet(core) for core in self._cores]
        real = real_dtype(self.dtype)
        sign = self.dtype.type(np.prod([sign for sign, _ in parts]))
        return sign, real.type(sum(logdet for _, logdet in parts))

    def norm(self, ord: Any = None) -> Any:
        """Return a matrix norm.

        Parameters
        ----------
        ord : {None, 'fro', 'nuc', 2, -2, 1, -1, inf, -inf}, default None
            Which norm, as in `numpy.linalg.norm`; None is 'fro'.

        Returns
        -------
        scalar
            The norm, real.

        Raises
        ------
        ValueError
            If `ord` is not one of these.

        Examples
        --------
        >>> import blockmat as bm
        >>> bm.BlockConstantMatrix.identity([0, 0, 1, 1]).norm()
        np.float64(2.0)
        """
        _check_norm("ord", ord)
        real = real_dtype(self.dtype)
        if ord in (None, "fro"):
            return real.type(self._frobenius_norm())
        if ord in ("nuc", 2, -2):
            values, multiplicities = self.svdvals()
            if ord == "nuc":
                return real.type(np.sum(values.astype(np.float64) * multiplicities))
            return values.max() if ord == 2 else values.min()
        sums = self._absolute_sums(of_columns=abs(ord) == 1)
        return real.type(sums.max() if ord > 0 else sums.min())

    def cond(self, p: Any = None) -> Any:
        """Return the condition number.

        Parameters
        ----------
        p : {None, 2, -2, 'fro', 'nuc', 1, -1, inf, -inf}, default None
            The norm, as in `numpy.linalg.cond`; None is 2.

        Returns
        -------
        scalar
            ``norm(A, p) * norm(inv(A), p)``; infinity for a singular matrix.

        Raises
        ------
        ValueError
            If `p` is not one of these.

        Examples
        --------
        >>> import blockmat as bm
        >>> bm.BlockConstantMatrix([0, 0], [[4.0]], [2.0]).cond()
        np.float64(2.0)
        """
        _check_norm("p", p)
        double = self.astype(accumulator_dtype(self.dtype))
        ord = 2 if p is None else p
        norm, inverse = double.norm(ord), None
        if self.matrix_rank() == self.shape[0]:
            with contextlib.suppress(np.linalg.LinAlgError):
                inverse = double.inv()
        with np.errstate(over="ignore"):
            cond = (
                np.float64(0 if p == -2 else np.inf)
                if inverse is None
                else norm * inverse.norm(ord)
            )
            return cond.astype(real_dtype(self.dtype))

    def matrix_rank(self, tol: float | None = None) -> int:
        """Count the singular values that are not zero.

        Parameters
        ----------
        tol : float, optional
            Singular values up to `tol` count as zero. The default rule depends neither on n nor
            on the units of the variables (:ref:`theory-rank`).

        Returns
        -------
        int
            The rank.

        Raises
        ------
        ValueError
            If `tol` is negative.

        Examples
        --------
        >>> import blockmat as bm
        >>> bm.BlockConstantMatrix([0, 0, 1], [[2, 0], [0, 1]]).matrix_rank()
        2
        """
        if tol is None:
            return sum(rank.rank(core) for core in self._cores)
        if not tol >= 0:
            raise ValueError(f"tol is {tol!r}; expected 0 or more")
        values, multiplicities = self.svdvals()
        return int(multiplicities[values > tol].sum())

    def is_positive_definite(self) -> bool:
        """Tell whether the matrix is Hermitian and has only positive eigenvalues.

        Returns
        -------
        bool
            True if all eigenvalues are positive by the rule of `matrix_rank`.

        Examples
        --------
        >>> import blockmat as bm
        >>> bm.BlockConstantMatrix.identity([0, 0, 1]).is_positive_definite()
        True
        """
        return all(rank.is_positive_definite(core) for core in self._cores)


def _check_norm(name: str, value: Any) -> None:
    if value not in (None, "fro", "nuc", 2, -2, 1, -1, np.inf, -np.inf):
        raise ValueError(
            f"{name} is {value!r}; expected None, 'fro', 'nuc', 2, -2, 1, -1, inf or -inf"
        )
