"""ObservedStream: batches of samples with missing values, or with variances of their own."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from blockmat.blocks.checks import (
    Array,
    accumulator_dtype,
    as_numeric,
    is_choice,
    real_dtype,
    require_finite,
    require_in_range,
)
from blockmat.blocks.partition import Partition
from blockmat.blocks.shown import shown
from blockmat.cores import pair as formulas
from blockmat.exceptions import DtypeError, ShapeError
from blockmat.matrices.block_constant import BlockConstantMatrix, trusted_matrix
from blockmat.matrices.checks import require_real_dtype
from blockmat.matrices.scaled import ScaledBlockMatrix
from blockmat.sources.observed import ObservedSamples, require_values
from blockmat.sources.pairwise import PairwiseSums
from blockmat.sources.standardize_observed import standardize_observed
from blockmat.sources.weights import Weights


class ObservedStream:
    """Sums of samples about a location that does not change, in units of a scale.

    Parameters
    ----------
    p : Partition
        The blocks.
    scaled : bool
        Whether variables have variances of their own.
    location, scale : ndarray, shape (n,), optional
        By default the mean and the standard deviation of each variable in the first batch that has
        values of it.
    """

    def __init__(
        self, p: Partition, scaled: bool, location: Array | None, scale: Array | None
    ) -> None:
        self._p, self.is_scaled = p, scaled
        self._location = np.full(p.n, np.nan) if location is None else location
        self._scale = np.ones(p.n) if scale is None else scale
        self._needs_scale = scaled and scale is None
        self._needs_complex = location is not None and location.dtype.kind == "c"
        self._known = np.full(p.n, location is not None and not self._needs_scale)
        self._sums: PairwiseSums | None = None

    @property
    def n_samples(self) -> float:
        """The sum of the weights of the samples that have a value."""
        return 0.0 if self._sums is None else self._sums.weight

    def add(
        self, X: Array, weights: Weights, beta: float = 1.0, names: Sequence[Any] | None = None
    ) -> None:
        """Add samples (T, n), in which NaN marks a missing value, and multiply old weights by beta.

        `names` (n,) are those of the columns, for messages.

        Raises
        ------
        DtypeError
            If X is real, and the location was given as complex numbers.
        NonFiniteError
            If X contains infinity, or sums overflow.
        ValueError
            If a scale is needed, and the first values of a column are constant.
        """
        if self._needs_complex and X.dtype.kind != "c":
            raise DtypeError(
                f"X has dtype {X.dtype}; expected complex numbers, because location is complex"
            )
        samples = ObservedSamples(X, weights)
        new = (samples.columns.counts > 0) & ~self._known
        location, scale = self._location, self._scale
        if new.any():
            location, scale = self._references(X, weights, samples, new, names)
        about = np.where(np.isnan(location), 0, location)
        if self.is_scaled:
            samples, about = ObservedSamples(X, weights, scale=scale), about / scale
        sums = PairwiseSums.of(samples, self._p, about)
        self._sums = sums if self._sums is None else self._sums.decayed(beta) + sums
        self._location, self._scale, self._known = location, scale, self._known | new

    def _references(
        self,
        X: Array,
        weights: Weights,
        samples: ObservedSamples,
        new: Array,
        names: Sequence[Any] | None,
    ) -> tuple[Array, Array]:
        """Return location and scale with those of new variables."""
        columns, dtype = samples.columns, accumulator_dtype(X.dtype)
        location = self._location.astype(np.result_type(self._location, dtype))
        unset = new & np.isnan(location)
        location[unset] = columns.totals[unset] / columns.counts[unset]
        if not self._needs_scale:
            return location, self._scale
        spread = np.sqrt(_sums_of_squares(X[:, new], weights) / columns.counts[new])
        constant = spread <= 4 * np.finfo(X.dtype).eps * np.abs(location[new])
        if constant.any():
            column = int(np.flatnonzero(new)[constant][0])
            raise ValueError(
                f"column {column if names is None else names[column]!r} of X is constant; expected "
                f"variables that vary in the first samples, or the argument scale"
            )
        scale = self._scale.copy()
        scale[new] = spread
        return location, scale

    def decay(self, beta: float) -> None:
        """Multiply the weights of all samples by a factor."""
        if self._sums is not None:
            self._sums = self._sums.decayed(beta)

    def merge(self, other: "ObservedStream") -> None:
        """Add the sums of another stream.

        Raises
        ------
        ValueError
            If it has another location or scale.
        """
        if other._sums is None:
            return
        if self._sums is None:
            self._location, self._scale, self._known = other._location, other._scale, other._known
            self._sums = other._sums
            return
        if not (
            np.array_equal(self._location, other._location, equal_nan=True)
            and np.array_equal(self._scale, other._scale)
        ):
            raise ValueError(
                "other has another location or scale; expected the same, given as arguments to both"
            )
        self._sums = self._sums + other._sums

    def mean(self, names: Sequence[Any] | None) -> Array:
        """Return the weighted mean (n,) of the values of each column.

        `names` (n,) are those of the columns, for messages.

        Raises
        ------
        ValueError
            If a column has no value.
        """
        sums = self._require_values(names)
        shift: Array = sums.sums / sums.counts
        return self._location + (shift * self._scale if self.is_scaled else shift)

    def _require_values(self, names: Sequence[Any] | None) -> PairwiseSums:
        require_values(np.zeros(self._p.n) if self._sums is None else self._sums.counts, names)
        assert self._sums is not None  # there are values
        return self._sums

    def covariance(
        self, ddof: int, dtype: Any, names: Sequence[Any] | None
    ) -> BlockConstantMatrix | ScaledBlockMatrix:
        """Return the covariance matrix.

        `names` (n,) are those of the columns, for messages.

        Raises
        ------
        ValueError
            If there are too few values for `ddof`, or variables of a scaled stream are constant.
        """
        p, sums = self._p, self._require_values(names)
        between, within, *_ = sums.pair(ddof, True, dtype)
        if not self.is_scaled:
            require_in_range(dtype, between, within)
            return trusted_matrix(p, between, within, dtype)
        variances = sums.variances(ddof, names)
        units = np.sqrt(formulas.diagonal_values(between, within, p.sizes))
        correlation = trusted_matrix(
            p, between / np.multiply.outer(units, units), within / units**2, dtype
        )
        scale = np.sqrt(variances) * self._scale
        return ScaledBlockMatrix(correlation, scale.astype(real_dtype(dtype)))


def _sums_of_squares(X: Array, weights: Weights) -> Array:
    """Return the weighted sums (n,) of the squared deviations of observed values from their mean."""
    if X.dtype.kind == "c":
        parts = [np.where(np.isnan(X), np.nan, part) for part in (X.real, X.imag)]
    else:
        parts = [X]
    total = np.zeros(X.shape[1])
    for part in parts:
        deviations = standardize_observed(part, weights, unit_variance=False).deviations
        total += weights.values @ deviations**2
    return total


def as_stream(
    p: Partition, aligned: bool, missing: str, scaled: bool, location: Any, scale: Any
) -> ObservedStream | None:
    """Return a stream for arguments of BlockAccumulator, or None if it is not needed.

    Raises
    ------
    ShapeError
        If the location or the scale does not have n numbers.
    DtypeError
        If the scale is not real.
    NonFiniteError
        If one of them contains NaN or infinity.
    ValueError
        If the arguments do not go together, or the scale is not positive.
    """
    if not is_choice(missing, ("raise", "pairwise")):
        raise ValueError(f"missing is {shown(missing)}; expected 'raise' or 'pairwise'")
    if missing == "raise" and not scaled:
        if location is not None or scale is not None:
            raise ValueError(
                "location or scale is given; expected only with missing='pairwise' or scaled=True"
            )
        return None
    if scale is not None and not scaled:
        raise ValueError("scale is given; expected only with scaled=True")
    if aligned:
        raise ValueError("aligned is True; expected False with missing='pairwise' or scaled=True")
    if location is not None:
        location = _as_reference(location, "location", p.n)
    if scale is not None:
        scale = _as_reference(scale, "scale", p.n)
        require_real_dtype(scale.dtype, "scale")
        wrong = np.flatnonzero(scale <= 0)
        if len(wrong):
            raise ValueError(
                f"scale is {scale[wrong[0]]} at index {wrong[0]}; expected positive numbers"
            )
    return ObservedStream(p, scaled, location, scale)


def _as_reference(value: Any, name: str, n: int) -> Array:
    given = as_numeric(value, name, (1,))
    if len(given) != n:
        raise ShapeError(f"{name} has length {len(given)}; expected {n}, one per variable")
    require_finite(given, name)
    return given.astype(accumulator_dtype(given.dtype))
