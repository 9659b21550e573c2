"""Matrices are dense, in chunks of 64 MB. "On a cluster" is a `dask.distributed` LocalCluster
with one thread in each process, and the matrix already in the memory of its processes. Times are
medians of five fits, the kinds in turns. "Overhead" is the share of the time on two processes
that is not spent on sums of chunks, which are timed alone. "Step" is a whole training step under
DistributedDataParallel in two gloo processes, with one thread each: batch, gradient, its average,
and update.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import blockmat as bm
from bench import data
from bench.harness import Row

TITLE = "Past one process"
BY_GROUP = True
CHUNK = 2896  # rows and columns of 64 MB
K = 64
FITS, STORE, LARGE = "Fits of a Dask array", "A matrix on disk", "A sample of a matrix of 80 TB"
STEPS, MODEL = "Training steps under DistributedDataParallel", "Predicted, not measured"
LARGE_N = 3_162_240  # 80 TB


def measure(quick: bool) -> list[Row]:
    rows, speed = fits(3 if quick else 10)
    rows.append(on_disk(12_000 if quick else 71_000))
    rows += sampled(4 if quick else 14)
    rows += [row for name in ("digits", "mlp") if (row := steps(name, quick))]
    return rows + [predicted(workers, chunk, **speed) for workers, chunk in
                   ((1, CHUNK), (2, CHUNK), (1000, CHUNK), (1000, 4 * CHUNK))]  # fmt: skip


def cluster(n_workers: int):
    from distributed import Client, LocalCluster

    made = LocalCluster(n_workers=n_workers, threads_per_worker=1, processes=True,
                        host="127.0.0.1", dashboard_address=None)  # fmt: skip
    return made, Client(made)


def timed(run, repeats: int = 5) -> float:
    run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def fits(m: int) -> tuple[list[Row], dict[str, float]]:
    """Fits of m x m chunks in one process, two, and in plain memory."""
    import dask.array as da

    n = m * CHUNK
    p = bm.Partition.uniform(K, n // K)
    n = p.n
    times = {}
    for workers in (1, 2):
        made, client = cluster(workers)
        with made, client:
            rng = da.random.default_rng(0)
            source = rng.random((n, n), chunks=CHUNK).persist()
            client.run(_warm_up)
            times[workers] = timed(lambda source=source: bm.fit(source, p))
            if workers == 2:
                small = da.zeros((60 * 50, 60 * 50), chunks=50).persist()
                q = bm.Partition.uniform(10, 300)
                per_task = timed(lambda: bm.fit(small, q), 3) / 60**2
            del source
    plain = np.random.default_rng(0).random((n, n))
    in_memory = timed(lambda: bm.fit(plain, p))
    alone = _chunks_alone(plain, p)
    notes = {
        "one process": times[1],
        "two processes": times[2],
        "in memory, two threads": in_memory,
        "sums of chunks alone": alone,
    }
    row = Row(f"seconds, n = {n}, k = {K}", notes=notes, group=FITS)
    row.require("times one process", times[1] / times[2], at_least=1.6)
    row.require("of the time in memory", times[2] / in_memory, at_most=1.25)
    row.require("overhead", 1 - alone / 2 / times[2], at_most=0.1)
    return [row], {"per_gb": alone / (8e-9 * n * n), "per_task": per_task}


def _warm_up() -> None:
    bm.fit(np.ones((200, 200)), bm.Partition.uniform(4, 50))


def _chunks_alone(S, p: bm.Partition) -> float:
    """The time of the sums of all chunks, one after the other, with one thread."""
    from blockmat._dask import _sums_of_chunk

    before = bm.get_num_threads()
    bm.set_num_threads(1)
    try:
        total, starts = 0.0, range(0, len(S), CHUNK)
        for i in starts:
            for j in starts:
                ends = min(i + CHUNK, len(S)), min(j + CHUNK, len(S))
                chunk = np.ascontiguousarray(S[i : ends[0], j : ends[1]])
                place = {
                    0: {"array-location": [(i, ends[0]), (j, ends[1])], "chunk-location": (0, 0)}
                }
                start = time.perf_counter()
                _sums_of_chunk(chunk, p, False, True, block_info=place)
                total += time.perf_counter() - start
    finally:
        bm.set_num_threads(before)
    return total


def on_disk(n: int) -> Row:
    """Fit a zarr array on two processes; chunks that hold one number only take no space."""
    import dask.array as da
    import zarr

    p = bm.Partition.uniform(50, n // 50)
    n = p.n
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "S.zarr")
        kept = zarr.create_array(
            path, shape=(n, n), chunks=(CHUNK, CHUNK), dtype=float, fill_value=1.0
        )
        kept[:CHUNK, :CHUNK] = np.random.default_rng(0).random((CHUNK, CHUNK))
        made, client = cluster(2)
        with made, client:
            client.run(_warm_up)
            start = time.perf_counter()
            bm.fit(da.from_zarr(path), p)
            elapsed = time.perf_counter() - start
            peaks = client.run(_peak_memory)
    row = Row(f"n = {n}, k = 50", notes={"GB": 8e-9 * n * n, "seconds": elapsed,
              "GB per process": max(peaks.values())}, group=STORE)  # fmt: skip
    row.require("GB per process", max(peaks.values()), at_most=2)
    return row


def _peak_memory() -> float:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def sampled(m: int) -> list[Row]:
    """Chunks in m rows by m columns of a matrix that is never there as a whole.

    Their places are drawn at random, and each chunk is made from a seed when it is needed.
    """
    import dask.array as da

    n_chunks = LARGE_N // CHUNK
    places = np.sort(np.random.default_rng(0).choice(n_chunks, m, replace=False))
    n = m * CHUNK
    labels = np.arange(n) // (n // K + 1)
    source = da.zeros((n, n), chunks=CHUNK).map_blocks(_chunk_from_seed, places=places, dtype=float)
    made, client = cluster(2)
    with made, client:
        client.run(_warm_up)
        made_only = source.map_blocks(_only_made, chunks=((1,) * m, (1,) * m), dtype=float)
        made_only.compute()
        start = time.perf_counter()
        made_only.compute()
        making = time.perf_counter() - start
        start = time.perf_counter()
        A = bm.fit(source, labels)
        elapsed = time.perf_counter() - start
    values = A.values[np.triu_indices(A.partition.n_blocks)]
    share = m * m / n_chunks**2
    notes = {
        "chunks": m * m,
        "of all": n_chunks**2,
        "seconds to make them": making,
        "seconds with the fit": elapsed,
        "error of a block's number": float(np.abs(values - 0.5).max()),
    }
    whole = Row("all of it on two processes, extrapolated",
                notes={"days": elapsed / share / 86400}, group=LARGE)  # fmt: skip
    return [Row("the sample", notes=notes, group=LARGE), whole]


def _chunk_from_seed(chunk, places, block_info=None):
    i, j = (int(places[place]) for place in block_info[0]["chunk-location"])
    return np.random.default_rng([i, j]).random(chunk.shape)


def _only_made(chunk):
    return chunk[:1, :1]


def predicted(workers: int, chunk: int, per_gb: float, per_task: float) -> Row:
    """What the measured speeds mean for 80 TB on other numbers of workers."""
    n_tasks = (LARGE_N / chunk) ** 2
    gb = 8e-9 * chunk**2 * n_tasks
    sums, scheduler = gb * per_gb / workers, n_tasks * per_task
    sent = 8e-9 * (K**2 + K) * n_tasks
    notes = {"GB per worker": gb / workers, "hours of sums": sums / 3600,
             "hours of the scheduler": scheduler / 3600, "GB sent": sent}  # fmt: skip
    size = 8e-6 * chunk**2
    return Row(
        f"80 TB, {workers} worker{'s' * (workers > 1)}, chunks of {size:.0f} MB",
        notes=notes,
        group=MODEL,
    )


def steps(name: str, quick: bool) -> Row | None:
    """Times of a training step of two optimizers in the same two processes."""
    folder = data.folder()
    if name == "mlp" and (folder is None or not (folder / "mnist.npz").exists()):
        data.load("mnist.npz")
        return None
    with tempfile.TemporaryDirectory() as place:
        runs = [
            subprocess.Popen([sys.executable, "-m", "bench.scaleout", name, place, str(rank), "60" if quick else "400"],
                             env=os.environ | {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"})
            for rank in range(2)
        ]  # fmt: skip
        if any(run.wait() for run in runs):
            raise RuntimeError(f"training {name} in two processes has failed")
        times = json.loads((Path(place) / "times.json").read_text())
    notes = {key: 1e3 * value for key, value in times.items()}
    row = Row(f"{name}, milliseconds", notes=notes, group=STEPS)
    row.require("of torch's Adagrad", times["BlockAdaGrad"] / times["Adagrad"], at_most=1.1)
    return row


def main(name: str, place: str, rank: str, n_steps: str) -> None:
    """Train in one of two processes."""
    import torch
    import torch.distributed as dist
    from torch.nn.functional import cross_entropy

    from bench.training import workloads
    from blockmat.optim.torch import BlockAdaGrad

    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{place}/meeting", rank=int(rank), world_size=2
    )
    runs = {}
    for kind in ("BlockAdaGrad", "BlockAdaGrad, mean", "Adagrad"):
        task = workloads.make(name, 0, data.folder())
        model = torch.nn.parallel.DistributedDataParallel(task.model)
        if kind == "Adagrad":
            optimizer = torch.optim.Adagrad(model.parameters(), lr=0.01)
        else:
            structure = "mean" if "mean" in kind else "scaled"
            optimizer = BlockAdaGrad(model, lr=0.01, structure=structure)
        runs[kind] = task, model, optimizer, torch.Generator().manual_seed(int(rank)), []
    for step in range(int(n_steps)):
        for task, model, optimizer, generator, times in runs.values():
            start = time.perf_counter()
            x, y = task.batch(generator)
            optimizer.zero_grad()
            cross_entropy(model(x), y).backward()
            optimizer.step()
            if step >= 20:
                times.append(time.perf_counter() - start)
    if rank == "0":
        means = {kind: statistics.fmean(run[-1]) for kind, run in runs.items()}
        (Path(place) / "times.json").write_text(json.dumps(means))
    dist.barrier()
    dist.destroy_process_group()
    os._exit(0)  # joining the threads of gloo at the end sometimes aborts


if __name__ == "__main__":
    main(*sys.argv[1:])
