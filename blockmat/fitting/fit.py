"""fit: the block-constant matrix closest to a matrix."""

from functools import partial
from typing import Any, Literal, NamedTuple, overload

from blockmat.blocks.argument_order import refuse_swapped
from blockmat.blocks.checks import Array, as_count, check_square, frozen
from blockmat.blocks.names import check_names
from blockmat.blocks.partition import Partition, as_partition
from blockmat.fitting.recognise import as_fit_source
from blockmat.matrices.block_constant import BlockConstantMatrix, trusted_matrix
from blockmat.sources.pair import Pair
from blockmat.sources.source import Options

__all__ = ["FitResult", "fit"]


class FitResult(NamedTuple):
    """A fit, with the standard errors of the numbers estimated from random vectors.

    Parameters
    ----------
    matrix : BlockConstantMatrix
        The fit.
    stderr : ndarray, shape (k,) or (k, k)
        The standard error of each number of ``matrix.within``. It is zero for an exact number, and
        NaN for an estimate from a single vector.

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
    r"""Find the block-constant matrix closest to a matrix in the Frobenius norm.

    Parameters
    ----------
    source : array_like, sparse matrix, LinearOperator or Dask array, shape (n, n)
        The matrix; it need not be symmetric. A `numpy.memmap` or a Dask array may be larger than
        memory. The chunks of a Dask array may be dense or sparse.
    partition : Partition, sequence of hashable, Series or dict, shape (n,)
        The blocks, or a label for each variable. If `source` is a DataFrame, a Series or dict gives
        labels by column name. A Series with the default index 0, 1, ... is taken in order, unless
        the column names are integers too.
    numbers : {1, 2}, default 2
        The number of values in a diagonal block: one, or one on its diagonal and one off it.
    aligned : bool, default False
        Whether every square block has two values: one where the p-th member of one block meets
        the p-th member of the other, and one elsewhere.
    check_finite : bool, default True
        Whether to refuse NaN and infinity. Otherwise the values of their blocks are not finite.
    progress : bool, optional
        Whether to show a progress bar. By default it is shown in a terminal if tqdm is installed
        and the source is read in several chunks.
    diagonal : array_like, shape (n,), optional
        The diagonal of a LinearOperator. With it the fit is exact, unless aligned.
    n_probes : int, default 32
        The number of random vectors from which ``within`` of a LinearOperator is estimated.
    random_state : {None, int, numpy.random.Generator}, optional
        For the random vectors.
    return_stderr : bool, default False
        Whether to return a `FitResult` with the standard errors of these estimates.
    compute : bool, default True
        Whether to compute the fit of a Dask array. Otherwise it is returned as a Dask Delayed.

    Returns
    -------
    BlockConstantMatrix or FitResult
        The orthogonal projection of the source, in its precision.

    Raises
    ------
    ShapeError
        If the source is not square, or has another number of variables than the partition.
    DtypeError
        If the source is not numeric.
    NonFiniteError
        If it contains NaN or infinity.
    PartitionError
        If a column has no label by name.
    ValueError
        If another argument is out of range, or a DataFrame has its rows in another order than its
        columns.

    See Also
    --------
    fit_samples : fit the covariance matrix of samples.
    fit_factor : fit a correlation matrix by one factor for each block (least squares).
    approximation_error : the relative error of the fit.

    Notes
    -----
    With :math:`s_{ab}` the sum over block (a, b) and :math:`t_b` the trace of diagonal block b,
    :math:`M_{ab} = s_{ab} / \sqrt{n_a n_b}` and :math:`d_b = (t_b - M_{bb}) / (n_b - 1)` [1]_.
    The fit keeps the trace and positive definiteness, and does not increase the condition number
    of a positive definite source: :ref:`theory-projection`.

    For a LinearOperator M is exact, from k products, and d is estimated from `n_probes` products:
    :ref:`theory-operators`. For the square matrices of this package d is exact too.

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
    refuse_swapped(source, partition, ("source", "partition"), "fit(source, partition)")
    check_names(source)
    S = as_fit_source(source, compute)
    check_square(S.shape, "source", "for samples use fit_samples")
    p = as_partition(partition, S.shape[0], source=source)
    if diagonal is not None and not S.is_operator:
        raise ValueError("diagonal is given; expected only with a LinearOperator as source")
    return S.then(partial(_result, p, return_stderr), S.pair(p, options))


def _result(p: Partition, return_stderr: bool, pair: Pair) -> BlockConstantMatrix | FitResult:
    matrix = trusted_matrix(p, pair.between, pair.within, pair.dtype)
    return FitResult(matrix, frozen(pair.stderr)) if return_stderr else matrix
