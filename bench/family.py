"""Times and memory of the matrices beyond the block-constant one, and of those for PyTorch."""

import gc
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy.stats import multivariate_normal
from sklearn.decomposition import FactorAnalysis

import blockmat as bm
from bench import batches, intercepts, parts
from bench.harness import contest
from bench.rows import OURS, Row

TITLE = "Factor matrices, PyTorch and parts"
MEMORY = "memory"
ARRAYS = "arrays of n doubles"
FIT = "factor fit"


def measure(quick: bool) -> list[Row]:
    torch.set_num_threads(bm.get_num_threads())
    return [
        *intercepts.measure(quick),
        *batches.measure(quick),
        *parts.measure(quick),
        *memory(*((20_000, 5_000) if quick else intercepts.SIZE)),
        factor_fits(*((100, 200, 5) if quick else (500, 2000, 20)), quick),
    ]


def memory(n: int, n_groups: int) -> list[Row]:
    """Peak memory of the first call of each step with independent groups, with compiled kernels."""
    labels, _, y = intercepts.simulate(n, n_groups)
    p = bm.Partition.from_labels(labels)
    k, noise = p.n_blocks, 1 + np.random.default_rng(1).random(n)
    between, within = np.full(k, 1.5), np.full(k, 0.5)
    makers: list[Callable[[], Any]] = [
        lambda: bm.BlockFactorMatrix(p, between, noise),
        lambda: bm.BlockConstantMatrix(p, between, within),
    ]
    steps: dict[str, Callable[[Any], object]] = {
        "solve": lambda A: A.solve(y),
        "logdet": lambda A: A.logdet(),
        "rvs": lambda A: multivariate_normal(cov=A.as_covariance()).rvs(random_state=0),
    }
    rows = [peak_row("Partition.from_labels", lambda: bm.Partition.from_labels(labels), n)]
    for make in makers:
        warm = make()
        name = type(warm).__name__
        rows.append(peak_row(f"{name}, constructor", make, n))
        for step, run in steps.items():
            run(warm)
            fresh = make()
            rows.append(peak_row(f"{name}, {step}", lambda run=run, fresh=fresh: run(fresh), n))
    return rows


def peak_row(work: str, run: Callable[[], object], n: int) -> Row:
    """The peak during a call minus the memory before it, as `tracemalloc` counts it."""
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        run()
        extra = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    row = Row(work, notes={"MB": extra / 1e6, ARRAYS: extra / (8 * n)}, group=MEMORY)
    row.require("arrays", extra / (8 * n), at_most=10)
    return row


def factor_fits(n_samples: int, n: int, k: int, quick: bool) -> Row:
    """A factor for each block beside as many factors of all variables: two different models."""
    rng = np.random.default_rng(0)
    p = bm.Partition.uniform(k, n // k)
    root = rng.standard_normal((k, 2 * k))
    A = bm.BlockFactorMatrix(p, root @ root.T / (2 * k), 0.5 + rng.random(n), 0.5 + rng.random(n))
    X = A.as_covariance().colorize(rng.standard_normal((n_samples, n)))
    results: dict = {}
    row = contest(
        f"fit_factor, {n_samples} samples, n = {n}, k = {k}",
        lambda: bm.fit_factor(X, p, full_output=True),
        peers={"FactorAnalysis": lambda: FactorAnalysis(k).fit(X)},
        quick=quick, results=results,
    )  # fmt: skip
    row.group = FIT
    if not results[OURS].converged:
        raise RuntimeError("fit_factor did not converge")
    row.notes["steps"] = results[OURS].n_iter
    row.notes["steps of FactorAnalysis"] = results["FactorAnalysis"].n_iter_
    row.require("FactorAnalysis / blockmat", row.ratio("FactorAnalysis"), at_least=1)
    return row
