"""Eigenvalues of a symmetric block-constant matrix plus one of low rank.

The span of the block indicators and of the deviations of V in each block is invariant. On it the
matrix is small and dense. On the rest, deviations have the eigenvalues of the base
(:ref:`theory-scaled`).
"""

from typing import Any, NamedTuple

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.blocks.passes import block_sums
from blockmat.cores import pair
from blockmat.cores.arrays import as_square_core
from blockmat.cores.core import hermitian_part
from blockmat.matrices.block_constant import BlockConstantMatrix


class Reduced(NamedTuple):
    """A matrix in an orthonormal basis in which it is a direct sum.

    Parameters
    ----------
    matrix : ndarray, shape (q, q)
        The dense part.
    rest : ndarray, shape (m,)
        The other eigenvalues.
    multiplicities : ndarray of int, shape (m,)
        How often each occurs, at least once.
    """

    matrix: Array
    rest: Array
    multiplicities: Array


def reduced(base: BlockConstantMatrix, factor: Array, core: Array) -> Reduced:
    """Split ``B + V C V^T`` into a dense part of at most n rows and multiples of the identity.

    Blocks with the same within value share r columns for the deviations of V.
    """
    p, r = base.partition, len(core)
    values, triangles, dimensions = _deviations(base, factor)
    rest, group = np.unique(values, return_inverse=True)
    parts = []
    for number in range(len(rest)):
        rows = np.concatenate([triangles[c] for c in np.flatnonzero(group == number)])
        parts.append(rows if len(rows) <= r else np.linalg.qr(rows, mode="r"))
    means = pair.coordinates(block_sums(p, factor).T, p.sizes).T
    F = np.concatenate([means, *parts])
    n_rows, k = np.array([len(part) for part in parts], dtype=np.intp), p.n_blocks
    matrix = F @ core @ F.T
    matrix[:k, :k] += as_square_core(base.between)
    own = np.arange(k, len(F))
    matrix[own, own] += np.repeat(rest, n_rows)
    left = np.bincount(group, dimensions, len(rest)).astype(np.intp) - n_rows
    return Reduced(hermitian_part(matrix), rest[left > 0], left[left > 0])


def _deviations(base: BlockConstantMatrix, factor: Array) -> tuple[Array, list[Array], Array]:
    """Return the eigenvalues of deviations and V in the basis of each, with its dimension.

    Aligned blocks of one size are rotated by the eigenvectors of their part of D. A QR
    decomposition of the block indicator beside V gives an orthonormal basis of deviations, also
    where V has none.
    """
    p, triangles = base.partition, list[Array]()
    values, dimensions = [np.zeros(0)], [np.zeros(0, dtype=np.intp)]
    for members, rows in p.size_classes:
        m, size = rows.shape
        if size == 1:
            continue
        own, columns = base.within[members].astype(np.float64), factor[rows]
        if base.is_aligned:
            square = base.within[np.ix_(members, members)].astype(np.float64)
            own, rotation = np.linalg.eigh(hermitian_part(square))
            columns = np.tensordot(rotation.T, columns, 1)
        ones = np.full((m, size, 1), 1 / np.sqrt(size))
        triangle: Any = np.linalg.qr(np.concatenate([ones, columns], axis=2), mode="r")
        values.append(own)
        triangles.extend(triangle[:, 1:, 1:])
        dimensions.append(np.full(m, size - 1))
    return np.concatenate(values), triangles, np.concatenate(dimensions)


def eigenvalues(small: Reduced) -> tuple[Array, Array]:
    """Return the eigenvalues, ascending, and how often each occurs."""
    own = np.linalg.eigvalsh(small.matrix)
    values = np.concatenate([own, small.rest])
    multiplicities = np.concatenate([np.ones(len(own), dtype=np.intp), small.multiplicities])
    ascending = np.argsort(values, kind="stable")
    return values[ascending], multiplicities[ascending]
