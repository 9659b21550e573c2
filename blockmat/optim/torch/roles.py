"""Which parameters `BlockAdamW` whitens, and which get Adam."""

from collections.abc import Sequence
from numbers import Integral
from typing import Any

from torch import Tensor

from blockmat.optim.torch.naming import Roles, wanted_of

ADAM, MATRIX = "adam", "matrix"


def resolve_roles(
    params: list[Tensor], names: Sequence[str | None], wanted: Any, roles: Roles
) -> list[int]:
    """Return for each parameter of a group how many matrices its rows are, or 0 for Adam."""
    chosen = wanted_of(wanted, params, names, default=None)
    is_for_all = not isinstance(wanted, dict) and not callable(wanted)
    return [
        0 if is_for_all and not _is_matrix(p) else _n_groups(role, p, name, i, roles)
        for i, (role, p, name) in enumerate(zip(chosen, params, names, strict=True))
    ]


def _is_matrix(p: Tensor) -> bool:
    return p.ndim >= 2 and p.numel() > 0


def _n_groups(role: Any, p: Tensor, name: str | None, place: int, roles: Roles) -> int:
    label = name or f"parameter {place}"
    is_matrix = _is_matrix(p)
    if role is None:
        is_outer = p in roles.embeddings | roles.outputs | roles.norms
        return int(is_matrix and not is_outer and min(len(p), p.numel() // len(p)) > 1)
    if role == ADAM:
        return 0
    n_groups = 1 if role == MATRIX else role
    if isinstance(n_groups, bool) or not isinstance(n_groups, Integral) or n_groups < 1:
        raise ValueError(
            f"roles of {label} is {role!r}; expected {ADAM!r}, {MATRIX!r}, or the number of matrices "
            f"that its rows are"
        )
    if not is_matrix:
        raise ValueError(
            f"roles of {label} is {role!r}, and its shape is {tuple(p.shape)}; expected {ADAM!r} or "
            f"None for a parameter that is no matrix"
        )
    if p.shape[0] % n_groups:
        raise ValueError(f"roles of {label} is {role!r}; expected a divisor of its {len(p)} rows")
    return int(n_groups)
