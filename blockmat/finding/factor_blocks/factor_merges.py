"""FactorMerges: about how much the loss of a one-factor model rises if blocks share a factor."""

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.finding.factor_blocks.one_factor import OneFactorModel
from blockmat.finding.factor_blocks.split_merge import merge_costs
from blockmat.finding.search.merging import flipped, without


class FactorMerges:
    """The loss of blocks of one factor each, whose loadings keep their ratios.

    The factor of two merged blocks is the weighted sum of both, with variance 1. The rise of the
    loss is that of the weighted sums of the variables (:ref:`theory-factor-blocks`).
    """

    def __init__(self, model: OneFactorModel) -> None:
        order = np.argsort(np.unique(model.labels, return_index=True)[1])
        self.precision = model.precision[order]
        self.factors = model.factors[np.ix_(order, order)]

    def increases(self, sign: int = 1) -> Array:
        """Return how much the loss rises if blocks a and b share a factor, (k, k)."""
        return merge_costs(self.precision, np.maximum(sign * self.factors, 0))

    def merge(self, a: int, b: int, sign: int = 1) -> None:
        """Add block b to block a, and remove block b. With sign -1 it changes its signs before."""
        r = self.factors if sign > 0 else flipped(self.factors, b)
        x, y = self.precision[a], self.precision[b]
        length = np.sqrt(max(x * x + y * y + 2 * x * y * r[a, b], np.finfo(np.float64).tiny))
        joined = (x * r[a] + y * r[b]) / length  # correlations with the new factor
        precision = self.precision.copy()
        precision[a] = x * joined[a] ** 2 + y * joined[b] ** 2
        factors = r.copy()
        factors[a] = factors[:, a] = joined
        factors[a, a] = 1
        self.precision, self.factors = np.delete(precision, b), without(factors, b)
