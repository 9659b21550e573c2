"""The Kullback-Leibler divergence of two Gaussians, from the difference of their covariances.

With x the eigenvalues of ``B^-1 (A - B)`` it is half the sum of ``x - log(1 + x)``. For similar
matrices it is of the order of x^2, and would be lost in the rounding of 1 + x. The divergence is
derived in :ref:`theory-inference`.
"""

from typing import Any

import numpy as np
from scipy.linalg import solve_triangular
from scipy.sparse import csr_array, diags_array

from blockmat.blocks.checks import Array
from blockmat.blocks.passes import block_sums
from blockmat.cores.arrays import diagonal_of_core, entries_of_core
from blockmat.cores.core import hermitian_part
from blockmat.exceptions import IndefiniteMatrixError, PartitionMismatchError, SingularMatrixError
from blockmat.fitting.fit import fit
from blockmat.matrices.block_constant import BlockConstantMatrix
from blockmat.matrices.block_factor import BlockFactorMatrix
from blockmat.matrices.divided import divided
from blockmat.matrices.low_rank import BlockPlusLowRank
from blockmat.matrices.scaled import ScaledBlockMatrix
from blockmat.matrices.stored_pair import (
    cores_of_one_kind,
    square_within,
)
from blockmat.matrices.structured import SquareMatrix, Structured, pairs_of

_N_TERMS = 18  # of the series, for y^2 up to 1/9


def divergence(A: SquareMatrix, B: SquareMatrix) -> float:
    """Return the divergence of A from B, both real and positive definite."""
    double_a: Any = A.astype(np.float64)
    double_b: Any = B.astype(np.float64)
    if isinstance(double_b, BlockPlusLowRank | BlockFactorMatrix):
        return _trace_divergence(double_a, double_b)
    if isinstance(double_b, ScaledBlockMatrix):
        # S^-1 A S^-1 has the same divergence from the block-constant matrix inside the scales
        double_a, double_b = divided(double_a, double_b.scale), double_b.matrix
    S = Structured(double_a)
    if S.block is not None and not S.factor.size:
        accurate = _scaled_divergence(S.block, S.scale, double_b)
        if accurate is not None:
            return accurate
    # The fit of A has the structure of B and the same trace with B^-1 as A, so two divergences add
    projection = fit(double_a, double_b.partition, aligned=double_b.is_aligned)
    logdets = float(projection.logdet()) - float(double_a.logdet())
    return _pair_divergence(projection, double_b) + max(logdets, 0.0) / 2


def check_definite(A: SquareMatrix, name: str) -> None:
    """Raise an error for a symmetric matrix that is not positive definite."""
    inner: Any = A
    if isinstance(A, BlockPlusLowRank | BlockFactorMatrix):
        A.whiten(np.zeros(A.shape[0]))  # raises the error
        return
    if isinstance(A, ScaledBlockMatrix):
        inner = A.matrix
    if inner.is_positive_definite():
        return
    values, _ = inner.eigvalsh()
    rounding = inner.partition.n_blocks * float(np.finfo(inner.dtype).eps) * np.abs(values).max()
    if values[0] < -rounding:
        raise IndefiniteMatrixError(
            f"{name} has negative eigenvalues; expected a positive definite covariance matrix"
        )
    raise SingularMatrixError(
        f"{name} is singular, the determinant is zero; expected a positive definite covariance "
        f"matrix"
    )


def _trace_divergence(A: Any, B: BlockPlusLowRank | BlockFactorMatrix) -> float:
    """Return the divergence from tr(B^-1 A) and determinants, with the rounding of n."""
    trace = _trace_of_product(B.inv(), A)
    logdets = float(B.logdet()) - float(A.logdet())
    return float(max(trace - A.shape[0] + logdets, 0.0)) / 2


def _trace_of_product(P: Any, A: Any) -> float:
    """Return tr(P A)."""
    if isinstance(P, BlockPlusLowRank):
        low_rank = P.core * (P.factor.T @ A.dot(P.factor))
        return _trace_of_product(P.base, A) + float(low_rank.sum())
    if isinstance(P, ScaledBlockMatrix):
        return _trace_of_product(P.matrix, divided(A, 1 / P.scale))
    if isinstance(P, BlockFactorMatrix):
        return float(P.noise @ A.diagonal()) + _trace_with_factors(P, A)
    projection = fit(A, P.partition, aligned=P.is_aligned)
    return float((P @ projection).trace())


def _trace_with_factors(P: BlockFactorMatrix, A: Any) -> float:
    """Return tr(S Z C Z^T S A) for the loadings S and the covariance C of P."""
    p, s, C, T = P.partition, P.loadings, P.covariance, Structured(A)
    i, j = pairs_of(T)
    shared = entries_of_core(C, p.labels[i], p.labels[j])
    total = float((shared * s[i] * T.on_pairs(i, j) * s[j]).sum())
    low_rank = block_sums(p, s[:, None] * T.factor)
    left = C @ low_rank if C.ndim == 2 else C[:, None] * low_rank
    total += float((T.core * (low_rank.T @ left)).sum())
    shape = p.n_blocks, T.partition.n_blocks
    sums = csr_array((s * T.scale, (p.labels, T.partition.labels)), shape=shape)
    return total + _trace_of_cores(C, sums, T.values)


def _trace_of_cores(C: Array, N: csr_array, B: Array) -> float:
    """Return tr(C N B N^T) for symmetric cores C and B, dense or the diagonals of diagonal ones."""
    if C.ndim == B.ndim == 1:  # N B first, because squares of N could leave the range
        return float(C @ (N @ diags_array(B)).multiply(N).sum(axis=1))
    if C.ndim == 1:
        C, N, B = B, N.T, C
    image = N @ (diags_array(B) if B.ndim == 1 else B) @ N.T
    return float((image * C).sum())


