"""Maximum likelihood of a block-constant normal distribution with missing values, by EM.

The E-step needs the numbers of observed values in each block of a row, and the sums of their
deviations from the mean. Rows with equal numbers share one k x k inverse (:ref:`theory-missing`).
"""

from dataclasses import dataclass
from typing import NamedTuple, NoReturn

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.blocks.partition import Partition
from blockmat.blocks.passes import block_sums
from blockmat.blocks.warn import warn
from blockmat.cores import pair
from blockmat.cores.definite import eigenvalues_exceed
from blockmat.exceptions import SingularMatrixError
from blockmat.sources.observed import ObservedSamples
from blockmat.sources.pairwise import pairwise_pair

TOLERANCE = 1e-7  # of a step, relative to variances and standard deviations
_MAX_ITERATIONS = 1000
_ROUNDING = 64 * float(np.finfo(np.float64).eps)  # of a variance, relative to that of its block
_AT_A_TIME = 2**21  # numbers of the inverses that are computed together


class Estimate(NamedTuple):
    """The parameters of the model: the mean (n,), and the pair (k, k) and (k,)."""

    mean: Array
    between: Array
    within: Array


class EMResult(NamedTuple):
    """The estimate, and the log-likelihood of the observed values before each iteration."""

    estimate: Estimate
    log_likelihoods: list[float]


class Expected(NamedTuple):
    """The result of an E-step.

    ``fills`` (T, k) are the conditional means of missing deviations in each block. ``covariance``
    (k, k) is the weighted sum of the conditional covariances of the block sums of missing values,
    and ``variances`` (k,) that of their conditional variances.
    """

    fills: Array
    covariance: Array
    variances: Array
    log_likelihood: float


@dataclass(frozen=True)
class _Rows:
    """The rows of the samples, grouped by their numbers of values in each block.

    Parameters
    ----------
    samples : ObservedSamples
        Samples with a value in each row of positive weight.
    p : Partition
    w : ndarray, shape (T,)
        The positive weights.
    counts : ndarray, shape (T, k)
        The numbers of values in each block.
    groups : ndarray of int, shape (T,)
        The group of each row.
    order, starts : ndarray of int, shapes (T,) and (P + 1,)
        The rows of group g are ``order[starts[g] : starts[g + 1]]``.
    """

    samples: ObservedSamples
    p: Partition
    w: Array
    counts: Array
    groups: Array
    order: Array
    starts: Array

    @classmethod
    def of(cls, samples: ObservedSamples, p: Partition) -> "_Rows":
        parts = list(samples.row_sums(p, np.zeros(p.n), np.zeros(p.n)))
        w, counts = (
            np.concatenate([getattr(x, name) for x in parts]) for name in ("weights", "counts")
        )
        groups = np.zeros(len(counts), dtype=np.intp)
        for column in counts.T.astype(np.intp):  # joined one at a time, so that numbers stay small
            joined = groups * (int(column.max()) + 1) + column
            _, groups = np.unique(joined, return_inverse=True)
        order = np.argsort(groups, kind="stable")
        starts = np.searchsorted(groups[order], np.arange(int(groups.max()) + 2))
        return cls(samples, p, w, counts, groups, order, starts)

    def sums(self, mean: Array) -> tuple[Array, Array]:
        """Return the block sums (T, k) of deviations, and those of weighted squares (k,)."""
        squares = np.zeros(self.p.n)
        parts = [rows.sums for rows in self.samples.row_sums(self.p, mean, squares)]
        return np.concatenate(parts), block_sums(self.p, squares)


