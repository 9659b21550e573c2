"""Samples of a factor model, standardized; they may have gaps and weights."""

from typing import Any, NamedTuple

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.blocks.names import names_of
from blockmat.cores.scale import exponents_of
from blockmat.exceptions import DtypeError, NonFiniteError
from blockmat.sources.samples import as_real_samples, as_samples
from blockmat.sources.standardize import standardize
from blockmat.sources.weights import Weights, as_weights


class FactorSamples(NamedTuple):
    """Samples as ``location + scale * deviations``, where they are observed.

    ``deviations`` (T, n) are 0 where ``observed`` (T, n) is False, which is None if all values are
    observed. ``weights`` has one weight for each of these samples, and ``dtype`` is that of the given
    samples.
    """

    deviations: Array
    observed: Array | None
    location: Array
    scale: Array
    weights: Weights
    dtype: np.dtype[Any]


def as_factor_samples(
    source: Any, missing: str, centre: bool, sample_weight: Any, weight_type: str
) -> FactorSamples:
    """Check samples and standardize them; with missing="em" NaN is a gap.

    The mean and the variance of each column are those of its observed values. Samples without any
    value, or with weight zero, are left out.
    """
    X = as_real_samples(source, 1) if missing == "raise" else _with_gaps(source)
    weights = as_weights(sample_weight, len(X), weight_type)
    if sample_weight is None and (missing == "raise" or not np.isnan(X).any()):
        deviations, location, scale = standardize(X, centre)
        return FactorSamples(deviations, None, location, scale, weights, X.dtype)
    observed = ~np.isnan(X)
    kept = observed.any(axis=1) & (weights.values > 0)
    if not kept.all():
        if not kept.any():
            raise ValueError("X has no value in a sample of positive weight; expected at least one")
        X, observed = X[kept], observed[kept]
        weights = as_weights(weights.values[kept], len(X), weight_type)
    _require_variation(X, observed, centre, source)
    deviations = np.where(observed, X, 0).astype(np.float64)
    unit = np.ldexp(1.0, np.clip(exponents_of(np.abs(deviations).max(axis=0)), -1000, 1000))
    deviations /= unit
    shares = weights.values / weights.total
    totals = shares @ observed
    location = np.zeros(X.shape[1])
    for _ in range(2 if centre else 0):  # the second pass subtracts the rounding of the first mean
        mean = (shares @ deviations) / totals
        deviations -= mean * observed
        location += mean
    scale = np.sqrt((shares @ deviations**2) / totals)
    deviations /= scale
    some = None if observed.all() else observed
    return FactorSamples(deviations, some, location * unit, scale * unit, weights, X.dtype)


def _with_gaps(source: Any) -> Array:
    """Return real samples, in which NaN is allowed."""
    X = as_samples(source)
    if X.dtype.kind == "c":
        raise DtypeError(f"X has dtype {X.dtype}; expected real numbers")
    infinite = np.isinf(X)
    if infinite.any():
        place = tuple(np.argwhere(infinite)[0].tolist())
        raise NonFiniteError(f"X contains {X[place]} at index {place}; expected finite numbers")
    return X


def _require_variation(X: Array, observed: Array, centre: bool, source: Any) -> None:
    """Raise ValueError for columns without any value, or with equal values."""
    low = np.where(observed, X, np.inf).min(axis=0).astype(np.float64)
    high = np.where(observed, X, -np.inf).max(axis=0).astype(np.float64)
    never = np.flatnonzero(low > high)
    if len(never):
        names = names_of(source, 1)
        some = [repr(names[i]) if names else str(i) for i in never[:3]]
        more = ", ..." if len(never) > 3 else ""
        raise ValueError(
            f"X has no value in {len(never)} of its columns: {', '.join(some)}{more}; expected at "
            f"least two values in each column"
        )
    if not centre:
        low, high = np.minimum(low, 0), np.maximum(high, 0)
    rounding = 2 * float(np.finfo(X.dtype).eps) * np.maximum(-low, high)
    constant = np.flatnonzero(high - low <= rounding)
    if len(constant):
        raise ValueError(f"column {constant[0]} of X is constant; expected variables that vary")
