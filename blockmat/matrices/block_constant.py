"""BlockConstantMatrix: the canonical pair (between, within) and its algebra."""

from collections.abc import Callable, Sequence
from functools import cached_property
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from blockmat.blocks.checks import (
    Array,
    accumulator_dtype,
    frozen,
    real_dtype,
    working_dtype,
)
from blockmat.blocks.checks import check_finite as require_finite
from blockmat.blocks.chunked import checked
from blockmat.blocks.partition import Partition, as_partition
from blockmat.blocks.passes import block_sums, centres, multiply, multiply_add
from blockmat.cores import factors, functions, pair, products
from blockmat.cores.core import Core
from blockmat.cores.scale import exponent_of, largest_of, times_power
from blockmat.exceptions import (
    IndefiniteMatrixError,
    NotHermitianError,
    PartitionMismatchError,
    ShapeError,
)
from blockmat.matrices.archive import Archive, write_archive
from blockmat.matrices.checks import as_numbers_of_blocks
from blockmat.matrices.chunked import product as chunked_product
from blockmat.matrices.html import matrix_to_html
from blockmat.matrices.matrix_functions import MatrixFunctions
from blockmat.matrices.operator import BlockOperator, product_from_left, written_to

if TYPE_CHECKING:
    from scipy.stats import Covariance


__all__ = ["BlockConstantMatrix"]


