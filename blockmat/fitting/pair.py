"""From block sums and paired sums to the pair (between, within), without the rounding errors."""

from typing import Any, NamedTuple

import numpy as np

from blockmat.blocks.checks import Array, real_dtype
from blockmat.blocks.partition import Partition
from blockmat.cores.core import hermitian_part, is_close_to_adjoint
from blockmat.cores.scale import times_power
from blockmat.sources.moments import within_from_sums

HEADROOM = 200  # powers of two that a sum may be above what is made of it


def n_parameters(p: Partition) -> int:
    """Return how many numbers a symmetric fit has: one per two blocks, and one within each."""
    k = p.n_blocks
    return k * (k + 1) // 2 + int((p.sizes > 1).sum())


def require_compute(compute: bool) -> None:
    """Raise `ValueError` if the fit of anything but a Dask array is to be delayed."""
    if not compute:
        raise ValueError("compute is False; expected only with a Dask array")


class Pair(NamedTuple):
    """The canonical pair of a fit, its dtype, and the standard errors of `within`."""

    between: Array
    within: Array
    dtype: np.dtype[Any]
    stderr: Array


def overflows(pair: Pair) -> bool:
    """Whether a sum has overflowed, though perhaps not what is made of it."""
    finite = np.isfinite(pair.between).all() and np.isfinite(pair.within).all()
    return real_dtype(pair.dtype) == np.float64 and not finite


def completed(pair: Pair, small: Pair, exponent: int) -> Pair:
    """Fill what has overflowed in a pair from that of the source times ``2**-exponent``."""
    with np.errstate(over="ignore", invalid="ignore"):
        between, within = (
            np.where(np.isfinite(whole), whole, times_power(part, exponent))
            for whole, part in ((pair.between, small.between), (pair.within, small.within))
        )
    return pair._replace(between=between, within=within)


def pair_from_sums(p: Partition, sums: Array, traces: Array, dtype: np.dtype[Any]) -> Pair:
    """Return the pair from block sums and sums of paired entries."""
    root = np.sqrt(p.sizes)
    sums /= root[:, None]
    sums /= root
    own = np.abs(np.diagonal(traces) if traces.ndim == 2 else traces)
    between = hermitian_if_rounding(p, _without_rounding(p, sums, own), np.float64, own)
    within = within_from_sums(p, between, traces)
    return Pair(between, within, dtype, np.zeros(within.shape))


def without_within(pair: Pair) -> Pair:
    """Return the pair of one number in every block."""
    zero = np.zeros(len(pair.between), dtype=pair.dtype)
    return pair._replace(within=zero, stderr=zero.real)


def hermitian_if_rounding(
    p: Partition, between: Array, dtype: Any, traces: Array | float = 0.0
) -> Array:
    """Make a core exactly Hermitian if only rounding keeps it from being so.

    The block sums of a Hermitian source are added in another order in blocks (a, b)
    and (b, a), which leaves a difference that grows with the size of the blocks. Sums may
    cancel, so the diagonal of the source counts among the scales. Single variables have no sums.
    """
    largest = int(p.sizes.max())
    if largest == 1:
        return between
    rounding = float(16 * np.finfo(dtype).eps * np.sqrt(largest))
    return hermitian_part(between) if is_close_to_adjoint(between, rounding, traces) else between


def _without_rounding(p: Partition, between: Array, traces: Array) -> Array:
    """Set what is left of block sums that have cancelled to rounding to zero.

    A centred matrix has block sums of zero, not random tiny ones of either sign.
    """
    with np.errstate(invalid="ignore", over="ignore"):  # infinite sums, which may be allowed
        scale = np.sqrt(np.abs(traces)) * np.where(p.sizes > 1, p.sizes**0.25, 0)
        rounding = 16 * np.finfo(np.float64).eps * np.outer(scale, scale)
        cancelled = (np.abs(between) <= rounding) & np.isfinite(rounding)
    return np.where(cancelled, 0, between)
