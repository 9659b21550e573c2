"""Which entries of a parameter are in which block, and the parameter seen block by block."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from blockmat.exceptions import PartitionError
from blockmat.partition import Partition, as_partition

# A block for each row or column of a weight flattened to (out, rest) or for labelled entries;
# one number per row; one per entry; the bias of the weight with that index in the group.
Kind = str | Tensor | int
ROWS, COLUMNS, SHORTER = "rows", "columns", "shorter"
ROW_SCALARS, DIAGONAL = "row scalars", "diagonal"
NAMES = (ROWS, COLUMNS, SHORTER, ROW_SCALARS, DIAGONAL)


@dataclass(frozen=True)
class Roles:
    """What a module knows of its parameters."""

    embeddings: frozenset[int]
    outputs: frozenset[int]  # the last linear layer's weight, if there are others

    @classmethod
    def of(cls, module: nn.Module | None) -> "Roles":
        modules = [] if module is None else list(module.modules())
        embeddings = (nn.Embedding, nn.EmbeddingBag)
        linear = [id(m.weight) for m in modules if isinstance(m, nn.Linear)]
        matrices = sum(p.ndim > 1 for m in modules for p in m.parameters(recurse=False))
        return cls(
            frozenset(id(m.weight) for m in modules if isinstance(m, embeddings)),
            frozenset(linear[-1:] if matrices > 1 else []),
        )


def resolve(
    params: list[Tensor],
    names: list[str] | None,
    partition: Any,
    roles: Roles,
    max_blocks: int,
    aligned: bool,
) -> tuple[list[Kind], list[str]]:
    """Decide the kind of every parameter of a group.

    Returns the kinds, and descriptions of the parameters with more blocks than allowed.
    """
    kinds: list[Kind] = []
    too_many = []
    for i, p in enumerate(params):
        name = f"parameter {i}" if names is None else names[i]
        wanted = _wanted(partition, p, None if names is None else names[i], i)
        kind = _kind(wanted, p, name, roles, aligned)
        k = n_blocks(kind, p)
        if k > max_blocks:
            too_many.append(f"{name} ({k} blocks)")
            kind = ROW_SCALARS if isinstance(kind, str) else DIAGONAL
        kinds.append(kind)
    if names is not None:
        _join_biases(kinds, params, names)
    return kinds, too_many


def _wanted(partition: Any, p: Tensor, name: str | None, index: int) -> Any:
    if isinstance(partition, dict):
        return partition.get(name if name is not None else index, SHORTER)
    if callable(partition):
        return partition(name, p)
    return partition


def _kind(wanted: Any, p: Tensor, name: str, roles: Roles, aligned: bool) -> Kind:
    if isinstance(wanted, str) and wanted not in NAMES:
        raise ValueError(
            f"partition of {name} is {wanted!r}; expected labels or one of {', '.join(NAMES)}"
        )
    if p.numel() == 0:
        return DIAGONAL
    if isinstance(wanted, str):
        if p.ndim < 2:
            return DIAGONAL
        if wanted == SHORTER:
            if id(p) in roles.embeddings:
                return ROW_SCALARS
            if id(p) in roles.outputs:
                return DIAGONAL
            return ROWS if len(p) <= p.numel() // len(p) + 1 else COLUMNS
        return wanted
    if isinstance(wanted, Tensor):
        wanted = wanted.numpy(force=True)
    labels = wanted.labels if isinstance(wanted, Partition) else np.asarray(wanted).ravel()
    q = as_partition(labels)
    if q.n != p.numel():
        raise PartitionError(
            f"partition of {name} has {q.n} labels; expected {p.numel()}, one for each entry"
        )
    if aligned and len(set(q.sizes)) > 1:
        raise PartitionError(
            f"partition of {name} has blocks of {q.sizes.min()} to {q.sizes.max()} entries; "
            f'expected one size for structure="aligned"'
        )
    return torch.from_numpy(np.array(q.labels, dtype=np.int64))


def _join_biases(kinds: list[Kind], params: list[Tensor], names: list[str]) -> None:
    """Give each bias to the matrix of the same module, where that has a block per row.

    The bias of a filter does not join: its gradient is a sum over all positions, of another
    size than those of the entries.
    """
    places = {name: i for i, name in enumerate(names)}
    for i, name in enumerate(names):
        prefix, dot, last = name.rpartition(".")
        if not last.startswith("bias") or kinds[i] != DIAGONAL:
            continue
        j = places.get(prefix + dot + last.replace("bias", "weight", 1))
        if j is None or kinds[j] != ROWS or params[j].ndim != 2:
            continue
        if params[i].shape == params[j].shape[:1]:
            kinds[i] = j


def n_blocks(kind: Kind, p: Tensor) -> int:
    """Return how many blocks a parameter has, 0 where it has no cores."""
    if isinstance(kind, Tensor):
        return int(kind.max()) + 1 if len(kind) else 0
    if kind == ROWS:
        return len(p)
    return p.numel() // len(p) if kind == COLUMNS else 0


class Layout:
    """A parameter as a matrix (k, m), one block per row.

    Parameters
    ----------
    kind : "rows", "columns" or Tensor of int, shape (n,)
        The blocks.
    p : Tensor
        The parameter.
    """

    def __init__(self, kind: Kind, p: Tensor) -> None:
        self.shape = p.shape
        self.kind = kind
        self.n_blocks = n_blocks(kind, p)
        self.sizes: int | Tensor = p.numel() // max(self.n_blocks, 1)
        if isinstance(kind, Tensor):
            q = Partition.from_labels(kind.numpy(force=True))
            width = int(q.sizes.max())
            self._members = torch.full((q.n_blocks, width), q.n, device=p.device)
            places = q.labels.astype(np.int64) * width + q.positions
            self._places = torch.from_numpy(places).to(p.device)
            self._members.view(-1)[self._places] = torch.arange(q.n, device=p.device)
            if (q.sizes != width).any():
                dtype = torch.promote_types(p.dtype, torch.float32)
                self.sizes = torch.from_numpy(q.sizes.copy()).to(p.device, dtype)

    @property
    def is_view(self) -> bool:
        """Whether `blocks` of a contiguous tensor shares its memory."""
        return isinstance(self.kind, str)

    def blocks(self, x: Tensor) -> Tensor:
        """Return a tensor like the parameter as (k, m); blocks that are smaller end in zeros."""
        if isinstance(self.kind, Tensor):
            padded = torch.cat([x.reshape(-1), x.new_zeros(1)])
            return padded[self._members]
        rows = x.reshape(len(x), -1)
        return rows.T if self.kind == COLUMNS else rows

    def entries(self, blocks: Tensor) -> Tensor:
        """Return what `blocks` was made from."""
        if isinstance(self.kind, Tensor):
            return blocks.reshape(-1)[self._places].view(self.shape)
        return (blocks.T if self.kind == COLUMNS else blocks).reshape(self.shape)
