"""Standardized samples with missing values and weights."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.blocks.names import some_columns
from blockmat.cores.scale import exponents_of
from blockmat.sources.observed import refuse_infinity, require_values
from blockmat.sources.standardize import ColumnRange, require_varying
from blockmat.sources.weights import Weights

_AT_A_TIME = 2**20  # numbers that are worked on at once


class StandardizedObserved(NamedTuple):
    """Samples as ``location + scale * deviations`` where they are observed.

    ``deviations`` (T, n) are in double precision, with 0 for missing values, and ``observed``
    (T, n) tells which values there are. Samples of weight zero have none. ``location`` and
    ``scale`` are (n,), and ``counts`` (n,) are the sums of the weights of the values of each
    column. In ``weights`` the samples without a value have weight zero.
    """

    deviations: Array
    observed: Array
    location: Array
    scale: Array
    counts: Array
    weights: Weights

    def with_gaps(self) -> Array:
        """Return a copy of the deviations with NaN for missing values."""
        return np.where(self.observed, self.deviations, np.nan)


def standardize_observed(
    X: Array,
    weights: Weights,
    centre: bool = True,
    unit_variance: bool = True,
    hint: str = "",
    names: Sequence[Any] | None = None,
) -> StandardizedObserved:
    """Standardize real samples (T, n) as `standardize` does, with means over the observed values.

    The means and variances are weighted, and the variances are divided by the sum of the weights.
    `names` (n,) are the names of the columns, for messages.

    Raises
    ------
    NonFiniteError
        If a sample of positive weight contains infinity.
    ValueError
        If a column has no value, or `unit_variance` is set and its values are constant; the
        message ends in `hint`.
    """
    deviations = X.astype(np.float64)
    observed = ~np.isnan(deviations)
    observed[weights.values == 0] = False
    deviations[~observed] = 0
    n_rows, n = X.shape
    height = max(1, _AT_A_TIME // n)
    chunks = [slice(first, first + height) for first in range(0, n_rows, height)]
    w = weights.values
    counts = np.zeros(n)
    for c in chunks:
        counts += w[c] @ observed[c]
        if not np.isfinite(deviations[c]).all():
            refuse_infinity(X, weights)
    require_values(counts, names)
    low = np.min(deviations, axis=0, where=observed, initial=np.inf if centre else 0)
    high = np.max(deviations, axis=0, where=observed, initial=-np.inf if centre else 0)
    columns = ColumnRange(low, high)
    if unit_variance:
        constant = columns.is_constant(X.dtype)
        _require_values_that_differ(constant, observed, hint, names)
        require_varying(constant, hint, names)
    unit = np.ldexp(1.0, np.clip(exponents_of(columns.size), -1000, 1000))
    deviations /= unit
    location, scale = np.zeros(n), np.ones(n)
    for _ in range(2 if centre else 0):  # the second pass subtracts the rounding of the first mean
        mean = sum(w[c] @ deviations[c] for c in chunks) / counts
        for c in chunks:
            deviations[c] -= mean * observed[c]
        location += mean
    if unit_variance:
        scale = np.sqrt(sum(w[c] @ deviations[c] ** 2 for c in chunks) / counts)
        deviations /= scale
        scale = scale * unit
    else:
        deviations *= unit
    kept = weights.where(observed.sum(axis=1) > 0)
    return StandardizedObserved(deviations, observed, location * unit, scale, counts, kept)


def _require_values_that_differ(
    constant: Array, observed: Array, hint: str, names: Sequence[Any] | None
) -> None:
    """Raise ValueError for constant columns that are so because they have one value."""
    single = constant & (observed.sum(axis=0) == 1)
    if single.any():
        raise ValueError(
            f"X has only one value in {some_columns(single, names)}; expected at least 2 different "
            f"values in each column{hint}"
        )
