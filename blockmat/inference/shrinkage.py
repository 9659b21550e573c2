"""How far a sample covariance matrix should be shrunk toward a block-constant one."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.blocks.partition import Partition, as_partition
from blockmat.cores.scale import in_range
from blockmat.finding.standardize import Standardized, compress_rows, standardize
from blockmat.fitting.fit_samples import fit_samples
from blockmat.fitting.held_out import map_in_threads, squared_distances, train_test_folds
from blockmat.sources.samples import as_real_samples

__all__ = ["optimal_shrinkage"]


_LEAST = 1e-3  # shrinkage that is tried
_EQUAL = 1e-12  # relative difference of likelihoods that is rounding
Standardize = Callable[[Array], "Standardized"]
Find = Callable[[Array], Partition]


def optimal_shrinkage(X: Any, partition: Any = None, *, assume_centered: bool = False) -> float:
    r"""Estimate how far to shrink a sample covariance matrix toward a block-constant one.

    Parameters
    ----------
    X : array_like, shape (T, n)
        One sample per row, at least 2 of them.
    partition : Partition or sequence of hashable, shape (n,), optional
        The blocks of the target, known beforehand: with blocks found in the same samples the
        estimate is too high (`BlockCovariance` takes care of that). Without it the target is
        the identity times the mean variance.
    assume_centered : bool, default False
        Whether the mean is known to be zero; otherwise it is subtracted.

    Returns
    -------
    float
        The weight :math:`\delta` of the target, from 0 to 1, in
        :math:`(1 - \delta) S + \delta P S`. It is 1 if the blocks describe S exactly, where any
        weight gives S.

    Raises
    ------
    ShapeError
        If `X` is not 2-d or the partition does not fit.
    DtypeError
        If `X` is not real.
    NonFiniteError
        If it contains NaN or infinity.
    ValueError
        If there are fewer than 2 samples, or `X` is a symmetric matrix, which is a covariance
        matrix and not samples.

    See Also
    --------
    blockmat.covariance.BlockCovariance : ``shrinkage="optimal"`` and ``"cv"``.

    Notes
    -----
    With S the sample covariance matrix (divided by T), P the projection onto the
    block-constant matrices and :math:`A_\perp = A - P A`, the expected squared error is least
    at

    .. math:: \delta^* = E \| S_\perp - \Sigma_\perp \|^2 / E \| S_\perp \|^2,

    estimated by the spread of single samples over T,
    :math:`T^{-2} \sum_t \| (x_t x_t^T - S)_\perp \|^2`, divided by :math:`\| S_\perp \|^2`. For
    the identity as the target, the whole spread is taken, as Ledoit and Wolf [1]_ do, who
    neglect the error of the target. All norms come from the products of the samples, or of the
    variables where these are fewer, and their block sums: O(m T n), with m the smaller of T and n.

    The derivation is in :ref:`theory-shrinkage`.

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
    deviations, _ = in_range(standardize(X, not assume_centered, unit_variance=False).deviations)
    spread = spread_of(deviations, p)
    if spread.distance <= 0:
        return 0.0 if p is None else 1.0
    return float(min(spread.noise / len(X) / spread.distance, 1.0))


class Spread(NamedTuple):
    """What decides about shrinkage.

    ``noise`` is the mean of ``|(x x^T - S)_perp|^2`` over samples, and ``distance`` is
    ``|S_perp|^2``.
    """

    noise: float
    distance: float


def spread_of(deviations: Array, p: Partition | None) -> Spread:
    """Measure samples (T, n) with the mean zero, for a block-constant target or the identity."""
    n_samples, n = deviations.shape
    few = deviations if n_samples <= n else deviations.T
    gram = few @ few.T  # or the other, with the same sum of squares
    lengths = (deviations**2).sum(axis=1)
    squares = float((gram**2).sum()) / n_samples**2  # of S
    single = float((lengths**2).mean())  # of x x^T
    if p is None:
        return Spread(
            single - squares, _beyond_rounding(squares - lengths.mean() ** 2 / n, squares)
        )
    several = np.maximum(p.sizes - 1, 1)
    means = p.block_sums(deviations, axis=1) / np.sqrt(p.sizes)
    within = np.where(p.sizes > 1, (p.block_sums(deviations**2, axis=1) - means**2) / several, 0)
    projected = (means**2).sum(axis=1) ** 2 + within**2 @ (p.sizes - 1)
    between = means.T @ means / n_samples
    target = float((between**2).sum() + within.mean(axis=0) ** 2 @ (p.sizes - 1))
    distance = _beyond_rounding(squares - target, squares)
    return Spread(max(single - float(projected.mean()) - distance, 0.0), distance)


