"""partition_stability: how much found blocks change from sample to sample."""

from collections.abc import Callable
from numbers import Real
from typing import Any, Literal, NamedTuple

import numpy as np

from blockmat.blocks.argument_order import refuse_swapped
from blockmat.blocks.checks import Array, as_count, as_flag, frozen, is_choice
from blockmat.blocks.names import check_names, names_of
from blockmat.blocks.partition import Partition
from blockmat.blocks.shown import shown
from blockmat.finding.correlations.gaps import Blocks
from blockmat.finding.partition_path import PartitionPath, find_path
from blockmat.finding.problems.given_number import find_blocks
from blockmat.finding.problems.problem import as_model
from blockmat.finding.problems.read_problem import Question, Request, solve
from blockmat.finding.problems.read_samples import (
    MIN_SAMPLES,
    SampleOptions,
    read_samples,
    refuse_n_samples,
)
from blockmat.finding.resampling.agreement import adjusted_rand
from blockmat.finding.resampling.coassignment import Coassignment
from blockmat.finding.resampling.resamples import Data, NormalResamples, Resamples, RowResamples
from blockmat.finding.search.search import SearchOptions
from blockmat.fitting.held_out import map_in_threads
from blockmat.sources.progress import track

__all__ = ["PartitionStability", "partition_stability"]

_METHODS = ("bootstrap", "subsample")
_SHARE = 0.5  # of the rows in a subsample


class PartitionStability(NamedTuple):
    """How stable the blocks of a partition are, and how stable its number of blocks.

    Parameters
    ----------
    partition : Partition
        The blocks found in all the data.
    signs : None or ndarray of int, shape (n,)
        The signs found in all the data, 1 or -1, if they were asked for.
    coassignment : Coassignment, shape (n, n)
        The share of resamples in which two variables are in the same block. Its entries are
        computed when they are read.
    of_variable : ndarray, shape (n,)
        From -1 to 1: how often a variable shares a block with another variable of its block, on
        average over these, minus the same for the nearest other block. A block of one variable
        counts as shared with itself.
    of_sign : None or ndarray, shape (n,)
        From 0 to 1: where a variable shares a block with others of its block, how often its sign
        relative to theirs is that of all the data. NaN if it shares none.
    of_block : ndarray, shape (k,)
        From 0 to 1: the Jaccard index of each block and the most similar block of a resample, on
        average.
    n_blocks : ndarray of int, shape (m,)
        The numbers of blocks that were tried for all the data or chosen for a resample, ascending.
    of_n_blocks : ndarray, shape (m,)
        The share of resamples in which each number was chosen.
    agreement : ndarray, shape (m,)
        The adjusted Rand index of the partitions of all the data and of a resample into each
        number of blocks, on average; NaN if a number was not tried for both. It is 1 for one block
        and for n blocks.
    names : None or tuple
        The names of the variables, if the source is a DataFrame.

    See Also
    --------
    partition_stability : computes it.

    Examples
    --------
    >>> import numpy as np
    >>> import blockmat as bm
    >>> X = np.random.default_rng(0).normal(size=(60, 2))[:, [0, 0, 0, 1, 1]]
    >>> X = X + 0.5 * np.random.default_rng(1).normal(size=(60, 5))
    >>> result = bm.partition_stability(X, 2, samples=True, n_resamples=20)
    >>> result.partition.labels.tolist(), result.of_block
    ([0, 0, 0, 1, 1], array([1., 1.]))
    """

    partition: Partition
    signs: Array | None
    coassignment: Coassignment
    of_variable: Array
    of_sign: Array | None
    of_block: Array
    n_blocks: Array
    of_n_blocks: Array
    agreement: Array
    names: tuple[Any, ...] | None = None

    def __repr__(self) -> str:
        m = len(self.n_blocks)
        return (
            f"<PartitionStability of {self.partition.n} variables: {m} "
            f"number{'s' if m > 1 else ''} of blocks tried, {self.partition.n_blocks} in all the data>"
        )


