"""The sum ``B + V C V^T`` with another base, if B is nearly singular and the sum is not.

Then ``B^-1`` is large beside the inverse of the sum, and the two parts of that inverse cancel. So
small eigenvalues of B are raised, and the low-rank part takes away as much (:ref:`theory-scaled`).
"""

from typing import NamedTuple

import numpy as np
from scipy.linalg import block_diag, eigh, helmert

from blockmat.blocks.checks import Array
from blockmat.blocks.passes import block_sums
from blockmat.cores import pair
from blockmat.cores.core import EPS
from blockmat.cores.definite import eigenvalues_exceed
from blockmat.matrices.block_constant import BlockConstantMatrix
from blockmat.matrices.block_factor import BlockFactorMatrix
from blockmat.matrices.scaled import ScaledBlockMatrix

Base = BlockConstantMatrix | ScaledBlockMatrix | BlockFactorMatrix

_SHARE = 2.0**-4  # eigenvalues below this share of the bound are raised
_LEAST = float(np.sqrt(EPS))  # sums with a smaller bound, relative to variances, stay as they are


class LowRankSum(NamedTuple):
    """The parts of ``B + V C V^T``, with V (n, r) and C (r, r) in double precision."""

    base: Base
    factor: Array
    core: Array


def with_raised_base(given: LowRankSum) -> LowRankSum:
    """Return the sum with small eigenvalues of its base raised, if those of the sum are larger.

    The factor gets at most r more columns. A base that is aligned or a `BlockFactorMatrix` stays as
    it is. It takes O(n r^2 + k^2 r + k^3).
    """
    base, factor, core = given
    if isinstance(base, BlockFactorMatrix):
        return given
    is_scaled = isinstance(base, ScaledBlockMatrix)
    matrix = base.matrix if is_scaled else base
    scale = base.scale.astype(np.float64) if is_scaled else np.ones(base.shape[0])
    if matrix.is_aligned:
        return given
    small = _small_eigenvalues(matrix, factor / scale[:, None], core)
    if small is None:
        return given
    raised = _raised(matrix, small)
    columns, added = _directions(matrix, small)
    return LowRankSum(
        ScaledBlockMatrix(raised, scale) if is_scaled else raised,
        np.hstack([factor, columns * scale[:, None]]),
        block_diag(core, np.diag(-added)),
    )


class _Small(NamedTuple):
    """The eigenvalues of a block-constant matrix that are to be raised to `bound`.

    The blocks are in units of their `variances` (k,). The eigenvectors (k, q) are those of the
    `values` (q,) of the between core; the numbers d of the blocks in `low` (k,) are small, too.
    """

    variances: Array
    bound: float
    values: Array
    vectors: Array
    low: Array


def _small_eigenvalues(matrix: BlockConstantMatrix, V: Array, C: Array) -> _Small | None:
    """Find eigenvalues far below those of ``B + V C V^T``, or None.

    A block is in units of its mean variance in the sum. Then the smallest eigenvalue of the sum is
    at most `bound`: the least of its Rayleigh quotients for eigenvectors of B, and of the
    eigenvalue number r + 1 of B (Weyl's inequality). If one of these is not positive, magnitudes
    of eigenvalues are bounded, by the second number only.
    """
    sizes, several = matrix.partition.sizes, matrix.partition.sizes > 1
    M, d = matrix.between.astype(np.float64), matrix.within.astype(np.float64)
    means = pair.coordinates(block_sums(matrix.partition, V).T, sizes).T
    energy, of_means = block_sums(matrix.partition, _quadratic(V, C)), _quadratic(means, C)
    diagonal = M if matrix.is_independent else np.diagonal(M)
    variances = (diagonal + (sizes - 1) * d + energy) / sizes
    magnitudes = (np.abs(diagonal) + (sizes - 1) * np.abs(d) + np.abs(energy)) / sizes
    variances = np.where(variances > 0, variances, magnitudes)
    if not (np.isfinite(variances) & (variances > 0)).all():
        return None
    d = d / variances
    of_deviations = d + (energy - of_means) / variances / np.maximum(sizes - 1, 1)
    of_indicators = (diagonal + of_means) / variances
    bound = min(of_indicators.min(), of_deviations.min(where=several, initial=np.inf))
    low = several & (d < _SHARE * bound)
    unit = np.sqrt(variances)
    M = M / variances if matrix.is_independent else M / np.multiply.outer(unit, unit)
    if bound > 0 and not low.any() and _exceed(M, _SHARE * bound):
        return None
    values, vectors = _eigen(M)
    if vectors is not None:
        of_vectors = values + _quadratic(vectors.T @ (means / unit[:, None]), C)
        bound = min(bound, of_vectors.min())
    multiplicities = np.append(np.ones(len(M)), sizes - 1)
    magnitudes = np.abs(np.append(values, d))
    of_rank = min(_in_order(len(C), magnitudes, multiplicities), float(magnitudes.max()))
    bound = min(bound, of_rank) if bound > 0 else of_rank
    small, low = (
        np.flatnonzero(np.abs(values) < _SHARE * bound),
        several & (np.abs(d) < _SHARE * bound),
    )
    if bound <= _LEAST or not (len(small) or low.any()):
        return None
    kept = _indicators(small, len(M)) if vectors is None else vectors[:, small]
    return _Small(variances, float(bound), values[small], kept, low)


