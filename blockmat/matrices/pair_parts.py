"""PairParts: submatrices of block-constant matrices, and conditional distributions."""

from abc import abstractmethod
from typing import Any, Self

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.blocks.partition import Partition
from blockmat.blocks.passes import block_sums
from blockmat.blocks.subset import Subset
from blockmat.cores import pair
from blockmat.cores.arrays import part_of_core
from blockmat.cores.conditioning import (
    Observed,
    conditional_effects,
    conditional_independent_effects,
)
from blockmat.cores.core import hermitian_part
from blockmat.matrices.rectangular import BlockRectangularMatrix
from blockmat.matrices.rectangular_part import RectangularPart
from blockmat.matrices.stored_pair import StoredPair, of_pair
from blockmat.matrices.within import (
    require_no_pairs_between,
    within_of_part,
    without_numbers_of_singletons,
)


class PairParts(StoredPair):
    """Base class of `BlockConstantMatrix` with what `Parts` needs (:ref:`theory-parts`)."""

    @classmethod
    @abstractmethod
    def _trusted(cls, partition: Partition, between: Array, within: Array, dtype: Any) -> Self:
        """Make a matrix from arrays that are correct and that nobody else changes."""

    def _part(self, part: Subset) -> Self:
        whole, at = self.partition, part.blocks
        kept = within_of_part(self._within, whole, part)
        between, within = (part_of_core(x, at) for x in (self._between, self._within))
        shares = part.partition.sizes / whole.sizes[at]
        if self.is_independent:
            pairs = pair.one_for_each_block(between, within)
            own = pair.one_for_each_block(between, kept)[1]
            between = pair.between_of_square_part(*pairs, own, shares[:, None])[:, 0, 0]
        else:
            between = pair.between_of_square_part(between, within, kept, shares)
        return self._of_part(part, between, kept)

    def _conditioned(self, observed: Subset, rest: Subset, deviations: Array) -> tuple[Array, Self]:
        require_no_pairs_between(self._within, self.partition, rest, observed)
        seen, K = self._part(observed), hermitian_part(self._values_in_double)
        at, shared = observed.blocks, rest.shared_blocks(observed)
        noise, prior = part_of_core(self._within, at), part_of_core(K, rest.blocks)
        known = Observed(hermitian_part(seen.between), pair.root(seen.partition.sizes), noise)
        if self.is_independent:
            effects = conditional_independent_effects(prior, known, shared)
        else:
            effects = conditional_effects(prior, K[np.ix_(rest.blocks, at)], known, shared)
        sums = block_sums(seen.partition, deviations)
        means = effects.mean(pair.coordinates(sums.T, seen.partition.sizes).T)
        within = within_of_part(self._within, self.partition, rest)
        sizes = rest.partition.sizes
        between = of_pair(pair.between_of_values, effects.covariance, within, sizes)
        return rest.partition.expand(means), self._of_part(rest, between, within)

    def _of_part(self, part: Subset, between: Array, within: Array) -> Self:
        """Make the matrix of a part; `within` also has the numbers of blocks of one member."""
        within = without_numbers_of_singletons(part.partition, within.copy())
        return self._trusted(part.partition, between, within, self.dtype)

    def _rectangular_part(
        self, rows: Subset, columns: Subset
    ) -> BlockRectangularMatrix | RectangularPart:
        if self.is_independent:  # a BlockRectangularMatrix stores k x k numbers
            part: RectangularPart = super()._rectangular_part(rows, columns)
            return part
        require_no_pairs_between(self._within, self.partition, rows, columns)
        values = self.values[np.ix_(rows.blocks, columns.blocks)]
        return BlockRectangularMatrix.from_values(rows.partition, columns.partition, values)
