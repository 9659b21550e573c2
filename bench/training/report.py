"""Tables and numbers of the trials for the pages."""

import math
import statistics
from functools import cache
from pathlib import Path

import numpy as np

from bench.rows import Goal, markdown, seconds, two_digits
from bench.training.methods import BASELINE, DEFAULT, METHODS
from bench.training.protocol import (
    EVERY,
    FRESH_SEEDS,
    GRID,
    NEAR,
    PROMISING,
    RESULTS,
    SMOOTH,
    TUNING_SEEDS,
    WIDEST,
    Trial,
    Trials,
    configurations,
    final_loss,
)
from bench.training.workloads import VALIDATION, WORKLOADS
from blockmat.optim.torch.structure import STRUCTURES

STEPS_GOAL, SECONDS_GOAL = 0.6, 1.0


class Summary:
    """The results of the fresh seeds of one method on one workload."""

    def __init__(self, trials: Trials, method: str, momentum: float, target: float) -> None:
        self.method, self.momentum = method, momentum
        self.lr = trials.best_lr(method, momentum)
        self.runs = trials.of(method, momentum, FRESH_SEEDS)
        self.validation = [final_loss(run) for run in self.runs]
        self.train = [final_loss(run, "train") for run in self.runs]
        self.diverged = sum(run["diverged"] for run in self.runs)
        self.steps = [steps_to(run, target) for run in self.runs]
        self.seconds = [
            steps / (EVERY * len(run["train"])) * run["seconds"]
            for steps, run in zip(self.steps, self.runs, strict=True)
        ]
        self.time_of_all = statistics.median(run["seconds"] for run in self.runs)
        self.state_bytes = self.runs[0]["state_bytes"]
        self.peak = trials.memory.get(method)
        self.lr_range = _range_near(trials.tuned(method, momentum))


def steps_to(run: Trial, target: float) -> float:
    """The first step at which the mean of the last validations is at most the target."""
    losses = np.array(run["validation"])
    means = [losses[max(0, i + 1 - SMOOTH) : i + 1].mean() for i in range(len(losses))]
    reached = [i for i, mean in enumerate(means) if mean <= target and i + 1 >= SMOOTH]
    return EVERY * (reached[0] + 1) if reached and not run["diverged"] else math.inf


def _range_near(tuned: dict[float, list[float]]) -> float:
    """The largest divided by the smallest learning rate around the best with a loss near the best."""
    means = {lr: float(np.mean(losses)) for lr, losses in tuned.items()}
    best = min((lr for lr in means if len(tuned[lr]) == len(TUNING_SEEDS)), key=means.__getitem__)
    rates, low = list(means), list(means).index(best)
    high = low
    while low > 0 and means[rates[low - 1]] <= NEAR * means[best]:
        low -= 1
    while high + 1 < len(rates) and means[rates[high + 1]] <= NEAR * means[best]:
        high += 1
    return rates[high] / rates[low]


class Study:
    """All results of one workload at one momentum."""

    def __init__(self, trials: Trials, momentum: float) -> None:
        self.name, self.momentum = trials.name, momentum
        baseline = trials.of(BASELINE, momentum, FRESH_SEEDS)
        self.target = statistics.median(final_loss(run) for run in baseline)
        self.steps = EVERY * len(baseline[0]["train"])
        self.summaries = {
            method: Summary(trials, method, own, self.target)
            for method, own in configurations(METHODS)
            if own == momentum and len(trials.of(method, own, FRESH_SEEDS)) == len(FRESH_SEEDS)
        }

    @property
    def baseline(self) -> Summary:
        return self.summaries[BASELINE]

    def step_ratio(self, method: str) -> float:
        """Median steps to the target divided by all steps of the baseline."""
        return statistics.median(self.summaries[method].steps) / self.steps

    def time_ratio(self, method: str) -> float:
        """Median time to the target divided by the time of all steps of the baseline."""
        return statistics.median(self.summaries[method].seconds) / self.baseline.time_of_all

    def row(self, method: str) -> list[str]:
        s = self.summaries[method]
        return [
            METHODS[method].title,
            f"{s.lr:g}",
            _ratio(self.step_ratio(method)),
            _ratio(self.time_ratio(method)),
            _median_and_range(s.train),
            _median_and_range(s.validation),
            f"{s.lr_range:.0f}",
            str(s.diverged),
            f"{s.state_bytes / 1024:.0f}",
            "" if s.peak is None else f"{s.peak / 2**20:.1f}",
            f"{1e3 * s.time_of_all / self.steps:.2f}",
        ]


HEADINGS = [
    "method", "learning rate", "steps to target", "time to target", "train loss", "validation loss",
    "range of rates", "diverged", "state, KiB", "peak, MiB", "ms per step",
]  # fmt: skip


def _ratio(x: float) -> str:
    return f"{x:.2f}" if math.isfinite(x) else "not reached"


def _median_and_range(losses: list[float]) -> str:
    finite = [x for x in losses if math.isfinite(x)]
    if not finite:
        return "-"
    return f"{statistics.median(losses):.3g} ({min(finite):.3g} to {max(losses):.3g})"


