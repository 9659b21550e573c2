"""Loadings of one factor for a block, from which the fits of factor models start."""

from collections.abc import Callable

import numpy as np

from blockmat.blocks.checks import Array

_STEPS = 10  # of the power iteration
_LEAST, _MOST = 1e-3, 0.95  # smallest communality of the factor as a whole, largest loading


def loadings_of_block(times: Callable[[Array], Array], start: Array) -> Array:
    """Return loadings s (m,) with s s^T near a correlation matrix off its diagonal.

    They are a multiple of its leading eigenvector, found by power iteration from `start`: the
    multiple with the smallest squared error off the diagonal. `times` multiplies by the matrix.
    """
    m = len(start)
    if m == 1:
        return np.ones(1)
    if m == 2:  # exactly, so that the loadings of a pair on its own stay equal
        r = times(np.array([1.0, 0.0]))[1]
        vector, communality = np.array([1.0, np.copysign(1.0, r)]), max(abs(r), _LEAST)
    else:
        vector = start / np.linalg.norm(start)
        for _ in range(_STEPS):
            vector = times(vector)
            vector /= np.linalg.norm(vector)
        off = max(float(1 - (vector**4).sum()), _LEAST)  # squared length of v v^T off its diagonal
        communality = max((float(vector @ times(vector)) - 1) / off, _LEAST)
    loadings: Array = np.clip(vector * np.sqrt(communality), -_MOST, _MOST)
    return loadings