def partition_stability(
    source: Any,
    n_blocks: int | Literal["auto"] | None = None,
    samples: bool = False,
    contiguous: bool = False,
    random_state: Any = None,
    *,
    n_samples: int | None = None,
    signs: bool = False,
    loadings: bool | None = None,
    criterion: str | None = None,
    max_blocks: int | None = None,
    n_resamples: int = 100,
    method: str = "bootstrap",
    share: float | None = None,
    n_jobs: int | None = None,
    progress: bool | None = None,
    missing: str = "raise",
    sample_weight: Any = None,
    weight_type: str = "frequency",
) -> PartitionStability:
    r"""Find blocks again in resampled data, and measure how much they change.

    Parameters
    ----------
    source : array_like, shape (T, n), or array_like, shape (n, n)
        Samples, one per row, or the correlation or covariance matrix of `n_samples` samples.
    n_blocks : int or "auto", optional
        The number of blocks; by default, and for "auto", it is chosen for each resample.
    samples : bool, default False
        Whether `source` holds samples.
    contiguous : bool, default False
        Whether blocks are intervals of neighbouring variables; needs the ``discover`` extra.
    random_state : {None, int, numpy.random.Generator}, optional
        Draws the resamples. The same state gives the same result for any `n_jobs`.
    n_samples : int, optional
        The number of samples of a correlation matrix.
    signs : bool, default False
        Whether variables may first be multiplied by 1 or -1.
    loadings : bool, optional
        Whether the variables of a block may have different loadings; by default True, as for
        `find_partition`.
    criterion : {"misfit", "icl", "bic", "cv"}, optional
        How to choose the number of blocks; see `partition_path`. "cv" needs subsamples.
    max_blocks : int, optional
        The largest number of blocks to try, as for `find_partition`.
    n_resamples : int, default 100
        How often to resample, at least 2.
    method : {"bootstrap", "subsample"}, default "bootstrap"
        Draw T rows with replacement, or some of the rows without. For a correlation matrix,
        "bootstrap" draws T samples of the normal distribution with these correlations.
    share : float, optional
        The share of rows in a subsample, above 0 and below 1; by default 0.5.
    n_jobs : int, optional
        How many threads share the resamples, as for `joblib.Parallel` (extra ``sklearn``);
        -1 is one for each processor. By default no threads are started.
    progress : bool, optional
        Whether to show a progress bar; by default in a terminal, if tqdm is installed.
    missing : {"raise", "pairwise", "em"}, default "raise"
        As for `find_partition`.
    sample_weight, weight_type : array_like, shape (T,), optional, and str, default "frequency"
        As for `find_partition`. Each row is drawn with its weight and its missing values; rows of
        weight zero or without values are not drawn.

    Returns
    -------
    PartitionStability
        The blocks of all the data, and the stability of variables, blocks and numbers of blocks.

    Raises
    ------
    ShapeError, DtypeError, NonFiniteError, NotHermitianError
        As for `find_partition`.
    SingularMatrixError, MissingExtraError
        As for `find_partition`.
    ValueError
        As for `find_partition`, and if `n_resamples` is below 2, a method or a share is invalid,
        a matrix has no `n_samples`, or resamples have constant columns.

    See Also
    --------
    find_partition : the blocks.
    blockmat.plot.stability : a picture of the result.

    Notes
    -----
    The coassignment of two variables is their entry of the consensus matrix of Monti et al. [1]_.
    The stability of a variable is its item consensus with its own block minus the largest with
    another block. The stability of a block is the mean Jaccard index of Hennig [2]_, who
    calls blocks below 0.6 doubtful, and those above 0.85 highly stable.

    A bootstrap sample has the errors of the samples twice, once from the samples and once from the
    draw, and rows that repeat. If there are fewer samples than variables, criteria then choose too
    many blocks; use "subsample". With half of the rows, errors are as large as in a bootstrap
    sample, but criteria see the smaller number of samples, and choose fewer blocks. See
    :ref:`theory-blocks`.

    It takes as long as ``n_resamples + 1`` searches, and O(n `n_resamples`) memory.

    References
    ----------
    .. [1] S. Monti, P. Tamayo, J. Mesirov, T. Golub, "Consensus Clustering: A Resampling-Based
       Method for Class Discovery and Visualization of Gene Expression Microarray Data", Machine
       Learning 52, 2003.
    .. [2] C. Hennig, "Cluster-wise assessment of cluster stability", Computational Statistics and
       Data Analysis 52, 2007.

    Examples
    --------
    >>> import numpy as np
    >>> import blockmat as bm
    >>> rng = np.random.default_rng(0)
    >>> sector = np.array([0, 1, 2, 1, 0, 2, 0, 1, 2, 0])
    >>> returns = rng.normal(size=(200, 3))[:, sector] + rng.normal(size=(200, 10))
    >>> result = bm.partition_stability(returns, samples=True, n_resamples=20, random_state=0)
    >>> result.partition.n_blocks, result.of_block.min() > 0.9
    (3, np.True_)
    >>> R = np.corrcoef(returns, rowvar=False)
    >>> result = bm.partition_stability(R, 3, n_samples=200, n_resamples=20, random_state=0)
    >>> result.of_variable.min() > 0.9
    np.True_
    """
    refuse_swapped(
        source, n_blocks, ("source", "n_blocks"), "partition_stability(source, n_blocks)"
    )
    n_resamples = as_count(n_resamples, "n_resamples", 2)
    samples = as_flag(samples, "samples")
    search_options = SearchOptions.checked(contiguous, signs, None)
    of_samples = SampleOptions(missing, sample_weight, weight_type)
    resamples = _read_resamples(source, samples, n_samples, method, share, of_samples)
    model = as_model(loadings, criterion, True, samples)
    if model.criterion == "cv" and method == "bootstrap":
        raise ValueError(
            "criterion is 'cv' with method='bootstrap', whose rows repeat; expected "
            "method='subsample'"
        )

    request = Request(samples, signs, model.loadings, model.criterion, None, False, of_samples)

    number = None if isinstance(n_blocks, str) and n_blocks == "auto" else n_blocks

    def search(data: Data, rng: np.random.Generator, is_resample: bool) -> PartitionPath:
        """Search the data; a resample can have fewer different rows, and fewer blocks."""
        options = search_options._replace(random_state=rng)

        def find(question: Question) -> PartitionPath:
            def most(wanted: int) -> int:
                return min(wanted, question.max_blocks) if is_resample else wanted

            if number is None:
                limit = None if max_blocks is None else most(max_blocks)
                return find_path(question, options, limit, None)
            return _only(*find_blocks(question.problem, options, most(number)))

        def find_as_many(question: Question, k: int) -> Blocks:
            return find_blocks(question.problem, options, k)

        return _solve(data, request, find, find_as_many if number is None else None)

    seeds = np.random.default_rng(random_state).integers(2**63, size=n_resamples + 1)
    whole = search(resamples.data, np.random.default_rng(seeds[0]), False)

    def again(seed: int) -> _Resample:
        rng = np.random.default_rng(seed)
        return _compare(whole, search(resamples.draw(rng), rng, True))

    tracked = track(seeds[1:], n_resamples, "resamples", progress)
    return _summary(whole, map_in_threads(again, tracked, n_jobs), names_of(source, 1))


