"""EM for blocks of one factor each, with Anderson acceleration."""

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.finding.correlations.similarity import Correlations
from blockmat.finding.factor_blocks.one_factor import (
    MIN_NOISE,
    OneFactorModel,
    em_update,
    with_loadings,
)

_MEMORY = 5  # steps from which the next one is extrapolated
_PATIENCE = 2  # steps that lower the loss by less than the tolerance
_MOST = np.sqrt(1 - MIN_NOISE)  # loading


def accelerated_em(
    R: Correlations, model: OneFactorModel, signs: bool, steps: int, tol: float
) -> OneFactorModel:
    """Return the model after at most so many steps, none of which raises the loss.

    The steps end when two in a row lower the loss by less than `tol` each. Each step is
    extrapolated from the last ones by Anderson's method [1]_. Where this raises the loss, the step
    is one of EM.

    .. [1] N. C. Henderson, R. Varadhan, "Damped Anderson acceleration with restarts and monotonicity
       control for accelerating EM and EM-like algorithms", Journal of Computational and Graphical
       Statistics 28, 2019.
    """
    points: list[Array] = []
    images: list[Array] = []
    n_small = 0
    for _ in range(steps):
        loadings, factors = em_update(model, signs)
        points = [*points[-_MEMORY:], _vector(model.loadings, model.factors)]
        images = [*images[-_MEMORY:], _vector(loadings, factors)]
        after = _at(R, model, _extrapolated(points, images), signs) if len(points) > 1 else None
        if after is None or not after.loss <= model.loss:
            points, images = points[-1:], images[-1:]
            after = with_loadings(R, model.partition, loadings, factors)
        fall, model = model.loss - after.loss, after
        n_small = n_small + 1 if fall < tol else 0
        if n_small == _PATIENCE:
            break
    return model


def _vector(loadings: Array, factors: Array) -> Array:
    """Return loadings and correlations of factors in one vector."""
    return np.concatenate([loadings, factors.ravel()])


def _extrapolated(points: list[Array], images: list[Array]) -> Array:
    """Return where the differences of points and images would vanish, if they were linear."""
    last = images[-1] - points[-1]
    of_points = np.array([images[i] - points[i] - last for i in range(len(points) - 1)])
    of_images = np.array([image - images[-1] for image in images[:-1]])
    weights = np.linalg.lstsq(of_points.T, last, rcond=None)[0]
    result: Array = images[-1] - weights @ of_images
    return result


def _at(
    R: Correlations, model: OneFactorModel, vector: Array, signs: bool
) -> OneFactorModel | None:
    """Return the model with these parameters, or None if the correlations are not definite."""
    n, k = len(model.loadings), len(model.factors)
    loadings = np.clip(vector[:n], -_MOST if signs else 0, _MOST)
    factors = vector[n:].reshape(k, k)
    factors = (factors + factors.T) / 2  # extrapolation enlarges rounding errors
    np.fill_diagonal(factors, 1)
    try:
        np.linalg.cholesky(factors)
    except np.linalg.LinAlgError:
        return None
    return with_loadings(R, model.partition, loadings, factors)
