"""452 stocks of the S&P 500, daily log-returns, clipped at 0.35 because prices are not adjusted
for splits. An estimator sees 60, 120 or 250 days and is tested on the next 40; the windows
begin 40 days apart. Likelihood: -(log det R + tr R⁻¹ C) / 2n, with R the estimated correlation
matrix and C that of the 40 days: the Gaussian log-likelihood for each variable, but for a
constant; higher is better. Volatility: of the portfolio whose weights have the least estimated
variance and sum to 1, over all test days, annual, in per cent; lower is better. "Standardised":
the estimator is given returns divided by their standard deviations, and its result is
multiplied by them; the others see the returns as they are, FactorAnalysis in per cent.
"""

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
from bench.harness import Row, contest
from blockmat.covariance import BlockCovariance

TITLE = "Covariance of stock returns"
BY_GROUP = True
WINDOWS = (60, 120, 250)
TESTED = 40
DEFAULT = "found blocks"
LIKELIHOOD = "Held-out log-likelihood per variable: higher is better"
VOLATILITY = "Out-of-sample volatility, % a year: lower is better"


def measure(quick: bool) -> list[Row]:
    rows = []
    loaded = data.stocks()
    if loaded is not None:
        rows += stocks(*loaded, quick)
    return [*rows, *fits(quick), checks()]


def estimators(sectors):
    """Per name, a function from returns to a covariance matrix."""
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
            likelihood[name].require(f"above every other, {column},", above, at_least=0)
        if days >= 120:
            bound = volatility["LedoitWolf"].notes[column]
            volatility[DEFAULT].require(
                f"%, {column},", volatility[DEFAULT].notes[column], at_most=bound
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
    """Times to fit and to score, where nothing of size n x n is formed."""
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
            LedoitWolf=lambda: LedoitWolf(store_precision=True).fit(X).score(new),
        )  # fmt: skip
        notes = {"blockmat": timed.median(), "LedoitWolf": timed.median("LedoitWolf")}
        rows.append(
            Row(name, notes=notes, group=f"Seconds to fit and score, n = {n}, T = {n_samples}")
        )
    n = 10_000 if quick else 100_000
    X, labels = draw(EASY, (n // 50,) * 50, 100, 0)
    start = time.perf_counter()
    BlockCovariance(n_blocks=50, random_state=0).fit(X).score(X)
    elapsed = time.perf_counter() - start
    rows.append(
        Row(f"50 blocks found, n = {n}, T = 100", notes={"blockmat": elapsed}, group=rows[0].group)
    )
    return rows


def checks() -> Row:
    """Run scikit-learn's own checks of an estimator."""
    results = check_estimator(BlockCovariance(), on_skip=None, on_fail=None)
    counts = Counter(result["status"] for result in results)
    notes = {status: float(counts[status]) for status in ("passed", "failed", "skipped")}
    row = Row("check_estimator(BlockCovariance())", notes=notes, group="Checks of scikit-learn")
    row.require("failed", counts["failed"], at_most=0)
    return row


def figure(rows: list[Row], figure) -> None:
    """Likelihood and volatility of each estimator by the number of days."""
    axes = figure.subplots(1, 2)
    shown = {
        "found blocks": ("#d55e00", "-"), "found blocks, shrinkage cv": ("#d55e00", "--"),
        "sectors": ("#e69f00", "-"), "sectors, shrinkage cv": ("#e69f00", "--"),
        "LedoitWolf": ("#999999", "-"), "FactorAnalysis(6), standardised": ("#0072b2", "-"),
        "QIS, standardised": ("#009e73", "-"),
    }  # fmt: skip
    for ax, group in zip(axes, (LIKELIHOOD, VOLATILITY), strict=True):
        for row in rows:
            if row.group == group and row.work in shown:
                colour, style = shown[row.work]
                days = [int(name.split()[-1]) for name in row.notes]
                ax.plot(
                    days,
                    list(row.notes.values()),
                    style,
                    marker="o",
                    ms=4,
                    color=colour,
                    label=row.work,
                )
        ax.set_xlabel("days seen")
        ax.set_xticks(WINDOWS)
        ax.set_title(group.replace(": ", ":\n"), fontsize=9)
        ax.grid(alpha=0.3)
    axes[0].set_ylim(-0.42, -0.27)
    axes[0].text(0.5, 0.02, "LedoitWolf is further below", ha="center", fontsize=8, color="#777777",
                 transform=axes[0].transAxes)  # fmt: skip
    axes[1].legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
