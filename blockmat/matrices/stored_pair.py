"""StoredPair: the canonical pair of a block-constant matrix, and its entries, sums and norms."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np

from blockmat.blocks.checks import Array, accumulator_dtype, frozen
from blockmat.blocks.partition import Partition
from blockmat.cores import pair
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
        """The core M, which acts on block sums over the roots of the sizes: (k, k), read-only."""
        return self._between

    @property
    def within(self) -> Array:
        """The numbers d (k,) or D (k, k), which act on deviations from these means, read-only."""
        return self._within

    @property
    def is_aligned(self) -> bool:
        """Whether `within` is a matrix, so that every square block has two numbers."""
        return pair.is_aligned(self._between, self._within)

    @property
    def values(self) -> Array:
        """The number in each block off its diagonal: (k, k).

        A block of one entry has that entry.
        """
        return self._of_pair(pair.values)

    @property
    def diagonal_values(self) -> Array:
        """The number on the diagonal of each block: (k,), or (k, k) if aligned."""
        return self._of_pair(pair.diagonal_values)

    def _of_pair(self, formula: Callable[[Array, Array, Array], Array]) -> Array:
        return formula(self._between, self._within, self.partition.sizes.astype(np.float64))

    @property
    def nbytes(self) -> int:
        """The number of bytes of the pair and the partition."""
        return self._between.nbytes + self._within.nbytes + self.partition.nbytes

    @cached_property
    def _values_in_double(self) -> Array:
        """The numbers that products with block sums need, in double precision."""
        double = self._between.astype(accumulator_dtype(self.dtype))
        values: Array = pair.values(double, self._within, self.partition.sizes.astype(np.float64))
        return values

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
        found: Array = np.where(paired, own, self._values_in_double[a, b])
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
        numbers = self.diagonal_values
        return self.partition.expand(np.diagonal(numbers) if numbers.ndim == 2 else numbers)

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

    @cached_property
    def _unchecked_cores(self) -> tuple[Core, ...]:
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
            with np.errstate(invalid="ignore"):  # `_cores` refuses NaN and infinity
                diagonal = self.diagonal_values[members]
            multiplicity = p.sizes[members] - 1
            cores.append(Core.of(self._within[members], multiplicity, members, "within", diagonal))
        return tuple(cores)
