"""Which entries of each parameter are in which block: from options, names and a module."""

from collections.abc import Sequence
from typing import Any, TypeGuard

import numpy as np
import torch
from torch import Tensor

from blockmat.blocks.partition import Partition, as_partition
from blockmat.exceptions import PartitionError
from blockmat.optim.torch.naming import Roles, wanted_of

# One kind for each parameter: "rows" or "columns" of the parameter flattened to (out, rest), or
# labels of its entries, for blocks; "row scalars" or "diagonal" for one number per row or entry;
# and for a bias that joins the blocks of a weight, the index of that weight in the group.
Kind = str | Tensor | int
ROWS, COLUMNS, SHORTER = "rows", "columns", "shorter"
ROW_SCALARS, DIAGONAL = "row scalars", "diagonal"
NAMES = (ROWS, COLUMNS, SHORTER, ROW_SCALARS, DIAGONAL)


def shares_blocks(kind: Kind) -> TypeGuard[int]:
    """Return whether a parameter is a bias in the blocks of a weight."""
    return isinstance(kind, int)


def has_cores(kind: Kind) -> bool:
    """Return whether a parameter has blocks of its own."""
    return isinstance(kind, Tensor) or kind not in (DIAGONAL, ROW_SCALARS)


def n_blocks(kind: Kind, p: Tensor) -> int:
    """Return how many blocks a parameter has, 0 if it has no cores."""
    if isinstance(kind, Tensor):
        return int(kind.max()) + 1 if len(kind) else 0
    if kind == ROWS:
        return len(p)
    return p.numel() // len(p) if kind == COLUMNS else 0


def resolve(
    params: list[Tensor],
    names: Sequence[str | None],
    partition: Any,
    roles: Roles,
    max_blocks: int,
    needs_equal_sizes: bool,
) -> tuple[list[Kind], list[str]]:
    """Return the kind of each parameter of a group.

    Return also a description of each parameter that would have more than `max_blocks` blocks.
    """
    kinds: list[Kind] = []
    too_many = []
    for i, (p, wanted) in enumerate(
        zip(params, wanted_of(partition, params, names, SHORTER), strict=True)
    ):
        name = names[i] or f"parameter {i}"
        kind = _kind(wanted, p, name, roles, needs_equal_sizes)
        k = n_blocks(kind, p)
        if k > max_blocks:
            too_many.append(f"{name} ({k} blocks)")
            kind = ROW_SCALARS if isinstance(kind, str) else DIAGONAL
        kinds.append(kind)
    _join_biases(kinds, params, names)
    return kinds, too_many


def _kind(wanted: Any, p: Tensor, name: str, roles: Roles, needs_equal_sizes: bool) -> Kind:
    """Return the kind of one parameter."""
    if isinstance(wanted, str) and wanted not in NAMES:
        raise ValueError(
            f"partition of {name} is {wanted!r}; expected labels or one of {', '.join(NAMES)}"
        )
    if p.numel() == 0:
        return DIAGONAL
    if isinstance(wanted, str):
        return _named_kind(wanted, p, roles)
    return _labels(wanted, p, name, needs_equal_sizes)


def _named_kind(wanted: str, p: Tensor, roles: Roles) -> str:
    """Return the kind for one of `NAMES`."""
    if p.ndim < 2 or (wanted == SHORTER and p in roles.norms):
        return DIAGONAL
    if wanted != SHORTER:
        return wanted
    if p in roles.embeddings:
        return ROW_SCALARS
    if p in roles.outputs:
        return DIAGONAL
    return ROWS if len(p) <= p.numel() // len(p) + 1 else COLUMNS


def _labels(wanted: Any, p: Tensor, name: str, needs_equal_sizes: bool) -> Tensor:
    """Return the block of each entry."""
    if isinstance(wanted, Tensor):
        wanted = wanted.numpy(force=True)
    labels = wanted.labels if isinstance(wanted, Partition) else np.asarray(wanted).ravel()
    q = as_partition(labels)
    if q.n != p.numel():
        raise PartitionError(
            f"partition of {name} has {q.n} labels; expected {p.numel()}, one for each entry"
        )
    if needs_equal_sizes and len(set(q.sizes)) > 1:
        raise PartitionError(
            f"partition of {name} has blocks of {q.sizes.min()} to {q.sizes.max()} entries; "
            f'expected one size for structure="aligned"'
        )
    return torch.from_numpy(np.array(q.labels, dtype=np.int64))


def _join_biases(kinds: list[Kind], params: list[Tensor], names: Sequence[str | None]) -> None:
    """Put each bias into the blocks of the matrix of its module, if these are its rows.

    The bias of a filter does not join. Its gradient is a sum over all positions, so its size
    differs from that of the other entries.
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
