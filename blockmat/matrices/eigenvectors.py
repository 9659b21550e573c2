"""The eigendecomposition of a Hermitian block-constant matrix, applied but never formed.

Each block has an orthonormal basis that a Householder reflection makes: its first
vector is the normalised indicator u_b, the others span the deviations from the
block mean. In it the matrix is a direct sum of its cores, so its eigenvectors are
these bases times the eigenvectors of the cores.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse.linalg import LinearOperator

from blockmat.blocks.checks import Array, as_numeric, real_dtype
from blockmat.blocks.partition import Partition
from blockmat.blocks.passes import block_sums
from blockmat.cores import pair, spectrum
from blockmat.cores.core import Core, require_hermitian
from blockmat.matrices.operator import matvec_of_batch

__all__ = ["BlockEigenvectors", "BlockEigh", "decompose"]


class BlockEigh(NamedTuple):
    """Eigenvalues and eigenvectors: ``A = V diag(repeat(values, multiplicities)) V^H``.

    Parameters
    ----------
    values : ndarray, shape (r,)
        The eigenvalues, ascending; equal ones from different cores are not joined.
    multiplicities : ndarray of int, shape (r,)
        How often each occurs; they add up to n.
    vectors : BlockEigenvectors
        V, of which only products with arrays are computed.

    Notes
    -----
    How they are applied in O(n) is in :ref:`theory-eigenvectors`.

    Examples
    --------
    >>> import blockmat as bm
    >>> bm.BlockConstantMatrix([0, 0, 0], [[4.0]], [2.0]).eigh().values
    array([2., 4.])
    """

    values: Array
    multiplicities: Array
    vectors: "BlockEigenvectors"


class BlockEigenvectors(LinearOperator):  # type: ignore[misc]
    """The n x n unitary matrix of eigenvectors, as a LinearOperator.

    Made by `BlockConstantMatrix.eigh`. ``V @ c`` combines eigenvectors and
    ``V.H @ x`` gives coordinates, both in O(n) plus products with the cores'
    eigenvectors.

    Parameters
    ----------
    partition : Partition
        The blocks.
    cores : list of (blocks, vectors)
        The blocks of each core and its eigenvectors, or None for the unit vectors;
        the between core first.
    columns : ndarray of int, shape (n,)
        For each eigenvector, its place in the order "between core, then deviations".
    dtype : dtype
        The dtype of products.
    conjugated, adjoint : bool
        Which variant of V this is.

    Examples
    --------
    >>> import numpy as np
    >>> import blockmat as bm
    >>> V = bm.BlockConstantMatrix([0, 0, 1], [[4, 1], [1, 3]], [2, 0]).eigh().vectors
    >>> bool(np.allclose(V.H @ V.toarray(), np.eye(3)))
    True
    """

    def __init__(
        self,
        partition: Partition,
        cores: list[tuple[Array, Array | None]],
        columns: Array,
        dtype: Any,
        conjugated: bool = False,
        adjoint: bool = False,
    ) -> None:
        super().__init__(dtype, (partition.n, partition.n))
        self._partition, self._cores, self._columns = partition, cores, columns
        self._conjugated, self._is_adjoint = conjugated, adjoint

    def _matvec(self, x: Any) -> Array:
        return matvec_of_batch(self._matmat, np.asarray(x), self.shape[1])

    def _matmat(self, X: Any) -> Array:
        x = as_numeric(X, "x", (1, 2))
        dtype = np.result_type(self.dtype, x.dtype)
        if self._conjugated:
            x = x.conj()
        y = self._coordinates(x) if self._is_adjoint else self._combination(x)
        return (y.conj() if self._conjugated else y).astype(dtype, copy=False)

    def _coordinates(self, x: Array) -> Array:
        """``V^H x``: reflect, apply the cores' eigenvectors, and sort."""
        return self._rotate(self._reflect(x), adjoint=True)[self._columns]

    def _combination(self, c: Array) -> Array:
        """``V c``, the same steps backwards."""
        unsorted = np.empty(c.shape, dtype=np.result_type(c, self.dtype))
        unsorted[self._columns] = c
        return self._reflect(self._rotate(unsorted, adjoint=False))

    def _reflect(self, x: Array) -> Array:
        """Reflect each block so that u_b and the unit vector of its first member swap.

        With e the unit vector and s = u^H x, this adds (x_1 - s) / (sqrt(n_b) - 1)
        to every member but the first, which becomes s.
        """
        p = self._partition
        first = p.order[p.offsets[:-1]]
        root = pair.root(p.sizes)
        s = pair.coordinates(block_sums(p, x).T, p.sizes).T
        shift = ((x[first] - s).T / np.where(p.sizes > 1, root - 1, 1)).T
        y = x + p.expand(shift)
        y[first] = s
        result: Array = y.astype(np.result_type(x, self.dtype), copy=False)
        return result

    def _rotate(self, x: Array, adjoint: bool) -> Array:
        """Multiply the coordinates of each core by its eigenvectors, or their adjoint."""
        y = x.copy()
        for number, (blocks, vectors) in enumerate(self._cores):
            if vectors is None:
                continue
            rows = _rows_of_core(self._partition, blocks, is_between=number == 0)
            matrix = vectors.conj().T if adjoint else vectors
            y[rows] = np.tensordot(matrix, x[rows], 1)
        return y

    def _adjoint(self) -> "BlockEigenvectors":
        return self._variant(self._conjugated, not self._is_adjoint)

    def _transpose(self) -> "BlockEigenvectors":
        return self._variant(not self._conjugated, not self._is_adjoint)

    def _variant(self, conjugated: bool, adjoint: bool) -> "BlockEigenvectors":
        return BlockEigenvectors(
            self._partition, self._cores, self._columns, self.dtype, conjugated, adjoint
        )

    def toarray(self) -> Array:
        """Make the dense matrix of eigenvectors.

        Returns
        -------
        ndarray, shape (n, n)
            One eigenvector per column.

        Examples
        --------
        >>> import blockmat as bm
        >>> bm.BlockConstantMatrix.identity([0]).eigh().vectors.toarray()
        array([[1.]])
        """
        return self._matmat(np.eye(self.shape[0], dtype=self.dtype))


