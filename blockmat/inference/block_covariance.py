"""The steps from samples to a covariance matrix: blocks and signs, shrinkage, the matrix.

`estimate` runs them in this order.
"""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol, cast

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.blocks.partition import Partition
from blockmat.cores.scale import in_range, times_power
from blockmat.finding.correlations.expected_correlation import SampleCorrelation
from blockmat.finding.correlations.similarity import Correlation
from blockmat.finding.find_partition import find_partition
from blockmat.finding.problems.sample_problems import most_blocks
from blockmat.finding.search.block_signs import block_signs
from blockmat.fitting.eigenvalue_shrinkage import Deviations
from blockmat.fitting.factors_and_blocks import (
    BlocksAndDirections,
    Operator,
    mix_with_samples,
    mix_with_shrunk_samples,
    without_factors,
)
from blockmat.fitting.fit_factor import require_samples
from blockmat.fitting.one_factor_blocks import mix_one_factor_blocks, one_factor_blocks
from blockmat.inference.likelihood import check_enough_samples
from blockmat.inference.shrinkage import (
    cross_fitted_shrinkage,
    is_exact,
    likelihood_shrinkage,
    shrinkage_toward,
)
from blockmat.matrices.block_constant import BlockConstantMatrix
from blockmat.sources.counts import is_searchable, require_effective, require_rows, whole
from blockmat.sources.gapped_samples import GappedSamples
from blockmat.sources.standardize import Standardized, StandardRows
from blockmat.sources.weighted_samples import WeightedSamples

NONLINEAR = "nonlinear"  # the shrinkage that mixes two models equally
_EQUAL = 0.5


class Rows(Protocol):
    """Samples, or a summary of them, that a covariance matrix can be estimated from."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the samples."""

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
    n_factors: int
    loadings: bool
    shrinkage: float | str | None
    signs: bool
    missing: str
    weight_type: str
    assume_centered: bool
    random_state: Any
    n_jobs: int | None
    constant: str

    @property
    def for_constants(self) -> str:
        """What else can be done about constant columns, as the end of a message."""
        if self.loadings:
            return ""
        return ", or constant='keep'" + ("" if self.is_searched else ", or scaled=False")

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
    if model.loadings:
        require_samples(rows.n_rows, partition.n_blocks, assume_centered=True)
    elif model.shrinkage != NONLINEAR:
        check_enough_samples(rows.n_rows, partition.n_blocks, model.assume_centered)
    check_n_factors(rows, partition.n, model)
    signed = standardized.times(signs)
    shrinkage = choose_shrinkage(rows, signed, partition, model)
    operator = covariance(rows, signed, partition, shrinkage, model).astype(dtype)
    location = standardized.location.astype(dtype)
    constant = np.zeros(len(location), dtype=bool)
    return Estimate(location, partition, signs, constant, shrinkage, operator)


def standardize(rows: Rows, model: Model) -> Standardized:
    """Subtract the mean if it is not known, and divide by the deviations if scaled."""
    return rows.standardize(not model.assume_centered, model.scaled, model.for_constants)


def find_blocks(
    rows: Rows, standardized: Standardized, model: Model, at_most: int | None = None
) -> tuple[Partition, Array]:
    """Return the blocks and the signs of the variables.

    If `at_most` is given, there are so many blocks, or fewer if there are too few samples.
    """
    if model.partition is not None and not model.signs:
        return model.partition, np.ones(model.partition.n, dtype=np.intp)
    if not model.scaled or model.assume_centered:
        standardized = rows.standardize(True, True, model.for_constants)
    require_searchable(rows, model)
    rounding = standardized.rounding(rows.dtype)
    R = Correlation(StandardRows(standardized.deviations, whole(rows.n_effective), rounding))
    if at_most is not None:
        model = replace(model, n_blocks=min(at_most, most_blocks(R)))
    return search(R, model)


def features(constant: str) -> str:
    """Return what a message counts as variables: not the constant ones if they are kept."""
    return "feature(s) that vary" if constant == "keep" else "feature(s)"


def require_searchable(rows: Rows | GappedSamples, model: Model) -> None:
    """Raise ValueError for too few samples to find blocks or signs."""
    require_rows(rows.n_rows, 3)
    require_effective(rows.n_effective, model.weight_type)


def search(source: SampleCorrelation, model: Model) -> tuple[Partition, Array]:
    """Find blocks or signs in the correlations of samples."""
    if model.partition is not None:
        return model.partition, block_signs(source, model.partition)
    options: dict[str, Any] = {"random_state": model.random_state, "loadings": model.loadings}
    if model.signs:
        return find_partition(source, model.n_blocks, samples=True, signs=True, **options)
    found = find_partition(source, model.n_blocks, samples=True, **options)
    return found, np.ones(found.n, dtype=np.intp)