def _read_resamples(
    source: Any,
    samples: bool,
    n_samples: int | None,
    method: str,
    share: float | None,
    of_samples: SampleOptions,
) -> Resamples:
    """Check the source and how to resample it."""
    if not is_choice(method, _METHODS):
        raise ValueError(f"method is {shown(method)}; expected 'bootstrap' or 'subsample'")
    if share is not None and method == "bootstrap":
        raise ValueError(f"share is {share} with method='bootstrap'; expected method='subsample'")
    if not samples:
        of_samples.require_none()
        if n_samples is None:
            raise ValueError(
                "n_samples is None; expected the number of samples of a correlation matrix, or "
                "samples with samples=True"
            )
        if method == "subsample":
            raise ValueError("method is 'subsample' with samples=False; expected 'bootstrap'")
        check_names(source)
        return NormalResamples(source, as_count(n_samples, "n_samples", MIN_SAMPLES))
    refuse_n_samples(n_samples)
    data = read_samples(source, of_samples)
    if method == "bootstrap":
        return RowResamples(data, data.n_rows, replace=True)
    share = _SHARE if share is None else share
    if not (isinstance(share, Real) and 0 < share < 1):
        raise ValueError(f"share is {share!r}; expected a number above 0 and below 1")
    size = int(share * data.n_rows)
    if size < MIN_SAMPLES:
        raise ValueError(
            f"share is {share}, and source has {data.n_rows} rows; expected a subsample of at least "
            f"{MIN_SAMPLES} rows"
        )
    return RowResamples(data, size, replace=False)


