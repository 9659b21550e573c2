"""The formulas of a diagonal plus one factor for each block, for arrays of any library.

:ref:`theory-factor` derives them. They share these arguments, which may have the same leading
batch axes:

- ``covariance``: of the factors, (..., k, k) [C], or its diagonal, (..., k);
- ``lengths``: of ``loadings / sqrt(noise)`` in each block, (..., k) [the diagonal of L].

The covariance is a diagonal if it has as many axes as the lengths.
"""

from typing import Any, TypeAlias

from blockmat.cores.pair import namespace

Array: TypeAlias = Any  # of any library that follows the array API standard


def is_diagonal(covariance: Array, lengths: Array) -> bool:
    """Tell whether a covariance is a diagonal: it has as many axes as the lengths."""
    return bool(covariance.ndim == lengths.ndim)


def scaled(covariance: Array, lengths: Array) -> Array:
    """Return ``L C L``."""
    if is_diagonal(covariance, lengths):
        return lengths * covariance * lengths
    return lengths[..., :, None] * covariance * lengths[..., None, :]


def core(covariance: Array, lengths: Array) -> Array:
    """Return ``R = I + L C L``, or its diagonal."""
    shared = scaled(covariance, lengths)
    if is_diagonal(covariance, lengths):
        return 1 + shared
    xp = namespace(shared)
    return shared + xp.tril(xp.triu(xp.ones_like(shared)))


def covariance_of_inverse(solved: Array, lengths: Array) -> Array:
    """Return ``-L^-1 R^-1 (L C L) L^-1``, from ``solved``, which is ``R^-1 (L C L)``."""
    return -scaled(solved, 1 / lengths)
