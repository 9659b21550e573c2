"""Covariance estimators of other packages, on returns as they are or standardised."""

import importlib
import warnings
from collections.abc import Callable

import numpy as np
from sklearn.covariance import GraphicalLassoCV, LedoitWolf
from sklearn.decomposition import FactorAnalysis
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, KFold

from bench.experts import quadratic_inverse_shrinkage

MOST_FACTORS = 10
MAX_LASSO = 60  # variables; the graphical lasso takes minutes for more
BOOTSTRAPS = 20
Estimate = Callable[[np.ndarray], np.ndarray]


def peers(n: int, quick: bool) -> dict[str, Estimate]:
    """Functions from returns of n variables to a covariance matrix, by name."""
    found: dict[str, Estimate] = {
        "LedoitWolf": lambda X: LedoitWolf().fit(X).covariance_,
        "LedoitWolf, standardised": standardised(lambda Z: LedoitWolf().fit(Z).covariance_),
        "FactorAnalysis(6)": lambda X: FactorAnalysis(6).fit(100 * X).get_covariance() / 1e4,
        "FactorAnalysis(6), standardised": standardised(lambda Z: FactorAnalysis(6).fit(Z).get_covariance()),
        "FactorAnalysis(1 to 10 by cv), standardised": standardised(chosen_factors),
        "QIS, standardised": standardised(quadratic_inverse_shrinkage),
    }  # fmt: skip
    if n <= MAX_LASSO and not quick:
        found["GraphicalLassoCV, standardised"] = standardised(graphical_lasso)
    bahc = installed("bahc")
    if bahc is not None:
        found["bahc"] = lambda X: bahc.BAHC(X.T, Nboot=BOOTSTRAPS, seed=0).filter_matrix()
    moments = installed("skfolio.moments")
    if moments is not None:
        found["skfolio DenoiseCovariance"] = lambda X: (
            moments.DenoiseCovariance().fit(X).covariance_
        )
    return found


def installed(name: str):
    """Import a package, or print that it is skipped and return None."""
    try:
        return importlib.import_module(name)
    except ImportError:
        print(f"skipped: {name.partition('.')[0]} is not installed")
        return None


def standardised(estimate: Estimate) -> Estimate:
    def covariance(X):
        scale = X.std(axis=0)
        return estimate(X / scale) * np.outer(scale, scale)

    return covariance


def chosen_factors(Z):
    """Return the factor model whose number of factors has the highest held-out likelihood."""
    grid = {"n_components": range(1, MOST_FACTORS + 1)}
    search = GridSearchCV(FactorAnalysis(), grid, cv=KFold(5)).fit(Z)
    return search.best_estimator_.get_covariance()


def graphical_lasso(Z):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return GraphicalLassoCV().fit(Z).covariance_
