"""One step of one weight, or of all vectors of a group: what it reads, keeps and changes."""

import math
from typing import Any

import torch
from torch import Tensor

from blockmat.exceptions import DtypeError
from blockmat.optim import _torch_cores as cores
from blockmat.optim._schedule import factors, refresh_is_due, total_weight
from blockmat.optim._torch_layout import Layout
from blockmat.optim._torch_symmetric import Decomposition, damped_inverse_root

_EPS = 1e-10  # added to the roots of single numbers, as torch.optim.Adagrad does

State = dict[str, Any]


def gradient(p: Tensor, group: dict[str, Any]) -> Tensor:
    """Return what to descend along, in at least single precision; ``p.grad`` is not changed."""
    g = p.grad
    assert g is not None
    if g.layout != torch.strided:
        raise DtypeError(f"a gradient of shape {tuple(g.shape)} is sparse; expected a dense one")
    if g.dtype in (torch.float16, torch.bfloat16):
        g = g.float()
    if group["maximize"]:
        g = -g
    if group["weight_decay"] and not group["decoupled_weight_decay"]:
        g = g.add(p, alpha=group["weight_decay"])
    return g


class WeightStep:
    """A step of a weight and the bias that shares its blocks.

    Parameters
    ----------
    group : dict
        The options.
    owner : Tensor
        The weight, whose state holds the statistics. It or the bias has a gradient.
    layout : Layout
        The blocks of the weight.
    bias : Tensor or None
        The bias in these blocks.
    states : mapping
        The state of the optimizer.
    """

    def __init__(
        self,
        group: dict[str, Any],
        owner: Tensor,
        layout: Layout,
        bias: Tensor | None,
        states: Any,
    ) -> None:
        self.group, self.layout, self.state, self.bias = group, layout, states[owner], bias
        members = [p for p in (owner, bias) if p is not None and p.grad is not None]
        self.members = [(p, p is bias) for p in members]
        self.states = [states[p] for p in members]
        self.sizes = layout.sizes + (bias is not None)
        self.gradients = [self._blocks(gradient(p, group), is_bias) for p, is_bias in self.members]
        self.parts = self.gradients
        self.sums = _row_sums(self.parts)
        self.step = self.state.get("step", 0) + 1
        interval = group["update_interval"]
        self.refresh = refresh_is_due(self.step, self.state.get("refreshed", 0), interval)

    def _blocks(self, x: Tensor, is_bias: bool) -> Tensor:
        return x.unsqueeze(1) if is_bias else self.layout.blocks(x)

    def measure(self) -> None:
        """Add the gradient to the statistics, if it is its turn."""
        group, state = self.group, self.state
        if "step" not in state:
            aligned = group["structure"] != "mean"
            k, like = self.layout.n_blocks, self.sums
            state |= {"step": 0, "measured": 0, "refreshed": 0}
            state |= cores.new_cores(k, aligned, like.dtype, like.device)
        state["step"] = self.step
        if group["structure"] == "scaled":
            self._scale_columns()
        interval = group["statistics_interval"]
        if self.refresh or refresh_is_due(self.step, state["measured"], interval):
            kept, added = factors(group["decay"], self.step - state["measured"])
            cores.measure(state, self.parts, self.sums, self.sizes, added, kept)
            state["measured"] = self.step

    def _scale_columns(self) -> None:
        """Divide the gradient by the root mean square of its columns, of all steps so far."""
        group, state = self.group, self.state
        joined = self._joined()
        squares = torch.linalg.vector_norm(joined, dim=0).square_()
        if "columns" not in state:
            state["columns"] = torch.zeros_like(squares)
        kept, added = factors(group["decay"], 1)
        state["columns"].mul_(kept).add_(squares, alpha=added)
        n_steps = self.step if group["decay"] is None else total_weight(group["decay"], self.step)
        roots = damped_inverse_root(state["columns"], group["damping"])
        self.parts = [joined * (roots * math.sqrt(n_steps * len(joined)))]
        self.sums = self.parts[0].sum(1)

    def _joined(self) -> Tensor:
        """Return the gradients side by side, with zeros for one that is missing."""
        if self.bias is None:
            return self.gradients[0]
        (first, *_), (_, is_bias) = self.gradients, self.members[0]
        if len(self.gradients) == 2:
            both = self.gradients
        elif is_bias:
            both = [first.new_zeros(len(first), int(self.layout.sizes)), first]
        else:
            both = [first, first.new_zeros(len(first), 1)]
        return torch.cat(both, dim=1)

    def _by_member(self, targets: list[Tensor]) -> list[Tensor]:
        """Return for each member what is its own, also where they are side by side."""
        if self.bias is None or self.parts is self.gradients:
            return targets
        weight, bias = targets[0].tensor_split([-1], dim=1)
        return [bias if is_bias else weight for _, is_bias in self.members]

    def to_decompose(self) -> list[Tensor]:
        """Return what has to be decomposed for new roots."""
        return cores.to_decompose(self.state, self.sizes)

    def keep_roots(self, found: list[Decomposition]) -> None:
        """Renew the roots from these decompositions."""
        scale = math.sqrt(total_weight(self.group["decay"], self.step))
        cores.keep_roots(self.state, found, self.sizes, self.group["damping"], scale)
        self.state["refreshed"] = self.step

    def update(self) -> None:
        """Change the parameters."""
        group, lr = self.group, float(self.group["lr"])
        params = [p for p, _ in self.members]
        shrink(params, group)
        is_bounded = not math.isinf(group["max_change"])
        is_direct = group["grafting"] is None and not (group["nesterov"] or is_bounded)
        if is_direct and self.parts is self.gradients and self.layout.is_view:
            self._update_directly(params, lr)
            return
        targets = [torch.zeros_like(part) for part in self.parts]
        self._precondition(targets, 1)
        if group["grafting"] is not None:
            self._graft(targets)
        if is_bounded:
            dtype, at_least = self.sums.dtype, math.sqrt(len(params[0]))
            length = _lengths(params, dtype).norm().clamp(min=at_least)
            torch._foreach_mul_(targets, limit(length, _lengths(targets, dtype).norm(), group))
        own = self._by_member(targets)
        for (p, is_bias), state, target in zip(self.members, self.states, own, strict=True):
            update = target.squeeze(1) if is_bias else self.layout.entries(target)
            if group["momentum"]:
                buffer = momentum_buffer(p, state, update.dtype).mul_(group["momentum"])
                buffer.add_(update)
                update = (
                    update.add(buffer, alpha=group["momentum"]) if group["nesterov"] else buffer
                )
            p.add_(update, alpha=-lr)

    def _update_directly(self, params: list[Tensor], lr: float) -> None:
        """Add the update to the momentum, or to the parameters, without a copy of it."""
        dtype, momentum = self.sums.dtype, self.group["momentum"]
        in_place = not momentum and all(p.is_contiguous() and p.dtype == dtype for p in params)
        if in_place:
            into = params
        elif momentum:
            pairs = zip(params, self.states, strict=True)
            into = [momentum_buffer(p, state, dtype).mul_(momentum) for p, state in pairs]
        else:
            into = [torch.zeros(p.shape, dtype=dtype, device=p.device) for p in params]
        targets = [
            self._blocks(x, is_bias) for x, (_, is_bias) in zip(into, self.members, strict=True)
        ]
        self._precondition(targets, -lr if in_place else 1)
        if not in_place:
            for p, update in zip(params, into, strict=True):
                p.add_(update, alpha=-lr)

    def _precondition(self, targets: list[Tensor], scale: float) -> None:
        pairs = zip(self.parts, targets, strict=True)
        cores.precondition(self.state, self.sums, self.sizes, pairs, scale)

    def _graft(self, updates: list[Tensor]) -> None:
        """Give the updates the length of simpler ones."""
        group, by_row = self.group, self.group["grafting"] == "row"
        kept, added = factors(group["decay"], 1)
        sizes = self.sizes.unsqueeze(1) if isinstance(self.sizes, Tensor) else self.sizes
        squares = [part.square() for part in self.gradients]
        if by_row:
            squares = [torch.cat(squares, dim=1).sum(1, keepdim=True) / sizes]
        if "graft" not in self.state:
            self.state["graft"] = [torch.zeros_like(square) for square in squares]
        sums = self.state["graft"]
        for total, square in zip(sums, squares, strict=True):
            total.mul_(kept).add_(square, alpha=added)
        weight = math.sqrt(total_weight(group["decay"], self.step))
        sums = sums * len(self.gradients) if by_row else sums
        roots = [total.sqrt().add_(_EPS) for total in sums]
        pairs = zip(self.gradients, roots, strict=True)
        dtype = self.sums.dtype
        wanted = _lengths([part / root for part, root in pairs], dtype).norm() * weight
        length = _lengths(updates, dtype).norm()
        torch._foreach_mul_(updates, torch.where(length > 0, wanted / length, 0))


