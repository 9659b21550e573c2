"""fit_samples: the block-constant covariance matrix of samples."""

from functools import partial
from typing import Any

from blockmat.blocks.checks import as_count
from blockmat.blocks.partition import Partition, as_partition
from blockmat.fitting.recognise import as_sample_source
from blockmat.matrices.block_constant import BlockConstantMatrix, trusted_matrix
from blockmat.sources.pair import Pair
from blockmat.sources.source import Options

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
    samples = as_sample_source(X, compute)
    n_samples, n = samples.shape
    p = as_partition(partition, n, source=X)
    ddof = as_count(ddof, "ddof", 0)
    if ddof >= n_samples:
        raise ValueError(f"ddof is {ddof}; expected less than the number of samples, {n_samples}")
    options = Options(
        aligned=aligned, check_finite=check_finite, ddof=ddof, assume_centered=assume_centered
    )
    covariance: BlockConstantMatrix = samples.then(partial(_matrix, p), samples.pair(p, options))
    return covariance


def _matrix(p: Partition, pair: Pair) -> BlockConstantMatrix:
    return trusted_matrix(p, pair.between, pair.within, pair.dtype)
