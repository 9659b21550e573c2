"""Tables and numbers of the trials for the page of experiments."""

import json
import math
import statistics
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from bench.rows import Goal, markdown, two_digits
from bench.training.methods import (
    ABLATIONS,
    ALL,
    BASELINE,
    CONSTANT,
    DEFAULT_RATE,
    METHODS,
    OURS,
    PEERS,
    WARM_UP,
)
from bench.training.protocol import (
    FRESH_SEEDS,
    LAST,
    POINTS,
    RESULTS,
    Trial,
    Trials,
    final_loss,
)
from bench.training.protocol import OF_ABLATIONS as N_OF_ABLATIONS
from bench.training.run import OF_ABLATIONS, OF_CONSTANT
from bench.training.times import path_in
from bench.training.workloads import VALIDATION, WORKLOADS

SHARPEST = ("muon", "soap")  # the peers of the first goal
AT_DEFAULT = "default"  # BlockAdamW at its default rate


class Summary:
    """The fresh seeds of one method at one rate."""

    def __init__(self, trials: Trials, method: str, lr: float) -> None:
        self.method, self.lr = method, lr
        self.runs = trials.fresh(method, lr)
        if not self.runs:
            raise KeyError(method)
        self.losses = [final_loss(run) for run in self.runs]
        self.validation = [run["validation"] for run in self.runs]
        self.diverged = sum(run["diverged"] for run in self.runs)
        self.state_bytes = self.runs[0]["state_bytes"]

    @property
    def loss(self) -> float:
        """The median of the final losses."""
        return statistics.median(self.losses)

    @property
    def range(self) -> float:
        """The largest minus the smallest final loss."""
        return max(self.losses) - min(self.losses)

    def share_of_steps_to(self, target: float) -> float:
        """The median share of all steps after which the loss is at most the target."""
        return statistics.median(_share_to(run, target) for run in self.runs)

    def loss_at(self, share: float) -> float:
        """The median loss after a share of the steps."""
        last = min(POINTS, math.floor(share * POINTS))
        if last < LAST:
            return math.nan
        return statistics.median(_means(run)[last - LAST] for run in self.runs)


def _means(run: Trial) -> Any:
    """The means over a tenth of the steps that end at each point from the tenth on."""
    points = [math.inf] * POINTS if run["diverged"] else run["train"]
    return np.lib.stride_tricks.sliding_window_view(np.array(points), LAST).mean(1)


def _share_to(run: Trial, target: float) -> float:
    reached = np.flatnonzero(_means(run) <= target)
    return (LAST + int(reached[0])) / POINTS if len(reached) else math.inf


