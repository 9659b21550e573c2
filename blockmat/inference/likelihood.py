"""Log-likelihood, Kullback-Leibler divergence and likelihood-ratio test of Gaussian models."""

from typing import Any, NamedTuple

import numpy as np
import scipy

from blockmat.blocks.checks import as_numeric, require_finite
from blockmat.blocks.partition import Partition, as_partition
from blockmat.cores.scale import in_range
from blockmat.exceptions import DtypeError, NotHermitianError, PartitionMismatchError, ShapeError
from blockmat.fitting.fit_samples import fit_samples
from blockmat.fitting.held_out import gaussian_deviance
from blockmat.inference.divergence import check_definite, divergence
from blockmat.matrices.structured import SquareMatrix
from blockmat.sources.pair import n_parameters
from blockmat.sources.samples import as_real_samples

__all__ = ["LikelihoodRatioResult", "kl_divergence", "likelihood_ratio_test", "log_likelihood"]


class LikelihoodRatioResult(NamedTuple):
    """The result of a likelihood-ratio test.

    Parameters
    ----------
    statistic : float
        Twice the logarithm of the likelihood ratio, times Bartlett's correction.
    pvalue : float
        The probability of a larger statistic under the coarse partition.
    df : int
        How many more parameters the fine partition has.

    See Also
    --------
    likelihood_ratio_test : computes them.
    """

    statistic: float
    pvalue: float
    df: int


def log_likelihood(X: Any, covariance: SquareMatrix, mean: Any = 0.0) -> float:
    r"""Return the Gaussian log-likelihood of samples.

    Parameters
    ----------
    X : array_like, shape (T, n)
        One sample per row.
    covariance : square matrix of this package, shape (n, n)
        The covariance matrix: a BlockConstantMatrix, ScaledBlockMatrix, BlockFactorMatrix or
        BlockPlusLowRank.
    mean : array_like, shape (n,) or (), default 0
        The mean.

    Returns
    -------
    float
        The sum over samples, in natural logarithms.

    Raises
    ------
    TypeError
        If `covariance` is of another class.
    ShapeError
        If the shapes of `X`, `covariance` and `mean` do not match.
    DtypeError
        If `X` is not real.
    SingularMatrixError, IndefiniteMatrixError
        If the covariance matrix is singular, or its determinant is negative.

    Notes
    -----
    It is :math:`-\frac12 \left( T n \log 2\pi + T \log\det A + \sum_t (x_t - \mu)^T A^{-1}
    (x_t - \mu) \right)`, in O(T n + k\ :sup:`3`).

    Examples
    --------
    >>> import blockmat as bm
    >>> from blockmat.inference import log_likelihood
    >>> round(log_likelihood([[0.0, 1.0]], bm.BlockConstantMatrix.identity([0, 0])), 4)
    -2.3379
    """
    if not isinstance(covariance, SquareMatrix):
        raise TypeError(
            f"covariance is a {type(covariance).__name__}; expected a square matrix of this package"
        )
    X = as_real_samples(X, 1).astype(np.float64, copy=False)
    n_samples, n = X.shape
    if n != covariance.shape[0]:
        raise ShapeError(f"X has {n} columns; expected {covariance.shape[0]}, as the covariance")
    mean = as_numeric(mean, "mean", (0, 1))
    if mean.ndim and mean.shape != (n,):
        raise ShapeError(f"mean has shape {mean.shape}; expected ({n},)")
    require_finite(np.atleast_1d(mean), "mean")
    deviations = X - mean
    deviance = gaussian_deviance(covariance, deviations)
    return float(-0.5 * (n_samples * n * np.log(2 * np.pi) + deviance))


def kl_divergence(A: SquareMatrix, B: SquareMatrix) -> float:
    r"""Return the Kullback-Leibler divergence of two Gaussians with the same mean.

    Parameters
    ----------
    A : square matrix of this package, shape (n, n)
        The covariance matrix of the first Gaussian, over which the expectation is taken: a
        BlockConstantMatrix, ScaledBlockMatrix, BlockFactorMatrix or BlockPlusLowRank.
    B : square matrix of this package, shape (n, n)
        The covariance matrix of the second, on any blocks.

    Returns
    -------
    float
        The divergence, at least 0, in natural logarithms.

    Raises
    ------
    TypeError
        If `A` or `B` is of another class.
    ShapeError
        If they have different sizes.
    DtypeError, NotHermitianError, SingularMatrixError, IndefiniteMatrixError
        If one is not real, symmetric and positive definite, or the base of a BlockPlusLowRank
        is not positive definite.

    Notes
    -----
    It is :math:`\frac12 \left( \mathrm{tr}(B^{-1} A) - n + \log\det B - \log\det A \right)`,
    in O(n + k\ :sup:`3`) with k the number of blocks of the common refinement. It is computed
    from the eigenvalues of :math:`B^{-1} (A - B)`, so that a small divergence is accurate. Two
    cases are computed from traces and determinants, whose rounding is relative to n: a
    BlockPlusLowRank or BlockFactorMatrix, and aligned matrices with different pairs or different
    scales. See
    :ref:`theory-inference`.

    Examples
    --------
    >>> import blockmat as bm
    >>> from blockmat.inference import kl_divergence
    >>> identity = bm.BlockConstantMatrix.identity([0, 0])
    >>> round(kl_divergence(2 * identity, identity), 4)
    0.3069
    """
    for name, matrix in (("A", A), ("B", B)):
        if not isinstance(matrix, SquareMatrix):
            raise TypeError(
                f"{name} is a {type(matrix).__name__}; expected a square matrix of this package"
            )
    if B.shape != A.shape:
        raise ShapeError(f"B has shape {B.shape}; expected {A.shape}, as A")
    for name, matrix in (("A", A), ("B", B)):
        if matrix.dtype.kind == "c":
            raise DtypeError(f"{name} has dtype {matrix.dtype}; expected real numbers")
        if not matrix.is_hermitian:
            raise NotHermitianError(f"{name} is not symmetric; expected a covariance matrix")
        check_definite(matrix, name)
    return divergence(A, B)