def em_fit(
    samples: ObservedSamples,
    p: Partition,
    centre: bool,
    tolerance: float = TOLERANCE,
    max_iterations: int = _MAX_ITERATIONS,
) -> EMResult:
    """Return the maximum-likelihood estimate from real samples with missing values.

    Each sample of positive weight has a value (see `ObservedSamples.without_empty_rows`). The
    function warns with a RuntimeWarning if the steps are not below the tolerance after
    `max_iterations`.

    Raises
    ------
    NonFiniteError
        If the samples contain infinity, or sums overflow.
    SingularMatrixError
        If there are too few samples for the blocks, or the variables of a block are perfectly
        collinear.
    ValueError
        If a column has no value.
    """
    mean = samples.mean if centre else np.zeros(p.n)
    start = pairwise_pair(samples, p, 0, centre)
    estimate = Estimate(mean, start.between, start.within)
    _require_definite(p, estimate)
    rows = _Rows.of(samples, p)
    if len(rows.w) - centre < p.n_blocks:
        _refuse_singular(p)
    sums, squares = rows.sums(mean)
    log_likelihoods: list[float] = []
    for _ in range(max_iterations):
        expected = _expect(rows, estimate, sums, squares)
        log_likelihoods.append(expected.log_likelihood)
        old = estimate
        estimate, sums, squares = _maximize(rows, old, expected, sums, squares, centre)
        _require_definite(p, estimate)
        if _step(p, old, estimate) <= tolerance:
            return EMResult(estimate, log_likelihoods)
    warn(
        f"EM has not converged after {max_iterations} iterations; the estimate is not the most "
        f"likely one",
        RuntimeWarning,
    )
    return EMResult(estimate, log_likelihoods)


def expected_values(samples: ObservedSamples, p: Partition, estimate: Estimate) -> Expected:
    """Return the conditional moments of the missing values under given parameters.

    Each sample of positive weight has a value.
    """
    rows = _Rows.of(samples, p)
    return _expect(rows, estimate, *rows.sums(estimate.mean))


