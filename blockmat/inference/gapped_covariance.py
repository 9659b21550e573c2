"""The steps from samples with missing values to a covariance matrix.

They are those of `block_covariance`. Where these need complete samples, missing values are replaced
by their conditional expectations under the block model (:ref:`theory-gaps`).
"""

from typing import Any, NamedTuple

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.blocks.partition import Partition
from blockmat.cores import pair
from blockmat.finding.expected_correlation import ExpectedRows
from blockmat.fitting.factors_and_blocks import BlocksAndDirections, Operator
from blockmat.fitting.fit_factor import fit_factor
from blockmat.fitting.fit_samples import fit_samples
from blockmat.fitting.one_factor_blocks import times_scale
from blockmat.inference.block_covariance import (
    HINT,
    NONLINEAR,
    Estimate,
    Model,
    check_n_factors,
    choose_shrinkage,
    covariance,
    search,
    whole,
    with_scales,
)
from blockmat.inference.likelihood import check_enough_samples
from blockmat.matrices.block_constant import BlockConstantMatrix
from blockmat.sources.em import Estimate as Parameters
from blockmat.sources.em import em_fit, expected_values
from blockmat.sources.gapped_samples import GappedSamples
from blockmat.sources.observed import ObservedSamples
from blockmat.sources.standardize import Standardized, StandardRows
from blockmat.sources.standardize_observed import StandardizedObserved
from blockmat.sources.weighted_samples import WeightedSamples
from blockmat.sources.weights import Weights

_ROUNDS = 5  # of the search, at most


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

    def times(self, signs: Array) -> "GappedRows":
        """Return the same samples, with signs (n,) in both Z and the scales."""
        if (signs > 0).all():
            return self
        return self._replace(Z=self.Z * signs, scale=self.scale * signs)


class Completed(NamedTuple):
    """Deviations (T, n) without gaps, and the mean covariance that the fills lack."""

    deviations: Array
    lost: BlockConstantMatrix


def estimate_with_gaps(samples: GappedSamples, model: Model, dtype: Any) -> Estimate:
    """Estimate the covariance matrix in a precision."""
    rows = GappedRows.of(samples.standardize(not model.assume_centered, model.scaled, HINT))
    partition, signs = find_blocks(samples, rows, model)
    if model.shrinkage != NONLINEAR and not model.loadings:
        check_enough_samples(samples.n_rows, partition.n_blocks, model.assume_centered)
    check_n_factors(samples, partition.n, model)
    rows = rows.times(signs)
    if model.loadings:
        return _with_loadings(rows, partition, signs, model, dtype)
    mean, fit = fit_blocks(rows, partition, model)
    location = rows.location + rows.scale * mean
    if model.shrinkage is None and not model.n_factors:
        blocks = BlocksAndDirections(fit, np.empty((partition.n, 0)), np.empty(0))
        shrinkage, operator = 1.0, with_scales(blocks, rows.scale, 0, model)
    else:
        completed, weights, scale = complete(rows, mean, fit), rows.weights, rows.scale
        del rows  # which are as large as the completed samples
        shrinkage, operator = shrink(completed, weights, scale, location, model)
    constant = np.zeros(partition.n, dtype=bool)
    operator = operator.astype(dtype)
    return Estimate(location.astype(dtype), partition, signs, constant, shrinkage, operator)


def _with_loadings(
    rows: GappedRows, p: Partition, signs: Array, model: Model, dtype: Any
) -> Estimate:
    """Return blocks of one factor each, of the highest likelihood of the observed values."""
    fit = fit_factor(
        rows.Z,
        p,
        missing="em",
        sample_weight=rows.weights.values,
        assume_centered=model.assume_centered,
        full_output=True,
    )
    location = (rows.location + rows.scale * fit.mean).astype(dtype)
    operator = times_scale(fit.matrix, rows.scale).astype(dtype)
    return Estimate(location, p, signs, np.zeros(p.n, dtype=bool), 1.0, operator)


