"""Questionnaires as they are: scales of items whose loadings differ, some reversed, some too alike."""

from typing import NamedTuple

import numpy as np


class Design(NamedTuple):
    """What a simulated questionnaire is like.

    `n_alike` pairs of items have correlated errors, and a share `crossed` of the items also
    measures a second scale, with a loading of 0.2 to 0.4.
    """

    n_scales: int = 5
    n_items: int = 5
    loadings: tuple[float, float] = (0.3, 0.8)
    between: float = 0.3
    reversed: float = 0.2
    n_alike: int = 10
    alike: tuple[float, float] = (0.15, 0.25)
    crossed: float = 0.0
    n_answers: int | None = None


DESIGNS = {
    "5 scales of 5": Design(),
    "8 scales of 4": Design(8, 4),
    "10 scales of 10": Design(10, 10),
    "5 of 5, cross loadings": Design(crossed=0.2),
    "5 of 5, five answers": Design(n_answers=5),
    "1 scale of 25": Design(1, 25),
    "no scales, 25 items": Design(25, 1, loadings=(0.0, 0.0), n_alike=0),
}


def correlation(design: Design, rng: np.random.Generator):
    """The correlation matrix (n, n) of a questionnaire, and the scale of each item (n,)."""
    k, m = design.n_scales, design.n_items
    labels = np.repeat(np.arange(k), m)
    n = len(labels)
    loadings = np.zeros((n, k))
    loadings[np.arange(n), labels] = rng.uniform(*design.loadings, n)
    crossed = rng.choice(n, round(design.crossed * n), replace=False)
    others = (labels[crossed] + rng.integers(1, max(k, 2), len(crossed))) % k
    loadings[crossed, others] += rng.uniform(0.2, 0.4, len(crossed))
    factors = np.full((k, k), design.between)
    np.fill_diagonal(factors, 1)
    common = loadings @ factors @ loadings.T
    # Cross loadings can explain more than all of an item's variance
    shrink = np.sqrt(np.minimum(0.9 / np.maximum(np.diag(common), 0.1), 1))
    common *= np.outer(shrink, shrink)
    own = np.sqrt(1 - np.diag(common))
    errors = np.eye(n)
    rows, cols = np.triu_indices(n, 1)
    pairs = rng.choice(len(rows), design.n_alike, replace=False)
    alike = rng.uniform(*design.alike, design.n_alike)
    errors[rows[pairs], cols[pairs]] = errors[cols[pairs], rows[pairs]] = alike
    signs = np.ones(n)
    signs[rng.choice(n, round(design.reversed * n), replace=False)] = -1
    R = (common + np.outer(own, own) * errors) * np.outer(signs, signs)
    return R, labels


def answers(design: Design, n_samples: int, seed: int):
    """Samples (T, n) of a questionnaire, and the scale of each item (n,)."""
    rng = np.random.default_rng(seed)
    R, labels = correlation(design, rng)
    X = rng.standard_normal((n_samples, len(R))) @ np.linalg.cholesky(R).T
    if design.n_answers is not None:
        thresholds = np.linspace(-1.5, 1.5, design.n_answers - 1) + rng.uniform(
            -0.5, 0.5, (len(R), 1)
        )
        X = (X[:, :, None] > thresholds).sum(axis=2).astype(float)
    return X, labels