class BlockConstantMatrix(MatrixFunctions):
    r"""A square matrix that is constant on the blocks of a partition.

    Every off-diagonal block holds one number, and every diagonal block two: one
    off its diagonal and one on it. The matrix is stored as its canonical pair,
    and all of its algebra is done on that pair, exactly, in
    :math:`O(n + k^3)` operations. It is immutable, and a
    `scipy.sparse.linalg.LinearOperator`.

    Parameters
    ----------
    partition : Partition or sequence of hashable, shape (n,)
        The blocks, or a label for each variable.
    between : array_like, shape (k, k)
        What the matrix does to block means: M in the formula below.
    within : array_like, shape (k,) or (k, k), optional
        What it does to deviations from the block means: d, or D for aligned
        blocks, which give the p-th member of one block and the p-th member of
        another block of the same size a number of their own. D must be zero
        between blocks of different sizes. Entries that belong to blocks of size 1
        have no meaning and are stored as zero. By default zero: one number in
        every block.
    check_finite : bool, default True
        Whether to refuse NaN and infinity.

    Attributes
    ----------
    shape : tuple of int
        ``(n, n)``.
    dtype : numpy.dtype
        float32, float64, complex64 or complex128: the common dtype of `between`
        and `within`, integers promoted to float64.

    Raises
    ------
    ShapeError
        If `between` or `within` does not fit the partition.
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
    With :math:`u_b` the indicator of block b divided by the square root of its
    size :math:`n_b`, and :math:`U = [u_1, \dots, u_k]`,

    .. math:: A = U M U^H + \sum_b d_b (I_b - u_b u_b^H),

    or :math:`A = U M U^H + \sum_{ab} D_{ab} (S_{ab} - u_a u_b^H)` for aligned
    blocks, with :math:`S_{ab}` pairing the p-th members of a and b [1]_, [2]_.
    The matrix is unitarily similar to M, once, and each :math:`d_b`,
    :math:`n_b - 1` times, so a function of A is that function of M and d.

    More is in :ref:`theory-pair`, :ref:`theory-aligned` and :ref:`theory-functions`.

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
    """

    def __init__(
        self,
        partition: Partition | Sequence[Any],
        between: Any,
        within: Any = None,
        *,
        check_finite: bool = True,
    ) -> None:
        partition = as_partition(partition)
        k = partition.n_blocks
        between = as_numbers_of_blocks(between, "between", k)
        if within is None:
            within = np.zeros(k, dtype=between.dtype)
        within = as_numbers_of_blocks(within, "within", k, (1, 2))
        if check_finite:
            require_finite(between, "between")
            require_finite(within, "within")
        dtype = np.result_type(between, within)
        within = _without_singletons(partition, np.array(within, dtype=dtype))
        self._set(partition, np.array(between, dtype=dtype), within)

    def _set(self, partition: Partition, between: Array, within: Array) -> None:
        super().__init__(between.dtype, (partition.n, partition.n))
        self._partition = partition
        self._between = frozen(between)
        self._within = frozen(within)

    @classmethod
    def _trusted(
        cls, partition: Partition, between: Array, within: Array, dtype: Any
    ) -> "BlockConstantMatrix":
        """Make a matrix from computed numbers, which nobody else changes, without checks."""
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
        values : array_like, shape (k, k)
            The number in each block.
        diagonal : array_like, shape (k,) or (k, k), optional
            The numbers on the diagonals of the diagonal blocks, or (k, k) of every
            square block, where those of blocks that are not square must equal
            `values`. By default the same as `values`: one number in every block.

        Returns
        -------
        BlockConstantMatrix
            With these `values` and `diagonal_values`.

        Raises
        ------
        ShapeError
            If a shape does not fit the partition.
        ValueError
            If `diagonal` gives a block that is not square a second number.

        Examples
        --------
        >>> import blockmat as bm
        >>> bm.BlockConstantMatrix.from_values([0, 0], [[0.5]], [1.0]).toarray()
        array([[1. , 0.5],
               [0.5, 1. ]])
        """
        partition = as_partition(partition)
        k = partition.n_blocks
        values = as_numbers_of_blocks(values, "values", k)
        if diagonal is None:
            diagonal = np.diagonal(values)
        diagonal = as_numbers_of_blocks(diagonal, "diagonal", k, (1, 2))
        require_finite(values, "values")
        require_finite(diagonal, "diagonal")
        dtype = np.result_type(values, diagonal)
        values, diagonal = (x.astype(dtype, copy=False) for x in (values, diagonal))
        between, within = pair.pair_of_values(values, diagonal, partition.sizes)
        # A sum over a block that cancels to the rounding of its numbers is zero.
        size = np.abs(pair.as_square(between, within))
        between[np.abs(between) <= 2 * np.finfo(dtype).eps * size] = 0
        return cls(partition, between.astype(dtype, copy=False), within)

    @classmethod
    def identity(
        cls, partition: Partition | Sequence[Any], dtype: Any = np.float64
    ) -> "BlockConstantMatrix":
        """Make the identity matrix on a partition.

        Parameters
        ----------
        partition : Partition or sequence of hashable, shape (n,)
            The blocks, or a label for each variable.
        dtype : dtype, default float64
            The dtype of the matrix.

        Returns
        -------
        BlockConstantMatrix
            The identity, for shifts such as ``A + 0.1 * identity``.

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
        return cls(partition, np.eye(k, dtype=dtype), np.ones(k, dtype=dtype))

    # What it is

    @property
    def partition(self) -> Partition:
        """The blocks."""
        return self._partition

    @property
    def between(self) -> Array:
        """What the matrix does to block means: M, (k, k), read-only."""
        return self._between

    @property
    def within(self) -> Array:
        """What it does to deviations from block means: d (k,) or D (k, k), read-only."""
        return self._within

    @property
    def is_aligned(self) -> bool:
        """Whether `within` is a matrix, for two numbers in every square block."""
        return pair.is_aligned(self._between, self._within)

    @property
    def values(self) -> Array:
        """The number in each block, off its paired entries: (k, k).

        In a 1 x 1 block, which has only the paired entry, it is that entry.
        """
        return self._of_pair(pair.values)

    @property
    def diagonal_values(self) -> Array:
        """The number on the paired entries of each block: (k,), or (k, k) if aligned."""
        return self._of_pair(pair.diagonal_values)

    def _of_pair(self, formula: Callable[[Array, Array, Array], Array]) -> Array:
        return formula(self._between, self._within, self.partition.sizes.astype(np.float64))

    @property
    def nbytes(self) -> int:
        """The bytes it stores: both arrays of the pair, and the partition."""
        return self._between.nbytes + self._within.nbytes + self.partition.nbytes

    @cached_property
    def _cores(self) -> tuple[Core, ...]:
        """The summands of the matrix: the between core, then the within cores."""
        p = self.partition
        blocks = np.arange(p.n_blocks)
        within = np.diagonal(self._within) if self.is_aligned else self._within
        cores = [Core.of(self._between, np.ones_like(p.sizes), blocks, "between", within)]
        if self.is_aligned:
            for members, _ in p.size_classes:
                square = self._within[np.ix_(members, members)]
                nothing = np.zeros(len(members))
                cores.append(Core.of(square, p.sizes[members] - 1, members, "within", nothing))
        else:
            members = np.flatnonzero(p.sizes > 1)
            with np.errstate(invalid="ignore"):  # what is not finite is refused later
                diagonal = self.diagonal_values[members]
            multiplicity = p.sizes[members] - 1
            cores.append(Core.of(self._within[members], multiplicity, members, "within", diagonal))
        return tuple(cores)

    def _assemble_within(self, cores: Sequence[Core], results: list[Array]) -> Array:
        """Put results for the within cores into an array like `within`."""
        within = np.zeros(self._within.shape, dtype=np.result_type(*results, np.float64))
        for core, result in zip(cores, results, strict=True):
            index = np.ix_(core.blocks, core.blocks) if self.is_aligned else core.blocks
            within[index] = result
        return within

    def _map(self, function: Callable[[Core], Array]) -> "BlockConstantMatrix":
        """Apply a function to every core: the matrix function of the whole."""
        between, *within = self._finite_cores()
        new_between = function(between)
        new_within = self._assemble_within(within, [function(core) for core in within])
        is_complex = np.iscomplexobj(new_between) or np.iscomplexobj(new_within)
        dtype = np.result_type(self.dtype, np.complex64) if is_complex else self.dtype
        return self._trusted(self.partition, new_between, new_within, dtype)

    # Products with arrays: block sums in, one multiply-add out

    def _apply(self, x: Array, out: Array | None = None) -> Array:
        """Multiply with a validated (n,) or (n, m) array."""
        p = self.partition
        dtype = self.dtype if x.dtype == self.dtype else np.result_type(self.dtype, x.dtype)
        if not self.is_aligned:
            return multiply(p, x, self._within, self._coefficients, dtype, out)
        shift = self._coefficients @ block_sums(p, x)
        return self._lift(x, self._within, shift.astype(dtype), out)

    def _chunked_product(self, x: Any) -> Any:
        x = checked(x, "x", (1, 2))
        self._require_rows(x, "x")
        if self.is_aligned:
            return None
        dtype = np.result_type(self.dtype, working_dtype(x.dtype, "x"))
        return chunked_product(x, self.partition, self._within, self._coefficients, dtype)

    @cached_property
    def _coefficients(self) -> Array:
        """What a product adds to block a per unit of the sum over block b: `values`, in double."""
        double = self._between.astype(accumulator_dtype(self.dtype))
        sizes = self.partition.sizes.astype(np.float64)
        coefficients: Array = pair.values(double, self._within, sizes)
        return coefficients

    def _lift(self, x: Array, within: Array, shift: Array, out: Array | None = None) -> Array:
        """Return `within` applied to x, plus the number or row of `shift` of each block."""
        p = self.partition
        if within.ndim == 1:
            return multiply_add(p, x, within, shift, out)
        x = np.ascontiguousarray(x, dtype=shift.dtype)
        result = p.expand(shift)
        for members, rows in p.size_classes:
            square = within[np.ix_(members, members)].astype(shift.dtype, copy=False)
            if p.is_contiguous and members[-1] - members[0] == len(members) - 1:
                span, shape = slice(rows[0, 0], rows[-1, -1] + 1), (len(members), -1)
                products.add_product(square, x[span].reshape(shape), result[span].reshape(shape))
            else:
                result[rows] += np.tensordot(square, x[rows], 1)
        return written_to(out, result)

    def _frobenius_norm(self) -> float:
        double = accumulator_dtype(self.dtype)
        exponent = exponent_of(max(largest_of(self._between), largest_of(self._within)))
        between, within = (
            times_power(x.astype(double), -exponent) for x in (self._between, self._within)
        )
        squares = pair.squared_norm(between, within, self.partition.sizes)
        return float(times_power(np.sqrt(squares), exponent))

    def _absolute_sums(self, of_columns: bool) -> Array:
        values = np.abs(self.values)
        paired = np.abs(self.values + pair.as_square(self._between, self._within))
        if of_columns:
            values, paired = values.T, paired.T
        sums: Array = values @ self.partition.sizes + (paired - values).sum(axis=1)
        return sums

    # Algebra on the pair

    def _elementwise(self, f: Callable[[Array], Array], dtype: Any) -> "BlockConstantMatrix":
        return self._trusted(self.partition, f(self._between), f(self._within), dtype)

    def _product(self, other: BlockOperator) -> BlockOperator | None:
        if not isinstance(other, BlockConstantMatrix):
            return product_from_left(other, self)
        self._require_same_blocks(other)
        return self._combine(other, pair.multiply)

    def _sum(self, other: BlockOperator) -> BlockOperator | None:
        if not isinstance(other, BlockConstantMatrix):
            return None
        self._require_same_blocks(other)
        return self._combine(other, pair.add)

    def _require_same_blocks(self, other: "BlockConstantMatrix") -> None:
        if not self.partition.same_blocks(other.partition):
            raise PartitionMismatchError(
                f"the operands live on different partitions ({self.partition.n} variables in "
                f"{self.partition.n_blocks} blocks, {other.partition.n} in "
                f"{other.partition.n_blocks}); bring both to "
                f"A.partition.meet(B.partition) with refine"
            )

    def _combine(
        self, other: "BlockConstantMatrix", formula: Callable[[pair.Pair, pair.Pair], pair.Pair]
    ) -> "BlockConstantMatrix":
        between, within = formula((self._between, self._within), (other._between, other._within))
        dtype = np.result_type(self.dtype, other.dtype)
        return self._trusted(self.partition, between, within, dtype)

    def _adjoint(self) -> "BlockConstantMatrix":
        return self._trusted(
            self.partition, self._between.conj().T, self._within.conj().T, self.dtype
        )

    def _transpose(self) -> "BlockConstantMatrix":
        return self._trusted(self.partition, self._between.T, self._within.T, self.dtype)

    # Conversions

    def toarray(self) -> Array:
        """Make the dense matrix.

        Returns
        -------
        ndarray, shape (n, n)
            Every entry, in this matrix's dtype.

        Examples
        --------
        >>> import blockmat as bm
        >>> bm.BlockConstantMatrix.from_values([0, 0], [[1]], [2]).toarray()
        array([[2., 1.],
               [1., 2.]])
        """
        p = self.partition
        dense: Array = self.values[np.ix_(p.labels, p.labels)]
        if not self.is_aligned:
            np.fill_diagonal(dense, self.diagonal())
            return dense
        numbers = self.diagonal_values
        for members, rows in p.size_classes:
            dense[rows[:, None], rows] = numbers[np.ix_(members, members)][..., None]
        return dense

    def diagonal(self) -> Array:
        """Return the diagonal.

        Returns
        -------
        ndarray, shape (n,)
            The diagonal entries.

        Examples
        --------
        >>> import blockmat as bm
        >>> bm.BlockConstantMatrix.from_values([0, 0], [[1]], [2]).diagonal()
        array([2., 2.])
        """
        numbers = self.diagonal_values
        return self.partition.expand(np.diagonal(numbers) if numbers.ndim == 2 else numbers)

    def refine(self, partition: Partition | Sequence[Any]) -> "BlockConstantMatrix":
        """Write the same matrix on a finer partition.

        Parameters
        ----------
        partition : Partition or sequence of hashable, shape (n,)
            Every one of its blocks must lie inside one block of this partition; it
            may also be the same blocks in another order.

        Returns
        -------
        BlockConstantMatrix
            Equal to this one, entry by entry.

        Raises
        ------
        ShapeError
            If it has another number of variables.
        PartitionMismatchError
            If it is not finer, or if the matrix is aligned and the finer blocks
            break up its p <-> p pairs.

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
        within = _refined_within(self._within, self.partition, fine, parents)
        values = self.values[np.ix_(parents, parents)]
        between = pair.between_of_values(values, within, fine.sizes)
        return self._trusted(fine, between, _without_singletons(fine, within), self.dtype)

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
        It is backward stable: the residual ``norm(A @ x - b)`` is of the order of the rounding of
        ``norm(A) * norm(x) + norm(b)``, whatever the condition number. The first call factorises
        the k x k core, at O(k\ :sup:`3`), and the matrix keeps the factors. See :ref:`theory-solve`.

        Examples
        --------
        >>> import blockmat as bm
        >>> bm.BlockConstantMatrix([0, 1, 2], [[4, 0, 0], [0, 2, 0], [0, 0, 1]]).solve([4, 4, 4])
        array([1., 2., 4.])
        """
        b = self._as_operand(b, "b")
        between, *within = self._factors
        p, dtype = self.partition, np.result_type(self.dtype, b.dtype)
        # Means of blocks and deviations from them are solved for apart. What rounding leaves of
        # the deviations' mean would be lengthened by the largest inverse, so it is computed as
        # small as it is: from deviations from a centre.
        centre, root = centres(p, b), pair.root(p.sizes)
        mean = (block_sums(p, b, centre).T / p.sizes).T
        solved = (between.solve(((centre + mean).T * root).T).T / root).T
        if self.is_aligned:
            deviations = multiply_add(p, b, np.ones(p.n_blocks), -mean, centre=centre)
            return self._solve_deviations(within, deviations, solved).astype(dtype, copy=False)
        inverse = self._assemble_within(self._cores[1:], within)
        shift = solved - (inverse * mean.T).T
        scale, centre = (_in_precision_of(y, dtype) for y in (inverse, centre))
        return multiply_add(p, b, scale, shift.astype(dtype), centre=centre)

    @cached_property
    def _factors(self) -> tuple[Any, ...]:
        """Factors of dense cores, and the reciprocals of diagonal ones."""
        return tuple(factors.factorised(core, "solve") for core in self._finite_cores())

    def _solve_deviations(self, within: Sequence[Any], x: Array, shift: Array) -> Array:
        """Solve with aligned blocks for deviations, and add the number of `shift` of each block."""
        p = self.partition
        solved = np.zeros(x.shape, dtype=np.result_type(x, shift))
        for core, (members, rows) in zip(within, p.size_classes, strict=True):
            square = core.solve(x[rows].reshape(len(members), -1))
            solved[rows] = square.reshape(x[rows].shape)
        mean = (block_sums(p, solved).T / p.sizes).T
        return multiply_add(p, solved, np.ones(p.n_blocks), shift, centre=mean)

    # Covariance

    def trace(self) -> Any:
        """Return the sum of the diagonal.

        Returns
        -------
        scalar
            In the dtype of the matrix.

        Examples
        --------
        >>> import blockmat as bm
        >>> bm.BlockConstantMatrix.from_values([0, 0], [[1]], [2]).trace()
        np.float64(4.0)
        """
        return self.dtype.type(self._of_pair(pair.trace))

    def as_covariance(self) -> "Covariance":
        """View a real positive semi-definite matrix as a covariance for scipy.stats.

        Returns
        -------
        scipy.stats.Covariance
            For `scipy.stats.multivariate_normal`: logpdf, rvs and entropy at O(n)
            per vector, without any n x n array.

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
            self._finite_cores(),
            lambda p: self._map(lambda core: functions.power_on_range(core, p)[0]),
        )

    @cached_property
    def _root(self) -> "BlockConstantMatrix":
        """The square root of a positive definite matrix, in double precision."""
        return self._positive_definite.sqrtm()

    @cached_property
    def _inverse_root(self) -> "BlockConstantMatrix":
        return self._positive_definite.invsqrtm()

    @property
    def _positive_definite(self) -> "BlockConstantMatrix":
        """The matrix in double precision, if it is positive definite."""
        if not self.is_hermitian:
            raise NotHermitianError("the matrix is not symmetric; expected a covariance matrix")
        if not self.is_positive_definite():
            raise IndefiniteMatrixError(
                "the matrix is not positive definite; expected a covariance matrix of full rank"
            )
        return self.astype(accumulator_dtype(self.dtype))

    def _whitened(self, x: Array) -> Array:
        return _in_precision_of(self._inverse_root.dot(x), np.result_type(self.dtype, x.dtype))

    def _whitened_adjoint(self, x: Array) -> Array:
        """Multiply by the transpose of what whitens."""
        return self._whitened(x)

    def _colorized(self, x: Array) -> Array:
        return _in_precision_of(self._root.dot(x), np.result_type(self.dtype, x.dtype))

    # Display, storage

    def save(self, path: str | PathLike[str]) -> None:
        """Save to a file that `blockmat.load` reads.

        Parameters
        ----------
        path : path-like
            The file, in NumPy's .npz format whatever its name; it appears complete
            or not at all.

        Raises
        ------
        TypeError
            If the names of the blocks are neither numbers, strings nor tuples of them.
        OSError
            If the file cannot be written.

        See Also
        --------
        blockmat.load : the inverse.

        Examples
        --------
        >>> import os, tempfile
        >>> import blockmat as bm
        >>> path = os.path.join(tempfile.mkdtemp(), "identity.npz")
        >>> bm.BlockConstantMatrix.identity([0, 0, 1]).save(path)
        >>> bm.load(path)
        <3x3 BlockConstantMatrix of 2 blocks, dtype=float64>
        """
        archive = Archive(
            "square",
            {"partition": self.partition},
            {"between": self._between, "within": self._within},
        )
        write_archive(archive, path)

    def __repr__(self) -> str:
        aligned = "aligned " if self.is_aligned else ""
        return (
            f"<{self.shape[0]}x{self.shape[1]} {type(self).__name__} of "
            f"{self.partition.n_blocks} {aligned}blocks, dtype={self.dtype}>"
        )

    def _repr_html_(self) -> str:
        return matrix_to_html(repr(self), self.values, self.partition.sizes)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.partition, self._between, self._within)

    def __getstate__(self) -> None:
        return None


def trusted_matrix(
    partition: Partition, between: Array, within: Array, dtype: Any
) -> BlockConstantMatrix:
    """Make a matrix from computed numbers, which nobody else changes, without checks."""
    return BlockConstantMatrix._trusted(partition, between, within, dtype)


def matrix_from_archive(archive: Archive) -> BlockConstantMatrix:
    """Make a matrix from what `BlockConstantMatrix.save` wrote."""
    arrays = archive.arrays
    return BlockConstantMatrix(
        archive.partitions["partition"], arrays["between"], arrays["within"], check_finite=False
    )


def _restore(
    cls: type[BlockConstantMatrix], partition: Partition, between: Array, within: Array
) -> BlockConstantMatrix:
    return cls(partition, between, within, check_finite=False)


def _in_precision_of(x: Array, dtype: Any) -> Array:
    """Round to single precision if `dtype` is single, keeping real numbers real."""
    kept: Array = x.astype(dtype if x.dtype.kind == "c" else real_dtype(dtype), copy=False)
    return kept


def _without_singletons(p: Partition, within: Array) -> Array:
    """Set the numbers of 1 x 1 blocks to 0, and refuse those of blocks that are not square."""
    single = p.sizes == 1
    if within.ndim == 1:
        within[single] = 0
        return within
    wrong = np.argwhere((within != 0) & (p.sizes[:, None] != p.sizes))
    if len(wrong):
        a, b = wrong[0]
        raise ShapeError(
            f"within[{a}, {b}] is {within[a, b]}; expected 0, because blocks {a} and {b} have "
            f"different sizes, {p.sizes[a]} and {p.sizes[b]}, and cannot be aligned"
        )
    within[np.ix_(single, single)] = 0
    return within


def _refined_within(within: Array, coarse: Partition, fine: Partition, parents: Array) -> Array:
    """Write `within` on a finer partition whose block f lies in block ``parents[f]``."""
    if within.ndim == 1:
        return within[parents]
    refined = np.zeros((fine.n_blocks, fine.n_blocks), dtype=within.dtype)
    places = [coarse.positions[block] for block in fine]
    for a, b in np.argwhere(within):
        others = {places[g].tobytes(): g for g in np.flatnonzero(parents == b)}
        for f in np.flatnonzero(parents == a):
            g = others.get(places[f].tobytes())
            if g is None:
                raise PartitionMismatchError(
                    f"partition breaks up the p <-> p pairs of the aligned blocks {a} and {b}; "
                    f"split both at the same places"
                )
            refined[f, g] = within[a, b]
    return refined


def square_within(A: BlockConstantMatrix) -> Array:
    """Return the within numbers of a matrix as (k, k), aligned or not."""
    square: Array = pair.as_square(A.between, A.within)
    return square
