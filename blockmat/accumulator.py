"""BlockAccumulator: the projected sum of a stream of outer products."""

from typing import Any

import numpy as np

from blockmat._moments import Moments, moments
from blockmat._sums import as_samples
from blockmat._validation import Array, accumulator_dtype, as_count, as_numeric
from blockmat._validation import check_finite as require_finite
from blockmat.exceptions import NonFiniteError, PartitionMismatchError, ShapeError
from blockmat.matrix import BlockConstantMatrix
from blockmat.partition import Partition, as_partition

__all__ = ["BlockAccumulator"]


class BlockAccumulator:
    """A running sum of outer products, kept as a block-constant matrix.

    The projection is linear, so the fit of a sum is the sum of the fits: the
    result is exact, and no n x n matrix is ever formed.

    Parameters
    ----------
    partition : Partition or sequence of hashable, shape (n,)
        The blocks, or a label for each variable.
    aligned : bool, default False
        Two numbers in every square block, as for `fit`.

    Raises
    ------
    PartitionError
        If the labels are not a partition.

    Notes
    -----
    Sums are kept in double precision, and samples as their mean and the sum of
    products of deviations from it, which does not cancel when means are large.

    Examples
    --------
    >>> import numpy as np
    >>> import blockmat as bm
    >>> g = np.array([1.0, 2.0, 3.0])
    >>> acc = bm.BlockAccumulator([0, 0, 1])
    >>> acc.add_outer(g)
    >>> bool(np.allclose(acc.matrix(), bm.fit(np.outer(g, g), [0, 0, 1])))
    True
    """

    def __init__(self, partition: Any, aligned: bool = False) -> None:
        self._partition = as_partition(partition)
        self._aligned = bool(aligned)
        self._dtype: np.dtype[Any] | None = None
        self._outer = Moments.zero(self._partition, self._aligned)
        self._centred = Moments.zero(self._partition, self._aligned)
        self._mean = np.zeros(self._partition.n)
        self._weight = 0.0

    @property
    def partition(self) -> Partition:
        """The blocks."""
        return self._partition

    @property
    def aligned(self) -> bool:
        """Whether every square block has two numbers."""
        return self._aligned

    @property
    def n_samples(self) -> float:
        """The number of samples added, less what has decayed."""
        return self._weight

    def add_outer(self, g: Any, weight: float = 1.0) -> None:
        """Add the outer product ``weight * g g^H``.

        Parameters
        ----------
        g : array_like, shape (n,)
            The vector, for instance a gradient.
        weight : float, default 1.0
            Its weight.

        Raises
        ------
        ShapeError
            If `g` does not have n entries.
        NonFiniteError
            If `g` or `weight` is not finite; nothing has changed then.

        Examples
        --------
        >>> import blockmat as bm
        >>> acc = bm.BlockAccumulator([0, 0])
        >>> acc.add_outer([1.0, 3.0], weight=2.0)
        >>> acc.matrix().toarray()
        array([[10.,  6.],
               [ 6., 10.]])
        """
        g = as_numeric(g, "g", (1,))
        if g.shape[0] != self.partition.n:
            raise ShapeError(f"g has length {g.shape[0]}; expected {self.partition.n}")
        if not np.isfinite(weight):
            raise NonFiniteError(f"weight is {weight!r}; expected a finite number")
        require_finite(g, "g")
        self._outer += self._outer_of(g, weight)
        self._see(g.dtype)

    def add_samples(self, X: Any) -> None:
        """Add the outer products of samples, and their mean.

        Parameters
        ----------
        X : array_like, shape (T, n)
            One sample per row.

        Raises
        ------
        ShapeError
            If `X` is not 2-d with n columns.
        NonFiniteError
            If it contains NaN or infinity; nothing has changed then.

        Examples
        --------
        >>> import blockmat as bm
        >>> acc = bm.BlockAccumulator([0, 0])
        >>> acc.add_samples([[1.0, 3.0], [1.0, 1.0]])
        >>> acc.matrix().toarray()
        array([[6., 4.],
               [4., 6.]])
        """
        X = as_samples(X)
        if X.shape[1] != self.partition.n:
            raise ShapeError(f"X has {X.shape[1]} columns; expected {self.partition.n}")
        mean = X.mean(axis=0, dtype=accumulator_dtype(X.dtype))
        centred = moments(X, mean, self.partition, self._aligned, check_finite=True)
        self._add_centred(centred, mean, float(len(X)))
        self._see(X.dtype)

    def decay(self, beta: float) -> None:
        """Multiply everything added so far by a factor.

        Parameters
        ----------
        beta : float
            From 0 to 1, for exponential averages.

        Raises
        ------
        ValueError
            If `beta` is out of range.

        Examples
        --------
        >>> import blockmat as bm
        >>> acc = bm.BlockAccumulator([0, 0])
        >>> acc.add_outer([1.0, 3.0])
        >>> acc.decay(0.1)
        >>> acc.matrix().trace()
        np.float64(1.0)
        """
        if not 0 <= beta <= 1:
            raise ValueError(f"beta is {beta!r}; expected a number from 0 to 1")
        self._outer *= beta
        self._centred *= beta
        self._weight *= beta

    def merge(self, other: "BlockAccumulator") -> None:
        """Add everything that another accumulator holds.

        Parameters
        ----------
        other : BlockAccumulator
            On the same partition, as aligned as this one; it is not changed.

        Raises
        ------
        TypeError
            If `other` is not a BlockAccumulator.
        PartitionMismatchError
            If it has other blocks, or another `aligned`.

        Examples
        --------
        >>> import blockmat as bm
        >>> a, b = bm.BlockAccumulator([0, 0]), bm.BlockAccumulator([0, 0])
        >>> b.add_outer([1.0, 3.0])
        >>> a.merge(b)
        >>> a.matrix().trace()
        np.float64(10.0)
        """
        if not isinstance(other, BlockAccumulator):
            raise TypeError(f"other is a {type(other).__name__}; expected a BlockAccumulator")
        if not self.partition.same_blocks(other.partition) or self.aligned != other.aligned:
            raise PartitionMismatchError(
                "other accumulates on another partition, or only one of the two is aligned"
            )
        self._outer += other._outer
        if other._weight:
            self._add_centred(other._centred, other._mean, other._weight)
        if other._dtype is not None:
            self._see(other._dtype)

    def matrix(self) -> BlockConstantMatrix:
        """Return the projected sum of all outer products.

        Returns
        -------
        BlockConstantMatrix
            Of the dtype of what was added; not divided by the number of samples.

        Examples
        --------
        >>> import blockmat as bm
        >>> bm.BlockAccumulator([0, 0, 1]).matrix().norm()
        np.float64(0.0)
        """
        total = Moments.zero(self.partition, self._aligned)
        total += self._outer
        total += self._centred
        total += self._outer_of(self._mean, self._weight)
        return self._as_matrix(total)

    def covariance(self, ddof: int = 1) -> BlockConstantMatrix:
        """Return the covariance matrix of the samples, as `fit_samples` would.

        Parameters
        ----------
        ddof : int, default 1
            The sums of products are divided by ``n_samples - ddof``.

        Returns
        -------
        BlockConstantMatrix
            Centred at the mean of the samples; `add_outer` does not count.

        Raises
        ------
        ValueError
            If `ddof` is negative or not below the number of samples.

        Examples
        --------
        >>> import blockmat as bm
        >>> acc = bm.BlockAccumulator([0, 0])
        >>> acc.add_samples([[1.0, 3.0], [1.0, 1.0]])
        >>> acc.covariance().trace()
        np.float64(2.0)
        """
        ddof = as_count(ddof, "ddof", 0)
        if ddof >= self._weight:
            raise ValueError(
                f"ddof is {ddof}; expected less than the number of samples, {self._weight:g}"
            )
        covariance = Moments.zero(self.partition, self._aligned)
        covariance += self._centred
        covariance /= self._weight - ddof
        return self._as_matrix(covariance)

    def _as_matrix(self, sums: Moments) -> BlockConstantMatrix:
        dtype = self._dtype or np.dtype(np.float64)
        return BlockConstantMatrix._trusted(self.partition, *sums.pair(), dtype)

    def _see(self, dtype: Any) -> None:
        self._dtype = np.dtype(dtype) if self._dtype is None else np.result_type(self._dtype, dtype)

    def _add_centred(self, centred: "Moments", mean: Array, weight: float) -> None:
        """Join two centred sums (Chan, Golub and LeVeque, 1983)."""
        total = self._weight + weight
        difference = mean - self._mean
        self._centred += centred
        self._centred += self._outer_of(difference, self._weight * weight / total)
        self._mean = self._mean + difference * (weight / total)
        self._weight = total

    def _outer_of(self, x: Array, weight: float) -> "Moments":
        zero = np.zeros(len(x), dtype=accumulator_dtype(x.dtype))
        outer = moments(x[None], zero, self.partition, self._aligned, check_finite=False)
        outer *= weight
        return outer

    def __repr__(self) -> str:
        aligned = "aligned " if self._aligned else ""
        return f"<BlockAccumulator of {self.partition.n_blocks} {aligned}blocks>"