def _scaled_divergence(A: BlockConstantMatrix, r: Array, B: BlockConstantMatrix) -> float | None:
    """Return the divergence of ``R A R`` from B, for the diagonal matrix R of r.

    On the common refinement of the blocks, the projection P of ``R A R`` has the same trace with
    B^-1 as ``R A R``. So the divergences of ``R A R`` from P and of P from B add up. Return None
    if aligned pairs do not allow that, or if a number in r is negative.
    """
    if (r < 0).any():
        return None
    p = A.partition
    if not p.same_blocks(B.partition):
        p = p.meet(B.partition)
        try:
            A, B = A.refine(p), B.refine(p)
        except PartitionMismatchError:
            return None
    mean = p.block_means(r)
    e = r / p.expand(mean) - 1
    e -= p.expand(p.block_means(e))
    e[np.abs(e) <= 8 * np.finfo(np.float64).eps] = 0
    if not e.any():
        M, d = _times_squares(A.between, mean), _times_squares(A.within, mean)
        return _pair_divergence(BlockConstantMatrix(p, M, d), B)
    if A.is_aligned or B.is_aligned:
        return None
    projection, logdet = _project_scaled(A, mean, e)
    return _pair_divergence(projection, B) + logdet / 2 + float(_x_minus_log1p(e).sum())


def _project_scaled(
    A: BlockConstantMatrix, mean: Array, e: Array
) -> tuple[BlockConstantMatrix, float]:
    """Project ``R A R`` for ``r = mean (1 + e)``, with e of mean zero over each block.

    With v the variance of r over a block, the projection is ``mean A mean`` plus terms in v. Return
    also by how much these terms raise the log-determinant.
    """
    p, n = A.partition, A.partition.sizes
    variance = mean**2 * p.block_means(e**2)
    M, d = _times_squares(A.between, mean), _times_squares(A.within, mean)
    own = diagonal_of_core(A.between)
    values = (own - A.within) / n  # of the diagonal blocks, off the diagonal
    more = np.where(n > 1, A.within * variance + n * values * variance / np.maximum(n - 1, 1), 0.0)
    more_between = A.within * variance
    if M.ndim == 2:
        more_between = np.diag(more_between)
    several = n > 1
    logdet = float(((n - 1)[several] * np.log1p(more[several] / d[several])).sum())
    logdet += float(np.log1p(_relative_eigenvalues(more_between, M)).sum())
    return BlockConstantMatrix(p, M + more_between, d + more), logdet


def _times_squares(core: Array, scale: Array) -> Array:
    """Multiply rows and columns of a core (k, k), or of a diagonal core (k,), by a scale (k,)."""
    scaled: Array = core * (scale**2 if core.ndim == 1 else np.multiply.outer(scale, scale))
    return scaled


def _pair_divergence(A: BlockConstantMatrix, B: BlockConstantMatrix) -> float:
    """Return the divergence of two matrices on the same blocks."""
    p = A.partition
    total = _core_divergence(*cores_of_one_kind(A, B))
    if A.is_aligned or B.is_aligned:
        D_a, D_b = square_within(A), square_within(B)
        for members, variables in p.size_classes:
            square = np.ix_(members, members)
            total += (variables.shape[1] - 1) * _core_divergence(D_a[square], D_b[square])
        return total
    several = p.sizes > 1
    x = (A.within[several] - B.within[several]) / B.within[several]
    return total + float(((p.sizes[several] - 1) * _x_minus_log1p(x)).sum()) / 2


def _core_divergence(a: Array, b: Array) -> float:
    """Return the divergence of two positive definite cores (k, k), or diagonal ones (k,)."""
    x = _relative_eigenvalues(a - b, b)
    if x.min() > -0.5:
        return float(_x_minus_log1p(x).sum()) / 2
    return float(x.sum() - (_logdet(a) - _logdet(b))) / 2


def _logdet(core: Array) -> float:
    return float(np.log(core).sum() if core.ndim == 1 else np.linalg.slogdet(core)[1])


def _relative_eigenvalues(difference: Array, b: Array) -> Array:
    """Return the eigenvalues of ``b^-1 difference`` for a positive definite b.

    Rows and columns are first divided by the square roots of the diagonal of b.
    """
    if b.ndim == 1:
        return difference / b
    scale = 1 / np.sqrt(np.diagonal(b))
    root = np.linalg.cholesky(hermitian_part(scale[:, None] * b * scale))
    half = solve_triangular(root, scale[:, None] * difference * scale, lower=True)
    whitened = solve_triangular(root, half.T, lower=True)
    values: Array = np.linalg.eigvalsh(hermitian_part(whitened))
    return values


def _x_minus_log1p(x: Array) -> Array:
    """Return ``x - log(1 + x)``, accurate for small x.

    For ``|x| < 0.5`` it is ``x y - 2 (y^3 / 3 + y^5 / 5 + ...)`` with ``y = x / (2 + x)``.
    """
    small = np.abs(x) < 0.5
    y = np.where(small, x, 0) / (2 + np.where(small, x, 0))
    series = np.zeros_like(y)
    for j in range(_N_TERMS, 0, -1):
        series = (series + 1 / (2 * j + 1)) * y**2
    large = np.where(small, 1, x)
    result: Array = np.where(
        small, y * (np.where(small, x, 0) - 2 * series), large - np.log1p(large)
    )
    return result
