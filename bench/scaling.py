"""How time grows with n and with k."""

import gc
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import blockmat as bm
from bench.fit import PeakMemory
from bench.functions import positive_definite
from bench.harness import contest
from bench.limits import read, read_write
from bench.rows import LIMIT, OURS, Row
from blockmat.blocks import passes, segments

TITLE = "Scaling"
IN_MEMORY = 2**28  # bytes of vectors used in turns, more than any cache holds


def measure(quick: bool) -> list[Row]:
    exponents = (5, 5.5, 6) if quick else (5, 5.5, 6, 6.5, 7, 7.5, 8)
    sizes = [int(10**exponent) // 100 * 100 for exponent in exponents]
    return [
        *by_size(sizes, 100, quick),
        at_once(10**6 if quick else 10**8, 100),
        *by_blocks(10**5 if quick else 10**6, quick),
    ]


def by_size(sizes: list[int], k: int, quick: bool) -> list[Row]:
    """A @ x for vectors of any size, read from memory and not from the cache."""
    rows = []
    for n in sizes:
        A = positive_definite(bm.Partition.uniform(k, n // k))
        count = max(1, IN_MEMORY // (16 * n))
        X, Y = np.ones((count, n)), np.ones((count, n))
        turns = iter(range(10**9))

        def product(A=A, X=X, Y=Y, turns=turns, count=count):
            i = next(turns) % count
            A.dot(X[i], out=Y[i])

        def over_memory(X=X, Y=Y, turns=turns, count=count):
            i = next(turns) % count
            read(X[i])()
            read_write(X[i], Y[i])()

        row = contest(
            f"A.dot(x, out=y), n = {n}, k = {k}", product, [over_memory],
            {"one thread": with_settings(product, shared_from=2**62)}, quick=quick,
        )  # fmt: skip
        row.group, row.x = "by n", n
        rows.append(row)
        del X, Y, product, over_memory
        gc.collect()
    exponent = slope(rows, OURS)
    last = rows[-1]
    last.require("exponent of n", exponent, at_least=0.95)
    last.require("exponent of n", exponent, at_most=1.05)
    last.notes["exponent, one thread"] = slope(rows, "one thread")
    last.notes["exponent, limit"] = slope(rows, LIMIT)
    return rows


def with_settings(run: Callable[[], Any], shared_from: int) -> Callable[[], Any]:
    """Run a product that is shared among threads from another size on."""

    def changed() -> None:
        before = segments._SHARED_FROM, passes._ONE_CALL_UP_TO
        segments._SHARED_FROM, passes._ONE_CALL_UP_TO = shared_from, 0
        try:
            run()
        finally:
            segments._SHARED_FROM, passes._ONE_CALL_UP_TO = before

    return changed


def slope(rows: list[Row], name: str) -> float:
    """The exponent of a power law fitted to medians."""
    return float(
        np.polyfit(np.log([r.x for r in rows]), np.log([r.median(name) for r in rows]), 1)[0]
    )


def at_once(n: int, k: int) -> Row:
    """The inverse square root and its product with a vector, in one expression."""
    A = positive_definite(bm.Partition.uniform(k, n // k))
    small = positive_definite(bm.Partition.uniform(k, 2**15))
    small.invsqrtm() @ np.ones(small.shape[0])  # compile
    peak = PeakMemory()
    row = Row(f"A.invsqrtm() @ x, n = {n}, k = {k}", {OURS: []})
    with peak:
        x = np.ones(n)
        start = time.perf_counter()
        A.invsqrtm() @ x
        row.times[OURS].append(time.perf_counter() - start)
    row.require("peak memory in GB, x included", peak.extra / 1e9, at_most=6)
    return row


def by_blocks(n: int, quick: bool) -> list[Row]:
    """A.invsqrtm() @ x from few blocks, where passes over x dominate, to many, where k³ dominates."""
    rows = []
    for k in (10, 100, 500) if quick else (10, 30, 100, 300, 1000, 2000):
        A = positive_definite(bm.Partition.uniform(k, n // k))
        x, y = np.ones(A.shape[0]), np.ones(A.shape[0])
        row = contest(
            f"A.invsqrtm() @ x, n = {n}, k = {k}", lambda: A.invsqrtm().dot(x, out=y), quick=quick,
            peers={"product alone": lambda: A.dot(x, out=y), "function alone": A.invsqrtm},
        )  # fmt: skip
        row.group, row.x = "by k", k
        rows.append(row)
    return rows
