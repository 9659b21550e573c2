"""How well blocks are found: planted blocks, networks and large inputs, against other methods."""

import time
from statistics import fmean, median

import numpy as np
from scipy.cluster.hierarchy import cut_tree, linkage
from sklearn.cluster import KMeans, SpectralBiclustering, SpectralClustering
from sklearn.datasets import make_checkerboard
from sklearn.metrics import adjusted_rand_score

import blockmat as bm
from bench import data, scales
from bench.fit import PeakMemory
from bench.rows import Row

TITLE = "Finding blocks"
BY_GROUP = True
EASY, HARD = (6, 0.25, 0.25), (3, 0.15, 0.08)
UNEQUAL = (10, 15, 20, 25, 30, 40, 50, 60, 75, 75)
K = 10


def measure(quick: bool) -> list[Row]:
    seeds = range(3 if quick else 10)
    cases = [(*case, n) for n in (60, 200) for case in (
        ("easy, equal", EASY, (40,) * K), ("easy, unequal", EASY, UNEQUAL),
        ("hard, equal", HARD, (40,) * K), ("hard, unequal", HARD, UNEQUAL),
    )]  # fmt: skip
    rows = [planted(*case, seeds) for case in cases]
    rows += [how_many(*case, seeds) for case in cases if case[1] == HARD and case[-1] == 200]
    rows += [row for n in (60, 250, 600) if (row := stock_correlations(n, seeds))]
    rows += [structured(seeds), rectangular(60, seeds), rectangular(120, seeds)]
    rows += scale(quick)
    rows += scales.rows(quick)
    rows += [row for name in ("football", "polbooks") if (row := network(name, seeds))]
    return rows


def draw(correlations, sizes, n_samples: int, seed: int):
    """Samples (T, n) with planted blocks, in a random order, and their labels."""
    rank, rho, delta = correlations
    rng = np.random.default_rng(seed)
    L = rng.standard_normal((len(sizes), rank))
    L /= np.linalg.norm(L, axis=1, keepdims=True)
    labels = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    values = rho * L @ L.T + delta * np.eye(len(sizes))
    R = bm.BlockConstantMatrix.from_values(labels, values, np.ones(len(sizes)))
    return R.as_covariance().colorize(rng.standard_normal((n_samples, R.shape[0]))), labels


def ward(points, k: int):
    return cut_tree(linkage(points, "ward"), k)[:, 0]


def spectral(affinity, k: int, seed: int):
    model = SpectralClustering(k, affinity="precomputed", random_state=seed)
    return model.fit(np.maximum(affinity, 0)).labels_


def planted(case: str, correlations, sizes, n_samples: int, seeds) -> Row:
    scores: dict[str, list[float]] = {}
    row = Row(f"{case}, T = {n_samples}", {"blockmat": [], "equal loadings": [], "KMeans": [], "KMeans once": []},
              group="Planted blocks")  # fmt: skip
    for seed in seeds:
        X, labels = draw(correlations, sizes, n_samples, seed)
        R = np.corrcoef(X, rowvar=False)
        methods = {
            "blockmat": lambda X=X: bm.find_partition(X, K, samples=True).labels,
            "equal loadings": lambda X=X: bm.find_partition(
                X, K, samples=True, loadings=False
            ).labels,
            "KMeans": lambda R=R, seed=seed: KMeans(K, n_init=10, random_state=seed).fit(R).labels_,
            "KMeans once": lambda R=R, seed=seed: KMeans(K, n_init=1, random_state=seed).fit(R).labels_,
            "Ward": lambda R=R: ward(R, K),
            "SpectralClustering": lambda R=R, seed=seed: spectral(R, K, seed),
        }  # fmt: skip
        for name, find in methods.items():
            start = time.perf_counter()
            found = find()
            elapsed = time.perf_counter() - start
            scores.setdefault(name, []).append(adjusted_rand_score(labels, found))
            if name in row.times:
                row.times[name].append(elapsed)
    row.notes = {name: fmean(values) for name, values in scores.items()}
    row.notes |= {
        "time / KMeans": 1 / row.ratio("KMeans"),
        "time / KMeans once": 1 / row.ratio("KMeans once"),
        "time, equal loadings / KMeans": _ratio_of_times(row, "equal loadings", "KMeans"),
    }
    best = max(row.notes[name] for name in ("KMeans", "Ward", "SpectralClustering"))
    if correlations == EASY:
        row.require("adjusted Rand index", row.notes["blockmat"], at_least=0.99)
    else:
        above = row.notes["blockmat"] - best
        margin = 0.03 if n_samples == 60 else 0.0
        row.require("index minus best peer", above, at_least=margin)
    name = "time, equal loadings / KMeans"
    row.require(name, row.notes[name], at_most=0.2)
    return row


