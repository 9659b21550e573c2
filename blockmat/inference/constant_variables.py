"""Constant variables in a covariance matrix: a block of their own, of zeros."""

from typing import Any

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.blocks.partition import Partition
from blockmat.fitting.factors_and_blocks import Operator
from blockmat.inference.block_covariance import Estimate
from blockmat.matrices.block_constant import BlockConstantMatrix
from blockmat.matrices.low_rank import BlockPlusLowRank
from blockmat.matrices.scaled import ScaledBlockMatrix

_NAME = "constant"  # of the block


def with_constants(found: Estimate, varying: Array, constants: Array) -> Estimate:
    """Add variables of variance zero to an estimate.

    `varying` (n,) tells which variables the estimate has, and `constants` (n,) has the values of
    the others. They are the last block.
    """
    p = _partition(found.partition, varying)
    location = constants.astype(found.location.dtype)
    location[varying] = found.location
    signs = np.ones(len(varying), dtype=np.intp)
    signs[varying] = found.signs
    operator = _operator(found.operator, p, varying)
    return Estimate(location, p, signs, ~varying, found.shrinkage, operator)


def _partition(p: Partition, varying: Array) -> Partition:
    labels = np.full(len(varying), p.n_blocks)
    labels[varying] = p.labels
    name = _NAME
    while name in p.names:
        name += "_"
    has_names = p.names != tuple(range(p.n_blocks))
    names = (*p.names, name if has_names else p.n_blocks)
    return Partition([*p.sizes, (~varying).sum()], labels, names)


def _operator(A: Any, p: Partition, varying: Array) -> Operator:
    """Return a covariance matrix with rows and columns of zeros."""
    if isinstance(A, BlockPlusLowRank):
        factor = np.zeros((len(varying), A.factor.shape[1]), A.dtype)
        factor[varying] = A.factor
        return BlockPlusLowRank(_operator(A.base, p, varying), factor, A.core)
    if isinstance(A, ScaledBlockMatrix):
        scale = np.ones(len(varying), A.dtype)
        scale[varying] = A.scale
        return ScaledBlockMatrix(_zero_block(A.matrix, p), scale)
    return _zero_block(A, p)


def _zero_block(A: BlockConstantMatrix, p: Partition) -> BlockConstantMatrix:
    between = np.zeros((p.n_blocks, p.n_blocks), A.dtype)
    between[:-1, :-1] = A.between
    return BlockConstantMatrix(p, between, np.append(A.within, A.dtype.type(0)))
