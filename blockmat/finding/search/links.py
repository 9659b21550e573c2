"""Trees of clusters, as linkage matrices of `scipy.cluster.hierarchy`."""

import numpy as np

from blockmat.blocks.checks import Array


def cut_links(links: Array, k: int) -> Array:
    """Return labels (m,) of the k clusters that the first m - k merges of m leaves make.

    Clusters are numbered in the order of their first leaves. `scipy.cluster.hierarchy.cut_tree`
    returns the same labels, but takes much longer.
    """
    m = len(links) + 1
    cluster = list(range(2 * m - k))  # of each leaf and of the node that each merge makes
    pairs = links[: m - k, :2].astype(np.intp).tolist()
    for node in range(2 * m - k - 1, m - 1, -1):  # from the last merge on, so that nodes pass it on
        left, right = pairs[node - m]
        cluster[left] = cluster[right] = cluster[node]
    _, first, codes = np.unique(cluster[:m], return_index=True, return_inverse=True)
    labels: Array = np.argsort(np.argsort(first))[codes]
    return labels
