"""Parameters by name: what a module tells of them, and options that name them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from torch import Tensor, nn


@dataclass(frozen=True)
class Roles:
    """What a module tells of its parameters, by the parameters themselves.

    An identity would be that of another parameter once this one is gone, and not that of a copy.
    """

    names: dict[Tensor, str]
    embeddings: frozenset[Tensor]
    outputs: frozenset[Tensor]  # the weight of the last linear layer, if there are other matrices
    norms: frozenset[Tensor]  # all parameters of modules that are called norms

    @classmethod
    def of(cls, module: nn.Module | None) -> "Roles":
        """Return the roles in a module, or no roles without one."""
        if module is None:
            return cls({}, frozenset(), frozenset(), frozenset())
        own = [(m, dict(m.named_parameters(recurse=False))) for m in module.modules()]
        linear = [named.get("weight") for m, named in own if isinstance(m, nn.Linear)]
        matrices = sum(p.ndim > 1 for _, named in own for p in named.values())
        embeddings = nn.Embedding, nn.EmbeddingBag
        return cls(
            {p: name for name, p in module.named_parameters()},
            frozenset(
                named["weight"]
                for m, named in own
                if isinstance(m, embeddings) and "weight" in named
            ),
            frozenset(p for p in linear[-1:] if p is not None and matrices > 1),
            frozenset(p for m, named in own if _is_norm(m) for p in named.values()),
        )

    def names_of(self, params: list[Tensor], names: list[str] | None) -> "list[str | None]":
        """Return the names given with the parameters, or else their names in the module."""
        return [self.names.get(p) for p in params] if names is None else [*names]

    def groups_of_names(self) -> "list[list[str | None]]":
        """Return all names as one group, or no group without a module."""
        return [[*self.names.values()]] if self.names else []


def _is_norm(module: nn.Module) -> bool:
    """Return whether a module is called a norm, such as LayerNorm, BatchNorm2d or LlamaRMSNorm."""
    return re.search(r"Norm(\dd)?$", type(module).__name__) is not None


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
        wanted = [option(name, p) for name, p in zip(names, params, strict=True)]
        return [default if own is None else own for own in wanted]
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
