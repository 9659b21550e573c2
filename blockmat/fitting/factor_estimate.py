"""FactorEstimate: loadings, noise and the covariance of the factors, of standardized variables."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.blocks.partition import Partition
from blockmat.fitting.bounded_minimum import BoundedMinimum

_TIE = 1e-6  # a sum below this fraction of the magnitudes can be rounding or an unfinished search


class FactorOptions(NamedTuple):
    """Options of a fit, as for `blockmat.fit_factor`."""

    independent: bool
    min_noise: float
    tol: float
    max_iter: int


class FactorEstimate(NamedTuple):
    """Estimates for standardized variables. The factors have variance 1.

    The covariance is (k, k), or (k,) for independent factors. The mean (n,) is None if it is zero.
    """

    loadings: Array
    noise: Array
    covariance: Array
    search: BoundedMinimum
    mean: Array | None = None


def oriented(p: Partition, estimate: FactorEstimate) -> FactorEstimate:
    """Choose the signs of the factors, and put the variables in order.

    The variables of the estimate are sorted by block. The loadings of each block get a positive
    sum. If the sum is zero to rounding, the first loading that is not zero becomes positive.
    """
    s, signs = estimate.loadings, np.ones(p.n_blocks)
    for b, (first, last) in enumerate(pairwise(p.offsets)):
        own = s[first:last]
        size = np.abs(own).sum()
        if abs(own.sum()) > _TIE * size:
            signs[b] = np.sign(own.sum())
        elif size > 0:
            signs[b] = np.sign(own[np.argmax(np.abs(own) > _TIE * size)])
    C = estimate.covariance
    if C.ndim == 2:
        C = C * signs * signs[:, None]
        np.fill_diagonal(C, 1)
    loadings, noise, mean = np.zeros((3, p.n))
    loadings[p.order], noise[p.order] = s * signs.repeat(p.sizes), estimate.noise
    if estimate.mean is None:
        return estimate._replace(loadings=loadings, noise=noise, covariance=C)
    mean[p.order] = estimate.mean
    return estimate._replace(loadings=loadings, noise=noise, covariance=C, mean=mean)
