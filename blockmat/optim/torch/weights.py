"""One step of one weight, or of all vectors of a group: what it reads, keeps and changes."""

import math
from typing import Any

import torch
from torch import Tensor

from blockmat.exceptions import DtypeError
from blockmat.optim._schedule import factors, refresh_is_due, total_weight
from blockmat.optim.torch import between, cores
from blockmat.optim.torch.blocks import COLUMNS, ROWS, Layout
from blockmat.optim.torch.sharded import local, shards_of
from blockmat.optim.torch.symmetric import Decomposition, damped_inverse_root

_EPS = 1e-10  # added to the roots of single numbers, as torch.optim.Adagrad does

State = dict[str, Any]


def gradient(p: Tensor, group: dict[str, Any]) -> Tensor:
    """Return what to descend along on this rank, in at least single precision.

    ``p.grad`` is not changed.
    """
    assert p.grad is not None
    g, p = local(p.grad), local(p)
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
        self.whole = members
        self.members = [(p, p is bias) for p in members]
        self.states = [states[p] for p in members]
        self.eps = max(torch.finfo(p.grad.dtype).eps for p in members if p.grad is not None)
        self.sizes = layout.sizes + (bias is not None)
        self.shards = shards_of(owner)
        self.own_blocks: slice | None = None  # where each rank has some blocks, not members of all
        if self.shards is not None and group["structure"] == "mean" and layout.kind == ROWS:
            self.own_blocks = self.shards.own_members(of_columns=True)
        self.gradients = [self._blocks(gradient(p, group), is_bias) for p, is_bias in self.members]
        self.parts = self.gradients
        self.sums = self._row_sums()
        self.step = self.state.get("step", 0) + 1
        interval = group["update_interval"]
        self.refresh = refresh_is_due(self.step, self.state.get("refreshed", 0), interval)
        self.measures = self.refresh or refresh_is_due(
            self.step, self.state.get("measured", 0), group["statistics_interval"]
        )
        self.squares: Tensor | None = None  # sums over blocks, where they are measured
        self.checked = torch.cat([self.sums, *self._bounds()])

    def _bounds(self) -> list[Tensor]:
        """Return numbers that are finite if all that the step adds up is, damping included.

        No eigenvalue of a core, and no product of block sums, is larger than the sum of all
        squares. Gradients with scaled columns have no large squares.
        """
        group, state, most = self.group, self.state, 1 + self.group["damping"]
        if group["structure"] == "scaled":
            self._add_columns()
            return [most * self.columns]
        if not self.measures:
            return [(most * (self.sums.square() / self.sizes).sum()).view(1)]
        self.squares = self._row_squares()
        kept, added = factors(group["decay"], self.step - state.get("measured", 0))
        totals = added * self.squares
        if "within" in state:
            totals += kept * cores.diagonal(state)
        return [(most * totals.sum()).view(1)]

    def _blocks(self, x: Tensor, is_bias: bool) -> Tensor:
        """Return a part (k, m_i): of a bias the whole, of a sharded weight some members.

        Where each rank has blocks of its own, it is some rows of both.
        """
        if self.shards is None:
            return x.unsqueeze(1) if is_bias else self.layout.blocks(x)
        if is_bias:
            return (x if self.own_blocks else self.shards.whole(x)).unsqueeze(1)
        rows = self.shards.matrix(x)
        if self.own_blocks:
            return rows
        return rows.T if self.layout.kind == COLUMNS else self.shards.own_columns(rows)

    def _entries(self, x: Tensor, is_bias: bool) -> Tensor:
        """Return what `_blocks` made a part from."""
        if self.shards is None:
            return x.squeeze(1) if is_bias else self.layout.entries(x)
        if is_bias:
            return x.squeeze(1) if self.own_blocks else self.shards.own_part(x.squeeze(1))
        rows = x
        if not self.own_blocks:
            rows = x.T if self.layout.kind == COLUMNS else self.shards.own_rows(x)
        return rows.reshape(self.shards.n_own, *self.layout.shape[1:])

    def _split(self, parts: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Return the members that only this rank has, and those that all have."""
        if self.bias is None or self.own_blocks:
            return parts, []
        if self.parts is not self.gradients:  # side by side, the bias last
            return [parts[0][:, :-1]], [parts[0][:, -1:]]
        pairs = list(zip(parts, self.members, strict=True))
        own = [part for part, (_, is_bias) in pairs if not is_bias]
        return own, [part for part, (_, is_bias) in pairs if is_bias]

    def _row_sums(self) -> Tensor:
        """Return the block sums of the gradient, (k,)."""
        if self.shards is None:
            return _row_sums(self.parts)
        own, common = self._split(self.parts)
        sums = self._over_ranks([part.sum(1) for part in own])
        for part in common:
            sums += part.sum(1)
        return sums

    def _row_squares(self) -> Tensor:
        """Return the sums of squares of the blocks of the gradient, (k,)."""
        if self.shards is None:
            first, *others = (cores.row_squares(part) for part in self.parts)
            return sum(others, first)
        own, common = self._split(self.parts)
        squares = self._over_ranks([cores.row_squares(part) for part in own])
        for part in common:
            squares += cores.row_squares(part)
        return squares

    def _over_ranks(self, numbers: list[Tensor]) -> Tensor:
        """Add up numbers of blocks, (k,), or of the blocks that this rank has, over all ranks."""
        assert self.shards is not None
        total: Tensor = self.gradients[0].new_zeros(self.layout.n_blocks)
        for own in numbers:
            total[self.own_blocks or slice(None)] += own
        return self.shards.add_up(total)

    def _length(self, tensors: list[Tensor], are_parts: bool) -> Tensor:
        """Return the length of parts, or of what each rank has of the parameters, together."""
        dtype = self.sums.dtype
        if self.shards is None:
            return _length(tensors, dtype)
        own, common = self._split(tensors) if are_parts else (tensors, [])
        squares = self.shards.add_up(_length(own, dtype).square())
        if common:
            squares = squares + _length(common, dtype).square()
        return squares.sqrt()

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
        if not self.measures:
            return
        kept, added = factors(group["decay"], self.step - state["measured"])
        between.add(state["between"], self.sums / cores.root_of(self.sizes), added, kept)
        if self.squares is not None and not isinstance(state["within"], list):
            state["within"].mul_(kept).add_(self.squares, alpha=added)
        elif self.shards is None:
            cores.add_products(state, self.parts, added, kept)
        else:
            own, common = self._split(self.parts)
            cores.add_products_of_shards(state, own, common, added, kept, self.shards.add_up)
        state["measured"] = self.step

    def _add_columns(self) -> None:
        """Add up the squares of the columns of the gradient, of all steps so far."""
        self.joined = self._joined()
        squares = self.joined.square().sum(0)
        if self.shards is not None:
            n_members = int(self.layout.sizes)
            own = self.shards.own_members(self.layout.kind == COLUMNS)
            every = squares.new_zeros(n_members)
            every[own] = squares[: n_members if self.bias is None else -1]
            squares = torch.cat([self.shards.add_up(every), squares[own.stop - own.start :]])
        kept, added = factors(self.group["decay"], 1)
        self.columns = added * squares
        if "columns" in self.state:
            self.columns += kept * self.state["columns"]

    def _scale_columns(self) -> None:
        """Divide the gradient by the root mean square of its columns, of all steps so far."""
        group, joined = self.group, self.joined
        self.state["columns"] = self.columns
        n_steps = self.step if group["decay"] is None else total_weight(group["decay"], self.step)
        roots = damped_inverse_root(self.columns, group["damping"])
        if self.shards is not None:
            n_members = int(self.layout.sizes)
            own = self.shards.own_members(self.layout.kind == COLUMNS)
            roots = torch.cat([roots[own], roots[n_members:]])
        self.parts = [joined * (roots * math.sqrt(n_steps * len(joined)))]
        del self.joined
        self.sums = self._row_sums()

    def _joined(self) -> Tensor:
        """Return the gradients side by side, with zeros for one that is missing."""
        if self.bias is None:
            return self.gradients[0]
        (first, *_), (_, is_bias) = self.gradients, self.members[0]
        if len(self.gradients) == 2:
            both = self.gradients
        elif is_bias:
            width = int(self.layout.sizes)
            if self.shards is not None:
                own = self.shards.own_members(self.layout.kind == COLUMNS)
                width = own.stop - own.start
            both = [first.new_zeros(len(first), width), first]
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
        cores.keep_roots(self.state, found, self.sizes, self.group["damping"], scale, self.eps)
        self.state["refreshed"] = self.step

    def update(self) -> None:
        """Change the parameters."""
        group, lr = self.group, float(self.group["lr"])
        params = [local(p) for p, _ in self.members]
        shrink(params, group)
        is_bounded = not math.isinf(group["max_change"])
        is_direct = group["grafting"] is None and not (group["nesterov"] or is_bounded)
        is_whole = self.shards is None and self.layout.is_view
        if is_direct and self.parts is self.gradients and is_whole:
            self._update_directly(params, lr)
            return
        targets = [torch.zeros_like(part) for part in self.parts]
        self._precondition(targets, 1)
        if group["grafting"] is not None:
            self._graft(targets)
        if is_bounded:
            at_least = math.sqrt(len(self.members[0][0]))
            length = self._length(params, are_parts=False).clamp(min=at_least)
            update_length = self._length(targets, are_parts=True)
            torch._foreach_mul_(targets, limit(length, update_length, group))
        own = self._by_member(targets)
        for (p, is_bias), state, target in zip(self.members, self.states, own, strict=True):
            update = self._entries(target, is_bias)
            if group["momentum"]:
                buffer = momentum_buffer(p, state, update.dtype).mul_(group["momentum"])
                buffer.add_(update)
                update = (
                    update.add(buffer, alpha=group["momentum"]) if group["nesterov"] else buffer
                )
            local(p).add_(update, alpha=-lr)

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
        blocks = self.own_blocks or slice(None)
        cores.precondition(self.state, self.sums, self.sizes, pairs, scale, blocks)

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
        wanted = _length([part / root for part, root in pairs], dtype) * weight
        length = _length(updates, dtype)
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
        self.group, self.whole, self.by_row = group, params, by_row
        self.shards = [shards_of(p) for p in params]
        self.params = [local(p) for p in params]
        self.states = [states[p] for p in params]
        self.gradients = [gradient(p, group) for p in params]
        self.totals = self._sums_of_squares()
        self.checked = self._over_ranks(
            torch.stack([t.max() if t.numel() else t.sum() for t in self.totals])
        )

    def _over_ranks(self, x: Tensor) -> Tensor:
        """Add up over ranks what is of parameters that are cut, (number of parameters,)."""
        cut = next((shards for shards in self.shards if shards is not None), None)
        if cut is None:
            return x
        counts = x.new_tensor([cut.n_ranks if shards is None else 1 for shards in self.shards])
        return cut.add_up(x / counts)

    def _lengths(self, tensors: list[Tensor], dtype: torch.dtype) -> Tensor:
        lengths = _lengths(tensors, dtype)
        if not any(self.shards):
            return lengths
        return self._over_ranks(lengths.square()).sqrt()

    def update(self) -> None:
        """Change the parameters."""
        group, lr, momentum = self.group, float(self.group["lr"]), self.group["momentum"]
        shrink(self.params, group)
        updates = self._preconditioned()
        if not math.isinf(group["max_change"]):
            n_rows = [len(p) if p.ndim else 1 for p in self.whole]
            at_least = updates[0].new_tensor(n_rows).sqrt()
            lengths = torch.maximum(self._lengths(self.params, at_least.dtype), at_least)
            shorter = limit(lengths, self._lengths(updates, at_least.dtype), group)
            torch._foreach_mul_(updates, list(shorter.unbind()))
        if momentum:
            triples = zip(self.whole, self.states, updates, strict=True)
            buffers = [momentum_buffer(p, state, u.dtype) for p, state, u in triples]
            torch._foreach_mul_(buffers, momentum)
            torch._foreach_add_(buffers, updates)
            if group["nesterov"]:
                torch._foreach_add_(updates, buffers, alpha=momentum)
            else:
                updates = buffers
        torch._foreach_add_(self.params, updates, alpha=-lr)

    def _sums_of_squares(self) -> list[Tensor]:
        """Return those of all steps so far, this one included."""
        kept, added = factors(self.group["decay"], 1)
        totals = [
            square.mean(dim=tuple(range(1, square.ndim)), keepdim=True) if by_row else square
            for square, by_row in zip(
                torch._foreach_mul(self.gradients, self.gradients), self.by_row, strict=True
            )
        ]
        if added != 1:
            torch._foreach_mul_(totals, added)
        pairs = [
            (total, local(state["squares"]))
            for total, state in zip(totals, self.states, strict=True)
            if "squares" in state
        ]
        if pairs:
            new, old = zip(*pairs, strict=True)
            torch._foreach_add_(new, old, alpha=kept)
        return totals

    def _preconditioned(self) -> list[Tensor]:
        for state, total, shards in zip(self.states, self.totals, self.shards, strict=True):
            state["step"] = state.get("step", 0) + 1
            state["squares"] = total if shards is None else shards.wrapped(total)
        roots = torch._foreach_sqrt(self.totals)
        torch._foreach_add_(roots, _EPS)
        updates = torch._foreach_div(self.gradients, roots)
        if self.group["decay"] is not None:
            weights = [total_weight(self.group["decay"], state["step"]) for state in self.states]
            torch._foreach_mul_(updates, [math.sqrt(weight) for weight in weights])
        return list(updates)


def _row_sums(parts: list[Tensor]) -> Tensor:
    first, *others = (part.sum(1) for part in parts)
    for other in others:
        first += other
    return first


def _length(tensors: list[Tensor], dtype: torch.dtype) -> Tensor:
    """Return the length of tensors together."""
    if len(tensors) == 1:
        length: Tensor = torch.linalg.vector_norm(tensors[0], dtype=dtype)
    else:
        length = _lengths(tensors, dtype).norm()
    return length


def _lengths(tensors: list[Tensor], dtype: torch.dtype) -> Tensor:
    return torch.stack(torch._foreach_norm(tensors, 2, dtype))


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
    """Return the sum of past updates on this rank, contiguous whatever the parameter is."""
    if "momentum_buffer" not in state:
        own, shards = local(p), shards_of(p)
        zeros = torch.zeros(own.shape, dtype=dtype, device=own.device)
        state["momentum_buffer"] = zeros if shards is None else shards.wrapped(zeros)
    return local(state["momentum_buffer"])
