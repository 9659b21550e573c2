"""The numbers within blocks: which of them exist, refinement, and products of aligned blocks.

The notation is that of :ref:`theory-aligned`.
"""

import numpy as np
from scipy.sparse import csr_array

from blockmat.blocks.checks import Array
from blockmat.blocks.partition import Partition
from blockmat.blocks.subset import Subset
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


def within_of_part(within: Array, whole: Partition, part: Subset) -> Array:
    """Return d or D of some of the variables; D is 0 where blocks have no pairs left.

    Raises `PartitionMismatchError` if two aligned blocks keep some pairs and break others.
    """
    kept = within[part.blocks] if within.ndim == 1 else within[np.ix_(part.blocks, part.blocks)]
    if within.ndim == 1 or not kept.any():
        return kept
    positions = whole.positions[part.variables]
    numbers: dict[bytes, int] = {}
    members = [positions[block].tobytes() for block in part.partition]
    codes = np.array([numbers.setdefault(key, len(numbers)) for key in members])
    is_same = codes[:, None] == codes
    is_broken = (kept != 0) & ~is_same & _have_pairs(whole, part, part)
    _require_no_pairs(is_broken, part, part, "keep the same members of both, in the same order")
    return np.where(is_same, kept, 0)


def require_no_pairs_between(within: Array, whole: Partition, rows: Subset, cols: Subset) -> None:
    """Raise `PartitionMismatchError` if the p-th members of aligned blocks are in both parts."""
    if within.ndim == 1:
        return
    is_split = (within[np.ix_(rows.blocks, cols.blocks)] != 0) & _have_pairs(whole, rows, cols)
    _require_no_pairs(is_split, rows, cols, "keep the p-th members of both in one part")


def _have_pairs(whole: Partition, rows: Subset, cols: Subset) -> Array:
    """Tell for blocks of both parts whether the p-th member of one meets that of the other."""
    members = [
        csr_array((np.ones(len(x.variables)), (x.partition.labels, whole.positions[x.variables])),
                  shape=(x.partition.n_blocks, int(whole.sizes.max())))
        for x in (rows, cols)
    ]  # fmt: skip
    found: Array = (members[0] @ members[1].T).toarray() > 0
    return found


def _require_no_pairs(is_wrong: Array, rows: Subset, cols: Subset, cure: str) -> None:
    wrong = np.argwhere(is_wrong)
    if len(wrong):
        a, b = rows.blocks[wrong[0, 0]], cols.blocks[wrong[0, 1]]
        raise PartitionMismatchError(
            f"the part breaks up the p <-> p pairs of the aligned blocks {a} and {b}; {cure}, or "
            f"split the blocks with refine first"
        )


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