class Study:
    """All results of one workload."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.trials = name, Trials(name, folder)
        path = path_in(folder)
        times = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        self.times: dict[str, dict[str, float]] = times.get(name, {})
        self._summaries: dict[str, Summary] = {}

    def of(self, method: str) -> Summary:
        """The summary of a method, or of `AT_DEFAULT`; `KeyError` if it has not run."""
        if method not in self._summaries:
            own = OURS if method == AT_DEFAULT else method
            lr = DEFAULT_RATE if method == AT_DEFAULT else self.trials.best_lr(method)
            self._summaries[method] = Summary(self.trials, own, lr)
        return self._summaries[method]

    @property
    def is_complete(self) -> bool:
        """Whether the baseline and BlockAdamW have run with all seeds."""
        try:
            return all(len(self.of(m).runs) == len(FRESH_SEEDS) for m in (BASELINE, AT_DEFAULT))
        except KeyError:
            return False

    def steps(self, method: str, of: str = BASELINE) -> float:
        """Steps until the final loss of another method, relative to its steps until then."""
        target = self.of(of).loss
        return self.of(method).share_of_steps_to(target) / self.of(of).share_of_steps_to(target)

    def seconds(self, method: str, of: str = BASELINE) -> float:
        """Time until the final loss of another method, relative to its time until then."""
        return self.steps(method, of) * self.time(method) / self.time(of)

    def time(self, method: str, part: str = "step") -> float:
        """Milliseconds of a training step, or of its part in the "optimizer"."""
        return self.times[OURS if method == AT_DEFAULT else method][part]

    def loss_in_equal_time(self, method: str) -> float:
        """The loss when the baseline has made all its steps."""
        return self.of(method).loss_at(self.time(BASELINE) / self.time(method))


@cache
def studies(folder: Path = RESULTS) -> list[Study]:
    """Return the workloads with complete results; `KeyError` if there is none."""
    found = [study for name in WORKLOADS if (study := Study(name, folder)).is_complete]
    if not found:
        raise KeyError(str(folder))
    return found


# Tables

TITLES = {name: method.title for name, method in ALL.items()} | {
    OURS: "**BlockAdamW**, best rate",
    AT_DEFAULT: "**BlockAdamW**, default rate",
}
ROWS = (*PEERS, OURS, AT_DEFAULT)


def _number(x: float) -> str:
    return f"{x:.3g}" if math.isfinite(x) else "-"


def _ratio(x: float) -> str:
    return f"{x:.2f}" if math.isfinite(x) else "not reached"


def _final(s: Summary) -> str:
    return f"{s.loss:.4g} ({min(s.losses):.4g} to {max(s.losses):.4g})"


def _table(
    rows: tuple[str, ...],
    cell: Callable[[Study, str], str],
    names: tuple[str, ...] = tuple(WORKLOADS),
) -> str:
    """A table with a row for each method that has run, and a column for each workload."""
    chosen = [study for study in studies() if study.name in names]

    def text(study: Study, method: str) -> str:
        try:
            return cell(study, method)
        except KeyError:
            return ""

    found = [[TITLES[m], *(text(study, m) for study in chosen)] for m in rows]
    return markdown(
        ["method", *(study.name for study in chosen)], [row for row in found if any(row[1:])]
    )


def _of_workloads() -> str:
    rows = [
        [s.name, WORKLOADS[s.name].title, str(WORKLOADS[s.name].steps),
         _number(s.of(BASELINE).loss), f"{s.time(BASELINE):.2g}"]
        for s in studies()
    ]  # fmt: skip
    headings = ["name", "data and network", "steps", "final loss of AdamW", "its ms per step"]
    return markdown(headings, rows)


def _constant(study: Study, method: str) -> str:
    s = study.of(method)
    return f"{_final(s)}; steps {_ratio(study.steps(method, 'diagonal'))}"


TABLES: dict[str, Callable[[], str]] = {
    "workloads": _of_workloads,
    "losses": lambda: _table(ROWS, lambda s, m: _final(s.of(m))),
    "validation": lambda: _table(
        ROWS, lambda s, m: _number(statistics.median(s.of(m).validation))
    ),
    "steps": lambda: _table(ROWS, lambda s, m: _ratio(s.steps(m))),
    "seconds": lambda: _table(ROWS, lambda s, m: _ratio(s.seconds(m))),
    "equal time": lambda: _table(ROWS, lambda s, m: _number(s.loss_in_equal_time(m))),
    "times": lambda: _table(
        tuple(METHODS), lambda s, m: f"{s.time(m, 'optimizer'):.2g} / {s.time(m):.2g}"
    ),
    "state": lambda: _table(
        tuple(METHODS), lambda s, m: f"{s.of(m).state_bytes / 1024:,.0f}"
    ),
    "ablations": lambda: _table(
        (OURS, *ABLATIONS), lambda s, m: f"{_final(s.of(m))}, {s.of(m).lr:g}", OF_ABLATIONS
    ),
    "constant": lambda: _table(tuple(CONSTANT), _constant, OF_CONSTANT),
    "goals": lambda: _table_of_goals(),
}  # fmt: skip


def _table_of_goals() -> str:
    rows = [
        [
            "✓" if g.reached else "✗",
            g.figure,
            f"{g.value:.3g}",
            f"{'≥' if g.at_least else '≤'} {g.wanted:g}",
        ]
        for g in goals()
    ]
    return markdown(["", "figure", "measured", "goal"], rows)


def goals() -> list[Goal]:
    """The goals that were set before the measurement."""
    found = studies()
    lower, over, near = 0, -math.inf, 0
    for s in found:
        best = min((s.of(m).loss for m in SHARPEST), default=math.inf)
        lower += s.of(OURS).loss < best
        over = max(over, (s.of(OURS).loss - best) / max(s.of(OURS).range, 1e-12))
        near += s.of(AT_DEFAULT).loss <= 1.03 * s.of(OURS).loss
    n = len(found)
    steps = [s.steps(OURS) for s in found]
    spent = [s.seconds(OURS) for s in found]
    text = next((s for s in found if s.name == "layernorm"), found[0])
    own = text.time(OURS, "optimizer")
    muon, soap = text.time("muon", "optimizer"), text.time("soap", "optimizer")
    parameters = text.of(BASELINE).state_bytes / 2
    return [
        Goal("workloads with a lower final loss than Muon and SOAP", lower, 5, True),
        Goal("final loss above the better of them, in ranges of seeds, worst", over, 1, False),
        Goal("steps to the final loss of AdamW, median", statistics.median(steps), 0.45, False),
        Goal("steps to the final loss of AdamW, worst workload", max(steps), 0.8, False),
        Goal("seconds to the final loss of AdamW, median", statistics.median(spent), 0.6, False),
        Goal("seconds to the final loss of AdamW, worst workload", max(spent), 1.0, False),
        Goal(f"workloads of {n} within 3 % of the best rate at the default rate", near, 6, True),
        Goal("time of the optimizer relative to Muon, layernorm", own / muon, 0.5, False),
        Goal("time of the optimizer relative to SOAP, layernorm", own / soap, 0.35, False),
        Goal("state relative to the parameters, layernorm",
             text.of(OURS).state_bytes / parameters, 1.7, False),
        Goal("steps to the final loss of diagonal AdaGrad, median",
             statistics.median(s.steps(OURS, "adagrad") for s in found), 0.5, False),
        Goal("seconds to the final loss of diagonal AdaGrad, median",
             statistics.median(s.seconds(OURS, "adagrad") for s in found), 0.8, False),
    ]  # fmt: skip


def summary(folder: Path) -> str:
    """The main tables as text; the goals where everything has run."""
    found = studies(folder)
    lines = []
    for study in found:
        lines.append(f"\n{WORKLOADS[study.name].title}")
        for method in (*ROWS, *ABLATIONS, *CONSTANT):
            try:
                s = study.of(method)
                lines.append(f"  {TITLES[method]:40} rate {s.lr:<8g} final loss {_final(s)}")
            except KeyError:
                continue
    return "\n".join(lines)


SETTINGS = {
    "fresh seeds": len(FRESH_SEEDS),
    "fresh seeds of ablations": N_OF_ABLATIONS,
    "validation examples": VALIDATION,
    "warm-up": 100 * WARM_UP,
    "default rate": DEFAULT_RATE,
}


def text_of(address: list[str]) -> str:
    """The text for a place of the pages, whose address begins with ``training``.

    ``NAME`` is one of `TABLES`, ``settings | NAME`` one of `SETTINGS`, and ``number | NAME`` one of
    the numbers in sentences.
    """
    match address:
        case ["settings", name]:
            return f"{SETTINGS[name]:g}"
        case ["number", name]:
            value = numbers()[name]
            return f"{value:.3g}" if name.startswith("loss of") else two_digits(value)
        case [name]:
            return TABLES[name]()
    raise KeyError(" | ".join(address))


def numbers() -> dict[str, float]:
    """Numbers in sentences: the goals, and some more."""
    found = studies()
    return {goal.figure: goal.value for goal in goals()} | {
        "workloads": len(found),
        "workloads within 3 % at the default rate": sum(
            s.of(AT_DEFAULT).loss <= 1.03 * s.of(OURS).loss for s in found
        ),
        "steps at the default rate, median": statistics.median(s.steps(AT_DEFAULT) for s in found),
        "seconds at the default rate, median": statistics.median(
            s.seconds(AT_DEFAULT) for s in found
        ),
        "loss of BlockAdamW, layernorm": _study("layernorm").of(AT_DEFAULT).loss,
        "loss of AdamW, layernorm": _study("layernorm").of(BASELINE).loss,
        "loss of Muon, layernorm": _study("layernorm").of("muon").loss,
        "loss of SOAP, layernorm": _study("layernorm").of("soap").loss,
    }


def _study(name: str) -> Study:
    return next(s for s in studies() if s.name == name)
