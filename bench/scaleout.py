"""Fits of Dask arrays on several processes, and training steps in two processes."""

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
from bench.rows import Row

TITLE = "Several processes"
BY_GROUP = True
CHUNK = 2896  # rows and columns of 64 MB
K = 64
FITS, STORE, LARGE = "Fits of a Dask array", "A matrix on disk", "Sample of an 80 TB matrix"
STEPS = "Training steps"
WITHOUT = "one process, two threads, without Dask"
LARGE_N = 3_162_240  # 80 TB


def measure(quick: bool) -> list[Row]:
    rows = [*fits(3 if quick else 10), on_disk(12_000 if quick else 71_000)]
    rows += sampled(4 if quick else 14)
    return rows + [row for name in ("digits", "mlp") if (row := steps(name, quick))]


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


def fits(m: int) -> list[Row]:
    """Fits of m x m chunks in memory, and read from a zarr store, with one and two processes."""
    import dask.array as da
    import zarr

    p = bm.Partition.uniform(K, m * CHUNK // K)
    n = p.n
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "S.zarr")
        kept = zarr.create_array(
            path, shape=(n, n), chunks=(CHUNK, CHUNK), dtype=float, compressors=None
        )
        for first in range(0, n, CHUNK):
            height = min(CHUNK, n - first)
            kept[first : first + height] = np.random.default_rng(first).random((height, n))
        memory, larger, disk, own = {}, {}, {}, {}
        for workers in (1, 2):
            made, client = cluster(workers)
            with made, client:
                client.run(_warm_up)
                store = da.from_zarr(path)
                disk[workers] = timed(lambda store=store: bm.fit(store, p), 3)
                source = da.from_zarr(path, name=f"in-memory-{workers}").persist()
                memory[workers] = timed(lambda source=source: bm.fit(source, p))
                own[workers] = timed(lambda source=source: source.sum().compute())
                del source
                source = da.from_zarr(path, chunks=2 * CHUNK, name=f"larger-{workers}").persist()
                larger[workers] = timed(lambda source=source: bm.fit(source, p))
                del source
        alone, both = _without_scheduler(path, p)
        read_first = timed(lambda: bm.fit(kept[:], p), 3)
        plain = kept[:]
        in_memory = timed(lambda: bm.fit(plain, p))
    row = Row(f"in memory, n = {n}, k = {K}", group=FITS, notes={
        "one process": memory[1], "two processes": memory[2], "two processes, without Dask": alone,
        "Dask sum, one process": own[1], "Dask sum, two processes": own[2],
        WITHOUT: in_memory,
    })  # fmt: skip
    row.require("one process / two processes", memory[1] / memory[2], at_least=1.6)
    row.require("two processes / one process, two threads", memory[2] / in_memory, at_most=1.25)
    row.require("overhead of Dask", 1 - alone / memory[2], at_most=0.1)
    large = Row("in memory, chunks of 268 MB", group=FITS, notes={
        "one process": larger[1], "two processes": larger[2], WITHOUT: in_memory,
    })  # fmt: skip
    large.require("one process / two processes", larger[1] / larger[2], at_least=1.6)
    large.require("two processes / one process, two threads", larger[2] / in_memory, at_most=1.25)
    other = Row("from a zarr store", group=FITS, notes={
        "one process": disk[1], "two processes": disk[2], "two processes, without Dask": both,
        WITHOUT: read_first,
    })  # fmt: skip
    other.require("one process / two processes", disk[1] / disk[2], at_least=1.6)
    other.require("two processes / one process, two threads", disk[2] / read_first, at_most=1.25)
    other.require("overhead of Dask", 1 - both / disk[2], at_most=0.1)
    return [row, large, other]


def _warm_up() -> None:
    bm.fit(np.ones((200, 200)), bm.Partition.uniform(4, 50))


def _without_scheduler(path: str, p: bm.Partition) -> tuple[float, float]:
    """Times of two processes that share all chunks without a scheduler: to sum chunks in memory, and to read and sum.

    They wait for each other before each of the two.
    """
    from multiprocessing import get_context

    context = get_context("spawn")
    barrier, results = context.Barrier(2), context.Queue()
    workers = [
        context.Process(target=_half_of_chunks, args=(path, p, half, barrier, results))
        for half in range(2)
    ]
    for worker in workers:
        worker.start()
    times = [results.get(), results.get()]
    for worker in workers:
        worker.join()
    sums, both = (max(pair) for pair in zip(*times, strict=True))
    return sums, both


