"""BlockConstantMatrix: constructors, algebra and solving.

Its base classes are, from the last one: `PairParts` with submatrices, `StoredPair` with the
entries, `CovarianceRoots` with whitening, `MatrixFunctions`, `Spectrum`, `DirectSum`, and those
that all square matrix types share.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from blockmat.blocks.argument_order import refuse_swapped
from blockmat.blocks.checks import Array, require_finite, require_in_range, working_dtype
from blockmat.blocks.partition import Partition, as_partition
from blockmat.blocks.passes import block_sums, multiply
from blockmat.cores import pair
from blockmat.cores.arrays import diagonal_of_core
from blockmat.cores.core import Core
from blockmat.exceptions import PartitionMismatchError, ShapeError
from blockmat.matrices.archive import Archive
from blockmat.matrices.checks import as_numbers_of_blocks
from blockmat.matrices.operator import BlockOperator, product_from_left, written_to
from blockmat.matrices.pair_parts import PairParts
from blockmat.matrices.solvers import AlignedSolver, BlockSolver, PlainSolver
from blockmat.matrices.stored_pair import cores_of_one_kind
from blockmat.matrices.within import (
    aligned_product,
    refined_within,
    without_numbers_of_singletons,
)

__all__ = ["BlockConstantMatrix"]


class BlockConstantMatrix(PairParts):
    r"""A square matrix that is constant on the blocks of a partition.

    Every off-diagonal block holds one number. Every diagonal block holds two: one on its
    diagonal and one off it. The matrix stores its canonical pair, and all operations are exact
    and take :math:`O(n + k^3)` time. It is immutable, and a `scipy.sparse.linalg.LinearOperator`.

    Parameters
    ----------
    partition : Partition or sequence of hashable, shape (n,)
        The blocks, or a label for each variable.
    between : array_like, shape (k, k) or (k,)
        The core M, which acts on block sums divided by the square roots of the sizes. The diagonal
        (k,) of a diagonal M makes independent blocks: all entries outside the diagonal blocks are
        zero, no k x k array is made, and all operations take O(n) time.
    within : array_like, shape (k,) or (k, k), optional
        The numbers d, which multiply the deviations from these means; by default zero. A matrix
        D makes aligned blocks: it gives the entries where the p-th member of one block meets the
        p-th member of another of the same size a number of their own. D must be zero between
        blocks of different sizes, and needs a `between` (k, k). Numbers of blocks of size 1 are not
        used and are stored as zero.
    check_finite : bool, default True
        Whether to refuse NaN and infinity.

    Attributes
    ----------
    shape : tuple of int
        ``(n, n)``.
    dtype : numpy.dtype
        float32, float64, complex64 or complex128: the common dtype of `between` and `within`.
        Integers become float64.

    Raises
    ------
    ShapeError
        If `between` or `within` does not fit the partition, or `within` is (k, k) and `between`
        (k,).
    DtypeError
        If their dtype is not supported.
    NonFiniteError
        If they contain NaN or infinity.

    See Also
    --------
    from_values : make one from the numbers in its blocks.
    blockmat.fit : the closest block-constant matrix to a given one.

    Notes
    -----
    :math:`u_b` is the indicator of block b divided by the square root of its size, and
    :math:`U = [u_1, \dots, u_k]`. Then [1]_, [2]_

    .. math:: A = U M U^H + \sum_b d_b (I_b - u_b u_b^H).

    A function of A is that function of M and d: see :ref:`theory-pair`,
    :ref:`theory-independent`, :ref:`theory-aligned` and :ref:`theory-functions`.

    References
    ----------
    .. [1] Y. Lu, M. Harandi, R. Hartley, R. Pascanu, "Block Mean Approximation for
       Efficient Second Order Optimization", arXiv:1804.05484, 2018.
    .. [2] I. Archakov, P. R. Hansen, "A Canonical Representation of Block Matrices
       with Applications to Covariance and Correlation Matrices", arXiv:2012.02698.

    Examples
    --------
    >>> import numpy as np
    >>> import blockmat as bm
    >>> p = bm.Partition.from_sizes([2, 1])
    >>> A = bm.BlockConstantMatrix.from_values(p, [[1, 2], [2, 5]], [4, 5])
    >>> A.toarray()
    array([[4., 1., 2.],
           [1., 4., 2.],
           [2., 2., 5.]])
    >>> bool(np.allclose((A @ A.inv()).toarray(), np.eye(3)))
    True

    Independent blocks:

    >>> bm.BlockConstantMatrix(p, [5, 3], [1, 0]).toarray()
    array([[3., 2., 0.],
           [2., 3., 0.],
           [0., 0., 3.]])
    """

    def __init__(
        self,
        partition: Partition | Sequence[Any],
        between: Any,
        within: Any = None,
        *,
        check_finite: bool = True,
    ) -> None:
        names = ("between", "partition")
        refuse_swapped(between, partition, names, "BlockConstantMatrix(partition, between)")
        partition = as_partition(partition)
        k = partition.n_blocks
        between = as_numbers_of_blocks(between, "between", k, (2, 1))
        if within is None:
            within = np.zeros(k, dtype=between.dtype)
        within = as_numbers_of_blocks(within, "within", k, (1, 2))
        _require_square_core(between, "between", within, "within")
        if check_finite:
            require_finite(between, "between")
            require_finite(within, "within")
        dtype = np.result_type(between, within)
        within = without_numbers_of_singletons(partition, np.array(within, dtype=dtype))
        self._set(partition, np.array(between, dtype=dtype), within)

    @classmethod
    def _trusted(
        cls, partition: Partition, between: Array, within: Array, dtype: Any
    ) -> "BlockConstantMatrix":
        """Make a matrix from arrays that are correct and that nobody else changes."""
        self: BlockConstantMatrix = cls.__new__(cls)
        self._set(partition, np.asarray(between, dtype=dtype), np.asarray(within, dtype=dtype))
        return self

    @classmethod
    def from_values(
        cls, partition: Partition | Sequence[Any], values: Any, diagonal: Any = None
    ) -> "BlockConstantMatrix":
        """Make a matrix from the numbers in its blocks.

        Parameters
        ----------
        partition : Partition or sequence of hashable, shape (n,)
            The blocks, or a label for each variable.
        values : array_like, shape (k, k) or (k,)
            The number in each block. Numbers (k,) are those of the diagonal blocks. Then the other
            blocks are zero, and no k x k array is made.
        diagonal : array_like, shape (k,) or (k, k), optional
            The number on the diagonal of each diagonal block; by default that of `values`.
            For aligned blocks the number on the diagonal of each square block, and the
            same as `values` for other blocks.

        Returns
        -------
        BlockConstantMatrix
            With these `values` and `diagonal_values`.

        Raises
        ------
        ShapeError
            If a shape does not fit, `diagonal` is (k, k) and `values` (k,), or `diagonal` differs
            from `values` in a block that is not square.

        Examples
        --------
        >>> import blockmat as bm
        >>> bm.BlockConstantMatrix.from_values([0, 0], [[0.5]], [1.0]).toarray()
        array([[1. , 0.5],
               [0.5, 1. ]])
        """
        refuse_swapped(values, partition, ("values", "partition"), "from_values(partition, values)")
        partition = as_partition(partition)
        k = partition.n_blocks
        values = as_numbers_of_blocks(values, "values", k, (2, 1))
        if diagonal is None:
            diagonal = diagonal_of_core(values)
        diagonal = as_numbers_of_blocks(diagonal, "diagonal", k, (1, 2))
        _require_square_core(values, "values", diagonal, "diagonal")
        require_finite(values, "values")
        require_finite(diagonal, "diagonal")
        dtype = np.result_type(values, diagonal)
        values, diagonal = (x.astype(dtype, copy=False) for x in (values, diagonal))
        sizes, is_independent = partition.sizes, values.ndim == 1
        if is_independent:
            values, diagonal = pair.one_for_each_block(values, diagonal)
            sizes = sizes[:, None]
        between, within = pair.pair_of_values(values, diagonal, sizes)
        # A sum over a block that cancels to the rounding of its numbers is zero.
        size = np.abs(pair.as_square(between, within))
        between[np.abs(between) <= 2 * np.finfo(dtype).eps * size] = 0
        if is_independent:
            between, within = pair.of_each_block((between, within))
        return cls(partition, between.astype(dtype, copy=False), within)

    @classmethod
    def identity(
        cls, partition: Partition | Sequence[Any], dtype: Any = np.float64
    ) -> "BlockConstantMatrix":
        """Make the identity matrix.

        Parameters
        ----------
        partition : Partition or sequence of hashable, shape (n,)
            The blocks, or a label for each variable.
        dtype : dtype, default float64
            The dtype of the matrix.

        Returns
        -------
        BlockConstantMatrix
            The identity, for shifts such as ``A + 0.1 * identity``. Its blocks are independent.

        Examples
        --------
        >>> import blockmat as bm
        >>> bm.BlockConstantMatrix.identity([0, 0]).toarray()
        array([[1., 0.],
               [0., 1.]])
        """
        partition = as_partition(partition)
        k = partition.n_blocks
        dtype = working_dtype(dtype, "dtype")
        return cls(partition, np.ones(k, dtype=dtype), np.ones(k, dtype=dtype))

    def _apply_to_cores(self, function: Callable[[Core], Array]) -> "BlockConstantMatrix":
        between, *cores = self._cores
        with np.errstate(over="ignore", invalid="ignore"):  # overflow is an error below
            new_between = function(between)
            results = [function(core) for core in cores]
        within = np.zeros(self._within.shape, dtype=np.result_type(*results, np.float64))
        for core, result in zip(cores, results, strict=True):
            index = np.ix_(core.blocks, core.blocks) if self.is_aligned else core.blocks
            within[index] = result
        is_complex = np.iscomplexobj(new_between) or np.iscomplexobj(within)
        dtype = np.result_type(self.dtype, np.complex64) if is_complex else self.dtype
        require_in_range(dtype, new_between, within)
        return self._trusted(self.partition, new_between, within, dtype)

    # Products with arrays

    def _apply(self, x: Array, out: Array | None = None) -> Array:
        p = self.partition
        dtype = self.dtype if x.dtype == self.dtype else np.result_type(self.dtype, x.dtype)
        if not self.is_aligned:
            return multiply(p, x, self._within, self._values_in_double, dtype, out)
        shift = (self._values_in_double @ block_sums(p, x)).astype(dtype)
        return written_to(out, aligned_product(p, x, self._within, shift))

    def _chunked_product(self, x: Any) -> Any:
        from blockmat.blocks.chunked import checked
        from blockmat.matrices.chunked import product

        x = checked(x, "x", (1, 2))
        self._require_rows(x, "x")
        if self.is_aligned:
            return None
        dtype = np.result_type(self.dtype, working_dtype(x.dtype, "x"))
        return product(x, self.partition, self._within, self._values_in_double, dtype)

    # Algebra on the pair

    def _elementwise(self, f: Callable[[Array], Array], dtype: Any) -> "BlockConstantMatrix":
        return self._trusted(self.partition, f(self._between), f(self._within), dtype)

    def _product(self, other: BlockOperator) -> BlockOperator | None:
        if not isinstance(other, BlockConstantMatrix):
            return product_from_left(other, self)
        self._require_same_blocks(other)
        M, N = cores_of_one_kind(self, other)
        first, second = (M, self._within), (N, other.within)
        if M.ndim == 2:
            product = pair.multiply(first, second)
        else:
            pairs = pair.one_for_each_block(*first), pair.one_for_each_block(*second)
            product = pair.of_each_block(pair.multiply(*pairs))
        return self._trusted(self.partition, *product, np.result_type(self.dtype, other.dtype))

    def _sum(self, other: BlockOperator) -> BlockOperator | None:
        if not isinstance(other, BlockConstantMatrix):
            return None
        self._require_same_blocks(other)
        total = pair.add((self._between, self._within), (other.between, other.within))
        return self._trusted(self.partition, *total, np.result_type(self.dtype, other.dtype))

    def _require_same_blocks(self, other: "BlockConstantMatrix") -> None:
        if not self.partition.same_blocks(other.partition):
            raise PartitionMismatchError(
                f"the operands live on different partitions ({self.partition.n} variables in "
                f"{self.partition.n_blocks} blocks, {other.partition.n} in "
                f"{other.partition.n_blocks}); bring both to "
                f"A.partition.meet(B.partition) with refine"
            )

    def _adjoint(self) -> "BlockConstantMatrix":
        between, within = self._between.conj().T, self._within.conj().T
        return self._trusted(self.partition, between, within, self.dtype)

    def _transpose(self) -> "BlockConstantMatrix":
        return self._trusted(self.partition, self._between.T, self._within.T, self.dtype)

    def refine(self, partition: Partition | Sequence[Any]) -> "BlockConstantMatrix":
        """Write the same matrix on a finer partition.

        Parameters
        ----------
        partition : Partition or sequence of hashable, shape (n,)
            Each of its blocks must lie inside one block of this matrix. It may be
            the same blocks in another order.

        Returns
        -------
        BlockConstantMatrix
            With the same entries. Independent blocks stay independent if only blocks are cut that
            are multiples of the identity.

        Raises
        ------
        ShapeError
            If the partition has another number of variables.
        PartitionMismatchError
            If the partition is not finer, or cuts two aligned blocks at different places.

        Examples
        --------
        >>> import blockmat as bm
        >>> A = bm.BlockConstantMatrix.from_values([0, 0, 0], [[1]], [2])
        >>> A.refine([0, 0, 1]).values
        array([[1., 1.],
               [1., 2.]])
        """
        fine = as_partition(partition, self.partition.n)
        if not fine.is_refinement_of(self.partition):
            raise PartitionMismatchError(
                "partition is not a refinement: one of its blocks has variables of several "
                "blocks of this matrix; use A.partition.meet(partition)"
            )
        parents = self.partition.labels[fine.order[fine.offsets[:-1]]]
        within = refined_within(self._within, self.partition, fine, parents)
        if self._stays_independent(parents):
            between = self._between[parents]
        else:
            values = self.values[np.ix_(parents, parents)]
            between = pair.between_of_values(values, within, fine.sizes)
        within = without_numbers_of_singletons(fine, within)
        return self._trusted(fine, between, within, self.dtype)

    def _stays_independent(self, parents: Array) -> bool:
        """Whether blocks are independent, and those that are cut are multiples of the identity."""
        if not self.is_independent:
            return False
        is_cut = np.bincount(parents, minlength=self.partition.n_blocks) > 1
        return bool((self._between[is_cut] == self._within[is_cut]).all())

    # Solving

    def solve(self, b: Any) -> Array:
        r"""Solve ``A @ x = b``.

        Parameters
        ----------
        b : array_like, shape (n,) or (n, m)
            The right-hand sides.

        Returns
        -------
        ndarray
            The solutions, in the shape of `b`.

        Raises
        ------
        ShapeError
            If `b` does not fit.
        SingularMatrixError
            If the matrix is singular to working precision.

        Notes
        -----
        The residual ``norm(A @ x - b)`` is a small multiple of the rounding of
        ``norm(A) * norm(x) + norm(b)``, for any condition number (:ref:`theory-solve`). The first
        call factorises the core, at O(k\ :sup:`3`), and the matrix keeps the factors.

        Examples
        --------
        >>> import blockmat as bm
        >>> bm.BlockConstantMatrix([0, 1, 2], [[4, 0, 0], [0, 2, 0], [0, 0, 1]]).solve([4, 4, 4])
        array([1., 2., 4.])
        """
        b = self._as_operand(b, "b")
        return self._solver.solve(b, np.result_type(self.dtype, b.dtype))

    @cached_property
    def _solver(self) -> BlockSolver:
        solver = AlignedSolver if self.is_aligned else PlainSolver
        return solver(self.partition, self._cores)

    # Storage and display

    def _archive(self) -> Archive:
        arrays = {"between": self._between, "within": self._within}
        return Archive("square", {"partition": self.partition}, arrays)

    def __repr__(self) -> str:
        kind = "aligned " if self.is_aligned else "independent " if self.is_independent else ""
        return (
            f"<{self.shape[0]}x{self.shape[1]} {type(self).__name__} of "
            f"{self.partition.n_blocks} {kind}blocks, dtype={self.dtype}>"
        )

    def _picture(self) -> tuple[Array, ...]:
        return self._stored_values, self.partition.sizes

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (type(self), self.partition, self._between, self._within)

    def __getstate__(self) -> None:
        return None


def trusted_matrix(
    partition: Partition, between: Array, within: Array, dtype: Any
) -> BlockConstantMatrix:
    """Make a matrix from arrays that are correct and that nobody else changes, without checks."""
    return BlockConstantMatrix._trusted(partition, between, within, dtype)


def _require_square_core(core: Array, name: str, paired: Array, paired_name: str) -> None:
    """Raise `ShapeError` for aligned blocks with a core (k,)."""
    if core.ndim < paired.ndim:
        raise ShapeError(
            f"{name} has shape {core.shape} and {paired_name} {paired.shape}; expected {name} of "
            f"shape {paired.shape} for aligned blocks"
        )


def matrix_from_archive(archive: Archive) -> BlockConstantMatrix:
    """Make a matrix from the file content that `BlockConstantMatrix.save` wrote."""
    arrays = archive.arrays
    return BlockConstantMatrix(
        archive.partitions["partition"], arrays["between"], arrays["within"], check_finite=False
    )


def _restored(
    cls: type[BlockConstantMatrix], partition: Partition, between: Array, within: Array
) -> BlockConstantMatrix:
    return cls(partition, between, within, check_finite=False)
