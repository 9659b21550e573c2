"""One step of BlockAdaGrad for PyTorch beside torch.optim.Adagrad, and the memory of both.

A turn is ``update_interval`` steps, 50, after 400 steps, so that the time of one step counts
its share of renewed roots. "Diagonal with momentum" is Adagrad's foreach implementation with
a momentum buffer, which PyTorch does not have. "State" is the memory of statistics, cached
roots and momentum, beside that of the diagonal's with the same momentum.
"""

import statistics

import torch
from torch import nn

from bench.harness import OURS, Row, contest
from bench.training.methods import DiagonalAdaGrad, state_bytes
from blockmat.optim.torch import BlockAdaGrad

TITLE = "One step of AdaGrad for PyTorch"
STEPS = 50


def measure(quick: bool) -> list[Row]:
    rows = []
    sizes = [(256, 1024)] if quick else [(1024, 4096), (256, 784), (64, 576)]
    for k, m in sizes:
        for structure in ("mean", "aligned"):
            for momentum in (0.0, 0.9):
                rows.append(_layer(k, m, structure, momentum, quick))
    return rows


def _layer(k: int, m: int, structure: str, momentum: float, quick: bool) -> Row:
    def parameter() -> nn.Parameter:
        p = nn.Parameter(torch.zeros(k, m))
        p.grad = torch.randn(k, m, generator=torch.Generator().manual_seed(0))
        return p

    ours = BlockAdaGrad(
        [parameter()], lr=1e-6, structure=structure, momentum=momentum, update_interval=STEPS
    )
    if momentum:
        peers = {"diagonal_with_momentum": DiagonalAdaGrad([parameter()], 1e-6, momentum)}
    else:
        peers = {
            "Adagrad_foreach": torch.optim.Adagrad([parameter()], lr=1e-6, foreach=True),
            "Adagrad_fused": torch.optim.Adagrad([parameter()], lr=1e-6, fused=True),
        }
    p = ours.param_groups[0]["params"][0]
    noise = torch.randn(k, 1, generator=torch.Generator().manual_seed(1))
    for step in range(8 * STEPS):  # roots of statistics that have seen many directions
        p.grad.add_(noise.roll(step, 0), alpha=0.1)
        ours.step()

    def steps_of(optimizer: torch.optim.Optimizer):
        def run() -> None:
            for _ in range(STEPS):
                optimizer.step()

        return run

    row = contest(
        f"{structure}, {k} x {m}, momentum {momentum:g}",
        steps_of(ours),
        quick=quick,
        **{name: steps_of(optimizer) for name, optimizer in peers.items()},
    )
    row.times = {name: [t / STEPS for t in times] for name, times in row.times.items()}
    diagonal = next(iter(peers.values()))
    state = state_bytes(ours) / state_bytes(diagonal)
    row.notes["state, of the diagonal's"] = state
    if structure == "mean" and k == 1024 and not momentum:
        medians = {name: statistics.median(times) for name, times in row.times.items()}
        for peer, wanted in (("Adagrad foreach", 1.0), ("Adagrad fused", 1.3)):
            row.require(f"time, of {peer}'s", medians[OURS] / medians[peer], at_most=wanted)
        row.require("state, of the diagonal's", state, at_most=0.5)
    return row