def check_n_factors(rows: Rows | GappedSamples, n: int, model: Model) -> None:
    """Raise ValueError for more factors than the rank of the samples of n variables."""
    most = min(n, rows.n_rows - (not model.assume_centered))
    if model.n_factors > most:
        raise ValueError(
            f"X has {n} {features(model.constant)} and {rows.n_rows} rows; n_factors={model.n_factors} expects "
            f"at most {most}: the smaller of the number of variables and the rank of the samples"
        )


def choose_shrinkage(rows: Rows, signed: Standardized, partition: Partition, model: Model) -> float:
    """Return the shrinkage, estimated if it is "optimal" or "cv".

    `signed` holds the standardized samples times their signs.
    """
    if model.shrinkage is None:
        return 1.0
    if not isinstance(model.shrinkage, str):
        return float(model.shrinkage)
    if model.shrinkage == NONLINEAR:
        return _EQUAL
    rows = cast(WeightedSamples, rows)  # a stream has no estimated shrinkage
    rest = signed._replace(deviations=without_factors(signed.deviations, model.n_factors))
    if model.shrinkage == "optimal" and not model.is_searched:
        weights = rows.relative_weights
        return shrinkage_toward(rest.deviations, partition, rows.n_effective, weights)
    least = 6 if model.is_searched else 4
    if rows.n_rows < least:
        raise ValueError(
            f"X has {rows.n_rows} rows; shrinkage={model.shrinkage!r} expects at least {least} samples"
        )
    if is_exact(rest.deviations, partition):
        return 1.0

    def fit_fold(train: WeightedSamples) -> tuple[Standardized, Partition]:
        standardized = standardize(train, model)
        p, signs = find_blocks(train, standardized, model, partition.n_blocks)
        return standardized.times(signs), p

    def is_enough(train: WeightedSamples) -> bool:
        if model.is_searched and not is_searchable(train.n_rows, train.n_effective):
            return False
        n_given = 1 if model.partition is None else partition.n_blocks
        rank = train.n_rows - (not model.assume_centered)
        return model.shrinkage == "optimal" or rank >= max(n_given, model.n_factors)

    if model.shrinkage == "optimal":
        unsigned = rest.times(np.sign(rest.scale))
        return cross_fitted_shrinkage(rows, unsigned, fit_fold, is_enough, model.n_jobs)
    return likelihood_shrinkage(rows, fit_fold, is_enough, model.n_factors, model.n_jobs)


def covariance(
    rows: Rows,
    signed: Standardized,
    p: Partition,
    shrinkage: float,
    model: Model,
    lost: BlockConstantMatrix | None = None,
) -> Operator:
    """Return the model times its weight plus the rest, with scales on both sides.

    `signed` holds the standardized samples times their signs, and `lost` is what their covariance
    lacks because missing values were filled in. If variables are scaled, the variances are those of
    the samples.
    """
    Z, exponent = in_range(signed.deviations)
    numbers = (max(x - (not model.assume_centered), 1.0) for x in (rows.n_effective, rows.n_rows))
    deviations = Deviations(*numbers)
    if model.loadings:
        scale = signed.scale * times_power(1.0, exponent)
        if model.shrinkage == NONLINEAR:
            return mix_one_factor_blocks(Z, p, scale, shrinkage, deviations)
        return one_factor_blocks(Z, p, scale)
    if model.shrinkage == NONLINEAR:
        mixed = mix_with_shrunk_samples(Z, p, model.n_factors, shrinkage, deviations)
    else:
        mixed = mix_with_samples(Z, p, model.n_factors, shrinkage)
    if lost is not None:
        blocks = mixed.blocks + lost * times_power(1.0, -2 * exponent)
        mixed = mixed._replace(blocks=blocks)
    return with_scales(mixed, signed.scale, exponent, model)


def with_scales(mixed: BlocksAndDirections, scale: Array, exponent: int, model: Model) -> Operator:
    """Return a matrix in units of ``4**exponent`` with scales (n,) on both sides."""
    unit = times_power(1.0, exponent)
    if model.scaled and (model.n_factors or model.shrinkage == NONLINEAR):
        return mixed.scaled(scale * unit / np.sqrt(mixed.diagonal()))
    if model.scaled or (scale != 1).any():
        return mixed.scaled(scale * unit)
    matrix = mixed.matrix()
    return matrix * unit * unit if exponent else matrix
