"""Pictures of the trials: losses over steps, and final losses over learning rates."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from bench.figures import png
from bench.training.methods import BASELINE, DEFAULT_RATE, METHODS, OURS
from bench.training.protocol import LAST, POINTS
from bench.training.report import Study, studies
from bench.training.workloads import WORKLOADS

SHOWN = (BASELINE, "adagrad", "muon", "soap", "schedulefree", "block-aligned", OURS)
COLOURS = dict(zip(SHOWN, ("C7", "C5", "C0", "C1", "C9", "C2", "C3"), strict=True))
N_COLUMNS = 4  # of panels


def draw(name: str) -> bytes:
    """Draw ``curves``, losses over steps, or ``rates``, losses over learning rates."""
    draw_panel = {"curves": _curves, "rates": _rates}[name]
    found = studies()
    n_rows = -(-(len(found) + 1) // N_COLUMNS)
    figure = Figure(figsize=(14, 3.7 * n_rows), layout="constrained")
    panels = figure.subplots(n_rows, N_COLUMNS, squeeze=False).ravel()
    for axes in panels[len(found) :]:
        axes.axis("off")
    for study, axes in zip(found, panels, strict=False):
        axes.set_yscale("log")
        axes.set_title(WORKLOADS[study.name].title.replace(", ", ",\n", 1), fontsize=8)
        axes.set_ylabel("training loss")
        draw_panel(study, axes)
    lines, labels = panels[0].get_legend_handles_labels()
    panels[-1].legend(lines, labels, loc="center", frameon=False)
    return png(figure, dpi=90)


def _curves(study: Study, axes: Any) -> None:
    """Training loss over steps: median and range of the fresh seeds."""
    steps = WORKLOADS[study.name].steps / POINTS * np.arange(1, POINTS + 1)
    lowest, early = [], []
    for method in SHOWN:
        curves = np.array([r["train"] for r in study.of(method).runs if not r["diverged"]])
        if not len(curves):
            continue
        median = np.median(curves, axis=0)
        lowest.append(median.min())
        early.append(median[LAST])
        axes.plot(steps, median, **_style(method))
        axes.fill_between(
            steps, curves.min(0), curves.max(0), color=COLOURS[method], alpha=0.12, linewidth=0
        )
    axes.set_ylim(0.9 * min(lowest), 1.1 * np.median(early))
    axes.set_xlabel("steps")


def _rates(study: Study, axes: Any) -> None:
    """Final training loss over the learning rate, with the tuning seed."""
    best = []
    for method in SHOWN:
        tuned = study.trials.tuned(method)
        best.append(min(tuned.values()))
        axes.plot(list(tuned), list(tuned.values()), marker=".", **_style(method))
    axes.axvline(DEFAULT_RATE, color=COLOURS[OURS], linewidth=0.8, linestyle=":")
    axes.set_xscale("log")
    axes.set_ylim(0.9 * min(best), 2.5 * np.median(best))
    axes.set_xlabel("learning rate")


def _style(method: str) -> dict[str, Any]:
    return {
        "color": COLOURS[method],
        "linewidth": 2.2 if method == OURS else 1.1,
        "label": METHODS[method].title,
    }
