"""Block k-means: every variable moves to its cheapest block, as long as the loss falls."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.blocks.partition import Partition
from blockmat.finding.correlations.similarity import Similarity
from blockmat.finding.search.objectives import BlockStatistics, Objective, block_statistics

_MAX_SWEEPS = 30


class Solution(NamedTuple):
    """A partition with its statistics, the signs of the variables (n,) or None, and the loss."""

    blocks: BlockStatistics
    signs: Array | None
    loss: float

    @property
    def labels(self) -> Array:
        """The block of each variable, (n,)."""
        return self.blocks.labels


AssignBlocks = Callable[[Array], Array]  # from costs (n, k) to labels (n,)


def refine(
    similarity: Similarity,
    labels: Array,
    k: int,
    objective: Objective,
    assign: AssignBlocks | None = None,
    signs: Array | None = None,
) -> Solution:
    """Move all variables at once between k blocks, as long as the loss falls.

    `labels` (n,) are the blocks to start from, and `assign` chooses blocks by their costs; by
    default it is `cheapest`. If `signs` (n,) are given, signs change as well.
    """
    assign = assign or cheapest
    best = _solution(similarity, objective, labels, k, signs)
    for _ in range(_MAX_SWEEPS):
        blocks, signs, loss = best
        costs = objective.costs(blocks)
        if signs is None:
            moved = _solution(similarity, objective, assign(costs), k, None)
        else:
            flipped = objective.costs(blocks._replace(row_sums=-blocks.row_sums))
            labels = assign(np.minimum(costs, flipped))
            chosen = np.arange(len(labels)), labels
            signs = np.where(flipped[chosen] < costs[chosen], -signs, signs)
            moved = _solution(similarity, objective, labels, k, signs)
        if not moved.loss < loss:
            break
        best = moved
    return best


def _solution(
    similarity: Similarity, objective: Objective, labels: Array, k: int, signs: Array | None
) -> Solution:
    """Measure blocks and their loss."""
    signed = similarity if signs is None else similarity.with_signs(signs)
    blocks = block_statistics(signed, labels, k)
    return Solution(blocks, signs, objective.loss(blocks))


def cheapest(costs: Array) -> Array:
    """Return the cheapest block of each variable.

    A block that would be empty gets the variable that costs most where it is.
    """
    n, k = costs.shape
    labels: Array = costs.argmin(axis=1)
    sizes = np.bincount(labels, minlength=k)
    paid = costs[np.arange(n), labels]
    for b in np.flatnonzero(sizes == 0):
        i = int(np.argmax(np.where(sizes[labels] > 1, paid, -np.inf)))
        sizes[labels[i]] -= 1
        labels[i], sizes[b] = b, 1
    return labels


def cheapest_intervals(costs: Array) -> Array:
    """Return the cheapest k intervals in order, none of them empty, by dynamic programming.

    ``best[i]`` is the lowest cost of the first i variables in the blocks so far, and
    ``starts[b, i]`` is where block b then starts.
    """
    n, k = costs.shape
    sums = np.vstack([np.zeros(k), np.cumsum(costs, axis=0)])
    best = np.where(np.arange(n + 1) == 0, 0.0, np.inf)
    starts = np.zeros((k, n + 1), dtype=np.intp)
    for b in range(k):
        before = best - sums[:, b]
        least = np.minimum.accumulate(before)
        where = np.maximum.accumulate(np.where(before == least, np.arange(n + 1), 0))
        starts[b, 1:] = where[:-1]
        best = np.concatenate([[np.inf], least[:-1] + sums[1:, b]])
    labels = np.zeros(n, dtype=np.intp)
    end = n
    for b in range(k - 1, -1, -1):
        labels[starts[b, end] : end] = b
        end = starts[b, end]
    return labels


def in_order(labels: Array) -> Partition:
    """Return the partition whose blocks are in the order of their first variables."""
    _, first, codes = np.unique(labels, return_index=True, return_inverse=True)
    renamed = np.argsort(np.argsort(first))[codes]
    return Partition(np.bincount(renamed), renamed)