class VectorStep:
    """A step of the parameters of a group that have one number per entry, or per row.

    Parameters
    ----------
    group : dict
        The options.
    params : list of Tensor
        The parameters, all with a gradient.
    by_row : list of bool
        Which of them have one number per row.
    states : mapping
        The state of the optimizer.
    """

    def __init__(
        self, group: dict[str, Any], params: list[Tensor], by_row: list[bool], states: Any
    ) -> None:
        self.group, self.params, self.by_row = group, params, by_row
        self.states = [states[p] for p in params]
        self.gradients = [gradient(p, group) for p in params]
        self.sums = torch.stack([g.sum() for g in self.gradients])

    def update(self) -> None:
        """Change the parameters."""
        group, lr, momentum = self.group, float(self.group["lr"]), self.group["momentum"]
        shrink(self.params, group)
        updates = self._preconditioned()
        if not math.isinf(group["max_change"]):
            n_rows = [len(p) if p.ndim else 1 for p in self.params]
            at_least = updates[0].new_tensor(n_rows).sqrt()
            lengths = torch.maximum(_lengths(self.params, at_least.dtype), at_least)
            shorter = limit(lengths, _lengths(updates, at_least.dtype), group)
            torch._foreach_mul_(updates, list(shorter.unbind()))
        if momentum:
            triples = zip(self.params, self.states, updates, strict=True)
            buffers = [momentum_buffer(p, state, u.dtype) for p, state, u in triples]
            torch._foreach_mul_(buffers, momentum)
            torch._foreach_add_(buffers, updates)
            if group["nesterov"]:
                torch._foreach_add_(updates, buffers, alpha=momentum)
            else:
                updates = buffers
        torch._foreach_add_(self.params, updates, alpha=-lr)

    def _preconditioned(self) -> list[Tensor]:
        kept, added = factors(self.group["decay"], 1)
        squares = [
            square.mean(dim=tuple(range(1, square.ndim)), keepdim=True) if by_row else square
            for square, by_row in zip(
                torch._foreach_mul(self.gradients, self.gradients), self.by_row, strict=True
            )
        ]
        for state, square in zip(self.states, squares, strict=True):
            if "step" not in state:
                state |= {"step": 0, "squares": torch.zeros_like(square)}
            state["step"] += 1
        sums = [state["squares"] for state in self.states]
        torch._foreach_mul_(sums, kept)
        torch._foreach_add_(sums, squares, alpha=added)
        roots = torch._foreach_sqrt(sums)
        torch._foreach_add_(roots, _EPS)
        updates = torch._foreach_div(self.gradients, roots)
        if self.group["decay"] is not None:
            weights = [total_weight(self.group["decay"], state["step"]) for state in self.states]
            torch._foreach_mul_(updates, [math.sqrt(weight) for weight in weights])
        return list(updates)


