"""Pseudo-inverses of cores. Rank decisions follow :ref:`theory-rank`."""

import numpy as np
import scipy.linalg

from blockmat.blocks.checks import Array
from blockmat.cores.core import EPS, ROUNDING, Core
from blockmat.cores.factors import cholesky_or_lu, inverse_of, is_singular
from blockmat.cores.products import reassemble
from blockmat.cores.rank import balancing_factors, count_nonzero, is_nonzero
from blockmat.cores.spectrum import dense_eigh


def pinv_of_rectangular(values: Array, precision: float, rtol: float | None) -> Array:
    """Return the pseudo-inverse of a matrix (k, l).

    Singular values up to `rtol` times the largest count as zero, by default those that
    `count_nonzero` would not count.
    """
    u, s, vh = scipy.linalg.svd(values, full_matrices=False, check_finite=False)
    if rtol is None:
        row, col = balancing_factors(values)
        balanced = scipy.linalg.svdvals((values * row[:, None]) * col, check_finite=False)
        rounding = ROUNDING * np.sqrt(max(values.shape)) * max(precision, EPS * balanced[0])
        r = int(np.count_nonzero(balanced > rounding))
    else:
        r = int(np.count_nonzero(s > rtol * s[0]))
    inverse: Array = (vh[:r].conj().T / s[:r]) @ u[:, :r].conj().T
    return inverse


def pinv(core: Core, cutoff: float | None) -> Array:
    """Return the pseudo-inverse of a core.

    Singular values up to `cutoff` count as zero, by default those that `count_nonzero` does not
    count.
    """
    if core.is_diagonal:
        size = np.abs(core.values)
        is_kept = size > cutoff if cutoff is not None else is_nonzero(core)
        return np.divide(1, core.values, out=np.zeros_like(core.values), where=is_kept)
    rank = None if cutoff is not None else count_nonzero(core)
    if rank == len(core.values) and not is_singular(core, factors := cholesky_or_lu(core)):
        return inverse_of(core, factors)
    if core.is_hermitian:
        w, v = dense_eigh(core.values)
        order = np.argsort(-np.abs(w))[: _rank(np.abs(w), cutoff, rank)]
        return reassemble(v[:, order], 1 / w[order])
    u, s, vh = scipy.linalg.svd(core.values, full_matrices=False, check_finite=False)
    r = _rank(s, cutoff, rank)
    inverse: Array = (vh[:r].conj().T / s[:r]) @ u[:, :r].conj().T
    return inverse


def _rank(singular_values: Array, cutoff: float | None, rank: int | None) -> int:
    """Return the rank, or count the singular values above the cutoff if it is not known."""
    return int(np.count_nonzero(singular_values > cutoff)) if rank is None else rank
