"""find_partition and partition_path: blocks of a matrix or of samples, and how many there are."""

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, overload

import numpy as np

from blockmat.blocks.checks import Array, as_count
from blockmat.blocks.names import check_names
from blockmat.blocks.partition import Partition
from blockmat.cores.scale import times_power
from blockmat.finding.kmeans import (
    FrobeniusLoss,
    GaussianLoss,
    Objective,
    in_order,
)
from blockmat.finding.search import Fold, Search, coarse, information, label_penalty, normal_signs
from blockmat.finding.similarity import Correlation, Similarity, SymmetricMatrix
from blockmat.fitting.held_out import each, fewest_left, folds
from blockmat.sources.samples import as_samples

__all__ = ["PartitionPath", "find_partition", "partition_path"]


_MAX_BLOCKS = 50  # that are tried by default
_CRITERIA = ("icl", "bic", "cv")


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
    signs : None or tuple of ndarray of int, length m
        The signs of the variables, 1 or -1, if they were asked for.

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

    @property
    def best(self) -> Partition:
        """The partition with the lowest criterion."""
        return self.partitions[int(np.argmin(self.criterion))]


@overload
def find_partition(
    source: Any,
    n_blocks: int | None = None,
    samples: bool = False,
    contiguous: bool = False,
    random_state: Any = None,
    *,
    signs: Literal[False] = False,
    criterion: str = "icl",
    max_blocks: int | None = None,
    n_jobs: int | None = None,
) -> Partition: ...


@overload
def find_partition(
    source: Any,
    n_blocks: int | None = None,
    samples: bool = False,
    contiguous: bool = False,
    random_state: Any = None,
    *,
    signs: Literal[True],
    criterion: str = "icl",
    max_blocks: int | None = None,
    n_jobs: int | None = None,
) -> tuple[Partition, Array]: ...


