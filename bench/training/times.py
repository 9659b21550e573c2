"""Times of training steps: all methods in turns on a quiet machine, with all threads."""

import json
import random
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from bench.rows import machine
from bench.training.methods import METHODS
from bench.training.workloads import WORKLOADS, make

ROUNDS, STEPS = 15, 6  # of one method in one turn


def measure(files: dict[str, Path], methods: list[str], folder: Path) -> None:
    """Store the milliseconds of a training step, and those of the optimizer in it."""
    path = path_in(folder)
    content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    content["machine"] = machine()
    content["threads"] = torch.get_num_threads()
    for name, file in files.items():
        content[name] = _of_workload(name, methods, file)
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        print(f"{name}: times of {len(methods)} methods", flush=True)


def path_in(folder: Path) -> Path:
    """Return the file of the times."""
    return folder / "times.json"


def _of_workload(name: str, methods: list[str], file: Path) -> dict[str, dict[str, float]]:
    random.seed(0)
    turns = {method: _turn(name, method, file) for method in methods}
    found: dict[str, list[tuple[float, float]]] = {method: [] for method in methods}
    for number in range(ROUNDS + 2):  # the first two warm up
        for method, turn in turns.items():
            times = turn()
            if number >= 2:
                found[method].append(times)
    return {
        method: {
            "step": _milliseconds([step for step, _ in times]),
            "optimizer": _milliseconds([own for _, own in times]),
        }
        for method, times in found.items()
    }


def _milliseconds(times: list[float]) -> float:
    return float(f"{1e3 * statistics.median(times):.4g}")


def _turn(name: str, method: str, file: Path) -> Callable[[], tuple[float, float]]:
    """Return a function that makes some steps, and returns the seconds of one, and of its optimizer."""
    task = make(name, 0, file)
    optimizer = METHODS[method].make(task.model, 1e-4, WORKLOADS[name].steps)
    return partial(_seconds, task, optimizer, torch.Generator().manual_seed(0))


def _seconds(task: Any, optimizer: Any, generator: torch.Generator) -> tuple[float, float]:
    whole = own = 0.0
    for _ in range(STEPS):
        batch = task.batch(generator)
        start = time.perf_counter()
        optimizer.zero_grad()
        task.loss(*batch).backward()
        middle = time.perf_counter()
        optimizer.step()
        end = time.perf_counter()
        whole += end - start
        own += end - middle
    return whole / STEPS, own / STEPS
