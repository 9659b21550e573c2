"""How much two partitions of the same variables agree."""

import numpy as np

from blockmat.blocks.partition import Partition


def adjusted_rand(p: Partition, q: Partition) -> float:
    """Return the adjusted Rand index of two partitions of n variables.

    It counts the pairs of variables that share a block in both partitions, relative to the number
    that is expected by chance: 1 for equal partitions, about 0 for independent ones (L. Hubert,
    P. Arabie, "Comparing Partitions", Journal of Classification 2, 1985).
    """
    both = np.bincount(p.labels * q.n_blocks + q.labels, minlength=p.n_blocks * q.n_blocks)
    pairs, of_p, of_q = (_n_pairs(counts) for counts in (both, p.sizes, q.sizes))
    expected = of_p * of_q / max(_n_pairs(np.array([p.n])), 1.0)
    largest = (of_p + of_q) / 2
    return 1.0 if largest == expected else (pairs - expected) / (largest - expected)


def _n_pairs(sizes: np.ndarray) -> float:
    """Return how many pairs the elements of sets of these sizes form."""
    return float((sizes * (sizes - 1.0)).sum()) / 2