def find_partition(
    source: Any,
    n_blocks: int | None = None,
    samples: bool = False,
    contiguous: bool = False,
    random_state: Any = None,
    *,
    signs: bool = False,
    criterion: str = "icl",
    max_blocks: int | None = None,
    n_jobs: int | None = None,
) -> Partition | tuple[Partition, Array]:
    r"""Find blocks of variables that a block-constant matrix describes well.

    Parameters
    ----------
    source : array_like or sparse matrix, shape (n, n), or array_like, shape (T, n)
        A symmetric matrix, or samples, one per row.
    n_blocks : int, optional
        How many blocks; by default as many as `partition_path` finds best.
    samples : bool, default False
        Whether `source` is samples, whose correlation matrix is then meant. It is formed
            only of fewer variables than samples.
    contiguous : bool, default False
        Whether blocks are intervals of neighbouring variables; needs the ``discover`` extra.
    random_state : {None, int, numpy.random.Generator}, optional
        For the random projections and k-means that condense more than 500 rows of a matrix
        or more than 2000 variables; nothing else is random.
    signs : bool, default False
        Whether variables may be multiplied by 1 or -1 first. Then the signs are returned as
        well.
    criterion : {"icl", "bic", "cv"}, default "icl"
        How the best number of blocks is chosen; see `partition_path`.
    max_blocks : int, optional
        The most blocks to try if `n_blocks` is not given: at most n, or T - 2 for T samples. By
        default 50, and at most half of n for a matrix, which more blocks only interpolate.
    n_jobs : int, optional
        How many threads share the samples that are held out by "cv", as for `joblib.Parallel`
        (extra ``sklearn``); -1 is one for each processor. By default one after the other.

    Returns
    -------
    Partition
        Its blocks are numbered in the order of their first variables.
    signs : ndarray of int, shape (n,)
        Only with ``signs=True``: 1 or -1 for each variable, 1 for the first of each block. The
        partition describes :math:`S A S`, with S their diagonal matrix.

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
        If there are fewer than 3 samples, samples are a symmetric matrix, a column of them is
        constant, a DataFrame has its rows in another order than its columns, a number of
        blocks is below 1, above n or, for T samples, above T - 2, or the criterion is another one
        or "cv" without samples or with fewer than 6.
    MissingExtraError
        If ruptures is not installed, for contiguous blocks.

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
    One sweep takes O(n\ :sup:`2` + n k\ :sup:`2`), or O(m n k) for samples, with m the smaller
    of T and n; before the first, samples take O(m T n).

    Contiguous blocks start from the change points of the rows [1]_, and their ends move to where
    the costs are least, found by dynamic programming. Signs start from the leading direction of
    each cluster of the products of coordinates, which do not depend on them, and change with
    the blocks.

    References
    ----------
    .. [1] C. Truong, L. Oudre, N. Vayatis, "Selective review of offline change point detection
       methods", Signal Processing 167, 2020.

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
        path = partition_path(
            source,
            samples,
            contiguous,
            random_state,
            signs=signs,
            criterion=criterion,
            max_blocks=max_blocks,
            n_jobs=n_jobs,
        )
        best = int(np.argmin(path.criterion))
        return path.partitions[best] if path.signs is None else (path.best, path.signs[best])
    _check_criterion(criterion, samples)
    similarity, objective, most = _problem(source, samples)
    k = _count(n_blocks, "n_blocks", most, samples)
    found = Search(similarity, objective, k, contiguous, signs, random_state).solve(k)
    p = in_order(found.blocks.labels)
    return (p, normal_signs(p, found)) if signs else p


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
) -> PartitionPath:
    r"""Find partitions into one, two and more blocks, and how good each of them is.

    Parameters
    ----------
    source : array_like or sparse matrix, shape (n, n), or array_like, shape (T, n)
        A symmetric matrix, or samples, one per row.
    samples : bool, default False
        Whether `source` is samples, whose correlation matrix is then meant.
    contiguous : bool, default False
        Whether blocks are intervals of neighbouring variables; needs the ``discover`` extra.
    random_state : {None, int, numpy.random.Generator}, optional
        As for `find_partition`.
    signs : bool, default False
        Whether variables may be multiplied by 1 or -1 first.
    criterion : {"icl", "bic", "cv"}, default "icl"
        What the best number of blocks makes smallest: the integrated completed likelihood, the
        Bayesian information criterion, or minus twice the log-likelihood of samples that were
        held out. "bic" tends to more blocks; "cv" takes six times as long, and needs samples.
    max_blocks : int, optional
        The most blocks to try, as for `find_partition`.
    n_jobs : int, optional
        How many threads share the samples that are held out by "cv", as for `joblib.Parallel`
        (extra ``sklearn``); -1 is one for each processor. By default one after the other.

    Returns
    -------
    PartitionPath
        Not every number of blocks is tried: above 10 only numbers about 15 % apart, and then
        all between the neighbours of the best of these.

    Raises
    ------
    ShapeError, DtypeError, NonFiniteError, NotHermitianError, ValueError, MissingExtraError
        As for `find_partition`.

    See Also
    --------
    find_partition : the best of these partitions.

    Notes
    -----
    The integrated completed likelihood [1]_ is minus twice the log-likelihood, plus
    :math:`\log T` for each of the k (k + 1) / 2 numbers and each within number of a block of
    several, which is the Bayesian information criterion, plus what the labels take: twice their
    entropy, :math:`\sum_b n_b \log (n / n_b)`, or twice the logarithm of the number of ways to
    cut n variables into k intervals. For samples both have a further term for few of them: what
    new samples are expected to be less likely than the own ones, beyond the
    2 for each number that it is when samples are many,

    .. math::

        \frac{T^2 k}{T - k - 2} + \sum_{b: m_b > 0} \frac{T^2 m_b^2}{(T - 1) m_b - 2} - T n - 2 q,

    with :math:`m_b = n_b - 1` and q numbers; it is infinite for T - 2 blocks. A matrix counts
    as its :math:`n (n + 1) / 2` numbers with independent Gaussian errors. The held-out likelihood
    is of a fifth of the samples at a time, neighbours in time, with blocks found in the others.

    Where these come from: :ref:`theory-blocks`.

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
    _check_criterion(criterion, samples)
    similarity, objective, most = _problem(source, samples)
    held_out: Iterator[tuple[Array, Array]] = iter(())
    if criterion == "cv":
        X = as_samples(source)
        held_out, n_rest = folds(X), fewest_left(len(X))
        if n_rest < 3:
            raise ValueError(
                f"source has {len(X)} rows; criterion is 'cv', which expects at least 6 samples"
            )
        most = min(most, n_rest - 2)
    if max_blocks is None:
        k_max = min(_MAX_BLOCKS, most if samples else (most + 1) // 2)
    else:
        k_max = _count(max_blocks, "max_blocks", most, samples)

    def search(similarity: Similarity, objective: Objective) -> Search:
        return Search(similarity, objective, k_max, contiguous, signs, random_state)

    whole = search(similarity, objective)
    parts: list[Fold] = each(lambda pair: Fold(pair[0], pair[1], search), held_out, n_jobs)
    found = {}

    def find(k: int) -> float:
        if k not in found:
            solution = whole.solve(k)
            if parts:
                value = float(sum(each(lambda part: part.deviance(k), parts, n_jobs)))
            else:
                value = information(solution, objective)
                value += label_penalty(solution, contiguous) if criterion == "icl" else 0.0
            found[k] = solution, value
        return found[k][1]

    tried = coarse(k_max)
    best = min(tried, key=find)
    place = tried.index(best)
    for k in range(tried[max(place - 1, 0)], tried[min(place + 1, len(tried) - 1)] + 1):
        find(k)
    numbers = sorted(found)
    solutions = [found[k][0] for k in numbers]
    partitions = tuple(in_order(solution.blocks.labels) for solution in solutions)
    losses = np.array([solution.loss for solution in solutions])
    if isinstance(objective, FrobeniusLoss):
        losses = times_power(losses, 2 * objective.exponent)
    return PartitionPath(
        np.array(numbers),
        losses,
        np.array([found[k][1] for k in numbers]),
        partitions,
        tuple(map(normal_signs, partitions, solutions)) if signs else None,
    )


def _check_criterion(criterion: str, samples: bool) -> None:
    if criterion not in _CRITERIA:
        raise ValueError(f"criterion is {criterion!r}; expected 'icl', 'bic' or 'cv'")
    if criterion == "cv" and not samples:
        raise ValueError("criterion is 'cv' with samples=False; only samples can be held out")


def _problem(source: Any, samples: bool) -> tuple[Similarity, Objective, int]:
    """Return what is to be partitioned, by what objective, and into at most how many blocks."""
    if samples:
        correlation = Correlation(source)
        most = min(correlation.n, correlation.n_samples - 2)
        return correlation, GaussianLoss(correlation.n_samples), most
    check_names(source)
    matrix = SymmetricMatrix(source)
    if matrix.n == 0:
        raise ValueError("source has no variables; expected at least one")
    return matrix, FrobeniusLoss(matrix.squares, matrix.n, matrix.exponent), matrix.n


def _count(value: int, name: str, most: int, samples: bool) -> int:
    k = as_count(value, name, 1)
    if k > most:
        bound = "n and T - 2, for n variables and T samples" if samples else "n"
        raise ValueError(f"{name} is {k}; expected at most {most}, the least of {bound}")
    return k
