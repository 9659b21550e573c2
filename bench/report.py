"""The figures and the pages of the documentation, made from bench/results."""

import importlib
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from bench import accuracy, backward
from bench.harness import LIMIT, RESULTS, Row, by_group, load, markdown, table_by_notes, table_of

DOCS = Path(__file__).parents[1] / "docs"
IMAGES = DOCS / "images"


def draw(name: str, rows: list[Row]) -> None:
    """Draw a scenario's figure: its own, or all times as bars on a logarithmic scale."""
    from matplotlib.figure import Figure

    scenario = importlib.import_module(f"bench.{name}")
    if hasattr(scenario, "figure"):
        figure = Figure(figsize=(10, 4), layout="constrained")
        scenario.figure(rows, figure)
    elif any(row.times for row in rows):
        figure = _bars(rows)
    else:
        return
    figure.savefig(IMAGES / f"bench-{name}.png", dpi=100)


def _bars(rows: list[Row]):
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(name for row in rows for name in row.times))
    colours = {name: f"C{i}" for i, name in enumerate(names)}
    bars = [(row, name) for row in rows for name in row.times]
    figure = Figure(figsize=(10, 1.2 + 0.16 * len(bars) + 0.22 * len(rows)), layout="constrained")
    axes = figure.subplots()
    place, places, labels = 0.0, [], []
    for row in rows:
        places.append(place + (len(row.times) - 1) / 2)
        labels.append(row.work)
        for name in row.times:
            axes.barh(place, row.median(name), height=0.9, color=colours[name])
            place += 1
        place += 1.2
    axes.set_yticks(places, labels, fontsize=8)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel("seconds, median")
    handles = [axes.barh(0, 0, color=colour) for colour in colours.values()]
    shown = ["the limit" if name == LIMIT else name for name in names]
    figure.legend(handles, shown, loc="outside upper center", ncols=4, fontsize=8)
    return figure


def write(names: Iterable[str]) -> None:
    """Write docs/performance.md and docs/experiments.md, with figures, and docs/accuracy.md."""
    pages = {
        "performance.md": _performance(names),
        "accuracy.md": accuracy.page(load("accuracy")[1]) + backward.section(load("backward")[1]),
        "discovery.md": _compared(COMPARED, ("discover", "covariance")),
        "scaling.md": _compared(SCALING, ("scaleout",)),
    }
    for page, text in pages.items():
        (DOCS / page).write_text(text, encoding="utf-8")
        print(f"written: docs/{page}")
    from bench.training import protocol, report

    report.write(protocol.RESULTS)


def _performance(names: Iterable[str]) -> str:
    lines = [INTRODUCTION]
    for name in names:
        if name in NOT_TIMES or not (RESULTS / f"{name}.json").exists():
            continue
        content, rows = load(name)
        draw(name, rows)
        scenario = importlib.import_module(f"bench.{name}")
        lines += ["", f"## {content['title']}", "", _remarks(scenario), ""]
        if content["quick"]:
            lines += ["Measured with `--quick`.", ""]
        lines += markdown(*table_of(rows))
        if (IMAGES / f"bench-{name}.png").exists():
            lines += ["", f"![{content['title']}](images/bench-{name}.png)"]
        lines += ["", _machine(content["machine"])]
    return "\n".join(lines) + "\n"


def _compared(introduction: str, names: Iterable[str]) -> str:
    """The page of the scenarios that compare methods by their results."""
    lines = [introduction]
    for name in names:
        content, rows = load(name)
        draw(name, rows)
        lines += ["", f"## {content['title']}", ""]
        lines += [_remarks(importlib.import_module(f"bench.{name}"))]
        if content["quick"]:
            lines += ["", "Measured with `--quick`."]
        for group, members in by_group(rows).items():
            lines += ["", f"### {group}", "", *markdown(*table_by_notes(members))]
        if (IMAGES / f"bench-{name}.png").exists():
            lines += ["", f"![{content['title']}](images/bench-{name}.png)"]
        lines += ["", _machine(content["machine"])]
    return "\n".join(lines) + "\n"


def _remarks(scenario: ModuleType) -> str:
    """The scenario's docstring, which says what is measured."""
    return (scenario.__doc__ or "").strip().replace("``", "`")


def _machine(machine: dict) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return (
        f"{machine['processor']}, {machine['threads']} threads, {machine['system']}, "
        f"Python {machine['python']}, {versions}."
    )


NOT_TIMES = ("accuracy", "backward", "discover", "covariance", "scaleout")
COMPARED = """# Found blocks, measured

How well `find_partition` and `cocluster` find blocks, and what `BlockCovariance` is worth on
real returns, beside scikit-learn, networkx and published estimators. Run
`python -m bench discover covariance --data FOLDER` to measure on your machine; this page is
written from the results in `bench/results` by `python -m bench --write-docs`. ✓ and ✗ tell
whether a goal that was set beforehand is reached."""

