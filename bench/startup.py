"""Import time, and the time of the first call with and without compiled kernels in the cache."""

import os
import subprocess
import sys
import tempfile

from bench.rows import Row

TITLE = "Import and first call"

DEPENDENCIES = "NumPy, SciPy and Numba"
IMPORTS = {
    "blockmat": "import blockmat",
    DEPENDENCIES: "import numpy, scipy.sparse.linalg, numba",
    "NumPy and SciPy": "import numpy, scipy.sparse.linalg",
}
FIRST_CALL = """
from time import perf_counter
import numpy as np, blockmat as bm
A = bm.BlockConstantMatrix.identity(bm.Partition.uniform(8, 125))
x = np.ones(1000)
start = perf_counter()
A @ x
print(perf_counter() - start)
"""


def measure(quick: bool) -> list[Row]:
    repeats = 2 if quick else 9
    imports = Row("import blockmat", {name: [] for name in IMPORTS})
    first = Row("first A @ x, kernels in the cache", {"blockmat": []})
    cold = Row("first A @ x, empty cache", {"blockmat": []})
    nowhere = Row("first A @ x, no cache directory", {"blockmat": []})
    with tempfile.TemporaryDirectory() as cache:
        python(FIRST_CALL, cache)
        for _ in range(repeats):
            for name, statement in IMPORTS.items():
                imports.times[name].append(import_time(statement, cache))
            first.times["blockmat"].append(python(FIRST_CALL, cache))
        for _ in range(1 if quick else 3):
            cold.times["blockmat"].append(python(FIRST_CALL, tempfile.mkdtemp(dir=cache)))
            hidden = "import numba.core.caching as c; c.CacheImpl._locator_classes = []\n"
            nowhere.times["blockmat"].append(python(hidden + FIRST_CALL, cache))
    imports.require(f"blockmat / {DEPENDENCIES}", 1 / imports.ratio(DEPENDENCIES), at_most=1.3)
    return [imports, first, cold, nowhere]


def import_time(statement: str, cache: str) -> float:
    return python(
        f"from time import perf_counter as t; s = t(); {statement}; print(t() - s)", cache
    )


def python(code: str, cache: str) -> float:
    environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    return float(done.stdout)
