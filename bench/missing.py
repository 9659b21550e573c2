"""Samples with gaps: how well blocks and covariances are estimated, and how long it takes."""

import time
import warnings
from statistics import fmean

import numpy as np
import pandas as pd
from sklearn.cluster import KMeans
from sklearn.covariance import LedoitWolf
from sklearn.decomposition import FactorAnalysis
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, SimpleImputer
from sklearn.metrics import adjusted_rand_score

import blockmat as bm
from bench.discover import HARD, draw, ward
from bench.fit import PeakMemory
from bench.harness import contest
from bench.rows import Row
from blockmat.covariance import BlockCovariance

TITLE = "Samples with gaps"
BY_GROUP = True
LIKELIHOOD, BLOCKS = "Log-likelihood of complete samples, per variable", "Blocks found"
TIME, LARGE = "Time of pairwise moments", "Large inputs"
SIZES = (15, 15, 20, 20, 30)
N_SAMPLES = 120


def measure(quick: bool) -> list[Row]:
    seeds = range(2 if quick else 10)
    return [*accuracy(seeds), *blocks(seeds), *times(quick), *large(quick)]


def at_random(X, share: float, rng):
    """Leave each entry out with the same probability."""
    return np.where(rng.random(X.shape) < share, np.nan, X)


def late(X, share: float, rng):
    """Let a share of the variables begin late, somewhere in the first three quarters."""
    X = X.copy()
    for i in rng.choice(X.shape[1], round(share * X.shape[1]), replace=False):
        X[: rng.integers(1, 3 * len(X) // 4), i] = np.nan
    return X


PATTERNS = {
    "5 % at random": lambda X, rng: at_random(X, 0.05, rng),
    "30 % at random": lambda X, rng: at_random(X, 0.3, rng),
    "a third begins late": lambda X, rng: late(X, 1 / 3, rng),
}


def nearest_definite(S):
    values, vectors = np.linalg.eigh(S)
    return (vectors * np.maximum(values, 1e-2 * values[-1])) @ vectors.T


def imputed(imputer, estimate):
    def fill_and_estimate(X, labels):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # three iterations are enough here
            return estimate(imputer().fit_transform(X))

    return fill_and_estimate


def ledoit_wolf(X):
    model = LedoitWolf().fit(X)
    return model.location_, model.covariance_


def pairwise_pandas(X, labels):
    frame = pd.DataFrame(X)
    return frame.mean().to_numpy(), nearest_definite(frame.cov(ddof=0).to_numpy())


def iterative():
    return IterativeImputer(max_iter=3, n_nearest_features=10, random_state=0)


def block_covariance(missing: str, given: bool):
    def estimate(X, labels):
        model = BlockCovariance(labels if given else None, n_blocks=len(SIZES), n_factors=0,
                                missing=missing).fit(X)  # fmt: skip
        return model.location_, model.covariance_

    return estimate


ESTIMATORS = {
    "blocks given, pairwise": block_covariance("pairwise", True),
    "blocks given, em": block_covariance("em", True),
    "blocks found, pairwise": block_covariance("pairwise", False),
    "blocks found, em": block_covariance("em", False),
    "means imputed, LedoitWolf": imputed(SimpleImputer, ledoit_wolf),
    "IterativeImputer, LedoitWolf": imputed(iterative, ledoit_wolf),
    "pandas pairwise, made definite": pairwise_pandas,
    "means imputed, FactorAnalysis(5)": imputed(
        SimpleImputer,
        lambda X: ((model := FactorAnalysis(5).fit(X)).mean_, model.get_covariance()),
    ),
}


def samples_with_scales(seed: int):
    X, labels = draw(HARD, SIZES, N_SAMPLES + 1000, seed)
    rng = np.random.default_rng(seed)
    X = X * np.exp(rng.normal(0, 0.5, X.shape[1])) + rng.normal(0, 1, X.shape[1])
    return X[:N_SAMPLES], X[N_SAMPLES:], labels, rng


def accuracy(seeds) -> list[Row]:
    """Mean log-likelihood of new complete samples, in units of variables, above that of the truth-free mean model."""
    rows = {name: Row(name, group=LIKELIHOOD) for name in ESTIMATORS}
    for pattern, leave_out in PATTERNS.items():
        scores: dict[str, list[float]] = {name: [] for name in ESTIMATORS}
        for seed in seeds:
            train, test, labels, rng = samples_with_scales(seed)
            gappy = leave_out(train, rng)
            for name, estimate in ESTIMATORS.items():
                location, covariance = estimate(gappy, labels)
                scores[name].append(gaussian(test - location, covariance))
        for name, row in rows.items():
            row.notes[pattern] = fmean(scores[name])
    ours = [name for name in ESTIMATORS if name.startswith("blocks")]
    for pattern in PATTERNS:
        rival = max(row.notes[pattern] for name, row in rows.items() if name not in ours)
        row = rows["blocks found, em"]
        row.require(f"minus best peer, {pattern}", row.notes[pattern] - rival, at_least=0)
    return list(rows.values())


def gaussian(deviations, covariance) -> float:
    _, logdet = np.linalg.slogdet(covariance)
    distances = (deviations * np.linalg.solve(covariance, deviations.T).T).sum(axis=1)
    n = len(covariance)
    return float(-(logdet + distances.mean() + n * np.log(2 * np.pi)) / (2 * n))


def blocks(seeds) -> list[Row]:
    """Adjusted Rand index of blocks found in samples with gaps, with their number given."""
    k = len(SIZES)
    methods = {
        "blockmat, pairwise": lambda X: bm.find_partition(X, k, samples=True, missing="pairwise").labels,
        "blockmat, em": lambda X: bm.find_partition(X, k, samples=True, missing="em").labels,
        "means imputed, KMeans": lambda X: KMeans(k, n_init=10, random_state=0).fit(
            np.corrcoef(SimpleImputer().fit_transform(X), rowvar=False)).labels_,
        "pandas pairwise, KMeans": lambda X: KMeans(k, n_init=10, random_state=0).fit(
            pd.DataFrame(X).corr().to_numpy()).labels_,
        "pandas pairwise, Ward": lambda X: ward(pd.DataFrame(X).corr().to_numpy(), k),
    }  # fmt: skip
    rows = {name: Row(name, group=BLOCKS) for name in methods}
    for pattern, leave_out in PATTERNS.items():
        scores: dict[str, list[float]] = {name: [] for name in methods}
        for seed in seeds:
            train, _, labels, rng = samples_with_scales(seed)
            gappy = leave_out(train, rng)
            for name, find in methods.items():
                scores[name].append(adjusted_rand_score(labels, find(gappy)))
        for name, row in rows.items():
            row.notes[pattern] = fmean(scores[name])
    return list(rows.values())


def times(quick: bool) -> list[Row]:
    """Time of the moments with and without gaps."""
    rows = []
    for n_samples, n, k in ((20_000, 100, 10), (250, 20_000, 50)):
        n_samples, n = (n_samples // 4, n) if quick else (n_samples, n)
        rng = np.random.default_rng(0)
        X = rng.standard_normal((n_samples, n))
        gappy = at_random(X, 0.05, rng)
        p = bm.Partition.uniform(k, n // k)
        row = contest(
            f"fit_samples, {n_samples} x {n}, k = {k}, 5 % missing",
            lambda gappy=gappy, p=p: bm.fit_samples(gappy, p, missing="pairwise"), quick=quick,
            peers={"without gaps": lambda X=X, p=p: bm.fit_samples(X, p)},
        )  # fmt: skip
        row.group = TIME
        row.notes = {"pairwise": row.median(), "without gaps": row.median("without gaps")}
        row.require("pairwise / without gaps", 1 / row.ratio("without gaps"), at_most=4)
        rows.append(row)
    return rows


def large(quick: bool) -> list[Row]:
    """Long and wide samples, from gaps to a covariance matrix with found blocks."""
    sizes = ((10**5, 100), (100, 10**4)) if quick else ((10**6, 100), (100, 10**5))
    rows = []
    for n_samples, n in sizes:
        k = 10 if n == 100 else 50
        X, _ = draw((6, 0.25, 0.25), (n // k,) * k, n_samples, 0)
        rng = np.random.default_rng(0)
        for first in range(0, n_samples, 1000):
            part = X[first : first + 1000]
            part[rng.random(part.shape) < 0.05] = np.nan
        for missing in ("pairwise", "em"):
            peak, start = PeakMemory(), time.perf_counter()
            with peak:
                BlockCovariance(n_blocks=k, n_factors=0, missing=missing, random_state=0).fit(X)
            notes = {"seconds": time.perf_counter() - start, "GB": peak.extra / 1e9}
            row = Row(f"BlockCovariance, {n_samples} x {n}, {missing}", notes=notes, group=LARGE)
            row.require("seconds", notes["seconds"], at_most=60)
            row.require("GB", notes["GB"], at_most=4)
            rows.append(row)
    return rows
