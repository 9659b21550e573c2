"""The numbers within blocks: which of them exist, refinement, and products of aligned blocks.

The notation is that of :ref:`theory-aligned`.
"""

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.blocks.partition import Partition
from blockmat.cores import products
from blockmat.exceptions import PartitionMismatchError, ShapeError


def without_numbers_of_singletons(p: Partition, within: Array) -> Array:
    """Set the numbers of 1 x 1 blocks to 0, in place, and return the array.

    Raises `ShapeError` if D (k, k) is not zero between blocks of different sizes.
    """
    is_single = p.sizes == 1
    if within.ndim == 1:
        within[is_single] = 0
        return within
    wrong = np.argwhere((within != 0) & (p.sizes[:, None] != p.sizes))
    if len(wrong):
        a, b = wrong[0]
        raise ShapeError(
            f"within[{a}, {b}] is {within[a, b]}; expected 0, because blocks {a} and {b} have "
            f"different sizes, {p.sizes[a]} and {p.sizes[b]}, and cannot be aligned"
        )
    within[np.ix_(is_single, is_single)] = 0
    return within


def refined_within(within: Array, coarse: Partition, fine: Partition, parents: Array) -> Array:
    """Return d or D on a finer partition, whose block f lies in block ``parents[f]``.

    Raises `PartitionMismatchError` if two aligned blocks are cut at different places.
    """
    if within.ndim == 1:
        return within[parents]
    refined = np.zeros((fine.n_blocks, fine.n_blocks), dtype=within.dtype)
    positions = [coarse.positions[block].tobytes() for block in fine]
    for a, b in np.argwhere(within):
        fine_block_at = {positions[g]: g for g in np.flatnonzero(parents == b)}
        for f in np.flatnonzero(parents == a):
            g = fine_block_at.get(positions[f])
            if g is None:
                raise PartitionMismatchError(
                    f"partition breaks up the p <-> p pairs of the aligned blocks {a} and {b}; "
                    f"split both at the same places"
                )
            refined[f, g] = within[a, b]
    return refined


def aligned_product(p: Partition, x: Array, within: Array, shift: Array) -> Array:
    """Return D applied to x (n,) or (n, m), plus the number or row of `shift` of each block."""
    x = np.ascontiguousarray(x, dtype=shift.dtype)
    result = p.expand(shift)
    for blocks, variables in p.size_classes:
        square = within[np.ix_(blocks, blocks)].astype(shift.dtype, copy=False)
        if p.is_contiguous and blocks[-1] - blocks[0] == len(blocks) - 1:
            span, shape = slice(variables[0, 0], variables[-1, -1] + 1), (len(blocks), -1)
            products.add_product(square, x[span].reshape(shape), result[span].reshape(shape))
        else:
            result[variables] += np.tensordot(square, x[variables], 1)
    return result
