"""Time of one step of the optimizers for one layer and for a transformer, and memory of their states."""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim import Adagrad, AdamW

from bench.rows import OURS, Row
from bench.training.methods import METHODS, PEERS, state_bytes
from blockmat.optim.torch import BlockAdaGrad

TITLE = "One step of optimizers for PyTorch"
STEPS, BATCH = 10, 64
INTERVAL = 50  # steps of BlockAdaGrad between two roots, and in its turns
LATE = 100  # steps of BlockAdaGrad before the first one that is timed
SHARP = ("muon", "soap")

Make = Callable[[nn.Module], Any]


def measure(quick: bool) -> list[Row]:
    sizes = [(64, 576)] if quick else [(1024, 4096), (256, 784), (64, 576)]
    rows = [
        _adamw(f"BlockAdamW, {k} x {m}", lambda k=k, m=m: _Layer(k, m), quick) for k, m in sizes
    ]  # type: ignore[misc]
    rows.append(_adamw("BlockAdamW, transformer", _Transformer, quick))
    return rows + [_adagrad(k, m, kind, quick) for k, m in sizes for kind in ("mean", "aligned")]


class _Model(nn.Module):
    """A model whose gradients are those of a made-up loss, of which no time is measured."""

    def loss(self, generator: torch.Generator) -> torch.Tensor:
        raise NotImplementedError


class _Layer(_Model):
    """One layer that learns another one; the optimizers treat it as a hidden one."""

    def __init__(self, k: int, m: int) -> None:
        super().__init__()
        self.inner = nn.Linear(m, k, bias=False)
        self.outer = nn.Linear(k, 1, bias=False)
        self.teacher = torch.randn(k, m) / m**0.5

    def loss(self, generator: torch.Generator) -> torch.Tensor:
        x = torch.randn(BATCH, self.teacher.shape[1], generator=generator)
        hidden = self.inner(x)
        return (hidden - x @ self.teacher.T).square().mean() + self.outer(hidden).square().mean()


class _Transformer(_Model):
    """The transformer of the experiments, on random symbols."""

    def __init__(self) -> None:
        super().__init__()
        from bench.training.workloads import _Transformer as Transformer

        self.model = Transformer(65, 64, nn.LayerNorm)

    def loss(self, generator: torch.Generator) -> torch.Tensor:
        symbols = torch.randint(65, (4, 64), generator=generator)
        return nn.functional.cross_entropy(self.model(symbols).flatten(0, 1), symbols.flatten())


class _Training:
    """A model and its optimizer."""

    def __init__(self, make_model: Callable[[], _Model], make: Make) -> None:
        torch.manual_seed(0)
        self.generator = torch.Generator().manual_seed(0)
        self.model = make_model()
        self.optimizer = make(self.model)

    def seconds(self, n_steps: int) -> float:
        """Train, and return the mean time of a step of the optimizer."""
        spent = 0.0
        for _ in range(n_steps):
            self.optimizer.zero_grad()
            self.model.loss(self.generator).backward()
            start = time.perf_counter()
            self.optimizer.step()
            spent += time.perf_counter() - start
        return spent / n_steps


def _contest(
    work: str,
    make_model: Callable[[], _Model],
    makes: dict[str, Make],
    turn: int,
    before: int,
    quick: bool,
) -> tuple[Row, dict[str, int]]:
    """Measure optimizers in turns; return also the bytes of their states."""
    training = {name: _Training(make_model, make) for name, make in makes.items()}
    row = Row(work, {name: [] for name in training})
    for own in training.values():
        own.seconds(2 if quick else before)
    for _ in range(5 if quick else 8):
        for name, own in training.items():
            row.times[name].append(own.seconds(turn))
    return row, {name: state_bytes(own.optimizer) for name, own in training.items()}


def _adamw(work: str, make_model: Callable[[], _Model], quick: bool) -> Row:
    makes: dict[str, Make] = {OURS: lambda model: METHODS["ours"].make(model, 1e-3, 1)}
    makes["AdamW foreach"] = lambda m: AdamW(m.parameters(), lr=1e-3, foreach=True)
    makes["AdamW fused"] = lambda m: AdamW(m.parameters(), lr=1e-3, fused=True)
    for name, title in zip(SHARP, ("Muon", "SOAP"), strict=True):
        makes[title] = lambda model, name=name: PEERS[name].make(model, 1e-3, 1)
    row, states = _contest(work, make_model, makes, STEPS, 2 * STEPS, quick)
    row.notes["state / state of AdamW"] = states[OURS] / states["AdamW foreach"]
    if "transformer" in work or "1024 x" in work:
        row.require("blockmat / Muon", 1 / row.ratio("Muon"), at_most=0.5)
        row.require("blockmat / SOAP", 1 / row.ratio("SOAP"), at_most=0.35)
    return row


def _adagrad(k: int, m: int, structure: str, quick: bool) -> Row:
    def ours(model: nn.Module) -> BlockAdaGrad:
        return BlockAdaGrad(
            [model.inner.weight], lr=1e-3, structure=structure, update_interval=INTERVAL
        )

    makes: dict[str, Make] = {OURS: ours}
    makes["Adagrad foreach"] = lambda m: Adagrad([m.inner.weight], lr=1e-3, foreach=True)
    makes["Adagrad fused"] = lambda m: Adagrad([m.inner.weight], lr=1e-3, fused=True)
    work = f"BlockAdaGrad, {structure}, {k} x {m}"
    row, states = _contest(work, lambda: _Layer(k, m), makes, INTERVAL, LATE, quick)
    ours_bytes, theirs = list(states.values())[:2]
    row.notes["state / diagonal state"] = state = ours_bytes / theirs
    if structure == "mean" and k == 1024:
        row.require("blockmat / Adagrad foreach", 1 / row.ratio("Adagrad foreach"), at_most=1.0)
        row.require("state / diagonal state", state, at_most=0.5)
    return row
