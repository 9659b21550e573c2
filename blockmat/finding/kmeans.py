"""Block k-means: variables move to the block under whose model they are best explained.

What is best is said by an objective: the Frobenius loss of the block-constant matrix, or the
Gaussian likelihood of samples with a block-constant correlation matrix.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
from scipy.linalg import pinvh

from blockmat.blocks.checks import Array
from blockmat.blocks.partition import Partition
from blockmat.finding.similarity import Similarity

_MAX_SWEEPS = 30
_SMALLEST = 1e-10  # variance that cannot be explained
# Of a loss, in units of eps times the squared norm. It is a difference of two sums that are added
# pairwise: with 18 + log2(n^2 / 128) additions of eps / 2 each, below 22 for n = 1e5, for the squares,
# and twice as much for sums over columns and then over rows, whose squares double it again.
_ROUNDING = 128


class Blocks(NamedTuple):
    """The numbers in the blocks, and what each variable has to do with each block.

    ``values`` (k, k) are the means off the diagonal, ``diagonal`` (k,) those on it, ``own`` (n,)
    is the diagonal itself, and ``sums`` (n, k) are the sums of rows over blocks without it. A
    block of one has no number off its diagonal; it gets the mean of those that have one.
    """

    labels: Array
    sizes: Array
    own: Array
    sums: Array
    values: Array
    diagonal: Array

    @property
    def others(self) -> Array:
        """How many variables each sum is over, (n, k)."""
        counts = np.tile(self.sizes, (len(self.labels), 1))
        counts[np.arange(len(self.labels)), self.labels] -= 1
        return counts


def blocks_of(similarity: Similarity, labels: Array, k: int) -> Blocks:
    """Measure a partition into k blocks, none of them empty."""
    p = Partition(np.bincount(labels, minlength=k), labels)
    sizes = p.sizes.astype(np.float64)
    sums = similarity.sums(p)
    sums[np.arange(similarity.n), labels] -= similarity.diagonal
    values = p.block_sums(sums) / np.maximum(n_pairs(sizes), 1)
    several = sizes > 1
    known = np.diag(values)[several]
    typical = known.mean() if len(known) else 0.0
    values[np.diag_indices(k)] = np.where(several, np.diag(values), typical)
    own = similarity.diagonal
    return Blocks(labels, sizes, own, sums, values, p.block_means(own))


def n_pairs(sizes: Array) -> Array:
    """Return how many numbers off the diagonal each block has, (k, k)."""
    pairs: Array = np.outer(sizes, sizes) - np.diag(sizes)
    return pairs


class Objective(Protocol):
    """What block k-means makes small."""

    n_observations: float

    def loss(self, blocks: Blocks) -> float:
        """Return the loss of a partition."""

    def costs(self, blocks: Blocks) -> Array:
        """Return what each variable would cost in each block, (n, k), others staying."""

    def deviance(self, blocks: Blocks) -> float:
        """Return minus twice the log-likelihood, but for a constant."""


class FrobeniusLoss:
    """The squared distance of a matrix to its block-constant fit.

    Parameters
    ----------
    squares : float
        The squared norm of the matrix.
    n : int
        The number of its rows.
    exponent : int
        Of the unit ``2**exponent`` that the matrix is in.
    """

    def __init__(self, squares: float, n: int, exponent: int = 0) -> None:
        self.squares, self.exponent = squares, exponent
        self.n_observations = n * (n + 1) / 2

    def loss(self, blocks: Blocks) -> float:
        """Return ``|A|^2 - |PA|^2``."""
        n = blocks.sizes
        explained = (blocks.values**2 * n_pairs(n)).sum() + (n * blocks.diagonal**2).sum()
        return max(self.squares - float(explained), 0.0)

    def costs(self, blocks: Blocks) -> Array:
        """Return the change of the loss, but for a constant per variable."""
        off = blocks.others @ blocks.values**2 - 2 * blocks.sums @ blocks.values
        on = blocks.diagonal**2 - 2 * np.outer(blocks.own, blocks.diagonal)
        costs: Array = 2 * off + on
        return costs

    def deviance(self, blocks: Blocks) -> float:
        """Return that of independent Gaussian residuals with the variance that fits."""
        double = np.finfo(np.float64)
        floor = max(_ROUNDING * double.eps * self.squares, double.tiny)
        mean_square = max(self.loss(blocks), floor) / self.n_observations
        log = np.log(mean_square) + 2 * self.exponent * np.log(2)
        return float(self.n_observations * log)


class GaussianLoss:
    """Minus twice the Gaussian log-likelihood of standardized samples, per sample.

    Parameters
    ----------
    n_samples : int
        How many there are.
    """

    def __init__(self, n_samples: int) -> None:
        self.n_observations = float(n_samples)

    def loss(self, blocks: Blocks) -> float:
        """Return ``logdet M + sum (n_b - 1) log d_b``, at the maximum for these blocks."""
        n = blocks.sizes
        within = np.maximum(blocks.diagonal - np.diag(blocks.values), _SMALLEST)
        between = np.sqrt(np.outer(n, n)) * blocks.values + np.diag(within)
        # No variance is below the smallest, of means neither: what is left of them is rounding.
        variances = np.maximum(np.linalg.eigvalsh(between), _SMALLEST)
        return float(np.log(variances).sum() + ((n - 1) * np.log(within)).sum())

    def costs(self, blocks: Blocks) -> Array:
        """Return minus twice the log-likelihood of each variable given the block means.

        In block b a variable is predicted by ``beta_b @ means``, ``beta_b = V^-1 C_b`` for the
        covariances V of the means and C_b of the means with a member of b, and the variance
        ``v_b = d_b - C_b V^-1 C_b`` is left.
        """
        own = np.diag(blocks.values)
        of_means = blocks.values + np.diag((blocks.diagonal - own) / blocks.sizes)
        beta = blocks.values @ pinvh(of_means)
        left = np.maximum(blocks.diagonal - (beta * blocks.values).sum(1), 1e-3)
        others = blocks.others
        with_means = blocks.sums / np.maximum(others, 1)
        alone = np.flatnonzero(others[np.arange(len(others)), blocks.labels] == 0)
        with_means[alone, blocks.labels[alone]] = own[blocks.labels[alone]]
        explained = 2 * with_means @ beta.T - ((beta @ of_means) * beta).sum(1)
        costs: Array = np.log(left) + (blocks.own[:, None] - explained) / left
        return costs

    def deviance(self, blocks: Blocks) -> float:
        """Return the loss of all samples."""
        return self.n_observations * self.loss(blocks)


class Solution(NamedTuple):
    """Blocks, the signs that variables are multiplied by, and the loss."""

    blocks: Blocks
    signs: Array | None
    loss: float


Assign = Callable[[Array], Array]


def refine(
    similarity: Similarity,
    labels: Array,
    k: int,
    objective: Objective,
    assign: "Assign | None" = None,
    signs: Array | None = None,
) -> Solution:
    """Move variables between k blocks, all at once, as long as the loss falls.

    Parameters
    ----------
    similarity : Similarity
        Of the variables.
    labels : ndarray of int, shape (n,)
        The blocks to start from.
    k : int
        How many there are.
    objective : Objective
        What to make small.
    assign : callable, optional
        Chooses blocks by their costs; by default `cheapest`.
    signs : ndarray, shape (n,), optional
        Signs to start from, if they may change too.
    """

    def measure(labels: Array, signs: Array | None) -> Solution:
        seen = similarity if signs is None else similarity.flipped(signs)
        blocks = blocks_of(seen, labels, k)
        return Solution(blocks, signs, objective.loss(blocks))

    assign = assign or cheapest
    best = measure(labels, signs)
    for _ in range(_MAX_SWEEPS):
        blocks, signs, lowest = best
        costs = objective.costs(blocks)
        if signs is None:
            moved = measure(assign(costs), None)
        else:
            turned = objective.costs(blocks._replace(sums=-blocks.sums))
            labels = assign(np.minimum(costs, turned))
            chosen = np.arange(len(labels)), labels
            moved = measure(labels, np.where(turned[chosen] < costs[chosen], -signs, signs))
        if not moved.loss < lowest:
            break
        best = moved
    return best


def cheapest(costs: Array) -> Array:
    """Return the cheapest block of each variable, with the dearest ones in blocks left empty."""
    n, k = costs.shape
    labels: Array = costs.argmin(axis=1)
    sizes = np.bincount(labels, minlength=k)
    dearest = costs[np.arange(n), labels]
    for b in np.flatnonzero(sizes == 0):
        i = int(np.argmax(np.where(sizes[labels] > 1, dearest, -np.inf)))
        sizes[labels[i]] -= 1
        labels[i], sizes[b] = b, 1
    return labels


def cheapest_intervals(costs: Array) -> Array:
    """Return the cheapest blocks that are intervals, in order and none of them empty.

    The cost of the first i variables in the first b blocks is found for every i, block by
    block, with where the b-th block begins.
    """
    n, k = costs.shape
    sums = np.vstack([np.zeros(k), np.cumsum(costs, axis=0)])
    best = np.where(np.arange(n + 1) == 0, 0.0, np.inf)
    begins = np.zeros((k, n + 1), dtype=np.intp)
    for b in range(k):
        before = best - sums[:, b]
        least = np.minimum.accumulate(before)
        where = np.maximum.accumulate(np.where(before == least, np.arange(n + 1), 0))
        begins[b, 1:] = where[:-1]
        best = np.concatenate([[np.inf], least[:-1] + sums[1:, b]])
    labels = np.zeros(n, dtype=np.intp)
    end = n
    for b in range(k - 1, -1, -1):
        labels[begins[b, end] : end] = b
        end = begins[b, end]
    return labels


def in_order(labels: Array) -> Partition:
    """Return the partition whose blocks are in the order of their first members."""
    _, first, codes = np.unique(labels, return_index=True, return_inverse=True)
    renamed = np.argsort(np.argsort(first))[codes]
    return Partition(np.bincount(renamed), renamed)
