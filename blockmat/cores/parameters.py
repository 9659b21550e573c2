"""Unconstrained numbers for positive definite pairs and for correlation matrices.

:ref:`theory-parameters` has the formulas. Arrays are those of `blockmat.cores.pair`. Vectors of
parameters (..., p) and pairs may have the same leading batch axes. Sizes are an array (k,).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from array_api_compat import device

from blockmat.cores.pair import Array, Pair, as_square, diagonal, namespace


@dataclass(frozen=True)
class Layout:
    """Where each parameter is in a pair.

    The parameters are first those of a k x k matrix, row by row of its lower triangle.

    Parameters
    ----------
    sizes : ndarray of int, shape (k,)
        The number of members of each block.
    """

    sizes: np.ndarray[Any, Any]

    @property
    def n_blocks(self) -> int:
        """The number of blocks."""
        return len(self.sizes)

    @cached_property
    def several(self) -> Array:
        """The blocks of more than one member: the others have no deviations."""
        return np.flatnonzero(self.sizes > 1)

    @cached_property
    def lower(self) -> Array:
        """The row-major index of each entry of the lower triangle."""
        rows, columns = np.tril_indices(self.n_blocks)
        return rows * self.n_blocks + columns

    @cached_property
    def off_diagonal(self) -> Array:
        """The same without the diagonal entries of blocks of one member."""
        rows, columns = np.tril_indices(self.n_blocks)
        return self.lower[(rows != columns) | (self.sizes[rows] > 1)]

    @property
    def n_log_cholesky(self) -> int:
        """The number of parameters of a positive definite pair."""
        return len(self.lower) + len(self.several)

    @property
    def n_log_correlation(self) -> int:
        """The number of parameters of a correlation matrix."""
        return len(self.off_diagonal)


# A positive definite pair


def pair_of_log_cholesky(parameters: Array, layout: Layout) -> Pair:
    """Return ``M = L L^T`` and d from the logarithms of d and of the diagonal of L.

    L is lower triangular. Its other entries are parameters as they are. d is 0 for blocks of one
    member.
    """
    xp, k = namespace(parameters), layout.n_blocks
    n_lower = len(layout.lower)
    lower = _placed(parameters[..., :n_lower], layout.lower, k * k)
    lower = xp.reshape(lower, (*lower.shape[:-1], k, k))
    logs = diagonal(lower)
    lower = lower + as_square(lower, xp.exp(logs) - logs)
    within = _placed(xp.exp(parameters[..., n_lower:]), layout.several, k)
    return lower @ xp.matrix_transpose(lower), within


def log_cholesky_of_pair(between: Array, within: Array, layout: Layout) -> Array:
    """Return the parameters of a positive definite pair: `pair_of_log_cholesky` backwards."""
    xp = namespace(between)
    lower = xp.linalg.cholesky(between)
    entries = diagonal(lower)
    lower = lower + as_square(lower, xp.log(entries) - entries)
    numbers = _taken(xp.reshape(lower, (*lower.shape[:-2], -1)), layout.lower)
    return xp.concat([numbers, xp.log(_taken(within, layout.several))], axis=-1)


# The logarithm of a correlation matrix


def free_part(parameters: Array, layout: Layout) -> Array:
    """Return the symmetric matrix Gamma (..., k, k) that holds the parameters of a correlation.

    The pair of ``log C`` is ``(Gamma + diag(y), y)``. So Gamma_ab is ``sqrt(n_a n_b)`` times the
    number of ``log C`` in the block (a, b), off its diagonal.
    """
    xp, k = namespace(parameters), layout.n_blocks
    lower = _placed(parameters, layout.off_diagonal, k * k)
    lower = xp.reshape(lower, (*lower.shape[:-1], k, k))
    return lower + xp.matrix_transpose(lower) - as_square(lower, diagonal(lower))


def parameters_of_log(between: Array, within: Array, layout: Layout) -> Array:
    """Return the parameters of a correlation matrix from the pair of its logarithm."""
    free = between - as_square(between, within)
    return _taken(namespace(free).reshape(free, (*free.shape[:-2], -1)), layout.off_diagonal)


# Entries by their index


def _taken(x: Array, where: Array) -> Array:
    """Return the entries of x (..., m) at some indices."""
    xp = namespace(x)
    return xp.take(x, xp.asarray(where, device=device(x)), axis=-1)


def _placed(x: Array, where: Array, length: int) -> Array:
    """Return zeros (..., length) with the entries of x (..., m) at some indices."""
    xp = namespace(x)
    sources = np.full(length, x.shape[-1])
    sources[where] = np.arange(x.shape[-1])
    zero = xp.zeros((*x.shape[:-1], 1), dtype=x.dtype, device=device(x))
    return _taken(xp.concat([x, zero], axis=-1), sources)
