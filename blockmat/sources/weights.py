"""Weights of samples: how often each one counts, or how reliable it is."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from blockmat.blocks.checks import Array, as_numeric, frozen, require_finite
from blockmat.cores.scale import exponent_of, times_power
from blockmat.exceptions import DtypeError, ShapeError

WEIGHT_TYPES = ("frequency", "reliability")


@dataclass(frozen=True)
class Weights:
    """Non-negative weights w of T samples.

    Parameters
    ----------
    values : ndarray, shape (T,)
        The weights, read-only and in double precision. A weight of zero leaves the sample out.
    total : float
        Their sum.
    n_effective : float
        The number of samples for criteria and tests: `total` for frequency weights, and
        ``total**2 / sum(w**2)`` for reliability weights.
    lost : float
        What each degree of freedom subtracts from the divisor of a covariance matrix: 1 for
        frequency weights, and ``sum(w**2) / total`` for reliability weights.
    """

    values: Array
    total: float
    n_effective: float
    lost: float

    def divisor(self, ddof: int) -> float:
        """Return the divisor of weighted sums of products: ``total - ddof * lost``.

        Raises
        ------
        ValueError
            If it is not positive.
        """
        n_samples = self.total / self.lost
        if ddof >= n_samples:
            raise ValueError(
                f"ddof is {ddof}; expected less than the number of samples, {n_samples:g}"
            )
        return self.total - ddof * self.lost


def as_weights(
    sample_weight: Any,
    n_samples: int,
    weight_type: str = "frequency",
    name: str = "sample_weight",
) -> Weights:
    """Check weights of samples; None means a weight of 1 for each sample.

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
    ValueError
        If one is negative, their sum is zero, or `weight_type` is unknown.
    """
    if weight_type not in WEIGHT_TYPES:
        raise ValueError(f"weight_type is {weight_type!r}; expected 'frequency' or 'reliability'")
    if sample_weight is None:
        return _of(np.ones(n_samples), weight_type)
    given = as_numeric(sample_weight, name, (1,))
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
    return _of(given.astype(np.float64), weight_type)


def _of(values: Array, weight_type: str) -> Weights:
    exponent = exponent_of(values.max(initial=0))  # so that squares stay in range
    small = times_power(values, -exponent)
    total, squares = float(small.sum()), float((small**2).sum())
    scaled_total = float(times_power(total, exponent))
    if weight_type == "frequency":
        return Weights(frozen(values), scaled_total, scaled_total, 1.0)
    lost = float(times_power(squares / total, exponent))
    return Weights(frozen(values), scaled_total, total**2 / squares, lost)
