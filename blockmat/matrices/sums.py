"""Sums of a matrix with one of another structure: of low rank, or sparse."""

from typing import Any

import numpy as np
from scipy.sparse.linalg import LinearOperator, aslinearoperator

from blockmat.blocks.checks import Array, require_finite, working_dtype
from blockmat.cores.arrays import diagonal_of_core
from blockmat.exceptions import ShapeError
from blockmat.matrices.block_constant import BlockConstantMatrix
from blockmat.matrices.block_factor import BlockFactorMatrix
from blockmat.matrices.dispatch import of_several_types
from blockmat.matrices.low_rank import BlockPlusLowRank, side_by_side
from blockmat.matrices.operator import BlockOperator
from blockmat.matrices.scaled import ScaledBlockMatrix
from blockmat.matrices.stored_pair import stored_values


@of_several_types
def add_low_rank(A: Any, factor: Any, core: Any = None) -> BlockPlusLowRank:
    """Return ``A + V C V^T``."""
    if not isinstance(A, BlockPlusLowRank):
        return BlockPlusLowRank(A, factor, core)
    added = BlockPlusLowRank(A.base, factor, core)
    return BlockPlusLowRank(A.base, *side_by_side((A.factor, A.core), (added.factor, added.core)))


@of_several_types
def add_sparse(A: BlockOperator, S: Any) -> LinearOperator:
    """Add a sparse matrix: a diagonal one where the sum has a structure, others lazily."""
    if S.shape != A.shape:
        raise ShapeError(f"the sparse matrix has shape {S.shape}; expected {A.shape}")
    S = S.astype(working_dtype(S.dtype, "the sparse matrix"))
    require_finite(S, "the sparse matrix")
    if _is_diagonal(S):
        total = _plus_diagonal(A, S.diagonal())
        if total is not None:
            return total
    return LinearOperator.__add__(A, aslinearoperator(S))


def _is_diagonal(S: Any) -> bool:
    """Tell whether all stored entries off the diagonal are zero."""
    if S.format == "dia":  # without a copy
        return all(
            offset == 0 or not row.any() for offset, row in zip(S.offsets, S.data, strict=True)
        )
    entries = S.tocoo()
    return not entries.data[entries.row != entries.col].any()


def _plus_diagonal(A: Any, d: Array) -> Any:
    """Return ``A + diag(d)``, or None if it has no structure."""
    if isinstance(A, BlockPlusLowRank):
        base = None if d.dtype.kind == "c" else _plus_diagonal(A.base, d)
        return None if base is None else BlockPlusLowRank(base, A.factor, A.core)
    if isinstance(A, BlockConstantMatrix):
        constant = _plus_constant_diagonal(A, d)
        return _as_factor_matrix(A, np.ones(len(d), A.dtype), d) if constant is None else constant
    if isinstance(A, ScaledBlockMatrix):
        return _as_factor_matrix(A.matrix, A.scale, d)
    if isinstance(A, BlockFactorMatrix) and d.dtype.kind != "c" and (A.noise + d > 0).all():
        return A.add_diagonal(d)
    return None


def _plus_constant_diagonal(A: BlockConstantMatrix, d: Array) -> BlockConstantMatrix | None:
    """Return the sum if d is constant on the blocks, else None."""
    p = A.partition
    own = d[p.order[p.offsets[:-1]]]
    if not np.array_equal(own[p.labels], d):
        return None
    total: BlockConstantMatrix = A + BlockConstantMatrix(p, own, own)
    return total


def _as_factor_matrix(B: BlockConstantMatrix, scale: Array, d: Array) -> BlockFactorMatrix | None:
    """Return ``S B S + diag(d)`` if it is a BlockFactorMatrix, else None.

    A block of one variable shares its entry between its factor and its noise, if d is not positive.
    """
    if B.is_aligned or "c" in (B.dtype.kind, d.dtype.kind) or not B.is_hermitian:
        return None
    dtype = np.result_type(B.dtype, scale, d)
    B = B.astype(dtype)
    p, C = B.partition, stored_values(B).copy()
    noise = scale * B.within[p.labels] * scale + d
    alone = np.flatnonzero((p.sizes == 1)[p.labels])
    blocks = p.labels[alone]
    own = diagonal_of_core(C)[blocks]
    entry = own + noise[alone] / scale[alone] ** 2
    half = np.where(noise[alone] > 0, own, entry / 2)
    noise[alone] += scale[alone] * (own - half) * scale[alone]
    C[(blocks,) * C.ndim] = half
    if not (noise > 0).all():
        return None
    return BlockFactorMatrix(p, *(x.astype(dtype) for x in (C, noise, scale)))
