"""From which size on threads pay: the thresholds in `blockmat/_blockwise.py`.

To wake a sleeping thread takes time, on a virtual machine much, so the size is large.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

import blockmat as bm
from bench.harness import OURS, Row, contest
from bench.product import consecutive, matrix, shuffled
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
                calls=max(1, 2**18 // n), one_thread=with_settings(product, shared_from=2**62),
                threads=with_settings(product, shared_from=0),
            )  # fmt: skip
            row.group, row.x = kind, n
            row.notes["threads' gain"] = row.ratio("one thread") / row.ratio("threads")
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


def figure(rows: list[Row], figure) -> None:
    for axes, kind in zip(figure.subplots(1, 2), ("contiguous", "shuffled"), strict=True):
        chosen = [row for row in rows if row.group == kind]
        for name, label in (
            (OURS, "as shipped"), ("one thread", "always one thread"),
            ("threads", f"always {bm.get_num_threads()} threads"),
        ):  # fmt: skip
            axes.loglog([r.x for r in chosen], [r.median(name) for r in chosen], "o-", label=label)
        axes.set(title=f"A.dot(x, out=y), k = 16, {kind}", xlabel="n", ylabel="seconds")
        axes.legend()
