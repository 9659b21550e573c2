"""Pictures of the trials: losses over steps, and final losses over learning rates."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from bench.figures import png
from bench.training.methods import BASELINE, DEFAULT, METHODS
from bench.training.protocol import EVERY, FRESH_SEEDS, RESULTS, SMOOTH, Trials
from bench.training.report import Study, studies_of
from bench.training.workloads import WORKLOADS

IN_CURVES = ("diagonal", "mean", "aligned", "scaled", "shampoo", "adam", "muon")
IN_RATES = ("diagonal", "diagonal-bounded", "aligned", "scaled", "adam", "muon")
N_COLUMNS = 4  # of panels


def draw(name: str) -> bytes:
    """Draw ``momentum-M``, losses over steps, or ``rates-momentum-M``, losses over learning rates."""
    rates = name.startswith("rates-")
    found = studies_of(name.removeprefix("rates-").replace("-", " ", 1))
    return _draw(found, _rates if rates else _curves)


def _draw(found: list[Study], draw_panel: Callable[[Study, Trials, Any], None]) -> bytes:
    """Draw a panel for each workload, and the legend in the last one."""
    n_rows = -(-(len(found) + 1) // N_COLUMNS)
    figure = Figure(figsize=(14, 3.7 * n_rows), layout="constrained")
    panels = figure.subplots(n_rows, N_COLUMNS, squeeze=False).ravel()
    for axes in panels[len(found) :]:
        axes.axis("off")
    for study, axes in zip(found, panels, strict=False):
        axes.set_yscale("log")
        axes.set_title(WORKLOADS[study.name].title.replace(", ", ",\n", 1), fontsize=8)
        axes.set_ylabel("validation loss")
        draw_panel(study, Trials(study.name, RESULTS), axes)
    lines, labels = panels[0].get_legend_handles_labels()
    panels[-1].legend(lines, labels, loc="center", frameon=False)
    return png(figure, dpi=90)


def _curves(study: Study, trials: Trials, axes: Any) -> None:
    """Validation loss over steps: median and range of the fresh seeds."""
    lowest, early = [], []
    for i, method in enumerate(IN_CURVES):
        if method not in study.summaries:
            continue
        runs = trials.of(method, study.momentum, FRESH_SEEDS)
        length = min(len(run["validation"]) for run in runs)
        curves = np.array([run["validation"][:length] for run in runs])
        steps = EVERY * np.arange(1, length + 1)
        lowest.append(np.median(curves[:, -1]))
        early.append(np.median(curves[:, min(SMOOTH, length - 1)]))
        axes.plot(steps, np.median(curves, axis=0), color=f"C{i}", linewidth=_width(method),
                  label=METHODS[method].title)  # fmt: skip
        axes.fill_between(
            steps, curves.min(0), curves.max(0), color=f"C{i}", alpha=0.12, linewidth=0
        )
    axes.axhline(study.target, color="black", linewidth=0.8, linestyle=":")
    axes.set_ylim(0.85 * min(lowest), 1.15 * max(early))
    axes.set_xlabel("steps")


def _rates(study: Study, trials: Trials, axes: Any) -> None:
    """Final validation loss over the learning rate: mean of the tuning seeds."""
    best = math.inf
    for i, method in enumerate(IN_RATES):
        if study.momentum not in METHODS[method].momenta:
            continue
        tuned = trials.tuned(method, study.momentum)
        means = [float(np.mean(losses)) for losses in tuned.values()]
        best = min(best, *means)
        axes.plot(list(tuned), means, marker=".", color=f"C{i}", linewidth=_width(method),
                  label=METHODS[method].title)  # fmt: skip
    axes.set_xscale("log")
    axes.set_ylim(0.85 * best, 8 * best)
    axes.set_xlabel("learning rate")


def _width(method: str) -> float:
    return 2.2 if method in (BASELINE, DEFAULT) else 1.0
