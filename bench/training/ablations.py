"""BlockAdamW with one part left out or replaced.

Each class replaces a function or a constant of the step while it runs.
"""

from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from blockmat.optim.torch import BlockAdamW, directions, whitened_step, whitening
from blockmat.optim.torch.directions import Directions


@contextmanager
def _replaced(module: Any, name: str, value: Any) -> Any:
    before = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, before)


class NoScales(BlockAdamW):
    """All columns have the same scale."""

    def update(self) -> None:
        """Make a step."""
        with _replaced(whitening, "inverse_scales", lambda scales, _: torch.ones_like(scales)):
            super().update()


class RootsEvery5(BlockAdamW):
    """A root is used for five steps."""

    def update(self) -> None:
        """Make a step."""
        self.count = getattr(self, "count", -1) + 1
        if self.count % 5 == 0:
            self.roots: list[Tensor] = []
        own = iter(self.roots)
        make = whitened_step.inverse_root

        def root(cores: Tensor, norms: Tensor, damping: float) -> Tensor:
            if self.count % 5:
                return next(own)
            self.roots.append(make(cores, norms, damping))
            return self.roots[-1]

        with _replaced(whitened_step, "inverse_root", root):
            super().update()


class OfGradients(BlockAdamW):
    """Core, scales and directions are those of the gradient; the momentum is whitened with them."""

    def update(self) -> None:
        """Make a step."""
        stacked: list[tuple[Tensor, Tensor]] = []  # momentum and gradient of each stack
        make_stack, add, make_whitened = (
            whitened_step._stack, whitened_step.added, whitened_step.whiten,
        )  # fmt: skip

        def stack(group: Any, places: Any, weights: Any, saved: Any, ahead: Any) -> Any:
            made = make_stack(group, places, weights, saved, ahead)
            gradients = make_stack(group, places, weights, saved, [w.gradient for w in weights])
            stacked.append((made.momenta, gradients.momenta))
            return made

        def gradient_of(momenta: Tensor) -> Tensor:
            return next(g for u, g in stacked if u is momenta)

        def added(u: Tensor, weight: Tensor, *rest: Any) -> Tensor:
            return add(gradient_of(u), torch.ones_like(weight), *rest)

        def whiten(u: Tensor, root: Tensor, old: Any, beta: float, damping: float) -> Any:
            _, new = make_whitened(gradient_of(u), root, old, beta, damping)
            h = root @ u * whitening.inverse_scales(new.scales, damping).unsqueeze(-2)
            return _divided(h, old.directions.vectors, new.directions), new

        with (
            _replaced(whitened_step, "_stack", stack),
            _replaced(whitened_step, "added", added),
            _replaced(whitened_step, "whiten", whiten),
        ):
            super().update()


def _divided(h: Tensor, vectors: Tensor, own: Directions) -> Tensor:
    """Divide H (B, k, m) by the roots of the variances of its directions, and keep its norm."""
    if not own.variances.shape[-1]:
        return h
    relative = own.variances / own.rest.unsqueeze(-1)
    factors = relative.clamp(directions._SMALLEST, directions._LARGEST).rsqrt()
    treated = h + (h @ vectors * (factors - 1).unsqueeze(-2)) @ vectors.mT
    length = torch.linalg.matrix_norm(h) / torch.linalg.matrix_norm(treated)
    return treated * length.view(-1, 1, 1)
