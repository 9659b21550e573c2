"""How well models of the covariance of stock returns predict, against other estimators."""

import time
from collections.abc import Callable
from statistics import fmean, median
from typing import NamedTuple

import numpy as np
from sklearn.covariance import LedoitWolf

from bench import data
from bench.covariance_peers import peers
from bench.discover import EASY, draw
from bench.harness import contest
from bench.rows import Row
from blockmat.covariance import BlockCovariance

TITLE = "Covariance of stock returns"
BY_GROUP = True
WINDOWS = (60, 120, 250)
TESTED = 40
DEFAULT = "BlockCovariance()"
LIKELIHOOD, VOLATILITY, TIME = "Log-likelihood", "Volatility", "Time to fit and score"
SECONDS = "Seconds for a fit"
ABOVE_BEST = 1.01  # the volatility that is allowed, relative to the best peer
IN_PORTFOLIO, CHOSEN = 4, 50


class Universe(NamedTuple):
    """Returns (days, n), the sector of each variable, and what is added to the names of groups."""

    name: str
    returns: np.ndarray
    sectors: np.ndarray


def measure(quick: bool) -> list[Row]:
    rows = []
    loaded = data.stocks()
    if loaded is not None:
        for universe in universes(*loaded):
            rows += predictions(universe, quick)
    return [*rows, *fits(quick)]


def universes(returns, sectors) -> list[Universe]:
    """All stocks, equally weighted portfolios of four random stocks of one sector, and 50 random stocks."""
    rng = np.random.default_rng(0)
    portfolios, names = [], []
    for sector in np.unique(sectors):
        members = rng.permutation(np.flatnonzero(sectors == sector))
        for first in range(0, len(members) - IN_PORTFOLIO + 1, IN_PORTFOLIO):
            portfolios.append(returns[:, members[first : first + IN_PORTFOLIO]].mean(axis=1))
            names.append(sector)
    chosen = np.sort(rng.choice(len(sectors), CHOSEN, replace=False))
    return [
        Universe("", returns, sectors),
        Universe(", portfolios", np.stack(portfolios, axis=1), np.array(names)),
        Universe(f", {CHOSEN} stocks", returns[:, chosen], sectors[chosen]),
    ]


def ours(sectors) -> dict[str, Callable]:
    """Functions from returns to a covariance matrix, by name."""
    options = {
        DEFAULT: {},
        "found blocks": {"shrinkage": None},
        "found blocks, shrinkage cv": {"shrinkage": "cv"},
        "BlockCovariance(sectors)": {"labels": sectors},
        "sectors": {"labels": sectors, "shrinkage": None},
        "sectors, shrinkage cv": {"labels": sectors, "shrinkage": "cv"},
    }
    return {
        name: lambda X, given=given: BlockCovariance(**given).fit(X).covariance_
        for name, given in options.items()
    }


def predictions(universe: Universe, quick: bool) -> list[Row]:
    """Likelihood and volatility in later days, and for all stocks the time of a fit."""
    n = universe.returns.shape[1]
    methods = {**ours(universe.sectors), **peers(n, quick)}
    likelihood, volatility, seconds = (
        {name: Row(name, group=group + universe.name) for name in methods}
        for group in (LIKELIHOOD, VOLATILITY, SECONDS)
    )
    for days in WINDOWS:
        column = f"T = {days}"
        for name, estimate in methods.items():
            scores = [score(estimate, *window) for window in windows(universe, days, quick)]
            values, variances, times = zip(*scores, strict=True)
            likelihood[name].notes[column] = fmean(values)
            volatility[name].notes[column] = 100 * float(np.sqrt(252 * fmean(variances)))
            seconds[name].notes[column] = median(times)
    _set_goals(likelihood, volatility, ours(universe.sectors))
    times_of_fits = [] if universe.name else seconds.values()
    return [*likelihood.values(), *volatility.values(), *times_of_fits]


def windows(universe: Universe, days: int, quick: bool):
    """Yield returns to fit and the returns of the days after them."""
    last = len(universe.returns) - days - TESTED
    for start in range(0, last + 1, TESTED)[:: 8 if quick else 1]:
        end = start + days
        yield universe.returns[start:end], universe.returns[end : end + TESTED]


def score(estimate: Callable, past, future) -> tuple[float, float, float]:
    """Return likelihood, variance of the portfolio, and seconds."""
    start = time.perf_counter()
    covariance = estimate(past)
    elapsed = time.perf_counter() - start
    variance = float(np.var(future @ minimum_variance(covariance)))
    return correlation_likelihood(covariance, future), variance, elapsed


def _set_goals(likelihood: dict[str, Row], volatility: dict[str, Row], own: dict) -> None:
    others = [name for name in likelihood if name not in own]
    for days in WINDOWS:
        column = f"T = {days}"
        best = max(likelihood[name].notes[column] for name in others)
        likelihood[DEFAULT].require(
            f"log-likelihood minus best peer, {column}",
            likelihood[DEFAULT].notes[column] - best,
            at_least=0,
        )
        if days >= 120:
            least = min(volatility[name].notes[column] for name in others)
            volatility[DEFAULT].require(
                f"volatility relative to best peer, {column}",
                volatility[DEFAULT].notes[column] / least,
                at_most=ABOVE_BEST,
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
