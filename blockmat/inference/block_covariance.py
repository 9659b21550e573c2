"""The steps from samples to a covariance matrix: blocks and signs, shrinkage, the matrix.

`estimate` runs them in this order. A further part of the model, such as factors of all variables,
belongs into `Model` and `covariance`.
"""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol, cast

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.blocks.partition import Partition
from blockmat.finding.block_signs import block_signs
from blockmat.finding.find_partition import find_partition
from blockmat.fitting.fit_samples import fit_samples
from blockmat.inference.likelihood import check_enough_samples
from blockmat.inference.shrinkage import (
    cross_fitted_shrinkage,
    is_exact,
    likelihood_shrinkage,
    shrinkage_toward,
)
from blockmat.matrices.block_constant import BlockConstantMatrix
from blockmat.matrices.low_rank import BlockPlusLowRank
from blockmat.matrices.scaled import ScaledBlockMatrix
from blockmat.sources.gapped_samples import GappedSamples
from blockmat.sources.standardize import Standardized, StandardRows, compress_rows
from blockmat.sources.weighted_samples import WeightedSamples

_SAME_ROW = 1e-12  # rounding of standardized numbers
HINT = ", or scaled=False"  # of the error for a constant column
Operator = BlockConstantMatrix | ScaledBlockMatrix | BlockPlusLowRank


class Rows(Protocol):
    """Samples, or a summary of them, that a covariance matrix can be estimated from."""

    @property
    def n_rows(self) -> int:
        """The number of samples of positive weight."""

    @property
    def n_effective(self) -> float:
        """The number of samples for criteria."""

    def standardize(self, centre: bool, unit_variance: bool, hint: str = "") -> Standardized:
        """Return the mean, the deviations D (m, n), and scales; ``D.T @ D / m`` is the covariance."""


@dataclass(frozen=True)
class Model:
    """What is to be estimated: the checked parameters of `BlockCovariance`.

    `partition` holds the blocks that are given, or None to find `n_blocks` blocks, and their number
    too if that is None.
    """

    partition: Partition | None
    n_blocks: int | None
    scaled: bool
    shrinkage: float | str | None
    signs: bool
    missing: str
    assume_centered: bool
    random_state: Any
    n_jobs: int | None

    @property
    def is_searched(self) -> bool:
        """Whether the blocks or the signs are found in the samples."""
        return self.partition is None or self.signs


class Estimate(NamedTuple):
    """A covariance matrix with its mean, blocks, signs and shrinkage.

    `constant` (n,) tells which variables are constant.
    """

    location: Array
    partition: Partition
    signs: Array
    constant: Array
    shrinkage: float
    operator: Operator


def estimate(rows: Rows, model: Model, dtype: Any) -> Estimate:
    """Estimate the covariance matrix in a precision."""
    standardized = standardize(rows, model)
    partition, signs = find_blocks(rows, standardized, model)
    check_enough_samples(rows.n_rows, partition.n_blocks, model.assume_centered)
    signed = standardized.times(signs)
    shrinkage = choose_shrinkage(rows, signed, partition, model)
    operator = covariance(signed.astype(dtype), partition, shrinkage, model.scaled)
    location = standardized.location.astype(dtype)
    constant = np.zeros(len(location), dtype=bool)
    return Estimate(location, partition, signs, constant, shrinkage, operator)


def standardize(rows: Rows, model: Model) -> Standardized:
    """Subtract the mean if it is not known, and divide by the deviations if scaled."""
    return rows.standardize(not model.assume_centered, model.scaled, HINT)


def find_blocks(
    rows: Rows, standardized: Standardized, model: Model, at_most: int | None = None
) -> tuple[Partition, Array]:
    """Return the blocks and the signs of the variables.

    If `at_most` is given, there are so many blocks, or fewer if there are too few samples.
    """
    if model.partition is not None and not model.signs:
        return model.partition, np.ones(model.partition.n, dtype=np.intp)
    if not model.scaled or model.assume_centered:
        standardized = rows.standardize(True, True)
    n_rows, n_samples = rows.n_rows, whole(rows.n_effective)
    if isinstance(rows, WeightedSamples):  # repeated rows add nothing to the rank
        n_rows = max(n_distinct(standardized.deviations, rows.relative_weights), 3)
    if at_most is not None:
        model = replace(model, n_blocks=min(at_most, n_rows - 2, n_samples - 2))
    return search(StandardRows(standardized.deviations, n_rows, n_samples), rows, model)


