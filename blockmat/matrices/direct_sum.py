"""What a matrix gains from being a direct sum of cores, in a fixed orthonormal basis."""

from abc import abstractmethod
from collections.abc import Callable
from functools import cached_property
from typing import Self

from blockmat.blocks.checks import Array
from blockmat.blocks.checks import check_finite as require_finite
from blockmat.blocks.partition import Partition
from blockmat.cores.core import Core
from blockmat.matrices.whitening import WhiteningOperator


class DirectSum(WhiteningOperator):
    """Base of such matrices; a subclass supplies `_cores` and `_map`."""

    @cached_property
    @abstractmethod
    def _cores(self) -> tuple[Core, ...]:
        """The summands of the matrix: the between core, then the within cores."""

    @property
    @abstractmethod
    def partition(self) -> Partition:
        """The blocks."""

    @abstractmethod
    def _frobenius_norm(self) -> float:
        """Return the root of the sum of the squared magnitudes of all entries."""

    @abstractmethod
    def _absolute_sums(self, of_columns: bool) -> Array:
        """Return a sum of magnitudes of entries for each block: of one of its columns, or rows."""

    @abstractmethod
    def _map(self, function: Callable[[Core], Array]) -> Self:
        """Apply a function to every core: the matrix function of the whole."""

    def _finite_cores(self) -> tuple[Core, ...]:
        """Return the summands for LAPACK, which does not take NaN or infinity."""
        for core in self._cores:
            require_finite(core.values, core.describe())
        return self._cores