def studies(folder: Path, momentum: float) -> list[Study]:
    """Return the workloads whose baseline and default have run with all fresh seeds."""
    found = []
    for name in WORKLOADS:
        trials = Trials(name, folder)
        enough = [
            len(trials.of(method, momentum, FRESH_SEEDS)) == len(FRESH_SEEDS)
            for method in (BASELINE, DEFAULT)
        ]
        if all(enough):
            found.append(Study(trials, momentum))
    return found


def goals(found: list[Study], method: str = DEFAULT) -> list[Goal]:
    """The goals of the default against diagonal AdaGrad with the same momentum."""
    steps = [study.step_ratio(method) for study in found]
    spent = [study.time_ratio(method) for study in found]
    ours = [study.summaries[method] for study in found]
    theirs = [study.baseline for study in found]
    lower = [
        statistics.median(a.train) < statistics.median(b.train)
        for a, b in zip(ours, theirs, strict=True)
    ]
    wide = [a.lr_range >= 0.99 * b.lr_range for a, b in zip(ours, theirs, strict=True)]
    n = len(found)
    return [
        Goal("steps to target, median of workloads", statistics.median(steps), STEPS_GOAL, False),
        Goal("steps to target, worst workload", max(steps), 1.0, False),
        Goal("time to target, median of workloads", statistics.median(spent), SECONDS_GOAL, False),
        Goal("workloads with a lower train loss", sum(lower), n, True),
        Goal("diverged runs", sum(s.diverged for s in ours), 0, False),
        Goal("workloads with at least as wide a range of rates", sum(wide), n, True),
    ]  # fmt: skip


def at_a_glance(found: list[Study]) -> str:
    """A table with the steps and the time of every method on every workload."""
    rows = []
    for method in dict.fromkeys(method for study in found for method in study.summaries):
        cells = [
            f"{_ratio(study.step_ratio(method))} ({_ratio(study.time_ratio(method))})"
            if method in study.summaries else ""
            for study in found
        ]  # fmt: skip
        rows.append([METHODS[method].title, *(c.replace(" (not reached)", "") for c in cells)])
    return markdown(["method", *(study.name for study in found)], rows)


def of_workloads(found: list[Study]) -> str:
    """A table of the workloads, with the target of each and the time of diagonal AdaGrad."""
    rows = [
        [
            s.name,
            WORKLOADS[s.name].title,
            f"{s.target:.4g}",
            str(s.steps),
            seconds(s.baseline.time_of_all),
        ]
        for s in found
    ]
    return markdown(
        ["workload", "data and network", "target loss", "steps", "time, diagonal"], rows
    )


SETTINGS = {
    "learning rates": len(GRID),
    "smallest rate": GRID[0],
    "largest rate": GRID[-1],
    "smallest rate for the range": WIDEST[0],
    "largest rate for the range": WIDEST[1],
    "factor for more seeds": PROMISING,
    "more tuning seeds": len(TUNING_SEEDS) - 1,
    "fresh seeds": len(FRESH_SEEDS),
    "steps between validations": EVERY,
    "validation examples": VALIDATION,
    "validations in a mean": SMOOTH,
    "steps in a mean": SMOOTH * EVERY,
    "factor of a near loss": NEAR,
    "largest change": STRUCTURES["scaled"].max_change,
}


@cache
def studies_of(momentum: str) -> list[Study]:
    """The studies at ``momentum 0.9`` or ``momentum 0``."""
    known = {f"momentum {value:g}": value for value in (0.9, 0.0)}
    if not (found := studies(RESULTS, known[momentum])):
        raise KeyError(momentum)
    return found


def text_of(address: list[str]) -> str:
    """The text for a place of the pages, whose address begins with ``training``.

    ``settings | NAME`` is one of `SETTINGS`. After ``momentum 0.9`` or ``momentum 0`` come ``goals``,
    ``workloads`` or ``at a glance`` for a table, the name of a workload for its table, or the
    name of a number.
    """
    match address:
        case ["settings", name]:
            return f"{SETTINGS[name]:g}"
        case [momentum, what]:
            found = studies_of(momentum)
            by_name = {study.name: study for study in found}
            if what in by_name:
                study = by_name[what]
                return markdown(HEADINGS, [study.row(method) for method in study.summaries])
            if what in TABLES:
                return TABLES[what](found)
            return two_digits(_numbers(found)[what])
    raise KeyError(" | ".join(address))


def _table_of_goals(found: list[Study]) -> str:
    rows = [
        [
            "✓" if g.reached else "✗",
            g.figure,
            f"{g.value:.3g}",
            f"{'≥' if g.at_least else '≤'} {g.wanted:g}",
        ]
        for g in goals(found)
    ]
    return markdown(["", "figure", "measured", "goal"], rows)


TABLES = {"goals": _table_of_goals, "workloads": of_workloads, "at a glance": at_a_glance}


def _numbers(found: list[Study]) -> dict[str, float]:
    steps = [study.step_ratio(DEFAULT) for study in found]
    times = [study.time_ratio(DEFAULT) for study in found]
    return {goal.figure: goal.value for goal in goals(found)} | {
        "number of workloads": len(found),
        "workloads with fewer steps": sum(ratio < 1 for ratio in steps),
        "workloads with less time": sum(ratio < 1 for ratio in times),
        "time to target, worst workload": max(times),
    }