def _ratio_of_times(row: Row, first: str, second: str) -> float:
    """The median over rounds of the time of one method divided by that of another."""
    return median(a / b for a, b in zip(row.times[first], row.times[second], strict=True))


def stock_correlations(n_samples: int, seeds) -> Row | None:
    """Correlations of 100 stocks in a window of time, whose known groups are the sectors."""
    loaded = data.stocks()
    if loaded is None:
        return None
    returns, sectors = loaded
    results = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        stocks = rng.choice(len(sectors), 100, replace=False)
        first = rng.integers(len(returns) - n_samples)
        R = np.corrcoef(returns[first : first + n_samples, stocks], rowvar=False)
        results.append(from_correlations(R, sectors[stocks], seed))
    notes = {name: fmean(result[name] for result in results) for name in results[0]}
    row = Row(f"100 stocks, T = {n_samples}", notes=notes, group="Correlations of stocks")
    best = max(row.notes["KMeans"], row.notes["Ward"])
    row.require("minus best of KMeans and Ward", row.notes["blockmat"] - best, at_least=0)
    return row


def from_correlations(R, labels, seed: int) -> dict[str, float]:
    """The adjusted Rand indices of blocks of a correlation matrix, of several methods."""
    k = len(np.unique(labels))
    chosen = bm.find_partition(R)
    found = {
        "blockmat": bm.find_partition(R, k).labels,
        "KMeans": KMeans(k, n_init=10, random_state=seed).fit(R).labels_,
        "Ward": ward(R, k),
        "SpectralClustering": spectral(R, k, seed),
        "blockmat, number chosen": chosen.labels,
    }
    indices = {name: adjusted_rand_score(labels, each) for name, each in found.items()}
    return indices | {"blocks chosen": chosen.n_blocks}


def how_many(case: str, correlations, sizes, n_samples: int, seeds) -> Row:
    row = Row(f"{case}, T = {n_samples}", group="Number of blocks")  # fmt: skip
    for criterion in ("misfit", "icl", "bic", "cv"):
        hits = [
            abs(bm.partition_path(draw(correlations, sizes, n_samples, seed)[0], samples=True,
                                  criterion=criterion).best.n_blocks - K) <= 1
            for seed in seeds
        ]  # fmt: skip
        row.notes[criterion] = fmean(hits)
    row.require("share of seeds, misfit", row.notes["misfit"], at_least=0.8)
    return row


def structured(seeds) -> Row:
    """Blocks that are intervals, and blocks whose variables have random signs."""
    notes: dict[str, list[float]] = {}

    def score(name: str, labels, found) -> None:
        notes.setdefault(name, []).append(adjusted_rand_score(labels, found.labels))

    for seed in seeds:
        X, labels = draw(HARD, UNEQUAL, 60, seed)
        score("no constraint", labels, bm.find_partition(X, K, True))
        order = np.argsort(labels, kind="stable")
        intervals = bm.find_partition(X[:, order], K, True, contiguous=True)
        score("blocks are intervals", labels[order], intervals)
        turned = X * np.random.default_rng(seed).choice([-1, 1], X.shape[1])
        score("random signs, ignored", labels, bm.find_partition(turned, K, True))
        score("random signs, estimated", labels, bm.find_partition(turned, K, True, signs=True)[0])
    return Row("hard, unequal, T = 60", notes={name: fmean(values) for name, values in notes.items()},
               group="Intervals and signs")  # fmt: skip


