"""Times to fit dense matrices in memory and on disk."""

import os
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

import blockmat as bm
from bench import experts, limits
from bench.harness import contest
from bench.product import consecutive, shuffled
from bench.rows import Row

TITLE = "Fits of dense matrices"


def measure(quick: bool) -> list[Row]:
    n = 3000 if quick else 12_000
    S = np.random.default_rng(0).random((n, n))
    rows = [
        in_memory(S, p, f"fit, n = {n}, k = {p.n_blocks}, {kind}", quick)
        for k in (128, 1024 if n > 3000 else 512)
        for kind, p in (("contiguous", consecutive(n, k)), ("shuffled", shuffled(n, k)))
    ]
    rows += other_passes(S, consecutive(n, 128), quick)
    del S
    return rows + on_disk(8_000 if quick else 32_000, 64, quick)


def other_passes(S, p: bm.Partition, quick: bool) -> list[Row]:
    n, single, A = len(S), S.astype(np.float32), bm.fit(S, p)
    return [
        contest(
            f"fit, n = {n}, k = {p.n_blocks}, float32", lambda: bm.fit(single, p), quick=quick,
            peers={"threaded sum": limits.numpy_sum(single), "float64": lambda: bm.fit(S, p)},
        ),
        contest(
            f"approximation_error, n = {n}, k = {p.n_blocks}",
            lambda: bm.approximation_error(S, A), quick=quick,
            peers={
                "threaded sum": limits.numpy_sum(S),
                "numpy.linalg.norm": lambda: np.linalg.norm(S - A.toarray()) / np.linalg.norm(S),
            },
        ),
    ]  # fmt: skip


def in_memory(S, p: bm.Partition, work: str, quick: bool) -> Row:
    row = contest(
        work, lambda: bm.fit(S, p), quick=quick,
        peers={"threaded sum": limits.numpy_sum(S), "scipy.sparse": experts.sparse_fit(S, p),
               "reduceat": experts.reduceat_fit(S, p)},
    )  # fmt: skip
    row.require("threaded sum / blockmat", row.ratio("threaded sum"), at_least=0.85)
    row.require("scipy.sparse / blockmat", row.ratio("scipy.sparse"), at_least=2)
    row.require("reduceat / blockmat", row.ratio("reduceat"), at_least=20)
    return row


def on_disk(n: int, k: int, quick: bool) -> list[Row]:
    """Fit a matrix in a file, read from the disk and from the page cache of the system."""
    size = 8 * n * n
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "matrix"
        write(path, n)
        p = consecutive(n, k)
        peak = PeakMemory()

        def fit() -> None:
            with peak:
                bm.fit(np.memmap(path, np.float64, "r", shape=(n, n)), p)

        for where in ("disk", "cache"):

            def prepare(where: str = where) -> None:
                if where == "disk":
                    forget(path)

            row = Row(f"fit of a memmap of {size / 1e9:.1f} GB from {where}",
                      {"blockmat": [], "reading the file": []})  # fmt: skip
            for _ in range(2 if quick else 3):
                for name, run in (("blockmat", fit), ("reading the file", lambda: read(path))):
                    prepare()
                    start = time.perf_counter()
                    run()
                    row.times[name].append(time.perf_counter() - start)
            row.require("reading / blockmat", row.ratio("reading the file"), at_least=0.8)
            row.require("extra memory in MB", peak.extra / 1e6, at_most=500)
            rows.append(row)
    return rows


def write(path: Path, n: int) -> None:
    rng = np.random.default_rng(0)
    with path.open("wb") as file:
        for first in range(0, n, 1000):
            rng.random((min(1000, n - first), n)).tofile(file)
        file.flush()
        os.fsync(file.fileno())


def read(path: Path) -> None:
    """Read a file once, into a buffer of 16 MB."""
    buffer = bytearray(2**24)
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass


def forget(path: Path) -> None:
    """Drop a file from the page cache of the system."""
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


class PeakMemory:
    """The peak memory of this process minus its memory before, without mapped files."""

    def __init__(self) -> None:
        self.extra = 0

    def __enter__(self) -> None:
        self._before = anonymous_memory()
        self._running = True
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _watch(self) -> None:
        while self._running:
            self.extra = max(self.extra, anonymous_memory() - self._before)
            time.sleep(0.005)

    def __exit__(self, *exception: object) -> None:
        self._running = False
        self._thread.join()


def anonymous_memory() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/self/status has no RssAnon")