def likelihood_ratio_test(
    X: Any, coarse: Any, fine: Any, *, assume_centered: bool = False
) -> LikelihoodRatioResult:
    r"""Test a partition against a finer one.

    Parameters
    ----------
    X : array_like, shape (T, n)
        One Gaussian sample per row.
    coarse : Partition or sequence of hashable, shape (n,)
        The blocks of the null hypothesis.
    fine : Partition or sequence of hashable, shape (n,)
        The blocks of the alternative, each inside one block of `coarse`. They must not have
        been found in `X`.
    assume_centered : bool, default False
        Whether the mean is known to be zero.

    Returns
    -------
    LikelihoodRatioResult
        The fields statistic, pvalue and df.

    Raises
    ------
    ShapeError
        If `X` is not 2-d, or a partition has another number of variables.
    PartitionMismatchError
        If `fine` is not a refinement of `coarse`, or equals it.
    ValueError
        If there are fewer than k + 1 samples for the k blocks of `fine` (k if the mean is
        known), or `X` is a symmetric matrix.
    SingularMatrixError
        If the variables of a block are perfectly collinear.

    Notes
    -----
    Twice the log-likelihood ratio is
    :math:`T (\log\det \hat\Sigma_c - \log\det \hat\Sigma_f)`, with
    :math:`\hat\Sigma` the fits on the two partitions. Bartlett's correction multiplies it by df
    over its expectation under the null hypothesis, which is known exactly. The result has
    approximately a chi-squared distribution. See :ref:`theory-inference`.

    Examples
    --------
    >>> import numpy as np
    >>> from blockmat.inference import likelihood_ratio_test
    >>> X = np.random.default_rng(0).normal(size=(50, 6))
    >>> result = likelihood_ratio_test(X, [0] * 6, [0, 0, 0, 1, 1, 1])
    >>> result.df, round(result.pvalue, 2)
    (3, 0.99)
    """
    named = X
    X = as_real_samples(X, 1).astype(np.float64, copy=False)
    n_samples, n = X.shape
    coarse = as_partition(coarse, n, "coarse", named)
    fine = as_partition(fine, n, "fine", named)
    if not fine.is_refinement_of(coarse) or fine.n_blocks == coarse.n_blocks:
        raise PartitionMismatchError(
            f"fine ({fine.n_blocks} blocks) is not a refinement of coarse ({coarse.n_blocks} "
            f"blocks); each block of fine must lie inside one of coarse, and at least one be smaller"
        )
    check_enough_samples(n_samples, fine.n_blocks, assume_centered)
    df = n_samples - (not assume_centered)
    X, _ = in_range(X)  # multiplies both determinants by the same factor
    logdets = [
        float(fit_samples(X, p, ddof=0, assume_centered=assume_centered).logdet())
        for p in (coarse, fine)
    ]
    ratio = n_samples * (logdets[0] - logdets[1])
    expected = n_samples * (_expected_logdet(coarse, df) - _expected_logdet(fine, df))
    n_more = n_parameters(fine) - n_parameters(coarse)
    statistic = max(ratio, 0.0) * n_more / expected
    return LikelihoodRatioResult(statistic, float(scipy.special.chdtrc(n_more, statistic)), n_more)


def check_enough_samples(n_samples: int, n_blocks: int, assume_centered: bool) -> None:
    """Raise ValueError unless there is a sample for each block, and one for an unknown mean."""
    if n_samples - (not assume_centered) < n_blocks:
        for_mean = "" if assume_centered else " and one for the mean"
        raise ValueError(
            f"X has {n_samples} rows, too few for {n_blocks} blocks: the maximum-likelihood "
            f"estimate takes one sample for each block{for_mean}"
        )


def _expected_logdet(p: Partition, df: int) -> float:
    """Return E log det of the estimate for the identity, up to a constant for all partitions."""
    between = scipy.special.digamma((df - np.arange(p.n_blocks)) / 2).sum()
    m = p.sizes[p.sizes > 1] - 1
    return float(between + (m * (scipy.special.digamma(df * m / 2) - np.log(m))).sum())
