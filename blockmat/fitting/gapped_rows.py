"""Standardized samples with missing values: their fit on blocks, and their conditional expectations.

The formulas are those of :ref:`theory-gaps`.
"""

from typing import NamedTuple

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.blocks.partition import Partition
from blockmat.cores import pair
from blockmat.cores.scale import exponent_of
from blockmat.fitting.fit_samples import fit_samples
from blockmat.matrices.block_constant import BlockConstantMatrix
from blockmat.sources.em import TOLERANCE, Estimate, em_fit, expected_values
from blockmat.sources.observed import ObservedSamples
from blockmat.sources.standardize_observed import StandardizedObserved
from blockmat.sources.weights import Weights


class GappedRows(NamedTuple):
    """Standardized samples Z (T, n) with NaN for missing values, each with a value and a weight.

    They are ``location + scale * Z``, with signs in the scales. ``counts`` (n,) are the sums of the
    weights of the values of each column.
    """

    Z: Array
    weights: Weights
    location: Array
    scale: Array
    counts: Array

    @classmethod
    def of(cls, standardized: StandardizedObserved) -> "GappedRows":
        """Return the samples that count."""
        weights, counting = standardized.weights, standardized.weights.values > 0
        Z = standardized.with_gaps()
        if not counting.all():
            Z = Z[counting]
            weights = weights.rows(counting)
        return cls(Z, weights, standardized.location, standardized.scale, standardized.counts)

    def in_range(self) -> tuple["GappedRows", float]:
        """Return the samples divided by a power of two so that squares are in range, and the power."""
        exponent = exponent_of(float(np.fmax.reduce(np.abs(self.Z), None, initial=0)))
        if not exponent:
            return self, 1.0
        unit = 2.0 ** min(max(exponent, -1000), 1000)
        return self._replace(Z=self.Z / unit, location=self.location / unit), unit

    def times(self, signs: Array) -> "GappedRows":
        """Return the same samples, with signs (n,) in both Z and the scales."""
        if (signs > 0).all():
            return self
        return self._replace(Z=self.Z * signs, scale=self.scale * signs)


class Completed(NamedTuple):
    """Deviations (T, n) without gaps, and the mean covariance that the fills lack."""

    deviations: Array
    lost: BlockConstantMatrix


def fit_gapped(
    rows: GappedRows, p: Partition, missing: str, centre: bool, tolerance: float = TOLERANCE
) -> tuple[Array, BlockConstantMatrix]:
    """Return the mean (n,) and the covariance of the standardized samples, pairwise or by EM.

    EM stops once its steps are below the tolerance.
    """
    if missing == "em":
        samples = ObservedSamples(rows.Z, rows.weights)
        mean, between, within = em_fit(samples, p, centre, tolerance).estimate
        return mean, BlockConstantMatrix(p, between, within)
    fit = fit_samples(
        rows.Z,
        p,
        ddof=0,
        assume_centered=True,
        sample_weight=rows.weights.values,
        missing="pairwise",
    )
    return np.zeros(p.n), fit


def complete(rows: GappedRows, mean: Array, fit: BlockConstantMatrix) -> Completed:
    """Replace missing values by their expectations given the other values of the sample."""
    p, total = fit.partition, rows.weights.total
    parameters = Estimate(mean, fit.between, fit.within)
    expected = expected_values(ObservedSamples(rows.Z, rows.weights), p, parameters)
    deviations = rows.Z - mean
    t, i = np.nonzero(np.isnan(deviations))
    deviations[t, i] = expected.fills[t, p.labels[i]]
    between = expected.covariance / pair.outer_root(p.sizes) / total
    within = pair.within_of_traces(expected.variances / total, between, p.sizes)
    return Completed(deviations, BlockConstantMatrix(p, between, within))
