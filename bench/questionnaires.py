"""Questionnaires as they are: scales of items whose loadings differ, some reversed, some too alike."""

from statistics import fmean
from typing import NamedTuple

import networkx
import numpy as np
from scipy.cluster.hierarchy import cut_tree, linkage
from sklearn.cluster import KMeans, SpectralClustering
from sklearn.covariance import graphical_lasso
from sklearn.metrics import adjusted_rand_score

import blockmat as bm
from bench.rows import Row


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
    "3 scales of 6": Design(3, 6),
    "8 scales of 4": Design(8, 4),
    "10 scales of 10": Design(10, 10),
    "5 of 5, high loadings": Design(loadings=(0.4, 0.9)),
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


def rows(quick: bool) -> list[Row]:
    """How many scales are found, and how well, with more and more samples."""
    seeds = range(3 if quick else 10)
    cases = [("5 scales of 5", T) for T in (100, 200, 500, 1000, 5000)]
    cases += [(name, T) for name in DESIGNS if name != "5 scales of 5" for T in (200, 1000)]
    return [_row(*case, seeds) for case in cases]


def _row(name: str, n_samples: int, seeds) -> Row:
    design = DESIGNS[name]
    is_noise = design.loadings == (0.0, 0.0)
    k = 1 if is_noise else design.n_scales
    near: dict[str, list[bool]] = {"blockmat": [], "icl, equal correlations": [], "EGA": []}
    indices: dict[str, list[float]] = {}

    def score(method: str, labels, found) -> None:
        indices.setdefault(method, []).append(adjusted_rand_score(labels, found))
        if method in near:
            near[method].append(abs(len(np.unique(found)) - k) <= 1)

    for seed in seeds:
        X, labels = answers(design, n_samples, seed)
        labels = np.zeros_like(labels) if is_noise else labels
        R = np.corrcoef(X, rowvar=False)
        score("blockmat", labels, bm.find_partition(X, samples=True, signs=True)[0].labels)
        old = bm.find_partition(X, samples=True, signs=True, loadings=False)[0].labels
        score("icl, equal correlations", labels, old)
        score("EGA", labels, _network_communities(R, n_samples, seed))
        if k > 1:
            score("blockmat, k given", labels, bm.find_partition(X, k, True, signs=True)[0].labels)
            A = np.abs(R)
            score("Ward, k given", labels, cut_tree(linkage(A, "ward"), k)[:, 0])
            kmeans = KMeans(k, n_init=10, random_state=seed)
            score("KMeans, k given", labels, kmeans.fit(A).labels_)
            spectral = SpectralClustering(k, affinity="precomputed", random_state=seed)
            score("SpectralClustering, k given", labels, spectral.fit(A).labels_)
    notes = {f"number ± 1, {method}": fmean(hits) for method, hits in near.items()}
    row = Row(f"{name}, T = {n_samples}", notes=notes, group="Questionnaires")
    if k > 1:
        row.notes |= {method: fmean(values) for method, values in indices.items()}
    if name == "5 scales of 5" and n_samples >= 200:
        row.require("number ± 1", row.notes["number ± 1, blockmat"], at_least=0.9)
    if name == "5 scales of 5" and n_samples >= 500:
        row.require("adjusted Rand index", row.notes["blockmat"], at_least=0.9)
    return row


def _network_communities(R, n_samples: int, seed: int):
    """Communities of a sparse network of partial correlations, as in exploratory graph analysis.

    The graphical lasso's penalty has the lowest extended Bayesian information criterion, with
    gamma = 0.5. The Louvain method finds the communities.
    """
    n = len(R)
    largest = np.abs(R - np.eye(n)).max()
    best = np.inf, np.eye(n)
    for alpha in largest * np.geomspace(0.05, 1, 12):
        try:
            _, precision = graphical_lasso(R, alpha)
        except FloatingPointError:
            continue
        edges = (np.abs(precision[np.triu_indices(n, 1)]) > 1e-8).sum()
        deviance = n_samples * ((R * precision).sum() - np.linalg.slogdet(precision)[1])
        value = deviance + edges * (np.log(n_samples) + 2 * np.log(n))
        if value < best[0]:
            best = value, precision
    d = np.sqrt(np.diag(best[1]))
    partial = np.abs(best[1]) / np.outer(d, d) * (1 - np.eye(n))
    graph = networkx.from_numpy_array(np.where(partial > 1e-8, partial, 0))
    found = np.zeros(n, dtype=int)
    for c, members in enumerate(networkx.community.louvain_communities(graph, seed=seed)):
        found[list(members)] = c
    return found
