"""The protocol: tune the learning rate of each method in the same way, then run new seeds.

1. Each method runs at the learning rates of `GRID` with the first tuning seed.
2. Rates with a final validation loss within a factor of `PROMISING` of the best run with the other
   tuning seeds. The rate with the lowest mean is chosen. If it is at an end, the grid grows.
3. While the loss at an end is within a factor of `NEAR` of the best, the grid grows up to `WIDEST`,
   with one seed. This gives the range of good rates.
4. The chosen rate runs with the fresh seeds; methods take turns.

Each run has one thread, and as many runs as processors run at the same time.

Each trial is appended to a file when it ends, so a stopped run continues where it was. A trial has
diverged if its loss is not finite, or higher at the end than at the beginning.
"""

import json
import math
import multiprocessing
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.training.methods import METHODS, state_bytes
from bench.training.workloads import WORKLOADS, make

RESULTS = Path(__file__).parents[1] / "results" / "training"
GRID = tuple(float(f"{base}e{exponent}") for exponent in range(-4, 0) for base in (1, 3)) + (1.0,)
TUNING_SEEDS, FRESH_SEEDS = (0, 1, 2), (10, 11, 12, 13, 14)
EVERY = 10  # steps between validations
SMOOTH = 5  # validations in the mean of a final loss
NEAR = 2.0  # factor within which a mean loss is near the best
PROMISING = 3.0  # factor within which the loss of the first seed earns the other seeds
WIDEST = (1e-5, 10.0)  # smallest and largest rate of a grown grid

Trial = dict[str, Any]


def train(name: str, method: str, momentum: float, lr: float, seed: int, data: Path | None,
          steps: int | None = None) -> Trial:  # fmt: skip
    """Train once, and return the losses and the training time without validation."""
    task = make(name, seed, data)
    generator = torch.Generator().manual_seed(1000 + seed)
    optimizer = METHODS[method].make(task.model, lr, momentum)
    steps = steps or WORKLOADS[name].steps
    losses, validation, seconds = [], [], 0.0
    for step in range(steps):
        batch = task.batch(generator)
        start = time.perf_counter()
        optimizer.zero_grad()
        loss = task.loss(*batch)
        loss.backward()
        if not math.isfinite(value := loss.item()):
            break
        try:
            optimizer.step()
        except np.linalg.LinAlgError:  # gradients that are not finite
            break
        seconds += time.perf_counter() - start
        losses.append(value)
        if (step + 1) % EVERY == 0:
            with torch.no_grad():
                validation.append(task.loss(*task.validation).item())
    trial: Trial = {
        "workload": name,
        "method": method,
        "momentum": momentum,
        "lr": lr,
        "seed": seed,
    }
    diverged = (
        len(losses) < steps or not losses[-1] < losses[0] or not math.isfinite(validation[-1])
    )
    trial |= {"diverged": diverged, "seconds": seconds, "state_bytes": state_bytes(optimizer)}
    return trial | {"train": losses, "validation": validation}


def final_loss(trial: Trial, curve: str = "validation") -> float:
    """The mean of the last points of a stored curve; infinite if the trial has diverged."""
    if trial["diverged"]:
        return math.inf
    return float(np.mean(trial[curve][-SMOOTH:]))


class Trials:
    """The trials of one workload, stored in a file, one per line."""

    def __init__(self, name: str, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.name, self.path = name, folder / f"{name}.jsonl"
        lines = self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else []
        self.all = [json.loads(line) for line in lines]
        self.memory_path = folder / f"{name}-memory.json"
        self.memory: dict[str, int] = {}
        if self.memory_path.exists():
            self.memory = json.loads(self.memory_path.read_text(encoding="utf-8"))

    def add(self, trial: Trial) -> None:
        tuning = trial["seed"] in TUNING_SEEDS
        kept = dict(trial)
        for curve in ("train", "validation"):
            points = trial[curve]
            if curve == "train":  # as many points as validations, each the mean since the last
                points = [
                    float(np.mean(points[i : i + EVERY])) for i in range(0, len(points), EVERY)
                ]
            kept[curve] = [float(f"{x:.4g}") for x in (points[-SMOOTH:] if tuning else points)]
        kept["seconds"] = float(f"{trial['seconds']:.4g}")
        self.all.append(kept)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(kept) + "\n")

    def add_memory(self, method: str, n_bytes: int) -> None:
        self.memory[method] = n_bytes
        self.memory_path.write_text(json.dumps(self.memory, indent=1) + "\n", encoding="utf-8")

    def of(self, method: str, momentum: float, seeds: Iterable[int]) -> list[Trial]:
        return [
            t for t in self.all
            if t["method"] == method and t["momentum"] == momentum and t["seed"] in seeds
        ]  # fmt: skip

    def tuned(self, method: str, momentum: float) -> dict[float, list[float]]:
        """Return the final validation losses at each learning rate, one for each seed."""
        found: dict[float, list[float]] = {}
        for trial in sorted(self.of(method, momentum, TUNING_SEEDS), key=lambda t: t["seed"]):
            found.setdefault(trial["lr"], []).append(final_loss(trial))
        return dict(sorted(found.items()))

    def best_lr(self, method: str, momentum: float) -> float:
        full = {
            lr: float(np.mean(losses))
            for lr, losses in self.tuned(method, momentum).items()
            if len(losses) == len(TUNING_SEEDS)
        }
        return min(full, key=full.__getitem__)


