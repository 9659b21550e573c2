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
from blockmat.cores import pair
from blockmat.cores.arrays import as_square_core, entries_of_core
from blockmat.cores.scale import exponent_of, largest_of, times_power
from blockmat.matrices.block_constant import BlockConstantMatrix, trusted_matrix
from blockmat.matrices.block_factor import BlockFactorMatrix
from blockmat.matrices.dispatch import of_several_types
from blockmat.matrices.low_rank import BlockPlusLowRank
from blockmat.matrices.operator import elementwise
from blockmat.matrices.scaled import ScaledBlockMatrix
from blockmat.matrices.stored_pair import of_pair, stored_values

SquareMatrix = BlockConstantMatrix | ScaledBlockMatrix | BlockFactorMatrix | BlockPlusLowRank


class Structured:
    """A matrix ``S B S + diag(noise) + V C V^T`` in double precision, S diagonal.

    B is constant on blocks, with numbers of its own on paired entries. The largest number of S and
    of V is near 1; a power of two goes from them to B and C.

    Attributes
    ----------
    partition : Partition
        The blocks.
    values : ndarray, shape (k, k) or (k,)
        The numbers of B off the paired entries, or those of the diagonal blocks if the others are zero.
    within : ndarray, shape (k,) or (k, k)
        What paired entries of B have on top of them.
    block : BlockConstantMatrix or None
        B, unless the matrix is a BlockFactorMatrix.
    """

    def __init__(self, matrix: SquareMatrix) -> None:
        double: Any = matrix.astype(accumulator_dtype(matrix.dtype))
        n = matrix.shape[0]
        self.scale, self.noise = np.ones(n), np.zeros(n)
        self.factor, self.core = np.zeros((n, 0)), np.zeros((0, 0))
        if isinstance(double, BlockPlusLowRank):
            self.factor, exponent = _near_one(double.factor)
            self.core, double = times_power(double.core, 2 * exponent), double.base
        self.partition: Partition = double.partition
        self.block: BlockConstantMatrix | None = None
        if isinstance(double, BlockFactorMatrix):
            self.scale, exponent = _near_one(double.loadings)
            self.noise = double.noise
            self.values = times_power(double.covariance, 2 * exponent)
            self.within = np.zeros(self.partition.n_blocks)
            return
        exponent = 0
        if isinstance(double, ScaledBlockMatrix):
            self.scale, exponent = _near_one(double.scale)
            double = double.matrix
        self.block = elementwise(double, lambda x: times_power(x, 2 * exponent), double.dtype)
        self.values, self.within = stored_values(self.block), self.block.within

    @property
    def is_aligned(self) -> bool:
        """Whether blocks of the same size have paired entries."""
        return self.within.ndim == 2

    @property
    def is_block_diagonal(self) -> bool:
        """Whether all entries between different blocks are zero by the structure."""
        return self.values.ndim == 1 and not self.factor.size

    @property
    def largest(self) -> float:
        """A bound on the size of the entries."""
        low_rank = self.factor.shape[1] ** 2 * largest_of(self.core)
        parts = map(largest_of, (self.values, self.within, self.noise))
        return float(sum(parts) + low_rank)

    def in_unit(self, exponent: int) -> "Structured":
        """Return the matrix in a unit of ``2**exponent``."""
        scaled = copy(self)
        for name in ("values", "within", "noise", "core"):
            setattr(scaled, name, times_power(getattr(self, name), -exponent))
        return scaled

    def entries(self, i: Array, j: Array) -> Array:
        """Return the entries in rows i and columns j, which broadcast."""
        found: Array = self.off_pairs(i, j) + self.on_pairs(i, j)
        return found

    def off_pairs(self, i: Array, j: Array) -> Array:
        """Return what the entries would be if pairs had the number of their block."""
        low_rank: Array = ((self.factor @ self.core)[i] * self.factor[j]).sum(axis=-1)
        return self._of_blocks(i, j) + low_rank

    def grid(self, rows: Array, columns: Array) -> Array:
        """Return the same for all entries in these rows and columns."""
        low_rank: Array = (self.factor @ self.core)[rows] @ self.factor[columns].T
        return self._of_blocks(rows[:, None], columns) + low_rank

    def on_pairs(self, i: Array, j: Array) -> Array:
        """Return what paired entries have on top of the number of the block, and others zero."""
        p, is_diagonal = self.partition, i == j
        if self.is_aligned:
            is_pair = p.positions[i] == p.positions[j]
            within = self.within[p.labels[i], p.labels[j]] * is_pair
        else:
            within = self.within[p.labels[i]] * is_diagonal
        found: Array = self.scale[i] * within * self.scale[j] + self.noise[i] * is_diagonal
        return found

    def _of_blocks(self, i: Array, j: Array) -> Array:
        """Return the numbers of the blocks in S B S."""
        p = self.partition
        # Scale by scale: the product of two may overflow where the entry does not.
        numbers = entries_of_core(self.values, p.labels[i], p.labels[j])
        found: Array = self.scale[i] * numbers * self.scale[j]
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
        kernel = np.zeros((k + r, k + r), dtype=np.result_type(self.values, self.core))
        kernel[:k, :k], kernel[k:, k:] = as_square_core(self.values), self.core
        return kernel

    @property
    def is_block_constant(self) -> bool:
        """Whether the matrix is B."""
        is_alone = self.block is not None and not len(self.core)
        return is_alone and bool((self.scale == 1).all())


