"""Entries and distances of square matrices with structure, in closed form.

Every one is a diagonal plus F K F^H, with k columns of F for the scales of the variables in the
blocks and r for a part of low rank, plus what aligned blocks have on their paired entries.
"""

from copy import copy
from typing import Any

import numpy as np

from blockmat.blocks.checks import Array, accumulator_dtype
from blockmat.blocks.partition import Partition
from blockmat.blocks.passes import block_sums
from blockmat.cores.arrays import entries_of_core
from blockmat.cores.scale import largest_of, times_power
from blockmat.matrices.block_constant import BlockConstantMatrix
from blockmat.matrices.entries import entries
from blockmat.matrices.low_rank import BlockPlusLowRank
from blockmat.matrices.operator import elementwise
from blockmat.matrices.scaled import ScaledBlockMatrix
from blockmat.matrices.stored_pair import stored_values

SquareMatrix = BlockConstantMatrix | ScaledBlockMatrix | BlockPlusLowRank


class Structured:
    """A matrix ``S B S + V C V^T`` in double precision, B block-constant and S diagonal.

    The largest number of S and of V is near 1; a power of two goes from them to B and C.
    """

    def __init__(self, matrix: SquareMatrix) -> None:
        double: Any = matrix.astype(accumulator_dtype(matrix.dtype))
        self.scale, self.factor = np.ones(matrix.shape[0]), np.zeros((matrix.shape[0], 0))
        self.core = np.zeros((0, 0))
        if isinstance(double, BlockPlusLowRank):
            self.factor, exponent = _near_one(double.factor)
            self.core, double = times_power(double.core, 2 * exponent), double.base
        exponent = 0
        if isinstance(double, ScaledBlockMatrix):
            self.scale, exponent = _near_one(double.scale)
            double = double.matrix
        self.block: BlockConstantMatrix = _times_power(double, 2 * exponent)
        self.partition = double.partition

    @property
    def largest(self) -> float:
        """A bound on the size of the entries."""
        B = self.block
        low_rank = self.factor.shape[1] ** 2 * largest_of(self.core)
        return float(largest_of(stored_values(B)) + largest_of(B.within) + low_rank)

    def in_unit(self, exponent: int) -> "Structured":
        """Return the matrix in a unit of ``2**exponent``."""
        scaled = copy(self)
        scaled.block = _times_power(self.block, -exponent)
        scaled.core = times_power(self.core, -exponent)
        return scaled

    def entries(self, i: Array, j: Array) -> Array:
        """Return the entries in rows i and columns j, which broadcast."""
        return self._with_low_rank(entries(self.block, i, j), i, j)

    def off_pairs(self, i: Array, j: Array) -> Array:
        """Return what the entries would be if pairs had the number of their block."""
        labels, values = self.partition.labels, stored_values(self.block)
        return self._with_low_rank(entries_of_core(values, labels[i], labels[j]), i, j)

    def _with_low_rank(self, block: Array, i: Array, j: Array) -> Array:
        # Scale by scale: the product of two may overflow where the entry does not.
        low_rank = ((self.factor @ self.core)[i] * self.factor[j]).sum(axis=-1)
        found: Array = self.scale[i] * block * self.scale[j] + low_rank
        return found

    def traces(self, p: Partition, aligned: bool) -> Array:
        """Sum the paired entries over the blocks of another partition."""
        every = np.arange(p.n)
        own = block_sums(p, self.entries(every, every))
        if not aligned:
            return own
        traces = np.diag(own)
        for members, rows in p.size_classes:
            for left, variables in zip(members, rows, strict=True):
                traces[left, members] = self.entries(variables, rows).sum(axis=1)
        return traces

    @property
    def kernel(self) -> Array:
        """K, for the columns of S in the blocks and then those of V."""
        k, r = self.partition.n_blocks, len(self.core)
        values = self.block.values
        kernel = np.zeros((k + r, k + r), dtype=np.result_type(values, self.core))
        kernel[:k, :k], kernel[k:, k:] = values, self.core
        return kernel

    @property
    def is_block_constant(self) -> bool:
        """Whether the matrix is the block-constant matrix inside."""
        return not len(self.core) and bool((self.scale == 1).all())


