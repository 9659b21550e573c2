"""find_partition: blocks of similar variables of a matrix or of samples."""

from typing import Any, Literal, overload

import numpy as np

from blockmat.blocks.argument_order import refuse_swapped
from blockmat.blocks.checks import Array
from blockmat.blocks.partition import Partition
from blockmat.finding.correlations.gaps import Blocks
from blockmat.finding.partition_path import partition_path
from blockmat.finding.problems.given_number import find_blocks
from blockmat.finding.problems.read_problem import Question, Request, solve
from blockmat.finding.problems.read_samples import SampleOptions
from blockmat.finding.search.search import SearchOptions

__all__ = ["find_partition"]


@overload
def find_partition(
    source: Any,
    n_blocks: int | Literal["auto"] | None = None,
    samples: bool = False,
    contiguous: bool = False,
    random_state: Any = None,
    *,
    signs: Literal[False] = False,
    loadings: bool | None = None,
    criterion: str | None = None,
    max_blocks: int | None = None,
    n_jobs: int | None = None,
    n_samples: int | None = None,
    degrees: bool = False,
    missing: str = "raise",
    sample_weight: Any = None,
    weight_type: str = "frequency",
) -> Partition: ...


@overload
def find_partition(
    source: Any,
    n_blocks: int | Literal["auto"] | None = None,
    samples: bool = False,
    contiguous: bool = False,
    random_state: Any = None,
    *,
    signs: Literal[True],
    loadings: bool | None = None,
    criterion: str | None = None,
    max_blocks: int | None = None,
    n_jobs: int | None = None,
    n_samples: int | None = None,
    degrees: bool = False,
    missing: str = "raise",
    sample_weight: Any = None,
    weight_type: str = "frequency",
) -> tuple[Partition, Array]: ...


