"""The Kullback-Leibler divergence of Gaussians, by what their covariances differ in.

It is half the sum of x - log(1 + x) over the eigenvalues 1 + x of B^-1 A, of the order of x^2 if
A and B are alike. So x is computed from the difference of A and B, not from its sum with 1.
"""

from typing import Any

import numpy as np
from scipy.linalg import solve_triangular

from blockmat.blocks.checks import Array
from blockmat.cores.core import hermitian_part
from blockmat.exceptions import IndefiniteMatrixError, PartitionMismatchError, SingularMatrixError
from blockmat.fitting.fit import fit
from blockmat.matrices.block_constant import BlockConstantMatrix, square_within
from blockmat.matrices.low_rank import BlockPlusLowRank
from blockmat.matrices.scaled import ScaledBlockMatrix
from blockmat.matrices.structured import SquareMatrix, Structured

_SERIES = 18  # terms, for y^2 up to 1/9


def divergence(A: SquareMatrix, B: SquareMatrix) -> float:
    """Return the divergence of two real positive definite matrices."""
    double_a: Any = A.astype(np.float64)
    double_b: Any = B.astype(np.float64)
    if isinstance(double_b, BlockPlusLowRank):
        return _from_trace(double_a, double_b)
    if isinstance(
        double_b, ScaledBlockMatrix
    ):  # the divergence of S^-1 A S^-1 from the inner matrix
        double_a, double_b = _divided(double_a, double_b.scale), double_b.matrix
    if not isinstance(double_a, BlockPlusLowRank):
        S = Structured(double_a)
        exact = _of_scaled(S.block, S.scale, double_b)
        if exact is not None:
            return exact
    # By Pythagoras: B is of one structure with the fit, on which A and its fit have one trace.
    projection = fit(double_a, double_b.partition, aligned=double_b.is_aligned)
    beyond = float(projection.logdet()) - float(double_a.logdet())
    return _of_pairs(projection, double_b) + max(beyond, 0.0) / 2


def require_definite(A: SquareMatrix, name: str) -> None:
    """Refuse a symmetric matrix that is not positive definite."""
    inner: Any = A
    if isinstance(A, BlockPlusLowRank):
        A.whiten(np.zeros(A.shape[0]))  # refuses others
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


def _divided(A: Any, scale: Array) -> Any:
    """Return ``S^-1 A S^-1``."""
    if isinstance(A, BlockPlusLowRank):
        return BlockPlusLowRank(_divided(A.base, scale), (A.factor.T / scale).T, A.core)
    if isinstance(A, ScaledBlockMatrix):
        return ScaledBlockMatrix(A.matrix, A.scale / scale)
    return ScaledBlockMatrix(A, 1 / scale)


def _from_trace(A: Any, B: BlockPlusLowRank) -> float:
    """Return it from tr(B^-1 A) and determinants, which know small ones less well."""
    n = A.shape[0]
    inverse: Any = B.inv()
    base: Any = inverse.base
    inner = base.matrix if isinstance(base, ScaledBlockMatrix) else base
    scaled = A if inner is base else _divided(A, 1 / base.scale)
    projection = fit(scaled, inner.partition, aligned=inner.is_aligned)
    trace = float((inner @ projection).trace())
    H = inverse.factor
    trace += float(np.trace(inverse.core @ (H.T @ A.dot(H))))
    logdets = float(B.logdet()) - float(A.logdet())
    return float(max(trace - n + logdets, 0.0)) / 2


def _of_scaled(A: BlockConstantMatrix, r: Array, B: BlockConstantMatrix) -> float | None:
    """Return it for ``R A R`` and B, with R the diagonal of r > 0; None if that breaks pairs.

    On the blocks of both, the projection of R A R has a trace with B^-1 as R A R does, and so
    the divergences of R A R from it, and of it from B, add up. With m the mean of r over a
    block and v its variance, the projection differs from ``m A m`` by the terms in v.
    """
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
        M = A.between * np.multiply.outer(mean, mean)
        d = A.within * (np.multiply.outer(mean, mean) if A.is_aligned else mean**2)
        return _of_pairs(BlockConstantMatrix(p, M, d), B)
    if A.is_aligned or B.is_aligned:
        return None
    n, d = p.sizes, A.within
    v = mean**2 * p.block_means(e**2)
    M, d = A.between * np.multiply.outer(mean, mean), d * mean**2
    own = (np.diagonal(A.between) - A.within) / n  # of A, off the diagonal
    more = np.where(n > 1, A.within * v + n * own * v / np.maximum(n - 1, 1), 0.0)
    projection = BlockConstantMatrix(p, M + np.diag(A.within * v), d + more)
    several = n > 1
    logs = float(((n - 1)[several] * np.log1p(more[several] / d[several])).sum())
    logs += float(np.log1p(_relative(np.diag(A.within * v), M)).sum())
    return _of_pairs(projection, B) + logs / 2 + float(_excess(e).sum())


def _of_pairs(A: BlockConstantMatrix, B: BlockConstantMatrix) -> float:
    """Return it for two matrices on the same blocks."""
    p = A.partition
    total = _of_cores(A.between, B.between)
    if A.is_aligned or B.is_aligned:
        D, other = square_within(A), square_within(B)
        for members, variables in p.size_classes:
            square = np.ix_(members, members)
            total += (variables.shape[1] - 1) * _of_cores(D[square], other[square])
        return total
    several = p.sizes > 1
    x = (A.within[several] - B.within[several]) / B.within[several]
    return total + float(((p.sizes[several] - 1) * _excess(x)).sum()) / 2


def _of_cores(a: Array, b: Array) -> float:
    """Return it for two positive definite arrays."""
    x = _relative(a - b, b)
    if x.min() > -0.5:
        return float(_excess(x).sum()) / 2
    logdets = np.linalg.slogdet(a)[1] - np.linalg.slogdet(b)[1]
    return float(x.sum() - logdets) / 2


def _relative(difference: Array, b: Array) -> Array:
    """Return the eigenvalues of ``b^-1 difference``, for b positive definite, in its own units."""
    scale = 1 / np.sqrt(np.diagonal(b))
    root = np.linalg.cholesky(hermitian_part(scale[:, None] * b * scale))
    half = solve_triangular(root, scale[:, None] * difference * scale, lower=True)
    whitened = solve_triangular(root, half.T, lower=True)
    values: Array = np.linalg.eigvalsh(hermitian_part(whitened))
    return values


def _excess(x: Array) -> Array:
    """Return ``x - log(1 + x)`` to rounding.

    With y = x / (2 + x) it is x y - 2 (y^3 / 3 + y^5 / 5 + ...), of which the first is the most.
    """
    small = np.abs(x) < 0.5
    y = np.where(small, x, 0) / (2 + np.where(small, x, 0))
    series = np.zeros_like(y)
    for j in range(_SERIES, 0, -1):
        series = (series + 1 / (2 * j + 1)) * y**2
    large = np.where(small, 1, x)
    excess: Array = np.where(
        small, y * (np.where(small, x, 0) - 2 * series), large - np.log1p(large)
    )
    return excess