def rectangular(noise: float, seeds) -> Row:
    """Checkerboards of scikit-learn, 300 x 200 in 6 x 4 blocks."""
    ours: list[float] = []
    theirs: list[float] = []
    for seed in seeds:
        A, rows, cols = make_checkerboard((300, 200), (6, 4), noise=noise, random_state=seed)
        row_labels, col_labels = (np.argmax(x.reshape(6, 4, -1)[s], axis=0) for x, s in
                                  ((rows, np.s_[:, 0]), (cols, np.s_[0])))  # fmt: skip
        result = bm.cocluster(A, 6, 4)
        model = SpectralBiclustering((6, 4), random_state=seed).fit(A)
        for into, found in (
            (ours, (result.row_partition.labels, result.col_partition.labels)),
            (theirs, (model.row_labels_, model.column_labels_)),
        ):
            into.append(adjusted_rand_score(row_labels, found[0]))
            into.append(adjusted_rand_score(col_labels, found[1]))
    return Row(f"checkerboard, noise {noise}", notes={"blockmat": fmean(ours), "SpectralBiclustering": fmean(theirs)},
               group="Rows and columns")  # fmt: skip


def scale(quick: bool) -> list[Row]:
    n, k, n_samples, rows = (10_000 if quick else 100_000), 50, 100, 2_000 if quick else 10_000
    X, labels = draw(EASY, (n // k,) * k, n_samples, 0)
    row = _timed(
        f"samples, n = {n}, T = {n_samples}, k = {k}",
        lambda: bm.find_partition(X, k, True, random_state=0),
        labels,
    )
    row.require("seconds", row.notes["seconds"], at_most=120)
    row.require("GB", row.notes["GB"], at_most=4)
    k = 40
    X, labels = draw(EASY, (rows // k,) * k, 500, 1)
    A = np.corrcoef(X, rowvar=False)
    other = _timed(
        f"matrix, n = {rows}, k = {k}", lambda: bm.find_partition(A, k, random_state=0), labels
    )
    other.require("seconds", other.notes["seconds"], at_most=60)
    return [row, other]


def _timed(work: str, find, labels) -> Row:
    peak = PeakMemory()
    start = time.perf_counter()
    with peak:
        found = find()
    elapsed = time.perf_counter() - start
    notes = {
        "seconds": elapsed,
        "GB": peak.extra / 1e9,
        "adjusted Rand index": adjusted_rand_score(labels, found.labels),
    }
    return Row(work, notes=notes, group="Large inputs")


def network(name: str, seeds) -> Row | None:
    """Known communities of a network, against spectral clustering and modularity."""
    import networkx

    loaded = data.network(name)
    if loaded is None:
        return None
    A, labels = loaded
    k = len(set(labels.tolist()))
    graph = networkx.from_numpy_array(A)

    def louvain(seed: int):
        found = np.zeros(len(A), dtype=int)
        for c, members in enumerate(networkx.community.louvain_communities(graph, seed=seed)):
            found[list(members)] = c
        return found

    def index(found) -> float:
        return adjusted_rand_score(labels, found)

    chosen, corrected = bm.find_partition(A), bm.find_partition(A, degrees=True)
    notes = {
        "blockmat": index(bm.find_partition(A, k).labels),
        "degrees": index(bm.find_partition(A, k, degrees=True).labels),
        "number chosen": index(chosen.labels),
        "degrees, number chosen": index(corrected.labels),
        "SpectralClustering": median(index(spectral(A, k, seed)) for seed in seeds),
        "Louvain": median(index(louvain(seed)) for seed in seeds),
        **leiden(A, index, seeds),
        "known communities": k,
        "blocks chosen": chosen.n_blocks,
        "blocks chosen, degrees": corrected.n_blocks,
    }
    row = Row(name, notes=notes, group="Networks")
    row.require("degrees, number chosen", notes["degrees, number chosen"], at_least=0.6)
    return row


def leiden(A, index, seeds) -> dict[str, float]:
    """The Leiden method, if its package is installed."""
    try:
        import igraph
        import leidenalg
    except ImportError:
        return {}
    graph = igraph.Graph.Adjacency((A > 0).tolist(), mode="undirected")
    quality = leidenalg.ModularityVertexPartition
    return {"Leiden": median(index(leidenalg.find_partition(graph, quality, seed=seed).membership)
                             for seed in seeds)}  # fmt: skip