def search(source: Any, rows: Rows | GappedSamples, model: Model) -> tuple[Partition, Array]:
    """Find blocks or signs in a source of `find_partition` that is made of the rows."""
    check_n_rows(rows, 3)
    if rows.n_effective < 3:
        raise ValueError(
            f"the weights of X count as {rows.n_effective:.3g} samples; expected at least 3"
        )
    if model.partition is not None:
        return model.partition, block_signs(source, model.partition)
    k, random_state = model.n_blocks, model.random_state
    if model.signs:
        return find_partition(source, k, samples=True, random_state=random_state, signs=True)
    found = find_partition(source, k, samples=True, random_state=random_state)
    return found, np.ones(found.n, dtype=np.intp)


def n_distinct(Z: Array, weights: Array | None) -> int:
    """Return how many rows of Z (T, n) differ, to rounding.

    Z has columns of variance one, times the roots of weights (T,). Rows are compared by one random
    combination of their numbers.
    """
    n = Z.shape[1]
    values = Z @ np.random.default_rng(0).standard_normal(n)
    if weights is not None:
        values /= np.sqrt(weights)
    return 1 + int(np.count_nonzero(np.diff(np.sort(values)) > _SAME_ROW * np.sqrt(n)))


def whole(n_effective: float) -> int:
    """Return the number of samples without its fraction, which may be rounding."""
    return int(n_effective * (1 + 1e-9))


def check_n_rows(rows: Rows | GappedSamples, least: int) -> None:
    """Raise ValueError for fewer samples of positive weight."""
    if rows.n_rows < least:
        raise ValueError(f"X has {rows.n_rows} rows; expected at least {least} samples")


def choose_shrinkage(rows: Rows, signed: Standardized, partition: Partition, model: Model) -> float:
    """Return the shrinkage, estimated if it is "optimal" or "cv".

    `signed` holds the standardized samples times their signs.
    """
    if model.shrinkage is None:
        return 1.0
    if not isinstance(model.shrinkage, str):
        return float(model.shrinkage)
    rows = cast(WeightedSamples, rows)  # a stream has no estimated shrinkage
    if model.shrinkage == "optimal" and not model.is_searched:
        weights = rows.relative_weights
        return shrinkage_toward(signed.deviations, partition, rows.n_effective, weights)
    least = 6 if model.is_searched else 4
    if rows.n_rows < least:
        raise ValueError(
            f"X has {rows.n_rows} rows; shrinkage={model.shrinkage!r} expects at least {least} samples"
        )
    if is_exact(signed.deviations, partition):
        return 1.0

    def fit_fold(train: WeightedSamples) -> tuple[Standardized, Partition]:
        standardized = standardize(train, model)
        p, signs = find_blocks(train, standardized, model, partition.n_blocks)
        return standardized.times(signs), p

    if model.shrinkage == "optimal":
        return cross_fitted_shrinkage(rows, standardize(rows, model), fit_fold, model.n_jobs)
    return likelihood_shrinkage(rows, fit_fold, model.n_jobs)


def covariance(
    signed: Standardized, partition: Partition, shrinkage: float, scaled: bool
) -> Operator:
    """Return ``shrinkage * P S + (1 - shrinkage) * S``, times the scales on both sides."""
    Z, _, scale = signed
    matrix = fit_samples(Z, partition, ddof=0, assume_centered=True) * shrinkage
    model = times_scales(matrix, scale, scaled)
    if shrinkage == 1:
        return model
    root = float(np.sqrt((1 - shrinkage) / len(Z)))
    return BlockPlusLowRank(model, root * (compress_rows(Z) * scale).T)


def times_scales(
    matrix: BlockConstantMatrix, scale: Array, scaled: bool
) -> BlockConstantMatrix | ScaledBlockMatrix:
    """Return ``S B S``; without scales of the variables only if there are signs."""
    return ScaledBlockMatrix(matrix, scale) if scaled or (scale != 1).any() else matrix