def _half_of_chunks(path: str, p: bm.Partition, half: int, barrier, results) -> None:
    import zarr

    from blockmat.sources.dask_matrix import sums_of_chunk

    bm.set_num_threads(1)
    _warm_up()
    kept = zarr.open_array(path, mode="r")
    starts = range(0, p.n, CHUNK)
    places = [(i, j) for i in starts for j in starts][half::2]

    def read(i: int, j: int):
        return kept[i : min(i + CHUNK, p.n), j : min(j + CHUNK, p.n)]

    def add_up(chunk, i: int, j: int) -> None:
        ends = (i, i + chunk.shape[0]), (j, j + chunk.shape[1])
        place = {0: {"array-location": ends, "chunk-location": (0, 0)}}
        sums_of_chunk(chunk, p, False, True, block_info=place)

    times = []
    chunks = {place: read(*place) for place in places}
    add_up(chunks[places[0]], *places[0])
    for work in (
        lambda place: add_up(chunks[place], *place),
        lambda place: add_up(read(*place), *place),
    ):
        barrier.wait()
        start = time.perf_counter()
        for place in places:
            work(place)
        times.append(time.perf_counter() - start)
    results.put(times)


def on_disk(n: int) -> Row:
    """Fit a zarr array on two processes; chunks with a single value need no space on disk."""
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
    """The peak memory of this process, in GB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024 / 1e9
    raise OSError("/proc/self/status has no VmHWM")


def sampled(m: int) -> list[Row]:
    """Fit m x m chunks drawn at random from a matrix that is never stored.

    Each chunk is generated from a seed when it is needed.
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
        "chunks in the whole matrix": n_chunks**2,
        "seconds to generate": making,
        "seconds to generate and fit": elapsed,
        "largest error of a block mean": float(np.abs(values - 0.5).max()),
    }
    whole = Row("whole matrix, two processes, extrapolated",
                notes={"days": elapsed / share / 86400}, group=LARGE)  # fmt: skip
    return [Row("sample", notes=notes, group=LARGE), whole]


def _chunk_from_seed(chunk, places, block_info=None):
    i, j = (int(places[place]) for place in block_info[0]["chunk-location"])
    return np.random.default_rng([i, j]).random(chunk.shape)


def _only_made(chunk):
    return chunk[:1, :1]


def steps(name: str, quick: bool) -> Row | None:
    """Times of a training step of three optimizers in the same two processes."""
    folder = data.folder()
    if name == "mlp" and (folder is None or not (folder / "mnist.npz").exists()):
        data.load("mnist.npz")
        return None
    with tempfile.TemporaryDirectory() as place:
        runs = [
            subprocess.Popen([sys.executable, "-m", "bench.scaleout", name, place, str(rank), "60" if quick else "1500"],
                             env=os.environ | {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"})
            for rank in range(2)
        ]  # fmt: skip
        if any(run.wait() for run in runs):
            raise RuntimeError(f"training of {name} in two processes failed")
        times = json.loads((Path(place) / "times.json").read_text())
    notes = {key: 1e3 * value for key, value in times.items()}
    row = Row(f"{name}, milliseconds", notes=notes, group=STEPS)
    for kind in ("BlockAdaGrad", "BlockAdaGrad, mean"):  # BlockAdamW's step is for larger models
        row.require(f"{kind} / Adagrad", times[kind] / times["Adagrad"], at_most=1.1)
    return row


def main(name: str, place: str, rank: str, n_steps: str) -> None:
    """Train in one of two processes."""
    import torch
    import torch.distributed as dist
    from torch.nn.functional import cross_entropy

    from bench.training import workloads
    from blockmat.optim.torch import BlockAdaGrad, BlockAdamW

    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{place}/meeting", rank=int(rank), world_size=2
    )
    runs = {}
    optimizers = {
        "BlockAdaGrad": lambda model: BlockAdaGrad(model, lr=0.01),
        "BlockAdaGrad, mean": lambda model: BlockAdaGrad(model, lr=0.01, structure="mean"),
        "BlockAdamW": BlockAdamW,
        "Adagrad": lambda model: torch.optim.Adagrad(model.parameters(), lr=0.01),
    }
    for kind, make in optimizers.items():
        file = (data.folder() or Path()) / (workloads.WORKLOADS[name].needs or "")
        task = workloads.make(name, 0, file)
        model = torch.nn.parallel.DistributedDataParallel(task.model)
        optimizer = make(model)
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
