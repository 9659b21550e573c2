"""divided: a square matrix with its rows and columns divided by the same numbers."""

from typing import Any

from blockmat.blocks.checks import Array
from blockmat.matrices.block_factor import BlockFactorMatrix
from blockmat.matrices.low_rank import BlockPlusLowRank
from blockmat.matrices.scaled import ScaledBlockMatrix


def divided(A: Any, scale: Array) -> Any:
    """Return ``S^-1 A S^-1``, where `scale` (n,) is the diagonal of S, without zeros."""
    if isinstance(A, BlockPlusLowRank):
        return BlockPlusLowRank(divided(A.base, scale), (A.factor.T / scale).T, A.core)
    if isinstance(A, ScaledBlockMatrix):
        return ScaledBlockMatrix(A.matrix, A.scale / scale)
    if isinstance(A, BlockFactorMatrix):
        return A.rescale(1 / scale)
    return ScaledBlockMatrix(A, 1 / scale)
