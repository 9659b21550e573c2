"""Random intercepts of many groups: likelihood with gradient beside one pass, and a fit beside statsmodels."""

from collections.abc import Callable
from typing import Any

import numpy as np
import statsmodels.api as sm
import torch
from scipy.optimize import minimize

import blockmat as bm
import blockmat.torch as bmt
from bench.harness import contest
from bench.rows import OURS, Row

GROUP = "random intercepts"
SIZE = 500_000, 125_066  # samples and groups
PASS, BINCOUNT = "(y * 2).sum()", "bincount(labels, y)"
UNCHECKED, THEIRS = "without checks", "statsmodels"


def measure(quick: bool) -> list[Row]:
    n, n_groups = (50_000, 12_500) if quick else SIZE
    rows = [likelihood(n, n_groups, kind, quick) for kind in ("sorted by group", "in any order")]
    return [*rows, estimates(*((2_000, 500) if quick else (20_000, 5_000)), quick)]


def simulate(n: int, n_groups: int) -> tuple[Any, Any, Any]:
    """Groups, all of them with some samples, a design matrix and outcomes."""
    rng = np.random.default_rng(0)
    labels = np.concatenate([np.arange(n_groups), rng.integers(0, n_groups, n - n_groups)])
    labels = rng.permutation(labels)
    X = np.column_stack([np.ones(n), rng.standard_normal(n)])
    intercepts = 0.8 * rng.standard_normal(n_groups)
    return labels, X, X @ [1.0, 0.5] + intercepts[labels] + rng.standard_normal(n)


def log_likelihood(
    p: bm.Partition, mean: Any, log_variances: Any, y: Any, check: bool = True
) -> Any:
    """The variances are those of the intercepts and of the noise."""
    variance, noise = log_variances.exp()
    A = bmt.BlockFactorMatrix(p, variance.expand(p.n_blocks), noise=noise, check=check)
    return bmt.BlockMultivariateNormal(mean, A, validate_args=check).log_prob(y)


def likelihood(n: int, n_groups: int, kind: str, quick: bool) -> Row:
    labels, _, y = simulate(n, n_groups)
    labels = np.sort(labels) if kind == "sorted by group" else labels
    p, values = bm.Partition.from_labels(labels), torch.from_numpy(y)
    mean = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    log_variances = torch.tensor([-0.4, 0.1], dtype=torch.float64, requires_grad=True)

    def with_gradient(check: bool = True) -> Any:
        value = log_likelihood(p, mean.expand(n), log_variances, values, check)
        return torch.autograd.grad(value, (mean, log_variances))

    row = contest(
        f"log-likelihood with gradient, n = {n} in {p.n_blocks} groups, {kind}", with_gradient,
        peers={
            UNCHECKED: lambda: with_gradient(check=False),
            PASS: lambda: (values * 2).sum(),
            BINCOUNT: lambda: np.bincount(labels, y),
        },
        quick=quick,
    )  # fmt: skip
    row.group = GROUP
    row.require("blockmat / (y * 2).sum()", 1 / row.ratio(PASS), at_most=10)
    row.notes["blockmat / bincount"] = 1 / row.ratio(BINCOUNT)
    return row


def estimates(n: int, n_groups: int, quick: bool) -> Row:
    """Maximum likelihood: two fixed effects, and the variances of the intercepts and of the noise."""
    labels, X, y = simulate(n, n_groups)
    results: dict = {}
    row = contest(
        f"fit, n = {n} in {n_groups} groups", blockmat_fit(labels, X, y),
        peers={THEIRS: statsmodels_fit(labels, X, y)}, quick=quick, results=results,
    )  # fmt: skip
    row.group = GROUP
    row.require(f"{THEIRS} / blockmat", row.ratio(THEIRS), at_least=50)
    difference = np.abs(results[THEIRS] - results[OURS]).max()
    row.require("largest difference of the estimates", difference, at_most=1e-5)
    return row


def blockmat_fit(labels: Any, X: Any, y: Any) -> Callable[[], Any]:
    def fit() -> Any:
        p, design, values = (
            bm.Partition.from_labels(labels), torch.from_numpy(X), torch.from_numpy(y),
        )  # fmt: skip

        def loss(parameters: Any) -> Any:
            given = torch.tensor(parameters, requires_grad=True)
            value = -log_likelihood(p, design @ given[:2], given[2:], values) / n
            (gradient,) = torch.autograd.grad(value, given)
            return value.item(), gradient.numpy()

        n = len(y)
        found = minimize(loss, np.zeros(4), jac=True, method="BFGS", options={"gtol": 1e-9})
        return np.array([*found.x[:2], *np.exp(found.x[2:])])

    return fit


def statsmodels_fit(labels: Any, X: Any, y: Any) -> Callable[[], Any]:
    def fit() -> Any:
        found = sm.MixedLM(y, X, groups=labels).fit(reml=False, gtol=1e-8)
        return np.array([*found.fe_params, found.cov_re[0, 0], found.scale])

    return fit
