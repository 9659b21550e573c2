"""partition_path: partitions into each number of blocks, and a criterion that compares them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.blocks.partition import Partition
from blockmat.cores.scale import times_power
from blockmat.finding.criteria import Criterion, HeldOutDeviance
from blockmat.finding.kmeans import Solution, in_order
from blockmat.finding.objectives import FrobeniusLoss, MergingObjective, Objective
from blockmat.finding.problem import (
    SearchOptions,
    check_criterion,
    check_n_blocks,
    read_problem,
)
from blockmat.finding.search import PartitionSearch, signs_in_blocks
from blockmat.finding.similarity import Similarity
from blockmat.finding.tree import PartitionTree, merge_all
from blockmat.fitting.held_out import min_training_size
from blockmat.sources.samples import as_samples

__all__ = ["PartitionPath", "partition_path"]

_RATIO = 1.15  # of consecutive numbers of blocks that are tried first


class PartitionPath(NamedTuple):
    """Partitions into increasing numbers of blocks.

    Parameters
    ----------
    n_blocks : ndarray of int, shape (m,)
        The numbers of blocks that were tried, ascending.
    loss : ndarray, shape (m,)
        The squared Frobenius distance of the matrix to its fit; for samples and correlation
        matrices, minus twice the Gaussian log-likelihood per sample, up to a constant.
    criterion : ndarray, shape (m,)
        The criterion; the best number of blocks has the lowest.
    partitions : tuple of Partition, length m
        The partitions.
    signs : None or tuple of ndarray of int, length m
        The signs of the variables, 1 or -1, if they were asked for.
    tree : None or PartitionTree
        Coarser partitions that are nested in the best one; None if the loss depends on more than
        sums over blocks.

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
    signs: tuple[Array, ...] | None = None
    tree: PartitionTree | None = None

    @property
    def best(self) -> Partition:
        """The partition with the lowest criterion."""
        return self.partitions[int(np.argmin(self.criterion))]

    @property
    def best_signs(self) -> Array | None:
        """The signs of the best partition, 1 or -1, or None if they were not asked for."""
        return None if self.signs is None else self.signs[int(np.argmin(self.criterion))]


