"""Times of BlockFactorMatrix against the block-constant matrix with the same blocks."""

from functools import partial

import numpy as np

import blockmat as bm
from bench.harness import contest
from bench.product import consecutive, shuffled
from bench.rows import Row

TITLE = "BlockFactorMatrix"
PLAIN = "block-constant"


def measure(quick: bool) -> list[Row]:
    n, k = 10**6, 64
    rows: list[Row] = []
    p, q = consecutive(n, k), shuffled(n, k)
    rows += vectors(p, np.float64, True, "float64, loadings, contiguous", quick)
    rows += vectors(p, np.float64, False, "float64, loadings of 1, contiguous", quick)
    rows += vectors(p, np.float32, True, "float32, loadings, contiguous", quick)
    rows += vectors(q, np.float64, True, "float64, loadings, shuffled labels", quick)
    for order, kind in (("F", "Fortran"), ("C", "C")):
        rows += columns(p, order, f"4 columns, {kind} order, float64, loadings, contiguous", quick)
    return [*rows, *determinants(p, quick)]


def pair(p: bm.Partition, dtype, with_loadings: bool = True):
    """A matrix with one factor for each block, and a block-constant one."""
    rng = np.random.default_rng(1)
    n, k = p.n, p.n_blocks
    root = rng.standard_normal((k, 2 * k))
    C = root @ root.T / (2 * k)
    loadings = 1 + rng.random(n) if with_loadings else None
    A = bm.BlockFactorMatrix(p, C, 0.5 + rng.random(n), loadings)
    B = bm.BlockConstantMatrix(p, C + np.eye(k), 0.5 + rng.random(k))
    return A.astype(dtype), B.astype(dtype)


def beside_plain(work: str, ours, plain, quick: bool, calls: int = 1, goal: bool = True) -> Row:
    row = contest(work, ours, peers={PLAIN: plain}, quick=quick, calls=calls)
    if goal:
        row.require("blockmat / block-constant", 1 / row.ratio(PLAIN), at_most=2)
    return row


def vectors(p, dtype, with_loadings: bool, name: str, quick: bool) -> list[Row]:
    A, B = pair(p, dtype, with_loadings)
    x, y = (np.random.default_rng(0).standard_normal(p.n).astype(dtype) for _ in range(2))
    white = B.as_covariance()
    return [
        beside_plain(f"A.dot(x, out=y), {name}", lambda: A.dot(x, out=y), lambda: B.dot(x, out=y), quick),
        beside_plain(f"A.solve(x), {name}", lambda: A.solve(x), lambda: B.solve(x), quick),
        beside_plain(f"A.whiten(x), {name}", lambda: A.whiten(x), lambda: white.whiten(x), quick, goal=False),
    ]  # fmt: skip


def columns(p, order: str, name: str, quick: bool) -> list[Row]:
    A, B = pair(p, np.float64)
    X = np.asarray(np.random.default_rng(0).standard_normal((p.n, 4)), order=order)
    Y = np.empty_like(X)
    return [
        beside_plain(f"A.dot(X, out=Y), {name}", lambda: A.dot(X, out=Y), lambda: B.dot(X, out=Y), quick, goal=order == "F"),
        beside_plain(f"A.solve(X), {name}", lambda: A.solve(X), lambda: B.solve(X), quick, goal=order == "F"),
    ]  # fmt: skip


def determinants(p, quick: bool) -> list[Row]:
    """The first determinant reads the noise and the loadings; the next ones need only k x k work."""
    A, B = pair(p, np.float64)
    fresh = iter([A.astype(A.dtype) for _ in range(60)])
    limit = partial(np.log, np.array(A.noise))
    first = contest("first logdet", lambda: next(fresh).logdet(), [limit], quick=quick)
    return [first, beside_plain("next logdet", A.logdet, B.logdet, quick, calls=10)]