def is_exact(deviations: Array, p: Partition) -> bool:
    """Whether blocks describe samples with the mean zero exactly, so that shrinkage is nothing."""
    scaled, _ = in_range(deviations.astype(np.float64, copy=False))
    return spread_of(scaled, p).distance <= 0


def _beyond_rounding(difference: float, of: float) -> float:
    return difference if difference > 1e-12 * of else 0.0


def cross_fitted_shrinkage(
    X: Array, deviations: Array, find: Find, n_jobs: int | None = None
) -> float:
    """Estimate the optimal shrinkage toward blocks that are found in the same samples.

    The blocks are found in all samples but those of one fold, and what decides about
    shrinkage is measured on the deviations there, to which they have not been fitted.
    """

    def measure(pair: tuple[Array, Array]) -> tuple[float, float]:
        rest, fold = pair
        found = spread_of(fold, find(rest))
        return found.noise, found.distance - found.noise / len(fold)

    deviations, _ = in_range(deviations.astype(np.float64, copy=False))
    pairs = (
        (rest, fold)
        for (rest, _), (_, fold) in zip(
            train_test_folds(X), train_test_folds(deviations), strict=True
        )
    )
    noise, signal = np.mean(map_in_threads(measure, pairs, n_jobs), axis=0)
    noise /= len(X)
    total = noise + max(signal, 0.0)
    return float(noise / total) if total > 0 else 1.0


def likelihood_shrinkage(
    X: Array, standardize: Standardize, find: Find, n_jobs: int | None = None
) -> float:
    """Return the shrinkage with the highest Gaussian likelihood of samples held out."""
    from scipy.optimize import minimize_scalar

    def hold_out(pair: tuple[Array, Array]) -> _HeldOut:
        rest, fold = pair
        return _HeldOut(standardize(rest), find(rest), fold)

    X, _ = in_range(X)
    held_out: list[_HeldOut] = map_in_threads(hold_out, train_test_folds(X), n_jobs)

    def loss(shrinkage: float) -> float:
        return sum(fold(shrinkage) for fold in held_out)

    best = minimize_scalar(loss, bounds=(_LEAST, 1), method="bounded")
    model = loss(1.0)
    return float(best.x) if best.fun < model - _EQUAL * abs(model) else 1.0


class _HeldOut:
    """Minus twice the log-likelihood of some samples, but for a constant, by shrinkage.

    With F the fit and Z the deviations that it is made of,
    ``(1 - s) Z^T Z / T + s F = s (F + c Z^T Z)``, whose inverse and determinant for every c
    come from one decomposition of ``Z F^-1 Z^T``, T x T, or n x n for more samples than that.
    """

    def __init__(self, rest: Standardized, p: Partition, fold: Array) -> None:
        Z = rest.deviations
        self.n_samples, self.n = Z.shape
        new = (fold - rest.location) / rest.scale
        target = fit_samples(Z, p, ddof=0, assume_centered=True)
        Z = compress_rows(Z)
        solved = target.solve(Z.T)
        values, vectors = np.linalg.eigh(Z @ solved)
        self.n_new = len(new)
        self.logdet = float(target.logdet())
        self.values = np.maximum(values, 0)
        self.projected = ((new @ solved @ vectors) ** 2).sum(axis=0)
        self.length = float(squared_distances(target, new).sum())

    def __call__(self, shrinkage: float) -> float:
        c = (1 - shrinkage) / shrinkage / self.n_samples
        grown = 1 + c * self.values
        logdet = self.n * np.log(shrinkage) + self.logdet + np.log(grown).sum()
        taken = c * (self.projected / grown).sum()
        return float(self.n_new * logdet + (self.length - taken) / shrinkage)
