"""From the trials to tables, curves and docs/experiments.md."""

import math
import statistics
from pathlib import Path
from typing import Any

import numpy as np

from bench.harness import Goal, markdown, seconds
from bench.training.methods import BASELINE, DEFAULT, METHODS
from bench.training.protocol import (
    EVERY,
    FRESH_SEEDS,
    NEAR,
    PROMISING,
    SMOOTH,
    TUNING_SEEDS,
    WIDEST,
    Trial,
    Trials,
    configurations,
    final_loss,
)
from bench.training.workloads import VALIDATION, WORKLOADS
from blockmat.optim.torch import MAX_CHANGE

DOCS = Path(__file__).parents[2] / "docs"
DRAWN = ("diagonal", "mean", "aligned", "scaled", "shampoo", "adam", "muon")
DRAWN_RATES = ("diagonal", "diagonal-bounded", "aligned", "scaled", "adam", "muon")
N_COLUMNS = 4  # of panels
STEPS_GOAL, SECONDS_GOAL = 0.6, 1.0


class Summary:
    """What the fresh seeds of one method on one workload show."""

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
        self.whole = statistics.median(run["seconds"] for run in self.runs)
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
    """The largest learning rate over the smallest, of those around the best that come near."""
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
    """All that is known of one workload at one momentum."""

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
        """Median steps to the target, of all steps of the baseline."""
        return statistics.median(self.summaries[method].steps) / self.steps

    def second_ratio(self, method: str) -> float:
        """Median seconds to the target, of the seconds of all steps of the baseline."""
        return statistics.median(self.summaries[method].seconds) / self.baseline.whole

    def row(self, method: str) -> list[str]:
        s = self.summaries[method]
        return [
            METHODS[method].title,
            f"{s.lr:g}",
            _ratio(self.step_ratio(method)),
            _ratio(self.second_ratio(method)),
            _median_and_range(s.train),
            _median_and_range(s.validation),
            f"{s.lr_range:.0f}",
            str(s.diverged),
            f"{s.state_bytes / 1024:.0f}",
            "" if s.peak is None else f"{s.peak / 2**20:.1f}",
            f"{1e3 * s.whole / self.steps:.2f}",
        ]


HEADINGS = [
    "method", "lr", "steps to target", "seconds to target", "train loss", "validation loss",
    "lr range", "diverged", "state, KiB", "peak, MiB", "ms a step",
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
    """What the default is meant to reach against the diagonal with the same momentum."""
    steps = [study.step_ratio(method) for study in found]
    spent = [study.second_ratio(method) for study in found]
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
        Goal("seconds to target, median of workloads", statistics.median(spent), SECONDS_GOAL, False),
        Goal("workloads with a lower train loss", sum(lower), n, True),
        Goal("diverged runs", sum(s.diverged for s in ours), 0, False),
        Goal("workloads with an lr range as wide", sum(wide), n, True),
    ]  # fmt: skip