SCALING = """# Past one process and one machine

A fit is a sum over chunks, so any engine that can add arrays can distribute it. `bm.fit` and
`bm.fit_samples` take Dask arrays of any chunks, and Dask decides where they are worked on:
threads, processes, or a cluster with `dask.distributed`, whose dashboard and progress bar work as for
any array.

```python
import dask.array as da
import blockmat as bm

S = da.from_zarr("correlations.zarr")  # n x n, much larger than memory
A = bm.fit(S, labels)  # computed where the chunks are
later = bm.fit(S, labels, compute=False)  # a Dask Delayed, to compute with others
y = A @ da.from_zarr("x.zarr")  # a Dask array again; no chunk is gathered
```

A worker that dies makes Dask do its chunks again, with the same result. A chunk with NaN raises an
error that names it. `find_partition(samples=True)` and `BlockCovariance` take Dask arrays of samples
too, but gather them: finding blocks reads all samples many times.

## Training on several ranks

`BlockAdaGrad` works under `torch.nn.parallel.DistributedDataParallel` as it is: gradients are
averaged before the step, so replicas stay the same bit by bit, and equal to one process with the
joined batch but for rounding.

Parameters that `torch.distributed.fsdp.fully_shard` has cut over the ranks of a mesh of one
dimension are trained as if they were whole, with the same result but for rounding:

| for a weight with n entries in k blocks, on W ranks | kept by each rank | sent for a step |
|---|---|---|
| statistics and roots | all of them | sums of block sums, k, at every step; of k by k products (k with "mean") where statistics are taken |
| their eigenvectors | | k by k, where roots are renewed; each rank decomposes a share of the matrices |
| momentum | n / W | |
| the gradient and the update, where blocks are rows, but for "mean" | | n / W each way: the weight is cut along its columns for the step |
| mean squares of columns ("scaled") | n / k | n / k at every step |

So `structure="mean"`, and any with `partition="columns"`, sends nothing of size n; for products of rows on different
ranks there is no way around it. Grafting and blocks given by labels need whole parameters. Save
with `torch.distributed.checkpoint.save({"optimizer": optimizer.state_dict()}, ...)` on all ranks; what
`torch.distributed.checkpoint.format_utils.dcp_to_torch_save` makes of it, `load_state_dict` takes on
any number of ranks.

## What it costs

For a matrix of n rows in k blocks, cut into chunks of c rows and columns, on W workers:

| | matrix (n, n) | samples (T, n) in chunks of t rows |
|---|---|---|
| tasks | (n / c)² | T / t |
| read by each worker | 8 n² / W bytes | 8 T n / W bytes |
| arithmetic of each worker | n² / W additions | T n / W additions, T k² / W products |
| sent by each task | 8 (k² + k) bytes | 8 (k² + k + n) bytes |
| joined at a time | as many as make 16 MB, from 4 to 64 | the same |

If columns of samples are cut too, each chunk also sends the block sums of its rows, 8 t k bytes,
because products of variables in different chunks need them. Labels, 4 n bytes, go to each worker once.

With s seconds to read and add up a gigabyte in one thread and q seconds of the scheduler for a task, the time is
the larger of 8·10⁻⁹ n² s / W and q (n / c)². The scheduler is one process: with many workers it is what
limits, and larger chunks are the cure. The last table below applies this to 80 TB: on 1,000
workers chunks of 64 MB keep the scheduler busy for longer than the workers.

The figures are written from `python -m bench scaleout --data FOLDER` by `python -m bench --write-docs`.
Where a goal is missed: sums of chunks that are already in memory take a few milliseconds each, not much longer than
Dask takes between two tasks, and on this machine the scheduler shares two cores with the workers; chunks of four times
the size leave the start and the end of a computation. Dask's own sum of the array, beside it in the table, takes
longer. Reading from a store, which is what chunks are for, takes longer still and
hides all of it. A training step of the default structure
multiplies each weight of n entries by a k by k root: 2 k n operations, where forward and backward passes of a batch of b
take 6 b n. With k = 256 and b = 100, as in the larger network, that is 0.85 of them, so no arrangement of it costs a
tenth; with `structure="mean"`, which multiplies nothing of that size, a step takes little more than AdaGrad's."""

INTRODUCTION = """# Performance

Everything of size n reads its input once or twice and writes its output once; everything else
is LAPACK on k x k matrices. So the limits are the bandwidth of memory and LAPACK's time, and
each row says how close to them blockmat comes, and how it compares with what one would
otherwise use. Run `make bench` to measure on your machine; this page is written from the
results in `bench/results` by `python -m bench --write-docs`.

In each round every competitor gets one turn, in the same process: a short rest, one call to
warm up, one call that counts. Times are medians; "spread" is the distance between the
quartiles beside the median; ratios are medians of the ratios inside rounds. "Of the limit" is
the limit's time divided by blockmat's, where the limit is measured in the same rounds with the
same number of threads. A number behind a competitor's name is its time divided by blockmat's.
✓ and ✗ tell whether a goal that was set beforehand is reached."""