def find_blocks(samples: GappedSamples, rows: GappedRows, model: Model) -> tuple[Partition, Array]:
    """Return the blocks and the signs of the variables.

    They are found with means for missing values first, which lowers correlations, and then again
    with the correlations that are expected under the blocks of the round before.
    """
    signs = np.ones(len(rows.scale), dtype=np.intp)
    if model.partition is not None and not model.signs:
        return model.partition, signs
    if not model.scaled or model.assume_centered:
        rows = GappedRows.of(samples.standardize(True, True))
    n_samples = mean_pair_number(rows)
    roots = np.sqrt(rows.weights.values / rows.weights.values.mean())[:, None]
    filled = np.nan_to_num(rows.Z)
    filled *= roots
    filled *= np.sqrt(rows.weights.total / rows.counts)
    p, signs = search(StandardRows(filled, samples.n_rows, n_samples), samples, model)
    del filled  # which is as large as the samples
    for _ in range(_ROUNDS):
        signed = rows.times(signs)
        deviations, lost = complete(signed, np.zeros(p.n), pairwise_fit(signed, p))
        deviations *= roots
        source = ExpectedRows(deviations, lost, samples.n_rows, n_samples)
        found, changes = search(source, samples, model)
        is_same = found.same_blocks(p) and (changes > 0).all()
        p, signs = found, in_blocks(signs * changes, found)
        if is_same:
            break
    return p, signs


def mean_pair_number(rows: GappedRows) -> int:
    """Return in how many samples two variables are both observed, on average."""
    weights, n = rows.weights, len(rows.scale)
    numbers = n - np.isnan(rows.Z).sum(axis=1).astype(np.float64)
    share = float(weights.values @ numbers**2) / weights.total / n**2
    n_samples = whole(weights.n_effective * share)
    if n_samples < 3:
        raise ValueError(
            f"two columns of X have values in {n_samples} of the same samples on average; expected "
            f"at least 3"
        )
    return n_samples


def in_blocks(signs: Array, p: Partition) -> Array:
    """Return signs relative to the first variable of each block."""
    relative: Array = signs * p.expand(signs[p.order[p.offsets[:-1]]])
    return relative.astype(np.intp)


def fit_blocks(rows: GappedRows, p: Partition, model: Model) -> tuple[Array, BlockConstantMatrix]:
    """Return the mean (n,) and the covariance of the standardized samples, pairwise or by EM."""
    if model.missing == "em":
        samples = ObservedSamples(rows.Z, rows.weights)
        mean, between, within = em_fit(samples, p, not model.assume_centered).estimate
        return mean, BlockConstantMatrix(p, between, within)
    return np.zeros(p.n), pairwise_fit(rows, p)


def pairwise_fit(rows: GappedRows, p: Partition) -> BlockConstantMatrix:
    """Return the positive definite fit of pairwise means."""
    return fit_samples(
        rows.Z,
        p,
        ddof=0,
        assume_centered=True,
        sample_weight=rows.weights.values,
        missing="pairwise",
    )


def complete(rows: GappedRows, mean: Array, fit: BlockConstantMatrix) -> Completed:
    """Replace missing values by their expectations given the other values of the sample."""
    p, total = fit.partition, rows.weights.total
    parameters = Parameters(mean, fit.between, fit.within)
    expected = expected_values(ObservedSamples(rows.Z, rows.weights), p, parameters)
    deviations = rows.Z - mean
    t, i = np.nonzero(np.isnan(deviations))
    deviations[t, i] = expected.fills[t, p.labels[i]]
    between = expected.covariance / pair.outer_root(p.sizes) / total
    within = pair.within_of_traces(expected.variances / total, between, p.sizes)
    return Completed(deviations, BlockConstantMatrix(p, between, within))


def shrink(
    completed: Completed, weights: Weights, scale: Array, location: Array, model: Model
) -> tuple[float, Operator]:
    """Return the shrinkage and the covariance matrix of completed samples."""
    D, lost = completed
    is_estimated = isinstance(model.shrinkage, str) and model.shrinkage != NONLINEAR
    # Only an estimate reads the samples.
    samples = WeightedSamples.of(location + scale * D if is_estimated else D, weights)
    D *= np.sqrt(weights.values / weights.values.mean())[:, None]
    signed = Standardized(D, location, scale)
    shrinkage = choose_shrinkage(samples, signed, lost.partition, model)
    return shrinkage, covariance(samples, signed, lost.partition, shrinkage, model, lost)
