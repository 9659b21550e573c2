"""Block k-means: variables move to the block under whose model they are best explained.

What is best is said by an objective: the Frobenius loss of the block-constant matrix, or the
Gaussian likelihood of samples with a block-constant correlation matrix.
"""

from typing import NamedTuple, Protocol

import numpy as np
from scipy.linalg import pinvh

from blockmat._similarity import Similarity
from blockmat._validation import Array
from blockmat.partition import Partition

_MAX_SWEEPS = 30
_SMALLEST = 1e-10  # variance that cannot be explained


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

    def loss(self, blocks: Blocks) -> float:
        """Return the loss of a partition."""

    def costs(self, blocks: Blocks) -> Array:
        """Return what each variable would cost in each block, (n, k), others staying."""

    def criterion(self, blocks: Blocks) -> float:
        """Return what the best number of blocks makes smallest."""


def penalty(blocks: Blocks, n_observations: float) -> float:
    """Return what the integrated completed likelihood adds to minus twice the log-likelihood.

    That is the logarithm of the number of observations for each number of the model, and minus
    twice the log-likelihood of the labels, each drawn by the sizes of the blocks.
    """
    sizes, k = blocks.sizes, len(blocks.sizes)
    n_parameters = k * (k + 1) / 2 + (sizes > 1).sum()
    entropy = (sizes * np.log(sizes.sum() / sizes)).sum()
    return float(np.log(n_observations) * n_parameters + 2 * entropy)


class FrobeniusLoss:
    """The squared distance of a matrix to its block-constant fit.

    Parameters
    ----------
    squares : float
        The squared norm of the matrix.
    """

    def __init__(self, squares: float) -> None:
        self.squares = squares

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

    def criterion(self, blocks: Blocks) -> float:
        """Return the integrated completed likelihood of independent Gaussian residuals."""
        n = blocks.sizes.sum()
        numbers = n * (n + 1) / 2
        double = np.finfo(np.float64)
        floor = max(double.eps * self.squares, double.tiny)
        fit = numbers * np.log(max(self.loss(blocks), floor) / numbers)
        return float(fit) + penalty(blocks, numbers)


class GaussianLoss:
    """Minus twice the Gaussian log-likelihood of standardized samples, per sample.

    Parameters
    ----------
    n_samples : int
        How many there are.
    """

    def __init__(self, n_samples: int) -> None:
        self.n_samples = n_samples

    def loss(self, blocks: Blocks) -> float:
        """Return ``logdet M + sum (n_b - 1) log d_b``, at the maximum for these blocks."""
        n = blocks.sizes
        within = np.maximum(blocks.diagonal - np.diag(blocks.values), _SMALLEST)
        between = np.sqrt(np.outer(n, n)) * blocks.values + np.diag(within)
        sign, logdet = np.linalg.slogdet(between)
        return float(logdet + ((n - 1) * np.log(within)).sum()) if sign > 0 else np.inf

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

    def criterion(self, blocks: Blocks) -> float:
        """Return the integrated completed likelihood."""
        return self.n_samples * self.loss(blocks) + penalty(blocks, self.n_samples)


def refine(similarity: Similarity, labels: Array, k: int, objective: Objective) -> Blocks:
    """Move variables between k blocks, all at once, as long as the loss falls."""
    blocks = blocks_of(similarity, labels, k)
    lowest = objective.loss(blocks)
    for _ in range(_MAX_SWEEPS):
        moved = blocks_of(similarity, _none_empty(objective.costs(blocks)), k)
        loss = objective.loss(moved)
        if not loss < lowest:
            break
        blocks, lowest = moved, loss
    return blocks


def _none_empty(costs: Array) -> Array:
    """Return the cheapest block of each variable, with the dearest ones in blocks left empty."""
    n, k = costs.shape
    labels: Array = costs.argmin(axis=1)
    sizes = np.bincount(labels, minlength=k)
    dearest = costs[np.arange(n), labels]
    for b in np.flatnonzero(sizes == 0):
        i = int(np.where(sizes[labels] > 1, dearest, -np.inf).argmax())
        sizes[labels[i]] -= 1
        labels[i], sizes[b] = b, 1
    return labels