def distance(S: Structured, T: Structured) -> float:
    """Return the Frobenius norm of S - T, as a sum of squares; T is block-constant.

    On the blocks of both partitions together, F has the means ``mu`` and deviations from them,
    with the Gram matrix G. Means of the difference, means times deviations, and products of
    deviations are orthogonal. Paired entries differ from the other ones of their block: they
    are taken out and put in one by one.
    """
    if S.is_block_constant and S.partition.same_blocks(T.partition):
        return float((S.block - T.block).norm())
    p = S.partition.meet(T.partition)
    first = p.order[p.offsets[:-1]]  # a member of each block
    parents, others = S.partition.labels[first], T.partition.labels[first]
    k, sizes = S.partition.n_blocks, p.sizes
    scale_means, factor_means = p.block_means(S.scale), p.block_means(S.factor)
    mu = np.zeros((p.n_blocks, len(S.kernel)))
    mu[np.arange(p.n_blocks), parents] = scale_means
    mu[:, k:] = factor_means
    e, V = S.scale - p.expand(scale_means), S.factor - p.expand(factor_means)
    gram = np.zeros((len(S.kernel),) * 2)
    gram[:k, :k] = np.diag(block_sums(S.partition, e**2))
    gram[:k, k:] = block_sums(S.partition, e[:, None] * V)
    gram[k:, :k] = gram[:k, k:].T
    gram[k:, k:] = V.T @ V
    K = S.kernel
    means = mu @ K @ mu.T - T.block.values[np.ix_(others, others)]
    i, j = _pairs(S.block, T.block)
    rows, cols = p.labels[i], p.labels[j]
    left_out = S.off_pairs(i, j) - T.off_pairs(i, j)
    put_in = S.entries(i, j) - T.entries(i, j)
    if gram.any():
        right, left = gram @ K.conj().T, gram @ K
        squares = float(sizes @ _squares(means) @ sizes)
        squares += float(sizes @ _own(mu @ K, right @ mu.T))
        squares += float(sizes @ _own(mu @ K.conj().T, left @ mu.T))
        squares += float(np.real((left * right.T).sum()))
        squares = max(squares - float(_squares(left_out).sum()), 0.0)
    else:
        counts = np.multiply.outer(sizes, sizes)
        np.subtract.at(counts, (rows, cols), 1)
        squares = float((counts * _squares(means)).sum())
    return float(np.sqrt(squares + float(_squares(put_in).sum())))


def _own(a: Array, b: Array) -> Array:
    """Return the diagonal of ``a @ b``."""
    own: Array = np.real(np.einsum("fx,xf->f", a, b))
    return own


def _squares(x: Array) -> Array:
    squares: Array = x.real**2 + x.imag**2
    return squares


def _pairs(*matrices: BlockConstantMatrix) -> tuple[Array, Array]:
    """Return the rows and columns of the entries that one of the matrices pairs."""
    n = matrices[0].shape[0]
    places = [np.arange(n) * (n + 1)]
    for matrix in matrices:
        if matrix.is_aligned:
            for _, rows in matrix.partition.size_classes:
                places.append((rows[:, None] * n + rows).ravel())
    i, j = np.divmod(np.unique(np.concatenate(places)), n)
    return i, j


def _near_one(x: Array) -> tuple[Array, int]:
    exponent = int(np.frexp(largest_of(x))[1])
    return times_power(x, -exponent), exponent


def _times_power(A: BlockConstantMatrix, exponent: int) -> Any:
    return elementwise(A, lambda stored: times_power(stored, exponent), A.dtype)
