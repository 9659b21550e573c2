"""Time of one step of BlockAdaGrad and memory of its state, against torch.optim.Adagrad."""

import statistics
import time
from collections.abc import Callable

import torch
from torch import nn
from torch.optim import Adagrad, Optimizer

from bench.rows import OURS, Row
from bench.training.methods import DiagonalAdaGrad, state_bytes
from blockmat.optim.torch import BlockAdaGrad

TITLE = "One step of AdaGrad for PyTorch"
STEPS, BATCH = 50, 64


def measure(quick: bool) -> list[Row]:
    rows = []
    sizes = [(256, 1024)] if quick else [(1024, 4096), (256, 784), (64, 576)]
    for k, m in sizes:
        for structure in ("mean", "aligned", "scaled"):
            for momentum in (0.0, 0.9):
                rows.append(_row(k, m, structure, momentum, quick))
        if k == 1024:
            rows.append(_row(k, m, "mean", 0.0, quick, before=4000))
    return rows


class _Training:
    """A layer and its optimizer."""

    def __init__(self, k: int, m: int, make: Callable[[nn.Parameter], Optimizer]) -> None:
        self.generator = torch.Generator().manual_seed(0)
        self.teacher = torch.randn(k, m, generator=self.generator) / m**0.5
        self.p = nn.Parameter(torch.zeros(k, m))
        self.p.grad = torch.zeros(k, m)
        self.optimizer = make(self.p)

    def seconds(self, n_steps: int) -> float:
        """Train, and return the mean time of a step of the optimizer."""
        spent = 0.0
        for _ in range(n_steps):
            x = torch.randn(BATCH, self.p.shape[1], generator=self.generator)
            with torch.no_grad():
                error = (self.p - self.teacher) @ x.T
                torch.mm(error, x / BATCH, out=self.p.grad)
            start = time.perf_counter()
            self.optimizer.step()
            spent += time.perf_counter() - start
        return spent / n_steps


def _row(
    k: int, m: int, structure: str, momentum: float, quick: bool, before: int = 8 * STEPS
) -> Row:
    def ours(p: nn.Parameter) -> Optimizer:
        return BlockAdaGrad(
            [p], lr=1e-3, structure=structure, momentum=momentum, update_interval=STEPS
        )

    competitors: dict[str, Callable[[nn.Parameter], Optimizer]] = {OURS: ours}
    if momentum:
        competitors["diagonal with momentum"] = lambda p: DiagonalAdaGrad([p], 1e-3, momentum)
    else:
        competitors["Adagrad foreach"] = lambda p: Adagrad([p], lr=1e-3, foreach=True)
        competitors["Adagrad fused"] = lambda p: Adagrad([p], lr=1e-3, fused=True)
    training = {name: _Training(k, m, make) for name, make in competitors.items()}
    training[OURS].seconds(before)
    late = f", after {before} steps" if before > 8 * STEPS else ""
    row = Row(
        f"{structure}, {k} x {m}, momentum {momentum:g}{late}", {name: [] for name in training}
    )
    for _ in range(2 if quick else 8):
        for name, own in training.items():
            row.times[name].append(own.seconds(STEPS))
    states = [state_bytes(own.optimizer) for own in training.values()]
    row.notes["state / diagonal state"] = state = states[0] / states[1]
    if structure == "mean" and k == 1024 and not momentum:
        for peer, wanted in (("Adagrad foreach", 1.0), ("Adagrad fused", 1.3)):
            ratio = statistics.median(row.times[OURS]) / statistics.median(row.times[peer])
            row.require(f"blockmat / {peer}", ratio, at_most=wanted)
        row.require("state / diagonal state", state, at_most=0.5)
    return row
