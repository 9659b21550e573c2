"""block_signs: the signs of variables whose blocks are known."""

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.blocks.partition import Partition
from blockmat.finding.correlations.expected_correlation import SampleCorrelation
from blockmat.finding.search.kmeans import refine
from blockmat.finding.search.objectives import GaussianLoss
from blockmat.finding.search.search import signs_in_blocks
from blockmat.finding.search.starts import leading_signs


def block_signs(correlation: SampleCorrelation, p: Partition) -> Array:
    """Return 1 or -1 for each variable of samples (n,), and 1 for the first of each block.

    They start from the signs of the leading principal component of each block, and change as long
    as the likelihood rises.
    """
    signs = leading_signs(correlation.factor.T, p.labels)
    objective = GaussianLoss(correlation.n_samples)

    def stay(costs: Array) -> Array:
        return np.array(p.labels)

    found = refine(correlation, p.labels, p.n_blocks, objective, stay, signs)
    return signs_in_blocks(p, found.signs)
