"""Which entries of each parameter are in which block: from options, names and a module."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, TypeGuard

import numpy as np
import torch
from torch import Tensor, nn

from blockmat.blocks.partition import Partition, as_partition
from blockmat.exceptions import PartitionError

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


@dataclass(frozen=True)
class Roles:
    """What a module tells of its parameters."""

    embeddings: frozenset[int]  # of weights, by id
    outputs: frozenset[int]  # the weight of the last linear layer, if there are other matrices
    norms: frozenset[int]  # of all parameters of modules that are called norms
    names: dict[int, str]

    @classmethod
    def of(cls, module: nn.Module | None) -> "Roles":
        """Return the roles in a module, or no roles without one."""
        modules = [] if module is None else list(module.modules())
        embeddings = (nn.Embedding, nn.EmbeddingBag)
        linear = [id(m.weight) for m in modules if isinstance(m, nn.Linear)]
        matrices = sum(p.ndim > 1 for m in modules for p in m.parameters(recurse=False))
        return cls(
            frozenset(id(m.weight) for m in modules if isinstance(m, embeddings)),
            frozenset(linear[-1:] if matrices > 1 else []),
            frozenset(
                id(p)
                for m in modules
                if "Norm" in type(m).__name__
                for p in m.parameters(recurse=False)
            ),
            {} if module is None else {id(p): name for name, p in module.named_parameters()},
        )

    def names_of(self, params: list[Tensor], names: list[str] | None) -> "list[str | None]":
        """Return the names given with the parameters, or else their names in the module."""
        return [self.names.get(id(p)) for p in params] if names is None else [*names]

    def groups_of_names(self) -> "list[list[str | None]]":
        """Return all names as one group, or no group without a module."""
        return [[*self.names.values()]] if self.names else []


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


def check_keys(
    option: dict[Any, Any], groups: Sequence[Sequence[str | None]], title: str = "partition"
) -> None:
    """Raise `ValueError` if a key names no parameter of any group."""
    unknown = [key for key in option if not any(_places(key, names) for names in groups)]
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
        f"{title} is for {', '.join(map(repr, unknown))}, which no parameter is; "
        f"expected {expected}"
    )


def wanted_of(
    option: Any, params: list[Tensor], names: Sequence[str | None], default: Any
) -> list[Any]:
    """Return what an option says of each parameter: a value, a dict by name, or a callable."""
    if isinstance(option, dict):
        chosen = {i: wanted for key, wanted in option.items() for i in _places(key, names)}
        return [chosen.get(i, default) for i in range(len(params))]
    if callable(option):
        return [option(name, p) for name, p in zip(names, params, strict=True)]
    return [option] * len(params)


def _places(key: Any, names: Sequence[str | None]) -> list[int]:
    """Return which parameters a key names, or which index it is if they have no names.

    A prefix that a wrapper adds is ignored, unless a name occurs with and without it.
    """
    if not isinstance(key, str):
        return [i for i, name in enumerate(names) if name is None and i == key]
    exact = [i for i, name in enumerate(names) if name == key]
    return exact or [
        i for i, name in enumerate(names) if name is not None and _plain(name) == _plain(key)
    ]


def _plain(name: str) -> str:
    """Return a name without what `torch.compile` and DistributedDataParallel add to it."""
    plain = ".".join(part for part in name.split(".") if part != "_orig_mod")
    while plain.startswith("module."):
        plain = plain.removeprefix("module.")
    return plain


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
    if p.ndim < 2:
        return DIAGONAL
    if wanted != SHORTER:
        return wanted
    if id(p) in roles.embeddings:
        return ROW_SCALARS
    if id(p) in roles.outputs:
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
