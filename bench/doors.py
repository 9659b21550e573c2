"""Pictures of the four doors of the README and the front page, for light and for dark pages.

Two pictures show real data that come with scikit-learn, and two show results of the benchmarks.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from bench import rows
from bench.figures import png

SIZE = (5.0, 3.1)  # inches
OURS = "#e4572e"
OTHERS = "#8a8f98"
INK = {"light": "#24292f", "dark": "#d5d9de"}
COLOURS = {"light": "YlGnBu", "dark": "YlGnBu_r"}


def draw(name: str) -> bytes:
    """Draw ``matrices-light``, ``matrices-dark`` and so on, with a transparent ground."""
    door, _, theme = name.partition("-")
    paint, colours = PICTURES[door], COLOURS[theme]
    figure = Figure(figsize=SIZE, layout="constrained", facecolor="none")
    paint(figure, INK[theme], colours)
    return png(figure, dpi=160)


def _matrices(figure: Figure, ink: str, colours: str) -> None:
    """A kernel matrix above its diagonal, and the approximation below it."""
    from sklearn.datasets import load_digits
    from sklearn.metrics.pairwise import rbf_kernel

    import blockmat as bm

    images, digits = load_digits(return_X_y=True)
    order = np.argsort(digits, kind="stable")
    kernel = rbf_kernel(images[order] / 16, gamma=0.05)
    fit = bm.fit(kernel, digits[order])
    both = np.where(np.tri(len(kernel), dtype=bool), fit.toarray(), kernel)
    left, axes, right = figure.subplots(1, 3, width_ratios=(1, 2.3, 1))
    axes.imshow(both, cmap=colours, vmin=0.3, vmax=0.75, interpolation="antialiased")
    axes.axis("off")
    n, k = len(kernel), fit.partition.n_blocks
    _beside(left, ink, 0.12, f"{k * (k + 1):,}\nnumbers", "approximation", "right")
    _beside(right, ink, 0.75, f"{n * n:,}\nnumbers", "kernel of digits", "left")


def _beside(axes: Any, ink: str, place: float, text: str, title: str, side: str) -> None:
    axes.axis("off")
    x = 1.0 if side == "right" else 0.0
    axes.text(x, place + 0.13, title, ha=side, color=ink, fontsize=9, transform=axes.transAxes)
    axes.text(x, place, text, ha=side, va="center", color=OURS, fontsize=11, weight="bold",
              transform=axes.transAxes)  # fmt: skip


def _groups(figure: Figure, ink: str, colours: str) -> None:
    """The correlations of 30 measurements, in the order of the file and by found groups."""
    from sklearn.datasets import load_breast_cancer

    import blockmat as bm

    samples = load_breast_cancer().data
    correlations = np.abs(np.corrcoef(samples.T))
    partition = bm.find_partition(samples, samples=True)
    order = np.concatenate(list(partition))
    titles = ("30 measurements", f"{partition.n_blocks} groups, found")
    for axes, index, title in zip(
        figure.subplots(1, 2), (np.arange(30), order), titles, strict=True
    ):
        axes.imshow(correlations[np.ix_(index, index)], cmap=colours, vmin=0, vmax=1)
        axes.set_title(title, color=ink, fontsize=11)
        axes.axis("off")
    ends = np.cumsum([0, *(len(members) for members in partition)]) - 0.5
    for first, last in pairwise(ends):
        axes.add_patch(_frame(first, last))


def _frame(first: float, last: float) -> Any:
    from matplotlib.patches import Rectangle

    size = last - first
    return Rectangle((first, first), size, size, fill=False, edgecolor=OURS, lw=1.6, clip_on=False)


def _covariance(figure: Figure, ink: str, _: str) -> None:
    """Volatility of minimum-variance portfolios in later days, from 120 days of 452 stocks."""
    names = {
        "BlockCovariance()": "BlockCovariance", "QIS, standardised": "nonlinear shrinkage",
        "FactorAnalysis(6), standardised": "factor analysis", "bahc": "bahc",
        "skfolio DenoiseCovariance": "denoised", "LedoitWolf": "Ledoit-Wolf",
    }  # fmt: skip
    found = {
        names[row.work]: row.notes["T = 120"]
        for row in rows.load("covariance")[1]
        if row.group == "Volatility" and row.work in names
    }
    found = dict(sorted(found.items(), key=lambda item: -item[1]))
    axes = figure.subplots(subplot_kw={"facecolor": "none"})
    colours = [OURS if name == "BlockCovariance" else OTHERS for name in found]
    axes.scatter(list(found.values()), list(found), color=colours, s=90, zorder=2)
    axes.hlines(list(found), 6.9, 8.2, color=OTHERS, lw=0.6, alpha=0.6, zorder=1)
    for place, value in enumerate(found.values()):
        axes.text(value + 0.05, place + 0.22, f"{value:.2f}", va="center", color=ink, fontsize=10)
    axes.set_xlim(6.9, 8.2)
    axes.tick_params(left=False, colors=ink, labelsize=10)
    axes.spines[["left", "top", "right"]].set_visible(False)
    axes.spines["bottom"].set_color(OTHERS)
    figure.suptitle("Volatility of a portfolio in later days, % a year", color=ink, fontsize=11)


def _training(figure: Figure, ink: str, _: str) -> None:
    """Training loss of the transformer with LayerNorm, over steps: the median of fresh seeds."""
    from bench.training.methods import BASELINE, METHODS
    from bench.training.methods import OURS as OURS_METHOD
    from bench.training.protocol import POINTS
    from bench.training.report import studies
    from bench.training.workloads import WORKLOADS

    study = next(study for study in studies() if study.name == "layernorm")
    steps = WORKLOADS[study.name].steps / POINTS * np.arange(1, POINTS + 1)
    axes = figure.subplots(subplot_kw={"facecolor": "none"})
    styles = {
        BASELINE: ("-", OTHERS), "muon": ("--", OTHERS), "soap": (":", OTHERS), OURS_METHOD: ("-", OURS),
    }  # fmt: skip
    for method, (style, colour) in styles.items():
        curves = [run["train"] for run in study.of(method).runs if not run["diverged"]]
        axes.plot(steps, np.median(curves, axis=0), style, color=colour, lw=2,
                  label=METHODS[method].title)  # fmt: skip
    axes.set_ylim(None, 2.9)
    axes.set_xlabel("steps", color=ink)
    axes.set_title("Training loss of a transformer", color=ink, fontsize=11)
    axes.tick_params(colors=ink, labelsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(OTHERS)
    axes.legend(frameon=False, labelcolor=ink, fontsize=9)


PICTURES: dict[str, Callable[[Figure, str, str], None]] = {
    "matrices": _matrices, "groups": _groups, "covariance": _covariance, "training": _training,
}  # fmt: skip
