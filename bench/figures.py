"""Pictures of the results, as PNG files for docs/images."""

import io
from typing import Any

from matplotlib.figure import Figure

from bench.rows import LIMIT, OURS, Row, load


def draw(scenario: str) -> bytes:
    """Draw the results of a scenario: its own picture, or all times as bars on a logarithmic scale."""
    content, rows = load(scenario)
    if scenario in OWN:
        figure = Figure(figsize=(10, 4), layout="constrained")
        OWN[scenario](rows, content["machine"], figure)
    else:
        figure = _bars([row for row in rows if row.times])
    return png(figure)


def png(figure: Figure, dpi: int = 100) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=dpi, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _bars(rows: list[Row]) -> Figure:
    names = list(dict.fromkeys(name for row in rows for name in row.times))
    colours = {name: f"C{i}" for i, name in enumerate(names)}
    n_bars = sum(len(row.times) for row in rows)
    figure = Figure(figsize=(10, 1.2 + 0.16 * n_bars + 0.22 * len(rows)), layout="constrained")
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
    axes.set_xlabel("median time in seconds")
    handles = [axes.barh(0, 0, color=colour) for colour in colours.values()]
    figure.legend(handles, names, loc="outside upper center", ncols=4, fontsize=8)
    return figure


def _scaling(rows: list[Row], _: dict[str, Any], figure: Figure) -> None:
    """Time over n with the passes over memory, and over k with the parts of the work."""
    by_n, by_k = figure.subplots(1, 2)
    for axes, group, names in (
        (by_n, "by n", (OURS, "one thread", LIMIT)),
        (by_k, "by k", (OURS, "product alone", "function alone")),
    ):
        chosen = [row for row in rows if row.group == group]
        x = [row.x for row in chosen]
        for name in names:
            label = "limit: passes over memory" if name == LIMIT else name
            axes.loglog(x, [row.median(name) for row in chosen], "o-", label=label)
        axes.set_ylabel("seconds")
        axes.legend()
    by_n.set_title("A.dot(x, out=y), k = 100")
    by_n.set_xlabel("n")
    n = int(next(row for row in rows if row.group == "by k").work.split("n = ")[1].split(",")[0])
    for label, k, style in (("k = ∛n", n ** (1 / 3), "--"), ("k = √n", n**0.5, ":")):
        by_k.axvline(k, color="grey", linestyle=style, label=label)
    by_k.legend()
    by_k.set_title(f"A.invsqrtm() @ x, n = {n:,}")
    by_k.set_xlabel("k")


def _discover(rows: list[Row], _: dict[str, Any], figure: Figure) -> None:
    """The adjusted Rand index of the hard cases, a panel for each number of samples and of sizes."""
    shown = [r for r in rows if r.group == "Planted blocks" and r.work.startswith("hard")]
    names = (OURS, "KMeans", "Ward", "SpectralClustering")
    panels = figure.subplots(1, len(shown), sharey=True)
    for axes, row in zip(panels, shown, strict=True):
        values = [row.notes[name] for name in names]
        axes.bar(range(len(names)), values, color=["#d55e00", "#0072b2", "#56b4e9", "#999999"])
        for i, value in enumerate(values):
            axes.text(i, value + 0.01, f"{value:.2f}", ha="center", fontsize=8)
        axes.set_xticks(range(len(names)), names, rotation=30, ha="right", fontsize=8)
        axes.set_title(row.work, fontsize=10)
        axes.set_ylim(0, 1.08)
    panels[0].set_ylabel("adjusted Rand index")


def _covariance(rows: list[Row], _: dict[str, Any], figure: Figure) -> None:
    """Likelihood and volatility of each estimator over the number of days."""
    shown = {
        "BlockCovariance()": ("#d55e00", "-"), "found blocks": ("#d55e00", "--"),
        "BlockCovariance(sectors)": ("#e69f00", "-"), "sectors": ("#e69f00", "--"),
        "LedoitWolf": ("#999999", "-"), "FactorAnalysis(6), standardised": ("#0072b2", "-"),
        "QIS, standardised": ("#009e73", "-"), "bahc": ("#cc79a7", "-"),
    }  # fmt: skip
    titles = {
        "Log-likelihood": "Log-likelihood of later days, per variable:\nhigher is better",
        "Volatility": "Volatility in later days, % a year:\nlower is better",
    }
    panels = figure.subplots(1, 2)
    for axes, (group, title) in zip(panels, titles.items(), strict=True):
        for row in rows:
            if row.group == group and row.work in shown:
                colour, style = shown[row.work]
                days = [int(name.split()[-1]) for name in row.notes]
                values = list(row.notes.values())
                axes.plot(days, values, style, marker="o", ms=4, color=colour, label=row.work)
        axes.set_xlabel("days in the fit")
        axes.set_xticks(days)
        axes.set_title(title, fontsize=9)
        axes.grid(alpha=0.3)
    panels[0].set_ylim(-0.42, -0.27)
    panels[0].text(0.5, 0.02, "LedoitWolf is below this range", ha="center", fontsize=8,
                   color="#777777", transform=panels[0].transAxes)  # fmt: skip
    panels[1].legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))


OWN = {
    "scaling": _scaling, "discover": _discover, "covariance": _covariance,
}  # fmt: skip
