"""Standard errors of a factor model, from its expected information (:ref:`theory-factorfit`)."""

from typing import NamedTuple

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from blockmat.blocks.checks import Array
from blockmat.cores.arrays import as_square_core
from blockmat.cores.core import EPS
from blockmat.exceptions import SingularMatrixError
from blockmat.matrices.block_factor import BlockFactorMatrix

MAX_PARAMETERS = 4096  # an information matrix of 128 MiB, inverted in seconds


class Patterns(NamedTuple):
    """Which variables are observed in each pattern of gaps, (P, n), and its share of the samples (P,)."""

    observed: Array
    shares: Array


def standard_errors(
    A: BlockFactorMatrix, at_bound: Array, n_samples: float, patterns: Patterns | None = None
) -> tuple[Array, Array, Array]:
    """Return the standard errors of the loadings (n,), the noise (n,) and the covariance.

    Noise at its bound and noise of blocks of one variable count as known.
    """
    p, k, n = A.partition, A.partition.n_blocks, A.shape[0]
    is_free = ~(at_bound | (p.sizes == 1)[p.labels])
    first, second = np.triu_indices(k, 1) if A.covariance.ndim == 2 else (np.empty(0, int),) * 2
    n_parameters = n + int(is_free.sum()) + len(first)
    if n_parameters > MAX_PARAMETERS:
        raise ValueError(
            f"the matrix has {n_parameters} parameters; expected at most {MAX_PARAMETERS} for "
            f"standard errors"
        )
    scale = np.sqrt(A.diagonal().astype(np.float64))
    unit = A.astype(np.float64).rescale(1 / scale)
    if patterns is None:
        patterns = Patterns(np.ones((1, n), dtype=bool), np.ones(1))
    information = np.zeros((n_parameters, n_parameters))
    for observed, share in zip(*patterns, strict=True):
        P = np.zeros((n, n))
        P[np.ix_(observed, observed)] = unit.submatrix(observed).inv().toarray()
        information += share * _information(unit, P, np.flatnonzero(is_free), first, second)
    sizes = np.sqrt(np.diagonal(information))
    information /= np.multiply.outer(sizes, sizes)
    smallest = np.linalg.eigvalsh(information)[0]
    if smallest < n_parameters * np.sqrt(EPS):
        raise SingularMatrixError(
            "the information matrix is singular: some loadings or correlations are not identified"
        )
    inverse = cho_solve(cho_factor(information, lower=True), np.eye(n_parameters))
    errors = np.sqrt(np.diagonal(inverse)) / sizes / np.sqrt(n_samples)
    noise, covariance = np.zeros(n), np.zeros(A.covariance.shape)
    noise[is_free] = errors[n : n_parameters - len(first)]
    if len(first):
        covariance[first, second] = covariance[second, first] = errors[-len(first) :]
    return errors[:n] * scale, noise * scale * scale, covariance


def _information(A: BlockFactorMatrix, P: Array, free: Array, first: Array, second: Array) -> Array:
    """Return the expected information of one sample: ``tr(P dA P dA') / 2``.

    P (n, n) is the inverse of the submatrix of the observed variables, and 0 elsewhere.
    The parameters are all loadings, the noise of the variables `free`, and the entries
    (first, second) of C. ``dA = e u^T + u e^T`` for loading i, with e the unit vector i and
    ``u = S Z C z_b(i)``; ``dA = e e^T`` for noise; ``dA = q_a q_b^T + q_b q_a^T`` for entry (a, b),
    with ``Q = S Z``.
    """
    labels, C = A.partition.labels, A.covariance
    Q = A.loadings[:, None] * A.partition.indicator().toarray()
    C = as_square_core(C)
    PQ = P @ Q
    inner = Q.T @ PQ  # (k, k)
    PU, UPU = (PQ @ C)[:, labels], (C @ inner @ C)[np.ix_(labels, labels)]
    UPQ = (C @ inner)[labels]  # u_i^T P q_b
    loadings = P * UPU + PU * PU.T
    noise = P[np.ix_(free, free)] ** 2 / 2
    loadings_noise = (P * PU.T)[:, free]
    covariance = inner[np.ix_(first, first)] * inner[np.ix_(second, second)]
    covariance += inner[np.ix_(first, second)] * inner[np.ix_(second, first)]
    loadings_covariance = PQ[:, first] * UPQ[:, second] + PQ[:, second] * UPQ[:, first]
    noise_covariance = (PQ[:, first] * PQ[:, second])[free]
    return np.block(
        [
            [loadings, loadings_noise, loadings_covariance],
            [loadings_noise.T, noise, noise_covariance],
            [loadings_covariance.T, noise_covariance.T, covariance],
        ]
    )
