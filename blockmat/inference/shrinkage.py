"""Shrinkage of a sample covariance matrix toward a block-constant one."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.blocks.partition import Partition, as_partition
from blockmat.cores import pair
from blockmat.cores.scale import in_range
from blockmat.fitting.factors_and_blocks import factors_and_blocks
from blockmat.fitting.held_out import map_in_threads, squared_distances, test_rows
from blockmat.sources.samples import as_real_samples
from blockmat.sources.standardize import Standardized, compress_rows, standardize
from blockmat.sources.weighted_samples import WeightedSamples

__all__ = ["optimal_shrinkage"]


_MIN_SHRINKAGE = 1e-3  # that is tried
_ROUNDING = 1e-12  # of a likelihood, relative
FitFold = Callable[[WeightedSamples], tuple[Standardized, Partition]]  # signs are in the scales


def optimal_shrinkage(X: Any, partition: Any = None, *, assume_centered: bool = False) -> float:
    r"""Estimate the best shrinkage of a sample covariance matrix toward a block-constant one.

    Parameters
    ----------
    X : array_like, shape (T, n)
        One sample per row, at least 2 of them.
    partition : Partition or sequence of hashable, shape (n,), optional
        The blocks of the target; by default the target is the identity times the mean variance.
        For blocks that were found in `X` the estimate is too high; use `BlockCovariance`.
    assume_centered : bool, default False
        Whether the mean is known to be zero. Otherwise the sample mean is subtracted.

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
    ValueError
        If there are fewer than 2 samples, or `X` is a symmetric matrix.

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
    smaller of T and n. See :ref:`theory-shrinkage`.

    References
    ----------
    .. [1] O. Ledoit, M. Wolf, "A well-conditioned estimator for large-dimensional covariance
       matrices", Journal of Multivariate Analysis 88, 2004.

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
    """
    named = X
    X = as_real_samples(X, 2)
    p = None if partition is None else as_partition(partition, X.shape[1], source=named)
    deviations = standardize(X, not assume_centered, unit_variance=False).deviations
    return shrinkage_toward(deviations, p, len(X))


def shrinkage_toward(
    deviations: Array, p: Partition | None, n_samples: float, weights: Array | None = None
) -> float:
    """Return the optimal shrinkage for deviations from the mean; `weights` as for `spread_of`."""
    deviations, _ = in_range(deviations.astype(np.float64, copy=False))
    spread = spread_of(deviations, p, weights)
    if spread.distance <= 0:
        return 0.0 if p is None else 1.0
    return float(min(spread.noise / n_samples / spread.distance, 1.0))


class Spread(NamedTuple):
    """How far samples and their covariance S are from block-constant, as squared norms.

    ``noise`` is the mean of ``|(x x^T - S)_perp|^2`` over samples, and ``distance`` is
    ``|S_perp|^2``.
    """

    noise: float
    distance: float


def spread_of(deviations: Array, p: Partition | None, weights: Array | None = None) -> Spread:
    """Return the spread of samples (T, n) with mean zero; the target is the identity without p.

    With `weights` (T,), whose mean is 1, the rows are samples times the roots of their weights.
    """
    n_samples, n = deviations.shape
    few = deviations if n_samples <= n else deviations.T
    gram = few @ few.T  # the smaller of the two Gram matrices, which have the same norm
    lengths = (deviations**2).sum(axis=1)
    squares = float((gram**2).sum()) / n_samples**2  # of S
    single = _mean(lengths**2, weights)  # of x x^T
    if p is None:
        return Spread(
            single - squares, _beyond_rounding(squares - lengths.mean() ** 2 / n, squares)
        )
    means = pair.coordinates(p.block_sums(deviations, axis=1), p.sizes)
    within = pair.within_of_rest(p.block_sums(deviations**2, axis=1) - means**2, p.sizes)
    projected = (means**2).sum(axis=1) ** 2 + pair.multiplicity_sum(within**2, p.sizes)
    between = means.T @ means / n_samples
    target = float(pair.squared_norm(between, within.mean(axis=0), p.sizes))
    distance = _beyond_rounding(squares - target, squares)
    return Spread(max(single - _mean(projected, weights) - distance, 0.0), distance)


def _mean(fourth_powers: Array, weights: Array | None) -> float:
    """Return the weighted mean over samples, of rows that are multiplied by roots of weights."""
    return float((fourth_powers if weights is None else fourth_powers / weights).mean())


def is_exact(deviations: Array, p: Partition) -> bool:
    """Whether the sample covariance of samples with mean zero is block-constant."""
    deviations, _ = in_range(deviations.astype(np.float64, copy=False))
    return spread_of(deviations, p).distance <= 0


def _beyond_rounding(difference: float, of: float) -> float:
    """Return a difference of numbers of the size `of`, or 0 if it is rounding."""
    return difference if difference > 1e-12 * of else 0.0


def folds_of(samples: WeightedSamples) -> Iterator[tuple[WeightedSamples, Array]]:
    """Yield the training samples of each fold, and the rows of its test samples."""
    for rows in test_rows(samples.n_rows):
        yield samples.rows(np.delete(np.arange(samples.n_rows), rows)), rows


def cross_fitted_shrinkage(
    samples: WeightedSamples, standardized: Standardized, fit: FitFold, n_jobs: int | None = None
) -> float:
    """Estimate the optimal shrinkage toward blocks that are found in the same samples.

    The spread is measured on the test samples of each fold, with blocks and signs found in its
    training samples.
    """
    deviations, _ = in_range(standardized.deviations)
    weights = samples.relative_weights

    def measure(fold: tuple[WeightedSamples, Array]) -> tuple[float, float]:
        train, rows = fold
        test, test_weights = deviations[rows], None
        if weights is not None:
            mean = weights[rows].mean()
            test, test_weights = test / np.sqrt(mean), weights[rows] / mean
        trained, p = fit(train)
        spread = spread_of(test * np.sign(trained.scale), p, test_weights)
        return spread.noise, spread.distance - spread.noise / samples.rows(rows).n_effective

    noise, signal = np.mean(map_in_threads(measure, folds_of(samples), n_jobs), axis=0)
    noise /= samples.n_effective
    total = noise + max(signal, 0.0)
    return float(noise / total) if total > 0 else 1.0


def likelihood_shrinkage(
    samples: WeightedSamples, fit: FitFold, n_factors: int = 0, n_jobs: int | None = None
) -> float:
    """Return the shrinkage with the highest Gaussian likelihood of held-out samples.

    The model has `n_factors` factors, and blocks of the rest.
    """
    from scipy.optimize import minimize_scalar

    X, _ = in_range(samples.X)
    samples = replace(samples, X=X)

    def hold_out(fold: tuple[WeightedSamples, Array]) -> DevianceByShrinkage:
        train, rows = fold
        test = samples.rows(rows)
        return DevianceByShrinkage(*fit(train), test.X, test.weights, n_factors)

    folds: list[DevianceByShrinkage] = map_in_threads(hold_out, folds_of(samples), n_jobs)

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