def _solve(
    data: Data,
    request: Request,
    find: Callable[[Question], PartitionPath],
    find_as_many: Callable[[Question, int], Blocks] | None,
) -> PartitionPath:
    """Search samples, or the correlation matrix of samples, whose weights are in the data."""
    missing = request.of_samples.missing if data.is_of_samples else "raise"
    request = request._replace(
        samples=data.is_of_samples, n_samples=data.n_samples, of_samples=SampleOptions(missing)
    )
    return solve(data.source, request, find, find_as_many)


def _only(p: Partition, signs: Array | None) -> PartitionPath:
    """Return a path of one partition."""
    number, zero = np.array([p.n_blocks]), np.zeros(1)
    return PartitionPath(number, zero, zero, (p,), None if signs is None else (signs,))


class _Resample(NamedTuple):
    """The best partition of a resample, and how other ones agree with those of all the data."""

    labels: Array
    signs: Array | None
    n_blocks: int
    agreement: dict[int, float]


def _compare(whole: PartitionPath, path: PartitionPath) -> _Resample:
    """Reduce a path to what is kept of it."""
    of_whole = dict(zip(whole.n_blocks.tolist(), whole.partitions, strict=True))
    agreement = {
        k: adjusted_rand(of_whole[k], p)
        for k, p in zip(path.n_blocks.tolist(), path.partitions, strict=True)
        if k in of_whole
    }
    return _Resample(path.best.labels, path.best_signs, path.best.n_blocks, agreement)


def _summary(
    whole: PartitionPath, found: list[_Resample], names: list[Any] | None
) -> PartitionStability:
    """Summarize all resamples."""
    p, signs = whole.best, whole.best_signs
    coassignment = Coassignment([each.labels for each in found])
    shared = coassignment.with_blocks(p)
    of_sign = None
    if signs is not None:
        relative = np.array([each.signs for each in found]) * signs
        same_minus_other = _own(coassignment.with_blocks(p, relative), p)
        often = _own(shared, p)
        is_known = often > 0
        of_sign = np.full(p.n, np.nan)
        of_sign[is_known] = (1 + same_minus_other[is_known] / often[is_known]) / 2
        of_sign.flags.writeable = False
    chosen = np.array([each.n_blocks for each in found])
    numbers = np.union1d(whole.n_blocks, chosen)
    agreement = [[each.agreement.get(k, np.nan) for each in found] for k in numbers.tolist()]
    return PartitionStability(
        p,
        signs,
        coassignment,
        frozen(_stability_of_variables(shared, p)),
        of_sign,
        frozen(coassignment.overlaps(p).mean(axis=0)),
        frozen(numbers),
        frozen((chosen == numbers[:, None]).mean(axis=1)),
        frozen(_mean_of_known(np.array(agreement))),
        None if names is None else tuple(names),
    )


def _own(shared: Array, p: Partition) -> Array:
    """Return the entry of each variable (n, k) with its own block, (n,)."""
    own: Array = shared[np.arange(p.n), p.labels]
    return own


def _stability_of_variables(shared: Array, p: Partition) -> Array:
    """Return the coassignment with the own block minus the largest with another one."""
    own = np.nan_to_num(_own(shared, p), nan=1.0)
    others = shared.copy()
    others[np.arange(p.n), p.labels] = 0
    result: Array = own - others.max(axis=1)
    return result


def _mean_of_known(values: Array) -> Array:
    """Return the mean of each row without NaN, and NaN if nothing else is in it."""
    known = np.isfinite(values)
    n_known = known.sum(axis=1)
    sums = np.where(known, values, 0).sum(axis=1)
    result: Array = np.where(n_known > 0, sums / np.maximum(n_known, 1), np.nan)
    return result
