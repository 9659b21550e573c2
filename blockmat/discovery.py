"""Finding the blocks: from a symmetric matrix, or from samples, to a partition."""

from typing import Any, NamedTuple

import numpy as np

from blockmat._block_kmeans import FrobeniusLoss, GaussianLoss, Objective, refine
from blockmat._similarity import Correlation, Similarity, SymmetricMatrix
from blockmat._validation import Array, as_count
from blockmat.partition import Partition

__all__ = ["PartitionPath", "find_partition", "partition_path"]

_TREE_UP_TO = 2000  # variables that have a leaf of their own
_GROUPS = 500  # leaves where there are more
_RANK = 20  # principal components to start from, unless more blocks are wanted
_MAX_BLOCKS = 50  # that are tried by default
_STEP = 1.15  # between the numbers of blocks that are tried first


class PartitionPath(NamedTuple):
    """Partitions into more and more blocks.

    Parameters
    ----------
    n_blocks : ndarray of int, shape (m,)
        The numbers of blocks that were tried, ascending.
    loss : ndarray, shape (m,)
        The squared Frobenius distance of the matrix to the model; for samples, minus twice
        the Gaussian log-likelihood per sample, but for a constant.
    criterion : ndarray, shape (m,)
        What the best number of blocks makes smallest.
    partitions : tuple of Partition, length m
        The partitions.

    See Also
    --------
    partition_path : computes it.

    Examples
    --------
    >>> import numpy as np
    >>> import blockmat as bm
    >>> path = bm.partition_path(np.kron(np.eye(2), np.ones((3, 3))), max_blocks=3)
    >>> path.best.labels.tolist()
    [0, 0, 0, 1, 1, 1]
    """

    n_blocks: Array
    loss: Array
    criterion: Array
    partitions: tuple[Partition, ...]

    @property
    def best(self) -> Partition:
        """The partition with the lowest criterion."""
        return self.partitions[int(np.argmin(self.criterion))]


def find_partition(
    source: Any,
    n_blocks: int | None = None,
    samples: bool = False,
    *,
    random_state: Any = None,
    max_blocks: int | None = None,
) -> Partition:
    r"""Find blocks of variables that a block-constant matrix describes well.

    Parameters
    ----------
    source : array_like or sparse matrix, shape (n, n), or array_like, shape (T, n)
        A symmetric matrix, or samples, one per row.
    n_blocks : int, optional
        How many blocks; by default as many as `partition_path` finds best.
    samples : bool, default False
        Whether `source` is samples, whose correlation matrix is then meant. It is never formed.
    random_state : {None, int, numpy.random.Generator}, optional
        For the random projections and k-means that condense more than 500 rows of a matrix
        or more than 2000 variables; nothing else is random.
    max_blocks : int, optional
        The most blocks to try if `n_blocks` is not given; by default 50, and at most n, or
        T - 2 for T samples.

    Returns
    -------
    Partition
        Its blocks are numbered in the order of their first variables.

    Raises
    ------
    ShapeError
        If a matrix is not square or samples are not 2-d.
    DtypeError
        If the source is not real numbers.
    NonFiniteError
        If it contains NaN or infinity.
    NotHermitianError
        If a matrix is not symmetric.
    ValueError
        If there are fewer than 3 samples, a column of samples is constant, or a number of
        blocks is below 1, above n or, for T samples, above T - 2.

    See Also
    --------
    partition_path : partitions into each number of blocks, with the criterion.

    Notes
    -----
    Ward's clustering of the rows (for samples, of the principal components of the variables)
    starts block k-means, in which every variable moves to the block under whose model it costs
    least, as long as the loss falls. For a matrix A the cost of variable i in block b is the
    Frobenius loss, off the diagonal :math:`\sum_c n_c C_{bc}^2 - 2 C_{bc} R_{ic}`, with
    :math:`C` the numbers in the blocks and :math:`R_{ic}` the sum of row i over block c. For
    samples it is the likelihood of the variable given the means of all blocks, which the noise
    in few samples misleads less.
    One sweep takes O(n\ :sup:`2` + n k\ :sup:`2`), or O(T n k) for samples.

    Examples
    --------
    >>> import numpy as np
    >>> import blockmat as bm
    >>> rng = np.random.default_rng(0)
    >>> sector = np.array([0, 1, 2, 1, 0, 2, 0, 1, 2, 0])
    >>> returns = rng.normal(size=(200, 3))[:, sector] + rng.normal(size=(200, 10))
    >>> bm.find_partition(returns, samples=True).labels.tolist()
    [0, 1, 2, 1, 0, 2, 0, 1, 2, 0]
    """
    if n_blocks is None:
        return partition_path(
            source, samples, random_state=random_state, max_blocks=max_blocks
        ).best
    similarity, objective, most = _problem(source, samples)
    k = _count(n_blocks, "n_blocks", most, samples)
    leaves = _Tree(similarity, k, random_state)
    return _partition(refine(similarity, leaves.cut(k), k, objective).labels)


