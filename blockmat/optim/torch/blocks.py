"""Which entries of a parameter are in which block, and the parameter seen block by block."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
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
    names: dict[int, str]

    @classmethod
    def of(cls, module: nn.Module | None) -> "Roles":
        """Read them from a module, or none without one."""
        modules = [] if module is None else list(module.modules())
        embeddings = (nn.Embedding, nn.EmbeddingBag)
        linear = [id(m.weight) for m in modules if isinstance(m, nn.Linear)]
        matrices = sum(p.ndim > 1 for m in modules for p in m.parameters(recurse=False))
        return cls(
            frozenset(id(m.weight) for m in modules if isinstance(m, embeddings)),
            frozenset(linear[-1:] if matrices > 1 else []),
            {} if module is None else {id(p): name for name, p in module.named_parameters()},
        )

    def names_of(self, params: list[Tensor], names: list[str] | None) -> "list[str | None]":
        """Return the names that parameters come with, or else have in the module."""
        return [self.names.get(id(p)) for p in params] if names is None else [*names]


def resolve(
    params: list[Tensor],
    names: Sequence[str | None],
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
    chosen: dict[int, Any] = {}
    if isinstance(partition, dict):
        chosen = {i: wanted for key, wanted in partition.items() for i in places(key, names)}
    for i, p in enumerate(params):
        own, name = names[i], names[i] or f"parameter {i}"
        if isinstance(partition, dict):
            wanted = chosen.get(i, SHORTER)
        else:
            wanted = partition(own, p) if callable(partition) else partition
        kind = _kind(wanted, p, name, roles, aligned)
        k = n_blocks(kind, p)
        if k > max_blocks:
            too_many.append(f"{name} ({k} blocks)")
            kind = ROW_SCALARS if isinstance(kind, str) else DIAGONAL
        kinds.append(kind)
    _join_biases(kinds, params, names)
    return kinds, too_many


def places(key: Any, names: Sequence[str | None]) -> list[int]:
    """Return which parameters a key of a dict means: by name, or by index if they have none.

    What wrappers put before names counts only where a name occurs with and without it.
    """
    if not isinstance(key, str):
        return [i for i, name in enumerate(names) if name is None and i == key]
    exact = [i for i, name in enumerate(names) if name == key]
    return exact or [
        i for i, name in enumerate(names) if name is not None and _plain(name) == _plain(key)
    ]


def _plain(name: str) -> str:
    """Leave out what `torch.compile` and DistributedDataParallel put into a name."""
    plain = ".".join(part for part in name.split(".") if part != "_orig_mod")
    while plain.startswith("module."):
        plain = plain.removeprefix("module.")
    return plain


def check_keys(partition: dict[Any, Any], groups: Sequence[Sequence[str | None]]) -> None:
    """Raise `ValueError` if a key means no parameter of any group."""
    unknown = [key for key in partition if not any(places(key, names) for names in groups)]
    if not unknown:
        return
    known = [_plain(name) for names in groups for name in names if name is not None]
    close = [match for key in unknown for match in get_close_matches(_plain(str(key)), known)]
    if close:
        expected = ", ".join(dict.fromkeys(map(repr, close)))
    elif known:
        expected = f"names of parameters, such as {known[0]!r}"
    else:
        expected = "indices in a group, since parameters have no names (or give model)"
    raise ValueError(
        f"partition is for {', '.join(map(repr, unknown))}, which no parameter is; "
        f"expected {expected}"
    )


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


def _join_biases(kinds: list[Kind], params: list[Tensor], names: Sequence[str | None]) -> None:
    """Give each bias to the matrix of the same module, where that has a block per row.

    The bias of a filter does not join: its gradient is a sum over all positions, of another
    size than those of the entries.
    """
    indices = {name: i for i, name in enumerate(names)}
    for i, name in enumerate(names):
        if name is None:
            continue
        prefix, dot, last = name.rpartition(".")
        if not last.startswith("bias") or kinds[i] != DIAGONAL:
            continue
        j = indices.get(prefix + dot + last.replace("bias", "weight", 1))
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