def _panels(found: list[Study]) -> tuple[Any, Any]:
    """Return a figure and its panels, one a workload and the last for the legend."""
    from matplotlib.figure import Figure

    n_rows = -(-(len(found) + 1) // N_COLUMNS)
    figure = Figure(figsize=(14, 3.7 * n_rows), layout="constrained")
    panels = figure.subplots(n_rows, N_COLUMNS, squeeze=False).ravel()
    for panel in panels[len(found) :]:
        panel.axis("off")
    for study, axes in zip(found, panels, strict=False):
        axes.set_yscale("log")
        axes.set_title(WORKLOADS[study.name].title.replace(", ", ",\n", 1), fontsize=8)
        axes.set_ylabel("validation loss")
    return figure, panels


def _save(figure: Any, panels: Any, path: Path) -> None:
    lines, labels = panels[0].get_legend_handles_labels()
    panels[-1].legend(lines, labels, loc="center", frameon=False)
    figure.savefig(path, dpi=90)


def draw(found: list[Study], trials_of: dict[str, Trials], path: Path) -> None:
    """Draw validation loss over steps, median and range of the fresh seeds, a panel a workload."""
    figure, panels = _panels(found)
    for study, axes in zip(found, panels, strict=False):
        lowest, early = [], []
        for i, method in enumerate(DRAWN):
            if method not in study.summaries:
                continue
            runs = trials_of[study.name].of(method, study.momentum, FRESH_SEEDS)
            length = min(len(run["validation"]) for run in runs)
            curves = np.array([run["validation"][:length] for run in runs])
            steps = EVERY * np.arange(1, length + 1)
            lowest.append(np.median(curves[:, -1]))
            early.append(np.median(curves[:, min(SMOOTH, length - 1)]))
            emphasis = 2.2 if method in (BASELINE, DEFAULT) else 1.0
            colour = f"C{i}"
            axes.plot(steps, np.median(curves, axis=0), color=colour, linewidth=emphasis,
                      label=METHODS[method].title)  # fmt: skip
            axes.fill_between(
                steps, curves.min(0), curves.max(0), color=colour, alpha=0.12, linewidth=0
            )
        axes.axhline(study.target, color="black", linewidth=0.8, linestyle=":")
        axes.set_ylim(0.85 * min(lowest), 1.15 * max(early))
        axes.set_xlabel("steps")
    _save(figure, panels, path)


def draw_rates(found: list[Study], trials_of: dict[str, Trials], path: Path) -> None:
    """Draw the final validation loss over the learning rate, mean of the tuning seeds."""
    figure, panels = _panels(found)
    for study, axes in zip(found, panels, strict=False):
        best = math.inf
        for i, method in enumerate(DRAWN_RATES):
            if study.momentum not in METHODS[method].momenta:
                continue
            tuned = trials_of[study.name].tuned(method, study.momentum)
            means = [float(np.mean(losses)) for losses in tuned.values()]
            best = min(best, *means)
            emphasis = 2.2 if method in (BASELINE, DEFAULT) else 1.0
            axes.plot(list(tuned), means, marker=".", color=f"C{i}", linewidth=emphasis,
                      label=METHODS[method].title)  # fmt: skip
        axes.set_xscale("log")
        axes.set_ylim(0.85 * best, 8 * best)
        axes.set_xlabel("learning rate")
    _save(figure, panels, path)


def at_a_glance(found: list[Study]) -> list[str]:
    """A table of the two ratios of every method on every workload."""
    rows = []
    for method in dict.fromkeys(method for study in found for method in study.summaries):
        cells = [
            f"{_ratio(study.step_ratio(method))} ({_ratio(study.second_ratio(method))})"
            if method in study.summaries else ""
            for study in found
        ]  # fmt: skip
        rows.append([METHODS[method].title, *(c.replace(" (not reached)", "") for c in cells)])
    return markdown(["method", *(study.name for study in found)], rows)


def write(folder: Path) -> None:
    """Write docs/experiments.md and its pictures from the trials."""
    lines = [INTRODUCTION]
    for momentum in (0.9, 0.0):
        found = studies(folder, momentum)
        if not found:
            continue
        trials_of = {study.name: Trials(study.name, folder) for study in found}
        lines += [
            "",
            f"## Momentum {momentum:g}",
            "",
            "The default configuration against the diagonal:",
            "",
        ]
        reached = [
            ["✓" if g.reached else "✗", g.figure, f"{g.value:.3g}", f"{g.wanted:g}"]
            for g in goals(found)
        ]
        lines += markdown(["", "figure", "measured", "wanted"], reached)
        picture = f"training-momentum-{momentum:g}.png"
        draw(found, trials_of, DOCS / "images" / picture)
        rates = f"training-rates-momentum-{momentum:g}.png"
        draw_rates(found, trials_of, DOCS / "images" / rates)
        lines += ["", f"![Validation loss over steps](images/{picture})", ""]
        lines += ["The loss at the end for every learning rate:", ""]
        lines += [f"![Final validation loss over the learning rate](images/{rates})", ""]
        lines += ["Steps, and in brackets seconds, to the target:", ""]
        lines += at_a_glance(found)
        for study in found:
            lines += ["", f"### {WORKLOADS[study.name].title}", ""]
            lines += [f"Target {study.target:.4g}, {study.steps} steps; "
                      f"{seconds(study.baseline.whole)} for the diagonal.", ""]  # fmt: skip
            lines += markdown(HEADINGS, [study.row(method) for method in study.summaries])
    (DOCS / "experiments.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("written: docs/experiments.md")


INTRODUCTION = f"""# Experiments

Small networks trained by AdaGrad with block-constant matrices, by diagonal AdaGrad with the same
momentum, and by others for context. `python -m bench train --data FOLDER` repeats it;
this page is written from the trials in `bench/results/training` by
`python -m bench --write-docs`. The method is from Lu, Harandi, Hartley and Pascanu,
[arXiv 1804.05484](https://arxiv.org/abs/1804.05484).

## Protocol

- The same grid of nine learning rates for all, half a decade apart, from 1e-4 to 1. Where the
  best is at an edge, the grid grows. Nothing else is tuned: every method has one set of options
  for all workloads. Momentum is the same on both sides.
- Each rate runs with one seed, and those within a factor {PROMISING:g} of the best with
  {len(TUNING_SEEDS) - 1} more. The rate with the lowest mean of the final validation loss is
  chosen and runs with {len(FRESH_SEEDS)} fresh seeds, which the tables report: medians, and in
  brackets the range.
- Validation is every {EVERY} steps, on up to {VALIDATION} examples that are not trained on. A
  final loss is the mean of the last {SMOOTH} validations; of the train loss, of the last
  {SMOOTH * EVERY} steps.
- The target is the median final validation loss of tuned diagonal AdaGrad with the same
  momentum. *Steps to target* is the first step at which the mean of the last {SMOOTH}
  validations reaches it, divided by all steps of the diagonal; *seconds to target* is the time
  spent training until then, beside the diagonal's time for all its steps. Medians of the seeds.
- *lr range* is the ratio of the largest to the smallest learning rate around the best whose mean
  loss is within a factor {NEAR:g} of the method's own best. For it the grid grows, with one seed,
  to {WIDEST[0]:g} and to {WIDEST[1]:g} where its ends are that near; *diverged* counts fresh seeds that ended with a
  loss that is not finite or above the first.
- *State* is the memory of the optimizer's tensors; *peak* by how much the memory of a
  process grows in 20 steps after 20 with plain SGD, with momentum 0.9, in a process of its own
  (measured on Linux only).
- All runs have one thread each, as many at a time as there are processors, the methods in turns.

The methods: *one number per row* keeps the mean square of each neuron's gradient. *Block mean*
has a block for each neuron of every layer, one number off the diagonal and two in the diagonal
blocks, as in the paper; its ablation uses only the diagonal of the between core. *Aligned* has
two numbers in every block, blocks on the shorter side of each weight, and one number per entry in
the output layer; beside it the same with each layer's step length from one number per row.
*One-sided Shampoo* is aligned without the mean direction. *Scaled*, the default of
`blockmat.optim.torch.BlockAdaGrad`, is aligned for gradients whose columns have been scaled to
one mean square, with updates that change no parameter by more than {MAX_CHANGE:g} of its length. What the
bound alone does is seen in *scaled, any change*, which does without, and in *diagonal AdaGrad,
bounded change*, which has it too. *Muon and Adam* is torch.optim.Muon on
hidden matrices, with Adam on the rest. Adam and Muon have momentum of their own.

Read the tables knowing that the default's options, the scaling and the bound among them, were
chosen on these workloads. Only the seeds of the tables are fresh. The network with strides had
been left out once, after an earlier default had not reached the
diagonal's loss there."""
