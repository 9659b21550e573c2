"""Times to fit a covariance matrix from samples."""

import numpy as np

import blockmat as bm
from bench.harness import contest
from bench.product import consecutive, shuffled
from bench.rows import Row

TITLE = "Fits of covariance matrices from samples"


def measure(quick: bool) -> list[Row]:
    n, k, n_samples = (10**5, 100, 250) if quick else (10**6, 500, 250)
    X = np.random.default_rng(0).standard_normal((n_samples, n))
    rows = []
    for kind, p in (("contiguous", consecutive(n, k)), ("shuffled", shuffled(n, k))):
        U = p.indicator(normalized=True)
        row = contest(
            f"fit_samples, {n_samples} x {n}, k = {k}, {kind}", lambda: bm.fit_samples(X, p),
            [lambda: X.sum(0), lambda: p.block_sums(X, axis=1)], quick=quick,
            peers={"sum and sparse product": lambda: (X.sum(0), X @ U)},
        )  # fmt: skip
        row.require("blockmat / limit", 1 / row.ratio("limit"), at_most=1.5)
        rows.append(row)
    acc = bm.BlockAccumulator(p)
    g = X[0]
    row = contest(
        f"add_outer, n = {n}, k = {k}, shuffled", lambda: acc.add_outer(g), quick=quick,
        peers={"bincount": lambda: (np.bincount(p.labels, g), np.bincount(p.labels, g * g))},
    )  # fmt: skip
    return [*rows, row]
