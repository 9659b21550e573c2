"""submatrix and condition of large matrices, and beside dense NumPy at a smaller size."""

from collections.abc import Callable
from typing import Any

import numpy as np
from threadpoolctl import ThreadpoolController

import blockmat as bm
from bench.harness import contest
from bench.product import shuffled
from bench.rows import OURS, Row

LARGE, SMALL = "parts of large matrices", "parts beside dense NumPy"
DENSE, ONE_THREAD = "dense NumPy", "one BLAS thread"
MOST_MILLISECONDS = 10
AGREEMENT = 1e-10


def measure(quick: bool) -> list[Row]:
    sizes = (
        ((10_000, 20, 100), (500, 10, 200)) if quick else ((10**5, 100, 1000), (2000, 100, 1000))
    )
    return [*large(*sizes[0], quick), *beside_dense(*sizes[1], quick)]


def matrices(n: int, k: int) -> dict[str, Any]:
    """A positive definite matrix of each type."""
    rng = np.random.default_rng(0)
    p = shuffled(n, k)
    x = rng.standard_normal((k, 2 * k))
    C = x @ x.T / (2 * k)
    within = 0.5 + rng.random(k)
    plain = bm.BlockConstantMatrix(
        p, C * np.sqrt(np.outer(p.sizes, p.sizes)) + np.diag(within), within
    )
    return {
        "BlockConstantMatrix": plain,
        "ScaledBlockMatrix": bm.ScaledBlockMatrix(plain, 0.5 + rng.random(n)),
        "BlockFactorMatrix": bm.BlockFactorMatrix(p, C, 0.5 + rng.random(n), 0.5 + rng.random(n)),
        "BlockFactorMatrix, independent": bm.BlockFactorMatrix(
            p, np.ones(k), 0.5 + rng.random(n), 0.5 + rng.random(n)
        ),
        "BlockPlusLowRank": plain.add_low_rank(rng.standard_normal((n, 5)), np.eye(5)),
    }  # fmt: skip


def works(A: Any, index: Any, values: Any) -> dict[str, Callable[[], Any]]:
    """What is measured."""
    return {
        "submatrix": lambda: A.submatrix(index),
        "condition": lambda: A.condition(index, values),
    }


def observed(n: int, m: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(1)
    return np.sort(rng.choice(n, m, replace=False)), rng.standard_normal(m)


def large(n: int, k: int, m: int, quick: bool) -> list[Row]:
    index, values = observed(n, m)
    rows = []
    for name, A in matrices(n, k).items():
        for work, run in works(A, index, values).items():
            peers = {ONE_THREAD: _with_one_thread(run)} if work == "condition" else {}
            row = contest(f"{work}, {name}", run, peers=peers, quick=quick)
            row.group = LARGE
            row.require("milliseconds", 1e3 * row.median(), at_most=MOST_MILLISECONDS)
            rows.append(row)
    return rows


def _with_one_thread(run: Callable[[], Any]) -> Callable[[], Any]:
    """Run with one thread in each BLAS library. The time includes changing the number of threads."""
    libraries = ThreadpoolController()

    def limited() -> Any:
        with libraries.limit(limits=1):
            return run()

    return limited


def beside_dense(n: int, k: int, m: int, quick: bool) -> list[Row]:
    index, values = observed(n, m)
    rows = []
    for name, A in matrices(n, k).items():
        dense = A.toarray()
        peers = {
            "submatrix": lambda S=dense: S[np.ix_(index, index)],
            "condition": lambda S=dense: dense_condition(S, index, values),
        }
        for work, run in works(A, index, values).items():
            results: dict = {}
            row = contest(
                f"{work}, {name}", run, peers={DENSE: peers[work]}, quick=quick, results=results
            )
            row.group = SMALL
            difference = largest_difference(results[OURS], results[DENSE])
            row.require("relative difference", difference, at_most=AGREEMENT)
            rows.append(row)
    return rows


def dense_condition(S: Any, index: Any, values: Any) -> tuple[Any, Any]:
    rest = np.setdiff1d(np.arange(len(S)), index)
    across = S[np.ix_(rest, index)]
    weights = np.linalg.solve(S[np.ix_(index, index)], across.T).T
    return weights @ values, S[np.ix_(rest, rest)] - weights @ across.T


def largest_difference(ours: Any, theirs: Any) -> float:
    """Of a matrix, or of a mean and a matrix, relative to the Frobenius norm of each."""
    if not isinstance(ours, tuple):
        ours, theirs = (ours,), (theirs,)
    return max(
        float(np.linalg.norm(np.asarray(a) - b) / np.linalg.norm(b))
        for a, b in zip(ours, theirs, strict=True)
    )