def _expect(rows: _Rows, estimate: Estimate, sums: Array, squares: Array) -> Expected:
    """Compute conditional moments of the missing values.

    With the observed numbers m of a row, its sums S, the values V of the model, and H the inverse
    of the observed core between factors ``1 / sqrt(m)``: the fills are ``V diag(m) H S``, and the
    conditional covariances of missing values are block-constant with the values
    ``V - V diag(m) H diag(m) V``.
    """
    p, (_, between, within) = rows.p, estimate
    values = pair.values(between, within, p.sizes)
    fills = np.empty_like(sums)
    covariance, variances = np.zeros_like(between), np.zeros_like(within)
    several = p.sizes > 1
    # Deviations from the block means of a row: (squares - S^2 / m) / d, and log d for m - 1 of them.
    means = sums / np.maximum(rows.counts, 1)
    rest = squares - rows.w @ (sums * means)
    free = rows.w @ np.maximum(rows.counts - 1, 0)
    minus_twice = (rest[several] / within[several]).sum()
    minus_twice += (free[several] * np.log(within[several])).sum()
    minus_twice += (rows.w @ rows.counts).sum() * np.log(2 * np.pi)
    height = max(1, _AT_A_TIME // p.n_blocks**2)
    for first in range(0, len(rows.starts) - 1, height):
        last = min(first + height, len(rows.starts) - 1)
        heads = rows.order[rows.starts[first:last]]
        m = rows.counts[heads]
        H, logdets = _inverses(p, values, within, m)
        weights = np.zeros(last - first)
        for start in range(rows.starts[first], rows.starts[last], height):
            some = rows.order[start : min(start + height, rows.starts[last])]
            groups, S, w = rows.groups[some] - first, sums[some], rows.w[some]
            image = np.matmul(H[groups], S[:, :, None])[:, :, 0]
            fills[some] = (image * m[groups]) @ values
            minus_twice += w @ (S * image).sum(axis=1)
            weights += np.bincount(groups, w, minlength=last - first)
        minus_twice += weights @ logdets
        missing = p.sizes - m
        reduced = m[:, :, None] * H * m[:, None, :]
        conditional = values - values @ reduced @ values
        weighted = weights[:, None] * missing
        covariance += np.einsum("ga,gb,gab->ab", weighted, missing, conditional, optimize=True)
        covariance += np.diag(weighted.sum(axis=0) * within)
        variances += weighted.sum(axis=0) * within
        variances += np.einsum("ga,gaa->a", weighted, conditional)
    return Expected(fills, covariance, variances, -float(minus_twice) / 2)


def _inverses(p: Partition, values: Array, within: Array, m: Array) -> tuple[Array, Array]:
    """Return H (P, k, k) and the log-determinants (P,) of observed cores with m (P, k) members.

    A block without observed members has zeros in H.
    """
    roots, is_observed = np.sqrt(m), m > 0
    cores = values * roots[:, :, None] * roots[:, None, :]
    diagonal = np.arange(p.n_blocks)
    cores[:, diagonal, diagonal] += np.where(is_observed, within, 1)
    try:
        factors = np.linalg.cholesky(cores)
    except np.linalg.LinAlgError:
        _refuse_singular(p)
    inverse = np.linalg.inv(factors)
    inverse = inverse * np.where(is_observed, 1 / np.maximum(roots, 1), 0)[:, None, :]
    logdets = 2 * np.log(factors[:, diagonal, diagonal]).sum(axis=1)
    return np.swapaxes(inverse, 1, 2) @ inverse, logdets


def _maximize(
    rows: _Rows, old: Estimate, expected: Expected, sums: Array, squares: Array, centre: bool
) -> tuple[Estimate, Array, Array]:
    """Return the next estimate, and the sums about its mean."""
    p, w, fills = rows.p, rows.w, expected.fills
    total, missing = w.sum(), p.sizes - rows.counts
    mean, shift = old.mean, np.zeros(p.n)
    moved = np.zeros_like(sums)  # block sums of the shift over observed values
    if centre:
        shift = rows.samples.filled_sums(p, old.mean, fills) / total
        mean = old.mean + shift
        about_old, (sums, squares) = sums, rows.sums(mean)
        moved = about_old - sums
    gone = block_sums(p, shift) - moved  # those over missing values
    filled = sums + missing * fills - gone
    outer = (filled.T * w) @ filled + expected.covariance
    lost = total - rows.samples.columns.counts  # the weight of the missing values of each variable
    traces = squares + w @ (missing * fills**2 - 2 * fills * gone)
    traces += block_sums(p, lost * shift**2) + expected.variances
    between = outer / pair.outer_root(p.sizes) / total
    within = pair.within_of_traces(traces / total, between, p.sizes)
    return Estimate(mean, between, within), sums, squares


def _step(p: Partition, old: Estimate, new: Estimate) -> float:
    """Return the largest change of a parameter, in units of variances or standard deviations."""
    lengths = np.sqrt(np.diagonal(new.between))
    steps = [np.abs(new.between - old.between) / np.multiply.outer(lengths, lengths)]
    several = p.sizes > 1
    steps.append(np.abs(new.within - old.within)[several] / new.within[several])
    variances = pair.diagonal_values(new.between, new.within, p.sizes)
    steps.append(np.abs(new.mean - old.mean) / np.sqrt(variances)[p.labels])
    return max(float(step.max(initial=0)) for step in steps)


def _require_definite(p: Partition, estimate: Estimate) -> None:
    """Refuse an estimate that is singular to rounding, or indefinite by rounding."""
    _, between, within = estimate
    variances = pair.diagonal_values(between, within, p.sizes)
    diagonal = np.diagonal(between)
    smallest = np.minimum(diagonal, np.where(p.sizes > 1, within, np.inf))
    if not (smallest > _ROUNDING * variances).all():
        _refuse_singular(p)
    lengths = np.sqrt(diagonal)
    if not eigenvalues_exceed(between / np.multiply.outer(lengths, lengths), _ROUNDING):
        _refuse_singular(p)


def _refuse_singular(p: Partition) -> NoReturn:
    raise SingularMatrixError(
        f"the maximum-likelihood estimate for {p.n_blocks} blocks is singular; expected more "
        f"samples, fewer blocks or missing='pairwise'"
    )