def partition_path(
    source: Any,
    samples: bool = False,
    *,
    random_state: Any = None,
    max_blocks: int | None = None,
) -> PartitionPath:
    r"""Find partitions into one, two and more blocks, and how good each of them is.

    Parameters
    ----------
    source : array_like or sparse matrix, shape (n, n), or array_like, shape (T, n)
        A symmetric matrix, or samples, one per row.
    samples : bool, default False
        Whether `source` is samples, whose correlation matrix is then meant.
    random_state : {None, int, numpy.random.Generator}, optional
        As for `find_partition`.
    max_blocks : int, optional
        The most blocks to try; by default 50, and at most n, or T - 2 for T samples.

    Returns
    -------
    PartitionPath
        Not every number of blocks is tried: above 10 only numbers about 15 % apart, and then
        all between the neighbours of the best of these.

    Raises
    ------
    ShapeError, DtypeError, NonFiniteError, NotHermitianError, ValueError
        As for `find_partition`.

    See Also
    --------
    find_partition : the best of these partitions.

    Notes
    -----
    The criterion is the integrated completed likelihood [1]_: minus twice the
    log-likelihood, plus :math:`\log T` for each of the k (k + 1) / 2 numbers and
    each within number of a block of several, plus twice the entropy of the labels,
    :math:`\sum_b n_b \log (n / n_b)`. A matrix counts as its :math:`n (n + 1) / 2` numbers with
    independent Gaussian errors.

    References
    ----------
    .. [1] C. Biernacki, G. Celeux, G. Govaert, "Assessing a Mixture Model for Clustering with
       the Integrated Completed Likelihood", IEEE Trans. Pattern Analysis and Machine
       Intelligence 22, 2000.

    Examples
    --------
    >>> import numpy as np
    >>> import blockmat as bm
    >>> A = np.kron(np.eye(3), np.ones((4, 4))) + 0.1 * np.eye(12)
    >>> path = bm.partition_path(A, max_blocks=5)
    >>> path.n_blocks.tolist(), path.best.n_blocks
    ([1, 2, 3, 4, 5], 3)
    """
    similarity, objective, most = _problem(source, samples)
    if max_blocks is None:
        k_max = min(_MAX_BLOCKS, most)
    else:
        k_max = _count(max_blocks, "max_blocks", most, samples)
    tree = _Tree(similarity, k_max, random_state)
    found = {}

    def find(k: int) -> float:
        if k not in found:
            blocks = refine(similarity, tree.cut(k), k, objective)
            found[k] = blocks, objective.criterion(blocks)
        return found[k][1]

    tried = _coarse(k_max)
    best = min(tried, key=find)
    place = tried.index(best)
    for k in range(tried[max(place - 1, 0)], tried[min(place + 1, len(tried) - 1)] + 1):
        find(k)
    numbers = sorted(found)
    return PartitionPath(
        np.array(numbers),
        np.array([objective.loss(found[k][0]) for k in numbers]),
        np.array([found[k][1] for k in numbers]),
        tuple(_partition(found[k][0].labels) for k in numbers),
    )


def _problem(source: Any, samples: bool) -> tuple[Similarity, Objective, int]:
    """Return what is to be partitioned, by what objective, and into at most how many blocks."""
    if samples:
        correlation = Correlation(source)
        most = min(correlation.n, correlation.n_samples - 2)
        return correlation, GaussianLoss(correlation.n_samples), most
    matrix = SymmetricMatrix(source)
    if matrix.n == 0:
        raise ValueError("source has no variables; expected at least one")
    return matrix, FrobeniusLoss(matrix.squares), matrix.n


def _count(value: int, name: str, most: int, samples: bool) -> int:
    k = as_count(value, name, 1)
    if k > most:
        bound = "n and T - 2, for n variables and T samples" if samples else "n"
        raise ValueError(f"{name} is {k}; expected at most {most}, the least of {bound}")
    return k


def _coarse(k_max: int) -> list[int]:
    """Return 1 to k_max, with growing gaps."""
    numbers, k = [1], 1
    while k < k_max:
        k = min(max(k + 1, round(k * _STEP)), k_max)
        numbers.append(k)
    return numbers


class _Tree:
    """Ward's clustering of the points of the variables, or of groups of them.

    SciPy's clustering is imported here, because importing blockmat should not wait for it.
    """

    def __init__(self, similarity: Similarity, k: int, random_state: Any) -> None:
        from scipy.cluster.hierarchy import linkage
        from scipy.cluster.vq import kmeans2
        from scipy.spatial.distance import pdist

        rng = np.random.default_rng(random_state)
        points = similarity.points(max(k, _RANK), rng)
        self.groups = np.arange(len(points))
        if len(points) > _TREE_UP_TO:
            n_groups = max(_GROUPS, min(4 * k, len(points)))
            _, groups = kmeans2(points, n_groups, minit="points", missing="warn", rng=rng)
            _, self.groups = np.unique(groups, return_inverse=True)
            sizes = np.bincount(self.groups)
            points = np.stack(
                [np.bincount(self.groups, column) / sizes for column in points.T], axis=1
            )
        self.links = linkage(pdist(points), "ward") if len(points) > 1 else None

    def cut(self, k: int) -> Array:
        """Return labels of k clusters."""
        from scipy.cluster.hierarchy import cut_tree

        if self.links is None:
            return np.zeros(len(self.groups), dtype=np.intp)
        leaves = cut_tree(self.links, k)[:, 0]
        return np.asarray(leaves[self.groups], dtype=np.intp)


def _partition(labels: Array) -> Partition:
    """Return the partition whose blocks are in the order of their first variables."""
    _, first, codes = np.unique(labels, return_index=True, return_inverse=True)
    renamed = np.argsort(np.argsort(first))[codes]
    return Partition(np.bincount(renamed), renamed)
