"""Shrinkage of a sample covariance matrix toward a block-constant one."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from blockmat.blocks.argument_order import refuse_swapped
from blockmat.blocks.checks import Array
from blockmat.blocks.partition import Partition, as_partition
from blockmat.cores.scale import in_range
from blockmat.fitting.factors_and_blocks import factors_and_blocks
from blockmat.fitting.held_out import (
    map_in_threads,
    squared_distances,
    test_rows,
    test_rows_by_weight,
)
from blockmat.inference.given_covariance import GivenCovariance
from blockmat.inference.spread import Spread, spread_of, spread_of_covariance
from blockmat.sources.samples import as_real_samples
from blockmat.sources.standardize import Standardized, compress_rows
from blockmat.sources.weighted_samples import WeightedSamples

__all__ = ["optimal_shrinkage"]


_MIN_SHRINKAGE = 1e-3  # that is tried
_ROUNDING = 1e-12  # of a likelihood, or of a number of samples; relative
FitFold = Callable[[WeightedSamples], tuple[Standardized, Partition]]  # signs are in the scales
IsEnough = Callable[[WeightedSamples], bool]  # whether training samples can be fitted


class Fold(NamedTuple):
    """The training samples of a fold, and the numbers of the rows that it holds out."""

    train: WeightedSamples
    rows: Array


def optimal_shrinkage(
    X: Any,
    partition: Any = None,
    *,
    assume_centered: bool = False,
    n_samples: int | None = None,
    sample_weight: Any = None,
    weight_type: str = "frequency",
) -> float:
    r"""Estimate the best shrinkage of a sample covariance matrix toward a block-constant one.

    Parameters
    ----------
    X : array_like, shape (T, n) or (n, n)
        One sample per row, at least 2 of them; or with `n_samples` their covariance matrix.
    partition : Partition or sequence of hashable, shape (n,), optional
        The blocks of the target; by default the target is the identity times the mean variance.
        For blocks that were found in `X` the estimate is too high; use `BlockCovariance`.
    assume_centered : bool, default False
        Whether the mean is known to be zero. Otherwise the sample mean is subtracted.
    n_samples : int, optional
        The number of samples T of a covariance matrix, with any divisor. The samples are then
        taken to be Gaussian.
    sample_weight : array_like or Series, shape (T,), optional
        The weight of each sample.
    weight_type : {"frequency", "reliability"}, default "frequency"
        The meaning of the weights, as for `fit_samples`. With reliabilities T is the effective number
        of samples, :math:`(\sum w)^2 / \sum w^2`.

    Returns
    -------
    float
        The weight :math:`\delta` of the target in :math:`(1 - \delta) S + \delta P S`, from 0
        to 1. It is 1 if S is block-constant.

    Raises
    ------
    ShapeError
        If `X` is not 2-d, or the partition has another number of variables.
    DtypeError, NonFiniteError
        If `X` is not real and finite.
    NotHermitianError
        If a covariance matrix is not symmetric.
    ValueError
        If there are fewer than 2 samples, also as counted by weights; `X` is a symmetric matrix and
        `n_samples` is None, the diagonal of a covariance matrix is not positive, or a weight is
        negative.

    See Also
    --------
    blockmat.covariance.BlockCovariance : ``shrinkage="optimal"`` and ``"cv"``.

    Notes
    -----
    With S the sample covariance matrix (divided by T), P the projection onto block-constant
    matrices and :math:`A_\perp = A - P A`, the expected squared error is smallest at

    .. math:: \delta^* = E \| S_\perp - \Sigma_\perp \|^2 / E \| S_\perp \|^2.

    The numerator is estimated by :math:`T^{-2} \sum_t \| (x_t x_t^T - S)_\perp \|^2`, or for the
    identity by :math:`T^{-2} \sum_t \| x_t x_t^T - S \|^2` [1]_. It takes O(m T n), with m the
    smaller of T and n. From S and T alone, it is the expectation of this estimate given S for
    Gaussian samples [2]_, in O(n\ :sup:`2`). See :ref:`theory-shrinkage`.

    References
    ----------
    .. [1] O. Ledoit, M. Wolf, "A well-conditioned estimator for large-dimensional covariance
       matrices", Journal of Multivariate Analysis 88, 2004.
    .. [2] Y. Chen, A. Wiesel, Y. C. Eldar, A. O. Hero, "Shrinkage algorithms for MMSE covariance
       estimation", IEEE Transactions on Signal Processing 58, 2010; for the identity as target.

    Examples
    --------
    >>> import numpy as np
    >>> import blockmat as bm
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(50, 3))[:, [0] * 20 + [1] * 20 + [2] * 20]
    >>> X = X + rng.normal(size=X.shape)
    >>> round(bm.optimal_shrinkage(X, [0] * 20 + [1] * 20 + [2] * 20), 2)
    0.95
    >>> round(bm.optimal_shrinkage(X), 2)
    0.22
    >>> S = np.cov(X, rowvar=False)
    >>> round(bm.optimal_shrinkage(S, [0] * 20 + [1] * 20 + [2] * 20, n_samples=50), 2)
    0.94
    """
    refuse_swapped(X, partition, ("X", "partition"), "optimal_shrinkage(X, partition)")
    if n_samples is not None:
        given = GivenCovariance.of(X, n_samples, 2, sample_weight)
        p = None if partition is None else as_partition(partition, len(given.matrix), source=X)
        S, _ = in_range(given.matrix)
        spread = spread_of_covariance(S, p, given.n_samples - (not assume_centered))
        return _weight_of_target(spread, p, given.n_samples)
    samples = as_real_samples(X, 2)
    p = None if partition is None else as_partition(partition, samples.shape[1], source=X)
    weighted = WeightedSamples.checked(samples, sample_weight, weight_type, X)
    if weighted.n_effective < 2 * (1 - _ROUNDING):
        raise ValueError(
            f"X counts as {weighted.n_effective:g} samples by its weights; expected at least 2"
        )
    deviations = weighted.standardize(not assume_centered, unit_variance=False).deviations
    return shrinkage_toward(deviations, p, weighted.n_effective, weighted.relative_weights)


def shrinkage_toward(
    deviations: Array, p: Partition | None, n_samples: float, weights: Array | None = None
) -> float:
    """Return the optimal shrinkage for deviations from the mean; `weights` as for `spread_of`."""
    deviations, _ = in_range(deviations.astype(np.float64, copy=False))
    return _weight_of_target(spread_of(deviations, p, weights), p, n_samples)


def _weight_of_target(spread: Spread, p: Partition | None, n_samples: float) -> float:
    if spread.distance <= 0:
        return 0.0 if p is None else 1.0
    return float(min(spread.noise / n_samples / spread.distance, 1.0))


def is_exact(deviations: Array, p: Partition) -> bool:
    """Whether the sample covariance of samples with mean zero is block-constant."""
    deviations, _ = in_range(deviations.astype(np.float64, copy=False))
    return spread_of(deviations, p).distance <= 0


def folds_of(samples: WeightedSamples, is_enough: IsEnough) -> list[Fold]:
    """Return the training samples of each fold, and the rows of its test samples.

    With weights the folds have about equal weight, and those without enough training samples are
    left out.

    Raises
    ------
    ValueError
        If there is no other fold.
    """
    if samples.weights is None:
        return [_fold(samples, rows) for rows in test_rows(samples.n_rows)]
    folds = [_fold(samples, rows) for rows in test_rows_by_weight(samples.weights)]
    enough = [fold for fold in folds if fold.train.n_rows > 1 and is_enough(fold.train)]
    if not enough:
        raise ValueError(
            "the weights of X count as too few samples without those that are held out; expected "
            "more samples of similar weight, or a shrinkage that is not estimated"
        )
    return enough


def _fold(samples: WeightedSamples, rows: Array) -> Fold:
    return Fold(samples.rows(np.delete(np.arange(samples.n_rows), rows)), rows)


def cross_fitted_shrinkage(
    samples: WeightedSamples,
    standardized: Standardized,
    fit: FitFold,
    is_enough: IsEnough,
    n_jobs: int | None = None,
) -> float:
    """Estimate the optimal shrinkage toward blocks that are found in the same samples.

    The spread is measured on the test samples of each fold, with blocks and signs found in its
    training samples. Folds count by their weights.
    """
    deviations, _ = in_range(standardized.deviations)
    weights = samples.relative_weights

    def measure(fold: Fold) -> tuple[float, float]:
        test, test_weights = deviations[fold.rows], None
        if weights is not None:
            mean = weights[fold.rows].mean()
            test, test_weights = test / np.sqrt(mean), weights[fold.rows] / mean
        trained, p = fit(fold.train)
        spread = spread_of(test * np.sign(trained.scale), p, test_weights)
        n_effective = samples.rows(fold.rows).n_effective
        return spread.noise, spread.distance - spread.noise / n_effective

    folds = folds_of(samples, is_enough)
    totals = np.ones(samples.n_rows) if weights is None else weights
    of_folds = [totals[fold.rows].sum() for fold in folds]
    measured = map_in_threads(measure, folds, n_jobs)
    noise, signal = np.average(measured, axis=0, weights=of_folds)
    noise /= samples.n_effective
    total = noise + max(signal, 0.0)
    return float(noise / total) if total > 0 else 1.0


def likelihood_shrinkage(
    samples: WeightedSamples,
    fit: FitFold,
    is_enough: IsEnough,
    n_factors: int = 0,
    n_jobs: int | None = None,
) -> float:
    """Return the shrinkage with the highest Gaussian likelihood of held-out samples.

    Each of these counts by its weight among all samples. The model has `n_factors` factors, and
    blocks of the rest.
    """
    from scipy.optimize import minimize_scalar

    X, _ = in_range(samples.X)
    samples = replace(samples, X=X)

    weights = samples.relative_weights

    def hold_out(fold: Fold) -> DevianceByShrinkage:
        own = None if weights is None else weights[fold.rows]
        return DevianceByShrinkage(*fit(fold.train), X[fold.rows], own, n_factors)

    folds: list[DevianceByShrinkage] = map_in_threads(
        hold_out, folds_of(samples, is_enough), n_jobs
    )

    def deviance(shrinkage: float) -> float:
        return sum(fold.at(shrinkage) for fold in folds)

    best = minimize_scalar(deviance, bounds=(_MIN_SHRINKAGE, 1), method="bounded")
    of_model = deviance(1.0)
    return float(best.x) if best.fun < of_model - _ROUNDING * abs(of_model) else 1.0


class DevianceByShrinkage:
    """Minus twice the log-likelihood of test samples as a function of the shrinkage.

    With F the fit and Z the training samples, ``(1 - s) Z^T Z / T + s F = s (F + c Z^T Z)``. One
    eigendecomposition of ``Z F^-1 Z^T`` gives the inverse and the determinant for every c.
    Samples count by their `weights` (T,).
    """

    def __init__(
        self,
        train: Standardized,
        p: Partition,
        test: Array,
        weights: Array | None = None,
        n_factors: int = 0,
    ) -> None:
        Z = train.deviations
        self.n_train, self.n = Z.shape
        self.n_test = len(test) if weights is None else float(weights.sum())
        test = (test - train.location) / train.scale
        if weights is not None:
            test *= np.sqrt(weights)[:, None]
        fit = factors_and_blocks(Z, p, n_factors).matrix()
        Z = compress_rows(Z)
        solved = fit.solve(Z.T)
        values, vectors = np.linalg.eigh(Z @ solved)
        self.logdet = float(fit.logdet())
        self.values = np.maximum(values, 0)
        self.projected = ((test @ solved @ vectors) ** 2).sum(axis=0)
        self.distance = float(squared_distances(fit, test).sum())

    def at(self, shrinkage: float) -> float:
        """Return the deviance, up to a constant."""
        c = (1 - shrinkage) / shrinkage / self.n_train
        growth = 1 + c * self.values
        logdet = self.n * np.log(shrinkage) + self.logdet + np.log(growth).sum()
        correction = c * (self.projected / growth).sum()
        return float(self.n_test * logdet + (self.distance - correction) / shrinkage)
