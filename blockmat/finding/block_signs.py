"""block_signs: the signs of variables whose blocks are known."""

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.blocks.partition import Partition
from blockmat.finding.kmeans import refine
from blockmat.finding.objectives import GaussianLoss
from blockmat.finding.search import signs_in_blocks
from blockmat.finding.similarity import Correlation
from blockmat.finding.starts import leading_signs
from blockmat.sources.standardize import StandardRows


def block_signs(rows: StandardRows, p: Partition) -> Array:
    """Return 1 or -1 for each variable (n,), and 1 for the first of each block.

    They start from the signs of the leading principal component of each block, and change as long
    as the likelihood rises.
    """
    similarity = Correlation(rows)
    signs = leading_signs(similarity.factor.T, p.labels)

    def stay(costs: Array) -> Array:
        return np.array(p.labels)

    solution = refine(similarity, p.labels, p.n_blocks, GaussianLoss(rows.n_samples), stay, signs)
    return signs_in_blocks(p, solution)
