"""Split one block and merge two others: moves that leave a poor local optimum of the labels."""

from typing import NamedTuple

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.blocks.partition import Partition
from blockmat.finding.correlations.similarity import Correlations
from blockmat.finding.factor_blocks.one_factor import OneFactorModel

_POWER_STEPS = 12


def residual_directions(R: Correlations, model: OneFactorModel) -> tuple[Array, Array]:
    """Return the leading residual direction of each block, and what a factor along it gains.

    The directions (n,) are leading eigenvectors of the residual correlations within each block,
    off their diagonals, found by power iteration from the variable with the most noise. An eigenvalue
    of w gains ``w - log(1 + w)``.
    """
    p = model.partition
    root, identity = np.sqrt(model.noise), np.eye(p.n_blocks)
    u = model.loadings / root
    v = _one_of_each_block(p, model.noise)
    values = np.zeros(p.n_blocks)
    for step in range(_POWER_STEPS + 1):
        lengths = np.sqrt(p.block_sums(v * v))
        v = v / p.expand(np.maximum(lengths, np.finfo(np.float64).tiny))
        if step == _POWER_STEPS:
            break
        w = v / root
        products = (R.weighted_sums(p, w).own(identity) - w) / root
        products -= u * p.expand(p.block_sums(u * v)) - u * u * v
        values = p.block_sums(v * products)
        v = products + v  # the shift by one favours positive eigenvalues
    values = np.maximum(values, 0)
    return v, np.where(model.sizes > 1, values - np.log1p(values), -1)


def _one_of_each_block(p: Partition, values: Array) -> Array:
    """Return one for the variable of each block with the largest value, and zero for others (n,)."""
    order = np.lexsort((values, p.labels))
    chosen = np.zeros(p.n)
    chosen[order[np.cumsum(p.sizes) - 1]] = 1
    return chosen


def split(labels: Array, block: int, direction: Array, new: int) -> Array:
    """Return labels with the part of a block that lies on the positive side as a block of its own."""
    members = np.flatnonzero(labels == block)
    positive = direction[members] > 0
    if positive.all() or not positive.any():
        half = np.argsort(direction[members], kind="stable")[len(members) // 2 :]
        positive = np.isin(np.arange(len(members)), half)
    result = labels.copy()
    result[members[positive]] = new
    return result


def merge_costs(precision: Array, correlations: Array) -> Array:
    """Return about how much the loss rises if two blocks share one factor, (k, k).

    It is the divergence of the weighted sums of both blocks under the model from those with equal
    factors. `correlations` (k, k) are those of the factors, not negative. The diagonal is infinite.
    """
    x, y, r = precision[:, None], precision, correlations
    trace = 2 + x + y - (x * (1 + x) + y * (1 + y) + 2 * x * y * r) / (1 + x + y)
    costs: Array = np.log1p(x + y) + trace - 2 - np.log((1 + x) * (1 + y) - r * r * x * y)
    np.fill_diagonal(costs, np.inf)
    return costs


class Merge(NamedTuple):
    """Two blocks a < b, and about how much the loss rises if they share a factor."""

    a: int
    b: int
    cost: float


def cheapest_merge(model: OneFactorModel, signs: bool) -> Merge:
    """Return the two blocks for which one factor costs least."""
    r = np.abs(model.factors) if signs else np.maximum(model.factors, 0)
    costs = merge_costs(model.precision, r)
    a, b = np.unravel_index(np.argmin(costs), costs.shape)
    return Merge(int(min(a, b)), int(max(a, b)), float(costs[a, b]))


def merge(model: OneFactorModel, a: int, b: int, signs: bool) -> tuple[Array, Array]:
    """Return labels and signs after merging block b > a into block a."""
    turn = signs and model.factors[a, b] < 0
    in_b = model.labels == b
    new_signs = np.where(in_b & turn, -model.signs, model.signs)
    labels = np.where(in_b, a, model.labels)
    labels = labels - (labels > b)
    return labels, new_signs if signs else np.ones(len(labels))
