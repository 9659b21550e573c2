"""Confidence intervals for the parameters of a fitted covariance matrix."""

from typing import Any, NamedTuple

import numpy as np
import scipy

from blockmat.blocks.checks import Array, as_count
from blockmat.cores.arrays import as_square_core
from blockmat.exceptions import DtypeError, NotHermitianError
from blockmat.matrices.block_constant import BlockConstantMatrix

__all__ = ["ConfidenceIntervals", "confidence_intervals"]


class ConfidenceIntervals(NamedTuple):
    """Confidence intervals for a block-constant covariance matrix, as lower and upper ends.

    Parameters
    ----------
    values : ndarray, shape (k, k, 2)
        For the covariance of a variable of one block with another variable of the same or of
        another block; NaN within a block of one variable.
    between : ndarray, shape (k, k, 2)
        For the between core.
    within : ndarray, shape (k, 2)
        For the within numbers; NaN for a block of one variable.

    See Also
    --------
    confidence_intervals : computes them.
    """

    values: Array
    between: Array
    within: Array


def confidence_intervals(
    A: BlockConstantMatrix, df: int, level: float = 0.95
) -> ConfidenceIntervals:
    r"""Return confidence intervals for the parameters of a covariance matrix.

    Parameters
    ----------
    A : BlockConstantMatrix
        The unbiased fit of Gaussian samples, as `blockmat.fit_samples` returns it.
    df : int
        The degrees of freedom: T - 1 for T samples, or T if the mean was known and ``ddof=0``.
    level : float, default 0.95
        The probability that an interval contains the true parameter.

    Returns
    -------
    ConfidenceIntervals
        The fields values, between and within.

    Raises
    ------
    TypeError
        If `A` is not a BlockConstantMatrix, or `df` not an integer.
    DtypeError, NotHermitianError
        If `A` is complex, or not symmetric.
    ValueError
        If `A` is aligned, `df` is below 1, or `level` is not between 0 and 1.

    Notes
    -----
    With :math:`\nu` degrees of freedom, :math:`\nu (n_b - 1) \hat d_b / d_b` and
    :math:`\nu \hat M_{bb} / M_{bb}` have chi-squared distributions, so the intervals for
    :math:`d_b` and :math:`M_{bb}` are exact. The others are approximate: a covariance inside a
    block, :math:`(M_{bb} - d_b) / n_b`, is a difference of two independent variances, and so
    is :math:`M_{ab} = (c + M_{ab}) / 2 - (c - M_{ab}) / 2` for known
    :math:`c = \sqrt{M_{aa} M_{bb}}`; the intervals of the two variances are combined as in [1]_.
    For the fit of a correlation matrix, such as ``operator_.matrix`` of a `BlockCovariance`, the
    intervals are too long: with a level of 0.95 they contain the correlation in 99 % or more of
    all samples. See :ref:`theory-inference`.

    References
    ----------
    .. [1] G. Y. Zou, A. Donner, "Construction of confidence limits about effect measures",
       Statistics in Medicine 27, 2008.

    Examples
    --------
    >>> import numpy as np
    >>> import blockmat as bm
    >>> from blockmat.inference import confidence_intervals
    >>> X = np.random.default_rng(0).normal(size=(101, 4))
    >>> confidence_intervals(bm.fit_samples(X, [0, 0, 0, 0]), df=100).within.round(2)
    array([[0.83, 1.14]])
    """
    _check_covariance(A)
    df = as_count(df, "df", 1)
    if not 0 < level < 1:
        raise ValueError(f"level is {level!r}; expected a number between 0 and 1")

    sizes = A.partition.sizes
    M, d = (x.astype(np.float64) for x in (as_square_core(A.between), A.within))
    variances, diagonal = np.diag(M), np.arange(len(M))
    c = np.outer(np.sqrt(variances), np.sqrt(variances))
    between = _difference_interval((c + M) / 2, df, (c - M) / 2, df, level)
    between[diagonal, diagonal] = _chi_squared_interval(variances, df, level)
    within = _chi_squared_interval(d, df * (sizes - 1), level)
    values = between / np.sqrt(np.outer(sizes, sizes))[..., None]
    inside = _difference_interval(variances, df, d, df * (sizes - 1), level)
    values[diagonal, diagonal] = inside / sizes[:, None]
    return ConfidenceIntervals(values, between, within)


def _check_covariance(A: Any) -> None:
    """Refuse all but real symmetric matrices with one within number per block."""
    if not isinstance(A, BlockConstantMatrix):
        raise TypeError(f"A is a {type(A).__name__}; expected a BlockConstantMatrix")
    if A.dtype.kind == "c":
        raise DtypeError(f"A has dtype {A.dtype}; expected real numbers")
    if A.is_aligned:
        raise ValueError("A has aligned blocks; expected one within number per block")
    if not A.is_hermitian:
        raise NotHermitianError("A is not symmetric; expected a covariance matrix")


def _difference_interval(a: Array, df_a: Any, b: Array, df_b: Any, level: float) -> Array:
    """Return intervals (..., 2) for ``a - b``, differences of independent variances."""
    (low_a, high_a), (low_b, high_b) = (
        np.moveaxis(_chi_squared_interval(x, df, level), -1, 0) for x, df in ((a, df_a), (b, df_b))
    )
    below, above = np.hypot(a - low_a, high_b - b), np.hypot(high_a - a, b - low_b)
    return np.stack([a - b - below, a - b + above], axis=-1)


def _chi_squared_interval(variance: Array, df: Any, level: float) -> Array:
    """Return intervals (..., 2) for variances; NaN for 0 degrees of freedom."""
    known = np.where(df > 0, df, np.nan)
    tails = [(1 - level) / 2, (1 + level) / 2]
    return np.stack(
        [known * variance / scipy.special.chdtri(known, tail) for tail in tails], axis=-1
    )
