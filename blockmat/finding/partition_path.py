"""partition_path: partitions into each number of blocks, and a criterion that compares them."""

from typing import Any, NamedTuple

import numpy as np

from blockmat.blocks.checks import Array, frozen
from blockmat.blocks.names import names_of
from blockmat.blocks.partition import Partition
from blockmat.blocks.warn import warn
from blockmat.cores.scale import times_power
from blockmat.finding.correlations.gaps import Blocks
from blockmat.finding.criteria.criteria import Criterion
from blockmat.finding.problems.given_number import find_blocks
from blockmat.finding.problems.matrix_problems import MAX_BLOCKS
from blockmat.finding.problems.problem import Problem, check_n_blocks
from blockmat.finding.problems.read_problem import Question, Request, solve
from blockmat.finding.problems.read_samples import SampleOptions
from blockmat.finding.problems.sample_problems import BlockConstantProblem, OneFactorProblem
from blockmat.finding.search.kmeans import in_order
from blockmat.finding.search.search import Found, Search, SearchOptions, signs_in_blocks
from blockmat.finding.search.tree import PartitionTree, merge_all

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
        The signs of the variables, 1 or -1, if they were asked for; 1 for the first variable of
        each block.
    tree : None or PartitionTree
        Coarser partitions that are nested in the best one.
    names : None or tuple
        The names of the variables, if the source is a DataFrame.

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
    names: tuple[Any, ...] | None = None

    @property
    def best(self) -> Partition:
        """The partition with the lowest criterion."""
        return self.partitions[int(np.argmin(self.criterion))]

    @property
    def best_signs(self) -> Array | None:
        """The signs of the best partition, 1 or -1, or None if they were not asked for."""
        return None if self.signs is None else self.signs[int(np.argmin(self.criterion))]

    def __repr__(self) -> str:
        m = len(self.n_blocks)
        return (
            f"<PartitionPath of {self.best.n} variables: {m} number{'s' if m > 1 else ''} of blocks "
            f"tried, best {self.best.n_blocks}>"
        )


