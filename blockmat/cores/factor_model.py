"""The formulas of a diagonal plus one factor for each block, for arrays of any library.

:ref:`theory-factor` derives them. They share these arguments, which may have the same leading
batch axes:

- ``covariance``: of the factors, (..., k, k) [C], or its diagonal, (..., k);
- ``lengths``: of ``loadings / sqrt(noise)`` in each block, (..., k) [the diagonal of L].

The covariance is a diagonal if it has as many axes as the lengths.
"""

from typing import Any, TypeAlias

from array_api_compat import device

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
    return shared + _identity(shared)


def between(covariance: Array, loadings: Array, noise: Array, sizes: Array) -> Array:
    """Return M of the pair if loadings and noise are alike in each block, (..., k) or (..., 1).

    It is ``diag(noise) + L C L`` with the lengths of the loadings, ``s_b sqrt(n_b)``, and d is the
    noise (:ref:`theory-factor`).
    """
    if is_diagonal(covariance, loadings):
        return noise + (sizes * loadings**2) * covariance
    shared = scaled(covariance, loadings * sizes**0.5)
    return shared + _identity(shared) * noise[..., None, :]


def covariance_of_inverse(solved: Array, lengths: Array) -> Array:
    """Return ``-L^-1 R^-1 (L C L) L^-1``, from ``solved``, which is ``R^-1 (L C L)``."""
    return -scaled(solved, 1 / lengths)


def _identity(a: Array) -> Array:
    """Return one identity matrix for matrices (..., k, k)."""
    return namespace(a).eye(a.shape[-1], dtype=a.dtype, device=device(a))
