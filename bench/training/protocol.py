"""The protocol: find the learning rate of each method in the same way, then run new seeds.

1. Each method runs at three rates, half a decade apart, with the tuning seed. While the rate with
   the lowest final loss is at an end, the next rate at this end runs.
2. The chosen rate runs with the fresh seeds, and BlockAdamW also at its default rate. Ablations run
   with fewer of them.

A final loss is the mean training loss of the last tenth of the steps. A trial has diverged if its
loss is not finite, or its final loss is not below the first one. Each trial is appended to a file
when it ends, so a stopped run continues where it was. Times are measured by `bench.training.times`.
"""

import json
import math
import multiprocessing
import random
from collections.abc import Callable, Container, Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.training.methods import (
    ABLATIONS,
    ALL,
    CONSTANT,
    DEFAULT_RATE,
    OURS,
    WARM_UP,
    Method,
    state_bytes,
)
from bench.training.workloads import WORKLOADS, make

RESULTS = Path(__file__).parents[1] / "results" / "training"
TUNING_SEED, FRESH_SEEDS = 0, (10, 11, 12, 13, 14)
OF_ABLATIONS = 3  # fresh seeds
POINTS = 50  # of a stored curve
LAST = POINTS // 10  # points in a final loss
WIDEST = (1e-5, 10.0)  # the smallest and largest rate

Trial = dict[str, Any]


def scheduled_rate(step: int, steps: int) -> float:
    """The factor of the rate at a step from 0: linear warm-up, then linear decay to zero."""
    n_first = max(1, round(WARM_UP * steps))
    return min((step + 1) / n_first, (steps - step) / (steps - n_first + 1))


def train(name: str, method: str, lr: float, seed: int, file: Path) -> Trial:
    """Train once, and return the curve of the training loss and the final validation loss."""
    random.seed(seed)
    task = make(name, seed, file)
    generator = torch.Generator().manual_seed(1000 + seed)
    steps, own = WORKLOADS[name].steps, ALL[method]
    optimizer = own.make(task.model, lr, steps)
    has_constant_rate = own.has_own_schedule or method in CONSTANT
    losses: list[float] = []
    for step in range(steps):
        if not has_constant_rate:
            for group in optimizer.param_groups:
                group["lr"] = lr * scheduled_rate(step, steps)
        optimizer.zero_grad()
        loss = task.loss(*task.batch(generator))
        loss.backward()
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            break
        optimizer.step()
    points = np.array(losses[:steps]) if len(losses) == steps else np.full(steps, np.inf)
    curve = points.reshape(POINTS, -1).mean(1)
    diverged = not curve[-LAST:].mean() < losses[0]
    return {
        "method": method,
        "lr": lr,
        "seed": seed,
        "diverged": diverged,
        "validation": math.inf if diverged else _validation(task, optimizer, own),
        "state_bytes": state_bytes(optimizer),
        "train": [math.inf] if diverged else curve.tolist(),
    }


@torch.no_grad()
def _validation(task: Any, optimizer: Any, method: Method) -> float:
    """The loss on the validation data, in the mode of evaluation."""
    if method.has_own_schedule:
        optimizer.eval()
        task.loss(*task.batch(torch.Generator()))  # batch statistics for these weights
    task.model.eval()
    value: float = task.loss(*task.validation).item()
    return value


def final_loss(trial: Trial) -> float:
    """The mean of the last tenth of the training loss; infinite if the trial has diverged."""
    return math.inf if trial["diverged"] else float(np.mean(trial["train"][-LAST:]))


