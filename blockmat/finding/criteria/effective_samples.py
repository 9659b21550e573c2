"""The number of samples that explains how far a correlation matrix is from its blocks."""

import numpy as np

from blockmat.finding.search.objectives import BlockStatistics, FrobeniusLoss, n_off_diagonal

_MOST = 1e8  # samples; beyond, differences of likelihoods would be rounding


def effective_samples(blocks: BlockStatistics, squared_norm: float) -> float:
    r"""Return the effective number of samples of a correlation matrix.

    A sample correlation has about the variance :math:`(1 - \rho^2)^2 / T`. This is solved for T,
    with the mean square of the residuals off the diagonal. Departures from the blocks count as
    noise. See :ref:`theory-blocks`.

    Parameters
    ----------
    blocks : BlockStatistics
        A partition of the matrix (n, n).
    squared_norm : float
        The squared Frobenius norm of the matrix.
    """
    k, n = len(blocks.sizes), len(blocks.labels)
    counts = n_off_diagonal(blocks.sizes)
    variances = (1 - np.minimum(np.abs(blocks.values), 1) ** 2) ** 2
    squares = FrobeniusLoss(squared_norm, n).loss(blocks)
    freedom = max(n * (n - 1) - k * (k + 1), 1)
    expected = float((counts * variances).sum()) / max(n * (n - 1), 1)
    if squares <= freedom * expected / _MOST:
        return _MOST
    return freedom * expected / squares
