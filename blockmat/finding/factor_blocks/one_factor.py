"""One factor for each block: its likelihood, an EM step, and what a variable costs in each block.

Variable i of block b is ``s_i f_b + e_i`` (:ref:`theory-factor-blocks`). The labels are parameters
of the model. All sums are sums of rows of the correlation matrix over blocks.
"""

from typing import NamedTuple

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.blocks.partition import Partition
from blockmat.finding.correlations.similarity import Correlations
from blockmat.finding.correlations.weighted_sums import WeightedSums

MIN_NOISE = 1e-3  # variance of a variable that its factor leaves
_LEAST = 0.05  # loading from which EM can start: at zero it stays there
_MOST = 0.95
_MIN_EIGENVALUE = 0.02  # of the correlations of the factors from which EM starts


class OneFactorModel(NamedTuple):
    """A model with its labels (n,), and what follows from it and the correlations R.

    The factors have variance 1. ``factors`` (k, k) are their correlations, ``precision`` (k,) sums
    ``s_i^2 / noise_i`` in each block, and ``posterior`` (k, k) is the covariance of the factors given
    the variables. ``weighted`` are the products of R with the weights ``s_i / noise_i`` of each
    variable in the column of its block. ``loss`` is minus twice the log-likelihood per sample,
    without constants.
    """

    partition: Partition
    loadings: Array
    noise: Array
    factors: Array
    precision: Array
    posterior: Array
    weighted: WeightedSums
    loss: float

    @property
    def labels(self) -> Array:
        """The block of each variable, (n,)."""
        return self.partition.labels

    @property
    def sizes(self) -> Array:
        """The number of variables in each block, (k,)."""
        return self.partition.sizes

    @property
    def signs(self) -> Array:
        """The signs of the loadings, 1 or -1, (n,)."""
        return np.where(self.loadings < 0, -1.0, 1.0)


def evaluate(
    R: Correlations, p: Partition, loadings: Array, noise: Array, factors: Array
) -> OneFactorModel:
    """Return the model with these parameters."""
    weights = loadings / noise
    weighted = R.weighted_sums(p, weights)
    precision = np.bincount(p.labels, loadings * weights, p.n_blocks)
    inner = np.eye(p.n_blocks) + precision[:, None] * factors
    posterior = np.linalg.solve(inner.T, factors).T
    posterior = (posterior + posterior.T) / 2
    logdet = np.linalg.slogdet(inner)[1] + np.log(noise).sum()
    trace = (1 / noise).sum() - (posterior * weighted.sums).sum()
    loss = float(logdet + trace - p.n)
    return OneFactorModel(p, loadings, noise, factors, precision, posterior, weighted, loss)


def with_loadings(R: Correlations, p: Partition, loadings: Array, factors: Array) -> OneFactorModel:
    """Return the model whose variables have variance 1, or at least little noise."""
    return evaluate(R, p, loadings, np.maximum(1 - loadings**2, MIN_NOISE), factors)


def starting_model(R: Correlations, labels: Array, signs: Array) -> OneFactorModel:
    """Return a model in which all loadings of a block are equal, but for their signs."""
    p = Partition(np.bincount(labels), labels)
    n = p.sizes.astype(np.float64)
    sums = R.weighted_sums(p, signs).sums
    pairs = np.maximum(n * (n - 1), 1)
    common = np.where(n > 1, np.clip((np.diag(sums) - n) / pairs, _LEAST, 0.9), 0.5)
    values = sums / np.outer(n, n) / np.sqrt(np.outer(common, common))
    np.fill_diagonal(values, 1)
    factors = nearest_correlation(values)
    loadings = signs * np.sqrt(common)[labels]
    return evaluate(R, p, loadings, 1 - loadings**2, factors)


def nearest_correlation(values: Array) -> Array:
    """Return a positive definite correlation matrix near a symmetric matrix."""
    w, V = np.linalg.eigh(values)
    definite = (V * np.maximum(w, _MIN_EIGENVALUE)) @ V.T
    lengths = np.sqrt(np.diag(definite))
    result: Array = definite / np.outer(lengths, lengths)
    return result


def em_update(model: OneFactorModel, signs: bool) -> tuple[Array, Array]:
    """Return the loadings (n,) and the correlations of factors (k, k) after one step of EM.

    Without `signs` no loading is negative.
    """
    P = model.posterior
    covariance = model.weighted.own(P)  # of variables and the expected factors of their blocks
    second = P + P @ model.weighted.sums @ P
    if not signs:
        covariance = np.maximum(covariance, 0)
    lengths = np.sqrt(np.diag(second))  # the factors get the variance 1
    return covariance / lengths[model.labels], second / np.outer(lengths, lengths)


def em_step(R: Correlations, model: OneFactorModel, signs: bool) -> OneFactorModel:
    """Return the model after one step of EM, which never raises the loss."""
    return with_loadings(R, model.partition, *em_update(model, signs))


def em(R: Correlations, model: OneFactorModel, signs: bool, steps: int) -> OneFactorModel:
    """Return the model after so many steps."""
    for _ in range(steps):
        model = em_step(R, model, signs)
    return model


class Moves(NamedTuple):
    """The cost and the best loading of each variable in each block, both (n, k)."""

    costs: Array
    loadings: Array


def moves(model: OneFactorModel, signs: bool) -> Moves:
    """Return what each variable would cost in each block, if the others stay.

    The cost is minus twice the log-likelihood of the variable given the factors that are expected
    from all other variables, at the best loading.
    """
    labels, own = model.labels, np.arange(len(model.labels))
    P, at = model.posterior, model.posterior[model.labels]  # (n, k): row of the own block
    weights, energy = model.loadings / model.noise, model.loadings**2 / model.noise
    # Leaving variable i out changes P by a matrix of rank one
    factor = energy / np.maximum(1 - energy * at[own, labels], np.finfo(np.float64).tiny)
    products = model.weighted.products()
    products[own, labels] -= weights
    covariance = products @ P + (factor * (products * at).sum(axis=1))[:, None] * at
    variance = 1 - np.diag(P) - factor[:, None] * at**2
    variance = np.maximum(variance, _LEAST**4)
    if not signs:
        covariance = np.maximum(covariance, 0)
    costs = np.log(np.maximum(1 - covariance**2 / variance, MIN_NOISE))
    return Moves(costs, covariance / variance)


def moved(R: Correlations, model: OneFactorModel, labels: Array, to: Moves) -> OneFactorModel:
    """Return the model with other labels. The variables that move get their new loadings."""
    own = np.arange(len(labels))
    wanted = to.loadings[own, labels]
    size = np.clip(np.abs(wanted), _LEAST, _MOST)
    stays = labels == model.labels
    loadings = np.where(stays, model.loadings, np.where(wanted < 0, -size, size))
    noise = np.where(stays, model.noise, 1 - loadings**2)
    p = Partition(np.bincount(labels), labels)
    return evaluate(R, p, loadings, noise, model.factors)


def discrepancy(R: Correlations, model: OneFactorModel) -> float:
    """Return ``|M^-1/2 R M^-1/2 - I|^2 / 2`` for the model's matrix M."""
    precisions = 1 / model.noise
    squares = R.squared_norm(precisions)
    products = model.weighted.products()
    cross = (model.posterior * (products.T @ (precisions[:, None] * products))).sum()
    inner = model.posterior @ model.weighted.sums
    trace = precisions.sum() - np.trace(inner)
    both = squares - 2 * cross + (inner * inner.T).sum()
    return float((both - 2 * trace + len(precisions)) / 2)
