"""From which size several threads are faster than one, which sets the thresholds in the code."""

from collections.abc import Callable
from typing import Any

import numpy as np

from bench.harness import contest
from bench.product import consecutive, matrix, shuffled
from bench.rows import Row
from blockmat.blocks import passes, segments

TITLE = "Threads"


def measure(quick: bool) -> list[Row]:
    rows = []
    for kind, make in (("contiguous", consecutive), ("shuffled", shuffled)):
        for exponent in (14, 17, 20) if quick else (14, 16, 18, 19, 20, 21, 22, 23):
            n = 2**exponent
            A = matrix(make(n, 16))
            x, y = np.ones(n), np.ones(n)

            def product(A=A, x=x, y=y):
                A.dot(x, out=y)

            row = contest(
                f"A.dot(x, out=y), n = 2^{exponent}, k = 16, {kind}", product, quick=quick,
                calls=max(1, 2**18 // n),
                peers={"one thread": with_settings(product, shared_from=2**62),
                       "all threads": with_settings(product, shared_from=0)},
            )  # fmt: skip
            row.group, row.x = kind, n
            row.notes["one thread / all threads"] = row.ratio("one thread") / row.ratio(
                "all threads"
            )
            rows.append(row)
    return rows


def with_settings(run: Callable[[], Any], shared_from: int) -> Callable[[], Any]:
    def changed() -> None:
        before = segments._SHARED_FROM, passes._ONE_CALL_UP_TO
        segments._SHARED_FROM, passes._ONE_CALL_UP_TO = shared_from, 0
        try:
            run()
        finally:
            segments._SHARED_FROM, passes._ONE_CALL_UP_TO = before

    return changed