def partition_path(
    source: Any,
    samples: bool = False,
    contiguous: bool = False,
    random_state: Any = None,
    *,
    signs: bool = False,
    criterion: str = "icl",
    max_blocks: int | None = None,
    n_jobs: int | None = None,
    n_samples: int | None = None,
    degrees: bool = False,
) -> PartitionPath:
    r"""Find partitions into 1, 2 and more blocks, and compute a criterion for each.

    Parameters
    ----------
    source : array_like or sparse matrix, shape (n, n), or array_like, shape (T, n)
        A symmetric matrix, or samples, one per row.
    samples : bool, default False
        Whether `source` holds samples. Their correlation matrix is partitioned.
    contiguous : bool, default False
        Whether blocks are intervals of neighbouring variables; needs the ``discover`` extra.
    random_state : {None, int, numpy.random.Generator}, optional
        As for `find_partition`.
    signs : bool, default False
        Whether variables may first be multiplied by 1 or -1.
    criterion : {"icl", "bic", "cv"}, default "icl"
        The integrated completed likelihood, the Bayesian information criterion, or the deviance
        of held-out samples. "bic" tends to find more blocks. "cv" needs samples and takes six
        times as long.
    max_blocks : int, optional
        The largest number of blocks to try, as for `find_partition`.
    n_jobs : int, optional
        How many threads share the folds of "cv", as for `joblib.Parallel` (extra ``sklearn``);
        -1 is one for each processor. By default no threads are started.
    n_samples, degrees : int, optional, and bool, default False
        As for `find_partition`.

    Returns
    -------
    PartitionPath
        It holds the numbers of blocks that were tried. Above 10 these are at first some 15 %
        apart, and then all numbers next to the best.

    Raises
    ------
    ShapeError, DtypeError, NonFiniteError, NotHermitianError, ValueError, MissingExtraError
        As for `find_partition`.

    See Also
    --------
    find_partition : the best of these partitions.

    Notes
    -----
    The integrated completed likelihood [1]_ is the Bayesian information criterion plus the cost
    of the labels, twice their entropy :math:`\sum_b n_b \log (n / n_b)`; for intervals it is
    :math:`2 \log \binom{n - 1}{k - 1}`. A matrix counts as :math:`n (n + 1) / 2` observations
    with independent Gaussian errors. A correlation matrix without `n_samples` counts as the
    number of samples whose errors would be as large as its distance to the default largest
    number of blocks. With `degrees` the criteria are minus twice the integrated log-likelihood
    of the numbers of edges, plus the cost of the labels for "icl". With samples both criteria have a small-sample correction,
    as in AICc, which is infinite for T - 2 blocks; "cv" holds out a fifth of the samples at a
    time. See :ref:`theory-blocks`.

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
    check_criterion(criterion, samples)
    problem = read_problem(source, samples, n_samples, degrees, signs)
    options = SearchOptions(contiguous, signs, random_state)
    X = as_samples(source) if criterion == "cv" else None
    possible, usual = problem.max_blocks, problem.usual_blocks
    if X is not None:
        possible = min(possible, _max_blocks_of_folds(len(X)))
    if max_blocks is None:
        k_max = min(usual, possible)
    else:
        k_max = check_n_blocks(max_blocks, "max_blocks", possible, problem.bound)
    search = problem.search(k_max, options)
    measure: Criterion
    if X is None:
        measure = problem.criterion(search, criterion == "icl", contiguous)
    else:

        def make_search(similarity: Similarity, objective: Objective) -> PartitionSearch:
            return PartitionSearch(similarity, objective, k_max, *options)

        measure = HeldOutDeviance(X, make_search, n_jobs)
    solutions, values = _search_numbers(search.find, measure, k_max)
    return _path(solutions, values, problem.objective, signs, contiguous)


def _max_blocks_of_folds(n_samples: int) -> int:
    """Return how many blocks the training samples of every fold allow."""
    least = min_training_size(n_samples)
    if least < 3:
        raise ValueError(
            f"source has {n_samples} rows; criterion is 'cv', which expects at least 6 samples"
        )
    return least - 2


def spaced_numbers(k_max: int) -> list[int]:
    """Return numbers from 1 to `k_max` with gaps of some 15 %, and of at least 1."""
    numbers, k = [1], 1
    while k < k_max:
        k = min(max(k + 1, round(k * _RATIO)), k_max)
        numbers.append(k)
    return numbers


def _search_numbers(
    find: Callable[[int], Solution], criterion: Criterion, k_max: int
) -> tuple[list[Solution], list[float]]:
    """Return partitions into spaced numbers of blocks and all numbers around the best of these.

    They are in the order of their numbers of blocks, with the criterion of each.
    """
    solutions, values = {}, {}
    spaced = spaced_numbers(k_max)
    for k in spaced:
        solutions[k] = find(k)
        values[k] = criterion.value(solutions[k])
    place = spaced.index(min(spaced, key=values.__getitem__))
    first, last = spaced[max(place - 1, 0)], spaced[min(place + 1, len(spaced) - 1)]
    for k in range(first, last + 1):
        if k not in solutions:
            solutions[k] = find(k)
            values[k] = criterion.value(solutions[k])
    numbers = sorted(solutions)
    return [solutions[k] for k in numbers], [values[k] for k in numbers]


def _path(
    solutions: list[Solution],
    values: list[float],
    objective: Objective,
    signs: bool,
    contiguous: bool,
) -> PartitionPath:
    """Return what was found, with losses in the units of the source."""
    partitions = tuple(in_order(solution.blocks.labels) for solution in solutions)
    losses = np.array([solution.loss for solution in solutions])
    found = tuple(map(signs_in_blocks, partitions, solutions)) if signs else None
    exponent = 2 * objective.exponent if isinstance(objective, FrobeniusLoss) else 0
    best, tree = int(np.argmin(values)), None
    if isinstance(objective, MergingObjective):
        of_best = None if found is None else found[best]
        merges = objective.merges(solutions[best].blocks)
        tree = merge_all(merges, partitions[best], of_best, contiguous, exponent)
    return PartitionPath(
        np.array([p.n_blocks for p in partitions]),
        times_power(losses, exponent),
        np.array(values),
        partitions,
        found,
        tree,
    )
