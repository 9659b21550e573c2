"""The optimizers of the experiments: functions of a model, a learning rate and a momentum."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim import SGD, Adam, Muon, Optimizer

from blockmat.cores import pair
from blockmat.optim.torch import BlockAdaGrad
from blockmat.optim.torch.between import DenseCore
from blockmat.optim.torch.checkpoint import tensors_in
from blockmat.optim.torch.structure import STRUCTURES
from blockmat.optim.torch.symmetric import decompose
from blockmat.optim.torch.weight_step import WeightStep

FREE = {"max_change": math.inf}


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


def _dense_between(step: WeightStep) -> DenseCore:
    """Go over to the k x k matrix of the between core, and return it."""
    step.cores.between = step.cores.between.to_dense_core()
    return step.cores.between


class DiagonalCore(BlockAdaGrad):
    """An ablation that uses only the diagonal of the between core."""

    def _renew_roots(self, weights: list[WeightStep]) -> None:
        super()._renew_roots(weights)
        for step in weights:
            core = _dense_between(step)
            diagonal = pair.damped_inverse_root(core.diagonal(), step.group["damping"])
            core.state["root"] = torch.diag(diagonal)


class OneSidedShampoo(BlockAdaGrad):
    """Aligned blocks without the mean direction: both cores are the sum of G G^T."""

    def _renew_roots(self, weights: list[WeightStep]) -> None:
        products = [step.cores.within.products.lower_triangle() for step in weights]
        found = decompose(
            [p / step.weight.sizes for p, step in zip(products, weights, strict=True)]
        )
        for step, decomposition in zip(weights, found, strict=True):
            if decomposition is not None:
                values, vectors = decomposition
                factors = pair.damped_inverse_root(values, step.group["damping"])
                root = pair.compose(factors, vectors)
                _dense_between(step).state["root"] = root
                step.cores.within.root = step.state["within_root"] = root
                step.state["refreshed"] = step.due.step


class MuonAndAdam(Optimizer):
    """torch.optim.Muon for hidden matrices and Adam for the rest, as the authors of Muon advise."""

    def __init__(self, model: nn.Module, lr: float) -> None:
        outer = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
        outer |= {
            id(m.weight) for m in [m for m in model.modules() if isinstance(m, nn.Linear)][-1:]
        }
        inside = [p for p in model.parameters() if p.ndim == 2 and id(p) not in outer]
        rest = [p for p in model.parameters() if p.ndim != 2 or id(p) in outer]
        self.parts = [Adam(rest, lr=lr)]
        if inside:
            self.parts.append(Muon(inside, lr=lr, weight_decay=0, adjust_lr_fn="match_rms_adamw"))
        super().__init__(model.parameters(), {})

    def step(self) -> None:
        for part in self.parts:
            part.step()
        self.state = {p: state for part in self.parts for p, state in part.state.items()}


@dataclass(frozen=True)
class Method:
    """A method and the momenta that it runs with."""

    title: str
    make: Callable[[nn.Module, float, float], Optimizer]
    momenta: tuple[float, ...] = (0.0, 0.9)


def _named(optimizer: type[BlockAdaGrad], **options: Any) -> Callable[..., Optimizer]:
    """For methods that treat all layers alike; they get named parameters."""

    def make(model: nn.Module, lr: float, momentum: float) -> Optimizer:
        return optimizer(model.named_parameters(), lr=lr, momentum=momentum, **options)

    return make


def _model(optimizer: type[BlockAdaGrad], **options: Any) -> Callable[..., Optimizer]:
    """For methods that treat embeddings and the output layer differently; they get the model."""

    def make(model: nn.Module, lr: float, momentum: float) -> Optimizer:
        return optimizer(model, lr=lr, momentum=momentum, **options)

    return make


def _diagonal(model: nn.Module, lr: float, momentum: float) -> Optimizer:
    return DiagonalAdaGrad(model.parameters(), lr, momentum)


def _sgd(model: nn.Module, lr: float, momentum: float) -> Optimizer:
    return SGD(model.parameters(), lr=lr, momentum=momentum)


def _adam(model: nn.Module, lr: float, momentum: float) -> Optimizer:
    return Adam(model.parameters(), lr=lr)


def _muon(model: nn.Module, lr: float, momentum: float) -> Optimizer:
    return MuonAndAdam(model, lr)


METHODS = {
    "diagonal": Method("diagonal AdaGrad", _diagonal),
    "diagonal-bounded": Method(
        "diagonal AdaGrad, bounded updates",
        _named(BlockAdaGrad, partition="diagonal", max_change=STRUCTURES["scaled"].max_change),
        (0.9,),
    ),
    "row": Method("one number per row", _named(BlockAdaGrad, **FREE, partition="row scalars")),
    "mean": Method(
        "block mean (the paper)", _named(BlockAdaGrad, structure="mean", partition="rows")
    ),
    "mean-diagonal": Method(
        "block mean, diagonal core", _named(DiagonalCore, structure="mean", partition="rows")
    ),
    "aligned": Method("aligned", _model(BlockAdaGrad, structure="aligned")),
    "aligned-graft": Method(
        "aligned, row grafting", _model(BlockAdaGrad, structure="aligned", grafting="row")
    ),
    "shampoo": Method("one-sided Shampoo", _model(OneSidedShampoo, structure="aligned")),
    "scaled-free": Method("scaled, no bound", _model(BlockAdaGrad, **FREE), (0.9,)),
    "scaled": Method("scaled (default)", _model(BlockAdaGrad)),
    "adam": Method("Adam", _adam, (0.9,)),
    "sgd": Method("SGD", _sgd, (0.9,)),
    "muon": Method("Muon and Adam", _muon, (0.9,)),
}
BASELINE, DEFAULT = "diagonal", "scaled"


def state_bytes(optimizer: Optimizer) -> int:
    """Return the memory of an optimizer's tensors."""
    return sum(t.nbytes for t in tensors_in(optimizer.state))
