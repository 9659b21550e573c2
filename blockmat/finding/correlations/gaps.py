"""Find blocks of samples with missing values, which are filled in under the blocks found so far.

Pairwise correlations are not used: their negative eigenvalues look like a perfect fit
(:ref:`theory-gaps`).
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeVar

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.blocks.partition import Partition
from blockmat.finding.correlations.expected_correlation import (
    ExpectedCorrelation,
    ExpectedRows,
    SampleCorrelation,
)
from blockmat.finding.correlations.similarity import Correlation
from blockmat.fitting.gapped_rows import GappedRows, complete, fit_gapped
from blockmat.sources.counts import whole
from blockmat.sources.standardize import StandardRows

_ROUNDS = 5  # after the first one, at most
_TOLERANCE = 1e-3  # of EM: blocks do not depend on further digits


class HasBest(Protocol):
    """A result of a search, with the best partition and its signs (n,), or None without signs."""

    @property
    def best(self) -> Partition:
        """The best partition."""

    @property
    def best_signs(self) -> Array | None:
        """The signs of the variables relative to the first of each block, or None."""


class Blocks(NamedTuple):
    """A partition and the signs of the variables (n,), or None without signs."""

    best: Partition
    best_signs: Array | None


Result = TypeVar("Result", bound=HasBest)


def signs_of(found: HasBest) -> Array:
    """Return the signs of the best partition (n,), which are 1 if none were found."""
    signs = found.best_signs
    return np.ones(found.best.n, dtype=np.intp) if signs is None else signs


def find_with_gaps(
    rows: GappedRows,
    n_samples: int,
    missing: str,
    find: Callable[[SampleCorrelation], Result],
    find_as_many: Callable[[SampleCorrelation, int], HasBest] | None = None,
) -> Result:
    """Return what a search finds, in the last of several rounds.

    The first round has means for missing values, which lowers correlations. The others have the
    correlations that are expected under the blocks of the round before, until the blocks stay.
    If `find` chooses the number of blocks, `find_as_many` searches a given number: the number is
    chosen again where the blocks stay.
    `n_samples` is the number of samples in which two variables are both observed, on average.
    """
    if n_samples < 3:
        raise ValueError(
            f"two columns of X have values in {n_samples} of the same samples on average; expected "
            f"at least 3"
        )
    before: HasBest = find(_with_means(rows))
    for _ in range(_ROUNDS - 1):
        expected = _expected(rows, before, missing, n_samples)
        if find_as_many is not None:
            as_many = find_as_many(expected, before.best.n_blocks)
            if not _is_same(as_many, before):
                before = as_many
                continue
        found = find(expected)
        if _is_same(found, before):
            return found
        before = found
    return find(_expected(rows, before, missing, n_samples))


def _is_same(found: HasBest, before: HasBest) -> bool:
    """Whether the blocks and signs are those found before."""
    same_signs = (signs_of(found) == signs_of(before)).all()
    return found.best.same_blocks(before.best) and bool(same_signs)


def _with_means(rows: GappedRows) -> Correlation:
    """Return the correlations of samples that have means for missing values.

    Means lower the correlations and leave their errors as small as those of all samples.
    """
    filled = np.nan_to_num(rows.Z)
    filled *= _roots(rows)
    filled *= np.sqrt(rows.weights.total / rows.counts)
    return Correlation(StandardRows(filled, whole(rows.weights.n_effective)))


def _expected(
    rows: GappedRows, before: HasBest, missing: str, n_samples: int
) -> ExpectedCorrelation:
    """Return the correlations that are expected under the blocks and signs found before."""
    signs = signs_of(before)
    signed = rows.times(signs)
    fit = fit_gapped(signed, before.best, missing, True, _TOLERANCE)
    deviations, lost = complete(signed, *fit)
    deviations *= _roots(rows)
    expected = ExpectedRows(deviations, lost, n_samples)
    return ExpectedCorrelation(expected).with_signs(signs)


def _roots(rows: GappedRows) -> Array:
    """Return the roots of the weights (T, 1), of mean square 1."""
    roots: Array = np.sqrt(rows.weights.values / rows.weights.values.mean())[:, None]
    return roots