def distance(S: Structured, T: Structured) -> float:
    """Return the Frobenius norm of S - T, as a sum of squares; T is block-constant.

    On the blocks of both partitions together, F has the means ``mu`` and deviations from them,
    with the Gram matrix G. Means of the difference, means times deviations, and products of
    deviations are orthogonal. Paired entries differ from the other ones of their block: they
    are taken out and put in one by one.
    """
    if S.is_block_constant and S.partition.same_blocks(T.partition):
        values, within = (
            pair.sum_of_cores(S.values, -T.values),
            pair.sum_of_cores(S.within, -T.within),
        )
        between = of_pair(pair.between_of_values, values, within, S.partition.sizes)
        return float(trusted_matrix(S.partition, between, within, between.dtype).norm())
    p = S.partition.meet(T.partition)
    first = p.order[p.offsets[:-1]]  # a member of each block
    parents, others = S.partition.labels[first], T.partition.labels[first]
    k, sizes, K = S.partition.n_blocks, p.sizes, S.kernel
    scale_means, factor_means = p.block_means(S.scale), p.block_means(S.factor)
    mu = np.zeros((p.n_blocks, len(K)))
    mu[np.arange(p.n_blocks), parents] = scale_means
    mu[:, k:] = factor_means
    e, V = S.scale - p.expand(scale_means), S.factor - p.expand(factor_means)
    gram = np.zeros(K.shape)
    gram[:k, :k] = np.diag(block_sums(S.partition, e**2))
    gram[:k, k:] = block_sums(S.partition, e[:, None] * V)
    gram[k:, :k] = gram[:k, k:].T
    gram[k:, k:] = V.T @ V
    means = mu @ K @ mu.T - entries_of_core(T.values, others[:, None], others)
    i, j = pairs_of(S, T)
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


@of_several_types
def frobenius_norm(A: SquareMatrix) -> float:
    """Return the Frobenius norm: the `distance` from zero."""
    S = Structured(A)
    unit = exponent_of(S.largest)
    p = S.partition
    zero = Structured(BlockConstantMatrix(p, np.zeros(p.n_blocks)))
    S = S.in_unit(unit)
    size = _norm_of_independent_blocks(S) if S.values.ndim == 1 else distance(S, zero)
    return float(times_power(np.float64(size), unit))


def _norm_of_independent_blocks(S: Structured) -> float:
    """Return the Frobenius norm if the other blocks of B are zero.

    It needs no core (k, k). The products with V C V^T round relative to the parts of the sum.
    """
    p, every, squares = S.partition, np.arange(S.partition.n), S.scale**2
    off_diagonal = block_sums(p, squares) ** 2 - block_sums(p, squares**2)
    total = _squares(S.entries(every, every)).sum() + _squares(S.values) @ off_diagonal
    if S.factor.size:
        V, C = S.factor, S.core
        low_rank = ((V @ C) * V).sum(axis=1)  # the diagonal of V C V^T
        sums, image = block_sums(p, S.scale[:, None] * V), C @ (V.T @ V)
        total += 2 * S.values @ ((sums @ C) * sums).sum(axis=1) + (image * image.T).sum()
        total -= low_rank @ (2 * S.values[p.labels] * squares + low_rank)
    return float(np.sqrt(max(total, 0.0)))


def pairs_of(*matrices: Structured) -> tuple[Array, Array]:
    """Return the rows and columns of the entries that one of the matrices pairs, by rows."""
    every = np.arange(matrices[0].partition.n)
    places = [every * (len(every) + 1)]
    for matrix in matrices:
        if matrix.is_aligned:
            for _, rows in matrix.partition.size_classes:
                places.append((rows[:, None] * len(every) + rows).ravel())
    if len(places) == 1:
        return every, every
    ordered = np.sort(np.concatenate(places))
    i, j = np.divmod(ordered[np.diff(ordered, prepend=-1) > 0], len(every))
    return i, j


def _own(a: Array, b: Array) -> Array:
    """Return the diagonal of ``a @ b``."""
    own: Array = np.real(np.einsum("fx,xf->f", a, b))
    return own


def _squares(x: Array) -> Array:
    squares: Array = x.real**2 + x.imag**2
    return squares


def _near_one(x: Array) -> tuple[Array, int]:
    exponent = int(np.frexp(largest_of(x))[1])
    return times_power(x, -exponent), exponent
