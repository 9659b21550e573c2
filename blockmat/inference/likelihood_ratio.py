"""Likelihood-ratio test of nested partitions."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import scipy

from blockmat.blocks.argument_order import refuse_swapped
from blockmat.blocks.checks import Array
from blockmat.blocks.partition import Partition, as_partition
from blockmat.cores.scale import in_range
from blockmat.exceptions import PartitionMismatchError
from blockmat.fitting.fit import fit
from blockmat.fitting.fit_samples import fit_samples
from blockmat.inference.given_covariance import GivenCovariance
from blockmat.inference.likelihood import check_enough_samples
from blockmat.matrices.block_constant import BlockConstantMatrix
from blockmat.sources.pair import n_parameters
from blockmat.sources.samples import as_real_samples
from blockmat.sources.weighted_samples import WeightedSamples

__all__ = ["LikelihoodRatioResult", "likelihood_ratio_test"]

_LARGE = 1e3  # from here on the series of the digamma function is exact to rounding


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


def likelihood_ratio_test(
    X: Any,
    coarse: Any,
    fine: Any,
    *,
    assume_centered: bool = False,
    n_samples: int | None = None,
    scaled: bool = False,
    sample_weight: Any = None,
    weight_type: str = "frequency",
) -> LikelihoodRatioResult:
    r"""Test a partition against a finer one.

    Parameters
    ----------
    X : array_like, shape (T, n) or (n, n)
        One Gaussian sample per row; or with `n_samples` their covariance or correlation matrix.
    coarse : Partition or sequence of hashable, shape (n,)
        The blocks of the null hypothesis.
    fine : Partition or sequence of hashable, shape (n,)
        The blocks of the alternative, each inside one block of `coarse`. They must not have
        been found in `X`.
    assume_centered : bool, default False
        Whether the mean is known to be zero.
    n_samples : int, optional
        The number of samples of a matrix.
    scaled : bool, default False
        Whether each variable has a variance of its own, and only correlations are tested. A matrix
        with ones on its diagonal is always tested so.
    sample_weight : array_like or Series, shape (T,), optional
        The weight of each sample.
    weight_type : {"frequency", "reliability"}, default "frequency"
        The meaning of the weights, as for `fit_samples`. With reliabilities T is the effective number
        of samples, :math:`(\sum w)^2 / \sum w^2`.

    Returns
    -------
    LikelihoodRatioResult
        The fields statistic, pvalue and df.

    Raises
    ------
    ShapeError
        If `X` is not 2-d, or not square with `n_samples`, or a partition has another number of
        variables.
    NotHermitianError
        If a covariance matrix is not symmetric.
    PartitionMismatchError
        If `fine` is not a refinement of `coarse`, or has no more parameters.
    ValueError
        If there are fewer than k + 1 samples for the k blocks of `fine` (k if the mean is
        known); if `X` is a symmetric matrix and `n_samples` is None; if a column is constant and
        `scaled` is True; if the diagonal of a matrix is not positive, or a weight is negative.
    SingularMatrixError
        If the variables of a block are perfectly collinear.

    Notes
    -----
    Twice the log-likelihood ratio is
    :math:`T (\log\det \hat\Sigma_c - \log\det \hat\Sigma_f)`, with
    :math:`\hat\Sigma` the fits on the two partitions. Bartlett's correction multiplies it by df
    over its expectation under the null hypothesis, which is known exactly. The result has
    approximately a chi-squared distribution. The divisor of a covariance matrix does not change it.

    With `scaled`, :math:`\hat\Sigma` are the fits of the correlation matrix, and the variances of
    the blocks do not count as parameters. The correction is the same. See :ref:`theory-inference`.

    Examples
    --------
    >>> import numpy as np
    >>> from blockmat.inference import likelihood_ratio_test
    >>> X = np.random.default_rng(0).normal(size=(50, 6))
    >>> result = likelihood_ratio_test(X, [0] * 6, [0, 0, 0, 1, 1, 1])
    >>> result.df, round(result.pvalue, 2)
    (3, 0.99)
    >>> S = np.cov(X, rowvar=False)
    >>> round(likelihood_ratio_test(S, [0] * 6, [0, 0, 0, 1, 1, 1], n_samples=50).pvalue, 2)
    0.99
    """
    call = "likelihood_ratio_test(X, coarse, fine)"
    for labels, name in ((coarse, "coarse"), (fine, "fine")):
        refuse_swapped(X, labels, ("X", name), call)
    given = _given(X, n_samples, scaled, assume_centered, sample_weight, weight_type)
    coarse = as_partition(coarse, given.n, "coarse", X)
    fine = as_partition(fine, given.n, "fine", X)
    if not fine.is_refinement_of(coarse) or fine.n_blocks == coarse.n_blocks:
        raise PartitionMismatchError(
            f"fine ({fine.n_blocks} blocks) is not a refinement of coarse ({coarse.n_blocks} "
            f"blocks); each block of fine must lie inside one of coarse, and at least one be smaller"
        )
    check_enough_samples(given.n_rows, fine.n_blocks, assume_centered)
    df = float(given.n_samples) - (not assume_centered)
    ratio = given.n_samples * (given.logdet(coarse) - given.logdet(fine))
    expected = given.n_samples * (_expected_logdet(coarse, df) - _expected_logdet(fine, df))
    n_more = n_parameters(fine) - n_parameters(coarse)
    statistic = max(ratio, 0.0) * n_more / expected
    if given.is_scaled:
        n_more -= fine.n_blocks - coarse.n_blocks
    if n_more == 0:
        raise PartitionMismatchError(
            "fine and coarse have the same correlations; expected partitions that differ in more than "
            "variances"
        )
    return LikelihoodRatioResult(statistic, float(scipy.special.chdtrc(n_more, statistic)), n_more)


class _Given(NamedTuple):
    """What a test reads: a covariance of n variables, as its fit on each partition."""

    fit: Callable[[Partition], BlockConstantMatrix]
    n: int
    n_rows: int
    n_samples: float
    is_scaled: bool

    def logdet(self, p: Partition) -> float:
        return float(self.fit(p).logdet())


def _given(
    X: Any,
    n_samples: int | None,
    scaled: bool,
    assume_centered: bool,
    sample_weight: Any,
    weight_type: str,
) -> _Given:
    if n_samples is not None:
        matrix = GivenCovariance.of(X, n_samples, 1, sample_weight)
        S, _ = in_range(matrix.correlations if scaled else matrix.matrix)
        is_scaled = scaled or matrix.is_correlation
        return _Given(partial(fit, S), len(S), matrix.n_samples, matrix.n_samples, is_scaled)
    weighted = WeightedSamples.checked(as_real_samples(X, 1), sample_weight, weight_type, X)
    deviations = weighted.standardize(not assume_centered, unit_variance=scaled).deviations
    deviations, _ = in_range(deviations)  # multiplies both determinants by the same factor
    fit_deviations = partial(fit_samples, deviations, ddof=0, assume_centered=True)
    n_effective = weighted.n_effective
    n_rows = min(weighted.n_rows, math.floor(n_effective))
    return _Given(fit_deviations, deviations.shape[1], n_rows, n_effective, scaled)


def _expected_logdet(p: Partition, df: float) -> float:
    """Return E log det of the estimate for the identity, up to a constant for all partitions.

    The constant is chosen so that differences do not cancel for many samples: it is the logarithm
    of ``df / 2``, once for each variable.
    """
    i, m = np.arange(p.n_blocks), p.sizes[p.sizes > 1] - 1
    between = _digamma_less_log((df - i) / 2) + np.log1p(-i / df)
    return float(between.sum() + (m * _digamma_less_log(df * m / 2)).sum())


def _digamma_less_log(x: Array) -> Array:
    """Return ``digamma(x) - log(x)``, for large x by its asymptotic series."""
    y = 1 / np.maximum(x, _LARGE)
    series = -y / 2 - y**2 / 12 + y**4 / 120
    difference: Array = np.where(x < _LARGE, scipy.special.digamma(x) - np.log(x), series)
    return difference