def configurations(methods: Iterable[str]) -> list[tuple[str, float]]:
    return [(method, momentum) for method in methods for momentum in METHODS[method].momenta]


def next_tuning(tuned: dict[float, list[float]]) -> list[tuple[float, int]]:
    """Return the learning rates and seeds to run next; none when tuning is complete."""
    first, *others = TUNING_SEEDS
    if missing := [(lr, first) for lr in GRID if lr not in tuned]:
        return missing
    lowest = min(tuned, key=lambda lr: tuned[lr][0])
    limit = PROMISING * tuned[lowest][0]
    found = [lr for lr, losses in tuned.items() if losses[0] <= limit and losses[0] < math.inf]
    wanted = [lr for lr in found if lr in GRID or lr == lowest]
    more = [(lr, seed) for lr in wanted for seed in others if len(tuned[lr]) == 1]
    if more or not wanted:
        return more
    means = {lr: np.mean(tuned[lr]) for lr in wanted}
    chosen, rates = min(means, key=means.__getitem__), list(tuned)
    ends = ((rates[0], _neighbour(rates[0], -1)), (rates[-1], _neighbour(rates[-1], 1)))
    return [
        (following, first)
        for end, following in ends
        if end == chosen
        or (np.mean(tuned[end]) <= NEAR * means[chosen] and WIDEST[0] <= following <= WIDEST[1])
    ]


def _neighbour(lr: float, direction: int) -> float:
    place = round(2 * math.log10(lr)) + direction
    return float(f"{3 if place % 2 else 1}e{place // 2}")


def workers(jobs: int) -> ProcessPoolExecutor:
    """Return processes with one thread each."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(jobs, context, initializer=torch.set_num_threads, initargs=(1,))


def tune(trials: Trials, methods: Iterable[str], data: Path | None, jobs: int) -> None:
    """Choose the learning rates."""
    with workers(jobs) as pool:
        waiting = configurations(methods)
        while waiting:
            tasks = [
                pool.submit(train, trials.name, method, momentum, lr, seed, data)
                for method, momentum in waiting
                for lr, seed in next_tuning(trials.tuned(method, momentum))
            ]
            for task in tasks:
                trials.add(task.result())
            waiting = [own for own in waiting if next_tuning(trials.tuned(*own))]
            print(f"{trials.name}: {len(tasks)} trials, {len(waiting)} methods continue")


def run_fresh(trials: Trials, methods: Iterable[str], data: Path | None, jobs: int) -> None:
    """Run the chosen learning rates with fresh seeds, methods in turns."""
    with workers(jobs) as pool:
        tasks = [
            pool.submit(
                train, trials.name, method, momentum, trials.best_lr(method, momentum), seed, data
            )
            for seed in FRESH_SEEDS
            for method, momentum in configurations(methods)
            if not trials.of(method, momentum, [seed])
        ]
        for task in tasks:
            trials.add(task.result())
    print(f"{trials.name}: {len(tasks)} fresh runs")


def measure_memory(trials: Trials, methods: Iterable[str], data: Path | None, jobs: int) -> None:
    """Store by how many bytes training increases the peak memory of a process."""
    momentum = 0.9
    missing = [m for m in methods if m not in trials.memory and momentum in METHODS[m].momenta]
    context = multiprocessing.get_context("spawn")  # a new process for each
    with ProcessPoolExecutor(jobs, context, max_tasks_per_child=1) as pool:
        tasks = {m: pool.submit(_growth, trials.name, m, momentum, data) for m in missing}
        for method, task in tasks.items():
            trials.add_memory(method, task.result())


def _growth(name: str, method: str, momentum: float, data: Path | None) -> int:
    """Train a few steps, after some steps of SGD that load what all methods need."""
    torch.set_num_threads(1)
    train(name, "sgd", 0.0, 0.0, 0, data, steps=2 * EVERY)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again at what is used now
    before = _peak()
    train(name, method, momentum, 1e-4, 0, data, steps=2 * EVERY)
    return _peak() - before


def _peak() -> int:
    """The peak memory of this process in bytes, from Linux."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
