"""How well models of the covariance of stock returns predict, against other estimators."""

import time
from collections import Counter
from statistics import fmean

import numpy as np
from sklearn.covariance import OAS, LedoitWolf
from sklearn.decomposition import FactorAnalysis
from sklearn.utils.estimator_checks import check_estimator

from bench import data
from bench.discover import EASY, draw
from bench.experts import quadratic_inverse_shrinkage
from bench.harness import contest
from bench.rows import Row
from blockmat.covariance import BlockCovariance

TITLE = "Covariance of stock returns"
BY_GROUP = True
WINDOWS = (60, 120, 250)
TESTED = 40
DEFAULT = "found blocks"
LIKELIHOOD, VOLATILITY, TIME = "Log-likelihood", "Volatility", "Time to fit and score"


def measure(quick: bool) -> list[Row]:
    rows = []
    loaded = data.stocks()
    if loaded is not None:
        rows += stocks(*loaded, quick)
    return [*rows, *fits(quick), checks()]


def estimators(sectors):
    """Functions from returns to a covariance matrix, by name."""
    return {
        "found blocks": lambda X: BlockCovariance().fit(X).covariance_,
        "found blocks, shrinkage cv": lambda X: BlockCovariance(shrinkage="cv").fit(X).covariance_,
        "found blocks, shrinkage optimal": lambda X: BlockCovariance(shrinkage="optimal").fit(X).covariance_,
        "sectors": lambda X: BlockCovariance(sectors).fit(X).covariance_,
        "sectors, shrinkage cv": lambda X: BlockCovariance(sectors, shrinkage="cv").fit(X).covariance_,
        "sectors, shrinkage optimal": lambda X: BlockCovariance(sectors, shrinkage="optimal").fit(X).covariance_,
        "LedoitWolf": lambda X: LedoitWolf().fit(X).covariance_,
        "LedoitWolf, standardised": standardised(lambda Z: LedoitWolf().fit(Z).covariance_),
        "OAS": lambda X: OAS().fit(X).covariance_,
        "OAS, standardised": standardised(lambda Z: OAS().fit(Z).covariance_),
        "FactorAnalysis(6)": lambda X: FactorAnalysis(6).fit(100 * X).get_covariance() / 1e4,
        "FactorAnalysis(6), standardised": standardised(lambda Z: FactorAnalysis(6).fit(Z).get_covariance()),
        "QIS": quadratic_inverse_shrinkage,
        "QIS, standardised": standardised(quadratic_inverse_shrinkage),
    }  # fmt: skip


def standardised(estimate):
    def covariance(X):
        scale = X.std(axis=0)
        return estimate(X / scale) * np.outer(scale, scale)

    return covariance


def stocks(returns, sectors, quick: bool) -> list[Row]:
    methods = estimators(sectors)
    likelihood = {name: Row(name, group=LIKELIHOOD) for name in methods}
    volatility = {name: Row(name, group=VOLATILITY) for name in methods}
    for days in WINDOWS:
        starts = range(0, len(returns) - days - TESTED + 1, TESTED)[:: 8 if quick else 1]
        for name, estimate in methods.items():
            likelihoods, gains = [], []
            for start in starts:
                past = returns[start : start + days]
                future = returns[start + days : start + days + TESTED]
                covariance = estimate(past)
                likelihoods.append(correlation_likelihood(covariance, future))
                gains.append(future @ minimum_variance(covariance))
            likelihood[name].notes[f"T = {days}"] = fmean(likelihoods)
            variance = fmean(np.var(gain) for gain in gains)
            volatility[name].notes[f"T = {days}"] = 100 * float(np.sqrt(252 * variance))
    _set_goals(likelihood, volatility)
    return [*likelihood.values(), *volatility.values()]


def _set_goals(likelihood: dict[str, Row], volatility: dict[str, Row]) -> None:
    ours = [name for name in likelihood if name.startswith(("found", "sectors"))]
    others = [name for name in likelihood if name not in ours]
    for days in WINDOWS:
        column = f"T = {days}"
        best = max(ours, key=lambda name: likelihood[name].notes[column])
        rival = max(likelihood[name].notes[column] for name in others)
        for name in dict.fromkeys([best] + ([DEFAULT] if days >= 120 else [])):
            above = likelihood[name].notes[column] - rival
            likelihood[name].require(f"log-likelihood minus best peer, {column}", above, at_least=0)
        if days >= 120:
            bound = volatility["LedoitWolf"].notes[column]
            volatility[DEFAULT].require(
                f"volatility, {column}", volatility[DEFAULT].notes[column], at_most=bound
            )


def correlation_likelihood(covariance, future) -> float:
    scale = np.sqrt(np.diag(covariance))
    R = covariance / np.outer(scale, scale)
    C = np.corrcoef(future, rowvar=False)
    _, logdet = np.linalg.slogdet(R)
    return -(logdet + np.trace(np.linalg.solve(R, C))) / (2 * len(R))


def minimum_variance(covariance):
    weights = np.linalg.solve(covariance, np.ones(len(covariance)))
    return weights / weights.sum()


def fits(quick: bool) -> list[Row]:
    """Times to fit and to score, without an n x n matrix."""
    n, k, n_samples = 1000 if quick else 4000, 20, 250
    X, labels = draw(EASY, (n // k,) * k, n_samples, 0)
    new, _ = draw(EASY, (n // k,) * k, n_samples, 1)
    rows = []
    for name, options in (
        ("labels given", {"labels": labels}),
        (f"{k} blocks found", {"n_blocks": k}),
        ("number found", {}),
        ("number found, shrinkage cv", {"shrinkage": "cv"}),
    ):
        timed = contest(
            name, lambda options=options: BlockCovariance(**options).fit(X).score(new), quick=quick,
            peers={"LedoitWolf": lambda: LedoitWolf(store_precision=True).fit(X).score(new)},
        )  # fmt: skip
        notes = {"blockmat": timed.median(), "LedoitWolf": timed.median("LedoitWolf")}
        rows.append(Row(f"{name}, n = {n}, T = {n_samples}", notes=notes, group=TIME))
    n = 10_000 if quick else 100_000
    X, labels = draw(EASY, (n // 50,) * 50, 100, 0)
    start = time.perf_counter()
    BlockCovariance(n_blocks=50, random_state=0).fit(X).score(X)
    elapsed = time.perf_counter() - start
    rows.append(Row(f"50 blocks found, n = {n}, T = 100", notes={"blockmat": elapsed}, group=TIME))
    return rows


def checks() -> Row:
    """Run the checks of scikit-learn for estimators."""
    results = check_estimator(BlockCovariance(), on_skip=None, on_fail=None)
    counts = Counter(result["status"] for result in results)
    notes = {status: float(counts[status]) for status in ("passed", "failed", "skipped")}
    row = Row("check_estimator(BlockCovariance())", notes=notes, group="Checks of scikit-learn")
    row.require("failed", counts["failed"], at_most=0)
    return row
