"""StoredMatrix: a dense or sparse matrix whose entries can be read."""

from abc import abstractmethod
from typing import Any

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.blocks.geometry import Pairing
from blockmat.blocks.partition import Partition
from blockmat.cores.pair import outer_root
from blockmat.sources.pair import Pair, require_finite_blocks, without_overflow
from blockmat.sources.source import LocalSource, Options


class StoredMatrix(LocalSource):
    """A matrix whose entries are stored. Its block sums take one pass."""

    @abstractmethod
    def block_sums(
        self,
        rows: Partition,
        cols: Partition,
        pairing: Pairing | None = None,
        progress: bool | None = False,
        factor: float = 1.0,
    ) -> tuple[Array, Array]:
        """Return the block sums and paired sums of the matrix times a factor.

        Returns
        -------
        sums : ndarray, shape (k, l)
            The sums over the blocks of rows and columns, in double precision.
        paired : ndarray, shape (number of mates,)
            The sums over paired entries, in the order of `pairing`; empty if it is None.
        """

    @abstractmethod
    def first_non_finite(self) -> tuple[int, ...] | None:
        """Return the row and column of the first NaN or infinity, or None."""

    @abstractmethod
    def entries(self, dtype: Any) -> Any:
        """Return an array, or a sparse matrix in CSR format, in the given dtype."""

    def pair(self, p: Partition, options: Options) -> Pair:
        """Return the pair of the fit, from block sums and paired sums."""
        pairing = p.pairing(options.aligned)

        def pair_of(factor: float) -> Pair:
            sums, paired = self.block_sums(p, p, pairing, options.progress, factor)
            numbers = pairing.as_square(paired) if options.aligned else paired
            return Pair.of_sums(p, sums, numbers, self.dtype)

        pair = without_overflow(pair_of, 1)
        return pair.checked(p, options.numbers, options.check_finite, self.first_non_finite)

    def between(
        self, rows: Partition, cols: Partition, check_finite: bool, progress: bool | None
    ) -> tuple[Array, np.dtype[Any]]:
        """Return the block sums divided by the square roots of the sizes of the blocks."""
        sums, _ = self.block_sums(rows, cols, None, progress)
        between = sums / outer_root(rows.sizes, cols.sizes)
        if check_finite:
            require_finite_blocks(between, rows, cols, self.first_non_finite)
        return between, self.dtype
