"""Fitting: from every kind of source to the canonical pair, by linear block sums.

The fit is the orthogonal projection onto the block-constant matrices in the
Frobenius norm, which is linear in the source.
"""

from functools import partial
from typing import Any, Literal, NamedTuple, overload

import numpy as np
from scipy.sparse.linalg import LinearOperator

from blockmat._blockwise import block_sums
from blockmat._moments import Moments, centred_moments, raw_moments, within_from_sums
from blockmat._scale import in_range, times_power
from blockmat._structured import SquareMatrix, Structured
from blockmat._sums import (
    as_samples,
    as_source,
    matrix_sums,
    operator_core,
    paired_array,
    probes,
    require_finite_blocks,
)
from blockmat._validation import (
    Array,
    accumulator_dtype,
    as_count,
    as_numeric,
    check_square,
    frozen,
    is_dask_array,
    real_dtype,
    working_dtype,
)
from blockmat._validation import check_finite as require_finite
from blockmat.exceptions import ShapeError
from blockmat.functions import hermitian_part, is_close_to_adjoint
from blockmat.matrix import BlockConstantMatrix
from blockmat.partition import Partition, as_partition, check_names

__all__ = ["FitResult", "fit", "fit_samples"]

_HEADROOM = 200  # powers of two that a sum may be above what is made of it


