"""Nested partitions: the blocks of a partition are merged, one pair after the other."""

from typing import NamedTuple

import numpy as np

from blockmat.blocks.checks import Array, as_count, frozen
from blockmat.blocks.partition import Partition
from blockmat.cores.scale import times_power
from blockmat.finding.search.kmeans import in_order
from blockmat.finding.search.links import cut_links
from blockmat.finding.search.merging import Merges

__all__ = ["PartitionTree"]


class PartitionTree(NamedTuple):
    """Nested partitions, made by merging the two blocks whose merging raises the loss least.

    Parameters
    ----------
    partition : Partition
        The finest partition. Its k blocks are the leaves.
    links : ndarray, shape (k - 1, 4)
        A linkage matrix, as `scipy.cluster.hierarchy.linkage` returns: the two nodes of each
        merge, the rise of the loss since the finest partition, and the number of leaves below.
    signs : None or ndarray of int, shape (n,)
        The signs of the variables, 1 or -1, if signs were asked for. They are relative to the
        first variable of all, and hold for merged blocks too: a block whose correlations with
        another are negative is reversed before the two are merged. `PartitionPath.best_signs`
        are relative to the first variable of each block.

    See Also
    --------
    partition_path : computes one for the best partition.
    blockmat.plot.tree : draws it.

    Examples
    --------
    >>> import numpy as np
    >>> import blockmat as bm
    >>> labels = np.array([0, 0, 1, 1, 2, 2])
    >>> C = np.array([[3, 2, 0], [2, 3, 0], [0, 0, 3]])
    >>> tree = bm.partition_path(C[labels][:, labels] + 0.1 * np.eye(6)).tree
    >>> tree.links[:, :2].astype(int).tolist()
    [[0, 1], [2, 3]]
    >>> tree.cut(2).labels.tolist()
    [0, 0, 0, 0, 1, 1]
    """

    partition: Partition
    links: Array
    signs: Array | None = None

    def cut(self, n_blocks: int) -> Partition:
        """Return the nested partition into some number of blocks.

        Parameters
        ----------
        n_blocks : int
            The number of blocks, from 1 to that of the finest partition.

        Returns
        -------
        Partition
            Its blocks are blocks of the finest partition, or unions of them.

        Raises
        ------
        TypeError, ValueError
            If `n_blocks` is not an integer, or below 1 or above the number of leaves.

        See Also
        --------
        scipy.cluster.hierarchy.cut_tree : cuts any linkage matrix.

        Examples
        --------
        >>> import numpy as np
        >>> import blockmat as bm
        >>> tree = bm.partition_path(np.kron(np.eye(3), np.ones((2, 2)))).tree
        >>> tree.cut(2).n_blocks
        2
        """
        k = as_count(n_blocks, "n_blocks", 1)
        if k > self.partition.n_blocks:
            raise ValueError(
                f"n_blocks is {k}; expected at most {self.partition.n_blocks}, the number of "
                f"blocks of the finest partition"
            )
        return in_order(cut_links(self.links, k)[self.partition.labels])


def merge_all(
    merges: Merges, p: Partition, signs: Array | None, neighbours: bool, exponent: int = 0
) -> PartitionTree:
    """Merge the blocks of a partition until one is left.

    `signs` (n,) are those for which the rises hold, or None if signs do not change. With `neighbours`,
    only blocks with neighbouring numbers are merged. Losses are in units of
    ``2**exponent``.
    """
    k = p.n_blocks
    links = np.zeros((max(k - 1, 0), 4))
    nodes, leaves = list(range(k)), [[b] for b in range(k)]
    flips = np.ones(k, dtype=np.intp)
    height = 0.0
    for step in range(k - 1):
        a, b, sign, increase = _best_pair(merges, signs is not None, neighbours)
        height += max(increase, 0.0)
        if sign < 0:
            flips[leaves[b]] *= -1
        leaves[a] = leaves[a] + leaves[b]
        links[step] = (*sorted((nodes[a], nodes[b])), height, len(leaves[a]))
        nodes[a] = k + step
        del nodes[b], leaves[b]
        merges.merge(a, b, sign)
    links[:, 2] = times_power(links[:, 2], exponent)
    if signs is None:
        return PartitionTree(p, frozen(links))
    changed = signs * flips[p.labels]
    return PartitionTree(p, frozen(links), frozen((changed * changed[0]).astype(np.intp)))


def _best_pair(merges: Merges, signs: bool, neighbours: bool) -> tuple[int, int, int, float]:
    """Return the pair of blocks, a < b, that raises the loss least, with a sign and the rise."""
    found = []
    for sign in (1, -1) if signs else (1,):
        increases = merges.increases(sign)
        allowed = np.triu(np.ones(increases.shape, dtype=bool), 1)
        if neighbours:
            allowed &= ~np.triu(allowed, 2)
        increases = np.where(allowed, increases, np.inf)
        a, b = divmod(int(np.argmin(increases)), len(increases))
        found.append((float(increases[a, b]), -sign, a, b))
    increase, opposite, a, b = min(found)
    return a, b, -opposite, increase
