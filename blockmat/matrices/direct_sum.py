"""DirectSum: a matrix that is a direct sum of cores in a fixed orthonormal basis."""

from abc import abstractmethod
from collections.abc import Callable
from functools import cached_property
from typing import Self

from blockmat.blocks.checks import Array, require_finite
from blockmat.cores.core import Core
from blockmat.matrices.parts import Parts


class DirectSum(Parts):
    """Base class of such matrices (:ref:`theory-pair`); a subclass supplies the abstract methods."""

    @cached_property
    @abstractmethod
    def _unchecked_cores(self) -> tuple[Core, ...]:
        """The between core, then the within cores. They may contain NaN and infinity."""

    @cached_property
    def _cores(self) -> tuple[Core, ...]:
        """The cores for LAPACK, which does not take NaN and infinity.

        Raises `NonFiniteError` if a core contains them.
        """
        for core in self._unchecked_cores:
            require_finite(core.values, core.describe())
        return self._unchecked_cores

    @abstractmethod
    def _apply_to_cores(self, function: Callable[[Core], Array]) -> Self:
        """Apply a function to every core, which gives that function of the matrix."""

    @abstractmethod
    def _absolute_sums(self, of_columns: bool) -> Array:
        """Return for each block (k,) the sum of magnitudes in one of its columns, or rows."""
