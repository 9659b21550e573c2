"""Pair: the numbers (between, within) of a fit, computed from sums, without rounding errors."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from blockmat.blocks.checks import Array, real_dtype, require_finite, require_in_range
from blockmat.blocks.partition import Partition
from blockmat.cores import pair as formulas
from blockmat.cores.core import hermitian_part, is_close_to_adjoint
from blockmat.cores.scale import times_power
from blockmat.exceptions import NonFiniteError

FindEntry = Callable[[], tuple[int, ...] | None]

_ROUNDING = 16 * float(np.finfo(np.float64).eps)  # of a sum, times the square root of its length
_UNIT = 200  # sums that overflow are computed again in units of 2**200


class Pair(NamedTuple):
    """The pair of a fit in double precision, with its standard error.

    ``between`` has shape (k, k); ``within`` and ``stderr`` (k,), or (k, k) if aligned. ``dtype`` is
    the dtype of the fit.
    """

    between: Array
    within: Array
    dtype: np.dtype[Any]
    stderr: Array

    @classmethod
    def exact(cls, between: Array, within: Array, dtype: Any) -> "Pair":
        """Return a pair with standard error zero."""
        return cls(between, within, np.dtype(dtype), np.zeros(within.shape))

    @classmethod
    def of_sums(cls, p: Partition, sums: Array, paired: Array, dtype: Any) -> "Pair":
        """Return the pair from block sums (k, k) and paired sums (k,) or (k, k)."""
        sizes = np.abs(np.diagonal(paired) if paired.ndim == 2 else paired)
        between = _without_rounding(p, formulas.between_of_sums(sums, p.sizes), sizes)
        between = hermitian_if_rounding(p, between, np.float64, sizes)
        return cls.exact(between, within_of_paired_sums(p, between, paired), dtype)

    def in_units(self, exponent: int) -> "Pair":
        """Return the pair times ``2**exponent``; numbers that overflow are infinite."""
        with np.errstate(over="ignore"):
            between, within = (times_power(x, exponent) for x in (self.between, self.within))
        return self._replace(between=between, within=within)

    def checked(
        self, p: Partition, numbers: int, check_finite: bool, find_entry: FindEntry | None = None
    ) -> "Pair":
        """Check that the pair is finite, and return it with one or two numbers in each diagonal block.

        Raises
        ------
        NonFiniteError
            If `check_finite`, and a number is not finite.
        """
        pair = self
        if numbers == 1:
            zero = np.zeros(p.n_blocks, dtype=self.dtype)
            pair = self._replace(within=zero, stderr=zero.real)
        if check_finite:
            require_finite_blocks(pair.between, p, p, find_entry)
            require_finite(pair.within, "within")
            require_in_range(self.dtype, pair.between, pair.within)
        return pair


def within_of_paired_sums(p: Partition, between: Array, paired: Array) -> Array:
    """Return d (k,) or D (k, k), with zero for numbers that can be rounding errors.

    Otherwise a constant block would have tiny random deviations.
    """
    rounding = _ROUNDING * formulas.root(p.sizes)
    with np.errstate(invalid="ignore"):  # the caller may allow infinite sums
        within: Array = formulas.within_of_traces(paired, between, p.sizes, rounding)
    return within


def hermitian_if_rounding(
    p: Partition, between: Array, dtype: Any, paired: Array | float = 0.0
) -> Array:
    """Make a core exactly Hermitian if its deviation from that can be rounding.

    The entries of blocks (a, b) and (b, a) of a Hermitian source are summed in different orders. The
    difference grows with the sizes of the blocks; blocks of one variable have none. Because sums may
    cancel, rounding is also relative to `paired`, the magnitudes of the sums of the diagonals.
    """
    largest = int(p.sizes.max())
    if largest == 1:
        return between
    rounding = float(16 * np.finfo(dtype).eps * np.sqrt(largest))
    return hermitian_part(between) if is_close_to_adjoint(between, rounding, paired) else between


def _without_rounding(p: Partition, between: Array, paired: Array) -> Array:
    """Set block sums to zero that have cancelled to rounding errors.

    Otherwise a centred matrix would have tiny random block sums of either sign.
    """
    with np.errstate(invalid="ignore", over="ignore"):  # the caller may allow infinite sums
        scale = np.sqrt(paired) * np.where(p.sizes > 1, p.sizes**0.25, 0)
        rounding = _ROUNDING * np.outer(scale, scale)
        cancelled = (np.abs(between) <= rounding) & np.isfinite(rounding)
    return np.where(cancelled, 0, between)


def without_overflow(pair_of: Callable[[float], Pair], degree: int) -> Pair:
    """Compute a pair, and compute numbers that overflow again from a smaller source.

    Parameters
    ----------
    pair_of : callable
        Returns the pair of the source times a factor.
    degree : int
        The pair grows with this power of the factor: 1 for matrices, 2 for samples.
    """
    pair = pair_of(1.0)
    is_finite = np.isfinite(pair.between).all() and np.isfinite(pair.within).all()
    if is_finite or real_dtype(pair.dtype) != np.float64:
        return pair
    small = pair_of(2.0**-_UNIT)
    with np.errstate(over="ignore", invalid="ignore"):
        between, within = (
            np.where(np.isfinite(computed), computed, times_power(again, degree * _UNIT))
            for computed, again in zip(pair[:2], small[:2], strict=True)
        )
    return pair._replace(between=between, within=within)


def require_finite_blocks(
    between: Array, rows: Partition, cols: Partition, find_entry: FindEntry | None = None
) -> None:
    """Raise an error for a core with a number that is not finite.

    Parameters
    ----------
    between : ndarray, shape (k, l)
        The core.
    rows, cols : Partition
        The blocks of rows and columns.
    find_entry : callable, optional
        Returns the index of the first entry of the source that is not finite, or None.

    Raises
    ------
    NonFiniteError
        It names the block and, with `find_entry`, the entry.
    """
    if np.isfinite(between).all():
        return
    a, b = (int(i) for i in np.argwhere(~np.isfinite(between))[0])
    place = ""
    if find_entry is not None:
        entry = find_entry()
        if entry is None:
            raise NonFiniteError(
                f"the sum of block ({rows.names[a]!r}, {cols.names[b]!r}) of source overflows; "
                f"expected smaller numbers"
            )
        a, b = int(rows.labels[entry[0]]), int(cols.labels[entry[1]])
        place = f", row {entry[0]} and column {entry[1]}"
    raise NonFiniteError(
        f"source contains NaN or infinity in block ({rows.names[a]!r}, {cols.names[b]!r}){place}; "
        f"expected finite numbers (or check_finite=False)"
    )


def n_parameters(p: Partition) -> int:
    """Return how many numbers a symmetric fit has: one per two blocks, and one within each."""
    k = p.n_blocks
    return k * (k + 1) // 2 + int((p.sizes > 1).sum())
