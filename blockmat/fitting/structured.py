"""StructuredMatrix: a square matrix of this package as a source."""

from typing import Any

import numpy as np

from blockmat.blocks.checks import accumulator_dtype
from blockmat.blocks.partition import Partition
from blockmat.matrices.block_constant import BlockConstantMatrix
from blockmat.matrices.structured import SquareMatrix, Structured, distance
from blockmat.sources.operator import Operator
from blockmat.sources.pair import Pair, hermitian_if_rounding, within_of_paired_sums
from blockmat.sources.source import Approximation, Options, Residual


class StructuredMatrix(Operator):
    """A square matrix of this package.

    Its fit is exact: the diagonals of the blocks are computed from formulas of the entries.
    """

    def __init__(self, matrix: SquareMatrix) -> None:
        super().__init__(matrix)
        self._matrix = matrix

    def pair(self, p: Partition, options: Options) -> Pair:
        """Return the pair, from products in double precision and the diagonals of the blocks."""
        double: Any = self._matrix.astype(accumulator_dtype(self.dtype))
        core, dtype = Operator(double).core(p, p, options.progress)
        between = hermitian_if_rounding(p, core, dtype)
        paired = Structured(self._matrix).traces(p, options.aligned)
        within = within_of_paired_sums(p, between, paired)
        pair = Pair.exact(between, within, self.dtype)
        return pair.checked(p, options.numbers, options.check_finite)

    def residual(self, A: Approximation, options: Options) -> Residual:
        """Return the distance to a block-constant matrix, as a sum of squares."""
        structured, approximation = Structured(self._matrix), Structured(A.matrix)
        p = structured.partition
        zero = Structured(BlockConstantMatrix(p, np.zeros(p.n_blocks)))

        def norms(exponent: int) -> tuple[float, float]:
            scaled = structured.in_unit(exponent)
            return distance(scaled, approximation.in_unit(exponent)), distance(scaled, zero)

        return Residual(norms, lambda: structured.largest)
