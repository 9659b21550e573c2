"""fit_samples: the block-constant covariance matrix of samples."""

from functools import partial
from typing import Any

from blockmat.blocks.argument_order import refuse_swapped
from blockmat.blocks.checks import as_count, require_in_range
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
    sample_weight: Any = None,
    weight_type: str = "frequency",
    missing: str = "raise",
    check_finite: bool = True,
    compute: bool = True,
) -> BlockConstantMatrix:
    r"""Fit the covariance matrix of samples without forming it.

    Parameters
    ----------
    X : array_like or Dask array, shape (T, n)
        One sample per row.
    partition : Partition, sequence of hashable, Series or dict, shape (n,)
        The blocks, or a label for each variable. If `X` is a DataFrame, a Series or dict gives
        labels by column name; see `fit`.
    ddof : int, default 1
        The sums of products are divided by ``T - ddof``; see Notes for weights.
    assume_centered : bool, default False
        Whether the mean is known to be zero. Otherwise the sample mean is subtracted.
    aligned : bool, default False
        Whether every square block has two values, as for `fit`.
    sample_weight : array_like or Series, shape (T,), optional
        A non-negative weight for each sample. A sample of weight zero is left out. If `X` is a
        DataFrame, a Series is matched to its rows by name.
    weight_type : {"frequency", "reliability"}, default "frequency"
        Whether weights count samples, so that integers give the fit of repeated rows, or are
        inverse variances up to a common factor.
    missing : {"raise", "pairwise", "em"}, default "raise"
        What to do with NaN: raise an error, pool the products of observed values
        ("pairwise"), or find the most likely parameters of a normal distribution by
        expectation-maximization ("em"). Infinity is always an error.
    check_finite : bool, default True
        Whether to refuse NaN and infinity. Ignored unless `missing` is "raise".
    compute : bool, default True
        Whether to compute the fit of a Dask array. Otherwise it is returned as a Dask Delayed.

    Returns
    -------
    BlockConstantMatrix
        The projection of the sample covariance matrix. For samples from a continuous distribution
        it is invertible if T - 1 is at least k.

    Raises
    ------
    ShapeError
        If `X` is not 2-d, has another number of columns than the partition has variables, or
        another number of rows than `sample_weight` has weights.
    DtypeError
        If `X` or `sample_weight` is not numeric.
    NonFiniteError
        If one of them contains NaN or infinity.
    ValueError
        If `ddof` is negative or not below the number of samples; if a weight is negative, all
        are zero or `weight_type` is unknown; if `X` is a symmetric matrix, such as a
        covariance matrix; if `missing` is unknown, or "em" for a Dask array; or if values
        are missing and a column has none, two blocks have too few in the same samples, or
        `aligned` is True.
    SingularMatrixError
        If `missing` is "em" and there are too few samples for the number of blocks.

    See Also
    --------
    fit : fit a matrix.
    BlockAccumulator : fit samples that arrive in batches.

    Notes
    -----
    With the centred samples :math:`X_c`, M is the covariance matrix of :math:`X_c U`, which has k
    numbers per sample. For Gaussian samples and ``ddof=0`` the fit is the maximum-likelihood
    estimate: :ref:`theory-projection`. The covariance of complex variables i and j is the mean of
    :math:`x_i \bar x_j`.

    Weights w multiply the products of deviations from the weighted mean. The divisor is
    :math:`\sum w - \mathrm{ddof}` for frequencies, and
    :math:`\sum w - \mathrm{ddof} \sum w^2 / \sum w` for reliabilities, as for ``fweights`` and
    ``aweights`` of `numpy.cov`.

    Without missing values the three ways of `missing` give the same fit. The result of "pairwise"
    is positive definite: eigenvalues that are negative or tiny are raised (:ref:`theory-missing`).
    The estimate of "em" is multiplied by ``T / (T - ddof)``; it must exist, which takes more
    samples than blocks. Both take O(T n) time, for each of the iterations of "em", and no n x n
    array.

    Examples
    --------
    >>> import numpy as np
    >>> import blockmat as bm
    >>> X = np.random.default_rng(0).normal(size=(50, 4))
    >>> A = bm.fit_samples(X, [0, 0, 1, 1])
    >>> bool(np.allclose(A.toarray(), bm.fit(np.cov(X, rowvar=False), [0, 0, 1, 1])))
    True
    >>> X[3, 1] = np.nan
    >>> bm.fit_samples(X, [0, 0, 1, 1], missing="pairwise")
    <4x4 BlockConstantMatrix of 2 blocks, dtype=float64>
    """
    refuse_swapped(X, partition, ("X", "partition"), "fit_samples(X, partition)")
    samples, weights = as_sample_source(X, compute, sample_weight, weight_type, missing)
    p = as_partition(partition, samples.shape[1], source=X)
    ddof = as_count(ddof, "ddof", 0)
    check_finite = check_finite or missing != "raise"
    weights.divisor(ddof)  # raises an error if it is not positive
    options = Options(
        aligned=aligned, check_finite=check_finite, ddof=ddof, assume_centered=assume_centered
    )
    covariance: BlockConstantMatrix = samples.then(
        partial(_matrix, p, check_finite), samples.pair(p, options)
    )
    return covariance


def _matrix(p: Partition, check_finite: bool, pair: Pair) -> BlockConstantMatrix:
    if check_finite:
        require_in_range(pair.dtype, pair.between, pair.within)
    return trusted_matrix(p, pair.between, pair.within, pair.dtype)