def _rows_of_core(p: Partition, blocks: Array, is_between: bool) -> Array:
    """Return where the coordinates of a core are: (k,) block firsts, or (c, m - 1) others."""
    if is_between:
        return p.order[p.offsets[:-1]]
    places = np.arange(1, p.sizes[blocks[0]])
    rows: Array = p.order[p.offsets[blocks][:, None] + places]
    return rows


def decompose(p: Partition, direct_sum: Sequence[Core], dtype: np.dtype[Any]) -> BlockEigh:
    """Decompose the Hermitian matrix that is a direct sum of cores.

    Parameters
    ----------
    p : Partition
        The blocks.
    direct_sum : sequence of Core
        The between core, then the within cores.
    dtype : dtype
        The dtype of the matrix.

    Returns
    -------
    BlockEigh
        Its eigenvalues and eigenvectors.

    Raises
    ------
    NotHermitianError
        If a core is not Hermitian.
    """
    cores, values = [], []
    for core in direct_sum:
        require_hermitian(core, "eigh")
        core_values, core_vectors = spectrum.eigh(core)
        cores.append((core.blocks, core_vectors))
        values.append(core_values)
    unsorted = np.concatenate(values)
    ascending = np.argsort(unsorted, kind="stable")
    # A block begins with its coordinate in the between core; the rest are those of its deviations.
    first = [p.offsets[core.blocks] + (number > 0) for number, core in enumerate(direct_sum)]
    starts = np.concatenate(first)[ascending]
    multiplicities = np.concatenate([core.multiplicity for core in direct_sum])[ascending]
    columns = p.order[_ranges(starts, multiplicities)]
    return BlockEigh(
        unsorted[ascending].astype(real_dtype(dtype)),
        multiplicities,
        BlockEigenvectors(p, cores, columns, dtype),
    )


def _ranges(starts: Array, lengths: Array) -> Array:
    """Return the numbers ``start, start + 1, ...`` of every range, one range after another."""
    before = np.cumsum(lengths) - lengths
    numbers: Array = np.arange(lengths.sum()) + np.repeat(starts - before, lengths)
    return numbers
