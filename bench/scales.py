"""How many scales of simulated questionnaires are found, and how well, against other methods."""

from statistics import fmean

import networkx
import numpy as np
from scipy.cluster.hierarchy import cut_tree, linkage
from sklearn.cluster import SpectralClustering
from sklearn.covariance import graphical_lasso
from sklearn.metrics import adjusted_rand_score

import blockmat as bm
from bench import data
from bench.questionnaires import DESIGNS, answers
from bench.rows import Row


def rows(quick: bool) -> list[Row]:
    """How many scales are found, and how well, with more and more samples."""
    seeds = range(3 if quick else 10)
    cases = [("5 scales of 5", T) for T in (100, 200, 500, 1000, 5000)]
    cases += [(name, T) for name in DESIGNS if name != "5 scales of 5" for T in (200, 1000)]
    simulated = [_row(*case, seeds) for case in cases]
    return simulated + [row for name in ("thurstone", "reise") if (row := _published(name))]


def _published(name: str) -> Row | None:
    """Published correlations of the items of a questionnaire, with their known scales; or None."""
    loaded = data.questionnaire(name)
    if loaded is None:
        return None
    R, labels, n_samples = loaded
    k = len(np.unique(labels))
    found = {"blockmat": bm.find_partition(R, n_samples=n_samples, signs=True)[0].labels,
             "icl, equal correlations": bm.find_partition(R, n_samples=n_samples, signs=True, loadings=False)[0].labels,
             "EGA": _network_communities(R, n_samples, 0),
             "blockmat, k given": bm.find_partition(R, k, n_samples=n_samples, signs=True)[0].labels,
             **_peers(np.abs(R), k, 0)}  # fmt: skip
    numbers = {f"number, {method}": len(np.unique(found[method]))
               for method in ("blockmat", "icl, equal correlations", "EGA")}  # fmt: skip
    notes = numbers | {"known scales": k}
    notes |= {method: adjusted_rand_score(labels, each) for method, each in found.items()}
    return Row(f"{name}, T = {n_samples}", notes=notes, group="Published questionnaires")


def _peers(A, k: int, seed: int):
    """Clusters of a matrix of similarities whose number is given, of several methods."""
    spectral = SpectralClustering(k, affinity="precomputed", random_state=seed)
    return {
        "Ward, k given": cut_tree(linkage(A, "ward"), k)[:, 0],
        "SpectralClustering, k given": spectral.fit(A).labels_,
    }


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
            for method, found in _peers(np.abs(R), k, seed).items():
                score(method, labels, found)
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
