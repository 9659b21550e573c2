"""Blocks of one factor each, alone or mixed with nonlinear shrinkage of the sample covariance."""

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.blocks.partition import Partition
from blockmat.fitting.eigenvalue_shrinkage import Deviations, quadratic_inverse_shrinkage
from blockmat.fitting.fit_factor import fit_factor
from blockmat.fitting.principal_components import principal_components
from blockmat.matrices.block_factor import BlockFactorMatrix
from blockmat.matrices.low_rank import BlockPlusLowRank


def one_factor_blocks(Z: Array, p: Partition, scale: Array) -> BlockFactorMatrix:
    """Fit samples Z (T, n) with mean zero, with the variances of the samples and scales (n,).

    The rows of Z may be fewer than the samples that they sum up; rows of zeros change no mean
    product.
    """
    least = max(3, p.n_blocks)
    if len(Z) < least:
        zeros = np.zeros((least - len(Z), p.n))
        Z = np.vstack([Z, zeros]) * np.sqrt(least / len(Z))
    matrix = fit_factor(Z, p, assume_centered=True, full_output=True).matrix
    return times_scale(matrix, scale * np.sqrt(np.mean(Z * Z, axis=0) / matrix.diagonal()))


def mix_one_factor_blocks(
    Z: Array, p: Partition, scale: Array, weight: float, deviations: Deviations
) -> BlockPlusLowRank:
    """Return `one_factor_blocks` times its weight, plus Q times the rest of 1.

    Q is the sample covariance with the eigenvalues of `quadratic_inverse_shrinkage`, for
    so many deviations. The variances of the result are those of the samples.
    """
    model = one_factor_blocks(Z, p, np.ones(p.n))
    values, vectors = principal_components(Z)
    shrunk = quadratic_inverse_shrinkage(values, p.n, *deviations)
    weights = (1 - weight) * (shrunk.values - shrunk.rest)
    noise = weight * model.noise + (1 - weight) * shrunk.rest
    base = BlockFactorMatrix(p, weight * model.covariance, noise, model.loadings)
    diagonal = base.diagonal() + vectors**2 @ weights
    scale = scale * np.sqrt(np.mean(Z * Z, axis=0) / diagonal)
    return BlockPlusLowRank(times_scale(base, scale), vectors * scale[:, None], np.diag(weights))


def times_scale(A: BlockFactorMatrix, scale: Array) -> BlockFactorMatrix:
    """Return S A S for the diagonal matrix S of scales (n,)."""
    return BlockFactorMatrix(A.partition, A.covariance, A.noise * scale**2, A.loadings * scale)