class FitResult(NamedTuple):
    """A fit with the standard error of what was estimated at random.

    Parameters
    ----------
    matrix : BlockConstantMatrix
        The fit.
    stderr : ndarray, shape (k,) or (k, k)
        The standard error of each number of ``matrix.within``; zero where it is
        exact, NaN from a single probe.
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
    n_probes = as_count(n_probes, "n_probes", 1)
    named = source
    check_names(named)
    is_chunked = is_dask_array(source)
    if is_chunked:
        from blockmat import _dask

        source = _dask.checked(source, "source", (2,))
    else:
        _require_compute(compute)
        source = as_source(source)
    check_square(source.shape, "source")
    p = as_partition(partition, source.shape[0], source=named)
    if diagonal is not None and (is_chunked or not isinstance(source, LinearOperator)):
        raise ValueError("diagonal is given; expected only with a LinearOperator as source")
    if is_chunked:
        dtype = working_dtype(source.dtype, "source")
        totals = _dask.matrix_totals(source, p, aligned, check_finite)
        finish = partial(_result_of_totals, p, numbers, aligned, check_finite, return_stderr, dtype)
        return _dask.finished(finish, totals, compute)
    if isinstance(source, LinearOperator):
        pair = _operator_pair(
            source, p, numbers, aligned, diagonal, n_probes, random_state, progress
        )
    else:
        pair = _matrix_pair(source, p, aligned, progress)
        if _overflows(pair):
            small = _matrix_pair(source, p, aligned, progress, 2.0**-_HEADROOM)
            pair = _completed(pair, small, _HEADROOM)
    return _result(p, pair, numbers, check_finite, return_stderr, source)


def fit_samples(
    X: Any,
    partition: Any,
    ddof: int = 1,
    assume_centered: bool = False,
    aligned: bool = False,
    *,
    check_finite: bool = True,
    compute: bool = True,
) -> BlockConstantMatrix:
    r"""Fit the covariance matrix of samples without forming it.

    Parameters
    ----------
    X : array_like or Dask array, shape (T, n)
        One sample per row.
    partition : Partition, sequence of hashable, Series or dict, shape (n,)
        The blocks, or a label for each variable, as for `fit`.
    ddof : int, default 1
        The sums of products are divided by ``T - ddof``.
    assume_centered : bool, default False
        Whether the mean is known to be zero; otherwise it is subtracted.
    aligned : bool, default False
        Two numbers in every square block, as for `fit`.
    check_finite : bool, default True
        Whether to refuse NaN and infinity.
    compute : bool, default True
        Of a Dask array, whether to compute the fit, or to return it as a Dask Delayed.

    Returns
    -------
    BlockConstantMatrix
        The projection of the sample covariance matrix: for Gaussian samples the
        maximum-likelihood estimate (with ``ddof=0``) of a block-constant
        covariance matrix. For samples from a continuous distribution it is invertible if
        T - 1 is at least k.

    Raises
    ------
    ShapeError
        If `X` is not 2-d or the partition does not fit.
    DtypeError
        If `X` is not numeric.
    NonFiniteError
        If it contains NaN or infinity; names the row and column.
    ValueError
        If `ddof` is negative or not below the number of samples, or `X` is a symmetric matrix,
        which is a covariance matrix and not samples.

    Notes
    -----
    With centred samples :math:`X_c`, M is the covariance of :math:`X_c U`, k
    numbers per sample, and the traces are sums of column variances. For complex
    samples the covariance of i and j is the mean of :math:`x_i \bar x_j`.

    It is the maximum-likelihood estimate: :ref:`theory-projection`.

    Examples
    --------
    >>> import numpy as np
    >>> import blockmat as bm
    >>> X = np.random.default_rng(0).normal(size=(50, 4))
    >>> A = bm.fit_samples(X, [0, 0, 1, 1])
    >>> bool(np.allclose(A.toarray(), bm.fit(np.cov(X, rowvar=False), [0, 0, 1, 1])))
    True
    """
    named, is_chunked = X, is_dask_array(X)
    if is_chunked:
        from blockmat import _dask

        X = _dask.checked(X, "X", (2,))
    else:
        _require_compute(compute)
        X = as_samples(X)
    p = as_partition(partition, X.shape[1], source=named)
    ddof = as_count(ddof, "ddof", 0)
    if ddof >= len(X):
        raise ValueError(f"ddof is {ddof}; expected less than the number of samples, {len(X)}")
    if is_chunked:
        totals = _dask.sample_totals(X, p, aligned, not assume_centered, check_finite)
        dtype = working_dtype(X.dtype, "X")
        scale = partial(_covariance_of_totals, p, len(X) - ddof, dtype)
        covariance: BlockConstantMatrix = _dask.finished(scale, totals, compute)
        return covariance
    if assume_centered:
        total = raw_moments(X, p, aligned, check_finite)
    else:
        total = centred_moments(X, p, aligned, check_finite).moments
    pair = _covariance_pair(total, len(X) - ddof)._replace(dtype=X.dtype)
    if _overflows(pair):
        factor = 2.0**-_HEADROOM
        if assume_centered:
            total = raw_moments(X, p, aligned, check_finite, factor)
        else:
            total = centred_moments(X, p, aligned, check_finite, factor).moments
        pair = _completed(pair, _covariance_pair(total, len(X) - ddof), 2 * _HEADROOM)
    return BlockConstantMatrix._trusted(p, pair.between, pair.within, X.dtype)


def _covariance_pair(total: Moments, divisor: int) -> "_Pair":
    total /= divisor
    between, within = total.pair()
    return _Pair(between, within, between.dtype, np.zeros(within.shape))


def _covariance_of_totals(
    p: Partition, divisor: int, dtype: np.dtype[Any], totals: Any
) -> BlockConstantMatrix:
    """Return the fit of a Dask array of samples from the moments of its chunks."""
    pair = _covariance_pair(totals.moments(p), divisor)
    return BlockConstantMatrix._trusted(p, pair.between, pair.within, dtype)


def n_parameters(p: Partition) -> int:
    """Return how many numbers a symmetric fit has: one per two blocks, and one within each."""
    k = p.n_blocks
    return k * (k + 1) // 2 + int((p.sizes > 1).sum())


def _require_compute(compute: bool) -> None:
    if not compute:
        raise ValueError("compute is False; expected only with a Dask array")


class _Pair(NamedTuple):
    between: Array
    within: Array
    dtype: np.dtype[Any]
    stderr: Array


def _matrix_pair(
    source: Any, p: Partition, aligned: bool, progress: bool | None, factor: float = 1.0
) -> _Pair:
    """Return the pair of an array or sparse matrix times a factor."""
    pairing = p._pairing(aligned)
    sums, traces = matrix_sums(source, p, p, pairing, progress, "fit", factor)
    dtype = working_dtype(source.dtype, "source")
    return _pair_from_sums(p, sums, paired_array(traces, pairing, aligned), dtype)


def _overflows(pair: _Pair) -> bool:
    """Whether a sum has overflowed, though perhaps not what is made of it."""
    finite = np.isfinite(pair.between).all() and np.isfinite(pair.within).all()
    return real_dtype(pair.dtype) == np.float64 and not finite


def _completed(pair: _Pair, small: _Pair, exponent: int) -> _Pair:
    """Fill what has overflowed in a pair from that of the source times ``2**-exponent``."""
    with np.errstate(over="ignore", invalid="ignore"):
        between, within = (
            np.where(np.isfinite(whole), whole, times_power(part, exponent))
            for whole, part in ((pair.between, small.between), (pair.within, small.within))
        )
    return pair._replace(between=between, within=within)


def _pair_from_sums(p: Partition, sums: Array, traces: Array, dtype: np.dtype[Any]) -> _Pair:
    root = np.sqrt(p.sizes)
    sums /= root[:, None]
    sums /= root
    own = np.abs(np.diagonal(traces) if traces.ndim == 2 else traces)
    between = _hermitian_if_rounding(p, _without_rounding(p, sums, own), np.float64, own)
    within = within_from_sums(p, between, traces)
    return _Pair(between, within, dtype, np.zeros(within.shape))


def _result_of_totals(
    p: Partition,
    numbers: int,
    aligned: bool,
    check_finite: bool,
    return_stderr: bool,
    dtype: np.dtype[Any],
    totals: Array,
) -> BlockConstantMatrix | FitResult:
    """Return the fit of a Dask array from the sums of its chunks."""
    sums, traces = totals[: p.n_blocks**2].reshape(p.n_blocks, -1).copy(), totals[p.n_blocks**2 :]
    pair = _pair_from_sums(p, sums, paired_array(traces, p._pairing(aligned), aligned), dtype)
    return _result(p, pair, numbers, check_finite, return_stderr)


def _result(
    p: Partition,
    pair: _Pair,
    numbers: int,
    check_finite: bool,
    return_stderr: bool,
    source: Any = None,
) -> BlockConstantMatrix | FitResult:
    if numbers == 1:
        pair = _without_within(pair)
    if check_finite:
        require_finite_blocks(pair.between, pair.within, p, p, source)
    matrix = BlockConstantMatrix._trusted(p, pair.between, pair.within, pair.dtype)
    return FitResult(matrix, frozen(pair.stderr)) if return_stderr else matrix


def _without_within(pair: _Pair) -> _Pair:
    zero = np.zeros(len(pair.between), dtype=pair.dtype)
    return pair._replace(within=zero, stderr=zero.real)


def _hermitian_if_rounding(
    p: Partition, between: Array, dtype: Any, traces: Array | float = 0.0
) -> Array:
    """Make a core exactly Hermitian if only rounding keeps it from being so.

    The block sums of a Hermitian source are added in another order in blocks (a, b)
    and (b, a), which leaves a difference that grows with the size of the blocks. Sums may
    cancel, so the diagonal of the source counts among the scales. Single variables have no sums.
    """
    largest = int(p.sizes.max())
    if largest == 1:
        return between
    rounding = float(16 * np.finfo(dtype).eps * np.sqrt(largest))
    return hermitian_part(between) if is_close_to_adjoint(between, rounding, traces) else between


def _without_rounding(p: Partition, between: Array, traces: Array) -> Array:
    """Set what is left of block sums that have cancelled to rounding to zero.

    A centred matrix has block sums of zero, not random tiny ones of either sign.
    """
    with np.errstate(invalid="ignore", over="ignore"):  # infinite sums, which may be allowed
        scale = np.sqrt(np.abs(traces)) * np.where(p.sizes > 1, p.sizes**0.25, 0)
        rounding = 16 * np.finfo(np.float64).eps * np.outer(scale, scale)
        cancelled = (np.abs(between) <= rounding) & np.isfinite(rounding)
    return np.where(cancelled, 0, between)


# Operators


def _operator_pair(
    source: LinearOperator,
    p: Partition,
    numbers: int,
    aligned: bool,
    diagonal: Any,
    n_probes: int,
    random_state: Any,
    progress: bool | None,
) -> _Pair:
    if isinstance(source, SquareMatrix):
        exact: Any = source.astype(accumulator_dtype(source.dtype))
        core, double = operator_core(exact, p, p, progress)
        between = _hermitian_if_rounding(p, core, double)
        within = within_from_sums(p, between, Structured(source).traces(p, aligned))
        return _Pair(between, within, source.dtype, np.zeros(within.shape))
    core, dtype = operator_core(source, p, p, progress)
    between = _hermitian_if_rounding(p, core, dtype)
    if diagonal is not None:
        diagonal = as_numeric(diagonal, "diagonal", (1,))
        if diagonal.shape[0] != p.n:
            raise ShapeError(f"diagonal has length {diagonal.shape[0]}; expected {p.n}")
        require_finite(diagonal, "diagonal")
        dtype = np.result_type(dtype, diagonal)
    if numbers == 1:  # the products with indicators were all it takes
        return _without_within(_Pair(between, between, dtype, between))
    if diagonal is not None:
        own = within_from_sums(p, between, block_sums(p, diagonal))
        if not aligned:
            return _Pair(between, own, dtype, np.zeros(own.shape))
    within, stderr = _hutchinson(source, p, aligned, n_probes, random_state)
    if diagonal is not None:
        np.fill_diagonal(within, own)
        np.fill_diagonal(stderr, 0)
    return _Pair(between, within, dtype, stderr)


def _hutchinson(
    source: LinearOperator, p: Partition, aligned: bool, n_probes: int, random_state: Any
) -> tuple[Array, Array]:
    """Estimate `within` from random signs, and the standard error of the estimate.

    The signs are reduced to their deviations from block means, because what the
    operator does to the means is known exactly and would only add variance.
    """
    signs = probes(source, n_probes, random_state)
    deviations = signs - p.expand(p.block_means(signs))
    products = as_numeric(source.matmat(deviations), "source @ probes", (2,))
    k = p.n_blocks
    dtype = accumulator_dtype(products.dtype)
    samples = np.zeros((n_probes, k, k) if aligned else (n_probes, k), dtype=dtype)
    if aligned:
        for members, rows in p.size_classes:
            pairs = np.einsum("apz,bpz->zab", products[rows], deviations[rows], optimize=True)
            samples[:, members[:, None], members] = pairs / (rows.shape[1] - 1)
    else:
        several = p.sizes > 1
        sums = block_sums(p, products * deviations).T
        samples[:, several] = sums[:, several] / (p.sizes[several] - 1)
    if _is_hermitian_on(deviations, products):
        adjoint = samples.conj().swapaxes(1, -1) if aligned else samples.conj()
        samples = (samples + adjoint) / 2
    if n_probes == 1:
        estimated = (p.sizes > 1) & (p.sizes[:, None] == p.sizes if aligned else True)
        return samples[0], np.where(estimated, np.nan, 0.0)
    scaled, exponent = in_range(samples)
    spread = times_power(scaled.std(axis=0, ddof=1), exponent)
    return samples.mean(axis=0), spread / np.sqrt(n_probes)


def _is_hermitian_on(vectors: Array, products: Array) -> bool:
    """Whether an operator looks Hermitian between several random real vectors."""
    gram = vectors.T @ products
    noise = 100 * np.finfo(gram.dtype).eps * np.sqrt(len(vectors)) * np.abs(gram).max()
    return len(gram) > 1 and bool(np.abs(gram - gram.conj().T).max() <= noise)