def _row_sums(parts: list[Tensor]) -> Tensor:
    return torch.stack([part.sum(1) for part in parts]).sum(0)


def _lengths(tensors: list[Tensor], dtype: torch.dtype) -> Tensor:
    return torch.stack([torch.linalg.vector_norm(x, dtype=dtype) for x in tensors])


def limit(length: Tensor, update_length: Tensor, group: dict[str, Any]) -> Tensor:
    """Return the factors, at most 1, of updates that change parameters too much.

    Repeated forever an update would change them, in one step, by no more than ``max_change``
    of their length.
    """
    in_the_long_run = float(group["lr"]) / (1 - group["momentum"]) * update_length
    factor: Tensor = (group["max_change"] * length / in_the_long_run).clamp(max=1)
    return factor


def shrink(params: list[Tensor], group: dict[str, Any]) -> None:
    """Apply decoupled weight decay."""
    if group["decoupled_weight_decay"] and group["weight_decay"]:
        torch._foreach_mul_(params, 1 - float(group["lr"]) * group["weight_decay"])


def momentum_buffer(p: Tensor, state: State, dtype: torch.dtype) -> Tensor:
    """Return the sum of past updates, which is contiguous whatever the parameter is."""
    if "momentum_buffer" not in state:
        state["momentum_buffer"] = torch.zeros(p.shape, dtype=dtype, device=p.device)
    buffer: Tensor = state["momentum_buffer"]
    return buffer