def _quadratic(rows: Array, C: Array) -> Array:
    """Return ``x^T C x`` for each row x."""
    products: Array = np.einsum("ir,ir->i", rows @ C, rows)
    return products


def _exceed(core: Array, least: float) -> bool:
    """Tell whether all eigenvalues of a core (k, k), or of a diagonal one (k,), exceed a number."""
    return bool((core > least).all()) if core.ndim == 1 else eigenvalues_exceed(core, least)


def _eigen(core: Array) -> tuple[Array, Array | None]:
    """Return the eigenvalues and eigenvectors of a core; no vectors for a diagonal one."""
    if core.ndim == 1:
        return core, None
    values, vectors = eigh(core, check_finite=False)
    return values, vectors


def _in_order(number: int, values: Array, multiplicities: Array) -> float:
    """Return the eigenvalue after the `number` smallest ones, or infinity."""
    ascending = np.argsort(values)
    counts = np.cumsum(multiplicities[ascending])
    place = int(np.searchsorted(counts, number, side="right"))
    return float(values[ascending[place]]) if place < len(values) else np.inf


def _indicators(rows: Array, n_rows: int) -> Array:
    """Return the columns of the identity (n_rows, q) of some rows (q,)."""
    columns = np.zeros((n_rows, len(rows)))
    columns[rows, np.arange(len(rows))] = 1
    return columns


def _raised(matrix: BlockConstantMatrix, small: _Small) -> BlockConstantMatrix:
    """Return the matrix with its small eigenvalues raised to the bound, in double precision."""
    between, within = matrix.between.astype(np.float64), matrix.within.astype(np.float64)
    columns = np.sqrt(small.variances)[:, None] * small.vectors
    added = small.bound - small.values
    if matrix.is_independent:
        between += columns**2 @ added
    else:
        between += pair.compose(added, columns)
    within = np.where(small.low, small.bound * small.variances, within)
    return BlockConstantMatrix(matrix.partition, between, within)


def _directions(matrix: BlockConstantMatrix, small: _Small) -> tuple[Array, Array]:
    """Return directions (n, q) whose eigenvalues are raised, and by how much (q,).

    The deviations in a block have the basis of `scipy.linalg.helmert`.
    """
    p = matrix.partition
    columns = np.sqrt(small.variances / p.sizes)[:, None] * small.vectors
    added = small.bound * small.variances - matrix.within
    parts, numbers = [columns[p.labels]], [small.bound - small.values]
    for block in np.flatnonzero(small.low):
        size = int(p.sizes[block])
        basis = np.zeros((p.n, size - 1))
        basis[p.labels == block] = helmert(size).T
        parts.append(basis)
        numbers.append(np.full(size - 1, added[block]))
    return np.hstack(parts), np.concatenate(numbers)