class Trials:
    """The trials of one workload, stored in a file, one per line."""

    def __init__(self, name: str, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.name, self.path = name, folder / f"{name}.jsonl"
        lines = self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else []
        self.all: list[Trial] = [json.loads(line) for line in lines]

    def add(self, trial: Trial) -> None:
        kept = dict(trial)
        points = trial["train"][-LAST:] if trial["seed"] == TUNING_SEED else trial["train"]
        kept["train"] = [float(f"{x:.4g}") for x in points]
        kept["validation"] = float(f"{trial['validation']:.4g}")
        self.all.append(kept)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(kept) + "\n")

    def remove(self, methods: Container[str]) -> None:
        """Remove the trials of some methods."""
        self.all = [trial for trial in self.all if trial["method"] not in methods]
        lines = [json.dumps(trial) + "\n" for trial in self.all]
        self.path.write_text("".join(lines), encoding="utf-8")

    def tuned(self, method: str) -> dict[float, float]:
        """The final losses at each learning rate with the tuning seed."""
        found = {
            t["lr"]: final_loss(t)
            for t in self.all
            if t["method"] == method and t["seed"] == TUNING_SEED
        }
        return dict(sorted(found.items()))

    def best_lr(self, method: str) -> float:
        """The rate with the lowest final loss of the tuning seed; `KeyError` without trials."""
        if not (tuned := self.tuned(method)):
            raise KeyError(method)
        return min(tuned, key=tuned.__getitem__)

    def fresh(self, method: str, lr: float) -> list[Trial]:
        """The trials with fresh seeds at a rate."""
        found = (t for t in self.all if t["method"] == method and t["lr"] == lr)
        return sorted((t for t in found if t["seed"] in FRESH_SEEDS), key=lambda t: t["seed"])


def next_rates(tuned: dict[float, float], middle: float) -> list[float]:
    """The learning rates to run next; none when the best one has a worse one on both sides."""
    first = [neighbour(middle, place) for place in (-1, 0, 1)]
    if missing := [lr for lr in first if lr not in tuned]:
        return missing
    best = min(tuned, key=tuned.__getitem__)
    around = [neighbour(best, -1), neighbour(best, 1)]
    return [lr for lr in around if lr not in tuned and WIDEST[0] <= lr <= WIDEST[1]]


def neighbour(lr: float, places: int) -> float:
    """The rate so many half decades away."""
    place = round(2 * math.log10(lr)) + places
    return float(f"{3 if place % 2 else 1}e{place // 2}")


def workers(jobs: int) -> ProcessPoolExecutor:
    """Return processes with one thread each."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(jobs, context, initializer=torch.set_num_threads, initargs=(1,))


def tune(trials: Trials, methods: Iterable[str], pool: ProcessPoolExecutor, file: Path) -> None:
    """Run the rates of step 1."""
    waiting = list(methods)
    while waiting:
        wanted = [(m, lr) for m in waiting for lr in next_rates(trials.tuned(m), ALL[m].lr)]
        _run(trials, [(m, lr, TUNING_SEED) for m, lr in wanted], pool, file)
        waiting = [m for m in waiting if next_rates(trials.tuned(m), ALL[m].lr)]


def run_fresh(
    trials: Trials, methods: Iterable[str], pool: ProcessPoolExecutor, file: Path
) -> None:
    """Run the fresh seeds of step 2, methods in turns."""
    chosen = [(m, trials.best_lr(m)) for m in methods]
    if OURS in methods:
        chosen.append((OURS, DEFAULT_RATE))
    done = {(t["method"], t["lr"], t["seed"]) for t in trials.all}
    wanted = [
        (m, lr, seed)
        for number, seed in enumerate(FRESH_SEEDS)
        for m, lr in dict.fromkeys(chosen)
        if number < OF_ABLATIONS or m not in ABLATIONS
    ]
    _run(trials, [own for own in wanted if own not in done], pool, file)


def _run(
    trials: Trials, wanted: list[tuple[str, float, int]], pool: ProcessPoolExecutor, file: Path
) -> None:
    start: Callable[..., Any] = partial(pool.submit, train, trials.name)
    for task in [start(method, lr, seed, file) for method, lr, seed in wanted]:
        trials.add(task.result())
    if wanted:
        print(f"{trials.name}: {len(wanted)} trials", flush=True)
