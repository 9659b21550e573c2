"""A positive definite pair near numbers that may not be one."""

import numpy as np
import scipy.linalg

from blockmat.blocks.checks import Array
from blockmat.cores import pair


def definite_pair(values: Array, variances: Array, sizes: Array, least: float) -> pair.Pair:
    """Return a positive definite pair from block values (k, k) and variances (k,).

    The variances are kept. In units of the variance of its row, an eigenvalue below
    ``max(-m, least)`` is raised to this number, where m is the smallest eigenvalue of its core:
    first within each block, and then between the blocks (:ref:`theory-missing`). Blocks of
    variance zero get zeros.
    """
    several = sizes > 1
    own = np.where(several, np.real(np.diagonal(values)), variances)
    # Within a block, its number d and its entry of M share the trace: M_bb + (n_b - 1) d = n_b v.
    within = np.where(several, variances - own, 0)
    within = np.where(several, _raised(within, variances, least), 0)
    diagonal = sizes * variances - (sizes - 1) * within
    diagonal = _raised(diagonal, variances, least)
    within = np.where(several, (sizes * variances - diagonal) / np.maximum(sizes - 1, 1), 0)
    between = values * pair.outer_root(sizes)
    np.fill_diagonal(between, diagonal)
    return _definite(between, least), within


def _raised(numbers: Array, variances: Array, least: float) -> Array:
    """Return positive numbers: those below a floor are raised to it."""
    floor = np.clip(-numbers, least * variances, variances)
    raised: Array = np.maximum(numbers, floor)
    return raised


def eigenvalues_exceed(unit: Array, least: float) -> bool:
    """Whether all eigenvalues of a matrix are above a number, by a Cholesky factorization."""
    try:
        np.linalg.cholesky(unit - least * np.eye(len(unit)))
    except np.linalg.LinAlgError:
        return False
    return True


def _definite(between: Array, least: float) -> Array:
    """Raise small eigenvalues of a Hermitian matrix with unit diagonal, and restore its diagonal."""
    lengths = np.sqrt(np.real(np.diagonal(between)))
    lengths = np.where(lengths > 0, lengths, 1)
    kept = np.real(np.diagonal(between)) > 0
    unit = (between / np.multiply.outer(lengths, lengths))[np.ix_(kept, kept)]
    if eigenvalues_exceed(unit, least):
        return between
    eigenvalues, vectors = scipy.linalg.eigh(unit)
    floor = np.clip(-eigenvalues[0], least, 1)
    raised = pair.compose(np.maximum(eigenvalues, floor), vectors)
    new = np.sqrt(np.real(np.diagonal(raised)))
    scale = lengths[kept] / new
    result = np.zeros_like(between)
    result[np.ix_(kept, kept)] = raised * np.multiply.outer(scale, scale)
    np.fill_diagonal(result, np.real(np.diagonal(between)))
    return result
