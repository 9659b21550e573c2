"""fit: the block-constant matrix closest to a matrix of any kind."""

from functools import partial
from typing import Any, Literal, NamedTuple, overload

from blockmat.blocks.checks import Array, as_count, check_square, frozen
from blockmat.blocks.names import check_names
from blockmat.blocks.partition import Partition, as_partition
from blockmat.fitting.recognise import as_fit_source
from blockmat.matrices.block_constant import BlockConstantMatrix, trusted_matrix
from blockmat.sources.pair import Pair
from blockmat.sources.source import Options

__all__ = ["FitResult", "fit"]


class FitResult(NamedTuple):
    """A fit, and the standard errors of the numbers that were estimated from random vectors.

    Parameters
    ----------
    matrix : BlockConstantMatrix
        The fit.
    stderr : ndarray, shape (k,) or (k, k)
        The standard error of each number of ``matrix.within``. It is zero if the number is exact,
        and NaN if it was estimated from a single vector.

    See Also
    --------
    fit : returns it with ``return_stderr=True``.

    Examples
    --------
    >>> import blockmat as bm
    >>> bm.fit([[2, 1], [1, 4]], [0, 0], return_stderr=True).stderr
    array([0.])
    """

    matrix: BlockConstantMatrix
    stderr: Array


@overload
def fit(
    source: Any,
    partition: Any,
    numbers: int = 2,
    aligned: bool = False,
    *,
    check_finite: bool = True,
    progress: bool | None = None,
    diagonal: Any = None,
    n_probes: int = 32,
    random_state: Any = None,
    return_stderr: Literal[False] = False,
    compute: bool = True,
) -> BlockConstantMatrix: ...


@overload
def fit(
    source: Any,
    partition: Any,
    numbers: int = 2,
    aligned: bool = False,
    *,
    check_finite: bool = True,
    progress: bool | None = None,
    diagonal: Any = None,
    n_probes: int = 32,
    random_state: Any = None,
    return_stderr: Literal[True],
    compute: bool = True,
) -> FitResult: ...


def fit(
    source: Any,
    partition: Any,
    numbers: int = 2,
    aligned: bool = False,
    *,
    check_finite: bool = True,
    progress: bool | None = None,
    diagonal: Any = None,
    n_probes: int = 32,
    random_state: Any = None,
    return_stderr: bool = False,
    compute: bool = True,
) -> Any:
    r"""Find the block-constant matrix closest to a source in the Frobenius norm.

    Parameters
    ----------
    source : array_like, sparse matrix, LinearOperator, Dask array or other, shape (n, n)
        What to approximate; it need not be symmetric. A `numpy.memmap` may be
        larger than memory, and so may a Dask array, whose chunks may be dense or sparse, and
        anywhere.
    partition : Partition, sequence of hashable, Series or dict, shape (n,)
        The blocks, or a label for each variable. Labels in a pandas Series or a dict are found by
        the names of the columns where the source is a DataFrame.
    numbers : {1, 2}, default 2
        One number in every block, or two in the diagonal blocks: one on the
        diagonal and one off it.
    aligned : bool, default False
        Two numbers in every square block: one where the p-th member of one block
        meets the p-th member of the other, and one elsewhere.
    check_finite : bool, default True
        Whether to refuse NaN and infinity. Otherwise they spread over their blocks.
    progress : bool, optional
        Whether to show a progress bar; by default if the source takes several
        chunks, standard error is a terminal and tqdm is installed.
    diagonal : array_like, shape (n,), optional
        The diagonal of a LinearOperator, which makes its fit exact (unless aligned). Not used
        for the matrices of this package, whose fit is exact without it.
    n_probes : int, default 32
        Random vectors for the numbers of a LinearOperator that its products with
        block indicators do not give; not for the square matrices of this package.
    random_state : {None, int, numpy.random.Generator}, optional
        For these vectors.
    return_stderr : bool, default False
        Return a `FitResult` with the standard error of these numbers.
    compute : bool, default True
        Of a Dask array, whether to compute the fit, or to return it as a Dask Delayed.

    Returns
    -------
    BlockConstantMatrix or FitResult
        The orthogonal projection of the source, in its precision.

    Raises
    ------
    ShapeError
        If the source is not square or the partition does not fit.
    DtypeError
        If the source is not numeric.
    NonFiniteError
        If it contains NaN or infinity; names the block, row and column.
    PartitionError
        If labels by name lack a column.
    ValueError
        If another argument is out of range, or a DataFrame has its rows in another order than its
        columns.

    See Also
    --------
    fit_samples : the fit of a covariance matrix, from samples.
    approximation_error : how good it is.

    Notes
    -----
    With :math:`s_{ab}` the sum and :math:`t_b` the trace of a block,
    :math:`M_{ab} = s_{ab} / \sqrt{n_a n_b}` and
    :math:`d_b = (t_b - M_{bb}) / (n_b - 1)` [1]_. The fit is the average of the
    source over all permutations of variables inside blocks, and so keeps the trace
    and positive definiteness. The condition number of a positive definite source does not
    grow. A LinearOperator
    gives M exactly from k products, and d by Hutchinson's estimator applied to
    deviations from block means. For a BlockConstantMatrix, ScaledBlockMatrix or
    BlockPlusLowRank d is exact too, from the entries on the diagonals.

    Proofs are in :ref:`theory-projection`, and operators in :ref:`theory-operators`.

    References
    ----------
    .. [1] Y. Lu, M. Harandi, R. Hartley, R. Pascanu, "Block Mean Approximation for
       Efficient Second Order Optimization", arXiv:1804.05484, 2018.

    Examples
    --------
    >>> import blockmat as bm
    >>> A = bm.fit([[5, 1, 0], [3, 7, 2], [4, 4, 9]], ["a", "a", "b"])
    >>> A.toarray()
    array([[6., 2., 1.],
           [2., 6., 1.],
           [4., 4., 9.]])
    """
    if numbers not in (1, 2):
        raise ValueError(f"numbers is {numbers!r}; expected 1 or 2")
    if aligned and numbers == 1:
        raise ValueError("aligned is True with numbers=1; aligned blocks hold 2 numbers")
    options = Options(
        numbers=numbers,
        aligned=aligned,
        check_finite=check_finite,
        progress=progress,
        diagonal=diagonal,
        n_probes=as_count(n_probes, "n_probes", 1),
        random_state=random_state,
    )
    check_names(source)
    S = as_fit_source(source, compute)
    check_square(S.shape, "source")
    p = as_partition(partition, S.shape[0], source=source)
    if diagonal is not None and not S.is_operator:
        raise ValueError("diagonal is given; expected only with a LinearOperator as source")
    return S.then(partial(_result, p, return_stderr), S.pair(p, options))


def _result(p: Partition, return_stderr: bool, pair: Pair) -> BlockConstantMatrix | FitResult:
    matrix = trusted_matrix(p, pair.between, pair.within, pair.dtype)
    return FitResult(matrix, frozen(pair.stderr)) if return_stderr else matrix