def partition_path(
    source: Any,
    samples: bool = False,
    contiguous: bool = False,
    random_state: Any = None,
    *,
    signs: bool = False,
    loadings: bool | None = None,
    criterion: str | None = None,
    max_blocks: int | None = None,
    n_jobs: int | None = None,
    n_samples: int | None = None,
    degrees: bool = False,
    missing: str = "raise",
    sample_weight: Any = None,
    weight_type: str = "frequency",
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
    loadings : bool, optional
        Whether the variables of a block may have different loadings, as for `find_partition`.
    criterion : {"misfit", "icl", "bic", "cv"}, optional
        The integrated completed likelihood ("icl"), the same for a model that is only nearly true
        ("misfit"), the Bayesian information criterion, or the deviance of held-out samples.
        By default "misfit" with `loadings`, which it needs, and "icl" without. "bic" tends to find
        more blocks. "icl" and "bic" count samples: without `n_samples` a correlation matrix is then
        searched as any other matrix. "cv" needs samples without gaps and weights, and takes six
        times as long.
    max_blocks : int, optional
        The largest number of blocks to try, as for `find_partition`.
    n_jobs : int, optional
        How many threads share the folds of "cv", as for `joblib.Parallel` (extra ``sklearn``);
        -1 is one for each processor. By default no threads are started.
    n_samples, degrees : int, optional, and bool, default False
        As for `find_partition`.
    missing : {"raise", "pairwise", "em"}, default "raise"
        As for `find_partition`. The path is that of the last correlations.
    sample_weight, weight_type : array_like, shape (T,), optional, and str, default "frequency"
        As for `find_partition`.

    Returns
    -------
    PartitionPath
        It holds the numbers of blocks that were tried. Above 10 these are at first some 15 %
        apart, and then all numbers next to the best. With `loadings` the best number and its
        neighbours are searched more thoroughly than the others.

    Raises
    ------
    ShapeError, DtypeError, NonFiniteError, NotHermitianError, ValueError, TypeError
        As for `find_partition`.
    SingularMatrixError
        As for `find_partition`.

    See Also
    --------
    find_partition : the best of these partitions.

    Notes
    -----
    The integrated completed likelihood [1]_ is the Bayesian information criterion plus the cost
    of the labels, twice their entropy :math:`\sum_b n_b \log (n / n_b)`; for intervals it is
    :math:`2 \log \binom{n - 1}{k - 1}`. A matrix counts as :math:`n (n + 1) / 2` observations
    with independent Gaussian errors. With `degrees` the criteria are minus twice the integrated
    log-likelihood of the numbers of edges, plus the cost of the labels for "icl". With samples
    these criteria have a small-sample correction,
    as in AICc, which is infinite for T - 2 blocks; "cv" holds out a fifth of the samples at a
    time. See :ref:`theory-blocks`.

    Both "icl" and "bic" find every small error of the model once T is large, and then the number
    of blocks grows with T. "misfit" replaces T by :math:`1 / (1/T + v)`. The variance v of the
    model's errors is estimated for each partition, and is zero if the model is true. A block of
    two variables, whose factor describes a single correlation, costs one more parameter. See
    :ref:`theory-misfit`.

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
    options = SearchOptions.checked(contiguous, signs, random_state)

    def find(question: Question) -> PartitionPath:
        return find_path(question, options, max_blocks, n_jobs)

    def find_as_many(question: Question, n_blocks: int) -> Blocks:
        return find_blocks(question.problem, options, n_blocks)

    of_samples = SampleOptions(missing, sample_weight, weight_type)
    request = Request(samples, signs, loadings, criterion, n_samples, degrees, of_samples)
    names = names_of(source, 1)
    path = solve(source, request, find, find_as_many)
    return path._replace(names=None if names is None else tuple(names))


def find_path(
    question: Question, options: SearchOptions, max_blocks: int | None, n_jobs: int | None
) -> PartitionPath:
    """Find partitions into each number of blocks."""
    problem, criterion, X = question
    possible = question.max_blocks
    if max_blocks is None:
        k_max = min(problem.usual_blocks, possible)
    else:
        k_max = check_n_blocks(max_blocks, "max_blocks", possible, problem.bound)
    search = problem.search(k_max, options)
    measure: Criterion
    if X is None:
        measure = problem.criterion(criterion, search, options.contiguous)
    else:
        assert isinstance(problem, BlockConstantProblem | OneFactorProblem)  # samples are given
        measure = problem.held_out(X, k_max, options, n_jobs)
    found, values = _search_numbers(search, measure, k_max)
    best = len(set(found[int(np.argmin(values))].labels.tolist()))
    if max_blocks is None and best == MAX_BLOCKS < possible:
        warn(
            f"{best} blocks fit best, the largest number that is tried; expected fewer blocks. If "
            f"there are more, pass max_blocks or n_blocks"
        )
    return _path(found, values, problem, options)


def spaced_numbers(k_max: int) -> list[int]:
    """Return numbers from 1 to `k_max` with gaps of some 15 %, and of at least 1."""
    numbers, k = [1], 1
    while k < k_max:
        k = min(max(k + 1, round(k * _RATIO)), k_max)
        numbers.append(k)
    return numbers


def _search_numbers(
    search: Search, criterion: Criterion, k_max: int
) -> tuple[list[Found], list[float]]:
    """Return partitions into spaced numbers of blocks and all numbers around the best of these.

    They are in the order of their numbers of blocks, with the criterion of each. The best and the
    numbers next to it are searched thoroughly.
    """
    spaced, improved = spaced_numbers(k_max), set[int]()
    found: dict[int, Found] = {k: search.sketch(k) for k in spaced}
    while True:
        numbers = sorted(found)
        values = criterion.values([found[k] for k in numbers])
        best = numbers[int(np.argmin(values))]
        place = spaced.index(max(k for k in spaced if k <= best))
        first, last = spaced[max(place - 1, 0)], spaced[min(place + 1, len(spaced) - 1)]
        missing = set(range(first, last + 1)) - found.keys()
        poor = {k for k in (best - 1, best, best + 1) if 1 <= k <= k_max} - improved
        if not missing and not poor:
            return [found[k] for k in numbers], values
        if missing:
            found |= {k: search.sketch(k) for k in missing}
        else:
            found |= {k: search.improve(found[k]) for k in poor}
            improved |= poor


def _path(
    found: list[Found], values: list[float], problem: Problem, options: SearchOptions
) -> PartitionPath:
    """Return what was found, with losses in the units of the source."""
    partitions = tuple(in_order(each.labels) for each in found)
    exponent = 2 * problem.exponent
    best = int(np.argmin(values))
    signs = found[best].signs if options.signs else None
    merges = problem.merges(found[best])
    tree = merge_all(merges, partitions[best], signs, options.contiguous, exponent)
    return PartitionPath(
        frozen(np.array([p.n_blocks for p in partitions])),
        frozen(times_power(np.array([each.loss for each in found]), exponent)),
        frozen(np.array(values)),
        partitions,
        _signs(partitions, found) if options.signs else None,
        tree,
    )


def _signs(partitions: tuple[Partition, ...], found: list[Found]) -> tuple[Array, ...]:
    """Return the signs of all partitions."""
    pairs = zip(partitions, found, strict=True)
    return tuple(signs_in_blocks(p, each.signs) for p, each in pairs)
