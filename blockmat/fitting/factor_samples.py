"""Samples of a factor model, standardized; they may have gaps and weights."""

from typing import Any, NamedTuple

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.blocks.names import names_of
from blockmat.cores.scale import exponents_of
from blockmat.exceptions import DtypeError, NonFiniteError
from blockmat.sources.samples import as_real_samples, as_samples
from blockmat.sources.standardize import ColumnRange, Standardized, require_varying, standardize
from blockmat.sources.weights import Weights, as_weights


class FactorSamples(NamedTuple):
    """Samples as ``location + scale * deviations``, where they are observed.

    ``deviations`` (T, n) are 0 where ``observed`` (T, n) is False, which is None if all values are
    observed. ``weights`` has one weight for each of these samples, and ``n_samples`` is what they
    count. ``dtype`` is that of the given samples.
    """

    deviations: Array
    location: Array
    scale: Array
    observed: Array | None
    weights: Array
    n_samples: float
    dtype: np.dtype[Any]


def as_factor_samples(
    source: Any, missing: str, centre: bool, sample_weight: Any, weight_type: str
) -> FactorSamples:
    """Check samples and standardize them; with missing="em" NaN is a gap.

    The mean and the variance of each column are those of its observed values. Samples without any
    value, or with weight zero, are left out. Without gaps, the rows of the deviations are multiplied
    by the roots of their weights, as by `standardize`.
    """
    X = as_real_samples(source, 1) if missing == "raise" else _with_gaps(source)
    weights = as_weights(sample_weight, len(X), weight_type)
    has_gaps = missing == "em" and bool(np.isnan(X).any())
    counts = weights.values > 0
    if has_gaps:
        counts &= ~np.isnan(X).all(axis=1)
    if not counts.all():
        if not counts.any():
            raise ValueError("X has no value in a sample of positive weight; expected at least one")
        X, weights = X[counts], as_weights(weights.values[counts], int(counts.sum()), weight_type)
    if has_gaps:
        standardized = _standardized_with_gaps(X, weights, centre, names_of(source, 1))
    else:
        relative = None if sample_weight is None else weights.values * (len(X) / weights.total)
        standardized = standardize(X, centre, weights=relative)
    return FactorSamples(
        *standardized,
        observed=~np.isnan(X) if has_gaps else None,
        weights=weights.values,
        n_samples=len(X) if sample_weight is None else weights.n_effective,
        dtype=X.dtype,
    )


def _with_gaps(source: Any) -> Array:
    """Return real samples, in which NaN is allowed."""
    X = as_samples(source)
    if X.dtype.kind == "c":
        raise DtypeError(f"X has dtype {X.dtype}; expected real numbers")
    infinite = np.isinf(X)
    if infinite.any():
        row, column = np.argwhere(infinite)[0]
        raise NonFiniteError(
            f"X contains infinity in row {row} and column {column}; expected finite numbers, or NaN "
            f"for missing values"
        )
    return X


def _standardized_with_gaps(
    X: Array, weights: Weights, centre: bool, names: list[Any] | None
) -> Standardized:
    observed = ~np.isnan(X)
    low = np.where(observed, X, np.inf).min(axis=0).astype(np.float64)
    high = np.where(observed, X, -np.inf).max(axis=0).astype(np.float64)
    _require_values(low <= high, names)
    columns = ColumnRange(low, high) if centre else ColumnRange(low, high).with_zero()
    require_varying(columns.is_constant(X.dtype))
    unit = np.ldexp(1.0, np.clip(exponents_of(columns.size), -1000, 1000))
    deviations = np.where(observed, X, 0).astype(np.float64) / unit
    shares = weights.values / weights.total
    totals = shares @ observed
    location = np.zeros(X.shape[1])
    for _ in range(2 if centre else 0):  # the second pass subtracts the rounding of the first mean
        mean = (shares @ deviations) / totals
        deviations -= mean * observed
        location += mean
    scale = np.sqrt((shares @ deviations**2) / totals)
    deviations /= scale
    return Standardized(deviations, location * unit, scale * unit)


def _require_values(has_values: Array, names: list[Any] | None) -> None:
    empty = np.flatnonzero(~has_values)
    if len(empty):
        shown = [repr(int(i) if names is None else names[i]) for i in empty[:3]]
        more = ", ..." if len(empty) > 3 else ""
        raise ValueError(
            f"X has no value in {len(empty)} of its columns: {', '.join(shown)}{more}; expected at "
            f"least one value in each column"
        )
