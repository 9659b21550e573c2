"""Effects of blocks, given some of the variables: the formulas of :ref:`theory-parts`."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.cores import factors
from blockmat.cores.core import dense_core, hermitian_part


class Effects(NamedTuple):
    """The conditional distribution of the effects of blocks.

    Parameters
    ----------
    mean : callable
        Returns their means f (p, m), from the coordinates t (q, m) of the observed deviations.
    covariance : ndarray, shape (p, p) or (p,)
        K', or its diagonal.
    """

    mean: Callable[[Array], Array]
    covariance: Array


class Observed(NamedTuple):
    """What is observed of q blocks.

    Parameters
    ----------
    core : ndarray, shape (q, q) or (q,)
        ``B = L K L + D``, or its diagonal; positive definite.
    lengths : ndarray, shape (q,)
        The diagonal of L, positive.
    noise : ndarray, shape (q,) or (q, q)
        D, or its diagonal.
    """

    core: Array
    lengths: Array
    noise: Array


def conditional_effects(
    prior: Array, cross: Array, observed: Observed, shared: tuple[Array, Array]
) -> Effects:
    """Condition effects whose covariance K is dense.

    Parameters
    ----------
    prior : ndarray, shape (p, p)
        K among the p blocks with variables that are not observed.
    cross : ndarray, shape (p, q)
        K between these and the observed blocks.
    observed : Observed
        The core, lengths and noise of the observed blocks.
    shared : tuple of ndarray of int
        The places of the blocks that are in both, among the p and among the q.

    Raises
    ------
    SingularMatrixError
        If the core is singular to working precision.
    """
    core, lengths, noise = observed
    at, seen = shared
    gain = factors.factorize(dense_core(core, "observed"), "condition").solve((cross * lengths).T).T
    covariance = prior - hermitian_part((gain * lengths) @ cross.T)
    columns = (gain @ noise if noise.ndim == 2 else gain * noise)[:, seen] / lengths[seen]
    covariance[:, at], covariance[at] = columns, columns.T
    covariance[np.ix_(at, at)] = hermitian_part(columns[at])
    return Effects(lambda t: gain @ t, covariance)


def conditional_independent_effects(
    prior: Array, observed: Observed, shared: tuple[Array, Array]
) -> Effects:
    """Condition effects whose covariance K is diagonal, without any square array.

    The arguments are those of `conditional_effects`: `prior` is the diagonal (p,), and `cross` is
    diagonal, too.
    """
    at, seen = shared
    core, lengths, noise = (x[seen] for x in observed)
    ratio = prior[at] / core  # first, because products of two could leave the range
    gain = ratio * lengths
    covariance = prior.copy()
    covariance[at] = ratio * noise

    def mean(t: Array) -> Array:
        means = np.zeros((len(prior), t.shape[1]))
        means[at] = gain[:, None] * t[seen]
        return means

    return Effects(mean, covariance)
