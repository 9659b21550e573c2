"""The covariance of random effects of several groupings, on their common groups."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from blockmat.blocks.checks import Array, as_numeric, require_finite
from blockmat.blocks.partition import Partition, as_partition
from blockmat.cores.core import ROUNDING, Core, hermitian_part, is_close_to_adjoint
from blockmat.cores.rank import eigenvalue_signs
from blockmat.exceptions import IndefiniteMatrixError, NotHermitianError, ShapeError
from blockmat.matrices.checks import require_real_dtype

MAX_CELLS = 4096  # a covariance of 128 MiB, which takes about a second to factorize


def covariance_of_effects(effects: Any, noise: Any) -> tuple[Partition, Array]:
    """Return the common refinement of groupings, and the covariance (k, k) or (k,) of its blocks.

    Parameters
    ----------
    effects : list of (labels, variance)
        The groupings, as for `BlockFactorMatrix.from_effects`.
    noise : array_like
        The noise. Its dtype is that of the covariance if all variances are numbers.
    """
    groupings, variances = _checked(effects)
    cells = groupings[0]
    for grouping in groupings[1:]:
        cells = cells.meet(grouping)
    is_diagonal = all(
        variance.ndim < 2 and grouping.n_blocks == cells.n_blocks
        for grouping, variance in zip(groupings, variances, strict=True)
    )
    if len(groupings) > 1:
        if not is_diagonal and cells.n_blocks > MAX_CELLS:
            raise ValueError(
                f"effects have {cells.n_blocks} common groups; expected at most {MAX_CELLS}, "
                f"because their covariance is a dense matrix. Give the grouping with most groups, and "
                f"add each other one, of g groups, by add_low_rank(np.eye(g)[codes], covariance)"
            )
        cells = _named(cells, groupings)
    arrays = [variance for variance in variances if variance.ndim]
    noise = as_numeric(noise, "noise", (0, 1))
    dtype = np.result_type(*arrays) if arrays else noise.dtype if noise.ndim else np.float64
    total = np.zeros((cells.n_blocks,) * (1 if is_diagonal else 2), dtype)
    first = cells.order[cells.offsets[:-1]]  # a variable of each cell
    for grouping, variance in zip(groupings, variances, strict=True):
        group = grouping.labels[first]
        own = np.broadcast_to(variance, grouping.n_blocks) if variance.ndim < 2 else variance
        if is_diagonal:
            total += own[group]
        elif own.ndim == 2:
            total += own[np.ix_(group, group)]
        else:
            total += np.where(group[:, None] == group, own[group], 0)
    return cells, total


def _named(cells: Partition, groupings: list[Partition]) -> Partition:
    """Name each block by the names of its groups."""
    first = cells.order[cells.offsets[:-1]]
    names = [[p.names[b] for b in p.labels[first]] for p in groupings]
    return Partition(cells.sizes, cells.labels, list(zip(*names, strict=True)))


def _checked(effects: Any) -> tuple[list[Partition], list[Array]]:
    if not isinstance(effects, Iterable):
        raise TypeError(f"effects is {effects!r}; expected a list of pairs (labels, variance)")
    groupings: list[Partition] = []
    variances: list[Array] = []
    for i, effect in enumerate(effects):
        if not isinstance(effect, tuple | list) or len(effect) != 2:
            raise TypeError(f"effects[{i}] is {effect!r}; expected a pair (labels, variance)")
        n = groupings[0].n if groupings else None
        groupings.append(as_partition(effect[0], n, f"labels of effects[{i}]"))
        variances.append(_variance(effect[1], f"variance of effects[{i}]", groupings[-1]))
    if not groupings:
        raise ValueError("effects is empty; expected at least one pair (labels, variance)")
    return groupings, variances


def _variance(x: Any, name: str, p: Partition) -> Array:
    variance = as_numeric(x, name, (0, 1, 2))
    require_real_dtype(variance.dtype, name)
    if variance.shape != (p.n_blocks,) * variance.ndim:
        raise ShapeError(
            f"{name} has shape {variance.shape}; expected a number, ({p.n_blocks},) or "
            f"({p.n_blocks}, {p.n_blocks}) for {p.n_blocks} groups"
        )
    require_finite(np.atleast_1d(variance), name)
    if variance.ndim == 0 and variance < 0:
        raise ValueError(f"{name} is {variance}; expected 0 or more")
    if variance.ndim == 1 and (variance < 0).any():
        b = int(np.argmax(variance < 0))
        raise ValueError(f"{name} is {variance[b]} for group {p.names[b]!r}; expected 0 or more")
    return _semidefinite(variance, name) if variance.ndim == 2 else variance


def _semidefinite(variance: Array, name: str) -> Array:
    k = len(variance)
    rounding = float(ROUNDING * np.sqrt(k) * np.finfo(variance.dtype).eps)
    if not is_close_to_adjoint(variance, rounding):
        raise NotHermitianError(f"{name} is not symmetric; expected a covariance matrix")
    values = hermitian_part(variance)
    core = Core.of(values, np.ones(k, np.intp), np.arange(k), name, np.zeros(k))
    if eigenvalue_signs(core).min() < 0:
        raise IndefiniteMatrixError(
            f"{name} has negative eigenvalues; expected a positive semi-definite covariance matrix"
        )
    return values
