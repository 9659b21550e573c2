"""The steps from samples with missing values to a covariance matrix.

They are those of `block_covariance`. Where these need complete samples, missing values are replaced
by their conditional expectations under the block model (:ref:`theory-gaps`).
"""

from dataclasses import replace
from typing import Any

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.blocks.partition import Partition
from blockmat.finding.correlations.expected_correlation import SampleCorrelation
from blockmat.finding.correlations.gaps import Blocks, find_with_gaps, signs_of
from blockmat.fitting.factors_and_blocks import BlocksAndDirections, Operator
from blockmat.fitting.fit_factor import fit_factor
from blockmat.fitting.gapped_rows import Completed, GappedRows, complete, fit_gapped
from blockmat.fitting.one_factor_blocks import times_scale
from blockmat.inference.block_covariance import (
    NONLINEAR,
    Estimate,
    Model,
    check_n_factors,
    choose_shrinkage,
    covariance,
    require_searchable,
    search,
    with_scales,
)
from blockmat.inference.likelihood import check_enough_samples
from blockmat.sources.gapped_samples import GappedSamples
from blockmat.sources.standardize import Standardized
from blockmat.sources.weighted_samples import WeightedSamples
from blockmat.sources.weights import Weights


def estimate_with_gaps(samples: GappedSamples, model: Model, dtype: Any) -> Estimate:
    """Estimate the covariance matrix in a precision."""
    rows = GappedRows.of(
        samples.standardize(not model.assume_centered, model.scaled, model.for_constants)
    )
    partition, signs = find_blocks(samples, rows, model)
    if model.shrinkage != NONLINEAR and not model.loadings:
        check_enough_samples(samples.n_rows, partition.n_blocks, model.assume_centered)
    check_n_factors(samples, partition.n, model)
    rows, unit = rows.times(signs).in_range()
    if model.loadings:
        return _with_loadings(rows, partition, signs, model, dtype)
    mean, fit = fit_gapped(rows, partition, model.missing, not model.assume_centered)
    location = rows.location + rows.scale * mean
    if model.shrinkage is None and not model.n_factors:
        blocks = BlocksAndDirections(fit, np.empty((partition.n, 0)), np.empty(0))
        shrinkage, operator = 1.0, with_scales(blocks, rows.scale, 0, model)
    else:
        completed, weights, scale = complete(rows, mean, fit), rows.weights, rows.scale
        del rows  # which are as large as the completed samples
        shrinkage, operator = shrink(completed, weights, scale, location, model)
    constant = np.zeros(partition.n, dtype=bool)
    if unit != 1:
        location, operator = location * unit, operator * unit * unit
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
    """Return the blocks and the signs of the variables."""
    if model.partition is not None and not model.signs:
        return model.partition, np.ones(len(rows.scale), dtype=np.intp)
    if not model.scaled or model.assume_centered:
        rows = GappedRows.of(samples.standardize(True, True, model.for_constants))
    require_searchable(samples, model)

    def find(correlations: SampleCorrelation) -> Blocks:
        return Blocks(*search(correlations, model))

    def find_as_many(correlations: SampleCorrelation, n_blocks: int) -> Blocks:
        return Blocks(*search(correlations, replace(model, n_blocks=n_blocks)))

    is_chosen = model.partition is None and model.n_blocks is None
    as_many = find_as_many if is_chosen else None
    found = find_with_gaps(rows, samples.n_joint, model.missing, find, as_many)
    return found.best, signs_of(found)


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
