"""StoredPair: the canonical pair of a block-constant matrix, and its entries, sums and norms."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np

from blockmat.blocks.checks import Array, accumulator_dtype, frozen
from blockmat.blocks.partition import Partition
from blockmat.cores import pair
from blockmat.cores.arrays import as_square_core, diagonal_of_core, entries_of_core
from blockmat.cores.core import Core
from blockmat.cores.scale import exponent_of, largest_of, times_power
from blockmat.matrices.covariance_roots import CovarianceRoots


class StoredPair(CovarianceRoots):
    """Base class of `BlockConstantMatrix`: the formulas of `blockmat.cores.pair` on stored arrays."""

    def _set(self, partition: Partition, between: Array, within: Array) -> None:
        super().__init__(between.dtype, (partition.n, partition.n))
        self._partition = partition
        self._between = frozen(between)
        self._within = frozen(within)

    @property
    def partition(self) -> Partition:
        """The blocks."""
        return self._partition

    @property
    def between(self) -> Array:
        """The core M, which acts on block sums over the roots of the sizes, read-only.

        It is (k, k), or (k,) for independent blocks: the diagonal of a diagonal core.
        """
        return self._between

    @property
    def within(self) -> Array:
        """The numbers d (k,) or D (k, k), which act on deviations from these means, read-only."""
        return self._within

    @property
    def is_aligned(self) -> bool:
        """Whether `within` is a matrix, so that every square block has two numbers."""
        return self._within.ndim == 2

    @property
    def is_independent(self) -> bool:
        """Whether `between` is a diagonal (k,). All entries outside the diagonal blocks are zero."""
        return self._between.ndim == 1

    @property
    def values(self) -> Array:
        """The number in each block off its diagonal: (k, k), also for independent blocks.

        A block of one entry has that entry. The numbers in the diagonal blocks alone are
        ``diagonal_values - within``, for independent blocks in O(k).
        """
        return as_square_core(self._stored_values)

    @property
    def _stored_values(self) -> Array:
        """The values (k, k), or those of the diagonal blocks (k,) for independent blocks."""
        return self._of_pair(pair.values, self._between, self._within)

    @property
    def diagonal_values(self) -> Array:
        """The number on the diagonal of each block: (k,), or (k, k) if aligned."""
        return self._of_pair(pair.diagonal_values, self._between, self._within)

    def _of_pair(
        self, formula: Callable[[Array, Array, Array], Array], between: Array, within: Array
    ) -> Array:
        """Evaluate a formula for this partition."""
        return of_pair(formula, between, within, self.partition.sizes.astype(np.float64))

    @property
    def nbytes(self) -> int:
        """The number of bytes of the pair and the partition."""
        return self._between.nbytes + self._within.nbytes + self.partition.nbytes

    @cached_property
    def _values_in_double(self) -> Array:
        """The numbers that products with block sums need, in double precision."""
        double = self._between.astype(accumulator_dtype(self.dtype))
        return self._of_pair(pair.values, double, self._within)

    def toarray(self) -> Array:
        """Make the dense matrix.

        Returns
        -------
        ndarray, shape (n, n)
            Every entry, in the dtype of the matrix.

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
        for blocks, variables in p.size_classes:
            dense[variables[:, None], variables] = numbers[np.ix_(blocks, blocks)][..., None]
        return dense

    def _entries(self, i: Array, j: Array) -> Array:
        p = self.partition
        a, b = p.labels[i], p.labels[j]
        numbers = self.diagonal_values
        if self.is_aligned:
            paired, own = p.positions[i] == p.positions[j], numbers[a, b]
        else:
            paired, own = i == j, numbers[a]
        found: Array = np.where(paired, own, entries_of_core(self._values_in_double, a, b))
        return found.astype(self.dtype, copy=False)

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
        return self.partition.expand(diagonal_of_core(self.diagonal_values))

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
        return self.dtype.type(np.sum(self._of_pair(pair.trace, self._between, self._within)))

    def _frobenius_norm(self) -> float:
        double = accumulator_dtype(self.dtype)
        exponent = exponent_of(max(largest_of(self._between), largest_of(self._within)))
        between, within = (
            times_power(x.astype(double), -exponent) for x in (self._between, self._within)
        )
        squares = np.sum(self._of_pair(pair.squared_norm, between, within))
        return float(times_power(np.sqrt(squares), exponent))

    def _absolute_sums(self, of_columns: bool) -> Array:
        def adjoint(x: Array) -> Array:
            return x.conj().T if of_columns else x  # the columns are the rows of the adjoint

        return self._of_pair(pair.absolute_row_sums, adjoint(self._between), adjoint(self._within))

    @cached_property
    def _unchecked_cores(self) -> tuple[Core, ...]:
        p = self.partition
        blocks = np.arange(p.n_blocks)
        within = diagonal_of_core(self._within)
        once = np.ones_like(p.sizes)
        cores = [Core.of(self._between, once, blocks, "between", within, is_sum=True)]
        if self.is_aligned:
            for members, _ in p.size_classes:
                square = self._within[np.ix_(members, members)]
                nothing = np.zeros(len(members))
                cores.append(Core.of(square, p.sizes[members] - 1, members, "within", nothing))
        else:
            members = np.flatnonzero(p.sizes > 1)
            with np.errstate(invalid="ignore"):  # `_cores` refuses NaN and infinity
                diagonal = self.diagonal_values[members]
            multiplicity = p.sizes[members] - 1
            cores.append(Core.of(self._within[members], multiplicity, members, "within", diagonal))
        return tuple(cores)


def of_pair(
    formula: Callable[[Array, Array, Array], Array], between: Array, within: Array, sizes: Array
) -> Array:
    """Evaluate a formula; for independent blocks it gives one number (k,) for each block.

    The first array, (k, k) or for independent blocks (k,), may also hold the values.
    """
    if between.ndim == 2:
        return formula(between, within, sizes)
    return formula(*pair.one_for_each_block(between, within), sizes[:, None]).reshape(-1)


def stored_values(A: StoredPair) -> Array:
    """Return the values (k, k), or for independent blocks those of the diagonal blocks (k,)."""
    return A._stored_values


def square_within(A: StoredPair) -> Array:
    """Return the within numbers of a matrix as (k, k), aligned or not."""
    return as_square_core(A.within)


def cores_of_one_kind(A: StoredPair, B: StoredPair) -> tuple[Array, Array]:
    """Return `between` of both: (k,) if both have independent blocks, otherwise (k, k)."""
    M, N = A.between, B.between
    return (M, N) if M.ndim == N.ndim else (as_square_core(M), as_square_core(N))
