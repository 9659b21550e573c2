"""Log-likelihood and Kullback-Leibler divergence of Gaussian models."""

from typing import Any

import numpy as np

from blockmat.blocks.checks import as_numeric, require_finite
from blockmat.blocks.names import own_names, refuse_other_names
from blockmat.blocks.partition_checks import hint_of_axis
from blockmat.blocks.shown import shown
from blockmat.exceptions import DtypeError, NotHermitianError, ShapeError
from blockmat.fitting.held_out import gaussian_deviance
from blockmat.inference.divergence import check_definite, divergence
from blockmat.inference.given_covariance import GivenCovariance
from blockmat.matrices.checks import require_real_dtype
from blockmat.matrices.structured import SquareMatrix
from blockmat.sources.samples import as_real_samples
from blockmat.sources.weighted_samples import WeightedSamples

__all__ = ["kl_divergence", "log_likelihood"]


def log_likelihood(
    X: Any,
    covariance: SquareMatrix,
    mean: Any = 0.0,
    *,
    n_samples: int | None = None,
    sample_weight: Any = None,
    weight_type: str = "frequency",
) -> float:
    r"""Return the Gaussian log-likelihood of samples.

    Parameters
    ----------
    X : array_like, shape (T, n) or (n, n)
        One sample per row; or with `n_samples` their covariance matrix S, divided by T.
    covariance : square matrix of this package, shape (n, n)
        The covariance matrix: a BlockConstantMatrix, ScaledBlockMatrix, BlockFactorMatrix or
        BlockPlusLowRank.
    mean : array_like, shape (n,) or (), default 0
        The mean. It must be 0 with `n_samples`: S is taken about the mean of the model.
    n_samples : int, optional
        The number of samples T of a covariance matrix.
    sample_weight : array_like or Series, shape (T,), optional
        The weight of each sample.
    weight_type : {"frequency", "reliability"}, default "frequency"
        The meaning of the weights, as for `fit_samples`.

    Returns
    -------
    float
        The sum over samples, in natural logarithms. With reliabilities it is the weighted mean times
        the effective number of samples, :math:`(\sum w)^2 / \sum w^2`.

    Raises
    ------
    TypeError
        If `covariance` is of another class.
    ShapeError
        If the shapes of `X`, `covariance` and `mean` do not match.
    DtypeError
        If `X` or `covariance` is not real.
    NotHermitianError
        If a matrix `X` is not symmetric.
    ValueError
        If `n_samples` is below 1 or given with a mean or with weights, or a weight is negative, or
        `mean` is a Series with other names than `X`.
    SingularMatrixError, IndefiniteMatrixError
        If the covariance matrix is singular, or its determinant is negative.

    Notes
    -----
    It is :math:`-\frac12 \left( T n \log 2\pi + T \log\det A + \sum_t (x_t - \mu)^T A^{-1}
    (x_t - \mu) \right)`, in O(T n + k\ :sup:`3`). The sum is :math:`T \, \mathrm{tr}(A^{-1} S)`.

    Examples
    --------
    >>> import blockmat as bm
    >>> from blockmat.inference import log_likelihood
    >>> round(log_likelihood([[0.0, 1.0]], bm.BlockConstantMatrix.identity([0, 0])), 4)
    -2.3379
    >>> round(log_likelihood([[0.5, 0.0], [0.0, 0.5]], bm.BlockConstantMatrix.identity([0, 0]), n_samples=1), 4)
    -2.3379
    """
    if not isinstance(covariance, SquareMatrix):
        raise TypeError(
            f"covariance is {shown(covariance)}; expected a square matrix of this package, as in "
            f"log_likelihood(X, fit_samples(X, partition))"
        )
    require_real_dtype(covariance.dtype, "covariance")
    if n_samples is not None:
        return _likelihood_of_matrix(X, covariance, mean, n_samples, sample_weight)
    samples = as_real_samples(X, 1).astype(np.float64, copy=False)
    n = samples.shape[1]
    if n != covariance.shape[0]:
        raise ShapeError(
            f"X has {n} columns; expected {covariance.shape[0]}, as the covariance"
            f"{hint_of_axis(covariance.shape[0], samples, 1)}"
        )
    of_means, mean = own_names(mean), as_numeric(mean, "mean", (0, 1))
    if mean.ndim and mean.shape != (n,):
        raise ShapeError(f"mean has shape {mean.shape}; expected ({n},)")
    refuse_other_names(("X", own_names(X)), ("mean", of_means))
    require_finite(np.atleast_1d(mean), "mean")
    weighted = WeightedSamples.checked(samples, sample_weight, weight_type, X)
    deviations = weighted.X - mean
    if weighted.relative_weights is not None:
        deviations *= np.sqrt(weighted.relative_weights)[:, None]
    deviance = gaussian_deviance(covariance, deviations)
    per_sample = n * np.log(2 * np.pi) + deviance / weighted.n_rows
    return float(-0.5 * weighted.n_effective * per_sample)


def _likelihood_of_matrix(
    X: Any, covariance: SquareMatrix, mean: Any, n_samples: int, sample_weight: Any
) -> float:
    given = GivenCovariance.of(X, n_samples, 1, sample_weight)
    n = len(given.matrix)
    if n != covariance.shape[0]:
        raise ShapeError(f"X has {n} columns; expected {covariance.shape[0]}, as the covariance")
    if np.any(mean):
        raise ValueError(f"mean is {mean!r}; expected 0 with n_samples")
    logdet = float(covariance.logdet())
    trace = float(np.trace(covariance.solve(given.matrix)))
    return float(-0.5 * n_samples * (n * np.log(2 * np.pi) + logdet + trace))


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
                f"{name} is {shown(matrix)}; expected a square matrix of this package (see fit)"
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


def check_enough_samples(n_samples: int, n_blocks: int, assume_centered: bool) -> None:
    """Raise ValueError unless there is a sample for each block, and one for an unknown mean."""
    if n_samples - (not assume_centered) < n_blocks:
        for_mean = "" if assume_centered else " and one for the mean"
        raise ValueError(
            f"X has {n_samples} samples, too few for {n_blocks} blocks: the maximum-likelihood "
            f"estimate takes one sample for each block{for_mean}"
        )
