"""Pseudo-inverses of cores."""

import numpy as np
import scipy.linalg

from blockmat.blocks.checks import Array
from blockmat.cores.core import EPS, ROUNDING, Core
from blockmat.cores.factors import cholesky_or_lu, is_singular
from blockmat.cores.products import reassemble
from blockmat.cores.rank import balance, count_nonzero, is_nonzero
from blockmat.cores.spectrum import dense_eigh


def pinv_of_rectangular(values: Array, precision: float, rtol: float | None) -> Array:
    """Return the pseudo-inverse of a matrix (k, l), by default with the rule of `count_nonzero`."""
    u, s, vh = scipy.linalg.svd(values, full_matrices=False, check_finite=False)
    if rtol is None:
        row, col = balance(values)
        balanced = scipy.linalg.svdvals((values * row[:, None]) * col, check_finite=False)
        rounding = ROUNDING * np.sqrt(max(values.shape)) * max(precision, EPS * balanced[0])
        r = int(np.count_nonzero(balanced > rounding))
    else:
        r = int(np.count_nonzero(s > rtol * s[0]))
    inverse: Array = (vh[:r].conj().T / s[:r]) @ u[:, :r].conj().T
    return inverse


def pinv(core: Core, cutoff: float | None) -> Array:
    """Return the pseudo-inverse, with singular values up to `cutoff` taken as zero.

    Without a cutoff, those are kept that `count_nonzero` counts.
    """
    if core.is_diagonal:
        size = np.abs(core.values)
        keep = size > cutoff if cutoff is not None else is_nonzero(core)
        return np.divide(1, core.values, out=np.zeros_like(core.values), where=keep)
    kept = None if cutoff is not None else count_nonzero(core)
    if kept == len(core.values) and not is_singular(core, factors := cholesky_or_lu(core)):
        return factors.inverse()
    if core.is_hermitian:
        w, v = dense_eigh(core.values)
        order = np.argsort(-np.abs(w))[: _count(np.abs(w), cutoff, kept)]
        return reassemble(v[:, order], 1 / w[order])
    u, s, vh = scipy.linalg.svd(core.values, full_matrices=False, check_finite=False)
    r = _count(s, cutoff, kept)
    inverse: Array = (vh[:r].conj().T / s[:r]) @ u[:, :r].conj().T
    return inverse


def _count(values: Array, cutoff: float | None, kept: int | None) -> int:
    return int(np.count_nonzero(values > cutoff)) if kept is None else kept
