"""Import time, and the first calls with and without compiled kernels on disk."""

import os
import subprocess
import sys
import tempfile

from rich.console import Console
from rich.table import Table

REPEATS = 5

BASELINE = "import numpy, scipy.sparse.linalg"
IMPORT = "import blockmat"
FIRST_CALL = """
from time import perf_counter
import numpy as np, blockmat as bm
A = bm.BlockConstantMatrix.identity(bm.Partition.uniform(8, 125))
x = np.ones(1000)
times = []
for _ in range(101):
    start = perf_counter()
    A @ x
    times.append(perf_counter() - start)
print(times[0], sorted(times[1:])[50])
"""


def run() -> None:
    table = Table(title=f"start-up, best of {REPEATS} processes")
    table.add_column("what")
    table.add_column("time", justify="right")
    with tempfile.TemporaryDirectory() as cache:
        baseline = best(lambda: import_time(BASELINE, cache))
        package = best(lambda: import_time(IMPORT, cache))
        cold, _ = first_call(tempfile.mkdtemp(dir=cache))
        first_call(cache)
        warm, later = min(first_call(cache) for _ in range(REPEATS))
    table.add_row(BASELINE, f"{baseline * 1e3:.0f} ms")
    table.add_row(IMPORT, f"{package * 1e3:.0f} ms ({package / baseline:.2f}x)")
    table.add_row("first A @ x, nothing compiled yet (imports numba)", f"{cold * 1e3:.0f} ms")
    table.add_row("first A @ x, kernels on disk (imports numba)", f"{warm * 1e3:.0f} ms")
    table.add_row("later A @ x, n = 1000, k = 8", f"{later * 1e6:.1f} us")
    Console(width=100).print(table)


def best(measure) -> float:
    return min(measure() for _ in range(REPEATS))


def import_time(statement: str, cache: str) -> float:
    code = f"from time import perf_counter as t; s = t(); {statement}; print(t() - s)"
    return float(python(code, cache))


def first_call(cache: str) -> tuple[float, float]:
    first, later = python(FIRST_CALL, cache).split()
    return float(first), float(later)


def python(code: str, cache: str) -> str:
    environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    ).stdout
