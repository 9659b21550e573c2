"""Numba kernels of the search for blocks of one factor each.

The rules of `blockmat.blocks.kernels` apply here too.
"""

from blockmat.blocks.jit import jit

_TILE = 256  # samples whose sums of all blocks fit into cache


@jit
def sum_weighted_rows(x, weights, labels, sums):
    """``sums[b] = sum of weights[i] * x[i]`` over block b, for x (n, m) and sums (k, m)."""
    sums[:] = 0
    for tile in range(0, x.shape[1], _TILE):
        tiled = slice(tile, tile + _TILE)
        for i in range(x.shape[0]):
            row, total, w = x[i, tiled], sums[labels[i], tiled], weights[i]
            for j in range(row.shape[0]):
                total[j] += w * row[j]


@jit
def multiply_own_rows(x, sums, labels, out):
    """``out[i] = x[i] @ sums[labels[i]]`` for x (n, m) and sums (k, m)."""
    for i in range(x.shape[0]):
        row, other, total = x[i], sums[labels[i]], out.dtype.type(0)
        for j in range(row.shape[0]):
            total += row[j] * other[j]
        out[i] = total
