"""Solving with block-constant matrices: means of blocks and deviations from them, separately.

`refined` is iterative refinement, for the other types of matrices.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from blockmat.blocks.checks import Array, accumulator_dtype, in_precision_of
from blockmat.blocks.partition import Partition
from blockmat.blocks.passes import block_sums, centres, multiply_add
from blockmat.cores import factors, pair
from blockmat.cores.core import Core

_REFINEMENTS = 4  # steps of iterative refinement at most; most matrices need none or one


def refined(
    solve: Callable[[Array], Array], multiply: Callable[[Array], Array], b: Array, dtype: Any
) -> Array:
    """Solve for right-hand sides (n,) or (n, m) in double precision, and return a `dtype`.

    The solution is refined as long as that halves the residual of a column.
    """
    b = b.astype(accumulator_dtype(b.dtype), copy=False)
    x, last_size = solve(b), np.inf
    for _ in range(_REFINEMENTS):
        residual = b - multiply(x)
        size = np.abs(residual).max(axis=0)  # squares could leave the range
        is_small = size <= 2 * np.finfo(dtype).eps * np.abs(b).max(axis=0)
        if (is_small | (size > last_size / 2)).all():
            break
        x = x + solve(residual)
        last_size = size
    return x.astype(dtype, copy=False)


class BlockSolver(ABC):
    """Solves for the means of blocks; a subclass solves for the deviations.

    It keeps the factors of the cores (:ref:`theory-solve`).

    Parameters
    ----------
    partition : Partition
        The blocks.
    cores : sequence of Core
        The between core, then the within cores.

    Raises
    ------
    SingularMatrixError
        If a core is singular to working precision.
    """

    def __init__(self, partition: Partition, cores: Sequence[Core]) -> None:
        self._partition = partition
        self._solve_between = factors.solver_of(cores[0], "solve")

    def solve(self, b: Array, dtype: Any) -> Array:
        """Solve for right-hand sides (n,) or (n, m).

        Rounding errors in the means of deviations grow with the largest number of the inverse.
        So the means are sums of differences from a centre of each block, which are small.
        """
        p = self._partition
        centre, root = centres(p, b), pair.root(p.sizes)
        mean = (block_sums(p, b, centre).T / p.sizes).T  # of b minus the centre
        solved = (self._solve_between(((centre + mean).T * root).T).T / root).T
        return self._with_deviations(b, centre, mean, solved, dtype)

    @abstractmethod
    def _with_deviations(
        self, b: Array, centre: Array, mean: Array, solved: Array, dtype: Any
    ) -> Array:
        """Solve for the deviations of b from ``centre + mean``, and add `solved`, the means."""


class PlainSolver(BlockSolver):
    """For blocks that are not aligned: deviations are divided by d."""

    def __init__(self, partition: Partition, cores: Sequence[Core]) -> None:
        super().__init__(partition, cores)
        (within,) = cores[1:]
        reciprocals = factors.reciprocals(within, "solve")
        self._inverse = np.zeros(partition.n_blocks, np.result_type(reciprocals, np.float64))
        self._inverse[within.blocks] = reciprocals

    def _with_deviations(
        self, b: Array, centre: Array, mean: Array, solved: Array, dtype: Any
    ) -> Array:
        shift = solved - (self._inverse * mean.T).T
        scale, centre = (in_precision_of(x, dtype) for x in (self._inverse, centre))
        return multiply_add(self._partition, b, scale, shift.astype(dtype), centre=centre)


class AlignedSolver(BlockSolver):
    """For aligned blocks: deviations are solved with D."""

    def __init__(self, partition: Partition, cores: Sequence[Core]) -> None:
        super().__init__(partition, cores)
        self._within = [factors.factorize(core, "solve") for core in cores[1:]]

    def _with_deviations(
        self, b: Array, centre: Array, mean: Array, solved: Array, dtype: Any
    ) -> Array:
        p = self._partition
        ones = np.ones(p.n_blocks)
        x = multiply_add(p, b, ones, -mean, centre=centre)
        result = np.zeros(x.shape, dtype=np.result_type(x, solved))
        for core, (blocks, variables) in zip(self._within, p.size_classes, strict=True):
            deviations = x[variables]
            square = core.solve(deviations.reshape(len(blocks), -1))
            result[variables] = square.reshape(deviations.shape)
        # Solving leaves a mean of the deviations, which is rounding and is replaced.
        rounding = (block_sums(p, result).T / p.sizes).T
        result = multiply_add(p, result, ones, solved, centre=rounding)
        return result.astype(dtype, copy=False)