def find_partition(
    source: Any,
    n_blocks: int | Literal["auto"] | None = None,
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
) -> Partition | tuple[Partition, Array]:
    r"""Find blocks of similar variables, and how many there are.

    Parameters
    ----------
    source : array_like or sparse matrix, shape (n, n), or array_like, shape (T, n)
        A symmetric matrix, or samples, one per row.
    n_blocks : int or "auto", optional
        The number of blocks; by default, and for "auto", the best number that `partition_path` finds.
    samples : bool, default False
        Whether `source` holds samples. Their correlation matrix is partitioned, and formed only
        if there are more samples than variables.
    contiguous : bool, default False
        Whether blocks are intervals of neighbouring variables; needs the ``discover`` extra.
    random_state : {None, int, numpy.random.Generator}, optional
        For random projections and k-means, which are used only for a matrix of more than 500
        rows, or for more than 2000 variables.
    signs : bool, default False
        Whether variables may first be multiplied by 1 or -1. The signs are returned too.
    loadings : bool, optional
        Whether the variables of a block may have different loadings on its factor, as the items
        of a scale have. With False all correlations within a block, and between two blocks, are
        equal. By default True for samples, and for a matrix that can be a correlation matrix: with
        `n_samples`, or dense with ones on its diagonal, entries from -1 to 1 and hardly any negative
        eigenvalues.
    criterion : {"misfit", "icl", "bic", "cv"}, optional
        How to choose the number of blocks; see `partition_path`.
    max_blocks : int, optional
        The largest number of blocks to try. It is at most n, and for T different samples of rank r
        at most T - 2, and at most r - 1 if r < n. By default 50, and at most n / 2 for a matrix
        without `n_samples`.
    n_jobs : int, optional
        How many threads share the folds of "cv", as for `joblib.Parallel` (extra ``sklearn``);
        -1 is one for each processor. By default no threads are started.
    n_samples : int, optional
        The number T of samples of which `source` is the correlation or covariance matrix. The
        blocks are those of the samples, to rounding. A covariance matrix is standardized. If T is
        not known, T is taken to be large, or what the rank of the matrix tells.
    degrees : bool, default False
        Whether `source` is the adjacency matrix of a network, and the blocks should not depend
        on the degrees of the nodes.
    missing : {"raise", "pairwise", "em"}, default "raise"
        What NaN in samples means: an error, or a missing value. Blocks are found again, a few
        times, in the correlations that are expected under the blocks found before. These are
        fitted to the means of observed products ("pairwise") or by maximum likelihood ("em").
        Infinity is always an error.
    sample_weight : array_like, shape (T,), optional
        The weight of each sample; by default 1. A sample of weight zero is left out.
    weight_type : {"frequency", "reliability"}, default "frequency"
        Frequencies count samples: the weight 2 is a repeated row, and the number of samples in
        criteria is :math:`\sum w`. For reliabilities it is :math:`(\sum w)^2 / \sum w^2`.

    Returns
    -------
    Partition
        The blocks, numbered in the order of their first variables.
    signs : ndarray of int, shape (n,)
        Only with ``signs=True``: 1 or -1 for each variable, and 1 for the first of each block.
        The partition describes :math:`S A S`, where S is the diagonal matrix of the signs.

    Raises
    ------
    ShapeError
        If a matrix is not square, or samples are not 2-d.
    DtypeError, NonFiniteError, NotHermitianError
        If the source is not real and finite, or a matrix is not symmetric.
    ValueError
        If there are fewer than 3 samples (6 for "cv"), samples are a symmetric matrix or have a
        constant column, a DataFrame has its rows in another order than its columns, a number
        of blocks is below 1 or too large, or the criterion is unknown or needs samples; with
        `n_samples` or `loadings`, if a variance is not positive or a correlation is not from
        -1 to 1; with `degrees`, if there are negative entries or no edges; with `missing`, if a
        column has no value, or two columns have values in fewer than 3 of the same samples on
        average; if weights are negative or count as fewer than 3 samples; if "cv" is used with
        missing values or weights, or these arguments with a matrix.
    SingularMatrixError
        If `missing` is "em" and there are too few samples, or collinear variables.
    TypeError
        If a flag is not a bool, or `loadings` not a bool or None.
    MissingExtraError
        If ruptures is not installed, for contiguous blocks.

    See Also
    --------
    partition_path : partitions into each number of blocks, with the criterion.

    Notes
    -----
    The search starts from Ward's clusters, or for contiguous blocks from change points [1]_. Each
    sweep moves every variable to its cheapest block. For a matrix A the cost of variable i in
    block b is :math:`\sum_c n_c C_{bc}^2 - 2 C_{bc} R_{ic}` plus a term of the diagonal, with
    :math:`C` the values of the blocks and :math:`R_{ic}` the sum of row i over block c. For
    samples it is minus twice the log-likelihood of the variable given the others. With
    `loadings`, EM estimates one factor for each block between the sweeps, and splits and merges
    of blocks follow. With ``loadings=False`` it is the likelihood given the block means.

    In a matrix that can be a correlation matrix, negative eigenvalues add up to at most a
    twentieth of the trace. They are replaced by zero, also with `n_samples`. A kernel matrix can
    be one too: for its block-constant approximation of least error pass ``loadings=False``.

    With `degrees` the entry of nodes i and j, divided by the roots of their degrees, is
    approximated by :math:`B_{bc}` times these roots. A node without edges joins the largest
    block.

    With missing values the number of samples in criteria is the number in which two variables
    are both observed, on average. The search is repeated up to five times. See
    :ref:`theory-gaps`.

    A sweep takes O(n\ :sup:`2` + n k\ :sup:`2`), or O(m n k) for samples with m the smaller
    of T and n, after O(m T n) once. See :ref:`theory-blocks` and :ref:`theory-factor-blocks`.

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

    The correlation matrix and the number of samples are enough:

    >>> R = np.corrcoef(returns, rowvar=False)
    >>> bm.find_partition(R, n_samples=200).labels.tolist()
    [0, 1, 2, 1, 0, 2, 0, 1, 2, 0]

    Variables with different loadings, some of them reversed:

    >>> loadings = np.array([0.9, 0.5, -0.8, 0.7, -0.6, 0.4, 0.8, 0.9, 0.6, 0.5])
    >>> answers = loadings * rng.normal(size=(500, 3))[:, sector] + 0.7 * rng.normal(size=(500, 10))
    >>> p, signs = bm.find_partition(answers, samples=True, signs=True)
    >>> p.labels.tolist(), signs.tolist()
    ([0, 1, 2, 1, 0, 2, 0, 1, 2, 0], [1, 1, 1, 1, -1, -1, 1, 1, -1, 1])

    Samples with missing values:

    >>> gappy = np.where(rng.random(returns.shape) < 0.2, np.nan, returns)
    >>> bm.find_partition(gappy, samples=True, missing="em").labels.tolist()
    [0, 1, 2, 1, 0, 2, 0, 1, 2, 0]

    Two groups of a network, each with a hub:

    >>> A = np.kron(np.eye(2), np.ones((5, 5)) - np.eye(5))
    >>> A[2:5, 2:5] = A[7:, 7:] = 0
    >>> bm.find_partition(A, 2, degrees=True).labels.tolist()
    [0, 0, 0, 0, 0, 1, 1, 1, 1, 1]
    """
    refuse_swapped(source, n_blocks, ("source", "n_blocks"), "find_partition(source, n_blocks)")
    if n_blocks is None or (isinstance(n_blocks, str) and n_blocks == "auto"):
        path = partition_path(
            source,
            samples,
            contiguous,
            random_state,
            signs=signs,
            loadings=loadings,
            criterion=criterion,
            max_blocks=max_blocks,
            n_jobs=n_jobs,
            n_samples=n_samples,
            degrees=degrees,
            missing=missing,
            sample_weight=sample_weight,
            weight_type=weight_type,
        )
        best = int(np.argmin(path.criterion))
        return path.best if path.signs is None else (path.best, path.signs[best])

    options = SearchOptions.checked(contiguous, signs, random_state)

    def find(question: Question) -> Blocks:
        return find_blocks(question.problem, options, n_blocks)

    of_samples = SampleOptions(missing, sample_weight, weight_type)
    request = Request(samples, signs, loadings, criterion, n_samples, degrees, of_samples)
    p, found_signs = solve(source, request, find)
    return p if found_signs is None else (p, found_signs)
