"""Samples of a factor model, standardized; they may have gaps and weights."""

from typing import Any, NamedTuple

import numpy as np

from blockmat.blocks.checks import Array, require_finite
from blockmat.blocks.names import names_of
from blockmat.matrices.checks import require_real_dtype
from blockmat.sources.samples import as_real_samples, as_samples, use_missing
from blockmat.sources.standardize_observed import standardize_observed
from blockmat.sources.weighted_samples import WeightedSamples
from blockmat.sources.weights import as_weights


class FactorSamples(NamedTuple):
    """Samples as ``location + scale * deviations``, where they are observed.

    ``deviations`` (T, n) are 0 where ``observed`` (T, n) is False, and ``weights`` has one weight for
    each of these samples. Both are None if no value is missing. Then the rows of the deviations are
    multiplied by the roots of their weights, of mean 1. ``n_samples`` is what the samples count, and
    ``dtype`` is that of the given samples.
    """

    deviations: Array
    location: Array
    scale: Array
    observed: Array | None
    weights: Array | None
    n_samples: float
    dtype: np.dtype[Any]


def as_factor_samples(
    source: Any, missing: str, centre: bool, sample_weight: Any, weight_type: str
) -> FactorSamples:
    """Check samples and standardize them; with missing="em" NaN is a gap.

    Samples without any value, or with weight zero, are left out.
    """
    if missing == "raise":
        X = as_real_samples(source, 1, for_nan=use_missing("em"))
    else:
        X = as_samples(source)
    require_real_dtype(X.dtype, "X")
    if missing == "em" and np.isnan(X).any():
        weights = as_weights(sample_weight, len(X), weight_type, source=source)
        Z = standardize_observed(X, weights, centre, names=names_of(source, 1))
        kept = Z.weights.values > 0
        return FactorSamples(
            Z.deviations[kept],
            Z.location,
            Z.scale,
            Z.observed[kept],
            Z.weights.values[kept],
            int(kept.sum()) if sample_weight is None else Z.weights.n_effective,
            X.dtype,
        )
    require_finite(X, "X")
    samples = WeightedSamples.checked(X, sample_weight, weight_type, source)
    n_samples = samples.n_rows if sample_weight is None else samples.n_effective
    standardized = samples.standardize(centre, unit_variance=True)
    return FactorSamples(*standardized, None, None, n_samples, X.dtype)
