"""fit_samples: the block-constant covariance matrix of samples."""

from functools import partial
from typing import Any

import numpy as np

from blockmat.blocks.checks import (
    as_count,
    is_dask_array,
    working_dtype,
)
from blockmat.blocks.chunked import checked, finished
from blockmat.blocks.partition import Partition, as_partition
from blockmat.fitting.pair import HEADROOM, Pair, completed, overflows, require_compute
from blockmat.matrices.block_constant import BlockConstantMatrix, trusted_matrix
from blockmat.sources.chunked_samples import sample_totals
from blockmat.sources.moments import Moments, centred_moments, raw_moments
from blockmat.sources.samples import as_samples

__all__ = ["fit_samples"]


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
        X = checked(X, "X", (2,))
    else:
        require_compute(compute)
        X = as_samples(X)
    p = as_partition(partition, X.shape[1], source=named)
    ddof = as_count(ddof, "ddof", 0)
    if ddof >= len(X):
        raise ValueError(f"ddof is {ddof}; expected less than the number of samples, {len(X)}")
    if is_chunked:
        totals = sample_totals(X, p, aligned, not assume_centered, check_finite)
        dtype = working_dtype(X.dtype, "X")
        scale = partial(_covariance_of_totals, p, len(X) - ddof, dtype)
        covariance: BlockConstantMatrix = finished(scale, totals, compute)
        return covariance
    if assume_centered:
        total = raw_moments(X, p, aligned, check_finite)
    else:
        total = centred_moments(X, p, aligned, check_finite).moments
    pair = _covariance_pair(total, len(X) - ddof)._replace(dtype=X.dtype)
    if overflows(pair):
        factor = 2.0**-HEADROOM
        if assume_centered:
            total = raw_moments(X, p, aligned, check_finite, factor)
        else:
            total = centred_moments(X, p, aligned, check_finite, factor).moments
        pair = completed(pair, _covariance_pair(total, len(X) - ddof), 2 * HEADROOM)
    return trusted_matrix(p, pair.between, pair.within, X.dtype)


def _covariance_pair(total: Moments, divisor: int) -> "Pair":
    total /= divisor
    between, within = total.pair()
    return Pair(between, within, between.dtype, np.zeros(within.shape))


def _covariance_of_totals(
    p: Partition, divisor: int, dtype: np.dtype[Any], totals: Any
) -> BlockConstantMatrix:
    """Return the fit of a Dask array of samples from the moments of its chunks."""
    pair = _covariance_pair(totals.moments(p), divisor)
    return trusted_matrix(p, pair.between, pair.within, dtype)
