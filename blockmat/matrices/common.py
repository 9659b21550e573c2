"""What all matrix types have besides SciPy's and NumPy's protocols: comparison, files, pictures."""

from os import PathLike
from typing import Any

from blockmat.blocks.checks import Array
from blockmat.matrices.archive import Archive, write_archive
from blockmat.matrices.dispatch import call
from blockmat.matrices.html import matrix_to_html
from blockmat.matrices.numpy_protocol import NumpyProtocol


class CommonMethods(NumpyProtocol):
    """Base class with the methods; a subclass supplies the ones that raise here."""

    def allclose(self, other: Any, rtol: float = 1e-5, atol: float = 1e-8) -> bool:
        r"""Tell whether all entries are close to those of another matrix, as `numpy.allclose`.

        Parameters
        ----------
        other : matrix of this package, array_like or sparse matrix, shape (m, n)
            What to compare with.
        rtol, atol : float, default 1e-5 and 1e-8
            Entries a of this matrix and b of the other are close if
            ``abs(a - b) <= atol + rtol * abs(b)``.

        Returns
        -------
        bool
            True if all are. NaN is not close to anything.

        Raises
        ------
        ShapeError
            If the shapes differ.
        TypeError
            If `other` is a LinearOperator of another package.
        ValueError
            If `rtol` or `atol` is negative.

        Notes
        -----
        Variables that are in the same blocks of both matrices, and have the same scales, loadings
        and rows of low-rank factors, are compared once. So block-constant matrices are compared
        in O(n + c\ :sup:`2`) with c common blocks. If all scales differ, it takes
        O(n\ :sup:`2`), but no n x n array.

        Examples
        --------
        >>> import blockmat as bm
        >>> A = bm.BlockConstantMatrix.identity([0, 0, 1])
        >>> A.allclose(bm.BlockConstantMatrix.identity([0, 1, 1])), A.allclose(2 * A)
        (True, False)
        """
        return bool(call("allclose", self, other, rtol, atol))

    def save(self, path: str | PathLike[str]) -> None:
        """Save to a file.

        Parameters
        ----------
        path : path-like
            The file, in NumPy's .npz format whatever its name. It is written completely or not at
            all.

        Raises
        ------
        TypeError
            If the names of the blocks are neither numbers, strings nor tuples of them.
        OSError
            If the file cannot be written.

        See Also
        --------
        blockmat.load : read the file.

        Examples
        --------
        >>> import os, tempfile
        >>> import blockmat as bm
        >>> path = os.path.join(tempfile.mkdtemp(), "identity.npz")
        >>> bm.BlockConstantMatrix.identity([0, 0, 1]).save(path)
        >>> bm.load(path)
        <3x3 BlockConstantMatrix of 2 independent blocks, dtype=float64>
        """
        write_archive(self._archive(), path)

    def _archive(self) -> Archive:
        """Return the content of a file."""
        raise NotImplementedError

    def _picture(self) -> tuple[Array, ...]:
        """Return the numbers of blocks for the picture of a notebook, and the sizes of the blocks."""
        raise NotImplementedError

    def _repr_html_(self) -> str:
        return matrix_to_html(repr(self), *self._picture())


def archive_of(A: CommonMethods) -> Archive:
    """Return the content of the file of a matrix."""
    return A._archive()


def picture_of(A: CommonMethods) -> tuple[Array, ...]:
    """Return the numbers of blocks for the picture of a notebook, and the sizes of the blocks."""
    return A._picture()
