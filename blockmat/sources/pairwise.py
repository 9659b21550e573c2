"""The pair of a covariance matrix whose values are means over the observed pairs of entries."""

import numpy as np

from blockmat.blocks.checks import Array, real_dtype
from blockmat.blocks.partition import Partition
from blockmat.blocks.passes import block_sums
from blockmat.cores.definite import definite_pair
from blockmat.sources.observed import ObservedSamples
from blockmat.sources.pair import Pair


def pairwise_pair(samples: ObservedSamples, p: Partition, ddof: int, centre: bool) -> Pair:
    """Return the positive definite pair of pairwise means (:ref:`theory-missing`).

    Raises
    ------
    NonFiniteError
        If the samples contain infinity, or sums overflow.
    ValueError
        If a column has no value, or two blocks have too few values in the same samples for `ddof`.
    """
    location = samples.columns.mean
    if not centre:
        location = np.zeros_like(location)
    k = p.n_blocks
    products = np.zeros((k, k), dtype=location.dtype)
    counts, square_counts = np.zeros((2, k, k))  # sums of w n n^T, and of w^2 n n^T
    own, square_own = np.zeros((2, k))  # sums of w n, and of w^2 n
    squares = np.zeros(p.n)
    with np.errstate(over="ignore", invalid="ignore"):  # refused with the values
        for w, sums, n in samples.row_sums(p, location, squares):
            products += (sums.T * w) @ sums.conj()
            counts += (n.T * w) @ n
            square_counts += (n.T * w**2) @ n
            own += w @ n
            square_own += w**2 @ n
        totals = block_sums(p, squares)
        # In a diagonal block the pairs of a variable with itself have a value of their own.
        for both, alone in ((products, totals), (counts, own), (square_counts, square_own)):
            both[np.diag_indices(k)] -= alone
    lost = _lost(samples, counts, square_counts)
    divisors = counts - ddof * lost * _n_pairs(p)
    own_divisors = own - ddof * _lost(samples, own, square_own) * p.sizes
    _require_pairs(p, divisors, own_divisors, ddof)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        values = np.where(_n_pairs(p) > 0, products / divisors, 0)
        variances = totals / own_divisors
    samples.require_in_range(values, variances)
    least = float(np.sqrt(np.finfo(real_dtype(samples.dtype)).eps))
    return Pair.exact(*definite_pair(values, variances, p.sizes, least), samples.dtype)


def _n_pairs(p: Partition) -> Array:
    """Return how many pairs of different variables each two blocks have."""
    n_pairs: Array = np.multiply.outer(p.sizes, p.sizes) - np.diag(p.sizes)
    return n_pairs


def _lost(samples: ObservedSamples, counts: Array, square_counts: Array) -> Array:
    """Return `Weights.lost`, for reliability weights that of the observed pairs."""
    if samples.weights.weight_type == "frequency":
        return np.ones_like(counts)
    return square_counts / np.where(counts > 0, counts, 1)


def _require_pairs(p: Partition, divisors: Array, own_divisors: Array, ddof: int) -> None:
    divisors = np.where(_n_pairs(p) > 0, divisors, 1)
    divisors[np.diag_indices(p.n_blocks)] = np.minimum(np.diagonal(divisors), own_divisors)
    if (divisors > 0).all():
        return
    a, b = (int(i) for i in np.argwhere(~(divisors > 0))[0])
    raise ValueError(
        f"X has too few samples with values in blocks {p.names[a]!r} and {p.names[b]!r} for "
        f"ddof={ddof}; expected a positive divisor"
    )
