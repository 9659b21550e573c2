"""Weights of samples: how often each one counts, or how reliable it is."""

from dataclasses import dataclass
from functools import cached_property
from numbers import Real
from typing import Any

import numpy as np

from blockmat.blocks.checks import Array, as_numeric, frozen, is_choice, require_finite
from blockmat.blocks.names import weights_by_name
from blockmat.blocks.shown import shown
from blockmat.blocks.warn import warn
from blockmat.exceptions import DtypeError, ShapeError

WEIGHT_TYPES = ("frequency", "reliability")
_SMALLEST = 1e-60  # of the largest weight, so that products of squares stay in range


@dataclass(frozen=True)
class Weights:
    """Non-negative weights w of T samples.

    Parameters
    ----------
    values : ndarray, shape (T,)
        The weights, read-only and in double precision. A weight of zero leaves the sample out.
    squares : ndarray, shape (T,)
        The sum of the squared weights of the single samples that each weight stands for: w for
        frequency weights, which stand for w samples of weight 1, and ``w**2`` for reliability
        weights.
    """

    values: Array
    squares: Array

    @cached_property
    def total(self) -> float:
        """The sum of the weights."""
        return float(self.values.sum())

    @cached_property
    def lost(self) -> float:
        """What each degree of freedom subtracts from the divisor of a covariance matrix.

        It is ``sum(squares) / total``: 1 for frequency weights, also if there are none.
        """
        return float(self.squares.sum()) / self.total if self.total > 0 else 1.0

    @property
    def n_effective(self) -> float:
        """The number of samples for criteria and tests, ``total**2 / sum(squares)``."""
        return self.total / self.lost

    @property
    def n_similar(self) -> float:
        """The number of rows, if only rows of similar weight count: ``total**2 / sum(values**2)``."""
        relative = self.values / self.total
        return 1 / float(relative @ relative)

    def divisor(self, ddof: int) -> float:
        """Return the divisor of weighted sums of products: ``total - ddof * lost``.

        Raises
        ------
        ValueError
            If it is not positive.
        """
        if ddof >= self.n_effective:
            has_rows = np.count_nonzero(self.values) > ddof
            is_count = np.array_equal(self.values, self.squares)
            hint = ", the sum of the weights, or weight_type='reliability'"
            if len(self.values) == 1:
                hint = "; are samples the rows of X?"
            elif not (has_rows and is_count):
                hint = ""
            raise ValueError(
                f"ddof is {ddof}; expected less than the number of samples, {self.n_effective:g}{hint}"
            )
        return self.total - ddof * self.lost

    def where(self, kept: Array) -> "Weights":
        """Return the weights of the samples that a mask (T,) keeps, and zero for the others."""
        return self if kept.all() else self.times(kept.astype(np.float64))

    def rows(self, index: Array) -> "Weights":
        """Return the weights of some of the samples."""
        return Weights(frozen(self.values[index]), frozen(self.squares[index]))

    def part(self, first: int, last: int) -> "Weights":
        """Return the weights of some consecutive samples."""
        return Weights(self.values[first:last], self.squares[first:last])

    def times(self, factors: Array) -> "Weights":
        """Return the weights of samples whose single weights are multiplied by factors (T,)."""
        return Weights(frozen(self.values * factors), frozen(self.squares * factors**2))

    def decayed(self, half_life: float) -> "Weights":
        """Return weights that halve with every `half_life` samples before the last one."""
        age = np.arange(len(self.values))[::-1]
        return self.times(0.5 ** (age / half_life))


def as_weights(
    sample_weight: Any,
    n_samples: int,
    weight_type: str = "frequency",
    name: str = "sample_weight",
    source: Any = None,
) -> Weights:
    """Check weights of samples; None means a weight of 1 for each sample.

    If the samples were given as a DataFrame, the `source`, a Series is matched to its rows by name.

    Frequency weights count samples: integers give the results of repeated rows. Reliability
    weights are inverse variances up to a common factor, as `aweights` of `numpy.cov`.

    Raises
    ------
    ShapeError
        If there is not one weight for each sample.
    DtypeError
        If they are not real numbers.
    NonFiniteError
        If they contain NaN or infinity.
    TypeError
        If they are a string.
    ValueError
        If one is negative, their sum is zero, `weight_type` is unknown, or a Series has another
        index than the rows of the source.
    """
    if isinstance(sample_weight, str):
        raise TypeError(
            f"{name} is {sample_weight!r}; expected one number per sample, such as "
            f"data[{sample_weight!r}]"
        )
    require_weight_type(weight_type)
    if sample_weight is None:
        return _of(np.ones(n_samples), weight_type)
    given = as_numeric(weights_by_name(sample_weight, source, name), name, (1,))
    if given.dtype.kind == "c":
        raise DtypeError(f"{name} has dtype {given.dtype}; expected real numbers")
    if len(given) != n_samples:
        raise ShapeError(f"{name} has length {len(given)}; expected {n_samples}, one per sample")
    require_finite(given, name)
    negative = np.flatnonzero(given < 0)
    if len(negative):
        first = int(negative[0])
        raise ValueError(f"{name} is {given[first]} at index {first}; expected at least 0")
    if not given.any():
        raise ValueError(f"{name} has only zeros; expected a positive sum")
    largest = float(given.max())
    if not _SMALLEST <= largest <= 1 / _SMALLEST:
        raise ValueError(f"{name} is up to {largest:g}; expected weights near 1")
    return _of(given.astype(np.float64), weight_type)


def require_weight_type(weight_type: str) -> None:
    """Raise ValueError for an unknown kind of weights."""
    if not is_choice(weight_type, WEIGHT_TYPES):
        raise ValueError(
            f"weight_type is {shown(weight_type)}; expected 'frequency' or 'reliability'"
        )


def as_half_life(half_life: Any, name: str = "half_life") -> float:
    """Check a number of samples. Warn if it is below 1, as a decay factor is.

    Raises
    ------
    TypeError
        If it is not a real number.
    ValueError
        If it is not positive and finite.
    """
    if isinstance(half_life, bool) or not isinstance(half_life, Real):
        raise TypeError(f"{name} is {half_life!r}; expected a positive number of samples")
    number = float(half_life)
    if not 0 < number < np.inf:
        raise ValueError(f"{name} is {half_life!r}; expected a positive number of samples")
    if number < 1:
        warn(
            f"{name} is {half_life!r}, less than one sample; expected a number of samples. The "
            f"half-life of a decay factor d for each sample is log(0.5) / log(d)",
        )
    return number


def _of(values: Array, weight_type: str) -> Weights:
    squares = values if weight_type == "frequency" else values**2
    return Weights(frozen(values), frozen(squares))
