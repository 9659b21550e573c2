"""The optimizers of the experiments: functions of a model, a learning rate and a number of steps.

All leave out weight decay. Peers have their authors' defaults, except that Adam and its relatives
have the second factor 0.95, which is better than 0.999 in runs as short as these.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam, AdamW, Muon, Optimizer

from bench.training.ablations import NoScales, OfGradients, RootsEvery5
from blockmat.optim.torch import BlockAdaGrad, BlockAdamW
from blockmat.optim.torch.checkpoint import tensors_in

Make = Callable[[nn.Module, float, int], Any]
BETAS = (0.9, 0.95)


class DiagonalAdaGrad(Optimizer):
    """The foreach implementation of torch.optim.Adagrad, with momentum and without further options."""

    def __init__(self, params: Any, lr: float, momentum: float) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            gradients = [p.grad for p in params]
            for p in params:
                if not self.state[p]:
                    self.state[p]["sum"] = torch.zeros_like(p)
                    if group["momentum"]:
                        self.state[p]["buffer"] = torch.zeros_like(p)
            sums = [self.state[p]["sum"] for p in params]
            torch._foreach_addcmul_(sums, gradients, gradients)
            roots = torch._foreach_sqrt(sums)
            torch._foreach_add_(roots, 1e-10)
            if not group["momentum"]:
                torch._foreach_addcdiv_(params, gradients, roots, value=-group["lr"])
                continue
            buffers = [self.state[p]["buffer"] for p in params]
            torch._foreach_mul_(buffers, group["momentum"])
            torch._foreach_addcdiv_(buffers, gradients, roots)
            torch._foreach_add_(params, buffers, alpha=-group["lr"])


class MuonAndAdam:
    """torch.optim.Muon for hidden matrices and Adam for the rest, as the authors of Muon advise.

    Filters are flattened to (out, rest). Embeddings and the last linear layer get Adam.
    """

    def __init__(self, model: nn.Module, lr: float) -> None:
        outer = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
        outer |= {id([m for m in model.modules() if isinstance(m, nn.Linear)][-1].weight)}
        inside = [p for p in model.parameters() if p.ndim > 1 and id(p) not in outer]
        rest = [p for p in model.parameters() if p.ndim < 2 or id(p) in outer]
        self.flattened = [(p, nn.Parameter(p.data.flatten(1))) for p in inside if p.ndim > 2]
        matrices = [p for p in inside if p.ndim == 2] + [flat for _, flat in self.flattened]
        self.parts = [
            Adam(rest, lr=lr, betas=BETAS),
            Muon(matrices, lr, weight_decay=0, momentum=0.9, adjust_lr_fn="match_rms_adamw"),
        ]
        self.model = model

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return [group for part in self.parts for group in part.param_groups]

    @property
    def state(self) -> dict[Tensor, Any]:
        return {p: state for part in self.parts for p, state in part.state.items()}

    def zero_grad(self) -> None:
        self.model.zero_grad()

    def step(self) -> None:
        for p, flat in self.flattened:
            flat.grad = p.grad.flatten(1)
        for part in self.parts:
            part.step()


def _soap(model: nn.Module, lr: float, _: int) -> Optimizer:
    from pytorch_optimizer import SOAP

    return SOAP(model.parameters(), lr=lr, betas=BETAS, weight_decay=0.0)


def _schedule_free(model: nn.Module, lr: float, steps: int) -> Optimizer:
    from schedulefree import AdamWScheduleFree

    optimizer = AdamWScheduleFree(
        model.parameters(), lr=lr, betas=BETAS, warmup_steps=max(1, round(WARM_UP * steps))
    )
    optimizer.train()
    return optimizer


WARM_UP = 0.05  # of the steps


@dataclass(frozen=True)
class Method:
    """A method, and the learning rate about which the search for its best one begins."""

    title: str
    make: Make
    lr: float
    has_own_schedule: bool = False


def _adamw(model: nn.Module, lr: float, _: int) -> Optimizer:
    return AdamW(model.parameters(), lr=lr, betas=BETAS, weight_decay=0.0)


def _diagonal(momentum: float) -> Make:
    return lambda model, lr, _: DiagonalAdaGrad(model.parameters(), lr, momentum)


def _ours(cls: type[BlockAdamW] = BlockAdamW, **options: Any) -> Make:
    return lambda model, lr, _: cls(model, lr=lr, **options)


def _adagrad(**options: Any) -> Make:
    return lambda model, lr, _: BlockAdaGrad(model, lr=lr, **options)


BASELINE, OURS = "adamw", "ours"
DEFAULT_RATE = 3e-3  # of BlockAdamW

# With warm-up and decay of the rate.
PEERS = {
    BASELINE: Method("AdamW", _adamw, 3e-3),
    "adagrad": Method("AdaGrad, diagonal, momentum 0.9", _diagonal(0.9), 1e-2),
    "muon": Method(
        "Muon", lambda model, lr, _: MuonAndAdam(model, lr), 1e-2
    ),
    "soap": Method("SOAP", _soap, 3e-3),
    "schedulefree": Method("AdamW, schedule-free", _schedule_free, 1e-2, has_own_schedule=True),
    "block-aligned": Method(
        "BlockAdaGrad, aligned, momentum 0.9", _adagrad(structure="aligned", momentum=0.9), 3e-3
    ),
}  # fmt: skip
METHODS = PEERS | {OURS: Method("BlockAdamW", _ours(), DEFAULT_RATE)}

ABLATIONS = {
    "no-scales": Method("no column scales", _ours(NoScales), DEFAULT_RATE),
    "no-directions": Method("no directions", _ours(n_directions=0), DEFAULT_RATE),
    "of-gradients": Method("second moment of the gradient", _ours(OfGradients), DEFAULT_RATE),
    "root5": Method("a root for five steps", _ours(RootsEvery5), DEFAULT_RATE),
    "b95": Method("β₂ = 0.95", _ours(betas=(0.9, 0.95)), DEFAULT_RATE),
}  # fmt: skip

# AdaGrad as in the paper: a constant rate, no momentum.
CONSTANT = {
    "diagonal": Method("diagonal", _diagonal(0.0), 1e-2),
    "mean": Method("block mean (the paper)", _adagrad(structure="mean", partition="rows"), 1e-2),
    "aligned": Method("aligned", _adagrad(structure="aligned"), 1e-2),
}  # fmt: skip
ALL = METHODS | ABLATIONS | CONSTANT


def state_bytes(optimizer: Any) -> int:
    """Return the memory of an optimizer's tensors."""
    return sum(t.nbytes for t in tensors_in(optimizer.state))
